"""The chips of all racks of one second, side by side as the store has them."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from telemetry.archive.layout import VARIABLES

type Chips = NDArray[np.float32]
"""Values of one rack: (variable, chip)."""

type Stamps = NDArray[np.int16]
type Numbers = NDArray[np.int64]

UNHEARD: Final = -1

STEP: Final = 64
"""Columns by which a slab grows."""

_ROWS: Final = len(VARIABLES["racks"])


class Slab:
    """Values of one second, (variable, rack, chip), NaN where nothing was heard.

    Attributes
    ----------
    values
        With some columns to spare.
    first
        Column of the first of them: one rack alone, such as one that catches up, takes no more
        room than it needs.
    stamps
        When in its second each column was heard, -1 where it was not. [ms]
    """

    def __init__(self) -> None:
        self.values = _empty(0, 0)
        self.first = 0
        self.stamps = _unheard(0)

    @property
    def size(self) -> int:
        """What it takes in memory. [B]"""
        return self.values.nbytes

    @property
    def is_empty(self) -> bool:
        """Whether no rack was put."""
        return not self.values.size

    @property
    def end(self) -> int:
        """The column behind the last."""
        return self.first + int(self.values.shape[1])

    def put(self, column: int, values: Chips, stamp: int = 0) -> bool:
        """Write the values of one rack down, unless newer ones of this second are there.

        Parameters
        ----------
        column, values
            Of the rack.
        stamp
            When in the second it was. [ms]

        Returns
        -------
        bool
            Whether there were others, of another moment of the second.
        """
        self.grow(column, column + 1, values.shape[1])
        at = column - self.first
        held = int(self.stamps[at])
        if held <= stamp:
            self.values[:, at, : values.shape[1]] = values
            self.stamps[at] = stamp
        return held not in (UNHEARD, stamp)

    def put_many(self, columns: Numbers, values: Chips, stamps: Stamps) -> int:
        """Write the values of racks of equally many chips, (rack, variable, chip); see `put`.

        Returns
        -------
        int
            How many met others of their rack, of another moment of the second.
        """
        self.grow(int(columns.min()), int(columns.max()) + 1, values.shape[2])
        at = columns - self.first
        places = np.empty(len(self.stamps), dtype=np.int64)
        order = np.arange(len(at))
        places[at] = order
        if (self.stamps[at] != UNHEARD).any() or (places[at] != order).any():
            rows = zip(columns.tolist(), values, stamps.tolist(), strict=True)
            return sum(self.put(column, one, stamp) for column, one, stamp in rows)
        self.values[:, at, : values.shape[2]] = values.transpose(1, 0, 2)
        self.stamps[at] = stamps
        return 0

    def update(self, later: "Slab") -> None:
        """Write down what another slab has."""
        if later.is_empty:
            return
        self.grow(later.first, later.end, later.values.shape[2])
        here = slice(later.first - self.first, later.end - self.first)
        target = self.values[:, here, : later.values.shape[2]]
        np.copyto(target, later.values, where=~np.isnan(later.values))
        self.stamps[here] = np.maximum(self.stamps[here], later.stamps)

    def grow(self, first: int, end: int, chips: int) -> None:
        """Make room for columns, the last not included."""
        _, held, deep = self.values.shape
        if not held:
            self.first, self.values = first, _empty(end - first, chips)
            self.stamps = _unheard(end - first)
            return
        if self.first <= first and end <= self.end and chips <= deep:
            return
        start = self.first if self.first <= first else first // STEP * STEP
        stop = self.end if end <= self.end else -(-end // STEP) * STEP
        grown = _empty(stop - start, max(chips, deep))
        here = slice(self.first - start, self.end - start)
        grown[:, here, :deep] = self.values
        stamps = _unheard(stop - start)
        stamps[here] = self.stamps
        self.first, self.values, self.stamps = start, grown, stamps


def _empty(columns: int, chips: int) -> NDArray[np.float32]:
    return np.full((_ROWS, columns, chips), np.nan, dtype=np.float32)


def _unheard(columns: int) -> Stamps:
    return np.full(columns, UNHEARD, dtype=np.int16)
