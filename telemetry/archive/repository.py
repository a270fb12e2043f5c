"""The Icechunk repository: one transaction after another, and what each of them says.

A commit of readings writes minutes (:data:`telemetry.archive.layout.OPEN_MINUTES`); see
:mod:`telemetry.archive.maintenance` for what becomes of them. A late reading of an hour that is
compacted already goes to the minutes too, together with what its block held.

Commits follow one another on the clock: Icechunk refuses what is not later than all before it.

A clock that was set back is no fault of the archive. For a moment it is waited for; for longer the
writer says so, and what it has stays in the journals until the clock has caught up. Only one that
has been far behind for a while may be right, and the commits made by one that was ahead.

Delete what no commit that is left consists of, also where something of a commit is spoilt.
"""

import pickle
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, Self

import icechunk
import structlog
import zarr

from telemetry.archive.chunk_io import IO_THREADS
from telemetry.archive.commit_batch import Checkpoint, CommitBatch
from telemetry.archive.layout import (
    GROUP_ARRAYS,
    LAYOUT_VERSION,
    MAIN_BRANCH,
    is_expendable,
    read_labels,
)
from telemetry.archive.loss_log import LossEntry, append_losses
from telemetry.archive.metadata_history import PendingMetadata
from telemetry.archive.repository_files import (
    HEAD_FILE,
    CorruptRepositoryError,
    LocalObjects,
    ManifestChecksums,
    run_isolated,
)
from telemetry.archive.snapshot import Snapshot, start_of_hour
from telemetry.archive.storage import (
    CACHE_LIMITS,
    STORAGE_TIMEOUTS,
    panics_as_errors,
    repository_config,
)
from telemetry.archive.transaction import MinuteWriter, Transaction, has_group
from twin.errors import ArchiveError

REFS_PER_MANIFEST: Final = 64
"""Objects along time whose places one manifest lists: a commit rewrites one manifest an array."""

OPEN_HOURS_ATTRIBUTE: Final = "open_hours"
"""Attribute of the root: group -> starts of the hours that are not compacted. [s since 1970]"""

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
    """One site's repository.

    Parameters
    ----------
    repository
        Made or opened; see :meth:`open`.
    folder
        Of it, if that is on a local disk.
    seals
        Of it, read before it was opened.

    Attributes
    ----------
    mark, written
        How far it reaches; when the last commit was made. [s since 1970]
    site
        Name of the site.
    labels
        Group -> labels in the order of their columns.
    given_up
        What of it was spoilt and had to be let go.
    """

    def __init__(
        self,
        repository: icechunk.Repository,
        folder: Path | None = None,
        *,
        seals: ManifestChecksums | None = None,
    ) -> None:
        self.repository = repository
        self._folder = folder
        self.given_up: list[LossEntry] = []
        self._seals = seals
        self._snapshot = repository.lookup_branch(MAIN_BRANCH)
        self.last_commit_time = max(
            commit_time(repository), time.time()
        )  # it may just have gone back
        last = Snapshot.last(repository, folder, seals=seals)
        self.mark = Checkpoint.from_metadata(commit_metadata(repository))
        root = last.root
        self._seal()
        self.site = str(root.attrs["site"])
        self.labels = {group: read_labels(root, group) for group in GROUP_ARRAYS}

    @classmethod
    @panics_as_errors()
    def open(cls, storage: icechunk.Storage, site: str, folder: Path | None = None) -> Self:
        """Open a repository, or make it.

        Parameters
        ----------
        storage
            Where it lies.
        site
            Name of the site, for a new one.
        folder
            Of it, if that is on a local disk: then what it consists of is sealed.

        Returns
        -------
        Store
            The store.
        """
        seals = None if folder is None else ManifestChecksums(folder)
        if icechunk.Repository.exists(storage, storage_settings=STORAGE_TIMEOUTS):
            repository = icechunk.Repository.open(storage, config=repository_config())
            if seals is not None:
                seals.check_head(repository.lookup_branch(MAIN_BRANCH))
            if commit_metadata(repository):  # else somebody was killed who was about to make it
                return cls(repository, folder, seals=seals)
        else:
            repository = icechunk.Repository.create(storage, config=_configuration())
        session = repository.writable_session(MAIN_BRANCH)
        root = zarr.open_group(session.store, mode="a")
        root.attrs.update({"layout": LAYOUT_VERSION, "site": site, OPEN_HOURS_ATTRIBUTE: {}})
        wait_until_after(commit_time(repository))
        session.commit("begin", metadata=Checkpoint().to_metadata())
        return cls(repository, folder, seals=seals)

    def last_snapshot(self) -> Snapshot:
        """Return the last commit."""
        return Snapshot.last(self.repository, self._folder, seals=self._seals)

    def begin_transaction(self) -> Transaction:
        """Return a new transaction.

        Raises
        ------
        ConcurrentWriterError
            If another process committed since this one opened it.
        """
        session = self.repository.writable_session(MAIN_BRANCH)
        if session.snapshot_id != self._snapshot:
            message = "another process writes it"
            raise ConcurrentWriterError(message)
        if self._folder is None:
            return Transaction(session)
        files = LocalObjects(self._folder, self.repository, self._snapshot, seals=self._seals)
        return Transaction(session, files.manifest_checker)

    def commit(self, draft: Transaction, message: str, checkpoint: Checkpoint) -> None:
        """Commit a transaction, and how far the archive reaches with it; say what was lost.

        Raises
        ------
        ClockLagError
            If the clock is behind the commit before.
        """
        wait_until_after(self.last_commit_time)
        self._snapshot = draft.session.commit(
            message, metadata=checkpoint.to_metadata(), allow_empty=True
        )
        self.last_commit_time, self.mark = time.time(), checkpoint
        self._seal()
        lost = draft.corrupt_parts()
        self.given_up += lost
        append_losses(self._folder and self._folder.parent, lost)

    def test_commit(self) -> None:
        """Commit nothing: a head that can be read may still be spoilt where only commits look."""
        self.retry_without_corrupt(
            lambda: self.commit(self.begin_transaction(), "tried", self.mark)
        )

    def retry_without_corrupt[T](self, work: Callable[[], T]) -> T:
        """Do what writes; give up an array that nobody can find the objects of, and do it again.

        Raises
        ------
        CorruptRepositoryError
            If all that is there is affected.
        """
        while True:
            try:
                with panics_as_errors():
                    return work()
            except CorruptRepositoryError as error:
                if not is_expendable(error.path):
                    raise
                draft = self.begin_transaction()
                del draft.root[error.path]
                draft.losses[error.path] = {(): str(error)}
                self.commit(draft, "given up", self.mark)

    def _seal(self) -> None:
        """Seal what was written; a disk that does not take it leaves it unsealed."""
        if self._seals is None:
            return
        try:
            self._seals.update(self._snapshot)
        except OSError as error:
            _logger.warning("archive not sealed", place=str(self._folder), reason=error.strerror)

    def write(
        self,
        taken: CommitBatch,
        news: PendingMetadata,
        *,
        columns: ColumnIndex,
        is_sparse: bool,
    ) -> None:
        """Write readings, and how far they reach, in one transaction.

        Parameters
        ----------
        taken
            The readings.
        news
            What is newly known of points.
        columns
            Of all labels that were ever seen.
        is_sparse
            Whether the plant speaks once in many minutes only.

        Raises
        ------
        ConcurrentWriterError
            If another process committed since this one opened it.
        """
        self.retry_without_corrupt(lambda: self._write(taken, news, columns, is_sparse))
        self.labels = {group: list(known) for group, known in columns.items()}

    def _write(
        self,
        taken: CommitBatch,
        news: PendingMetadata,
        columns: ColumnIndex,
        is_sparse: bool,
    ) -> None:
        with zarr.config.set({"threading.max_workers": IO_THREADS}):
            draft = self.begin_transaction()
            opened = open_hours(draft.root)
            for group, known in columns.items():
                if known:
                    draft.add_columns(group, list(known), known=len(self.labels[group]))
                seconds = {
                    number: one for number, one in taken.seconds.items() if has_group(one, group)
                }
                if seconds:
                    draft.mark_seconds(group, sorted(seconds))
                    MinuteWriter(draft, group, len(known)).write(seconds, is_sparse=is_sparse)
                    hours = opened.get(group, []) + [start_of_hour(number) for number in seconds]
                    opened[group] = sorted(set(hours))
            if news:
                span = self.mark.closed, max(taken.checkpoint.closed, taken.received_until)
                draft.write_metadata(news, columns["points"], span=span)
            draft.root.attrs[OPEN_HOURS_ATTRIBUTE] = opened
            self.commit(draft, "readings", taken.checkpoint)

    def expire(self, before: datetime) -> None:
        """Delete what belongs to nothing but commits before a moment; readings stay."""
        expire_commits(self.repository, before, folder=self._folder)
        self._snapshot = self.repository.lookup_branch(MAIN_BRANCH)
        self.last_commit_time = max(self.last_commit_time, time.time())
        self._seal()


def open_hours(root: zarr.Group) -> dict[str, list[int]]:
    """Return the hours of each group that are not compacted. [s since 1970]"""
    found = root.attrs.get(OPEN_HOURS_ATTRIBUTE)
    if not isinstance(found, dict):
        return {}
    return {str(group): [int(str(h)) for h in hours] for group, hours in found.items()}


def commit_metadata(repository: icechunk.Repository) -> dict[str, str]:
    """Return what the last commit says of itself."""
    snapshot = repository.lookup_snapshot(repository.lookup_branch(MAIN_BRANCH))
    return {key: str(value) for key, value in snapshot.metadata.items()}


def _configuration() -> icechunk.RepositoryConfig:
    """Return the settings that a new repository keeps."""
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
"""How far the clock may be behind until the repository goes back to an earlier commit. [s]"""

ROLLBACK_CONFIRMATION_S: Final = 600.0
"""How long it must have been so: machines start with a clock that is wrong for a minute. [s]"""

CLOCK_POLL_S: Final = 0.001
"""Time between two looks at the clock. [s]"""

MIN_COMMIT_SPACING_S: Final = 0.05
"""How much later a commit must be: Icechunk may read a clock of ticks of milliseconds. [s]"""


class ClockLagError(ArchiveError):
    """The clock is behind the last commit.

    Attributes
    ----------
    behind
        How far. [s]
    """

    def __init__(self, behind: float) -> None:
        self.behind = behind
        super().__init__(f"the clock is {behind:.0f} s behind the last commit")


class ClockLagConfirmation:
    """Whether a clock far behind is to be believed rather than the commits made by it.

    Parameters
    ----------
    passed
        Tells the time that passes, whatever the clock is set to. [s]
    """

    def __init__(self, passed: Callable[[], float] = time.monotonic) -> None:
        self._passed = passed
        self._since: float | None = None

    def is_confirmed(self, error: ClockLagError | None) -> bool:
        """Return whether it has been far behind for a while; None says that it is not behind."""
        if error is None or error.behind <= ROLLBACK_CLOCK_LAG_S:
            self._since = None
            return False
        if self._since is None:
            self._since = self._passed()
        return self._passed() - self._since >= ROLLBACK_CONFIRMATION_S


def commit_time(repository: icechunk.Repository) -> float:
    """Return when the last commit was made, in seconds since 1970."""
    last = repository.lookup_snapshot(repository.lookup_branch(MAIN_BRANCH))
    return last.written_at.timestamp()


def wait_for_clock_tick() -> None:
    """Wait until the clock shows a later moment than that of whatever was written before."""
    wait_until_after(time.time())


def wait_until_after(last: float) -> None:
    """Wait until the clock shows a later moment than that of a commit.

    Parameters
    ----------
    last
        When the commit was made. [s since 1970]

    Raises
    ------
    ClockLagError
        If that takes longer than a moment.
    """
    while (behind := last - time.time()) >= -MIN_COMMIT_SPACING_S:
        if behind > MAX_CLOCK_WAIT_S:  # it may also be set back while it is waited for
            raise ClockLagError(behind)
        time.sleep(CLOCK_POLL_S)


SNAPSHOT_FOLDER: Final = "snapshots"
"""Folder of a repository where it stands what each commit consists of."""

TRANSACTION_FOLDER: Final = "transactions"
"""Folder where it stands what each commit changed, under the same name as in
:data:`SNAPSHOT_FOLDER`."""

OLD_HEADS_FOLDER: Final = "overwritten"
"""Folder of a repository where Icechunk keeps what its file of heads was before."""

MAX_OLD_HEADS: Final = 500
"""Older files of heads that are kept, and tried where the clock had been ahead. [1]"""

GARBAGE_COLLECTION_TIMEOUT_S: Final = 1800.0
"""Longest wait for what deletes. [s]"""

# In a process of its own: what it takes in memory for each commit it never gives back.
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
    wait_for_clock_tick()
    repository.expire_snapshots(older_than=before)
    is_forgotten = _is_forgotten(repository, before)
    if folder is None:
        return
    if not is_forgotten:
        _renew_first(folder)
        _is_forgotten(repository, before)
    _sweep(folder)


def old_head_files(folder: Path) -> list[Path]:
    """Return what the file of heads of a repository was before, the oldest first."""
    return sorted(
        (folder / OLD_HEADS_FOLDER).glob(f"{HEAD_FILE}.*"), key=lambda one: one.stat().st_mtime
    )


def _is_forgotten(repository: icechunk.Repository, before: datetime) -> bool:
    wait_for_clock_tick()
    given = pickle.dumps((repository, before))
    if reason := run_isolated(_DELETION, given=given, timeout=GARBAGE_COLLECTION_TIMEOUT_S):
        _logger.warning("old commits not deleted", reason=reason)
    return not reason


def _sweep(folder: Path) -> None:
    """Delete what is of no commit that is left, and that Icechunk leaves."""
    for one in old_head_files(folder)[:-MAX_OLD_HEADS]:
        one.unlink(missing_ok=True)
    for one in (folder / TRANSACTION_FOLDER).glob("*"):
        if not (folder / SNAPSHOT_FOLDER / one.name).exists():
            one.unlink(missing_ok=True)


def _renew_first(folder: Path) -> None:
    """Write the first commit of a repository anew, as that of an empty one: all are alike."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        icechunk.Repository.create(icechunk.local_filesystem_storage(scratch))
        for sound in (Path(scratch) / SNAPSHOT_FOLDER).iterdir():
            if (spoilt := folder / SNAPSHOT_FOLDER / sound.name).exists():
                shutil.move(sound, spoilt)
