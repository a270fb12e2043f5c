"""Spoilt files of heads: some hang or end who reads them, some are met by commits only."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from telemetry.archive import Archive, recovery, repository
from telemetry.archive import open as open_archive
from telemetry.archive.backup import verify
from telemetry.archive.manifests import HEAD_FILE, CorruptRepositoryError, ManifestChecksums
from telemetry.journal.format import JournalPosition
from tests.support.archives import SECOND, START, batch, fill
from twin.errors import ArchiveError

WITHOUT_END = Path(__file__).with_name("heads_without_end.bin")
"""Heads of an archive of two commits with one bit changed, in which Icechunk 2 counts for hours."""

TRY = """
import sys
from pathlib import Path
import icechunk
from telemetry.archive.recovery import STORAGE_ERRORS
from telemetry.archive.repository_location import panics_as_errors
from telemetry.archive.layout import MAIN_BRANCH
from telemetry.archive.repository_location import local_storage
from telemetry.archive.repository import last_commit_metadata

path = Path(sys.argv[1])
sound = path.read_bytes()
for at in range(int(sys.argv[2]), len(sound)):
    path.write_bytes(sound[:at] + bytes([sound[at] ^ 4]) + sound[at + 1:])
    print(at, flush=True)
    try:
        with panics_as_errors():
            held = icechunk.Repository.open(local_storage(path.parent))
            last_commit_metadata(held)
    except STORAGE_ERRORS:
        continue
    try:
        is_whole = bool(list(held.ancestry(branch=MAIN_BRANCH)))
    except BaseException:
        is_whole = False
    if not is_whole:
        print("found")
        break
"""
"""Find a byte that spoils heads for writing, not for reading; apart, as some hang."""


@pytest.fixture
def folder(tmp_path):
    return fill(tmp_path, range(0, 240, 60))


@pytest.fixture(scope="module")
def half_spoilt(tmp_path_factory):
    """Return an archive whose heads can be read and not written."""
    folder = fill(tmp_path_factory.mktemp("half"), range(0, 240, 60))
    path, at = folder / "store" / HEAD_FILE, 0
    sound = path.read_bytes()
    while at < len(sound):
        path.write_bytes(sound)
        said = tried(path, at)
        if said[-1] == "found":
            return folder, sound
        at = int(said[-1]) + 1
    pytest.fail("no byte spoils the heads so")


def tried(path, at):
    """Return the output of the search from a byte on, up to where it hung."""
    words = [sys.executable, "-c", TRY, str(path), str(at)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout.split()
    except subprocess.TimeoutExpired as error:
        return error.stdout.decode().split()


def test_only_unsealed_heads_are_tried_in_process(folder, monkeypatch):
    store, tries = folder / "store", []
    run = subprocess.run

    def counted(*given, **options):
        tries.append(given)
        return run(*given, **options)

    monkeypatch.setattr(repository.subprocess, "run", counted)
    assert recovery.verify_head(store, ManifestChecksums(store))
    assert not tries
    (store / "seals").unlink()  # or those of an older gigatwin
    assert not recovery.verify_head(store, ManifestChecksums(store))
    assert not recovery.verify_head(store, ManifestChecksums(store))
    assert len(tries) == 1
    Archive(folder, "rhine")  # who writes seals what could be read
    assert recovery.verify_head(store, ManifestChecksums(store))


@pytest.mark.slow
def test_hanging_heads_are_reported_and_repaired(folder, monkeypatch):
    monkeypatch.setattr(recovery, "HEAD_CHECK_CPU_S", 2)
    shutil.copy(WITHOUT_END, folder / "store" / HEAD_FILE)
    with pytest.raises(ArchiveError, match="cannot be opened: the head file is corrupt: reading"):
        verify(folder)
    archive = Archive(folder, "rhine")
    assert len(archive.corrupt_copies) == 1
    assert "reset to" in verify(folder).lost[0]["reason"]


@pytest.mark.slow
@pytest.mark.parametrize("data", [b"", b"no heads", bytes(2000)])
def test_invalid_heads_are_reported(folder, data):
    (folder / "store" / HEAD_FILE).write_bytes(data)
    with pytest.raises(CorruptRepositoryError, match=r"the head file is corrupt: \S"):
        recovery.verify_head(folder / "store", ManifestChecksums(folder / "store"))


@pytest.mark.slow
def test_unwritable_heads_are_repaired_at_start(half_spoilt, tmp_path):
    archive = Archive(shutil.copytree(half_spoilt[0], tmp_path / "archive"), "rhine")
    assert len(archive.corrupt_copies) == 1


@pytest.mark.slow
def test_heads_corrupted_by_write_are_repaired(half_spoilt, tmp_path):
    spoilt, sound = half_spoilt
    folder = shutil.copytree(spoilt, tmp_path / "archive")
    path = folder / "store" / HEAD_FILE
    bad = path.read_bytes()
    path.write_bytes(sound)
    archive = Archive(folder, "rhine")
    assert not archive.corrupt_copies
    path.write_bytes(bad)
    archive.add(batch("r0001", 300), JournalPosition(1, 10_000))
    with pytest.raises(ArchiveError, match="behind the journal; wait"):
        archive.commit(include_open=True)
    assert len(archive.corrupt_copies) == 1
    archive.discard_uncommitted()
    archive.mark_caught_up()
    archive.add(batch("r0001", 300), JournalPosition(1, 10_000))
    assert archive.commit(include_open=True)
    assert "reset to" in verify(folder).lost[0]["reason"]
    held = open_archive("rhine", group="racks", root=tmp_path)
    assert held.time.values[-1] == (START + 300 * SECOND).astype("datetime64[ns]")
    assert np.isfinite(held["power"].values[-1]).any()
