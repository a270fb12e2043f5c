"""Simulation of a site: quasi-steady machines, storage and water as states."""
