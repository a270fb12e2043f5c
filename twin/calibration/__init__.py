"""Calibration: parameters that may differ from a site file, and what telemetry says of them."""
