"""How much of what points said was heard: QoS 0 may lose it, the 100 s repetition tells.

A point speaks on change and at least every 100 s. So of each such period in which its sender was
alive, by its heartbeat, something should have been heard of it; a period without is a gap. What
was lost between two values of one period nobody can know.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from telemetry.samples import REPEATED

SPARE: Final = 10
"""What the sender may be late with its repetition. [s]"""

BEAT: Final = 10
"""Time between two heartbeats. [s]"""

MISSED: Final = 3
"""Heartbeats that may be missing before the sender counts as silent. [1]"""


@dataclass(slots=True)
class _Course:
    first: int
    last: int
    silent: int = 0
    gaps: int = 0


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
    _pauses: list[tuple[int, int]] = field(default_factory=list)

    def beat(self, second: int) -> None:
        """Take down a heartbeat of the plant. [s since 1970]"""
        if self._beat is not None and second - self._beat > MISSED * BEAT:
            self._pauses.append((self._beat, second))
        self._beat = max(second, self._beat or second)

    def hear(self, point: str, second: int) -> None:
        """Take down a value of a point. [s since 1970]"""
        course = self._points.get(point)
        if course is None:
            self._points[point] = _Course(first=second, last=second)
            return
        if second <= course.last:
            return
        self._close(course, second)
        course.last = second

    def shares(self, now: int) -> Mapping[str, float]:
        """Return the share of its time that each point was covered.

        Parameters
        ----------
        now
            The moment. [s since 1970]

        Returns
        -------
        Mapping of str to float
            Point -> 1 less its silence beyond a period, while its sender lived. [1]
        """
        found = {}
        for point, course in self._points.items():
            silent = course.silent + self._silence(course.last, now)
            total = max(now - course.first - self._paused(course.first, now), 1)
            found[point] = float(np.clip(1.0 - silent / total, 0.0, 1.0))
        return found

    @property
    def gaps(self) -> Mapping[str, int]:
        """Point -> repetitions that were missing at least, where any were."""
        return {point: one.gaps for point, one in self._points.items() if one.gaps}

    @property
    def pauses(self) -> int:
        """How often the plant's heart stood still."""
        return len(self._pauses)

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
        return sum(max(min(last, end) - max(first, start), 0) for start, end in self._pauses)
