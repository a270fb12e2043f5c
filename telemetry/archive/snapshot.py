"""An archive as of one commit: what it contains, and the values of any cells."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import icechunk
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store
from zarr.core.sync import sync

from telemetry.archive.chunk_io import ArraySelection, ChunkReader, CorruptionHandler, Int64Array
from telemetry.archive.layout import (
    ARCHIVE_LAYOUT_VERSION,
    DAY_S,
    GROUP_ARRAYS,
    HOUR_S,
    LABEL_AXES,
    MAIN_BRANCH,
    OPEN_MINUTES,
    SECOND_LEVELS,
    AnyArray,
    ResolutionLevel,
    ShardGrid,
    days_between,
    open_array,
    rollup_arrays,
)
from telemetry.archive.manifests import LocalObjects, ManifestChecker, ManifestChecksums
from twin.errors import ArchiveError, IssueCode


class Snapshot:
    """Contents of one commit, read from its files on a local disk or through a session.

    ``manifest_checker`` checks the manifests of a local disk where ``files`` is None;
    ``on_corruption`` is that of :class:`telemetry.archive.chunk_io.ChunkReader`. Another layout
    raises ArchiveError.
    """

    def __init__(
        self,
        session: icechunk.Session,
        files: LocalObjects | None = None,
        *,
        manifest_checker: ManifestChecker | None = None,
        on_corruption: CorruptionHandler | None = None,
    ) -> None:
        self.manifest_checker = files.manifest_checker if files is not None else manifest_checker
        self.store: Store = session.store
        self.root = zarr.open_group(self.store, mode="r" if session.read_only else "a")
        found = self.root.attrs.get("layout", ARCHIVE_LAYOUT_VERSION)
        if found != ARCHIVE_LAYOUT_VERSION:
            raise ArchiveError(
                f"the archive has layout {found}, expected {ARCHIVE_LAYOUT_VERSION}: "
                "read it with the version that wrote it, or name another folder",
                code=IssueCode.WRONG_VERSION,
            )
        self.chunk_reader = ChunkReader(self.store, files, on_corruption=on_corruption)
        self._grids: dict[str, ShardGrid | None] = {}
        for group, label in LABEL_AXES.items():
            self.check(f"{group}/{label}")
        self.check("points/metadata")

    @classmethod
    def last(
        cls,
        repository: icechunk.Repository,
        folder: Path | None = None,
        *,
        checksums: ManifestChecksums | None = None,
    ) -> "Snapshot":
        """Return the last commit of an open repository.

        With its folder on a local disk, ``checksums`` must have been read before it was opened.
        Corrupt files raise CorruptRepositoryError.
        """
        if folder is None:
            return cls(repository.readonly_session(MAIN_BRANCH))
        checksums = checksums or ManifestChecksums(folder)
        head = repository.lookup_branch(MAIN_BRANCH)
        checksums.check_head(head)
        session = repository.readonly_session(snapshot_id=head)
        return cls(session, LocalObjects(folder, repository, head, checksums=checksums))

    def check(self, path: str) -> None:
        """Check the manifests of an array; raise CorruptRepositoryError if they are corrupt."""
        if self.manifest_checker is not None:
            self.manifest_checker.check(path)

    def names(self, path: str) -> list[str]:
        """Return the names in a group, in order; none without the group."""
        return sorted(sync(_listed(self.store, path)))

    def days(self, group: str) -> list[str]:
        """Return the UTC days with values."""
        return self.names(f"{group}/heard")

    def grid(self, path: str) -> ShardGrid | None:
        """Return the grid of an array; None if it does not exist."""
        if path not in self._grids:
            self.check(path)
            try:
                self._grids[path] = ShardGrid.of(open_array(self.root, path))
            except KeyError:
                self._grids[path] = None
        return self._grids[path]

    def refresh(self, path: str) -> None:
        """Read an array again that was changed within this session."""
        self._grids.pop(path, None)

    def seconds_present(self, group: str, first: int, last: int) -> Int64Array:
        """Return the seconds with values from ``first`` to before ``last``. [s since 1970]"""
        found = []
        known = set(self.days(group))
        if not known:
            return np.empty(0, dtype=np.int64)
        begin = OPEN_MINUTES.rows(min(known))[0]
        end = OPEN_MINUTES.rows(max(known))[0] + DAY_S
        for day in days_between(max(first, begin), min(last, end)):
            if day in known:
                start, _ = OPEN_MINUTES.rows(day)
                self.check(f"{group}/heard/{day}")
                marked = open_array(self.root, f"{group}/heard/{day}")
                (rows,) = np.nonzero(np.asarray(marked[:]))
                seconds = rows.astype(np.int64) + start
                found.append(seconds[(seconds >= first) & (seconds < last)])
        return np.concatenate(found) if found else np.empty(0, dtype=np.int64)

    def read(
        self,
        group: str,
        name: str,
        *,
        seconds: Int64Array,
        columns: Int64Array,
        chips: Int64Array | None = None,
        levels: Sequence[ResolutionLevel] = SECOND_LEVELS,
    ) -> AnyArray:
        """Return values at some seconds of some columns.

        The seconds rise, and are starts of rows for coarser levels [s since 1970]. Of several
        levels the last with a value of a cell has priority.
        """
        kind, absent = {**GROUP_ARRAYS[group], **rollup_arrays(group)}[name]
        part = ArraySelection(rows=seconds, columns=columns, chips=chips)
        found = np.full(part.shape, absent, dtype=kind)
        is_over = False
        for level in levels:
            is_stored = False
            for period, where in _by_period(level, seconds):
                path = f"{group}/{level.name}/{period}/{name}"
                grid = self.grid(path)
                if grid is None:
                    continue
                start, _ = level.rows(period)
                rows = (seconds[where] - start) // level.step
                inside = _within(ArraySelection(rows=rows, columns=columns, chips=chips), grid)
                is_stored |= self._into(path, grid, inside, into=found[where], is_over=is_over)
            is_over |= is_stored
        return found

    def _into(
        self,
        path: str,
        grid: ShardGrid,
        inside: tuple[ArraySelection, NDArray[np.bool_], NDArray[np.bool_] | None],
        *,
        into: AnyArray,
        is_over: bool,
    ) -> bool:
        """Read the stored part of a selection; the array may be narrower. Return whether there is
        any.
        """
        part, is_column, is_chip = inside
        if is_column.all() and (is_chip is None or is_chip.all()):
            return self.chunk_reader.read(path, grid, part, into=into, is_over=is_over)
        values = into[:, is_column] if is_chip is None else into[:, is_column][:, :, is_chip]
        is_stored = self.chunk_reader.read(path, grid, part, into=values, is_over=is_over)
        if is_chip is None:
            into[:, is_column] = values
        else:
            into[np.ix_(np.arange(len(into)), is_column.nonzero()[0], is_chip.nonzero()[0])] = (
                values
            )
        return is_stored


def _within(
    part: ArraySelection, grid: ShardGrid
) -> tuple[ArraySelection, NDArray[np.bool_], NDArray[np.bool_] | None]:
    """Return the part of a selection inside an array, and which columns and chips these are."""
    is_column = part.columns < grid.shape[1]
    is_chip = None if part.chips is None else part.chips < grid.shape[2]
    chips = part.chips if part.chips is None or is_chip is None else part.chips[is_chip]
    return (
        ArraySelection(rows=part.rows, columns=part.columns[is_column], chips=chips),
        is_column,
        is_chip,
    )


def _by_period(level: ResolutionLevel, seconds: Int64Array) -> list[tuple[str, slice]]:
    """Return the periods of some seconds, and which of them lie in each."""
    if not len(seconds):
        return []
    if level.is_monthly:
        periods = seconds.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
    else:
        periods = seconds // DAY_S
    edges = [0, *(np.flatnonzero(np.diff(periods)) + 1).tolist(), len(seconds)]
    return [
        (level.period(int(seconds[first])), slice(first, last)) for first, last in pairwise(edges)
    ]


async def _listed(store: Store, path: str) -> list[str]:
    return [name async for name in store.list_dir(path) if name != "zarr.json"]


def start_of_hour(second: int) -> int:
    """Return the start of the hour of a second. [s since 1970]"""
    return second // HOUR_S * HOUR_S
