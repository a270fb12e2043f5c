"""Linear models in the hands of the solver: arrays in, values, duals and a status out."""

import gzip
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import highspy
import numpy as np

from optimizer.compile.arrays import Arrays, IntArray
from optimizer.compile.shift import Basis
from optimizer.solve.onward import AT_FIRST, go_on
from optimizer.solve.passing import Quiet, ask, give_time, pass_model, set_options
from twin.errors import SolverError
from twin.physics import FloatArray

TIME_LIMIT: Final = 60.0
"""Longest that one run may take. [s]"""

OPTIONS: Final[dict[str, Any]] = {
    "output_flag": False,
    "threads": 1,
    "parallel": "off",
    "solver": "simplex",  # and serial: interior point took 3 to 12 times as long
}
"""What the solver is told once. Presolving halves a solve from nothing; a basis it would drop."""

ENDS: Final = (
    highspy.HighsModelStatus.kOptimal,
    highspy.HighsModelStatus.kInfeasible,
    highspy.HighsModelStatus.kUnboundedOrInfeasible,
    highspy.HighsModelStatus.kTimeLimit,
)
"""How a run may end; after any other end, such as `Unknown`, the model is solved from nothing."""

STATUS: Final = np.array([highspy.HighsBasisStatus(number) for number in range(5)], dtype=object)
"""Number of a status -> the solver's word for it."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the solver found.

    Attributes
    ----------
    values
        Value of every column.
    duals, reduced_costs
        Change of the objective with the bound of every row and of every column.
    objective
        Weighted sum of all accounts. [EUR]
    """

    values: FloatArray
    duals: FloatArray
    reduced_costs: FloatArray
    objective: float


class Solver:
    """A linear model in the hands of the solver, which keeps its basis from run to run.

    Parameters
    ----------
    arrays
        The model.
    prices
        Account -> price of its unit.
    basis
        Where to begin; it need not be whole, the solver mends it.
    time_limit
        Longest that one run may take. [s]
    """

    def __init__(
        self,
        arrays: Arrays,
        prices: Mapping[str, float],
        *,
        basis: Basis | None = None,
        time_limit: float = TIME_LIMIT,
    ) -> None:
        self._highs: Any = Quiet()  # type: ignore[no-untyped-call]  # highspy's own
        self._time_limit = time_limit
        set_options(self._highs, OPTIONS)
        pass_model(self._highs, arrays, prices)
        self._is_cold = basis is None
        if basis is not None:
            ask(self._highs.setBasis(_started(basis)), "setBasis", may_warn=True)

    @property
    def basis(self) -> Basis:
        """Where columns and rows stood in the last optimum.

        Worked out from which are basic and at which bound the others are: the solver's own list
        holds an object for each of them, and takes twice as long.
        """
        lp, found, basic = self._highs.getLp(), self._highs.getSolution(), self._basic()
        values = np.concatenate([found.col_value, found.row_value])
        low = np.concatenate([lp.col_lower_, lp.row_lower_])
        high = np.concatenate([lp.col_upper_, lp.row_upper_])
        word = highspy.HighsBasisStatus
        status = np.where(high - values < values - low, int(word.kUpper), int(word.kLower))
        status[np.isinf(low) & np.isinf(high)] = int(word.kZero)
        status[basic] = int(word.kBasic)
        columns, rows = np.split(status.astype(np.int8), [lp.num_col_])
        return Basis(columns=columns, rows=rows)

    def _basic(self) -> IntArray:
        """Return places of what is basic, rows counted on after the columns."""
        status, basic = self._highs.getBasicVariables()
        ask(status, "getBasicVariables")
        return np.asarray(np.where(basic >= 0, basic, self._highs.getNumCol() - 1 - basic))

    def bound(self, columns: IntArray, low: FloatArray, *, high: FloatArray) -> None:
        """Set the bounds of some columns."""
        status = self._highs.changeColsBounds(len(columns), columns, low, high)
        ask(status, "changeColsBounds")

    def bound_rows(self, rows: IntArray, low: FloatArray, *, high: FloatArray) -> None:
        """Set the bounds of some rows."""
        ask(self._highs.changeRowsBounds(len(rows), rows, low, high), "changeRowsBounds")

    def price(self, columns: IntArray, costs: FloatArray) -> None:
        """Set the costs of some columns."""
        ask(self._highs.changeColsCost(len(columns), columns, costs), "changeColsCost")

    def bounded(self, arrays: Arrays) -> Arrays:
        """Return arrays of the model with the bounds of columns as they are now."""
        model = self._highs.getLp()
        low, high = np.array(model.col_lower_), np.array(model.col_upper_)
        return replace(arrays, column_low=low, column_high=high)

    def model(self) -> Any:
        """Return the model as it is now, in the solver's own form, for another of its kind."""
        return self._highs.getLp()

    def run(self) -> Answer | None:
        """Solve the model from the basis at hand.

        Returns
        -------
        Answer or None
            Values, duals, objective; nothing if no values keep all rows.

        Raises
        ------
        SolverError
            If the solver ends in any other way, or answers with what is not a number.
        """
        self._presolve(self._is_cold)
        if not self._is_cold:
            go_on(self._highs)
        is_failed = self._highs.run() == highspy.HighsStatus.kError
        if is_failed or self._highs.getModelStatus() not in ENDS:
            self._run_anew()
        if self._highs.getModelStatus() == highspy.HighsModelStatus.kUnboundedOrInfeasible:
            self._presolve(False)
            ask(self._highs.run(), "run", may_warn=True)
        self._is_cold = False
        status = self._highs.getModelStatus()
        if status == highspy.HighsModelStatus.kInfeasible:
            return None
        if status != highspy.HighsModelStatus.kOptimal:
            message = f"the solver ended with: {self._highs.modelStatusToString(status)}"
            raise SolverError(message)
        solution = self._highs.getSolution()
        answer = Answer(
            values=np.array(solution.col_value),
            duals=np.array(solution.row_dual),
            reduced_costs=np.array(solution.col_dual),
            objective=float(self._highs.getObjectiveValue()),
        )
        self._check(answer)
        return answer

    def _check(self, answer: Answer) -> None:
        """Refuse an answer that is not of the model, or holds what is not a number."""
        columns, rows = self._highs.getNumCol(), self._highs.getNumRow()
        counts = len(answer.values), len(answer.reduced_costs), len(answer.duals)
        if counts != (columns, columns, rows):
            message = (
                f"the solver answered with {counts[0]} values, {counts[1]} reduced costs and "
                f"{counts[2]} duals of {columns} columns and {rows} rows"
            )
            raise SolverError(message)
        if not all(np.isfinite(part).all() for part in vars(answer).values()):
            message = "the solver answered with values that are not numbers"
            raise SolverError(message)

    def export(self, path: Path) -> None:
        """Write the model for other solvers, in the format of the file's ending.

        Parameters
        ----------
        path
            ``.mps`` or ``.lp``, or one of them packed, ``.mps.gz``; its folder is made.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        is_packed = path.suffix == ".gz"
        plain = path.with_suffix("") if is_packed else path  # the solver packs nothing itself
        ask(self._highs.writeModel(str(plain)), f"to write {path}", may_warn=True)
        if is_packed:
            path.write_bytes(gzip.compress(plain.read_bytes(), compresslevel=1))
            plain.unlink()

    def _run_anew(self) -> None:
        """Solve from nothing: the basis may have been at fault, or the way from it."""
        ask(self._highs.clearSolver(), "clearSolver")
        set_options(self._highs, AT_FIRST)
        self._presolve(True)
        ask(self._highs.run(), "run from nothing", may_warn=True)

    def _presolve(self, is_on: bool) -> None:
        set_options(self._highs, {"presolve": "on" if is_on else "off"})
        give_time(self._highs, self._time_limit)

    def may_miss(self, rows: IntArray) -> None:
        """Let equations be missed, at a price of 1 for each unit: columns for more, then for less.

        Parameters
        ----------
        rows
            The equations.
        """
        count = 2 * len(rows)
        ends, both = np.arange(count, dtype=np.int32), np.tile(rows, 2).astype(np.int32)
        none, free = np.zeros(count), np.full(count, np.inf)
        sign = np.repeat([1.0, -1.0], len(rows))
        added = (count, np.ones(count), none, free, count, ends, both, sign)
        ask(self._highs.addCols(*added), "addCols")


def slack(arrays: Arrays) -> Basis:
    """Return where a model stands before anything is solved: rows free, columns at a bound.

    Parameters
    ----------
    arrays
        The model.
    """
    word = highspy.HighsBasisStatus
    return Basis(
        columns=np.full(len(arrays.column_low), int(word.kLower), dtype=np.int8),
        rows=np.full(len(arrays.row_low), int(word.kBasic), dtype=np.int8),
    )


def _started(basis: Basis) -> Any:
    """Return a basis as the solver takes one: lists of its own words, not yet looked at."""
    found = highspy.HighsBasis()
    found.col_status = STATUS[basis.columns].tolist()
    found.row_status = STATUS[basis.rows].tolist()
    found.valid, found.alien = True, True
    return found
