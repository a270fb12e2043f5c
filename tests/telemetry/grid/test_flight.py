"""Whether a load flies: after a change of its limit, while the meter is off its plan."""

import numpy as np
import pytest

from telemetry.feed.flex_agent import RampTracker

NOW = np.datetime64("2026-07-01T12:00", "us")
QUARTER = np.timedelta64(15, "m")
NONE, NAN = float("inf"), float("nan")


def told(*looks, flight=None):
    """Return events and flights of looks a quarter-hour apart: (measured, planned, limit) in MW."""
    flight = flight or RampTracker(100.0)  # so that 1 MW is near
    found = []
    for step, (measured, planned, limit) in enumerate(looks):
        event = flight.update(measured, planned, limit=limit, now=NOW + step * QUARTER)
        found.append((event, flight.is_ramping))
    return found


STILL = ("periodic", False)


def test_what_is_held_does_not_fly():
    """Proves: under HOLD, or for a target that is not kept, nothing moves and nothing is told to.

    Sensitivity: measured against the target, 120 MW were on their way to 80 for ever.
    """
    held = [(99.5, 99.0, 80.0), (100.5, 99.0, 80.0), (97.5, 99.0, 80.0)]
    assert told((99.0, 99.0, NONE), *held, (97.5, 99.0, NONE)) == [STILL] * 5


def test_after_a_start_within_a_target_nothing_ends_that_did_not_begin():
    assert told((80.0, 80.0, 80.0), (80.0, 80.0, 80.0)) == [STILL] * 2


def test_within_a_flight_a_start_tells_it_again():
    assert told((90.0, 80.0, 80.0), (80.0, 80.0, 80.0)) == [
        ("start_ramp_down", True), ("end_ramp_down", False),
    ]  # fmt: skip


def test_a_quarter_hour_that_is_held_whole_turns_before_its_target_begins():
    """Proves: a target from 12:20 on lowers 12:15; at 12:20 the load still moves, and it is told.

    Sensitivity: compared with the plan of 12:15 alone, nothing would move.
    """
    looks = [(100.0, 100.0, NONE), (99.0, 80.0, NONE), (90.0, 80.0, 80.0), (80.0, 80.0, 80.0)]
    assert told(*looks) == [
        STILL, STILL, ("start_ramp_down", True), ("end_ramp_down", False),
    ]  # fmt: skip


def test_a_plan_may_follow_its_target_later_and_in_steps():
    """Proves: 100, then 90, then 80 MW planned under 80 fly twice; what follows is no ramp."""
    looks = [(100.0, 100.0, 80.0), (100.0, 90.0, 80.0), (90.0, 90.0, 80.0)]
    looks += [(90.0, 80.0, 80.0), (80.0, 80.0, 80.0), (80.0, 70.0, 80.0)]
    assert told(*looks) == [
        STILL,
        ("start_ramp_down", True), ("end_ramp_down", False),
        ("start_ramp_down", True), ("end_ramp_down", False),
        STILL,
    ]  # fmt: skip


def test_what_is_lifted_and_followed_by_no_plan_is_no_ramp():
    """Proves: of a later rise the lift is not the reason."""
    looks = [(80.0, 80.0, 80.0), (80.0, 80.0, NONE), (80.0, 80.0, NONE), (80.0, 95.0, NONE)]
    assert told(*looks) == [STILL] * 4


def test_a_change_that_turns_a_flight_begins_another():
    looks = [(100.0, 80.0, 80.0), (85.0, 95.0, NONE), (95.0, 95.0, NONE)]
    assert told(*looks) == [("start_ramp_down", True), ("start_ramp_up", True),
                            ("end_ramp_up", False)]  # fmt: skip


@pytest.mark.parametrize("unheard", [NAN, -NONE])
def test_where_the_meter_is_not_heard_it_stays_as_it_was(unheard):
    looks = [(100.0, 80.0, 80.0), (unheard, 80.0, 80.0), (80.0, 80.0, 80.0)]
    assert told(*looks) == [("start_ramp_down", True), ("periodic", True), ("end_ramp_down", False)]


def test_without_a_plan_nothing_flies():
    assert told((100.0, 80.0, 80.0), (95.0, NAN, 80.0)) == [("start_ramp_down", True), STILL]
