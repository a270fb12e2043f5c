"""Whether a sensor is stuck: it shows one number to the last digit, which is not its habit.

A sensor may well show the same number twice: the battery rests, and its display has two digits.
What counts is how often this one did so before, apart for hours in which the stock by the model
stands still and in which it moves.
"""

from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np

STUCK_PROBABILITY: Final = 1e-4
"""Probability of a run of repeated readings from which the sensor is stuck. [1]"""

MIN_READINGS: Final = 16
"""Readings that make a habit. [1]"""


@dataclass(frozen=True, kw_only=True)
class StuckDetector:
    """What a sensor has shown.

    Attributes
    ----------
    reading
        The last one. [unit of the stock]
    since
        When it was shown first.
    run
        How often it came again since, while the stock (stood still, moved). [1]
    pairs, again
        Readings of before that had one before them, and those of them that were the same, while
        the stock (stood still, moved). [1]
    """

    reading: float = np.nan
    since: np.datetime64 = field(default_factory=lambda: np.datetime64("NaT", "us"))
    run: tuple[int, int] = (0, 0)
    pairs: tuple[int, int] = (0, 0)
    again: tuple[int, int] = (0, 0)

    @property
    def is_stuck(self) -> bool:
        """Whether the run of repeated readings is too long to be its habit."""
        chance = 1.0
        for run, pairs, again in zip(self.run, self.pairs, self.again, strict=True):
            if pairs >= MIN_READINGS:
                chance *= ((1.0 + again) / (2.0 + pairs)) ** run
        return chance < STUCK_PROBABILITY

    def then(self, seen: float, now: np.datetime64, *, is_moving: bool) -> Self:
        """Return the habit after a reading; of a missing one nothing is learned.

        Parameters
        ----------
        seen
            The reading. [unit of the stock]
        now
            When.
        is_moving
            Whether the stock has moved since the reading before, by the model, further than the
            sensor errs.
        """
        if np.isnan(seen):
            return self
        if np.isnan(self.reading):
            return replace(self, reading=seen, since=now)
        if seen == self.reading:
            return replace(self, run=_plus(self.run, is_moving))
        pairs = (self.pairs[0] + self.run[0], self.pairs[1] + self.run[1])
        again = (self.again[0] + self.run[0], self.again[1] + self.run[1])
        if self.is_stuck:  # what a fault shows is no habit
            pairs, again = self.pairs, self.again
        return replace(
            self, reading=seen, since=now, run=(0, 0), pairs=_plus(pairs, is_moving), again=again
        )


def _plus(counts: tuple[int, int], which: bool) -> tuple[int, int]:
    return counts[0] + (not which), counts[1] + which
