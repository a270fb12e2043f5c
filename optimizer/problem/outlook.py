"""Reserves over a horizon, from a record: what is sold of each product, and what a MW is paid.

The horizon of a plan: quarter-hours near, and as far as anybody tells anything by the quarter.

Prices, forecasts and weather are mostly told by the hour. Quarters of such an hour have nothing
that the hour has not, but for the ramps and the meter of the hours just ahead, and cost a third of
a decision.

A day-ahead position over a horizon, from a record, and nothing that is not known yet.

The book of reserves: what was offered when a gate closed is sold, block by block.

A site is taken to be small beside its market: all that it offers is taken, at the market's price.
Where bids are made by people, what they sold comes as ``reserve_held`` of an outlook instead.
"""

from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from typing import Final

import numpy as np
import xarray as xr

from optimizer.problem.contracts import CAPACITY_TOLERANCE_MW
from twin import time_axes, variables
from twin.forecast.history import published_until
from twin.forecast.outlook import QUARTERS_PER_DAY, outlook
from twin.markets.contracts import DayAheadPosition
from twin.markets.reserve_products import RESERVE_SERIES, ReserveProduct, block_edges, is_gate_open
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.site import Site
from twin.time_axes import QUARTER_HOUR, interval_edges, regrid

HOURLY_HORIZON: Final = ((6.0, 15.0), (66.0, 60.0), (96.0, 240.0))
"""The horizon where nothing moves within an hour: hours covered and minutes an interval.

After the third day in blocks of four hours of the clock: of days so far off little is known by the
hour.
"""

QUARTER_HOUR_HORIZON: Final = ((24.0, 15.0), (48.0, 60.0), (96.0, 240.0))
"""The horizon where something does: a day of quarter-hours."""

POSITION_VARIABLE: Final = "day_ahead_position"

MARKET_VARIABLES: Final = ("electricity_price", POSITION_VARIABLE, *RESERVE_SERIES)
"""Words of a record that markets tell ahead, some by the hour and some by the quarter."""

VALUE_TOLERANCE: Final = 1e-6
"""What is no difference of prices and powers. [EUR MWh-1; MW]"""

type ExternalRequests = Callable[[xr.Dataset], xr.Dataset]
"""Horizon -> what others ask of the site over it, in words of an outlook."""


def no_requests(_: xr.Dataset) -> xr.Dataset:
    """Ask nothing."""
    return xr.Dataset()


def build_horizon(
    site: Site, record: xr.Dataset, now: np.datetime64, *, requests: ExternalRequests = no_requests
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
    requests
        What others ask of the site.

    Returns
    -------
    xarray.Dataset
        By :data:`QUARTER_HOUR_HORIZON` where published prices or promises of the next day move
        within an hour, else by :data:`HOURLY`; all of either have one shape.
    """
    fine = time_axes.horizon_axes(now, QUARTER_HOUR_HORIZON)
    until = published_until(now, site.market_zone)
    published = record[[name for name in MARKET_VARIABLES if name in record]]
    first, end = np.searchsorted(record["time"].to_numpy(), [now, until])
    near = published.isel(time=slice(first, end))
    return (
        fine
        if _varies_within_hour(near) or _varies_within_hour(requests(fine))
        else time_axes.horizon_axes(now, HOURLY_HORIZON)
    )


def _varies_within_hour(told: xr.Dataset) -> bool:
    """Return whether any word moves within an hour of the clock."""
    if "time" not in told.dims:
        return False
    hours = told["time"].to_numpy().astype("datetime64[h]")
    is_within = hours[1:] == hours[:-1]
    numbers = (np.nan_to_num(one.transpose("time", ...).to_numpy()) for one in told.values())
    steps = (np.abs(np.diff(values, axis=0))[is_within] for values in numbers)
    return any(bool((step > VALUE_TOLERANCE).any()) for step in steps)


IMBALANCE_PRICE_VARIABLES: Final = ("imbalance_short_price", "imbalance_long_price")

KNOWN_SHARE: Final = 1.0 - 1e-9
"""Share of an interval from which on it is held. [1]"""


def position_outlook(
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
    markets = site.machines_of(DayAheadPosition)
    if not markets or POSITION_VARIABLE not in record:
        return xr.Dataset()
    wanted = interval_edges(axes)
    until = wanted[-1] if foresight else published_until(now, site.market_zone)
    power, held = _means(record, POSITION_VARIABLE, wanted, until=until)
    found = {POSITION_VARIABLE: power, "position_held": held}
    if foresight and all(name in record for name in IMBALANCE_PRICE_VARIABLES):
        spot = regrid(record["electricity_price"].to_numpy(), interval_edges(record), wanted)
        sign = {IMBALANCE_PRICE_VARIABLES[0]: 1.0, IMBALANCE_PRICE_VARIABLES[1]: -1.0}
        for name in IMBALANCE_PRICE_VARIABLES:
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
    held = (share >= KNOWN_SHARE).astype(float)
    return means * held, held


PRICE_LOOKBACK_DAYS: Final = 14
"""Most days that a price is looked for in the past. [1]"""


def reserve_outlook(
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
    rows = np.arange(places[0] - PRICE_LOOKBACK_DAYS * QUARTERS_PER_DAY, places[-1])
    instants = first + np.append(rows, places[-1]) * QUARTER_HOUR
    products = site.reserves.values()
    known = [_is_known(one, instants, now, foresight=foresight) for one in products]
    found = {}
    for word in words:
        columns = [
            _AGGREGATIONS[word](
                np.where(is_known, _values(record, word, one, rows), np.nan), places, one
            )
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


def _max_over_interval(known: FloatArray, places: np.ndarray, _: ReserveProduct) -> FloatArray:
    """Return the most that is sold in every interval. [MW]"""
    horizon = np.nan_to_num(known[PRICE_LOOKBACK_DAYS * QUARTERS_PER_DAY :])
    return np.asarray(np.maximum.reduceat(horizon, places[:-1] - places[0]))


def _mean(known: FloatArray, places: np.ndarray, product: ReserveProduct) -> FloatArray:
    """Return the mean price of every interval, continued from the days before."""
    found = known.copy()
    for back in range(
        QUARTERS_PER_DAY, PRICE_LOOKBACK_DAYS * QUARTERS_PER_DAY + 1, QUARTERS_PER_DAY
    ):
        before = np.concatenate([np.full(back, np.nan), known[:-back]])
        found = np.where(np.isnan(found), before, found)
    horizon = np.where(np.isnan(found), product.price, found)[
        PRICE_LOOKBACK_DAYS * QUARTERS_PER_DAY :
    ]
    return np.asarray(np.add.reduceat(horizon, places[:-1] - places[0]) / np.diff(places))


_AGGREGATIONS: Final[dict[str, Callable[[FloatArray, np.ndarray, ReserveProduct], FloatArray]]] = {
    "reserve_price": _mean,
    "reserve_held": _max_over_interval,
}


class SoldReserves:
    """What has been sold so far.

    Parameters
    ----------
    site
        The site with its products.
    """

    def __init__(self, site: Site) -> None:
        self._products = dict(site.reserves)
        self._sold: dict[str, dict[np.datetime64, float]] = defaultdict(dict)

    def as_outlook(self, horizon: xr.Dataset) -> xr.Dataset:
        """Return what is sold over a horizon; of a site without products nothing.

        Parameters
        ----------
        horizon
            Axes ``time`` and ``instant``.

        Returns
        -------
        xarray.Dataset
            ``reserve_held`` on ``time`` and ``product``; of several blocks in an interval the most
            that is sold in any.
        """
        if not self._products:
            return xr.Dataset()
        rows = [self._row(product, horizon) for product in self._products.values()]
        data = (("time", "product"), np.stack(rows, axis=-1))
        coords = {"time": horizon["time"].to_numpy(), "product": list(self._products)}
        return variables.tag_dataset(xr.Dataset({"reserve_held": data}, coords=coords))

    def close_gates(self, schedule: xr.Dataset, until: np.datetime64) -> None:
        """Sell what a schedule offers in blocks whose gates close before the next decision.

        Parameters
        ----------
        schedule
            The schedule just made.
        until
            When the next one is made. [datetime64, UTC]
        """
        instants = time_axes.interval_edges(schedule)
        for name, product in self._products.items():
            offered = schedule["reserve_capacity"].sel(product=name).to_numpy()
            closes = is_gate_open(product, instants) & ~is_gate_open(product, instants, now=until)
            for step in np.flatnonzero(closes & (offered > CAPACITY_TOLERANCE_MW)):
                blocks = _blocks_of(product, instants[step], instants[step + 1])
                self._sold[name] |= dict.fromkeys(blocks, float(offered[step]))

    def _row(self, product: ReserveProduct, horizon: xr.Dataset) -> FloatArray:
        sold, instants = self._sold[product.name], horizon["instant"].to_numpy()
        return np.array(
            [
                max(
                    (sold.get(block, 0.0) for block in _blocks_of(product, begin, end)), default=0.0
                )
                for begin, end in pairwise(instants)
            ]
        )


def _blocks_of(
    product: ReserveProduct, begin: np.datetime64, end: np.datetime64
) -> list[np.datetime64]:
    """Return the starts of the blocks that an interval touches."""
    return list(block_edges(product, begin, end)[:-1])


def build_outlook(
    site: Site, record: xr.Dataset, now: np.datetime64, *, axes: xr.Dataset, foresight: bool = False
) -> xr.Dataset:
    """Return what the record tells of a horizon: the outlook, what is bought and what is sold.

    Parameters
    ----------
    site
        The site.
    record
        Its series, as :func:`twin.forecast.history.series_history` makes them.
    now
        The moment, UTC.
    axes
        The horizon.
    foresight
        Know all of the record.

    Returns
    -------
    xarray.Dataset
        As :func:`twin.forecast.outlook.outlook` tells, with the words of
        :func:`optimizer.problem.outlook.position_outlook` and
        :func:`optimizer.problem.outlook.reserve_outlook`.

    Raises
    ------
    SeriesError
        If the record does not reach the horizon.
    """
    whole = outlook(site, record, now, axes=axes, has_perfect_foresight=foresight)
    for more in (position_outlook, reserve_outlook):
        whole = whole.merge(more(site, record, now, axes=axes, foresight=foresight))
    return whole
