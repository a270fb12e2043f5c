"""Quality of the points of a site over time: flags, redundancy, clock skew and coverage.

A reading is compared with the one before it and with other sensors of the same quantity. Of two
sensors that differ, both are untrusted; of three or more, those far from the median.

A point publishes on change and at least every 100 s, with QoS 0. A repetition period without a
message, while the heartbeat of its sender was received, is a gap. Losses between two values of one
period cannot be detected.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from heapq import nsmallest
from typing import Final, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from telemetry.messages.bms_contract import REPEAT_PERIOD
from telemetry.messages.samples import PointValue
from telemetry.points.binding import PointBinder, PointBinding
from telemetry.quality.checks import (
    MAX_CLOCK_LEAD,
    NO_HISTORY,
    STALE_PERIODS,
    PointHistory,
    PointReading,
    QualityFlag,
    check_reading,
)
from twin.simulation.engine import VariableKey
from twin.text import format_duration
from twin.time_axes import SECOND
from twin.units import MICROSECONDS_PER_S

MIN_MEDIAN_SENSORS: Final = 3
"""Number of sensors from which the median decides which of them is wrong. [1]"""


class QualityTracker:
    """Flags the readings of a site's points; ``clock_skew`` has the points whose stamps are
    refused.
    """

    def __init__(self, binder: PointBinder) -> None:
        self._binder = binder
        self.clock_skew = ClockSkewTracker()
        self._histories: dict[str, PointHistory] = {}
        self._redundancy = _Redundancy()

    def is_duplicate(self, sample: PointValue) -> bool:
        """Return whether the last reading of a point has the same stamp."""
        history = self._histories.get(sample.point, NO_HISTORY)
        return bool(sample.time in (history.time, history.candidate_time))

    def check(
        self,
        binding: PointBinding,
        reading: PointReading,
        now: np.datetime64,
        *,
        period: np.timedelta64,
    ) -> QualityFlag:
        """Return the quality flag of a reading, and store it in the history of its point.

        ``now`` is the time of receipt, maybe unknown; ``period`` is the repetition period of
        points.
        """
        before = self._histories.get(binding.point, NO_HISTORY)
        if before is not NO_HISTORY:
            limit = now + MAX_CLOCK_LEAD
            if before.time > limit or before.candidate_time > limit:
                before = NO_HISTORY  # its stamp came from a clock that was set back since
        flag = check_reading(reading, now, before, limits=binding.plausible_range)
        if not binding.is_spare:
            self.clock_skew.note(binding.key, flag, time=reading.time, received=now)
        value = reading.value
        if flag is QualityFlag.GOOD and value is not None and binding.key in self._binder.redundant:
            max_age = STALE_PERIODS * period
            if not self._redundancy.agrees(binding, value, reading.time, max_age=max_age):
                flag = QualityFlag.DISAGREES
        self._histories[binding.point] = before.after(reading, flag, binding.plausible_range)
        return flag


@dataclass
class _Redundancy:
    """Latest values of the sensors of each quantity."""

    _latest: dict[VariableKey, dict[str, tuple[float, np.datetime64]]] = field(default_factory=dict)

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


class ClockSkewTracker:
    """Points whose newest reading was refused for its stamp; one thread writes, others read."""

    def __init__(self) -> None:
        self._found: dict[VariableKey, ClockSkew] = {}

    def note(
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
        although their clock is right. Points ahead of ``now`` are those of
        :class:`telemetry.ingest.dead_letter.FutureTimestampGuard`.
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
