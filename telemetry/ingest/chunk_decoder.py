"""Many frames of a journal at once: rack batches straight into arrays, the rest one by one.

A message taken by itself costs some ten microseconds of Python, most of it for objects that live
for a moment. Here a batch is a row of three lists until numpy takes all of them together.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telemetry.archive.buffer import RackBatchBlock
from telemetry.journal.format import (
    LENGTH_AND_CHECKSUM,
    RECORD_HEADER,
    JournalPosition,
    JournalRecord,
)
from telemetry.messages.models import CHIP_VARIABLES
from telemetry.messages.rack_batch import MAX_CHIPS, MAX_INTERVAL_MS
from telemetry.messages.rack_batch import BATCH_FORMAT, BATCH_HEADER, BATCH_MAGIC
from telemetry.messages.strict_json import END_TIME_MS, MIN_TIME_MS
from telemetry.messages.topics import TopicKind, parse_topic
from telemetry.quality.checks import MAX_CLOCK_LEAD
from twin.errors import MessageError

_ROWS: Final = len(CHIP_VARIABLES)
_MILLISECONDS: Final = 1000  # in a second
_FUTURE: Final = int(MAX_CLOCK_LEAD / np.timedelta64(1, "ms"))
_FLOAT: Final = 4  # bytes
_MOST_TOPICS: Final = 200_000  # of which the labels are remembered

type TopicLabels = dict[bytes, str]
"""Topic -> ``{hall}/{rack}`` if it is one of rack batches of the site, or else ""."""


@dataclass(kw_only=True)
class DecodedChunk:
    """What some frames say.

    Attributes
    ----------
    end
        Offset of the segment behind the last whole frame. [B]
    count
        Frames that were read.
    batches
        Rack batches, all good, by their number of chips.
    other_records
        All other frames, in their order; also batches stamped later than they can have been made.
    data, segment, start
        What was read, and where it begins.
    """

    end: int
    data: bytes = b""
    segment: int = 0
    start: int = 0
    count: int = 0
    batches: list[RackBatchBlock] = field(default_factory=list)
    other_records: list[JournalRecord] = field(default_factory=list)

    def record_of(self, batches: RackBatchBlock, number: int) -> JournalRecord:
        """Return the frame that a batch was read from."""
        topic, size, end = batches.record_spans[number]
        place = JournalPosition(self.segment, self.start + end)
        return _frame(self.data, place, topic + size, size, end)


class JournalChunkDecoder:
    """Reads frames of one site.

    Parameters
    ----------
    site
        Its name; batches of others are left among the other frames.
    is_simulated
        Whether times are those of a simulated plant, which has nothing to do with our clock.
    """

    def __init__(self, site: str, *, is_simulated: bool = False) -> None:
        self._site = site
        self._ahead = 2**62 if is_simulated else _FUTURE
        self._labels: TopicLabels = {}

    def decode(self, data: bytes, segment: int, *, start: int, stop: int) -> DecodedChunk:
        """Read whole frames, as long as they are sound.

        Parameters
        ----------
        data
            A part of a segment.
        segment, start
            Number of the segment, and where in it the data begins. [B]
        stop
            Offset in the segment behind which no frame may end. [B]

        Returns
        -------
        DecodedChunk
            What they say.
        """
        found = DecodedChunk(end=start, data=data, segment=segment, start=start)
        rows: dict[int, _Columns] = {}
        view, offset, longest = memoryview(data), 0, min(len(data), stop - start)
        labels, ahead, first_value = self._labels, self._ahead, BATCH_HEADER.size
        while offset + LENGTH_AND_CHECKSUM.size <= longest:
            length, checksum = LENGTH_AND_CHECKSUM.unpack_from(data, offset)
            first, end = (
                offset + LENGTH_AND_CHECKSUM.size,
                offset + LENGTH_AND_CHECKSUM.size + length,
            )
            if (
                end > longest
                or length < RECORD_HEADER.size
                or zlib.crc32(view[first:end]) != checksum
            ):
                break
            received, size = RECORD_HEADER.unpack_from(data, first)
            first += RECORD_HEADER.size
            topic = data[first : first + size]
            label = labels.get(topic)
            if label is None:
                label = self._learn(topic)
            first += size
            chips = 0
            if label and end - first >= first_value:
                chips, time, interval = _head(data, first, end)
            if not chips or time - received // _MILLISECONDS > ahead:
                found.other_records.append(
                    _frame(data, JournalPosition(segment, start + end), first, size, end)
                )
            else:
                columns = rows.setdefault(chips, _Columns())
                columns.labels.append(label)
                columns.times.append(time)
                columns.values.append(view[first + first_value : end])
                columns.ends.append((first - size, size, end))
                columns.intervals.append(interval)
            found.count += 1
            offset = end
        found.end = start + offset
        for chips, columns in rows.items():
            batches, is_good = columns.together(chips)
            found.batches.append(batches.select(is_good) if not is_good.all() else batches)
            bad = np.flatnonzero(~is_good).tolist()
            found.other_records += [found.record_of(batches, number) for number in bad]
        return found

    def _learn(self, topic: bytes) -> str:
        """Return the label of a topic, and remember it."""
        label = ""
        try:
            address = parse_topic(topic.decode())
            if address.kind is TopicKind.RACK_BATCH and address.site == self._site:
                label = f"{address.hall}/{address.rack}"
        except (MessageError, UnicodeDecodeError):
            pass
        if len(self._labels) < _MOST_TOPICS:
            self._labels[topic] = label
        return label


class _Columns:
    """Batches of equally many chips."""

    def __init__(self) -> None:
        self.labels: list[str] = []
        self.times: list[int] = []
        self.values: list[memoryview] = []
        self.ends: list[tuple[int, int, int]] = []
        self.intervals: list[int] = []

    def together(self, chips: int) -> tuple[RackBatchBlock, NDArray[np.bool_]]:
        """Return the batches side by side, and which of them are finite."""
        block = np.frombuffer(b"".join(self.values), dtype="<f4").reshape(-1, _ROWS, chips)
        is_good = np.ones(len(block), dtype=np.bool_)
        if not np.isfinite(block.sum(dtype=np.float64)):
            is_good = np.isfinite(block).all(axis=(1, 2))
        seconds, stamps = np.divmod(np.array(self.times, dtype=np.int64), _MILLISECONDS)
        batches = RackBatchBlock(
            labels=self.labels,
            seconds=seconds,
            subsecond_offsets=stamps.astype(np.int16),
            values=block,
            intervals=np.array(self.intervals) / _MILLISECONDS,
            record_spans=self.ends,
        )
        return batches, is_good


def _head(data: bytes, first: int, end: int) -> tuple[int, int, int]:
    """Return chips, time [ms] and interval [ms] of a batch; no chips if it is not a good one."""
    magic, version, flags, length, _, _, time, rows, chips, interval = BATCH_HEADER.unpack_from(
        data, first
    )
    is_good = (
        magic == BATCH_MAGIC
        and version == BATCH_FORMAT
        and not flags
        and length == BATCH_HEADER.size
        and rows == _ROWS
        and 0 < chips <= MAX_CHIPS
        and 0 < interval <= MAX_INTERVAL_MS
        and end - first == length + rows * chips * _FLOAT
        and MIN_TIME_MS <= time < END_TIME_MS
    )
    return (chips, time, interval) if is_good else (0, 0, 0)


def _frame(
    data: bytes, position: JournalPosition, first: int, size: int, end: int
) -> JournalRecord:
    """Return a frame whose payload begins at an offset, behind a topic of some size."""
    (received,) = struct.unpack_from("<Q", data, first - size - RECORD_HEADER.size)
    topic = data[first - size : first].decode("utf-8", "replace")
    return JournalRecord(position, topic, data[first:end], np.datetime64(received, "us"))


def in_written_order(frames: Sequence[JournalRecord]) -> Iterator[JournalRecord]:
    """Yield frames in the order in which they were written."""
    yield from sorted(frames, key=lambda frame: frame.position)
