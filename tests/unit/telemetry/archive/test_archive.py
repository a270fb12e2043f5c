"""An archive: readings become minutes, and open with their variables and units."""

import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import sites
from telemetry.archive import Archive
from telemetry.archive import open as open_archive
from telemetry.archive.repository import ArchiveRepository
from telemetry.archive.repository_location import CACHE_LIMITS, local_storage
from telemetry.journal.format import JournalPosition
from telemetry.journal.writer import Journal
from telemetry.quality.checks import QualityFlag
from tests.support import archives
from tests.support.archives import POINT, START, batch, metadata, tick, value
from tests.support.sample_archive import Heard, seconds_of
from tests.support.waiting import until
from twin.errors import ArchiveError

ROOT = Path(__file__).parents[4]
KILLS = 8


def test_archive_is_empty_before_first_commit(heard):
    assert heard.archive.replay_position is None
    assert not heard.archive.commit()
    assert heard.open("racks").sizes == {"time": 0}
    assert heard.open().sizes == {"time": 0}


def test_icechunk_cache_is_bounded(tmp_path):
    """Proves: a new archive, and one that is opened, do not grow by each commit for days."""
    for _ in range(2):
        caching = ArchiveRepository.open(
            local_storage(tmp_path / "store"), "rhine"
        ).repository.config.caching
        assert caching.num_snapshot_nodes == CACHE_LIMITS.num_snapshot_nodes
        assert caching.num_chunk_refs == CACHE_LIMITS.num_chunk_refs


def test_closed_minute_is_committed(heard):
    for second in range(0, 90):
        heard.hear(batch("r0001", second))
    assert not heard.archive.is_commit_due
    heard.hear(batch("r0001", 90))
    assert heard.archive.is_commit_due
    assert heard.archive.commit()
    assert not heard.archive.is_commit_due
    chips = heard.open("racks")
    assert seconds_of(chips) == list(range(60))
    assert chips["power"].dtype == np.float32
    assert chips["power"].sel(rack="hall_1/r0001").values[7].tolist() == [7.0, 7.125, 7.25]
    assert chips["power"].attrs["units"] == "W"


def test_tick_closes_its_interval(heard):
    for step in range(3):
        heard.hear(batch("r0001", 900 * step, interval=archives.QUARTER), tick(900 * step))
        assert heard.archive.commit()
    assert seconds_of(heard.open("racks")) == [0, 900, 1800]


def test_position_stops_before_open_minutes(heard):
    heard.hear(*(batch("r0001", second) for second in range(0, 120)))
    heard.archive.commit()
    assert heard.archive.replay_position == JournalPosition(1, 20 + 60 * 10)  # the 60 first seconds
    heard.archive.commit(include_open=True)
    assert heard.archive.replay_position == JournalPosition(1, 20 + 120 * 10)


def test_late_readings_within_watermark_join_their_minute(heard):
    heard.hear(batch("r0001", 0), batch("r0001", 80), batch("r0002", 5), batch("r0001", 95))
    heard.archive.commit()
    assert heard.archive.counters["late"] == 0
    assert seconds_of(heard.open("racks")) == [0, 5]


def test_other_sites_are_refused(tmp_path):
    archive = Archive(tmp_path, "gallia")
    assert (
        archive.add(batch("r0001", 0), JournalPosition(1, 30))
        == "batch of site rhine, expected gallia"
    )


def test_new_racks_points_and_chips_extend_arrays(heard):
    heard.hear(batch("r0001", 0), value(0, 1.0), tick(0))
    heard.archive.commit()
    heard.hear(batch("r0003", 900, chips=5), value(900, 2.0, point="A/B/c"), tick(900))
    heard.archive.commit()
    chips = heard.open("racks")
    assert chips.sizes == {"time": 2, "rack": 2, "chip": 5}
    last = chips["power"].isel(time=1).values
    assert np.isnan(last[0]).all()
    assert last[1].tolist() == [900, 900.125, 900.25, 900.375, 900.5]
    assert np.isnan(chips["power"].isel(time=0, rack=0).values).tolist() == [False] * 3 + [True] * 2
    assert heard.open("points")["point"].values.tolist() == [POINT, "A/B/c"]


def test_variables_are_bound_by_metadata_in_canonical_units(heard):
    heard.hear(metadata(), value(0, 50.0), tick(0))
    heard.archive.commit()
    heard.hear(value(900, 25.0), tick(900))
    heard.archive.commit()
    capacity = sites.load_site("rhine").equipment["battery_1"].capacity
    opened = heard.open()
    level = opened["battery_level"]
    assert level.dims == ("time", "battery")
    assert level.attrs["units"] == "MWh"
    assert level.sel(battery="battery_1").values.tolist() == [0.5 * capacity, 0.25 * capacity]
    assert set(opened.data_vars) == {"battery_level"}


def test_spare_point_is_read_while_first_is_silent(heard):
    """Proves: a level whose point was renamed at 10 s goes on, five minutes later.

    Sensitivity: the first name alone was read, and calibration had no level any more.
    """
    renamed = "BESS/GenericPoint/rhine/b1/soc"
    capacity = sites.load_site("rhine").equipment["battery_1"].capacity
    heard.hear(metadata(), metadata(renamed), tick(0), value(0, 50.0), value(10, 40.0))
    heard.hear(value(11, 39.0, point=renamed), value(310, 30.0, point=renamed))
    heard.hear(value(311, 29.0, point=renamed), value(700, 20.0, point=renamed))
    heard.hear(value(701, 50.0), value(702, 19.0, point=renamed))
    heard.archive.commit(include_open=True)
    level = heard.open()["battery_level"].sel(battery="battery_1") * 100.0 / capacity
    expected_values = [50.0, 40.0, np.nan, np.nan, 29.0, 20.0, 50.0, np.nan]
    np.testing.assert_allclose(level.values, expected_values)
    for place, one in enumerate(expected_values):  # whatever part is asked for
        np.testing.assert_allclose(level.isel(time=place).values, one)
    np.testing.assert_allclose(level.isel(time=[5, 2, 4]).values, [20.0, np.nan, 29.0])


def test_metadata_is_archived_with_values(heard):
    heard.hear(value(0, 50.0), metadata(), metadata(unit="1"), tick(0))
    heard.archive.commit()
    points = heard.open("points")
    assert points["unit"].values.tolist() == ["1"]
    assert points["object_id"].values.tolist() == ["battery_1"]


def test_bad_readings_are_stored_and_not_used(heard):
    heard.hear(metadata(), tick(0))
    heard.hear(value(0, 50.0))
    heard.hear(value(1, 99.0), flag=QualityFlag.RANGE)
    heard.hear(value(2, None), flag=QualityFlag.BAD_SOURCE)
    heard.hear(value(3, 40.0), flag=QualityFlag.LATE)
    heard.archive.commit(include_open=True)
    points = heard.open("points")
    assert points["quality"].values[:, 0].tolist() == [1, 2, 0, 5]
    assert points["value"].values[1, 0] == 99.0
    assert np.isnan(heard.open()["battery_level"].values[:, 0]).tolist() == [
        False,
        True,
        True,
        False,
    ]


def test_a_span_is_half_open(heard):
    heard.hear(*(batch("r0001", second) for second in range(5)))
    heard.archive.commit(include_open=True)
    chips = heard.open("racks", start=START + np.timedelta64(1, "s"), end="2026-07-01T00:00:03")
    assert seconds_of(chips) == [1, 2]
    assert chips["power"].isel(time=-1, rack=0, chip=0).item() == 2.0


def test_opened_archive_does_not_change(heard):
    heard.hear(batch("r0001", 0), tick(0))
    heard.archive.commit()
    opened = heard.open("racks")
    heard.hear(batch("r0001", 900, value=9.0), batch("r0001", 0, chips=4, value=9.0))
    heard.hear(batch("r0002", 0, value=9.0), tick(900))
    heard.archive.commit()
    assert opened["power"].isel(chip=0).values.tolist() == [[0.0]]
    found = heard.open("racks")["power"].isel(chip=0).values
    assert np.array_equal(found, [[0.0, 9.0], [9.0, np.nan]], equal_nan=True)


def test_committed_records_are_skipped_on_replay(tmp_path):
    journal = Journal(tmp_path / "journal")
    archive = Archive(tmp_path / "archive", "rhine")
    for second in range(100):
        position = journal.append(archives.messages(second))
        for sample in archives.messages(second):
            archive.add(archives.decode(*sample), position)
        archive.record_journal_position(position)
    archive.commit()
    again = Archive(tmp_path / "archive", "rhine")
    archives.replay(again, journal)
    again.commit(include_open=True)
    assert again.counters["late"] == 0
    assert_whole(tmp_path, 100)


def test_second_committing_process_is_refused(tmp_path):
    first, second = (Heard(tmp_path) for _ in range(2))
    first.hear(batch("r0001", 0), tick(0))
    second.hear(batch("r0002", 0), tick(0))
    first.archive.commit()
    with pytest.raises(ArchiveError, match="another process writes it"):
        second.archive.commit()


@pytest.mark.slow
def test_overtaken_writer_reports_and_continues(tmp_path):
    """Sensitivity: it tried every five seconds for ever, and `error` was empty."""
    heard = Heard(tmp_path)
    heard.hear(batch("r0001", 0), tick(0))
    heard.archive.commit()
    Archive(tmp_path / "archive", "rhine").maintain(is_whole=True)
    heard.hear(batch("r0001", 900), tick(900))
    with pytest.raises(ArchiveError, match="another process writes it; end it"):
        heard.archive.commit()
    assert "another process writes it" in heard.archive.error
    assert heard.archive.commit()
    assert heard.archive.error == ""
    assert seconds_of(heard.open("racks")) == [0, 900]


def test_failed_commit_loses_nothing(heard, monkeypatch):
    heard.hear(metadata(), batch("r0001", 0), tick(0))
    store = type(heard.archive._writer._store)
    with monkeypatch.context() as patch:
        patch.setattr(store, "write", fail)
        with pytest.raises(ArchiveError, match="no room"):
            heard.archive.commit()
        assert "no room" in heard.archive.error
    heard.hear(batch("r0002", 0))
    assert heard.archive.commit(include_open=True)
    assert heard.archive.error == ""
    assert heard.open("racks").sizes["rack"] == 2
    assert heard.open("points")["unit"].values.tolist() == ["%"]


def fail(*_, **__):
    raise OSError(28, "no room")


def test_full_buffer_leaves_readings_in_journal(tmp_path):
    heard = Heard(tmp_path, max_bytes=10_000)
    racks = 0
    while not heard.archive.is_overfull:
        racks += 1
        heard.hear(batch(f"r{racks:04d}", 0))
    assert racks == 22  # of 60 bytes, and what keeping them takes
    heard.archive.fall_behind()
    assert "behind the journal" in heard.archive.error
    assert heard.archive.commit()  # what is in memory is not lost
    assert not heard.archive.is_full
    assert heard.archive.is_behind
    heard.archive.mark_caught_up()
    assert heard.archive.error == ""


def test_discarded_readings_are_not_skipped(tmp_path):
    """Proves: after a discard nothing is committed before the journal is read again.

    Sensitivity: a commit of later readings would put the checkpoint after the discarded ones.
    """
    heard = Heard(tmp_path)
    heard.hear(batch("r0001", 0))
    heard.archive._discard()  # as after a commit that found another archive
    heard.hear(batch("r0001", 1))
    assert heard.archive.is_behind
    assert not heard.archive.commit(include_open=True)
    assert heard.archive.replay_position is None
    heard.archive.discard_uncommitted()
    heard.hear(batch("r0001", 0), batch("r0001", 1))
    assert heard.archive.commit(include_open=True)
    assert heard.open("racks").sizes["time"] == 2


def test_unreadable_archive_is_refused_with_reason(tmp_path):
    with pytest.raises(ArchiveError, match="no archive; name the state folder"):
        open_archive("rhine", group="racks", root=tmp_path)
    Archive(tmp_path / "archive", "rhine")
    with pytest.raises(ArchiveError, match="give the site itself, or choose a group"):
        open_archive("rhine", root=tmp_path)


def test_the_state_folder_is_named_by_the_environment(tmp_path, monkeypatch):
    Archive(tmp_path / "archive", "rhine")
    monkeypatch.setenv("GIGATWIN_STATE", str(tmp_path))
    assert open_archive("rhine", group="racks").attrs["site"] == "rhine"
    monkeypatch.delenv("GIGATWIN_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other"))
    with pytest.raises(ArchiveError, match="other/gigatwin/rhine"):
        open_archive("rhine", group="racks")


def assert_whole(folder, seconds):
    """Hold an archive against what was durable: each reading once, in its place."""
    chips = open_archive("rhine", group="racks", root=folder)
    assert seconds_of(chips) == list(range(seconds))
    power = chips["power"].values
    assert power.shape == (seconds, 2, 3)
    assert np.array_equal(power[:, 1, 1], np.arange(seconds) + 0.125)
    points = open_archive("rhine", group="points", root=folder)
    assert seconds_of(points) == list(range(seconds))
    assert points["value"].values[:, 0].tolist() == list(range(seconds))


@pytest.mark.slow
def test_kills_lose_and_duplicate_nothing(tmp_path):
    seconds, dice = 1500, random.Random(7)
    command = [sys.executable, "-m", "tests.support.archives", str(tmp_path), str(seconds)]
    done = tmp_path / "done"
    done.touch()
    for _ in range(KILLS):
        before = done.stat().st_size
        process = subprocess.Popen(command, cwd=ROOT)
        until(lambda: done.stat().st_size > before or process.poll() is not None)  # noqa: B023 - called at once
        time.sleep(0.2 * dice.random())  # the moment of the kill, not a wait for anything
        process.kill()
        process.wait()
    subprocess.run(command, cwd=ROOT, check=True)
    assert_whole(tmp_path, seconds)
