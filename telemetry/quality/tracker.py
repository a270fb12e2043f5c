"""Quality of the points of a site over time: flags, redundancy, clock skew and coverage.

A reading is compared with the one before it and with other sensors of the same quantity. Of two
sensors that differ, both are untrusted; of three or more, those far from the median.

A point publishes on change and at least every 100 s, with QoS 0. A repetition period without a
message, while the heartbeat of its sender was received, is a gap. Losses between two values of one
period cannot be detected.
"""

import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from heapq import nsmallest
from typing import Final, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from telemetry.messages.bms_contract import REPEAT_PERIOD
from telemetry.messages.samples import (
    PointMetadata,
    PointValue,
    RackBatch,
    Sample,
    SampleOutcome,
    SimulationTick,
)
from telemetry.points.binding import PointBinder, PointBinding
from telemetry.quality.checks import (
    MAX_CLOCK_LEAD,
    NO_HISTORY,
    STALE_PERIODS,
    UNKNOWN_POINT_LIMITS,
    PointHistory,
    PointReading,
    QualityFlag,
    UnboundPointLimits,
    check_batch,
    check_reading,
    unbound_point_limits,
)
from telemetry.runtime import ClockMode
from twin.simulation.engine import VariableKey
from twin.text import format_duration
from twin.time_axes import SECOND, UNKNOWN_TIME
from twin.units import MICROSECONDS_PER_S

MIN_MEDIAN_SENSORS: Final = 3
"""Number of sensors from which the median decides which of them is wrong. [1]"""


MAX_WAITING_POINTS: Final = 10_000
"""Largest number of points whose value waits for metadata. [1]"""


class CheckedValue(NamedTuple):
    """A value with its flag.

    ``binding`` and ``value`` are its binding and the value in the canonical unit. Both are None if
    the point is bound to no variable, or the value repeats the last stamp of its point.
    """

    flag: QualityFlag
    binding: PointBinding | None = None
    value: float | None = None


class QualityEngine:
    """Flags all readings of one site, in the order in which they are journaled.

    The service and the recorder flag by it, so the same messages have the same flags. Without a
    ``binder``, as of a site without a site file, points are checked by their metadata alone.

    - `clock_skew`: sources whose stamps are refused.
    - `clock_mode`: which clock the stamps are compared with.
    - `counters`: values by flag, and those that were not checked as readings, by reason.
    - `period`: period of repetition of points. It follows the ticks of simulated time and the
      intervals of the rack batches.
    - `tick`: last tick of simulated time; None before.
    """

    def __init__(
        self, binder: PointBinder | None = None, *, clock_mode: ClockMode = ClockMode.REAL
    ) -> None:
        self.binder = binder
        self.clock_mode = clock_mode
        self.clock_skew = ClockSkewTracker()
        self.counters: Counter[str] = Counter()
        self.period = REPEAT_PERIOD
        self.tick: SimulationTick | None = None
        self._batch_interval: np.timedelta64 | None = None
        self._histories: dict[str, PointHistory] = {}
        self._limits: dict[str, UnboundPointLimits] = {}
        self._waiting: dict[str, tuple[PointValue, np.datetime64]] = {}
        self._redundancy = _Redundancy()

    def copy(self) -> "QualityEngine":
        """Return an engine that continues from here independently; it reports no clock skew."""
        twin = self.copy_after_restart()
        twin.period, twin.tick, twin._batch_interval = self.period, self.tick, self._batch_interval
        twin._histories, twin._waiting = self._histories.copy(), self._waiting.copy()
        twin._redundancy = self._redundancy.copy()
        return twin

    def copy_after_restart(self) -> "QualityEngine":
        """Return an engine that knows the metadata only, as after a restart."""
        binder = self.binder.copy() if self.binder else None
        twin = QualityEngine(binder, clock_mode=self.clock_mode)
        twin._limits = self._limits.copy()
        return twin

    def receipt_time(self, received: np.datetime64) -> np.datetime64:
        """Return when a sample came: in simulated time, no later than the next tick."""
        if self.clock_mode is ClockMode.REAL:
            return received
        return self.tick.time + self.tick.interval if self.tick else UNKNOWN_TIME

    def binding_of(self, point: str) -> PointBinding | None:
        """Return the binding of a point; None if it is bound to no variable."""
        return self.binder.binding_of(point) if self.binder else None

    def unbound_limits(self, point: str) -> UnboundPointLimits:
        """Return the plausible values of a point by its metadata alone."""
        return self._limits.get(point, UNKNOWN_POINT_LIMITS)

    def add(self, sample: Sample, received: np.datetime64) -> QualityFlag | None:
        """Return the flag of a reading or a rack batch; take note of metadata and ticks.

        ``received`` is its time of receipt, unused in simulated time. Other samples have no flag.
        """
        match sample:
            case PointValue():
                return self.check_value(sample, received).flag
            case RackBatch():
                return self.check_batch(sample, received)
            case PointMetadata():
                self.register(sample)
            case SimulationTick() if self.clock_mode is ClockMode.SIMULATED:
                self.note_tick(sample)
        return None

    def check_value(self, sample: PointValue, received: np.datetime64) -> CheckedValue:
        """Return the flag of a value of any point."""
        binder = self.binder
        binding = binder.binding_of(sample.point) if binder else None
        if binding is not None:
            if sample.sender == binding.sender:
                return self._check_bound(binding, sample, received)
            self.counters[SampleOutcome.WRONG_SENDER] += 1
        elif binder is not None:
            if not binder.belongs_to_site(sample.point):
                self.counters[SampleOutcome.OTHER_SITE] += 1
            elif sample.point in binder.unknown:
                self.counters[SampleOutcome.UNKNOWN_POINT] += 1
            else:
                self._wait_for_metadata(sample, received)
        limits = self.unbound_limits(sample.point)
        return CheckedValue(limits.check(sample, self.receipt_time(received)))

    def check_batch(self, batch: RackBatch, received: np.datetime64) -> QualityFlag:
        """Return the flag of a rack batch."""
        self.note_interval(batch.interval)
        return check_batch(batch, self.receipt_time(received))

    def register(
        self, metadata: PointMetadata
    ) -> tuple[CheckedValue, PointValue, np.datetime64] | None:
        """Take note of metadata; return a value that waited for it, and its time of receipt."""
        self._limits[metadata.point] = unbound_point_limits(metadata)
        binding = self.binder.register(metadata) if self.binder else None
        waiting = self._waiting.pop(metadata.point, None)
        if binding is None or waiting is None:
            return None
        if waiting[0].sender != binding.sender:
            self.counters[SampleOutcome.WRONG_SENDER] += 1
            return None
        return self._check_bound(binding, *waiting), *waiting

    def note_interval(self, interval: np.timedelta64) -> None:
        """Take note of the interval of rack batches."""
        self._batch_interval = interval

    def note_tick(self, tick: SimulationTick) -> None:
        """Continue at a tick of simulated time."""
        self.tick = tick
        self.period = max(REPEAT_PERIOD, self._batch_interval or tick.interval)

    def _wait_for_metadata(self, sample: PointValue, received: np.datetime64) -> None:
        """Store a value until its metadata comes, the newest of each point."""
        self.counters[SampleOutcome.BEFORE_METADATA] += 1
        if len(self._waiting) >= MAX_WAITING_POINTS and sample.point not in self._waiting:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[sample.point] = (sample, received)

    def _check_bound(
        self, binding: PointBinding, sample: PointValue, received: np.datetime64
    ) -> CheckedValue:
        """Return the flag of a value of a bound point, and store it in the point's history."""
        now, limits, key = self.receipt_time(received), binding.plausible_range, binding.key
        value = None if sample.value is None else binding.to_canonical(sample.value)
        reading = PointReading(value=value, time=sample.time, quality=sample.quality)
        before = self._histories.get(binding.point, NO_HISTORY)
        if sample.time in (before.time, before.candidate_time):
            self.counters[SampleOutcome.DUPLICATE] += 1
            flag = check_reading(reading, now, limits=limits)
            if flag is QualityFlag.GOOD:
                flag = before.flag if sample.time == before.time else before.candidate_flag
            return CheckedValue(flag)
        if before is not NO_HISTORY:
            latest = now + MAX_CLOCK_LEAD
            if before.time > latest or before.candidate_time > latest:
                before = NO_HISTORY  # its stamp came from a clock that was set back since
        flag = check_reading(reading, now, before, limits=limits)
        if not binding.is_spare:
            self.clock_skew.record_flag(key, flag, time=reading.time, received=now)
        if (
            flag is QualityFlag.GOOD
            and value is not None
            and self.binder is not None
            and key in self.binder.redundant
        ):
            max_age = STALE_PERIODS * self.period
            if not self._redundancy.agrees(binding, value, reading.time, max_age=max_age):
                flag = QualityFlag.DISAGREES
        self._histories[binding.point] = before.with_reading(reading, flag, limits)
        self.counters[flag.value] += 1
        return CheckedValue(flag, binding, value)


@dataclass
class _Redundancy:
    """Latest values of the sensors of each quantity."""

    _latest: dict[VariableKey, dict[str, tuple[float, np.datetime64]]] = field(default_factory=dict)

    def copy(self) -> "_Redundancy":
        """Return an independent copy."""
        return _Redundancy({key: found.copy() for key, found in self._latest.items()})

    def agrees(
        self, binding: PointBinding, value: float, time: np.datetime64, *, max_age: np.timedelta64
    ) -> bool:
        """Store a value in the canonical unit, and return whether it agrees with the other sensors.

        It must be within tolerance of the other one of two sensors, else of the median. Values
        older than ``max_age`` do not count; without another one the value agrees.
        """
        latest = self._latest.setdefault(binding.key, {})
        latest[binding.point] = (value, time)
        fresh = [one for one, at in latest.values() if abs(time - at) <= max_age]
        if len(fresh) < MIN_MEDIAN_SENSORS:
            return max(fresh) - min(fresh) <= binding.plausible_range.tolerance
        return abs(value - float(np.median(fresh))) <= binding.plausible_range.tolerance


TIMESTAMP_FLAGS: Final = (QualityFlag.FUTURE, QualityFlag.LATE)
"""Flags of readings that are not used because of their stamp."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClockSkew:
    """A point whose newest reading was refused for its stamp.

    ``skew`` is its stamp minus the time of receipt; the first and the newest of these readings came
    at ``since`` and ``last``, UTC.
    """

    skew: np.timedelta64
    since: np.datetime64
    last: np.datetime64


MIN_SOURCES_OF_SLOW_CLOCK: Final = 3
"""Sources ahead at once that indicate a slow clock of this machine. [1]"""

CLOCK_AHEAD_ERROR_DURATION_S: Final = 300.0
"""Time for which a source that was ahead is an error. [s]"""

MAX_REJECTED_SOURCES: Final = 200_000
"""Sources that are tracked. [1]"""


class ClockSkewTracker:
    """Sources whose newest reading was refused for its stamp; one thread writes, others read.

    If many sources are ahead at once, the clock of this machine is slow.
    """

    def __init__(self) -> None:
        self._found: dict[VariableKey, ClockSkew] = {}
        self._ahead: dict[str, tuple[float, np.timedelta64]] = {}

    def note_ahead(self, source: str, skew: np.timedelta64) -> None:
        """Record a point or rack whose reading was not archived, as its stamp was ahead."""
        if source in self._ahead or len(self._ahead) < MAX_REJECTED_SOURCES:
            self._ahead[source] = time.monotonic(), skew

    @property
    def error(self) -> str:
        """Sources that are ahead, if so many are that the clock here is slow; else empty."""
        found = self._sources_ahead()
        remedy = "set the clock of this machine, as so many are ahead at once"
        return _describe_ahead(found, remedy) if len(found) >= MIN_SOURCES_OF_SLOW_CLOCK else ""

    @property
    def warning(self) -> str:
        """Single sources that are ahead, and the remedy; empty if there are none, or many."""
        found = self._sources_ahead()
        if not 0 < len(found) < MIN_SOURCES_OF_SLOW_CLOCK:
            return ""
        return _describe_ahead(found, "set its clock" if len(found) == 1 else "set their clocks")

    def _sources_ahead(self) -> dict[str, np.timedelta64]:
        """Return the sources that were ahead of late, and by how much."""
        since = time.monotonic() - CLOCK_AHEAD_ERROR_DURATION_S
        return {name: off for name, (last, off) in self._ahead.copy().items() if last > since}

    def record_flag(
        self,
        key: VariableKey,
        flag: QualityFlag,
        *,
        time: np.datetime64,
        received: np.datetime64,
    ) -> None:
        """Record the flag of a reading with a stamp."""
        if flag not in TIMESTAMP_FLAGS:
            self._found.pop(key, None)
            return
        new = ClockSkew(skew=time - received, since=received, last=received)
        before = self._found.get(key)
        self._found[key] = replace(new, since=before.since) if before else new

    def describe_point(self, key: VariableKey) -> str:
        """Return the skew of a point's newest stamp; empty if it was not refused."""
        found = self._found.get(key)
        return describe_skews([found.skew]) if found else ""

    def describe_late(self, now: np.datetime64, period: np.timedelta64) -> str:
        """Return which or how many points are refused as late, and their skew; empty if none is.

        A point counts from its second repetition period on: delayed messages come late once,
        although their clock is right. :attr:`error` and :attr:`warning` have those ahead.
        """
        found = {
            key: one.skew
            for key, one in self._found.copy().items()
            if one.skew < np.timedelta64(0, "s")
            and one.last - one.since >= 0.5 * period
            and now - one.last <= STALE_PERIODS * period
        }
        if not found:
            return ""
        first = " of ".join(filter(None, next(iter(found))))
        skews, has_others = describe_skews(found.values()), len(found) > 1
        points, example = (
            (f"{len(found)} points", f", such as of {first}") if has_others else (first, "")
        )
        return f"stamps of {points} are refused, {skews}{example}: set the clocks"


def _describe_ahead(found: Mapping[str, np.timedelta64], remedy: str) -> str:
    """Return which sources are ahead, by how much, and the remedy."""
    names = list(found)
    shown = f"{len(names)} sources, such as {names[0]},"
    if len(names) < MIN_SOURCES_OF_SLOW_CLOCK:
        shown = " and ".join(names)
    skews = f"stamps of {shown} are {describe_skews(found.values())}"
    return f"{skews}, and in quarantine, not archived: {remedy}"


def describe_future_values(times: NDArray[np.int64], latest: int) -> str:
    """Return how many stored stamps are ahead of the clock; empty if none is.

    ``latest`` is the latest stamp that is not of the future. Both in [us since 1970].
    """
    ahead = times[times > latest] - latest
    if not ahead.size:
        return ""
    lead = format_duration(float(ahead.max()) / MICROSECONDS_PER_S)
    return (
        f"{ahead.size} points or racks have stamps up to {lead} ahead, from a clock that was set "
        "back: their values are not used until new ones arrive"
    )


def describe_skews(skews: Iterable[np.timedelta64]) -> str:
    """Return the range of skews of stamps, as text."""
    seconds = sorted(float(off / SECOND) for off in skews)
    ranges = []
    for side, some in (
        ("behind", [-value for value in reversed(seconds) if value < 0.0]),
        ("ahead of", [value for value in seconds if value >= 0.0]),
    ):
        if some:
            low, high = some[0], some[-1]
            span = f"{low:.0f}" if high - low < 1.0 else f"{low:.0f} to {high:.0f}"
            ranges.append(f"{span} s {side} the clock here")
    return " and ".join(ranges)


REPEAT_TOLERANCE_S: Final = 10
"""Permitted delay of a repetition. [s]"""

HEARTBEAT_PERIOD_S: Final = 10
"""Time between two heartbeats. [s]"""

MAX_MISSED_HEARTBEATS: Final = 3
"""Missing heartbeats from which a sender counts as silent. [1]"""

MAX_POINTS_LISTED: Final = 5
"""Points that a message names. [1]"""

HEARTBEAT_TOPIC_PART: Final = "/HeartbeatTimestampBms/"
"""Part of the names of the plant's heartbeat points."""


class PoorCoverage(TypedDict):
    """A point with gaps: the share of time covered [1], and the number of missing repetitions."""

    point: str
    share: float
    gaps: int


@dataclass(slots=True)
class _CoverageRecord:
    first: int
    last: int
    silent: int = 0
    gaps: int = 0


class _Pause(NamedTuple):
    """A time in which the sender was silent, and the total of such times before. [s]"""

    start: int
    end: int
    before: int


@dataclass
class PointCoverage:
    """Coverage of points by received values, while their sender was alive.

    ``period`` is the longest permitted silence of a point, without :data:`REPEAT_TOLERANCE_S`. [s]
    """

    period: int = int(REPEAT_PERIOD / np.timedelta64(1, "s"))
    _points: dict[str, _CoverageRecord] = field(default_factory=dict)
    _last_heartbeat: int | None = None
    _pauses: list[_Pause] = field(default_factory=list)

    def record_heartbeat(self, second: int) -> None:
        """Record a heartbeat of the plant. [s since 1970]"""
        if (
            self._last_heartbeat is not None
            and second - self._last_heartbeat > MAX_MISSED_HEARTBEATS * HEARTBEAT_PERIOD_S
        ):
            before = self._paused_until(self._last_heartbeat)
            self._pauses.append(_Pause(self._last_heartbeat, second, before))
        self._last_heartbeat = max(second, self._last_heartbeat or second)

    def record(self, point: str, second: int) -> None:
        """Record the time of a point's value, and a heartbeat if it is one. [s since 1970]"""
        if HEARTBEAT_TOPIC_PART in point:
            self.record_heartbeat(second)
        record = self._points.get(point)
        if record is None:
            self._points[point] = _CoverageRecord(first=second, last=second)
            return
        if second > record.last:
            # Pauses only shorten a silence, so a shorter one needs no check.
            if second - record.last > self.period + REPEAT_TOLERANCE_S:
                self._close(record, second)
            record.last = second

    def worst_points(self, now: int) -> list[PoorCoverage]:
        """Return the points with gaps up to ``now`` [s since 1970], the worst first."""
        quiet = now - self.period - REPEAT_TOLERANCE_S
        poor = [
            PoorCoverage(point=point, share=self._share(record, now), gaps=gaps)
            for point, record in list(self._points.items())  # another thread may add
            if (record.gaps or record.last < quiet) and (gaps := self._gaps(record, now))
        ]
        return nsmallest(MAX_POINTS_LISTED, poor, key=lambda one: (one["share"], one["point"]))

    def summary(self, now: int) -> dict[str, object]:
        """Return the number of points and the worst of them, ready for JSON."""
        return {"points": len(self._points), "worst": self.worst_points(now)}

    def _share(self, record: _CoverageRecord, now: int) -> float:
        silent = record.silent + self._silence(record.last, now)
        total = max(now - record.first - self._paused(record.first, now), 1)
        return float(min(max(1.0 - silent / total, 0.0), 1.0))

    def _gaps(self, record: _CoverageRecord, now: int) -> int:
        return record.gaps + -(-self._silence(record.last, now) // self.period)

    def _close(self, record: _CoverageRecord, second: int) -> None:
        silent = self._silence(record.last, second)
        if silent:
            record.silent += silent
            record.gaps += -(-silent // self.period)

    def _silence(self, last: int, second: int) -> int:
        """Return the excess of a silence over its limit, while the sender was alive. [s]"""
        length = second - last - self._paused(last, second)
        return length - self.period if length > self.period + REPEAT_TOLERANCE_S else 0

    def _paused(self, first: int, last: int) -> int:
        return max(self._paused_until(last) - self._paused_until(first), 0)

    def _paused_until(self, second: int) -> int:
        """Return how long the sender was silent before a time; pauses may be years long. [s]"""
        place = bisect_right(self._pauses, second, key=lambda pause: pause.start)
        if not place:
            return 0
        pause = self._pauses[place - 1]
        return pause.before + min(second, pause.end) - pause.start
