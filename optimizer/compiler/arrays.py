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
    """Costs of columns by account.

    ``account_index``, ``column_index`` and ``cost`` have a value for each pair that occurs.
    ``constant_cost`` is the constant cost of each account. All are in the unit of the account.
    """

    account_names: tuple[str, ...]
    account_index: IntArray
    column_index: IntArray
    cost: FloatArray
    constant_cost: FloatArray

    def weighted_column_costs(
        self, account_weights: Mapping[str, float], columns: int
    ) -> tuple[FloatArray, float]:
        """Return the weighted cost of every column, and the weighted constant. [EUR]"""
        weight = np.array([account_weights[name] for name in self.account_names])
        cost = np.bincount(
            self.column_index, weights=weight[self.account_index] * self.cost, minlength=columns
        )
        return cost, float(weight @ self.constant_cost)


@dataclass(frozen=True, kw_only=True)
class ModelArrays:
    """A linear model: minimise the weighted accounts, with rows and columns within their bounds.

    ``row_starts``, ``column_indices`` and ``matrix_values`` are the matrix in compressed rows;
    ``interval_of_column`` is the interval of every column. ``columns_by_variable`` and
    ``rows_by_constraint`` map ``block.component`` to positions, shaped as its index sets.
    ``limits`` are rows and bounds of columns with a meaning.
    """

    row_starts: IntArray
    column_indices: IntArray
    matrix_values: FloatArray
    accounts: AccountCosts
    column_low: FloatArray
    column_high: FloatArray
    row_low: FloatArray
    row_high: FloatArray
    is_integer: BoolArray
    interval_of_column: IntArray
    columns_by_variable: Mapping[str, IntArray]
    rows_by_constraint: Mapping[str, IntArray]
    limits: tuple[Limit, ...] = ()

    def cost_by_account(
        self, values: FloatArray, account_weights: Mapping[str, float]
    ) -> dict[str, FloatArray]:
        """Return the weighted cost of each account by interval; the last one has the constants.
        [EUR]
        """
        costs, steps = self.accounts, int(self.interval_of_column.max()) + 1
        position = (
            costs.account_index.astype(np.int64) * steps
            + self.interval_of_column[costs.column_index]
        )
        each = np.bincount(
            position,
            weights=costs.cost * values[costs.column_index],
            minlength=len(costs.account_names) * steps,
        ).reshape(len(costs.account_names), steps)
        each[:, -1] += costs.constant_cost
        return {name: account_weights[name] * each[i] for i, name in enumerate(costs.account_names)}


MAX_PARAMETERS_PER_TERM = 2
"""Largest number of parameters in a term. [1]"""

type Positions = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class AffineTerms:
    """Terms of one array: factor * first input * second input, added at target positions.

    Targets may repeat. ``first_input_positions`` and ``second_input_positions`` are positions of
    inputs, the last of which is 1.
    """

    target_positions: Positions
    factor: FloatArray
    first_input_positions: Positions
    second_input_positions: Positions

    def with_targets(self, target: Positions) -> "AffineTerms":
        """Return the same terms at other positions."""
        return replace(self, target_positions=target)

    @staticmethod
    def concatenate(parts: "list[AffineTerms]") -> "AffineTerms":
        """Concatenate terms in their order."""
        if not parts:
            none = np.empty(0, dtype=np.int64)
            return AffineTerms(
                target_positions=none,
                factor=np.empty(0),
                first_input_positions=none,
                second_input_positions=none,
            )
        return AffineTerms(
            target_positions=np.concatenate([part.target_positions for part in parts]),
            factor=np.concatenate([part.factor for part in parts]),
            first_input_positions=np.concatenate([part.first_input_positions for part in parts]),
            second_input_positions=np.concatenate([part.second_input_positions for part in parts]),
        )


@dataclass(frozen=True, kw_only=True)
class AffineMap:
    """One array as a function of the inputs: constants, and sums of products of inputs.

    ``constants`` is zero at ``targets``, where inputs contribute. Targets of ``input_terms`` are
    positions among ``targets``.
    """

    constants: FloatArray
    targets: Positions
    input_terms: AffineTerms

    @staticmethod
    def from_terms(entries: AffineTerms, size: int, one: int) -> "AffineMap":
        """Return the map of an array of some size; ``one`` is the position of the input 1."""
        is_variable = np.zeros(size, dtype=bool)
        is_variable[entries.target_positions[entries.first_input_positions != one]] = True
        varies = is_variable[entries.target_positions]
        base = np.bincount(
            entries.target_positions[~varies], weights=entries.factor[~varies], minlength=size
        ).astype(float)
        number = np.cumsum(is_variable) - 1
        terms = AffineTerms(
            target_positions=number[entries.target_positions[varies]],
            factor=entries.factor[varies],
            first_input_positions=entries.first_input_positions[varies],
            second_input_positions=entries.second_input_positions[varies],
        )
        return AffineMap(constants=base, targets=np.flatnonzero(is_variable), input_terms=terms)

    def evaluate(self, inputs: FloatArray) -> FloatArray:
        """Return the array for inputs, the last of which is 1; sums keep the order of the model."""
        array, terms = self.constants.copy(), self.input_terms
        values = (
            terms.factor
            * inputs[terms.first_input_positions]
            * inputs[terms.second_input_positions]
        )
        array[self.targets] = np.bincount(
            terms.target_positions, weights=values, minlength=len(self.targets)
        )
        return array
