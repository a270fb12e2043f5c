"""The Icechunk repository: one transaction after another, and what each of them says.

A commit of readings writes minutes (:data:`telemetry.archive.layout.OPEN`); see
:mod:`telemetry.archive.compaction` for what becomes of them. A late reading of an hour that is
compacted already goes to the minutes too, together with what its block held.
"""

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, Self

import icechunk
import structlog
import zarr

from telemetry.archive.draft import Draft
from telemetry.archive.files import Files
from telemetry.archive.forgetting import forget
from telemetry.archive.gathering import News
from telemetry.archive.layout import LAYOUT, VARIABLES, is_spare, labels_of
from telemetry.archive.losses import Loss, tell
from telemetry.archive.marks import Mark
from telemetry.archive.panics import panics_as_errors
from telemetry.archive.patience import MEMORY, PATIENCE, patient
from telemetry.archive.pieces import WORKERS
from telemetry.archive.seals import Seals, SpoiltError
from telemetry.archive.seconds import Taken
from telemetry.archive.snapshot import BRANCH, Snapshot, hour_of
from telemetry.archive.ticks import await_later, written
from telemetry.archive.writing import Writer, has
from twin.errors import ArchiveError

REFERENCES: Final = 64
"""Objects along time whose places one manifest lists: a commit rewrites one manifest an array."""

OPEN_HOURS: Final = "open_hours"
"""Attribute of the root: group -> starts of the hours that are not compacted. [s since 1970]"""

type Columns = Mapping[str, dict[str, int]]
"""Group -> label -> column."""

type Dimension = (
    icechunk.ManifestSplitDimCondition.Axis
    | icechunk.ManifestSplitDimCondition.DimensionName
    | icechunk.ManifestSplitDimCondition.Any
)

_logger = structlog.get_logger(__name__)


class OvertakenError(ArchiveError):
    """Another process has committed since this one opened the repository."""


icechunk.set_logs_filter("error")


class Store:
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
        seals: Seals | None = None,
    ) -> None:
        self.repository = repository
        self._folder = folder
        self.given_up: list[Loss] = []
        self._seals = seals
        self._snapshot = repository.lookup_branch(BRANCH)
        self.written = max(written(repository), time.time())  # it may just have gone back
        last = Snapshot.last(repository, folder, seals=seals)
        self.mark = Mark.read(told(repository))
        root = last.root
        self._seal()
        self.site = str(root.attrs["site"])
        self.labels = {group: labels_of(root, group) for group in VARIABLES}

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
        seals = None if folder is None else Seals(folder)
        if icechunk.Repository.exists(storage, storage_settings=PATIENCE):
            repository = icechunk.Repository.open(storage, config=patient())
            if seals is not None:
                seals.check_head(repository.lookup_branch(BRANCH))
            if told(repository):  # else somebody was killed who was about to make it
                return cls(repository, folder, seals=seals)
        else:
            repository = icechunk.Repository.create(storage, config=_configuration())
        session = repository.writable_session(BRANCH)
        root = zarr.open_group(session.store, mode="a")
        root.attrs.update({"layout": LAYOUT, "site": site, OPEN_HOURS: {}})
        await_later(written(repository))
        session.commit("begin", metadata=Mark().told())
        return cls(repository, folder, seals=seals)

    def last(self) -> Snapshot:
        """Return the last commit."""
        return Snapshot.last(self.repository, self._folder, seals=self._seals)

    def begin(self) -> Draft:
        """Return a new transaction.

        Raises
        ------
        OvertakenError
            If another process committed since this one opened it.
        """
        session = self.repository.writable_session(BRANCH)
        if session.snapshot_id != self._snapshot:
            message = "another process writes it"
            raise OvertakenError(message)
        if self._folder is None:
            return Draft(session)
        files = Files(self._folder, self.repository, self._snapshot, seals=self._seals)
        return Draft(session, files.guard)

    def end(self, draft: Draft, message: str, mark: Mark) -> None:
        """Commit a transaction, and how far the archive reaches with it; say what was lost.

        Raises
        ------
        ClockError
            If the clock is behind the commit before.
        """
        await_later(self.written)
        self._snapshot = draft.session.commit(message, metadata=mark.told(), allow_empty=True)
        self.written, self.mark = time.time(), mark
        self._seal()
        lost = draft.lost()
        self.given_up += lost
        tell(self._folder and self._folder.parent, lost)

    def try_out(self) -> None:
        """Commit nothing: a head that can be read may still be spoilt where only commits look."""
        self.mend(lambda: self.end(self.begin(), "tried", self.mark))

    def mend[T](self, work: Callable[[], T]) -> T:
        """Do what writes; give up an array that nobody can find the objects of, and do it again.

        Raises
        ------
        SpoiltError
            If all that is there is affected.
        """
        while True:
            try:
                with panics_as_errors():
                    return work()
            except SpoiltError as error:
                if not is_spare(error.path):
                    raise
                draft = self.begin()
                del draft.root[error.path]
                draft.losses[error.path] = {(): str(error)}
                self.end(draft, "given up", self.mark)

    def _seal(self) -> None:
        """Seal what was written; a disk that does not take it leaves it unsealed."""
        if self._seals is None:
            return
        try:
            self._seals.renew(self._snapshot)
        except OSError as error:
            _logger.warning("archive not sealed", place=str(self._folder), reason=error.strerror)

    def write(
        self,
        taken: Taken,
        news: News,
        *,
        columns: Columns,
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
        OvertakenError
            If another process committed since this one opened it.
        """
        self.mend(lambda: self._write(taken, news, columns, is_sparse))
        self.labels = {group: list(known) for group, known in columns.items()}

    def _write(
        self,
        taken: Taken,
        news: News,
        columns: Columns,
        is_sparse: bool,
    ) -> None:
        with zarr.config.set({"threading.max_workers": WORKERS}):
            draft = self.begin()
            opened = open_hours(draft.root)
            for group, known in columns.items():
                if known:
                    draft.label(group, list(known), known=len(self.labels[group]))
                seconds = {number: one for number, one in taken.seconds.items() if has(one, group)}
                if seconds:
                    draft.hear(group, sorted(seconds))
                    Writer(draft, group, len(known)).write(seconds, is_sparse=is_sparse)
                    hours = opened.get(group, []) + [hour_of(number) for number in seconds]
                    opened[group] = sorted(set(hours))
            if news:
                span = self.mark.closed, max(taken.mark.closed, taken.heard)
                draft.describe(news, columns["points"], span=span)
            draft.root.attrs[OPEN_HOURS] = opened
            self.end(draft, "readings", taken.mark)

    def tidy(self, before: datetime) -> None:
        """Delete what belongs to nothing but commits before a moment; readings stay."""
        forget(self.repository, before, folder=self._folder)
        self._snapshot = self.repository.lookup_branch(BRANCH)
        self.written = max(self.written, time.time())
        self._seal()


def open_hours(root: zarr.Group) -> dict[str, list[int]]:
    """Return the hours of each group that are not compacted. [s since 1970]"""
    found = root.attrs.get(OPEN_HOURS)
    if not isinstance(found, dict):
        return {}
    return {str(group): [int(str(h)) for h in hours] for group, hours in found.items()}


def told(repository: icechunk.Repository) -> dict[str, str]:
    """Return what the last commit says of itself."""
    snapshot = repository.lookup_snapshot(repository.lookup_branch(BRANCH))
    return {key: str(value) for key, value in snapshot.metadata.items()}


def on_disk(folder: Path) -> icechunk.Storage:
    """Return the storage that a folder is."""
    return icechunk.local_filesystem_storage(str(folder))


def _configuration() -> icechunk.RepositoryConfig:
    """Return the settings that a new repository keeps."""
    configuration = icechunk.RepositoryConfig.default()
    along_time: dict[Dimension, int] = {
        icechunk.ManifestSplitDimCondition.DimensionName("time"): REFERENCES
    }
    every = icechunk.ManifestSplitCondition.AnyArray()
    splitting = icechunk.ManifestSplittingConfig.from_dict({every: along_time})
    configuration.manifest = icechunk.ManifestConfig(splitting=splitting)
    configuration.storage, configuration.caching = PATIENCE, MEMORY
    return configuration
