"""An archive as of one commit: what it contains, and the values of any cells."""

import math
import struct
from collections.abc import Callable, Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import Final

import icechunk
import numpy as np
import zarr
from zarr.abc.store import Store, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from telemetry.archive.layout import (
    ARCHIVE_LAYOUT_VERSION,
    CHECKSUM_BYTES,
    DAY_S,
    HOUR_S,
    INDEX_ENTRY_BYTES,
    LABEL_AXES,
    MAIN_BRANCH,
    NO_CHUNK,
    OPEN_MINUTES_LEVEL,
    SECOND_LEVELS,
    AnyArray,
    Int64Array,
    ResolutionLevel,
    ShardIndex,
    ZarrArray,
    array_type,
    days_between,
    has_value,
    open_array,
    shard_shape,
)
from telemetry.archive.manifests import CorruptRepositoryError, LocalObjects, ManifestChecksums
from twin.errors import ArchiveError, IssueCode

UNREADABLE_ERRORS: Final = (ArchiveError, icechunk.IcechunkError, RuntimeError, ValueError)
"""Errors of a corrupt or missing chunk."""

type CorruptionHandler = Callable[[str, ShardIndex, str], None]
"""Receives the path of an array, a shard of it, and why that counts as missing."""


class Snapshot:
    """Contents of one commit, read from its files on a local disk or through a session.

    ``on_corruption`` receives each corrupt shard or chunk, which then counts as missing, so that a
    writer can continue; without it reading raises. Another layout raises ArchiveError.
    """

    def __init__(
        self,
        session: icechunk.Session,
        files: LocalObjects | None = None,
        *,
        on_corruption: CorruptionHandler | None = None,
    ) -> None:
        self._session = session
        self.files = files
        self.root = zarr.open_group(session.store, mode="r")
        found = self.root.attrs.get("layout", ARCHIVE_LAYOUT_VERSION)
        if found != ARCHIVE_LAYOUT_VERSION:
            raise ArchiveError(
                f"the archive has layout {found}, expected {ARCHIVE_LAYOUT_VERSION}: "
                "read it with the version that wrote it, or name another folder",
                code=IssueCode.WRONG_VERSION,
            )
        self._on_corruption = on_corruption
        self._arrays: dict[str, ZarrArray | None] = {}
        self._shards: dict[str, Int64Array] = {}
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
        on_corruption: CorruptionHandler | None = None,
    ) -> "Snapshot":
        """Return the last commit of an open repository.

        With its folder on a local disk, ``checksums`` must have been read before it was opened.
        Corrupt files raise CorruptRepositoryError.
        """
        if folder is None:
            session = repository.readonly_session(MAIN_BRANCH)
            return cls(session, on_corruption=on_corruption)
        checksums = checksums or ManifestChecksums(folder)
        head = repository.lookup_branch(MAIN_BRANCH)
        checksums.check_head(head)
        session = repository.readonly_session(snapshot_id=head)
        files = LocalObjects(folder, repository, head, checksums=checksums)
        return cls(session, files, on_corruption=on_corruption)

    def check(self, path: str) -> None:
        """Check the manifests of an array; raise CorruptRepositoryError if they are corrupt."""
        if self.files is not None:
            self.files.check(path)

    def names_in_group(self, path: str) -> list[str]:
        """Return the names in a group, in order; none without the group."""
        return sorted(sync(_listed(self._session.store, path)))

    def days(self, group: str) -> list[str]:
        """Return the UTC days with values."""
        return self.names_in_group(f"{group}/heard")

    def array(self, path: str) -> ZarrArray | None:
        """Return an array of values; None if it does not exist."""
        if path not in self._arrays:
            self.check(path)
            try:
                self._arrays[path] = open_array(self.root, path)
            except KeyError:
                self._arrays[path] = None
        return self._arrays[path]

    def stored_shard_places(self, path: str) -> Int64Array:
        """Return the places of the stored shards of an array, on (shard, axis), in order."""
        if path not in self._shards:
            if self.files is not None and self._is_on_disk(path):
                places = sorted(self.files.object_refs(path))
            else:
                try:
                    places = sorted(sync(_places(self._session, path)))
                except icechunk.IcechunkError as error:
                    raise _deleted(path) from error
            self._shards[path] = np.array(places, dtype=np.int64)
        return self._shards[path]

    def stored_size(self, path: str, place: Sequence[int]) -> tuple[int, int]:
        """Return the number of chunks of a stored shard, and its size. [B]"""
        array = self.array(path)
        if array is None:
            return 0, 0
        cuts = zip(shard_shape(array), array.chunks, strict=True)
        size = math.prod(wide // cut for wide, cut in cuts) * INDEX_ENTRY_BYTES + CHECKSUM_BYTES
        key = f"{path}/c/{'/'.join(map(str, place))}"
        tail = SuffixByteRequest(size)
        data = sync(self._session.store.get(key, default_buffer_prototype(), tail))
        index = b"" if data is None else data.to_bytes()[:-CHECKSUM_BYTES]
        entries = np.frombuffer(index, "<u8").reshape(-1, 2)
        lengths = entries[entries[:, 1] != NO_CHUNK, 1]
        return len(lengths), int(lengths.sum()) + size

    def _is_on_disk(self, path: str) -> bool:
        """Return whether an array has files with manifests of a known format."""
        try:
            return self.files is not None and self.files.object_refs(path) is not None
        except (KeyError, ValueError, OSError, struct.error, IndexError):
            return False

    def seconds_present(self, group: str, first: int, last: int) -> Int64Array:
        """Return the seconds with values from ``first`` to before ``last``. [s since 1970]"""
        found = []
        known = set(self.days(group))
        if not known:
            return np.empty(0, dtype=np.int64)
        begin = OPEN_MINUTES_LEVEL.first_second_and_row_count(min(known))[0]
        end = OPEN_MINUTES_LEVEL.first_second_and_row_count(max(known))[0] + DAY_S
        for day in days_between(max(first, begin), min(last, end)):
            if day in known:
                start, _ = OPEN_MINUTES_LEVEL.first_second_and_row_count(day)
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
        axes = [columns] if chips is None else [columns, chips]
        kind, absent = array_type(group, name)
        shape = (len(seconds), *map(len, axes))
        found: AnyArray | None = None
        for level in levels:
            for period, where in _by_period(level, seconds):
                rows = (
                    seconds[where] - level.first_second_and_row_count(period)[0]
                ) // level.row_seconds
                values = self.read_cells(f"{group}/{level.name}/{period}/{name}", [rows, *axes])
                if values is None:
                    continue
                if found is None and values.shape == shape:
                    found = values
                    continue
                found = np.full(shape, absent, dtype=kind) if found is None else found
                np.copyto(found[where], values, where=has_value(values, absent))
        return np.full(shape, absent, dtype=kind) if found is None else found

    def read_cells(self, path: str, axes: Sequence[Int64Array]) -> AnyArray | None:
        """Return the cells at some indices of each axis of an array, fill values where none is
        stored; None if no shard of them is.
        """
        array = self.array(path)
        if array is None or not len(shards := self.stored_shard_places(path)):
            return None
        inside = [
            np.flatnonzero(np.isin(places // cut, shards[:, axis]) & (places < size))
            for axis, (places, cut, size) in enumerate(
                zip(axes, shard_shape(array), array.shape, strict=True)
            )
        ]
        if not all(map(len, inside)):
            return None
        values = self._values(path, array, [a[one] for a, one in zip(axes, inside, strict=True)])
        shape = [*map(len, axes)]
        if list(values.shape) == shape:
            return values
        found = np.full(shape, array.fill_value, dtype=array.dtype)
        found[np.ix_(*inside)] = values
        return found

    def _select(self, path: str, array: ZarrArray, axes: Sequence[Int64Array]) -> AnyArray:
        """Return the values of an array at some indices of each axis."""
        if self.files is not None and self._is_on_disk(path):
            return self.files.select(array, axes)
        picked = tuple(
            slice(int(places[0]), int(places[-1]) + 1) if (np.diff(places) == 1).all() else places
            for places in axes
        )
        return np.asarray(array.oindex[picked])

    def _values(self, path: str, array: ZarrArray, axes: Sequence[Int64Array]) -> AnyArray:
        """Return values; corrupt ones are missing if there is a handler for them."""
        try:
            return self._select(path, array, axes)
        except CorruptRepositoryError:
            raise
        except UNREADABLE_ERRORS as error:
            if self._on_corruption is not None:
                return self._intact(path, array, axes, [shard_shape(array), array.chunks])
            code = getattr(error, "code", None)
            if isinstance(error, ValueError | RuntimeError) or code is IssueCode.CORRUPT:
                message = f"{path}: {corruption_reason(error)}"
                raise ArchiveError(message, code=IssueCode.CORRUPT) from error
            raise _deleted(path) from error

    def _intact(
        self,
        path: str,
        array: ZarrArray,
        axes: Sequence[Int64Array],
        cuts: Sequence[tuple[int, ...]],
    ) -> AnyArray:
        """Return values, read shard by shard and the corrupt ones chunk by chunk."""
        found = np.full([*map(len, axes)], array.fill_value, dtype=array.dtype)
        blocks = [places // cut for places, cut in zip(axes, cuts[0], strict=True)]
        for place in product(*(np.unique(one).tolist() for one in blocks)):
            inside = [np.flatnonzero(one == at) for one, at in zip(blocks, place, strict=True)]
            part = [places[one] for places, one in zip(axes, inside, strict=True)]
            try:
                found[np.ix_(*inside)] = self._select(path, array, part)
            except UNREADABLE_ERRORS as error:
                if len(cuts) > 1:
                    found[np.ix_(*inside)] = self._intact(path, array, part, cuts[1:])
                elif self._on_corruption is not None:
                    shard = zip(part, shard_shape(array), strict=True)
                    at = tuple(int(places[0]) // cut for places, cut in shard)
                    self._on_corruption(path, at, corruption_reason(error))
        return found


def _deleted(path: str) -> ArchiveError:
    """Return the error of data that the open commit has, and the disk or bucket has not."""
    remedy = "open the archive again; if that fails, run `gigatwin archive verify`"
    message = f"{path}: data of this view was deleted; {remedy}"
    return ArchiveError(message, code=IssueCode.MISSING)


def corruption_reason(error: Exception) -> str:
    """Return why a chunk cannot be read; the errors of Zarr's pipeline do not say of what."""
    is_of_pipeline = isinstance(error, ValueError | RuntimeError)
    return "a chunk is corrupt: its checksum differs" if is_of_pipeline else str(error)


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


async def _places(session: icechunk.Session, path: str) -> list[tuple[int, ...]]:
    return [place async for place in session.chunk_coordinates(f"/{path}")]


async def _listed(store: Store, path: str) -> list[str]:
    return [name async for name in store.list_dir(path) if name != "zarr.json"]


def start_of_hour(second: int) -> int:
    """Return the start of the hour of a second. [s since 1970]"""
    return second // HOUR_S * HOUR_S
