"""The ground floor: words, equipment, physics, state and forecast of a site.

Names are fetched when first asked for, so that importing a room costs nothing; their types stand
in ``__init__.pyi`` beside this file.
"""

from importlib import import_module
from typing import Final

_HOME: Final = {
    "Site": "twin.site",
    "envelope": "twin.workloads.envelope",
    "expect": "twin.workloads.arrivals",
    "figures": "twin.reporting",
    "from_jobs": "twin.workloads.jobs",
    "horizon": "twin.axes",
    "indicators": "twin.effectiveness",
    "march": "twin.scale.march",
    "open_queue": "twin.workloads.queue",
    "outlook": "twin.forecast.outlook",
    "plot_comparison": "twin.plots",
    "plot_errors": "twin.plots",
    "plot_run": "twin.plots",
    "Pool": "twin.workloads.queue",
    "record": "twin.forecast.record",
    "regular": "twin.axes",
    "rest": "twin.state",
    "simulate": "twin.simulation",
    "utc": "twin.axes",
    "view": "twin.scale.view",
    "violations": "twin.limits",
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
