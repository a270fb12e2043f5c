"""Read parts of arrays: select the chunks, and read adjacent ones together."""

import struct
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise
from typing import Final

import icechunk
import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from telemetry.archive.layout import AnyArray, ChunkIndex, ShardGrid, ShardIndex, is_present
from telemetry.archive.manifests import CorruptRepositoryError, LocalObjects
from twin.errors import ArchiveError, IssueCode

MAX_READ_BYTES: Final = 4 * 1024 * 1024
"""Longest read of adjacent chunks. [B]"""

type Int64Array = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ChunkSlice:
    """Requested rows or columns of one chunk, which is number ``block`` along its axis.

    ``wanted`` are their indices among those requested, ``inside`` those within the chunk.
    """

    block: int
    wanted: slice | Int64Array
    inside: slice | Int64Array


@dataclass(frozen=True, slots=True)
class ChunkRead:
    """Bytes of a chunk in its shard, and the slices to copy."""

    offset: int
    size: int
    rows: ChunkSlice
    columns: ChunkSlice
    chips: ChunkSlice | None


type ShardRead = tuple[ShardIndex, list[ChunkRead]]
"""A shard, and adjacent chunks of it."""


@dataclass(frozen=True, kw_only=True)
class ArraySelection:
    """Requested rows in rising order, columns, and chips if the array has them."""

    rows: Int64Array
    columns: Int64Array
    chips: Int64Array | None = None

    @property
    def shape(self) -> ShardIndex:
        """Shape of the selection."""
        deep = () if self.chips is None else (len(self.chips),)
        return (len(self.rows), len(self.columns), *deep)


def chunk_slices(
    sorted_places: Int64Array, size: int, order: Int64Array | None
) -> Iterator[ChunkSlice]:
    """Yield the runs of sorted indices that lie in one chunk each."""
    if not len(sorted_places):
        return
    blocks = sorted_places // size
    edges = [0, *(np.flatnonzero(np.diff(blocks)) + 1).tolist(), len(blocks)]
    steps = np.cumsum(np.diff(sorted_places, prepend=sorted_places[0] - 1) != 1)
    starts = (sorted_places - blocks * size).tolist()
    for first, last in pairwise(edges):
        inside: slice | Int64Array = slice(starts[first], starts[first] + last - first)
        if steps[first] != steps[last - 1]:  # they are not neighbours
            inside = sorted_places[first:last] - blocks[first] * size
        wanted = slice(first, last) if order is None else _as_slice(order[first:last])
        yield ChunkSlice(int(blocks[first]), wanted, inside)


def _as_slice(places: Int64Array) -> slice | Int64Array:
    """Return indices as a slice if they are consecutive."""
    first = int(places[0])
    if len(places) == 1 or (np.diff(places) == 1).all():
        return slice(first, first + len(places))
    return places


def group_by_shard(runs: Iterable[ChunkSlice], count: int) -> dict[int, list[ChunkSlice]]:
    """Return runs by their shard, which has ``count`` chunks along this axis."""
    found: dict[int, list[ChunkSlice]] = {}
    for run in runs:
        found.setdefault(run.block // count, []).append(run)
    return found


def present_chunks(
    index: ChunkIndex,
    rows: list[ChunkSlice],
    columns: list[ChunkSlice],
    *,
    chips: ChunkSlice | None,
) -> list[ChunkRead]:
    """Return the requested chunks that exist, in the order of their bytes."""
    down, across = index.shape[:2]
    exists = is_present(index)
    pieces = []
    for row in rows:
        for column in columns:
            at = row.block % down, column.block % across
            if exists[at]:
                offset, size = index[at].tolist()
                pieces.append(ChunkRead(offset, size, row, column, chips))
    pieces.sort(key=lambda piece: piece.offset)
    return pieces


def merge_adjacent(pieces: list[ChunkRead]) -> Iterator[list[ChunkRead]]:
    """Yield adjacent chunks together."""
    span: list[ChunkRead] = []
    for piece in pieces:
        if span:
            last = span[-1]
            is_next = last.offset + last.size == piece.offset
            if not is_next or piece.offset + piece.size - span[0].offset > MAX_READ_BYTES:
                yield span
                span = []
        span.append(piece)
    if span:
        yield span


def copy_chunk(
    piece: ChunkRead, buffer: AnyArray, into: AnyArray, *, absent: float | None = None
) -> None:
    """Copy the requested part of a chunk into the selection.

    With ``absent``, cells of that fill value leave the target as it is.
    """
    found = buffer[piece.rows.inside][:, piece.columns.inside]
    target = into[piece.rows.wanted]
    at: tuple[slice | Int64Array, ...] = (slice(None), piece.columns.wanted)
    if piece.chips is not None:
        found = found[:, :, piece.chips.inside]
        columns, chips = piece.columns.wanted, piece.chips.wanted
        if not (isinstance(columns, slice) or isinstance(chips, slice)):
            columns = columns[:, None]
        at = (slice(None), columns, chips)
    if absent is not None:
        has_value = ~np.isnan(found) if np.isnan(absent) else found != absent
        found = np.where(has_value, found, target[at])
    target[at] = found


IO_THREADS: Final = 2
"""Threads that read, compress and decompress. [1]"""

MAX_SERIAL_READS: Final = 4
"""Largest number of reads in one thread only. [1]"""

READ_SHARES: Final = 4
"""Shares of the reads that threads take; more than threads, so that none waits long. [1]"""

MAX_CACHED_INDEXES: Final = 4096
"""Chunk indexes kept in memory. [1]"""

UNREADABLE_ERRORS: Final = (ArchiveError, FileNotFoundError, icechunk.IcechunkError, ValueError)
"""Errors of a corrupt or missing shard."""

type CorruptionHandler = Callable[[str, ShardIndex, str], None]
"""Receives the path of an array, a shard of it, and why that counts as missing."""


@lru_cache(maxsize=1)
def io_pool() -> ThreadPoolExecutor:
    """Return the threads that all archives of a process share."""
    return ThreadPoolExecutor(IO_THREADS, thread_name_prefix="archive")


class ChunkReader:
    """Reads arrays of one snapshot, from its files on a local disk or from the store of a session.

    ``on_corruption`` receives each corrupt shard or chunk, which then counts as missing, so that a
    writer can continue; without it reading raises.
    """

    def __init__(
        self,
        store: Store,
        files: LocalObjects | None = None,
        *,
        on_corruption: CorruptionHandler | None = None,
    ) -> None:
        self._store = store
        self._on_corruption = on_corruption
        self._files = files
        self._indexes: dict[tuple[str, ShardIndex], ChunkIndex | None] = {}

    def read(
        self,
        path: str,
        grid: ShardGrid,
        part: ArraySelection,
        *,
        into: AnyArray,
        is_over: bool = False,
    ) -> bool:
        """Copy the stored part of a selection into an array of its shape; return whether any is
        stored.

        With ``is_over``, cells with the fill value leave the target as it is. Corrupt data raises
        ArchiveError.
        """
        try:
            jobs = [
                (place, span)
                for place, pieces in self._pieces(path, grid, part)
                for span in merge_adjacent(pieces)
            ]
            if jobs:
                self._work(path, grid, jobs, into=into, is_over=is_over)
            return bool(jobs)
        except CorruptRepositoryError:
            raise
        except ArchiveError as error:
            raise ArchiveError(f"{path}: {error}", code=IssueCode.CORRUPT) from error
        except (FileNotFoundError, icechunk.IcechunkError) as error:
            remedy = "open the archive again; if that fails, run `gigatwin archive verify`"
            message = f"{path}: data of this view was deleted; {remedy}"
            raise ArchiveError(message, code=IssueCode.MISSING) from error

    def read_index(self, path: str, grid: ShardGrid, place: ShardIndex) -> ChunkIndex | None:
        """Return the index of a shard; None if there is no such shard."""
        key = path, place
        if key not in self._indexes:
            if len(self._indexes) > MAX_CACHED_INDEXES:
                self._indexes.clear()
            try:
                data = self._tail(path, place, grid.index_bytes)
                self._indexes[key] = None if data is None else grid.decode_index(data)
            except CorruptRepositoryError:
                raise
            except UNREADABLE_ERRORS as error:
                message = f"shard {place}: {error}"
                if self._on_corruption is not None:
                    self._on_corruption(path, place, message)
                elif isinstance(error, ArchiveError):
                    raise ArchiveError(message, code=IssueCode.CORRUPT) from error
                else:
                    raise
                self._indexes[key] = None
        return self._indexes[key]

    def read_shard(self, path: str, place: ShardIndex) -> bytes | None:
        """Return a whole shard; None if there is none.

        A deleted one raises FileNotFoundError or icechunk.IcechunkError.
        """
        data = sync(self._store.get(shard_key(path, place), default_buffer_prototype()))
        return None if data is None else data.to_bytes()

    def _pieces(self, path: str, grid: ShardGrid, part: ArraySelection) -> Iterator[ShardRead]:
        """Yield shards with their requested chunks that exist."""
        down, across = grid.chunks_per_shard
        columns = np.argsort(part.columns, kind="stable")
        by_row = group_by_shard(chunk_slices(part.rows, grid.chunk[0], None), down)
        by_column = group_by_shard(
            chunk_slices(part.columns[columns], grid.chunk[1], columns), across
        )
        chips: list[ChunkSlice | None] = [None]
        if part.chips is not None:
            order = np.argsort(part.chips, kind="stable")
            chips = list(chunk_slices(part.chips[order], grid.chunk[2], order))
        for i, rows in by_row.items():
            for j, wide in by_column.items():
                for deep in chips:
                    place = (i, j) if deep is None else (i, j, deep.block)
                    index = self.read_index(path, grid, place)
                    if index is None:
                        continue
                    yield place, present_chunks(index, rows, wide, chips=deep)

    def _tail(self, path: str, place: ShardIndex, size: int) -> bytes | None:
        """Return the last bytes of a shard."""
        if self._files is not None:
            try:
                ref = self._files.object_refs(path).get(place)
                if ref is None:
                    return None
                if ref[0]:
                    return self._files.read(ref, -size, size)
            except (KeyError, ValueError, OSError, struct.error, IndexError):
                self._files = None
        prototype = default_buffer_prototype()
        data = sync(self._store.get(shard_key(path, place), prototype, SuffixByteRequest(size)))
        return None if data is None else data.to_bytes()

    def shard_indices(self, path: str) -> list[ShardIndex]:
        """Return the shards of an array."""
        return sorted(sync(_places(self._store, path)))

    def _work(
        self, path: str, grid: ShardGrid, jobs: list[ShardRead], *, into: AnyArray, is_over: bool
    ) -> None:
        """Read all jobs, one by one if reading them together fails."""
        on_corruption = None if self._on_corruption is None else partial(self._on_corruption, path)
        try:
            with self._fetcher(path, jobs) as fetch:
                _read_jobs(
                    jobs, fetch, grid, into=into, is_over=is_over, on_corruption=on_corruption
                )
        except UNREADABLE_ERRORS as error:
            if on_corruption is None or isinstance(error, CorruptRepositoryError):
                raise
            if len(jobs) == 1:
                on_corruption(jobs[0][0], str(error))
                return
            for job in jobs:
                self._work(path, grid, [job], into=into, is_over=is_over)

    @contextmanager
    def _fetcher(self, path: str, jobs: list[ShardRead]) -> Iterator[Callable[[int], bytes]]:
        """Yield a function that reads the bytes of a job by its number."""
        ends = [(span[0].offset, span[-1].offset + span[-1].size) for _, span in jobs]
        if self._files is not None:
            refs = self._files.object_refs(path)
            if all(refs[place][0] for place, _ in jobs):
                wanted = [(refs[job[0]], *end) for job, end in zip(jobs, ends, strict=True)]
                with self._files.reader(wanted) as read:
                    yield read
                return
        requests = [
            (shard_key(path, place), RangeByteRequest(*end))
            for (place, _), end in zip(jobs, ends, strict=True)
        ]
        data = sync(self._store.get_partial_values(default_buffer_prototype(), requests))
        yield lambda number: b"" if (found := data[number]) is None else found.to_bytes()


def _read_jobs(
    jobs: list[ShardRead],
    fetch: Callable[[int], bytes],
    grid: ShardGrid,
    *,
    into: AnyArray,
    is_over: bool,
    on_corruption: Callable[[ShardIndex, str], None] | None,
) -> None:
    """Read and copy the chunks of all jobs, a share of them in each thread."""
    absent = grid.fill_value if is_over else None

    def work(numbers: range) -> None:
        buffer = np.empty(grid.chunk, dtype=grid.dtype)
        for number in numbers:
            start = jobs[number][1][0].offset
            data = memoryview(fetch(number))
            for piece in jobs[number][1]:
                first = piece.offset - start
                try:
                    grid.decode_chunk(data[first : first + piece.size], buffer)
                except ArchiveError as error:
                    if on_corruption is None:
                        raise
                    on_corruption(jobs[number][0], str(error))
                else:
                    copy_chunk(piece, buffer, into, absent=absent)

    every = range(len(jobs))
    if len(jobs) <= MAX_SERIAL_READS:
        work(every)
    else:
        list(io_pool().map(work, [every[part::READ_SHARES] for part in range(READ_SHARES)]))


async def _places(store: Store, path: str) -> list[ShardIndex]:
    keys = [key async for key in store.list_prefix(path)]
    shards = [key.removeprefix(f"{path}/c/") for key in keys if key.startswith(f"{path}/c/")]
    return [tuple(int(part) for part in shard.split("/")) for shard in shards]


def shard_key(path: str, place: ShardIndex) -> str:
    """Return the key of a shard in the store."""
    return f"{path}/c/{'/'.join(map(str, place))}"
