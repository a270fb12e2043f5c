"""Delete what no commit that is left consists of, also where something of a commit is spoilt."""

import pickle
import shutil
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Final

import icechunk
import structlog

from telemetry.archive.apart import fault_of
from telemetry.archive.seals import HEADS
from telemetry.archive.ticks import await_tick

SNAPSHOTS: Final = "snapshots"
"""Folder of a repository where it stands what each commit consists of."""

TRANSACTIONS: Final = "transactions"
"""Folder where it stands what each commit changed, under the same name as in :data:`SNAPSHOTS`."""

OLDER: Final = "overwritten"
"""Folder of a repository where Icechunk keeps what its file of heads was before."""

KEPT_HEADS: Final = 500
"""Older files of heads that are kept, and tried where the clock had been ahead. [1]"""

PATIENCE: Final = 1800.0
"""Longest wait for what deletes. [s]"""

# In a process of its own: what it takes in memory for each commit it never gives back.
_DELETION: Final = """
import pickle, sys
import icechunk
icechunk.set_logs_filter("off")
repository, before = pickle.load(sys.stdin.buffer)
repository.garbage_collect(delete_object_older_than=before)
"""

_logger = structlog.get_logger(__name__)


def forget(repository: icechunk.Repository, before: datetime, *, folder: Path | None) -> None:
    """Expire commits before a moment, and delete what belongs to none that is left.

    What that is is found by a walk through all commits that are left. One that is spoilt stops it:
    then nothing is deleted, which is told, until that one has expired too. The first never does, so
    it is made anew. On a disk what Icechunk itself never deletes goes too: with each commit it
    leaves the file of heads as it was, 60 kB, and what an expired commit had changed.

    Parameters
    ----------
    repository
        Nobody else may write it meanwhile.
    before
        Readers may still use what was the last commit then. [UTC]
    folder
        Of the repository, if it is on a local disk.
    """
    await_tick()
    repository.expire_snapshots(older_than=before)
    is_forgotten = _is_forgotten(repository, before)
    if folder is None:
        return
    if not is_forgotten:
        _renew_first(folder)
        _is_forgotten(repository, before)
    _sweep(folder)


def older_heads(folder: Path) -> list[Path]:
    """Return what the file of heads of a repository was before, the oldest first."""
    return sorted((folder / OLDER).glob(f"{HEADS}.*"), key=lambda one: one.stat().st_mtime)


def _is_forgotten(repository: icechunk.Repository, before: datetime) -> bool:
    await_tick()
    given = pickle.dumps((repository, before))
    if reason := fault_of(_DELETION, given=given, patience=PATIENCE):
        _logger.warning("old commits not deleted", reason=reason)
    return not reason


def _sweep(folder: Path) -> None:
    """Delete what is of no commit that is left, and that Icechunk leaves."""
    for one in older_heads(folder)[:-KEPT_HEADS]:
        one.unlink(missing_ok=True)
    for one in (folder / TRANSACTIONS).glob("*"):
        if not (folder / SNAPSHOTS / one.name).exists():
            one.unlink(missing_ok=True)


def _renew_first(folder: Path) -> None:
    """Write the first commit of a repository anew, as that of an empty one: all are alike."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        icechunk.Repository.create(icechunk.local_filesystem_storage(scratch))
        for sound in (Path(scratch) / SNAPSHOTS).iterdir():
            if (spoilt := folder / SNAPSHOTS / sound.name).exists():
                shutil.move(sound, spoilt)
