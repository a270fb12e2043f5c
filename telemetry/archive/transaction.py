"""A transaction of the archive: labels, seconds with values, and values written into their
cells.
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
from telemetry.archive.commit_batch import SecondReadings
from telemetry.archive.layout import (
    COMPACTED_HOURS,
    DAY_S,
    GROUP_ARRAYS,
    HOUR_S,
    LABEL_AXES,
    MINUTE_S,
    NO_QUALITY,
    OPEN_MINUTES,
    QUALITY_CODES,
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
from telemetry.archive.manifests import ManifestChecker
from telemetry.archive.metadata_history import PendingMetadata, record_changes
from telemetry.archive.snapshot import Snapshot
from telemetry.quality.checks import QualityFlag
from twin.errors import ArchiveError

LABELS_PER_CHUNK: Final = 65_536

CHECKSUM_CODECS: Final = (ZstdCodec(level=0), Crc32cCodec())
"""Codecs of small arrays; a changed bit is detected."""

MIN_PARALLEL_CHUNKS: Final = 16
"""Chunks of a shard from which a second thread is faster. [1]"""


class Transaction:
    """Pending changes of a writable session.

    ``losses`` has the corrupt shards that were given up as a whole or in part: path -> place ->
    reason.
    """

    def __init__(
        self, session: icechunk.Session, manifest_checker: ManifestChecker | None = None
    ) -> None:
        self.session = session
        self.losses: dict[str, dict[ShardIndex, str]] = {}
        self.snapshot = Snapshot(
            session, manifest_checker=manifest_checker, on_corruption=self._record_loss
        )
        self.root = self.snapshot.root

    def _record_loss(self, path: str, place: ShardIndex, reason: str) -> None:
        """Record corrupt data."""
        self.losses.setdefault(path, {})[place] = reason

    def corrupt_parts(self) -> list[LossEntry]:
        """Return the losses as entries of the log."""
        return [
            {**describe_shard(path, place), "reason": reason}
            for path, places in self.losses.items()
            for place, reason in places.items()
        ]

    def add_columns(self, group: str, labels: Sequence[str], *, known: int) -> None:
        """Add columns for the labels of a group after the ``known`` first ones."""
        if group not in self.root:
            self._create(group)
        if len(labels) > known:
            for name in (LABEL_AXES[group], "metadata"):
                if f"{group}/{name}" in self.root:
                    self._array(f"{group}/{name}").resize((len(labels),))
            self._array(f"{group}/{LABEL_AXES[group]}")[known:] = np.array(labels[known:])

    def write_metadata(
        self,
        metadata: PendingMetadata,
        columns: Mapping[str, int],
        *,
        span: tuple[int, int],
    ) -> None:
        """Write metadata of points and their changes; see :func:`record_changes`."""
        stored = self._array("points/metadata")
        every = np.asarray(stored[:])
        before = {label: str(every[columns[label]]) for label in metadata}
        known = {label: text for label, text in before.items() if text}
        record_changes(self.root, known, metadata, span=span)
        places = np.array([columns[label] for label in metadata])
        every[places] = np.array(
            [metadata_to_json(some[-1]) for some in metadata.values()], every.dtype
        )
        stored[:] = every

    def mark_seconds(self, group: str, seconds: Sequence[int]) -> None:
        """Mark seconds with values. [s since 1970]"""
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
            marks = self._array(path)
            rows = np.array([second - day * DAY_S for second in seconds if second // DAY_S == day])
            for hour in np.unique(rows // HOUR_S).tolist():
                span = slice(hour * HOUR_S, (hour + 1) * HOUR_S)
                flags = np.asarray(marks[span], dtype=np.uint8)
                flags[rows[rows // HOUR_S == hour] - span.start] = 1
                marks[span] = flags

    def write_values(
        self,
        spec: ArraySpec,
        second: int,
        values: AnyArray,
        *,
        columns: Int64Array,
        mask: NDArray[np.bool_] | None = None,
    ) -> None:
        """Write values on (row, column) or (row, column, chip) into their cells; the other cells
        stay.

        The array of ``spec`` is created if missing. ``second`` is that of the first row [s since
        1970]; the columns rise. ``mask`` selects the cells, by default those other than the fill
        value.
        """
        grid = self._grid(spec, values)
        row = (second - spec.level.rows(spec.period)[0]) // spec.level.step
        chips = values.shape[2:] and grid.chunk[2]
        for i in range(row // grid.shard[0], -(-(row + len(values)) // grid.shard[0])):
            for j in np.unique(columns // grid.shard[1]).tolist():
                is_inside = columns // grid.shard[1] == j
                first, last = (max(i * grid.shard[0] - row, 0), (i + 1) * grid.shard[0] - row)
                inside = values[first:last, is_inside]
                flags = None if mask is None else mask[first:last, is_inside]
                at = (row + first - i * grid.shard[0], columns[is_inside] - j * grid.shard[1])
                if not chips:
                    self._write_shard(spec.path, grid, (i, j), _Cells(at, inside, flags))
                for k in range(-(-values.shape[2] // chips) if chips else 0):
                    part = (..., slice(k * chips, (k + 1) * chips))
                    deep = None if flags is None else flags[part]
                    self._write_shard(spec.path, grid, (i, j, k), _Cells(at, inside[part], deep))

    def delete_shard(self, path: str, place: ShardIndex) -> None:
        """Delete a shard, if it exists."""
        sync(self.snapshot.store.delete(shard_key(path, place)))

    def _write_shard(self, path: str, grid: ShardGrid, place: ShardIndex, cells: "_Cells") -> None:
        """Write values into the cells of one shard."""
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
                    self._record_loss(path, place, str(error))
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
        """Return the stored chunks of a shard."""
        try:
            data = self.snapshot.chunk_reader.read_shard(path, place)
            if data is None:
                return {}
            index = grid.decode_index(data[-grid.index_bytes :])
        except UNREADABLE_ERRORS as error:
            self._record_loss(path, place, str(error))
            return {}
        found: dict[ShardIndex, bytes] = {}
        for i, j in np.argwhere(is_present(index)).tolist():
            offset, size = index[i, j].tolist()
            found[i, j] = data[offset : offset + size]
        return found

    def _grid(self, spec: ArraySpec, values: AnyArray) -> ShardGrid:
        """Return the grid of an array, after creating or widening it."""
        grid = self.snapshot.grid(spec.path)
        if grid is None:
            spec.create(self.root)
            self.snapshot.refresh(spec.path)
        else:
            shape = (grid.shape[0], max(grid.shape[1], spec.columns))
            deep = tuple(
                max(old, new) for old, new in zip(grid.shape[2:], values.shape[2:], strict=True)
            )
            if grid.shape == (*shape, *deep):
                return grid
            self._array(spec.path).resize((*shape, *deep))
            self.snapshot.refresh(spec.path)
        found = self.snapshot.grid(spec.path)
        if found is None:
            raise KeyError(spec.path)
        return found

    def _create(self, group: str) -> None:
        """Create a group without columns."""
        new_group = self.root.create_group(group)
        label = LABEL_AXES[group]
        for name in (label, "metadata") if group == "points" else (label,):
            new_group.create_array(
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
    """Values for a shard: first row and columns, values, and a mask."""

    def __init__(
        self, at: tuple[int, Int64Array], values: AnyArray, mask: NDArray[np.bool_] | None
    ) -> None:
        self.at = at
        self.values = values
        self.mask = mask

    def part(self, rows: slice, columns: slice) -> "_Cells":
        mask = None if self.mask is None else self.mask[rows, columns]
        return _Cells(self.at, self.values[rows, columns], mask)


def _merged(
    grid: ShardGrid, cells: _Cells, *, at: tuple[int, Int64Array], before: bytes | None
) -> AnyArray | None:
    """Return a chunk with new values in their cells; None if there are none."""
    values, mask = cells.values, cells.mask
    if mask is None:
        mask = ~np.isnan(values) if np.isnan(grid.fill_value) else values != grid.fill_value
    if not mask.any():
        return None
    block = grid.empty(grid.chunk)
    if before is not None:
        grid.decode_chunk(before, block)
    rows, columns = slice(at[0], at[0] + len(values)), at[1]
    deep = (slice(0, values.shape[2]),) if len(grid.chunk) > len(("time", "label")) else ()
    if len(columns) == grid.chunk[1]:
        target = block[(rows, slice(None), *deep)]
        np.copyto(target, values, where=mask)
        return block
    for place, column in enumerate(columns.tolist()):
        target = block[(rows, column, *deep)]
        np.copyto(target, values[:, place], where=mask[:, place])
    return block


MAX_SPARSE_SECONDS_PER_MINUTE: Final = 2
"""Largest number of seconds with values in a minute of a sparse group. [1]"""


@dataclass(frozen=True, kw_only=True)
class _ArrayPart:
    """Values of one variable in some rows and columns, and a mask of cells to write."""

    name: str
    values: AnyArray
    columns: Int64Array
    cells: NDArray[np.bool_] | None
    chips: int = 0


class MinuteWriter:
    """Writes the readings of a group with ``columns`` labels into minutes."""

    def __init__(self, transaction: Transaction, group: str, columns: int) -> None:
        self._transaction = transaction
        self._group = group
        self._count = columns

    def write(self, seconds: Mapping[int, SecondReadings], *, is_sparse: bool) -> None:
        """Write readings by second [s since 1970]; a day stays on its first level.

        ``is_sparse`` states that the plant publishes once in many minutes; it is ignored for a
        group with more readings.
        """
        minutes = sorted({second // MINUTE_S * MINUTE_S for second in seconds})
        is_sparse &= len(seconds) <= MAX_SPARSE_SECONDS_PER_MINUTE * len(minutes)
        for minute in minutes:
            inside = {s: one for s, one in seconds.items() if minute <= s < minute + MINUTE_S}
            if self._is_sparse(minute, is_sparse):
                for second, one in inside.items():
                    self._write(SPARSE_SECONDS, second, {second: one})
            else:
                self._write(OPEN_MINUTES, minute, inside)

    def _write(
        self, level: ResolutionLevel, start: int, seconds: Mapping[int, SecondReadings]
    ) -> None:
        """Write the rows of a shard."""
        is_late = level is OPEN_MINUTES and self.is_compacted(start)
        rows = level.shard
        for one in self._array_parts(seconds, start, rows):
            if one.cells is not None and not one.cells.any():
                continue
            part = self._with_stored(start, rows, one) if is_late else one
            kind, absent = GROUP_ARRAYS[self._group][part.name]
            spec = ArraySpec(
                group=self._group,
                level=level,
                period=level.period(start),
                name=part.name,
                dtype=kind,
                fill_value=absent,
                columns=self._count,
                chips=part.chips,
            )
            self._transaction.write_values(
                spec, start, part.values, columns=part.columns, mask=part.cells
            )

    def _with_stored(self, start: int, rows: int, part: _ArrayPart) -> _ArrayPart:
        """Return the values together with the archive's, for whole chunks.

        A chunk of a minute has priority over the hour as a whole, with columns and chips without
        new values too.
        """
        across = OPEN_MINUTES.columns[self._group]
        blocks = np.unique(part.columns // across)[:, None] * across
        columns = (blocks + np.arange(across)).ravel()
        columns = columns[columns < self._count]
        chips = self._chips(start, part.name, part.chips) if part.chips else 0
        whole = self._transaction.snapshot.read(
            self._group,
            part.name,
            seconds=np.arange(start, start + rows),
            columns=columns,
            chips=np.arange(chips) if chips else None,
        )
        cells = ~np.isnan(part.values) if part.cells is None else part.cells
        at = np.searchsorted(columns, part.columns)
        target = (slice(None), at, slice(part.chips)) if chips else (slice(None), at)
        whole[target] = np.where(cells, part.values, whole[target])
        every = np.ones(whole.shape, dtype=np.bool_)
        return replace(part, values=whole, cells=every, columns=columns, chips=chips)

    def _chips(self, second: int, name: str, count: int) -> int:
        """Return the largest number of chips in the archive on the day of a second, at least
        ``count``.
        """
        grids = [
            self._transaction.snapshot.grid(self._path(level, second, name))
            for level in SECOND_LEVELS
        ]
        return max([count, *(grid.shape[2] for grid in grids if grid is not None)])

    def _array_parts(
        self, seconds: Mapping[int, SecondReadings], start: int, rows: int
    ) -> Iterator[_ArrayPart]:
        if self._group == "points":
            yield from self._points(seconds, start, rows)
            return
        is_late = any(one.is_late for one in seconds.values())
        racks = {second: one.racks for second, one in seconds.items()}
        deep = max(rack_second.max_chips for rack_second in racks.values())
        first = min(rack_second.first for rack_second in racks.values())
        columns = np.arange(
            first, min(max(rack_second.end for rack_second in racks.values()), self._count)
        )
        for place, name in enumerate(GROUP_ARRAYS["racks"]):
            block = np.full((rows, len(columns), deep), np.nan, dtype=np.float32)
            for second, rack_second in racks.items():
                rack_second.write(place, into=block[second - start], first=first)
            cells = None
            if is_late:
                cells = ~np.isnan(block) & ~self._filled(name, start, rows, columns)[:, :, None]
            yield _ArrayPart(name=name, values=block, columns=columns, cells=cells, chips=deep)

    def _filled(self, name: str, start: int, rows: int, columns: Int64Array) -> NDArray[np.bool_]:
        """Return which racks have any chip in which rows; late values do not replace these.

        Which of two batches is newer is unknown then, and chips of two batches must not mix.
        """
        before = self._transaction.snapshot.read(
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
            readings = np.array(list(one.points.values()))
            value[second - start, where] = readings[:, 0]
            code[second - start, where] = readings[:, 1]
        cells = code != NO_QUALITY
        if any(one.is_late for one in seconds.values()):
            cells &= ~self._is_protected(code, start, columns)
        for name, values in (("value", value), ("quality", code)):
            yield _ArrayPart(name=name, values=values, columns=columns, cells=cells)

    def _is_protected(self, code: AnyArray, start: int, columns: Int64Array) -> NDArray[np.bool_]:
        """Return which cells of the archive late values do not replace.

        A reading in time stays with its flag, unless its source called it bad and the late one is
        not. The order of the two is unknown, and most late readings are duplicates.
        """
        before = self._transaction.snapshot.read(
            "points", "quality", seconds=np.arange(start, start + len(code)), columns=columns
        )
        bad = QUALITY_CODES[QualityFlag.BAD_SOURCE]
        is_improved = (before == bad) & (code != bad)
        return np.asarray((before != NO_QUALITY) & ~is_improved)

    def _is_sparse(self, second: int, otherwise: bool) -> bool:
        """Return whether the day of a second began on the sparse level."""
        for level, answer in (
            (SPARSE_SECONDS, True),
            (OPEN_MINUTES, False),
            (COMPACTED_HOURS, False),
        ):
            paths = [self._path(level, second, name) for name in GROUP_ARRAYS[self._group]]
            if any(self._transaction.snapshot.grid(path) is not None for path in paths):
                return answer
        return otherwise

    def is_compacted(self, second: int) -> bool:
        """Return whether the hour of a second is compacted, for any variable."""
        return any(
            self._has_hour(self._path(COMPACTED_HOURS, second, name), second)
            for name in GROUP_ARRAYS[self._group]
        )

    def _has_hour(self, path: str, second: int) -> bool:
        grid = self._transaction.snapshot.grid(path)
        if grid is None:
            return False
        row = (
            second - COMPACTED_HOURS.rows(COMPACTED_HOURS.period(second))[0]
        ) // COMPACTED_HOURS.shard
        deep = (0,) * (len(grid.shape) - 2)
        pieces = self._transaction.snapshot.chunk_reader
        return any(
            pieces.read_index(path, grid, (row, column, *deep)) is not None
            for column in range(-(-grid.shape[1] // grid.shard[1]))
        )

    def _path(self, level: ResolutionLevel, second: int, name: str) -> str:
        return f"{self._group}/{level.name}/{level.period(second)}/{name}"


def has_group(second: SecondReadings, group: str) -> bool:
    """Return whether a second has readings of a group."""
    return bool(second.points) if group == "points" else not second.racks.is_empty
