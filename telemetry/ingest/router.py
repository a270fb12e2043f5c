"""Route samples: check each one, and give it to the live state, to listeners and to the archive.

The service and the recorder route by the same steps, so the same messages have the same flags in
either archive. No message makes it raise. Messages that are not archived go to quarantine, with the
reason.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from telemetry.archive import Archive
from telemetry.archive.commit_batch import epoch_second
from telemetry.archive.reader import CHIP_UNITS
from telemetry.ingest.dead_letter import IMPLAUSIBLE_FLAGS, Message, RefusedReading, RejectHandler
from telemetry.ingest.time_leaps import TIME_LEAP_REASON, SimTimeWatermark
from telemetry.journal.format import JournalPosition, JournalRecord
from telemetry.live.state import LiveState
from telemetry.messages.codec import encode, try_decode
from telemetry.messages.samples import CHIP_VARIABLES, PointValue, RackBatch, Sample, SimulationTick
from telemetry.points.plausible_ranges import CHIP_MAX_VALUES, CHIP_MIN_VALUES
from telemetry.quality.checks import QualityFlag, check_stamp
from telemetry.quality.tracker import TIMESTAMP_FLAGS, PointCoverage, QualityEngine
from telemetry.runtime import ClockMode
from twin.errors import ArchiveError
from twin.units import format_second

type SampleListener = Callable[[Sample], None]

ROUTER_COUNTERS: Final = ("quarantined", "future", "ticks", "refused", "failed")

_UNSTAMPED: Final = (None, QualityFlag.BAD_SOURCE)
"""Flags that do not tell whether a reading is stamped in the future."""

_logger = structlog.get_logger(__name__)


class SampleRouter:
    """Router of the samples of a site.

    - `archive_sample`: receives durable samples.
    - `quality`: flags the samples.
    - `quarantine`: folder for messages that are not archived; None to count them only.
    - `live`: live state, which has the same engine; None for a recorder.
    - `counts`: ``quarantined``, ``future`` and ``ticks`` (of a simulation, in real time), which are
      not archived, ``refused`` (by the archive) and ``failed`` (in the live state or a listener).
      Each counts what is already reported or in quarantine.
    - `coverage`: share of the expected values that arrived.
    - `listeners`: functions called with each new sample.
    """

    def __init__(
        self,
        archive: Archive,
        quality: QualityEngine,
        quarantine: Path | None,
        *,
        live: LiveState | None = None,
    ) -> None:
        self.counts = Counter(dict.fromkeys(ROUTER_COUNTERS, 0))
        self.coverage = PointCoverage()
        self.listeners: list[SampleListener] = []
        self.rejects = RejectHandler(quarantine, archive.folder)
        self._folders = [archive.folder, quarantine]
        self.quality = quality
        self._archive = archive
        self._live = live
        self._is_simulated = quality.clock_mode is ClockMode.SIMULATED
        self._watermarks: dict[str, SimTimeWatermark] = {}
        self._period = quality.period

    @property
    def folders(self) -> list[Path]:
        """Folders of what leaves the journal: they must be durable before it is trimmed."""
        return [one for one in self._folders if one is not None]

    @property
    def error(self) -> str:
        """Problems that the archive suffers from and their remedies; empty if there are none."""
        found = [self.quality.clock_skew.error, self.rejects.chip_counts.error]
        return "; ".join(filter(None, found))

    def watermark(self, journal: str) -> SimTimeWatermark:
        """Return the time of a simulated plant in one journal."""
        found = self._watermarks.get(journal)
        if found is None:
            found = SimTimeWatermark(self._archive.first_open_second)
            self._watermarks[journal] = found
        return found

    def forget_readings(self) -> None:
        """Forget the readings, before those that are not archived are read again."""
        clock_skew, self.quality = self.quality.clock_skew, self.quality.copy_after_restart()
        self.quality.clock_skew = clock_skew
        self._watermarks = {}

    def decode(self, message: Message) -> Sample | None:
        """Return the sample of a message; None if it went to quarantine."""
        sample = try_decode(message.topic, message.payload)
        if isinstance(sample, str):
            self.rejects.quarantine.add_undecodable(message.topic, sample, message.payload)
            self.counts["quarantined"] += 1
            return None
        return sample

    def track_time(self, samples: Iterable[Sample | None], journal: str = "") -> None:
        """Record the times of samples that arrived together, before any of them is routed."""
        if self._is_simulated:
            for sample in samples:
                if sample is not None:
                    self.watermark(journal).observe_sample(sample)

    def flag_and_distribute(
        self, sample: Sample, received: np.datetime64, *, journal: str = "", is_new: bool = True
    ) -> QualityFlag | None:
        """Return the flag of a sample; give it to the live state and, if new, to listeners.

        ``received`` is the time of receipt, UTC. Readings of an earlier process are not new.
        """
        if not self._is_accepted(sample, journal):
            return QualityFlag.FUTURE
        flag: QualityFlag | None = None
        try:
            target = self._live or self.quality
            flag = target.add(sample, received)
            if is_new:
                self._report(sample, flag)
                for listener in self.listeners:
                    listener(sample)
        except Exception:
            _logger.exception("sample not processed", kind=type(sample).__name__)
            self.counts["failed"] += 1
        return flag

    def _report(self, sample: Sample, flag: QualityFlag | None) -> None:
        """Count the coverage of points; store, log and list readings with implausible values."""
        if isinstance(sample, PointValue) and flag not in TIMESTAMP_FLAGS:
            if self._period is not self.quality.period:
                self._period = self.quality.period
                self.coverage.period = int(self._period / np.timedelta64(1, "s"))
            self.coverage.record(sample.point, epoch_second(sample.time))
        if flag in IMPLAUSIBLE_FLAGS and isinstance(sample, PointValue | RackBatch):
            topic, payload = encode(sample)
            reading = (
                _refused_batch(sample, topic)
                if isinstance(sample, RackBatch)
                else _refused_point(sample, topic, flag, self.quality)
            )
            self.rejects.implausible.add(reading, payload)

    def restore_live_readings(self, readings: Iterable[PointValue | RackBatch]) -> None:
        """Give earlier readings to the live state, as if each had arrived when it was made."""
        try:
            for reading in readings:
                self.flag_and_distribute(reading, reading.time, is_new=False)
        except ArchiveError as error:
            _logger.warning("recent readings not restored", reason=str(error))

    def archive_record(self, record: JournalRecord, quality: QualityEngine) -> None:
        """Give a record to the archive only, with the flag of an engine that reads the journal."""
        sample = try_decode(record.topic, record.payload)
        if not isinstance(sample, str):  # else it went to quarantine when it arrived
            is_accepted = self._is_accepted(sample)
            flag = quality.add(sample, record.received) if is_accepted else None
            self.archive_sample(
                sample, record, record.position, flag=flag, received=record.received
            )

    def archive_sample(
        self,
        sample: Sample,
        message: Message,
        position: JournalPosition,
        *,
        flag: QualityFlag | None,
        received: np.datetime64,
        journal: str = "",
    ) -> bool:
        """Give a durable sample to the archive; return whether its time is accepted.

        - `message`: the message that carried it.
        - `position`: end of its record in the journal, or later.
        - `flag`: its quality flag, if it has one.
        - `received`: when it arrived, UTC.
        - `journal`: name of the journal, where a site has several.
        """
        if not self._is_accepted(sample, journal):
            self._reject_time(message)
            return False
        if isinstance(sample, PointValue | RackBatch):
            stamp = check_stamp(sample.time, received) if flag in _UNSTAMPED else flag
            if stamp is QualityFlag.FUTURE and not self._is_simulated:
                self._reject_future(sample, message, received)
                return False
            if isinstance(sample, RackBatch):
                label, chips = f"{sample.hall}/{sample.rack}", sample.values.shape[1]
                if not self.rejects.chip_counts.accepts([label], chips):
                    self.reject_wide(message, label, epoch_second(sample.time), chips=chips)
                    return True
        flag = flag or QualityFlag.GOOD
        if reason := self._archive.add(sample, position, flag=flag, journal=journal):
            self.reject(message, reason)
        return True

    def reject_wide(self, message: Message, label: str, second: int, *, chips: int) -> None:
        """Count a batch of a second [s since 1970] that is too wide; store it as rejected."""
        self.rejects.reject_wide(message, label, second, chips=chips)
        self.counts["refused"] += 1

    def reject(self, message: Message, reason: str) -> None:
        """Count a message that the archive refuses, and store it as rejected."""
        self.rejects.reject(message, f"not archived: {reason}")
        self.counts["refused"] += 1

    def reject_leap(self, message: Message) -> None:
        """Count a message that leaps ahead in simulated time, and store it as rejected."""
        self.rejects.reject(message, TIME_LEAP_REASON)
        self.counts["future"] += 1

    def _is_accepted(self, sample: Sample, journal: str = "") -> bool:
        """Return whether a time is accepted; ticks are accepted of a simulated plant only."""
        if self._is_simulated:
            return self.watermark(journal).accepts(sample)
        return not isinstance(sample, SimulationTick)

    def _reject_time(self, message: Message) -> None:
        """Count a sample that is not accepted; store one that leaps ahead as rejected."""
        if self._is_simulated:
            self.reject_leap(message)
        else:
            self.counts["ticks"] += 1

    def _reject_future(
        self, sample: PointValue | RackBatch, message: Message, received: np.datetime64
    ) -> None:
        """Count a reading stamped in the future, and store it as rejected."""
        group, label = (
            ("points", sample.point)
            if isinstance(sample, PointValue)
            else ("racks", f"{sample.hall}/{sample.rack}")
        )
        self.quality.clock_skew.note_ahead(label, sample.time - received)
        self.rejects.reject_future(message, group, label, second=epoch_second(sample.time))
        self.counts["future"] += 1


def _refused_point(
    sample: PointValue, topic: str, flag: QualityFlag, quality: QualityEngine
) -> RefusedReading:
    """Return an implausible reading of a point, with what was plausible in the unit of the wire."""
    binding, limits = quality.binding_of(sample.point), quality.unbound_limits(sample.point)
    low, high, rate, unit = limits.low, limits.high, np.inf, limits.unit
    if binding is not None and binding.canonical_states is None:
        ends = (
            (end - binding.offset) / binding.factor
            for end in (binding.plausible_range.low, binding.plausible_range.high)
        )
        low, high = sorted(ends)
        rate = 60.0 * binding.plausible_range.max_rate / abs(binding.factor)
    expected = {
        QualityFlag.RATE: f"a change of at most {rate:g} {unit} in a minute",
        QualityFlag.UNIT: f"a value in {unit or 'the unit of its metadata'}",
    }.get(flag, f"{low:g} to {high:g} {unit}".strip())
    return RefusedReading(
        source=sample.point,
        topic=topic,
        value=np.nan if sample.value is None else sample.value,
        unit=unit,
        reason=flag.value,
        expected=expected,
        time=format_second(sample.time),
    )


def _refused_batch(batch: RackBatch, topic: str) -> RefusedReading:
    """Return the first implausible value of a rack batch."""
    row, chip = np.argwhere((batch.values < CHIP_MIN_VALUES) | (batch.values > CHIP_MAX_VALUES))[
        0
    ].tolist()
    low, high, name = (
        float(CHIP_MIN_VALUES[row, 0]),
        float(CHIP_MAX_VALUES[row, 0]),
        CHIP_VARIABLES[row],
    )
    return RefusedReading(
        source=f"{batch.hall}/{batch.rack}",
        topic=topic,
        value=float(batch.values[row, chip]),
        unit=CHIP_UNITS[name],
        reason=QualityFlag.RANGE.value,
        expected=f"{name} of each chip from {low:g} to {high:g} {CHIP_UNITS[name]}",
        time=format_second(batch.time),
    )
