"""Inputs of runs and of the service: series of files, and those that change while it runs."""
