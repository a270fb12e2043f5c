"""Decisions of the engine: a plan where one is possible, a HOLD or a rule where not."""

from dataclasses import replace
from functools import cache
from unittest.mock import create_autospec

import numpy as np
import pytest
import xarray as xr

from optimizer.fallback.ladder import ScheduleSource
from optimizer.planner.planner import decide
from optimizer.realtime.dispatch import must_run
from optimizer.service.decision_engine import DecisionEngine, LoadShedError
from optimizer.service.solver_process import SolverProcess
from tests.support import moments, small_days
from twin import time_axes, variables
from twin.errors import NoScheduleError, SolverError, StateError
from twin.time_axes import QUARTER_HOUR
from twin.workload.queue import RackPool, running_power

SILENT = ("battery_level", "tank_level", "facility_supply_temperature", "cooling_plant_output")


def failing_solver(*_):
    raise SolverError("the solver's process died")


@cache
def optimum():
    return decide(moments.asked())


def planned(*_):
    """Return the optimum of the first quarter-hour without solving it again."""
    return optimum()


def started(solver=planned):
    """Return an engine after the first quarter-hour, and its result."""
    pilot = moments.pilot(solver)
    return pilot, pilot.decide(moments.facts())


def next_facts(outcome, quarters=1, **others):
    """Return the inputs some quarter-hours later, if the plan was followed."""
    state = moments.later(outcome.estimate.state, outcome.choice.replay, quarters)
    queue = moments.waited(outcome.queue, quarters, outcome.orders.jobs)
    return moments.facts(state, queue, **others)


def power(queue, orders):
    caps = np.array([orders.jobs.get(number, 0.0) for number in queue.jobs.number.tolist()])
    return running_power(queue, caps)


def room(outcome):
    """Return the power for jobs in the first quarter-hour of a schedule. [MW]"""
    pool, first = RackPool.from_site(moments.site()), outcome.choice.schedule.isel(time=0)
    floor = pool.racks * pool.rack_idle_power + first["service_racks"] * float(
        pool.power_above_idle(1.0)
    )
    return float(first["hall_power"].sum() - floor)


def test_a_first_quarter_hour_is_planned_and_ordered():
    _, outcome = started()
    assert outcome.choice.source is ScheduleSource.OPTIMUM
    assert outcome.time == moments.start()
    assert outcome.orders.jobs
    assert outcome.estimate.messages == ()


@pytest.mark.slow
def test_quarter_hours_follow_one_another():
    pilot, outcome = started(moments.pilot().solve_problem)
    for _ in range(3):
        facts = next_facts(outcome)
        before, outcome = outcome, pilot.decide(facts)
        assert outcome.choice.source is ScheduleSource.OPTIMUM
        assert outcome.time == before.time + QUARTER_HOUR
    assert outcome.estimate.standard_error["battery_level", "battery_1"] < 0.005 * 1.6


def test_unmeasured_battery_follows_its_orders():
    pilot, outcome = started()
    facts = next_facts(outcome, without=["battery_level"])
    believed = pilot.decide(facts).estimate
    level = float(outcome.choice.replay["battery_level"][1, 0])
    assert float(believed.state["battery_level"][0]) == pytest.approx(level, abs=0.01)
    assert any("battery_level of battery_1 is not measured" in text for text in believed.messages)


@pytest.mark.parametrize("hall_power", [np.nan, -0.002])
def test_faulty_hall_meter_does_not_cause_a_hold(hall_power):
    pilot, outcome = started()
    outcome = pilot.decide(next_facts(outcome, hall_power=hall_power))
    assert outcome.choice.source is not ScheduleSource.HOLD


def test_never_measured_variable_is_named():
    with pytest.raises(StateError, match="tank_level of tank_1"):
        moments.pilot().decide(moments.facts(without=["tank_level"]))


# --- HOLD


def test_hold_continues_running_jobs_and_starts_none():
    queue = moments.pressed(moments.running(small_days.queue(), 4), 20, 21)
    pilot = moments.pilot(failing_solver)
    pilot.last_ordered_caps = dict.fromkeys(queue.jobs.number[:3].tolist(), 0.9)
    outcome = pilot.decide(moments.facts(queue=queue, hold="HOLD by Erika: pumps"))
    assert outcome.choice.source is ScheduleSource.HOLD
    assert outcome.choice.reason == "HOLD by Erika: pumps"
    kept = dict(zip(queue.jobs.number[:4].tolist(), (0.9, 0.9, 0.9, 1.0), strict=True))
    assert outcome.orders.jobs == pytest.approx(kept)
    assert (outcome.orders.battery_charge, outcome.orders.tank_discharge) == ({}, {})
    assert room(outcome) == pytest.approx(power(queue, outcome.orders), abs=1e-6)


def test_hold_does_not_limit_the_peak():
    """The billing period has just begun with a low peak: running jobs continue."""
    queue = moments.running(small_days.queue(), 8)
    state = small_days.setting().initial_state.copy(deep=True)
    state["peak_power"] = state["peak_power"] * 0.0 + 0.5
    outcome = moments.pilot(failing_solver).decide(moments.facts(state, queue, hold="pumps"))
    assert outcome.orders.jobs == pytest.approx(dict.fromkeys(queue.jobs.number[:8].tolist(), 1.0))


def test_hold_calls_no_solver():
    calls = []
    pilot = moments.pilot(lambda *question: calls.append(question))
    pilot.decide(moments.facts(moments.calm(), hold="pumps"))
    assert calls == []


def test_hold_within_the_quarter_hour_reuses_the_estimate():
    pilot = moments.pilot(planned)
    outcome = pilot.decide(moments.facts(moments.calm()))
    again = pilot.decide(moments.facts(moments.calm(), hold="pumps"))
    assert again.choice.source is ScheduleSource.HOLD
    assert again.estimate is outcome.estimate


def test_planning_resumes_after_a_hold():
    pilot, outcome = started()
    held = pilot.decide(next_facts(outcome, hold="pumps"))
    pilot.solve_problem = moments.pilot().solve_problem
    outcome = pilot.decide(next_facts(held))
    assert outcome.choice.source is ScheduleSource.OPTIMUM


def test_unusable_telemetry_causes_a_hold_with_a_reason():
    """A quarter-hour was missed and the sensors are silent: store levels are unknown."""
    pilot, outcome = started()
    outcome = pilot.decide(next_facts(outcome, 2, without=SILENT))
    assert outcome.choice.source is ScheduleSource.HOLD
    assert outcome.choice.reason.startswith("telemetry: ")
    assert "battery_level of battery_1 has been unknown for too long" in outcome.choice.reason
    back = pilot.decide(next_facts(outcome))
    assert back.choice.source is not ScheduleSource.HOLD


# --- without an optimum


def test_restored_telemetry_ends_a_hold_in_the_same_interval():
    """Proves: the return of a sensor ends the HOLD within the same quarter-hour.

    Sensitivity: the unusable estimate was kept for the rest of the quarter-hour.
    """
    pilot, outcome = started()
    later = next_facts(outcome, quarters=2)
    blind = next_facts(outcome, quarters=2, without=SILENT)
    assert pilot.decide(blind).choice.source is ScheduleSource.HOLD
    seen = pilot.decide(later)
    assert not seen.estimate.is_unusable
    assert seen.choice.source is not ScheduleSource.HOLD


def test_failing_solver_leaves_the_earlier_plan():
    pilot, outcome = started()
    pilot.solve_problem = failing_solver
    for _ in range(2):
        outcome = pilot.decide(next_facts(outcome))
        assert outcome.choice.source is ScheduleSource.SHIFTED
        assert outcome.orders.jobs


def test_earlier_plan_continues_after_a_missed_interval():
    pilot, outcome = started()
    pilot.solve_problem = failing_solver
    outcome = pilot.decide(next_facts(outcome, 3))
    assert outcome.choice.source is ScheduleSource.SHIFTED
    assert outcome.time == moments.start() + 3 * QUARTER_HOUR


def test_clock_set_back_starts_again():
    pilot, outcome = started()
    pilot.decide(next_facts(outcome))
    pilot.solve_problem = failing_solver
    outcome = pilot.decide(moments.facts())
    assert outcome.choice.source is ScheduleSource.SHIFTED
    assert outcome.estimate.state.equals(small_days.setting().initial_state)


def test_rule_starts_urgent_jobs_only():
    queue = moments.pressed(moments.running(small_days.queue(), 3), 10, 12)
    outcome = moments.pilot(failing_solver).decide(moments.facts(queue=queue))
    assert outcome.choice.source is ScheduleSource.RULE
    assert outcome.choice.reason == "the solver's process died"
    wanted = np.flatnonzero(queue.is_running | must_run(queue, 0.25))
    assert outcome.orders.jobs == pytest.approx(
        dict.fromkeys(queue.jobs.number[wanted].tolist(), 1.0)
    )
    assert {10, 12} <= set(wanted.tolist())


def test_rule_plans_the_power_of_the_jobs_it_starts():
    queue = moments.pressed(small_days.queue(), *range(6))
    outcome = moments.pilot(failing_solver).decide(moments.facts(queue=queue))
    assert power(queue, outcome.orders) == pytest.approx(room(outcome), abs=1e-5)
    assert room(outcome) > 0.1


def test_rule_starts_no_more_jobs_than_racks_allow():
    """The jobs of the day need 22.5 racks; here each needs four times as many."""
    queue = small_days.queue()
    queue = replace(queue, jobs=replace(queue.jobs, racks=4.0 * queue.jobs.racks))
    queue = moments.pressed(queue, *range(len(queue.jobs)))
    outcome = moments.pilot(failing_solver).decide(moments.facts(queue=queue))
    racks = sum(queue.jobs.racks[queue.jobs.number == n].item() for n in outcome.orders.jobs)
    assert 0.0 < racks <= moments.site().rack_count - float(outcome.problem.service_racks[0])
    assert power(queue, outcome.orders) <= room(outcome) + 1e-5


def test_rule_starts_no_more_jobs_than_power_allows():
    """All racks at work need over 4 MW from a connection of 3 MW."""
    site = moments.site()
    tight = site.with_parameters(site.grid_connection.name, import_limit=3.0, ramp=9.0)
    queue = moments.pressed(small_days.queue(), *range(len(small_days.queue().jobs)))
    pilot = DecisionEngine(site=tight, solve_problem=failing_solver)
    outcome = pilot.decide(moments.facts(queue=queue))
    assert outcome.choice.source is ScheduleSource.RULE
    assert float(outcome.choice.schedule["grid_import_power"].max()) < 3.0
    assert power(queue, outcome.orders) <= room(outcome) + 1e-5
    assert 0 < len(outcome.orders.jobs) < len(queue.jobs)


def test_infeasible_decision_is_not_remembered():
    site = moments.site()
    none = site.with_parameters(site.grid_connection.name, import_limit=0.4)
    pilot = DecisionEngine(site=none, solve_problem=failing_solver)
    with pytest.raises(NoScheduleError):
        pilot.decide(moments.facts(battery_level=0.32))
    assert pilot.last_ordered_caps == {}
    pilot.site = site
    assert pilot.decide(moments.facts(moments.calm())).time == time_axes.to_utc(small_days.START)


@pytest.mark.slow
def test_infeasible_site_stops_running_work():
    """Proves: no job is ordered, and halls get only the power of inference and idle racks."""
    _, outcome = started()
    site = moments.site()
    none = site.with_parameters(site.grid_connection.name, import_limit=0.4)
    facts = next_facts(outcome, battery_level=0.32)
    assert facts.queue.is_running.any()
    with pytest.raises(LoadShedError, match="grid_import_power is violated by") as caught:
        DecisionEngine(site=none, solve_problem=failing_solver).decide(facts)
    rests = caught.value.outcome
    assert rests.orders.jobs == {}
    assert room(rests) == pytest.approx(0.0, abs=1e-9)


HALF = tuple(f"hall_1-r{rack:04}" for rack in range(14))
"""Racks of a hall."""


def on_a_weak_grid(solver=None):
    """Return an engine of the site with a ramp limit of 0.5 MW in ten minutes."""
    site = moments.site()
    return moments.pilot(solver, site.with_parameters(site.grid_connection.name, ramp=0.05))


@pytest.mark.parametrize("solver", [None, failing_solver])
def test_unattainable_ramp_limit_still_gives_a_plan(solver):
    """Proves: after a black-out 14 excluded racks may draw 2.4 MW at once. The
    battery gives all of its 0.8 MW, nothing is started, and the rest of the violation is reported.

    Sensitivity: no plan at all, and the last orders stand.
    """
    state = moments.calm()
    dark = state.assign(grid_import_power=0.0 * state["grid_import_power"])
    known = replace(moments.facts(dark), excluded_racks=HALF)
    outcome = on_a_weak_grid(solver).decide(known)
    assert outcome.choice.source is (ScheduleSource.RULE if solver else ScheduleSource.OPTIMUM)
    assert [one.limit for one in outcome.choice.verdict.unavoidable_violations] == [
        "ramp of grid_import_power"
    ]
    assert outcome.orders.jobs == {}
    assert outcome.orders.battery_discharge["battery_1"] == pytest.approx(0.8, abs=0.01)


def remaining_import(limit, hours):
    """Return the import that partners allow from now on, for some hours. [MW]"""

    def over(horizon):
        ahead = horizon["time"] - horizon["time"][0] < np.timedelta64(round(60 * hours), "m")
        left = xr.where(ahead, limit, moments.site().grid_connection.import_limit)
        return variables.tag_dataset(xr.Dataset({"grid_import_limit": left}))

    return over


@pytest.mark.parametrize("hours", [1.0, 6.0])
@pytest.mark.parametrize("solver", [None, failing_solver])
def test_unattainable_partner_limit_still_gives_a_plan(solver, hours):
    """Proves: idle racks and service need 0.87 MW, 0.2 MW are allowed. All work stops, the battery
    meets the limit while it can, and the excess is reported.

    Sensitivity: no plan at all, and work continues as ordered last.
    """
    known = replace(moments.facts(moments.calm()), requests=remaining_import(0.2, hours))
    outcome = moments.pilot(solver).decide(known)
    assert outcome.choice.source is (ScheduleSource.RULE if solver else ScheduleSource.OPTIMUM)
    assert outcome.orders.jobs == {}
    taken = outcome.choice.schedule["grid_import_power"].to_numpy()
    assert taken[:3] == pytest.approx(0.2, abs=0.01)
    assert taken[4] > 0.8
    (breach,) = outcome.choice.verdict.unavoidable_violations
    assert breach.limit == "grid_import_power beyond what is left of the connection"
    if solver is None:
        (beyond,) = outcome.choice.decision.explanation.soft_constraints
        assert beyond.target == "external import limit of the connection (grid_1)"


def test_attainable_ramp_limit_is_met_despite_late_jobs():
    """Proves: from 1.2 MW the ramp limit is met with the battery and without work.

    Sensitivity: a plan that pays for its violation, because jobs are late, is refused.
    """
    outcome = on_a_weak_grid().decide(replace(moments.facts(moments.calm()), excluded_racks=HALF))
    assert outcome.choice.source is ScheduleSource.OPTIMUM
    assert outcome.choice.verdict.unavoidable_violations == ()
    assert sum(outcome.orders.jobs.values()) < 0.1


def test_empty_battery_at_full_load_still_gives_a_plan():
    """Proves: an empty battery is charged with the rest of 1.05 MW; no job is started.

    Sensitivity: at least 0.2 MW, which idle racks and service do not leave.
    """
    site = moments.site()
    brim = moments.pilot(where=site.with_parameters(site.grid_connection.name, import_limit=1.05))
    outcome = brim.decide(moments.facts(moments.calm(), battery_level=0.0))
    assert outcome.choice.source is ScheduleSource.OPTIMUM
    assert 0.05 < outcome.orders.battery_charge["battery_1"] < 0.2
    assert "battery_1 holds 0 MWh" in outcome.unavailable_machines["battery_1"]
    (constraint,) = outcome.choice.decision.explanation.soft_constraints
    assert constraint.target == "return of the store to its window (battery_1)"


def test_no_jobs_give_no_orders():
    queue = small_days.queue()
    empty = replace(
        queue,
        jobs=queue.jobs.select(slice(0)),
        completed_hours=queue.completed_hours[:0],
        run_hours=queue.run_hours[:0],
        caps=queue.caps[:0],
    )
    for hold in ("", "pumps"):
        outcome = moments.pilot(failing_solver).decide(
            moments.facts(moments.calm(), empty, hold=hold)
        )
        assert outcome.orders.jobs == {}


def test_scenario_inputs_reach_the_solver_of_a_hedging_site():
    """Proves: inputs of scenarios go to the solver process where a site has several scenarios.

    Sensitivity: another keyword than that of `SolverProcess.decide` raises a TypeError here.
    """
    solver = create_autospec(SolverProcess, instance=True).decide
    solver.return_value = optimum()
    facts, given = moments.facts(), []
    for site in (moments.site(), moments.weighing(1), moments.weighing(3)):
        outcome = moments.pilot(solver, site).decide(facts)
        assert outcome.choice.source is ScheduleSource.OPTIMUM
        given.append(solver.call_args.kwargs.get("scenario_inputs"))
    assert given[:2] == [None, None]
    assert (given[2].record, given[2].queue, given[2].past_jobs) == (
        facts.series,
        facts.queue,
        facts.past_jobs,
    )


def test_hold_evaluates_no_scenarios():
    outcome = moments.pilot(failing_solver, moments.weighing(3)).decide(
        moments.facts(hold="me: because")
    )
    assert outcome.choice.source is ScheduleSource.HOLD
