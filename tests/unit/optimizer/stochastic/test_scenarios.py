"""Scenarios of a whole site: equal ones merge, the first hour is shared, information helps."""

from dataclasses import replace

import numpy as np
import pytest

from optimizer.compiler.structure import compile_model
from optimizer.model.formulation import parameter_values
from optimizer.model.model_data import build_model_data
from optimizer.model.objective import RiskPreference, cvar
from optimizer.planner.planner import solve_problem
from optimizer.solver.highs import LpSolver, slack_basis
from optimizer.stochastic import two_stage
from optimizer.stochastic.scenarios import ScenarioProblem
from optimizer.stochastic.two_stage import (
    coupled_signature,
    first_stage_signature,
    first_stage_values,
    solve_two_stage,
)
from tests.support import small_days
from tests.support.hand import battery, grid, outlook, problem, site, tank
from tests.unit.optimizer.compiler.test_compile import as_pyomo_says, dense, drawn

NEUTRAL = RiskPreference(weight=0.0, violations=0.0)
CHANCES = np.array([0.5, 0.3, 0.2])
COUNT = len(CHANCES)


def changed(problem, factor, shift):
    """Return a problem with other prices and air temperatures from the second hour on."""
    ahead = problem.outlook.copy(deep=True)
    later = np.arange(ahead.sizes["time"]) >= 4
    price = ahead["electricity_price"].to_numpy()
    ahead["electricity_price"].values = np.where(later, factor * price, price)
    ahead["air_temperature"].values = ahead["air_temperature"].to_numpy() + later * shift
    return replace(problem, outlook=ahead)


@pytest.fixture(scope="module")
def cases():
    problem = small_days.problem()
    problems = (changed(problem, 1.0, 0.0), changed(problem, 0.2, 4.0), changed(problem, 2.0, -4.0))
    return [
        ScenarioProblem(problem=one, probability=p, name=f"case {i}")
        for i, (one, p) in enumerate(zip(problems, CHANCES, strict=True))
    ]


@pytest.fixture(scope="module")
def found(cases):
    return solve_two_stage(cases)


def test_equal_scenarios_equal_one_problem(cases):
    one = cases[0].problem
    equal = [replace(case, problem=one) for case in cases]
    alone = solve_problem(one)
    found = solve_two_stage(equal, risk=RiskPreference(violations=0.0))
    assert alone.fixed_segments == ()  # what scenarios do not know of
    assert found.objective == pytest.approx(alone.objective, rel=1e-6)
    np.testing.assert_allclose(found.costs, alone.objective, rtol=1e-6)


def test_only_first_hour_is_shared(cases, found):
    steps = first_stage_signature(cases[0].problem, 1.0).first_stage_interval_count
    assert steps == 4
    assert cases[0].problem.site.stores
    for store in cases[0].problem.site.stores:
        one, *others = (found.values[f"s{i}.{store.owner}.level"] for i in range(COUNT))
        for other in others:
            np.testing.assert_allclose(one[: steps + 1], other[: steps + 1], atol=1e-6)
    labels = cases[0].problem.outlook["cohort"].to_numpy().tolist()
    has_come = [not label.endswith("/expected") for label in labels]
    one, *others = (found.values[f"s{i}.work.racks"] for i in range(COUNT))
    for other in others:
        np.testing.assert_allclose(one[:steps, has_come], other[:steps, has_come], atol=1e-6)
        assert np.abs(one[steps:] - other[steps:]).max() > 1e-3
    np.testing.assert_allclose(found.first_stage["work.racks"][:, has_come], one[:steps, has_come])
    assert np.isnan(found.first_stage["work.racks"][:, ~np.array(has_come)]).all()


def test_value_of_information_is_not_negative(cases):
    """Wait-and-see <= here-and-now <= the plan of the first scenario, kept in all."""
    plan = solve_problem(cases[0].problem)
    planned = first_stage_values(plan.values, first_stage_signature(cases[0].problem, 1.0))
    seen = solve_two_stage(cases, risk=NEUTRAL, now=0.0).objective
    here = solve_two_stage(cases, risk=NEUTRAL).objective
    kept = solve_two_stage(cases, risk=NEUTRAL, given=planned).objective
    assert seen <= here + 1e-6
    assert here <= kept + 1e-6
    each = [solve_problem(case.problem).relaxed_objective for case in cases]
    assert seen == pytest.approx(float(np.dot(CHANCES, each)), rel=1e-6)


def test_objective_is_the_sum_of_its_parts(found):
    risk = found.risk
    violations = cvar(found.scenario_violation_costs, found.probability, risk.level)
    whole = (1.0 - risk.weight) * found.mean + risk.weight * found.cvar_cost
    assert found.objective == pytest.approx(whole + risk.violations * violations, rel=1e-6)


def test_tail_weight_lowers_cvar_and_raises_mean(cases):
    mean = solve_two_stage(cases, risk=NEUTRAL)
    tail = solve_two_stage(cases, risk=RiskPreference(level=0.8, weight=1.0, violations=0.0))
    slack = 1e-6 * abs(mean.mean)
    assert cvar(tail.costs, tail.probability, 0.8) <= cvar(mean.costs, CHANCES, 0.8) + slack
    assert tail.mean >= mean.mean - slack


def test_hedge_starts_from_the_last_one(cases, found):
    again = solve_two_stage(cases, warm_start=found.warm_start)
    assert again.objective == pytest.approx(found.objective, rel=1e-9)


def test_start_changes_no_optimum_and_saves_iterations(cases, found, monkeypatch):
    """Proves: a start from the optima of single scenarios gives the same optimum."""
    steps = []

    class Counting(LpSolver):
        def run(self):
            answer = super().run()
            steps.append(self._highs.getInfo().simplex_iteration_count)
            return answer

    monkeypatch.setattr(two_stage, "LpSolver", Counting)
    assert solve_two_stage(cases).objective == pytest.approx(found.objective, rel=1e-9)
    monkeypatch.setattr(
        two_stage, "decomposed_warm_start", lambda *all_of, **_: slack_basis(all_of[2])
    )
    assert solve_two_stage(cases).objective == pytest.approx(found.objective, rel=1e-9)
    from_parts, from_nothing = steps[-2:]
    assert from_parts < from_nothing / 3


@pytest.mark.parametrize("seed", range(3))
def test_scenario_arrays_equal_a_fresh_compile(seed):
    """Proves: the rows that bind scenarios compile as Pyomo does, to the last bit."""
    where = site(battery(), tank(capacity=3.0, power=1.0), connection=grid(ramp=0.1))
    jobs = [("batch", [0.0, 1.0, 2.0], [2.0, 2.0, 2.0], 5.0)]
    many = [
        build_model_data(
            problem(where.model_copy(update={"name": name}), outlook(prices, jobs=jobs))
        )
        for name, prices in (("s0", [10.0, 30.0, 20.0]), ("s1", [20.0, 10.0, 60.0]))
    ]
    shape = coupled_signature(many, 1.0)
    given = compile_model(shape).parameter_axes
    sizes = {name: np.zeros(axes) for name, axes in given.items()}
    assert set(parameter_values(*many)) < set(sizes)
    numbers = drawn(sizes, np.random.default_rng(seed))
    arrays = compile_model(shape).with_parameter_values(numbers)
    rows, low, high, costs, offset, limits = as_pyomo_says(shape, numbers)
    np.testing.assert_array_equal(dense(arrays), rows)
    np.testing.assert_array_equal(arrays.row_low, low)
    np.testing.assert_array_equal(arrays.row_high, high)
    np.testing.assert_array_equal(arrays.column_low, limits[:, 0])
    np.testing.assert_array_equal(arrays.column_high, limits[:, 1])
    own = arrays.accounts
    found = np.zeros_like(costs)
    np.add.at(found, (own.account_index, own.column_index), own.cost)
    np.testing.assert_array_equal(found, costs)
    np.testing.assert_array_equal(own.constant_cost, offset)
