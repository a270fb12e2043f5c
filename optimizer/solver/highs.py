"""Linear models in the hands of the solver: arrays in, values, duals and a status out.

Hand a model over to the solver, and hear whether it took it.

How the simplex method goes on from a basis: along which edges, and on which side of it.
"""

import gzip
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import highspy
import numpy as np

from optimizer.compiler.arrays import IntArray, ModelArrays
from optimizer.solver.variant import varied_costs, varied_options
from optimizer.solver.warm_start import SimplexBasis
from twin.errors import SolverError
from twin.physics import FloatArray

LP_TIME_LIMIT_S: Final = 60.0
"""Longest that one run may take. [s]"""

LP_OPTIONS: Final[dict[str, Any]] = {
    "output_flag": False,
    "threads": 1,
    "parallel": "off",
    "solver": "simplex",  # and serial: interior point took 3 to 12 times as long
}
"""What the solver is told once. Presolving halves a solve from nothing; a basis it would drop."""

FINAL_STATUSES: Final = (
    highspy.HighsModelStatus.kOptimal,
    highspy.HighsModelStatus.kInfeasible,
    highspy.HighsModelStatus.kUnboundedOrInfeasible,
    highspy.HighsModelStatus.kTimeLimit,
)
"""How a run may end; after any other end, such as `Unknown`, the model is solved from nothing."""

BASIS_STATUS: Final = np.array(
    [highspy.HighsBasisStatus(number) for number in range(5)], dtype=object
)
"""Number of a status -> the solver's word for it."""


@dataclass(frozen=True, kw_only=True)
class LpSolution:
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


class LpSolver:
    """A linear model in the hands of the solver, which keeps its basis from run to run.

    Parameters
    ----------
    arrays
        The model.
    prices
        Account -> price of its unit.
    basis
        Where to begin; it need not be whole, the solver remedies it.
    time_limit
        Longest that one run may take. [s]
    """

    def __init__(
        self,
        arrays: ModelArrays,
        account_weights: Mapping[str, float],
        *,
        basis: SimplexBasis | None = None,
        time_limit: float = LP_TIME_LIMIT_S,
    ) -> None:
        self._highs: Any = SilentHighs()  # type: ignore[no-untyped-call]  # highspy's own
        self._time_limit = time_limit
        set_options(self._highs, LP_OPTIONS)
        pass_model(self._highs, arrays, account_weights)
        self._is_cold = basis is None
        if basis is not None:
            check_status(self._highs.setBasis(_started(basis)), "setBasis", may_warn=True)

    @property
    def basis(self) -> SimplexBasis:
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
        return SimplexBasis(columns=columns, rows=rows)

    def _basic(self) -> IntArray:
        """Return places of what is basic, rows counted on after the columns."""
        status, basic = self._highs.getBasicVariables()
        check_status(status, "getBasicVariables")
        return np.asarray(np.where(basic >= 0, basic, self._highs.getNumCol() - 1 - basic))

    def set_column_bounds(self, columns: IntArray, low: FloatArray, *, high: FloatArray) -> None:
        """Set the bounds of some columns."""
        status = self._highs.changeColsBounds(len(columns), columns, low, high)
        check_status(status, "changeColsBounds")

    def set_row_bounds(self, rows: IntArray, low: FloatArray, *, high: FloatArray) -> None:
        """Set the bounds of some rows."""
        check_status(self._highs.changeRowsBounds(len(rows), rows, low, high), "changeRowsBounds")

    def set_costs(self, columns: IntArray, costs: FloatArray) -> None:
        """Set the costs of some columns."""
        check_status(self._highs.changeColsCost(len(columns), columns, costs), "changeColsCost")

    def current_arrays(self, arrays: ModelArrays) -> ModelArrays:
        """Return arrays of the model with the bounds of columns as they are now."""
        model = self._highs.getLp()
        low, high = np.array(model.col_lower_), np.array(model.col_upper_)
        return replace(arrays, column_low=low, column_high=high)

    def model(self) -> Any:
        """Return the model as it is now, in the solver's own form, for another of its kind."""
        return self._highs.getLp()

    def run(self) -> LpSolution | None:
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
            choose_simplex_strategy(self._highs)
        is_failed = self._highs.run() == highspy.HighsStatus.kError
        if is_failed or self._highs.getModelStatus() not in FINAL_STATUSES:
            self._run_cold()
        if self._highs.getModelStatus() == highspy.HighsModelStatus.kUnboundedOrInfeasible:
            self._presolve(False)
            check_status(self._highs.run(), "run", may_warn=True)
        self._is_cold = False
        status = self._highs.getModelStatus()
        if status == highspy.HighsModelStatus.kInfeasible:
            return None
        if status != highspy.HighsModelStatus.kOptimal:
            message = f"the solver ended with: {self._highs.modelStatusToString(status)}"
            raise SolverError(message)
        solution = self._highs.getSolution()
        lp_solution = LpSolution(
            values=np.array(solution.col_value),
            duals=np.array(solution.row_dual),
            reduced_costs=np.array(solution.col_dual),
            objective=float(self._highs.getObjectiveValue()),
        )
        self._check(lp_solution)
        return lp_solution

    def _check(self, lp_solution: LpSolution) -> None:
        """Refuse an answer that is not of the model, or holds what is not a number."""
        columns, rows = self._highs.getNumCol(), self._highs.getNumRow()
        counts = len(lp_solution.values), len(lp_solution.reduced_costs), len(lp_solution.duals)
        if counts != (columns, columns, rows):
            message = (
                f"the solver answered with {counts[0]} values, {counts[1]} reduced costs and "
                f"{counts[2]} duals of {columns} columns and {rows} rows"
            )
            raise SolverError(message)
        if not all(np.isfinite(part).all() for part in vars(lp_solution).values()):
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
        check_status(self._highs.writeModel(str(plain)), f"to write {path}", may_warn=True)
        if is_packed:
            path.write_bytes(gzip.compress(plain.read_bytes(), compresslevel=1))
            plain.unlink()

    def _run_cold(self) -> None:
        """Solve from nothing: the basis may have been at fault, or the way from it."""
        check_status(self._highs.clearSolver(), "clearSolver")
        set_options(self._highs, COLD_START_OPTIONS)
        self._presolve(True)
        check_status(self._highs.run(), "run from nothing", may_warn=True)

    def _presolve(self, is_on: bool) -> None:
        set_options(self._highs, {"presolve": "on" if is_on else "off"})
        set_time_limit(self._highs, self._time_limit)

    def add_elastic_columns(self, rows: IntArray) -> None:
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
        check_status(self._highs.addCols(*added), "addCols")


def slack_basis(arrays: ModelArrays) -> SimplexBasis:
    """Return where a model stands before anything is solved: rows free, columns at a bound.

    Parameters
    ----------
    arrays
        The model.
    """
    word = highspy.HighsBasisStatus
    return SimplexBasis(
        columns=np.full(len(arrays.column_low), int(word.kLower), dtype=np.int8),
        rows=np.full(len(arrays.row_low), int(word.kBasic), dtype=np.int8),
    )


def _started(basis: SimplexBasis) -> Any:
    """Return a basis as the solver takes one: lists of its own words, not yet looked at."""
    found = highspy.HighsBasis()
    found.col_status = BASIS_STATUS[basis.columns].tolist()
    found.row_status = BASIS_STATUS[basis.rows].tolist()
    found.valid, found.alien = True, True
    return found


class SilentHighs(highspy.Highs):
    """The solver without callbacks: setting them up prints a banner that nothing can switch off."""

    def enableCallbacks(self) -> None:  # noqa: N802  (the name of the solver)
        """Set up nothing."""


def pass_model(
    solver: Any,
    arrays: ModelArrays,
    account_weights: Mapping[str, float],
    *,
    is_whole: bool = False,
) -> None:
    """Hand the model over; with a number that is none the solver would run for ever."""
    costs, offset = arrays.accounts.weighted(account_weights, len(arrays.column_low))
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
    check_status(status, "passModel", may_warn=True)


def check_status(status: Any, what: str, *, may_warn: bool = False) -> None:
    """Refuse a call that the solver did not carry out; it never raises by itself."""
    good = {highspy.HighsStatus.kOk, *([highspy.HighsStatus.kWarning] if may_warn else [])}
    if status not in good:
        message = f"the solver refused {what}: {status}"
        raise SolverError(message)


def set_options(solver: Any, options: Mapping[str, Any]) -> None:
    """Set options of the solver, and refuse what it does not know."""
    for name, value in varied_options(options).items():
        check_status(solver.setOptionValue(name, value), f"option {name}")


def set_time_limit(solver: Any, seconds: float) -> None:
    """Let the next run take so long; the solver counts the time of all of its runs."""
    set_options(solver, {"time_limit": solver.getRunTime() + seconds})


LARGE_MODEL_ROWS: Final = 15_000
"""Fewer rows are a small model: one plan of a site, or one course of a hedge. [1]"""

INFEASIBILITY_RATIO: Final = 4.0
"""How many times more columns than rows must be amiss for the primal side to be the nearer. [1]"""

COLD_START_OPTIONS: Final[dict[str, Any]] = {
    "simplex_strategy": int(highspy.simplex_constants.kSimplexStrategyDual),
    "simplex_dual_edge_weight_strategy": int(
        highspy.simplex_constants.kSimplexEdgeWeightStrategyChoose
    ),
}
"""From nothing: the dual side, along the steepest edges."""


def choose_simplex_strategy(solver: Any) -> None:
    """Choose how the next run goes on from the basis that the solver has.

    A small model goes on the dual side by Devex weights: the steepest edges would cost a solve for
    each row first, and so short a way does not pay for it. In a large one these weights take
    longer ways. There it counts how much is amiss at the basis: new prices leave values
    within their bounds but make other columns pay (the primal side is the nearer), a new state
    does the reverse.

    Parameters
    ----------
    solver
        Of HiGHS, with a model and a basis.
    """
    if solver.getNumRow() < LARGE_MODEL_ROWS:
        devex = int(highspy.simplex_constants.kSimplexEdgeWeightStrategyDevex)
        options = COLD_START_OPTIONS | {"simplex_dual_edge_weight_strategy": devex}
    else:
        options = COLD_START_OPTIONS | {"simplex_strategy": _choose_primal_or_dual(solver)}
    set_options(solver, options)


def _choose_primal_or_dual(solver: Any) -> int:
    """Return the side on which less is amiss, after a run of no step at all."""
    most = solver.getOptionValue("simplex_iteration_limit")[1]
    set_options(solver, {"simplex_iteration_limit": 0})
    solver.run()  # ends as it began, and where it fails the run that counts will tell
    set_options(solver, {"simplex_iteration_limit": most})
    amiss = solver.getInfo()
    is_primal = (
        amiss.num_dual_infeasibilities > INFEASIBILITY_RATIO * amiss.num_primal_infeasibilities
    )
    sides = highspy.simplex_constants
    return int(sides.kSimplexStrategyPrimal if is_primal else sides.kSimplexStrategyDual)


def is_feasible(arrays: ModelArrays) -> bool:
    """Return whether any values keep all rows, at whatever cost.

    Parameters
    ----------
    arrays
        The model.
    """
    return LpSolver(arrays, dict.fromkeys(arrays.accounts.names, 0.0)).run() is not None
