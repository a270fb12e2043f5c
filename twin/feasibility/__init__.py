"""Feasibility of schedules: consistency, connection limits and reserve capacity."""
