"""Validation cases: published values and those of the twin beside them."""
