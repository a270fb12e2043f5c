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
        self._offers: dict[str, tuple[list[Term], list[Term]]] = defaultdict(lambda: ([], []))

    def gain(self, carrier: str, term: Term) -> None:
        """Enter what a carrier gains in an interval. [MW; m3 h-1 for water]"""
        self._flows[carrier].append(term)

    def use(self, carrier: str, term: Term) -> None:
        """Enter what is used of a carrier in an interval. [MW; m3 h-1 for water]"""
        self._flows[carrier].append(lambda t: -1.0 * term(t))

    def offer(self, product: str, *, up: Term | None = None, down: Term | None = None) -> None:
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

    def offered(self, product: str, t: Any, *, upwards: bool) -> list[Any]:
        """Return what all have offered of a product in an interval, one way. [MW]"""
        return [term(t) for term in self._offers[product][0 if upwards else 1]]

    def pay(self, account: str, term: Term) -> None:
        """Enter what an account pays in an interval, in the account's own unit."""
        self._accounts[account].append(term)

    def pay_once(self, account: str, term: Callable[[], Any]) -> None:
        """Enter what an account pays for the whole horizon, in the account's own unit."""
        self._once[account].append(term)

    @property
    def accounts(self) -> tuple[str, ...]:
        """The accounts that pay anything."""
        return tuple({**self._accounts, **self._once})

    def whole(self, account: str, time: pyo.Set) -> Callable[[], Any]:
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
            return added([term(t) for term in terms])

        def rule() -> Any:
            steady = [sum(each(t) for t in time)] if terms else []  # nothing else local: a template
            return added([*steady, *(term() for term in once)])

        return rule

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
        for account in self.accounts:
            block.account.add_component(account, _total(self.whole(account, time)))


def _balance(time: pyo.Set, terms: list[Term]) -> pyo.Constraint:
    return pyo.Constraint(time, rule=lambda _, t: added([term(t) for term in terms]) == 0.0)


def _total(whole: Callable[[], Any]) -> pyo.Objective:
    return pyo.Objective(rule=lambda _: whole())


def added(parts: list[Any]) -> Any:
    """Return a sum without the builtin, which Pyomo's templates replace."""
    return reduce(add, parts)
