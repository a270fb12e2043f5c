from .catalogue import is_shipped, series_file, site_names
from .loading import load_routes, load_site, load_tariffs, national_limits, standard_machine
from .minimal_site import minimal
from .plausibility import design_loads, implausible_values, rated_outputs
from .reference_docs import reference_pages
from .schema import declared_values
from .validation.report import validation_results

__all__ = [
    "declared_values",
    "design_loads",
    "implausible_values",
    "is_shipped",
    "load_routes",
    "load_site",
    "load_tariffs",
    "minimal",
    "national_limits",
    "rated_outputs",
    "reference_pages",
    "series_file",
    "site_names",
    "standard_machine",
    "validation_results",
]
