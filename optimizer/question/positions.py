"""A day-ahead position over a horizon, from a record, and nothing that is not known yet."""

from typing import Final

import numpy as np
import xarray as xr

from twin import variables
from twin.forecast.history import published_until
from twin.markets.contracts import DayAheadPosition
from twin.physics import FloatArray
from twin.site import Site
from twin.time_axes import interval_edges, regrid

POSITION: Final = "day_ahead_position"

PRICES: Final = ("imbalance_short_price", "imbalance_long_price")

WHOLE: Final = 1.0 - 1e-9
"""Share of an interval from which on it is held. [1]"""


def positions(
    site: Site, record: xr.Dataset, now: np.datetime64, *, axes: xr.Dataset, foresight: bool = False
) -> xr.Dataset:
    """Return the position of a site over a horizon, in words of an outlook.

    Parameters
    ----------
    site
        The site; only one with a contract ``day_ahead`` holds a position.
    record
        Its series, as :func:`twin.forecast.history.series_history` makes them.
    now
        The moment, UTC: an auction's position is known when its prices are.
    axes
        The horizon.
    foresight
        Know all of the record, the prices of imbalance among it: they are published afterwards, so
        a plan goes without them.

    Returns
    -------
    xarray.Dataset
        ``day_ahead_position``, ``position_held`` and, with foresight, the prices of imbalance
        where the record has them; nothing if there is no position.
    """
    markets = site.of(DayAheadPosition)
    if not markets or POSITION not in record:
        return xr.Dataset()
    wanted = interval_edges(axes)
    until = wanted[-1] if foresight else published_until(now, site.market_day_zone)
    power, held = _means(record, POSITION, wanted, until=until)
    found = {POSITION: power, "position_held": held}
    if foresight and all(name in record for name in PRICES):
        spot = regrid(record["electricity_price"].to_numpy(), interval_edges(record), wanted)
        sign = {PRICES[0]: 1.0, PRICES[1]: -1.0}
        for name in PRICES:
            price, known = _means(record, name, wanted, until=until)
            usual = spot + sign[name] * markets[0].imbalance_spread
            found[name] = np.where(known > 0.0, price, usual)
    words = {name: ("time", values) for name, values in found.items()}
    return variables.tag_dataset(xr.Dataset(words, coords={"time": axes["time"].to_numpy()}))


def _means(
    record: xr.Dataset, name: str, wanted: np.ndarray, *, until: np.datetime64
) -> tuple[FloatArray, FloatArray]:
    """Return means of a word, and 1 where it is known throughout an interval, else 0 and zero."""
    values = record[name].to_numpy()
    is_known = np.isfinite(values) & (record["time"].to_numpy() < until)
    stacked = np.stack([np.where(is_known, values, 0.0), is_known.astype(float)])
    means, share = regrid(stacked, interval_edges(record), wanted)
    held = (share >= WHOLE).astype(float)
    return means * held, held
