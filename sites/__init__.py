"""The declared sites and the catalogue of standard machines."""

from importlib import import_module
from typing import TYPE_CHECKING, Final

from sites.catalogue import data, names

if TYPE_CHECKING:
    from sites.cases.book import outcomes
    from sites.declarations import parameters
    from sites.duty_files import duties_of
    from sites.loading import load
    from sites.proportions import doubts
    from sites.reference import pages
    from sites.routes import load_routes
    from sites.sizing import demand, ratings
    from sites.tariff_files import read_tariffs

__all__ = [
    "data",
    "demand",
    "doubts",
    "duties_of",
    "load",
    "load_routes",
    "names",
    "outcomes",
    "pages",
    "parameters",
    "ratings",
    "read_tariffs",
]

_HOME: Final = {
    "demand": "sites.sizing",
    "doubts": "sites.proportions",
    "duties_of": "sites.duty_files",
    "load": "sites.loading",
    "load_routes": "sites.routes",
    "outcomes": "sites.cases.book",
    "pages": "sites.reference",
    "parameters": "sites.declarations",
    "ratings": "sites.sizing",
    "read_tariffs": "sites.tariff_files",
}


def __getattr__(name: str) -> object:
    """Fetch what brings all equipment with it when it is first asked for."""
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    message = f"module 'sites' has no attribute {name!r}"
    raise AttributeError(message)
