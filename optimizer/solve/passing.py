"""Hand a model over to the solver, and hear whether it took it."""

from collections.abc import Mapping
from typing import Any

import highspy
import numpy as np

from optimizer.compile.arrays import Arrays
from optimizer.solve.variant import varied_costs, varied_options
from twin.errors import SolverError


class Quiet(highspy.Highs):
    """The solver without callbacks: setting them up prints a banner that nothing can switch off."""

    def enableCallbacks(self) -> None:  # noqa: N802  (the name of the solver)
        """Set up nothing."""


def pass_model(
    solver: Any, arrays: Arrays, prices: Mapping[str, float], *, is_whole: bool = False
) -> None:
    """Hand the model over; with a number that is none the solver would run for ever."""
    costs, offset = arrays.accounts.weighted(prices, len(arrays.column_low))
    costs = varied_costs(costs)
    numbers = (costs, arrays.column_low, arrays.column_high, arrays.row_low, arrays.row_high)
    if any(np.isnan(part).any() for part in (*numbers, arrays.value, np.array(offset))):
        message = "the model holds what is not a number"
        raise SolverError(message)
    status = solver.passModel(
        len(arrays.column_low),
        len(arrays.row_low),
        len(arrays.value),
        int(highspy.MatrixFormat.kRowwise),
        int(highspy.ObjSense.kMinimize),
        offset,
        *numbers,
        arrays.start,
        arrays.index,
        arrays.value,
        (arrays.is_integer if is_whole else np.zeros_like(arrays.is_integer)).astype(np.int32),
    )
    ask(status, "passModel", may_warn=True)


def ask(status: Any, what: str, *, may_warn: bool = False) -> None:
    """Refuse a call that the solver did not carry out; it never raises by itself."""
    good = {highspy.HighsStatus.kOk, *([highspy.HighsStatus.kWarning] if may_warn else [])}
    if status not in good:
        message = f"the solver refused {what}: {status}"
        raise SolverError(message)


def set_options(solver: Any, options: Mapping[str, Any]) -> None:
    """Set options of the solver, and refuse what it does not know."""
    for name, value in varied_options(options).items():
        ask(solver.setOptionValue(name, value), f"option {name}")


def give_time(solver: Any, seconds: float) -> None:
    """Let the next run take so long; the solver counts the time of all of its runs."""
    set_options(solver, {"time_limit": solver.getRunTime() + seconds})
