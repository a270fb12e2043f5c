"""Simulate a facility and its cluster behind a broker."""
