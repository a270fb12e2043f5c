"""The declared sites and the catalogue of standard machines."""

from importlib import import_module
from typing import TYPE_CHECKING

from sites.catalogue import names

if TYPE_CHECKING:
    from sites.loading import load

__all__ = ["load", "names"]


def __getattr__(name: str) -> object:
    """Fetch the loader when it is first asked for: it brings all equipment with it."""
    if name == "load":
        return import_module("sites.loading").load
    message = f"module 'sites' has no attribute {name!r}"
    raise AttributeError(message)
