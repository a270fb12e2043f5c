"""One transaction under way: labels, what was heard, and values put into their cells.

Readings of a commit, put into the minutes of their group.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import icechunk
import numpy as np
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from telemetry.archive.chunk_io import UNREADABLE_ERRORS, Int64Array, io_pool, shard_key
from telemetry.archive.commit_batch import QUALITY_CODES, SecondReadings
from telemetry.archive.layout import (
    COMPACTED_HOURS,
    DAY_S,
    GROUP_ARRAYS,
    HOUR_S,
    LABEL_AXES,
    MINUTE_S,
    NO_QUALITY,
    OPEN_MINUTES,
    SECOND_LEVELS,
    SPARSE_SECONDS,
    AnyArray,
    ArraySpec,
    ResolutionLevel,
    ShardGrid,
    ShardIndex,
    ZarrArray,
    describe_shard,
    is_present,
    metadata_to_json,
    open_array,
)
from telemetry.archive.loss_log import LossEntry
from telemetry.archive.metadata_history import PendingMetadata, record_changes
from telemetry.archive.repository_files import ManifestChecker
from telemetry.archive.snapshot import Snapshot
from telemetry.quality.checks import QualityFlag
from twin.errors import ArchiveError

LABELS_PER_CHUNK: Final = 65_536

CHECKSUM_CODECS: Final = (ZstdCodec(level=0), Crc32cCodec())
"""How small arrays are written: a changed bit of them is noticed."""

MIN_PARALLEL_CHUNKS: Final = 16
"""Blocks of a shard from which on a second thread is worth it."""


class Transaction:
    """What a session is about to commit.

    Parameters
    ----------
    session
        Writable.
    guard
        Checks what says where objects lie, on a local disk.

    Attributes
    ----------
    losses
        Shards that had to be given up, of all or of a part: path -> place -> why.
    """

    def __init__(self, session: icechunk.Session, guard: ManifestChecker | None = None) -> None:
        self.session = session
        self.losses: dict[str, dict[ShardIndex, str]] = {}
        self.snapshot = Snapshot(session, manifest_checker=guard, forgive=self._forgive)
        self.root = self.snapshot.root

    def _forgive(self, path: str, place: ShardIndex, reason: str) -> None:
        """Take down that something cannot be read any more."""
        self.losses.setdefault(path, {})[place] = reason

    def corrupt_parts(self) -> list[LossEntry]:
        """Return what was given up, as it is written down."""
        return [
            {**describe_shard(path, place), "reason": reason}
            for path, places in self.losses.items()
            for place, reason in places.items()
        ]

    def add_columns(self, group: str, labels: Sequence[str], *, known: int) -> None:
        """Give columns to the labels of a group, of which so many are known."""
        if group not in self.root:
            self._create(group)
        if len(labels) > known:
            for name in (LABEL_AXES[group], "metadata"):
                if f"{group}/{name}" in self.root:
                    self._array(f"{group}/{name}").resize((len(labels),))
            self._array(f"{group}/{LABEL_AXES[group]}")[known:] = np.array(labels[known:])

    def write_metadata(
        self,
        news: PendingMetadata,
        columns: Mapping[str, int],
        *,
        span: tuple[int, int],
    ) -> None:
        """Write down what points are, and what they were before; see :func:`note`."""
        held = self._array("points/metadata")
        every = np.asarray(held[:])
        before = {label: str(every[columns[label]]) for label in news}
        known = {label: text for label, text in before.items() if text}
        record_changes(self.root, known, news, span=span)
        places = np.array([columns[label] for label in news])
        every[places] = np.array(
            [metadata_to_json(some[-1]) for some in news.values()], every.dtype
        )
        held[:] = every

    def mark_seconds(self, group: str, seconds: Sequence[int]) -> None:
        """Take down the seconds of which something was heard. [s since 1970]"""
        for day in sorted({second // DAY_S for second in seconds}):
            path = f"{group}/heard/{OPEN_MINUTES.period(day * DAY_S)}"
            if path not in self.root:
                self.root.create_array(
                    path,
                    shape=(DAY_S,),
                    chunks=(HOUR_S,),
                    dtype="uint8",
                    fill_value=0,
                    dimension_names=("time",),
                    compressors=CHECKSUM_CODECS,
                )
            held = self._array(path)
            rows = np.array([second - day * DAY_S for second in seconds if second // DAY_S == day])
            for hour in np.unique(rows // HOUR_S).tolist():
                span = slice(hour * HOUR_S, (hour + 1) * HOUR_S)
                heard = np.asarray(held[span], dtype=np.uint8)
                heard[rows[rows // HOUR_S == hour] - span.start] = 1
                held[span] = heard

    def write_values(
        self,
        made: ArraySpec,
        second: int,
        values: AnyArray,
        *,
        columns: Int64Array,
        told: NDArray[np.bool_] | None = None,
    ) -> None:
        """Put values into their cells; cells that they do not tell of stay as they are.

        Parameters
        ----------
        made
            The array, which is made if it is not there.
        second
            Of the first row. [s since 1970]
        values
            (row, column) or (row, column, chip).
        columns
            Of the values, in rising order.
        told
            Which cells they tell of; by default those that are not what stands for nothing.
        """
        grid = self._made(made, values)
        row = (second - made.level.rows(made.period)[0]) // made.level.step
        chips = values.shape[2:] and grid.chunk[2]
        for i in range(row // grid.shard[0], -(-(row + len(values)) // grid.shard[0])):
            for j in np.unique(columns // grid.shard[1]).tolist():
                is_here = columns // grid.shard[1] == j
                first, last = (max(i * grid.shard[0] - row, 0), (i + 1) * grid.shard[0] - row)
                here = values[first:last, is_here]
                said = None if told is None else told[first:last, is_here]
                at = (row + first - i * grid.shard[0], columns[is_here] - j * grid.shard[1])
                if not chips:
                    self._shard(made.path, grid, (i, j), _Cells(at, here, said))
                for k in range(-(-values.shape[2] // chips) if chips else 0):
                    part = (..., slice(k * chips, (k + 1) * chips))
                    deep = None if said is None else said[part]
                    self._shard(made.path, grid, (i, j, k), _Cells(at, here[part], deep))

    def delete_shard(self, path: str, place: ShardIndex) -> None:
        """Delete a shard, if it is there."""
        sync(self.snapshot.store.delete(shard_key(path, place)))

    def _shard(self, path: str, grid: ShardGrid, place: ShardIndex, cells: "_Cells") -> None:
        """Put values into the cells of one shard."""
        parts = self._parts(path, grid, place)
        down, across = grid.chunk[:2]
        row, columns = cells.at
        todo: dict[ShardIndex, AnyArray] = {}
        for i in range(row // down, -(-(row + len(cells.values)) // down)):
            rows = slice(max(i * down - row, 0), (i + 1) * down - row)
            top = row + rows.start - i * down
            edges = np.flatnonzero(np.diff(columns // across, prepend=-1)).tolist()
            for first, last in zip(edges, [*edges[1:], len(columns)], strict=True):
                j = int(columns[first] // across)
                part = cells.part(rows, slice(first, last))
                at = (top, columns[first:last] - j * across)
                try:
                    block = _merged(grid, part, at=at, before=parts.get((i, j)))
                except ArchiveError as error:
                    self._forgive(path, place, str(error))
                    block = _merged(grid, part, at=at, before=None)
                if block is not None:
                    todo[i, j] = block
        if not todo:
            return
        work = io_pool().map if len(todo) >= MIN_PARALLEL_CHUNKS else map
        parts |= zip(todo, work(grid.encode_chunk, todo.values()), strict=True)
        data = default_buffer_prototype().buffer.from_bytes(grid.encode_shard(parts))
        sync(self.snapshot.store.set(shard_key(path, place), data))

    def _parts(self, path: str, grid: ShardGrid, place: ShardIndex) -> dict[ShardIndex, bytes]:
        """Return the blocks of a shard as they are stored."""
        try:
            data = self.snapshot.chunk_reader.read_shard(path, place)
            if data is None:
                return {}
            index = grid.decode_index(data[-grid.index_bytes :])
        except UNREADABLE_ERRORS as error:
            self._forgive(path, place, str(error))
            return {}
        found: dict[ShardIndex, bytes] = {}
        for i, j in np.argwhere(is_present(index)).tolist():
            offset, size = index[i, j].tolist()
            found[i, j] = data[offset : offset + size]
        return found

    def _made(self, made: ArraySpec, values: AnyArray) -> ShardGrid:
        """Return the grid of an array, after making or widening it."""
        grid = self.snapshot.grid(made.path)
        if grid is None:
            made.create(self.root)
            self.snapshot.refresh(made.path)
        else:
            shape = (grid.shape[0], max(grid.shape[1], made.columns))
            deep = tuple(
                max(held, new) for held, new in zip(grid.shape[2:], values.shape[2:], strict=True)
            )
            if grid.shape == (*shape, *deep):
                return grid
            self._array(made.path).resize((*shape, *deep))
            self.snapshot.refresh(made.path)
        found = self.snapshot.grid(made.path)
        if found is None:
            raise KeyError(made.path)
        return found

    def _create(self, group: str) -> None:
        """Make a group, without columns."""
        made = self.root.create_group(group)
        label = LABEL_AXES[group]
        for name in (label, "metadata") if group == "points" else (label,):
            made.create_array(
                name,
                shape=(0,),
                chunks=(LABELS_PER_CHUNK,),
                dtype="str",
                fill_value="",
                dimension_names=(label,),
                compressors=CHECKSUM_CODECS,
            )

    def _array(self, path: str) -> ZarrArray:
        self.snapshot.check(path)
        return open_array(self.root, path)


class _Cells:
    """Values that go into a shard: its first row and their columns, and which cells they tell."""

    def __init__(
        self, at: tuple[int, Int64Array], values: AnyArray, told: NDArray[np.bool_] | None
    ) -> None:
        self.at = at
        self.values = values
        self.told = told

    def part(self, rows: slice, columns: slice) -> "_Cells":
        told = None if self.told is None else self.told[rows, columns]
        return _Cells(self.at, self.values[rows, columns], told)


def _merged(
    grid: ShardGrid, cells: _Cells, *, at: tuple[int, Int64Array], before: bytes | None
) -> AnyArray | None:
    """Return a block with values in their cells; None if they tell nothing."""
    values, told = cells.values, cells.told
    if told is None:
        told = ~np.isnan(values) if np.isnan(grid.fill_value) else values != grid.fill_value
    if not told.any():
        return None
    block = grid.empty(grid.chunk)
    if before is not None:
        grid.decode_chunk(before, block)
    rows, columns = slice(at[0], at[0] + len(values)), at[1]
    deep = (slice(0, values.shape[2]),) if len(grid.chunk) > len(("time", "label")) else ()
    if len(columns) == grid.chunk[1]:
        target = block[(rows, slice(None), *deep)]
        np.copyto(target, values, where=told)
        return block
    for place, column in enumerate(columns.tolist()):
        target = block[(rows, column, *deep)]
        np.copyto(target, values[:, place], where=told[:, place])
    return block


MAX_SPARSE_SECONDS_PER_MINUTE: Final = 2
"""Seconds of a minute of which more are heard where a group speaks more than once in it. [1]"""


@dataclass(frozen=True, kw_only=True)
class _ArrayPart:
    """What is said of one variable in some rows: values of columns, and which cells it fills."""

    name: str
    values: AnyArray
    columns: Int64Array
    cells: NDArray[np.bool_] | None
    chips: int = 0


class MinuteWriter:
    """Puts the readings of a group into its minutes.

    Parameters
    ----------
    draft
        The transaction.
    group
        ``racks`` or ``points``.
    columns
        How many labels it has.
    """

    def __init__(self, draft: Transaction, group: str, columns: int) -> None:
        self._draft = draft
        self._group = group
        self._count = columns

    def write(self, seconds: Mapping[int, SecondReadings], *, is_sparse: bool) -> None:
        """Write readings; a day stays on the level on which it was begun.

        Parameters
        ----------
        seconds
            Second -> its readings. [s since 1970]
        is_sparse
            Whether the plant speaks once in many minutes only, as far as it tells; not believed of
            a group that is heard more often.
        """
        minutes = sorted({second // MINUTE_S * MINUTE_S for second in seconds})
        is_sparse &= len(seconds) <= MAX_SPARSE_SECONDS_PER_MINUTE * len(minutes)
        for minute in minutes:
            here = {s: one for s, one in seconds.items() if minute <= s < minute + MINUTE_S}
            if self._is_sparse(minute, is_sparse):
                for second, one in here.items():
                    self._write(SPARSE_SECONDS, second, {second: one})
            else:
                self._write(OPEN_MINUTES, minute, here)

    def _write(
        self, level: ResolutionLevel, start: int, seconds: Mapping[int, SecondReadings]
    ) -> None:
        """Write the rows of a shard."""
        is_late = level is OPEN_MINUTES and self.is_compacted(start)
        rows = level.shard
        for one in self._told(seconds, start, rows):
            if one.cells is not None and not one.cells.any():
                continue
            told = self._over(start, rows, one) if is_late else one
            kind, absent = GROUP_ARRAYS[self._group][told.name]
            made = ArraySpec(
                group=self._group,
                level=level,
                period=level.period(start),
                name=told.name,
                dtype=kind,
                fill_value=absent,
                columns=self._count,
                chips=told.chips,
            )
            self._draft.write_values(
                made, start, told.values, columns=told.columns, told=told.cells
            )

    def _over(self, start: int, rows: int, told: _ArrayPart) -> _ArrayPart:
        """Return what is said together with what the archive has: the whole of its blocks.

        A block of a minute goes before the hour as a whole, neighbours and chips that nothing is
        said of too.
        """
        across = OPEN_MINUTES.columns[self._group]
        blocks = np.unique(told.columns // across)[:, None] * across
        columns = (blocks + np.arange(across)).ravel()
        columns = columns[columns < self._count]
        chips = self._chips(start, told.name, told.chips) if told.chips else 0
        whole = self._draft.snapshot.read(
            self._group,
            told.name,
            seconds=np.arange(start, start + rows),
            columns=columns,
            chips=np.arange(chips) if chips else None,
        )
        cells = ~np.isnan(told.values) if told.cells is None else told.cells
        here = np.searchsorted(columns, told.columns)
        part = (slice(None), here, slice(told.chips)) if chips else (slice(None), here)
        whole[part] = np.where(cells, told.values, whole[part])
        every = np.ones(whole.shape, dtype=np.bool_)
        return replace(told, values=whole, cells=every, columns=columns, chips=chips)

    def _chips(self, second: int, name: str, said: int) -> int:
        """Return how many chips the archive has on the day of a second, or are said if more."""
        grids = [
            self._draft.snapshot.grid(self._path(level, second, name)) for level in SECOND_LEVELS
        ]
        return max([said, *(grid.shape[2] for grid in grids if grid is not None)])

    def _told(
        self, seconds: Mapping[int, SecondReadings], start: int, rows: int
    ) -> Iterator[_ArrayPart]:
        if self._group == "points":
            yield from self._points(seconds, start, rows)
            return
        is_late = any(one.is_late for one in seconds.values())
        slabs = {second: one.racks for second, one in seconds.items()}
        deep = max(slab.max_chips for slab in slabs.values())
        first = min(slab.first for slab in slabs.values())
        columns = np.arange(first, min(max(slab.end for slab in slabs.values()), self._count))
        for place, name in enumerate(GROUP_ARRAYS["racks"]):
            block = np.full((rows, len(columns), deep), np.nan, dtype=np.float32)
            for second, slab in slabs.items():
                slab.write(place, into=block[second - start], first=first)
            cells = None
            if is_late:
                cells = ~np.isnan(block) & ~self._filled(name, start, rows, columns)[:, :, None]
            yield _ArrayPart(name=name, values=block, columns=columns, cells=cells, chips=deep)

    def _filled(self, name: str, start: int, rows: int, columns: Int64Array) -> NDArray[np.bool_]:
        """Return which racks have any chip in which rows: what comes late of these is let be.

        Which of two batches is newer nobody knows any more, and chips of both are no batch.
        """
        before = self._draft.snapshot.read(
            self._group,
            name,
            seconds=np.arange(start, start + rows),
            columns=columns,
            chips=np.arange(self._chips(start, name, 1)),
        )
        return np.asarray(~np.isnan(before).all(axis=2))

    def _points(
        self, seconds: Mapping[int, SecondReadings], start: int, rows: int
    ) -> Iterator[_ArrayPart]:
        columns = np.array(sorted({column for one in seconds.values() for column in one.points}))
        value = np.full((rows, len(columns)), np.nan)
        code = np.full((rows, len(columns)), NO_QUALITY, dtype=np.int8)
        for second, one in seconds.items():
            where = np.searchsorted(columns, np.fromiter(one.points, np.int64))
            said = np.array(list(one.points.values()))
            value[second - start, where] = said[:, 0]
            code[second - start, where] = said[:, 1]
        cells = code != NO_QUALITY
        if any(one.is_late for one in seconds.values()):
            cells &= ~self._stays(code, start, columns)
        for name, values in (("value", value), ("quality", code)):
            yield _ArrayPart(name=name, values=values, columns=columns, cells=cells)

    def _stays(self, code: AnyArray, start: int, columns: Int64Array) -> NDArray[np.bool_]:
        """Return which cells of the archive stay as they are, whatever came late.

        A reading in time is kept, and its verdict, unless its source called it bad and does not
        call the late one so: which of the two is newer nobody knows any more, and most are doubles.
        """
        before = self._draft.snapshot.read(
            "points", "quality", seconds=np.arange(start, start + len(code)), columns=columns
        )
        bad = QUALITY_CODES[QualityFlag.BAD_SOURCE]
        is_mended = (before == bad) & (code != bad)
        return np.asarray((before != NO_QUALITY) & ~is_mended)

    def _is_sparse(self, second: int, otherwise: bool) -> bool:
        """Return on which level the day of a second was begun."""
        for level, answer in (
            (SPARSE_SECONDS, True),
            (OPEN_MINUTES, False),
            (COMPACTED_HOURS, False),
        ):
            paths = [self._path(level, second, name) for name in GROUP_ARRAYS[self._group]]
            if any(self._draft.snapshot.grid(path) is not None for path in paths):
                return answer
        return otherwise

    def is_compacted(self, second: int) -> bool:
        """Return whether the hour of a second has been compacted, as far as any variable tells."""
        return any(
            self._has_hour(self._path(COMPACTED_HOURS, second, name), second)
            for name in GROUP_ARRAYS[self._group]
        )

    def _has_hour(self, path: str, second: int) -> bool:
        grid = self._draft.snapshot.grid(path)
        if grid is None:
            return False
        row = (
            second - COMPACTED_HOURS.rows(COMPACTED_HOURS.period(second))[0]
        ) // COMPACTED_HOURS.shard
        deep = (0,) * (len(grid.shape) - 2)
        pieces = self._draft.snapshot.chunk_reader
        return any(
            pieces.read_index(path, grid, (row, column, *deep)) is not None
            for column in range(-(-grid.shape[1] // grid.shard[1]))
        )

    def _path(self, level: ResolutionLevel, second: int, name: str) -> str:
        return f"{self._group}/{level.name}/{level.period(second)}/{name}"


def has_group(second: SecondReadings, group: str) -> bool:
    """Return whether a second has readings of a group."""
    return bool(second.points) if group == "points" else not second.racks.is_empty
