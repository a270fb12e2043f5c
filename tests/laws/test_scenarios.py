"""Two-stage problems and tails, solved by hand."""

import numpy as np
import pytest

from optimizer.model.objective import RiskPreference, cvar
from optimizer.planner.planner import solve_problem
from optimizer.stochastic.scenarios import ScenarioProblem
from optimizer.stochastic.two_stage import (
    first_stage_signature,
    first_stage_values,
    solve_two_stage,
)
from tests.support.hand import battery, grid, machine, outlook, problem, site, through, units
from twin.errors import NoScheduleError, ProblemError

COSTS = np.array([10.0, 20.0, 30.0, 100.0])
CHANCES = np.array([0.4, 0.3, 0.2, 0.1])
NEUTRAL = RiskPreference(weight=0.0, violations=0.0)


def cases(problems, chances):
    return [
        ScenarioProblem(problem=one, probability=p, name=f"case {i}")
        for i, (one, p) in enumerate(zip(problems, chances, strict=True))
    ]


def priced(**settings):
    """Return scenarios of one MW of service for an hour at each cost."""
    where = site()
    return cases(
        [problem(where, outlook([price], service=1.0, **settings)) for price in COSTS], CHANCES
    )


@pytest.mark.parametrize(("level", "tail"), [(0.9, 100.0), (0.8, 65.0), (0.5, 40.0), (0.0, 26.0)])
def test_the_tail_of_known_costs(level, tail):
    """Proves: the mean of the worst tenth is 100, of the worst fifth (30 + 100)/2, of the worst
    half (.2 x 20 + .2 x 30 + .1 x 100)/.5, of all 26. Sensitivity: a plain quantile gives 30.
    """
    found = solve_two_stage(priced(), risk=RiskPreference(level=level, weight=1.0, violations=0.0))
    assert found.objective == pytest.approx(tail, rel=1e-9)
    assert found.cvar_cost == pytest.approx(tail, rel=1e-9)
    assert found.mean == pytest.approx(26.0, rel=1e-9)
    assert cvar(COSTS, CHANCES, level) == pytest.approx(tail, rel=1e-12)


def test_mean_and_tail_are_weighted():
    """Proves: .7 x 26 + .3 x 65."""
    found = solve_two_stage(priced(), risk=RiskPreference(level=0.8, weight=0.3, violations=0.0))
    assert found.objective == pytest.approx(0.7 * 26.0 + 0.3 * 65.0, rel=1e-9)


def test_tail_of_violations_is_weighted_separately():
    """Proves: one job of 1 MWh is due in an hour in which two cases leave it no rack. Late it costs
    100 in each of them, so violations are 0, 0, 100, 100 at .4, .3, .2, .1: of the worst half
    60. The cost is 10, 20 for the energy and 100, 100 late: mean .4 x 10 + .3 x 20 + .3 x 100.
    """
    where = site()
    jobs = [("batch", [1.0], [1.0], 10.0)]
    hours = [(10.0, 0.0), (20.0, 0.0), (0.0, 10.0), (0.0, 10.0)]
    problems = [
        problem(where, outlook([price], service=racks, jobs=jobs)) for price, racks in hours
    ]
    found = solve_two_stage(
        cases(problems, CHANCES),
        now=0.0,
        risk=RiskPreference(level=0.5, weight=0.0, violations=2.0),
    )
    np.testing.assert_allclose(found.scenario_violation_costs, [0.0, 0.0, 100.0, 100.0], atol=1e-9)
    assert found.objective == pytest.approx(40.0 + 2.0 * 60.0, rel=1e-9)


def newsvendor(demands=(1.0, 2.0, 4.0), chances=(0.5, 0.3, 0.2)):
    """Energy for the next hour costs 20 now; what is short then costs 50, what is left is lost."""
    where = site(battery(capacity=4.0, power=4.0))
    problems = [problem(where, outlook([20.0, 50.0], service=[0.0, demand])) for demand in demands]
    return cases(problems, chances)


def kept_now(found):
    return float(found.first_stage["battery.level"][1])


def test_newsvendor():
    """Proves: (50 - 20)/50 = .6 of the demand must be met; .5 is at 1 MWh, so 2 MWh are kept:
    20 x 2 + 50 x .2 x 2 = 60. Sensitivity: for the mean demand of 1.9 MWh it would be 1.9.
    """
    found = solve_two_stage(newsvendor(), risk=NEUTRAL)
    assert kept_now(found) == pytest.approx(2.0)
    assert found.objective == pytest.approx(60.0)
    np.testing.assert_allclose(found.costs, [40.0, 40.0, 140.0])


def test_risk_averse_newsvendor():
    """Proves: in the worst fifth 4 MWh are asked for, at 20 Q + 50 (4 - Q); so Q = 4, in all 80."""
    found = solve_two_stage(
        newsvendor(), risk=RiskPreference(level=0.8, weight=1.0, violations=0.0)
    )
    assert kept_now(found) == pytest.approx(4.0)
    assert found.objective == pytest.approx(80.0)
    np.testing.assert_allclose(found.costs, 80.0)


def test_wait_and_see_and_mean_plan_bound_the_cost():
    """Proves: known demand costs 20 x 1.9 = 38; here and now 60; for the mean demand
    20 x 1.9 + 50 x (.3 x .1 + .2 x 2.1) = 60.5.
    """
    scenarios = newsvendor()
    mean = problem(scenarios[0].problem.site, outlook([20.0, 50.0], service=[0.0, 1.9]))
    bound = first_stage_signature(mean, 1.0)
    planned = first_stage_values(solve_problem(mean).values, bound)
    assert planned["battery.level"][1] == pytest.approx(1.9)
    assert solve_two_stage(scenarios, risk=NEUTRAL, now=0.0).objective == pytest.approx(38.0)
    assert solve_two_stage(scenarios, risk=NEUTRAL).objective == pytest.approx(60.0)
    assert solve_two_stage(scenarios, risk=NEUTRAL, given=planned).objective == pytest.approx(60.5)


def test_arrived_jobs_run_equally_in_all_scenarios():
    """Proves: 1 MWh is due in two hours, at 30 now and then at 10 or at 70: the mean of 40 is more
    than 30, so it runs now; a case that knows waits for 10. Sensitivity: free, the mean is 20.
    """
    jobs = [("batch", [0.0, 1.0], [1.0, 1.0], 10.0)]
    where = site()
    problems = [problem(where, outlook([30.0, price], jobs=jobs)) for price in (10.0, 70.0)]
    found = solve_two_stage(cases(problems, (0.5, 0.5)), risk=NEUTRAL)
    assert found.objective == pytest.approx(30.0)
    for scenario in ("s0", "s1"):
        assert found.values[f"{scenario}.work.racks"].sum(axis=(1, 2)) == pytest.approx([1.0, 0.0])
    assert solve_two_stage(
        cases(problems, (0.5, 0.5)), risk=NEUTRAL, now=0.0
    ).objective == pytest.approx(20.0)


def test_expected_jobs_differ_between_scenarios():
    """Proves: the same, but the job is only expected: it runs now in the dear case alone."""
    jobs = [("batch", [0.0, 1.0], [1.0, 1.0], 10.0)]
    ahead = [outlook([30.0, price], jobs=jobs) for price in (10.0, 70.0)]
    where = site()
    problems = [problem(where, one.assign_coords(cohort=["batch/expected"])) for one in ahead]
    assert solve_two_stage(cases(problems, (0.5, 0.5)), risk=NEUTRAL).objective == pytest.approx(
        20.0
    )


def test_infeasible_scenario_is_named():
    """Proves: the second scenario has 6 MW of service on a connection of 5 MW."""
    where = site(connection=grid(import_limit=5.0))
    problems = [problem(where, outlook([10.0], service=racks)) for racks in (1.0, 6.0)]
    with pytest.raises(NoScheduleError, match="every scenario"):
        solve_two_stage(cases(problems, (0.5, 0.5)))


def test_scenarios_must_match():
    where = site()
    one = problem(where, outlook([10.0]))
    other = problem(where, outlook([10.0, 20.0]))
    with pytest.raises(ProblemError, match=r"scenarios, probability = 1\.1"):
        solve_two_stage(cases([one, one], (0.5, 0.6)))
    with pytest.raises(ProblemError, match="case 1, intervals: the intervals of case 0"):
        solve_two_stage(cases([one, other], (0.5, 0.5)))
    with pytest.raises(ProblemError, match="scenarios = 1"):
        solve_two_stage(cases([one], (1.0,)))


@pytest.mark.parametrize("copies", [2, 3])
def test_equal_scenarios_give_the_plan_of_one(copies):
    one = problem(site(battery(), connection=grid(export_limit=5.0)), outlook([10.0, 40.0, 20.0]))
    found = solve_two_stage(cases([one] * copies, (1.0 / copies,) * copies))
    assert found.objective == pytest.approx(solve_problem(one).objective)


@pytest.mark.parametrize(
    ("chances", "expected"),
    [
        ((0.5, np.nan), "scenarios, case 1, probability = nan: "),
        ((np.nan, np.nan), "scenarios, case 0, probability = nan: "),
        ((1.5, -0.5), "scenarios, case 1, probability = -0.5: "),
        ((0.5, np.inf), "scenarios, case 1, probability = inf: "),
    ],
)
def test_invalid_probability_is_named(chances, expected):
    one = problem(site(), outlook([10.0]))
    with pytest.raises(ProblemError, match=expected):
        solve_two_stage(cases([one, one], chances))


def test_scenarios_share_site_and_state():
    """Proves: scenarios with another battery, level, carbon price or unit history are refused."""
    bank = machine("bank", "air", draws={"medium_voltage": through}, units=units(3, most=1.0))
    where, ahead = site(battery(), bank), outlook([10.0, 50.0])
    one = problem(where, ahead)
    others = {
        "site = hand": problem(site(battery(capacity=8.0), bank), ahead),
        "weights = money 1, carbon 5, water 0, lateness 100, waiting 0": problem(
            where, ahead, carbon=5.0
        ),
        "state": problem(where, ahead, level=1.0),
        "past_units": problem(where, ahead, past_units={"bank": np.array([1.0])}),
    }
    for what, other in others.items():
        with pytest.raises(ProblemError, match=f"scenarios has 1 issue\n.*case 1, {what}: "):
            solve_two_stage(cases([one, other], (0.5, 0.5)))
    assert solve_two_stage(cases([one, problem(where, outlook([10.0, 80.0]))], (0.5, 0.5)))


@pytest.mark.parametrize(
    "wrong", [{"level": 1.0}, {"weight": 1.1}, {"violations": -1.0}, {"waiting": -1.0}]
)
def test_risk_has_bounds(wrong):
    with pytest.raises(ProblemError, match=next(iter(wrong))):
        RiskPreference(**wrong)
