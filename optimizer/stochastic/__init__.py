"""Decide for many courses of the world: what they are, what they share now, what is weighed."""
