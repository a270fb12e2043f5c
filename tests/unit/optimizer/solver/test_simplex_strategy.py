"""How the solver restarts from a basis: on the simplex side with less infeasibility."""

import highspy
import numpy as np
import pytest

from optimizer.compiler.structure import compile_model
from optimizer.model.formulation import parameter_values, signature_of
from optimizer.model.model_data import build_model_data
from optimizer.model.objective import WEIGHT_OF_ACCOUNT
from optimizer.solver import highs
from optimizer.solver.highs import LpSolver
from tests.support.hand import battery, grid, outlook, problem, site

HOURS = 24
PRICES = dict.fromkeys(WEIGHT_OF_ACCOUNT, 1.0)
SIDES = highspy.simplex_constants
DUAL, PRIMAL = int(SIDES.kSimplexStrategyDual), int(SIDES.kSimplexStrategyPrimal)
DEVEX = int(SIDES.kSimplexEdgeWeightStrategyDevex)


@pytest.fixture
def arrays():
    where = site(battery(capacity=6.0), connection=grid(peak_price=7.0))
    prices = np.random.default_rng(3).uniform(20.0, 90.0, size=HOURS)
    inputs = build_model_data(problem(where, outlook(prices, service=1.0), level=0.2))
    return compile_model(signature_of(inputs)).with_parameter_values(parameter_values(inputs))


@pytest.fixture
def solved(arrays):
    """Return a solver at its optimum."""
    solver = LpSolver(arrays, PRICES)
    assert solver.run() is not None
    return solver


def dearer(solver, arrays):
    """Give the grid other prices: no value leaves its bounds for them."""
    imports = arrays.columns_by_variable["grid.import_power"]
    solver.set_costs(imports, np.random.default_rng(5).uniform(20.0, 90.0, size=HOURS))


def fuller(solver, arrays):
    """Give the battery another level at the start and a smaller range: no column pays for it."""
    level = arrays.columns_by_variable["battery.level"]
    solver.set_column_bounds(level, np.full(len(level), 1.0), high=np.full(len(level), 4.0))


def option(solver, name):
    return solver._highs.getOptionValue(name)[1]


@pytest.mark.parametrize(("change", "side"), [(dearer, PRIMAL), (fuller, DUAL)])
def test_large_model_restarts_on_the_side_with_less_infeasibility(
    solved, arrays, change, side, monkeypatch
):
    """Proves: new prices use the primal side, new bounds the dual one, with the same optimum."""
    monkeypatch.setattr(highs, "MIN_LARGE_MODEL_ROWS", 0)
    fresh = LpSolver(arrays, PRICES)
    for solver in (solved, fresh):
        change(solver, arrays)
    assert solved.run().objective == pytest.approx(fresh.run().objective, rel=1e-9)
    assert option(solved, "simplex_strategy") == side


def test_small_model_restarts_with_devex_weights(solved, arrays):
    """Proves: the dual side is used, however much prices change."""
    dearer(solved, arrays)
    solved.run()
    assert option(solved, "simplex_strategy") == DUAL
    assert option(solved, "simplex_dual_edge_weight_strategy") == DEVEX


def test_each_run_has_the_same_time_limit(arrays, monkeypatch):
    """Proves: the time of earlier runs, which the solver adds up, is added to the limit."""
    solver = LpSolver(arrays, PRICES, time_limit=5.0)
    monkeypatch.setattr(solver._highs, "getRunTime", lambda: 100.0)
    assert solver.run() is not None
    assert option(solver, "time_limit") == 105.0


def test_inspecting_a_basis_takes_no_iteration(solved, arrays, monkeypatch):
    """Proves: the basis stays, and the next run may take as many iterations as before."""
    monkeypatch.setattr(highs, "MIN_LARGE_MODEL_ROWS", 0)
    most = option(solved, "simplex_iteration_limit")
    dearer(solved, arrays)
    highs.choose_simplex_strategy(solved._highs)
    assert solved._highs.getInfo().simplex_iteration_count == 0
    assert option(solved, "simplex_iteration_limit") == most


def test_failed_simplex_side_is_not_tried_twice(solved, arrays, monkeypatch):
    """Proves: after a failure of the primal side, the dual side starts without a basis."""
    monkeypatch.setattr(highs, "MIN_LARGE_MODEL_ROWS", 0)
    fresh = LpSolver(arrays, PRICES)
    for solver in (solved, fresh):
        dearer(solver, arrays)
    ran, sides = solved._highs.run, []

    def run():
        if option(solved, "simplex_iteration_limit") == 0:
            return ran()
        sides.append(option(solved, "simplex_strategy"))
        return highspy.HighsStatus.kError if len(sides) == 1 else ran()

    monkeypatch.setattr(solved._highs, "run", run)
    assert solved.run().objective == pytest.approx(fresh.run().objective, rel=1e-9)
    assert sides == [PRIMAL, DUAL]
