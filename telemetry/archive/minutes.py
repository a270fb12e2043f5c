"""What has been heard and is not in the archive yet, by the second it belongs to.

Everything here lives in memory: the journal holds the same messages, and :class:`Mark` says from
where on they must be read again after a crash.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from telemetry.archive.layout import MINUTE
from telemetry.archive.marks import BEFORE_ALL, Frame, Mark
from telemetry.archive.seconds import POINT_BYTES, Second, Taken, Value, better, is_double
from telemetry.archive.slabs import Chips, Stamps
from telemetry.journal import Position

LATENESS: Final = 30
"""How long after a minute's end its readings are waited for, by the time of the data. [s]"""

REACH: Final = 86_400
"""How far behind the last closed minute a point's value may still be written to its place. [s]"""

MOST_LATE: Final = 128 * 1024**2
"""What late readings take in memory before they are written without waiting for a minute. [B]"""


type Put = Literal["", "known", "late", "too_late"]
"""What became of a reading: written down in time, held already, written down late, refused."""


class Minutes:
    """The open minutes.

    Parameters
    ----------
    mark
        How far the archive reaches.
    labels
        Group -> labels that have a column.
    reach
        How far behind the last closed minute a batch may still be written to its place. [s]

    Attributes
    ----------
    complete
        Up to here all samples of each journal have been written down.
    columns
        Group -> label -> its column in the store.
    size
        What is open takes in memory, about. [B]
    merged
        Readings that met another one of their label and second.
    """

    def __init__(
        self, mark: Mark, labels: Mapping[str, Sequence[str]], *, reach: float = REACH
    ) -> None:
        self.columns = {
            group: {label: column for column, label in enumerate(those)}
            for group, those in labels.items()
        }
        self.size = 0
        self.merged = 0
        self.reach = reach
        self._late_size = 0
        self._mark = mark
        self.complete = dict(mark.position)
        self._closed = mark.closed
        self._open: dict[int, Second] = {}
        self._late: dict[int, Second] = {}
        self._newest = BEFORE_ALL
        self._ticked = BEFORE_ALL

    def column(self, group: str, label: str) -> int:
        """Return the column of a label, a new one if need be."""
        known = self.columns[group]
        return known.setdefault(label, len(known))

    def put_point(self, point: str, number: int, value: Value, *, frame: Frame) -> Put:
        """Write a value down in its second; see :meth:`second`."""
        second, put = self.second(number, frame, reach=REACH)
        if second is None:
            return put
        column = self.column("points", point)
        held = second.points.get(column)
        if held is None:
            second.points[column] = value
            self._count(POINT_BYTES, put)
        elif is_double(held, value):
            return "known"
        else:
            second.points[column] = better(held, value)
            self.merged += 1
        return put

    def put_rack(
        self, rack: str, number: int, values: Chips, *, frame: Frame, stamp: int = 0
    ) -> Put:
        """Write the values of a rack, of a moment of a second [ms], down; see :meth:`second`."""
        second, put = self.second(number, frame, reach=self.reach)
        if second is not None:
            before = second.racks.size
            self.merged += second.racks.put(self.column("racks", rack), values, stamp)
            self._count(second.racks.size - before, put)
        return put

    def put_racks(
        self,
        number: int,
        columns: NDArray[np.int64],
        values: NDArray[np.float32],
        *,
        stamps: Stamps,
        frame: Frame,
    ) -> Put:
        """Write the values of many racks, (rack, variable, chip), down in one second."""
        second, put = self.second(number, frame, reach=self.reach)
        if second is not None:
            before = second.racks.size
            self.merged += second.racks.put_many(columns, values, stamps)
            self._count(second.racks.size - before, put)
        return put

    def _count(self, size: int, put: Put) -> None:
        """Take down what a reading takes in memory. [B]"""
        self.size += size
        if put == "late":
            self._late_size += size

    def second(self, number: int, frame: Frame, *, reach: float) -> tuple[Second | None, Put]:
        """Return where to write a reading down, and whether it is late, or too late, or held.

        Parameters
        ----------
        number
            Its second. [s since 1970]
        frame
            Where it was read: a journal, and the end of its frame or a later one.
        reach
            How far behind the last closed minute it may be. [s]
        """
        journal, position = frame
        if self._mark.holds(number, position, journal):
            return None, "known"
        if number < self._closed - reach:
            return None, "too_late"
        self._newest = max(self._newest, number)
        is_late = number < self._closed
        kept = self._late if is_late else self._open
        second = kept.get(number)
        if second is None:
            second = kept[number] = Second(dict(self.complete), is_late=is_late)
        return second, "late" if is_late else ""

    def advance(self, position: Position, journal: str = "") -> None:
        """Take down that all samples of a journal up to here have been written down."""
        self.complete[journal] = position

    def tick(self, number: int) -> None:
        """Take down that all readings up to and with this second have been sent."""
        self._ticked = max(self._ticked, number + 1)

    @property
    def end(self) -> int:
        """First second after all that was heard. [s since 1970]"""
        return max(self._newest + 1, self._closed)

    @property
    def is_due(self) -> bool:
        """Whether a minute can be closed that has readings, or much came late."""
        if self._late_size > MOST_LATE:
            return True
        line = self._line
        return any(number < line for number in self._open)

    def take(self, *, everything: bool, is_told: bool = False) -> Taken | None:
        """Close what is due, or everything; return it with all that came late, or None.

        Parameters
        ----------
        everything
            Whether open minutes are closed too.
        is_told
            Whether readings were refused and told of, which need not be read again.
        """
        line = max(self._line, self._closed)
        if everything:
            line = max(line, self._newest + 1)
        seconds = {number: one for number, one in self._open.items() if number < line}
        is_late_due = everything or self._late_size > MOST_LATE
        if not seconds and not ((self._late or is_told) and is_late_due):
            return None
        seconds |= self._late
        self.size -= sum(second.size for second in seconds.values())
        self._open = {number: one for number, one in self._open.items() if number >= line}
        self._late, self._late_size = {}, 0
        self._closed = line
        position = {
            journal: min([at, *(one.since[journal] for one in self._open.values())])
            for journal, at in self.complete.items()
            if all(journal in one.since for one in self._open.values())
        }
        mark = Mark(position=position, seen=dict(self.complete), closed=line)
        return Taken(seconds=seconds, mark=mark)

    @property
    def _line(self) -> int:
        """First second that stays open; minutes close whole, except where a tick ends one."""
        by_watermark = (self._newest - LATENESS) // MINUTE * MINUTE
        return max(by_watermark, self._ticked)
