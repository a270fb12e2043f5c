"""Planning: decisions, schedules, flexibility and trade-offs."""
