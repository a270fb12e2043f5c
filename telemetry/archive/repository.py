"""The Icechunk repository of an archive: its transactions, their clock, and expiry of commits.

A commit of readings writes minutes (:data:`telemetry.archive.layout.OPEN_MINUTES_LEVEL`), which
:mod:`telemetry.archive.maintenance` compacts. A late reading of a compacted hour goes to minutes
too, together with the rest of its chunk.

Icechunk refuses a commit that is not later than all before it. A clock that was set back is not an
error of the archive: the writer waits for a moment. After that it reports the error, and the
journals store the readings until the clock has caught up. Only a clock that has been far behind for
a while is taken to be right, and the earlier commits to come from a clock that was ahead.
"""

import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, Self

import icechunk
import structlog
import zarr

from telemetry.archive.commit_batch import Checkpoint, CommitBatch
from telemetry.archive.layout import (
    ARCHIVE_LAYOUT_VERSION,
    GROUP_ARRAYS,
    MAIN_BRANCH,
    PendingMetadata,
    is_expendable,
    read_labels,
)
from telemetry.archive.loss_log import LossEntry, append_losses
from telemetry.archive.manifests import (
    HEAD_FILE,
    CorruptRepositoryError,
    ManifestChecksums,
)
from telemetry.archive.repository_location import (
    CACHE_LIMITS,
    STORAGE_TIMEOUTS,
    panics_as_errors,
    repository_config,
)
from telemetry.archive.snapshot import Snapshot, start_of_hour
from telemetry.archive.transaction import MinuteWriter, Transaction, has_group
from twin.errors import ArchiveError, IssueCode

REFS_PER_MANIFEST: Final = 64
"""Objects along time in one manifest; a commit rewrites one manifest of each array. [1]"""

OPEN_HOURS_ATTRIBUTE: Final = "open_hours"
"""Attribute of the root: group -> starts of hours that are not compacted. [s since 1970]"""

type ColumnIndex = Mapping[str, dict[str, int]]
"""Group -> label -> column."""

type ManifestDimension = (
    icechunk.ManifestSplitDimCondition.Axis
    | icechunk.ManifestSplitDimCondition.DimensionName
    | icechunk.ManifestSplitDimCondition.Any
)

_logger = structlog.get_logger(__name__)


class ConcurrentWriterError(ArchiveError):
    """Another process has committed since this one opened the repository."""


icechunk.set_logs_filter("error")


class ArchiveRepository:
    """Repository of one site, opened by :meth:`open`.

    It has a folder and checksums, read before it was opened, on a local disk only. ``checkpoint``
    is how far it reaches, ``last_commit_time`` in [s since 1970]; ``labels`` are by group in the
    order of their columns; ``losses`` are corrupt parts that were deleted.
    """

    def __init__(
        self,
        repository: icechunk.Repository,
        folder: Path | None = None,
        *,
        checksums: ManifestChecksums | None = None,
    ) -> None:
        self.repository = repository
        self._folder = folder
        self.losses: list[LossEntry] = []
        self._checksums = checksums
        self._snapshot = repository.lookup_branch(MAIN_BRANCH)
        # It may just have been reset to an older commit.
        self.last_commit_time = max(last_commit_time(repository), time.time())
        last = Snapshot.last(repository, folder, checksums=checksums)
        self.checkpoint = Checkpoint.from_metadata(last_commit_metadata(repository))
        root = last.root
        self._write_checksums()
        self.site = str(root.attrs["site"])
        self.labels = {group: read_labels(root, group) for group in GROUP_ARRAYS}

    @classmethod
    @panics_as_errors()
    def open(cls, storage: icechunk.Storage, site: str, folder: Path | None = None) -> Self:
        """Open or create a repository; ``site`` names a new one.

        With ``folder``, on a local disk, its files get checksums.
        """
        checksums = None if folder is None else ManifestChecksums(folder)
        if icechunk.Repository.exists(storage, storage_settings=STORAGE_TIMEOUTS):
            repository = icechunk.Repository.open(storage, config=repository_config())
            if checksums is not None:
                checksums.check_head(repository.lookup_branch(MAIN_BRANCH))
            if last_commit_metadata(repository):  # else its creator was killed
                return cls(repository, folder, checksums=checksums)
        else:
            repository = icechunk.Repository.create(storage, config=_configuration())
        session = repository.writable_session(MAIN_BRANCH)
        root = zarr.open_group(session.store, mode="a")
        root.attrs.update(
            {"layout": ARCHIVE_LAYOUT_VERSION, "site": site, OPEN_HOURS_ATTRIBUTE: {}}
        )
        wait_until_after(last_commit_time(repository))
        session.commit("begin", metadata=Checkpoint().to_metadata())
        return cls(repository, folder, checksums=checksums)

    def last_snapshot(self) -> Snapshot:
        """Return the last commit."""
        return Snapshot.last(self.repository, self._folder, checksums=self._checksums)

    def begin_transaction(self) -> Transaction:
        """Return a new transaction.

        A commit of another process since this one opened it raises ConcurrentWriterError.
        """
        session = self.repository.writable_session(MAIN_BRANCH)
        if session.snapshot_id != self._snapshot:
            raise ConcurrentWriterError("another process writes it", code=IssueCode.IN_USE)
        return Transaction(
            session,
            lambda handler: Snapshot.last(
                self.repository, self._folder, checksums=self._checksums, on_corruption=handler
            ),
        )

    def commit(self, transaction: Transaction, message: str, checkpoint: Checkpoint) -> None:
        """Commit a transaction with its checkpoint, and log what was lost.

        A clock behind the previous commit raises ClockLagError.
        """
        wait_until_after(self.last_commit_time)
        self._snapshot = transaction.session.commit(
            message, metadata=checkpoint.to_metadata(), allow_empty=True
        )
        self.last_commit_time, self.checkpoint = time.time(), checkpoint
        self._write_checksums()
        lost = transaction.corrupt_parts()
        self.losses += lost
        append_losses(self._folder and self._folder.parent, lost)

    def test_commit(self) -> None:
        """Make an empty commit: a readable head may be corrupt where only commits read it."""
        self.retry_without_corrupt(
            lambda: self.commit(self.begin_transaction(), "tried", self.checkpoint)
        )

    def retry_without_corrupt[T](self, work: Callable[[], T]) -> T:
        """Run a writing function; delete an array with corrupt manifests, and run it again.

        If the whole repository is affected, raise CorruptRepositoryError.
        """
        while True:
            try:
                with panics_as_errors():
                    return work()
            except CorruptRepositoryError as error:
                if not is_expendable(error.path):
                    raise
                transaction = self.begin_transaction()
                del transaction.root[error.path]
                transaction.losses[error.path] = {(): str(error)}
                self.commit(transaction, "given up", self.checkpoint)

    def _write_checksums(self) -> None:
        """Write the checksums of new files; a failing disk leaves them without."""
        if self._checksums is None:
            return
        try:
            self._checksums.update(self._snapshot)
        except OSError as error:
            _logger.warning("checksums not written", place=str(self._folder), reason=error.strerror)

    def write(
        self,
        batch: CommitBatch,
        metadata: PendingMetadata,
        *,
        columns: ColumnIndex,
        is_sparse: bool,
    ) -> None:
        """Write readings, new metadata and the checkpoint in one transaction.

        ``columns`` has all labels ever received. ``is_sparse`` states that the plant publishes once
        in many minutes.
        """
        self.retry_without_corrupt(lambda: self._write(batch, metadata, columns, is_sparse))
        self.labels = {group: list(known) for group, known in columns.items()}

    def _write(
        self,
        batch: CommitBatch,
        metadata: PendingMetadata,
        columns: ColumnIndex,
        is_sparse: bool,
    ) -> None:
        transaction = self.begin_transaction()
        opened = open_hours(transaction.root)
        for group, known in columns.items():
            if known:
                transaction.add_columns(group, list(known), known=len(self.labels[group]))
            seconds = {
                number: one for number, one in batch.seconds.items() if has_group(one, group)
            }
            if seconds:
                transaction.mark_seconds(group, sorted(seconds))
                MinuteWriter(transaction, group, len(known)).write(seconds, is_sparse=is_sparse)
                hours = opened.get(group, []) + [start_of_hour(number) for number in seconds]
                opened[group] = sorted(set(hours))
        if metadata:
            span = (
                self.checkpoint.first_open_second,
                max(batch.checkpoint.first_open_second, batch.received_until),
            )
            transaction.write_metadata(metadata, columns["points"], span=span)
        transaction.root.attrs[OPEN_HOURS_ATTRIBUTE] = opened
        self.commit(transaction, "readings", batch.checkpoint)

    def expire_commits(self, before: datetime) -> None:
        """Delete data that belongs only to commits before a time; readings stay."""
        expire_commits(self.repository, before, folder=self._folder)
        self._snapshot = self.repository.lookup_branch(MAIN_BRANCH)
        self.last_commit_time = max(self.last_commit_time, time.time())
        self._write_checksums()


def open_hours(root: zarr.Group) -> dict[str, list[int]]:
    """Return the hours of each group that are not compacted. [s since 1970]"""
    found = root.attrs.get(OPEN_HOURS_ATTRIBUTE)
    if not isinstance(found, dict):
        return {}
    return {str(group): [int(str(h)) for h in hours] for group, hours in found.items()}


def last_commit_metadata(repository: icechunk.Repository) -> dict[str, str]:
    """Return the metadata of the last commit."""
    snapshot = repository.lookup_snapshot(repository.lookup_branch(MAIN_BRANCH))
    return {key: str(value) for key, value in snapshot.metadata.items()}


def _configuration() -> icechunk.RepositoryConfig:
    """Return the stored settings of a new repository."""
    configuration = icechunk.RepositoryConfig.default()
    along_time: dict[ManifestDimension, int] = {
        icechunk.ManifestSplitDimCondition.DimensionName("time"): REFS_PER_MANIFEST
    }
    every = icechunk.ManifestSplitCondition.AnyArray()
    splitting = icechunk.ManifestSplittingConfig.from_dict({every: along_time})
    configuration.manifest = icechunk.ManifestConfig(splitting=splitting)
    configuration.storage, configuration.caching = STORAGE_TIMEOUTS, CACHE_LIMITS
    return configuration


MAX_CLOCK_WAIT_S: Final = 5.0
"""Longest wait for a clock that is behind: two commits may fall in one tick of it. [s]"""

ROLLBACK_CLOCK_LAG_S: Final = 3600.0
"""Lag of the clock above which the repository is reset to an earlier commit. [s]"""

ROLLBACK_CONFIRMATION_S: Final = 600.0
"""How long that lag must last: machines start with a wrong clock for a minute. [s]"""

CLOCK_POLL_S: Final = 0.001
"""Time between two readings of the clock. [s]"""

MIN_COMMIT_SPACING_S: Final = 0.05
"""Least time between commits: Icechunk may read a clock with ticks of milliseconds. [s]"""


class ClockLagError(ArchiveError):
    """The clock is behind the last commit by ``behind``. [s]"""

    def __init__(self, behind: float) -> None:
        self.behind = behind
        message = f"the clock is {behind:.0f} s behind the last commit"
        super().__init__(message, code=IssueCode.TIME_ORDER)


class ClockLagConfirmation:
    """Decides whether a clock far behind is right and the commits are wrong.

    ``passed`` returns a monotonic time. [s]
    """

    def __init__(self, passed: Callable[[], float] = time.monotonic) -> None:
        self._passed = passed
        self._since: float | None = None

    def is_confirmed(self, error: ClockLagError | None) -> bool:
        """Return whether the clock has been far behind for a while; None if it is not behind."""
        if error is None or error.behind <= ROLLBACK_CLOCK_LAG_S:
            self._since = None
            return False
        if self._since is None:
            self._since = self._passed()
        return self._passed() - self._since >= ROLLBACK_CONFIRMATION_S


def last_commit_time(repository: icechunk.Repository) -> float:
    """Return when the last commit was made. [s since 1970]"""
    last = repository.lookup_snapshot(repository.lookup_branch(MAIN_BRANCH))
    return last.written_at.timestamp()


def wait_for_clock_tick() -> None:
    """Wait until the clock shows a later time than now."""
    wait_until_after(time.time())


def wait_until_after(last: float) -> None:
    """Wait until the clock shows a later time than that of a commit. [s since 1970]

    A long wait raises ClockLagError.
    """
    while (behind := last - time.time()) >= -MIN_COMMIT_SPACING_S:
        if behind > MAX_CLOCK_WAIT_S:  # the clock may also be set back during the wait
            raise ClockLagError(behind)
        time.sleep(CLOCK_POLL_S)


SNAPSHOT_FOLDER: Final = "snapshots"
"""Folder of a repository with the contents of each commit."""

TRANSACTION_FOLDER: Final = "transactions"
"""Folder with the changes of each commit, under the same names as in :data:`SNAPSHOT_FOLDER`."""

OLD_HEADS_FOLDER: Final = "overwritten"
"""Folder of a repository where Icechunk stores former head files."""

MAX_OLD_HEADS: Final = 500
"""Former head files that are stored, and tried where the clock had been ahead. [1]"""

GARBAGE_COLLECTION_TIMEOUT_S: Final = 1800.0
"""Longest wait for the garbage collection. [s]"""

# In a process of its own: it never releases the memory of each commit.
_DELETION: Final = """
import pickle, sys
import icechunk
icechunk.set_logs_filter("off")
repository, before = pickle.load(sys.stdin.buffer)
repository.garbage_collect(delete_object_older_than=before)
"""


def expire_commits(
    repository: icechunk.Repository, before: datetime, *, folder: Path | None
) -> None:
    """Expire commits before a UTC time, and delete what no remaining commit needs.

    No one else may write meanwhile; readers may still use the last commit before that time.
    Icechunk walks all remaining commits. A corrupt one stops it: then nothing is deleted until that
    one has expired too, and this is logged. The first commit never expires, so a corrupt one is
    created again. On a disk (``folder``), files that Icechunk never deletes are deleted too: each
    commit leaves its former head file, 60 kB, and the changes of expired commits.
    """
    wait_for_clock_tick()
    repository.expire_snapshots(older_than=before)
    is_collected = _collect_garbage(repository, before)
    if folder is None:
        return
    if not is_collected:
        _renew_first(folder)
        _collect_garbage(repository, before)
    _delete_leftovers(folder)


def old_head_files(folder: Path) -> list[Path]:
    """Return the former head files of a repository, the oldest first."""
    return sorted(
        (folder / OLD_HEADS_FOLDER).glob(f"{HEAD_FILE}.*"), key=lambda one: one.stat().st_mtime
    )


def _collect_garbage(repository: icechunk.Repository, before: datetime) -> bool:
    wait_for_clock_tick()
    stdin = pickle.dumps((repository, before))
    if reason := error_of_isolated_script(
        _DELETION, stdin=stdin, timeout=GARBAGE_COLLECTION_TIMEOUT_S
    ):
        _logger.warning("expired commits not deleted", reason=reason)
    return not reason


def _delete_leftovers(folder: Path) -> None:
    """Delete files of no remaining commit that Icechunk leaves behind."""
    for one in old_head_files(folder)[:-MAX_OLD_HEADS]:
        one.unlink(missing_ok=True)
    for one in (folder / TRANSACTION_FOLDER).glob("*"):
        if not (folder / SNAPSHOT_FOLDER / one.name).exists():
            one.unlink(missing_ok=True)


def _renew_first(folder: Path) -> None:
    """Create the first commit of a repository again, like that of any empty repository."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        icechunk.Repository.create(icechunk.local_filesystem_storage(scratch))
        for intact in (Path(scratch) / SNAPSHOT_FOLDER).iterdir():
            if (corrupt := folder / SNAPSHOT_FOLDER / intact.name).exists():
                shutil.move(intact, corrupt)


def error_of_isolated_script(
    script: str, *arguments: str, stdin: bytes = b"", timeout: float
) -> str:
    """Return the last line of the error of a script that ran in another process; "" without one.

    ``script`` is Python code; the process is killed after the timeout. [s]
    """
    command = [sys.executable, "-I", "-c", script, *arguments]
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, check=False, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        return f"the process did not end within {timeout:g} s"
    if done.returncode < 0:
        return f"the process ended: {signal.strsignal(-done.returncode)}"
    lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no error text"]
    return lines[-1].lstrip(" `->") if done.returncode else ""
