"""What equations miss where no values keep all rows, and which limits are why."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from optimizer.compile.arrays import Arrays, IntArray
from optimizer.solve.linear import Answer, Solver
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray

PRICED: Final = 1e-6
"""Rise of what is missed with a limit below which it is not why. [1]"""


@dataclass(frozen=True, kw_only=True)
class Lack:
    """What equations miss, in sum as little as can be, and what would lessen that.

    Attributes
    ----------
    missed
        What each of them lacks, negative where it is too much.
    rows
        Rows that would lessen it if they gave way, those equations among them.
    low, high
        The same of lower and upper bounds of columns.
    """

    missed: FloatArray
    rows: IntArray
    low: IntArray
    high: IntArray


def can_be_kept(arrays: Arrays) -> bool:
    """Return whether any values keep all rows, at whatever cost.

    Parameters
    ----------
    arrays
        The model.
    """
    return Solver(arrays, dict.fromkeys(arrays.accounts.names, 0.0)).run() is not None


class Lacking:
    """A model some of whose equations may be missed, at a price of 1 for each unit.

    Nothing else is paid, so that what is missed is missed for want of values and not for money. By
    duality all that would lessen it has a price, and what has none is not why: one solve tells
    both, of all conflicts that there are.

    Parameters
    ----------
    arrays
        The model.
    rows
        The equations.
    """

    def __init__(self, arrays: Arrays, rows: IntArray) -> None:
        self._rows = rows.astype(np.int32)
        self._columns = len(arrays.column_low)
        self._solver = Solver(arrays, dict.fromkeys(arrays.accounts.names, 0.0))
        self._solver.may_miss(self._rows)

    def least(self, may: BoolArray | None = None) -> Lack | None:
        """Return what is missed, in sum as little as can be.

        Parameters
        ----------
        may
            Which of the equations may be missed; all if None.

        Returns
        -------
        Lack or None
            Nothing if other rows cannot be kept either.
        """
        count = len(self._rows)
        if may is not None:
            most = np.tile(np.where(may, np.inf, 0.0), 2)
            places = self._columns + np.arange(2 * count, dtype=np.int32)
            self._solver.bound(places, np.zeros(2 * count), high=most)
        found = self._solver.run()
        return None if found is None else self._told(found)

    def _told(self, found: Answer) -> Lack:
        added = found.values[self._columns :].reshape(2, len(self._rows))
        prices = found.reduced_costs[: self._columns]
        return Lack(
            missed=np.array([1.0, -1.0]) @ added,
            rows=np.flatnonzero(np.abs(found.duals) > PRICED).astype(np.int32),
            low=np.flatnonzero(prices > PRICED).astype(np.int32),
            high=np.flatnonzero(prices < -PRICED).astype(np.int32),
        )
