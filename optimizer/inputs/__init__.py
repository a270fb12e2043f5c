"""Inputs of runs and of the service: series files and requests of grid partners."""
