"""A linear model as bare arrays, with the names of its rows, columns and accounts kept."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twin.physics import FloatArray
from twin.physics.numerics import BoolArray

type IntArray = NDArray[np.int32]
type Pieces = NDArray[np.int64]
"""Numbers of pieces of curves, and of ways of stores."""


@dataclass(frozen=True, kw_only=True)
class Accounts:
    """What the accounts pay for each column, one entry for each pair that occurs.

    Attributes
    ----------
    names
        Accounts.
    which, column
        Account and column of each entry.
    cost
        What the account pays for one unit of the column.
    offset
        What each account pays in any case.
    """

    names: tuple[str, ...]
    which: IntArray
    column: IntArray
    cost: FloatArray
    offset: FloatArray

    def weighted(self, prices: Mapping[str, float], columns: int) -> tuple[FloatArray, float]:
        """Return the cost of every column and the constant, all accounts weighted. [EUR]

        Parameters
        ----------
        prices
            Account -> price of its unit.
        columns
            Number of columns.
        """
        price = np.array([prices[name] for name in self.names])
        paid = np.bincount(self.column, weights=price[self.which] * self.cost, minlength=columns)
        return paid, float(price @ self.offset)


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """A linear model: least weighted sum of accounts, rows and columns within their bounds.

    Attributes
    ----------
    start, index, value
        Rows of the matrix, compressed.
    accounts
        What is paid.
    column_low, column_high, row_low, row_high
        Bounds.
    is_integer
        Columns that take whole numbers only.
    step
        Interval that a column belongs to.
    columns, rows
        ``block.component`` -> positions, shaped as its index sets.
    """

    start: IntArray
    index: IntArray
    value: FloatArray
    accounts: Accounts
    column_low: FloatArray
    column_high: FloatArray
    row_low: FloatArray
    row_high: FloatArray
    is_integer: BoolArray
    step: IntArray
    columns: Mapping[str, IntArray]
    rows: Mapping[str, IntArray]

    def paid(self, values: FloatArray, prices: Mapping[str, float]) -> dict[str, FloatArray]:
        """Return what each account pays in each interval; constants stand in the last one. [EUR]

        Parameters
        ----------
        values
            Value of every column.
        prices
            Account -> price of its unit.
        """
        book, steps = self.accounts, int(self.step.max()) + 1
        place = book.which.astype(np.int64) * steps + self.step[book.column]
        each = np.bincount(
            place, weights=book.cost * values[book.column], minlength=len(book.names) * steps
        ).reshape(len(book.names), steps)
        each[:, -1] += book.offset
        return {name: prices[name] * each[i] for i, name in enumerate(book.names)}
