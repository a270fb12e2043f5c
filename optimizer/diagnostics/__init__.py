"""Diagnostics: binding limits, their values, infeasibility, soft constraints and explanations."""
