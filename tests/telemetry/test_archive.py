import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import sites
from telemetry.archive import REACH, Archive, losses
from telemetry.archive import open as open_archive
from telemetry.archive.gathering import Batches
from telemetry.archive.marks import Mark
from telemetry.archive.reading import snapshot_of
from telemetry.archive.refusals import MOST
from telemetry.archive.verifying import verify
from telemetry.journal import Journal, Position
from telemetry.quality import Flag
from tests.telemetry import archives
from tests.telemetry.archives import POINT, START, batch, metadata, tick, value
from tests.telemetry.heard import Heard, seconds_of
from twin.errors import ArchiveError

ROOT = Path(__file__).parents[2]
DEADLINE = 30.0
KILLS = 8


@pytest.fixture
def heard(tmp_path):
    return Heard(tmp_path)


def test_nothing_is_there_before_the_first_commit(heard):
    assert heard.archive.position is None
    assert not heard.archive.commit()
    assert heard.open("racks").sizes == {"time": 0}
    assert heard.open().sizes == {"time": 0}


def test_a_minute_is_committed_once_it_is_closed(heard):
    for second in range(0, 90):
        heard.hear(batch("r0001", second))
    assert not heard.archive.is_due
    heard.hear(batch("r0001", 90))
    assert heard.archive.is_due
    assert heard.archive.commit()
    assert not heard.archive.is_due
    chips = heard.open("racks")
    assert seconds_of(chips) == list(range(60))
    assert chips["power"].dtype == np.float32
    assert chips["power"].sel(rack="hall_1/r0001").values[7].tolist() == [7.0, 7.125, 7.25]
    assert chips["power"].attrs["units"] == "W"


def test_a_tick_closes_the_interval_that_it_ends(heard):
    for step in range(3):
        heard.hear(batch("r0001", 900 * step, interval=archives.QUARTER), tick(900 * step))
        assert heard.archive.commit()
    assert seconds_of(heard.open("racks")) == [0, 900, 1800]


def test_the_position_goes_no_further_than_what_is_still_open(heard):
    heard.hear(*(batch("r0001", second) for second in range(0, 120)))
    heard.archive.commit()
    assert heard.archive.position == Position(1, 20 + 60 * 10)  # the 60 first seconds
    heard.archive.commit(everything=True)
    assert heard.archive.position == Position(1, 20 + 120 * 10)


def test_stragglers_within_the_watermark_go_with_their_minute(heard):
    heard.hear(batch("r0001", 0), batch("r0001", 80), batch("r0002", 5), batch("r0001", 95))
    heard.archive.commit()
    assert heard.archive.counters["late"] == 0
    assert seconds_of(heard.open("racks")) == [0, 5]


def test_late_readings_find_their_place_and_spare_their_neighbours(heard):
    heard.hear(batch("r0001", 0), batch("r0002", 0), batch("r0001", 10), value(0, 50.0))
    heard.hear(batch("r0001", 200))
    heard.archive.commit()
    heard.hear(batch("r0002", 10), batch("r0001", 7), value(0, 51.0, point="A/B/c"))
    heard.archive.commit(everything=True)
    assert heard.archive.counters["late"] == 3
    chips = heard.open("racks")
    assert seconds_of(chips) == [0, 7, 10, 200]
    first = chips["power"].isel(chip=0).values.T.tolist()
    assert np.array_equal(first[0], [0, 7, 10, 200])
    assert np.array_equal(first[1], [0, np.nan, 10, np.nan], equal_nan=True)
    points = heard.open("points")
    assert points["value"].values[0].tolist() == [50.0, 51.0]


def test_what_is_too_old_is_refused_and_listed_among_the_losses(heard):
    """Points say it again; who keeps batches may send them for as long as seconds are kept."""
    days = 86_400
    heard.hear(batch("r0001", 40 * days))
    heard.archive.commit(everything=True)
    heard.hear(batch("r0001", 10 * days))
    reason = heard.archive.add(value(39 * days - 1, 1.0), Position(1, 900))
    assert f"more than {REACH} s older" in reason
    assert "2678400 s older" in heard.archive.add(batch("r0001", 8 * days), Position(1, 900))
    assert heard.archive.counters["too_late"] == 2
    heard.archive.commit(everything=True)
    assert seconds_of(heard.open("racks")) == [10 * days, 40 * days]
    lost = [(one["group"], one["columns"], one["from"]) for one in losses.read(heard.lost)]
    assert lost == [
        ("points", POINT, "2026-08-08T23:59:59Z"),
        ("racks", "hall_1/r0001", "2026-07-09T00:00:00Z"),
    ]
    heard.archive.commit(everything=True)
    assert len(losses.read(heard.lost)) == 2


def test_of_many_labels_the_losses_name_some(heard):
    heard.hear(batch("r0001", 40 * 86_400))
    heard.archive.commit(everything=True)
    for number in range(MOST + 50):
        heard.archive.add(value(0, 1.0, point=f"A/B/{number}"), Position(1, 900))
    heard.archive.commit(everything=True)
    lost = losses.read(heard.lost)
    assert len(lost) == MOST + 1
    assert lost[-1]["columns"] == "others"
    assert lost[-1]["reason"].startswith("50 readings")


def within(second, milliseconds, number, **options):
    """Return a value of a moment within a second."""
    one = value(second, number, **options)
    return replace(one, time=one.time + np.timedelta64(milliseconds, "ms"))


@pytest.mark.parametrize("is_late", [False, True])
def test_of_one_second_the_newest_good_value_stays(heard, is_late):
    """The last to come stayed, a null of a broken sensor too, and nobody counted it."""
    if is_late:
        heard.hear(value(500, 1.0))
        heard.archive.commit(everything=True)
    heard.hear(within(0, 900, 1.0), within(0, 100, 2.0), within(1, 0, 3.0), within(1, 600, 4.0))
    heard.hear(within(2, 0, 5.0))
    for second in (2, 3):
        heard.hear(within(second, 900, None, quality=0), flag=Flag.BAD_SOURCE)
    heard.hear(within(3, 100, 6.0))
    heard.archive.commit(everything=True)
    points = heard.open("points")
    assert points["value"].values[:4, 0].tolist() == [1.0, 4.0, 5.0, 6.0]
    assert points["quality"].values[:4, 0].tolist() == [1] * 4
    assert heard.archive.counters["merged"] == 4


@pytest.mark.parametrize("is_committed", [False, True])
def test_a_double_leaves_the_verdict_as_it_was(heard, is_committed):
    """It was judged beside what had come since, and believed."""
    heard.hear(value(0, 60.0), flag=Flag.RATE)
    heard.hear(value(1, None), flag=Flag.BAD_SOURCE)
    if is_committed:
        heard.archive.commit(everything=True)
    heard.hear(value(0, 60.0), value(1, 40.0))
    heard.archive.commit(everything=True)
    points = heard.open("points")
    assert points["quality"].values[:, 0].tolist() == [3, 1]
    assert points["value"].values[:, 0].tolist() == [60.0, 40.0]
    assert heard.archive.counters["merged"] == (0 if is_committed else 1)


def racks(milliseconds, labels, numbers):
    """Return batches of moments of the first second."""
    return Batches(
        labels=[f"hall_1/{label}" for label in labels],
        seconds=np.full(len(labels), int(START.astype("datetime64[s]").astype(int))),
        stamps=np.array(milliseconds, dtype=np.int16),
        values=np.tile(np.array(numbers, dtype=np.float32)[:, None, None], (1, 5, 3)),
        interval=1.0,
    )


def test_of_one_second_the_newest_batch_of_a_rack_stays(heard):
    pieces = (
        racks([0, 0, 250, 500], ["a", "b", "a", "a"], [1, 2, 3, 4]),
        racks([250, 750, 0], ["a", "b", "c"], [5, 6, 7]),
        racks([750, 0], ["b", "d"], [6, 8]),
    )
    for number, batches in enumerate(pieces):
        assert heard.archive.add_racks(batches, Position(1, 100 + number)) == []
    heard.archive.commit(everything=True)
    chips = heard.open("racks")["power"].isel(time=0, chip=2)
    assert chips.values.tolist() == [4, 6, 7, 8]
    assert heard.archive.counters["merged"] == 4


def test_a_rack_that_catches_up_takes_no_room_for_the_others(heard):
    heard.hear(*(batch(f"r{rack:04d}", 500) for rack in range(200)))
    heard.archive.commit(everything=True)
    heard.hear(*(batch("r0199", second) for second in range(100)))
    assert heard.archive._gathered.minutes.size == 100 * 5 * 3 * 4
    heard.hear(batch("r0002", 7))
    heard.archive.commit(everything=True)
    chips = heard.open("racks")["power"].isel(chip=0)
    assert chips.sel(rack="hall_1/r0199").values[:100].tolist() == list(range(100))
    assert np.flatnonzero(np.isfinite(chips.sel(rack="hall_1/r0002").values)).tolist() == [7, 100]


def test_much_that_came_late_waits_for_no_minute(heard, monkeypatch):
    monkeypatch.setattr("telemetry.archive.minutes.MOST_LATE", 1000)
    heard.hear(batch("r0001", 500))
    heard.archive.commit(everything=True)
    heard.hear(*(batch("r0001", second) for second in range(17)))
    assert heard.archive.is_due
    assert heard.archive.commit()
    assert not heard.archive.is_due
    assert seconds_of(heard.open("racks")) == [*range(17), 500]


def test_other_sites_are_refused(tmp_path):
    archive = Archive(tmp_path, "gallia")
    assert archive.add(batch("r0001", 0), Position(1, 30)) == "of rhine, not of gallia"


def test_new_racks_points_and_chips_get_room(heard):
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
    capacity = sites.load("rhine").equipment["battery_1"].capacity
    opened = heard.open()
    level = opened["battery_level"]
    assert level.dims == ("time", "battery")
    assert level.attrs["units"] == "MWh"
    assert level.sel(battery="battery_1").values.tolist() == [0.5 * capacity, 0.25 * capacity]
    assert set(opened.data_vars) == {"battery_level"}


def test_metadata_stands_beside_the_values(heard):
    heard.hear(value(0, 50.0), metadata(), metadata(unit="1"), tick(0))
    heard.archive.commit()
    points = heard.open("points")
    assert points["unit"].values.tolist() == ["1"]
    assert points["object_id"].values.tolist() == ["battery_1"]


def test_bad_readings_are_kept_and_not_believed(heard):
    heard.hear(metadata(), tick(0))
    heard.hear(value(0, 50.0))
    heard.hear(value(1, 99.0), flag=Flag.RANGE)
    heard.hear(value(2, None), flag=Flag.BAD_SOURCE)
    heard.hear(value(3, 40.0), flag=Flag.LATE)
    heard.archive.commit(everything=True)
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
    heard.archive.commit(everything=True)
    chips = heard.open("racks", start=START + np.timedelta64(1, "s"), end="2026-07-01T00:00:03")
    assert seconds_of(chips) == [1, 2]
    assert chips["power"].isel(time=-1, rack=0, chip=0).item() == 2.0


def test_an_opened_archive_stays_as_it_was(heard):
    heard.hear(batch("r0001", 0), tick(0))
    heard.archive.commit()
    opened = heard.open("racks")
    heard.hear(batch("r0001", 900, value=9.0), batch("r0001", 0, value=9.0), tick(900))
    heard.archive.commit()
    assert opened["power"].isel(chip=0).values.tolist() == [[0.0]]
    assert heard.open("racks")["power"].isel(chip=0).values.tolist() == [[9.0], [9.0]]


def test_what_was_committed_is_passed_over_when_it_comes_again(tmp_path):
    journal = Journal(tmp_path / "journal")
    archive = Archive(tmp_path / "archive", "rhine")
    for second in range(100):
        position = journal.append(archives.messages(second))
        for sample in archives.messages(second):
            archive.add(archives.decode(*sample), position)
        archive.advance(position)
    archive.commit()
    again = Archive(tmp_path / "archive", "rhine")
    archives.replay(again, journal)
    again.commit(everything=True)
    assert again.counters["late"] == 0
    assert_whole(tmp_path, 100)


def test_one_process_commits_and_another_is_refused(tmp_path):
    first, second = (Heard(tmp_path) for _ in range(2))
    first.hear(batch("r0001", 0), tick(0))
    second.hear(batch("r0002", 0), tick(0))
    first.archive.commit()
    with pytest.raises(ArchiveError, match="another process writes it"):
        second.archive.commit()


def test_who_was_overtaken_says_so_and_goes_on(tmp_path):
    """It asked every five seconds, for ever, and nobody was told: its trouble was empty."""
    heard = Heard(tmp_path)
    heard.hear(batch("r0001", 0), tick(0))
    heard.archive.commit()
    Archive(tmp_path / "archive", "rhine").keep_up(is_whole=True)
    heard.hear(batch("r0001", 900), tick(900))
    with pytest.raises(ArchiveError, match="another process writes it; end it"):
        heard.archive.commit()
    assert "another process writes it" in heard.archive.trouble
    assert heard.archive.commit()
    assert heard.archive.trouble == ""
    assert seconds_of(heard.open("racks")) == [0, 900]


@pytest.mark.parametrize("is_late", [False, True])
def test_a_spoilt_variable_takes_no_other_along_into_its_hour(tmp_path, is_late):
    """The hour was found by its first variable: with that gone, all others were dropped."""
    archive = Archive(tmp_path / "archive", "rhine")
    for second in range(0, 120, 10):
        archive.add(batch("r0001", second), Position(1, second + 1))
    archive.commit(everything=True)
    if is_late:
        archive.keep_up(is_whole=True)
    snapshot = snapshot_of(tmp_path / "archive")
    level = "raw" if is_late else "open"
    for name in snapshot.guard._nodes[f"racks/{level}/20260701/power"]:
        path = tmp_path / "archive" / "store" / "manifests" / name
        path.write_bytes(path.read_bytes()[:-1])
    archive = Archive(tmp_path / "archive", "rhine")
    archive.add(batch("r0001", 5), Position(1, 200))
    archive.commit(everything=True)
    archive.keep_up(is_whole=True)
    chips = open_archive("rhine", group="racks", root=tmp_path).isel(rack=0, chip=0)
    told = sorted([*range(0, 120, 10), 5])
    assert chips["clock"].values.tolist() == told
    assert chips["power"].sel(time=START + 5 * archives.SECOND).values == 5
    assert [one["variable"] for one in verify(tmp_path / "archive").lost] == ["power"]


def test_a_wrong_reach_is_noticed():
    told = Mark(position={"a": Position(7, 100)}, seen={"a": Position(7, 120)}, closed=60).told()
    assert Mark.read(told).closed == 60
    with pytest.raises(ValueError, match="not what was written"):
        Mark.read({**told, "position": "a@7:900"})
    del told["checksum"]  # as commits had none
    assert Mark.read(told).position == {"a": Position(7, 100)}


def test_an_archive_of_another_site_is_refused_and_left_alone(tmp_path):
    Archive(tmp_path / "archive", "rhine")
    with pytest.raises(ArchiveError, match="archive of rhine, not of gallia"):
        Archive(tmp_path / "archive", "gallia")
    assert Archive(tmp_path / "archive", "rhine").set_aside == []


@pytest.mark.parametrize("part", ["snapshots", "manifests"])
def test_a_spoilt_archive_is_kept_aside_and_made_anew(heard, part):
    heard.hear(batch("r0001", 0), tick(0))
    heard.archive.commit()
    halve(heard, part)
    again = Heard(heard.folder)
    (aside,) = again.archive.set_aside
    assert "spoilt" in aside.name
    assert aside.is_dir()
    assert again.archive.position is None
    assert "checksum differs" in (heard.folder / "archive" / "lost.jsonl").read_text()
    again.hear(batch("r0001", 0), tick(0))
    again.archive.commit()
    assert seconds_of(again.open("racks")) == [0]
    assert Heard(heard.folder).archive.set_aside == []


def halve(heard, part):
    for path in (heard.folder / "archive" / "store").rglob("*"):
        if path.is_file() and part in path.parts[-2:]:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_an_archive_whose_head_is_spoilt_goes_back_a_commit(heard):
    for second in (0, 60):
        heard.hear(batch("r0001", second), tick(second))
        heard.archive.commit()
    halve(heard, "repo")
    again = Heard(heard.folder)
    assert len(again.archive.set_aside) == 1
    assert seconds_of(again.open("racks"))[:1] == [0]
    before = again.archive.position
    again.hear(batch("r0001", 60), tick(60))
    again.archive.commit()
    assert seconds_of(again.open("racks")) == [0, 60]
    assert before is not None
    (loss,) = verify(heard.folder / "archive").lost
    assert loss["group"] == "all"


def test_a_head_that_points_to_an_older_commit_is_noticed(heard):
    store = heard.folder / "archive" / "store"
    kept = None
    for second in (0, 60):
        heard.hear(batch("r0001", second), tick(second))
        heard.archive.commit()
        kept = kept or (store / "repo").read_bytes()
    (store / "repo").write_bytes(kept)
    with pytest.raises(ArchiveError, match="which is not its last commit"):
        heard.open("racks")


def test_one_changed_bit_of_a_manifest_costs_one_array_and_is_told(heard):
    for second in range(3):
        heard.hear(batch("r0001", second), tick(second))
        heard.archive.commit()
    snapshot = snapshot_of(heard.folder / "archive")
    (name,) = snapshot.guard._nodes["racks/sparse/20260701/power"]
    path = heard.folder / "archive" / "store" / "manifests" / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    (loss,) = verify(heard.folder / "archive").lost
    assert (loss["level"], loss["variable"]) == ("sparse", "power")
    chips = heard.open("racks")
    assert chips["clock"].isel(chip=0, rack=0).values.tolist() == [0, 1, 2]
    with pytest.raises(ArchiveError, match="checksum differs"):
        chips["power"].load()
    again = Heard(heard.folder)  # who writes gives it up, and goes on
    again.hear(batch("r0001", 3), tick(3))
    again.archive.commit()
    assert again.archive.set_aside == []
    power = again.open("racks")["power"].isel(chip=0, rack=0).values
    assert power[3] == 3
    assert np.isnan(power[:3]).all()
    assert again.open("racks")["clock"].isel(chip=0, rack=0).values.tolist() == [0, 1, 2, 3]
    assert verify(heard.folder / "archive").lost[0]["variable"] == "power"


def test_a_headless_archive_is_set_aside(heard):
    (heard.folder / "archive" / "store" / "repo").unlink()
    assert len(Heard(heard.folder).archive.set_aside) == 1


def test_a_repository_that_was_hardly_begun_is_finished(tmp_path):
    heard = Heard(tmp_path / "whole")
    heard.hear(batch("r0001", 0), tick(0))
    heard.archive.commit()
    assert seconds_of(heard.open("racks")) == [0]


def test_a_commit_that_fails_loses_nothing(heard, monkeypatch):
    heard.hear(metadata(), batch("r0001", 0), tick(0))
    store = type(heard.archive._keeper._store)
    with monkeypatch.context() as patch:
        patch.setattr(store, "write", fail)
        with pytest.raises(ArchiveError, match="no room"):
            heard.archive.commit()
        assert "no room" in heard.archive.trouble
    heard.hear(batch("r0002", 0))
    assert heard.archive.commit(everything=True)
    assert heard.archive.trouble == ""
    assert heard.open("racks").sizes["rack"] == 2
    assert heard.open("points")["unit"].values.tolist() == ["%"]


def fail(*_, **__):
    raise OSError(28, "no room")


def test_too_many_readings_in_memory_are_left_to_the_journal(tmp_path):
    heard = Heard(tmp_path, most_bytes=10_000)
    racks = 0
    while not heard.archive.is_behind:
        racks += 1
        heard.hear(batch(f"r{racks:04d}", 0))
    assert racks == 129  # each 64 racks of 60 bytes take room together
    assert "behind the journal" in heard.archive.trouble
    assert not heard.archive.commit(everything=True)


def test_what_cannot_be_opened_says_why(tmp_path):
    with pytest.raises(ArchiveError, match="no archive; name the state folder"):
        open_archive("rhine", group="racks", root=tmp_path)
    Archive(tmp_path / "archive", "rhine")
    with pytest.raises(ArchiveError, match="give the site itself, or ask for a group"):
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
def test_kills_at_any_moment_lose_and_double_nothing(tmp_path):
    seconds, dice = 3000, random.Random(7)
    command = [sys.executable, "-m", "tests.telemetry.archives", str(tmp_path), str(seconds)]
    done = tmp_path / "done"
    done.touch()
    for _ in range(KILLS):
        before = done.stat().st_size
        process = subprocess.Popen(command, cwd=ROOT)
        wait_until(lambda: done.stat().st_size > before, process)  # noqa: B023 - called at once
        time.sleep(0.2 * dice.random())  # the moment of the kill, not a wait for anything
        process.kill()
        process.wait()
    subprocess.run(command, cwd=ROOT, check=True)
    assert_whole(tmp_path, seconds)


def wait_until(is_so, process):
    deadline = time.monotonic() + DEADLINE
    while not is_so() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
