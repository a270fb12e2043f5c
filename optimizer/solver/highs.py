"""Interface to HiGHS: linear models as arrays.

Which of several equal optima HiGHS returns depends on its random seed, the simplex side and the
last bits of the processor. A result that is safe for one of them only is a defect.
"""

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import highspy
import numpy as np

from optimizer.compiler.arrays import IntArray, ModelArrays
from optimizer.solver.solution import SimplexBasis
from twin.errors import IssueCode, SolverError
from twin.physics import FloatArray

LP_TIME_LIMIT_S: Final = 60.0
"""Time limit of one linear program. [s]"""

LP_OPTIONS: Final[dict[str, Any]] = {
    "output_flag": False,
    "threads": 1,
    "parallel": "off",
    "solver": "simplex",  # serial; interior point took 3 to 12 times as long
}
"""Options of the solver. Presolve is set for each run: it halves a cold start but drops a basis."""

FINAL_STATUSES: Final = (
    highspy.HighsModelStatus.kOptimal,
    highspy.HighsModelStatus.kInfeasible,
    highspy.HighsModelStatus.kUnboundedOrInfeasible,
    highspy.HighsModelStatus.kTimeLimit,
)
"""Statuses that end a run; after any other, such as ``Unknown``, the model is solved cold."""

BASIS_STATUS: Final = np.array(
    [highspy.HighsBasisStatus(number) for number in range(5)], dtype=object
)
"""Number of a status -> status of HiGHS."""


@dataclass(frozen=True, kw_only=True)
class LpSolution:
    """Solution of a linear model.

    ``duals`` and ``reduced_costs`` are the change of the objective [EUR] with the bound of every
    row and of every column.
    """

    values: FloatArray
    duals: FloatArray
    reduced_costs: FloatArray
    objective: float


class LpSolver:
    """A linear model in HiGHS, which keeps its basis between runs.

    HiGHS repairs an incomplete initial ``basis``. ``time_limit`` applies to one run. [s]
    ``algorithm`` is the method of HiGHS for the first run: ``ipm`` is faster for models of several
    sites; it ends with a basis too.
    """

    def __init__(
        self,
        arrays: ModelArrays,
        account_weights: Mapping[str, float],
        *,
        basis: SimplexBasis | None = None,
        time_limit: float = LP_TIME_LIMIT_S,
        algorithm: str = "simplex",
    ) -> None:
        self._highs: Any = SilentHighs()  # type: ignore[no-untyped-call]  # highspy's own
        self._time_limit = time_limit
        set_options(self._highs, LP_OPTIONS | {"solver": algorithm})
        pass_model(self._highs, arrays, account_weights)
        self._is_cold = basis is None
        if basis is not None:
            check_status(self._highs.setBasis(_highs_basis(basis)), "setBasis", may_warn=True)

    @property
    def basis(self) -> SimplexBasis:
        """Basis of the last optimum.

        Derived from the basic variables and the bounds: the status list of HiGHS holds an object
        for each column and row, and takes twice as long.
        """
        lp, found, basic = self._highs.getLp(), self._highs.getSolution(), self._basic()
        values = np.concatenate([found.col_value, found.row_value])
        low = np.concatenate([lp.col_lower_, lp.row_lower_])
        high = np.concatenate([lp.col_upper_, lp.row_upper_])
        status_type = highspy.HighsBasisStatus
        status = np.where(
            high - values < values - low, int(status_type.kUpper), int(status_type.kLower)
        )
        status[np.isinf(low) & np.isinf(high)] = int(status_type.kZero)
        status[basic] = int(status_type.kBasic)
        columns, rows = np.split(status.astype(np.int8), [lp.num_col_])
        return SimplexBasis(column_statuses=columns, row_statuses=rows)

    def _basic(self) -> IntArray:
        """Return the positions of basic variables; rows are numbered after the columns."""
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
        """Return the arrays with the present bounds of columns."""
        model = self._highs.getLp()
        low, high = np.array(model.col_lower_), np.array(model.col_upper_)
        return replace(arrays, column_low=low, column_high=high)

    def highs_model(self) -> Any:
        """Return the present model in the form of HiGHS."""
        return self._highs.getLp()

    def run(self) -> LpSolution | None:
        """Solve the model from the present basis; return None if it is infeasible.

        Raises SolverError if the solver ends in any other way, or returns invalid numbers.
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
            ended = self._highs.modelStatusToString(status)
            message = f"the solver ended with status {ended}; expected an optimum; plan again"
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
        """Raise an error if the solution has the wrong size or is not finite."""
        columns, rows = self._highs.getNumCol(), self._highs.getNumRow()
        counts = len(lp_solution.values), len(lp_solution.reduced_costs), len(lp_solution.duals)
        if counts != (columns, columns, rows):
            raise SolverError(
                f"the solver returned {counts[0]} values, {counts[1]} reduced costs and "
                f"{counts[2]} duals of {columns} columns and {rows} rows; plan again"
            )
        if not all(np.isfinite(part).all() for part in vars(lp_solution).values()):
            message = "the solver returned values that are not finite; plan again"
            raise SolverError(message, code=IssueCode.NOT_FINITE)

    def export(self, path: Path, labels: tuple[Sequence[str], Sequence[str]] = ((), ())) -> None:
        """Write the model to a file ``.mps`` or ``.lp``, or compressed to ``.mps.gz`` or
        ``.lp.gz``.

        ``labels`` are the names of all columns and of all rows; by default they are numbered.
        """
        for set_name, names in zip(
            (self._highs.passColName, self._highs.passRowName), labels, strict=True
        ):
            for number, name in enumerate(names):
                check_status(set_name(number, name), f"name {name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        is_compressed = path.suffix == ".gz"
        plain = path.with_suffix("") if is_compressed else path  # HiGHS does not compress
        check_status(self._highs.writeModel(str(plain)), f"writing {path}", may_warn=True)
        if is_compressed:
            path.write_bytes(gzip.compress(plain.read_bytes(), compresslevel=1))
            plain.unlink()

    def _run_cold(self) -> None:
        """Solve without the basis, which may have caused the failure."""
        check_status(self._highs.clearSolver(), "clearSolver")
        set_options(self._highs, {"solver": "simplex"})
        set_options(self._highs, COLD_START_OPTIONS)
        self._presolve(True)
        check_status(self._highs.run(), "cold run", may_warn=True)

    def _presolve(self, is_on: bool) -> None:
        set_options(self._highs, {"presolve": "on" if is_on else "off"})
        set_time_limit(self._highs, self._time_limit)

    def add_elastic_columns(self, rows: IntArray) -> None:
        """Add columns that violate equations at a cost of 1 per unit: excess first, then
        shortage.
        """
        count = 2 * len(rows)
        ends, both = np.arange(count, dtype=np.int32), np.tile(rows, 2).astype(np.int32)
        none, free = np.zeros(count), np.full(count, np.inf)
        sign = np.repeat([1.0, -1.0], len(rows))
        added = (count, np.ones(count), none, free, count, ends, both, sign)
        check_status(self._highs.addCols(*added), "addCols")


def slack_basis(arrays: ModelArrays) -> SimplexBasis:
    """Return the slack basis of a model: rows basic, columns at a bound."""
    status_type = highspy.HighsBasisStatus
    return SimplexBasis(
        column_statuses=np.full(len(arrays.column_low), int(status_type.kLower), dtype=np.int8),
        row_statuses=np.full(len(arrays.row_low), int(status_type.kBasic), dtype=np.int8),
    )


def _highs_basis(basis: SimplexBasis) -> Any:
    """Return a basis in the form of HiGHS."""
    found = highspy.HighsBasis()
    found.col_status = BASIS_STATUS[basis.column_statuses].tolist()
    found.row_status = BASIS_STATUS[basis.row_statuses].tolist()
    found.valid, found.alien = True, True
    return found


class SilentHighs(highspy.Highs):
    """HiGHS without callbacks, whose setup prints a banner that no option suppresses."""

    def enableCallbacks(self) -> None:  # noqa: N802  (the name of the solver)
        """Do nothing."""


def pass_model(
    solver: Any,
    arrays: ModelArrays,
    account_weights: Mapping[str, float],
    *,
    is_integer: bool = False,
) -> None:
    """Pass a model to HiGHS, which would never end with NaN in it."""
    costs, offset = arrays.accounts.weighted_column_costs(account_weights, len(arrays.column_low))
    numbers = (costs, arrays.column_low, arrays.column_high, arrays.row_low, arrays.row_high)
    if any(np.isnan(part).any() for part in (*numbers, arrays.matrix_values, np.array(offset))):
        message = "the model contains NaN; check the outlook and the site"
        raise SolverError(message, code=IssueCode.NOT_FINITE)
    status = solver.passModel(
        len(arrays.column_low),
        len(arrays.row_low),
        len(arrays.matrix_values),
        int(highspy.MatrixFormat.kRowwise),
        int(highspy.ObjSense.kMinimize),
        offset,
        *numbers,
        arrays.row_starts,
        arrays.column_indices,
        arrays.matrix_values,
        (arrays.is_integer if is_integer else np.zeros_like(arrays.is_integer)).astype(np.int32),
    )
    check_status(status, "passModel", may_warn=True)


def check_status(status: Any, what: str, *, may_warn: bool = False) -> None:
    """Raise an error if a call of HiGHS failed; HiGHS raises none itself."""
    good = {highspy.HighsStatus.kOk, *([highspy.HighsStatus.kWarning] if may_warn else [])}
    if status not in good:
        raise SolverError(f"HiGHS, {what}: ended with {status}; expected kOk; plan again")


def set_options(solver: Any, options: Mapping[str, Any]) -> None:
    """Set options of HiGHS."""
    for name, value in options.items():
        check_status(solver.setOptionValue(name, value), f"option {name}")


def set_time_limit(solver: Any, seconds: float) -> None:
    """Set the time limit of the next run; HiGHS counts the time of all its runs. [s]"""
    set_options(solver, {"time_limit": solver.getRunTime() + seconds})


MIN_LARGE_MODEL_ROWS: Final = 15_000
"""Rows from which a model is large: several scenarios, more than one plan of a site. [1]"""

PRIMAL_SIMPLEX_INFEASIBILITY_RATIO: Final = 4.0
"""Ratio of dual to primal infeasibilities above which primal simplex is faster. [1]"""

COLD_START_OPTIONS: Final[dict[str, Any]] = {
    "simplex_strategy": int(highspy.simplex_constants.kSimplexStrategyDual),
    "simplex_dual_edge_weight_strategy": int(
        highspy.simplex_constants.kSimplexEdgeWeightStrategyChoose
    ),
}
"""Cold start: dual simplex with steepest edge weights."""


def choose_simplex_strategy(solver: Any) -> None:
    """Choose how the next run continues from the present basis.

    Small models use dual simplex with Devex weights: steepest edge weights first need a solve per
    row, which a short path does not repay. Large models need shorter paths, so they keep steepest
    edge weights and choose the side with fewer infeasibilities. New prices leave values within
    their bounds (primal is nearer); a new state does the reverse.
    """
    if solver.getNumRow() < MIN_LARGE_MODEL_ROWS:
        devex = int(highspy.simplex_constants.kSimplexEdgeWeightStrategyDevex)
        options = COLD_START_OPTIONS | {"simplex_dual_edge_weight_strategy": devex}
    else:
        options = COLD_START_OPTIONS | {"simplex_strategy": _choose_primal_or_dual(solver)}
    set_options(solver, options)


def _choose_primal_or_dual(solver: Any) -> int:
    """Return the side with fewer infeasibilities, after a run without iterations."""
    limit = solver.getOptionValue("simplex_iteration_limit")[1]
    set_options(solver, {"simplex_iteration_limit": 0})
    solver.run()  # changes nothing; a failure shows in the next run
    set_options(solver, {"simplex_iteration_limit": limit})
    info = solver.getInfo()
    is_primal = (
        info.num_dual_infeasibilities
        > PRIMAL_SIMPLEX_INFEASIBILITY_RATIO * info.num_primal_infeasibilities
    )
    sides = highspy.simplex_constants
    return int(sides.kSimplexStrategyPrimal if is_primal else sides.kSimplexStrategyDual)


def is_feasible(arrays: ModelArrays) -> bool:
    """Return whether any values satisfy all rows, at whatever cost."""
    return LpSolver(arrays, dict.fromkeys(arrays.accounts.account_names, 0.0)).run() is not None
