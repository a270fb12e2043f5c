"""From arrays to a plan: accounts, duals, and how the solver is run."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from optimizer.compiler.structure import compile_model
from optimizer.model.formulation import parameter_values, signature_of
from optimizer.model.model_data import build_model_data
from optimizer.model.objective import WEIGHT_OF_ACCOUNT
from optimizer.solver.highs import LpSolver
from tests.support.hand import battery, grid, outlook, problem, site, solved
from twin.errors import SolverError

JOBS = [("batch", [0.0, 1.0, 2.0], [2.0, 2.0, 2.0], 5.0)]
PRICES = dict.fromkeys(WEIGHT_OF_ACCOUNT, 1.0)


@pytest.fixture
def given():
    where = site(battery(), connection=grid(export_limit=5.0, ramp=0.1, peak_price=7.0))
    return problem(where, outlook([10.0, 30.0, 20.0], service=1.0, jobs=JOBS, carbon=300.0))


@pytest.fixture
def arrays(given):
    inputs = build_model_data(given)
    return compile_model(signature_of(inputs)).with_parameter_values(parameter_values(inputs))


def test_accounts_are_in_their_intervals(given):
    plan = solved(given.site, given.outlook)
    bought = plan.values["grid.import_power"] - plan.values["grid.export_power"]
    assert plan.accounts["electricity"] == pytest.approx(bought * [10.0, 30.0, 20.0])
    assert sum(money.sum() for money in plan.accounts.values()) == pytest.approx(plan.objective)
    assert set(plan.accounts) <= set(WEIGHT_OF_ACCOUNT)


def test_duals_are_the_price_of_a_megawatt():
    """One more MW of the racks in an hour costs what the hour costs: 10, 30, 20 EUR."""
    plain = outlook([10.0, 30.0, 20.0], service=1.0)
    plan = solved(site(), plain)
    assert np.abs(plan.duals["balance.rack"]) == pytest.approx([10.0, 30.0, 20.0])
    assert plan.duals["grid.import_power"] == pytest.approx([0.0, 0.0, 0.0])


def test_solver_prints_nothing(arrays, capfd):
    LpSolver(arrays, PRICES).run()
    assert capfd.readouterr() == ("", "")


def test_nan_never_reaches_the_solver(arrays):
    broken = replace(
        arrays, matrix_values=np.where(arrays.matrix_values == 1.0, np.nan, arrays.matrix_values)
    )
    with pytest.raises(SolverError, match="contains NaN"):
        LpSolver(broken, PRICES)


@pytest.mark.parametrize("count", [0, 3])
def test_solution_of_wrong_size_is_an_error(arrays, monkeypatch, count):
    """Proves: the error names how many values came. Sensitivity: an IndexError elsewhere."""
    solver = LpSolver(arrays, PRICES)
    cut = SimpleNamespace(col_value=[0.0] * count, col_dual=[], row_dual=[])
    monkeypatch.setattr(solver, "_highs", _Cut(solver._highs, cut))
    with pytest.raises(SolverError, match=f"returned {count} values, 0 reduced costs and 0"):
        solver.run()


class _Cut:
    """A solver whose solution is another one."""

    def __init__(self, highs, solution):
        self._real, self._solution = highs, solution

    def __getattr__(self, name):
        return getattr(self._real, name)

    def getSolution(self):  # noqa: N802  (the name of the solver)
        return self._solution


class _GivesUp:
    """A solver whose first run makes no iteration, so that it ends without an optimum."""

    def __init__(self, highs):
        self._real, self.runs = highs, 0

    def __getattr__(self, name):
        return getattr(self._real, name)

    def run(self):
        self.runs += 1
        most = 0 if self.runs == 1 else 10**6
        self._real.setOptionValue("simplex_iteration_limit", most)
        self._real.setOptionValue("presolve", "off")
        return self._real.run()


def test_failed_run_is_repeated_without_a_start(arrays, monkeypatch):
    """Proves: a run without an optimum or a proof of infeasibility is repeated.

    Sensitivity: on one processor a plan failed with "Unknown", which another run solved.
    """
    usual = LpSolver(arrays, PRICES).run()
    solver = LpSolver(arrays, PRICES)
    gives_up = _GivesUp(solver._highs)
    monkeypatch.setattr(solver, "_highs", gives_up)
    found = solver.run()
    assert gives_up.runs == 2
    assert found.objective == pytest.approx(usual.objective, rel=1e-9)


def test_unbounded_model_is_an_error(arrays):
    with pytest.raises(SolverError, match="the solver ended with"):
        LpSolver(arrays, PRICES | {"ramp": -1.0}).run()


def test_weight_of_money_scales_the_objective():
    """Terminal values count too: a weight of 2 alone doubles the objective."""
    ahead = outlook([50.0, 60.0], terminal=70.0)
    once, twice = (solved(site(battery()), ahead, money=money) for money in (1.0, 2.0))
    assert twice.objective == pytest.approx(2.0 * once.objective)
    assert once.objective < 0.0
