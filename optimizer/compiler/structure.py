"""The structure of a model, compiled once for its shape; numbers then go straight into arrays."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from pyomo.common.gc_manager import PauseGC

from optimizer.compiler.arrays import AccountCosts, AffineMap, IntArray, ModelArrays
from optimizer.compiler.templates import TemplateReader
from optimizer.model.formulation import build_model
from optimizer.model.signature import ModelSignature
from twin.errors import SolverError
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray

MAX_CACHED_STRUCTURES: Final = 8
"""Most structures that are kept for shapes that come again. [1]"""


@dataclass(frozen=True, kw_only=True)
class CompiledModel:
    """A model without its numbers.

    Attributes
    ----------
    signature
        What it was compiled for.
    parameters
        ``<block>.<parameter>`` -> first position and axes of its numbers, in the model's order.
    start, index
        Rows of the matrix, compressed; every element that can be other than zero has its place.
    value, column_low, column_high, bound, cost, offset
        Slots of the matrix, of the bounds of columns and rows, and of the accounts.
    has_low, has_high
        Rows that the bound bounds from below and from above.
    accounts, account, cost_column
        Names of the accounts; account and column of each of their costs.
    is_integer, step, columns, rows
        As in :class:`~optimizer.compiler.arrays.ModelArrays`.
    """

    signature: ModelSignature
    parameters: Mapping[str, tuple[int, tuple[int, ...]]]
    start: IntArray
    index: IntArray
    value: AffineMap
    column_low: AffineMap
    column_high: AffineMap
    bound: AffineMap
    has_low: BoolArray
    has_high: BoolArray
    cost: AffineMap
    offset: AffineMap
    accounts: tuple[str, ...]
    account: IntArray
    cost_column: IntArray
    is_integer: BoolArray
    step: IntArray
    columns: Mapping[str, IntArray]
    rows: Mapping[str, IntArray]

    def arrays(self, numbers: Mapping[str, FloatArray]) -> ModelArrays:
        """Return the model with its numbers.

        Parameters
        ----------
        numbers
            Array of every input, with the axes of its parameter.

        Raises
        ------
        SolverError
            If an input is missing, unknown, of another shape, or not a number.
        """
        given = self._vector(numbers)
        bound = self.bound.evaluate(given)
        return ModelArrays(
            start=self.start,
            index=self.index,
            value=self.value.evaluate(given),
            accounts=AccountCosts(
                names=self.accounts,
                account=self.account,
                column=self.cost_column,
                cost=self.cost.evaluate(given),
                offset=self.offset.evaluate(given),
            ),
            column_low=self.column_low.evaluate(given),
            column_high=self.column_high.evaluate(given),
            row_low=np.where(self.has_low, bound, -np.inf),
            row_high=np.where(self.has_high, bound, np.inf),
            is_integer=self.is_integer,
            step=self.step,
            columns=self.columns,
            rows=self.rows,
        )

    def _vector(self, numbers: Mapping[str, FloatArray]) -> FloatArray:
        """Return all inputs in a row, and a 1."""
        if odd := numbers.keys() ^ self.parameters.keys():
            message = f"numbers and model do not belong together: {', '.join(sorted(odd))}"
            raise SolverError(message)
        for name, (_, axes) in self.parameters.items():
            if numbers[name].shape != axes or np.isnan(numbers[name]).any():
                message = f"{name}: must be numbers on axes of {axes}"
                raise SolverError(message)
        return np.concatenate([*(numbers[name].ravel() for name in self.parameters), np.ones(1)])


@lru_cache(maxsize=MAX_CACHED_STRUCTURES)
def compile_model(shape: ModelSignature) -> CompiledModel:
    """Return the structure of a shape: built, read and compiled when it is first asked for."""
    with PauseGC(), templatised_rules():
        reader = TemplateReader(build_model(shape))
        start, index, value, bound, has_low, has_high = reader.matrix()
        accounts, account, payer, cost, offset = reader.accounts()
        low, high, is_integer = reader.bounds()
        return CompiledModel(
            signature=shape,
            parameters={name: (at.first, at.shape) for name, at in reader.parameters.named.items()},
            start=start.astype(np.int32),
            index=index.astype(np.int32),
            value=value,
            column_low=low,
            column_high=high,
            bound=bound,
            has_low=has_low,
            has_high=has_high,
            cost=cost,
            offset=offset,
            accounts=accounts,
            account=account.astype(np.int32),
            cost_column=payer.astype(np.int32),
            is_integer=is_integer,
            step=reader.column_intervals().astype(np.int32),
            columns={n: at.positions.astype(np.int32) for n, at in reader.columns.named.items()},
            rows={n: at.positions.astype(np.int32) for n, at in reader.rows.named.items()},
        )


@contextmanager
def templatised_rules() -> Iterator[None]:
    """Let rules be kept as one template for all their indices; the switch is the process's."""
    rooms = [sys.modules[f"pyomo.core.base.{name}"] for name in ("constraint", "objective")]
    switches = ("TEMPLATIZE_CONSTRAINTS", "TEMPLATIZE_OBJECTIVES")
    before = [getattr(room, switch) for room, switch in zip(rooms, switches, strict=True)]
    try:
        for room, switch in zip(rooms, switches, strict=True):
            setattr(room, switch, True)
        yield
    finally:
        for room, switch, was in zip(rooms, switches, before, strict=True):
            setattr(room, switch, was)
