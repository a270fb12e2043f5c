"""Ride-through: grid power of a UPS-fed load, by hand."""

import numpy as np
import pytest

from twin.physics.voltage_ride_through import (
    ITIC_UNDERVOLTAGE,
    UpsMode,
    UpsRideThroughSettings,
    simulate_voltage_ride_through,
)

STEP = 0.01


def course(*parts, step=STEP):
    """Return a voltage course of (voltage, seconds)."""
    return np.concatenate([np.full(round(seconds / step), voltage) for voltage, seconds in parts])


def test_normal_voltage_changes_nothing():
    ride = simulate_voltage_ride_through(course((1.0, 5.0)), STEP)
    assert (ride.grid_power_share == 1.0).all()
    assert (ride.transfers, ride.locked_after, ride.battery_time) == (0, None, 0.0)


def test_zero_load_stays_zero():
    assert simulate_voltage_ride_through(np.empty(0), STEP).grid_power_share.size == 0


@pytest.mark.parametrize(("voltage", "seconds"), ITIC_UNDERVOLTAGE)
def test_dip_is_tolerated_up_to_its_duration(voltage, seconds):
    below = voltage - 0.01
    assert (
        simulate_voltage_ride_through(course((1, 1), (below, seconds), (1, 1)), STEP).transfers == 0
    )
    assert (
        simulate_voltage_ride_through(
            course((1, 1), (below, seconds + STEP), (1, 1)), STEP
        ).transfers
        == 1
    )


@pytest.mark.parametrize(("voltage", "seconds"), [(1.15, 0.5), (1.25, 0.003)])
def test_swell_is_tolerated_up_to_its_duration(voltage, seconds):
    step = 0.001
    kept = simulate_voltage_ride_through(
        course((1, 0.1), (voltage, seconds), (1, 0.1), step=step), step
    )
    lost = simulate_voltage_ride_through(
        course((1, 0.1), (voltage, seconds + step), (1, 0.1), step=step), step
    )
    assert (kept.transfers, lost.transfers) == (0, 1)


def test_deep_dip_by_hand():
    # at 1 s the voltage falls to 0.2 for 0.3 s. Till 1.02 s the rectifier holds 1.25 x 0.2 of the
    # load, then the battery all; calm from 1.3 s, back from 11.3 s, half at 18.8 s, all at 26.3 s
    ride = simulate_voltage_ride_through(course((1.0, 1.0), (0.2, 0.3), (1.0, 30.0)), STEP)
    at = {
        t: ride.grid_power_share[round(t / STEP)]
        for t in (0.99, 1.0, 1.01, 1.02, 11.29, 18.8, 26.3)
    }
    assert at == pytest.approx(
        {0.99: 1.0, 1.0: 0.25, 1.01: 0.25, 1.02: 0.0, 11.29: 0.0, 18.8: 0.5, 26.3: 1.0}
    )
    # battery: 0.02 x 0.75 + (11.3 - 1.02) + 15/2, and half a step of the ramp
    assert ride.battery_time == pytest.approx(0.015 + 10.28 + 7.5, abs=STEP)
    assert ride.transfers == 1
    assert ride.mode[round(5 / STEP)] == UpsMode.BATTERY
    assert ride.mode[round(15 / STEP)] == UpsMode.RETURN
    assert ride.mode[-1] == UpsMode.MAINS


def test_a_shallow_dip_costs_no_power():
    ride = simulate_voltage_ride_through(course((1.0, 1.0), (0.85, 5.0), (1.0, 1.0)), STEP)
    assert (ride.grid_power_share == 1.0).all()


def test_a_shallow_dip_beyond_the_current_limit_costs_some():
    weak = UpsRideThroughSettings(current_limit=1.1)
    ride = simulate_voltage_ride_through(course((1.0, 1.0), (0.85, 5.0), (1.0, 1.0)), STEP, weak)
    assert ride.grid_power_share.min() == pytest.approx(0.935)
    assert ride.transfers == 0


def dips(*starts, end=120.0, depth=0.75, length=0.1):
    """Return a course with short dips, each of which alone would be borne."""
    parts, now = [], 0.0
    for start in starts:
        parts += [(1.0, start - now), (depth, length)]
        now = start + length
    return course(*parts, (1.0, end - now))


def test_third_dip_within_a_minute_locks_out():
    ride = simulate_voltage_ride_through(dips(5.0, 30.0, 60.0), STEP)
    assert ride.locked_after == pytest.approx(60.0)
    assert ride.grid_power_share[round(59.9 / STEP)] == 1.0
    assert (ride.grid_power_share[round(60.0 / STEP) :] == 0.0).all()
    assert ride.transfers == 1


def test_three_dips_in_more_than_a_minute_do_not():
    ride = simulate_voltage_ride_through(dips(5.0, 30.0, 65.1), STEP)
    assert (ride.locked_after, ride.transfers) == (None, 0)


def test_dip_counter_can_be_disabled():
    ride = simulate_voltage_ride_through(
        dips(5.0, 10.0, 15.0, 20.0), STEP, UpsRideThroughSettings(max_disturbances=0)
    )
    assert ride.locked_after is None


def test_six_faults_in_82_s_as_on_10_july_2024():
    # NERC: six faults in 82 s; loads that count three a minute leave at the third and stay away
    ride = simulate_voltage_ride_through(dips(0.5, 17.0, 33.0, 49.0, 65.0, 82.0, end=300.0), STEP)
    assert ride.locked_after == pytest.approx(33.0)
    assert ride.grid_power_share[-1] == 0.0


def test_dip_during_return_restarts_the_delay():
    # calm from 1.1 s, walking in from 11.1 s; dip at 15 s for 0.05 s: calm from 15.05 s, back at
    # 25.05 s from nothing
    rules = UpsRideThroughSettings(max_disturbances=0)
    ride = simulate_voltage_ride_through(
        course((1, 1), (0.0, 0.1), (1, 13.9), (0.85, 0.05), (1, 30)), STEP, rules
    )
    assert ride.grid_power_share[round(14.99 / STEP)] == pytest.approx((14.99 - 11.1) / 15.0)
    assert ride.grid_power_share[round(15.0 / STEP)] == 0.0
    assert ride.grid_power_share[round(25.0 / STEP)] == 0.0
    assert ride.grid_power_share[round(32.55 / STEP)] == pytest.approx(0.5)
    assert ride.transfers == 2


def test_finer_step_gives_the_same_result():
    coarse = simulate_voltage_ride_through(course((1, 1), (0.5, 0.3), (1, 30)), STEP)
    fine = simulate_voltage_ride_through(course((1, 1), (0.5, 0.3), (1, 30), step=0.001), 0.001)
    assert fine.battery_time == pytest.approx(coarse.battery_time, abs=2 * STEP)


def test_more_tolerant_ups_never_draws_less():
    rng = np.random.default_rng(4)
    voltage = np.repeat(rng.uniform(0.0, 1.1, 60), 20)
    tolerant = tuple((u - 0.1, 2.0 * t) for u, t in ITIC_UNDERVOLTAGE)
    rules = {"max_disturbances": 0, "return_delay": 0.5, "walk_in": 1.0, "normal_band": (0.0, 1.2)}
    strict = simulate_voltage_ride_through(voltage, STEP, UpsRideThroughSettings(**rules))
    calm = simulate_voltage_ride_through(
        voltage, STEP, UpsRideThroughSettings(undervoltage=tolerant, **rules)
    )
    assert calm.battery_time <= strict.battery_time
