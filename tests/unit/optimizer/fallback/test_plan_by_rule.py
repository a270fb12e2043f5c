"""Plan by rule: running work continues, within limits, failures and load targets."""

from dataclasses import replace

import pytest

from optimizer.fallback.ladder import ScheduleSource, plan_by_rule
from tests.support.contract_sites import with_target
from tests.support.fallback_cases import (
    RUNNING,
    chosen,
    fails,
    is_safe,
    next_question,
    optimum,
    question,
)
from tests.support.tight_site import hot_night
from twin.equipment import Photovoltaic
from twin.markets.contracts import LoadTargetContract
from twin.time_axes import QUARTER_HOUR
from twin.workload.queue import RackPool


def test_rule_continues_running_work_and_idles_stores():
    choice = plan_by_rule(question(), RUNNING, source=ScheduleSource.RULE, reason="why")
    pool, schedule = RackPool.from_site(question().site), choice.schedule
    floor = pool.racks * pool.rack_idle_power
    service = question().outlook["service_racks"] * float(pool.power_above_idle(1.0))
    halls = schedule["hall_power"].sum("hall") - floor - service
    assert halls.to_numpy() == pytest.approx(RUNNING)
    assert (choice.replay["battery_charge"] == 0.0).all()
    assert (choice.replay["battery_discharge"] == 0.0).all()
    assert choice.reason == "why"


def test_rule_reduces_work_until_every_limit_is_met():
    """Full halls need over 4.6 MW; with an import limit of 3.2 MW work must be reduced."""
    problem = question()
    grid = problem.site.grid_connection.name
    tight = replace(problem, site=problem.site.with_parameters(grid, import_limit=3.2, ramp=9.0))
    choice = plan_by_rule(tight, 2.6, source=ScheduleSource.HOLD, reason="held")
    assert choice.source is ScheduleSource.HOLD
    assert is_safe(tight, choice)
    assert float(choice.schedule["grid_import_power"].max()) < 3.2


def work_of(choice):
    return float(choice.schedule["hall_power"][-1].sum())


def test_rule_reduces_work_until_failures_are_survived():
    usual, wanted = hot_night(question()), hot_night(question(), least_time=4.0 * 3600.0)
    origin = {"source": ScheduleSource.RULE, "reason": "no solver"}
    full, eased = (plan_by_rule(problem, 2.2, **origin) for problem in (usual, wanted))
    assert work_of(eased) < work_of(full)
    assert not eased.verdict.contingency_coverage.is_uncovered.any()
    # HOLD stops no work for it, but names what is exposed
    held = plan_by_rule(wanted, 2.2, source=ScheduleSource.HOLD, reason="a person")
    assert work_of(held) == pytest.approx(work_of(full))
    assert held.verdict.contingency_coverage.is_uncovered.any()


def asked_for(problem, power):
    """Return the same problem with a load target."""
    contract = LoadTargetContract.model_construct(name="tso", up_price=300.0)
    where = problem.site.with_equipment({**problem.site.equipment, "tso": contract})
    ahead = with_target(problem.outlook, [power] * problem.outlook.sizes["time"])
    return replace(problem, site=where, outlook=ahead)


def first_hour(choice):
    """Return the greatest net import of the first hour. [MW]"""
    plan = choice.schedule
    net = plan["grid_import_power"] - plan["grid_export_power"]
    return float(net.sel(time=slice(None, plan["time"][0] + 3 * QUARTER_HOUR)).max())


def test_rule_curtails_surplus_solar_power():
    problem = question()
    grid, pv = problem.site.grid_connection.name, problem.site.machines_of(Photovoltaic)[0].name
    site = problem.site.with_parameters(grid, export_limit=0.5, ramp=9.0).with_parameters(
        pv, power=6.0
    )
    ahead = problem.outlook.copy(deep=True)
    ahead["renewable_available_power"].loc[{"renewable": pv}] = 5.0
    sunny = replace(problem, site=site, outlook=ahead)
    held = plan_by_rule(sunny, RUNNING, source=ScheduleSource.HOLD, reason="held")
    assert is_safe(sunny, held)
    left = held.schedule["renewable_available_power"] - held.schedule["renewable_used_power"]
    assert float(left.sel(renewable=pv).min()) > 1.0
    assert float(held.schedule["grid_export_power"].min()) > 0.3
    assert float(held.schedule["grid_export_power"].max()) < 0.5


@pytest.mark.parametrize("source", [ScheduleSource.RULE, ScheduleSource.HOLD])
def test_battery_may_idle_at_its_lowest_level(source):
    """Proves: a battery at its reserve loses 0.5 % a day. Sensitivity: no plan under HOLD."""
    state = question().state
    empty = state.assign(battery_level=0.0 * state["battery_level"] + 0.32)
    problem = replace(question(), state=empty)
    held = plan_by_rule(problem, RUNNING, source=source, reason="")
    assert is_safe(problem, held)
    assert float(held.replay["battery_level"].min()) < 0.32


def test_rule_reduces_work_for_a_load_target():
    free = chosen(question(), fails)
    least = first_hour(chosen(question(), fails, power=0.0))
    wanted = 0.5 * (first_hour(free) + least)
    eased = chosen(asked_for(question(), wanted), fails)
    assert eased.source is ScheduleSource.RULE
    assert first_hour(free) > wanted + 0.05
    assert first_hour(eased) <= wanted + 0.01


def test_unattainable_load_target_stops_all_work():
    least = first_hour(chosen(question(), fails, power=0.0))
    eased = chosen(asked_for(question(), 0.5 * least), fails)
    assert first_hour(eased) == pytest.approx(least, abs=0.02)


def test_hold_takes_precedence_over_a_load_target():
    held = plan_by_rule(asked_for(question(), 0.1), RUNNING, source=ScheduleSource.HOLD, reason="")
    free = plan_by_rule(question(), RUNNING, source=ScheduleSource.HOLD, reason="")
    assert first_hour(held) == pytest.approx(first_hour(free))


def test_earlier_plan_that_breaks_a_new_target_is_dropped():
    kept = chosen(next_question(), fails, last=optimum())
    assert kept.source is ScheduleSource.SHIFTED
    wanted = first_hour(kept) - 0.05
    assert (
        chosen(asked_for(next_question(), wanted), fails, last=optimum()).source
        is ScheduleSource.RULE
    )
