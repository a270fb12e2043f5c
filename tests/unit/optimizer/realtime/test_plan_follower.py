"""Between two plans: the short-term problem, and orders without an unforeseen peak."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from optimizer.planner.planner import decide
from optimizer.realtime.plan_follower import RealtimeController, available_shaving
from optimizer.realtime.workload_headroom import Headroom, compute_headroom, max_export
from tests.support import moments, small_days
from twin.errors import SeriesError
from twin.time_axes import QUARTER_HOUR
from twin.workload.queue import running_power


@cache
def question():
    return moments.asked()


@cache
def plan():
    return decide(question()).schedule


def drawing(state, power, peak=1.0):
    """Return a state with a metered import [MW] and a low peak that binds."""
    return state.assign(
        grid_import_power=state["grid_import_power"] * 0.0 + power,
        peak_power=state["peak_power"] * 0.0 + peak,
        usual_power=state["usual_power"] * 0.0 + peak,
    )


def at(quarters):
    """Return the jobs and the calm state at a later quarter-hour, with the meter at 1 MW."""
    queue = moments.waited(small_days.queue(), quarters) if quarters else small_days.queue()
    state = small_days.setting().initial_state.assign_coords(instant=queue.instant)
    return queue, drawing(state, 1.0)


def test_horizon_has_quarters_then_hours_then_blocks():
    hours = question().interval_hours
    assert hours.sum() == pytest.approx(168.0)
    assert (hours[:24] == 0.25).all()
    assert (hours[24:90] == 1.0).all()
    assert (hours[90:] == 4.0).all()


def test_horizon_begins_now_in_any_quarter():
    queue, state = at(3)
    problem = moments.asked(state, queue)
    assert problem.outlook["time"].to_numpy()[0] == queue.instant
    assert problem.interval_hours[24] == pytest.approx(0.25)  # up to the full hour
    assert len(problem.interval_hours) == len(
        question().interval_hours
    )  # so that one basis fits the next


def test_record_that_ends_too_soon_is_refused():
    here, known = small_days.setting(), moments.facts()
    short = here.inputs.series.isel(time=slice(96), instant=slice(97))
    with pytest.raises(SeriesError):
        moments.build_problem_from_record(
            here.site, short, here.initial_state, queue=known.queue, past=known.past_jobs
        )


def test_orders_equal_the_plan():
    queue, state = moments.facts().queue, question().state
    orders = RealtimeController(moments.site()).orders(plan(), state, queue)
    step = plan().isel(time=0)
    caps = np.array([orders.jobs.get(number, 0.0) for number in queue.jobs.number.tolist()])
    assert running_power(queue, caps) <= float(step["work_power"].sum()) + 0.2  # a gang runs whole
    assert orders.battery_charge["battery_1"] == pytest.approx(float(step["battery_charge"][0]))


def given(orders):
    return orders.battery_discharge["battery_1"] - orders.battery_charge["battery_1"]


def steered(second, *, power):
    """Return what the battery gives in the first quarter-hour and in another one. [MW]"""
    steering, (queue, state) = RealtimeController(moments.site()), at(0)
    first = given(steering.orders(plan(), state, queue))
    queue, state = at(second)
    return first, given(steering.orders(plan(), drawing(state, power), queue))


def test_unforeseen_import_is_shaved_in_the_next_interval():
    _, calm = steered(1, power=0.0)
    _, drifted = steered(1, power=3.0)
    assert drifted > calm + 0.1


def followed(site, plan, *, short, quarters=6):
    """Return the caps of sun over some quarter-hours, in each of which so much less is imported."""
    steering, caps = RealtimeController(site), []
    net = -max_export(site)
    for quarter in range(quarters):
        queue, state = at(quarter)
        orders = steering.orders(plan, drawing(state, net), queue)
        caps.append(sum(orders.renewable_cap.values()))
        net = (
            steering.interval_control.expected_import
            - steering.interval_control.shed_from_start
            - short(quarter, caps[-1])
        )
    return np.array(caps)


def sunny(power):
    found = plan().copy(deep=True)
    for word in ("renewable_used_power", "renewable_available_power"):
        found[word].values[...] = power
    return found


def shut():
    return moments.site().with_parameters("grid_1", export_limit=0.0)


def test_import_shortfall_is_corrected_at_zero_export():
    """Proves: in the sun, what a load draws less is expected again, curtailed, and no more than it.

    Sensitivity: only the import margin was kept, and a site that drew 3 % less exported.
    """
    calm = followed(shut(), sunny(9.0), short=lambda *_: 0.0)
    less = followed(shut(), sunny(9.0), short=lambda *_: 0.05)
    assert (calm - less)[1:] == pytest.approx(0.04, abs=0.0101)  # while it turns a third is none
    assert less[0] == pytest.approx(calm[0])


def test_uncorrectable_shortfall_does_not_accumulate():
    """Proves: at night, with an import below the margin, no correction grows.

    Sensitivity: each quarter-hour expected the margin and added the shortfall again.
    """
    wide = shut().with_parameters("grid_1", import_limit=200.0)
    steering, night = RealtimeController(wide), sunny(0.0)
    night["battery_charge"].values[...] = night["battery_discharge"].values[...] = 0.0
    for quarter in range(6):
        queue, state = at(quarter)
        steering.orders(night, drawing(state, 0.9), queue)
        assert steering.interval_control.export_limit == pytest.approx(max_export(wide))


def test_sun_above_forecast_is_no_import_shortfall():
    """Proves: sun within its cap is accepted, and not curtailed in the next quarter-hour.

    Sensitivity: every second quarter-hour lost all sun beyond the forecast.
    """
    used = 0.6  # of sun and wind together
    caps = followed(shut(), sunny(used / 2), short=lambda _, cap: max(cap - used, 0.0))
    calm = followed(shut(), sunny(used / 2), short=lambda *_: 0.0)
    assert caps == pytest.approx(calm)
    assert (caps > used).all()


def test_peak_shaving_keeps_the_export_limit():
    """Proves: with no export allowed, no battery discharges below the import margin.

    Sensitivity: one of 3 MW discharged for the whole peak of 0.01 MW.
    """
    site, (queue, state) = moments.site().with_parameters("grid_1", export_limit=0.0), at(0)
    site = site.with_parameters("battery_1", power=3.0)
    steering, quiet = RealtimeController(site), plan().copy(deep=True)
    for word in ("battery_charge", "battery_discharge", "grid_import_power"):
        quiet[word].values[...] = 0.01 * (word == "grid_import_power")
    peakless = drawing(state, 0.01, peak=0.01)
    orders = steering.orders(quiet, peakless, queue)
    settled = _expected(quiet, peakless, queue, orders) - given(orders)
    assert settled == pytest.approx(-max_export(site))


def test_expectation_from_before_a_gap_is_dropped():
    """After a HOLD of an hour, the present import does not reflect the earlier plan."""
    _, calm = steered(5, power=0.0)
    _, drifted = steered(5, power=3.0)
    assert drifted == pytest.approx(calm)


def test_interval_decided_twice_has_one_rise():
    """Proves: 0.3 MW that work rose since the first orders leave 0.2 of 0.5 MW, and then a new 0.5.

    Sensitivity: each decision within a quarter-hour had the whole rise of the valves.
    """
    steering, queue = RealtimeController(moments.site()), small_days.queue()
    room = Headroom(
        available_racks=28.0, max_work_power=9.0, max_work_power_within_peak=9.0, max_load_step=0.5
    )
    assert steering.limit_work_rise(room, queue).max_load_step == 0.5
    ran = np.where(np.arange(len(queue.jobs)) < 2, 1.0, 0.0)
    on = replace(queue, caps=ran)
    rose = running_power(queue, ran)
    assert 0.2 < rose < 0.5
    assert steering.limit_work_rise(room, on).max_load_step == pytest.approx(0.5 - rose)
    assert steering.limit_work_rise(room, replace(on, caps=0.0 * ran)).max_load_step == 0.5
    later = replace(on, instant=on.instant + QUARTER_HOUR)
    assert steering.limit_work_rise(room, later).max_load_step == 0.5


def test_interval_decided_twice_does_not_drift():
    steering, (queue, state) = RealtimeController(moments.site()), at(0)
    once, twice = (given(steering.orders(plan(), s, queue)) for s in (state, drawing(state, 3.0)))
    assert twice == pytest.approx(once)


def test_plan_without_this_interval_is_refused():
    queue, state = at(1)
    with pytest.raises(KeyError):
        RealtimeController(moments.site()).orders(plan().isel(time=slice(2, None)), state, queue)
    assert queue.instant == moments.start() + QUARTER_HOUR


@pytest.mark.parametrize("meter", ["mean", "newest"])
@pytest.mark.parametrize("begin", [0.5, 4.0])
def test_plant_in_transition_is_no_surprise(meter, begin):
    """Proves: a turn of 10 of 15 minutes, up or down, is foreseen however the meter reads it."""
    steering, (queue, state) = RealtimeController(moments.site()), at(0)
    first = steering.orders(plan(), drawing(state, begin), queue)
    settled = _expected(plan(), state, queue, first) - steering.interval_control.shed_from_start
    queue, state = at(1)
    calm = given(RealtimeController(moments.site()).orders(plan(), drawing(state, begin), queue))
    mean = begin + (settled - begin) * (1.0 - 10.0 / 30.0)
    shown = {"mean": mean, "newest": settled}[meter]
    assert given(steering.orders(plan(), drawing(state, shown), queue)) == pytest.approx(calm)


def _expected(schedule, state, queue, orders):
    room = compute_headroom(moments.site(), state, schedule.sel(time=[queue.instant]))
    caps = np.array([orders.jobs.get(number, 0.0) for number in queue.jobs.number.tolist()])
    return room.net_import_at(running_power(queue, caps))


def test_jobs_yield_what_batteries_cannot_supply():
    site, step = moments.site(), plan().isel(time=0)
    state = question().state
    charge, discharge = (float(step[f"battery_{way}"][0]) for way in ("charge", "discharge"))
    (battery,) = (store for store in site.stores if store.carrier == "medium_voltage")
    full = available_shaving(site, step, state, discharge_margin={})
    assert full == pytest.approx(charge - discharge + battery.discharge_limit)
    empty = state.assign(battery_level=state["battery_level"] * 0.0 + battery.min_level)
    assert available_shaving(site, step, empty, discharge_margin={}) == pytest.approx(
        charge - min(discharge, charge)
    )
    assert available_shaving(
        site, step, state, discharge_margin={battery.owner: 0.1}
    ) == pytest.approx(0.1)
    room = compute_headroom(site, state, plan().isel(time=[0]))
    assert room.reduced_by(0.5).max_work_power_within_peak == pytest.approx(
        room.max_work_power_within_peak - 0.5 / room.site_power_per_work_power
    )
    assert room.reduced_by(-1.0) == room
    assert room.reduced_by(1e6).max_work_power_within_peak == 0.0
