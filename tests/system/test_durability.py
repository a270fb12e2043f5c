"""Durability of every file that the service promises, by the order of its system calls."""

import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.disk_trace import DiskTrace, traced
from tests.support.sync_sites import ROOT, sync_sites

PROMISES = {
    "sample-acknowledged",
    "journal-trimmed",
    "archived-by-the-service",
    "archived-by-itself",
    "audit-recorded",
    "state-begun",
    "hold-placed",
    "hold-released",
    "operator-added",
    "target-accepted",
    "target-confirmed",
    "schedule-sent",
    "status-sent",
    "actual-stored",
    "key-created",
}


@pytest.mark.slow
def test_each_promise_waits_for_the_disk(tmp_path):
    """Proves: nothing promised can be lost by a power cut, and each sync in the sources is needed.

    Sensitivity: without any one of the syncs, which are found in the sources, a promise is broken.
    """
    memory = Path("/dev/shm")  # the calls are the same there, and nobody waits for a disk
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as root:
        command = [sys.executable, "-m", "tests.support.promising", root]
        found = DiskTrace(traced(command, tmp_path / "trace", cwd=ROOT), root)
    assert not found.breaches["whole"]
    assert found.kept["whole"] == PROMISES
    sites = sync_sites()
    assert sites
    assert not [str(site) for number, site in enumerate(sites) if not found.breaches[str(number)]]


def breaches(*lines):
    """Return what is broken by the calls of a thread, or of several."""
    numbered = [line if line[0].isdigit() else f"7 {line}" for line in lines]
    return DiskTrace(numbered, "/r").breaches["a"]


OPEN = 'openat(AT_FDCWD</>, "/r/a/f", O_WRONLY|O_CREAT, 0640) = 3</r/a/f>'
WRITE = 'write(3</r/a/f>, "x", 1) = 1'
SYNC = "fdatasync(3</r/a/f>) = 0"
SYNC_FOLDER = "fsync(4</r/a>) = 0"
MARK = r'write(5</dev/null>, "done /r/a\n", 10) = 10'


def test_synced_file_with_a_synced_name_is_kept():
    assert not breaches(OPEN, WRITE, SYNC, SYNC_FOLDER, MARK)
    assert not breaches(OPEN, WRITE, "syncfs(4</r/a>) = 0", MARK)


@pytest.mark.parametrize(
    "lines",
    [
        (OPEN, WRITE, SYNC_FOLDER, SYNC, MARK),
        (OPEN, WRITE, SYNC, MARK),
        (OPEN, SYNC, SYNC_FOLDER, WRITE, MARK),
        (OPEN, WRITE, "fdatasync(3</r/a/f>) = -1 EIO (Input/output error)", SYNC_FOLDER, MARK),
        (OPEN, WRITE, 'rename("/r/a/f", "/r/a/g") = 0', SYNC_FOLDER),
        (OPEN, WRITE, SYNC, SYNC_FOLDER, 'unlink("/r/a/f") = 0', MARK),
        ('mkdir("/r/a/d", 0777) = 0', MARK),
    ],
)
def test_calls_in_another_order_break_a_promise(lines):
    assert breaches(*lines)


def test_sync_covers_only_what_was_written_before_it_began():
    begun = "7 fdatasync(3</r/a/f> <unfinished ...>"
    ended = "7 <... fdatasync resumed>) = 0"
    assert breaches(OPEN, WRITE, begun, "8 " + WRITE, ended, SYNC_FOLDER, MARK)
    assert not breaches(OPEN, WRITE, begun, ended, SYNC_FOLDER, MARK)
