"""Baselines and the outlook over a horizon."""
