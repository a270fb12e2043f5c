"""Calibration: estimate the parameters of a site from telemetry, and their drift."""
