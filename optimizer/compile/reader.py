"""Read a model that was written as templates: its rows, bounds and accounts as slots."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyomo.environ as pyo
from pyomo.core.expr import EqualityExpression, InequalityExpression

from optimizer.compile.places import Positions, Stand, Stands, template_numbers
from optimizer.compile.slots import MOST_INPUTS, Entries, Slots
from optimizer.compile.terms import Term, terms
from twin.physics.numerics import BoolArray

type Split = tuple[list[Term], list[Term], bool, bool]
"""Terms with variables, terms of the bound, and whether it bounds from below and from above."""


class Reader:
    """A model and where its components stand.

    Parameters
    ----------
    model
        From :func:`optimizer.build.build`, its rules templatised.
    """

    def __init__(self, model: pyo.ConcreteModel) -> None:
        self.model = model
        self.columns = Stands(model.component_objects(pyo.Var))
        self.rows = Stands(model.component_objects(pyo.Constraint))
        self.inputs = Stands(model.component_objects(pyo.Param))
        self.one = self.inputs.size

    def matrix(self) -> tuple[Positions, Positions, Slots, Slots, BoolArray, BoolArray]:
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
            has_low[stand.all], has_high[stand.all] = is_low, is_high
        found, place = np.unique(np.concatenate(keys), return_inverse=True)
        whole = Entries.joined(elements)
        row, column = np.divmod(found, self.columns.size)
        start = np.searchsorted(row, np.arange(self.rows.size + 1))
        return (
            start,
            column,
            Slots.of(whole.moved(place), len(found), self.one),
            Slots.of(Entries.joined(bounds), self.rows.size, self.one),
            has_low,
            has_high,
        )

    def accounts(self) -> tuple[tuple[str, ...], Positions, Positions, Slots, Slots]:
        """Return names, account and column of every entry, and the slots of costs and constants."""
        names, keys, paid, offsets = [], [], [], []
        for number, objective in enumerate(self.model.component_objects(pyo.Objective)):
            names.append(objective.name.replace("account.", ""))
            expression, templates = _template(objective)
            stand = Stand(number, ())
            for term in terms(expression):
                entries, column = self._entries(term, templates, stand)
                if term.column is None:
                    offsets.append(entries)
                else:
                    keys.append(entries.target * self.columns.size + column)
                    paid.append(entries)
        found, place = np.unique(np.concatenate(keys), return_inverse=True)
        which, column = np.divmod(found, self.columns.size)
        cost = Slots.of(Entries.joined(paid).moved(place), len(found), self.one)
        offset = Slots.of(Entries.joined(offsets), len(names), self.one)
        return tuple(names), which, column, cost, offset

    def bounds(self) -> tuple[Slots, Slots, BoolArray]:
        """Return the slots of the columns' bounds, and which columns take whole numbers only."""
        found: tuple[list[Entries], list[Entries]] = [], []
        is_integer = np.zeros(self.columns.size, dtype=bool)
        for bound in self.model.bounds:
            stand = self.columns[bound.variable]
            for entries, one in zip(found, (bound.low, bound.high), strict=True):
                entries.append(self._bound(one, stand))
            if bound.integers:
                is_integer[stand.all[: bound.integers]] = True
        low, high = (Slots.of(Entries.joined(e), self.columns.size, self.one) for e in found)
        return low, high, is_integer

    def steps(self) -> Positions:
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
            found[stand.all] = step.reshape(step.shape + trailing)
        return found

    def _bound(self, bound: Any, stand: Stand) -> Entries:
        target = stand.all
        if isinstance(bound, float):
            return self._filled(target, bound, [])
        given = self.inputs[bound]
        leading = given.all.reshape(given.shape + (1,) * (target.ndim - len(given.shape)))
        return self._filled(target, 1.0, [leading])

    def _entries(
        self, term: Term, templates: Sequence[Any], stand: Stand
    ) -> tuple[Entries, Positions]:
        """Return the entries of a term at all indices, and the column of each."""
        loops = term.loops
        numbers = template_numbers(templates, 0, len(loops))
        numbers |= template_numbers(loops, len(templates), 0)
        target = stand.at([numbers[id(template)] for template in templates])
        mesh = np.broadcast_shapes((), *(values.shape for values in numbers.values()))
        column: Positions = np.zeros((), dtype=np.int64)
        if term.column is not None:
            column = self.columns.at(term.column, numbers)
        inputs = [self.inputs.at(place, numbers) for place in term.inputs]
        entries = self._filled(np.broadcast_to(target, mesh), term.factor, inputs)
        return entries, np.broadcast_to(column, mesh).ravel()

    def _filled(self, target: Positions, factor: float, inputs: list[Positions]) -> Entries:
        if len(inputs) > MOST_INPUTS:
            message = f"a term multiplies {len(inputs)} parameters: multiply some beforehand"
            raise TypeError(message)
        both = [*inputs, *[np.array(self.one)] * (MOST_INPUTS - len(inputs))]
        first, second = (np.broadcast_to(place, target.shape).ravel() for place in both)
        return Entries(
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


def _split(relation: Any) -> Split:
    """Return a row as Pyomo does: variables on one side, constants on the other."""
    if not isinstance(relation, EqualityExpression | InequalityExpression):
        message = f"{relation}: a row is an equation or has one bound"
        raise TypeError(message)
    left, right = (terms(side) for side in relation.args)
    is_equal = isinstance(relation, EqualityExpression)
    if all(term.column is None for term in left):  # a constant below the variables
        left, right = right, left
        is_low, is_high = True, is_equal
    else:
        is_low, is_high = is_equal, True
    body = [*_with(left), *(term.negated() for term in _with(right))]
    bound = [*_without(right), *(term.negated() for term in _without(left))]
    return body, bound, is_low, is_high


def _with(many: list[Term]) -> Iterator[Term]:
    return (term for term in many if term.column is not None)


def _without(many: list[Term]) -> Iterator[Term]:
    return (term for term in many if term.column is None)
