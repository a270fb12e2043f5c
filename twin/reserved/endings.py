"""When full activations of reserves may end, and how long they last in each interval before."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from twin.physics import FloatArray

ROUNDING: Final = 1e-6
"""Time that is none. [h]"""


def endings(hours: FloatArray, durations: Sequence[float]) -> FloatArray:
    """Return the moments at which activations that begin or end at an edge may end.

    Parameters
    ----------
    hours
        Lengths of the intervals, ``(time,)``. [h]
    durations
        Lengths of the activations. [h]

    Returns
    -------
    numpy.ndarray
        Time since the start of the interval, ``(time, moment)``: its end, then the moments inside
        that lie a duration after an edge; NaN where there are fewer. [h]
    """
    edges = np.concatenate([[0.0], np.cumsum(hours)])
    every = np.unique(np.add.outer(edges, np.asarray(durations, dtype=float)).round(9))
    place = np.clip(np.searchsorted(edges, every, side="right") - 1, 0, len(hours) - 1)
    is_inside = (every > edges[place] + ROUNDING) & (every < edges[place + 1] - ROUNDING)
    every, place = every[is_inside], place[is_inside]
    order = 1 + np.arange(len(place)) - np.searchsorted(place, place)
    found = np.full((len(hours), 1 + order.max(initial=0)), np.nan)
    found[:, 0] = hours
    found[place, order] = every - edges[place]
    return found


def lags(hours: FloatArray, duration: float, until: FloatArray | None = None) -> int:
    """Return the most intervals that a full activation can touch, the one it ends in included. [1]

    Parameters
    ----------
    hours
        Lengths of the intervals. [h]
    duration
        Length of the activation. [h]
    until
        As for :func:`overlap`.
    """
    touched = overlap(hours, duration, len(hours), until=until) > 0.0
    return int(touched.sum(axis=-1).max())


def overlap(
    hours: FloatArray, duration: float, count: int, *, until: FloatArray | None = None
) -> FloatArray:
    """Return for how long a full activation lasts in the interval it ends in, and in those before.

    Parameters
    ----------
    hours
        Lengths of the intervals, ``(time,)``. [h]
    duration
        Length of the activation. [h]
    count
        Number of intervals looked at, the one it ends in among them. [1]
    until
        When it ends, since the start of the interval, ``(time, ...)``, nowhere where NaN; by
        default with the interval. [h]

    Returns
    -------
    numpy.ndarray
        ``(time, ..., count)``; the interval itself stands last, before it the ones before. [h]
    """
    stop = hours if until is None else until
    edges = np.concatenate([[0.0], np.cumsum(hours)]).reshape(-1, *(1,) * (stop.ndim - 1))
    last = edges[:-1] + stop
    found = np.zeros((*stop.shape, count))
    for back in range(count):
        rows = np.arange(back, len(hours))
        begin = np.maximum(edges[rows - back], last[rows] - duration)
        end = np.minimum(edges[rows - back + 1], last[rows])
        found[rows, ..., count - 1 - back] = np.maximum(end - begin, 0.0)
    return np.where(found > ROUNDING, found, 0.0)
