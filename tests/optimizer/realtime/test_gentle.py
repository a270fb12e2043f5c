"""A large battery is led to the end of its window no faster than the connection may follow."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from optimizer.deciding import decide
from optimizer.dispatch import Orders
from optimizer.realtime.gentle import Ways, gentle, gently, narrowed, ready, tightest
from tests import reserve_days, small_days
from twin.axes import QUARTER
from twin.fading import is_abrupt
from twin.walk import TAPER


def beside(ramp):
    """Return a question of the small site, whose battery fades by 0.067 MW/min at 0.8 MW.

    Every price pays for emptying the battery at once.
    """
    problem = small_days.problem(4)
    outlook = problem.outlook.copy(deep=True)
    outlook["electricity_price"].values[:] = np.linspace(900.0, 300.0, len(problem.hours))
    outlook["terminal_price"].values[...] = 0.0
    return replace(problem, site=problem.site.replace("grid_1", ramp=ramp), outlook=outlook)


def battery(site):
    return next(store for store in site.stores if store.owner == "battery_1")


def level_left(decision, site):
    """Return what is left above the low end as each interval ends, and what that bears. [MWh]"""
    plan, store = decision.schedule.sel(battery="battery_1"), battery(site)
    left = plan["battery_level"].to_numpy()[1:] - store.low
    return left, plan["battery_discharge"].to_numpy() * TAPER / store.discharge_efficiency


def test_a_plan_leads_the_battery_gently_to_its_end_beside_a_slow_connection():
    """Proves: no power is planned that fades within its interval. Sensitivity: full power was."""
    slow, fast = beside(0.08), beside(0.2)
    assert is_abrupt(battery(slow.site), slow.site)
    assert not is_abrupt(battery(fast.site), fast.site)
    left, needed = level_left(decide(slow), slow.site)
    assert needed.max() > 0.0
    assert (left >= needed - 1e-6).all()
    left, needed = level_left(decide(fast), fast.site)
    assert (left < needed - 1e-3).any()


def with_level(problem, share):
    """Return the state with the battery at a share of its window between the margins."""
    store, state = battery(problem.site), problem.state.copy(deep=True)
    margin = store.margin(problem.margins.level)
    low, high = store.low + margin, store.high - margin
    state["battery_level"].loc[{"battery": "battery_1"}] = low + share * (high - low)
    return state, high - low


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_what_may_be_ordered_lasts_the_quarter_hour_and_then_fades_to_the_end(share):
    problem = beside(0.08)
    store = battery(problem.site)
    state, window = with_level(problem, share)
    ways = gentle(problem.site, state)["battery_1"]
    hours = 0.25 + TAPER
    assert ways.discharge * hours == pytest.approx(share * window * store.discharge_efficiency)
    assert ways.charge * hours == pytest.approx((1.0 - share) * window / store.charge_efficiency)
    assert gentle(beside(0.2).site, state) == {}


def test_orders_are_held_back_and_what_they_lack_is_told():
    ways = {"battery_1": Ways(charge=0.2, discharge=0.3)}
    given = Orders(jobs={}, battery_charge={}, battery_discharge={"battery_1": 0.8})
    held, less = gently(given, ways)
    assert held.battery_discharge == {"battery_1": 0.3}
    assert less == pytest.approx(0.5)
    taken = Orders(jobs={}, battery_charge={"battery_1": 0.8}, battery_discharge={})
    held, less = gently(taken, ways)
    assert held.battery_charge == {"battery_1": 0.2}
    assert less == pytest.approx(-0.6)
    assert gently(given, {}) == (given, 0.0)


def test_no_guard_takes_back_what_was_held():
    """Proves: who shaves a peak may move a battery as far as it does not fade."""
    step = xr.Dataset(
        {"battery_charge": ("battery", [0.5]), "battery_discharge": ("battery", [0.0])},
        {"battery": ["battery_1"]},
    )
    ways = {"battery_1": Ways(charge=0.5, discharge=0.3)}
    assert narrowed({}, ways, step) == {"battery_1": pytest.approx(0.8)}
    assert narrowed({"battery_1": 0.1, "other": 0.7}, ways, step) == {
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
    state["battery_level"].loc[{"battery": "battery_1"}] = store.low + share * (
        store.high - store.low
    )
    return ready(site, plan, state, now=now, before={"battery_1": before}).get("battery_1")


def test_the_quarter_hour_before_a_reserve_leaves_its_room():
    """Proves: 0.3 MW both ways of FCR, and 0.2 MW upwards with a fifth of it downwards."""
    plan, begin = holding(fcr=0.3, fcr_d_up=0.2)
    store, found = battery(reserve_days.site()), may(plan, begin - QUARTER)
    assert found.discharge == pytest.approx(store.discharge_limit - 0.5)
    assert found.charge == pytest.approx(store.charge_limit - 0.34)
    assert may(plan, begin - 2 * QUARTER) is None


@pytest.mark.parametrize("before", [0.0, 0.3, -0.3])
def test_the_level_leaves_the_energy_behind_what_is_held(before):
    """Proves: 0.3 MW for an hour and the fading after it; a third of the way is still to be turned.

    A level so low that nothing else binds; where even that is gone, nothing is given.
    """
    plan, begin = holding(mfrr=0.3)
    store = battery(reserve_days.site())
    behind = 0.3 * (1.0 + TAPER) / store.discharge_efficiency
    share = (behind + 0.15) / (store.high - store.low)
    found = may(plan, begin, share, before)
    left = 0.15 * store.discharge_efficiency - before * 5.0 / 60.0
    assert found.discharge == pytest.approx(left / 0.25)
    assert found.charge == store.charge_limit
    assert may(plan, begin, share - 0.2).discharge == 0.0


def test_what_comes_later_than_a_plant_turns_needs_no_power_before():
    plan, begin = holding(mfrr=0.1)
    limits = battery(reserve_days.site())
    found = may(plan, begin - QUARTER, share=0.9)
    assert found.discharge == pytest.approx(limits.discharge_limit)


def test_nothing_is_known_beyond_the_plan_or_without_reserves():
    plan, _ = holding(fcr=0.3)
    assert may(plan, plan["instant"].to_numpy()[-1] - QUARTER) is None
    bare = decide(small_days.problem(4)).schedule
    assert may(bare, bare["time"].to_numpy()[0]) is None


def test_of_several_rules_the_tightest_holds():
    one, other = Ways(charge=0.2, discharge=0.7), Ways(charge=0.5, discharge=0.3)
    found = tightest({"a": one}, {"a": other, "b": other})
    assert found == {"a": Ways(charge=0.2, discharge=0.3), "b": other}


@pytest.mark.parametrize(("charge", "discharge", "free"), [(0.8, 0.0, 1.0), (0.0, 0.7, 0.0)])
def test_shaving_begins_from_what_may_be_ordered(charge, discharge, free):
    """Proves: 0.5 MW each way: what a plan wants beyond is not there to be moved."""
    plan = decide(small_days.problem(4)).schedule.isel(time=0).copy(deep=True)
    at = {"battery": "battery_1"}
    plan["battery_charge"].loc[at], plan["battery_discharge"].loc[at] = charge, discharge
    ways = {"battery_1": Ways(charge=0.5, discharge=0.5)}
    assert narrowed({"battery_1": 9.0}, ways, plan)["battery_1"] == pytest.approx(free)
