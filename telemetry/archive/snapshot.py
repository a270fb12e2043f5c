"""An archive as it stood at one commit: what there is, and the values at any cells of it."""

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
    DAY_S,
    GROUP_ARRAYS,
    HOUR_S,
    LABEL_AXES,
    LAYOUT_VERSION,
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
from telemetry.archive.repository_files import LocalObjects, ManifestChecker, ManifestChecksums
from twin.errors import ArchiveError


class Snapshot:
    """What one commit holds.

    Parameters
    ----------
    session
        Of the repository.
    files
        Its objects on a local disk; None to read through the session.
    guard
        Checks the files that say where objects lie, where nobody reads them past the session.
    forgive
        See :class:`telemetry.archive.chunk_io.ChunkReader`.

    Raises
    ------
    ArchiveError
        If another version of gigatwin wrote it.
    """

    def __init__(
        self,
        session: icechunk.Session,
        files: LocalObjects | None = None,
        *,
        manifest_checker: ManifestChecker | None = None,
        forgive: CorruptionHandler | None = None,
    ) -> None:
        self.manifest_checker = files.manifest_checker if files is not None else manifest_checker
        self.store: Store = session.store
        self.root = zarr.open_group(self.store, mode="r" if session.read_only else "a")
        found = self.root.attrs.get("layout", LAYOUT_VERSION)
        if found != LAYOUT_VERSION:
            message = (
                f"the archive has layout {found}, this gigatwin knows {LAYOUT_VERSION}: "
                "read it with the version that wrote it, or name another folder"
            )
            raise ArchiveError(message)
        self.chunk_reader = ChunkReader(self.store, files, forgive=forgive)
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
        seals: ManifestChecksums | None = None,
    ) -> "Snapshot":
        """Return the last commit.

        Parameters
        ----------
        repository
            Opened.
        folder
            Of it, if that is on a local disk.
        seals
            Of it, read before it was opened.

        Raises
        ------
        CorruptRepositoryError
            If what says where things lie is not what was written.
        """
        if folder is None:
            return cls(repository.readonly_session(MAIN_BRANCH))
        seals = seals or ManifestChecksums(folder)
        head = repository.lookup_branch(MAIN_BRANCH)
        seals.check_head(head)
        session = repository.readonly_session(snapshot_id=head)
        return cls(session, LocalObjects(folder, repository, head, seals=seals))

    def check(self, path: str) -> None:
        """Hold that what says where the objects of an array lie is what was written.

        Raises
        ------
        CorruptRepositoryError
            If it is not.
        """
        if self.manifest_checker is not None:
            self.manifest_checker.check(path)

    def names(self, path: str) -> list[str]:
        """Return what lies in a group, in order; nothing if there is no such group."""
        return sorted(sync(_listed(self.store, path)))

    def days(self, group: str) -> list[str]:
        """Return the UTC days of which something was heard."""
        return self.names(f"{group}/heard")

    def grid(self, path: str) -> ShardGrid | None:
        """Return the grid of an array; None if it is not there."""
        if path not in self._grids:
            self.check(path)
            try:
                self._grids[path] = ShardGrid.of(open_array(self.root, path))
            except KeyError:
                self._grids[path] = None
        return self._grids[path]

    def refresh(self, path: str) -> None:
        """Look anew at an array that was changed within this session."""
        self._grids.pop(path, None)

    def seconds_present(self, group: str, first: int, last: int) -> Int64Array:
        """Return the seconds of a span of which something was heard. [s since 1970]

        Parameters
        ----------
        group
            ``racks`` or ``points``.
        first, last
            The span; the last second is not included. [s since 1970]
        """
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
                held = open_array(self.root, f"{group}/heard/{day}")
                (rows,) = np.nonzero(np.asarray(held[:]))
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

        Parameters
        ----------
        group, name
            Which array.
        seconds
            In rising order; starts of rows, for coarser levels. [s since 1970]
        columns, chips
            Which of them.
        levels
            Where they stand; of several the last that tells anything of a cell goes before.
        """
        kind, absent = {**GROUP_ARRAYS[group], **rollup_arrays(group)}[name]
        part = ArraySelection(rows=seconds, columns=columns, chips=chips)
        found = np.full(part.shape, absent, dtype=kind)
        is_over = False
        for level in levels:
            is_there = False
            for period, where in _by_period(level, seconds):
                path = f"{group}/{level.name}/{period}/{name}"
                grid = self.grid(path)
                if grid is None:
                    continue
                start, _ = level.rows(period)
                rows = (seconds[where] - start) // level.step
                inside = _within(ArraySelection(rows=rows, columns=columns, chips=chips), grid)
                is_there |= self._into(path, grid, inside, into=found[where], is_over=is_over)
            is_over |= is_there
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
        """Read what an array has, if anything; it may be narrower than what is wanted of it."""
        part, is_column, is_chip = inside
        if is_column.all() and (is_chip is None or is_chip.all()):
            return self.chunk_reader.read(path, grid, part, into=into, is_over=is_over)
        room = into[:, is_column] if is_chip is None else into[:, is_column][:, :, is_chip]
        is_there = self.chunk_reader.read(path, grid, part, into=room, is_over=is_over)
        if is_chip is None:
            into[:, is_column] = room
        else:
            into[np.ix_(np.arange(len(into)), is_column.nonzero()[0], is_chip.nonzero()[0])] = room
        return is_there


def _within(
    part: ArraySelection, grid: ShardGrid
) -> tuple[ArraySelection, NDArray[np.bool_], NDArray[np.bool_] | None]:
    """Return what of a part an array has, and which columns and chips these are."""
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
        marks = seconds.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
    else:
        marks = seconds // DAY_S
    edges = [0, *(np.flatnonzero(np.diff(marks)) + 1).tolist(), len(seconds)]
    return [
        (level.period(int(seconds[first])), slice(first, last)) for first, last in pairwise(edges)
    ]


async def _listed(store: Store, path: str) -> list[str]:
    return [name async for name in store.list_dir(path) if name != "zarr.json"]


def start_of_hour(second: int) -> int:
    """Return the start of the hour that a second lies in. [s since 1970]"""
    return second // HOUR_S * HOUR_S
