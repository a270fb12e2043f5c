"""Estimates of a store stay within its size."""

import numpy as np

from twin.estimation.kalman_bank import NOISE_PRIORS, KalmanFilterBank
from twin.estimation.measurement_update import (
    PredictedStateVariable,
    StateVariableFilter,
    sensor_warnings,
    update_state_variable,
)


def said(spread, size):
    """Return what is said of a stock that nobody measures, known to some spread. [MWh]"""
    prior = NOISE_PRIORS["battery_level"].scaled(1.6)
    memory = StateVariableFilter(filter_bank=KalmanFilterBank.start_at(0.9932, spread, prior))
    carried = PredictedStateVariable(
        filter_before=memory, filter_bank=memory.filter_bank, predicted_change=0.0
    )
    found = sensor_warnings(
        "level",
        carried,
        memory,
        measurement=np.nan,
        unit="MWh",
        noise_prior=prior,
        max_value=size,
    )
    return [warning.text for warning in found]


def test_uncertainty_is_at_most_the_size_of_the_store():
    """Sensitivity: a battery of 1.6 MWh was estimated within 8e+03 MWh."""
    assert said(0.1, 1.6) == ["level is not measured: 0.9932 MWh by the model, give or take 0.1"]
    assert said(8e3, 1.6) == ["level is not measured: anything from 0 to 1.6 MWh by the model"]


def followed(memory, changes, readings):
    """Return what is known of a tank of 2 MWh after some changes by the model, and readings."""
    trust, now = NOISE_PRIORS["tank_level"].scaled(2.0), np.datetime64("2026-06-16", "us")
    for change, seen in zip(changes, readings, strict=True):
        carried = memory and memory.predicted(
            max(memory.filter_bank.mean + change, 0.0),
            1.0,
            excitation=0.0,
            noise_prior=trust,
            elapsed=0.25,
        )
        memory = update_state_variable(carried, seen, now=now, noise_prior=trust, max_value=2.0)
    return memory


def test_constant_reading_at_an_empty_tank_is_not_stuck():
    """Proves: an empty tank shows 0 for days, and its sensor is believed.

    One that stays at 0 while the tank is charged is stuck.

    Sensitivity: it was left out after an hour, and after nine nothing was planned any more.
    """
    noise = np.random.default_rng(3).normal(0.0, 0.01, 60)
    changes = np.where(np.arange(60) < 30, 0.0, np.where(np.arange(60) % 2, 0.1, -0.1))
    habit = followed(None, changes, 1.0 + np.cumsum(changes) + noise)
    empty = followed(habit, [-0.2] * 5 + [0.0] * 200, [0.8, 0.6, 0.4, 0.2] + [0.0] * 201)
    assert not empty.stuck_detector.is_stuck
    assert empty.unseen_time == 0.0
    assert abs(empty.filter_bank.mean) < 0.02
    charged = followed(empty, [0.1] * 8, [0.0] * 8)
    assert charged.stuck_detector.is_stuck
    assert charged.filter_bank.mean > 0.5
