"""Machines out of service: excluded from plans where possible, and always reported."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import xarray as xr

import sites
from optimizer.fallback.ladder import ScheduleSource
from optimizer.planner.flexibility import estimate_flexibility
from optimizer.service.machine_availability import RATINGS_OF_DERATABLE_MACHINES, derate_unavailable
from optimizer.service.plant_orders import plant_commands
from telemetry.live.state import LiveState
from telemetry.messages.samples import PointValue
from telemetry.points.site_points import list_points
from tests.support import moments, reserve_days, small_days
from tests.support.small_points import NOON, SECOND
from tests.support.strict_site import PLANT, strict
from twin.equipment import Renewable

LITTLE = 2e-6
"""What is left of a machine that is out of service. [MW]"""


def availability(site, **shares):
    """Return readings of the share of each machine in service."""
    words = {}
    for name, share in shares.items():
        machine = site.equipment[name]
        axis = "renewable" if isinstance(machine, Renewable) else machine.kind
        one = xr.DataArray([share], {axis: [name]}, axis, name=f"{axis}_available")
        words[one.name] = xr.concat([words[one.name], one], axis) if one.name in words else one
    return xr.Dataset(words)


def test_machine_without_a_report_is_in_service():
    """Neither silence nor an unknown machine takes anything away."""
    rhine = sites.load_site("rhine")
    stranger = availability(rhine, battery_1=0.0).assign_coords(battery=["battery_9"])
    for seen in (
        xr.Dataset(),
        availability(rhine, battery_1=np.nan),
        availability(rhine, cdu_1=1.0),
        stranger,
    ):
        assert derate_unavailable(rhine, seen) == (rhine, {})


@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize("name", ["rhine", "gallia", "iberia", "baltica"])
def test_dispensable_machines_out_of_service_are_removed(name, share):
    """Every store, source and heat pump is reduced to its share; the rest is unchanged."""
    site = sites.load_site(name)
    those = [
        one
        for one, machine in site.equipment.items()
        if type(machine) in RATINGS_OF_DERATABLE_MACHINES
    ]
    assert len(those) >= 3
    found, words = derate_unavailable(site, availability(site, **dict.fromkeys(those, share)))
    for one, word in zip(those, words.values(), strict=True):
        assert word.startswith("50% of " if share else one)
        for rating in RATINGS_OF_DERATABLE_MACHINES[type(site.equipment[one])]:
            was, now = (getattr(where.equipment[one], rating) for where in (site, found))
            assert now == pytest.approx(share * was, abs=LITTLE)
    others = set(site.equipment) - set(those)
    assert others
    assert all(found.equipment[one] is site.equipment[one] for one in others)


def test_essential_machine_out_of_service_is_reported_and_kept():
    rhine = sites.load_site("rhine")
    found, words = derate_unavailable(
        rhine, availability(rhine, chilled_plant=0.0, cdu_1=139 / 140)
    )
    assert found is rhine
    assert words == {
        "cdu_1": "99% of cdu_1 is in service, and plans still count on all of it",
        "chilled_plant": "chilled_plant is out of service, and plans still count on all of it: "
        "hold the service if it does not come back",
    }


def test_every_machine_has_an_availability_point():
    """Each machine of a site reports by its point: out of service, and back."""
    site, window = moments.site(), LiveState(moments.site())
    points = [p for p in list_points(site) if p.meaning.point_type == "Available"]
    machines = {name for name, machine in site.equipment.items() if machine.is_machine}
    assert machines
    for point in points:
        window.add(point.metadata)
    for second, value in enumerate((0.0, 1.0)):
        now = NOON + second * SECOND
        for point in points:
            window.add(PointValue(point=point.metadata.point, time=now, value=value, quality=1))
        words = derate_unavailable(site, window.latest_values(now))[1]
        assert set(words) == (set() if value else machines)


@cache
def outcome(**shares):
    """Return an engine and its result for a quarter-hour."""
    facts, pilot = moments.facts(), moments.pilot()
    seen = facts.observed.merge(availability(moments.site(), **shares))
    return pilot, pilot.decide(replace(facts, observed=seen))


def greatest_power(found, *names):
    """Return the greatest power of some variables in a plan. [MW]"""
    return max(float(found.choice.schedule[name].max()) for name in names)


def flexible(found):
    """Return the flexibility of a plan; only batteries can raise the import."""
    outlook = found.problem.outlook
    return estimate_flexibility(
        found.problem.site, found.choice.schedule, found.choice.replay, outlook=outlook
    )


def test_plan_without_stores_and_solar_power():
    """With all of them the plan uses them; without, it is still an optimum without orders."""
    flows = ("battery_charge", "battery_discharge", "tank_charge", "tank_discharge")
    usual = outcome()[1]
    assert usual.unavailable_machines == {}
    assert greatest_power(usual, *flows) > 0.1
    gone = dict.fromkeys(("battery_1", "tank_1", "solar_1", "wind_1"), 0.0)
    pilot, found = outcome(**gone)
    assert found.choice.source is ScheduleSource.OPTIMUM
    assert greatest_power(found, *flows) <= LITTLE
    assert greatest_power(found, "renewable_used_power") <= LITTLE
    assert len(found.unavailable_machines) == len(gone)
    requests = plant_commands(moments.site(), found).set_point_requests
    assert abs(requests["battery_request", "battery_1"]) <= LITTLE
    spare = [float(flexible(one)["reserve_down_power"].max()) for one in (found, usual)]
    assert spare[0] == 0.0 < spare[1]
    assert pilot.interval_control.site.equipment["battery_1"].power <= LITTLE


def test_machine_returns_to_service():
    """The quarter-hour after it reports to be in service uses all of it."""
    pilot, before = outcome(battery_1=0.0)
    state = moments.later(before.estimate.state, before.choice.replay, 1)
    queue = moments.waited(before.queue, 1, before.orders.jobs)
    after = pilot.decide(moments.facts(state, queue))
    assert after.unavailable_machines == {}
    assert after.problem.site == moments.site()
    assert greatest_power(after, "battery_charge", "battery_discharge") > 0.1


def test_planned_chillers_are_requested():
    """Proves: the planned chillers are requested from a plant that commits its chillers."""
    pilot = moments.pilot(where=strict(moments.site()))
    found = pilot.decide(moments.facts(moments.calm(), small_days.queue()))
    planned = float(found.choice.schedule["cooling_plant_units_on"].sel(cooling_plant=PLANT)[0])
    requests = plant_commands(strict(moments.site()), found).set_point_requests
    assert requests["cooling_plant_units_request", PLANT] == planned
    usual = plant_commands(moments.site(), outcome()[1]).set_point_requests
    assert ("cooling_plant_units_request", PLANT) not in usual


@pytest.mark.slow
@pytest.mark.parametrize("level", [0.3, 0.2, 0.01, 0.0])
def test_battery_below_its_reserve_is_recharged(level):
    """Proves: after a black-out the site is planned without discharging the battery.

    Sensitivity: from 0.2 MWh down there was no plan until a person charged it. Above, the twin
    refused every plan, because each used energy that the battery lacked.
    """
    facts = moments.facts(battery_level=level)
    outcome = moments.pilot().decide(facts)
    assert outcome.choice.source is ScheduleSource.OPTIMUM
    levels = outcome.choice.replay["battery_level"].to_numpy()[:, 0]
    assert levels.min() == pytest.approx(level, abs=0.001)
    assert levels.max() > 0.32
    assert outcome.orders.battery_discharge["battery_1"] == 0.0
    (message,) = outcome.unavailable_machines.values()
    assert message.startswith(f"battery_1 holds {level:g} MWh, less than its reserve of 0.32 MWh")


@pytest.mark.parametrize("level", [0.32, 0.3357])
def test_empty_stores_out_of_service_are_excluded(level):
    """Proves: a battery out of service loses energy for a week and need not recover it.

    Sensitivity: no optimum, until it was back in service.
    """
    facts = moments.facts(battery_level=level, tank_level=0.02)
    gone = availability(moments.site(), battery_1=0.0, tank_1=0.0)
    outcome = moments.pilot().decide(replace(facts, observed=facts.observed.merge(gone)))
    assert outcome.choice.source is ScheduleSource.OPTIMUM
    assert len(outcome.unavailable_machines) == len(gone)


@pytest.mark.parametrize("level", [0.2, 0.32])
def test_site_with_reserves_plans_without_an_empty_battery(level):
    """Proves: mFRR constraints of coarse intervals do not bind below the battery's window."""
    mfrr = {"mfrr": reserve_days.product("mfrr")}
    facts = moments.facts(battery_level=level)
    seen = facts.observed.merge(availability(moments.site(), battery_1=0.0))
    pilot = moments.pilot(where=moments.site().model_copy(update={"reserves": mfrr}))
    assert pilot.decide(replace(facts, observed=seen)).choice.source is ScheduleSource.OPTIMUM


def test_sensor_error_is_not_an_empty_battery():
    outcome = moments.pilot().decide(moments.facts(battery_level=0.31))
    assert outcome.choice.source is ScheduleSource.OPTIMUM
    assert outcome.unavailable_machines == {}
