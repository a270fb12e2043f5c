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
    repeats
        How often it came again since, while the stock (stood still, moved). [1]
    reading_pairs, repeated_pairs
        Readings of before that had one before them, and those of them that were the same, while
        the stock (stood still, moved). [1]
    """

    reading: float = np.nan
    since: np.datetime64 = field(default_factory=lambda: np.datetime64("NaT", "us"))
    repeats: tuple[int, int] = (0, 0)
    reading_pairs: tuple[int, int] = (0, 0)
    repeated_pairs: tuple[int, int] = (0, 0)

    @property
    def is_stuck(self) -> bool:
        """Whether the run of repeated readings is too long to be its habit."""
        chance = 1.0
        for run, pairs, again in zip(
            self.repeats, self.reading_pairs, self.repeated_pairs, strict=True
        ):
            if pairs >= MIN_READINGS:
                chance *= ((1.0 + again) / (2.0 + pairs)) ** run
        return chance < STUCK_PROBABILITY

    def updated(self, measurement: float, now: np.datetime64, *, is_moving: bool) -> Self:
        """Return the habit after a reading; of a missing one nothing is learned.

        Parameters
        ----------
        measurement
            The reading. [unit of the stock]
        now
            When.
        is_moving
            Whether the stock has moved since the reading before, by the model, further than the
            sensor errs.
        """
        if np.isnan(measurement):
            return self
        if np.isnan(self.reading):
            return replace(self, reading=measurement, since=now)
        if measurement == self.reading:
            return replace(self, repeats=_plus(self.repeats, is_moving))
        pairs = (self.reading_pairs[0] + self.repeats[0], self.reading_pairs[1] + self.repeats[1])
        again = (self.repeated_pairs[0] + self.repeats[0], self.repeated_pairs[1] + self.repeats[1])
        if self.is_stuck:  # what a fault shows is no habit
            pairs, again = self.reading_pairs, self.repeated_pairs
        return replace(
            self,
            reading=measurement,
            since=now,
            repeats=(0, 0),
            reading_pairs=_plus(pairs, is_moving),
            repeated_pairs=again,
        )


def _plus(counts: tuple[int, int], which: bool) -> tuple[int, int]:
    return counts[0] + (not which), counts[1] + which
