"""A large battery is led to the end of its window no faster than the connection may follow."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from optimizer.planner.planner import decide
from optimizer.realtime.plan_follower import (
    BatteryLimits,
    apply_battery_limits,
    intersect_battery_limits,
    limit_discharge_margin,
    reserve_holding_limits,
    taper_limits,
)
from tests.support import reserve_days, small_days
from twin.equipment.storage import STORAGE_TAPER_TIME_H
from twin.feasibility.connection import taper_exceeds_ramp
from twin.time_axes import QUARTER_HOUR


def beside(ramp):
    """Return a question of the small site, whose battery fades by 0.067 MW/min at 0.8 MW.

    Every price pays for emptying the battery at once.
    """
    problem = small_days.problem(4)
    outlook = problem.outlook.copy(deep=True)
    outlook["electricity_price"].values[:] = np.linspace(900.0, 300.0, len(problem.interval_hours))
    outlook["terminal_price"].values[...] = 0.0
    return replace(problem, site=problem.site.with_parameters("grid_1", ramp=ramp), outlook=outlook)


def battery(site):
    return next(store for store in site.stores if store.owner == "battery_1")


def level_left(decision, site):
    """Return what is left above the low end as each interval ends, and what that bears. [MWh]"""
    plan, store = decision.schedule.sel(battery="battery_1"), battery(site)
    left = plan["battery_level"].to_numpy()[1:] - store.min_level
    return left, plan[
        "battery_discharge"
    ].to_numpy() * STORAGE_TAPER_TIME_H / store.discharge_efficiency


def test_plan_avoids_fading_beside_a_slow_connection():
    """Proves: no power is planned that fades within its interval. Sensitivity: full power was."""
    slow, fast = beside(0.08), beside(0.2)
    assert taper_exceeds_ramp(battery(slow.site), slow.site)
    assert not taper_exceeds_ramp(battery(fast.site), fast.site)
    left, needed = level_left(decide(slow), slow.site)
    assert needed.max() > 0.0
    assert (left >= needed - 1e-6).all()
    left, needed = level_left(decide(fast), fast.site)
    assert (left < needed - 1e-3).any()


def with_level(problem, share):
    """Return the state with the battery at a share of its window between the margins."""
    store, state = battery(problem.site), problem.state.copy(deep=True)
    margin = store.level_margin(problem.margins.level)
    low, high = store.min_level + margin, store.max_level - margin
    state["battery_level"].loc[{"battery": "battery_1"}] = low + share * (high - low)
    return state, high - low


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_ordered_power_lasts_the_interval(share):
    problem = beside(0.08)
    store = battery(problem.site)
    state, window = with_level(problem, share)
    ways = taper_limits(problem.site, state, resting())["battery_1"]
    hours = 0.25 + STORAGE_TAPER_TIME_H
    discharge = share * window * store.discharge_efficiency / hours
    charge = (1.0 - share) * window / store.charge_efficiency / hours
    assert ways.discharge == pytest.approx(min(discharge, store.discharge_limit))
    assert ways.charge == pytest.approx(min(charge, store.charge_limit))
    assert taper_limits(beside(0.2).site, state, resting()) == {}


def resting(*, charge=0.0, discharge=0.0, net=1.0):
    """Return the first interval of a schedule, with what its battery and its grid do. [MW]"""
    now = decide(small_days.problem(4)).schedule.isel(time=slice(1)).copy(deep=True)
    for word, power in {
        "battery_charge": charge,
        "battery_discharge": discharge,
        "grid_import_power": max(net, 0.0),
        "grid_export_power": max(-net, 0.0),
    }.items():
        now[word].values[...] = power
    return now


@pytest.mark.parametrize(
    ("net", "charge", "discharge", "ways"),
    [
        (0.1, 0.5, 0.0, "charge"),  # without it 0.4 MW would be exported where none may be
        (1.0, 0.5, 0.0, None),
        (4.5, 0.0, 0.5, "discharge"),  # without it more were imported than the margin leaves
        (3.0, 0.0, 0.5, None),
    ],
)
def test_battery_that_carries_the_connection_does_not_fade(net, charge, discharge, ways):
    """Proves: near its end it is ordered what lasts. Sensitivity: what it could not take went out.

    The other way it may do all it can: so peaks are shaved.
    """
    problem = beside(0.2)
    site = problem.site.with_parameters("grid_1", export_limit=0.0)
    state, _ = with_level(problem, 0.5)
    store, now = battery(site), resting(net=net, charge=charge, discharge=discharge)
    found = taper_limits(site, state, now).get("battery_1")
    if ways is None:
        assert found is None
        return
    lasting = taper_limits(beside(0.08).site, state, now)["battery_1"]
    whole = BatteryLimits(charge=store.charge_limit, discharge=store.discharge_limit)
    assert found == replace(whole, **{ways: getattr(lasting, ways)})


def test_battery_orders_are_clipped_to_the_allowed_range():
    ways = {"battery_1": BatteryLimits(charge=0.2, discharge=0.3)}
    for way, most in (("charge", 0.2), ("discharge", 0.3)):
        now = resting(**{way: 0.8})
        held = apply_battery_limits(now, ways)
        assert held[f"battery_{way}"].to_numpy() == pytest.approx(most)
        assert now[f"battery_{way}"].to_numpy() == pytest.approx(0.8)
    assert apply_battery_limits(now, {}) is now


def test_guard_keeps_the_allowed_range():
    """Proves: who shaves a peak may move a battery as far as it does not fade."""
    step = xr.Dataset(
        {"battery_charge": ("battery", [0.5]), "battery_discharge": ("battery", [0.0])},
        {"battery": ["battery_1"]},
    )
    ways = {"battery_1": BatteryLimits(charge=0.5, discharge=0.3)}
    assert limit_discharge_margin({}, ways, step) == {"battery_1": pytest.approx(0.8)}
    assert limit_discharge_margin({"battery_1": 0.1, "other": 0.7}, ways, step) == {
        "battery_1": 0.1,
        "other": 0.7,
    }


def holding(**held):
    """Return a schedule that begins to hold something an hour after its start, and that moment."""
    plan = reserve_days.decision().schedule.copy(deep=True)
    begin = plan["time"].to_numpy()[0] + np.timedelta64(1, "h")
    plan["battery_reserve"].values[...] = 0.0
    for name, capacity in held.items():
        plan["battery_reserve"].loc[{"product": name}] = capacity * (plan["time"] >= begin)
    return plan, begin


def may(plan, now, share=0.5, before=0.0):
    """Return what the battery may do, with a level at a share of its window."""
    site, state = reserve_days.site(), reserve_days.problem().state.copy(deep=True)
    store = battery(site)
    state["battery_level"].loc[{"battery": "battery_1"}] = store.min_level + share * (
        store.max_level - store.min_level
    )
    return reserve_holding_limits(site, plan, state, now=now, before={"battery_1": before}).get(
        "battery_1"
    )


def test_interval_before_a_reserve_keeps_its_power():
    """Proves: 0.3 MW both ways of FCR, and 0.2 MW upwards with a fifth of it downwards."""
    plan, begin = holding(fcr=0.3, fcr_d_up=0.2)
    store, found = battery(reserve_days.site()), may(plan, begin - QUARTER_HOUR)
    assert found.discharge == pytest.approx(store.discharge_limit - 0.5)
    assert found.charge == pytest.approx(store.charge_limit - 0.34)
    assert may(plan, begin - 2 * QUARTER_HOUR) is None


@pytest.mark.parametrize("before", [0.0, 0.3, -0.3])
def test_level_keeps_the_energy_of_reserves(before):
    """Proves: 0.3 MW for an hour and the fading after it; a third of the way is still to be turned.

    A level so low that nothing else binds; where even that is gone, nothing is given.
    """
    plan, begin = holding(mfrr=0.3)
    store = battery(reserve_days.site())
    behind = 0.3 * (1.0 + STORAGE_TAPER_TIME_H) / store.discharge_efficiency
    share = (behind + 0.15) / (store.max_level - store.min_level)
    found = may(plan, begin, share, before)
    left = 0.15 * store.discharge_efficiency - before * 5.0 / 60.0
    assert found.discharge == pytest.approx(left / 0.25)
    assert found.charge == store.charge_limit
    assert may(plan, begin, share - 0.2).discharge == 0.0


def test_later_reserve_needs_no_power_before():
    plan, begin = holding(mfrr=0.1)
    limits = battery(reserve_days.site())
    found = may(plan, begin - QUARTER_HOUR, share=0.9)
    assert found.discharge == pytest.approx(limits.discharge_limit)


def test_no_reserve_beyond_the_plan():
    plan, _ = holding(fcr=0.3)
    assert may(plan, plan["instant"].to_numpy()[-1] - QUARTER_HOUR) is None
    bare = decide(small_days.problem(4)).schedule
    assert may(bare, bare["time"].to_numpy()[0]) is None


def test_tightest_of_several_ranges_applies():
    one, other = BatteryLimits(charge=0.2, discharge=0.7), BatteryLimits(charge=0.5, discharge=0.3)
    found = intersect_battery_limits({"a": one}, {"a": other, "b": other})
    assert found == {"a": BatteryLimits(charge=0.2, discharge=0.3), "b": other}


@pytest.mark.parametrize(("charge", "discharge", "free"), [(0.8, 0.0, 1.0), (0.0, 0.7, 0.0)])
def test_shaving_uses_the_allowed_range(charge, discharge, free):
    """Proves: 0.5 MW each way: what a plan wants beyond is not there to be moved."""
    ways = {"battery_1": BatteryLimits(charge=0.5, discharge=0.5)}
    step = apply_battery_limits(resting(charge=charge, discharge=discharge), ways).isel(time=0)
    assert limit_discharge_margin({"battery_1": 9.0}, ways, step)["battery_1"] == pytest.approx(
        free
    )
