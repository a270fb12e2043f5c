"""The ledger: who gains, who uses, who pays; closing it writes the balances and the accounts.

Forms post terms and never touch a balance, so a new member of a site changes nothing but its own
file. A term is a rule: interval -> expression, free of branches, so that Pyomo may templatise it.
"""

from collections import defaultdict
from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any

import pyomo.environ as pyo

type Term = Callable[[Any], Any]
"""Interval -> expression in the model's variables."""


class Ledger:
    """The book of one model."""

    def __init__(self) -> None:
        self._flows: dict[str, list[Term]] = defaultdict(list)
        self._accounts: dict[str, list[Term]] = defaultdict(list)
        self._once: dict[str, list[Callable[[], Any]]] = defaultdict(list)

    def gain(self, carrier: str, term: Term) -> None:
        """Enter what a carrier gains in an interval. [MW; m3 h-1 for water]"""
        self._flows[carrier].append(term)

    def use(self, carrier: str, term: Term) -> None:
        """Enter what is used of a carrier in an interval. [MW; m3 h-1 for water]"""
        self._flows[carrier].append(lambda t: -1.0 * term(t))

    def pay(self, account: str, term: Term) -> None:
        """Enter what an account pays in an interval, in the account's own unit."""
        self._accounts[account].append(term)

    def pay_once(self, account: str, term: Callable[[], Any]) -> None:
        """Enter what an account pays for the whole horizon, in the account's own unit."""
        self._once[account].append(term)

    def close(self, block: pyo.Block) -> None:
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
        for account in {**self._accounts, **self._once}:
            total = _total(time, self._accounts[account], self._once[account])
            block.account.add_component(account, total)


def _balance(time: pyo.Set, terms: list[Term]) -> pyo.Constraint:
    return pyo.Constraint(time, rule=lambda _, t: _added([term(t) for term in terms]) == 0.0)


def _total(time: pyo.Set, terms: list[Term], once: list[Callable[[], Any]]) -> pyo.Objective:
    def each(t: Any) -> Any:
        return _added([term(t) for term in terms])

    def rule(_: pyo.Block) -> Any:
        steady = [sum(each(t) for t in time)] if terms else []  # nothing else local: a template
        return _added([*steady, *(term() for term in once)])

    return pyo.Objective(rule=rule)


def _added(parts: list[Any]) -> Any:
    """Return a sum without the builtin, which Pyomo's templates replace."""
    return reduce(add, parts)
