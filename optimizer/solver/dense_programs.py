"""Small dense programs: least linear cost, or least distance to a point."""

from dataclasses import dataclass
from typing import Any, Final

import highspy
import numpy as np

from optimizer.solver.highs import SilentHighs, check_status, set_options
from twin.errors import SolverError
from twin.physics import FloatArray

DENSE_OPTIONS: Final[dict[str, Any]] = {"output_flag": False, "threads": 1, "parallel": "off"}
"""What the solver is told; two of one process must have as many threads."""

MAX_QP_ITERATIONS: Final = 10_000
"""Most steps of the solver of squares, which can go round in circles for ever. [1]"""


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
    """Return the values of least cost.

    Parameters
    ----------
    cost
        Of every column.
    rows
        What they keep.

    Raises
    ------
    SolverError
        If there are none.
    """
    return _solved(_passed(cost, rows))


def solve_qp(point: FloatArray, weight: FloatArray, rows: DenseProgram) -> DenseSolution:
    """Return the values nearest to a point.

    Parameters
    ----------
    point
        Where they would be if rows allowed.
    weight
        Weight of the square of each column's distance; 0 for those that do not count.
    rows
        What they keep.

    Returns
    -------
    DenseSolution
        Where the solver of squares misses the rows or finds no end, which happens, the values of
        least sum of distances: the simplex keeps rows.

    Raises
    ------
    SolverError
        If there are none.
    """
    try:
        return _solve_qp(point, weight, rows)
    except SolverError:
        return _solve_l1(point, weight, rows)


def _solve_qp(point: FloatArray, weight: FloatArray, rows: DenseProgram) -> DenseSolution:
    solver = _passed(-weight * point, rows)
    set_options(solver, {"qp_iteration_limit": MAX_QP_ITERATIONS})
    counted = np.flatnonzero(weight).astype(np.int32)
    before = np.concatenate([[0], np.cumsum(weight != 0.0)]).astype(np.int32)
    status = solver.passHessian(
        len(weight),
        len(counted),
        int(highspy.HessianFormat.kTriangular),
        before[:-1],
        counted,
        weight[counted],
    )
    check_status(status, "passHessian", may_warn=True)
    return _solved(solver)


def _solve_l1(point: FloatArray, weight: FloatArray, rows: DenseProgram) -> DenseSolution:
    """Return the values whose weighted sum of distances is least."""
    counted = np.flatnonzero(weight)
    (height, columns), count = rows.matrix.shape, len(counted)
    apart = np.zeros((count, columns))
    apart[np.arange(count), counted] = 1.0
    matrix = np.block(
        [
            [rows.matrix, np.zeros((height, 2 * count))],
            [apart, -np.eye(count), np.eye(count)],
        ]
    )
    none, free = np.zeros(2 * count), np.full(2 * count, np.inf)
    wide = DenseProgram(
        matrix=matrix,
        low=np.concatenate([rows.low, point[counted]]),
        high=np.concatenate([rows.high, point[counted]]),
        column_low=np.concatenate([rows.column_low, none]),
        column_high=np.concatenate([rows.column_high, free]),
    )
    cost = np.concatenate([np.zeros(columns), weight[counted], weight[counted]])
    found = solve_lp(cost, wide)
    return DenseSolution(
        values=found.values[:columns], duals=found.duals[:height], objective=found.objective
    )


def _passed(cost: FloatArray, rows: DenseProgram) -> Any:
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


def _solved(solver: Any) -> DenseSolution:
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
        message = f"a small program ended with: {solver.modelStatusToString(status)}"
        raise SolverError(message)
    return found
