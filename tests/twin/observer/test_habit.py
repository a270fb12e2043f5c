"""A sensor that shows one number is stuck only where that is not its habit."""

import numpy as np

from twin.estimation.measurement import MIN_REPEAT_READINGS, StuckDetector

START = np.datetime64("2026-07-01T00:00", "us")
QUARTER = np.timedelta64(15, "m")


def shown(readings, *, is_moving=False, habit=None):
    habit = habit or StuckDetector()
    for step, reading in enumerate(readings):
        habit = habit.updated(reading, START + step * QUARTER, is_moving=is_moving)
    return habit


def noisy(count):
    return np.random.default_rng(1).normal(0.0, 1.0, count)


def test_a_sensor_that_always_differs_is_stuck_when_it_stands():
    """1/32 a time: two are not enough below 1e-4, three are."""
    habit = shown(noisy(31))
    assert not shown([0.5, 0.5, 0.5], habit=habit).is_stuck
    assert shown([0.5, 0.5, 0.5, 0.5], habit=habit).is_stuck


def test_a_sensor_without_a_history_is_not_stuck():
    assert not shown([0.5] * 100).is_stuck
    assert (
        not shown([0.5] * 100, habit=shown(noisy(MIN_REPEAT_READINGS))).reading_pairs[0]
        > MIN_REPEAT_READINGS
    )


def test_a_display_of_a_store_at_rest_may_stand_still():
    """Its habit while nothing moves is to stand; while the store is charged it is not."""
    habit = shown(np.arange(20.0), is_moving=True)
    habit = shown([20.0] * 30 + [21.0] * 30 + [22.0], habit=habit)
    assert not shown([23.0] * 20, habit=habit).is_stuck
    assert shown([23.0] * 5, is_moving=True, habit=habit).is_stuck


def test_what_is_stuck_is_no_habit_and_ends_with_another_reading():
    habit = shown(noisy(40))
    stuck = shown([0.5] * 50, habit=habit)
    assert stuck.is_stuck
    freed = shown([0.6], habit=stuck)
    assert not freed.is_stuck
    assert freed.repeated_pairs == habit.repeated_pairs


def test_a_missing_reading_teaches_nothing():
    habit = shown(noisy(40))
    assert shown([np.nan] * 9, habit=habit) == habit
