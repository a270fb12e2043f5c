"""A basis shifted in time: the next window starts from the last one."""

import highspy
import numpy as np
import pytest

from optimizer.compiler.structure import compile_model
from optimizer.model.formulation import parameter_values, signature_of
from optimizer.model.model_data import build_model_data
from optimizer.model.objective import WEIGHT_OF_ACCOUNT
from optimizer.planner.planner import solve_problem
from optimizer.solver.highs import LpSolver
from optimizer.solver.solution import SimplexBasis, WarmStart, shift_basis
from tests.support import small_days
from tests.support.hand import START, battery, grid, outlook, problem, site
from twin.markets.contracts import CarbonBudget

PRICES = dict.fromkeys(WEIGHT_OF_ACCOUNT, 1.0)


def make_problem(prices, *, level=0.2, ramp=0.1):
    where = site(battery(capacity=6.0), connection=grid(ramp=ramp, peak_price=7.0))
    jobs = [("batch", np.linspace(0, 4, 8), np.full(8, 5.0), 5.0)]
    return problem(where, outlook(prices, service=1.0, jobs=jobs), level=level)


@pytest.fixture
def prices():
    return np.random.default_rng(3).uniform(-20.0, 90.0, size=9)


def test_rolled_window_has_the_same_optimum(prices):
    """Proves: a start from the shifted basis gives the same objective."""
    before = solve_problem(make_problem(prices[:8]))
    later = make_problem(prices[1:], level=0.3)
    cold = solve_problem(later)
    assert solve_problem(later, before.warm_start).objective == pytest.approx(
        cold.objective, rel=1e-9
    )


def test_own_optimum_is_kept_as_start():
    """Proves: the same problem, started from its solution, has that solution."""
    question = small_days.problem(4)
    once = solve_problem(question)
    again = solve_problem(question, once.warm_start)
    assert once.values
    for name, values in once.values.items():
        np.testing.assert_allclose(again.values[name], values, atol=1e-9)


def test_other_shape_starts_without_a_basis(prices):
    before = solve_problem(make_problem(prices[:8]))
    other = make_problem(prices[:8], ramp=0.0)
    assert solve_problem(other, before.warm_start).objective == solve_problem(other).objective


def test_week_keeps_its_shape_over_midnight():
    """Proves: a plan that touches seven days begins from one that touched eight."""
    rng, day = np.random.default_rng(5), 24
    budget = CarbonBudget.model_construct(
        name="cap", amount=100.0 * day * 365.0, price=0.1, window="day"
    )
    where = site(battery(), budget)
    whole = outlook(
        rng.uniform(-20.0, 90.0, 8 * day), service=1.0, carbon=rng.uniform(50.0, 200.0, 8 * day)
    )
    spans = [(at, at + 7 * day) for at in (day - 1, day)]
    late, midnight = (
        problem(where, whole.isel(time=slice(*span), instant=slice(span[0], span[1] + 1)))
        for span in spans
    )
    warm = solve_problem(late).warm_start
    assert warm.model_signature == signature_of(build_model_data(midnight))
    cold = solve_problem(midnight)
    assert solve_problem(midnight, warm).objective == pytest.approx(cold.objective, rel=1e-9)


def test_statuses_move_with_their_times(prices):
    """Proves: interval t takes the status of t + 2, and the last two take the last."""
    inputs = build_model_data(make_problem(prices[:8]))
    shape = signature_of(inputs)
    arrays = compile_model(shape).with_parameter_values(parameter_values(inputs))
    names = np.full(len(arrays.column_low), -1, dtype=np.int8)
    for at in arrays.columns_by_variable.values():
        steps = np.arange(len(at)) if at.ndim else np.array(99)
        names[at] = steps.reshape(steps.shape + (1,) * (at.ndim - steps.ndim))
    rows = np.zeros(len(arrays.row_low), dtype=np.int8)
    edges = START + np.arange(9) * np.timedelta64(1, "h")
    warm = WarmStart(
        model_signature=shape,
        instants=edges,
        basis=SimplexBasis(column_statuses=names, row_statuses=rows),
    )
    moved = shift_basis(warm, arrays, edges + np.timedelta64(2, "h")).column_statuses
    assert moved[arrays.columns_by_variable["battery.charge"]].tolist() == [2, 3, 4, 5, 6, 7, 7, 7]
    assert moved[arrays.columns_by_variable["battery.level"]].tolist() == [
        2,
        3,
        4,
        5,
        6,
        7,
        8,
        8,
        8,
    ]
    assert moved[arrays.columns_by_variable["grid_peak.peak_excess"]].tolist() == [0, 1]


def test_invalid_basis_is_repaired(prices):
    """Proves: the solver repairs any basis and finds the optimum."""
    inputs = build_model_data(make_problem(prices[:8]))
    arrays = compile_model(signature_of(inputs)).with_parameter_values(parameter_values(inputs))
    rng = np.random.default_rng(0)
    basis = SimplexBasis(
        column_statuses=rng.integers(0, 3, len(arrays.column_low)).astype(np.int8),
        row_statuses=rng.integers(0, 3, len(arrays.row_low)).astype(np.int8),
    )
    found = LpSolver(arrays, PRICES, basis=basis).run()
    assert found is not None
    assert found.objective == pytest.approx(LpSolver(arrays, PRICES).run().objective, rel=1e-9)


@pytest.mark.parametrize("is_given", [True, False])
def test_solver_error_is_retried_without_a_start(prices, monkeypatch, is_given):
    """Proves: one solver error, with or without a basis, is followed by another run."""
    inputs = build_model_data(make_problem(prices[:8]))
    arrays = compile_model(signature_of(inputs)).with_parameter_values(parameter_values(inputs))
    first = LpSolver(arrays, PRICES)
    best = first.run()
    again = LpSolver(arrays, PRICES, basis=first.basis if is_given else None)
    ran, calls = again._highs.run, []

    def run():
        calls.append(1)
        return highspy.HighsStatus.kError if len(calls) == 1 else ran()

    monkeypatch.setattr(again._highs, "run", run)
    assert again.run().objective == pytest.approx(best.objective)
    assert len(calls) == 2
