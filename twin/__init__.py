"""The ground floor: words, equipment, physics, state and forecast of a site.

Names are fetched when first asked for, so that importing a room costs nothing; their types stand
in ``__init__.pyi`` beside this file.
"""

from importlib import import_module
from typing import Final

_HOME: Final = {
    "Site": "twin.site",
    "work_flexibility": "twin.workload.flexibility",
    "expected_arrivals": "twin.workload.arrivals",
    "report_items": "twin.reporting.eu_report",
    "workload_from_jobs": "twin.workload.jobs",
    "horizon_axes": "twin.time_axes",
    "indicators": "twin.reporting.indicators",
    "simulate_in_chunks": "twin.simulation.simulate",
    "open_queue": "twin.workload.queue",
    "outlook": "twin.forecast.outlook",
    "plot_comparison": "twin.plots",
    "plot_validation_errors": "twin.plots",
    "plot_run": "twin.plots",
    "RackPool": "twin.workload.queue",
    "series_history": "twin.forecast.history",
    "regular_axes": "twin.time_axes",
    "initial_state": "twin.simulation.state",
    "simulate": "twin.simulation.simulate",
    "to_utc": "twin.time_axes",
    "view": "twin.racks.view",
    "count_violations": "twin.simulation.limits",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> object:
    """Fetch a public name from its module."""
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    message = f"module 'twin' has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    """Return the public names, for those who look around."""
    return __all__
