"""Reasons: what binds and at what price, what moved, and what it saves."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from optimizer.diagnostics.binding_limits import MAX_LISTED_LIMITS
from optimizer.diagnostics.explanation import explain_schedule
from optimizer.planner.planner import decide
from optimizer.problem.problem import Problem
from tests.laws.test_tariffs import moved
from tests.support import hand, small_days
from twin import time_axes
from twin.site import Site
from twin.site_settings import SafetyMargins

START = time_axes.to_utc("2026-07-01")


def hours_of(prices, *work, kinds=("batch",), minutes=60):
    """Return a schedule of cohorts that run at some powers, hour by hour."""
    plan = time_axes.regular_axes(START, len(prices), np.timedelta64(minutes, "m"))
    plan["electricity_price"] = "time", np.array(prices, float)
    plan["work_power"] = ("time", "cohort"), np.array(work, float).T
    plan["work_late"] = ("instant", "cohort"), np.zeros((len(prices) + 1, len(work)))
    return plan.assign_coords(cohort=[f"{kind}/0" for kind in kinds], kind=("cohort", list(kinds)))


@cache
def plan():
    """Return the plan of four hours, the last of which is of the next month; ramps can bind."""
    margins = SafetyMargins.model_construct(power=0.0, peak=0.1, temperature=0.0, level=0.0)
    stores = [hand.battery().model_copy(update={"name": f"store_{i}"}) for i in range(1, 12)]
    connection = hand.grid(export_limit=5.0, ramp=0.01)
    where = hand.site(hand.battery(), *stores, connection=connection, margins=margins)
    jobs = [("batch", [0.0] * 4, [1.0] * 4, 5.0)] * 2
    return hand.solved(
        where, moved(hand.outlook([50.0] * 4, jobs=jobs), START - 3 * time_axes.HOUR)
    )


def answer(duals=None, accounts=None):
    """Return the plan with other duals and accounts."""
    every = {name: np.zeros_like(values) for name, values in plan().duals.items()}
    return replace(plan(), duals=every | (duals or {}), accounts=accounts or {}, penalties={})


def binding(**duals):
    dotted = {name.replace("__", "."): np.array(prices) for name, prices in duals.items()}
    return explain_schedule(answer(dotted), hours_of([50.0] * 4, [0.0] * 4)).binding_limits


def test_upper_bound_binds_where_more_would_save():
    (limit,) = binding(grid__import_power=[0.0, -3.0, 0.0, -7.0])
    assert limit.limit == "power taken from the connection or source (grid)"
    assert (limit.first_interval, limit.last_interval) == (
        START + time_axes.HOUR,
        START + 3 * time_axes.HOUR,
    )
    assert (limit.interval_count, limit.shadow_price) == (2, 7.0)


def test_margin_of_one_more_unit_saves_nothing():
    """Proves: a plan uses 0.9 of one more MW of peak, and saves 90 of the 100 EUR."""
    (limit,) = binding(grid_peak__below_peak=[0.0, -100.0, 0.0, 0.0])
    assert limit.shadow_price == pytest.approx(90.0)


def test_peak_is_one_limit_per_billing_period():
    """Proves: a MW more of this month's peak saves in two hours, of the next month's in one.

    Sensitivity: one limit at 90 EUR, as if a peak were higher in a single hour.
    """
    now, then = binding(grid_peak__below_peak=[-60.0, 0.0, -100.0, -50.0])
    assert now.limit == "running peak of the billing period (grid)"
    assert (now.interval_count, now.shadow_price) == (2, pytest.approx(144.0))
    assert then.limit == "peak of the billing period after it (grid)"
    assert then.first_interval == then.last_interval == START + 3 * time_axes.HOUR
    assert then.shadow_price == pytest.approx(45.0)


def test_negligible_savings_are_not_listed():
    assert binding(grid__export_power=[5.0, 5.0, 5.0, 5.0]) == ()
    assert binding(battery__charge=[0.0, 0.005, -0.005, 0.0]) == ()


def test_level_is_dated_by_the_interval_that_leads_to_it():
    # edges: the first is given; full at the end of the second interval, empty at that of the last
    empty, full = binding(battery__level=[99.0, 0.0, -20.0, 0.0, 30.0])
    assert (empty.limit, full.limit) == (
        "least level of the store (battery)",
        "level of the store (battery)",
    )
    assert full.first_interval == full.last_interval == START + time_axes.HOUR
    assert empty.first_interval == empty.last_interval == START + 3 * time_axes.HOUR
    assert (empty.shadow_price, full.shadow_price) == (30.0, 20.0)


def test_ramp_is_dated_by_its_later_interval():
    (first,) = binding(grid__first_up=[-4.0])
    assert first.first_interval == first.last_interval == START
    (later,) = binding(grid__ramp_up=[-2.0, 0.0, 0.0])  # between the first two intervals
    assert later.first_interval == later.last_interval == START + time_axes.HOUR


def test_cohorts_are_one_limit():
    (limit,) = binding(
        work__work_credited=[[0.0, 0.0], [0.0, 9.0], [0.0, 0.0], [3.0, 0.0], [0.0, 0.0]]
    )
    assert limit.limit == "deadlines of the work"
    assert (limit.interval_count, limit.shadow_price) == (2, 9.0)


def test_largest_limits_come_first_without_internal_ones():
    many = {f"store_{i}__charge": [-float(i)] * 4 for i in range(1, 12)}
    found = binding(line__segment=np.full_like(plan().duals["line.segment"], 500.0), **many)
    assert [limit.shadow_price for limit in found] == [11.0, 10.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0]
    assert len(found) == MAX_LISTED_LIMITS


def changes(before, after):
    return explain_schedule(answer(), after, before).changes


def test_moved_work_is_listed_with_its_saving():
    # 3 MWh from 80 to 20 and 1 MWh from 60 to 20: 3 x 60 + 1 x 40 = 220 EUR; 3 x 2 h and 1 x 1 h
    # later make 7 MWh h of 5 MWh
    before = hours_of([80.0, 60.0, 20.0], [3.0, 2.0, 0.0])
    after = hours_of([80.0, 60.0, 20.0], [0.0, 1.0, 4.0])
    assert changes(before, after) == (
        "moved 4 MWh of batch, most from 2026-07-01T00:00Z to 2026-07-01T02:00Z: "
        "saves 220 EUR of energy, 1.4 h later in the mean of its work",
    )


def test_saving_of_a_move_includes_fees(monkeypatch):
    """Proves: 4 MWh from 50 with 25 of fees to 60 with 1 save 56 EUR. Sensitivity: costs 40."""
    before, after = hours_of([50.0, 60.0], [4.0, 0.0]), hours_of([50.0, 60.0], [0.0, 4.0])
    monkeypatch.setattr(Site, "mean_import_fees", lambda *_: np.array([25.0, 1.0]))
    (line,) = explain_schedule(answer(), after, before).changes
    assert "saves 56 EUR of energy" in line


def test_omitted_work_is_no_saving():
    """Proves: of 10 MWh 4 are moved from 90 to 45 EUR; the other 6 are left out, not saved."""
    before = hours_of([90.0, 45.0], [10.0, 0.0])
    after = hours_of([90.0, 45.0], [0.0, 4.0])
    assert changes(before, after)[0].endswith(
        "saves 180 EUR of energy, 1.0 h later in the mean of its work; 6 MWh less are done"
    )


def test_move_that_costs_is_described_as_a_cost():
    before = hours_of([80.0, 20.0], [0.0, 4.0])
    after = hours_of([80.0, 20.0], [4.0, 0.0])
    assert changes(before, after)[0].endswith(
        "costs 240 EUR of energy, 1.0 h earlier in the mean of its work"
    )


def test_symmetric_move_has_no_mean_delay():
    """Proves: 2 MWh go an hour later, 2 an hour earlier. Sensitivity: `0.0 h earlier`, or later."""
    before = hours_of([80.0, 60.0, 20.0], [2.0, 0.0, 2.0])
    after = hours_of([80.0, 60.0, 20.0], [0.0, 4.0, 0.0])
    assert "energy, no later in the mean of its work" in changes(before, after)[0]


def test_work_that_becomes_late_is_listed():
    before = hours_of([80.0, 20.0], [4.0, 0.0])
    after = hours_of([80.0, 20.0], [0.0, 4.0])
    after["work_late"].values[1] = 4.0
    assert changes(before, after)[0].endswith("in the mean of its work, adds 4.0 MWh h of lateness")
    assert changes(after, before)[0].endswith("saves 4.0 MWh h of lateness")


def test_only_common_hours_are_compared():
    before = hours_of([80.0, 60.0, 20.0], [3.0, 3.0, 0.0])
    later = hours_of([60.0, 20.0, 10.0], [0.0, 3.0, 5.0]).assign_coords(
        time=before["time"].to_numpy() + time_axes.HOUR,
        instant=before["instant"].to_numpy() + time_axes.HOUR,
    )
    assert changes(before, later)[0].startswith("moved 3 MWh of batch, most from 2026-07-01T01:00Z")


def test_plans_of_different_intervals_are_compared():
    """Proves: 8 MWh of the first hour are drawn in the last three quarters of the second."""
    before = hours_of([80.0, 20.0], [8.0, 0.0])
    work = [0.0] * 5 + [8.0 / 0.75] * 3
    (line,) = changes(before, hours_of([80.0] * 4 + [20.0] * 4, work, minutes=15))
    assert line.startswith("moved 8 MWh of batch, most from 2026-07-01T00:00Z to 2026-07-01T01:00Z")
    assert line.endswith("saves 480 EUR of energy, 1.0 h later in the mean of its work")


def test_work_moved_across_a_change_of_interval_is_still_done():
    """Proves: quarter-hours of one plan meet hours of the other, and no work counts as undone."""
    plans = []
    for begin, first in ((0, 6), (1, 30)):  # 10 MW from the 6th hour on, or from the 30th
        grid = time_axes.horizon_axes(START + begin * time_axes.HOUR, [(24.0, 15.0), (24.0, 60.0)])
        hour = (grid["time"].to_numpy() - START) / time_axes.HOUR
        runs = (hour >= first) & (hour < first + 4)
        plan = hours_of([50.0] * len(hour), 10.0 * runs)
        plan = plan.assign_coords(time=grid["time"].to_numpy(), instant=grid["instant"].to_numpy())
        plans.append(plan.assign_coords(duration=grid["duration"]))
    (line,) = changes(*plans)
    assert line.startswith("moved 40 MWh of batch")
    assert "are done" not in line


@pytest.mark.parametrize("work", [[3.0, 0.0], [2.0, 1.0], [6.0, 0.0]])
def test_small_moves_and_growth_are_not_listed(work):
    assert changes(hours_of([80.0, 20.0], [3.0, 0.0]), hours_of([80.0, 20.0], work)) == ()


def test_kinds_of_work_are_listed_separately():
    def two(*work):
        return hours_of([80.0, 20.0], *work, kinds=("batch", "training"))

    found = changes(two([5.0, 0.0], [0.0, 7.0]), two([0.0, 5.0], [7.0, 0.0]))
    assert [line.split(",")[0] for line in found] == [
        "moved 5 MWh of batch",
        "moved 7 MWh of training",
    ]


def test_json_has_its_keys_and_plain_values():
    document = small_days.decision().explanation.as_json()
    assert {"accounts", "binding", "changes", "degraded"} <= set(json.loads(json.dumps(document)))
    assert set(document["binding"][0]) == {"limit", "from", "to", "intervals", "price_eur", "unit"}


def test_accounts_are_summed_over_the_horizon():
    accounts = {"electricity": np.array([10.0, -4.0, 1.0]), "peak": np.array([0.0, 0.0, 9.0])}
    explanation = explain_schedule(answer(accounts=accounts), hours_of([50.0] * 3, [0.0] * 3))
    assert explanation.accounts == {"electricity": 7.0, "peak": 9.0}


def test_narrow_connection_is_listed_as_binding():
    problem = small_days.problem()
    narrow = problem.site.with_parameters("grid_1", import_limit=1.6)
    reasons = decide(Problem(narrow, problem.state, problem.outlook)).explanation
    limits = [limit.limit for limit in reasons.binding_limits]
    assert "power taken from the connection or source (grid_1)" in limits


def test_missing_data_is_reported_as_degraded():
    problem = small_days.problem()
    lame = problem.outlook.assign_attrs(degraded="electricity_price: nothing from noon on")
    reasons = decide(Problem(problem.site, problem.state, lame)).explanation
    assert reasons.degradation_reason == "electricity_price: nothing from noon on"


def test_limit_with_unreliable_price_is_listed_without_it():
    """Proves: deadlines at 4,000 EUR/MWh are listed as binding, without a price.

    Sensitivity: without it, a plan limited by deadlines names no limit; 408 EUR for a
    rack more of jobs at `rhine`, where one more saves nothing.
    """
    duals = {
        "work.work_credited": np.array([[0.0]] * 3 + [[0.0], [4000.0]]),
    }
    plan = hours_of([50.0] * 4, [0.0] * 4)
    explanation = explain_schedule(answer(duals), plan)
    assert explanation.limits_with_uncertain_dual == ("deadlines of the work",)
    assert explanation.binding_limits == ()
    assert explanation.as_json()["doubtful"] == ["deadlines of the work"]
    assert (
        explain_schedule(
            answer({"work.work_credited": duals["work.work_credited"] / 5.0}), plan
        ).limits_with_uncertain_dual
        == ()
    )
    few = {"work.cohort_racks": np.full((4, 1), -8.0), "work.work_credited": np.full((5, 1), -8.0)}
    explanation = explain_schedule(answer(few), plan)
    assert explanation.limits_with_uncertain_dual == (
        "work that has arrived",
        "racks that the waiting jobs can use",
    )
    assert explanation.binding_limits == ()
    assert (
        explain_schedule(
            answer({name: 0.0 * prices for name, prices in few.items()}), plan
        ).limits_with_uncertain_dual
        == ()
    )
