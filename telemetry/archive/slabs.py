"""The chips of all racks of one second, side by side as the store has them."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from telemetry.archive.layout import VARIABLES

type Chips = NDArray[np.float32]
"""Values of one rack: (variable, chip)."""

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
    """

    def __init__(self) -> None:
        self.values = _empty(0, 0)
        self.first = 0

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

    def put(self, column: int, values: Chips) -> None:
        """Write the values of one rack down."""
        self.grow(column, column + 1, values.shape[1])
        self.values[:, column - self.first, : values.shape[1]] = values

    def put_many(self, columns: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        """Write the values of many racks of equally many chips, (rack, variable, chip)."""
        self.grow(int(columns.min()), int(columns.max()) + 1, values.shape[2])
        self.values[:, columns - self.first, : values.shape[2]] = values.transpose(1, 0, 2)

    def update(self, later: "Slab") -> None:
        """Write down what another slab has."""
        if later.is_empty:
            return
        self.grow(later.first, later.end, later.values.shape[2])
        here = slice(later.first - self.first, later.end - self.first)
        target = self.values[:, here, : later.values.shape[2]]
        np.copyto(target, later.values, where=~np.isnan(later.values))

    def grow(self, first: int, end: int, chips: int) -> None:
        """Make room for columns, the last not included."""
        _, held, deep = self.values.shape
        if not held:
            self.first, self.values = first, _empty(end - first, chips)
            return
        if self.first <= first and end <= self.end and chips <= deep:
            return
        start = self.first if self.first <= first else first // STEP * STEP
        stop = self.end if end <= self.end else -(-end // STEP) * STEP
        grown = _empty(stop - start, max(chips, deep))
        grown[:, self.first - start : self.end - start, :deep] = self.values
        self.first, self.values = start, grown


def _empty(columns: int, chips: int) -> NDArray[np.float32]:
    return np.full((_ROWS, columns, chips), np.nan, dtype=np.float32)
