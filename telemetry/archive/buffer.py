"""Buffer of samples that the archive does not have yet, by the second they belong to.

Everything here is in memory: the journal has the same messages, and a :class:`Checkpoint` records
from where they must be read again after a crash.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from telemetry.archive.commit_batch import (
    MIN_SECOND,
    POINT_READING_BYTES,
    Checkpoint,
    ChipValues,
    CommitBatch,
    JournalPoint,
    MillisecondArray,
    SecondReadings,
    epoch_second,
    timedelta_to_seconds,
)
from telemetry.archive.conflicting_readings import StoredReading, is_duplicate, preferred_reading
from telemetry.archive.layout import MINUTE_S, QUALITY_CODES, PendingMetadata
from telemetry.archive.loss_log import RejectionSummary
from telemetry.journal.format import JournalPosition
from telemetry.messages.samples import (
    PointMetadata,
    PointValue,
    RackBatch,
    Sample,
    SimulationTick,
    epoch_microseconds,
)
from telemetry.quality.checks import QualityFlag
from twin.units import MICROSECONDS_PER_MS, MICROSECONDS_PER_S

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


@dataclass(frozen=True, kw_only=True)
class RackBatchBlock:
    """Rack batches of one site with the same number of chips.

    ``rack_labels`` are ``{hall}/{rack}``, ``seconds`` those that the batches belong to [s since
    1970], ``values`` on (batch, variable, chip), ``intervals`` in [s], and ``subsecond_offsets``
    the times within the seconds [ms]. ``record_spans`` have start and length of the topic, and end
    of the record, in the chunk of the journal [B].
    """

    rack_labels: Sequence[str]
    seconds: NDArray[np.int64]
    values: NDArray[np.float32]
    intervals: NDArray[np.float64]
    subsecond_offsets: MillisecondArray
    record_spans: Sequence[tuple[int, int, int]] = ()

    def select(self, which: NDArray[np.bool_]) -> "RackBatchBlock":
        """Return the selected batches."""
        return RackBatchBlock(
            rack_labels=list(compress(self.rack_labels, which)),
            seconds=self.seconds[which],
            values=self.values[which],
            intervals=self.intervals[which],
            subsecond_offsets=self.subsecond_offsets[which],
            record_spans=list(compress(self.record_spans, which)),
        )


MAX_BACKFILL_S: Final = 86_400
"""How far behind the last closed minute a point's value may be to be archived. [s]"""


type WriteResult = Literal["", "known", "late", "too_late"]
"""Whether a reading was added in time ("") or late, was known already, or is too late."""


class WriteBuffer:
    """Collects samples until they are committed; the caller holds a lock.

    It continues from a checkpoint and from the labels that have a column, by group. Batches may be
    ``max_backfill`` behind the last closed minute [s]. ``rejections`` are the readings that came
    too late, ``pending_metadata`` the new metadata of points, in order.
    """

    def __init__(
        self,
        site_name: str,
        checkpoint: Checkpoint,
        labels: Mapping[str, Sequence[str]],
        *,
        counters: Counter[str],
        max_backfill: float = MAX_BACKFILL_S,
    ) -> None:
        self.minutes = OpenMinutes(checkpoint, labels, max_backfill=max_backfill)
        self.rejections = RejectionSummary()
        self.pending_metadata: dict[str, list[PointMetadata]] = {}
        self._is_slow_rack: dict[int, bool] = {}
        self._is_slow_tick = False
        self._site_name = site_name
        self._counters = counters
        self._metadata: dict[str, PointMetadata] = {}

    @property
    def columns(self) -> dict[str, dict[str, int]]:
        """Group -> label -> column, as a copy."""
        return {group: dict(known) for group, known in self.minutes.columns.items()}

    @property
    def is_sparse(self) -> bool:
        """Whether most racks, or ticks without racks, have intervals longer than a minute.

        A single rack does not decide, as it may be wrong.
        """
        count = sum(self._is_slow_rack.values())
        if not self._is_slow_rack:
            return self._is_slow_tick
        return 2 * count > len(self._is_slow_rack) and count + self._is_slow_tick > 1

    def add(self, sample: Sample, flag: QualityFlag, *, source: JournalPoint) -> str:
        """Add a sample; return why it is rejected, or ""."""
        match sample:
            case PointValue(point=point, value=value):
                number, stamp = divmod(epoch_microseconds(sample.time), MICROSECONDS_PER_S)
                reading = (
                    (value, QUALITY_CODES[flag], stamp)
                    if value is not None
                    else _empty_reading(stamp)
                )
                result = self.minutes.put_point(point, number, reading, source=source)
                if result == "too_late":
                    return self._reject("points", point, number, max_backfill=MAX_BACKFILL_S)
                self._count_added(result, "values", 1)
            case RackBatch(values=values):
                if sample.site != self._site_name:
                    return f"batch of site {sample.site}, expected {self._site_name}"
                label = f"{sample.hall}/{sample.rack}"
                number, stamp = divmod(epoch_microseconds(sample.time), MICROSECONDS_PER_S)
                result = self.minutes.put_rack(
                    label,
                    number,
                    values,
                    source=source,
                    stamp=stamp // MICROSECONDS_PER_MS,
                )
                if result == "too_late":
                    return self._reject(
                        "racks", label, number, max_backfill=self.minutes.max_backfill
                    )
                column = self.minutes.column("racks", label)
                self._is_slow_rack[column] = timedelta_to_seconds(sample.interval) > MINUTE_S
                self._count_added(result, "batches", 1)
            case PointMetadata(point=point):
                if self._metadata.get(point) != sample:
                    self._metadata[point] = sample
                    self.pending_metadata.setdefault(point, []).append(sample)
                    self.minutes.column("points", point)
            case SimulationTick(time=end):
                self._is_slow_tick = timedelta_to_seconds(sample.interval) > MINUTE_S
                self.minutes.record_sent_second(epoch_second(end))
        return ""

    def add_racks(self, batches: RackBatchBlock, *, source: JournalPoint) -> list[int]:
        """Add many batches; return the indices of those that are rejected."""
        known = self.minutes.columns["racks"]
        columns = np.array([known.setdefault(label, len(known)) for label in batches.rack_labels])
        is_slow = (batches.intervals > MINUTE_S).tolist()
        self._is_slow_rack.update(zip(columns.tolist(), is_slow, strict=True))
        stamps = batches.subsecond_offsets
        rejected: list[int] = []
        order = np.argsort(batches.seconds, kind="stable")
        edges = np.flatnonzero(np.diff(batches.seconds[order], prepend=-1)).tolist()
        for first, last in zip(edges, [*edges[1:], len(order)], strict=True):
            rows = order[first:last]
            number = int(batches.seconds[rows[0]])
            result = self.minutes.put_racks(
                number, columns[rows], batches.values[rows], stamps=stamps[rows], source=source
            )
            if result == "too_late":
                rejected += rows.tolist()
            else:
                self._count_added(result, "batches", len(rows))
        for place in rejected:
            second = int(batches.seconds[place])
            self._reject(
                "racks", batches.rack_labels[place], second, max_backfill=self.minutes.max_backfill
            )
        return rejected

    def _reject(self, group: str, label: str, second: int, *, max_backfill: float) -> str:
        """Record a reading that came too late; return why it is rejected."""
        self._counters["too_late"] += 1
        self.rejections.add(group, label, second)
        return f"more than {max_backfill:.0f} s before the last closed minute of the archive"

    def _count_added(self, result: WriteResult, kind: str, count: int) -> None:
        """Count readings that were not rejected."""
        if result == "known":
            self._counters["known"] += count
            return
        if result:
            self._counters["late"] += count
        if self.minutes.merged:
            self._counters["merged"] += self.minutes.merged
            self.minutes.merged = 0
        self._counters[kind] += count


def merge_metadata(
    earlier: PendingMetadata, later: PendingMetadata
) -> dict[str, list[PointMetadata]]:
    """Return pending metadata followed by later ones."""
    return {one: [*earlier.get(one, ()), *later.get(one, ())] for one in {**earlier, **later}}


def _empty_reading(stamp: int) -> StoredReading:
    """Return a reading without a value, with the code of a bad source."""
    return np.nan, QUALITY_CODES[QualityFlag.BAD_SOURCE], stamp


ALLOWED_LATENESS_S: Final = 30
"""How long after a minute's end its readings are waited for, in the time of the data. [s]"""

MAX_LATE_BYTES: Final = 128 * 1024**2
"""Memory of late readings above which they are committed at once. [B]"""


class OpenMinutes:
    """The open minutes.

    ``complete`` is the position in each journal up to which all samples have been added,
    ``columns`` the columns by group and label, ``size`` the approximate memory [B], and ``merged``
    the number of readings that met another one of their label and second.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        labels: Mapping[str, Sequence[str]],
        *,
        max_backfill: float = MAX_BACKFILL_S,
    ) -> None:
        self.columns = {
            group: {label: column for column, label in enumerate(names)}
            for group, names in labels.items()
        }
        self.size = 0
        self.merged = 0
        self.max_backfill = max_backfill
        self._late_size = 0
        self._checkpoint = checkpoint
        self.complete = dict(checkpoint.replay_from)
        self._closed = checkpoint.first_open_second
        self._open: dict[int, SecondReadings] = {}
        self._late: dict[int, SecondReadings] = {}
        self._newest = MIN_SECOND
        self._ticked = MIN_SECOND

    def column(self, group: str, label: str) -> int:
        """Return the column of a label, a new one if necessary."""
        known = self.columns[group]
        return known.setdefault(label, len(known))

    def put_point(
        self, point: str, number: int, value: StoredReading, *, source: JournalPoint
    ) -> WriteResult:
        """Add a value to its second; see :meth:`readings_of_second`."""
        second, result = self.readings_of_second(number, source, max_backfill=MAX_BACKFILL_S)
        if second is None:
            return result
        column = self.column("points", point)
        stored = second.points.get(column)
        if stored is None:
            second.points[column] = value
            self._add_size(POINT_READING_BYTES, result)
        elif is_duplicate(stored, value):
            return "known"
        else:
            second.points[column] = preferred_reading(stored, value)
            self.merged += 1
        return result

    def put_rack(
        self, rack: str, number: int, values: ChipValues, *, source: JournalPoint, stamp: int = 0
    ) -> WriteResult:
        """Add the values of a rack at a time within a second [ms].

        See :meth:`readings_of_second`.
        """
        second, result = self.readings_of_second(number, source, max_backfill=self.max_backfill)
        if second is not None:
            before = second.racks.size
            self.merged += second.racks.put(self.column("racks", rack), values, stamp)
            self._add_size(second.racks.size - before, result)
        return result

    def put_racks(
        self,
        number: int,
        columns: NDArray[np.int64],
        values: NDArray[np.float32],
        *,
        stamps: MillisecondArray,
        source: JournalPoint,
    ) -> WriteResult:
        """Add the values of many racks, on (rack, variable, chip), to one second."""
        second, result = self.readings_of_second(number, source, max_backfill=self.max_backfill)
        if second is not None:
            before = second.racks.size
            self.merged += second.racks.put_many(columns, values, stamps)
            self._add_size(second.racks.size - before, result)
        return result

    def _add_size(self, size: int, result: WriteResult) -> None:
        """Add the memory of a reading. [B]"""
        self.size += size
        if result == "late":
            self._late_size += size

    def readings_of_second(
        self, number: int, source: JournalPoint, *, max_backfill: float
    ) -> tuple[SecondReadings | None, WriteResult]:
        """Return the readings of a second [s since 1970] to add to, and the result for a new
        reading.

        ``source`` is a journal and the end of the reading's record or a later position. The second
        may be ``max_backfill`` behind the last closed minute [s].
        """
        journal, position = source
        if self._checkpoint.contains(number, position, journal):
            return None, "known"
        if number < self._closed - max_backfill:
            return None, "too_late"
        self._newest = max(self._newest, number)
        is_late = number < self._closed
        seconds_of_kind = self._late if is_late else self._open
        second = seconds_of_kind.get(number)
        if second is None:
            second = seconds_of_kind[number] = SecondReadings(dict(self.complete), is_late=is_late)
        return second, "late" if is_late else ""

    def record_journal_position(self, position: JournalPosition, journal: str = "") -> None:
        """Record that all samples of a journal up to a position have been added."""
        self.complete[journal] = position

    def record_sent_second(self, number: int) -> None:
        """Record that all readings up to the end of a second have been sent."""
        self._ticked = max(self._ticked, number + 1)

    @property
    def first_unreceived_second(self) -> int:
        """First second after all received ones. [s since 1970]"""
        return max(self._newest + 1, self._closed)

    @property
    def is_due(self) -> bool:
        """Whether a minute with readings can be closed, or many late readings wait."""
        if self._late_size > MAX_LATE_BYTES:
            return True
        open_from = self._open_from
        return any(number < open_from for number in self._open)

    def close_due(self, *, include_open: bool, has_rejections: bool = False) -> CommitBatch | None:
        """Close due minutes, or all; return them with all late readings, or None.

        ``has_rejections`` states that rejected readings were logged, so the checkpoint must
        advance.
        """
        open_from = max(self._open_from, self._closed)
        if include_open:
            open_from = max(open_from, self._newest + 1)
        seconds = {number: one for number, one in self._open.items() if number < open_from}
        is_late_due = include_open or self._late_size > MAX_LATE_BYTES
        if not seconds and not ((self._late or has_rejections) and is_late_due):
            return None
        seconds |= self._late
        self.size -= sum(second.memory_bytes for second in seconds.values())
        self._open = {number: one for number, one in self._open.items() if number >= open_from}
        self._late, self._late_size = {}, 0
        self._closed = open_from
        position = {
            journal: min([at, *(one.oldest_positions[journal] for one in self._open.values())])
            for journal, at in self.complete.items()
            if all(journal in one.oldest_positions for one in self._open.values())
        }
        checkpoint = Checkpoint(
            replay_from=position,
            received_positions=dict(self.complete),
            first_open_second=open_from,
        )
        return CommitBatch(seconds=seconds, checkpoint=checkpoint)

    @property
    def _open_from(self) -> int:
        """First second that stays open; minutes close as a whole, except at a tick."""
        by_watermark = (self._newest - ALLOWED_LATENESS_S) // MINUTE_S * MINUTE_S
        return max(by_watermark, self._ticked)
