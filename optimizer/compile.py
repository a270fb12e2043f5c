"""A Pyomo model as arrays, with the names of its rows and columns kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyomo.environ as pyo
from numpy.typing import NDArray
from pyomo.common.gc_manager import PauseGC
from pyomo.repn.plugins.standard_form import LinearStandardFormCompiler

from twin.physics import FloatArray

type IntArray = NDArray[np.int32]

UNUSED: Final = -1
"""Position of a declared column or row that no row or account uses."""


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """A linear model: least weighted sum of accounts, rows and columns within their bounds.

    Attributes
    ----------
    start, index, value
        Rows of the matrix, compressed.
    accounts, offsets
        Account -> cost of each column, and what it costs in any case.
    column_low, column_high, row_low, row_high
        Bounds.
    step
        Interval that a column belongs to.
    columns, rows
        ``block.component`` -> positions, shaped as its index sets, :data:`UNUSED` where dropped.
    """

    start: IntArray
    index: IntArray
    value: FloatArray
    accounts: Mapping[str, FloatArray]
    offsets: Mapping[str, float]
    column_low: FloatArray
    column_high: FloatArray
    row_low: FloatArray
    row_high: FloatArray
    step: IntArray
    columns: Mapping[str, IntArray]
    rows: Mapping[str, IntArray]


def compiled(model: pyo.ConcreteModel) -> Arrays:
    """Return a model as arrays.

    Parameters
    ----------
    model
        Linear, without rows that have two different bounds; every objective is an account.

    Returns
    -------
    Arrays
        The same model.
    """
    variables = list(model.component_objects(pyo.Var))
    declared = [column for variable in variables for column in variable.values()]
    with PauseGC():
        form = LinearStandardFormCompiler().write(
            model, mixed_form=True, set_sense=None, column_order=declared
        )
    place = {id(column): i for i, column in enumerate(form.columns)}
    rows = form.A.tocsr()
    sense = np.array([row.bound_type for row in form.rows])
    bounds = np.array([(c.lb, c.ub) for c in form.columns], dtype=float)  # None becomes nan
    costs = form.c.toarray()
    names = [o.local_name for o in form.objectives]
    return Arrays(
        start=rows.indptr.astype(np.int32),
        index=rows.indices.astype(np.int32),
        value=rows.data,
        accounts=dict(zip(names, costs, strict=True)),
        offsets=dict(zip(names, form.c_offset.tolist(), strict=True)),
        column_low=np.where(np.isnan(bounds[:, 0]), -np.inf, bounds[:, 0]),
        column_high=np.where(np.isnan(bounds[:, 1]), np.inf, bounds[:, 1]),
        row_low=np.where(sense <= 0, form.rhs, -np.inf),
        row_high=np.where(sense >= 0, form.rhs, np.inf),
        step=np.array([_step(model, c) for c in form.columns], dtype=np.int32),
        columns={
            _name(v): _places(v, [place.get(id(c), UNUSED) for c in v.values()]) for v in variables
        },
        rows=_rows(model, form.rows),
    )


def _name(component: Any) -> str:
    return f"{component.parent_block().local_name}.{component.local_name}"


def _places(component: Any, flat: list[int]) -> IntArray:
    """Return positions shaped as the component's index sets."""
    shape: tuple[int, ...] = ()
    if component.is_indexed():
        shape = tuple(len(part) for part in component.index_set().subsets())
    return np.array(flat, dtype=np.int32).reshape(shape)


def _step(model: pyo.ConcreteModel, column: Any) -> int:
    """Return the interval of a column; a stock belongs to the interval that ends with it."""
    index, component = column.index(), column.parent_component()
    if index is None:
        return len(model.time) - 1
    first = index[0] if isinstance(index, tuple) else index
    parts = list(component.index_set().subsets())
    return max(first - 1, 0) if parts[0] is model.instant else int(first)


def _rows(model: pyo.ConcreteModel, entries: list[Any]) -> dict[str, IntArray]:
    """Return the positions of every row that was written."""
    place = {id(entry.constraint): i for i, entry in enumerate(entries)}
    found = {}
    for component in model.component_objects(pyo.Constraint):
        flat = [place.get(id(row), UNUSED) for row in component.values()]
        if len(flat) == len(component.index_set()):
            found[_name(component)] = _places(component, flat)
    return found
