"""Full activation of reserves: the power and energy that it needs, and the resulting levels.

It covers when activations may end, how long they last in each interval, and the headroom that a
plan keeps for sold reserves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import xarray as xr

from twin.equipment.storage import STORAGE_TAPER_TIME_H
from twin.markets.reserve_products import ReserveProduct
from twin.physics import FloatArray
from twin.relations import Store
from twin.site import Site

MIN_CAPACITY_MW: Final = 1e-3
"""Capacity that counts as zero. [MW]"""

NEGLIGIBLE_TIME_H: Final = 1e-9
"""Time that counts as zero. [h]"""


def reserved_power(
    products: Mapping[str, ReserveProduct], capacities: Mapping[str, FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """Return the upward and downward power reserved for some capacities [MW], ``(time,)``. [MW]"""
    up = sum((products[name].power_up * values for name, values in capacities.items()), np.zeros(1))
    down = sum(
        (products[name].power_down * values for name, values in capacities.items()), np.zeros(1)
    )
    return np.asarray(up), np.asarray(down)


def extreme_levels(
    store: Store,
    products: Mapping[str, ReserveProduct],
    capacities: Mapping[str, FloatArray],
    *,
    level: FloatArray,
    net: FloatArray,
    durations: FloatArray,
    taper_time: float = STORAGE_TAPER_TIME_H,
) -> tuple[FloatArray, FloatArray]:
    """Return the lowest and highest level after full activation, ``(time,)``. [MWh]

    Without capacity it is the middle of the window.

    - ``capacities``: Capacity by product, ``(time,)``. [MW]
    - ``level``: Planned level, ``(instant,)``. [MWh]
    - ``net``: Planned charge less discharge, ``(time,)``. [MW]
    - ``durations``: Lengths of the intervals. [h]
    - ``taper_time``: Time constant with which power tapers near an end of the window. [h]

    An activation of each product may end at any time and has lasted its full time; the plan
    continues meanwhile. Levels are piecewise linear between the edges of the plan and the times one
    duration after an edge, so they are evaluated there. The energy must also be available at the
    start of each interval, whatever the plan does after it. Energy near the end of the window that
    full power needs, so that it does not taper, counts as used.
    """
    up = [(products[n].duration, row) for n, row in capacities.items() if products[n].is_upward]
    down = [(products[n].duration, row) for n, row in capacities.items() if products[n].is_downward]
    plan = partial(_worst, store, level=level, net=net, hours=durations, taper_time=taper_time)
    return plan(up, sign=-1.0), plan(down, sign=1.0)


def _worst(
    store: Store,
    capacities_by_duration: Sequence[tuple[float, FloatArray]],
    *,
    sign: float,
    level: FloatArray,
    net: FloatArray,
    hours: FloatArray,
    taper_time: float,
) -> FloatArray:
    """Return the extreme level after full activation in one direction; see :func:`extreme_levels`.

    ``capacities_by_duration`` are pairs of duration [h] and capacity ``(time,)`` [MW]; ``sign`` is
    -1 upwards.
    """
    ends, worst = np.concatenate([[0.0], np.cumsum(hours)]), np.fmin if sign < 0.0 else np.fmax
    points = np.unique(
        np.concatenate([ends, *(ends + span for span, _ in capacities_by_duration)]).round(9)
    )
    points = points[(points > NEGLIGIBLE_TIME_H) & (points <= ends[-1] + NEGLIGIBLE_TIME_H)]
    step = np.searchsorted(ends, points - NEGLIGIBLE_TIME_H, side="right") - 1
    energy = sum((span * row for span, row in capacities_by_duration), 0.0 * hours)
    every = sum((row for _, row in capacities_by_duration), 0.0 * hours)
    rest, full = (
        taper_time * _stored(store, sign * p) for p in (every, _full_power(every, sign * net))
    )
    begun = level[:-1] + _stored(store, sign * energy) + rest
    by_step = np.where(energy > 0.0, begun, np.nan)
    change, used, recent = np.zeros(len(points)), np.zeros(len(points)), 0.0
    for last in sorted({span for span, _ in capacities_by_duration}):
        row = sum((one for span, one in capacities_by_duration if span >= last), 0.0 * net)
        begin = np.maximum(ends[:-1], points[:, None] - last)
        until = np.minimum(ends[1:], points[:, None] - recent)
        overlap = np.maximum(until - begin, 0.0)
        change += overlap @ (_stored(store, net + sign * row) - _stored(store, net))
        used += overlap @ row
        recent = last
    ended = np.interp(points, ends, level) + change + full[step]
    worst.at(by_step, step, np.where(used > NEGLIGIBLE_TIME_H, ended, np.nan))
    return np.where(np.isnan(by_step), 0.5 * (store.min_level + store.max_level), by_step)


def _full_power(capacity: FloatArray, planned: FloatArray) -> FloatArray:
    """Return the power in one direction with the capacity in use; none without capacity. [MW]"""
    return np.where(capacity > NEGLIGIBLE_TIME_H, np.maximum(capacity + planned, 0.0), 0.0)


def _stored(store: Store, power: FloatArray) -> FloatArray:
    """Return the rate of change of a level at some net power. [MW]"""
    return np.asarray(store.level_rate(np.maximum(power, 0.0), np.maximum(-power, 0.0)))


def deferred_work(
    product: ReserveProduct, capacity: FloatArray, pause_loss: float, *, durations: FloatArray
) -> FloatArray:
    """Return the energy that activated work has not used by the end of an interval, ``(time,)``.
    [MWh]

    The loss of a pause counts at once.

    - ``capacity``: Capacity of the work, ``(time,)``. [MW]
    - ``pause_loss``: Time lost by a pause. [h]
    - ``durations``: Lengths of the intervals. [h]
    """
    count = len(durations)
    spans = activation_overlap(durations, product.duration, count)
    rows = np.arange(count)[:, None] - np.arange(count)[::-1]
    return np.asarray((spans * capacity[np.maximum(rows, 0)]).sum(axis=1) + pause_loss * capacity)


WINDOW_TOLERANCE_H: Final = 1e-6
"""Time that counts as zero. [h]"""


def activation_ends(interval_lengths: FloatArray, durations: Sequence[float]) -> FloatArray:
    """Return the times at which activations that begin or end at an edge may end, ``(time, end)``.
    [h]

    Times count from the start of the interval: its end, then those inside that lie a duration after
    an edge; NaN where there are fewer.

    - ``interval_lengths``: Lengths of the intervals, ``(time,)``. [h]
    - ``durations``: Lengths of the activations. [h]
    """
    edges = np.concatenate([[0.0], np.cumsum(interval_lengths)])
    every = np.unique(np.add.outer(edges, np.asarray(durations, dtype=float)).round(9))
    place = np.clip(np.searchsorted(edges, every, side="right") - 1, 0, len(interval_lengths) - 1)
    is_inside = (every > edges[place] + WINDOW_TOLERANCE_H) & (
        every < edges[place + 1] - WINDOW_TOLERANCE_H
    )
    every, place = every[is_inside], place[is_inside]
    order = 1 + np.arange(len(place)) - np.searchsorted(place, place)
    found = np.full((len(interval_lengths), 1 + order.max(initial=0)), np.nan)
    found[:, 0] = interval_lengths
    found[place, order] = every - edges[place]
    return found


def max_touched_intervals(
    durations: FloatArray, duration: float, until: FloatArray | None = None
) -> int:
    """Return the most intervals that a full activation can touch, its last one included. [1]

    Parameters are as for :func:`activation_overlap`. [h]
    """
    touched = activation_overlap(durations, duration, len(durations), until=until) > 0.0
    return int(touched.sum(axis=-1).max())


def activation_overlap(
    durations: FloatArray, duration: float, count: int, *, until: FloatArray | None = None
) -> FloatArray:
    """Return how long a full activation lasts in its last interval and in those before. [h]

    The result is on ``(time, ..., count)``; the interval itself is last.

    - ``durations``: Lengths of the intervals, ``(time,)``. [h]
    - ``duration``: Length of the activation. [h]
    - ``count``: Number of intervals, the last one included. [1]
    - ``until``: End of the activation since the start of the interval, ``(time, ...)``; NaN for
      none, by default the end of the interval. [h]
    """
    stop = durations if until is None else until
    edges = np.concatenate([[0.0], np.cumsum(durations)]).reshape(-1, *(1,) * (stop.ndim - 1))
    last = edges[:-1] + stop
    found = np.zeros((*stop.shape, count))
    for back in range(count):
        rows = np.arange(back, len(durations))
        begin = np.maximum(edges[rows - back], last[rows] - duration)
        end = np.minimum(edges[rows - back + 1], last[rows])
        found[rows, ..., count - 1 - back] = np.maximum(end - begin, 0.0)
    return np.where(found > WINDOW_TOLERANCE_H, found, 0.0)


@dataclass(frozen=True, kw_only=True)
class ReservedStorage:
    """Power and energy reserved in a battery.

    - ``power_up``, ``power_down``: Power reserved upwards and downwards, ``(time,)``. [MW]
    - ``required_energy``, ``required_room``: Energy that must be stored, and capacity that must be
      free, at the edges, ``(instant,)``. [MWh]
    """

    power_up: FloatArray
    power_down: FloatArray
    required_energy: FloatArray
    required_room: FloatArray


def reserved_storage(site: Site, schedule: xr.Dataset, store: Store) -> ReservedStorage:
    """Return the headroom of a battery in a schedule, from its ``battery_reserve``."""
    count = schedule.sizes["time"]
    capacity: dict[str, FloatArray] = {}
    if "battery_reserve" in schedule:
        capacity = _by_product(schedule["battery_reserve"].sel(battery=store.owner))
    up, down = reserved_power(site.reserves, capacity)
    energy = {True: np.zeros(count), False: np.zeros(count)}
    for name, values in capacity.items():
        product = site.reserves[name]
        spent = (product.duration + STORAGE_TAPER_TIME_H) * values / store.discharge_efficiency
        energy[True] += spent * product.is_upward
        energy[False] += spent * product.is_downward
    return ReservedStorage(
        power_up=np.broadcast_to(up, count),
        power_down=np.broadcast_to(down, count),
        required_energy=_at_edges(energy[True]),
        required_room=_at_edges(energy[False]),
    )


def connection_headroom(site: Site, schedule: xr.Dataset) -> tuple[FloatArray, FloatArray]:
    """Return how far reserves may lower, and raise, net import, ``(time,)``. [MW]"""
    nothing = np.zeros(schedule.sizes["time"])
    if "reserve_capacity" not in schedule:
        return nothing, nothing
    up, down = reserved_power(site.reserves, _by_product(schedule["reserve_capacity"]))
    return np.broadcast_to(up, nothing.shape), np.broadcast_to(down, nothing.shape)


def required_running_work(site: Site, schedule: xr.Dataset) -> dict[str, FloatArray]:
    """Return the power of work that must run, so that it can stop, by kind, ``(time,)``. [MW]"""
    if "work_reserve" not in schedule:
        return {}
    found, kinds = {}, schedule["kind"].to_numpy()
    for kind in site.work:
        part = schedule["work_reserve"].isel(cohort=np.flatnonzero(kinds == kind)).sum("cohort")
        found[kind], _ = reserved_power(site.reserves, _by_product(part))
    return found


def _by_product(capacity: xr.DataArray) -> dict[str, FloatArray]:
    """Return the capacity of each product, ``(time,)``. [MW]"""
    return {str(p): capacity.sel(product=p).to_numpy() for p in capacity["product"].to_numpy()}


def _at_edges(values: FloatArray) -> FloatArray:
    """Return the larger value of the intervals on both sides of each edge."""
    return np.asarray(np.maximum(np.append(values, values[-1]), np.append(values[0], values)))
