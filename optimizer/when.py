"""When the limits of a plan hold, in which rows of the model, and how much of each it may use."""

from typing import Final

import numpy as np

from optimizer.inputs import Inputs
from optimizer.problem import Problem
from optimizer.reasons.peaks import ROWS as PEAK_ROWS
from twin.physics import FloatArray
from twin.relations import Exchange, Obligation
from twin.variables import net_import

MEAN_SHARE: Final = 0.6
"""Share of the change of set points that the means of two intervals may show. [1]

A change of P MW in 10 minutes at r MW/min is P = 10 r; quarter-hour means may then differ by 9 r,
which keeps a tenth in hand. Longer intervals are taken alike.
"""

RAMPS: Final = frozenset({"ramp_up", "ramp_down"})
"""Rows that stand only where a ramp may bind, and not in the first interval."""

FROM_FIRST: Final = frozenset({"stays_on", "stays_off", "rests"})
"""Rows of the near part, from the first interval on, as all whose name begins with ``first``."""


def over_time(prices: FloatArray, inputs: Inputs, *, owner: str, word: str) -> FloatArray:
    """Return the greatest price of a limit in each interval, ``(time,)``; 0 where it has no row.

    Parameters
    ----------
    prices
        Of its rows or columns, those of one interval, edge or window one after the other.
    inputs
        What the model was built from.
    owner, word
        Block, and row or variable, of the model.
    """
    each, steps = prices.reshape(len(prices), -1).max(axis=1), len(inputs.hours)
    if (windows := _windows(inputs, owner, word)) is not None:
        return np.where(windows >= 0, each[np.maximum(windows, 0)], 0.0)
    found = np.zeros(steps)
    if word in RAMPS:
        steep = ramped(exchange_of(inputs, owner), inputs.problem)
        at = np.array([t for t in steep if t > 0], dtype=np.intp)
    elif word in FROM_FIRST or word.startswith("first"):
        at = np.arange(len(each))
    else:
        # rows of later intervals and of edges end with the last one: what stands before them, as
        # the level at the start, is given and no limit
        at = np.arange(max(steps - len(each), 0), steps)
    found[at] = each[-len(at) :]
    return found


def exchange_of(inputs: Inputs, owner: str) -> Exchange:
    """Return an exchange by its owner."""
    return next(one for one in inputs.problem.site.exchanges if one.owner == owner)


def promise_of(inputs: Inputs, owner: str, word: str) -> Obligation | None:
    """Return the promise whose row a limit is, if it is one."""
    if word != "promised":
        return None
    return next(one for one in inputs.problem.site.commitments if one.owner == owner)


def share_planned(inputs: Inputs, *, owner: str, word: str) -> float:
    """Return how much of one more unit of a limit a plan may use; the rest is margin. [1]

    Parameters
    ----------
    inputs
        What the model was built from.
    owner, word
        Block, and row or variable, of the model.
    """
    margins = inputs.problem.margins
    if word in PEAK_ROWS:
        return 1.0 - margins.peak
    if word in {"import_power", "export_power"}:
        return 1.0 if exchange_of(inputs, owner).available else 1.0 - margins.power
    return 1.0 - margins.power if word in {"capacity", "import_room", "export_room"} else 1.0


def allowed(exchange: Exchange, hours: FloatArray) -> FloatArray:
    """Return by how much the net import may change into each interval. [MW]"""
    return MEAN_SHARE * exchange.ramp * 60.0 * hours


def ramped(exchange: Exchange, problem: Problem) -> tuple[int, ...]:
    """Return the intervals whose ramp is not kept anyway by the limits of the exchange.

    Into the first it may have to come from beyond them.
    """
    low, high = -exchange.export_limit, exchange.import_limit
    most, before = allowed(exchange, problem.hours), float(net_import(problem.state))
    widest = np.full_like(most, high - low)
    widest[0] = max(high, before) - min(low, before)
    return tuple(np.flatnonzero((most > 0.0) & (most < widest)).tolist())


def _windows(inputs: Inputs, owner: str, word: str) -> np.ndarray | None:
    """Return the window of each interval, where a promise is summed over several; else nothing."""
    promise = promise_of(inputs, owner, word)
    if promise is None or not promise.windows:
        return None
    return promise.terms(inputs.problem.outlook).window.astype(np.intp)
