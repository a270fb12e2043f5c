"""Reserve products: what a MW of reserve capacity requires, for how long, and at what price.

Directions are the grid's: up lowers net import, down raises it. Capacity is sold in blocks of the
market's day, which has 23, 24 or 25 hours, in bid steps, before gate closure.
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
from twin.units import HOURS_PER_DAY, Declaration, ParameterDescription, Quantity

RESERVE_SERIES: Final = ("reserve_price", "reserve_held")
"""Optional variables of a history or outlook, on ``time`` and ``product``."""

BID_ROUNDING_TOLERANCE: Final = 1e-6
"""Rounding tolerance, as a share of a bid step. [1]"""


class ReserveProduct(Declaration):
    """A reserve capacity product, as the market sells it from a date on.

    A MW sold requires ``power_share`` MW in the product's direction, ``opposite_share`` MW in the
    other, and energy for full activation over ``duration``, whatever was used before. Terms that
    change at a date are two tables, one valid until it and one from it on.
    """

    name: str
    direction: Annotated[
        Literal["symmetric", "up", "down"],
        ParameterDescription("direction of the capacity sold; up is less import"),
    ]
    full_activation: Annotated[float, Quantity("min", "time until full delivery", above=0)]
    needs_controller: Annotated[
        bool, ParameterDescription("only machines with a `local_controller` may provide it")
    ] = True
    duration: Annotated[
        float,
        Quantity("h", "duration of full activation for which energy is kept", above=0, at_most=24),
    ]
    recovery: Annotated[
        float, Quantity("h", "time to restore the energy after use", at_least=0, at_most=24)
    ] = 2.0
    power_share: Annotated[
        float, Quantity("1", "power kept per MW sold", at_least=1, at_most=2)
    ] = 1.0
    opposite_share: Annotated[
        float, Quantity("1", "power kept in the other direction per MW sold", at_least=0, at_most=1)
    ] = 0.0
    block: Annotated[float, Quantity("h", "length of a block", above=0, at_most=24)]
    time_zone: Annotated[
        str, ParameterDescription("IANA zone of the market's day, for blocks and gate")
    ] = "Europe/Brussels"
    gate: Annotated[
        float, Quantity("h", "time from gate closure to the day of delivery", at_least=0)
    ]
    least_bid: Annotated[float, Quantity("MW", "smallest bid", above=0)] = 1.0
    bid_step: Annotated[float, Quantity("MW", "bid step", above=0)] = 1.0
    price: Annotated[
        float, Quantity("EUR MW-1 h-1", "price of capacity, unless a series gives it", at_least=0)
    ] = 0.0
    shortfall_price: Annotated[
        float, Quantity("EUR MW-1 h-1", "penalty for sold capacity that is not available", above=0)
    ]
    activation_up: Annotated[
        float,
        Quantity("1", "expected upward energy, share of the capacity", at_least=0, at_most=1),
    ] = 0.0
    activation_down: Annotated[
        float,
        Quantity("1", "expected downward energy, share of the capacity", at_least=0, at_most=1),
    ] = 0.0
    activation_up_price: (
        Annotated[float, Quantity("EUR MWh-1", "price received for upward energy")] | None
    ) = None
    activation_down_price: (
        Annotated[float, Quantity("EUR MWh-1", "price paid for downward energy")] | None
    ) = None
    valid_from: Annotated[date, ParameterDescription("first day of delivery under these terms")]
    valid_to: Annotated[date | None, ParameterDescription("first day after validity")] = None
    source: Annotated[str, ParameterDescription("source, and what is assumed")]

    @model_validator(mode="after")
    def _check_terms(self) -> Self:
        if self.time_zone not in available_timezones():
            raise ValueError("time_zone must be an IANA name such as Europe/Brussels")
        whole = HOURS_PER_DAY / self.block
        if abs(whole - round(whole)) > BID_ROUNDING_TOLERANCE:
            raise ValueError("block must divide 24 h without a remainder")
        bids = self.least_bid / self.bid_step
        if abs(bids - round(bids)) > BID_ROUNDING_TOLERANCE:
            raise ValueError("least_bid must be a multiple of bid_step")
        if self.valid_to is not None and self.valid_to <= self.valid_from:
            raise ValueError("valid_to must be after valid_from")
        if self.direction == "symmetric" and self.opposite_share > 0.0:
            raise ValueError(
                "remove opposite_share: power_share of a symmetric product covers both directions"
            )
        return self

    @property
    def is_upward(self) -> bool:
        """Whether the product lowers net import."""
        return self.direction != "down"

    @property
    def is_downward(self) -> bool:
        """Whether the product raises net import."""
        return self.direction != "up"

    @property
    def power_up(self) -> float:
        """Upward power kept per MW sold. [1]"""
        return self.power_share if self.is_upward else self.opposite_share

    @property
    def power_down(self) -> float:
        """Downward power kept per MW sold. [1]"""
        return self.power_share if self.is_downward else self.opposite_share

    def sellable_capacity(self, capacity: FloatArray) -> FloatArray:
        """Return the largest sellable part of a capacity: whole bid steps, or nothing. [MW]"""
        whole = self.bid_step * np.floor(
            np.asarray(capacity) / self.bid_step + BID_ROUNDING_TOLERANCE
        )
        return np.where(whole >= self.least_bid * (1.0 - BID_ROUNDING_TOLERANCE), whole, 0.0)


def block_edges(product: ReserveProduct, first: np.datetime64, last: np.datetime64) -> np.ndarray:
    """Return the edges of a product's blocks around the span from ``first`` to ``last``.
    [datetime64, UTC]

    Blocks longer than an hour follow the wall clock, so on the day of a clock change one of them is
    an hour shorter or longer. Shorter blocks follow one another: such a day has 23 or 25 hours of
    them.
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
    """Return at which instants [datetime64, UTC] a block begins, on ``(instant,)``.

    A block edge inside an interval does not count: capacity in that interval serves both blocks.
    """
    return np.isin(instants, block_edges(product, instants[0], instants[-1]))


def is_gate_open(
    product: ReserveProduct, instants: np.ndarray, *, now: np.datetime64 | None = None
) -> BoolArray:
    """Return in which intervals capacity can still be sold, on ``(time,)``.

    ``instants`` are interval edges and ``now`` is the moment, by default the first edge
    [datetime64, UTC]. The gate must be open, and the product valid, for all blocks that an interval
    touches.
    """
    all_edges = block_edges(product, instants[0], instants[-1])
    days = _days(product, all_edges[:-1])
    gates = np.array([_gate(product, day) for day in days])
    is_sellable = (gates > (instants[0] if now is None else now)) & np.array(
        [_is_valid_on(product, day) for day in days]
    )
    first = np.searchsorted(all_edges, instants[:-1], side="right") - 1
    last = np.searchsorted(all_edges, instants[1:], side="left") - 1
    closed = np.concatenate([[0], np.cumsum(~is_sellable)])
    return np.asarray(closed[last + 1] - closed[first] == 0)


def is_recovering(
    product: ReserveProduct,
    used: BoolArray,
    edges: np.ndarray,
    *,
    last_use_end: np.datetime64 | None = None,
) -> BoolArray:
    """Return in which intervals a product is used or still recovers, on ``(time,)``.

    ``used`` marks intervals of use on ``(time,)``; ``edges`` are interval edges on ``(instant,)``
    [datetime64]. Sold capacity that is not available during recovery has no penalty.
    """
    never = edges[0] - np.timedelta64(10_000, "D") if last_use_end is None else last_use_end
    last = np.maximum.accumulate(np.where(used, edges[1:], never))
    return np.asarray(edges[:-1] < last + np.timedelta64(round(product.recovery * 3600), "s"))


def is_product_valid(product: ReserveProduct, instants: np.ndarray) -> BoolArray:
    """Return in which intervals a product is valid, by the market day of their starts."""
    days = _days(product, instants[:-1])
    return np.array([_is_valid_on(product, day) for day in days])


def _days(product: ReserveProduct, moments: np.ndarray) -> list[date]:
    """Return the market day of moments."""
    local = pd.DatetimeIndex(moments).tz_localize("UTC").tz_convert(product.time_zone)
    return [stamp.date() for stamp in local]


def _gate(product: ReserveProduct, day: date) -> np.datetime64:
    """Return when the gate of a market day closes. [datetime64, UTC]"""
    midnight = pd.Timestamp(day, tz=product.time_zone)
    return time_axes.to_utc(midnight) - np.timedelta64(round(product.gate * 3600), "s")


def _is_valid_on(product: ReserveProduct, day: date) -> bool:
    until = product.valid_to
    return product.valid_from <= day and (until is None or day < until)
