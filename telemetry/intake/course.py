"""How far the time of a simulated plant has come, where no clock of ours tells what is too early.

A message that leaps ahead is believed once several in a row do, so that a plant may begin anew at
any date, and one wrong stamp among sound ones moves nothing.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from telemetry.archive.seconds import second_of
from telemetry.samples import PointValue, RackBatch, Sample, Tick

LEAP: Final = 86_400
"""How far one message may be ahead of what is believed. [s]"""

WITNESSES: Final = 3
"""Messages in a row that make a longer leap believed. [1]"""

AHEAD: Final = f"stamped over {LEAP} s ahead of the plant's time: wrong, or the first of a leap"
"""Why a message is passed over."""


class Course:
    """What is believed of one stream of messages.

    Parameters
    ----------
    newest
        Moment that is believed already; None to believe the first that comes. [s since 1970]
    """

    def __init__(self, newest: int | None = None) -> None:
        self._newest = newest
        self._is_ticking = False
        self._leaps: list[int] = []

    def hear(self, second: int, *, is_tick: bool = False) -> None:
        """Take down a stamp; once a plant ticks, its readings move the course no more.

        Parameters
        ----------
        second
            The stamp. [s since 1970]
        is_tick
            Whether a tick said so.
        """
        if self.allows(second):
            self._leaps = []
            if is_tick or not self._is_ticking:
                self._newest = second if self._newest is None else max(self._newest, second)
            self._is_ticking |= is_tick
            return
        self._leaps = [*(one for one in self._leaps if abs(one - second) <= LEAP), second]
        if len(self._leaps) >= WITNESSES:
            self._newest, self._is_ticking, self._leaps = max(self._leaps), is_tick, []

    def hear_all(self, seconds: NDArray[np.int64]) -> None:
        """Take down the stamps of many readings, in their order. [s since 1970]"""
        if len(seconds) and self.allows(int(seconds.max())):
            self.hear(int(seconds.max()))
            return
        for second in seconds.tolist():
            self.hear(second)

    def hear_sample(self, sample: Sample) -> None:
        """Take down the stamp of a reading or of a tick."""
        if isinstance(sample, PointValue | RackBatch | Tick):
            self.hear(second_of(sample.time), is_tick=isinstance(sample, Tick))

    def allows(self, second: int) -> bool:
        """Return whether a stamp may be believed. [s since 1970]"""
        return self._newest is None or second <= self._newest + LEAP

    def believes(self, sample: Sample) -> bool:
        """Return whether a sample may be believed, as far as its stamp tells."""
        if not isinstance(sample, PointValue | RackBatch | Tick):
            return True
        return self.allows(second_of(sample.time))

    def some(self, seconds: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which stamps may be believed. [s since 1970]"""
        if self._newest is None:
            return np.ones(seconds.shape, dtype=np.bool_)
        return np.asarray(seconds <= self._newest + LEAP)
