"""The recent past on a grid of equal intervals: means, and the greatest of some columns."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from twin.physics import FloatArray

_MICROSECOND: Final = np.timedelta64(1, "us")


@dataclass(slots=True)
class _Row:
    total: FloatArray
    count: FloatArray
    top: FloatArray


class Rows:
    """Sums of readings by interval, from the newest back over a depth.

    Parameters
    ----------
    means, tops
        Number of columns that are averaged, and of those whose greatest value is kept.
    depth
        How far back rows are kept.
    period
        Length of the intervals, which lie on whole multiples of it since 1970.
    """

    def __init__(
        self, means: int, tops: int, *, depth: np.timedelta64, period: np.timedelta64
    ) -> None:
        self._means = means
        self._tops = tops
        self._depth = _count(depth)
        self.period = period
        self._period = _count(period)
        self._rows: dict[int, _Row] = {}
        self._newest = 0

    def start_of(self, time: int) -> int:
        """Return the start of the interval that a reading closes or falls into. [us]"""
        return (time - 1) // self._period * self._period

    def add(self, column: int, time: int, value: float, *, latest: int) -> None:
        """Take a value into the mean of its column; what is later than a moment was never."""
        if self._newest > latest:
            self._rows = {start: row for start, row in self._rows.items() if start <= latest}
            self._newest = max(self._rows, default=0)
        row = self._row(time)
        row.total[column] += value
        row.count[column] += 1.0

    def add_top(self, column: int, time: int, value: float) -> None:
        """Take a value into the greatest of its column."""
        row = self._row(time)
        row.top[column] = max(row.top[column], value)

    def table(self, starts: np.ndarray) -> tuple[FloatArray, FloatArray]:
        """Return means and tops of intervals, by column; NaN where nothing was read.

        Parameters
        ----------
        starts
            Starts of the intervals. [us since 1970]
        """
        means = np.full((len(starts), self._means), np.nan)
        tops = np.full((len(starts), self._tops), np.nan)
        for place, start in enumerate(starts.tolist()):
            row = self._rows.get(start)
            if row is not None:
                means[place] = np.divide(
                    row.total, row.count, out=means[place], where=row.count > 0.0
                )
                tops[place] = np.where(np.isfinite(row.top), row.top, np.nan)
        return means, tops

    def starts(self, start: np.datetime64, end: np.datetime64) -> np.ndarray:
        """Return the starts of the intervals that cover a span. [us since 1970]"""
        first, last = (int(np.datetime64(t, "us").astype(np.int64)) for t in (start, end))
        begin = first // self._period * self._period
        return np.arange(begin, max(last, begin + 1), self._period, dtype=np.int64)

    def _row(self, time: int) -> _Row:
        start = self.start_of(time)
        row = self._rows.get(start)
        if row is None:
            row = _Row(np.zeros(self._means), np.zeros(self._means), np.full(self._tops, -np.inf))
            self._rows[start] = row
            self._newest = max(self._newest, start)
            oldest = self._newest - self._depth
            for old in [key for key in self._rows if key < oldest]:
                del self._rows[old]
        return row


def _count(span: np.timedelta64) -> int:
    return int(span / _MICROSECOND)
