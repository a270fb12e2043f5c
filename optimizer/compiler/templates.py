"""Read a model that was written as templates: its rows, bounds and accounts as slots.

Where components and their indices stand among the columns, rows and inputs of a model.

The templates of a model as terms: a factor times parameters times a variable, under sums.

A rule that was templatised is kept once for all its indices. Its expression is linear in the
variables, and its coefficients are products of constants and parameters; so it falls apart into
terms, each of which says for all indices at once which parameters land on which variable.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, product
from typing import Any

import numpy as np
import pyomo.environ as pyo
from pyomo.core.expr import (
    EqualityExpression,
    InequalityExpression,
    NegationExpression,
    ProductExpression,
    SumExpression,
)
from pyomo.core.expr.template_expr import GetItemExpression, TemplateSumExpression

from optimizer.compiler.arrays import MAX_PARAMETERS_PER_TERM, AffineMap, AffineTerms, Positions
from twin.physics.numerics import BoolArray


@dataclass(frozen=True)
class IndexAxis:
    """An index set of whole numbers: its members, and the position of each by its number."""

    members: Positions
    position: Positions

    @staticmethod
    def of(members: Iterable[int]) -> "IndexAxis":
        """Return an axis of members in ascending order."""
        numbers = np.array(list(members), dtype=np.int64)
        position = np.full(int(numbers.max(initial=-1)) + 1, -1)
        position[numbers] = np.arange(len(numbers))
        return IndexAxis(numbers, position)


@dataclass(frozen=True)
class ComponentLayout:
    """A component among others of its sort: its first position, and its axes."""

    first: int
    axes: tuple[IndexAxis, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return tuple(len(axis.members) for axis in self.axes)

    @property
    def size(self) -> int:
        """Number of members."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def positions(self) -> Positions:
        """Positions of all members, shaped as the axes."""
        return self.first + np.arange(self.size).reshape(self.shape)

    def positions_at(self, index: Sequence[Positions | int]) -> Positions:
        """Return positions at numbers of the axes, which broadcast against one another."""
        place: Positions = np.zeros((), dtype=np.int64)
        for axis, number in zip(self.axes, index, strict=True):
            place = place * len(axis.members) + axis.position[number]
        return self.first + place


@dataclass(frozen=True)
class ComponentReference:
    """A component and the index at which it is taken: numbers, templates, or sums of both."""

    component: Any
    index: tuple[Any, ...]


class IndexLayout:
    """All components of one sort, in the order in which the model declares them."""

    def __init__(self, components: Iterable[Any]) -> None:
        self.size = 0
        self._of: dict[int, ComponentLayout] = {}
        self.named: dict[str, ComponentLayout] = {}
        for component in components:
            stand = ComponentLayout(self.size, component_axes(component))
            self.size += stand.size
            self._of[id(component)] = self.named[component.name] = stand

    def __getitem__(self, component: Any) -> ComponentLayout:
        """Return where a component stands."""
        return self._of[id(component)]

    def positions_at(
        self, place: ComponentReference, numbers: Mapping[int, Positions]
    ) -> Positions:
        """Return positions of a place, for the numbers that its index templates take."""
        return self[place.component].positions_at([_number(part, numbers) for part in place.index])


def component_axes(component: Any) -> tuple[IndexAxis, ...]:
    """Return the axes of a component; none for a scalar."""
    if not component.is_indexed():
        return ()
    return tuple(IndexAxis.of(part) for part in component.index_set().subsets())


def template_indices(templates: Sequence[Any], before: int, after: int) -> dict[int, Positions]:
    """Return the numbers of index templates, each along its own axis of a mesh.

    Parameters
    ----------
    templates
        Index templates.
    before, after
        Number of axes of the mesh before and after theirs.
    """
    found = {}
    for i, template in enumerate(templates):
        members = list(template._set.subsets())[template._index or 0]
        numbers = np.array(list(members), dtype=np.int64)
        behind = len(templates) - i - 1 + after
        found[id(template)] = numbers.reshape((1,) * (before + i) + (-1,) + (1,) * behind)
    return found


def _number(part: Any, numbers: Mapping[int, Positions]) -> Positions | int:
    """Return the numbers that an index takes."""
    if isinstance(part, int):
        return part
    if isinstance(part, SumExpression):
        return np.asarray(sum(_number(one, numbers) for one in part.args))
    if id(part) not in numbers:
        message = f"{part}: an index that no set gives: a sum was cut short when it was templatised"
        raise TypeError(message)
    return numbers[id(part)]


@dataclass(frozen=True)
class LinearTerm:
    """One term of a linear expression.

    Attributes
    ----------
    factor
        Constant.
    parameters
        Parameters that multiply it.
    column
        Variable that multiplies it; None for a constant.
    loops
        Index templates over which it is summed.
    """

    factor: float = 1.0
    parameters: tuple[ComponentReference, ...] = ()
    column: ComponentReference | None = None
    loops: tuple[Any, ...] = ()

    def negated(self) -> "LinearTerm":
        """Return the same with the other sign."""
        return replace(self, factor=-self.factor)

    def __mul__(self, other: "LinearTerm") -> "LinearTerm":
        """Return the product of two terms, one of which has no variable."""
        if self.column is not None and other.column is not None:
            message = "a model is linear: two variables are multiplied"
            raise TypeError(message)
        return LinearTerm(
            factor=self.factor * other.factor,
            parameters=self.parameters + other.parameters,
            column=self.column or other.column,
            loops=self.loops + other.loops,
        )


def linear_terms(expression: Any) -> list[LinearTerm]:
    """Return the terms of a linear expression, in its own order.

    Parameters
    ----------
    expression
        Template of a rule, or a part of one.

    Raises
    ------
    TypeError
        If it holds what is not linear, or what cannot be told once for all indices.
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
        yield from (replace(term, loops=loops + term.loops) for term in inside)
    else:
        yield _leaf(node)


def _leaf(node: Any) -> LinearTerm:
    if isinstance(node, GetItemExpression):
        component, *index = node.args
        place = ComponentReference(component, tuple(index))
    elif hasattr(node, "parent_component"):
        index = node.index()
        whole = index if isinstance(index, tuple) else () if index is None else (index,)
        place = ComponentReference(node.parent_component(), whole)
    else:
        message = f"{node}: a rule has sums and products only; divide where the numbers are made"
        raise TypeError(message)
    if place.component.ctype is pyo.Var:
        return LinearTerm(column=place)
    if place.component.ctype is pyo.Param:
        return LinearTerm(parameters=(place,))
    message = f"{node} is neither a number, a parameter nor a variable"
    raise TypeError(message)


type RowParts = tuple[list[LinearTerm], list[LinearTerm], bool, bool]
"""Terms with variables, terms of the bound, and whether it bounds from below and from above."""


class TemplateReader:
    """A model and where its components stand.

    Parameters
    ----------
    model
        From :func:`optimizer.model.formulation.build_model`, its rules templatised.
    """

    def __init__(self, model: pyo.ConcreteModel) -> None:
        self.model = model
        self.columns = IndexLayout(model.component_objects(pyo.Var))
        self.rows = IndexLayout(model.component_objects(pyo.Constraint))
        self.parameters = IndexLayout(model.component_objects(pyo.Param))
        self.one = self.parameters.size

    def matrix(self) -> tuple[Positions, Positions, AffineMap, AffineMap, BoolArray, BoolArray]:
        """Return row starts, columns, slots of matrix and bounds, and what bounds which way."""
        has_low, has_high = (np.zeros(self.rows.size, dtype=bool) for _ in range(2))
        keys, elements, bounds = [], [], []
        for constraint in self.model.component_objects(pyo.Constraint):
            if not len(constraint):  # no cohort of work, so no row
                continue
            expression, templates = _template(next(iter(constraint.values())))
            stand = self.rows[constraint]
            body, bound, is_low, is_high = _split(expression)
            for term in body:
                entries, column = self._entries(term, templates, stand)
                keys.append(entries.target * self.columns.size + column)
                elements.append(entries)
            bounds += [self._entries(term, templates, stand)[0] for term in bound]
            has_low[stand.positions], has_high[stand.positions] = is_low, is_high
        found, place = np.unique(np.concatenate(keys), return_inverse=True)
        whole = AffineTerms.concatenate(elements)
        row, column = np.divmod(found, self.columns.size)
        start = np.searchsorted(row, np.arange(self.rows.size + 1))
        return (
            start,
            column,
            AffineMap.from_terms(whole.with_targets(place), len(found), self.one),
            AffineMap.from_terms(AffineTerms.concatenate(bounds), self.rows.size, self.one),
            has_low,
            has_high,
        )

    def accounts(self) -> tuple[tuple[str, ...], Positions, Positions, AffineMap, AffineMap]:
        """Return names, account and column of every entry, and the slots of costs and constants."""
        names, keys, paid, offsets = [], [], [], []
        for number, objective in enumerate(self.model.component_objects(pyo.Objective)):
            names.append(objective.name.replace("account.", ""))
            expression, templates = _template(objective)
            stand = ComponentLayout(number, ())
            for term in linear_terms(expression):
                entries, column = self._entries(term, templates, stand)
                if term.column is None:
                    offsets.append(entries)
                else:
                    keys.append(entries.target * self.columns.size + column)
                    paid.append(entries)
        found, place = np.unique(np.concatenate(keys), return_inverse=True)
        which, column = np.divmod(found, self.columns.size)
        cost = AffineMap.from_terms(
            AffineTerms.concatenate(paid).with_targets(place), len(found), self.one
        )
        offset = AffineMap.from_terms(AffineTerms.concatenate(offsets), len(names), self.one)
        return tuple(names), which, column, cost, offset

    def bounds(self) -> tuple[AffineMap, AffineMap, BoolArray]:
        """Return the slots of the columns' bounds, and which columns take whole numbers only."""
        found: tuple[list[AffineTerms], list[AffineTerms]] = [], []
        is_integer = np.zeros(self.columns.size, dtype=bool)
        for bound in self.model.bounds:
            stand = self.columns[bound.variable]
            for entries, one in zip(found, (bound.low, bound.high), strict=True):
                entries.append(self._bound(one, stand))
            if bound.integer_count:
                is_integer[stand.positions[: bound.integer_count]] = True
        low, high = (
            AffineMap.from_terms(AffineTerms.concatenate(e), self.columns.size, self.one)
            for e in found
        )
        return low, high, is_integer

    def column_intervals(self) -> Positions:
        """Return the interval of every column; a stock belongs to the one that ends with it."""
        last = len(self.model.time) - 1
        found = np.empty(self.columns.size, dtype=np.int64)
        for variable in self.model.component_objects(pyo.Var):
            stand = self.columns[variable]
            step: Positions = np.array(last)
            if stand.axes:
                members = stand.axes[0].members
                before = max(len(members) - last - 1, 0)  # edges, or what was before the window
                step = np.maximum(members - before, 0)
            trailing = (1,) * (len(stand.shape) - step.ndim)
            found[stand.positions] = step.reshape(step.shape + trailing)
        return found

    def _bound(self, bound: Any, stand: ComponentLayout) -> AffineTerms:
        target = stand.positions
        if isinstance(bound, float):
            return self._filled(target, bound, [])
        given = self.parameters[bound]
        leading = given.positions.reshape(given.shape + (1,) * (target.ndim - len(given.shape)))
        return self._filled(target, 1.0, [leading])

    def _entries(
        self, term: LinearTerm, templates: Sequence[Any], stand: ComponentLayout
    ) -> tuple[AffineTerms, Positions]:
        """Return the entries of a term at all indices, and the column of each."""
        loops = term.loops
        numbers = template_indices(templates, 0, len(loops))
        numbers |= template_indices(loops, len(templates), 0)
        target = stand.positions_at([numbers[id(template)] for template in templates])
        mesh = np.broadcast_shapes((), *(values.shape for values in numbers.values()))
        column: Positions = np.zeros((), dtype=np.int64)
        if term.column is not None:
            column = self.columns.positions_at(term.column, numbers)
        inputs = [self.parameters.positions_at(place, numbers) for place in term.parameters]
        entries = self._filled(np.broadcast_to(target, mesh), term.factor, inputs)
        return entries, np.broadcast_to(column, mesh).ravel()

    def _filled(self, target: Positions, factor: float, inputs: list[Positions]) -> AffineTerms:
        if len(inputs) > MAX_PARAMETERS_PER_TERM:
            message = f"a term multiplies {len(inputs)} parameters: multiply some beforehand"
            raise TypeError(message)
        both = [*inputs, *[np.array(self.one)] * (MAX_PARAMETERS_PER_TERM - len(inputs))]
        first, second = (np.broadcast_to(place, target.shape).ravel() for place in both)
        return AffineTerms(
            target=target.ravel(),
            factor=np.full(target.size, factor),
            first=first,
            second=second,
        )


def _template(row: Any) -> tuple[Any, Sequence[Any]]:
    """Return the template of a rule and its indices; Pyomo falls back without a word."""
    if not hasattr(row, "template_expr"):
        message = f"{row.name}: the rule is no template: it branches, looks up or loops"
        raise TypeError(message)
    expression, templates = row.template_expr()
    return expression, templates


def _split(relation: Any) -> RowParts:
    """Return a row as Pyomo does: variables on one side, constants on the other."""
    if not isinstance(relation, EqualityExpression | InequalityExpression):
        message = f"{relation}: a row is an equation or has one bound"
        raise TypeError(message)
    left, right = (linear_terms(side) for side in relation.args)
    is_equal = isinstance(relation, EqualityExpression)
    if all(term.column is None for term in left):  # a constant below the variables
        left, right = right, left
        is_low, is_high = True, is_equal
    else:
        is_low, is_high = is_equal, True
    body = [*_with(left), *(term.negated() for term in _with(right))]
    bound = [*_without(right), *(term.negated() for term in _without(left))]
    return body, bound, is_low, is_high


def _with(many: list[LinearTerm]) -> Iterator[LinearTerm]:
    return (term for term in many if term.column is not None)


def _without(many: list[LinearTerm]) -> Iterator[LinearTerm]:
    return (term for term in many if term.column is None)
