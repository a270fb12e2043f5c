"""The archiver of a site with several ingesters: the only writer of the site's archive.

It reads the journals of all ingesters, first the one with the oldest data, so that no reading is
late because another journal was read first. Messages that are not archived are counted and stored
for people.

A message handled by itself costs some ten microseconds of Python, most of it for short-lived
objects. So :class:`JournalChunkDecoder` decodes many records of a journal at once: a rack batch is
an entry of a few lists until numpy converts all of them together.
"""

import struct
import threading
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import structlog
from numpy.typing import NDArray

from telemetry.archive import ALLOWED_LATENESS_S, Archive
from telemetry.archive.buffer import RackBatchBlock
from telemetry.archive.commit_batch import epoch_second
from telemetry.archive.layout import MINUTE_S, read_all_metadata
from telemetry.archive.loss_log import append_reasons
from telemetry.archive.reader import open_snapshot
from telemetry.archive.recovery import STORAGE_ERRORS
from telemetry.durable_files import sync_file_systems
from telemetry.ingest.pipeline import COMMIT_RETRY_S
from telemetry.ingest.router import SampleRouter
from telemetry.journal.follower import JournalFollower
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
from telemetry.messages.samples import CHIP_VARIABLES, PointValue, RackBatch
from telemetry.messages.strict_json import MESSAGE_TIME_END_MS, MIN_MESSAGE_TIME_MS
from telemetry.messages.topics import TopicKind, parse_topic
from telemetry.points.binding import PointBinder
from telemetry.quality.checks import MAX_CLOCK_LEAD
from telemetry.quality.tracker import QualityEngine
from telemetry.runtime import ClockMode
from twin.errors import ArchiveError, JournalError, MessageError

MIN_POLL_S: Final = 0.25
"""Shortest wait if no journal has new data. [s]"""

MAX_POLL_S: Final = 60.0
"""Longest wait. [s]"""

COMMIT_SPREAD_S: Final = 25
"""Seconds over which the commits of a machine's sites are spread. [s]"""

MAX_JOURNAL_LAG_S: Final = ALLOWED_LATENESS_S // 2
"""Lag of a journal behind the others up to which their commit waits for it. [s]"""

SHARD_IDLE_COMMIT_S: Final = 60.0
"""Time without new data after which open minutes are archived too, so that the data before an
outage can be read during the outage. [s]"""

FINAL_COMMIT_ATTEMPTS: Final = 2
"""Attempts of the last commit, as its cause of failure may have been removed meanwhile. [1]"""

ALLOCATOR_ENVIRONMENT: Final = {"MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_ARENA_MAX": "2"}
"""Environment in which the C library returns unused memory to the system."""

_logger = structlog.get_logger(__name__)


class JournalArchiver:
    """Archiver of the journals of one site.

    - `journals`: Name of an ingester -> folder of its journal.
    - `quarantine`: folder for undecodable messages; None to count them only.
    - `binder`: binds points to the variables of a site file; without one, points are checked by
      their metadata alone.
    - `counters`: those of :class:`telemetry.ingest.router.SampleRouter`; ``frames`` that were read,
      of these ``batches`` of racks; ``torn``, unreadable ends of journals that were skipped.
    - `has_unarchived`: whether :meth:`run` has not ended, or could not commit all data.
    """

    def __init__(
        self,
        archive: Archive,
        journals: Mapping[str, Path],
        *,
        quarantine: Path | None = None,
        clock_mode: ClockMode = ClockMode.REAL,
        binder: PointBinder | None = None,
    ) -> None:
        self.has_unarchived = False
        self._archive = archive
        self._journals = dict(journals)
        quality = QualityEngine(binder, clock_mode=clock_mode)
        self._router = SampleRouter(archive, quality, quarantine)
        self.counters = self._router.counts
        self.counters.update(dict.fromkeys(ARCHIVER_COUNTERS, 0))
        self._is_simulated = clock_mode is ClockMode.SIMULATED
        self._decoder = JournalChunkDecoder(archive.site_name, clock_mode)
        self._ended = threading.Event()
        self._followers: dict[str, JournalFollower] = {}
        self._newest: dict[str, int] = {}
        self._archived_segments: dict[str, int] = {}
        self._last_read_at = time.monotonic()
        self._commit_offset_s = zlib.crc32(archive.site_name.encode()) % COMMIT_SPREAD_S
        self._register_metadata()
        self._rewind()

    def _register_metadata(self) -> None:
        """Take note of the archived metadata, which sources may not send again."""
        try:
            root = open_snapshot(self._archive.folder, self._archive.site_name).root
            for metadata in read_all_metadata(root).values():
                self._router.quality.register(metadata)
        except (ArchiveError, *STORAGE_ERRORS) as error:
            _logger.warning("metadata not read", reason=str(error))

    @property
    def coverage(self) -> Mapping[str, object]:
        """Number of points with values, and those with the lowest coverage."""
        now = max(self._newest.values()) if self._is_simulated else int(time.time())
        return self._router.coverage.summary(now)

    @property
    def error(self) -> str:
        """Problems of the data and their remedies; empty if there are none."""
        return "; ".join(
            filter(None, [self._router.error, self._router.quality.clock_skew.warning])
        )

    def stop(self) -> None:
        """End :meth:`run`, from any thread."""
        self._ended.set()

    def run(self) -> None:
        """Archive new data until stopped; then commit all data."""
        self.has_unarchived = True
        positions = {name: str(at) for name, at in self._archive.replay_positions.items()}
        _logger.info("archiving", site=self._archive.site_name, **positions)
        while not self._ended.is_set():
            if not self.archive_next_chunk():
                self._ended.wait(self._pause())
        for _ in range(FINAL_COMMIT_ATTEMPTS):
            while self.archive_next_chunk():
                pass
            if self.commit(include_open=True):
                self.has_unarchived = False
                break

    def _pause(self) -> float:
        """Return how long to wait before the journals are read again. [s]

        The wait ends when another minute can be committed: until then data waits in the journals
        without using memory. The sites of one machine do not commit at the same time.
        """
        if self._is_simulated:
            return MIN_POLL_S
        moment = time.time() - ALLOWED_LATENESS_S - self._commit_offset_s
        return min(max(MINUTE_S - moment % MINUTE_S, MIN_POLL_S), MAX_POLL_S)

    def archive_next_chunk(self) -> bool:
        """Read a chunk of a journal and commit what is due; return whether there was any."""
        if self._archive.is_full and not self.commit():
            return False  # data that was read waits for the disk
        names = sorted(self._followers, key=lambda name: self._newest[name])
        is_new = any(self._read(name) for name in names[:1]) or any(
            self._read(name) for name in names[1:]
        )
        if self._archive.is_commit_due and not self._lags():
            self.commit()
        elif not is_new and self._is_silent:
            self.commit(include_open=True)
        return is_new

    @property
    def _is_silent(self) -> bool:
        """Whether nothing has arrived for so long that open minutes need not wait."""
        return (
            not self._is_simulated and time.monotonic() - self._last_read_at >= SHARD_IDLE_COMMIT_S
        )

    def _lags(self) -> bool:
        """Read journals that lag behind the others; return whether there was new data."""
        newest = max(self._newest.values())
        behind = [name for name, at in self._newest.items() if at < newest - MAX_JOURNAL_LAG_S]
        return any([self._read(name) for name in behind])

    def commit(self, *, include_open: bool = False) -> bool:
        """Commit, and let the ingesters trim; return False after an error of the disk."""
        self._router.rejects.write_losses()
        try:
            if self._archive.has_discarded:
                self._rewind()
                return True
            if self._archive.commit(include_open=include_open):
                self._write_positions()
            self._archive.maintain()
        except (ArchiveError, JournalError) as error:
            _logger.warning("archive not written", reason=str(error))
            self._ended.wait(COMMIT_RETRY_S)
            return False
        return True

    def _write_positions(self) -> None:
        """Write the archived positions, up to which ingesters may delete segments."""
        positions = self._archive.replay_positions
        segments = {name: at.segment for name, at in positions.items() if name in self._followers}
        if segments != self._archived_segments:
            sync_file_systems(self._router.folders)
            for name in segments:
                self._followers[name].write_archived_position(positions[name])
            self._archived_segments = segments

    def _rewind(self) -> None:
        """Read all journals again from the archived positions."""
        self._archive.discard_uncommitted()
        self._archive.mark_caught_up()
        positions = self._archive.replay_positions
        self._followers = {
            name: JournalFollower(folder, positions.get(name))
            for name, folder in self._journals.items()
        }
        self._router.forget_readings()
        self._newest = dict.fromkeys(self._journals, 0)
        for name, follower in self._followers.items():
            end = self._archive.received_positions.get(name, follower.position)
            if follower.ends_before(end):
                self._record_loss(f"the journal {name} ends before {end}, where it was read before")

    def _record_loss(self, reason: str) -> None:
        """Record data of a journal that cannot be archived."""
        append_reasons(self._archive.folder, [reason])

    def _read(self, name: str) -> bool:
        """Read a chunk of a journal; return whether there was any."""
        follower = self._followers[name]
        if follower.is_truncated:
            self._record_loss(f"the journal {name} begins after {follower.position}: it was cut")
        data, start = follower.read()
        if not data:
            return False
        stop = self._archive.received_positions.get(name)
        limit = 2**62
        if stop is not None and stop.segment == start.segment and stop.offset > start.offset:
            limit = stop.offset  # separates records that a commit has seen from later ones
        found = self._decoder.decode(data, start.segment, start=start.offset, stop=limit)
        if found.end_offset == start.offset:
            is_more = follower.skip_segment()
            if follower.position != start:
                self.counters["torn"] += 1
                self._record_loss(f"the journal {name} is unreadable from {start} to its end")
            return is_more
        follower.mark_read(found.end_offset)
        self._last_read_at = time.monotonic()
        self._route(found, follower.position, name)
        return True

    def _route(self, found: "DecodedChunk", position: JournalPosition, name: str) -> None:
        """Archive a chunk of the journal ``name``; ``position`` is its end."""
        router = self._router
        self.counters["frames"] += found.record_count
        for batches in sorted(found.batches, key=lambda one: one.values.shape[2]):
            self.counters["batches"] += len(batches.rack_labels)
            accepted = self._accepted(found, batches, name)
            if len(accepted.seconds):
                self._newest[name] = max(self._newest[name], int(accepted.seconds.max()))
                for number in self._archive.add_racks(accepted, position, journal=name):
                    router.reject(found.record_of(accepted, number), "too old")
        records = sorted(found.other_records, key=lambda record: record.position)
        decoded = ((record, router.decode(record)) for record in records)
        samples = [(record, sample) for record, sample in decoded if sample is not None]
        router.track_time((sample for _, sample in samples), name)
        intervals = found.batch_ends_and_intervals() if self._is_simulated else []
        for record, sample in samples:
            while intervals and intervals[-1][0] < record.position.offset:
                router.quality.note_interval(intervals.pop()[1])
            # also batches that were not decoded as arrays, such as those in JSON
            self.counters["batches"] += isinstance(sample, RackBatch)
            received = record.received
            flag = router.flag_and_distribute(sample, received, journal=name)
            is_accepted = router.archive_sample(
                sample, record, record.position, flag=flag, received=received, journal=name
            )
            if is_accepted and isinstance(sample, PointValue | RackBatch):
                self._newest[name] = max(self._newest[name], epoch_second(sample.time))
        if intervals:
            router.quality.note_interval(intervals[0][1])
        self._archive.record_journal_position(position, name)

    def _accepted(
        self, found: "DecodedChunk", batches: RackBatchBlock, name: str
    ) -> RackBatchBlock:
        """Return the batches that are archived; of others, the messages are stored as rejected.

        In real time the decoder has checked the times.
        """
        chips = batches.values.shape[2]
        if not self._router.rejects.chip_counts.accepts(batches.rack_labels, chips):
            for number, label in enumerate(batches.rack_labels):
                self._router.reject_wide(
                    found.record_of(batches, number),
                    label,
                    int(batches.seconds[number]),
                    chips=chips,
                )
            return batches.select(np.zeros(len(batches.rack_labels), dtype=np.bool_))
        if not self._is_simulated:
            return batches
        watermark = self._router.watermark(name)
        watermark.observe_all(batches.seconds)
        is_accepted = np.array([watermark.accepts_second(one) for one in batches.seconds.tolist()])
        for number in np.flatnonzero(~is_accepted).tolist():
            self._router.reject_leap(found.record_of(batches, number))
        return batches if is_accepted.all() else batches.select(is_accepted)


ARCHIVER_COUNTERS: Final = ("frames", "batches", "torn")

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

    - `end_offset`: offset in the segment after the last complete record. [B]
    - `record_count`: records that were read.
    - `batches`: valid rack batches, by their number of chips.
    - `other_records`: all other records, in order; also batches stamped later than they can have
      been made.
    - `data`, `segment`, `start_offset`: the bytes that were read, and their position.
    """

    end_offset: int
    data: bytes = b""
    segment: int = 0
    start_offset: int = 0
    record_count: int = 0
    batches: list[RackBatchBlock] = field(default_factory=list)
    other_records: list[JournalRecord] = field(default_factory=list)

    def batch_ends_and_intervals(self) -> list[tuple[int, np.timedelta64]]:
        """Return the offset after each batch in the segment [B], and its interval; latest first."""
        ends = [
            (self.start_offset + end, np.timedelta64(round(_MILLISECONDS_PER_S * interval), "ms"))
            for batches in self.batches
            for (_, _, end), interval in zip(
                batches.record_spans, batches.intervals.tolist(), strict=True
            )
        ]
        return sorted(ends, reverse=True)

    def record_of(self, batches: RackBatchBlock, number: int) -> JournalRecord:
        """Return the record that a batch was read from."""
        topic, size, end = batches.record_spans[number]
        position = JournalPosition(self.segment, self.start_offset + end)
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
        found = DecodedChunk(end_offset=start, data=data, segment=segment, start_offset=start)
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
            found.record_count += 1
            offset = end
        found.end_offset = start + offset
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
            rack_labels=self.labels,
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
        and MIN_MESSAGE_TIME_MS <= time < MESSAGE_TIME_END_MS
    )
    return (chips, time, interval) if is_good else (0, 0, 0)


def _record(
    data: bytes, position: JournalPosition, first: int, size: int, end: int
) -> JournalRecord:
    """Return the record whose payload begins at an offset, after a topic of some size."""
    (received,) = struct.unpack_from("<Q", data, first - size - RECORD_HEADER.size)
    topic = data[first - size : first].decode("utf-8", "replace")
    return JournalRecord(position, topic, data[first:end], np.datetime64(received, "us"))
