"""The running service of a site: telemetry in, decisions, orders and schedules out."""
