from telemetry import sources as sources
from telemetry.archive import open
from telemetry.grid.following import follow
from telemetry.testbed import Plant
from telemetry.view_store import open_view

__all__ = ["Plant", "follow", "open", "open_view", "sources"]
