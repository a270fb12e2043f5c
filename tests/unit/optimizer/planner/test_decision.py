"""Decisions: verified by the twin, repeated with wider margins, refused with reasons."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import optimizer.planner.planner as room
import sites
from optimizer.backtesting.case import synthetic_case
from optimizer.planner.planner import decide
from optimizer.verification.verifier import ScheduleVerdict
from tests.support import small_days
from tests.support.tight_site import hot_night
from twin import time_axes
from twin.errors import NoScheduleError, ProblemError
from twin.simulation.operating_limits import Violation


@pytest.fixture
def problem():
    return small_days.problem(4)


def judged(monkeypatch, refusals):
    """Refuse the first plans; return the margins used and the sites of the verifier."""
    margins_used, judges = [], []
    solve, verify = room.solve_problem, room.verify

    def solving(question, warm, **settings):
        margins_used.append(question.margins)
        return solve(question, warm, **settings)

    def judging(site, state, schedule):
        judges.append(site)
        if len(judges) <= refusals:
            breach = Violation(
                limit="a bad day",
                time=schedule["time"].to_numpy()[3],
                violated_interval_count=2,
                excess=7,
            )
            return ScheduleVerdict(violations=(breach,), replay=None)
        return verify(site, state, schedule)

    monkeypatch.setattr(room, "solve_problem", solving)
    monkeypatch.setattr(room, "verify", judging)
    return margins_used, judges


def test_decision_is_safe_and_has_a_start(problem):
    decision = decide(problem)
    assert decision.verdict.is_safe
    assert decision.attempts == 1
    assert decision.start == problem.state["instant"].to_numpy()


def test_same_problem_gives_same_decision(problem):
    one, other = decide(problem), decide(problem)
    assert one.schedule.identical(other.schedule)
    assert one.explanation == other.explanation


def test_margins_grow_after_the_verifier_refuses(problem, monkeypatch):
    margins_used, judges = judged(monkeypatch, refusals=2)
    decision = decide(problem)
    assert decision.attempts == 3
    assert [margins.temperature for margins in margins_used] == pytest.approx([1.0, 1.5, 2.25])
    assert [margins.power for margins in margins_used] == pytest.approx([0.02, 0.03, 0.045])
    assert judges == [problem.site] * 3  # the judge's own margins do not move


def test_work_yields_for_failure_tolerance(problem):
    """Proves: a chiller may fail in every hour, and the plan is still an optimum.

    Sensitivity: margins alone, however wide, left every plan refused.
    """
    wanted = hot_night(problem, least_time=4.0 * 3600.0)
    outlook = wanted.outlook
    outlook["electricity_price"].values[:] = np.where(
        np.arange(len(wanted.interval_hours)) < 8, -2e3, 2e2
    )
    outlook["work_racks_limit"].values[:] = wanted.site.rack_count
    outlook["work_most"].values[1:] = outlook["work_most"].values[-1]  # all of it has come
    decision = decide(wanted)
    assert decision.attempts > 1
    assert decision.verdict.is_safe
    work = decision.schedule["work_power"].sum("cohort").to_numpy()
    assert (work[:8] > 1.0).all()
    limits = [
        one for one in decision.explanation.binding_limits if "failures are endured" in one.limit
    ]
    assert [one.unit for one in limits] == ["MW"]
    assert limits[0].interval_count == 8


def large_tank():
    """Return a problem of four hot hours at a site whose tank outdoes its water loop."""
    site = sites.load_site("iberia").with_parameters("tank_1", volume="30000 m3", power="30 MW")
    case = synthetic_case(site, steps=16)
    problem = case.build_problem(time_axes.horizon_axes(case.inputs.start, [(4, 15.0)]))
    outlook = problem.outlook.copy(deep=True)
    outlook["air_temperature"].values[:] = 36.0
    outlook["electricity_price"].values[:] = np.where(np.arange(16) < 8, 900.0, -100.0)
    outlook["terminal_price"].values[...] = 0.0
    return replace(problem, outlook=outlook)


@pytest.mark.slow
def test_tank_discharge_yields_to_the_failure_of_the_tank():
    """Proves: the plan discharges only what the plant can replace when the tank fails.

    Sensitivity: only work was reduced, which does not help, and every plan was rejected.
    """
    decision = decide(large_tank())
    assert decision.attempts > 1
    assert decision.verdict.is_safe
    discharge = decision.schedule["tank_discharge"].sum("tank").to_numpy()
    assert 5.0 < discharge.max() < 14.0  # 15.3 MW without the limit


@pytest.mark.slow
def test_rejected_failure_names_its_setting():
    """Proves: the error names the setting that decides. Sensitivity: it named work and service."""
    wanted = hot_night(small_days.problem(4), least_time=4.0 * 3600.0)
    verdict = decide(wanted).verdict
    breach = Violation(
        limit="too soon",
        time=wanted.outlook["time"].to_numpy()[0],
        violated_interval_count=1,
        excess=2,
    )
    refused = replace(verdict, uncovered_failures=(breach,))
    assert "contingency.least_time (14400 s)" in str(room._refused(wanted, refused))


@pytest.mark.parametrize("wrong", [np.nan, -1.0])
def test_discharge_limit_is_kept_and_invalid_one_refused(problem, wrong):
    limit = np.full(len(problem.interval_hours), 0.02)
    limited = replace(problem, discharge_limits={"battery_1": limit})
    discharge = decide(limited).schedule["battery_discharge"].sum("battery")
    assert discharge.max() <= 0.02 + 1e-6
    assert decide(problem).schedule["battery_discharge"].max() > 0.1
    with pytest.raises(ProblemError, match=r"discharge_limits, battery_1, 0.*0 MW or more"):
        replace(problem, discharge_limits={"battery_1": np.full(len(limit), wrong)})


def test_work_limit_is_kept_and_invalid_one_refused(problem):
    limit = np.where(np.arange(len(problem.interval_hours)) % 2, 0.3, np.inf)
    work = decide(replace(problem, work_power_limit=limit)).schedule["work_power"].sum("cohort")
    assert (work.to_numpy() <= limit + 1e-6).all()
    assert work.max() > 0.5
    with pytest.raises(ProblemError, match=r"work_limit.*of shape \(3,\).*each of the"):
        replace(problem, work_power_limit=limit[:3])
    with pytest.raises(ProblemError, match=r"work_limit, 1.*nan MW.*0 MW or more"):
        replace(problem, work_power_limit=np.where(np.arange(len(limit)) == 1, np.nan, limit))


def test_plan_refused_at_all_margins_raises_with_reasons(problem, monkeypatch):
    judged(monkeypatch, refusals=99)
    with pytest.raises(
        NoScheduleError, match=r"a bad day: 2 intervals from 2026-06-16T00:45Z"
    ) as caught:
        decide(problem)
    assert "remedy" in str(caught.value)


def test_infeasible_connection_is_refused_with_reasons(problem):
    weak = problem.site.with_parameters("grid_1", import_limit=0.4)  # 28 idle racks draw 0.67 MW
    with pytest.raises(NoScheduleError, match=r"small, 2026-06-16T00:00Z.*(?s:.*)remedy"):
        decide(replace(problem, site=weak))


@pytest.mark.parametrize(("store", "share"), [("battery", 0.05), ("battery", 0.95), ("tank", 1.01)])
def test_store_outside_its_window_can_be_planned(problem, store, share):
    """Sensitivity: `battery_level must lie between ...`, or `tank_charge beyond its store`."""
    site = problem.site.with_parameters("battery_1", reserve=0.25, ceiling=0.75)
    level = share * site.equipment[f"{store}_1"].capacity
    levels = problem.state[f"{store}_level"]
    state = problem.state.assign({f"{store}_level": xr.full_like(levels, level)})
    assert decide(replace(problem, site=site, state=state)).attempts == 1


@pytest.mark.parametrize("share", [60.0, 1.2, -0.2])
def test_impossible_storage_level_is_refused(problem, share):
    """Proves: 96 MWh in a battery of 1.6 MWh are a wrong unit, and not a full battery."""
    levels = problem.state["battery_level"]
    level = share * problem.site.equipment["battery_1"].capacity
    state = problem.state.assign(battery_level=xr.full_like(levels, level))
    with pytest.raises(ProblemError, match=r"battery_1 = .*\[out-of-range\]"):
        replace(problem, state=state)


def test_changes_since_last_decision_are_listed(problem):
    def priced(first, second):
        ahead = problem.outlook.copy(deep=True)
        ahead["electricity_price"].values[:8] = first
        ahead["electricity_price"].values[8:] = second
        return replace(problem, outlook=ahead)

    before = decide(priced(-50.0, 300.0))
    after = decide(priced(300.0, -50.0), previous=before)
    assert before.explanation.changes == ()
    assert any(change.startswith("moved") for change in after.explanation.changes)
    assert all("saves" in change for change in after.explanation.changes)


def test_unchanged_plan_lists_no_changes(problem):
    assert decide(problem, previous=decide(problem)).explanation.changes == ()


def test_kept_decision_has_a_reason_and_is_unchanged(problem):
    decision = decide(problem)
    kept = decision.with_degradation("last plan kept: the solver failed")
    assert kept.explanation.degradation_reason == "last plan kept: the solver failed"
    assert kept.schedule is decision.schedule
    assert decision.explanation.degradation_reason == ""


def test_schedule_holds_known_prices(problem):
    assert decide(problem).schedule.attrs["prices_known_until"] == "2026-06-16T22:00Z"


def test_higher_prices_never_cost_less(problem):
    def cost(prices):
        ahead = problem.outlook.copy(deep=True)
        ahead["electricity_price"].values[:] = prices
        return sum(decide(replace(problem, outlook=ahead)).explanation.accounts.values())

    plain = problem.outlook["electricity_price"].to_numpy()
    assert cost(plain) < cost(plain + 20.0)
    assert np.isfinite(cost(np.full_like(plain, -500.0)))


def test_unavoidable_ramp_is_reported_and_planned(problem):
    """Proves: from 2.98 MW down to 0.88 MW in a quarter-hour is 2.1 MW; a ramp allows 2 MW.

    The connection bears no more, so nothing makes the fall gentler. Sensitivity: no plan at all.
    """
    decision = decide(
        replace(problem, site=problem.site.with_parameters("grid_1", import_limit=0.9))
    )
    assert decision.verdict.is_safe
    assert [str(one) for one in decision.verdict.unavoidable_violations] == [
        "ramp of grid_import_power: 1 interval from 2026-06-16T00:00Z, "
        "worst 0.21 MW/min where 0.2 MW/min is allowed; "
        "raise ramp of grid_1 to what the connection agreement allows"
    ]
    assert decision.explanation.soft_constraints[0].target == "ramp of the connection (grid_1)"
    assert decision.explanation.penalties.keys() == {"ramp"}
    assert "ramp" not in decision.explanation.accounts
    assert (
        max((limit.shadow_price for limit in decision.explanation.binding_limits), default=0.0)
        < 1000.0
    )
    total = sum(decision.explanation.accounts.values())
    assert decision.objective == pytest.approx(total + decision.explanation.penalties["ramp"])


def test_zero_export_site_with_sun_and_battery_is_planned(problem):
    """Proves: a battery of 2 MW beside 0.9 MW of racks, at 600 EUR/MWh, leaves a hair of import.

    Sensitivity: none is planned, the twin exports 3 kW, and no plan is found.
    """
    where = problem.site.with_parameters("grid_1", export_limit=0.0)
    where = where.with_parameters("battery_1", power=2.0, capacity=8.0)
    ahead, state = problem.outlook.copy(deep=True), problem.state.copy(deep=True)
    ahead["electricity_price"].values[:] = 600.0
    state["battery_level"].values[:] = 6.0
    decision = decide(replace(problem, site=where, outlook=ahead, state=state))
    assert decision.attempts == 1
    assert 0.0 < float(decision.schedule["grid_import_power"].min()) < 0.01
