"""Reserves over a horizon, from a record: what is sold of each product, and what a MW is paid."""

from collections.abc import Callable
from typing import Final

import numpy as np
import xarray as xr

from twin import vocabulary
from twin.axes import QUARTER, edges_of
from twin.forecast.baselines import DAY
from twin.physics import FloatArray
from twin.physics.numeric import BoolArray
from twin.reserves import WORDS, Reserve, is_open
from twin.site import Site

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
        Its series, as :func:`twin.forecast.record.record` makes them.
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
    words = [word for word in WORDS if word in record]
    if not site.reserves or not words:
        return xr.Dataset()
    wanted = edges_of(axes)
    first = record["time"].to_numpy()[0]
    places = ((wanted - first) // QUARTER).astype(int)
    rows = np.arange(places[0] - BACK * DAY, places[-1])
    instants = first + np.append(rows, places[-1]) * QUARTER
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
    return vocabulary.tag_all(xr.Dataset(found, coords=coords))


def _is_known(
    product: Reserve, instants: np.ndarray, now: np.datetime64, *, foresight: bool
) -> BoolArray:
    if foresight:
        return np.ones(len(instants) - 1, dtype=np.bool_)
    return ~is_open(product, instants, now=now)


def _values(record: xr.Dataset, word: str, product: Reserve, rows: np.ndarray) -> FloatArray:
    """Return what the record has of a product in some quarter-hours; NaN where it has nothing."""
    values: FloatArray = np.full(len(rows), np.nan)
    if product.name in record["product"].to_numpy():
        series = record[word].sel(product=product.name).to_numpy()
        is_there = (rows >= 0) & (rows < len(series))
        values[is_there] = series[rows[is_there]]
    return values


def _most(known: FloatArray, places: np.ndarray, _: Reserve) -> FloatArray:
    """Return the most that is sold in every interval. [MW]"""
    horizon = np.nan_to_num(known[BACK * DAY :])
    return np.asarray(np.maximum.reduceat(horizon, places[:-1] - places[0]))


def _mean(known: FloatArray, places: np.ndarray, product: Reserve) -> FloatArray:
    """Return the mean price of every interval, continued from the days before."""
    found = known.copy()
    for back in range(DAY, BACK * DAY + 1, DAY):
        before = np.concatenate([np.full(back, np.nan), known[:-back]])
        found = np.where(np.isnan(found), before, found)
    horizon = np.where(np.isnan(found), product.price, found)[BACK * DAY :]
    return np.asarray(np.add.reduceat(horizon, places[:-1] - places[0]) / np.diff(places))


_OVER: Final[dict[str, Callable[[FloatArray, np.ndarray, Reserve], FloatArray]]] = {
    "reserve_price": _mean,
    "reserve_held": _most,
}
