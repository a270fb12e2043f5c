"""How much of what points said was heard: QoS 0 may lose it, the 100 s repetition tells.

A point speaks on change and at least every 100 s. So of each such period in which its sender was
alive, by its heartbeat, something should have been heard of it; a period without is a gap. What
was lost between two values of one period nobody can know.
"""

from bisect import bisect_right
from dataclasses import dataclass, field
from heapq import nsmallest
from typing import Final, NamedTuple, TypedDict

import numpy as np

from telemetry.samples import REPEATED

SPARE: Final = 10
"""What the sender may be late with its repetition. [s]"""

BEAT: Final = 10
"""Time between two heartbeats. [s]"""

MISSED: Final = 3
"""Heartbeats that may be missing before the sender counts as silent. [1]"""

WORST: Final = 5
"""Points that are told of. [1]"""

HEARTBEAT: Final = "/HeartbeatTimestampBms/"
"""Part of the names of points that are the plant's heartbeats."""


class Poor(TypedDict):
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
class Coverage:
    """What was heard of points, and of their senders.

    Attributes
    ----------
    period
        Longest silence of a point that is well, without :data:`SPARE`. [s]
    """

    period: int = int(REPEATED / np.timedelta64(1, "s"))
    _points: dict[str, _Course] = field(default_factory=dict)
    _beat: int | None = None
    _pauses: list[_Pause] = field(default_factory=list)

    def beat(self, second: int) -> None:
        """Take down a heartbeat of the plant. [s since 1970]"""
        if self._beat is not None and second - self._beat > MISSED * BEAT:
            before = self._paused_until(self._beat)
            self._pauses.append(_Pause(self._beat, second, before))
        self._beat = max(second, self._beat or second)

    def hear(self, point: str, second: int) -> None:
        """Take down a value of a point, and whether it is a heartbeat. [s since 1970]"""
        if HEARTBEAT in point:
            self.beat(second)
        course = self._points.get(point)
        if course is None:
            self._points[point] = _Course(first=second, last=second)
            return
        if second > course.last:
            if second - course.last > self.period + SPARE:  # pauses make a silence shorter only
                self._close(course, second)
            course.last = second

    def worst(self, now: int) -> list[Poor]:
        """Return the points that were covered least, the worst first; none that was heard whole.

        Parameters
        ----------
        now
            The moment, at which a silence may last. [s since 1970]
        """
        quiet = now - self.period - SPARE
        poor = [
            Poor(point=point, share=self._share(course, now), gaps=gaps)
            for point, course in list(self._points.items())  # another thread may add
            if (course.gaps or course.last < quiet) and (gaps := self._gaps(course, now))
        ]
        return nsmallest(WORST, poor, key=lambda one: (one["share"], one["point"]))

    def summary(self, now: int) -> dict[str, object]:
        """Return how many points were heard, and the worst of them, ready for JSON."""
        return {"points": len(self._points), "worst": self.worst(now)}

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
        return length - self.period if length > self.period + SPARE else 0

    def _paused(self, first: int, last: int) -> int:
        return max(self._paused_until(last) - self._paused_until(first), 0)

    def _paused_until(self, second: int) -> int:
        """Return how long the sender was silent before a moment; there are years of pauses. [s]"""
        place = bisect_right(self._pauses, second, key=lambda pause: pause.start)
        if not place:
            return 0
        pause = self._pauses[place - 1]
        return pause.before + min(second, pause.end) - pause.start
