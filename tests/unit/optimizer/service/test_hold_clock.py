"""HOLDs and a clock that is wrong for a while: no HOLD ends early."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.service.hold import (
    EXPIRY_CONFIRMATION_S,
    HOLD_TRANSITIONS,
    Hold,
    HoldState,
    TimedHold,
)
from optimizer.service.hold_register import HoldRegister

NOW = 1.8e9
WHO = {"author": "Erika", "reason": "test of pumps"}
TIMED = WHO | {"is_self_ending": True}


class Times:
    """A clock that can be set, and elapsed time that is independent of it."""

    def __init__(self, path):
        self.path, self.now, self.moment = path, NOW, 50.0
        self.start()

    def start(self):
        self.overrides = HoldRegister(self.path, passed=lambda: self.moment)

    def pass_by(self, seconds):
        self.now, self.moment = self.now + seconds, self.moment + seconds

    @property
    def hold(self):
        return self.overrides.combined_hold(self.now)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "hold.json"


@pytest.fixture
def times(path):
    return Times(path)


@pytest.mark.parametrize("restarted", [False, True])
def test_hold_ends_at_its_time(times, restarted):
    times.overrides.set_hold(**TIMED, now=NOW, hours=2.0)
    if restarted:
        times.start()
    times.pass_by(7199.9)
    assert times.hold is not None
    times.pass_by(0.2)
    assert times.hold is None
    times.pass_by(EXPIRY_CONFIRMATION_S if restarted else 0.0)
    assert times.hold is None
    times.start()
    times.now = NOW
    assert times.hold is None  # a clock that is set back restores no HOLD
    assert times.overrides.clock_conflict == ""


def test_clock_briefly_ahead_ends_no_hold(times):
    times.overrides.set_hold(**TIMED, now=NOW, hours=2.0)
    times.pass_by(3600.0)
    times.now += 86_400.0
    assert times.hold.author == "Erika"
    conflict = "HOLD 1 of Erika stays in force: by the clock it ended 23 h ago, but 60 min of it"
    assert conflict in times.overrides.clock_conflict
    times.now -= 86_400.0
    assert times.hold.author == "Erika"
    assert times.overrides.clock_conflict == ""
    times.start()
    assert times.hold.author == "Erika"
    times.pass_by(3600.0)
    assert times.hold is None
    assert times.overrides.take_expired() != []


def test_hold_set_by_a_clock_ahead_reports_it(times):
    """Its hours have passed, but the corrected clock says that it lasts: a person decides."""
    times.now += 86_400.0
    times.overrides.set_hold(**TIMED, now=times.now, hours=1.0)
    times.now -= 86_400.0
    times.pass_by(3700.0)
    assert times.hold is not None
    assert "its hours have passed, but by the clock 24 h remain" in times.overrides.clock_conflict


def test_hold_ends_in_time_after_a_slow_clock(times):
    times.overrides.set_hold(**TIMED, now=NOW, hours=2.0)
    times.start()
    times.now = 60.0  # 1970: nobody had set it
    assert times.hold is not None
    times.now = NOW + 60.0
    times.pass_by(7200.0)
    assert times.hold is None


@pytest.mark.parametrize(("minutes", "is_back"), [(2.0, True), (11.0, False)])
def test_after_restart_a_clock_ahead_ends_a_hold_later(times, path, minutes, is_back):
    times.overrides.set_hold(**TIMED, now=NOW, hours=2.0)
    times.start()
    times.now += 86_400.0
    assert times.hold is None
    assert [one.author for one in times.overrides.take_expired()] == ["Erika"]
    times.pass_by(60.0 * minutes)
    assert times.hold is None
    assert bool(json.loads(path.read_text())["holds"]) is is_back
    times.now -= 86_400.0
    assert (times.hold is not None) is is_back
    assert times.overrides.take_reinstated() is is_back
    assert not times.overrides.take_reinstated()
    times.now = NOW + 7199.0
    assert (times.hold is not None) is is_back


def test_expiry_is_reported_once_across_restarts(times):
    """Proves: two restarts within ten minutes after its end record it once.

    Sensitivity: each start reported it again, so the record had two ends of one HOLD.
    """
    times.overrides.set_hold(**TIMED, now=NOW, hours=2.0)
    times.pass_by(7300.0)
    expired = []
    for _ in range(3):
        times.start()
        for _ in range(3):
            assert times.hold is None
            expired += times.overrides.take_expired()
            times.pass_by(1.0)
    assert [one.author for one in expired] == ["Erika"]


def test_second_expiry_is_reported_again(times):
    """Proves: the end by a clock that was ahead, and the true one, are both reported."""
    times.overrides.set_hold(**TIMED, now=NOW, hours=2.0)
    times.start()
    expired = []
    for now in (NOW + 86_400.0, NOW + 60.0, NOW + 7300.0):
        times.now = now
        for _ in range(2):
            is_held = times.hold is not None
            expired += times.overrides.take_expired()
            times.pass_by(1.0)
    times.pass_by(7200.0)
    assert is_held  # its hours had not passed
    assert times.hold is None
    assert len(expired + times.overrides.take_expired()) == 2


def test_new_hold_keeps_one_that_expired_by_a_wrong_clock(times):
    times.overrides.set_hold(**TIMED, now=NOW, hours=2.0)
    times.start()
    times.now += 86_400.0
    times.overrides.set_hold(author="Max", reason="storm", now=times.now)
    assert times.hold.author == "Max"
    times.now -= 86_400.0
    assert times.hold.author == "Erika and Max"


STEPS = st.tuples(st.integers(-2000, 2000), st.integers(0, 700))
"""Shift of the wall clock and time that passes between two looks. [s]"""


@given(st.lists(STEPS, max_size=40), st.booleans(), st.one_of(st.none(), st.integers(1, 1500)))
def test_any_clock_leads_along_the_table_of_transitions(steps, is_self_ending, length):
    """Proves: only a self-ending HOLD ends, only when both clocks are past its end."""
    until = None if length is None else NOW + length
    hold = Hold(author="a", reason="r", since=NOW, until=until, is_self_ending=is_self_ending)
    timed, wall, moment = TimedHold(hold), NOW, 0.0
    for shift, passed in steps:
        before, wall, moment = timed.state, wall + shift, moment + passed
        state = timed.update(wall, moment)
        reached = {before, *HOLD_TRANSITIONS[before]}
        reached |= {later for one in reached for later in HOLD_TRANSITIONS[one]}
        assert state in reached
        if until is None or not is_self_ending or wall < until:
            assert state is HoldState.HELD or before is HoldState.ENDED
        if before is HoldState.ENDED:
            assert state is HoldState.ENDED


def test_released_hold_cannot_be_released_again():
    timed = TimedHold(Hold(author="a", reason="r", since=NOW))
    timed.release()
    with pytest.raises(ValueError, match="cannot become"):
        timed.release()
