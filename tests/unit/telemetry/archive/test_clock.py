"""An archive under a clock that stops or is set back loses and corrupts nothing."""

import time

import pytest

from telemetry.archive import Archive, repository
from telemetry.archive.backup import verify
from telemetry.journal.format import JournalPosition
from tests.support.archives import SITE, batch
from twin.errors import ArchiveError

TRUE = time.time


def set_back(monkeypatch, seconds):
    monkeypatch.setattr(time, "time", lambda: TRUE() - seconds)


def add(archive, seconds):
    archive.add(batch("r0001", seconds, sequence=seconds), JournalPosition(1, 30 * seconds))


def test_clock_set_back_loses_nothing(tmp_path, monkeypatch):
    """Proves: a minute behind, a commit is refused with a reason; the next one has its data."""
    archive = Archive(tmp_path, SITE)
    add(archive, 1)
    archive.commit(include_open=True)
    set_back(monkeypatch, 60.0)
    add(archive, 2)
    with pytest.raises(ArchiveError, match=r"the clock is (5\d|60) s behind the last commit; set"):
        archive.commit(include_open=True)
    assert "the clock is" in archive.error
    assert archive.corrupt_copies == []
    set_back(monkeypatch, 0.0)
    assert archive.commit(include_open=True)
    assert archive.error == ""
    assert verify(tmp_path).value_count == 2 * 3 * 5


def test_commit_times_strictly_rise(monkeypatch):
    """Proves: a clock that shows a moment twice is waited for until it shows a later one."""
    now = TRUE()
    ticking = iter([now, now, now + 0.04, now + 0.06])
    monkeypatch.setattr(time, "time", lambda: next(ticking))
    repository.wait_until_after(now)
    assert next(ticking, None) is None


def test_clock_set_back_during_wait_is_reported(monkeypatch):
    """Proves: the wait ends with an error instead of an hour with the archive locked."""
    now = TRUE()
    ticking = iter([now, now - 3600.0])
    monkeypatch.setattr(time, "time", lambda: next(ticking))
    with pytest.raises(repository.ClockLagError, match="3600 s behind"):
        repository.wait_until_after(now)


@pytest.mark.slow
def test_clock_of_other_day_moves_nothing_aside(tmp_path, monkeypatch):
    """Proves: a machine that starts with its clock in 1970 keeps its archive, however long.

    Sensitivity: from an hour on the archive was called spoilt, and all of it set aside.
    """
    archive = Archive(tmp_path, SITE)
    add(archive, 1)
    archive.commit(include_open=True)
    moment = [0.0]
    archive._writer._clock_lag = repository.ClockLagConfirmation(lambda: moment[0])
    set_back(monkeypatch, 9.0 * repository.ROLLBACK_CLOCK_LAG_S)
    add(archive, 2)
    for moment[0] in (
        0.0,
        repository.ROLLBACK_CONFIRMATION_S,
        repository.ROLLBACK_CONFIRMATION_S + 1.0,
    ):
        with pytest.raises(ArchiveError, match=r"behind the last commit; set the clock, or wait"):
            archive.commit(include_open=True)
    assert archive.corrupt_copies == []
    assert [one.name for one in tmp_path.iterdir() if one.is_dir()] == ["store"]
    set_back(monkeypatch, 0.0)
    assert archive.commit(include_open=True)
    assert verify(tmp_path).value_count == 2 * 3 * 5


def test_clock_far_behind_is_accepted_after_a_time():
    moment = [0.0]
    doubt = repository.ClockLagConfirmation(lambda: moment[0])
    far, near = (
        repository.ClockLagError(repository.ROLLBACK_CLOCK_LAG_S + 1.0),
        repository.ClockLagError(60.0),
    )
    assert not doubt.is_confirmed(far)
    moment[0] = repository.ROLLBACK_CONFIRMATION_S
    assert doubt.is_confirmed(far)
    assert not doubt.is_confirmed(near)  # the clock was set, so counting restarts
    assert not doubt.is_confirmed(far)
    moment[0] = 3.0 * repository.ROLLBACK_CONFIRMATION_S
    assert not doubt.is_confirmed(None)
