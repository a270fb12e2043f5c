"""Cases that the twin is held to: what is known from elsewhere, and ours computed beside it."""
