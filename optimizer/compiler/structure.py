"""Structure of a model, compiled once for its signature; parameters are then written into
arrays.
"""

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
from twin.errors import IssueCode, SolverError
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray

MAX_CACHED_STRUCTURES: Final = 8
"""Number of compiled structures that are cached. [1]"""


@dataclass(frozen=True, kw_only=True)
class CompiledModel:
    """A model without parameter values.

    Attributes
    ----------
    parameters
        ``<block>.<parameter>`` -> first position and axes of its values, in the model's order.
    start, index
        Matrix in compressed rows, with every element that can be nonzero.
    value, column_low, column_high, bound, cost, offset
        Affine maps of the matrix, the bounds of columns and rows, and the accounts.
    has_low, has_high
        Rows with a lower bound, and with an upper one.
    accounts, account, cost_column
        Names of the accounts; account and column of each cost.
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
        """Return the model with parameter values, each on the axes of its parameter.

        Raises
        ------
        SolverError
            If a parameter is missing, unknown, of another shape, or NaN.
        """
        inputs = self._vector(numbers)
        bound = self.bound.evaluate(inputs)
        return ModelArrays(
            start=self.start,
            index=self.index,
            value=self.value.evaluate(inputs),
            accounts=AccountCosts(
                names=self.accounts,
                account=self.account,
                column=self.cost_column,
                cost=self.cost.evaluate(inputs),
                offset=self.offset.evaluate(inputs),
            ),
            column_low=self.column_low.evaluate(inputs),
            column_high=self.column_high.evaluate(inputs),
            row_low=np.where(self.has_low, bound, -np.inf),
            row_high=np.where(self.has_high, bound, np.inf),
            is_integer=self.is_integer,
            step=self.step,
            columns=self.columns,
            rows=self.rows,
        )

    def _vector(self, numbers: Mapping[str, FloatArray]) -> FloatArray:
        """Return all inputs as one vector that ends with 1."""
        if odd := numbers.keys() ^ self.parameters.keys():
            message = f"model parameters: missing or unknown {', '.join(sorted(odd))}"
            raise SolverError(message, code=IssueCode.INCONSISTENT)
        for name, (_, axes) in self.parameters.items():
            if numbers[name].shape != axes or np.isnan(numbers[name]).any():
                message = f"{name}: expected finite or infinite numbers of shape {axes}"
                raise SolverError(message, code=IssueCode.WRONG_AXES)
        return np.concatenate([*(numbers[name].ravel() for name in self.parameters), np.ones(1)])


@lru_cache(maxsize=MAX_CACHED_STRUCTURES)
def compile_model(signature: ModelSignature) -> CompiledModel:
    """Return the compiled structure of a signature."""
    with PauseGC(), templatised_rules():
        reader = TemplateReader(build_model(signature))
        start, index, value, bound, has_low, has_high = reader.matrix()
        accounts, account, payer, cost, offset = reader.accounts()
        low, high, is_integer = reader.bounds()
        return CompiledModel(
            signature=signature,
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
    """Let Pyomo templatise rules; the switch applies to the whole process."""
    modules = [sys.modules[f"pyomo.core.base.{name}"] for name in ("constraint", "objective")]
    switches = ("TEMPLATIZE_CONSTRAINTS", "TEMPLATIZE_OBJECTIVES")
    before = [getattr(module, switch) for module, switch in zip(modules, switches, strict=True)]
    try:
        for module, switch in zip(modules, switches, strict=True):
            setattr(module, switch, True)
        yield
    finally:
        for module, switch, value in zip(modules, switches, before, strict=True):
            setattr(module, switch, value)
