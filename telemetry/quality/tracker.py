"""How much of what points said was heard: QoS 0 may lose it, the 100 s repetition tells.

A point speaks on change and at least every 100 s. So of each such period in which its sender was
alive, by its heartbeat, something should have been heard of it; a period without is a gap. What
was lost between two values of one period nobody can know.

Verdicts on readings, each beside what its point said before and what others say of the same.

Of two sensors of one quantity that differ neither is believed; of three or more the median tells.

Points whose stamps are refused, as too old or of the future: how many, and how far off.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from heapq import nsmallest
from typing import Final, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from telemetry.messages.models import REPEAT_PERIOD, PointValue
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

MIN_MEDIAN_SENSORS: Final = 3
"""Sensors from which on the one that differs from the median is the wrong one."""


class QualityTracker:
    """What points of a site said last.

    Parameters
    ----------
    binder
        Knows of which quantities several points speak.

    Attributes
    ----------
    misdated
        Points whose stamps are refused.
    """

    def __init__(self, binder: PointBinder) -> None:
        self._binder = binder
        self.clock_skew = ClockSkewTracker()
        self._histories: dict[str, PointHistory] = {}
        self._redundancy = _Redundancy()

    def is_duplicate(self, sample: PointValue) -> bool:
        """Return whether the last reading of a point is of this very moment."""
        history = self._histories.get(sample.point, NO_HISTORY)
        return bool(sample.time in (history.time, history.candidate_time))

    def check(
        self,
        binding: PointBinding,
        reading: PointReading,
        now: np.datetime64 | None,
        *,
        period: np.timedelta64,
    ) -> QualityFlag:
        """Return the verdict on a reading, and take it down.

        Parameters
        ----------
        binding
            Of its point.
        reading
            The reading.
        now
            When it came; None in simulated time.
        period
            How often points are repeated.
        """
        before = self._histories.get(binding.point, NO_HISTORY)
        if now is not None and before is not NO_HISTORY:
            limit = now + MAX_CLOCK_LEAD
            if before.time > limit or before.candidate_time > limit:
                before = NO_HISTORY  # it came by a clock that was set back since
        flag = check_reading(reading, now, before, limits=binding.band)
        if not binding.is_spare:
            self.clock_skew.note(binding.key, flag, time=reading.time, received=now)
        value = reading.value
        if flag is QualityFlag.GOOD and value is not None and binding.key in self._binder.redundant:
            longest = STALE_PERIODS * period
            if not self._redundancy.agrees(binding, value, reading.time, longest=longest):
                flag = QualityFlag.DISAGREES
        self._histories[binding.point] = before.after(reading, flag, binding.band)
        return flag


@dataclass
class _Redundancy:
    """What sensors of one quantity said last."""

    _said: dict[VariableKey, dict[str, tuple[float, np.datetime64]]] = field(default_factory=dict)

    def agrees(
        self, binding: PointBinding, value: float, time: np.datetime64, *, longest: np.timedelta64
    ) -> bool:
        """Take down a value, and return whether it may be believed beside the others.

        Parameters
        ----------
        binding
            Of its point.
        value
            In the canonical unit.
        time
            When it was read.
        longest
            Age from which on another sensor's value counts no more.

        Returns
        -------
        bool
            False if it differs by more than the band allows: of two sensors from the other, of
            more from their median. True while nobody else has spoken of late.
        """
        said = self._said.setdefault(binding.key, {})
        said[binding.point] = (value, time)
        fresh = [one for one, at in said.values() if abs(time - at) <= longest]
        if len(fresh) < MIN_MEDIAN_SENSORS:
            return max(fresh) - min(fresh) <= binding.band.tolerance
        return abs(value - float(np.median(fresh))) <= binding.band.tolerance


ONE_SECOND: Final = np.timedelta64(1, "s")

MICROSECONDS_PER_SECOND: Final = 1e6
"""Of a second. [us]"""

TIMESTAMP_FLAGS: Final = (QualityFlag.FUTURE, QualityFlag.LATE)
"""Verdicts on readings that are treated as if they had never come, for their stamp."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClockSkew:
    """A point whose newest reading was refused for its stamp.

    Attributes
    ----------
    skew
        Its stamp less the time at which it came. [timedelta64]
    since, last
        When the first of these readings came, and the newest, UTC.
    """

    skew: np.timedelta64
    since: np.datetime64
    last: np.datetime64


class ClockSkewTracker:
    """Points whose newest reading was refused for its stamp; one thread notes, others look."""

    def __init__(self) -> None:
        self._found: dict[VariableKey, ClockSkew] = {}

    def note(
        self,
        key: VariableKey,
        flag: QualityFlag,
        *,
        time: np.datetime64,
        received: np.datetime64 | None,
    ) -> None:
        """Take note of a verdict.

        Parameters
        ----------
        key
            Variable and object of the point.
        flag
            The verdict.
        time
            Stamp of the reading, UTC.
        received
            When it came, UTC; None in simulated time, where no stamp is refused.
        """
        if flag not in TIMESTAMP_FLAGS or received is None:
            self._found.pop(key, None)
            return
        new = ClockSkew(skew=time - received, since=received, last=received)
        before = self._found.get(key)
        self._found[key] = replace(new, since=before.since) if before else new

    def describe_point(self, key: VariableKey) -> str:
        """Return how far off the newest stamp of a point is; empty if it was not refused.

        Parameters
        ----------
        key
            Variable and object of the point.
        """
        found = self._found.get(key)
        return describe_skews([found.skew]) if found else ""

    def describe(self, now: np.datetime64, period: np.timedelta64) -> str:
        """Return which or how many points are refused by now, and how far off; empty if none is.

        Parameters
        ----------
        now
            The moment, UTC.
        period
            How often points are repeated. One counts from its second round on: what waited for us
            comes late once, and is no wrong clock.
        """
        found = {
            key: one.skew
            for key, one in self._found.copy().items()
            if one.last - one.since >= 0.5 * period and now - one.last <= STALE_PERIODS * period
        }
        if not found:
            return ""
        first = " of ".join(filter(None, next(iter(found))))
        off, others = describe_skews(found.values()), len(found) > 1
        whose, such = (f"{len(found)} points", f", as of {first}") if others else (first, "")
        return f"stamps of {whose} are refused, {off}{such}: set the clocks"


def describe_future_values(times: NDArray[np.int64], latest: int) -> str:
    """Return how many stamps that were kept are ahead of the clock, by now; empty if none is.

    Parameters
    ----------
    times, latest
        The stamps, and the latest that is not of the future. [us since 1970]
    """
    ahead = times[times > latest] - latest
    if not ahead.size:
        return ""
    most = format_duration(float(ahead.max()) / MICROSECONDS_PER_SECOND)
    return (
        f"{ahead.size} points or racks were heard last by a clock that was up to {most} ahead and "
        "was set back: they are not used until they speak again"
    )


def describe_skews(offs: Iterable[np.timedelta64]) -> str:
    """Return in words how far stamps are from the clock here."""
    seconds = sorted(float(off / ONE_SECOND) for off in offs)
    ways = []
    for way, some in (
        ("behind", [-value for value in reversed(seconds) if value < 0.0]),
        ("ahead of", [value for value in seconds if value >= 0.0]),
    ):
        if some:
            least, most = some[0], some[-1]
            span = f"{least:.0f}" if most - least < 1.0 else f"{least:.0f} to {most:.0f}"
            ways.append(f"{span} s {way} the clock here")
    return " and ".join(ways)


REPEAT_TOLERANCE_S: Final = 10
"""What the sender may be late with its repetition. [s]"""

HEARTBEAT_PERIOD_S: Final = 10
"""Time between two heartbeats. [s]"""

MAX_MISSED_HEARTBEATS: Final = 3
"""Heartbeats that may be missing before the sender counts as silent. [1]"""

MAX_POINTS_LISTED: Final = 5
"""Points that are told of. [1]"""

HEARTBEAT_TOPIC_PART: Final = "/HeartbeatTimestampBms/"
"""Part of the names of points that are the plant's heartbeats."""


class PoorCoverage(TypedDict):
    """A point that was not heard all the time: its share of it [1], and missing repetitions."""

    point: str
    share: float
    gaps: int


@dataclass(slots=True)
class _Course:
    first: int
    last: int
    silent: int = 0
    gaps: int = 0


class _Pause(NamedTuple):
    """A time in which the sender was silent, and how much of such there was before. [s]"""

    start: int
    end: int
    before: int


@dataclass
class PointCoverage:
    """What was heard of points, and of their senders.

    Attributes
    ----------
    period
        Longest silence of a point that is well, without :data:`REPEAT_TOLERANCE_S`. [s]
    """

    period: int = int(REPEAT_PERIOD / np.timedelta64(1, "s"))
    _points: dict[str, _Course] = field(default_factory=dict)
    _beat: int | None = None
    _pauses: list[_Pause] = field(default_factory=list)

    def record_heartbeat(self, second: int) -> None:
        """Take down a heartbeat of the plant. [s since 1970]"""
        if (
            self._beat is not None
            and second - self._beat > MAX_MISSED_HEARTBEATS * HEARTBEAT_PERIOD_S
        ):
            before = self._paused_until(self._beat)
            self._pauses.append(_Pause(self._beat, second, before))
        self._beat = max(second, self._beat or second)

    def record(self, point: str, second: int) -> None:
        """Take down a value of a point, and whether it is a heartbeat. [s since 1970]"""
        if HEARTBEAT_TOPIC_PART in point:
            self.record_heartbeat(second)
        course = self._points.get(point)
        if course is None:
            self._points[point] = _Course(first=second, last=second)
            return
        if second > course.last:
            if (
                second - course.last > self.period + REPEAT_TOLERANCE_S
            ):  # pauses make a silence shorter only
                self._close(course, second)
            course.last = second

    def worst_points(self, now: int) -> list[PoorCoverage]:
        """Return the points that were covered least, the worst first; none that was heard whole.

        Parameters
        ----------
        now
            The moment, at which a silence may last. [s since 1970]
        """
        quiet = now - self.period - REPEAT_TOLERANCE_S
        poor = [
            PoorCoverage(point=point, share=self._share(course, now), gaps=gaps)
            for point, course in list(self._points.items())  # another thread may add
            if (course.gaps or course.last < quiet) and (gaps := self._gaps(course, now))
        ]
        return nsmallest(MAX_POINTS_LISTED, poor, key=lambda one: (one["share"], one["point"]))

    def summary(self, now: int) -> dict[str, object]:
        """Return how many points were heard, and the worst of them, ready for JSON."""
        return {"points": len(self._points), "worst": self.worst_points(now)}

    def _share(self, course: _Course, now: int) -> float:
        silent = course.silent + self._silence(course.last, now)
        total = max(now - course.first - self._paused(course.first, now), 1)
        return float(min(max(1.0 - silent / total, 0.0), 1.0))

    def _gaps(self, course: _Course, now: int) -> int:
        return course.gaps + -(-self._silence(course.last, now) // self.period)

    def _close(self, course: _Course, second: int) -> None:
        silent = self._silence(course.last, second)
        if silent:
            course.silent += silent
            course.gaps += -(-silent // self.period)

    def _silence(self, last: int, second: int) -> int:
        """Return how much longer than allowed a silence was, while the sender lived. [s]"""
        length = second - last - self._paused(last, second)
        return length - self.period if length > self.period + REPEAT_TOLERANCE_S else 0

    def _paused(self, first: int, last: int) -> int:
        return max(self._paused_until(last) - self._paused_until(first), 0)

    def _paused_until(self, second: int) -> int:
        """Return how long the sender was silent before a moment; there are years of pauses. [s]"""
        place = bisect_right(self._pauses, second, key=lambda pause: pause.start)
        if not place:
            return 0
        pause = self._pauses[place - 1]
        return pause.before + min(second, pause.end) - pause.start
