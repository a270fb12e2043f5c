from . import series as series
from .archive import open
from .archive.view_store import open_view
from .feed.subscriber import follow
from .simulator.plant import SimulatedFacility

__all__ = ["SimulatedFacility", "follow", "open", "open_view", "series"]
