"""Readings of a commit by second, and how far the commit reaches in the journals.

A reading belongs to the second of its stamp. See :mod:`telemetry.archive.conflicting_readings` for
several readings of one label in a second.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Self
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

from telemetry import durable_files
from telemetry.archive.conflicting_readings import StoredReading, preferred_reading
from telemetry.journal.format import JournalPosition
from telemetry.messages.samples import epoch_microseconds
from twin.units import MICROSECONDS_PER_S

MIN_SECOND: Final = -(2**62)
"""A second before all others. [s since 1970]"""

type JournalPoint = tuple[str, JournalPosition]
"""Name of a journal, and a position in it."""


type JournalPositions = Mapping[str, JournalPosition]
"""Name of a journal -> a position in it; the name is ``""`` without partitions."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """How far a commit reaches, stored in the commit itself.

    Up to ``replay_from`` all samples are in the archive; the journals are replayed from there. Up
    to ``received_positions`` all samples of the closed seconds are in it, those of later seconds
    are not. ``first_open_second`` is the first second that is not closed. [s since 1970]
    """

    replay_from: JournalPositions = field(default_factory=dict)
    received_positions: JournalPositions = field(default_factory=dict)
    first_open_second: int = MIN_SECOND

    def contains(self, second: int, position: JournalPosition, journal: str = "") -> bool:
        """Return whether the archive has a reading of a journal record."""
        received = self.received_positions.get(journal)
        return received is not None and position <= received and second < self.first_open_second

    def to_metadata(self) -> dict[str, str]:
        """Return the metadata of the commit, with a checksum: an error in it would lose data
        silently.
        """
        metadata = {
            "position": _format_positions(self.replay_from),
            "seen": _format_positions(self.received_positions),
            "closed": str(self.first_open_second),
        }
        return {**metadata, "checksum": _checksum(metadata)}

    @classmethod
    def from_metadata(cls, metadata: dict[str, str]) -> Self:
        """Return the checkpoint of a commit; raise ValueError or KeyError if its metadata is
        corrupt.
        """
        if metadata.get("checksum", _checksum(metadata)) != _checksum(metadata):
            raise ValueError("the checkpoint of the last commit is corrupt: its checksum differs")
        first, last = (_parse_positions(metadata[key]) for key in ("position", "seen"))
        return cls(
            replay_from=first, received_positions=last, first_open_second=int(metadata["closed"])
        )


def _checksum(metadata: Mapping[str, str]) -> str:
    text = "|".join(metadata[name] for name in ("position", "seen", "closed"))
    return durable_files.checksum(text)


def _format_positions(positions: JournalPositions) -> str:
    """Return positions as text."""
    return " ".join(f"{quote(name)}@{position}" for name, position in sorted(positions.items()))


def _parse_positions(text: str) -> dict[str, JournalPosition]:
    """Return the positions of a text."""
    parts = (part.rpartition("@") for part in text.split())
    return {unquote(name): JournalPosition.parse(position) for name, _, position in parts}


POINT_READING_BYTES: Final = 200
"""Memory of a point's reading. [B]"""

type ChipValues = NDArray[np.float32]
"""Values of one rack, on (variable, chip)."""

type MillisecondArray = NDArray[np.int16]
type Int64Array = NDArray[np.int64]

NO_BATCH_OFFSET: Final = -1
"""Offset of a rack without a batch in a second. [ms]"""

OFFSET_COLUMN_INCREMENT: Final = 64
"""Columns by which the array of offsets grows. [1]"""

BLOCK_OVERHEAD_BYTES: Final = 400
"""Memory of a block beside its values. [B]"""


class _RackBlock(NamedTuple):
    """Values of racks with the same number of chips, on (rack, variable, chip), and their
    columns.
    """

    columns: Int64Array
    values: ChipValues


class RackSecond:
    """Values of all racks in one second.

    Blocks are stored as received, so a rack with more chips than the others, or one that catches up
    alone, takes no more memory than it needs. ``first`` is the first column that may have values,
    ``max_chips`` the largest number of chips of a rack, and ``size`` the memory [B].
    ``subsecond_offsets`` are the times of the columns within the second, -1 without values. [ms]
    """

    def __init__(self) -> None:
        self.first = 0
        self.max_chips = 0
        self.subsecond_offsets = _empty_offsets(0)
        self._blocks: list[_RackBlock] = []
        self.size = 0

    @property
    def is_empty(self) -> bool:
        """Whether no rack was added."""
        return not self._blocks

    @property
    def end(self) -> int:
        """The column after the last."""
        return self.first + len(self.subsecond_offsets)

    def put(self, column: int, values: ChipValues, stamp: int = 0) -> bool:
        """Store the values of one rack at a time of the second [ms], unless newer ones are stored.

        Return whether it met values of another time of the second.
        """
        self._extend_columns(column, column + 1)
        at = column - self.first
        stored = int(self.subsecond_offsets[at])
        if stored <= stamp:
            self._append(_RackBlock(np.array([column]), values[None].copy()))
            self.subsecond_offsets[at] = stamp
        return stored not in (NO_BATCH_OFFSET, stamp)

    def put_many(self, columns: Int64Array, values: ChipValues, stamps: MillisecondArray) -> int:
        """Store the values of racks with the same number of chips, on (rack, variable, chip).

        Return how many met values of their rack of another time of the second; see :meth:`put`.
        """
        self._extend_columns(int(columns.min()), int(columns.max()) + 1)
        at = columns - self.first
        positions = np.empty(len(self.subsecond_offsets), dtype=np.int64)
        order = np.arange(len(at))
        positions[at] = order
        if (self.subsecond_offsets[at] != NO_BATCH_OFFSET).any() or (positions[at] != order).any():
            rows = zip(columns.tolist(), values, stamps.tolist(), strict=True)
            return sum(self.put(column, one, stamp) for column, one, stamp in rows)
        self._append(_RackBlock(columns, values))
        self.subsecond_offsets[at] = stamps
        return 0

    def merge_newer(self, later: "RackSecond") -> None:
        """Add the batches of another object, of each rack the newer batch as a whole."""
        if later.is_empty:
            return
        self._extend_columns(later.first, later.end)
        span = slice(later.first - self.first, later.end - self.first)
        is_newer = (later.subsecond_offsets != NO_BATCH_OFFSET) & (
            later.subsecond_offsets >= self.subsecond_offsets[span]
        )
        for columns, values in later._blocks:
            is_used = is_newer[columns - later.first]
            if is_used.any():
                self._append(_RackBlock(columns[is_used], values[is_used]))
        self.subsecond_offsets[span] = np.maximum(
            self.subsecond_offsets[span], later.subsecond_offsets
        )

    def write_variable(self, variable: int, *, into: ChipValues, first: int) -> None:
        """Write a variable into an array (column, chip) whose first column is ``first``.

        Columns that the array lacks are left out.
        """
        self._blocks = _merge_blocks(self._blocks)
        for columns, values in self._blocks:
            at, chip_values = columns - first, values[:, variable]
            is_inside = (at >= 0) & (at < len(into))
            if not is_inside.all():
                at, chip_values = at[is_inside], chip_values[is_inside]
            into[at, : chip_values.shape[1]] = chip_values
            into[at, chip_values.shape[1] :] = np.nan  # never mix chips of two batches

    def _append(self, block: _RackBlock) -> None:
        self._blocks.append(block)
        self.size += block.values.nbytes + BLOCK_OVERHEAD_BYTES
        self.max_chips = max(self.max_chips, block.values.shape[2])

    def _extend_columns(self, first: int, end: int) -> None:
        """Extend the offsets to a range of columns, excluding the end."""
        if not len(self.subsecond_offsets):
            self.first, self.subsecond_offsets = first, _empty_offsets(end - first)
            return
        if self.first <= first and end <= self.end:
            return
        start = (
            self.first
            if self.first <= first
            else first // OFFSET_COLUMN_INCREMENT * OFFSET_COLUMN_INCREMENT
        )
        stop = (
            self.end
            if end <= self.end
            else -(-end // OFFSET_COLUMN_INCREMENT) * OFFSET_COLUMN_INCREMENT
        )
        stamps = _empty_offsets(stop - start)
        stamps[self.first - start : self.end - start] = self.subsecond_offsets
        self.first, self.subsecond_offsets = start, stamps


def _merge_blocks(blocks: list[_RackBlock]) -> list[_RackBlock]:
    """Return one block for each number of chips, with the last values of each rack."""
    if len(blocks) <= 1:
        return blocks
    columns = np.concatenate([one.columns for one in reversed(blocks)])
    is_last = np.zeros(len(columns), dtype=np.bool_)
    is_last[np.unique(columns, return_index=True)[1]] = True
    found: dict[int, list[_RackBlock]] = {}
    end = 0
    for one in reversed(blocks):
        is_used = is_last[end : (end := end + len(one.columns))]
        if is_used.any():
            last_values = (
                one if is_used.all() else _RackBlock(one.columns[is_used], one.values[is_used])
            )
            found.setdefault(one.values.shape[2], []).append(last_values)
    return [
        _RackBlock(
            np.concatenate([one.columns for one in some]),
            np.concatenate([one.values for one in some]),
        )
        for some in found.values()
    ]


def _empty_offsets(columns: int) -> MillisecondArray:
    return np.full(columns, NO_BATCH_OFFSET, dtype=np.int16)


@dataclass(slots=True)
class SecondReadings:
    """The readings of one second: values of chips, and of points by column.

    Before ``oldest_positions`` of the journals there is none of them. If ``is_late``, the archive
    may have readings of this second already.
    """

    oldest_positions: JournalPositions
    racks: RackSecond = field(default_factory=RackSecond)
    points: dict[int, StoredReading] = field(default_factory=dict)
    is_late: bool = False

    @property
    def memory_bytes(self) -> int:
        """Approximate memory. [B]"""
        return self.racks.size + POINT_READING_BYTES * len(self.points)


@dataclass(frozen=True, kw_only=True)
class CommitBatch:
    """Readings of one commit by second, and how far the archive reaches with them.

    ``received_until`` is the first second after all that was received, written or not. [s since
    1970]
    """

    seconds: dict[int, SecondReadings]
    checkpoint: Checkpoint
    received_until: int = MIN_SECOND

    @property
    def memory_bytes(self) -> int:
        """Approximate memory. [B]"""
        return sum(second.memory_bytes for second in self.seconds.values())

    def merged(self, later: "CommitBatch | None") -> "CommitBatch":
        """Return this batch together with a later one."""
        if later is None:
            return self
        seconds = dict(self.seconds)
        for number, second in later.seconds.items():
            stored = seconds.setdefault(number, second)
            if stored is not second:
                stored.racks.merge_newer(second.racks)
                for column, value in second.points.items():
                    stored.points[column] = preferred_reading(
                        stored.points.get(column, value), value
                    )
                stored.is_late |= second.is_late
        return CommitBatch(seconds=seconds, checkpoint=later.checkpoint)


def epoch_second(time: np.datetime64) -> int:
    """Return the whole second of a time. [s since 1970]"""
    return epoch_microseconds(time) // MICROSECONDS_PER_S


def timedelta_to_seconds(span: np.timedelta64) -> float:
    """Return the length of a time span. [s]"""
    return float(span / np.timedelta64(1, "s"))
