"""Route samples to the live state, to listeners and to the archive.

No message makes it raise. Undecodable messages go to quarantine, with the reason. At its start a
service gives the recent readings of the archive to the live state.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import structlog
import xarray as xr

from telemetry.archive import Archive
from telemetry.archive.commit_batch import epoch_second
from telemetry.archive.last_messages import LastMessageStore
from telemetry.archive.layout import NO_QUALITY, QUALITY_CODES
from telemetry.archive.metadata_history import read_changes
from telemetry.archive.reader import CHIP_UNITS, open_folder, open_snapshot
from telemetry.archive.recovery import STORAGE_ERRORS
from telemetry.ingest.dead_letter import (
    IMPLAUSIBLE_FLAGS,
    LEAP_REASON,
    RefusedReading,
    RejectHandler,
    SimTimeWatermark,
)
from telemetry.journal.format import JournalPosition, JournalRecord
from telemetry.live.state import LIVE_DEPTH, LiveState
from telemetry.messages import encode
from telemetry.messages.bms_contract import REPEAT_PERIOD
from telemetry.messages.codec import try_decode
from telemetry.messages.samples import (
    CHIP_VARIABLES,
    GOOD_QUALITY,
    PointValue,
    RackBatch,
    Sample,
    SimulationTick,
)
from telemetry.points.binding import PointBinder
from telemetry.points.limits import CHIP_MAX, CHIP_MIN
from telemetry.points.point_meanings import RACK_OBJECT
from telemetry.quality.checks import MAX_CLOCK_LEAD, QualityFlag, unbound_point_limits
from telemetry.quality.tracker import PointCoverage
from telemetry.runtime import ClockMode
from twin.errors import ArchiveError
from twin.units import format_second

type SampleListener = Callable[[Sample], None]

ROUTER_COUNTERS: Final = ("quarantined", "future", "ticks", "refused", "failed")

_UNCOVERED: Final = (None, QualityFlag.FUTURE, QualityFlag.LATE)
"""Quality flags of values that do not describe the present."""

_DEFAULT_FLAGS: Final = (None, QualityFlag.GOOD)
"""Quality flags that need not be stored."""

MAX_REMEMBERED_FLAGS: Final = 100_000
"""Other flags that are stored, for readings that the archive takes later. [1]"""

_logger = structlog.get_logger(__name__)


class SampleRouter:
    """Router of the samples of a site.

    - `window`: live state; receives every accepted sample.
    - `archive`: receives durable samples; None for none.
    - `quarantine`: folder for undecodable messages; None to count them only.
    - `counts`: ``quarantined``, ``future`` and ``ticks`` (of a simulation, in real time), which are
      not archived, ``refused`` (by the archive) and ``failed`` (in the live state or a listener).
    - `coverage`: share of the expected values that arrived.
    - `last_messages`: last messages of topics that are published once.
    - `listeners`: functions called with each new sample.
    """

    def __init__(self, window: LiveState, archive: Archive | None, quarantine: Path | None) -> None:
        self.counts = Counter(dict.fromkeys(ROUTER_COUNTERS, 0))
        self.coverage = PointCoverage()
        self.last_messages = LastMessageStore(archive.last_messages_path if archive else None)
        self.listeners: list[SampleListener] = []
        self.rejects = RejectHandler(quarantine, archive.folder if archive else None)
        self._window, self._clock_mode = window, window.clock_mode
        self._archive = archive
        self._flags: dict[tuple[str, np.datetime64], QualityFlag] = {}
        self._watermark = SimTimeWatermark(archive.first_open_second if archive else None)

    def decode(self, topic: str, payload: bytes) -> Sample | None:
        """Return the sample of a message; None if it went to quarantine."""
        sample = try_decode(topic, payload)
        if isinstance(sample, str):
            self.counts["quarantined"] += 1
            self.rejects.quarantine.add_undecodable(topic, sample, payload)
            return None
        return sample

    def track_time(self, samples: Iterable[Sample | None]) -> None:
        """Record the times of samples that arrived together, before any of them is routed."""
        if self._clock_mode is ClockMode.SIMULATED:
            for sample in samples:
                if sample is not None:
                    self._watermark.observe_sample(sample)

    def update_live(
        self, sample: Sample, received: np.datetime64, *, is_new: bool = True
    ) -> QualityFlag | None:
        """Give a sample to the live state and, if new, to listeners; return its quality flag."""
        if not self._is_accepted(sample):
            return QualityFlag.FUTURE
        flag: QualityFlag | None = None
        try:
            flag = self._window.add(sample, received)
            if flag not in _DEFAULT_FLAGS and isinstance(sample, PointValue):
                self._store_flag(sample, flag)
            if is_new and flag not in _UNCOVERED and isinstance(sample, PointValue):
                self._record_coverage(sample)
            if is_new:
                if flag in IMPLAUSIBLE_FLAGS and isinstance(sample, PointValue | RackBatch):
                    self._report_implausible(sample, flag)
                for listener in self.listeners:
                    listener(sample)
        except Exception:
            self.counts["failed"] += 1
            _logger.exception("sample not processed", kind=type(sample).__name__)
        return flag

    def _report_implausible(self, sample: PointValue | RackBatch, flag: QualityFlag) -> None:
        """Store, log and list a reading with an implausible value."""
        topic, payload = encode(sample)
        reading = (
            _refused_batch(sample, topic)
            if isinstance(sample, RackBatch)
            else _refused_point(sample, topic, flag, self._window.binder)
        )
        self.rejects.implausible.add(reading, payload)

    def _record_coverage(self, sample: PointValue) -> None:
        """Record that a value of a point has arrived."""
        self.coverage.period = int(self._window.period / np.timedelta64(1, "s"))
        self.coverage.record(sample.point, epoch_second(sample.time))

    def restore(self, readings: Iterable[PointValue | RackBatch]) -> None:
        """Give earlier readings to the live state, as if each had arrived when it was made."""
        try:
            for reading in readings:
                self.update_live(reading, reading.time, is_new=False)
        except ArchiveError as error:
            _logger.warning("recent readings not restored", reason=str(error))

    def archive(
        self,
        sample: Sample,
        position: JournalPosition,
        *,
        flag: QualityFlag | None,
        received: np.datetime64,
    ) -> None:
        """Give a durable sample to the archive; if that is behind, it reads it later.

        - `position`: end of its record in the journal, or later.
        - `flag`: its quality flag, if known.
        - `received`: when it arrived, UTC.
        """
        if self._archive is not None and not self._archive.is_behind:
            self._put(sample, position, flag=flag, received=received)

    def archive_record(self, record: JournalRecord) -> None:
        """Give a record of the journal to the archive only."""
        sample = try_decode(record.topic, record.payload)
        if not isinstance(sample, str):  # else it went to quarantine when it arrived
            self._put(sample, record.position, flag=None, received=record.received)

    def _put(
        self,
        sample: Sample,
        position: JournalPosition,
        *,
        flag: QualityFlag | None,
        received: np.datetime64,
    ) -> None:
        if self._archive is None:
            return
        if not self._is_accepted(sample):
            self._reject_time(sample)
            return
        if (
            self._clock_mode is ClockMode.REAL
            and isinstance(sample, PointValue | RackBatch)
            and sample.time - received > MAX_CLOCK_LEAD
        ):
            topic, payload = encode(sample)
            self.rejects.future_guard.reject(sample, received, topic=topic, payload=payload)
            self.counts["future"] += 1
            return
        if isinstance(sample, RackBatch) and not self._has_usual_width(sample):
            return
        reason = self._archive.add(sample, position, flag=flag or self._flag_of(sample))
        if reason:
            self.counts["refused"] += 1
            topic, payload = encode(sample)
            self.rejects.quarantine.add_rejected(topic, f"not archived: {reason}", payload)

    def _has_usual_width(self, batch: RackBatch) -> bool:
        """Return whether a batch has no more chips than others; if not, store it as rejected."""
        label, chips = f"{batch.hall}/{batch.rack}", batch.values.shape[1]
        if self.rejects.width_guard.accepts([label], chips):
            return True
        topic, payload = encode(batch)
        self.rejects.width_guard.reject(
            label, epoch_second(batch.time), chips=chips, topic=topic, payload=payload
        )
        self.counts["refused"] += 1
        return False

    def _store_flag(self, sample: PointValue, flag: QualityFlag) -> None:
        """Store a quality flag: the archive may take the reading later, or a second time."""
        if len(self._flags) >= MAX_REMEMBERED_FLAGS:
            del self._flags[next(iter(self._flags))]
        self._flags[sample.point, sample.time] = flag

    def _flag_of(self, sample: Sample) -> QualityFlag:
        """Return the stored quality flag of a sample, or the one of its source."""
        if not isinstance(sample, PointValue):
            return QualityFlag.GOOD
        default = QualityFlag.GOOD if sample.quality == GOOD_QUALITY else QualityFlag.BAD_SOURCE
        return self._flags.get((sample.point, sample.time), default)

    def _is_accepted(self, sample: Sample) -> bool:
        """Return whether a time is accepted; ticks are accepted of a simulated plant only."""
        if self._clock_mode is ClockMode.SIMULATED:
            return self._watermark.accepts(sample)
        return not isinstance(sample, SimulationTick)

    def _reject_time(self, sample: Sample) -> None:
        """Count a sample that is not accepted; store one that leaps ahead as rejected."""
        if self._clock_mode is ClockMode.SIMULATED:
            self.counts["future"] += 1
            topic, payload = encode(sample)
            self.rejects.quarantine.add_rejected(topic, LEAP_REASON, payload)
        else:
            self.counts["ticks"] += 1


def _refused_point(
    sample: PointValue, topic: str, flag: QualityFlag, binder: PointBinder
) -> RefusedReading:
    """Return an implausible reading of a point, with what was plausible in the unit of the wire."""
    binding, metadata = binder.get(sample.point), binder.metadata(sample.point)
    unit = metadata.unit if metadata else ""
    limits = unbound_point_limits(metadata)
    low, high, rate = limits.low, limits.high, np.inf
    if binding is not None and binding.states is None:
        ends = (
            (end - binding.offset) / binding.factor
            for end in (binding.plausible_range.low, binding.plausible_range.high)
        )
        low, high = sorted(ends)
        rate = 60.0 * binding.plausible_range.rate / abs(binding.factor)
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
    row, chip = np.argwhere((batch.values < CHIP_MIN) | (batch.values > CHIP_MAX))[0].tolist()
    low, high, name = float(CHIP_MIN[row, 0]), float(CHIP_MAX[row, 0]), CHIP_VARIABLES[row]
    return RefusedReading(
        source=f"{batch.hall}/{batch.rack}",
        topic=topic,
        value=float(batch.values[row, chip]),
        unit=CHIP_UNITS[name],
        reason=QualityFlag.RANGE.value,
        expected=f"{name} of each chip from {low:g} to {high:g} {CHIP_UNITS[name]}",
        time=format_second(batch.time),
    )


RECALL_INTERVAL: Final = np.timedelta64(15, "m")
"""The last value of each point in each such interval is read."""


def recent_readings(folder: Path, site: str) -> Iterator[PointValue | RackBatch]:
    """Yield the readings of a site in the time span of the live state.

    See :func:`recent_point_values` and :func:`recent_rack_batches`. It raises ArchiveError if the
    archive cannot be read.
    """
    try:
        changes = read_changes(open_snapshot(folder, site).root)
        since = {label: np.datetime64(found[-1][1], "s") for label, found in changes.items()}
        for one in recent_point_values(open_folder(folder, site, group="points")):
            if one.time >= since.get(one.point, one.time):  # earlier ones have another unit
                yield one
        yield from recent_rack_batches(open_folder(folder, site, group="racks"), site)
    except STORAGE_ERRORS as error:
        message = f"{folder}: cannot be read: {error}; check the disk and its permissions"
        raise ArchiveError(message) from error


def recent_point_values(points: xr.Dataset) -> Iterator[PointValue]:
    """Yield recent values of the points of an archive, in order of time.

    These are the last value of each point in each quarter-hour of the last day; for points of
    racks, which are many, in the newest quarter-hour only.
    """
    if "value" not in points or not points.sizes["time"]:
        return
    times = points["time"].values
    is_rack = points["object_type"].values == RACK_OBJECT
    spans = list(_spans(times))
    for first, last in spans:
        selected = slice(None) if (first, last) == spans[-1] else np.flatnonzero(~is_rack)
        yield from _last_values(points.isel(time=slice(first, last), point=selected))


def recent_rack_batches(racks: xr.Dataset, site: str) -> Iterator[RackBatch]:
    """Yield a batch of each rack in the newest second of an archive, with boot and sequence 0."""
    if "power" not in racks or not racks.sizes["time"]:
        return
    newest = racks.isel(time=-1)
    time = np.datetime64(newest["time"].item(), "us")
    block = np.stack([newest[name].values for name in CHIP_VARIABLES])
    interval = np.diff(racks["time"].values[-2:])
    for column, label in enumerate(racks["rack"].values.tolist()):
        values = block[:, column, ~np.isnan(block[0, column])]
        if values.size:
            hall, _, rack = label.partition("/")
            yield RackBatch(
                site=site,
                hall=hall,
                rack=rack,
                boot=0,
                sequence=0,
                time=time,
                interval=interval[0] if interval.size else RECALL_INTERVAL,
                values=values,
            )


def _spans(times: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield the rows (first, last + 1) to read of each quarter-hour.

    These are its last 100 s at most, within which every point is repeated.
    """
    (begin,) = np.searchsorted(times, times[-1:] - LIVE_DEPTH)
    interval = np.ceil((times[begin:] - np.datetime64(0, "s")) / RECALL_INTERVAL)
    (edges,) = np.nonzero(np.diff(interval, append=np.inf))
    for last in (begin + edges).tolist():
        (first,) = np.searchsorted(times, times[last : last + 1] - REPEAT_PERIOD, side="right")
        yield int(max(first, begin)), last + 1


def _last_values(points: xr.Dataset) -> Iterator[PointValue]:
    """Yield the last value of each point that has one, in order of time."""
    codes, values = points["quality"].values, points["value"].values
    has_value = codes != NO_QUALITY
    rows = len(codes) - 1 - np.argmax(has_value[::-1], axis=0)
    (columns,) = np.nonzero(has_value.any(axis=0))
    names, times = points["point"].values.tolist(), points["time"].values
    for column in columns[np.argsort(rows[columns], kind="stable")].tolist():
        row = rows[column]
        value = float(values[row, column])
        is_good = codes[row, column] != QUALITY_CODES[QualityFlag.BAD_SOURCE]
        yield PointValue(
            point=names[column],
            time=times[row],
            value=None if np.isnan(value) else value,
            quality=GOOD_QUALITY if is_good else GOOD_QUALITY - 1,
        )
