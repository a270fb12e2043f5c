"""Seals of the files of a repository, and the notes that let go: each changed byte is noticed."""

import random

import pytest

from telemetry.archive import loss_log
from telemetry.archive.layout import describe_shard, is_expendable
from telemetry.archive.manifests import (
    CHECKSUM_FILE,
    CorruptRepositoryError,
    ManifestChecksums,
)
from telemetry.journal.follower import (
    ARCHIVED_POSITION_FILE,
    JournalFollower,
    read_archived_position,
)
from telemetry.journal.format import JournalPosition
from telemetry.journal.writer import Journal

NAMES = [f"{number:020d}" for number in range(12)]


@pytest.fixture
def store(tmp_path):
    """Return a folder like a repository's: two manifests for each of four snapshots."""
    for kind in ("snapshots", "manifests"):
        (tmp_path / kind).mkdir()
    for number, name in enumerate(NAMES[:4]):
        (tmp_path / "snapshots" / name).write_bytes(name.encode() * 3)
        for one in NAMES[4 + 2 * number : 6 + 2 * number]:
            (tmp_path / "manifests" / one).write_bytes(one.encode() * 3)
        ManifestChecksums(tmp_path).update(name)
    return tmp_path


def test_changed_byte_breaks_seal(store):
    seals = ManifestChecksums(store)
    seals.check_head(NAMES[3])
    for name in NAMES[4:]:
        assert seals.read_checked("manifests", name) == name.encode() * 3
    path = store / "manifests" / NAMES[5]
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(CorruptRepositoryError, match="is corrupt") as caught:
        seals.read_checked("manifests", NAMES[5], "a")
    assert caught.value.path == "a"
    path.unlink()
    with pytest.raises(CorruptRepositoryError, match="is missing"):
        seals.read_checked("manifests", NAMES[5])


def test_head_is_not_older_than_seal(store):
    seals = ManifestChecksums(store)
    with pytest.raises(CorruptRepositoryError, match="not its last commit"):
        seals.check_head(NAMES[1])
    later = "9" * 20
    (store / "snapshots" / later).write_bytes(b"committed, and not sealed yet")
    seals.check_head(later)
    seals.update(NAMES[1])  # gone back to
    ManifestChecksums(store).check_head(NAMES[1])


def test_torn_seal_is_replaced_by_the_next(store):
    path = store / CHECKSUM_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    seals = ManifestChecksums(store)
    assert seals.snapshots[-1] != NAMES[3]
    seals.check_head(NAMES[3])  # as if it had just been committed
    seals.update(NAMES[3])
    assert ManifestChecksums(store).snapshots[-1] == NAMES[3]
    assert len(path.read_bytes()) == len(whole)


def test_changed_seal_is_ignored(store):
    path, dice = store / CHECKSUM_FILE, random.Random(4)
    whole = path.read_bytes()
    for _ in range(300):
        data = bytearray(whole)
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        path.write_bytes(data)
        seals = ManifestChecksums(store)
        for name in NAMES[4:]:
            seals.read_checked("manifests", name)


def test_deleted_objects_leave_order_of_commits(store):
    for name in NAMES[:2]:
        (store / "snapshots" / name).unlink()
    for name in NAMES[4:8]:
        (store / "manifests" / name).unlink()
    ManifestChecksums(store).update(NAMES[3])
    after = ManifestChecksums(store)
    assert after.snapshots == NAMES[2:4]
    assert (store / CHECKSUM_FILE).stat().st_size == 33 * (2 + 4)
    after.check_head(NAMES[3])


def test_losses_stay_and_corrupt_lines_are_shown_raw(tmp_path):
    loss_log.append_losses(
        tmp_path, [describe_shard("racks/raw/20260701/power", (3, 1)) | {"reason": "spoilt"}]
    )
    with (tmp_path / loss_log.LOSS_LOG_FILE).open("a") as file:
        file.write("half a li\n")
    first, second = loss_log.read_losses(tmp_path)
    assert first["from"] == "2026-07-01T03:00:00Z"
    assert first["to"] == "2026-07-01T04:00:00Z"
    assert first["columns"] == "64 to 127"
    assert second == {"reason": "half a li"}
    assert loss_log.read_losses(tmp_path / "nothing") == []
    loss_log.append_losses(None, [{"reason": "said only"}])


def test_only_arrays_of_a_period_can_be_spared():
    assert is_expendable("racks/heard/20260701")
    assert is_expendable("points/1h/202607/value_mean")
    assert not is_expendable("racks/rack")
    assert not is_expendable("")
    assert describe_shard("points/1h/202607/value_mean", ())["to"] == "2026-08-01T00:00:00Z"


def test_corrupt_archived_position_is_ignored(tmp_path):
    journal = Journal(tmp_path)
    JournalFollower(tmp_path, None).write_archived_position(JournalPosition(12, 345))
    assert read_archived_position(tmp_path) == JournalPosition(12, 345)
    path = tmp_path / ARCHIVED_POSITION_FILE
    whole = path.read_bytes()
    for at in range(len(whole)):
        for bit in range(8):
            data = bytearray(whole)
            data[at] ^= 1 << bit
            path.write_bytes(data)
            assert read_archived_position(tmp_path) is None
    journal.close()


def test_journal_starting_after_archive_is_reported(tmp_path):
    journal = Journal(tmp_path)
    journal.append([("a", b"b")])
    end = journal.end_position
    assert not JournalFollower(tmp_path, None).is_truncated
    assert not JournalFollower(tmp_path, end).is_truncated
    assert JournalFollower(tmp_path, JournalPosition(end.segment - 1, 16)).is_truncated
    journal.close()
