"""Trials of calibration and observer on plants whose nature is known."""
