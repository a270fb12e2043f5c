"""Horizon and outlook of a problem: time axes, day-ahead position, and reserves.

Near intervals are quarter-hours if published data or requests vary within an hour. Most prices,
forecasts and weather are hourly; quarter-hours then add nothing except for ramps and meters of the
next hours, and hourly intervals take a third of the time.

A site is assumed to be small in its market: everything that it offers is sold at the market price.
Where people make the bids, ``reserve_held`` of the outlook gives the sold capacity instead.
"""

from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from typing import Final

import numpy as np
import xarray as xr

from optimizer.problem.obligations_and_reserves import CAPACITY_TOLERANCE_MW
from twin import time_axes, variables
from twin.forecast.outlook import outlook
from twin.markets.contracts import DayAheadPosition, prices_published_until
from twin.markets.reserve_products import RESERVE_SERIES, ReserveProduct, block_edges, is_gate_open
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.site import Site
from twin.time_axes import QUARTER_HOUR, interval_edges, regrid
from twin.units import QUARTER_HOURS_PER_DAY

HOURLY_HORIZON: Final = ((6.0, 15.0), (66.0, 60.0), (96.0, 240.0))
"""Horizon of hourly data: hours covered, and minutes per interval.

After the third day intervals are four hours of the clock, because little is known by the hour.
"""

QUARTER_HOUR_HORIZON: Final = ((24.0, 15.0), (48.0, 60.0), (96.0, 240.0))
"""Horizon of data that vary within an hour: one day of quarter-hours."""

POSITION_VARIABLE: Final = "day_ahead_position"

PUBLISHED_MARKET_VARIABLES: Final = ("electricity_price", POSITION_VARIABLE, *RESERVE_SERIES)
"""Variables published ahead by markets, by the hour or the quarter-hour."""

VALUE_TOLERANCE: Final = 1e-6
"""Difference of prices and powers that is ignored. [EUR MWh-1; MW]"""

type ExternalRequests = Callable[[xr.Dataset], xr.Dataset]
"""Horizon -> requests of others, as outlook variables."""


def no_requests(_: xr.Dataset) -> xr.Dataset:
    """Return no requests."""
    return xr.Dataset()


def build_horizon(
    site: Site, record: xr.Dataset, now: np.datetime64, *, requests: ExternalRequests = no_requests
) -> xr.Dataset:
    """Return the time axes of a plan from ``now`` (UTC).

    The axes follow :data:`QUARTER_HOUR_HORIZON` if published prices or requests vary within an
    hour, else :data:`HOURLY_HORIZON`. ``record`` is made by
    :func:`twin.forecast.series_record.series_history`; unpublished values are not used.
    """
    fine = time_axes.horizon_axes(now, QUARTER_HOUR_HORIZON)
    until = prices_published_until(now, site.resolved_market_time_zone)
    published = record[[name for name in PUBLISHED_MARKET_VARIABLES if name in record]]
    first, end = np.searchsorted(record["time"].to_numpy(), [now, until])
    near = published.isel(time=slice(first, end))
    return (
        fine
        if _varies_within_hour(near) or _varies_within_hour(requests(fine))
        else time_axes.horizon_axes(now, HOURLY_HORIZON)
    )


def _varies_within_hour(data: xr.Dataset) -> bool:
    """Return whether any variable varies within an hour of the clock."""
    if "time" not in data.dims:
        return False
    hours = data["time"].to_numpy().astype("datetime64[h]")
    is_within = hours[1:] == hours[:-1]
    numbers = (np.nan_to_num(one.transpose("time", ...).to_numpy()) for one in data.values())
    steps = (np.abs(np.diff(values, axis=0))[is_within] for values in numbers)
    return any(bool((step > VALUE_TOLERANCE).any()) for step in steps)


IMBALANCE_PRICE_VARIABLES: Final = ("imbalance_short_price", "imbalance_long_price")

MIN_KNOWN_SHARE: Final = 1.0 - 1e-9
"""Share of an interval that must be known. [1]"""


def position_outlook(
    site: Site, record: xr.Dataset, now: np.datetime64, *, axes: xr.Dataset, foresight: bool = False
) -> xr.Dataset:
    """Return the day-ahead position of a site over a horizon, as outlook variables.

    These are ``day_ahead_position`` and ``position_held``; nothing without a position. It is known
    when its prices are. With ``foresight`` the whole record is known, and imbalance prices are
    added; they are published afterwards, so a plan has none.
    """
    markets = site.machines_of(DayAheadPosition)
    if not markets or POSITION_VARIABLE not in record:
        return xr.Dataset()
    edges = interval_edges(axes)
    until = edges[-1] if foresight else prices_published_until(now, site.resolved_market_time_zone)
    power, is_known = _means(record, POSITION_VARIABLE, edges, until=until)
    found = {POSITION_VARIABLE: power, "position_held": is_known}
    if foresight and all(name in record for name in IMBALANCE_PRICE_VARIABLES):
        spot = regrid(record["electricity_price"].to_numpy(), interval_edges(record), edges)
        sign = {IMBALANCE_PRICE_VARIABLES[0]: 1.0, IMBALANCE_PRICE_VARIABLES[1]: -1.0}
        for name in IMBALANCE_PRICE_VARIABLES:
            price, known = _means(record, name, edges, until=until)
            usual = spot + sign[name] * markets[0].imbalance_spread
            found[name] = np.where(known > 0.0, price, usual)
    series = {name: ("time", values) for name, values in found.items()}
    return variables.tag_dataset(xr.Dataset(series, coords={"time": axes["time"].to_numpy()}))


def _means(
    record: xr.Dataset, name: str, edges: np.ndarray, *, until: np.datetime64
) -> tuple[FloatArray, FloatArray]:
    """Return means of a variable, and 1 where it is known throughout an interval, else 0 and
    zero.
    """
    values = record[name].to_numpy()
    is_known = np.isfinite(values) & (record["time"].to_numpy() < until)
    stacked = np.stack([np.where(is_known, values, 0.0), is_known.astype(float)])
    means, share = regrid(stacked, interval_edges(record), edges)
    known = (share >= MIN_KNOWN_SHARE).astype(float)
    return means * known, known


PRICE_LOOKBACK_DAYS: Final = 14
"""Days in which a known price is searched. [1]"""


def reserve_outlook(
    site: Site, record: xr.Dataset, now: np.datetime64, *, axes: xr.Dataset, foresight: bool = False
) -> xr.Dataset:
    """Return reserve prices and sold capacity over a horizon, as outlook variables.

    These are ``reserve_price`` and ``reserve_held`` on ``time`` and ``product``, as far as the
    record has them. Results are known after the gate closes; with ``foresight`` the whole record
    is. An unknown price is that of the same quarter-hour of the last known day, else the product's
    own. An interval with several blocks has their largest capacity. The horizon has whole
    quarter-hours.
    """
    series = [variable for variable in RESERVE_SERIES if variable in record]
    if not site.reserves or not series:
        return xr.Dataset()
    edges = interval_edges(axes)
    first = record["time"].to_numpy()[0]
    places = ((edges - first) // QUARTER_HOUR).astype(int)
    rows = np.arange(places[0] - PRICE_LOOKBACK_DAYS * QUARTER_HOURS_PER_DAY, places[-1])
    instants = first + np.append(rows, places[-1]) * QUARTER_HOUR
    products = site.reserves.values()
    known = [_is_known(one, instants, now, foresight=foresight) for one in products]
    found = {}
    for variable in series:
        columns = [
            _AGGREGATIONS[variable](
                np.where(is_known, _values(record, variable, one, rows), np.nan), places, one
            )
            for one, is_known in zip(products, known, strict=True)
        ]
        found[variable] = (("time", "product"), np.stack(columns, axis=-1))
    coords = {"time": axes["time"].to_numpy(), "product": list(site.reserves)}
    return variables.tag_dataset(xr.Dataset(found, coords=coords))


def _is_known(
    product: ReserveProduct, instants: np.ndarray, now: np.datetime64, *, foresight: bool
) -> BoolArray:
    if foresight:
        return np.ones(len(instants) - 1, dtype=np.bool_)
    return ~is_gate_open(product, instants, now=now)


def _values(
    record: xr.Dataset, variable: str, product: ReserveProduct, rows: np.ndarray
) -> FloatArray:
    """Return values of a product in some quarter-hours of the record; NaN where there are none."""
    values: FloatArray = np.full(len(rows), np.nan)
    if product.name in record["product"].to_numpy():
        series = record[variable].sel(product=product.name).to_numpy()
        is_there = (rows >= 0) & (rows < len(series))
        values[is_there] = series[rows[is_there]]
    return values


def _max_over_interval(known: FloatArray, places: np.ndarray, _: ReserveProduct) -> FloatArray:
    """Return the largest capacity of every interval. [MW]"""
    horizon = np.nan_to_num(known[PRICE_LOOKBACK_DAYS * QUARTER_HOURS_PER_DAY :])
    return np.asarray(np.maximum.reduceat(horizon, places[:-1] - places[0]))


def _mean(known: FloatArray, places: np.ndarray, product: ReserveProduct) -> FloatArray:
    """Return the mean price of every interval, continued from the days before. [EUR MW-1 h-1]"""
    found = known.copy()
    for back in range(
        QUARTER_HOURS_PER_DAY,
        PRICE_LOOKBACK_DAYS * QUARTER_HOURS_PER_DAY + 1,
        QUARTER_HOURS_PER_DAY,
    ):
        before = np.concatenate([np.full(back, np.nan), known[:-back]])
        found = np.where(np.isnan(found), before, found)
    horizon = np.where(np.isnan(found), product.price, found)[
        PRICE_LOOKBACK_DAYS * QUARTER_HOURS_PER_DAY :
    ]
    return np.asarray(np.add.reduceat(horizon, places[:-1] - places[0]) / np.diff(places))


_AGGREGATIONS: Final[dict[str, Callable[[FloatArray, np.ndarray, ReserveProduct], FloatArray]]] = {
    "reserve_price": _mean,
    "reserve_held": _max_over_interval,
}


class SoldReserves:
    """Reserve capacity sold so far, by product and block."""

    def __init__(self, site: Site) -> None:
        self._products = dict(site.reserves)
        self._sold: dict[str, dict[np.datetime64, float]] = defaultdict(dict)

    def as_outlook(self, horizon: xr.Dataset) -> xr.Dataset:
        """Return ``reserve_held`` over a horizon, on ``time`` and ``product``; nothing without
        products.

        An interval with several blocks has their largest capacity.
        """
        if not self._products:
            return xr.Dataset()
        rows = [self._row(product, horizon) for product in self._products.values()]
        data = (("time", "product"), np.stack(rows, axis=-1))
        coords = {"time": horizon["time"].to_numpy(), "product": list(self._products)}
        return variables.tag_dataset(xr.Dataset({"reserve_held": data}, coords=coords))

    def record_sales_before(self, schedule: xr.Dataset, until: np.datetime64) -> None:
        """Sell offers of a schedule in blocks whose gates close before ``until`` (UTC), the next
        decision.
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
    """Return the starts of the blocks that an interval overlaps."""
    return list(block_edges(product, begin, end)[:-1])


def build_outlook(
    site: Site, record: xr.Dataset, now: np.datetime64, *, axes: xr.Dataset, foresight: bool = False
) -> xr.Dataset:
    """Return the outlook of a record over a horizon: forecast, day-ahead position and reserves.

    With ``foresight`` the whole record is known. Raises SeriesError if the record does not cover
    the horizon.
    """
    combined = outlook(site, record, now, axes=axes, has_perfect_foresight=foresight)
    for part in (position_outlook, reserve_outlook):
        combined = combined.merge(part(site, record, now, axes=axes, foresight=foresight))
    return combined
