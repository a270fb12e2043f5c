"""The chips of all racks of one second, as they were heard; the store has them side by side."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

type Chips = NDArray[np.float32]
"""Values of one rack: (variable, chip)."""

type Stamps = NDArray[np.int16]
type Numbers = NDArray[np.int64]

UNHEARD: Final = -1

STEP: Final = 64
"""Columns by which a slab grows."""

STRIP_BYTES: Final = 400
"""What a strip takes in memory beside its values. [B]"""


class _Strip(NamedTuple):
    """Values of racks of equally many chips, (rack, variable, chip), and their columns."""

    columns: Numbers
    values: Chips


class Slab:
    """Values of one second.

    Racks are kept as they came: one that has more chips than the others, or that catches up alone,
    takes no more room than it needs.

    Attributes
    ----------
    first
        The first column that may have been heard.
    deep
        Most chips of a rack.
    stamps
        When in its second each column from the first on was heard, -1 where it was not. [ms]
    size
        What the values take in memory. [B]
    """

    def __init__(self) -> None:
        self.first = 0
        self.deep = 0
        self.stamps = _unheard(0)
        self._strips: list[_Strip] = []
        self.size = 0

    @property
    def is_empty(self) -> bool:
        """Whether no rack was put."""
        return not self._strips

    @property
    def end(self) -> int:
        """The column behind the last."""
        return self.first + len(self.stamps)

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
        self._reach(column, column + 1)
        at = column - self.first
        held = int(self.stamps[at])
        if held <= stamp:
            self._keep(_Strip(np.array([column]), values[None].copy()))
            self.stamps[at] = stamp
        return held not in (UNHEARD, stamp)

    def put_many(self, columns: Numbers, values: Chips, stamps: Stamps) -> int:
        """Write the values of racks of equally many chips, (rack, variable, chip); see `put`.

        Returns
        -------
        int
            How many met others of their rack, of another moment of the second.
        """
        self._reach(int(columns.min()), int(columns.max()) + 1)
        at = columns - self.first
        places = np.empty(len(self.stamps), dtype=np.int64)
        order = np.arange(len(at))
        places[at] = order
        if (self.stamps[at] != UNHEARD).any() or (places[at] != order).any():
            rows = zip(columns.tolist(), values, stamps.tolist(), strict=True)
            return sum(self.put(column, one, stamp) for column, one, stamp in rows)
        self._keep(_Strip(columns, values))
        self.stamps[at] = stamps
        return 0

    def update(self, later: "Slab") -> None:
        """Write down what another slab has, of each rack the newer batch as a whole."""
        if later.is_empty:
            return
        self._reach(later.first, later.end)
        here = slice(later.first - self.first, later.end - self.first)
        is_newer = (later.stamps != UNHEARD) & (later.stamps >= self.stamps[here])
        for columns, values in later._strips:
            mine = is_newer[columns - later.first]
            if mine.any():
                self._keep(_Strip(columns[mine], values[mine]))
        self.stamps[here] = np.maximum(self.stamps[here], later.stamps)

    def write(self, variable: int, *, into: Chips, first: int) -> None:
        """Write the values of a variable where they belong.

        Parameters
        ----------
        variable
            Its place.
        into
            (column, chip), of enough chips; columns that it does not have are left out.
        first
            Its first column.
        """
        self._strips = _joined(self._strips)
        for columns, values in self._strips:
            at, said = columns - first, values[:, variable]
            is_here = (at >= 0) & (at < len(into))
            if not is_here.all():
                at, said = at[is_here], said[is_here]
            into[at, : said.shape[1]] = said
            into[at, said.shape[1] :] = np.nan  # chips of two batches are no batch

    def _keep(self, strip: _Strip) -> None:
        self._strips.append(strip)
        self.size += strip.values.nbytes + STRIP_BYTES
        self.deep = max(self.deep, strip.values.shape[2])

    def _reach(self, first: int, end: int) -> None:
        """Make room for the stamps of columns, the last not included."""
        if not len(self.stamps):
            self.first, self.stamps = first, _unheard(end - first)
            return
        if self.first <= first and end <= self.end:
            return
        start = self.first if self.first <= first else first // STEP * STEP
        stop = self.end if end <= self.end else -(-end // STEP) * STEP
        stamps = _unheard(stop - start)
        stamps[self.first - start : self.end - start] = self.stamps
        self.first, self.stamps = start, stamps


def _joined(strips: list[_Strip]) -> list[_Strip]:
    """Return one strip for each number of chips, of each rack in them what was kept last."""
    if len(strips) <= 1:
        return strips
    columns = np.concatenate([one.columns for one in reversed(strips)])
    is_last = np.zeros(len(columns), dtype=np.bool_)
    is_last[np.unique(columns, return_index=True)[1]] = True
    found: dict[int, list[_Strip]] = {}
    end = 0
    for one in reversed(strips):
        mine = is_last[end : (end := end + len(one.columns))]
        if mine.any():
            kept = one if mine.all() else _Strip(one.columns[mine], one.values[mine])
            found.setdefault(one.values.shape[2], []).append(kept)
    return [
        _Strip(
            np.concatenate([one.columns for one in some]),
            np.concatenate([one.values for one in some]),
        )
        for some in found.values()
    ]


def _unheard(columns: int) -> Stamps:
    return np.full(columns, UNHEARD, dtype=np.int16)
