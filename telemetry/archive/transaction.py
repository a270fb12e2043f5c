"""A transaction of the archive: labels, seconds with values, and values written into their
cells.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import icechunk
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import Crc32cCodec, ZstdCodec
from zarr.core.sync import sync

from telemetry.archive.commit_batch import SecondReadings
from telemetry.archive.conflicting_readings import keeps_archived_points, keeps_archived_racks
from telemetry.archive.layout import (
    COMPACTED_HOURS_LEVEL,
    DAY_S,
    GROUP_ARRAYS,
    HOUR_S,
    LABEL_AXES,
    MINUTE_S,
    NO_READING_QUALITY,
    OPEN_MINUTES_LEVEL,
    SECOND_LEVELS,
    SPARSE_SECONDS_LEVEL,
    AnyArray,
    ArraySpec,
    Int64Array,
    PendingMetadata,
    ResolutionLevel,
    ShardIndex,
    ZarrArray,
    describe_shard,
    has_value,
    metadata_to_json,
    open_array,
    record_metadata_changes,
    shard_shape,
)
from telemetry.archive.loss_log import LossEntry
from telemetry.archive.snapshot import (
    UNREADABLE_ERRORS,
    CorruptionHandler,
    Snapshot,
    corruption_reason,
)

type SnapshotOpener = Callable[[CorruptionHandler], Snapshot]
"""Returns the last commit, with a handler of corrupt data."""

LABELS_PER_CHUNK: Final = 65_536

CHECKSUM_CODECS: Final = (ZstdCodec(level=0), Crc32cCodec())
"""Codecs of small arrays; a changed bit is detected."""


class Transaction:
    """Pending changes of a writable session; no shard is written twice in one.

    ``snapshot`` is the commit before them. ``losses`` has the corrupt shards that were given up as
    a whole or in part: path -> place -> reason.
    """

    def __init__(self, session: icechunk.Session, open_snapshot: SnapshotOpener) -> None:
        self.session = session
        self.losses: dict[str, dict[ShardIndex, str]] = {}
        self.snapshot = open_snapshot(self._record_loss)
        self.root = zarr.open_group(session.store, mode="a")
        self._arrays: dict[str, ZarrArray] = {}

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
        """Write metadata of points and their changes; see :func:`record_metadata_changes`."""
        stored = self._array("points/metadata")
        every = np.asarray(stored[:])
        before = {label: str(every[columns[label]]) for label in metadata}
        known = {label: text for label, text in before.items() if text}
        record_metadata_changes(self.root, known, metadata, span=span)
        places = np.array([columns[label] for label in metadata])
        every[places] = np.array(
            [metadata_to_json(some[-1]) for some in metadata.values()], every.dtype
        )
        stored[:] = every

    def mark_seconds(self, group: str, seconds: Sequence[int]) -> None:
        """Mark seconds with values. [s since 1970]"""
        for day in sorted({second // DAY_S for second in seconds}):
            path = f"{group}/heard/{OPEN_MINUTES_LEVEL.period(day * DAY_S)}"
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
        array = self._widened(spec, values.shape[2:])
        row = (
            second - spec.level.first_second_and_row_count(spec.period)[0]
        ) // spec.level.row_seconds
        width = shard_shape(array)[1]
        for shard in np.unique(columns // width).tolist():
            inside = columns // width == shard
            flags = None if mask is None else mask[:, inside]
            self._write_shard(array, row, columns[inside], values=values[:, inside], mask=flags)

    def _write_shard(
        self,
        array: ZarrArray,
        row: int,
        columns: Int64Array,
        *,
        values: AnyArray,
        mask: NDArray[np.bool_] | None,
    ) -> None:
        """Write values of columns of one shard, as whole chunks along the columns."""
        across = array.chunks[1]
        first = int(columns[0]) // across * across
        last = min((int(columns[-1]) // across + 1) * across, array.shape[1])
        region = (slice(row, row + len(values)), slice(first, last), *map(slice, array.shape[2:]))
        axes = [np.arange(part.start or 0, part.stop) for part in region]
        block = self.snapshot.read_cells(array.path, axes)
        if block is None and mask is None and values.shape == tuple(map(len, axes)):
            block = values
        else:
            mask = has_value(values, float(array.fill_value)) if mask is None else mask
            if not mask.any():
                return
            if block is None:
                block = np.full([*map(len, axes)], array.fill_value, dtype=array.dtype)
            chips = map(slice, values.shape[2:])
            cells: tuple[slice | Int64Array, ...] = (slice(None), columns - first, *chips)
            block[cells] = np.where(mask, values, block[cells])
        try:
            array[region] = block
        except UNREADABLE_ERRORS as error:  # the rest of the shard cannot be read
            cut = zip(axes, shard_shape(array), strict=True)
            for place in product(*(np.unique(axis // size).tolist() for axis, size in cut)):
                self._record_loss(array.path, place, corruption_reason(error))
                self.delete_shard(array.path, place)
            array[region] = block

    def delete_shard(self, path: str, place: ShardIndex) -> None:
        """Delete a shard, if it exists."""
        sync(self.session.store.delete(f"{path}/c/{'/'.join(map(str, place))}"))

    def _widened(self, spec: ArraySpec, chips: tuple[int, ...]) -> ZarrArray:
        """Return an array, after creating or widening it."""
        array = self._arrays.get(spec.path)
        if array is None:
            is_new = spec.path not in self.root
            array = spec.create(self.root) if is_new else self._array(spec.path)
            self._arrays[spec.path] = array
        wanted = (array.shape[0], spec.column_count, *chips)
        shape = tuple(max(pair) for pair in zip(array.shape, wanted, strict=True))
        if shape != array.shape:
            array.resize(shape)
        return array

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
                    self._write(SPARSE_SECONDS_LEVEL, second, {second: one})
            else:
                self._write(OPEN_MINUTES_LEVEL, minute, inside)

    def _write(
        self, level: ResolutionLevel, start: int, seconds: Mapping[int, SecondReadings]
    ) -> None:
        """Write the rows of a shard."""
        for part in self._array_parts(seconds, start, level.rows_per_shard):
            if part.cells is not None and not part.cells.any():
                continue
            spec = ArraySpec(
                group=self._group,
                level=level,
                period=level.period(start),
                name=part.name,
                column_count=self._count,
                chip_count=part.chips,
            )
            self._transaction.write_values(
                spec, start, part.values, columns=part.columns, mask=part.cells
            )

    def _chips(self, second: int, name: str, count: int) -> int:
        """Return the largest number of chips in the archive on the day of a second, at least
        ``count``.
        """
        arrays = [
            self._transaction.snapshot.array(self._path(level, second, name))
            for level in SECOND_LEVELS
        ]
        return max([count, *(array.shape[2] for array in arrays if array is not None)])

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
                rack_second.write_variable(place, into=block[second - start], first=first)
            cells = None
            if is_late:
                archived = self._transaction.snapshot.read(
                    self._group,
                    name,
                    seconds=np.arange(start, start + rows),
                    columns=columns,
                    chips=np.arange(self._chips(start, name, 1)),
                )
                cells = ~np.isnan(block) & ~keeps_archived_racks(archived)[:, :, None]
            yield _ArrayPart(name=name, values=block, columns=columns, cells=cells, chips=deep)

    def _points(
        self, seconds: Mapping[int, SecondReadings], start: int, rows: int
    ) -> Iterator[_ArrayPart]:
        columns = np.array(sorted({column for one in seconds.values() for column in one.points}))
        value = np.full((rows, len(columns)), np.nan)
        code = np.full((rows, len(columns)), NO_READING_QUALITY, dtype=np.int8)
        for second, one in seconds.items():
            where = np.searchsorted(columns, np.fromiter(one.points, np.int64))
            readings = np.array(list(one.points.values()))
            value[second - start, where] = readings[:, 0]
            code[second - start, where] = readings[:, 1]
        cells = code != NO_READING_QUALITY
        if any(one.is_late for one in seconds.values()):
            archived = self._transaction.snapshot.read(
                "points", "quality", seconds=np.arange(start, start + rows), columns=columns
            )
            cells &= ~keeps_archived_points(archived, code)
        for name, values in (("value", value), ("quality", code)):
            yield _ArrayPart(name=name, values=values, columns=columns, cells=cells)

    def _is_sparse(self, second: int, otherwise: bool) -> bool:
        """Return whether the day of a second began on the sparse level."""
        for level, answer in (
            (SPARSE_SECONDS_LEVEL, True),
            (OPEN_MINUTES_LEVEL, False),
            (COMPACTED_HOURS_LEVEL, False),
        ):
            paths = [self._path(level, second, name) for name in GROUP_ARRAYS[self._group]]
            if any(self._transaction.snapshot.array(path) is not None for path in paths):
                return answer
        return otherwise

    def _path(self, level: ResolutionLevel, second: int, name: str) -> str:
        return f"{self._group}/{level.name}/{level.period(second)}/{name}"


def has_group(second: SecondReadings, group: str) -> bool:
    """Return whether a second has readings of a group."""
    return bool(second.points) if group == "points" else not second.racks.is_empty
