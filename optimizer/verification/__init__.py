"""Independent verification of schedules."""
