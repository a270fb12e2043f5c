"""Refusal of leaps in the time of a simulated plant, where no clock shows what is too early.

A leap is accepted once several messages in a row confirm it. So a plant may restart at any date,
and one wrong stamp among right ones has no effect.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from telemetry.archive.commit_batch import epoch_second
from telemetry.messages.samples import PointValue, RackBatch, Sample, SimulationTick

MAX_TIME_LEAP_S: Final = 86_400
"""Largest lead of one message over the watermark. [s]"""

TIME_LEAP_CONFIRMATION_COUNT: Final = 3
"""Messages in a row that confirm a longer leap. [1]"""

TIME_LEAP_REASON: Final = (
    f"stamped over {MAX_TIME_LEAP_S} s ahead of the plant's time: wrong, or the first of a leap"
)
"""Why such a message is not archived."""


class SimTimeWatermark:
    """Newest accepted time of one stream of messages.

    ``newest`` is an accepted time; None to accept the first message. [s since 1970]
    """

    def __init__(self, newest: int | None = None) -> None:
        self._newest = newest
        self._is_ticking = False
        self._leaps: list[int] = []

    def observe(self, second: int, *, is_tick: bool = False) -> None:
        """Record a time [s since 1970]; once a plant ticks, only ticks move the watermark."""
        if self.accepts_second(second):
            self._leaps = []
            if is_tick or not self._is_ticking:
                self._newest = second if self._newest is None else max(self._newest, second)
            self._is_ticking |= is_tick
            return
        self._leaps = [
            *(one for one in self._leaps if abs(one - second) <= MAX_TIME_LEAP_S),
            second,
        ]
        if len(self._leaps) >= TIME_LEAP_CONFIRMATION_COUNT:
            self._newest, self._is_ticking, self._leaps = max(self._leaps), is_tick, []

    def observe_all(self, seconds: NDArray[np.int64]) -> None:
        """Record the times of many readings, in order. [s since 1970]"""
        if len(seconds) and self.accepts_second(int(seconds.max())):
            self.observe(int(seconds.max()))
            return
        for second in seconds.tolist():
            self.observe(second)

    def observe_sample(self, sample: Sample) -> None:
        """Record the time of a reading or of a tick."""
        if isinstance(sample, PointValue | RackBatch | SimulationTick):
            self.observe(epoch_second(sample.time), is_tick=isinstance(sample, SimulationTick))

    def accepts_second(self, second: int) -> bool:
        """Return whether a time is accepted. [s since 1970]"""
        return self._newest is None or second <= self._newest + MAX_TIME_LEAP_S

    def accepts(self, sample: Sample) -> bool:
        """Return whether a sample is accepted by its time."""
        if not isinstance(sample, PointValue | RackBatch | SimulationTick):
            return True
        return self.accepts_second(epoch_second(sample.time))
