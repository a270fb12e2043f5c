"""The readings of whole seconds since 1970; a reading belongs to the second it falls into.

Of one label's readings in one second the newest stays, but none that its source calls bad in the
place of another.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from telemetry.archive.marks import BEFORE_ALL, Mark, Places
from telemetry.archive.slabs import Slab
from telemetry.quality import Flag

CODES: Final[dict[Flag, int]] = {
    Flag.BAD_SOURCE: 0,
    Flag.GOOD: 1,
    Flag.RANGE: 2,
    Flag.RATE: 3,
    Flag.STUCK: 4,
    Flag.LATE: 5,
    Flag.FUTURE: 6,
    Flag.STALE: 7,
    Flag.UNIT: 8,
    Flag.FLAT: 9,
    Flag.DISAGREES: 10,
}
"""Numbers that stand for verdicts in the store; they never change."""

BELIEVED: Final = (CODES[Flag.GOOD], CODES[Flag.LATE])
"""What history may be read from: a late reading is as true as one in time."""

POINT_BYTES: Final = 200
"""What a point's reading takes in memory. [B]"""

type Value = tuple[float, int, int]
"""Value of a point in its own unit, the code of its verdict, and when in its second. [us]"""


@dataclass(slots=True)
class Second:
    """The readings of one second.

    Attributes
    ----------
    since
        Before these positions of the journals there is none of them.
    racks
        What the chips said.
    points
        Column of a point -> its value.
    is_late
        Whether the archive may have readings of it already.
    """

    since: Places
    racks: Slab = field(default_factory=Slab)
    points: dict[int, Value] = field(default_factory=dict)
    is_late: bool = False

    @property
    def size(self) -> int:
        """What they take in memory, about. [B]"""
        return self.racks.size + POINT_BYTES * len(self.points)


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What one commit shall write.

    Attributes
    ----------
    seconds
        Second -> its readings.
    mark
        How far the archive reaches with them.
    heard
        First second after all that was heard by then, written or not. [s since 1970]
    """

    seconds: dict[int, Second]
    mark: Mark
    heard: int = BEFORE_ALL

    @property
    def size(self) -> int:
        """What they take in memory, about. [B]"""
        return sum(second.size for second in self.seconds.values())

    def joined(self, later: "Taken | None") -> "Taken":
        """Return this with what was taken after it."""
        if later is None:
            return self
        seconds = dict(self.seconds)
        for number, second in later.seconds.items():
            held = seconds.setdefault(number, second)
            if held is not second:
                held.racks.update(second.racks)
                for column, value in second.points.items():
                    held.points[column] = better(held.points.get(column, value), value)
                held.is_late |= second.is_late
        return Taken(seconds=seconds, mark=later.mark)


def is_double(held: Value, value: Value) -> bool:
    """Return whether a value is the one that is held: then its first verdict stays."""
    return held[2] == value[2] and (
        held[0] == value[0] or held[0] != held[0] != value[0] != value[0]
    )


def better(held: Value, value: Value) -> Value:
    """Return which of two values of one second stays: the newer, of good and bad the good one."""
    bad = CODES[Flag.BAD_SOURCE]
    if (held[1] == bad) != (value[1] == bad):
        return held if value[1] == bad else value
    return held if value[2] < held[2] else value


def second_of(time: np.datetime64) -> int:
    """Return the whole second that a moment falls into. [s since 1970]"""
    return int(time.astype("datetime64[s]").astype(np.int64))


def seconds_of(span: np.timedelta64) -> float:
    """Return how long a span is. [s]"""
    return float(span / np.timedelta64(1, "s"))
