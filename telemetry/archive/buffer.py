"""What an archive has heard and not yet written: readings, columns and news of points.

What has been heard and is not in the archive yet, by the second it belongs to.

Everything here lives in memory: the journal holds the same messages, and :class:`Checkpoint` says
from where on they must be read again after a crash.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from telemetry.archive.commit_batch import (
    BYTES_PER_POINT,
    MIN_SECOND,
    QUALITY_CODES,
    Checkpoint,
    ChipValues,
    CommitBatch,
    JournalPoint,
    MillisecondArray,
    SecondReadings,
    StoredReading,
    duration_seconds,
    epoch_second,
    is_duplicate,
    preferred,
)
from telemetry.archive.layout import MINUTE_S
from telemetry.archive.loss_log import RejectionSummary
from telemetry.archive.metadata_history import PendingMetadata
from telemetry.journal.format import JournalPosition
from telemetry.messages.models import (
    PointMetadata,
    PointValue,
    RackBatch,
    Sample,
    SimulationTick,
    epoch_microseconds,
)
from telemetry.quality.checks import QualityFlag

WRITE_COUNTERS: Final = (
    "batches",
    "values",
    "late",
    "merged",
    "known",
    "too_late",
    "commits",
    "compacted",
)

_SECOND: Final = 1_000_000  # us
_MILLISECOND: Final = 1_000  # us


@dataclass(frozen=True, kw_only=True)
class RackBatchBlock:
    """Rack batches of one site and equally many chips, side by side.

    Attributes
    ----------
    labels
        ``{hall}/{rack}`` of each.
    seconds
        To which each belongs. [s since 1970]
    values
        (batch, variable, chip).
    intervals
        Of each. [s]
    subsecond_offsets
        When in its second each was; at its beginning if None. [ms]
    record_spans
        Where the frame of each stands in the piece of the journal that they were read from: where
        its topic begins, how long that is, and where the frame ends. [B]
    """

    labels: Sequence[str]
    seconds: NDArray[np.int64]
    values: NDArray[np.float32]
    intervals: NDArray[np.float64]
    subsecond_offsets: MillisecondArray | None = None
    record_spans: Sequence[tuple[int, int, int]] = ()

    def select(self, which: NDArray[np.bool_]) -> "RackBatchBlock":
        """Return some of them."""
        return RackBatchBlock(
            labels=list(compress(self.labels, which)),
            seconds=self.seconds[which],
            values=self.values[which],
            intervals=self.intervals[which],
            subsecond_offsets=None
            if self.subsecond_offsets is None
            else self.subsecond_offsets[which],
            record_spans=list(compress(self.record_spans, which)),
        )


MAX_BACKFILL_S: Final = 86_400
"""How far behind the last closed minute a point's value may still be written to its place. [s]"""


type WriteResult = Literal["", "known", "late", "too_late"]
"""What became of a reading: written down in time, held already, written down late, refused."""


class WriteBuffer:
    """Takes samples; whoever calls it holds a lock.

    Parameters
    ----------
    site_name
        Batches of other sites are not taken.
    mark
        How far the archive reaches.
    labels
        Group -> labels that have a column.
    counters
        Are added to; see :class:`telemetry.archive.writer.Archive`.
    reach
        How far behind the last closed minute a batch may be. [s]

    Attributes
    ----------
    refusals
        What came too late.
    minutes
        The open minutes.
    news
        Point -> what is newly known of it, in its order.
    """

    def __init__(
        self,
        site_name: str,
        checkpoint: Checkpoint,
        labels: Mapping[str, Sequence[str]],
        *,
        counters: Counter[str],
        reach: float = MAX_BACKFILL_S,
    ) -> None:
        self.minutes = OpenMinutes(checkpoint, labels, max_backfill=reach)
        self.rejections = RejectionSummary()
        self.pending_metadata: dict[str, list[PointMetadata]] = {}
        self._is_seldom: dict[int, bool] = {}
        self._is_ticked_seldom = False
        self._site_name = site_name
        self._counters = counters
        self._known: dict[str, PointMetadata] = {}

    @property
    def columns(self) -> dict[str, dict[str, int]]:
        """Group -> label -> column, as they are now."""
        return {group: dict(known) for group, known in self.minutes.columns.items()}

    @property
    def is_sparse(self) -> bool:
        """Whether the plant speaks once in many minutes only: most racks, or ticks without any.

        A rack alone is not believed, as it may be the only one that is wrong.
        """
        count = sum(self._is_seldom.values())
        if not self._is_seldom:
            return self._is_ticked_seldom
        return 2 * count > len(self._is_seldom) and count + self._is_ticked_seldom > 1

    def add(self, sample: Sample, flag: QualityFlag, *, frame: JournalPoint) -> str:
        """Take a sample; return why it is refused, or ""."""
        match sample:
            case PointValue(point=point, value=value):
                number, stamp = divmod(epoch_microseconds(sample.time), _SECOND)
                reading = (
                    (value, QUALITY_CODES[flag], stamp) if value is not None else _nothing(stamp)
                )
                put = self.minutes.put_point(point, number, reading, frame=frame)
                if put == "too_late":
                    return self._refused("points", point, number, reach=MAX_BACKFILL_S)
                self._note(put, "values", 1)
            case RackBatch(values=values):
                if sample.site != self._site_name:
                    return f"of {sample.site}, not of {self._site_name}"
                label = f"{sample.hall}/{sample.rack}"
                number, stamp = divmod(epoch_microseconds(sample.time), _SECOND)
                put = self.minutes.put_rack(
                    label, number, values, frame=frame, stamp=stamp // _MILLISECOND
                )
                if put == "too_late":
                    return self._refused("racks", label, number, reach=self.minutes.max_backfill)
                column = self.minutes.column("racks", label)
                self._is_seldom[column] = duration_seconds(sample.interval) > MINUTE_S
                self._note(put, "batches", 1)
            case PointMetadata(point=point):
                if self._known.get(point) != sample:
                    self._known[point] = sample
                    self.pending_metadata.setdefault(point, []).append(sample)
                    self.minutes.column("points", point)
            case SimulationTick(time=end):
                self._is_ticked_seldom = duration_seconds(sample.interval) > MINUTE_S
                self.minutes.tick(epoch_second(end))
        return ""

    def add_racks(self, batches: RackBatchBlock, *, frame: JournalPoint) -> list[int]:
        """Take many batches; return the places of those that are refused."""
        known = self.minutes.columns["racks"]
        columns = np.array([known.setdefault(label, len(known)) for label in batches.labels])
        is_seldom = (batches.intervals > MINUTE_S).tolist()
        self._is_seldom.update(zip(columns.tolist(), is_seldom, strict=True))
        stamps = batches.subsecond_offsets
        if stamps is None:
            stamps = np.zeros(len(columns), dtype=np.int16)
        refused: list[int] = []
        order = np.argsort(batches.seconds, kind="stable")
        edges = np.flatnonzero(np.diff(batches.seconds[order], prepend=-1)).tolist()
        for first, last in zip(edges, [*edges[1:], len(order)], strict=True):
            here = order[first:last]
            number = int(batches.seconds[here[0]])
            put = self.minutes.put_racks(
                number, columns[here], batches.values[here], stamps=stamps[here], frame=frame
            )
            if put == "too_late":
                refused += here.tolist()
            else:
                self._note(put, "batches", len(here))
        for place in refused:
            second = int(batches.seconds[place])
            self._refused("racks", batches.labels[place], second, reach=self.minutes.max_backfill)
        return refused

    def _refused(self, group: str, label: str, second: int, *, reach: float) -> str:
        """Take down a reading that came too late; return why it is refused."""
        self._counters["too_late"] += 1
        self.rejections.add(group, label, second)
        return f"more than {reach:.0f} s older than what the archive has closed"

    def _note(self, put: WriteResult, kind: str, count: int) -> None:
        """Count what became of readings that were not refused."""
        if put == "known":
            self._counters["known"] += count
            return
        if put:
            self._counters["late"] += count
        if self.minutes.merged:
            self._counters["merged"] += self.minutes.merged
            self.minutes.merged = 0
        self._counters[kind] += count


def merge_metadata(news: PendingMetadata, later: PendingMetadata) -> dict[str, list[PointMetadata]]:
    """Return news together with those that came after them."""
    return {one: [*news.get(one, ()), *later.get(one, ())] for one in {**news, **later}}


def _nothing(stamp: int) -> StoredReading:
    """Return a reading without a value: as bad as one that its source calls bad, whoever judged."""
    return np.nan, QUALITY_CODES[QualityFlag.BAD_SOURCE], stamp


ALLOWED_LATENESS_S: Final = 30
"""How long after a minute's end its readings are waited for, by the time of the data. [s]"""

MAX_LATE_BYTES: Final = 128 * 1024**2
"""What late readings take in memory before they are written without waiting for a minute. [B]"""


class OpenMinutes:
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
        self,
        checkpoint: Checkpoint,
        labels: Mapping[str, Sequence[str]],
        *,
        max_backfill: float = MAX_BACKFILL_S,
    ) -> None:
        self.columns = {
            group: {label: column for column, label in enumerate(those)}
            for group, those in labels.items()
        }
        self.size = 0
        self.merged = 0
        self.max_backfill = max_backfill
        self._late_size = 0
        self._mark = checkpoint
        self.complete = dict(checkpoint.replay_from)
        self._closed = checkpoint.closed
        self._open: dict[int, SecondReadings] = {}
        self._late: dict[int, SecondReadings] = {}
        self._newest = MIN_SECOND
        self._ticked = MIN_SECOND

    def column(self, group: str, label: str) -> int:
        """Return the column of a label, a new one if need be."""
        known = self.columns[group]
        return known.setdefault(label, len(known))

    def put_point(
        self, point: str, number: int, value: StoredReading, *, frame: JournalPoint
    ) -> WriteResult:
        """Write a value down in its second; see :meth:`second`."""
        second, put = self.second(number, frame, reach=MAX_BACKFILL_S)
        if second is None:
            return put
        column = self.column("points", point)
        held = second.points.get(column)
        if held is None:
            second.points[column] = value
            self._count(BYTES_PER_POINT, put)
        elif is_duplicate(held, value):
            return "known"
        else:
            second.points[column] = preferred(held, value)
            self.merged += 1
        return put

    def put_rack(
        self, rack: str, number: int, values: ChipValues, *, frame: JournalPoint, stamp: int = 0
    ) -> WriteResult:
        """Write the values of a rack, of a moment of a second [ms], down; see :meth:`second`."""
        second, put = self.second(number, frame, reach=self.max_backfill)
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
        stamps: MillisecondArray,
        frame: JournalPoint,
    ) -> WriteResult:
        """Write the values of many racks, (rack, variable, chip), down in one second."""
        second, put = self.second(number, frame, reach=self.max_backfill)
        if second is not None:
            before = second.racks.size
            self.merged += second.racks.put_many(columns, values, stamps)
            self._count(second.racks.size - before, put)
        return put

    def _count(self, size: int, put: WriteResult) -> None:
        """Take down what a reading takes in memory. [B]"""
        self.size += size
        if put == "late":
            self._late_size += size

    def second(
        self, number: int, frame: JournalPoint, *, reach: float
    ) -> tuple[SecondReadings | None, WriteResult]:
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
        if self._mark.contains(number, position, journal):
            return None, "known"
        if number < self._closed - reach:
            return None, "too_late"
        self._newest = max(self._newest, number)
        is_late = number < self._closed
        kept = self._late if is_late else self._open
        second = kept.get(number)
        if second is None:
            second = kept[number] = SecondReadings(dict(self.complete), is_late=is_late)
        return second, "late" if is_late else ""

    def advance(self, position: JournalPosition, journal: str = "") -> None:
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
        if self._late_size > MAX_LATE_BYTES:
            return True
        line = self._line
        return any(number < line for number in self._open)

    def close_due(self, *, include_open: bool, has_rejections: bool = False) -> CommitBatch | None:
        """Close what is due, or everything; return it with all that came late, or None.

        Parameters
        ----------
        include_open
            Whether open minutes are closed too.
        has_rejections
            Whether readings were refused and told of, which need not be read again.
        """
        line = max(self._line, self._closed)
        if include_open:
            line = max(line, self._newest + 1)
        seconds = {number: one for number, one in self._open.items() if number < line}
        is_late_due = include_open or self._late_size > MAX_LATE_BYTES
        if not seconds and not ((self._late or has_rejections) and is_late_due):
            return None
        seconds |= self._late
        self.size -= sum(second.size for second in seconds.values())
        self._open = {number: one for number, one in self._open.items() if number >= line}
        self._late, self._late_size = {}, 0
        self._closed = line
        position = {
            journal: min([at, *(one.oldest_positions[journal] for one in self._open.values())])
            for journal, at in self.complete.items()
            if all(journal in one.oldest_positions for one in self._open.values())
        }
        checkpoint = Checkpoint(replay_from=position, received=dict(self.complete), closed=line)
        return CommitBatch(seconds=seconds, checkpoint=checkpoint)

    @property
    def _line(self) -> int:
        """First second that stays open; minutes close whole, except where a tick ends one."""
        by_watermark = (self._newest - ALLOWED_LATENESS_S) // MINUTE_S * MINUTE_S
        return max(by_watermark, self._ticked)
