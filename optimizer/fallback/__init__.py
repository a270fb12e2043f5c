"""Fallback schedules for intervals in which no optimum is available."""
