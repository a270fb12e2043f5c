"""What has been heard and is not in the archive yet, by the second it belongs to.

Seconds are whole seconds since 1970; a reading belongs to the second it falls into. Of one label's
readings in one second the last stays. Everything here lives in memory: the journal holds the same
messages, and :class:`Mark` says from where on they must be read again after a crash.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from telemetry.journal import Position
from telemetry.quality import Flag

type Chips = NDArray[np.float32]
"""Values of one rack: (variable, chip)."""

type Readings = Mapping[str, Chips | tuple[float, int]]
"""Label -> what was read in one second: of a rack, or of a point with the code of its verdict."""

CODES: Final[dict[Flag, int]] = {
    Flag.BAD_SOURCE: 0,
    Flag.GOOD: 1,
    Flag.RANGE: 2,
    Flag.RATE: 3,
    Flag.STUCK: 4,
    Flag.LATE: 5,
    Flag.FUTURE: 6,
    Flag.STALE: 7,
}
"""Numbers that stand for verdicts in the store; they never change."""

BELIEVED: Final = (CODES[Flag.GOOD], CODES[Flag.LATE])
"""What history may be read from: a late reading is as true as one in time."""

LATENESS: Final = 30
"""How long after a minute's end its readings are waited for, by the time of the data. [s]"""

REACH: Final = 86_400
"""How far behind the last closed minute a reading may still be written to its place. [s]"""

MINUTE: Final = 60
"""In seconds. [s]"""

POINT_BYTES: Final = 200
RACK_BYTES: Final = 300
"""What a reading takes in memory beside its values. [B]"""

_BEFORE_ALL: Final = -(2**62)


@dataclass(frozen=True, kw_only=True)
class Mark:
    """How far a commit reaches, stored in the commit itself.

    Attributes
    ----------
    position
        All samples up to here are in the archive; the journal is replayed after it.
    seen
        Up to here all samples of the closed seconds are in the archive, those of later ones not.
    closed
        First second that is not closed. [s since 1970]
    """

    position: Position | None = None
    seen: Position | None = None
    closed: int = _BEFORE_ALL

    def holds(self, second: int, position: Position) -> bool:
        """Return whether a reading of a frame is in the archive already."""
        return self.seen is not None and position <= self.seen and second < self.closed

    def told(self) -> dict[str, str]:
        """Return it as the commit keeps it."""
        return {
            "position": str(self.position or ""),
            "seen": str(self.seen or ""),
            "closed": str(self.closed),
        }

    @classmethod
    def read(cls, told: dict[str, str]) -> Self:
        """Return what :meth:`told` wrote; ValueError or KeyError if it did not."""
        first, last = (
            Position.parse(told[key]) if told[key] else None for key in ("position", "seen")
        )
        return cls(position=first, seen=last, closed=int(told["closed"]))


@dataclass(slots=True)
class Second:
    """The readings of one second.

    Attributes
    ----------
    since
        Before this position of the journal there is none of them.
    size
        What they take in memory, about. [B]
    racks
        Label of a rack -> its values, as a rack batch has them.
    points
        Point -> its value in its own unit, and the code of its verdict.
    """

    since: Position | None
    size: int = 0
    racks: dict[str, Chips] = field(default_factory=dict)
    points: dict[str, tuple[float, int]] = field(default_factory=dict)

    def put(self, label: str, reading: Chips | tuple[float, int]) -> int:
        """Write a reading down; return what it takes. [B]"""
        if isinstance(reading, tuple):
            self.points[label] = reading
            taken = POINT_BYTES
        else:
            self.racks[label] = reading
            taken = RACK_BYTES + reading.nbytes
        self.size += taken
        return taken

    def of(self, name: str) -> Readings:
        """Return its readings of ``racks`` or of ``points``."""
        return self.racks if name == "racks" else self.points


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What one commit shall write.

    Attributes
    ----------
    seconds
        Second -> its readings.
    mark
        How far the archive reaches with them.
    """

    seconds: dict[int, Second]
    mark: Mark

    @property
    def size(self) -> int:
        """What they take in memory, about. [B]"""
        return sum(second.size for second in self.seconds.values())

    def of(self, name: str) -> dict[int, Readings]:
        """Return the readings of ``racks`` or of ``points``, by second; none of them empty."""
        found = {number: one.of(name) for number, one in self.seconds.items()}
        return {number: readings for number, readings in found.items() if readings}

    def joined(self, later: "Taken | None") -> "Taken":
        """Return this with what was taken after it."""
        if later is None:
            return self
        seconds = dict(self.seconds)
        for number, second in later.seconds.items():
            held = seconds.setdefault(number, second)
            if held is not second:
                held.racks.update(second.racks)
                held.points.update(second.points)
                held.size += second.size
        return Taken(seconds=seconds, mark=later.mark)


class Minutes:
    """The open minutes.

    Parameters
    ----------
    mark
        How far the archive reaches.

    Attributes
    ----------
    complete
        Up to here all samples of the journal have been written down.
    """

    def __init__(self, mark: Mark) -> None:
        self._mark = mark
        self.complete = mark.position
        self._closed = mark.closed
        self._open: dict[int, Second] = {}
        self._late: dict[int, Second] = {}
        self._newest = _BEFORE_ALL
        self._ticked = _BEFORE_ALL

    def second(self, number: int, position: Position) -> Second | None:
        """Return where to write a reading down; None if the archive holds it already.

        Raises
        ------
        ValueError
            If it is too old to be written to its place.
        """
        if self._mark.holds(number, position):
            return None
        if number < self._closed - REACH:
            message = f"more than {REACH} s older than what the archive has closed"
            raise ValueError(message)
        self._newest = max(self._newest, number)
        kept = self._late if number < self._closed else self._open
        second = kept.get(number)
        if second is None:
            second = kept[number] = Second(self.complete)
        return second

    def is_late(self, number: int) -> bool:
        """Return whether a second is closed already."""
        return number < self._closed

    def advance(self, position: Position) -> None:
        """Take down that all samples of the journal up to here have been written down."""
        self.complete = position

    def tick(self, number: int) -> None:
        """Take down that all readings up to and with this second have been sent."""
        self._ticked = max(self._ticked, number + 1)

    @property
    def is_due(self) -> bool:
        """Whether a minute can be closed that has readings."""
        return any(number < self._line for number in self._open)

    def take(self, *, everything: bool) -> Taken | None:
        """Close what is due, or everything; return it with all that came late, or None."""
        line = max(self._line, self._closed)
        if everything:
            line = max(line, self._newest + 1)
        seconds = {number: one for number, one in self._open.items() if number < line}
        if not seconds and not (everything and self._late):
            return None
        seconds |= self._late
        self._open = {number: one for number, one in self._open.items() if number >= line}
        self._late = {}
        self._closed = line
        since = [one.since for one in self._open.values()]
        known = [position for position in since if position is not None]
        position = self.complete if not since else min(known) if known == since else None
        return Taken(seconds=seconds, mark=Mark(position=position, seen=self.complete, closed=line))

    @property
    def _line(self) -> int:
        """First second that stays open; minutes close whole, except where a tick ends one."""
        by_watermark = (self._newest - LATENESS) // MINUTE * MINUTE
        return max(by_watermark, self._ticked)
