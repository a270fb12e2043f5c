"""The archiver of a site with several ingesters: the only writer of the site's archive.

It reads the journals of all ingesters, first the one with the oldest data, so that no reading is
late because another journal was read first. Messages that are not archived are counted and stored
for people.
"""

import os
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from telemetry.archive import ALLOWED_LATENESS_S, Archive
from telemetry.archive.buffer import RackBatchBlock
from telemetry.archive.layout import HOUR_S, MINUTE_S
from telemetry.archive.loss_log import append_reasons
from telemetry.ingest.chunk_decoder import DecodedChunk, JournalChunkDecoder, in_written_order
from telemetry.ingest.dead_letter import LEAP_REASON, RejectHandler, SimTimeWatermark
from telemetry.ingest.pipeline import COMMIT_RETRY_S
from telemetry.journal.follower import JournalFollower
from telemetry.journal.format import JournalPosition, JournalRecord
from telemetry.messages.bms_contract import REPEAT_PERIOD
from telemetry.messages.codec import try_decode
from telemetry.messages.samples import (
    PointMetadata,
    PointValue,
    RackBatch,
    Sample,
    SimulationTick,
    epoch_microseconds,
)
from telemetry.quality.checks import (
    UNKNOWN_POINT_LIMITS,
    QualityFlag,
    UnboundPointLimits,
    check_stamp,
    unbound_point_limits,
)
from telemetry.quality.tracker import PointCoverage
from telemetry.runtime import ClockMode
from twin.errors import ArchiveError, JournalError
from twin.time_axes import UNKNOWN_TIME
from twin.units import MICROSECONDS_PER_S

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

MAX_FALLBACKS_PER_HOUR: Final = 3
"""Times in an hour that the archive falls behind before it is an error. [1]"""

MAX_FALLBACKS_REMEMBERED: Final = 100
"""Times of falling behind that are stored. [1]"""

ALLOCATOR_ENVIRONMENT: Final = {"MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_ARENA_MAX": "2"}
"""Environment in which the C library returns unused memory to the system."""

_logger = structlog.get_logger(__name__)


class JournalArchiver:
    """Archiver of the journals of one site.

    - `journals`: Name of an ingester -> folder of its journal.
    - `quarantine`: folder for undecodable messages; None to count them only.
    - `counters`: ``frames`` that were read, of these ``batches`` of racks, ``future`` and ``ticks``
      (of a simulation, in real time), which are not archived, ``quarantined`` and ``refused`` (too
      old, or too many chips); ``torn``, unreadable ends of journals that were skipped.
    - `has_unarchived`: whether :meth:`run` has not ended, or could not commit all data.
    """

    def __init__(
        self,
        archive: Archive,
        journals: Mapping[str, Path],
        *,
        quarantine: Path | None = None,
        clock_mode: ClockMode = ClockMode.REAL,
    ) -> None:
        self.counters = Counter(dict.fromkeys((*RECORD_COUNTERS, "torn"), 0))
        self.has_unarchived = False
        self._archive = archive
        self._journals = dict(journals)
        self._router = RecordRouter(
            archive, quarantine, counters=self.counters, clock_mode=clock_mode
        )
        self._is_simulated = clock_mode is ClockMode.SIMULATED
        self._decoder = JournalChunkDecoder(archive.site_name, clock_mode)
        self._ended = threading.Event()
        self._followers: dict[str, JournalFollower] = {}
        self._archived_segments: dict[str, int] = {}
        self._fallback_times: list[float] = []
        self._last_read_at = time.monotonic()
        self._commit_offset_s = zlib.crc32(archive.site_name.encode()) % COMMIT_SPREAD_S
        self._rewind()

    @property
    def coverage(self) -> Mapping[str, object]:
        """Number of points with values, and those with the lowest coverage."""
        now = max(self._router.newest.values()) if self._is_simulated else int(time.time())
        return self._router.coverage.summary(now)

    @property
    def error(self) -> str:
        """Problems of the data and their remedies; empty if there are none."""
        hour_ago = time.monotonic() - HOUR_S
        count = sum(moment > hour_ago for moment in self._fallback_times)
        overload = f"the archive fell behind {count} times in an hour: reduce the rate of messages"
        rejects = self._router.rejects
        overload *= count >= MAX_FALLBACKS_PER_HOUR
        return "; ".join(filter(None, [rejects.error, rejects.warning, overload]))

    def stop(self) -> None:
        """End :meth:`run`, from any thread."""
        self._ended.set()

    def run(self) -> None:
        """Archive new data until stopped; then commit all data."""
        self.has_unarchived = True
        positions = {name: str(at) for name, at in self._archive.positions.items()}
        _logger.info("archiving", site=self._archive.site_name, **positions)
        while not self._ended.is_set():
            if not self.step():
                self._ended.wait(self._pause())
        for _ in range(FINAL_COMMIT_ATTEMPTS):
            while self.step():
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

    def step(self) -> bool:
        """Read a chunk of a journal and commit what is due; return whether there was any."""
        if self._archive.is_full and not self.commit():
            return False  # data that was read waits for the disk
        names = sorted(self._followers, key=lambda name: self._router.newest[name])
        is_new = any(self._read(name) for name in names[:1]) or any(
            self._read(name) for name in names[1:]
        )
        is_behind = self._archive.is_behind
        if is_behind or (self._archive.is_due and not self._lags()):
            self.commit()
        elif not is_new and self._is_silent:
            self.commit(include_open=True)
        return is_new or is_behind

    @property
    def _is_silent(self) -> bool:
        """Whether nothing has arrived for so long that open minutes need not wait."""
        return (
            not self._is_simulated and time.monotonic() - self._last_read_at >= SHARD_IDLE_COMMIT_S
        )

    def _lags(self) -> bool:
        """Read journals that lag behind the others; return whether there was new data."""
        newest = max(self._router.newest.values())
        behind = [
            name for name, at in self._router.newest.items() if at < newest - MAX_JOURNAL_LAG_S
        ]
        return any([self._read(name) for name in behind])

    def commit(self, *, include_open: bool = False) -> bool:
        """Commit, and let the ingesters trim; return False after an error of the disk."""
        self._router.rejects.write_losses()
        try:
            if self._archive.is_behind:  # it has dropped uncommitted data: read it again
                recent = self._fallback_times[-MAX_FALLBACKS_REMEMBERED:]
                self._fallback_times = [*recent, time.monotonic()]
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
        positions = self._archive.positions
        segments = {name: at.segment for name, at in positions.items() if name in self._followers}
        if segments != self._archived_segments:
            os.sync()  # the archive's library does not sync its files
            for name in segments:
                self._followers[name].write_archived(positions[name])
            self._archived_segments = segments

    def _rewind(self) -> None:
        """Read all journals again from the archived positions."""
        self._archive.rewind()
        self._archive.mark_caught_up()
        positions = self._archive.positions
        self._followers = {
            name: JournalFollower(folder, positions.get(name))
            for name, folder in self._journals.items()
        }
        self._router.reset(self._journals)
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
        if found.end == start.offset:
            is_more = follower.skip_segment()
            if follower.position != start:
                self.counters["torn"] += 1
                self._record_loss(f"the journal {name} is unreadable from {start} to its end")
            return is_more
        follower.advance(found.end)
        self._last_read_at = time.monotonic()
        self._router.route_chunk(found, follower.position, name)
        return True


RECORD_COUNTERS: Final = ("frames", "batches", "future", "ticks", "quarantined", "refused")


class RecordRouter:
    """Router of the records of a site's journals to its archive.

    - `quarantine`: folder for messages that are not archived; None to count them only.
    - `counters`: counters to increment; see :class:`JournalArchiver`.
    - `newest`: Journal -> newest second of its readings. [s since 1970]
    - `coverage`: share of the expected values that arrived.
    """

    def __init__(
        self,
        archive: Archive,
        quarantine: Path | None,
        *,
        counters: Counter[str],
        clock_mode: ClockMode,
    ) -> None:
        self.newest: dict[str, int] = {}
        self.coverage = PointCoverage()
        self._counters = counters
        self._archive = archive
        self.rejects = RejectHandler(quarantine, archive.folder)
        self._is_simulated = clock_mode is ClockMode.SIMULATED
        self._watermarks: dict[str, SimTimeWatermark] = {}
        self._limits: dict[str, UnboundPointLimits] = {}

    def reset(self, journals: Iterable[str]) -> None:
        """Start again after the archived data."""
        self._watermarks = {
            name: SimTimeWatermark(self._archive.first_open_second) for name in journals
        }
        self.newest = dict.fromkeys(self._watermarks, 0)

    def route_chunk(self, found: DecodedChunk, position: JournalPosition, name: str) -> None:
        """Archive a chunk of the journal ``name``; ``position`` is its end."""
        self._counters["frames"] += found.count
        for batches in sorted(found.batches, key=lambda one: one.values.shape[2]):
            self._counters["batches"] += len(batches.labels)
            if not self.rejects.width_guard.accepts(batches.labels, batches.values.shape[2]):
                self._reject_width(found, batches)
                continue
            accepted = self._accepted(found, batches, name)
            if len(accepted.seconds):
                self.newest[name] = max(self.newest[name], int(accepted.seconds.max()))
                for number in self._archive.add_racks(accepted, position, journal=name):
                    self._reject(found.record_of(accepted, number), "too old")
        samples: Iterable[tuple[JournalRecord, Sample]] = self._decoded(found.other_records)
        if self._is_simulated:
            samples = list(samples)
            for _, sample in samples:
                self._watermarks[name].observe_sample(sample)
        for record, sample in samples:
            self._add(sample, record, name)
        self._archive.advance(position, name)

    def _reject_width(self, found: DecodedChunk, batches: RackBatchBlock) -> None:
        """Store batches with too many chips as rejected."""
        self._counters["refused"] += len(batches.labels)
        for number, label in enumerate(batches.labels):
            record = found.record_of(batches, number)
            self.rejects.width_guard.reject(
                label,
                int(batches.seconds[number]),
                chips=batches.values.shape[2],
                topic=record.topic,
                payload=record.payload,
            )

    def _accepted(self, found: DecodedChunk, batches: RackBatchBlock, name: str) -> RackBatchBlock:
        """Return the batches with accepted times; in real time the decoder has checked them."""
        if not self._is_simulated:
            return batches
        self._watermarks[name].observe_all(batches.seconds)
        is_accepted = self._watermarks[name].accepted(batches.seconds)
        for number in np.flatnonzero(~is_accepted).tolist():
            self._reject_leap(found.record_of(batches, number))
        return batches if is_accepted.all() else batches.select(is_accepted)

    def _decoded(self, records: Sequence[JournalRecord]) -> Iterator[tuple[JournalRecord, Sample]]:
        """Yield decodable records, in order, with their samples."""
        for record in in_written_order(records):
            sample = try_decode(record.topic, record.payload)
            if isinstance(sample, str):
                self._counters["quarantined"] += 1
                self.rejects.quarantine.add_undecodable(record.topic, sample, record.payload)
            else:  # also batches that were not decoded as arrays, such as those in JSON
                self._counters["batches"] += isinstance(sample, RackBatch)
                yield record, sample

    def _add(self, sample: Sample, record: JournalRecord, name: str) -> None:
        """Archive a sample if its time is accepted."""
        flag = QualityFlag.GOOD
        if self._is_simulated and not self._watermarks[name].accepts(sample):
            self._reject_leap(record)
            return
        if isinstance(sample, PointValue | RackBatch):
            moment = epoch_microseconds(sample.time)
            received = UNKNOWN_TIME if self._is_simulated else record.received
            stamp = check_stamp(sample.time, received)
            if stamp is QualityFlag.FUTURE:
                self.rejects.future_guard.reject(
                    sample, record.received, topic=record.topic, payload=record.payload
                )
                self._counters["future"] += 1
                return
            self.newest[name] = max(self.newest[name], moment // MICROSECONDS_PER_S)
            if isinstance(sample, PointValue):
                flag = self._limits.get(sample.point, UNKNOWN_POINT_LIMITS).check(sample, received)
                if stamp is QualityFlag.GOOD:
                    self.coverage.record(sample.point, moment // MICROSECONDS_PER_S)
        elif isinstance(sample, PointMetadata):
            self._limits[sample.point] = unbound_point_limits(sample)
        elif isinstance(sample, SimulationTick):
            if not self._is_simulated:
                self._counters["ticks"] += 1
                return
            period = max(sample.interval, REPEAT_PERIOD)
            self.coverage.period = int(period / np.timedelta64(1, "s"))
        reason = self._archive.add(sample, record.position, flag=flag, journal=name)
        if reason:
            self._reject(record, reason)

    def _reject_leap(self, record: JournalRecord) -> None:
        """Count a message that leaps ahead, and store it as rejected."""
        self._counters["future"] += 1
        self.rejects.quarantine.add_rejected(record.topic, LEAP_REASON, record.payload)

    def _reject(self, record: JournalRecord, reason: str) -> None:
        """Count a message that is not archived, and store it as rejected."""
        self._counters["refused"] += 1
        self.rejects.quarantine.add_rejected(
            record.topic, f"not archived: {reason}", record.payload
        )
