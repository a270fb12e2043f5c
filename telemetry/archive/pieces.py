"""Read parts of arrays: which blocks, from which objects, in as few reads as they allow."""

import struct
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from telemetry.archive.blocks import Grid, Index, Place, Values, is_there
from telemetry.archive.files import Files
from twin.errors import ArchiveError

WORKERS: Final = 2
"""Threads that read, compress and expand."""

ALONE: Final = 4
"""Spans of an array that are not worth a second thread."""

SHARES: Final = 4
"""Shares of the spans that threads take; more than threads, so that none waits long."""

SPAN: Final = 4 * 1024 * 1024
"""Longest read of neighbouring blocks. [B]"""

INDEXES: Final = 4096
"""Indexes of shards that are remembered."""

type Numbers = NDArray[np.int64]


@lru_cache(maxsize=1)
def pool() -> ThreadPoolExecutor:
    """Return the threads that all archives of a process share."""
    return ThreadPoolExecutor(WORKERS, thread_name_prefix="archive")


@dataclass(frozen=True, slots=True)
class Run:
    """Wanted rows or columns that lie in one block: which block, which of those wanted, and where.

    Attributes
    ----------
    block
        Number of the block along its axis.
    wanted
        Their places among those wanted.
    inside
        Their places in the block.
    """

    block: int
    wanted: slice | Numbers
    inside: slice | Numbers


@dataclass(frozen=True, slots=True)
class Piece:
    """A block to be read: where its bytes are in a shard, and what of it goes where."""

    offset: int
    size: int
    rows: Run
    columns: Run
    chips: Run | None


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is wanted of an array: rows in rising order, columns, and chips if it has them."""

    rows: Numbers
    columns: Numbers
    chips: Numbers | None = None

    @property
    def shape(self) -> Place:
        """Return the shape of what is wanted."""
        deep = () if self.chips is None else (len(self.chips),)
        return (len(self.rows), len(self.columns), *deep)


class Pieces:
    """Reads arrays of one snapshot.

    Parameters
    ----------
    store
        Of a session.
    files
        The same on a local disk; None to read through the store.
    """

    def __init__(self, store: Store, files: Files | None = None) -> None:
        self._store = store
        self._files = files
        self._indexes: dict[tuple[str, Place], Index | None] = {}

    def read(self, path: str, grid: Grid, part: Part, *, into: Values) -> None:
        """Write what is stored of a part of an array into another; the rest of it stays.

        Parameters
        ----------
        path, grid
            The array.
        part
            What of it.
        into
            Of the part's shape.

        Raises
        ------
        ArchiveError
            If what is stored is spoilt.
        """
        jobs = [
            (place, span)
            for place, pieces in self._pieces(path, grid, part)
            for span in _spans(pieces)
        ]
        if not jobs:
            return
        fetch = self._fetcher(path, jobs)

        def work(numbers: range) -> None:
            room = np.empty(grid.block, dtype=grid.kind)
            for number in numbers:
                start = jobs[number][1][0].offset
                data = memoryview(fetch(number))
                for piece in jobs[number][1]:
                    first = piece.offset - start
                    grid.decode(data[first : first + piece.size], room)
                    _place(piece, room, into)

        every = range(len(jobs))
        try:
            if len(jobs) <= ALONE:
                work(every)
            else:
                list(pool().map(work, [every[part::SHARES] for part in range(SHARES)]))
        except ArchiveError as error:
            message = f"{path}: {error}"
            raise ArchiveError(message) from error

    def index(self, path: str, grid: Grid, place: Place) -> Index | None:
        """Return the index of a shard; None if there is no such shard."""
        key = path, place
        if key not in self._indexes:
            if len(self._indexes) > INDEXES:
                self._indexes.clear()
            data = self._tail(path, place, grid.index_bytes)
            try:
                self._indexes[key] = None if data is None else grid.index(data)
            except ArchiveError as error:
                message = f"{path}, shard {place}: {error}"
                raise ArchiveError(message) from error
        return self._indexes[key]

    def shard(self, path: str, place: Place) -> bytes | None:
        """Return a whole shard; None if there is none."""
        got = sync(self._store.get(_key(path, place), default_buffer_prototype()))
        return None if got is None else got.to_bytes()

    def _pieces(self, path: str, grid: Grid, part: Part) -> Iterator[tuple[Place, list[Piece]]]:
        """Yield shards, and their blocks that are wanted and there."""
        down, across = grid.blocks
        columns = np.argsort(part.columns, kind="stable")
        by_row = _by_shard(_runs(part.rows, grid.block[0], None), down)
        by_column = _by_shard(_runs(part.columns[columns], grid.block[1], columns), across)
        chips: list[Run | None] = [None]
        if part.chips is not None:
            order = np.argsort(part.chips, kind="stable")
            chips = list(_runs(part.chips[order], grid.block[2], order))
        for i, rows in by_row.items():
            for j, wide in by_column.items():
                for deep in chips:
                    place = (i, j) if deep is None else (i, j, deep.block)
                    index = self.index(path, grid, place)
                    if index is None:
                        continue
                    yield place, _found(index, rows, wide, deep)

    def _tail(self, path: str, place: Place, size: int) -> bytes | None:
        """Return the last bytes of a shard."""
        if self._files is not None:
            try:
                ref = self._files.refs(path).get(place)
                if ref is None:
                    return None
                if ref[0]:
                    return self._files.read(ref, -size, size)
            except (KeyError, ValueError, OSError, struct.error, IndexError):
                self._files = None
        prototype = default_buffer_prototype()
        got = sync(self._store.get(_key(path, place), prototype, SuffixByteRequest(size)))
        return None if got is None else got.to_bytes()

    def _fetcher(self, path: str, jobs: list[tuple[Place, list[Piece]]]) -> Callable[[int], bytes]:
        """Return a function that gives the bytes of a span by its number."""
        ends = [(span[0].offset, span[-1].offset + span[-1].size) for _, span in jobs]
        files = self._files
        if files is not None:
            refs = files.refs(path)
            if all(refs[place][0] for place, _ in jobs):
                return files.reader(
                    [(refs[place], *end) for (place, _), end in zip(jobs, ends, strict=True)]
                )
        asked = [
            (_key(path, place), RangeByteRequest(*end))
            for (place, _), end in zip(jobs, ends, strict=True)
        ]
        got = sync(self._store.get_partial_values(default_buffer_prototype(), asked))
        return lambda number: b"" if (found := got[number]) is None else found.to_bytes()


def _key(path: str, place: Place) -> str:
    return f"{path}/c/{'/'.join(map(str, place))}"


def _runs(sorted_places: Numbers, size: int, order: Numbers | None) -> Iterator[Run]:
    """Yield the runs of places that lie in one block each."""
    if not len(sorted_places):
        return
    blocks = sorted_places // size
    edges = [0, *(np.flatnonzero(np.diff(blocks)) + 1).tolist(), len(blocks)]
    steps = np.cumsum(np.diff(sorted_places, prepend=sorted_places[0] - 1) != 1)
    starts = (sorted_places - blocks * size).tolist()
    for first, last in pairwise(edges):
        inside: slice | Numbers = slice(starts[first], starts[first] + last - first)
        if steps[first] != steps[last - 1]:  # they are not neighbours
            inside = sorted_places[first:last] - blocks[first] * size
        wanted = slice(first, last) if order is None else _short(order[first:last])
        yield Run(int(blocks[first]), wanted, inside)


def _short(places: Numbers) -> slice | Numbers:
    """Return places as a slice if they are neighbours."""
    first = int(places[0])
    if len(places) == 1 or (np.diff(places) == 1).all():
        return slice(first, first + len(places))
    return places


def _by_shard(runs: Iterable[Run], count: int) -> dict[int, list[Run]]:
    found: dict[int, list[Run]] = {}
    for run in runs:
        found.setdefault(run.block // count, []).append(run)
    return found


def _found(index: Index, rows: list[Run], columns: list[Run], chips: Run | None) -> list[Piece]:
    """Return the blocks that there are, in the order of their bytes."""
    down, across = index.shape[:2]
    there = is_there(index)
    pieces = []
    for row in rows:
        for column in columns:
            at = row.block % down, column.block % across
            if there[at]:
                offset, size = index[at].tolist()
                pieces.append(Piece(offset, size, row, column, chips))
    pieces.sort(key=lambda piece: piece.offset)
    return pieces


def _spans(pieces: list[Piece]) -> Iterator[list[Piece]]:
    """Yield neighbouring blocks together."""
    span: list[Piece] = []
    for piece in pieces:
        if span:
            last = span[-1]
            is_next = last.offset + last.size == piece.offset
            if not is_next or piece.offset + piece.size - span[0].offset > SPAN:
                yield span
                span = []
        span.append(piece)
    if span:
        yield span


def _place(piece: Piece, room: Values, into: Values) -> None:
    """Copy what is wanted of a block."""
    found = room[piece.rows.inside][:, piece.columns.inside]
    target = into[piece.rows.wanted]
    if piece.chips is None:
        target[:, piece.columns.wanted] = found
        return
    found = found[:, :, piece.chips.inside]
    columns, chips = piece.columns.wanted, piece.chips.wanted
    if isinstance(columns, slice) or isinstance(chips, slice):
        target[:, columns, chips] = found
    else:
        target[:, columns[:, None], chips] = found
