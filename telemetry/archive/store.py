"""The Icechunk repository: layout, one transaction after another, and what each of them says.

Two groups, each with its own rows. A row is one second that had readings.

=========  ==========================================  ======================================
group      arrays                                      labels
=========  ==========================================  ======================================
``racks``  one of (time, rack, chip) for each chip     ``rack``: ``{hall}/{rack}``
           variable, float32
``points`` ``value`` float64 and ``quality`` int8,     ``point``, and its ``metadata`` as JSON
           both (time, point)
=========  ==========================================  ======================================

Rows are appended, each commit on a border of chunks, so that a chunk is written once; what is left
over of a chunk has no time and is no row. A late second that has no row is appended too: rows are
ordered by when they were written, and readers sort them. Compaction may sort and repack.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Self

import icechunk
import zarr

from telemetry.archive.layout import LAYOUTS, Rows
from telemetry.archive.minutes import REACH, Mark, Taken
from telemetry.archive.table import Table
from telemetry.samples import PointMetadata
from twin.errors import ArchiveError

LAYOUT: Final = 1
"""Version of the layout; a later one is refused."""

REFERENCES: Final = 64
"""Chunks along time whose places one manifest lists: a commit rewrites one manifest an array."""

WORKERS: Final = 2
"""Threads that compress."""

BRANCH: Final = "main"

type Dimension = (
    icechunk.ManifestSplitDimCondition.Axis
    | icechunk.ManifestSplitDimCondition.DimensionName
    | icechunk.ManifestSplitDimCondition.Any
)

icechunk.set_logs_filter("error")


class Store:
    """One site's repository.

    Parameters
    ----------
    repository
        Made or opened; see :meth:`open`.
    """

    def __init__(self, repository: icechunk.Repository) -> None:
        self._repository = repository
        self._snapshot = repository.lookup_branch(BRANCH)
        self.mark = Mark.read(_told(repository))
        root = read(repository)
        self.site = str(root.attrs["site"])
        self._rows = {name: Rows.read(root, name, closed=self.mark.closed) for name in LAYOUTS}

    @classmethod
    def open(cls, storage: icechunk.Storage, site: str) -> Self:
        """Open a repository, or make it.

        Parameters
        ----------
        storage
            Where it lies.
        site
            Name of the site, for a new one.

        Returns
        -------
        Store
            The store.
        """
        if icechunk.Repository.exists(storage):
            repository = icechunk.Repository.open(storage)
            if _told(repository):
                return cls(repository)  # else somebody was killed who was about to make it
        else:
            repository = icechunk.Repository.create(storage, config=_configuration())
        session = repository.writable_session(BRANCH)
        root = zarr.open_group(session.store, mode="a")
        root.attrs.update({"layout": LAYOUT, "site": site})
        session.commit("begin", metadata=Mark().told())
        return cls(repository)

    def write(
        self, taken: Taken, metadata: Mapping[str, PointMetadata], *, is_native: bool
    ) -> None:
        """Write readings, and how far they reach, in one transaction.

        Parameters
        ----------
        taken
            The readings.
        metadata
            What is newly known of points.
        is_native
            Whether the plant sends every few seconds; decides the chunks of new arrays.

        Raises
        ------
        ArchiveError
            If another process committed since this one opened it.
        """
        session = self._repository.writable_session(BRANCH)
        if session.snapshot_id != self._snapshot:
            message = "another process writes it"
            raise ArchiveError(message)
        rows = dict(self._rows)
        with zarr.config.set({"threading.max_workers": WORKERS}):
            root = zarr.open_group(session.store, mode="a")
            for name, held in rows.items():
                table = Table(root, name, rows=held)
                readings = taken.of(name)
                if readings:
                    table.write(readings, is_native=is_native)
                if metadata and name == "points":
                    table.describe(metadata, is_native=is_native)
                rows[name] = table.rows
        self._snapshot = session.commit("readings", metadata=taken.mark.told(), allow_empty=True)
        self.mark = taken.mark
        oldest = taken.mark.closed - REACH
        self._rows = {name: held.recent(oldest) for name, held in rows.items()}

    def tidy(self, before: datetime) -> None:
        """Delete what belongs to nothing but commits before a moment; readings stay."""
        self._repository.expire_snapshots(older_than=before)
        self._repository.garbage_collect(delete_object_older_than=before)


def read(repository: icechunk.Repository) -> zarr.Group:
    """Return the root of what was committed last, as it stays whatever is committed later.

    Raises
    ------
    ArchiveError
        If a later version of gigatwin wrote it.
    """
    root = zarr.open_group(repository.readonly_session(BRANCH).store, mode="r")
    layout = root.attrs["layout"]
    if layout != LAYOUT:
        message = f"the archive has layout {layout}, this gigatwin knows {LAYOUT}: update it"
        raise ArchiveError(message)
    return root


def _told(repository: icechunk.Repository) -> dict[str, str]:
    """Return what the last commit says of itself."""
    snapshot = repository.lookup_snapshot(repository.lookup_branch(BRANCH))
    return {key: str(value) for key, value in snapshot.metadata.items()}


def _configuration() -> icechunk.RepositoryConfig:
    """Return the settings that a new repository keeps."""
    configuration = icechunk.RepositoryConfig.default()
    along_time: dict[Dimension, int] = {
        icechunk.ManifestSplitDimCondition.DimensionName("time"): REFERENCES
    }
    every = icechunk.ManifestSplitCondition.AnyArray()
    splitting = icechunk.ManifestSplittingConfig.from_dict({every: along_time})
    configuration.manifest = icechunk.ManifestConfig(splitting=splitting)
    return configuration
