"""The templates of a model as terms: a factor times parameters times a variable, under sums.

A rule that was templatised is kept once for all its indices. Its expression is linear in the
variables, and its coefficients are products of constants and parameters; so it falls apart into
terms, each of which says for all indices at once which parameters land on which variable.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, product
from typing import Any

import pyomo.environ as pyo
from pyomo.core.expr import NegationExpression, ProductExpression, SumExpression
from pyomo.core.expr.template_expr import GetItemExpression, TemplateSumExpression


@dataclass(frozen=True)
class Place:
    """A component and the index at which it is taken: numbers, templates, or sums of both."""

    component: Any
    index: tuple[Any, ...]


@dataclass(frozen=True)
class Term:
    """One term of a linear expression.

    Attributes
    ----------
    factor
        Constant.
    inputs
        Parameters that multiply it.
    column
        Variable that multiplies it; None for a constant.
    loops
        Index templates over which it is summed.
    """

    factor: float = 1.0
    inputs: tuple[Place, ...] = ()
    column: Place | None = None
    loops: tuple[Any, ...] = ()

    def negated(self) -> "Term":
        """Return the same with the other sign."""
        return replace(self, factor=-self.factor)

    def __mul__(self, other: "Term") -> "Term":
        """Return the product of two terms, one of which has no variable."""
        if self.column is not None and other.column is not None:
            message = "a model is linear: two variables are multiplied"
            raise TypeError(message)
        return Term(
            factor=self.factor * other.factor,
            inputs=self.inputs + other.inputs,
            column=self.column or other.column,
            loops=self.loops + other.loops,
        )


def terms(expression: Any) -> list[Term]:
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


def _terms(node: Any) -> Iterator[Term]:
    if isinstance(node, int | float):
        yield Term(factor=float(node))
    elif isinstance(node, SumExpression):
        yield from chain.from_iterable(_terms(part) for part in node.args)
    elif isinstance(node, NegationExpression):
        yield from (term.negated() for term in _terms(node.args[0]))
    elif isinstance(node, ProductExpression):
        yield from (left * right for left, right in product(*map(terms, node.args)))
    elif isinstance(node, TemplateSumExpression):
        loops = tuple(template for group in node.template_iters() for template in group)
        inside = _terms(node.template_args()[0])
        yield from (replace(term, loops=loops + term.loops) for term in inside)
    else:
        yield _leaf(node)


def _leaf(node: Any) -> Term:
    if isinstance(node, GetItemExpression):
        component, *index = node.args
        place = Place(component, tuple(index))
    elif hasattr(node, "parent_component"):
        index = node.index()
        whole = index if isinstance(index, tuple) else () if index is None else (index,)
        place = Place(node.parent_component(), whole)
    else:
        message = f"{node}: a rule has sums and products only; divide where the numbers are made"
        raise TypeError(message)
    if place.component.ctype is pyo.Var:
        return Term(column=place)
    if place.component.ctype is pyo.Param:
        return Term(inputs=(place,))
    message = f"{node} is neither a number, a parameter nor a variable"
    raise TypeError(message)
