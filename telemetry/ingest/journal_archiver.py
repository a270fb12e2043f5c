"""The archiver of a site that is heard in shards: the only writer of the site's archive.

It follows the journals of all shards, the one first whose data is oldest, so that none of them is
late only because another was read before.

What journals say, given to the archive; what it may not have is counted, and kept for people.
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
from telemetry.journal.follower import JournalFollower
from telemetry.journal.format import JournalPosition, JournalRecord
from telemetry.messages.codec import try_decode
from telemetry.messages.models import (
    REPEAT_PERIOD,
    PointMetadata,
    PointValue,
    RackBatch,
    Sample,
    SimulationTick,
    epoch_microseconds,
)
from telemetry.quality.checks import (
    FUTURE_US,
    LATE_US,
    QualityFlag,
    UnboundPointLimits,
    unbound_point_limits,
)
from telemetry.quality.tracker import PointCoverage
from twin.errors import ArchiveError, JournalError

MIN_POLL_S: Final = 0.25
"""Shortest wait when no journal has anything new. [s]"""

MAX_POLL_S: Final = 60.0
"""Longest wait. [s]"""

START_SPREAD_S: Final = 25
"""Seconds over which the sites of a machine begin. [s]"""

MAX_JOURNAL_LAG_S: Final = ALLOWED_LATENESS_S // 2
"""How far a journal may be behind the others before its minutes wait for it. [s]"""

IDLE_COMMIT_S: Final = 60.0
"""Time without anything new after which open minutes are archived too: who looks for what was
before a black-out need not wait until it is over. [s]"""

FINAL_COMMIT_ATTEMPTS: Final = 2
"""How often the last commit is tried: what failed may have been mended. [1]"""

COMMIT_RETRY_S: Final = 5.0
"""Wait after a commit that failed. [s]"""

MAX_FALLBACKS_PER_HOUR: Final = 3
"""How often in an hour it falls behind until that is trouble. [1]"""

MAX_FALLBACKS_REMEMBERED: Final = 100
"""Times that it fell behind that are remembered. [1]"""

ALLOCATOR_ENVIRONMENT: Final = {"MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_ARENA_MAX": "2"}
"""Environment in which the C library gives memory back that a minute no longer needs."""

_logger = structlog.get_logger(__name__)


class JournalArchiver:
    """Reads journals into an archive.

    Parameters
    ----------
    archive
        Of the site.
    journals
        Name of a shard -> folder of its journal.
    quarantine
        Folder for what cannot be read; None to count it only.
    is_simulated
        Whether times are those of a simulated plant.

    Attributes
    ----------
    counters
        ``frames`` that were read, of these ``batches`` of racks, ``future`` and ``ticks`` (of a
        simulation, while times are real), which are not archived, ``quarantined`` and ``refused``
        (too old, or too many chips); ``torn``, the ends of journals passed over.
    is_left
        Whether :meth:`run` is not over, or ended without having committed all there is.
    """

    def __init__(
        self,
        archive: Archive,
        journals: Mapping[str, Path],
        *,
        quarantine: Path | None = None,
        is_simulated: bool = False,
    ) -> None:
        self.counters = Counter(dict.fromkeys((*RECORD_COUNTERS, "torn"), 0))
        self.has_unarchived = False
        self._archive = archive
        self._journals = dict(journals)
        self._intake = RecordRouter(
            archive, quarantine, counters=self.counters, is_simulated=is_simulated
        )
        self._is_simulated = is_simulated
        self._scanner = JournalChunkDecoder(archive.site_name, is_simulated=is_simulated)
        self._ended = threading.Event()
        self._tails: dict[str, JournalFollower] = {}
        self._told: dict[str, int] = {}
        self._fallen: list[float] = []
        self._heard = time.monotonic()
        self._offset = zlib.crc32(archive.site_name.encode()) % START_SPREAD_S
        self._rewind()

    @property
    def coverage(self) -> Mapping[str, object]:
        """How many points were heard, and the worst covered, as `intake.coverage` does."""
        now = max(self._intake.newest.values()) if self._is_simulated else int(time.time())
        return self._intake.coverage.summary(now)

    @property
    def error(self) -> str:
        """What is wrong with what is read and what to do about it; empty if nothing is."""
        hour_ago = time.monotonic() - HOUR_S
        count = sum(moment > hour_ago for moment in self._fallen)
        again = f"the archive fell behind {count} times in an hour: too much comes at once for it"
        return "; ".join(
            filter(None, [self._intake.rejects.error, again * (count >= MAX_FALLBACKS_PER_HOUR)])
        )

    def stop(self) -> None:
        """End :meth:`run`, from any thread."""
        self._ended.set()

    def run(self) -> None:
        """Archive what comes, until stopped; then commit all there is."""
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

        Until another minute can be closed: what waits there takes no memory. Sites of one machine
        do not do it all at once.
        """
        if self._is_simulated:
            return MIN_POLL_S
        moment = time.time() - ALLOWED_LATENESS_S - self._offset
        return min(max(MINUTE_S - moment % MINUTE_S, MIN_POLL_S), MAX_POLL_S)

    def step(self) -> bool:
        """Read one piece of a journal and commit what is due; return whether there was any."""
        if self._archive.is_full and not self.commit():
            return False  # what was read waits for the disk
        names = sorted(self._tails, key=lambda name: self._intake.newest[name])
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
        """Whether nothing has come for so long that what is open need not wait for it."""
        return not self._is_simulated and time.monotonic() - self._heard >= IDLE_COMMIT_S

    def _lags(self) -> bool:
        """Read of journals that are behind the others; return whether there was anything."""
        newest = max(self._intake.newest.values())
        behind = [
            name for name, at in self._intake.newest.items() if at < newest - MAX_JOURNAL_LAG_S
        ]
        return any([self._read(name) for name in behind])

    def commit(self, *, include_open: bool = False) -> bool:
        """Commit, and let the ingesters trim; return False if the disk would not have it."""
        self._intake.rejects.write_losses()
        try:
            if self._archive.is_behind:  # it forgot what was not committed: read it again
                self._fallen = [*self._fallen[-MAX_FALLBACKS_REMEMBERED:], time.monotonic()]
                self._rewind()
                return True
            if self._archive.commit(include_open=include_open):
                self._tell()
            self._archive.maintain()
        except (ArchiveError, JournalError) as error:
            _logger.warning("archive not written", reason=str(error))
            self._ended.wait(COMMIT_RETRY_S)
            return False
        return True

    def _tell(self) -> None:
        """Tell the ingesters which segments they need not keep."""
        positions = self._archive.positions
        told = {name: at.segment for name, at in positions.items() if name in self._tails}
        if told != self._told:
            os.sync()  # the archive's own files: its library leaves them to the system
            for name in told:
                self._tails[name].write_archived(positions[name])
            self._told = told

    def _rewind(self) -> None:
        """Read all journals again from where the archive is."""
        self._archive.rewind()
        self._archive.mark_caught_up()
        positions = self._archive.positions
        self._tails = {
            name: JournalFollower(folder, positions.get(name))
            for name, folder in self._journals.items()
        }
        self._intake.reset(self._journals)
        for name, tail in self._tails.items():
            end = self._archive.received_positions.get(name, tail.position)
            if tail.ends_before(end):
                self._lose(f"the journal {name} ends before {end}, up to where it was read once")

    def _lose(self, reason: str) -> None:
        """Tell what of a journal cannot be archived."""
        append_reasons(self._archive.folder, [reason])

    def _read(self, name: str) -> bool:
        """Read a piece of a journal; return whether there was any."""
        tail = self._tails[name]
        if tail.is_truncated:
            self._lose(f"the journal {name} begins after {tail.position}: it was cut")
        data, start = tail.read()
        if not data:
            return False
        stop = self._archive.received_positions.get(name)
        limit = 2**62
        if stop is not None and stop.segment == start.segment and stop.offset > start.offset:
            limit = stop.offset  # what a commit has seen is told apart from what came after
        found = self._scanner.decode(data, start.segment, start=start.offset, stop=limit)
        if found.end == start.offset:
            is_more = tail.skip_segment()
            if tail.position != start:
                self.counters["torn"] += 1
                self._lose(f"the journal {name} cannot be read from {start} to the segment's end")
            return is_more
        tail.advance(found.end)
        self._heard = time.monotonic()
        self._intake.route_chunk(found, tail.position, name)
        return True


RECORD_COUNTERS: Final = ("frames", "batches", "future", "ticks", "quarantined", "refused")

_SECOND: Final = 1_000_000  # in microseconds, as numbers: numpy takes longer over its own times
UNKNOWN_POINT_LIMITS: Final = unbound_point_limits(None)
"""What is plausible of a point that has not said yet what it is."""


class RecordRouter:
    """Gives an archive what its journals say.

    Parameters
    ----------
    archive
        Of the site.
    quarantine
        Folder for what cannot be read or archived; None to count it only.
    counters
        Are added to; see :class:`telemetry.ingest.journal_archiver.JournalArchiver`.
    is_simulated
        Whether times are those of a simulated plant.

    Attributes
    ----------
    newest
        Journal -> the newest second of its readings. [s since 1970]
    coverage
        How much of what points said was heard.
    aside
        What is not archived.
    """

    def __init__(
        self,
        archive: Archive,
        quarantine: Path | None,
        *,
        counters: Counter[str],
        is_simulated: bool,
    ) -> None:
        self.newest: dict[str, int] = {}
        self.coverage = PointCoverage()
        self._counters = counters
        self._archive = archive
        self.rejects = RejectHandler(quarantine, archive.folder)
        self._is_simulated = is_simulated
        self._courses: dict[str, SimTimeWatermark] = {}
        self._plausible: dict[str, UnboundPointLimits] = {}

    def reset(self, journals: Iterable[str]) -> None:
        """Begin to take what journals say after what is archived."""
        self._courses = {name: SimTimeWatermark(self._archive.closed) for name in journals}
        self.newest = dict.fromkeys(self._courses, 0)

    def route_chunk(self, found: DecodedChunk, position: JournalPosition, name: str) -> None:
        """Take what a piece of a journal says.

        Parameters
        ----------
        found
            The piece.
        position
            Its end.
        name
            Of the journal.
        """
        self._counters["frames"] += found.count
        for batches in sorted(found.batches, key=lambda one: one.values.shape[2]):
            self._counters["batches"] += len(batches.labels)
            if not self.rejects.width_guard.accepts(batches.labels, batches.values.shape[2]):
                self._refuse_deep(found, batches)
                continue
            believed = self._believed(found, batches, name)
            if len(believed.seconds):
                self.newest[name] = max(self.newest[name], int(believed.seconds.max()))
                for number in self._archive.add_racks(believed, position, journal=name):
                    self._refuse(found.record_of(believed, number), "too old")
        samples: Iterable[tuple[JournalRecord, Sample]] = self._understood(found.other_records)
        if self._is_simulated:
            samples = list(samples)
            for _, sample in samples:
                self._courses[name].observe_sample(sample)
        for frame, sample in samples:
            self._add(sample, frame, name)
        self._archive.advance(position, name)

    def _refuse_deep(self, found: DecodedChunk, batches: RackBatchBlock) -> None:
        """Keep batches of too many chips for people."""
        self._counters["refused"] += len(batches.labels)
        for number, label in enumerate(batches.labels):
            frame = found.record_of(batches, number)
            self.rejects.width_guard.reject(
                label,
                int(batches.seconds[number]),
                chips=batches.values.shape[2],
                topic=frame.topic,
                payload=frame.payload,
            )

    def _believed(self, found: DecodedChunk, batches: RackBatchBlock, name: str) -> RackBatchBlock:
        """Return the batches whose stamps may be believed; of real times the scanner has told."""
        if not self._is_simulated:
            return batches
        self._courses[name].observe_all(batches.seconds)
        is_sound = self._courses[name].accepted(batches.seconds)
        for number in np.flatnonzero(~is_sound).tolist():
            self._pass_over(found.record_of(batches, number))
        return batches if is_sound.all() else batches.select(is_sound)

    def _understood(
        self, frames: Sequence[JournalRecord]
    ) -> Iterator[tuple[JournalRecord, Sample]]:
        """Yield frames that can be read, in their order, with what they say."""
        for frame in in_written_order(frames):
            sample = try_decode(frame.topic, frame.payload)
            if isinstance(sample, str):
                self._counters["quarantined"] += 1
                self.rejects.quarantine.add_undecodable(frame.topic, sample, frame.payload)
            else:  # such batches as were not taken in bulk, as those in JSON
                self._counters["batches"] += isinstance(sample, RackBatch)
                yield frame, sample

    def _add(self, sample: Sample, frame: JournalRecord, name: str) -> None:
        """Archive what a frame says, if its stamp may be believed."""
        flag = QualityFlag.GOOD
        if self._is_simulated and not self._courses[name].accepts(sample):
            self._pass_over(frame)
            return
        if isinstance(sample, PointValue | RackBatch):
            moment = epoch_microseconds(sample.time)
            age = 0 if self._is_simulated else epoch_microseconds(frame.received) - moment
            if age < -FUTURE_US:
                self.rejects.future_guard.reject(
                    sample, frame.received, topic=frame.topic, payload=frame.payload
                )
                self._counters["future"] += 1
                return
            self.newest[name] = max(self.newest[name], moment // _SECOND)
            if isinstance(sample, PointValue):
                flag = self._plausible.get(sample.point, UNKNOWN_POINT_LIMITS).check(sample, age)
                if age <= LATE_US:
                    self.coverage.record(sample.point, moment // _SECOND)
        elif isinstance(sample, PointMetadata):
            self._plausible[sample.point] = unbound_point_limits(sample)
        elif isinstance(sample, SimulationTick):
            if not self._is_simulated:
                self._counters["ticks"] += 1
                return
            period = max(sample.interval, REPEAT_PERIOD)
            self.coverage.period = int(period / np.timedelta64(1, "s"))
        reason = self._archive.add(sample, frame.position, flag=flag, journal=name)
        if reason:
            self._refuse(frame, reason)

    def _pass_over(self, frame: JournalRecord) -> None:
        """Count what leaps ahead, and keep it for people."""
        self._counters["future"] += 1
        self.rejects.quarantine.add_rejected(frame.topic, LEAP_REASON, frame.payload)

    def _refuse(self, frame: JournalRecord, reason: str) -> None:
        """Count what is not archived, and keep it for people."""
        self._counters["refused"] += 1
        self.rejects.quarantine.add_rejected(frame.topic, f"not archived: {reason}", frame.payload)
