"""The last place up to which a bound is kept, for many at once.

What the physics takes and gives: a float or an array of floats; and curves given by points.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

type BoolArray = NDArray[np.bool_]
type FloatArray = NDArray[np.float64]
type Numeric = float | FloatArray


def clip(value: Numeric, low: Numeric, high: Numeric) -> FloatArray:
    """Return a value held between two others, as `numpy.clip` does in three times the time.

    Parameters
    ----------
    value, low, high
        The value and its bounds. [any unit]

    Returns
    -------
    numpy.ndarray
        The value held. [unit of ``value``]
    """
    return np.asarray(np.minimum(np.maximum(value, low), high))


def take_per_column(table: FloatArray, row: NDArray[np.int64]) -> FloatArray:
    """Return from each column of a table what stands in a row of its own.

    Parameters
    ----------
    table
        Rows on the first axis. [any unit]
    row
        On the other axes. [1]

    Returns
    -------
    numpy.ndarray
        On the axes of ``row``, as `numpy.take_along_axis` does in four times the time. [unit of
        ``table``]
    """
    flat = table.reshape(len(table), -1)
    return np.asarray(flat[row.ravel(), np.arange(row.size)].reshape(row.shape))


def interpolate_extrapolate(position: Numeric, knots: FloatArray, values: FloatArray) -> Numeric:
    """Return the value on straight pieces between points, the end pieces going on.

    Parameters
    ----------
    position
        Where the value is asked. [any unit]
    knots
        Positions of the points, rising. [unit of ``position``]
    values
        Values at the points. [any unit]

    Returns
    -------
    Numeric
        The value. [unit of ``values``]
    """
    slope = np.diff(values) / np.diff(knots)
    piece = np.clip(np.searchsorted(knots, position, side="right") - 1, 0, len(slope) - 1)
    value: FloatArray = values[piece] + slope[piece] * (position - knots[piece])
    return value


_MOST_TRIALS: Final = 200
_FLOATS: Final = 4.0  # neighbouring floats that a way has at least, so that a trial can halve it
_CHECKED: Final = 4  # trials after which the way must have shrunk as halving would shrink it


def last_feasible(
    excess: Callable[[FloatArray], FloatArray],
    feasible_end: FloatArray,
    infeasible_end: FloatArray,
    *,
    tolerance: float,
) -> FloatArray:
    """Return the last place on the way from good to bad at which an excess is none.

    Parameters
    ----------
    excess
        Place -> excess, that never falls on the way; none where it is not above 0. [any unit]
    feasible_end, infeasible_end
        The ends of the way. [any unit]
    tolerance
        How near to the true last place, or as near as floats of that size lie. [unit of the places]

    Returns
    -------
    numpy.ndarray
        A place that was tried and has no excess; ``feasible_end`` where there is none. [unit of the
        places]

    Notes
    -----
    The secant between the two ends, of which the one that stays twice on end is given less weight
    [1]_: six to ten trials where halving takes 24. Each trial keeps half the tolerance from either
    end, so that the ends meet; where the way shrinks more slowly than by halving, as beside a step,
    every fourth halves it.

    References
    ----------
    .. [1] N. Anderson, A. Bjorck, "A new high order method of Regula Falsi type for computing a
       root of an equation," BIT, vol. 13, pp. 253-264, 1973.
    """
    at_good, at_bad = excess(feasible_end), excess(infeasible_end)
    feasible_end, infeasible_end, at_good, at_bad = np.broadcast_arrays(
        feasible_end, infeasible_end, at_good, at_bad
    )
    feasible_end = np.where(at_bad <= 0.0, infeasible_end, feasible_end)
    near = np.maximum(
        tolerance, _FLOATS * np.spacing(np.maximum(np.abs(feasible_end), np.abs(infeasible_end)))
    )
    is_open = (at_good < 0.0) & (at_bad > 0.0)
    was_good, width = np.full(feasible_end.shape, -1), np.full(feasible_end.shape, np.inf)
    for turn in range(_MOST_TRIALS):
        is_open = is_open & (np.abs(infeasible_end - feasible_end) > near)
        if not is_open.any():
            break
        trial = _secant(feasible_end, infeasible_end, at_good, at_bad, near)
        if turn % _CHECKED == 0:
            before, width = width, np.abs(infeasible_end - feasible_end)
            trial = np.where(
                width > before / 2**_CHECKED, 0.5 * (feasible_end + infeasible_end), trial
            )
        trial = np.where(is_open, trial, feasible_end)
        found = excess(trial)
        is_good = found <= 0.0
        weight = _weight(found, np.where(is_good, at_good, at_bad))
        weight = np.where(is_good == was_good, weight, 1.0)
        feasible_end = np.where(is_open & is_good, trial, feasible_end)
        infeasible_end = np.where(is_open & ~is_good, trial, infeasible_end)
        at_good = np.where(is_good, found, at_good * weight)
        at_bad = np.where(is_good, at_bad * weight, found)
        was_good = is_good
    return feasible_end


def _secant(
    good: FloatArray, bad: FloatArray, at_good: FloatArray, at_bad: FloatArray, near: FloatArray
) -> FloatArray:
    """Return where the secant has no excess, half of what is near at least from either end."""
    way = bad - good
    least = np.minimum(0.5 * near / np.maximum(np.abs(way), near), 0.5)
    rise = at_bad - at_good
    share = -at_good / np.where(rise > 0.0, rise, 1.0)
    return np.asarray(good + way * clip(share, least, 1.0 - least))


def _weight(found: FloatArray, moved: FloatArray) -> FloatArray:
    """Return the weight of the end that stays once more, by how much of the other's value is left."""
    gone = 1.0 - found / np.where(moved == 0.0, 1.0, moved)
    return np.where(gone > 0.0, gone, 0.5)


type IntArray = NDArray[np.int64]

type Float32Array = NDArray[np.float32]
