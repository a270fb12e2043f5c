"""Decode many records of a journal at once: rack batches into arrays, all others one by one.

A message handled by itself costs some ten microseconds of Python, most of it for short-lived
objects. Here a batch is an entry of a few lists until numpy converts all of them together.
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
from telemetry.messages.rack_batch import (
    BATCH_FORMAT,
    BATCH_HEADER,
    BATCH_MAGIC,
    MAX_CHIPS,
    MAX_INTERVAL_MS,
)
from telemetry.messages.samples import CHIP_VARIABLES
from telemetry.messages.strict_json import END_TIME_MS, MIN_TIME_MS
from telemetry.messages.topics import TopicKind, parse_topic
from telemetry.quality.checks import MAX_CLOCK_LEAD
from telemetry.runtime import ClockMode
from twin.errors import MessageError

_CHUNK_ROWS: Final = len(CHIP_VARIABLES)
_MILLISECONDS_PER_S: Final = 1000
_MAX_FUTURE_MS: Final = int(
    MAX_CLOCK_LEAD / np.timedelta64(1, "ms")
)  # largest lead of a stamp over this clock
_FLOAT_BYTES: Final = 4  # float32
_MAX_DECODED_TOPICS: Final = 200_000  # parsed topics in memory

type TopicLabels = dict[bytes, str]
"""Topic -> ``{hall}/{rack}`` if it is one of rack batches of the site, or else ""."""


@dataclass(kw_only=True)
class DecodedChunk:
    """Content of some records of a journal.

    - `end`: offset in the segment after the last complete record. [B]
    - `count`: records that were read.
    - `batches`: valid rack batches, by their number of chips.
    - `other_records`: all other records, in order; also batches stamped later than they can have
      been made.
    - `data`, `segment`, `start`: the bytes that were read, and their position.
    """

    end: int
    data: bytes = b""
    segment: int = 0
    start: int = 0
    count: int = 0
    batches: list[RackBatchBlock] = field(default_factory=list)
    other_records: list[JournalRecord] = field(default_factory=list)

    def record_of(self, batches: RackBatchBlock, number: int) -> JournalRecord:
        """Return the record that a batch was read from."""
        topic, size, end = batches.record_spans[number]
        position = JournalPosition(self.segment, self.start + end)
        return _record(self.data, position, topic + size, size, end)


class JournalChunkDecoder:
    """Decoder of the records of one site; batches of other sites stay among the other records."""

    def __init__(self, site: str, clock_mode: ClockMode = ClockMode.REAL) -> None:
        self._site = site
        self._max_lead = 2**62 if clock_mode is ClockMode.SIMULATED else _MAX_FUTURE_MS
        self._labels: TopicLabels = {}

    def decode(self, data: bytes, segment: int, *, start: int, stop: int) -> DecodedChunk:
        """Decode complete records, as far as their checksums are right.

        - `data`: a part of a segment.
        - `segment`, `start`: number of the segment, and offset of the data in it. [B]
        - `stop`: offset in the segment after which no record may end. [B]
        """
        found = DecodedChunk(end=start, data=data, segment=segment, start=start)
        rows: dict[int, _Columns] = {}
        view, offset, longest = memoryview(data), 0, min(len(data), stop - start)
        labels, max_lead, first_value = self._labels, self._max_lead, BATCH_HEADER.size
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
                label = self._cache_label(topic)
            first += size
            chips = 0
            if label and end - first >= first_value:
                chips, time, interval = _batch_header(data, first, end)
            if not chips or time - received // _MILLISECONDS_PER_S > max_lead:
                found.other_records.append(
                    _record(data, JournalPosition(segment, start + end), first, size, end)
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
            batches, is_good = columns.to_block(chips)
            found.batches.append(batches.select(is_good) if not is_good.all() else batches)
            bad = np.flatnonzero(~is_good).tolist()
            found.other_records += [found.record_of(batches, number) for number in bad]
        return found

    def _cache_label(self, topic: bytes) -> str:
        """Return the label of a topic, and cache it."""
        label = ""
        try:
            address = parse_topic(topic.decode())
            if address.kind is TopicKind.RACK_BATCH and address.site == self._site:
                label = f"{address.hall}/{address.rack}"
        except (MessageError, UnicodeDecodeError):
            pass
        if len(self._labels) < _MAX_DECODED_TOPICS:
            self._labels[topic] = label
        return label


class _Columns:
    """Columns of batches with equally many chips."""

    def __init__(self) -> None:
        self.labels: list[str] = []
        self.times: list[int] = []
        self.values: list[memoryview] = []
        self.ends: list[tuple[int, int, int]] = []
        self.intervals: list[int] = []

    def to_block(self, chips: int) -> tuple[RackBatchBlock, NDArray[np.bool_]]:
        """Return the batches as one block, and which of them are finite."""
        block = np.frombuffer(b"".join(self.values), dtype="<f4").reshape(-1, _CHUNK_ROWS, chips)
        is_good = np.ones(len(block), dtype=np.bool_)
        if not np.isfinite(block.sum(dtype=np.float64)):
            is_good = np.isfinite(block).all(axis=(1, 2))
        seconds, stamps = np.divmod(np.array(self.times, dtype=np.int64), _MILLISECONDS_PER_S)
        batches = RackBatchBlock(
            labels=self.labels,
            seconds=seconds,
            subsecond_offsets=stamps.astype(np.int16),
            values=block,
            intervals=np.array(self.intervals) / _MILLISECONDS_PER_S,
            record_spans=self.ends,
        )
        return batches, is_good


def _batch_header(data: bytes, first: int, end: int) -> tuple[int, int, int]:
    """Return chips, time [ms] and interval [ms] of a batch; no chips if it is not valid."""
    magic, version, flags, length, _, _, time, rows, chips, interval = BATCH_HEADER.unpack_from(
        data, first
    )
    is_good = (
        magic == BATCH_MAGIC
        and version == BATCH_FORMAT
        and not flags
        and length == BATCH_HEADER.size
        and rows == _CHUNK_ROWS
        and 0 < chips <= MAX_CHIPS
        and 0 < interval <= MAX_INTERVAL_MS
        and end - first == length + rows * chips * _FLOAT_BYTES
        and MIN_TIME_MS <= time < END_TIME_MS
    )
    return (chips, time, interval) if is_good else (0, 0, 0)


def _record(
    data: bytes, position: JournalPosition, first: int, size: int, end: int
) -> JournalRecord:
    """Return the record whose payload begins at an offset, after a topic of some size."""
    (received,) = struct.unpack_from("<Q", data, first - size - RECORD_HEADER.size)
    topic = data[first - size : first].decode("utf-8", "replace")
    return JournalRecord(position, topic, data[first:end], np.datetime64(received, "us"))


def in_written_order(records: Sequence[JournalRecord]) -> Iterator[JournalRecord]:
    """Yield records in the order in which they were written."""
    yield from sorted(records, key=lambda record: record.position)
