"""Collects flows and costs from components and writes the balances and the objectives.

Components post terms and never touch a balance, so a new machine type changes one module only.
A term is a rule: interval -> expression without branches, so that Pyomo can templatise it.

Parameters and variables are declared here without values. A model is built once for its signature;
:mod:`optimizer.compiler` fills in the numbers.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from typing import Any, Final

import pyomo.environ as pyo

from optimizer.model.rows import RowSpec

type IntervalExpression = Callable[[Any], Any]
"""Interval -> expression in the model's variables."""


class ModelAssembler:
    """Flows, reserve offers and costs of one model."""

    def __init__(self) -> None:
        self._flows: dict[str, list[IntervalExpression]] = defaultdict(list)
        self._accounts: dict[str, list[IntervalExpression]] = defaultdict(list)
        self._once: dict[str, list[Callable[[], Any]]] = defaultdict(list)
        self._offers: dict[str, tuple[list[IntervalExpression], list[IntervalExpression]]] = (
            defaultdict(lambda: ([], []))
        )

    def add_supply(self, carrier: str, term: IntervalExpression) -> None:
        """Add supply of a carrier in an interval. [MW; m3 h-1 for water]"""
        self._flows[carrier].append(term)

    def add_demand(self, carrier: str, term: IntervalExpression) -> None:
        """Add demand for a carrier in an interval. [MW; m3 h-1 for water]"""
        self._flows[carrier].append(lambda t: -1.0 * term(t))

    def add_reserve(
        self,
        product: str,
        *,
        up: IntervalExpression | None = None,
        down: IntervalExpression | None = None,
    ) -> None:
        """Add the capacity of a reserve product that a component provides. [MW]

        Upward capacity (net import falls) and downward capacity are separate. The component itself
        constrains the power and energy behind them.
        """
        for terms, term in zip(self._offers[product], (up, down), strict=True):
            terms.extend([term] if term else [])

    def reserve_terms(self, product: str, t: Any, *, upwards: bool) -> list[Any]:
        """Return all capacity offered of a product in an interval, in one direction. [MW]"""
        return [term(t) for term in self._offers[product][0 if upwards else 1]]

    def add_cost(self, account: str, term: IntervalExpression) -> None:
        """Add a cost in an interval, in the unit of the account."""
        self._accounts[account].append(term)

    def add_fixed_cost(self, account: str, term: Callable[[], Any]) -> None:
        """Add a cost of the whole horizon, in the unit of the account."""
        self._once[account].append(term)

    @property
    def accounts(self) -> tuple[str, ...]:
        """The accounts with at least one cost."""
        return tuple({**self._accounts, **self._once})

    def account_total(self, account: str, time: pyo.Set) -> Callable[[], Any]:
        """Return the total of an account over the horizon, as a rule without an index."""
        terms, once = self._accounts.get(account, []), self._once.get(account, [])

        def each(t: Any) -> Any:
            return add_terms([term(t) for term in terms])

        def rule() -> Any:
            steady = [sum(each(t) for t in time)] if terms else []  # a template has no other locals
            return add_terms([*steady, *(term() for term in once)])

        return rule

    def write_balances_and_objectives(self, block: pyo.Block) -> None:
        """Write one balance per carrier and interval, and one objective per account.

        The block of the site gets the blocks ``balance`` and ``account``.
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
    """Return a sum without the builtin ``sum``, which Pyomo's templates replace."""
    return reduce(add, parts)


UNSET_PARAMETER: Final = float("nan")
"""Value of a parameter before it is set; it makes every sum NaN."""


def empty_model(interval_count: int) -> pyo.ConcreteModel:
    """Return a model with the sets ``time`` and ``instant``.

    A set with ``first_interval`` holds intervals: that attribute is the one of its member 0. The
    level at an instant belongs to the interval that ends with it.
    """
    model = pyo.ConcreteModel()
    model.time = add_intervals(range(interval_count))
    model.instant = pyo.RangeSet(0, interval_count)
    model.instant.first_interval = -1
    return model


def add_intervals(members: Sequence[int]) -> pyo.Set:
    """Return a set of intervals; those before the horizon are negative."""
    intervals = pyo.Set(initialize=members)
    intervals.first_interval = 0
    return intervals


def add_param(*sets: pyo.Set) -> pyo.Param:
    """Return a parameter with one axis per set; a scalar without sets."""
    return pyo.Param(*sets, mutable=True, within=pyo.Any, default=UNSET_PARAMETER)


def add_params(block: pyo.Block, names: str, *sets: pyo.Set) -> list[pyo.Param]:
    """Declare parameters of equal axes under names that are separated by spaces."""
    for name in names.split():
        block.add_component(name, add_param(*sets))
    return [block.component(name) for name in names.split()]


def add_var(
    block: pyo.Block,
    name: str,
    *sets: pyo.Set,
    low: Any = 0.0,
    high: Any = float("inf"),
    integers: int = 0,
    upper: RowSpec | None = None,
    lower: RowSpec | None = None,
) -> None:
    """Declare a variable with its bounds: numbers, or parameters on its leading axes.

    ``integers`` is the number of values of the first index that are integer; ``upper`` and
    ``lower`` are the meanings of the bounds.
    """
    variable = pyo.Var(*sets, dense=not sets)  # the members of indexed variables are never read
    variable.low, variable.high, variable.integer_count = low, high, integers
    variable.upper_spec, variable.lower_spec = upper, lower
    block.add_component(name, variable)


def add_rows(*sets: pyo.Set, rule: Any, spec: RowSpec | None = None) -> pyo.Constraint:
    """Return rows, one for each index, with their meaning; the rule gives their sense."""
    rows = pyo.Constraint(*sets, rule=rule)
    rows.spec = spec
    return rows
