"""The observer: estimates between model and sensors, with honest uncertainty."""

import numpy as np
import pytest

import sites
from tests.support import runs
from twin import time_axes
from twin.errors import StateError
from twin.estimation.kalman_bank import NOISE_PRIORS
from twin.estimation.observer import MAX_PREDICTION_H, estimate_state
from twin.simulation import simulate
from twin.simulation import state as states

SITE = sites.load_site("small")
START = runs.START
BATTERY = ("battery_level", "battery_1")
SIZE = 1.6  # MWh of the battery, of which its shares are shares
LABELS = {
    "battery_level": "battery",
    "tank_level": "tank",
    "facility_supply_temperature": "circuit",
    "cooling_plant_output": "circuit",
}


def run(count=8, minutes=15, charge=0.1):
    """Return an even operation in which the battery is charged with some power [MW]."""
    steady = runs.steady(SITE, count=count, minutes=minutes)
    return runs.ordered(steady, "battery_charge", "battery", battery_1=charge)


POWERS = {"peak_power": 3.0, "mean_weekly_import": 2.0, "grid_import_power": 2.0}


def begin():
    return states.initial_state(SITE, START, level=0.3, **POWERS)


def seen(state, *, without=(), **values):
    """Return a state as sensors that are right show it; some are silent, some say otherwise."""
    observed = state.copy(deep=True)
    for name in without:
        observed[name] = observed[name] * np.nan
    for name, value in values.items():
        observed[name] = observed[name] * 0.0 + value
    return observed


def later(state, hours):
    return state.assign_coords(instant=state["instant"] + np.timedelta64(round(hours * 60), "m"))


def level(believed):
    return float(believed.state["battery_level"][0])


def first():
    return estimate_state(SITE, seen(begin()))


def shown(truth, step):
    """Return the state at the end of a step as it is."""
    now = begin().assign_coords(instant=truth["instant"][step + 1])
    for name in LABELS:
        axis = "instant" if "instant" in truth[name].dims else "time"
        now[name] = truth[name].isel({axis: step + (axis == "instant")})
    return now


def followed(operation, *, without=(), steps=None, noise=None):
    """Return an estimate a quarter-hour, and the truth, of an operation as ordered."""
    truth = simulate.simulate(SITE, begin(), operation)
    believed = [first()]
    for step in range(steps or operation.sizes["time"]):
        observed = seen(shown(truth, step), without=without)
        if noise is not None:
            observed["battery_level"] = observed["battery_level"] + noise[step]
        done = operation.isel(time=[step], instant=[step, step + 1])
        believed.append(estimate_state(SITE, observed, last=believed[-1], operation=done))
    return believed, truth


def test_first_estimate_equals_the_readings():
    believed = first()
    assert believed.state.equals(begin())
    assert believed.messages == ()
    assert not believed.is_unusable
    assert believed.standard_error[BATTERY] == pytest.approx(
        NOISE_PRIORS["battery_level"].measurement_std * SIZE
    )


@pytest.mark.parametrize("name", [*LABELS, "grid_import_power", "grid_export_power", "peak_power"])
def test_first_estimate_names_missing_sensors(name):
    with pytest.raises(StateError, match=f"{name}.*no sensor has shown it yet"):
        estimate_state(SITE, seen(begin(), without=[name]))


def test_all_missing_sensors_are_reported_together():
    with pytest.raises(StateError) as caught:
        estimate_state(SITE, seen(begin(), without=[*LABELS, "peak_power"]))
    assert len(caught.value.issues) == 7  # battery, tank, twice two circuits, peak


def test_estimate_is_closer_than_the_sensor_alone():
    sensor = NOISE_PRIORS["battery_level"].measurement_std * SIZE
    noise = np.random.default_rng(7).normal(0.0, sensor, 16)
    believed, truth = followed(run(16, charge=0.02), noise=noise)
    errors = np.array([level(b) for b in believed]) - truth["battery_level"].to_numpy()[:, 0]
    assert np.sqrt(np.mean(errors[1:] ** 2)) < 0.8 * np.sqrt(np.mean(noise**2))
    assert believed[-1].standard_error[BATTERY] < sensor


def test_sound_sensors_give_no_warnings():
    believed, truth = followed(run())
    assert [b.messages for b in believed] == [()] * 9
    assert level(believed[-1]) == pytest.approx(float(truth["battery_level"][-1, 0]))


def test_missing_sensor_is_replaced_by_the_model_and_reported():
    """0.1 MW for 2 h at 0.96 are 0.192 MWh, little standing loss taken off."""
    believed, truth = followed(run(), without=["battery_level"])
    assert level(believed[-1]) == pytest.approx(float(truth["battery_level"][-1, 0]), abs=1e-9)
    assert level(believed[-1]) - level(believed[0]) == pytest.approx(0.192, abs=2e-3)
    spreads = [b.standard_error[BATTERY] for b in believed]
    assert (np.diff(spreads) > 0.0).all()
    said = [text for text in believed[-1].messages if "battery_level of battery_1 is not" in text]
    assert said
    assert all(" MWh by the model, give or take " in text for text in said)


def test_four_quarter_hours_are_as_uncertain_as_one_hour():
    quarters, _ = followed(run(4), without=["battery_level"])
    hour, _ = followed(run(1, minutes=60), without=["battery_level"])
    assert quarters[-1].standard_error[BATTERY] == pytest.approx(
        hour[-1].standard_error[BATTERY], rel=1e-3
    )
    drift = NOISE_PRIORS["battery_level"].process_std * SIZE
    assert 0.005 * SIZE < hour[-1].standard_error[BATTERY] < np.hypot(0.005 * SIZE, drift)


def test_long_unobserved_state_is_unusable_until_observed():
    """Nobody believes a model alone for longer than nine hours."""
    operation = run(11, minutes=60, charge=0.01)
    believed, truth = followed(operation, without=LABELS, steps=10)
    assert [b.is_unusable for b in believed].index(True) in {9, 10}
    lost = [text for text in believed[-1].messages if "unknown for too long" in text]
    assert len(lost) == 6  # battery, tank, twice two circuits
    back = estimate_state(
        SITE,
        shown(truth, 10),
        last=believed[-1],
        operation=operation.isel(time=[10], instant=[10, 11]),
    )
    assert level(back) == pytest.approx(float(truth["battery_level"][11, 0]), abs=0.02)
    assert not back.is_unusable


def test_sensor_jump_is_reported():
    observed = seen(later(begin(), 0.25), battery_level=1.3)
    believed = estimate_state(SITE, observed, last=first(), operation=run(1))
    assert any("battery_level of battery_1 is 1.3 MWh, but" in text for text in believed.messages)
    assert believed.messages[0].endswith("one of them is wrong")


def test_without_an_operation_only_sensors_are_used():
    """A quarter-hour was missed: the model stood still, the battery may have moved."""
    observed = seen(later(begin(), 0.5), battery_level=0.8)
    believed = estimate_state(SITE, observed, last=first())
    assert level(believed) == pytest.approx(0.8, abs=2e-3)


@pytest.mark.parametrize("minutes", [5, 15, 30])
@pytest.mark.parametrize("power", [-0.75, 0.75])
def test_without_an_operation_battery_changes_are_accepted(power, minutes):
    """Proves: after a restart a store may have gone as fast as it can, and no sensor is wrong.

    Sensitivity: with what a blind model errs in general, 16 % in a quarter-hour is a contradiction,
    and the service holds by itself after a kill.
    """
    last = estimate_state(SITE, seen(states.initial_state(SITE, START, level=0.5, **POWERS)))
    truth = later(last.state, minutes / 60.0)
    at = 0.5 * SIZE + power * minutes / 60.0
    found = estimate_state(SITE, seen(truth, battery_level=at), last=last)
    assert not found.is_unusable
    assert found.messages == ()
    assert level(found) == pytest.approx(at, abs=0.01 * SIZE)


def test_without_an_operation_missing_sensors_soon_expire():
    observed = seen(later(begin(), 0.5), without=["battery_level"])
    believed = estimate_state(SITE, observed, last=first())
    assert believed.is_unusable
    assert level(believed) == level(first())


def test_after_a_long_gap_the_model_is_not_used():
    hours = MAX_PREDICTION_H + 1.0
    observed = seen(later(begin(), hours), battery_level=0.4)
    believed = estimate_state(SITE, observed, last=first(), operation=run(8, charge=0.1))
    assert level(believed) == pytest.approx(0.4, abs=5e-3)


def test_estimate_from_the_future_is_not_used():
    ahead = estimate_state(SITE, seen(later(begin(), 24.0), battery_level=1.5))
    believed = estimate_state(SITE, seen(begin()), last=ahead)
    assert level(believed) == level(first())
    with pytest.raises(StateError, match="battery_level"):
        estimate_state(SITE, seen(begin(), without=["battery_level"]), last=ahead)


def test_silent_meter_keeps_its_last_value_with_a_warning():
    (_, believed), _ = followed(run(1), without=["grid_import_power", "grid_export_power"])
    assert float(believed.state["grid_import_power"]) == 2.0
    assert "grid_import_power is not measured: the last one counts" in believed.messages
    assert not believed.is_unusable


def test_meter_silent_for_long_is_unusable_until_it_reports():
    operation = run(8)
    believed, truth = followed(operation, without=["grid_import_power"])
    assert [b.is_unusable for b in believed] == [False] * 5 + [True] * 4
    assert any("silent for 2 h" in text for text in believed[-1].messages)
    spoken = estimate_state(SITE, later(shown(truth, 7), 0.25), last=believed[-1])
    assert not spoken.is_unusable
    assert spoken.meter_silence == 0.0


def test_unmetered_peak_follows_the_import():
    observed = seen(later(begin(), 0.25), without=["peak_power"], grid_import_power=3.7)
    believed = estimate_state(SITE, observed, last=first(), operation=run(1))
    assert float(believed.state["peak_power"]) == 3.7
    assert believed.meter_silence == 0.0


TURN = np.datetime64("2026-07-31T22:00", "us")
"""The first of August in Berlin."""


def around_the_turn(minutes, *, age=0.0, last=None, **values):
    """Return an estimate some minutes after the turn of the month, of a reading of some age [s]."""
    observed = seen(begin(), **values)
    observed["instant"] = TURN + np.timedelta64(minutes, "m")
    return estimate_state(SITE, observed.assign(peak_power_age=age), last=last)


def test_reading_before_the_month_belongs_to_last_month():
    """Proves: a peak of 3 MW read a minute before the turn is not one of August."""
    late = around_the_turn(-15, peak_power=3.0)
    assert float(late.state["peak_power"]) == 3.0
    assert float(around_the_turn(0, age=60.0, last=late).state["peak_power"]) == 0.0
    assert float(around_the_turn(1, age=61.0, last=late).state["peak_power"]) == 0.0
    assert float(around_the_turn(0, last=late, peak_power=0.0).state["peak_power"]) == 0.0


def test_unreported_peak_restarts_with_the_month():
    """Proves: a quarter of an hour into August its import of 1.2 MW is its peak, and then stays."""
    late = around_the_turn(-15, peak_power=3.0)
    first = around_the_turn(15, age=1000.0, last=late, grid_import_power=1.2)
    assert float(first.state["peak_power"]) == 1.2
    again = around_the_turn(30, age=1900.0, last=first, grid_import_power=0.7)
    assert float(again.state["peak_power"]) == 1.2


def test_mean_import_follows_slowly_across_months():
    """Proves: an hour at 4 MW moves a mean of 2 MW by 2 (1 - exp(-1/168)) = 0.0118694 MW."""
    late = around_the_turn(-30, grid_import_power=2.0)
    assert float(late.state["usual_power"]) == 2.0
    after = around_the_turn(30, last=late, grid_import_power=4.0)
    assert float(after.state["usual_power"]) == pytest.approx(2.0118694, abs=1e-7)


def test_meter_noise_at_zero_gives_no_negative_power():
    believed = estimate_state(SITE, seen(begin(), grid_export_power=-0.003))
    assert float(believed.state["grid_export_power"]) == 0.0


@pytest.mark.slow
def test_stuck_sensor_is_left_out_and_reported():
    """Charging goes on; the sensor stands, though it never showed a number twice before."""
    operation = run(40, charge=0.02)
    noise = np.random.default_rng(8).normal(0.0, 0.004, 40)
    truth = simulate.simulate(SITE, begin(), operation)
    noise[30:] = noise[30] - (truth["battery_level"][31:, 0] - truth["battery_level"][31, 0])
    believed, truth = followed(operation, noise=noise)
    assert any("battery_level of battery_1 stands at" in text for text in believed[-1].messages)
    assert not any("stands at" in text for one in believed[:31] for text in one.messages)
    low, high = believed[-1].bounds(*BATTERY)
    assert low < float(truth["battery_level"][-1, 0]) < high


@pytest.mark.slow
def test_drifting_sensor_is_reported_and_bounds_stay_valid():
    """Two days well, then 3 % of the store an hour."""
    operation = run(220, charge=0.004)
    noise = np.random.default_rng(9).normal(0.0, 0.006, 220)
    noise[192:] += 0.03 / 4.0 * SIZE * np.arange(28)
    believed, truth = followed(operation, noise=noise)
    words = "the sensor of battery_level of battery_1 drifts, or its machine is not as declared: it"
    assert any(words in t for t in believed[-1].messages)
    low, high = believed[-1].bounds(*BATTERY)
    assert low < float(truth["battery_level"][-1, 0]) < high
    assert all(one.messages == () for one in believed[20:190])


@pytest.mark.slow
def test_learned_noise_is_carried_to_the_next_estimate():
    """Readings better than a good instrument's make the bounds narrower."""
    noise = np.random.default_rng(10).normal(0.0, 0.001, 60)
    believed, _ = followed(run(60, charge=0.01), noise=noise)
    assert (
        believed[-1].filters[BATTERY].filter_bank.sensor_standard_error
        < 0.5 * NOISE_PRIORS["battery_level"].measurement_std * SIZE
    )


def test_estimate_fits_the_site_and_leaves_input_unchanged():
    observed, before = seen(later(begin(), 0.25)), first()
    kept, state = observed.copy(deep=True), before.state.copy(deep=True)
    believed = estimate_state(SITE, observed, last=before, operation=run(1))
    states.check_state(SITE, believed.state)
    assert observed.identical(kept)
    assert before.state.identical(state)
    assert believed.state["instant"] == time_axes.to_utc("2026-07-01T00:15")
