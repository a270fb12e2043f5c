from telemetry import sources as sources
from telemetry.archive import open
from telemetry.following import follow
from telemetry.testbed import Plant

__all__ = ["Plant", "follow", "open", "sources"]
