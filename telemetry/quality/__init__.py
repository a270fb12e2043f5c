"""Quality of readings: flags, redundancy, clock skew and coverage."""
