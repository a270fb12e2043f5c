"""A clock that was ahead and is corrected: its earlier readings do not block new ones."""

import numpy as np
import pytest

from telemetry.messages.samples import SimulationTick
from telemetry.quality.checks import QualityFlag
from telemetry.runtime import ClockMode
from tests.support.small_points import NOON, SECOND, batch, value_of
from twin.time_axes import HOUR, MINUTE, QUARTER_HOUR

CORRECTED = NOON + 2 * MINUTE


@pytest.fixture(params=[1, 48], ids=["an hour", "two days"])
def later(window, request):
    """Return a time by the clock ahead, at which all readings were received."""
    moment = NOON + request.param * HOUR
    window.add(value_of("grid_import_power", 2000.0, time=moment), moment)
    window.add(value_of("battery_level", 50.0, time=moment), moment)
    window.add(batch(time=moment, boot=9, power=500.0), moment)
    return moment


def test_readings_from_clock_ahead_are_reported(window, later):
    seen = window.latest_values(CORRECTED)
    for name in ("grid_import_power", "battery_level", "accelerator_power"):
        assert np.isnan(seen[name]).all()
        assert np.isinf(seen[f"{name}_age"]).all()
    assert (seen["racks_heard"] == 0.0).all()
    text = window.describe_future_values(CORRECTED)
    assert text.startswith("3 points or racks have stamps up to ")
    assert window.describe_future_values(later) == ""


@pytest.mark.usefixtures("later")
def test_next_reading_counts_at_once(window):
    """Sensitivity: telemetry was blocked for as long as the clock had been ahead."""
    when = CORRECTED + SECOND
    for value in (
        value_of("grid_import_power", 900.0, time=CORRECTED),
        batch(time=CORRECTED, boot=1),
    ):
        assert window.add(value, when) is QualityFlag.GOOD
    seen = window.latest_values(when)
    assert seen["grid_import_power"] == pytest.approx(0.9)
    assert seen["grid_import_power_age"] == 1.0
    assert seen["racks_heard"].sum() > 0.0
    assert window.describe_future_values(when).startswith("1 points or racks")
    assert window.counters["out of order"] == 0
    past = window.recent_means(NOON, NOON + 300 * SECOND)
    assert past["grid_import_power"].max() == pytest.approx(0.9)


def test_recent_drops_readings_ahead(window, later):
    """Proves: readings stamped in a later hour are not in the mean of that hour."""
    window.add(value_of("grid_import_power", 900.0, time=CORRECTED), CORRECTED)
    past = window.recent_means(later - QUARTER_HOUR, later)
    assert np.isnan(past["grid_import_power"]).all()


def test_leap_is_checked_again_at_once(window):
    """Sensitivity: no leap was flagged until the clock had passed the stamps ahead."""

    def flag_of(value, when):
        label = "warm_plant"
        reading = value_of("facility_supply_temperature", value, time=when, label=label)
        return window.add(reading, when)

    assert flag_of(38.0, NOON + HOUR) is QualityFlag.GOOD
    assert flag_of(30.0, CORRECTED) is QualityFlag.GOOD
    assert flag_of(50.0, CORRECTED + SECOND) is QualityFlag.RATE


def test_readings_of_next_tick_are_current(window):
    window.quality.clock_mode = ClockMode.SIMULATED
    tick = SimulationTick(
        site="small", time=NOON, interval=QUARTER_HOUR, step=1, steps=9, batches=0, points=0
    )
    window.add(tick)
    window.add(value_of("grid_import_power", 900.0, time=NOON + QUARTER_HOUR))
    assert window.latest_values(NOON)["grid_import_power"] == pytest.approx(0.9)
    assert window.describe_future_values(NOON) == ""
