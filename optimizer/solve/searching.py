"""Search whole numbers from a start, and believe the end only if it adds up."""

from typing import Any, Final

import highspy
import numpy as np

from optimizer.solve.passing import ask, give_time
from twin.physics import FloatArray

ROUNDING: Final = 1e-6
"""Share of the objective that is rounding. [1]"""


def search(highs: Any, begin: FloatArray | None, *, time_limit: float) -> FloatArray | None:
    """Run a search, and return the values of all columns that it found; None if it found none.

    HiGHS 1.16 may value a start wrongly as it presolves, call it the optimum, and prune all that is
    better. The objective that it tells then differs from that of its values, and the search begins
    once more without the start.

    Parameters
    ----------
    highs
        Of HiGHS, with a model of whole numbers.
    begin
        Values of all columns to begin with, if there are any.
    time_limit
        Longest that one search may take. [s]
    """
    if begin is not None:
        every = np.arange(len(begin), dtype=np.int32)
        ask(highs.setSolution(len(every), every, begin), "setSolution", may_warn=True)
    found = _run(highs, time_limit)
    if begin is None or found is None or _adds_up(highs, found):
        return found
    ask(highs.clearSolver(), "clearSolver")
    return _run(highs, time_limit)


def _run(highs: Any, time_limit: float) -> FloatArray | None:
    give_time(highs, time_limit)
    ask(highs.run(), "run", may_warn=True)
    feasible = int(highspy.SolutionStatus.kSolutionStatusFeasible)
    values = np.array(highs.getSolution().col_value)
    is_told = highs.getInfo().primal_solution_status == feasible
    is_whole = len(values) == highs.getNumCol() and np.isfinite(values).all()
    return values if is_told and is_whole else None


def _adds_up(highs: Any, values: FloatArray) -> bool:
    """Return whether the objective that the solver tells is that of the values."""
    model, told = highs.getLp(), float(highs.getInfo().objective_function_value)
    true = float(np.array(model.col_cost_) @ values) + float(model.offset_)
    return abs(told - true) <= ROUNDING * (1.0 + abs(true))
