"""Compilation of a templatised Pyomo model to affine maps from parameters to its arrays.

A model is compiled once for its signature; parameters are then written into arrays. A templatised
rule is stored once for all its indices. Its expression is linear in the variables, and its
coefficients are products of constants and parameters. It is a sum of terms; each term gives, for
all indices at once, the parameters that multiply a variable.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain, product
from typing import Any, Final

import numpy as np
import pyomo.environ as pyo
from numpy.typing import NDArray
from pyomo.common.gc_manager import PauseGC
from pyomo.core.expr import (
    EqualityExpression,
    InequalityExpression,
    NegationExpression,
    ProductExpression,
    SumExpression,
)
from pyomo.core.expr.template_expr import GetItemExpression, TemplateSumExpression

from optimizer.compiler.arrays import (
    MAX_PARAMETERS_PER_TERM,
    AccountCosts,
    AffineMap,
    AffineTerms,
    IntArray,
    ModelArrays,
    Positions,
)
from optimizer.model.formulation import build_model
from optimizer.model.rows import Limit, ModelSignature, RowSpec
from twin.errors import IssueCode, SolverError
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray

MAX_CACHED_STRUCTURES: Final = 8
"""Number of compiled structures that are cached. [1]"""


@dataclass(frozen=True, kw_only=True)
class CompiledModel:
    """A model without parameter values: affine maps to the arrays of ``constant_arrays``.

    ``parameter_axes`` maps ``<block>.<parameter>`` to the axes of its values. The matrix holds
    every element that can be nonzero. ``row_bound_map`` is the bound of rows on the sides on which
    ``constant_arrays`` is finite. ``layouts`` are those of columns and of rows, by name.
    """

    parameter_axes: Mapping[str, tuple[int, ...]]
    constant_arrays: ModelArrays
    matrix_value_map: AffineMap
    column_low: AffineMap
    column_high: AffineMap
    row_bound_map: AffineMap
    cost: AffineMap
    constant_cost_map: AffineMap
    layouts: tuple[Mapping[str, "ComponentLayout"], Mapping[str, "ComponentLayout"]]

    def column_and_row_names(self, instants: NDArray[np.datetime64]) -> tuple[list[str], list[str]]:
        """Return the names of all columns and rows: machine, quantity, time and other indices.

        An example is ``battery_1.charge(20260616T0015Z)``. The names are valid in MPS and LP files.
        ``instants`` are the ends of all intervals, the first one included. (UTC)
        """
        stamps = [
            f"{str(stamp).translate(_STAMP_CHARACTERS)}Z"
            for stamp in instants.astype("datetime64[m]")
        ]
        columns, rows = (
            [f"{name}{one}" for name, at in parts.items() for one in _index_labels(at.axes, stamps)]
            for parts in self.layouts
        )
        return columns, rows

    def with_parameter_values(self, numbers: Mapping[str, FloatArray]) -> ModelArrays:
        """Return the model with parameter values, each on the axes of its parameter.

        Raises SolverError if a parameter is missing, unknown, of another shape, or NaN.
        """
        inputs, fixed = self._vector(numbers), self.constant_arrays
        bound = self.row_bound_map.evaluate(inputs)
        cost, offset = self.cost.evaluate(inputs), self.constant_cost_map.evaluate(inputs)
        return replace(
            fixed,
            matrix_values=self.matrix_value_map.evaluate(inputs),
            accounts=replace(fixed.accounts, cost=cost, constant_cost=offset),
            column_low=self.column_low.evaluate(inputs),
            column_high=self.column_high.evaluate(inputs),
            row_low=np.where(np.isfinite(fixed.row_low), bound, -np.inf),
            row_high=np.where(np.isfinite(fixed.row_high), bound, np.inf),
        )

    def _vector(self, numbers: Mapping[str, FloatArray]) -> FloatArray:
        """Return all inputs as one vector that ends with 1."""
        if odd := numbers.keys() ^ self.parameter_axes.keys():
            message = f"model parameters: missing or unknown {', '.join(sorted(odd))}"
            raise SolverError(message, code=IssueCode.INCONSISTENT)
        for name, axes in self.parameter_axes.items():
            if numbers[name].shape != axes or np.isnan(numbers[name]).any():
                message = f"{name}: expected finite or infinite numbers of shape {axes}"
                raise SolverError(message, code=IssueCode.WRONG_AXES)
        return np.concatenate(
            [*(numbers[name].ravel() for name in self.parameter_axes), np.ones(1)]
        )


@lru_cache(maxsize=MAX_CACHED_STRUCTURES)
def compile_model(signature: ModelSignature) -> CompiledModel:
    """Return the compiled structure of a signature."""
    with PauseGC(), templatised_rules():
        reader = TemplateReader(build_model(signature))
        start, index, value, bound, has_low, has_high = reader.read_matrix()
        names, account, payer, cost, offset = reader.read_account_costs()
        low, high, is_integer = reader.read_column_bounds()
        fixed = ModelArrays(
            row_starts=start.astype(np.int32),
            column_indices=index.astype(np.int32),
            matrix_values=value.constants,
            accounts=AccountCosts(
                account_names=names,
                account_index=account.astype(np.int32),
                column_index=payer.astype(np.int32),
                cost=cost.constants,
                constant_cost=offset.constants,
            ),
            column_low=low.constants,
            column_high=high.constants,
            row_low=np.where(has_low, 0.0, -np.inf),
            row_high=np.where(has_high, 0.0, np.inf),
            is_integer=is_integer,
            interval_of_column=reader.column_intervals().astype(np.int32),
            columns_by_variable=reader.columns.positions_by_component(),
            rows_by_constraint=reader.rows.positions_by_component(),
            limits=tuple(reader.read_limits(has_high)),
        )
        return CompiledModel(
            parameter_axes={name: at.shape for name, at in reader.parameters.named.items()},
            constant_arrays=fixed,
            matrix_value_map=value,
            column_low=low,
            column_high=high,
            row_bound_map=bound,
            cost=cost,
            constant_cost_map=offset,
            layouts=(reader.columns.named, reader.rows.named),
        )


_STAMP_CHARACTERS: Final = str.maketrans("", "", "-:")
"""Characters of a time that names of LP files cannot contain."""


def _index_labels(axes: tuple["IndexAxis", ...], stamps: Sequence[str]) -> Iterator[str]:
    """Yield the indices of a component in its order, as text in brackets; nothing of a scalar."""
    each = (
        [
            stamps[member]
            if axis.intervals is not None and member >= 0
            else f"{axis.name}_{member}".replace("-", "before_")
            for member in axis.members.tolist()
        ]
        for axis in axes
    )
    for index in product(*each):
        yield f"({','.join(index)})" if index else ""


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


@dataclass(frozen=True)
class IndexAxis:
    """An index set of integers: its members, the position of each member, and its name.

    ``intervals`` are the intervals of the members, negative before the horizon; None if they are no
    times. Positions of negative members count from the end, as numpy does.
    """

    members: Positions
    position: Positions
    name: str
    intervals: Positions | None

    @staticmethod
    def of(members: pyo.Set) -> "IndexAxis":
        """Return an axis of members in ascending order."""
        numbers = np.array(list(members), dtype=np.int64)
        position = np.full(int(numbers.max(initial=-1) - numbers.min(initial=0)) + 1, -1)
        position[numbers] = np.arange(len(numbers))
        first = getattr(members, "first_interval", None)
        return IndexAxis(
            numbers, position, members.local_name, None if first is None else numbers + first
        )


@dataclass(frozen=True)
class ComponentLayout:
    """First position of a component among all components of its type, and its axes."""

    first_position: int
    axes: tuple[IndexAxis, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return tuple(len(axis.members) for axis in self.axes)

    @property
    def member_count(self) -> int:
        """Number of members."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def positions(self) -> Positions:
        """Positions of all members, shaped as the axes."""
        return self.first_position + np.arange(self.member_count).reshape(self.shape)

    def positions_at(self, index: Sequence[Positions | int]) -> Positions:
        """Return the positions at index values, which broadcast against one another."""
        place: Positions = np.zeros((), dtype=np.int64)
        for axis, number in zip(self.axes, index, strict=True):
            place = place * len(axis.members) + axis.position[number]
        return self.first_position + place


@dataclass(frozen=True)
class ComponentReference:
    """A component and an index: numbers, templates, or sums of both."""

    component: Any
    index: tuple[Any, ...]


class IndexLayout:
    """All components of one type, in the order of the model."""

    def __init__(self, components: Iterable[Any]) -> None:
        self.size = 0
        self._of: dict[int, ComponentLayout] = {}
        self.named: dict[str, ComponentLayout] = {}
        for component in components:
            layout = ComponentLayout(self.size, component_axes(component))
            self.size += layout.member_count
            self._of[id(component)] = self.named[component.name] = layout

    def positions_by_component(self) -> dict[str, IntArray]:
        """Return the positions of each component, shaped as its axes."""
        return {name: at.positions.astype(np.int32) for name, at in self.named.items()}

    def __getitem__(self, component: Any) -> ComponentLayout:
        """Return the layout of a component."""
        return self._of[id(component)]

    def positions_at(
        self, place: ComponentReference, numbers: Mapping[int, Positions]
    ) -> Positions:
        """Return the positions of a reference, for the values of its index templates."""
        return self[place.component].positions_at([_number(part, numbers) for part in place.index])


def component_axes(component: Any) -> tuple[IndexAxis, ...]:
    """Return the axes of a component; none for a scalar."""
    if not component.is_indexed():
        return ()
    return tuple(IndexAxis.of(part) for part in component.index_set().subsets())


def template_indices(templates: Sequence[Any], before: int, after: int) -> dict[int, Positions]:
    """Return the values of index templates, each along its own axis of a mesh.

    The mesh has ``before`` and ``after`` further axes before and after theirs.
    """
    found = {}
    for i, template in enumerate(templates):
        members = list(template._set.subsets())[template._index or 0]
        numbers = np.array(list(members), dtype=np.int64)
        later = len(templates) - i - 1 + after
        found[id(template)] = numbers.reshape((1,) * (before + i) + (-1,) + (1,) * later)
    return found


def _number(part: Any, numbers: Mapping[int, Positions]) -> Positions | int:
    """Return the values of an index."""
    if isinstance(part, int):
        return part
    if isinstance(part, SumExpression):
        return np.asarray(sum(_number(one, numbers) for one in part.args))
    if id(part) not in numbers:
        raise TypeError(f"{part}: an index without a set; write the sum over a Pyomo set")
    return numbers[id(part)]


@dataclass(frozen=True)
class LinearTerm:
    """One term of a linear expression: factor * parameters * column, summed over index templates.

    A constant has no column.
    """

    factor: float = 1.0
    parameters: tuple[ComponentReference, ...] = ()
    column: ComponentReference | None = None
    summed_templates: tuple[Any, ...] = ()

    def negated(self) -> "LinearTerm":
        """Return the term with the opposite sign."""
        return replace(self, factor=-self.factor)

    def __mul__(self, other: "LinearTerm") -> "LinearTerm":
        """Return the product of two terms, at least one of which has no variable."""
        if self.column is not None and other.column is not None:
            raise TypeError("a product of two variables; write a linear expression")
        return LinearTerm(
            factor=self.factor * other.factor,
            parameters=self.parameters + other.parameters,
            column=self.column or other.column,
            summed_templates=self.summed_templates + other.summed_templates,
        )


def linear_terms(expression: Any) -> list[LinearTerm]:
    """Return the terms of a linear expression, in its own order.

    Raise TypeError if it is not linear, or not the same for all indices.
    """
    return list(_terms(expression))


def _terms(node: Any) -> Iterator[LinearTerm]:
    if isinstance(node, int | float):
        yield LinearTerm(factor=float(node))
    elif isinstance(node, SumExpression):
        yield from chain.from_iterable(_terms(part) for part in node.args)
    elif isinstance(node, NegationExpression):
        yield from (term.negated() for term in _terms(node.args[0]))
    elif isinstance(node, ProductExpression):
        yield from (left * right for left, right in product(*map(linear_terms, node.args)))
    elif isinstance(node, TemplateSumExpression):
        loops = tuple(template for group in node.template_iters() for template in group)
        inside = _terms(node.template_args()[0])
        yield from (
            replace(term, summed_templates=loops + term.summed_templates) for term in inside
        )
    else:
        yield _leaf(node)


def _leaf(node: Any) -> LinearTerm:
    if isinstance(node, GetItemExpression):
        component, *index = node.args
        place = ComponentReference(component, tuple(index))
    elif hasattr(node, "parent_component"):
        index = node.index()
        indices = index if isinstance(index, tuple) else () if index is None else (index,)
        place = ComponentReference(node.parent_component(), indices)
    else:
        raise TypeError(f"{node}: not a sum or product; compute quotients in the parameter values")
    if place.component.ctype is pyo.Var:
        return LinearTerm(column=place)
    if place.component.ctype is pyo.Param:
        return LinearTerm(parameters=(place,))
    raise TypeError(f"{node}: expected a number, a parameter or a variable")


type RowParts = tuple[list[LinearTerm], list[LinearTerm], bool, bool]
"""Terms with variables, terms of the bound, and whether it is a lower and an upper bound."""


class TemplateReader:
    """A Pyomo model with the layout of its components; its rules are templatised."""

    def __init__(self, model: pyo.ConcreteModel) -> None:
        self.model = model
        self.columns = IndexLayout(model.component_objects(pyo.Var))
        self.rows = IndexLayout(model.component_objects(pyo.Constraint))
        self.parameters = IndexLayout(model.component_objects(pyo.Param))
        self.one = self.parameters.size

    def read_matrix(
        self,
    ) -> tuple[Positions, Positions, AffineMap, AffineMap, BoolArray, BoolArray]:
        """Return row starts, columns, affine maps of matrix and bounds, and the kinds of bounds."""
        has_low, has_high = (np.zeros(self.rows.size, dtype=bool) for _ in range(2))
        keys, elements, bounds = [], [], []
        for constraint in self.model.component_objects(pyo.Constraint):
            if not len(constraint):  # without cohorts of work there are no rows
                continue
            expression, templates = _template(next(iter(constraint.values())))
            layout = self.rows[constraint]
            body, bound, is_low, is_high = _split(expression)
            for term in body:
                entries, column = self._entries(term, templates, layout)
                keys.append(entries.target_positions * self.columns.size + column)
                elements.append(entries)
            bounds += [self._entries(term, templates, layout)[0] for term in bound]
            has_low[layout.positions], has_high[layout.positions] = is_low, is_high
        found, place = np.unique(np.concatenate(keys), return_inverse=True)
        matrix = AffineTerms.concatenate(elements)
        row, column = np.divmod(found, self.columns.size)
        start = np.searchsorted(row, np.arange(self.rows.size + 1))
        return (
            start,
            column,
            AffineMap.from_terms(matrix.with_targets(place), len(found), self.one),
            AffineMap.from_terms(AffineTerms.concatenate(bounds), self.rows.size, self.one),
            has_low,
            has_high,
        )

    def read_account_costs(
        self,
    ) -> tuple[tuple[str, ...], Positions, Positions, AffineMap, AffineMap]:
        """Return names, account and column of every cost, and affine maps of costs and
        constants.
        """
        names, keys, paid, offsets = [], [], [], []
        for number, objective in enumerate(self.model.component_objects(pyo.Objective)):
            names.append(objective.name.replace("account.", ""))
            expression, templates = _template(objective)
            layout = ComponentLayout(number, ())
            for term in linear_terms(expression):
                entries, column = self._entries(term, templates, layout)
                if term.column is None:
                    offsets.append(entries)
                else:
                    keys.append(entries.target_positions * self.columns.size + column)
                    paid.append(entries)
        found, place = np.unique(np.concatenate(keys), return_inverse=True)
        account, column = np.divmod(found, self.columns.size)
        cost = AffineMap.from_terms(
            AffineTerms.concatenate(paid).with_targets(place), len(found), self.one
        )
        offset = AffineMap.from_terms(AffineTerms.concatenate(offsets), len(names), self.one)
        return tuple(names), account, column, cost, offset

    def read_column_bounds(self) -> tuple[AffineMap, AffineMap, BoolArray]:
        """Return affine maps of the bounds of columns, and the integer columns."""
        found: tuple[list[AffineTerms], list[AffineTerms]] = [], []
        is_integer = np.zeros(self.columns.size, dtype=bool)
        for variable in self.model.component_objects(pyo.Var):
            layout = self.columns[variable]
            for entries, one in zip(found, (variable.low, variable.high), strict=True):
                entries.append(self._bound(one, layout))
            if variable.integer_count:
                is_integer[layout.positions[: variable.integer_count]] = True
        low, high = (
            AffineMap.from_terms(AffineTerms.concatenate(e), self.columns.size, self.one)
            for e in found
        )
        return low, high, is_integer

    def column_intervals(self) -> Positions:
        """Return the interval of every column, by its first axis; without times the last one."""
        found = np.full(self.columns.size, len(self.model.time) - 1)
        for layout in self.columns.named.values():
            if layout.axes and (intervals := layout.axes[0].intervals) is not None:
                trailing = (1,) * (len(layout.shape) - 1)
                found[layout.positions] = np.maximum(intervals, 0).reshape(-1, *trailing)
        return found

    def read_limits(self, has_high: BoolArray) -> Iterator[Limit]:
        """Yield the rows and bounds of columns with a meaning, in the order of the model."""
        for variable in self.model.component_objects(pyo.Var):
            for spec, is_low in ((variable.upper_spec, False), (variable.lower_spec, True)):
                if spec is not None:
                    yield _limit(variable, spec, self.columns[variable], is_low=is_low)
        for rows in self.model.component_objects(pyo.Constraint):
            if (spec := getattr(rows, "spec", None)) is not None and (
                at := self.rows[rows]
            ).member_count:
                is_low = not has_high[at.first_position]
                yield _limit(rows, spec, at, is_low=is_low)

    def _bound(self, bound: Any, layout: ComponentLayout) -> AffineTerms:
        target = layout.positions
        if isinstance(bound, float):
            return self._affine_terms(target, bound, [])
        given = self.parameters[bound]
        leading = given.positions.reshape(given.shape + (1,) * (target.ndim - len(given.shape)))
        return self._affine_terms(target, 1.0, [leading])

    def _entries(
        self, term: LinearTerm, templates: Sequence[Any], layout: ComponentLayout
    ) -> tuple[AffineTerms, Positions]:
        """Return the affine terms of a term at all indices, and the column of each."""
        loops = term.summed_templates
        numbers = template_indices(templates, 0, len(loops))
        numbers |= template_indices(loops, len(templates), 0)
        target = layout.positions_at([numbers[id(template)] for template in templates])
        mesh = np.broadcast_shapes((), *(values.shape for values in numbers.values()))
        column: Positions = np.zeros((), dtype=np.int64)
        if term.column is not None:
            column = self.columns.positions_at(term.column, numbers)
        inputs = [self.parameters.positions_at(place, numbers) for place in term.parameters]
        entries = self._affine_terms(np.broadcast_to(target, mesh), term.factor, inputs)
        return entries, np.broadcast_to(column, mesh).ravel()

    def _affine_terms(
        self, target: Positions, factor: float, inputs: list[Positions]
    ) -> AffineTerms:
        if len(inputs) > MAX_PARAMETERS_PER_TERM:
            message = f"a term with {len(inputs)} parameters; multiply some in the parameter values"
            raise TypeError(message)
        both = [*inputs, *[np.array(self.one)] * (MAX_PARAMETERS_PER_TERM - len(inputs))]
        first, second = (np.broadcast_to(place, target.shape).ravel() for place in both)
        return AffineTerms(
            target_positions=target.ravel(),
            factor=np.full(target.size, factor),
            first_input_positions=first,
            second_input_positions=second,
        )


def _limit(component: Any, spec: RowSpec, layout: ComponentLayout, *, is_low: bool) -> Limit:
    """Return a row or variable with its meaning and the intervals of its first axis."""
    parent, intervals = component.parent_block(), layout.axes[0].intervals
    return Limit(
        spec=spec,
        name=component.name,
        block=parent.name,
        owner=parent.local_name if spec.owner is None else spec.owner,
        is_row=component.ctype is pyo.Constraint,
        is_lower_bound=is_low,
        intervals=np.arange(layout.shape[0]) if intervals is None else np.maximum(intervals, -1),
    )


def _template(row: Any) -> tuple[Any, Sequence[Any]]:
    """Return the template of a rule and its indices; without one Pyomo gives no message."""
    if not hasattr(row, "template_expr"):
        message = f"{row.name}: not a template; write the rule without branches, lookups and loops"
        raise TypeError(message)
    expression, templates = row.template_expr()
    return expression, templates


def _split(relation: Any) -> RowParts:
    """Return a row as Pyomo does: variables on one side, constants on the other."""
    if not isinstance(relation, EqualityExpression | InequalityExpression):
        raise TypeError(f"{relation}: expected an equation or an inequality with one bound")
    left, right = (linear_terms(side) for side in relation.args)
    is_equal = isinstance(relation, EqualityExpression)
    if all(term.column is None for term in left):  # a constant below the variables
        left, right = right, left
        is_low, is_high = True, is_equal
    else:
        is_low, is_high = is_equal, True
    body = [*_variable_terms(left), *(term.negated() for term in _variable_terms(right))]
    bound = [*_constant_terms(right), *(term.negated() for term in _constant_terms(left))]
    return body, bound, is_low, is_high


def _variable_terms(terms: list[LinearTerm]) -> Iterator[LinearTerm]:
    return (term for term in terms if term.column is not None)


def _constant_terms(terms: list[LinearTerm]) -> Iterator[LinearTerm]:
    return (term for term in terms if term.column is None)
