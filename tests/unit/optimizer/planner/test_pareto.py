"""Money for carbon, and what limits are worth."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from optimizer.diagnostics.explanation import explain_schedule
from optimizer.diagnostics.sensitivity import limit_values
from optimizer.model.components.workload import MAX_TRUSTED_DUAL_EUR
from optimizer.planner.pareto import pareto_front
from optimizer.planner.planner import solve_problem
from optimizer.planner.schedule import build_schedule
from tests.support import hand, heat_pump_site, small_days

RACKS = ("batch", [0.0, 5.0], [5.0, 5.0], 3.0)
MORE_RACKS = ("batch", [0.0, 4.0], [4.0, 4.0], 5.0)
PRICES = (0.0, 0.05, 0.2, 0.8)


@pytest.fixture(scope="module")
def problem():
    return small_days.problem(8)


def test_higher_carbon_price_emits_less(problem):
    reports = []
    found = pareto_front(problem, PRICES, on_progress=lambda *done: reports.append(done))
    assert reports == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert (np.diff(found["carbon"]) < 0.0).all()
    assert (np.diff(found["cost"]) > 0.0).all()
    assert (found["is_safe"] == 1.0).all()


def test_each_point_is_optimal_for_its_weight(problem):
    """Proves: no other plan of the front is cheaper at a point's price."""
    found = pareto_front(problem, PRICES)
    for price in PRICES:
        weighed = found["cost"] + price * found["carbon"]
        best = float(weighed.sel(carbon_price=price))
        assert best <= float(weighed.min()) + 1e-4 * abs(best)


UNDONE = [("batch", [0.0] * 3, [4.0] * 3, 10.0)]
WET = {"medium_voltage": lambda q: 0.0 * q, "water": lambda q: 0.5 * q}


@pytest.mark.parametrize(
    ("others", "ahead", "cost", "carbon"),
    [
        # 3 MWh of service at 90 EUR and 300 kg; 4 MWh kept spare 100 less 40 EUR, and 300 kg, each
        ([hand.battery(wear_price=40.0)], {"service": 1.0}, 270.0 - 4 * 60.0, 900.0 - 1200.0),
        # wear eats up what is kept, at any of the prices: it spares nothing
        ([hand.battery(wear_price=500.0)], {"service": 1.0}, 270.0, 900.0),
        # 4 MWh are done later, for nothing and at 300 kg each
        ([], {"jobs": UNDONE, "terminal": 0.0}, 0.0, 1200.0),
        # 4 MWh are done later, each at 50 EUR, 300 kg, and half a m3 of water at 10 EUR
        (
            [hand.machine("cooler", "air", draws=WET)],
            {"jobs": UNDONE, "terminal": 50.0},
            220.0,
            1200.0,
        ),
    ],
)
def test_cost_of_one_plan_does_not_depend_on_carbon_price(others, ahead, cost, carbon, monkeypatch):
    """Proves: terminal values are money, water and wear, with their carbon.

    Sensitivity: with wear 180 to -159 kg, and no carbon of work that is done later for nothing,
    where all of it was taken to be priced as energy of the grid is.
    """
    monkeypatch.setattr("optimizer.planner.pareto.verify", lambda *_: SimpleNamespace(is_safe=True))
    expected = hand.outlook([90.0] * 3, carbon=300.0, **{"terminal": 100.0} | ahead)
    problem = hand.problem(hand.site(*others), expected, level=1.0, water=10.0)
    found = pareto_front(problem, PRICES)
    assert found["cost"].to_numpy() == pytest.approx(cost)
    assert found["carbon"].to_numpy() == pytest.approx(carbon)


def test_marginal_value_equals_the_saving(problem):
    """Proves: a running peak that is a little higher saves what its limit promises."""

    def peaked(power):
        state = problem.state.copy(deep=True)
        state["peak_power"].values = state["usual_power"].values = np.array(power)
        return replace(problem, state=state)

    low, more = peaked(2.2), 0.001
    solution = solve_problem(low)
    worths = {one.limit: one for one in limit_values(solution, build_schedule(solution))}
    peak = worths["running peak of the billing period (grid_1)"]
    assert peak.unit == "MW"
    saved = solve_problem(low).objective - solve_problem(peaked(2.2 + more)).objective
    assert problem.margins.peak > 0.02  # which is none of what one more unit brings
    assert saved == pytest.approx(more * peak.marginal_value, rel=0.01)


def test_value_of_machine_capacity_equals_the_saving():
    """Proves: a MW more of a line with losses does work at 10 instead of 50 EUR; so by its end."""

    def limited(most):
        draws = {"grid": lambda q: q + 0.1 * q * q}
        site = hand.site(line=hand.machine("line", "medium_voltage", draws=draws, limit=most))
        return hand.solved(site, hand.outlook([10.0, 50.0], jobs=[MORE_RACKS]))

    plan, more = limited(3.0), 0.01
    (bound,) = explain_schedule(plan, build_schedule(plan)).binding_limits
    (one,) = limit_values(plan, build_schedule(plan))
    assert bound.limit == one.limit == "most that the machine can give (line)"
    assert (bound.first_interval, bound.interval_count) == (hand.START, 1)
    assert one.marginal_value == pytest.approx(
        (plan.objective - limited(3.0 + more).objective) / more, 0.05
    )
    assert 40.0 < one.marginal_value < 60.0


def test_heat_pump_limited_by_network_does_not_bind():
    """Proves: in June the network takes 0.2 to 0.5 MW of heat, and the machine can give 1 MW."""
    plan = solve_problem(heat_pump_site.problem())
    limits = [
        one.limit
        for one in (
            *explain_schedule(plan, build_schedule(plan)).binding_limits,
            *limit_values(plan, build_schedule(plan)),
        )
    ]
    (limit,) = {limit for limit in limits if "pump" in limit}
    assert limit == "heat that the network takes, or the machine can give (pump)"


@pytest.fixture(scope="module")
def week():
    """Return a week with work on the small site, and its plan."""
    problem = small_days.setting(24).build_problem()
    return problem, solve_problem(problem)


def values_by_limit(plan):
    return {one.limit: one.marginal_value for one in limit_values(plan, build_schedule(plan))}


def saved(week, other):
    problem, plan = week
    return plan.objective - solve_problem(other(problem)).objective


def test_value_of_battery_capacity_equals_the_saving(week):
    """Proves: capacity alone counts; that a store runs empty is no want of it."""
    more = 0.002

    def larger(problem):
        battery = problem.site.equipment["battery_1"]
        grown = 1.0 + more / battery.usable_capacity
        reserve, capacity = battery.reserve / grown, battery.capacity * grown
        site = problem.site.with_parameters("battery_1", capacity=capacity, reserve=reserve)
        return replace(problem, site=site)

    worth = values_by_limit(week[1])["level of the store (battery_1)"]
    kept = 1.0 - week[0].margins.level
    assert saved(week, larger) == pytest.approx(more * kept * worth, rel=0.15)


def test_value_of_deadlines_equals_the_saving(week):
    more = 0.002

    def easier(problem):
        least = problem.outlook["work_least"]
        eased = (least - more).clip(min=0.0).assign_attrs(least.attrs)
        return replace(problem, outlook=problem.outlook.assign(work_least=eased))

    worth = values_by_limit(week[1])["deadlines of the work"]
    assert saved(week, easier) == pytest.approx(more * worth, rel=0.15)


def test_unreliable_work_prices_are_not_listed(week):
    binding = explain_schedule(week[1], build_schedule(week[1])).binding_limits
    work = [one for one in binding if "work" in one.limit or "jobs" in one.limit]
    assert work
    assert all(one.shadow_price <= MAX_TRUSTED_DUAL_EUR for one in work)


def test_racks_of_jobs_with_one_cap_are_a_limit():
    """Proves: a rack more does 1 MWh at 10 instead of 50 EUR; an explanation names it alone."""
    plan = hand.solved(hand.site(), hand.outlook([10.0, 50.0], jobs=[RACKS]))
    (limit,) = [one for one in limit_values(plan, build_schedule(plan)) if "jobs" in one.limit]
    assert (limit.marginal_value, limit.unit) == (pytest.approx(40.0), "rack")
    assert explain_schedule(plan, build_schedule(plan)).limits_with_uncertain_dual == (limit.limit,)
