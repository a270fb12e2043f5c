"""The horizon of a plan: quarter-hours near, and as far as anybody tells anything by the quarter.

Prices, forecasts and weather are mostly told by the hour. Quarters of such an hour have nothing
that the hour has not, but for the ramps and the meter of the hours just ahead, and cost a third of
a decision.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import xarray as xr

from optimizer.question.positions import POSITION
from twin import time_axes
from twin.forecast.history import published_until
from twin.markets.reserve_products import RESERVE_SERIES
from twin.site import Site

HOURLY: Final = ((6.0, 15.0), (66.0, 60.0), (96.0, 240.0))
"""The horizon where nothing moves within an hour: hours covered and minutes an interval.

After the third day in blocks of four hours of the clock: of days so far off little is known by the
hour.
"""

QUARTERLY: Final = ((24.0, 15.0), (48.0, 60.0), (96.0, 240.0))
"""The horizon where something does: a day of quarter-hours."""

TOLD: Final = ("electricity_price", POSITION, *RESERVE_SERIES)
"""Words of a record that markets tell ahead, some by the hour and some by the quarter."""

SAME: Final = 1e-6
"""What is no difference of prices and powers. [EUR MWh-1; MW]"""

type Promised = Callable[[xr.Dataset], xr.Dataset]
"""Horizon -> what others ask of the site over it, in words of an outlook."""


def nothing(_: xr.Dataset) -> xr.Dataset:
    """Ask nothing."""
    return xr.Dataset()


def horizon(
    site: Site, record: xr.Dataset, now: np.datetime64, *, promised: Promised = nothing
) -> xr.Dataset:
    """Return the axes of a plan.

    Parameters
    ----------
    site
        The site, for the day of its market.
    record
        Its series, as :func:`twin.forecast.history.series_history` makes them; what is unpublished
        is never looked at.
    now
        The first edge, UTC.
    promised
        What others ask of the site.

    Returns
    -------
    xarray.Dataset
        By :data:`QUARTERLY` where published prices or promises of the next day move within an
        hour, else by :data:`HOURLY`; all of either have one shape.
    """
    fine = time_axes.horizon_axes(now, QUARTERLY)
    until = published_until(now, site.market_day_zone)
    published = record[[name for name in TOLD if name in record]]
    first, end = np.searchsorted(record["time"].to_numpy(), [now, until])
    near = published.isel(time=slice(first, end))
    return fine if _moves(near) or _moves(promised(fine)) else time_axes.horizon_axes(now, HOURLY)


def _moves(told: xr.Dataset) -> bool:
    """Return whether any word moves within an hour of the clock."""
    if "time" not in told.dims:
        return False
    hours = told["time"].to_numpy().astype("datetime64[h]")
    is_within = hours[1:] == hours[:-1]
    numbers = (np.nan_to_num(one.transpose("time", ...).to_numpy()) for one in told.values())
    steps = (np.abs(np.diff(values, axis=0))[is_within] for values in numbers)
    return any(bool((step > SAME).any()) for step in steps)
