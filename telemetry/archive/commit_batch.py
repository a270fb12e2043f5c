"""The chips of all racks of one second, as they were heard; the store has them side by side.

How far an archive reaches in the journals that it is written from.

The readings of whole seconds since 1970; a reading belongs to the second it falls into.

Of one label's readings in one second the newest stays, but none that its source calls bad in the
place of another.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Self
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

from telemetry import files
from telemetry.journal.format import JournalPosition
from telemetry.quality.checks import QualityFlag

MIN_SECOND: Final = -(2**62)
"""Stands for a second before all others. [s since 1970]"""

type JournalPoint = tuple[str, JournalPosition]
"""Name of a journal, and a position in it."""


type JournalPositions = Mapping[str, JournalPosition]
"""Name of a journal -> a position in it; a site whose telemetry is not split has one, ``""``."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """How far a commit reaches, stored in the commit itself.

    Attributes
    ----------
    replay_from
        All samples up to here are in the archive; the journals are replayed after it.
    received
        Up to here all samples of the closed seconds are in the archive, those of later ones not.
    closed
        First second that is not closed. [s since 1970]
    """

    replay_from: JournalPositions = field(default_factory=dict)
    received: JournalPositions = field(default_factory=dict)
    closed: int = MIN_SECOND

    def contains(self, second: int, position: JournalPosition, journal: str = "") -> bool:
        """Return whether a reading of a frame is in the archive already."""
        seen = self.received.get(journal)
        return seen is not None and position <= seen and second < self.closed

    def to_metadata(self) -> dict[str, str]:
        """Return it as the commit keeps it, with a checksum: a wrong one would lose in silence."""
        told = {
            "position": _told(self.replay_from),
            "seen": _told(self.received),
            "closed": str(self.closed),
        }
        return {**told, "checksum": _checksum(told)}

    @classmethod
    def from_metadata(cls, told: dict[str, str]) -> Self:
        """Return what :meth:`told` wrote; ValueError or KeyError if it did not."""
        if told.get("checksum", _checksum(told)) != _checksum(told):
            raise ValueError("how far the archive reaches is not what was written")
        first, last = (_read(told[key]) for key in ("position", "seen"))
        return cls(replay_from=first, received=last, closed=int(told["closed"]))


def _checksum(told: Mapping[str, str]) -> str:
    text = "|".join(told[name] for name in ("position", "seen", "closed"))
    return files.checksum(text)


def _told(places: JournalPositions) -> str:
    """Return positions as text."""
    return " ".join(f"{quote(name)}@{position}" for name, position in sorted(places.items()))


def _read(text: str) -> dict[str, JournalPosition]:
    """Return the positions that were written as this text."""
    parts = (part.rpartition("@") for part in text.split())
    return {unquote(name): JournalPosition.parse(position) for name, _, position in parts}


QUALITY_CODES: Final[dict[QualityFlag, int]] = {
    QualityFlag.BAD_SOURCE: 0,
    QualityFlag.GOOD: 1,
    QualityFlag.RANGE: 2,
    QualityFlag.RATE: 3,
    QualityFlag.STUCK: 4,
    QualityFlag.LATE: 5,
    QualityFlag.FUTURE: 6,
    QualityFlag.STALE: 7,
    QualityFlag.UNIT: 8,
    QualityFlag.FLAT: 9,
    QualityFlag.DISAGREES: 10,
}
"""Numbers that stand for verdicts in the store; they never change."""

TRUSTED_CODES: Final = (QUALITY_CODES[QualityFlag.GOOD], QUALITY_CODES[QualityFlag.LATE])
"""What history may be read from: a late reading is as true as one in time."""

BYTES_PER_POINT: Final = 200
"""What a point's reading takes in memory. [B]"""

type StoredReading = tuple[float, int, int]
"""Value of a point in its own unit, the code of its verdict, and when in its second. [us]"""

type ChipValues = NDArray[np.float32]
"""Values of one rack: (variable, chip)."""

type MillisecondArray = NDArray[np.int16]
type Int64Array = NDArray[np.int64]

NOT_RECEIVED: Final = -1

COLUMN_INCREMENT: Final = 64
"""Columns by which a slab grows."""

BLOCK_OVERHEAD_BYTES: Final = 400
"""What a strip takes in memory beside its values. [B]"""


class _RackBlock(NamedTuple):
    """Values of racks of equally many chips, (rack, variable, chip), and their columns."""

    columns: Int64Array
    values: ChipValues


class RackSecond:
    """Values of one second.

    Racks are kept as they came: one that has more chips than the others, or that catches up alone,
    takes no more room than it needs.

    Attributes
    ----------
    first
        The first column that may have been heard.
    deep
        Most chips of a rack.
    stamps
        When in its second each column from the first on was heard, -1 where it was not. [ms]
    size
        What the values take in memory. [B]
    """

    def __init__(self) -> None:
        self.first = 0
        self.max_chips = 0
        self.subsecond_offsets = _unheard(0)
        self._strips: list[_RackBlock] = []
        self.size = 0

    @property
    def is_empty(self) -> bool:
        """Whether no rack was put."""
        return not self._strips

    @property
    def end(self) -> int:
        """The column behind the last."""
        return self.first + len(self.subsecond_offsets)

    def put(self, column: int, values: ChipValues, stamp: int = 0) -> bool:
        """Write the values of one rack down, unless newer ones of this second are there.

        Parameters
        ----------
        column, values
            Of the rack.
        stamp
            When in the second it was. [ms]

        Returns
        -------
        bool
            Whether there were others, of another moment of the second.
        """
        self._reach(column, column + 1)
        at = column - self.first
        held = int(self.subsecond_offsets[at])
        if held <= stamp:
            self._keep(_RackBlock(np.array([column]), values[None].copy()))
            self.subsecond_offsets[at] = stamp
        return held not in (NOT_RECEIVED, stamp)

    def put_many(self, columns: Int64Array, values: ChipValues, stamps: MillisecondArray) -> int:
        """Write the values of racks of equally many chips, (rack, variable, chip); see `put`.

        Returns
        -------
        int
            How many met others of their rack, of another moment of the second.
        """
        self._reach(int(columns.min()), int(columns.max()) + 1)
        at = columns - self.first
        places = np.empty(len(self.subsecond_offsets), dtype=np.int64)
        order = np.arange(len(at))
        places[at] = order
        if (self.subsecond_offsets[at] != NOT_RECEIVED).any() or (places[at] != order).any():
            rows = zip(columns.tolist(), values, stamps.tolist(), strict=True)
            return sum(self.put(column, one, stamp) for column, one, stamp in rows)
        self._keep(_RackBlock(columns, values))
        self.subsecond_offsets[at] = stamps
        return 0

    def update(self, later: "RackSecond") -> None:
        """Write down what another slab has, of each rack the newer batch as a whole."""
        if later.is_empty:
            return
        self._reach(later.first, later.end)
        here = slice(later.first - self.first, later.end - self.first)
        is_newer = (later.subsecond_offsets != NOT_RECEIVED) & (
            later.subsecond_offsets >= self.subsecond_offsets[here]
        )
        for columns, values in later._strips:
            mine = is_newer[columns - later.first]
            if mine.any():
                self._keep(_RackBlock(columns[mine], values[mine]))
        self.subsecond_offsets[here] = np.maximum(
            self.subsecond_offsets[here], later.subsecond_offsets
        )

    def write(self, variable: int, *, into: ChipValues, first: int) -> None:
        """Write the values of a variable where they belong.

        Parameters
        ----------
        variable
            Its place.
        into
            (column, chip), of enough chips; columns that it does not have are left out.
        first
            Its first column.
        """
        self._strips = _joined(self._strips)
        for columns, values in self._strips:
            at, said = columns - first, values[:, variable]
            is_here = (at >= 0) & (at < len(into))
            if not is_here.all():
                at, said = at[is_here], said[is_here]
            into[at, : said.shape[1]] = said
            into[at, said.shape[1] :] = np.nan  # chips of two batches are no batch

    def _keep(self, strip: _RackBlock) -> None:
        self._strips.append(strip)
        self.size += strip.values.nbytes + BLOCK_OVERHEAD_BYTES
        self.max_chips = max(self.max_chips, strip.values.shape[2])

    def _reach(self, first: int, end: int) -> None:
        """Make room for the stamps of columns, the last not included."""
        if not len(self.subsecond_offsets):
            self.first, self.subsecond_offsets = first, _unheard(end - first)
            return
        if self.first <= first and end <= self.end:
            return
        start = self.first if self.first <= first else first // COLUMN_INCREMENT * COLUMN_INCREMENT
        stop = self.end if end <= self.end else -(-end // COLUMN_INCREMENT) * COLUMN_INCREMENT
        stamps = _unheard(stop - start)
        stamps[self.first - start : self.end - start] = self.subsecond_offsets
        self.first, self.subsecond_offsets = start, stamps


def _joined(strips: list[_RackBlock]) -> list[_RackBlock]:
    """Return one strip for each number of chips, of each rack in them what was kept last."""
    if len(strips) <= 1:
        return strips
    columns = np.concatenate([one.columns for one in reversed(strips)])
    is_last = np.zeros(len(columns), dtype=np.bool_)
    is_last[np.unique(columns, return_index=True)[1]] = True
    found: dict[int, list[_RackBlock]] = {}
    end = 0
    for one in reversed(strips):
        mine = is_last[end : (end := end + len(one.columns))]
        if mine.any():
            kept = one if mine.all() else _RackBlock(one.columns[mine], one.values[mine])
            found.setdefault(one.values.shape[2], []).append(kept)
    return [
        _RackBlock(
            np.concatenate([one.columns for one in some]),
            np.concatenate([one.values for one in some]),
        )
        for some in found.values()
    ]


def _unheard(columns: int) -> MillisecondArray:
    return np.full(columns, NOT_RECEIVED, dtype=np.int16)


@dataclass(slots=True)
class SecondReadings:
    """The readings of one second.

    Attributes
    ----------
    oldest_positions
        Before these positions of the journals there is none of them.
    racks
        What the chips said.
    points
        Column of a point -> its value.
    is_late
        Whether the archive may have readings of it already.
    """

    oldest_positions: JournalPositions
    racks: RackSecond = field(default_factory=RackSecond)
    points: dict[int, StoredReading] = field(default_factory=dict)
    is_late: bool = False

    @property
    def size(self) -> int:
        """What they take in memory, about. [B]"""
        return self.racks.size + BYTES_PER_POINT * len(self.points)


@dataclass(frozen=True, kw_only=True)
class CommitBatch:
    """What one commit shall write.

    Attributes
    ----------
    seconds
        Second -> its readings.
    checkpoint
        How far the archive reaches with them.
    received_until
        First second after all that was heard by then, written or not. [s since 1970]
    """

    seconds: dict[int, SecondReadings]
    checkpoint: Checkpoint
    received_until: int = MIN_SECOND

    @property
    def size(self) -> int:
        """What they take in memory, about. [B]"""
        return sum(second.size for second in self.seconds.values())

    def merged(self, later: "CommitBatch | None") -> "CommitBatch":
        """Return this with what was taken after it."""
        if later is None:
            return self
        seconds = dict(self.seconds)
        for number, second in later.seconds.items():
            held = seconds.setdefault(number, second)
            if held is not second:
                held.racks.update(second.racks)
                for column, value in second.points.items():
                    held.points[column] = preferred(held.points.get(column, value), value)
                held.is_late |= second.is_late
        return CommitBatch(seconds=seconds, checkpoint=later.checkpoint)


def is_duplicate(held: StoredReading, value: StoredReading) -> bool:
    """Return whether a value is the one that is held: then its first verdict stays."""
    return held[2] == value[2] and (
        held[0] == value[0] or held[0] != held[0] != value[0] != value[0]
    )


def preferred(held: StoredReading, value: StoredReading) -> StoredReading:
    """Return which of two values of one second stays: the newer, of good and bad the good one."""
    bad = QUALITY_CODES[QualityFlag.BAD_SOURCE]
    if (held[1] == bad) != (value[1] == bad):
        return held if value[1] == bad else value
    return held if value[2] < held[2] else value


def epoch_second(time: np.datetime64) -> int:
    """Return the whole second that a moment falls into. [s since 1970]"""
    return int(time.astype("datetime64[s]").astype(np.int64))


def duration_seconds(span: np.timedelta64) -> float:
    """Return how long a span is. [s]"""
    return float(span / np.timedelta64(1, "s"))
