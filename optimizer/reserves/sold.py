"""Reserves over a horizon, from a record: what is sold of each product, and what a MW is paid."""

from collections.abc import Callable
from typing import Final

import numpy as np
import xarray as xr

from twin import variables
from twin.forecast.outlook import QUARTERS_PER_DAY
from twin.markets.reserve_products import RESERVE_SERIES, ReserveProduct, is_gate_open
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.site import Site
from twin.time_axes import QUARTER_HOUR, interval_edges

BACK: Final = 14
"""Most days that a price is looked for in the past. [1]"""


def sold(
    site: Site, record: xr.Dataset, now: np.datetime64, *, axes: xr.Dataset, foresight: bool = False
) -> xr.Dataset:
    """Return prices of reserves and what of them is sold over a horizon, in words of an outlook.

    Parameters
    ----------
    site
        The site with its products.
    record
        Its series, as :func:`twin.forecast.history.series_history` makes them.
    now
        The moment, UTC: an auction's result is known when its gate has closed.
    axes
        The horizon, in whole quarter-hours.
    foresight
        Know all of the record.

    Returns
    -------
    xarray.Dataset
        ``reserve_price`` and ``reserve_held`` on ``time`` and ``product``, each where the record
        has it. Where no price is known yet, that of the same quarter-hour of the last day on which
        one was, else the product's own. Of an interval over several blocks the most that is sold.
    """
    words = [word for word in RESERVE_SERIES if word in record]
    if not site.reserves or not words:
        return xr.Dataset()
    wanted = interval_edges(axes)
    first = record["time"].to_numpy()[0]
    places = ((wanted - first) // QUARTER_HOUR).astype(int)
    rows = np.arange(places[0] - BACK * QUARTERS_PER_DAY, places[-1])
    instants = first + np.append(rows, places[-1]) * QUARTER_HOUR
    products = site.reserves.values()
    known = [_is_known(one, instants, now, foresight=foresight) for one in products]
    found = {}
    for word in words:
        columns = [
            _OVER[word](np.where(is_known, _values(record, word, one, rows), np.nan), places, one)
            for one, is_known in zip(products, known, strict=True)
        ]
        found[word] = (("time", "product"), np.stack(columns, axis=-1))
    coords = {"time": axes["time"].to_numpy(), "product": list(site.reserves)}
    return variables.tag_dataset(xr.Dataset(found, coords=coords))


def _is_known(
    product: ReserveProduct, instants: np.ndarray, now: np.datetime64, *, foresight: bool
) -> BoolArray:
    if foresight:
        return np.ones(len(instants) - 1, dtype=np.bool_)
    return ~is_gate_open(product, instants, now=now)


def _values(record: xr.Dataset, word: str, product: ReserveProduct, rows: np.ndarray) -> FloatArray:
    """Return what the record has of a product in some quarter-hours; NaN where it has nothing."""
    values: FloatArray = np.full(len(rows), np.nan)
    if product.name in record["product"].to_numpy():
        series = record[word].sel(product=product.name).to_numpy()
        is_there = (rows >= 0) & (rows < len(series))
        values[is_there] = series[rows[is_there]]
    return values


def _most(known: FloatArray, places: np.ndarray, _: ReserveProduct) -> FloatArray:
    """Return the most that is sold in every interval. [MW]"""
    horizon = np.nan_to_num(known[BACK * QUARTERS_PER_DAY :])
    return np.asarray(np.maximum.reduceat(horizon, places[:-1] - places[0]))


def _mean(known: FloatArray, places: np.ndarray, product: ReserveProduct) -> FloatArray:
    """Return the mean price of every interval, continued from the days before."""
    found = known.copy()
    for back in range(QUARTERS_PER_DAY, BACK * QUARTERS_PER_DAY + 1, QUARTERS_PER_DAY):
        before = np.concatenate([np.full(back, np.nan), known[:-back]])
        found = np.where(np.isnan(found), before, found)
    horizon = np.where(np.isnan(found), product.price, found)[BACK * QUARTERS_PER_DAY :]
    return np.asarray(np.add.reduceat(horizon, places[:-1] - places[0]) / np.diff(places))


_OVER: Final[dict[str, Callable[[FloatArray, np.ndarray, ReserveProduct], FloatArray]]] = {
    "reserve_price": _mean,
    "reserve_held": _most,
}
