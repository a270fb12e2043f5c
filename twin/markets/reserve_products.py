"""Reserve products: what a MW of capacity asks of who holds it, for how long, and at what price.

Up and down are the grid's: up lowers net import, down raises it. Capacity is sold by blocks of the
market's own day, which has 23, 24 or 25 hours, in steps of a bid, before a gate closes.
"""

from datetime import date
from typing import Annotated, Final, Literal, Self
from zoneinfo import available_timezones

import numpy as np
import pandas as pd
from pydantic import model_validator

from twin import time_axes
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.units import Declaration, ParameterDescription, Quantity

RESERVE_SERIES: Final = ("reserve_price", "reserve_held")
"""What a record or an outlook may say of each product, on ``time`` and ``product``."""

HOURS_PER_DAY: Final = 24.0
"""Hours of a wall clock's day. [h]"""

BID_TOLERANCE: Final = 1e-6
"""Share of a bid's step that is no difference. [1]"""


class ReserveProduct(Declaration):
    """A product of reserve capacity, as the market sells it from a date on.

    What a MW sold asks for: ``power_share`` MW in the product's direction, ``opposite_share`` MW
    in the other, and energy for full activation over ``duration``, however it was used before.
    Terms that change by a date are two tables, one valid until it and one from it on.
    """

    name: str
    direction: Annotated[
        Literal["symmetric", "up", "down"],
        ParameterDescription("of the capacity sold; up is less import"),
    ]
    full_activation: Annotated[
        float, Quantity("min", "time in which all of it must be given", above=0)
    ]
    needs_controller: Annotated[
        bool, ParameterDescription("only who has a `local_controller` may hold it")
    ] = True
    duration: Annotated[
        float, Quantity("h", "full activation that energy must be kept for", above=0, at_most=24)
    ]
    recovery: Annotated[
        float, Quantity("h", "in which energy must be back after use", at_least=0, at_most=24)
    ] = 2.0
    power_share: Annotated[
        float, Quantity("1", "power kept for each MW sold", at_least=1, at_most=2)
    ] = 1.0
    opposite_share: Annotated[
        float, Quantity("1", "power kept the other way for each MW sold", at_least=0, at_most=1)
    ] = 0.0
    block: Annotated[float, Quantity("h", "length of what is sold at once", above=0, at_most=24)]
    time_zone: Annotated[
        str, ParameterDescription("IANA zone of its day, which blocks and gate go by")
    ] = "Europe/Brussels"
    gate: Annotated[
        float, Quantity("h", "from the gate's closure to the day of delivery", at_least=0)
    ]
    least_bid: Annotated[float, Quantity("MW", "least that is sold", above=0)] = 1.0
    bid_step: Annotated[float, Quantity("MW", "step in which it is sold", above=0)] = 1.0
    price: Annotated[
        float, Quantity("EUR MW-1 h-1", "paid for capacity, if no series tells", at_least=0)
    ] = 0.0
    shortfall_price: Annotated[
        float, Quantity("EUR MW-1 h-1", "penalty for capacity sold and not held", above=0)
    ]
    activation_up: Annotated[
        float,
        Quantity("1", "energy expected upwards, share of the capacity", at_least=0, at_most=1),
    ] = 0.0
    activation_down: Annotated[
        float,
        Quantity("1", "energy expected downwards, share of the capacity", at_least=0, at_most=1),
    ] = 0.0
    activation_up_price: (
        Annotated[float, Quantity("EUR MWh-1", "received for energy upwards")] | None
    ) = None
    activation_down_price: (
        Annotated[float, Quantity("EUR MWh-1", "paid for energy downwards")] | None
    ) = None
    valid_from: Annotated[date, ParameterDescription("first day of delivery by these terms")]
    valid_to: Annotated[
        date | None, ParameterDescription("first day on which they hold no more")
    ] = None
    source: Annotated[str, ParameterDescription("who says so, and what is assumed")]

    @model_validator(mode="after")
    def _has_sense(self) -> Self:
        if self.time_zone not in available_timezones():
            message = "time_zone must be an IANA name such as Europe/Brussels"
            raise ValueError(message)
        whole = HOURS_PER_DAY / self.block
        if abs(whole - round(whole)) > BID_TOLERANCE:
            message = "block must go into 24 h without a rest"
            raise ValueError(message)
        bids = self.least_bid / self.bid_step
        if abs(bids - round(bids)) > BID_TOLERANCE:
            message = "least_bid must be a multiple of bid_step"
            raise ValueError(message)
        if self.valid_to is not None and self.valid_to <= self.valid_from:
            message = "valid_to must be after valid_from"
            raise ValueError(message)
        if self.direction == "symmetric" and self.opposite_share > 0.0:
            message = "a symmetric product has no opposite_share: its power_share holds both ways"
            raise ValueError(message)
        return self

    @property
    def is_upward(self) -> bool:
        """Whether net import is lowered."""
        return self.direction != "down"

    @property
    def is_downward(self) -> bool:
        """Whether net import is raised."""
        return self.direction != "up"

    @property
    def power_up(self) -> float:
        """Power kept upwards for each MW sold. [1]"""
        return self.power_share if self.is_upward else self.opposite_share

    @property
    def power_down(self) -> float:
        """Power kept downwards for each MW sold. [1]"""
        return self.power_share if self.is_downward else self.opposite_share

    def sellable_capacity(self, capacity: FloatArray) -> FloatArray:
        """Return the most that can be sold of some capacity: whole steps, or nothing. [MW]"""
        whole = self.bid_step * np.floor(np.asarray(capacity) / self.bid_step + BID_TOLERANCE)
        return np.where(whole >= self.least_bid * (1.0 - BID_TOLERANCE), whole, 0.0)


def block_edges(product: ReserveProduct, first: np.datetime64, last: np.datetime64) -> np.ndarray:
    """Return the edges of a product's blocks that lie around a span of time.

    Parameters
    ----------
    product
        The product.
    first, last
        The moments, UTC. [datetime64]

    Returns
    -------
    numpy.ndarray
        Edges, rising, UTC. [datetime64]

    Notes
    -----
    Blocks longer than an hour follow the wall clock, so that on the day on which clocks change one
    of them is an hour shorter or longer. Blocks of an hour or less follow one another: 23 or 25
    hours are as many.
    """
    zone = product.time_zone
    walls = pd.DatetimeIndex([first, last], tz="UTC").tz_convert(zone).tz_localize(None)
    begin, end = walls.normalize()
    days = pd.date_range(begin, end + pd.DateOffset(days=1), freq="D")
    if product.block > 1.0:
        steps = pd.to_timedelta(
            product.block * np.arange(round(HOURS_PER_DAY / product.block)), unit="h"
        )
        walls = pd.DatetimeIndex((days.to_numpy()[:, None] + steps.to_numpy()).ravel())
        local = walls.tz_localize(
            zone, ambiguous=np.ones(len(walls), dtype=bool), nonexistent="shift_forward"
        )
        found = local.tz_convert("UTC").tz_localize(None).to_numpy()
    else:
        span = [time_axes.local_midnight(days[i], zone) for i in (0, -1)]
        width = np.timedelta64(round(product.block * 3600), "s")
        found = np.arange(span[0], span[1] + width, width)
    found = np.unique(found.astype("datetime64[us]"))
    low = np.searchsorted(found, np.datetime64(first, "us"), side="right") - 1
    high = np.searchsorted(found, np.datetime64(last, "us"), side="left")
    return np.asarray(found[low : high + 1])


def starts_block(product: ReserveProduct, instants: np.ndarray) -> BoolArray:
    """Return at which instants one block goes over into the next.

    Parameters
    ----------
    product
        The product.
    instants
        Edges of intervals. [datetime64, UTC]

    Returns
    -------
    numpy.ndarray
        ``(instant,)``; an edge of a block inside an interval is none: what is held there must
        serve both blocks.
    """
    return np.isin(instants, block_edges(product, instants[0], instants[-1]))


def is_gate_open(
    product: ReserveProduct, instants: np.ndarray, *, now: np.datetime64 | None = None
) -> BoolArray:
    """Return in which intervals capacity can still be sold.

    Parameters
    ----------
    product
        The product.
    instants
        Edges of intervals. [datetime64, UTC]
    now
        The moment; by default the first edge. [datetime64, UTC]

    Returns
    -------
    numpy.ndarray
        ``(time,)``: whether the gate is open for all blocks that an interval touches, and the
        product is valid on their days.
    """
    all_edges = block_edges(product, instants[0], instants[-1])
    days = _days(product, all_edges[:-1])
    gates = np.array([_gate(product, day) for day in days])
    free = (gates > (instants[0] if now is None else now)) & np.array(
        [_is_valid(product, day) for day in days]
    )
    first = np.searchsorted(all_edges, instants[:-1], side="right") - 1
    last = np.searchsorted(all_edges, instants[1:], side="left") - 1
    shut = np.concatenate([[0], np.cumsum(~free)])
    return np.asarray(shut[last + 1] - shut[first] == 0)


def is_recovering(
    product: ReserveProduct,
    used: BoolArray,
    edges: np.ndarray,
    *,
    last_use_end: np.datetime64 | None = None,
) -> BoolArray:
    """Return in which intervals a product is used, or still recovers from its last use.

    Parameters
    ----------
    product
        The product.
    used
        Intervals in which it is used, ``(time,)``.
    edges
        Edges of the intervals, ``(instant,)``. [datetime64]
    last_use_end
        When its last use before them ended, if there was one.

    Returns
    -------
    numpy.ndarray
        ``(time,)``; what is sold and not held then costs no penalty.
    """
    never = edges[0] - np.timedelta64(10_000, "D") if last_use_end is None else last_use_end
    last = np.maximum.accumulate(np.where(used, edges[1:], never))
    return np.asarray(edges[:-1] < last + np.timedelta64(round(product.recovery * 3600), "s"))


def is_valid(product: ReserveProduct, instants: np.ndarray) -> BoolArray:
    """Return in which intervals a product exists, by the market days of their first moments."""
    days = _days(product, instants[:-1])
    return np.array([_is_valid(product, day) for day in days])


def _days(product: ReserveProduct, moments: np.ndarray) -> list[date]:
    """Return the market day of moments."""
    local = pd.DatetimeIndex(moments).tz_localize("UTC").tz_convert(product.time_zone)
    return [stamp.date() for stamp in local]


def _gate(product: ReserveProduct, day: date) -> np.datetime64:
    """Return when the gate of a market day closes. [datetime64, UTC]"""
    midnight = pd.Timestamp(day, tz=product.time_zone)
    return time_axes.to_utc(midnight) - np.timedelta64(round(product.gate * 3600), "s")


def _is_valid(product: ReserveProduct, day: date) -> bool:
    until = product.valid_to
    return product.valid_from <= day and (until is None or day < until)
