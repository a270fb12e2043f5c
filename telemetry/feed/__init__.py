"""Grid partners: who they are, what they get, answer and ask."""
