"""Everything on the wire and in the archive.

Names are fetched when first asked for; their types stand in ``__init__.pyi`` beside this file.
"""

from importlib import import_module
from typing import Final

_MODULES: Final = {
    "SimulatedFacility": "telemetry.simulator.plant",
    "follow": "telemetry.feed.subscriber",
    "open": "telemetry.archive",
    "open_view": "telemetry.archive.view_store",
}

__all__ = ["SimulatedFacility", "follow", "open", "open_view", "series"]


def __getattr__(name: str) -> object:
    """Fetch a public name from its module."""
    if name == "series":
        return import_module("telemetry.series")
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    message = f"module 'telemetry' has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    """Return the public names, for those who look around."""
    return __all__
