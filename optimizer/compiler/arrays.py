"""Slots: where the numbers of a problem land in one array, and with which factor.

A linear model as bare arrays, with the names of its rows, columns and accounts kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from twin.physics import FloatArray
from twin.physics.numerics import BoolArray

type IntArray = NDArray[np.int32]
type SegmentNumbers = NDArray[np.int64]
"""Numbers of pieces of curves, and of ways of stores."""


@dataclass(frozen=True, kw_only=True)
class AccountCosts:
    """What the accounts pay for each column, one entry for each pair that occurs.

    Attributes
    ----------
    names
        Accounts.
    account, column
        Account and column of each entry.
    cost
        What the account pays for one unit of the column.
    offset
        What each account pays in any case.
    """

    names: tuple[str, ...]
    account: IntArray
    column: IntArray
    cost: FloatArray
    offset: FloatArray

    def weighted(
        self, account_weights: Mapping[str, float], columns: int
    ) -> tuple[FloatArray, float]:
        """Return the cost of every column and the constant, all accounts weighted. [EUR]

        Parameters
        ----------
        account_weights
            Account -> price of its unit.
        columns
            Number of columns.
        """
        price = np.array([account_weights[name] for name in self.names])
        paid = np.bincount(self.column, weights=price[self.account] * self.cost, minlength=columns)
        return paid, float(price @ self.offset)


@dataclass(frozen=True, kw_only=True)
class ModelArrays:
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
    accounts: AccountCosts
    column_low: FloatArray
    column_high: FloatArray
    row_low: FloatArray
    row_high: FloatArray
    is_integer: BoolArray
    step: IntArray
    columns: Mapping[str, IntArray]
    rows: Mapping[str, IntArray]

    def cost_by_account(
        self, values: FloatArray, account_weights: Mapping[str, float]
    ) -> dict[str, FloatArray]:
        """Return what each account pays in each interval; constants stand in the last one. [EUR]

        Parameters
        ----------
        values
            Value of every column.
        account_weights
            Account -> price of its unit.
        """
        book, steps = self.accounts, int(self.step.max()) + 1
        place = book.account.astype(np.int64) * steps + self.step[book.column]
        each = np.bincount(
            place, weights=book.cost * values[book.column], minlength=len(book.names) * steps
        ).reshape(len(book.names), steps)
        each[:, -1] += book.offset
        return {name: account_weights[name] * each[i] for i, name in enumerate(book.names)}


MAX_PARAMETERS_PER_TERM = 2
"""Most parameters that a term may multiply. [1]"""

type Positions = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class AffineTerms:
    """Terms of one array, at positions that may repeat: a factor times two inputs.

    Attributes
    ----------
    target
        Position in the array.
    factor
        Constant.
    first, second
        Positions of the inputs; the last input is 1.
    """

    target: Positions
    factor: FloatArray
    first: Positions
    second: Positions

    def with_targets(self, target: Positions) -> "AffineTerms":
        """Return the same entries at other positions."""
        return replace(self, target=target)

    @staticmethod
    def concatenate(parts: "list[AffineTerms]") -> "AffineTerms":
        """Return several as one, in their order."""
        if not parts:
            none = np.empty(0, dtype=np.int64)
            return AffineTerms(target=none, factor=np.empty(0), first=none, second=none)
        return AffineTerms(
            target=np.concatenate([part.target for part in parts]),
            factor=np.concatenate([part.factor for part in parts]),
            first=np.concatenate([part.first for part in parts]),
            second=np.concatenate([part.second for part in parts]),
        )


@dataclass(frozen=True, kw_only=True)
class AffineMap:
    """One array as a function of the inputs: constants, and sums of products of inputs.

    Attributes
    ----------
    base
        The array where no input lands; zero elsewhere.
    targets
        Positions on which inputs land, each once.
    entries
        What lands; their targets are positions among ``targets``.
    """

    base: FloatArray
    targets: Positions
    entries: AffineTerms

    @staticmethod
    def from_terms(entries: AffineTerms, size: int, one: int) -> "AffineMap":
        """Return the slots of an array.

        Parameters
        ----------
        entries
            All terms of the array.
        size
            Its length.
        one
            Position of the input that is always 1.
        """
        is_fed = np.zeros(size, dtype=bool)
        is_fed[entries.target[entries.first != one]] = True
        fed = is_fed[entries.target]
        base = np.bincount(
            entries.target[~fed], weights=entries.factor[~fed], minlength=size
        ).astype(float)
        number = np.cumsum(is_fed) - 1
        kept = AffineTerms(
            target=number[entries.target[fed]],
            factor=entries.factor[fed],
            first=entries.first[fed],
            second=entries.second[fed],
        )
        return AffineMap(base=base, targets=np.flatnonzero(is_fed), entries=kept)

    def evaluate(self, inputs: FloatArray) -> FloatArray:
        """Return the array for inputs; sums are made in the order of the model.

        Parameters
        ----------
        inputs
            All inputs, the last of which is 1.
        """
        array, own = self.base.copy(), self.entries
        landed = own.factor * inputs[own.first] * inputs[own.second]
        array[self.targets] = np.bincount(own.target, weights=landed, minlength=len(self.targets))
        return array
