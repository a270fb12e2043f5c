"""An archive under a clock that stands still or is set back: nothing is spoilt, nothing is lost."""

import time

import pytest

from telemetry.archive import Archive, ticks
from telemetry.archive.verifying import verify
from telemetry.journal import Position
from tests.telemetry.archives import SITE, batch
from twin.errors import ArchiveError

TRUE = time.time


def set_back(monkeypatch, seconds):
    monkeypatch.setattr(time, "time", lambda: TRUE() - seconds)


def add(archive, seconds):
    archive.add(batch("r0001", seconds, sequence=seconds), Position(1, 30 * seconds))


def test_a_clock_that_is_set_back_spoils_nothing(tmp_path, monkeypatch):
    """Proves: a minute behind, a commit is refused in words; what it had is in the next one."""
    archive = Archive(tmp_path, SITE)
    add(archive, 1)
    archive.commit(everything=True)
    set_back(monkeypatch, 60.0)
    add(archive, 2)
    with pytest.raises(ArchiveError, match=r"the clock is (5\d|60) s behind the last commit; set"):
        archive.commit(everything=True)
    assert "the clock is" in archive.trouble
    assert archive.set_aside == []
    set_back(monkeypatch, 0.0)
    assert archive.commit(everything=True)
    assert archive.trouble == ""
    assert verify(tmp_path).points == 2 * 3 * 5


def test_commits_of_one_tick_follow_one_another(monkeypatch):
    """Proves: a clock that shows a moment twice is waited for until it shows a later one."""
    now = TRUE()
    ticking = iter([now, now, now + 0.04, now + 0.06])
    monkeypatch.setattr(time, "time", lambda: next(ticking))
    ticks.await_later(now)
    assert next(ticking, None) is None


def test_a_commit_of_years_ahead_is_left_to_the_repository(monkeypatch):
    """Proves: it is not waited for; the repository goes back to a commit before."""
    set_back(monkeypatch, 0.0)
    ticks.await_later(TRUE() + 2.0 * ticks.LONGEST)
