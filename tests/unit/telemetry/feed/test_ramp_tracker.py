"""A load ramps after a change of its limit, while the meter deviates from the plan."""

import numpy as np
import pytest

from telemetry.feed.flex_agent import RampTracker

NOW = np.datetime64("2026-07-01T12:00", "us")
QUARTER = np.timedelta64(15, "m")
NONE, NAN = float("inf"), float("nan")


def ramp_states(*readings, flight=None):
    """Return events and ramp flags of readings: measured, planned, limit [MW]"""
    flight = flight or RampTracker(100.0)  # so that 1 MW is near
    found = []
    for step, (measured, planned, limit) in enumerate(readings):
        event = flight.track_load(measured, planned, limit=limit, now=NOW + step * QUARTER)
        found.append((event, flight.is_ramping))
    return found


STILL = ("periodic", False)


def test_kept_load_is_no_ramp():
    """Proves: under HOLD, or with a target that is not kept, no ramp is reported.

    Sensitivity: compared with the target, 120 MW would ramp to 80 for ever.
    """
    kept_loads = [(99.5, 99.0, 80.0), (100.5, 99.0, 80.0), (97.5, 99.0, 80.0)]
    assert ramp_states((99.0, 99.0, NONE), *kept_loads, (97.5, 99.0, NONE)) == [STILL] * 5


def test_start_within_a_target_ends_no_ramp():
    assert ramp_states((80.0, 80.0, 80.0), (80.0, 80.0, 80.0)) == [STILL] * 2


def test_start_within_a_ramp_reports_it_again():
    assert ramp_states((90.0, 80.0, 80.0), (80.0, 80.0, 80.0)) == [
        ("start_ramp_down", True), ("end_ramp_down", False),
    ]  # fmt: skip


def test_ramp_begins_with_the_target_within_an_interval():
    """Proves: a target from 12:20 on lowers the plan of 12:15; the ramp is reported at 12:20.

    Sensitivity: compared with the plan of 12:15 alone, there would be no ramp.
    """
    readings = [(100.0, 100.0, NONE), (99.0, 80.0, NONE), (90.0, 80.0, 80.0), (80.0, 80.0, 80.0)]
    assert ramp_states(*readings) == [
        STILL, STILL, ("start_ramp_down", True), ("end_ramp_down", False),
    ]  # fmt: skip


def test_plan_may_follow_its_target_in_late_steps():
    """Proves: plans of 100, 90 and 80 MW under a target of 80 MW ramp twice; later steps do not."""
    readings = [(100.0, 100.0, 80.0), (100.0, 90.0, 80.0), (90.0, 90.0, 80.0)]
    readings += [(90.0, 80.0, 80.0), (80.0, 80.0, 80.0), (80.0, 70.0, 80.0)]
    assert ramp_states(*readings) == [
        STILL,
        ("start_ramp_down", True), ("end_ramp_down", False),
        ("start_ramp_down", True), ("end_ramp_down", False),
        STILL,
    ]  # fmt: skip


def test_lift_without_a_new_plan_is_no_ramp():
    """Proves: a rise long after a lift is not reported as its ramp."""
    readings = [(80.0, 80.0, 80.0), (80.0, 80.0, NONE), (80.0, 80.0, NONE), (80.0, 95.0, NONE)]
    assert ramp_states(*readings) == [STILL] * 4


def test_reversed_ramp_begins_another():
    readings = [(100.0, 80.0, 80.0), (85.0, 95.0, NONE), (95.0, 95.0, NONE)]
    assert ramp_states(*readings) == [("start_ramp_down", True), ("start_ramp_up", True),
                            ("end_ramp_up", False)]  # fmt: skip


@pytest.mark.parametrize("unknown", [NAN, -NONE])
def test_missing_meter_keeps_the_ramp_state(unknown):
    readings = [(100.0, 80.0, 80.0), (unknown, 80.0, 80.0), (80.0, 80.0, 80.0)]
    assert ramp_states(*readings) == [
        ("start_ramp_down", True),
        ("periodic", True),
        ("end_ramp_down", False),
    ]


def test_without_a_plan_there_is_no_ramp():
    assert ramp_states((100.0, 80.0, 80.0), (95.0, NAN, 80.0)) == [("start_ramp_down", True), STILL]
