"""Read parts of arrays: which blocks, from which objects, in as few reads as they allow."""

import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Final

import icechunk
import numpy as np
from zarr.abc.store import RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from telemetry.archive.blocks import Grid, Index, Place, Values
from telemetry.archive.files import Files
from telemetry.archive.plan import Job, Part, Run, by_shard, found, place, runs, spans
from telemetry.archive.seals import SpoiltError
from twin.errors import ArchiveError

WORKERS: Final = 2
"""Threads that read, compress and expand."""

ALONE: Final = 4
"""Spans of an array that are not worth a second thread."""

SHARES: Final = 4
"""Shares of the spans that threads take; more than threads, so that none waits long."""

INDEXES: Final = 4096
"""Indexes of shards that are remembered."""

SPOILT: Final = (ArchiveError, FileNotFoundError, icechunk.IcechunkError, ValueError)
"""What is raised for a shard that is spoilt or gone."""

type Forgive = Callable[[str, Place, str], None]
"""Is told the path of an array, which of its shards, and why it counts as not there."""


@lru_cache(maxsize=1)
def pool() -> ThreadPoolExecutor:
    """Return the threads that all archives of a process share."""
    return ThreadPoolExecutor(WORKERS, thread_name_prefix="archive")


class Pieces:
    """Reads arrays of one snapshot.

    Parameters
    ----------
    store
        Of a session.
    files
        The same on a local disk; None to read through the store.
    forgive
        Told of each shard or block that is spoilt, which then counts as not there: for a writer,
        who must go on. None to raise.
    """

    def __init__(
        self, store: Store, files: Files | None = None, *, forgive: Forgive | None = None
    ) -> None:
        self._store = store
        self._forgive = forgive
        self._files = files
        self._indexes: dict[tuple[str, Place], Index | None] = {}

    def read(
        self, path: str, grid: Grid, part: Part, *, into: Values, is_over: bool = False
    ) -> bool:
        """Write what is stored of a part of an array into another; the rest of it stays.

        Parameters
        ----------
        path, grid
            The array.
        part
            What of it.
        into
            Of the part's shape.
        is_over
            Whether cells of a block that tell nothing leave what is there.

        Returns
        -------
        bool
            Whether anything is stored of it.

        Raises
        ------
        ArchiveError
            If what is stored is spoilt.
        """
        try:
            jobs = [
                (place, span)
                for place, pieces in self._pieces(path, grid, part)
                for span in spans(pieces)
            ]
            if jobs:
                self._work(path, grid, jobs, into=into, is_over=is_over)
            return bool(jobs)
        except SpoiltError:
            raise
        except ArchiveError as error:
            message = f"{path}: {error}"
            raise ArchiveError(message) from error
        except (FileNotFoundError, icechunk.IcechunkError) as error:
            mend = "open the archive again; if it stays gone, see `gigatwin archive verify`"
            message = f"{path}: what this view needs is gone; {mend}"
            raise ArchiveError(message) from error

    def index(self, path: str, grid: Grid, place: Place) -> Index | None:
        """Return the index of a shard; None if there is no such shard."""
        key = path, place
        if key not in self._indexes:
            if len(self._indexes) > INDEXES:
                self._indexes.clear()
            try:
                data = self._tail(path, place, grid.index_bytes)
                self._indexes[key] = None if data is None else grid.index(data)
            except SpoiltError:
                raise
            except SPOILT as error:
                message = f"shard {place}: {error}"
                if self._forgive is not None:
                    self._forgive(path, place, message)
                elif isinstance(error, ArchiveError):
                    raise ArchiveError(message) from error
                else:
                    raise
                self._indexes[key] = None
        return self._indexes[key]

    def shard(self, path: str, place: Place) -> bytes | None:
        """Return a whole shard; None if there is none.

        Raises
        ------
        FileNotFoundError, icechunk.IcechunkError
            If it is gone.
        """
        got = sync(self._store.get(shard_name(path, place), default_buffer_prototype()))
        return None if got is None else got.to_bytes()

    def _pieces(self, path: str, grid: Grid, part: Part) -> Iterator[Job]:
        """Yield shards, and their blocks that are wanted and there."""
        down, across = grid.blocks
        columns = np.argsort(part.columns, kind="stable")
        by_row = by_shard(runs(part.rows, grid.block[0], None), down)
        by_column = by_shard(runs(part.columns[columns], grid.block[1], columns), across)
        chips: list[Run | None] = [None]
        if part.chips is not None:
            order = np.argsort(part.chips, kind="stable")
            chips = list(runs(part.chips[order], grid.block[2], order))
        for i, rows in by_row.items():
            for j, wide in by_column.items():
                for deep in chips:
                    place = (i, j) if deep is None else (i, j, deep.block)
                    index = self.index(path, grid, place)
                    if index is None:
                        continue
                    yield place, found(index, rows, wide, chips=deep)

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
        got = sync(self._store.get(shard_name(path, place), prototype, SuffixByteRequest(size)))
        return None if got is None else got.to_bytes()

    def places(self, path: str) -> list[Place]:
        """Return the shards that an array has."""
        return sorted(sync(_places(self._store, path)))

    def _work(self, path: str, grid: Grid, jobs: list[Job], *, into: Values, is_over: bool) -> None:
        """Read jobs, one by one where all of them at once do not come."""
        forgive = None if self._forgive is None else partial(self._forgive, path)
        try:
            with self._fetcher(path, jobs) as fetch:
                _work(jobs, fetch, grid, into=into, is_over=is_over, forgive=forgive)
        except SPOILT as error:
            if forgive is None or isinstance(error, SpoiltError):
                raise
            if len(jobs) == 1:
                forgive(jobs[0][0], str(error))
                return
            for job in jobs:
                self._work(path, grid, [job], into=into, is_over=is_over)

    @contextmanager
    def _fetcher(self, path: str, jobs: list[Job]) -> Iterator[Callable[[int], bytes]]:
        """Give a function that reads the bytes of a span by its number."""
        ends = [(span[0].offset, span[-1].offset + span[-1].size) for _, span in jobs]
        if self._files is not None:
            refs = self._files.refs(path)
            if all(refs[place][0] for place, _ in jobs):
                wanted = [(refs[job[0]], *end) for job, end in zip(jobs, ends, strict=True)]
                with self._files.reader(wanted) as read:
                    yield read
                return
        asked = [
            (shard_name(path, place), RangeByteRequest(*end))
            for (place, _), end in zip(jobs, ends, strict=True)
        ]
        got = sync(self._store.get_partial_values(default_buffer_prototype(), asked))
        yield lambda number: b"" if (found := got[number]) is None else found.to_bytes()


def _work(
    jobs: list[Job],
    fetch: Callable[[int], bytes],
    grid: Grid,
    *,
    into: Values,
    is_over: bool,
    forgive: Callable[[Place, str], None] | None,
) -> None:
    """Read and place the blocks of all spans, a share of them in each thread."""
    absent = grid.absent if is_over else None

    def work(numbers: range) -> None:
        room = np.empty(grid.block, dtype=grid.kind)
        for number in numbers:
            start = jobs[number][1][0].offset
            data = memoryview(fetch(number))
            for piece in jobs[number][1]:
                first = piece.offset - start
                try:
                    grid.decode(data[first : first + piece.size], room)
                except ArchiveError as error:
                    if forgive is None:
                        raise
                    forgive(jobs[number][0], str(error))
                else:
                    place(piece, room, into, absent=absent)

    every = range(len(jobs))
    if len(jobs) <= ALONE:
        work(every)
    else:
        list(pool().map(work, [every[part::SHARES] for part in range(SHARES)]))


async def _places(store: Store, path: str) -> list[Place]:
    keys = [key async for key in store.list_prefix(path)]
    shards = [key.removeprefix(f"{path}/c/") for key in keys if key.startswith(f"{path}/c/")]
    return [tuple(int(part) for part in shard.split("/")) for shard in shards]


def shard_name(path: str, place: Place) -> str:
    """Return under which name the store has a shard of an array."""
    return f"{path}/c/{'/'.join(map(str, place))}"
