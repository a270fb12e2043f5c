"""Whole numbers: search them with the solver's branch and bound."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import highspy
import numpy as np

from optimizer.compile.arrays import Arrays, IntArray
from optimizer.solve.linear import TIME_LIMIT
from optimizer.solve.passing import Quiet, pass_model, set_options
from optimizer.solve.searching import search
from twin.errors import SolverError
from twin.physics import FloatArray

GAP: Final = 1e-3
"""Share of the objective at which whole numbers are good enough. [1]"""

MIXED: Final[dict[str, Any]] = {
    "output_flag": False,
    "threads": 1,  # two solvers of one process must have as many; the second failed
    "parallel": "off",
    "mip_rel_gap": GAP,
}
"""What the solver is told once where there are whole numbers; here presolving pays."""


@dataclass(frozen=True, kw_only=True)
class Whole:
    """Whole numbers that were found.

    Attributes
    ----------
    places, values
        Columns and their values.
    objective
        Objective with them. [EUR]
    gap
        Share of it by which a better one could still be cheaper, at most. [1]
    """

    places: IntArray
    values: FloatArray
    objective: float
    gap: float


def whole(
    arrays: Arrays,
    prices: Mapping[str, float],
    *,
    begin: FloatArray | None = None,
    time_limit: float = TIME_LIMIT,
) -> Whole | None:
    """Return whole numbers for the columns that ask for them, near the best ones.

    Parameters
    ----------
    arrays
        The model.
    prices
        Account -> price of its unit.
    begin
        Values of all columns to begin with: a plan that keeps every row.
    time_limit
        Longest that the search may take; then the best that was found is taken. [s]

    Returns
    -------
    Whole or None
        What was found; nothing if no values keep all rows.

    Raises
    ------
    SolverError
        If nothing was found in time, or the solver ends in any other way.
    """
    highs: Any = Quiet()  # type: ignore[no-untyped-call]  # highspy's own
    set_options(highs, MIXED)
    pass_model(highs, arrays, prices, is_whole=True)
    places = np.flatnonzero(arrays.is_integer).astype(np.int32)
    values = search(highs, begin, time_limit=time_limit)
    status, info = highs.getModelStatus(), highs.getInfo()
    if status == highspy.HighsModelStatus.kInfeasible:
        return None
    ends = (highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kTimeLimit)
    if status not in ends or values is None:
        message = f"the solver found no whole numbers: {highs.modelStatusToString(status)}"
        raise SolverError(message)
    return Whole(
        places=places,
        values=np.round(values[places]),
        objective=float(info.objective_function_value),
        gap=float(info.mip_gap),
    )
