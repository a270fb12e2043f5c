"""A constant reading counts as stuck only if it is unusual for the sensor."""

import numpy as np

from twin.estimation.measurement_update import MIN_REPEAT_READINGS, StuckDetector

START = np.datetime64("2026-07-01T00:00", "us")
QUARTER = np.timedelta64(15, "m")


def shown(readings, *, is_moving=False, habit=None):
    habit = habit or StuckDetector()
    for step, reading in enumerate(readings):
        habit = habit.updated(reading, START + step * QUARTER, is_moving=is_moving)
    return habit


def noisy(count):
    return np.random.default_rng(1).normal(0.0, 1.0, count)


def test_normally_varying_sensor_that_stops_is_stuck():
    """1/32 a time: two are not enough below 1e-4, three are."""
    habit = shown(noisy(31))
    assert not shown([0.5, 0.5, 0.5], habit=habit).is_stuck
    assert shown([0.5, 0.5, 0.5, 0.5], habit=habit).is_stuck


def test_sensor_without_history_is_not_stuck():
    assert not shown([0.5] * 100).is_stuck
    assert (
        not shown([0.5] * 100, habit=shown(noisy(MIN_REPEAT_READINGS))).reading_pairs[0]
        > MIN_REPEAT_READINGS
    )


def test_level_of_an_idle_store_may_be_constant():
    """Its habit while nothing moves is to stand; while the store is charged it is not."""
    habit = shown(np.arange(20.0), is_moving=True)
    habit = shown([20.0] * 30 + [21.0] * 30 + [22.0], habit=habit)
    assert not shown([23.0] * 20, habit=habit).is_stuck
    assert shown([23.0] * 5, is_moving=True, habit=habit).is_stuck


def test_stuck_state_ends_with_another_reading():
    habit = shown(noisy(40))
    stuck = shown([0.5] * 50, habit=habit)
    assert stuck.is_stuck
    freed = shown([0.6], habit=stuck)
    assert not freed.is_stuck
    assert freed.repeated_pairs == habit.repeated_pairs


def test_missing_reading_changes_no_statistics():
    habit = shown(noisy(40))
    assert shown([np.nan] * 9, habit=habit) == habit
