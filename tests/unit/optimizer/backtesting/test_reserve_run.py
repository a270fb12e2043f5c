"""Reserves in closed loop: sold at the gate, activated, delivered and billed."""

from dataclasses import replace

import numpy as np
import pytest

from optimizer.backtesting import reserve_calls, runner
from optimizer.backtesting.case import BacktestCase
from optimizer.backtesting.reserve_calls import (
    draw_reserve_calls as reserve_activation_reserve_calls,
)
from optimizer.backtesting.settlement import reserve_accounts
from optimizer.problem.planning_outlook import SoldReserves
from telemetry.simulator.reserve_facility import ReserveFacility
from tests.support import reserve_days, small_days
from tests.support.hand import site as hand_site
from tests.support.reserve_sites import product
from twin import time_axes, variables

NOTHING = 0.01
"""Power that is no difference to the verdict: set points move on during a call. [MW]"""

START = time_axes.to_utc("2026-07-01T00:00Z")
CHARGE, DISCHARGE = ("battery_charge", "battery_1"), ("battery_discharge", "battery_1")


def settled(**rows):
    """Return the held capacity of one product by quarter-hour."""
    count = len(next(iter(rows.values())))
    found = time_axes.regular_axes(START, count).assign_coords(product=["fcr"])
    words = {"reserve_capacity": 0.0, "reserve_shortfall": 0.0, "reserve_price": 10.0} | rows
    for word, values in words.items():
        data = np.broadcast_to(np.asarray(values, float), count)[:, None]
        found[word] = ("time", "product"), data
    return variables.tag_dataset(found)


def billed(rows, price=50.0, **changes):
    where = hand_site().model_copy(update={"reserves": {"fcr": product(**changes)}})
    count = len(next(iter(rows.values())))
    return reserve_accounts(where, settled(**rows), np.full(count, price))


def test_capacity_is_paid_by_the_hour():
    """2 MW for a quarter and 1 MW for another at 10 EUR/MW/h: 7.5."""
    assert billed({"reserve_capacity": [2.0, 1.0]})["reserves"] == pytest.approx(-7.5)


def test_missing_reserve_is_penalised_unless_just_used():
    """1 MW short for three quarters at 100 EUR/MW/h; the two soon after use are exempt: 25."""
    rows = {"reserve_shortfall": [0.0, 1.0, 1.0, 1.0], "reserve_used_up": [0.5, 0.0, 0.0, 0.0]}
    assert billed(rows, recovery=0.5)["reserve_shortfall"] == pytest.approx(25.0)
    assert billed(rows, recovery=0.0)["reserve_shortfall"] == pytest.approx(75.0)


def test_undelivered_activation_is_penalised():
    """0.4 MW for a quarter at 100: 10."""
    rows = {"reserve_used_up": [0.6], "reserve_missed": [0.4]}
    assert billed(rows)["reserve_shortfall"] == pytest.approx(10.0)


def test_activated_energy_is_paid_at_its_own_price():
    """1 MWh up at 90 EUR: the meter saved 50 EUR, which are returned: 40 EUR earned.

    1 MWh down at 20 EUR: the meter cost 50 EUR, of which 30 EUR are returned.
    """
    up = billed({"reserve_used_up": [4.0]}, activation_up_price=90.0)
    assert up["activation"] == pytest.approx(-40.0)
    down = billed({"reserve_used_down": [4.0]}, activation_down_price=20.0)
    assert down["activation"] == pytest.approx(-30.0)
    metered = billed({"reserve_used_up": [4.0], "reserve_used_down": [2.0]})
    assert metered["activation"] == 0.0


def test_a_site_without_reserves_has_no_such_accounts():
    assert reserve_accounts(hand_site(), None, np.zeros(4)) == {}


def test_rule_must_hold_capacity_sold_by_a_file():
    """1 MW sold and not held costs the penalty for half an hour; unsold capacity costs nothing."""
    small, site = small_days.setting(), reserve_days.site()
    record = small.inputs.series.assign_coords(product=["fcr"])
    record["reserve_held"] = (
        ("time", "product"),
        np.ones((record.sizes["time"], 1)),
        {"units": "MW"},
    )
    sold = replace(small, site=site, inputs=replace(small.inputs, series=record))
    plant = reserve_calls.build_plant(sold, seed=1)
    plant.run_with(at_rest(), 30)
    owed = reserve_accounts(site, reserve_calls.reserve_record(plant, [], sold), np.zeros(2))
    penalty = site.reserves["fcr"].shortfall_price
    assert owed == {"reserves": 0.0, "activation": 0.0, "reserve_shortfall": 0.5 * penalty}
    assert reserve_calls.reserve_record(plant, [], replace(small, site=site)) is None


def test_offers_are_sold_at_gate_closure():
    """At 21:00 UTC the gate of the next day closes before the next decision at 22:00."""
    decision = reserve_days.decision()
    schedule, book = decision.schedule, SoldReserves(reserve_days.site())
    horizon = schedule[["time", "duration", "instant"]]
    book.record_sales_before(schedule, time_axes.to_utc("2026-06-16T21:00Z"))
    assert float(book.as_outlook(horizon)["reserve_held"].max()) == 0.0
    book.record_sales_before(schedule, time_axes.to_utc("2026-06-16T22:00Z"))
    sold = book.as_outlook(horizon)["reserve_held"].sel(product="fcr").to_numpy()
    night = schedule["time"].to_numpy() >= time_axes.to_utc("2026-06-16T22:00Z")
    offered = schedule["reserve_capacity"].sel(product="fcr").to_numpy()
    assert sold[night] == pytest.approx(offered[night])
    assert not sold[~night].any()


def test_site_without_products_sells_no_reserve():
    horizon = small_days.decision().schedule[["time", "duration", "instant"]]
    assert not SoldReserves(small_days.setting().site).as_outlook(horizon).data_vars


def test_activations_last_and_recover_as_the_product_requires():
    """A quarter-hour each, at least two hours apart; equal seeds give equal activations."""
    fcr = {"fcr": product()}
    course = reserve_activation_reserve_calls(fcr, 6000, seed=1, share=0.02)["fcr"]
    begins = np.flatnonzero((course != 0.0) & (np.append(0.0, course[:-1]) == 0.0))
    lengths = [int((course[b : b + 60] != 0.0).sum()) for b in begins]
    assert set(lengths[:-1]) == {15}
    assert np.diff(begins).min() >= 135
    assert {-1.0, 1.0} <= set(course)
    assert np.mean(course != 0.0) == pytest.approx(0.04, abs=0.02)
    assert np.array_equal(
        course, reserve_activation_reserve_calls(fcr, 6000, seed=1, share=0.02)["fcr"]
    )
    assert not reserve_activation_reserve_calls(fcr, 6000, seed=1)["fcr"].any()


def called_plant(minutes, *, way=1.0, **terms):
    """Return a plant whose battery holds one product, activated in some minutes."""
    small = small_days.setting()
    one = product(**{"direction": "up"} | terms)
    site = reserve_days.site().model_copy(update={"reserves": {"fcr": one}})
    plant = reserve_calls.build_plant(replace(small, site=site), seed=1)
    signal = np.zeros(24 * 60)
    signal[minutes] = way
    plant.set_calls({"fcr": signal})
    return plant


def at_rest(charge=0.0):
    """Return set points of idle halls and stores, except for a charge. [MW]"""
    rest = {("hall_power", name): 0.5 for name in ("hall_1", "hall_2")}
    rest |= {(f"tank_{way}", "tank_1"): 0.0 for way in ("charge", "discharge")}
    rest |= {("renewable_used_power", name): 0.0 for name in ("solar_1", "wind_1")}
    return rest | {CHARGE: max(charge, 0.0), DISCHARGE: max(-charge, 0.0)}


def battery_discharge(plant):
    """Return the battery discharge of every minute. [MW]"""
    record = plant.record()
    return (record["battery_discharge"] - record["battery_charge"]).to_numpy()[:, 0]


@pytest.mark.parametrize(("before", "after", "way"), [(-0.8, 0.2, 1.0), (0.8, -0.2, -1.0)])
def test_delivery_may_exceed_rated_power_from_opposite_plan(before, after, way):
    """Proves: 0.9 MW beside a charge of 0.2 MW are available while the set point ramps.

    Sensitivity: 0.1 MW are missing while a battery of 0.8 MW ramps.
    """
    plant = called_plant(slice(15, 30), direction="up" if way > 0 else "down", way=way)
    plant.run_with(at_rest(before), 15)
    plant.set_reserved_capacity({("fcr", "battery_1"): 0.9})
    plant.run_with(at_rest(after), 15)
    assert (
        float(plant.called_and_missed_power()[f"reserve_used_{'up' if way > 0 else 'down'}"].max())
        > 0.0
    )
    assert plant.missed_power().max() < NOTHING


def test_activation_across_new_orders_is_delivered_once():
    """0.3 MW from minute 10 to 50, new orders in between: 0.3 MW all the time.

    Sensitivity: 0.6 MW after each order, if its ramp started at the activated power; unequal
    lengths, if repeated minutes were stored twice.
    """
    plant = called_plant(slice(10, 50))
    plant.run_with(at_rest(), 15)
    plant.set_reserved_capacity({("fcr", "battery_1"): 0.3})
    plant.run_with(at_rest(), 3)
    plant.run_with(at_rest(0.01), 12)
    plant.run_with(at_rest(), 30)
    assert battery_discharge(plant)[15:50] == pytest.approx(0.3, abs=0.02)
    assert len(plant.called_power()) == 60
    used = plant.called_and_missed_power()["reserve_used_up"].to_numpy()[:, 0]
    assert used == pytest.approx([0.0, 0.3, 0.3, 0.1])


@pytest.mark.parametrize(("full_activation", "at_once"), [(0.5, True), (12.5, False)])
def test_only_fast_reserve_displaces_the_plan_at_once(full_activation, at_once):
    """Of 0.8 MW of discharge 0.3 MW are held from now on: within a minute, or by the ramp."""
    plant = called_plant(slice(0, 0), full_activation=full_activation)
    plant.run_with(at_rest(-0.8), 15)
    plant.set_reserved_capacity({("fcr", "battery_1"): 0.3})
    plant.run_with(at_rest(-0.5), 15)
    assert (battery_discharge(plant)[15] < 0.51) == at_once
    assert battery_discharge(plant)[29] == pytest.approx(0.5)


@pytest.mark.parametrize(("order", "is_missed"), [(-0.8, True), (0.8, False)])
def test_empty_battery_misses_delivery_and_full_one_delivers(order, is_missed):
    """Proves: 0.3 MW less import are requested; a full battery stops charging more than that."""
    plant = called_plant(slice(480, 510))
    plant.run_with(at_rest(order), 480)
    plant.set_reserved_capacity({("fcr", "battery_1"): 0.3})
    plant.run_with(at_rest(order), 30)
    assert abs(battery_discharge(plant)[-1]) < 0.1
    assert plant.missed_power().max() == pytest.approx(0.8 if is_missed else 0.0, abs=0.1)
    assert not plant.missed_power()[:480].any()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_stored_energy_suffices_for_the_reserve(seed, monkeypatch):
    """A plant with other parameters is fully activated at random times and delivers all of it.

    From two hours before the first sold block, at 22:00 UTC, for eight hours. No limit is violated.
    """
    world = small_days.world(2)
    begin = world.start + np.timedelta64(20, "h")
    whole = replace(world, start=begin, end=begin + np.timedelta64(8, "h"))
    setting = BacktestCase.of(reserve_days.site(), whole, load_scale=0.6)
    seen = []

    def called(products, minutes, *, seed):
        return reserve_activation_reserve_calls(products, minutes, seed=seed, share=0.05)

    def plant_of(setting, *, seed):
        seen.append(reserve_calls.build_plant(setting, seed=seed))
        return seen[-1]

    monkeypatch.setattr(reserve_calls, "draw_reserve_calls", called)
    monkeypatch.setattr(runner, "build_plant", plant_of)
    trial = runner.run_backtest_policy(
        setting, "deterministic", seed=seed, on_progress=lambda *_: None
    )
    plant = seen[0]
    assert isinstance(plant, ReserveFacility)
    used = plant.called_and_missed_power()
    assert float(used["reserve_used_up"].sum() + used["reserve_used_down"].sum()) > 0.5
    assert plant.missed_power().max() < NOTHING
    assert int(trial.violated_minutes.sum()) == 0  # an activation is exempt from the ramp limit
    assert trial.settlement.accounts["reserves"] < -80.0
    assert (
        trial.settlement.accounts["reserve_shortfall"]
        < 0.02 * -trial.settlement.accounts["reserves"]
    )
