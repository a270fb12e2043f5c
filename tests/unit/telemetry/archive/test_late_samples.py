"""What comes late, and what comes twice in one second."""

from dataclasses import replace

import numpy as np
import pytest

from telemetry.archive import MAX_BACKFILL_S, loss_log
from telemetry.archive.buffer import RackBatchBlock
from telemetry.archive.commit_batch import BLOCK_OVERHEAD_BYTES
from telemetry.archive.loss_log import MAX_LABELS_LISTED
from telemetry.journal.format import JournalPosition
from telemetry.quality.checks import QualityFlag
from tests.support.archives import POINT, START, batch, value
from tests.support.sample_archive import seconds_of
from twin.errors import ArchiveError


def test_late_readings_leave_neighbours_unchanged(heard):
    heard.hear(batch("r0001", 0), batch("r0002", 0), batch("r0001", 10), value(0, 50.0))
    heard.hear(batch("r0001", 200))
    heard.archive.commit()
    heard.hear(batch("r0002", 10), batch("r0001", 7), value(0, 51.0, point="A/B/c"))
    heard.archive.commit(include_open=True)
    assert heard.archive.counters["late"] == 3
    chips = heard.open("racks")
    assert seconds_of(chips) == [0, 7, 10, 200]
    first = chips["power"].isel(chip=0).values.T.tolist()
    assert np.array_equal(first[0], [0, 7, 10, 200])
    assert np.array_equal(first[1], [0, np.nan, 10, np.nan], equal_nan=True)
    points = heard.open("points")
    assert points["value"].values[0].tolist() == [50.0, 51.0]


def test_too_old_readings_are_listed_as_losses(heard):
    """Points say it again; who keeps batches may send them for as long as seconds are kept."""
    days = 86_400
    heard.hear(batch("r0001", 40 * days))
    heard.archive.commit(include_open=True)
    heard.hear(batch("r0001", 10 * days))
    reason = heard.archive.add(value(39 * days - 1, 1.0), JournalPosition(1, 900))
    assert f"more than {MAX_BACKFILL_S} s before" in reason
    assert "2678400 s before" in heard.archive.add(
        batch("r0001", 8 * days), JournalPosition(1, 900)
    )
    assert heard.archive.counters["too_late"] == 2
    heard.archive.commit(include_open=True)
    assert seconds_of(heard.open("racks")) == [10 * days, 40 * days]
    lost = [(one["group"], one["columns"], one["from"]) for one in loss_log.read_losses(heard.lost)]
    assert lost == [
        ("points", POINT, "2026-08-08T23:59:59Z"),
        ("racks", "hall_1/r0001", "2026-07-09T00:00:00Z"),
    ]
    heard.archive.commit(include_open=True)
    assert len(loss_log.read_losses(heard.lost)) == 2


def test_losses_name_some_of_many_labels(heard):
    heard.hear(batch("r0001", 40 * 86_400))
    heard.archive.commit(include_open=True)
    for number in range(MAX_LABELS_LISTED + 50):
        heard.archive.add(value(0, 1.0, point=f"A/B/{number}"), JournalPosition(1, 900))
    heard.archive.commit(include_open=True)
    lost = loss_log.read_losses(heard.lost)
    assert len(lost) == MAX_LABELS_LISTED + 1
    assert lost[-1]["columns"] == "others"
    assert lost[-1]["reason"].startswith("50 readings")


def within(second, milliseconds, number, **options):
    """Return a value of a moment within a second."""
    one = value(second, number, **options)
    return replace(one, time=one.time + np.timedelta64(milliseconds, "ms"))


@pytest.mark.parametrize("is_late", [False, True])
def test_newest_good_value_of_a_second_stays(heard, is_late):
    """Sensitivity: the last received value stayed, even a null, and was not counted."""
    if is_late:
        heard.hear(value(500, 1.0))
        heard.archive.commit(include_open=True)
    heard.hear(within(0, 900, 1.0), within(0, 100, 2.0), within(1, 0, 3.0), within(1, 600, 4.0))
    heard.hear(within(2, 0, 5.0))
    for second in (2, 3):
        heard.hear(within(second, 900, None, quality=0), flag=QualityFlag.BAD_SOURCE)
    heard.hear(within(3, 100, 6.0))
    heard.archive.commit(include_open=True)
    points = heard.open("points")
    assert points["value"].values[:4, 0].tolist() == [1.0, 4.0, 5.0, 6.0]
    assert points["quality"].values[:4, 0].tolist() == [1] * 4
    assert heard.archive.counters["merged"] == 4


@pytest.mark.parametrize("is_late", [False, True])
def test_null_never_replaces_a_value(heard, is_late):
    """Sensitivity: a null of quality 1 of a point without metadata stayed as good."""
    if is_late:
        heard.hear(value(500, 1.0))
        heard.archive.commit(include_open=True)
    heard.hear(value(0, 5.0), within(0, 500, None), within(1, 0, None), within(2, 0, None))
    heard.hear(within(2, 100, 6.0))
    heard.archive.commit(include_open=True)
    points = heard.open("points").isel(time=slice(3), point=0)
    assert np.array_equal(points["value"].values, [5.0, np.nan, 6.0], equal_nan=True)
    assert points["quality"].values.tolist() == [1, 0, 1]


@pytest.mark.parametrize("is_committed", [False, True])
def test_duplicate_leaves_quality_unchanged(heard, is_committed):
    """Sensitivity: it was compared with later readings, and accepted."""
    heard.hear(value(0, 60.0), flag=QualityFlag.RATE)
    heard.hear(value(1, None), flag=QualityFlag.BAD_SOURCE)
    if is_committed:
        heard.archive.commit(include_open=True)
    heard.hear(value(0, 60.0), value(1, 40.0))
    heard.archive.commit(include_open=True)
    points = heard.open("points")
    assert points["quality"].values[:, 0].tolist() == [3, 1]
    assert points["value"].values[:, 0].tolist() == [60.0, 40.0]
    assert heard.archive.counters["merged"] == (0 if is_committed else 1)


def racks(milliseconds, labels, numbers):
    """Return batches of moments of the first second."""
    return RackBatchBlock(
        rack_labels=[f"hall_1/{label}" for label in labels],
        seconds=np.full(len(labels), int(START.astype("datetime64[s]").astype(int))),
        subsecond_offsets=np.array(milliseconds, dtype=np.int16),
        values=np.tile(np.array(numbers, dtype=np.float32)[:, None, None], (1, 5, 3)),
        intervals=np.ones(len(labels)),
    )


def test_newest_batch_of_a_second_stays(heard):
    pieces = (
        racks([0, 0, 250, 500], ["a", "b", "a", "a"], [1, 2, 3, 4]),
        racks([250, 750, 0], ["a", "b", "c"], [5, 6, 7]),
        racks([750, 0], ["b", "d"], [6, 8]),
    )
    for number, batches in enumerate(pieces):
        assert heard.archive.add_racks(batches, JournalPosition(1, 100 + number)) == []
    heard.archive.commit(include_open=True)
    chips = heard.open("racks")["power"].isel(time=0, chip=2)
    assert chips.values.tolist() == [4, 6, 7, 8]
    assert heard.archive.counters["merged"] == 4


def chips_of(heard, chips, milliseconds, *, is_last=True):
    """Hear a batch of a moment of the first second; return what the archive has of its rack."""
    number = np.array(chips, dtype=np.float32)
    one = batch("a", 0, chips=len(chips))
    time = one.time + np.timedelta64(milliseconds, "ms")
    heard.hear(replace(one, time=time, values=np.tile(number, (5, 1))))
    if not is_last:
        return None
    heard.archive.commit(include_open=True)
    return heard.open("racks")["power"].values[0, 0].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("is_compacted", [False, True])
def test_late_batch_replaces_no_stored_batch(heard, is_compacted):
    """It overwrote what was there, and where it lacked a chip it was mixed with it."""
    first = chips_of(heard, [200, np.nan, 202], 900)
    if is_compacted:
        heard.archive.maintain(is_whole=True)
    for chips, milliseconds in (([100, 101, 102], 400), ([300, 301, np.nan, 303], 950)):
        found = chips_of(heard, chips, milliseconds)
        assert np.array_equal(found[:3], first, equal_nan=True)
    heard.archive.maintain(is_whole=True)
    hour = heard.open("racks", resolution="1h")["power_max"].values[0, 0, :3]
    assert np.array_equal(hour, first, equal_nan=True)


def test_newer_of_two_batches_stays_whole(heard):
    chips_of(heard, [1, 2, 3, 4], 100, is_last=False)
    found = chips_of(heard, [5, 6], 600)
    assert np.array_equal(found, [5, 6, np.nan, np.nan], equal_nan=True)


def test_uncommitted_batch_is_the_newest(heard, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "no room")

    with monkeypatch.context() as patch:
        patch.setattr("telemetry.archive.repository.ArchiveRepository.write", fail)
        chips_of(heard, [1, 2, 3], 500, is_last=False)
        with pytest.raises(ArchiveError):
            heard.archive.commit(include_open=True)
    chips_of(heard, [4, np.nan, 5], 100, is_last=False)  # earlier time, received later
    assert chips_of(heard, [6, np.nan, 7], 200) == [1.0, 2.0, 3.0]


def test_rack_that_catches_up_widens_no_other(heard):
    heard.hear(*(batch(f"r{rack:04d}", 500) for rack in range(200)))
    heard.archive.commit(include_open=True)
    heard.hear(*(batch("r0199", second) for second in range(100)))
    assert heard.archive._buffer.minutes.size == 100 * (5 * 3 * 4 + BLOCK_OVERHEAD_BYTES)
    heard.hear(batch("r0002", 7))
    heard.archive.commit(include_open=True)
    chips = heard.open("racks")["power"].isel(chip=0)
    assert chips.sel(rack="hall_1/r0199").values[:100].tolist() == list(range(100))
    assert np.flatnonzero(np.isfinite(chips.sel(rack="hall_1/r0002").values)).tolist() == [7, 100]


def test_many_late_readings_are_due_at_once(heard, monkeypatch):
    monkeypatch.setattr("telemetry.archive.buffer.MAX_LATE_BYTES", 1000)
    heard.hear(batch("r0001", 500))
    heard.archive.commit(include_open=True)
    heard.hear(*(batch("r0001", second) for second in range(17)))
    assert heard.archive.is_commit_due
    assert heard.archive.commit()
    assert not heard.archive.is_commit_due
    assert seconds_of(heard.open("racks")) == [*range(17), 500]
