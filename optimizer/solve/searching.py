"""Search whole numbers from a start, and believe the end only if it adds up."""

from typing import Any, Final

import highspy
import numpy as np

from optimizer.solve.passing import ask
from twin.physics import FloatArray

ROUNDING: Final = 1e-6
"""Share of the objective that is rounding. [1]"""


def search(highs: Any, begin: FloatArray | None, *, time_limit: float) -> None:
    """Run a search; what it found stands in the solver.

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
    _run(highs, time_limit)
    if begin is not None and not _adds_up(highs):
        ask(highs.clearSolver(), "clearSolver")
        _run(highs, time_limit)


def _run(highs: Any, time_limit: float) -> None:
    until = highs.getRunTime() + time_limit  # the solver counts all of its runs
    ask(highs.setOptionValue("time_limit", until), "option time_limit")
    ask(highs.run(), "run", may_warn=True)


def _adds_up(highs: Any) -> bool:
    """Return whether the objective is that of the values; where there are none there is nothing."""
    info, model = highs.getInfo(), highs.getLp()
    if info.primal_solution_status != int(highspy.SolutionStatus.kSolutionStatusFeasible):
        return True
    values = np.array(highs.getSolution().col_value)
    true = float(np.array(model.col_cost_) @ values) + float(model.offset_)
    return abs(float(info.objective_function_value) - true) <= ROUNDING * (1.0 + abs(true))
