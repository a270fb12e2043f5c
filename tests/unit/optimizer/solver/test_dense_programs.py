"""Small dense programs keep their rows, whatever the solver of squares makes of them."""

import numpy as np
import pytest

from optimizer.solver.highs import DenseProgram, solve_qp

FOUND = np.array([-20.51895759431318, -7.174477000000682, 0.0, 0.0, 0.0, 0.0])


def rows(matrix, low, high):
    return DenseProgram(
        matrix=np.array(matrix), low=np.array(low), high=np.array(high),
        column_low=np.full(10, -1e4), column_high=np.full(10, 1e4),
    )  # fmt: skip


def test_nearest_values_keep_rows_that_the_qp_solver_misses():
    """Proves: the point itself keeps all rows, in columns that do not count as well.

    Sensitivity: the solver claims to be done, misses a row by 9e-5, and ends with an error: prices
    of a fleet of three sites, by which all of it failed.
    """
    unit = np.eye(10)
    least = 0.5484780535000005
    planes = rows(
        [unit[6], unit[7], unit[8], unit[6:].sum(axis=0)],
        [-np.inf, -np.inf, -np.inf, least],
        [0.541532553, -0.0048464779999999996, 0.011702832000000002, np.inf],
    )
    point, weight = np.append(FOUND, np.zeros(4)), np.append(np.ones(6), np.zeros(4))
    found = solve_qp(point, weight, planes).values
    assert found[:6] == pytest.approx(FOUND, abs=1e-9)
    given = planes.matrix @ found
    assert (given >= planes.low - 1e-9).all()
    assert (given <= planes.high + 1e-9).all()


def test_nearest_values_lie_on_the_binding_row():
    """Proves: nearest to (3, 4) with x + y <= 5 are points of that row, 2 away in sum.

    Sensitivity: beside eight columns that nothing holds the solver of squares never ends.
    """
    both = rows([[1.0, 1.0, *np.zeros(8)]], [-np.inf], [5.0])
    point, weight = np.array([3.0, 4.0, *np.zeros(8)]), np.array([1.0, 1.0, *np.zeros(8)])
    found = solve_qp(point, weight, both).values[:2]
    assert found.sum() == pytest.approx(5.0)
    assert np.abs(found - [3.0, 4.0]).sum() == pytest.approx(2.0)


def test_least_squares_solution_is_optimal():
    """Proves: nearest to (3, 4) with x + y <= 5 is (2, 3), 1 away in each."""
    both = DenseProgram(
        matrix=np.array([[1.0, 1.0]]), low=np.array([-np.inf]), high=np.array([5.0]),
        column_low=np.full(2, -1e4), column_high=np.full(2, 1e4),
    )  # fmt: skip
    found = solve_qp(np.array([3.0, 4.0]), np.ones(2), both).values
    assert found == pytest.approx([2.0, 3.0], abs=1e-6)
