"""The archiver of a site reads the journals of several ingesters."""

import base64
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from telemetry.archive import Archive, loss_log
from telemetry.archive import open as open_archive
from telemetry.ingest.journal_archiver import JournalArchiver
from telemetry.journal import format
from telemetry.journal.follower import read_archived_position
from telemetry.journal.format import JournalPosition
from telemetry.journal.writer import Journal
from telemetry.messages import encode
from telemetry.runtime import ClockMode
from tests.support import archives
from tests.support.archives import POINT, START, batch, metadata, value
from tests.support.journaling import append, clock_at, recorded

ROOT = Path(__file__).parents[4]


@pytest.mark.slow
def test_several_journals_become_one_archive(tmp_path):
    journals = {name: Journal(tmp_path / name, clock=clock_at(200)) for name in ("a", "b")}
    append(journals["b"], metadata())
    for second in range(150):
        append(journals["a"], batch("r0001", second), value(second, float(second)))
        append(journals["b"], batch("r0002", second))
    append(journals["b"], batch("r0002", 206))  # by the clock of the journal it is 200
    journals["a"].append([("dc/v1/rhine/hall_1/r0001/tele", b"nonsense")])
    folders = {name: tmp_path / name for name in journals}
    archive = Archive(tmp_path / "archive", "rhine")
    archiver = JournalArchiver(archive, folders, quarantine=tmp_path / "quarantine")
    while archiver.archive_next_chunk():
        pass
    archiver.stop()
    archiver.run()
    assert read_archived_position(tmp_path / "a") <= journals["a"].end_position
    assert archive.counters["late"] == 0
    assert archiver.counters["future"] == 1
    assert archiver.counters["quarantined"] == 1
    assert "a batch begins with" in (tmp_path / "quarantine" / "poison.jsonl").read_text()
    kept = (tmp_path / "quarantine" / "late.jsonl").read_text()
    assert base64.b64encode(encode(batch("r0002", 206))[1]).decode() in kept
    assert "6 s ahead of the clock here" in archiver.error
    (lost,) = loss_log.read_losses(tmp_path / "archive")
    assert lost["columns"] == "hall_1/r0002"
    check(tmp_path, 150)


def check(folder, seconds):
    chips = open_archive("rhine", group="racks", root=folder)
    times = ((chips["time"].values - START) / np.timedelta64(1, "s")).tolist()
    assert times == list(range(seconds))
    power = chips["power"].isel(chip=1).sel(rack=["hall_1/r0001", "hall_1/r0002"]).values
    assert np.array_equal(power, np.tile(np.arange(seconds)[:, None] + 0.125, 2))
    points = open_archive("rhine", group="points", root=folder)
    assert points["value"].sel(point=POINT).values.tolist() == list(range(seconds))


@pytest.mark.slow
def test_journal_shorter_than_the_archive_is_reported(tmp_path):
    """Sensitivity: readings at positions of archived ones were skipped silently."""
    recorded(tmp_path, [batch("r0001", second) for second in range(9)], clock_mode=ClockMode.REAL)
    (path,) = (tmp_path / "a").glob("*.journal")
    with path.open("rb") as file:
        data = file.read()
    (tmp_path / "a" / "archived").unlink()  # else the journal itself goes on behind it
    first = next(format.decode_records(data, JournalPosition(int(path.stem), 0))).position
    os.truncate(path, first.offset)
    recorded(tmp_path, [batch("r0001", second) for second in (20, 21)], clock_mode=ClockMode.REAL)
    chips = open_archive("rhine", group="racks", root=tmp_path)
    times = ((chips["time"].values - START) / np.timedelta64(1, "s")).tolist()
    assert times == [*range(9), 20, 21]
    assert "ends before" in (tmp_path / "archive" / "lost.jsonl").read_text()


def test_messages_before_a_silence_are_archived_in_it(tmp_path, monkeypatch):
    """Sensitivity: in a blackout, the minute before it was unreadable until it ended."""
    journal = Journal(tmp_path / "a", clock=clock_at(200))
    append(journal, *[batch("r0001", second) for second in range(50)])
    archiver = JournalArchiver(Archive(tmp_path / "archive", "rhine"), {"a": tmp_path / "a"})
    monkeypatch.setattr("telemetry.ingest.journal_archiver.SHARD_IDLE_COMMIT_S", 0.0)
    while archiver.archive_next_chunk():
        pass
    chips = open_archive("rhine", group="racks", root=tmp_path)
    assert chips.sizes["time"] == 50


def test_segment_deleted_unread_is_reported(tmp_path):
    """Sensitivity: deleting it on a full disk lost acknowledged messages silently."""
    journal = Journal(tmp_path / "a", segment_bytes=1)
    for second in range(4):
        append(journal, batch("r0001", second))
    archive = Archive(tmp_path / "archive", "rhine")
    archiver = JournalArchiver(archive, {"a": tmp_path / "a"}, clock_mode=ClockMode.SIMULATED)
    assert archiver.archive_next_chunk()
    for path in sorted((tmp_path / "a").glob("*.journal"))[:3]:
        path.unlink()
    archiver.stop()
    archiver.run()
    assert archive.counters["batches"] == 2
    (lost,) = loss_log.read_losses(tmp_path / "archive")
    assert "it was cut" in lost["reason"]


@pytest.mark.slow
def test_hall_name_may_have_two_words(tmp_path):
    """Sensitivity: its archive could not be opened again, and was set aside at each start."""
    name = "Halle Süd @2"
    for second in range(2):
        append(journal := Journal(tmp_path / name), batch("r0001", second))
        journal.close()
        archive = Archive(tmp_path / "archive", "rhine")
        assert archive.corrupt_copies == []
        archiver = JournalArchiver(archive, {name: tmp_path / name}, clock_mode=ClockMode.SIMULATED)
        archiver.stop()
        archiver.run()
    assert archive.counters["batches"] == 1
    assert archive.replay_positions[name] == journal.end_position


FAR = 72 * 365 * 86_400


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "is_simulated"),
    [
        (archives.tick(FAR), False),
        (archives.tick(FAR), True),
        (value(FAR, 9.0), True),
        (batch("r0001", FAR), True),
    ],
)
def test_one_wrong_time_stops_no_recording(tmp_path, wrong, is_simulated):
    """Sensitivity: it closed all time until 2098, so later messages were refused."""
    samples = [one for k in range(0, 120, 10) for one in (batch("r0001", k), value(k, float(k)))]
    archiver = recorded(
        tmp_path,
        [*samples[:8], wrong, *samples[8:]],
        clock_mode=ClockMode.SIMULATED if is_simulated else ClockMode.REAL,
    )
    assert archiver.counters["future" if is_simulated else "ticks"] == 1
    assert archiver.counters["refused"] == 0
    for group in ("racks", "points"):
        times = open_archive("rhine", group=group, root=tmp_path)["time"].values
        assert ((times - START) / np.timedelta64(1, "s")).tolist() == list(range(0, 120, 10))


@pytest.mark.slow
def test_simulated_plant_may_restart_at_a_later_date(tmp_path):
    samples = [batch(f"r{rack:04d}", second) for second in (0, 1) for rack in range(1, 5)]
    later = [batch(f"r{rack:04d}", FAR) for rack in range(1, 5)] + [archives.tick(FAR)]
    archiver = recorded(tmp_path, [*samples, *later], clock_mode=ClockMode.SIMULATED)
    assert archiver.counters["future"] == 2  # the third of them was believed
    chips = open_archive("rhine", group="racks", root=tmp_path)
    assert (
        np.isfinite(chips["power"].isel(time=-1, chip=0).values).tolist()
        == [False] * 2 + [True] * 2
    )


def test_refused_messages_are_quarantined_and_counted(tmp_path):
    """Sensitivity: sources had deleted them once acknowledged; one line had no payload."""
    day = 86_400
    late = [batch("r0002", 38 * day, chips=72), batch("r0002", 6 * day, chips=72)]
    archiver = recorded(
        tmp_path, [batch("r0001", 40 * day), batch("r0001", 40 * day + 100), *late, late[1]],
        clock_mode=ClockMode.SIMULATED,
    )  # fmt: skip
    assert archiver.counters["refused"] == 2
    chips = open_archive("rhine", group="racks", root=tmp_path)
    assert np.isfinite(chips["power"].sel(rack="hall_1/r0002").values[:, 71]).tolist() == [
        True,
        False,
        False,
    ]
    lines = (tmp_path / "q" / "late.jsonl").read_text().splitlines()
    assert lines
    for line in lines:
        rejected = json.loads(line)
        assert (rejected["topic"], base64.b64decode(rejected["payload"])) == encode(late[1])
    (lost,) = loss_log.read_losses(tmp_path / "archive")
    assert lost["columns"] == "hall_1/r0002"
    assert lost["reason"].startswith("2 readings came too late")


def test_recording_flags_bad_values(tmp_path):
    """Proves: impossible values, and values an hour late, are not flagged good."""
    samples = [metadata(), value(0, 1.0), value(1, 1e30), value(-3600, 1.0)]
    recorded(tmp_path, samples, clock_mode=ClockMode.REAL)
    points = open_archive("rhine", group="points", root=tmp_path).sel(point=POINT)
    meanings = points["quality"].attrs["flag_meanings"].split()
    codes = points["quality"].attrs["flag_values"]
    names = dict(zip(codes, meanings, strict=True))
    assert [names[code] for code in points["quality"].values.tolist()] == ["late", "good", "range"]


@pytest.mark.slow
def test_coverage_of_a_recording_by_hand(tmp_path):
    """Values at 0, 100, 400 and 500 s: 200 s of silence above the limit."""
    samples = [value(second, 1.0) for second in (0, 100, 400, 500)]
    archiver = recorded(tmp_path, samples, clock_mode=ClockMode.SIMULATED)
    worst = {"point": POINT, "share": pytest.approx(0.6), "gaps": 2}
    assert archiver.coverage == {"points": 1, "worst": [worst]}


@pytest.mark.slow
def test_archived_messages_are_skipped_after_a_restart(tmp_path):
    journal = Journal(tmp_path / "a", clock=clock_at(200))
    for second in range(150):
        append(
            journal, batch("r0001", second), batch("r0002", second), value(second, float(second))
        )
    for _ in range(2):
        archive = Archive(tmp_path / "archive", "rhine")
        archiver = JournalArchiver(archive, {"a": tmp_path / "a"})
        while archiver.archive_next_chunk():
            pass  # and it is killed
    assert archive.counters["late"] == 0
    assert archive.counters["known"] > 0
    archiver.stop()
    archiver.run()
    check(tmp_path, 150)


def test_full_memory_is_committed_before_reading_on(tmp_path, monkeypatch):
    """Sensitivity: the data in memory was dropped and read again."""
    journal = Journal(tmp_path / "a", clock=clock_at(200))
    for second in range(150):
        append(
            journal, batch("r0001", second), batch("r0002", second), value(second, float(second))
        )
    archive = Archive(tmp_path / "archive", "rhine", max_bytes=1000)
    archiver = JournalArchiver(archive, {"a": tmp_path / "a"})
    with monkeypatch.context() as patch:
        patch.setattr("telemetry.ingest.journal_archiver.COMMIT_RETRY_S", 0.0)
        patch.setattr(type(archive._writer._store), "write", full)
        assert archiver.archive_next_chunk()
        assert archive.is_full
        assert not archiver.archive_next_chunk()  # nothing more is read
    archiver.stop()
    archiver.run()
    check(tmp_path, 150)


def test_failed_commit_is_reported(tmp_path, monkeypatch):
    append(Journal(tmp_path / "a", clock=clock_at(200)), batch("r0001", 0))
    archive = Archive(tmp_path / "archive", "rhine")
    archiver = JournalArchiver(archive, {"a": tmp_path / "a"})
    archiver.stop()
    with monkeypatch.context() as patch:
        patch.setattr(type(archive._writer._store), "write", full)
        archiver.run()
    assert archiver.has_unarchived
    assert "no room" in archive.error
    archiver.run()
    assert not archiver.has_unarchived


def full(*_, **__):
    raise OSError(28, "no room")


def main(folder):
    """Archive until killed or until nothing is left."""
    archive = Archive(folder / "archive", "rhine")
    archiver = JournalArchiver(archive, {"a": folder / "a"})
    while archiver.archive_next_chunk():
        pass
    archiver.stop()
    archiver.run()


@pytest.mark.slow
def test_killed_archiver_loses_and_doubles_nothing(tmp_path):
    journal = Journal(tmp_path / "a", clock=clock_at(9999), segment_bytes=100_000)
    for minute in range(50):
        samples = []
        for second in range(60 * minute, 60 * minute + 60):
            samples += [batch("r0001", second), batch("r0002", second)]
            samples += [value(second, float(second))]
        append(journal, *samples)
    command = [
        sys.executable,
        "-m",
        "tests.unit.telemetry.ingest.test_site_archiver",
        str(tmp_path),
    ]
    dice = random.Random(5)
    for _ in range(6):
        process = subprocess.Popen(command, cwd=ROOT)
        time.sleep(1.0 + 1.5 * dice.random())  # the moment of the kill, not a wait for anything
        process.kill()
        process.wait()
    subprocess.run(command, cwd=ROOT, check=True)
    check(tmp_path, 3000)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
