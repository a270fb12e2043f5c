"""Arrays of a linear model, and affine maps from parameters to these arrays."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from optimizer.model.rows import Limit
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray

type IntArray = NDArray[np.int32]
type SegmentNumbers = NDArray[np.int64]
"""Numbers of segments of curves, and of directions of stores and exchanges."""


@dataclass(frozen=True, kw_only=True)
class AccountCosts:
    """Costs of columns by account: ``account``, ``column`` and ``cost`` of each pair that occurs.

    ``offset`` is the constant cost of each account. All are in the unit of the account.
    """

    names: tuple[str, ...]
    account: IntArray
    column: IntArray
    cost: FloatArray
    offset: FloatArray

    def weighted(
        self, account_weights: Mapping[str, float], columns: int
    ) -> tuple[FloatArray, float]:
        """Return the weighted cost of every column, and the weighted constant. [EUR]"""
        weight = np.array([account_weights[name] for name in self.names])
        cost = np.bincount(self.column, weights=weight[self.account] * self.cost, minlength=columns)
        return cost, float(weight @ self.offset)


@dataclass(frozen=True, kw_only=True)
class ModelArrays:
    """A linear model: minimise the weighted accounts, with rows and columns within their bounds.

    ``start``, ``index`` and ``value`` are the matrix in compressed rows; ``step`` is the interval
    of every column. ``columns`` and ``rows`` map ``block.component`` to positions, shaped as its
    index sets. ``limits`` are rows and bounds of columns with a meaning.
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
    limits: tuple[Limit, ...] = ()

    def cost_by_account(
        self, values: FloatArray, account_weights: Mapping[str, float]
    ) -> dict[str, FloatArray]:
        """Return the weighted cost of each account by interval; the last one has the constants.
        [EUR]
        """
        costs, steps = self.accounts, int(self.step.max()) + 1
        position = costs.account.astype(np.int64) * steps + self.step[costs.column]
        each = np.bincount(
            position, weights=costs.cost * values[costs.column], minlength=len(costs.names) * steps
        ).reshape(len(costs.names), steps)
        each[:, -1] += costs.offset
        return {name: account_weights[name] * each[i] for i, name in enumerate(costs.names)}


MAX_PARAMETERS_PER_TERM = 2
"""Largest number of parameters in a term. [1]"""

type Positions = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class AffineTerms:
    """Terms of one array: factor * first input * second input, added at target positions.

    Targets may repeat. ``first`` and ``second`` are positions of inputs, the last of which is 1.
    """

    target: Positions
    factor: FloatArray
    first: Positions
    second: Positions

    def with_targets(self, target: Positions) -> "AffineTerms":
        """Return the same terms at other positions."""
        return replace(self, target=target)

    @staticmethod
    def concatenate(parts: "list[AffineTerms]") -> "AffineTerms":
        """Concatenate terms in their order."""
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

    ``base`` is zero at ``targets``, where inputs contribute. Targets of ``entries`` are positions
    among ``targets``.
    """

    base: FloatArray
    targets: Positions
    entries: AffineTerms

    @staticmethod
    def from_terms(entries: AffineTerms, size: int, one: int) -> "AffineMap":
        """Return the map of an array of some size; ``one`` is the position of the input 1."""
        is_variable = np.zeros(size, dtype=bool)
        is_variable[entries.target[entries.first != one]] = True
        varies = is_variable[entries.target]
        base = np.bincount(
            entries.target[~varies], weights=entries.factor[~varies], minlength=size
        ).astype(float)
        number = np.cumsum(is_variable) - 1
        terms = AffineTerms(
            target=number[entries.target[varies]],
            factor=entries.factor[varies],
            first=entries.first[varies],
            second=entries.second[varies],
        )
        return AffineMap(base=base, targets=np.flatnonzero(is_variable), entries=terms)

    def evaluate(self, inputs: FloatArray) -> FloatArray:
        """Return the array for inputs, the last of which is 1; sums keep the order of the model."""
        array, terms = self.base.copy(), self.entries
        values = terms.factor * inputs[terms.first] * inputs[terms.second]
        array[self.targets] = np.bincount(terms.target, weights=values, minlength=len(self.targets))
        return array
