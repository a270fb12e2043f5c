"""Commit units: how many of a bank run when, in whole numbers, and the plan that follows."""

from collections.abc import Mapping

import numpy as np

from optimizer.compile.arrays import Arrays
from optimizer.compile.shift import Instants, Warm
from optimizer.solve import Answer, Solver, whole
from twin.physics import FloatArray

ON = ".on"
"""What names of numbers of units end with."""


def committed(
    arrays: Arrays,
    prices: Mapping[str, float],
    solver: Solver,
    *,
    last: FloatArray | None,
    is_kept: bool,
) -> Answer | None:
    """Return the best plan with whole units.

    Parameters
    ----------
    arrays
        The model.
    prices
        Account -> price of its unit.
    solver
        The solver of the linear model; its units are fixed afterwards.
    last
        Numbers of units of the last plan, if there are any.
    is_kept
        Whether they are kept; else better ones are sought from there.

    Returns
    -------
    Answer or None
        The plan; nothing if there is none with these numbers.
    """
    if last is not None and is_kept:
        return _fixed(arrays, solver, last)
    found = whole(arrays, prices, begin=last)
    return None if found is None else _fixed(arrays, solver, found.values)


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
