"""Everything on the wire and in the archive.

Names are fetched when first asked for; their types stand in ``__init__.pyi`` beside this file.
"""

from importlib import import_module
from typing import Final

_MODULES: Final = {
    "Plant": "telemetry.testbed",
    "follow": "telemetry.grid.following",
    "open": "telemetry.archive",
    "open_view": "telemetry.view_store",
}

__all__ = ["Plant", "follow", "open", "open_view", "sources"]


def __getattr__(name: str) -> object:
    """Fetch a public name from its module."""
    if name == "sources":
        return import_module("telemetry.sources")
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    message = f"module 'telemetry' has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    """Return the public names, for those who look around."""
    return __all__
