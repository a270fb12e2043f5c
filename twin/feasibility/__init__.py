"""Feasibility."""
