"""The declared sites and the catalogue of standard machines."""

from importlib import import_module
from typing import TYPE_CHECKING, Final

from sites.catalogue import series_file, site_names

if TYPE_CHECKING:
    from sites.loading import load_routes, load_site, load_tariffs, national_limits
    from sites.plausibility import design_loads, implausible_values, rated_outputs
    from sites.reference import reference_pages
    from sites.schema import declared_values
    from sites.validation.report import validation_results

__all__ = [
    "declared_values",
    "design_loads",
    "implausible_values",
    "load_routes",
    "load_site",
    "load_tariffs",
    "national_limits",
    "rated_outputs",
    "reference_pages",
    "series_file",
    "site_names",
    "validation_results",
]

_HOME: Final = {
    "design_loads": "sites.plausibility",
    "implausible_values": "sites.plausibility",
    "national_limits": "sites.loading",
    "load_site": "sites.loading",
    "load_routes": "sites.loading",
    "validation_results": "sites.validation.report",
    "reference_pages": "sites.reference",
    "declared_values": "sites.schema",
    "rated_outputs": "sites.plausibility",
    "load_tariffs": "sites.loading",
}


def __getattr__(name: str) -> object:
    """Fetch what brings all equipment with it when it is first asked for."""
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    message = f"module 'sites' has no attribute {name!r}"
    raise AttributeError(message)
