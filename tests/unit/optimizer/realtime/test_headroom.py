"""Power that a load target leaves for work."""

from dataclasses import replace

import numpy as np
import pytest

from optimizer.realtime.dispatch import limit_caps
from optimizer.realtime.workload_headroom import (
    MAX_WARMING_SHARE,
    Headroom,
    compute_headroom,
    site_load_curve,
)
from tests.support import small_days
from tests.support.contract_sites import with_target
from twin.markets.contracts import LoadTargetContract
from twin.workload.queue import running_power


@pytest.mark.parametrize(("price", "is_limit"), [(np.inf, True), (500.0, False)])
def test_only_a_hard_target_is_a_limit(price, is_limit):
    """Proves: urgent jobs may break a target that has a price, but no hard one.

    Sensitivity: late jobs at 100 EUR preceded a target at 30,000 EUR.
    """
    problem, plan = small_days.problem(), small_days.decision().schedule
    step = plan.isel(time=[0], instant=[0, 1])
    step["grid_import_power"] = 0.0 * step["grid_import_power"]
    free = compute_headroom(problem.site, problem.state, step)
    room = compute_headroom(problem.site, problem.state, with_target(step, [1.4], price=price))
    assert room.net_import_at(room.max_work_power_within_peak) == pytest.approx(1.4, abs=0.05)
    assert free.max_work_power_within_peak > room.max_work_power_within_peak + 0.1
    assert room.max_work_power == pytest.approx(
        room.max_work_power_within_peak if is_limit else free.max_work_power
    )


def test_target_is_at_least_the_contract_minimum():
    """Proves: 0.2 MW asked of a contract of 1.4 MW at the least leave as much as 1.4 MW."""
    problem, plan = small_days.problem(), small_days.decision().schedule
    step = plan.isel(time=[0], instant=[0, 1])
    step["grid_import_power"] = 0.0 * step["grid_import_power"]
    firm = LoadTargetContract.model_construct(name="tso", up_price=50.0, least=1.4, effect="hard")
    where = problem.site.model_copy(update={"equipment": problem.site.equipment | {"tso": firm}})
    low, exact = (
        compute_headroom(
            where, problem.state, with_target(step, [target], price=np.inf)
        ).max_work_power
        for target in (0.2, 1.4)
    )
    assert low == pytest.approx(exact)
    assert low > 0.1


@pytest.mark.parametrize("lag", [0.0, 240.0])
@pytest.mark.parametrize("room", [-1.0, 0.2, 0.5])
def test_work_rises_no_faster_than_valves_follow(room, lag):
    """Proves: three quarters of the kelvins of a loop, over its lag: 120 s by default."""
    problem = small_days.problem()
    plant = problem.site.equipment["warm_plant"]
    loop = plant.loop.model_copy(update={"valve_lag": lag})
    site = problem.site.with_parameters("warm_plant", loop=loop)
    state, step = problem.state.copy(deep=True), problem.outlook.isel(time=[0], instant=[0, 1])
    at = {"circuit": "warm_plant"}
    state["facility_supply_temperature"].loc[at] = plant.supply_limit - room
    found = compute_headroom(site, state, step)
    load = MAX_WARMING_SHARE * max(room, 0.0) * plant.loop.heat_capacity / ((lag or 120.0) / 3600.0)
    ran = site_load_curve(site, step)
    each = np.ptp(ran.plant_loads["warm_plant"]) / np.ptp(ran.hall_power)
    assert found.max_load_step == pytest.approx(load / each)
    assert found.max_work_power == compute_headroom(site, problem.state, step).max_work_power


def test_running_jobs_continue_in_warm_water():
    """Proves: without room two running jobs stay, and an equally urgent third does not start.

    Sensitivity: a bound on the circuit's load stopped running jobs, mostly beside a tank.
    """
    queue = small_days.queue()
    first = np.flatnonzero(queue.jobs.racks > 0)[:3]
    running = np.isin(np.arange(len(queue.jobs)), first[:2])
    queue = replace(queue, caps=running.astype(float))
    caps = np.isin(np.arange(len(queue.jobs)), first).astype(float)
    must = caps > 0
    none = Headroom(
        available_racks=100.0,
        max_work_power=100.0,
        max_work_power_within_peak=100.0,
        max_load_step=0.0,
    )
    kept = limit_caps(queue, caps, headroom=none, must=must)
    power = running_power(queue, running.astype(float))
    assert running_power(queue, kept) <= power + 1e-9
    assert running_power(queue, caps) > power
    assert (limit_caps(queue, running.astype(float), headroom=none, must=must) == running).all()
    free = replace(none, max_load_step=100.0)
    assert (limit_caps(queue, caps, headroom=free, must=must) == caps).all()


def test_lifted_caps_count_as_a_rise():
    """Proves: two jobs capped at 0.6 draw 0.106 MW more uncapped, and may draw 0.05 MW more.

    Sensitivity: running jobs counted as uncapped, and lifted caps overheated the water.
    """
    queue = small_days.queue()
    two = np.arange(len(queue.jobs)) < 2
    queue = replace(queue, caps=np.where(two, 0.6, 0.0))
    drawn = running_power(queue, queue.caps)
    room = Headroom(
        available_racks=100.0,
        max_work_power=100.0,
        max_work_power_within_peak=100.0,
        max_load_step=0.05,
    )
    lifted = limit_caps(queue, two.astype(float), headroom=room, must=two)
    assert running_power(queue, two.astype(float)) == pytest.approx(drawn + 0.1063, abs=1e-4)
    assert running_power(queue, lifted) == pytest.approx(drawn + 0.05)
    assert ((lifted > 0.0) == two).all()


@pytest.mark.parametrize(("later", "less"), [(0.2, 0.9), (2.0, 0.0), (5.0, 0.0)])
def test_setting_sun_counts_at_the_end_of_the_interval(later, less):
    """Proves: 2 MW that run down to 0.2 in the middle of the next interval leave 1.1 at the end.

    The peak, which is a mean, counts all of it. Sensitivity: import broke the limit each evening.
    """
    problem = small_days.problem()
    site = problem.site.with_parameters("grid_1", import_limit=0.9)
    soon = problem.outlook.isel(time=slice(2), instant=slice(3)).copy(deep=True)
    soon["renewable_available_power"].values[:] = [[2.0], [later]]
    room = compute_headroom(site, problem.state, soon)
    steady = compute_headroom(site, problem.state, soon.isel(time=[0], instant=[0, 1]))
    assert steady.site_power_per_work_power * (
        steady.max_work_power - room.max_work_power
    ) == pytest.approx(less, abs=0.05)
    assert room.onsite_power == steady.onsite_power
    assert room.max_uncharged_import == steady.max_uncharged_import
