"""The ledger: who gains, who uses, who pays; closing it writes the balances and the accounts.

Forms post terms and never touch a balance, so a new member of a site changes nothing but its own
file. A term is a rule: interval -> expression, free of branches, so that Pyomo may templatise it.

The doors of a model: parameters for the numbers that go in, columns for what is decided.

A form declares both and puts no number into either: the model is written once for its shape, and
numbers come and go through :mod:`optimizer.compiler`.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any, Final

import pyomo.environ as pyo

type IntervalExpression = Callable[[Any], Any]
"""Interval -> expression in the model's variables."""


class ModelAssembler:
    """The book of one model."""

    def __init__(self) -> None:
        self._flows: dict[str, list[IntervalExpression]] = defaultdict(list)
        self._accounts: dict[str, list[IntervalExpression]] = defaultdict(list)
        self._once: dict[str, list[Callable[[], Any]]] = defaultdict(list)
        self._offers: dict[str, tuple[list[IntervalExpression], list[IntervalExpression]]] = (
            defaultdict(lambda: ([], []))
        )

    def add_supply(self, carrier: str, term: IntervalExpression) -> None:
        """Enter what a carrier gains in an interval. [MW; m3 h-1 for water]"""
        self._flows[carrier].append(term)

    def add_demand(self, carrier: str, term: IntervalExpression) -> None:
        """Enter what is used of a carrier in an interval. [MW; m3 h-1 for water]"""
        self._flows[carrier].append(lambda t: -1.0 * term(t))

    def add_reserve(
        self,
        product: str,
        *,
        up: IntervalExpression | None = None,
        down: IntervalExpression | None = None,
    ) -> None:
        """Enter the capacity of a reserve product that a member of the site holds. [MW]

        Parameters
        ----------
        product
            Name of the product. Power and energy behind a MW of it are rows of who offers.
        up, down
            Capacity upwards (net import falls) and downwards; left out, there is none.
        """
        for terms, term in zip(self._offers[product], (up, down), strict=True):
            terms.extend([term] if term else [])

    def reserve_terms(self, product: str, t: Any, *, upwards: bool) -> list[Any]:
        """Return what all have offered of a product in an interval, one way. [MW]"""
        return [term(t) for term in self._offers[product][0 if upwards else 1]]

    def add_cost(self, account: str, term: IntervalExpression) -> None:
        """Enter what an account pays in an interval, in the account's own unit."""
        self._accounts[account].append(term)

    def add_fixed_cost(self, account: str, term: Callable[[], Any]) -> None:
        """Enter what an account pays for the whole horizon, in the account's own unit."""
        self._once[account].append(term)

    @property
    def accounts(self) -> tuple[str, ...]:
        """The accounts that pay anything."""
        return tuple({**self._accounts, **self._once})

    def account_total(self, account: str, time: pyo.Set) -> Callable[[], Any]:
        """Return what an account pays over the horizon, as a rule without an index.

        Parameters
        ----------
        account
            One of :attr:`accounts`.
        time
            The intervals.
        """
        terms, once = self._accounts.get(account, []), self._once.get(account, [])

        def each(t: Any) -> Any:
            return add_terms([term(t) for term in terms])

        def rule() -> Any:
            steady = [sum(each(t) for t in time)] if terms else []  # nothing else local: a template
            return add_terms([*steady, *(term() for term in once)])

        return rule

    def write(self, block: pyo.Block) -> None:
        """Write one balance per carrier and interval, and one objective per account.

        Parameters
        ----------
        block
            A site; gets the blocks ``balance`` and ``account``.
        """
        time = block.model().time
        block.balance = pyo.Block()
        for carrier, terms in self._flows.items():
            block.balance.add_component(carrier, _balance(time, terms))
        block.account = pyo.Block()
        for account in self.accounts:
            block.account.add_component(account, _total(self.account_total(account, time)))


def _balance(time: pyo.Set, terms: list[IntervalExpression]) -> pyo.Constraint:
    return pyo.Constraint(time, rule=lambda _, t: add_terms([term(t) for term in terms]) == 0.0)


def _total(whole: Callable[[], Any]) -> pyo.Objective:
    return pyo.Objective(rule=lambda _: whole())


def add_terms(parts: list[Any]) -> Any:
    """Return a sum without the builtin, which Pyomo's templates replace."""
    return reduce(add, parts)


UNSET_PARAMETER: Final = float("nan")
"""What a parameter holds until its number comes: no sum hides it."""


@dataclass(frozen=True, kw_only=True)
class VariableBounds:
    """Least and greatest value of a variable: numbers, or parameters on its leading axes.

    Attributes
    ----------
    variable
        The variable.
    low, high
        Its bounds.
    integer_count
        How many of its first indices take whole numbers only.
    """

    variable: Any
    low: Any
    high: Any
    integer_count: int


def add_param(*sets: pyo.Set) -> pyo.Param:
    """Return a parameter for an array with one axis per set; without any, for one number."""
    return pyo.Param(*sets, mutable=True, within=pyo.Any, default=UNSET_PARAMETER)


def add_var(
    block: pyo.Block,
    name: str,
    *sets: pyo.Set,
    low: Any = 0.0,
    high: Any = float("inf"),
    integers: int = 0,
) -> None:
    """Declare a variable and what bounds it.

    Parameters
    ----------
    block
        Where it stands.
    name
        Its name.
    *sets
        Its axes.
    low, high
        Bounds: numbers, or parameters on the leading axes; on none if they are scalars.
    integers
        How many of its first indices take whole numbers only.
    """
    variable = pyo.Var(*sets, dense=not sets)  # the members of the others are never asked for
    block.add_component(name, variable)
    bounds = VariableBounds(variable=variable, low=low, high=high, integer_count=integers)
    block.model().bounds.append(bounds)
