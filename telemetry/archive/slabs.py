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
    """

    def __init__(self, columns: int = 0, chips: int = 0) -> None:
        self.values = _empty(columns, chips)

    @property
    def size(self) -> int:
        """What it takes in memory. [B]"""
        return self.values.nbytes

    @property
    def is_empty(self) -> bool:
        """Whether no rack was put."""
        return not self.values.size

    def put(self, column: int, values: Chips) -> None:
        """Write the values of one rack down."""
        self.grow(column + 1, values.shape[1])
        self.values[:, column, : values.shape[1]] = values

    def put_many(self, columns: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        """Write the values of many racks of equally many chips, (rack, variable, chip)."""
        self.grow(int(columns.max()) + 1, values.shape[2])
        self.values[:, columns, : values.shape[2]] = values.transpose(1, 0, 2)

    def update(self, later: "Slab") -> None:
        """Write down what another slab has."""
        _, columns, chips = later.values.shape
        self.grow(columns, chips)
        target = self.values[:, :columns, :chips]
        np.copyto(target, later.values, where=~np.isnan(later.values))

    def grow(self, columns: int, chips: int) -> None:
        """Make room."""
        _, held, deep = self.values.shape
        if columns <= held and chips <= deep:
            return
        wide = held if columns <= held else -(-columns // STEP) * STEP
        grown = _empty(wide, max(chips, deep))
        grown[:, :held, :deep] = self.values
        self.values = grown


def _empty(columns: int, chips: int) -> NDArray[np.float32]:
    return np.full((_ROWS, columns, chips), np.nan, dtype=np.float32)
