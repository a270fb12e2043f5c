"""Ingestion of telemetry: from the broker to the journal, the live state and the archive."""
