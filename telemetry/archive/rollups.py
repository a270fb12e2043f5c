"""Least, mean and greatest value, and how many there were, of equal spans of time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from telemetry.archive.blocks import Values
from telemetry.archive.layout import Level
from telemetry.archive.plan import Numbers

type Floats = NDArray[np.floating]

PARTS: Final = 4096
"""More than the seconds of an hour, and a power of two: no total overflows, no mean is rounded."""


@dataclass(frozen=True, kw_only=True)
class Rolled:
    """Statistics of spans, each (span, label) or (span, label, chip).

    Attributes
    ----------
    starts
        Of the spans. [s since 1970]
    least, total, greatest
        Of the values; NaN, 0 and NaN where there were none. In their unit, the total divided by
        :data:`PARTS`.
    count
        How many there were. [1]
    """

    starts: Numbers
    least: Floats
    total: NDArray[np.float64]
    greatest: Floats
    count: NDArray[np.int64]

    @classmethod
    def of(cls, values: Floats, seconds: Numbers, level: Level) -> Self:
        """Return the statistics of values.

        Parameters
        ----------
        values
            NaN where nothing is believed; (second, label) or (second, label, chip).
        seconds
            Of their rows, in rising order. [s since 1970]
        level
            How long the spans are.
        """
        is_there = np.isfinite(values)
        filled = np.where(is_there, values, values.dtype.type(0))
        parts = PARTS
        if filled.dtype == np.float64:  # float32 is added up with room to spare
            filled /= PARTS
            parts = 1
        starts, edges = _edges(seconds, level)
        if len(seconds) == len(starts) * level.step:  # none is missing: ten times as fast
            shape = (len(starts), level.step, *values.shape[1:])
            count = np.add.reduce(is_there.reshape(shape), axis=1, dtype=np.uint16)
            return cls(
                starts=starts,
                least=np.fmin.reduce(values.reshape(shape), axis=1),
                total=np.add.reduce(filled.reshape(shape), axis=1, dtype=np.float64) / parts,
                greatest=np.fmax.reduce(values.reshape(shape), axis=1),
                count=count.astype(np.int64),
            )
        return cls(
            starts=starts,
            least=np.fmin.reduceat(values, edges, axis=0),
            total=np.add.reduceat(filled, edges, axis=0, dtype=np.float64) / parts,
            greatest=np.fmax.reduceat(values, edges, axis=0),
            count=np.add.reduceat(is_there, edges, axis=0, dtype=np.int64),
        )

    @classmethod
    def beside(cls, parts: Sequence[Self]) -> Self:
        """Return the statistics of the same spans of several labels side by side."""
        arrays = {
            name: np.concatenate([getattr(part, name) for part in parts], axis=1)
            for name in ("least", "total", "greatest", "count")
        }
        return cls(starts=parts[0].starts, **arrays)

    def coarser(self, level: Level) -> "Rolled":
        """Return the statistics of longer spans."""
        starts, edges = _edges(self.starts, level)
        return Rolled(
            starts=starts,
            least=np.fmin.reduceat(self.least, edges, axis=0),
            total=np.add.reduceat(self.total, edges, axis=0),
            greatest=np.fmax.reduceat(self.greatest, edges, axis=0),
            count=np.add.reduceat(self.count, edges, axis=0),
        )

    def arrays(self) -> dict[str, Values]:
        """Return what is stored, by statistic."""
        mean = np.full(self.total.shape, np.nan)
        with np.errstate(over="ignore"):  # by a rounding; no mean is beyond what it is the mean of
            np.divide(self.total, self.count / PARTS, out=mean, where=self.count > 0)
        return {
            "min": self.least,
            "mean": np.clip(mean.astype(self.least.dtype), self.least, self.greatest),
            "max": self.greatest,
            "count": self.count.astype(np.uint16),
        }


def _edges(seconds: Numbers, level: Level) -> tuple[Numbers, Numbers]:
    """Return the starts of the spans that have rows, and the first row of each."""
    spans = seconds // level.step * level.step
    edges = np.flatnonzero(np.diff(spans, prepend=spans[0] - 1))
    return spans[edges], edges
