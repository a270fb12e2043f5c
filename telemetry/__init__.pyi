from telemetry import series as series
from telemetry.archive import open
from telemetry.archive.view_store import open_view
from telemetry.feed.subscriber import follow
from telemetry.simulator.plant import SimulatedFacility

__all__ = ["SimulatedFacility", "follow", "open", "open_view", "series"]
