"""An archive with corrupt files: what is kept, what is reported, and how it continues."""

import icechunk
import numpy as np
import pytest

from telemetry.archive import Archive
from telemetry.archive import open as open_archive
from telemetry.archive.backup import verify
from telemetry.archive.commit_batch import Checkpoint
from telemetry.archive.layout import MAIN_BRANCH
from telemetry.archive.reader import open_snapshot
from telemetry.archive.repository_location import local_storage
from telemetry.journal.format import JournalPosition
from tests.support import archives
from tests.support.archives import QUARTER, START, batch, tick
from tests.support.sample_archive import Heard, seconds_of
from twin.errors import ArchiveError


@pytest.mark.slow
@pytest.mark.parametrize("is_late", [False, True])
def test_corrupt_variable_affects_no_other(tmp_path, is_late):
    """Sensitivity: the first variable located the hour; without it all others were dropped."""
    archive = Archive(tmp_path / "archive", "rhine")
    for second in range(0, 120, 10):
        archive.add(batch("r0001", second), JournalPosition(1, second + 1))
    archive.commit(include_open=True)
    if is_late:
        archive.maintain(is_whole=True)
    snapshot = open_snapshot(tmp_path / "archive")
    level = "raw" if is_late else "open"
    for name in snapshot.files.manifest_names(f"racks/{level}/20260701/power"):
        path = tmp_path / "archive" / "store" / "manifests" / name
        path.write_bytes(path.read_bytes()[:-1])
    archive = Archive(tmp_path / "archive", "rhine")
    archive.add(batch("r0001", 5), JournalPosition(1, 200))
    archive.commit(include_open=True)
    archive.maintain(is_whole=True)
    chips = open_archive("rhine", group="racks", root=tmp_path).isel(rack=0, chip=0)
    expected = sorted([*range(0, 120, 10), 5])
    assert chips["clock"].values.tolist() == expected
    assert chips["power"].sel(time=START + 5 * archives.SECOND).values == 5
    assert [one["variable"] for one in verify(tmp_path / "archive").lost] == ["power"]


@pytest.mark.slow
def test_hour_is_compacted_without_lost_variable(tmp_path):
    archive = Archive(tmp_path / "archive", "rhine")
    for second in range(0, 120, 10):
        archive.add(batch("r0001", second), JournalPosition(1, second + 1))
    archive.commit(include_open=True)
    for name in open_snapshot(tmp_path / "archive").files.manifest_names(
        "racks/open/20260701/memory"
    ):
        path = tmp_path / "archive" / "store" / "manifests" / name
        path.write_bytes(path.read_bytes()[:-1])
    archive = Archive(tmp_path / "archive", "rhine")
    archive.maintain(is_whole=True)
    chips = open_archive("rhine", group="racks", root=tmp_path).isel(rack=0, chip=0)
    assert chips["clock"].values.tolist() == [*range(0, 120, 10)]
    assert {one["variable"] for one in verify(tmp_path / "archive").lost} == {"memory"}
    assert "corrupt data lost: racks open memory 2026-07-01T00:00:00Z" in archive.error
    assert Archive(tmp_path / "archive", "rhine").error == ""  # reported until the next start


def test_wrong_position_is_detected():
    stored = Checkpoint(
        replay_from={"a": JournalPosition(7, 100)},
        received_positions={"a": JournalPosition(7, 120)},
        first_open_second=60,
    ).to_metadata()
    assert Checkpoint.from_metadata(stored).first_open_second == 60
    with pytest.raises(ValueError, match="is corrupt"):
        Checkpoint.from_metadata({**stored, "position": "a@7:900"})
    del stored["checksum"]  # commits of older versions have none
    assert Checkpoint.from_metadata(stored).replay_from == {"a": JournalPosition(7, 100)}


def test_archive_of_other_site_is_left_unchanged(tmp_path):
    Archive(tmp_path / "archive", "rhine")
    with pytest.raises(ArchiveError, match="archive of rhine, not of gallia"):
        Archive(tmp_path / "archive", "gallia")
    assert Archive(tmp_path / "archive", "rhine").corrupt_copies == []


@pytest.mark.parametrize("part", ["snapshots", "manifests"])
def test_corrupt_archive_is_moved_aside_and_rebuilt(heard, part):
    heard.hear(batch("r0001", 0), tick(0))
    heard.archive.commit()
    halve(heard, part)
    again = Heard(heard.folder)
    (aside,) = again.archive.corrupt_copies
    assert "spoilt" in aside.name
    assert aside.is_dir()
    assert again.archive.replay_position is None
    assert "checksum differs" in (heard.folder / "archive" / "lost.jsonl").read_text()
    again.hear(batch("r0001", 0), tick(0))
    again.archive.commit()
    assert seconds_of(again.open("racks")) == [0]
    assert Heard(heard.folder).archive.corrupt_copies == []


@pytest.mark.slow
def test_corrupt_first_commit_does_not_stop_deletion(heard):
    """Sensitivity: each round of maintenance failed, and old data were never deleted."""
    commits = heard.folder / "archive" / "store" / "snapshots"
    first = commits / first_commit(heard)
    for second in (0, 60):
        heard.hear(batch("r0001", second), tick(second))
        heard.archive.commit()
    first.write_bytes(first.read_bytes()[:40])
    again = Heard(heard.folder)
    before = {path.name for path in commits.iterdir()}
    again.archive.maintain(is_whole=True)
    assert before - {path.name for path in commits.iterdir()}
    assert again.archive.corrupt_copies == []
    assert seconds_of(again.open("racks")) == [0, 60]
    assert verify(heard.folder / "archive").lost == []


def first_commit(heard):
    """Return the name of the first commit, from which all others descend."""
    store = icechunk.Repository.open(local_storage(heard.folder / "archive" / "store"))
    return [*store.ancestry(branch=MAIN_BRANCH)][-1].id


def halve(heard, part):
    for path in (heard.folder / "archive" / "store").rglob("*"):
        if path.is_file() and part in path.parts[-2:]:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.slow
def test_corrupt_head_falls_back_one_commit(heard):
    for second in (0, 60):
        heard.hear(batch("r0001", second), tick(second))
        heard.archive.commit()
    halve(heard, "repo")
    again = Heard(heard.folder)
    assert len(again.archive.corrupt_copies) == 1
    assert seconds_of(again.open("racks"))[:1] == [0]
    before = again.archive.replay_position
    again.hear(batch("r0001", 60), tick(60))
    again.archive.commit()
    assert seconds_of(again.open("racks")) == [0, 60]
    assert before is not None
    (loss,) = verify(heard.folder / "archive").lost
    assert loss["group"] == "all"


def test_head_at_older_commit_is_detected(heard):
    store = heard.folder / "archive" / "store"
    kept = None
    for second in (0, 60):
        heard.hear(batch("r0001", second), tick(second))
        heard.archive.commit()
        kept = kept or (store / "repo").read_bytes()
    (store / "repo").write_bytes(kept)
    with pytest.raises(ArchiveError, match="which is not its last commit"):
        heard.open("racks")


def test_flipped_bit_in_manifest_loses_one_array(heard):
    for second in range(3):
        heard.hear(batch("r0001", second, interval=QUARTER), tick(second))
        heard.archive.commit()
    snapshot = open_snapshot(heard.folder / "archive")
    (name,) = snapshot.files.manifest_names("racks/sparse/20260701/power")
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
    again = Heard(heard.folder)  # the writer drops it and continues
    again.hear(batch("r0001", 3), tick(3))
    again.archive.commit()
    assert again.archive.corrupt_copies == []
    power = again.open("racks")["power"].isel(chip=0, rack=0).values
    assert power[3] == 3
    assert np.isnan(power[:3]).all()
    assert again.open("racks")["clock"].isel(chip=0, rack=0).values.tolist() == [0, 1, 2, 3]
    assert verify(heard.folder / "archive").lost[0]["variable"] == "power"


def test_archive_without_head_is_moved_aside(heard):
    (heard.folder / "archive" / "store" / "repo").unlink()
    assert len(Heard(heard.folder).archive.corrupt_copies) == 1


def test_incomplete_new_repository_is_completed(tmp_path):
    heard = Heard(tmp_path / "whole")
    heard.hear(batch("r0001", 0), tick(0))
    heard.archive.commit()
    assert seconds_of(heard.open("racks")) == [0]
