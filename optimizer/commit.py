"""Commit units: how many of a bank run when, in whole numbers, and the plan that follows."""

from collections.abc import Iterator, Mapping

import numpy as np

from optimizer.compile.arrays import Arrays
from optimizer.compile.shift import Instants, Warm
from optimizer.solution import ROUNDING
from optimizer.solve import GAP, Answer, Solver, whole
from twin.errors import SolverError
from twin.physics import FloatArray

ON = ".on"
"""What names of numbers of units end with."""

START = ".start"
"""What names of units that start end with."""

SEARCH = 20.0
"""Longest search, a third of what a decision may take; then the best that is known is taken. [s]"""


def committed(
    arrays: Arrays,
    prices: Mapping[str, float],
    solver: Solver,
    *,
    relaxed: Answer,
    last: FloatArray | None,
    is_kept: bool,
) -> Answer | None:
    """Return the best plan with whole units, or one as near to it as a search would come.

    Those of the last plan and those of the linear model rounded up are tried: what the better of
    them cost beyond the linear model bounds what any others could save, and where that is less than
    a search would leave, there is nothing to seek. Else a search begins from it.

    Parameters
    ----------
    arrays
        The model.
    prices
        Account -> price of its unit.
    solver
        The solver of the linear model; its units are fixed afterwards.
    relaxed
        Optimum of the linear model, with units in fractions.
    last
        Numbers of units of the last plan, if there are any.
    is_kept
        Whether they are kept; else better ones are sought from there.

    Returns
    -------
    Answer or None
        The plan; nothing if there is none with these numbers. Where a search fails, what was tried.
    """
    if last is not None and is_kept:
        return _fixed(arrays, solver, last)
    tried = _cheapest(arrays, solver, _candidates(arrays, relaxed, last))
    if _is_near(tried, relaxed):
        return tried
    if tried is None:
        found = whole(arrays, prices, time_limit=SEARCH)
        return None if found is None else _fixed(arrays, solver, found.values)
    try:
        found = whole(arrays, prices, begin=tried.values, time_limit=SEARCH)
        sought = None if found is None else _fixed(arrays, solver, found.values)
    except SolverError:  # a search that fails costs its time, and not the plan that is there
        return tried
    return tried if sought is None or tried.objective < sought.objective else sought


def _candidates(arrays: Arrays, relaxed: Answer, last: FloatArray | None) -> Iterator[FloatArray]:
    """Yield whole numbers that may be near enough, the likeliest last."""
    rounded = _rounded(arrays, relaxed.values)
    yield rounded
    if last is not None and (last != rounded).any():
        yield last


def _cheapest(arrays: Arrays, solver: Solver, many: Iterator[FloatArray]) -> Answer | None:
    """Return the best plan with one of some numbers of units, which stay fixed."""
    best, of, units = None, None, None
    for units in many:
        found = _fixed(arrays, solver, units)
        if found and (best is None or found.objective <= best.objective):
            best, of = found, units
    return best if of is None or of is units else _fixed(arrays, solver, of)


def _rounded(arrays: Arrays, values: FloatArray) -> FloatArray:
    """Return whole numbers that carry what fractions do: as many from each start to the next."""
    flat = np.zeros(len(values))
    for owner, on in units_of(arrays, values).items():
        may_start = arrays.column_high[arrays.columns[f"{owner}{START}"]][-len(on) :] > 0.0
        may_start[0] = True
        first = np.flatnonzero(may_start)
        most = np.maximum.reduceat(np.ceil(on - ROUNDING), first)
        flat[arrays.columns[f"{owner}{ON}"]] = np.repeat(most, np.diff(np.append(first, len(on))))
    return flat[arrays.is_integer]


def _is_near(answer: Answer | None, relaxed: Answer) -> bool:
    """Return whether no other whole numbers can save more than a search would leave."""
    if answer is None:
        return False
    return answer.objective - relaxed.objective <= GAP * abs(answer.objective)


def _fixed(arrays: Arrays, solver: Solver, units: FloatArray) -> Answer | None:
    """Return the best plan with given numbers of units."""
    places = np.flatnonzero(arrays.is_integer).astype(np.int32)
    kept = np.clip(units, arrays.column_low[places], arrays.column_high[places])
    solver.bound(places, kept, high=kept)
    return solver.run()


def units_of(arrays: Arrays, values: FloatArray) -> dict[str, FloatArray]:
    """Return the units that are on in every interval, by their bank."""
    return {
        name.removesuffix(ON): values[at]
        for name, at in arrays.columns.items()
        if name.endswith(ON)
    }


def kept_units(arrays: Arrays, warm: Warm, instants: Instants) -> FloatArray:
    """Return the whole numbers that the last plan had for the intervals of another window."""
    flat = np.zeros(len(arrays.column_low))
    time = warm.time(instants)
    for owner, on in warm.units.items():
        flat[arrays.columns[f"{owner}{ON}"]] = np.round(on[time])
    return flat[arrays.is_integer]
