"""Small dense programs: linear programs, and projections of a point."""

from dataclasses import dataclass
from typing import Any, Final

import highspy
import numpy as np

from optimizer.solver.highs import SilentHighs, check_status, set_options
from twin.errors import SolverError
from twin.physics import FloatArray

DENSE_OPTIONS: Final[dict[str, Any]] = {"output_flag": False, "threads": 1, "parallel": "off"}
"""Options of the solver; all solvers of a process must have the same number of threads."""

MAX_QP_ITERATIONS: Final = 10_000
"""Iteration limit of the QP solver, which can cycle forever. [1]"""


@dataclass(frozen=True, kw_only=True)
class DenseProgram:
    """Rows of a small program: ``low <= matrix @ x <= high``, and bounds of ``x``."""

    matrix: FloatArray
    low: FloatArray
    high: FloatArray
    column_low: FloatArray
    column_high: FloatArray


@dataclass(frozen=True, kw_only=True)
class DenseSolution:
    """Values of the columns, duals of the rows, and the objective."""

    values: FloatArray
    duals: FloatArray
    objective: float


def solve_lp(cost: FloatArray, rows: DenseProgram) -> DenseSolution:
    """Return the solution with the lowest cost.

    Raises
    ------
    SolverError
        If there is none.
    """
    return _run_dense(_pass_dense(cost, rows))


def solve_qp(point: FloatArray, weight: FloatArray, rows: DenseProgram) -> DenseSolution:
    """Return the feasible values nearest to a point.

    ``weight`` multiplies the squared distance of each column. If the QP solver violates rows or
    cycles, the weighted sum of distances is minimised by simplex.

    Raises
    ------
    SolverError
        If there are no feasible values.
    """
    try:
        return _solve_qp(point, weight, rows)
    except SolverError:
        return _solve_l1(point, weight, rows)


def _solve_qp(point: FloatArray, weight: FloatArray, rows: DenseProgram) -> DenseSolution:
    solver = _pass_dense(-weight * point, rows)
    set_options(solver, {"qp_iteration_limit": MAX_QP_ITERATIONS})
    weighted = np.flatnonzero(weight).astype(np.int32)
    before = np.concatenate([[0], np.cumsum(weight != 0.0)]).astype(np.int32)
    status = solver.passHessian(
        len(weight),
        len(weighted),
        int(highspy.HessianFormat.kTriangular),
        before[:-1],
        weighted,
        weight[weighted],
    )
    check_status(status, "passHessian", may_warn=True)
    return _run_dense(solver)


def _solve_l1(point: FloatArray, weight: FloatArray, rows: DenseProgram) -> DenseSolution:
    """Return the values with the least weighted sum of distances."""
    weighted = np.flatnonzero(weight)
    (height, columns), count = rows.matrix.shape, len(weighted)
    selection = np.zeros((count, columns))
    selection[np.arange(count), weighted] = 1.0
    matrix = np.block(
        [
            [rows.matrix, np.zeros((height, 2 * count))],
            [selection, -np.eye(count), np.eye(count)],
        ]
    )
    none, free = np.zeros(2 * count), np.full(2 * count, np.inf)
    extended = DenseProgram(
        matrix=matrix,
        low=np.concatenate([rows.low, point[weighted]]),
        high=np.concatenate([rows.high, point[weighted]]),
        column_low=np.concatenate([rows.column_low, none]),
        column_high=np.concatenate([rows.column_high, free]),
    )
    cost = np.concatenate([np.zeros(columns), weight[weighted], weight[weighted]])
    found = solve_lp(cost, extended)
    return DenseSolution(
        values=found.values[:columns], duals=found.duals[:height], objective=found.objective
    )


def _pass_dense(cost: FloatArray, rows: DenseProgram) -> Any:
    solver: Any = SilentHighs()  # type: ignore[no-untyped-call]  # highspy's own
    set_options(solver, DENSE_OPTIONS)
    count, columns = rows.matrix.shape
    at = np.nonzero(rows.matrix)
    start = np.searchsorted(at[0], np.arange(count + 1)).astype(np.int32)
    status = solver.passModel(
        columns,
        count,
        len(at[0]),
        int(highspy.MatrixFormat.kRowwise),
        int(highspy.ObjSense.kMinimize),
        0.0,
        cost,
        rows.column_low,
        rows.column_high,
        rows.low,
        rows.high,
        start,
        at[1].astype(np.int32),
        rows.matrix[at],
        np.zeros(columns, dtype=np.int32),
    )
    check_status(status, "passModel", may_warn=True)
    return solver


def _run_dense(solver: Any) -> DenseSolution:
    check_status(solver.run(), "run", may_warn=True)
    status = solver.getModelStatus()
    solution = solver.getSolution()
    found = DenseSolution(
        values=np.array(solution.col_value),
        duals=np.array(solution.row_dual),
        objective=float(solver.getObjectiveValue()),
    )
    is_whole = len(found.values) == solver.getNumCol() and len(found.duals) == solver.getNumRow()
    is_sound = is_whole and np.isfinite(found.values).all()
    if status != highspy.HighsModelStatus.kOptimal or not is_sound:
        message = f"a small program ended with status {solver.modelStatusToString(status)}"
        raise SolverError(message)
    return found
