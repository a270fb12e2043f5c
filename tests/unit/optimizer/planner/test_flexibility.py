"""Flexibility that a plan offers, on plans solved by hand."""

import numpy as np
import pytest
import xarray as xr

import sites
from optimizer.planner.flexibility import estimate_flexibility, no_flexibility
from tests.support import small_days
from twin import time_axes, variables
from twin.site_settings import SafetyMargins
from twin.workload.queue import RackPool

START = time_axes.to_utc("2026-06-16")
LIMIT, EXPORT, RAMP = 100.0, 20.0, 10.0


@pytest.fixture(scope="module")
def site():
    """Return a site without margins: 100 MW connection, lossless 40 MWh battery of 10 MW."""
    exact = sites.load_site("small").with_margins(
        SafetyMargins(power=0.0, temperature="0 K", level=0.0)
    )
    wide = exact.with_parameters(
        "grid_1", import_limit="100 MW", export_limit="20 MW", ramp="10 MW/min"
    )
    return wide.with_parameters(
        "battery_1",
        capacity="40 MWh",
        power="10 MW",
        charge_efficiency=1.0,
        discharge_efficiency=1.0,
        reserve=0.0,
        ceiling=1.0,
    )


def constant_plan(net, *, level=20.0, battery=0.0, count=16, minutes=15):
    """Return a plan of constant net import and its replay; battery is charged positively."""
    plan = time_axes.regular_axes(START, count, np.timedelta64(minutes, "m"))
    powers = np.broadcast_to(np.asarray(net, dtype=float), count)
    charge = np.broadcast_to(np.asarray(battery, dtype=float), count)
    plan["grid_import_power"] = "time", np.maximum(powers, 0.0)
    plan["grid_export_power"] = "time", np.maximum(-powers, 0.0)
    replay = plan.assign_coords(battery=["battery_1"])
    replay["battery_charge"] = ("time", "battery"), np.maximum(charge, 0.0)[:, None]
    replay["battery_discharge"] = ("time", "battery"), np.maximum(-charge, 0.0)[:, None]
    levels = level + np.append(0.0, np.cumsum(charge * minutes / 60.0))
    replay["battery_level"] = ("instant", "battery"), levels[:, None]
    return plan, variables.tag_dataset(replay)


def offer(site, plan, replay, outlook=None, before=None):
    """Return the offers of a plan whose outlook has no work."""
    nothing = xr.Dataset(coords={"instant": plan["instant"]})
    outlook = nothing if outlook is None else outlook
    found = estimate_flexibility(site, plan, replay, outlook=outlook, before=before)
    variables.check_variables(found, *map(str, found.data_vars))
    return {str(name): found[name].to_numpy() for name in found.data_vars}


def test_ramp_at_the_start_of_the_plan_is_not_offered(site):
    """Proves: from 90 MW to 50 within ten minutes leaves 6 of 10 MW/min for another fall."""
    found = offer(site, *constant_plan(50.0), before=90.0)
    assert found["ramp_up_limit"][:2] == pytest.approx([RAMP - 4.0, RAMP])
    assert found["ramp_down_limit"] == pytest.approx(RAMP)


def test_idle_battery_offers_its_power_both_ways(site):
    found = offer(site, *constant_plan(50.0))
    assert found["reserve_up_power"][:12] == pytest.approx(10.0)
    assert found["reserve_down_power"][:12] == pytest.approx(10.0)
    assert found["recovery_energy"][:12] == pytest.approx(10.0)
    assert found["reserve_duration"][:12] == pytest.approx(1.0)
    assert found["ramp_up_limit"] == pytest.approx(RAMP)


def test_nothing_is_offered_that_does_not_fit_the_plan(site):
    found = offer(site, *constant_plan(50.0))  # four hours: the last full hour begins at 3:00
    for name in ("reserve_up_power", "reserve_down_power", "reserve_duration", "recovery_energy"):
        assert found[name][13:] == pytest.approx(0.0)


def test_charging_that_stops_is_offered(site):
    """Charging 4 MW: 4 + 10 MW can be lowered, 10 - 4 MW raised."""
    found = offer(site, *constant_plan(50.0, battery=4.0, level=10.0))
    assert found["reserve_up_power"][0] == pytest.approx(14.0)
    assert found["reserve_down_power"][0] == pytest.approx(6.0)


def test_level_bounds_an_offer_of_an_hour(site):
    """3 MWh left, 4 MWh of room."""
    found = offer(site, *constant_plan(50.0, level=3.0))
    assert found["reserve_up_power"][0] == pytest.approx(3.0)
    found = offer(site, *constant_plan(50.0, level=36.0))
    assert found["reserve_down_power"][0] == pytest.approx(4.0)


def test_energy_the_plan_needs_later_must_be_recovered(site):
    """The plan empties 10 MWh in the third hour; what is used before must be back by then."""
    battery = np.repeat([0.0, 0.0, -10.0, 0.0], 4)

    def first(*net):
        plan = constant_plan(np.repeat(net, 4), level=10.0, battery=battery)
        return offer(site, *plan)["reserve_up_power"][0]

    assert first(50.0, 50.0, 50.0, 50.0) == pytest.approx(10.0)
    assert first(50.0, 95.0, 100.0, 50.0) == pytest.approx(5.0)  # room of 5 MW for an hour
    assert first(50.0, 95.0, 97.0, 50.0) == pytest.approx(8.0)  # and 3 MW less to give later
    assert first(50.0, 100.0, 100.0, 50.0) == pytest.approx(0.0)


def test_offers_include_losses(site):
    lossy = site.with_parameters("battery_1", charge_efficiency=0.8, discharge_efficiency=0.5)
    found = offer(lossy, *constant_plan(50.0, level=10.0))
    assert found["reserve_up_power"][0] == pytest.approx(5.0)  # 10 MWh x 0.5
    assert found["recovery_energy"][0] == pytest.approx(12.5)  # 5 / 0.8 / 0.5


def test_connection_bounds_offers_both_ways(site):
    found = offer(site, *constant_plan(97.0))
    assert found["reserve_down_power"][0] == pytest.approx(3.0)
    found = offer(site, *constant_plan(-14.0))
    assert found["reserve_up_power"][0] == pytest.approx(6.0)  # 20 MW of export
    found = offer(site, *constant_plan(np.repeat([50.0, 99.0, 50.0, 50.0], 4)))
    assert found["reserve_down_power"][1] == pytest.approx(1.0)  # the hour from 0:15 meets 99 MW


def test_nothing_is_offered_above_a_load_target(site):
    """Proves: of the tightest of two targets, 54 MW, a plan of 50 leaves 4, and none beyond it.

    Sensitivity: another partner is offered 10 MW that this one forbids.
    """
    plan, replay = constant_plan(50.0)
    targets = np.array([[60.0, 54.0]] * 8 + [[49.0, np.inf]] * 8)
    plan = plan.assign_coords(contract=["tso_1", "dso_1"])
    plan["grid_import_target"] = ("time", "contract"), targets
    found = offer(site, plan, replay)
    assert found["reserve_down_power"][:5] == pytest.approx(4.0)
    assert found["reserve_down_power"][5:] == pytest.approx(0.0)  # their hours meet the second


def test_margin_stays_free(site):
    careful = site.with_margins(SafetyMargins(power=0.02, temperature="0 K", level=0.1))
    found = offer(careful, *constant_plan(97.0, level=7.0))
    assert found["reserve_down_power"][0] == pytest.approx(1.0)  # 98 - 97
    assert found["reserve_up_power"][0] == pytest.approx(3.0)  # 7 - 10 % of 40


def test_planned_ramp_is_subtracted_from_the_offer(site):
    """From 50 to 90 MW within ten minutes: 4 MW/min of the 10 are taken on both sides."""
    net = np.repeat([50.0, 90.0], 8)
    found = offer(site, *constant_plan(net))
    assert found["ramp_down_limit"][[6, 7, 8, 9]] == pytest.approx([10.0, 6.0, 6.0, 10.0])
    assert found["ramp_up_limit"] == pytest.approx(10.0)
    slow = site.with_parameters("grid_1", ramp="0.2 MW/min")
    found = offer(slow, *constant_plan(50.0))
    assert found["reserve_up_power"][0] == pytest.approx(3.0)  # 0.2 MW/min x 15 min


def test_hourly_intervals_count_too(site):
    found = offer(site, *constant_plan(50.0, count=4, minutes=60))
    assert found["reserve_up_power"] == pytest.approx(10.0)


# --- work


def worked(racks, least, *, cohort="batch/2", kind="batch"):
    """Return a plan that runs racks uncapped through four hours, and what is due."""
    plan, replay = constant_plan(50.0, level=0.0)
    names = {"cohort": [cohort], "kind": ("cohort", [kind])}
    plan = plan.assign_coords(names).assign_coords(level_power=(("cohort", "level"), [[1.0]]))
    shown = np.broadcast_to(np.asarray(racks, dtype=float), 16)
    plan["work_racks"] = ("time", "cohort", "level"), shown[:, None, None]
    outlook = xr.Dataset(coords={"instant": plan["instant"]} | names)
    due = np.broadcast_to(np.asarray(least, dtype=float), 17)
    outlook["work_least"] = ("instant", "cohort"), due[:, None]
    return plan, replay, outlook


def test_work_ahead_of_its_deadlines_can_be_deferred(site):
    pool = RackPool.from_site(site)
    found = offer(site, *worked(10.0, 0.0))
    assert found["reserve_up_power"][:13] == pytest.approx(10.0 * pool.power_above_idle(1.0))
    # 10 racks do 40 rack-hours in four hours; with 37 due by then, three may wait for an hour
    due = 37.0 * pool.rack_power * np.append(np.zeros(16), 1.0)
    found = offer(site, *worked(10.0, due))
    assert found["reserve_up_power"][:13] == pytest.approx(3.0 * pool.power_above_idle(1.0))


def test_due_work_is_not_deferred(site):
    pool = RackPool.from_site(site)
    due = 10.0 * pool.rack_power * np.arange(17) / 4.0
    assert offer(site, *worked(10.0, due))["reserve_up_power"] == pytest.approx(0.0)
    due[-4:] -= 1.0  # what is late is no slack either
    due[:4] += 1.0
    assert offer(site, *worked(10.0, due))["reserve_up_power"][0] == pytest.approx(0.0)


def test_jobs_that_are_only_expected_do_not_count(site):
    case = worked(10.0, 0.0, cohort="batch/expected")
    assert offer(site, *case)["reserve_up_power"] == pytest.approx(0.0)


def test_jobs_in_their_minimum_run_are_not_offered(site):
    """Training runs at least an hour: racks begun at 2:00 can be paused from 3:00 on."""
    case = worked(np.repeat([0.0, 0.0, 10.0, 10.0], 4), 0.0, cohort="training/2")
    plan, replay, outlook = case
    names = {"kind": ("cohort", ["training"])}
    found = offer(site, plan.assign_coords(names), replay, outlook.assign_coords(names))
    assert found["reserve_up_power"][11] == pytest.approx(0.0)
    assert found["reserve_up_power"][12] > 0.0
    energy = found["recovery_energy"][12] / found["reserve_up_power"][12]
    assert energy == pytest.approx(1.1)  # a pause loses 0.1 h


def test_outlook_of_another_time_offers_nothing(site):
    plan, replay, outlook = worked(10.0, 0.0)
    outlook["instant"] = outlook["instant"] + np.timedelta64(15, "m")
    assert offer(site, plan, replay, outlook)["reserve_up_power"] == pytest.approx(0.0)


def test_empty_flexibility_has_all_variables():
    plan, _ = constant_plan(50.0)
    found = no_flexibility(plan)
    variables.check_variables(found, "reserve_up_power", "recovery_energy", "ramp_down_limit")
    assert float(found.to_array().max()) == 0.0


def test_real_plan_offers_within_its_limits():
    problem, decision = small_days.problem(), small_days.decision()
    here = problem.site
    found = estimate_flexibility(
        here, decision.schedule, decision.verdict.replay, outlook=problem.outlook
    )
    net = decision.schedule["grid_import_power"] - decision.schedule["grid_export_power"]
    assert float((net + found["reserve_down_power"]).max()) <= here.grid_connection.import_limit
    assert float((net - found["reserve_up_power"]).min()) >= -here.grid_connection.export_limit
    assert float(found["reserve_up_power"].max()) > 0.1
    assert float(found.to_array().min()) >= 0.0
