"""Full activation of reserves: the power and energy that it takes, and the levels it leads to."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import numpy as np

from twin.physics import FloatArray
from twin.relations import Store
from twin.reserved.endings import overlap
from twin.reserves import Reserve
from twin.walk import TAPER

LEAST: Final = 1e-3
"""Capacity that is none. [MW]"""

INSTANT: Final = 1e-9
"""Time that is none. [h]"""


def powers(
    products: Mapping[str, Reserve], held: Mapping[str, FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """Return the power kept free upwards and downwards for some capacities, ``(time,)``. [MW]

    Parameters
    ----------
    products
        Products by name.
    held
        Capacity by product. [MW]
    """
    up = sum((products[name].power_up * values for name, values in held.items()), np.zeros(1))
    down = sum((products[name].power_down * values for name, values in held.items()), np.zeros(1))
    return np.asarray(up), np.asarray(down)


def courses(
    store: Store,
    products: Mapping[str, Reserve],
    held: Mapping[str, FloatArray],
    *,
    level: FloatArray,
    net: FloatArray,
    hours: FloatArray,
    fading: float = TAPER,
) -> tuple[FloatArray, FloatArray]:
    """Return the levels that full activation upwards, and downwards, leads to at its worst.

    Parameters
    ----------
    store
        What holds the capacity.
    products
        Products by name.
    held
        Capacity by product, ``(time,)``. [MW]
    level
        Level by plan, ``(instant,)``. [MWh]
    net
        Charge less discharge by plan, ``(time,)``. [MW]
    hours
        Lengths of the intervals. [h]
    fading
        Time constant with which power fades near an end of the window. [h]

    Returns
    -------
    tuple of numpy.ndarray
        Lowest and highest level of each interval; where nothing is held, the middle of the window.
        [MWh]

    Notes
    -----
    An activation of each product ends at any moment and has lasted its full time; the plan goes on
    meanwhile. Levels are piecewise linear between the edges of the plan and those moments that lie
    a duration after an edge, so they are looked at there. Besides, the energy must be there at the
    start of each interval, whatever the plan does after it. What full power needs beyond the end of
    the window, so that it does not fade, counts as used.
    """
    up = [(products[n].duration, row) for n, row in held.items() if products[n].goes_up]
    down = [(products[n].duration, row) for n, row in held.items() if products[n].goes_down]
    plan = partial(_worst, store, level=level, net=net, hours=hours, fading=fading)
    return plan(up, sign=-1.0), plan(down, sign=1.0)


def _worst(
    store: Store,
    mine: Sequence[tuple[float, FloatArray]],
    *,
    sign: float,
    level: FloatArray,
    net: FloatArray,
    hours: FloatArray,
    fading: float,
) -> FloatArray:
    """Return the level that full activation one way leads to at its worst; see :func:`courses`.

    ``mine`` are pairs of duration [h] and capacity ``(time,)`` [MW]; ``sign`` is -1 upwards.
    """
    ends, worst = np.concatenate([[0.0], np.cumsum(hours)]), np.fmin if sign < 0.0 else np.fmax
    points = np.unique(np.concatenate([ends, *(ends + span for span, _ in mine)]).round(9))
    points = points[(points > INSTANT) & (points <= ends[-1] + INSTANT)]
    step = np.searchsorted(ends, points - INSTANT, side="right") - 1
    energy = sum((span * row for span, row in mine), 0.0 * hours)
    every = sum((row for _, row in mine), 0.0 * hours)
    rest, full = (fading * _stored(store, sign * p) for p in (every, _more(every, sign * net)))
    begun = level[:-1] + _stored(store, sign * energy) + rest
    by_step = np.where(energy > 0.0, begun, np.nan)
    change, used, recent = np.zeros(len(points)), np.zeros(len(points)), 0.0
    for last in sorted({span for span, _ in mine}):
        row = sum((one for span, one in mine if span >= last), 0.0 * net)
        begin = np.maximum(ends[:-1], points[:, None] - last)
        until = np.minimum(ends[1:], points[:, None] - recent)
        lasts = np.maximum(until - begin, 0.0)
        change += lasts @ (_stored(store, net + sign * row) - _stored(store, net))
        used += lasts @ row
        recent = last
    ended = np.interp(points, ends, level) + change + full[step]
    worst.at(by_step, step, np.where(used > INSTANT, ended, np.nan))
    return np.where(np.isnan(by_step), 0.5 * (store.low + store.high), by_step)


def _more(held: FloatArray, planned: FloatArray) -> FloatArray:
    """Return the power that flows with what is held in use, one way; none where none is held."""
    return np.where(held > INSTANT, np.maximum(held + planned, 0.0), 0.0)


def _stored(store: Store, power: FloatArray) -> FloatArray:
    """Return how fast a level changes while some net power is put in. [MW]"""
    gained, lost = store.charge_efficiency * power, power / store.discharge_efficiency
    return np.where(power > 0.0, gained, lost)


def put_off(
    product: Reserve, held: FloatArray, pause_loss: float, *, hours: FloatArray
) -> FloatArray:
    """Return the energy that work has not used when it is activated until the end of an interval.

    Parameters
    ----------
    product
        The product.
    held
        Capacity held by the work, ``(time,)``. [MW]
    pause_loss
        Time lost by a pause. [h]
    hours
        Lengths of the intervals. [h]

    Returns
    -------
    numpy.ndarray
        What a pause loses is counted at once, ``(time,)``. [MWh]
    """
    count = len(hours)
    spans = overlap(hours, product.duration, count)
    rows = np.arange(count)[:, None] - np.arange(count)[::-1]
    return np.asarray((spans * held[np.maximum(rows, 0)]).sum(axis=1) + pause_loss * held)
