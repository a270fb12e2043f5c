"""Remedies for quantities without readings, and for refused timestamps."""

import numpy as np
import pytest

from optimizer.service.decision_inputs import MissingPointLocator
from telemetry.live.state import LiveState
from telemetry.quality.checks import QualityFlag
from tests.support.small_points import NOON, SECOND, metadata_of, site, value_of
from twin.errors import StateError
from twin.estimation.observer import estimate_state

LEVEL = "battery_level of battery_1"
HOUR = 3600 * SECOND


@pytest.fixture
def window():
    window = LiveState(site())
    window.add(metadata_of("battery_level"))
    return window


def remedies_for(window):
    """Return location -> remedy of quantities never measured."""
    with pytest.raises(StateError) as caught:
        estimate_state(site(), window.latest_values(NOON))
    error = MissingPointLocator(site(), window).error_with_topics(caught.value)
    return {fault.location: fault.remedy for fault in error.issues}


def test_missing_quantity_names_topic_and_process_area(window):
    remedies = remedies_for(window)
    assert remedies["peak_power"] == (
        "no sensor has shown it yet; expected on "
        "BMS/v1/PUB/Value/GenericObject/GenericPoint/small/..., "
        "process area Billing Period, Peak, object id grid_1"
    )
    assert "PowerMeter/ActivePower/small/..., object id grid_1" in remedies["grid_export_power"]
    assert "BESS/GenericPoint/small/..., process area State Of Charge" in remedies[LEVEL]
    assert (
        "Facility, Cooling Output, object id warm_plant"
        in remedies["cooling_plant_output of warm_plant"]
    )


@pytest.mark.parametrize(
    ("off", "flag", "words"),
    [
        (-HOUR, QualityFlag.LATE, "3600 s behind"),
        (90 * SECOND, QualityFlag.FUTURE, "90 s ahead of"),
    ],
)
def test_wrong_clock_is_not_reported_as_a_silent_sensor(window, off, flag, words):
    """Proves: the clock error is named until a reading is accepted."""
    assert window.add(value_of("battery_level", 50.0, time=NOON + off), NOON) is flag
    assert (
        remedies_for(window)[LEVEL]
        == f"set the clocks: its timestamps are refused, {words} the clock here"
    )
    assert window.add(value_of("battery_level", 50.0), NOON) is QualityFlag.GOOD
    assert LEVEL not in remedies_for(window)


def test_persistent_clock_errors_are_counted():
    """Proves: two points an hour behind count in the second round; one late reading does not."""
    window = LiveState(site())
    for name in ("battery_level", "tank_level", "peak_power"):
        window.add(metadata_of(name))
    period = window.repetition_period
    names = ["battery_level", "tank_level"]
    for now, some in ((NOON, [*names, "peak_power"]), (NOON + period, names)):
        for place, name in enumerate(some):
            off = HOUR + place * 20 * SECOND
            assert window.add(value_of(name, 50.0, time=now - off), now) is QualityFlag.LATE
        words = window.clock_skew_tracker.describe_late(now, period)
        if now == NOON:
            assert words == ""
    assert words.startswith("stamps of 2 points are refused, 3600 to 3620 s behind the clock here")
    assert LEVEL in words
    assert window.clock_skew_tracker.describe_late(now + 4 * period, period) == ""  # silent since


def test_a_simulated_plant_has_no_wrong_clock(window):
    window.add(value_of("battery_level", 50.0, time=NOON - HOUR))
    assert (
        window.clock_skew_tracker.describe_late(np.datetime64(NOON), window.repetition_period) == ""
    )
