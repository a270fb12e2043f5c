"""Scenarios bound to one another: what is decided now is the same in all, and the tail is priced.

The tail is the mean of the worst cases: conditional value at risk, in the linear form of
Rockafellar and Uryasev, *Optimization of conditional value-at-risk*, J. Risk 2 (2000).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyomo.environ as pyo

from optimizer.model.assembler import ModelAssembler, add_param, add_var


@dataclass(frozen=True, kw_only=True)
class NonanticipativitySignature:
    """What is decided before it is known which scenario comes.

    Attributes
    ----------
    scenarios
        Their blocks.
    steps
        Intervals that are decided now.
    stores
        Stores whose levels are the same in all scenarios until then.
    cohorts
        Positions of the cohorts whose racks are: those of jobs that have arrived.
    """

    scenarios: tuple[str, ...]
    steps: int
    stores: tuple[str, ...]
    cohorts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class CvarSignature:
    """What is paid in the worst scenarios.

    Attributes
    ----------
    scenarios
        Their blocks.
    account
        Account that pays the tail.
    accounts
        Accounts whose weighted sum counts; a scenario that lacks one pays nothing into it.
    """

    scenarios: tuple[str, ...]
    account: str
    accounts: tuple[str, ...]


def build_nonanticipativity(
    block: pyo.Block,
    shape: NonanticipativitySignature,
    _: ModelAssembler,
    *,
    sites: Mapping[str, ModelAssembler],
) -> None:
    """Write the rows that make scenarios equal now.

    Stores are bound by their levels and not by their flows, which at negative prices a linear model
    lets run in circles.

    Parameters
    ----------
    block
        Empty block.
    shape
        What is decided now.
    sites
        The scenarios, by block.
    """
    model = block.model()
    first, *others = (model.component(name) for name in shape.scenarios if name in sites)
    block.now = pyo.RangeSet(0, shape.steps - 1)
    block.cohorts = pyo.Set(initialize=shape.cohorts)
    for other in others:
        for store in shape.stores:
            rows = pyo.Constraint(block.now, rule=_equal_levels(first, other, store))
            block.add_component(f"{store}_{other.local_name}", rows)
        if shape.cohorts:
            axes = (block.now, block.cohorts, first.work.caps)
            rows = pyo.Constraint(*axes, rule=_equal_racks(first, other))
            block.add_component(f"work_{other.local_name}", rows)


def _equal_levels(first: pyo.Block, other: pyo.Block, store: str) -> Any:
    one, two = first.component(store).level, other.component(store).level
    return lambda _, t: one[t + 1] - two[t + 1] == 0.0


def _equal_racks(first: pyo.Block, other: pyo.Block) -> Any:
    one, two = first.work.racks, other.work.racks
    return lambda _, t, c, u: one[t, c, u] - two[t, c, u] == 0.0


def build_cvar(
    block: pyo.Block,
    shape: CvarSignature,
    assembler: ModelAssembler,
    *,
    sites: Mapping[str, ModelAssembler],
) -> None:
    """Write what scenarios pay beyond a threshold, and post the mean of the worst.

    Parameters
    ----------
    block
        Empty block.
    shape
        What counts.
    assembler
        Where the tail is paid.
    sites
        The ledgers of the scenarios, by block.
    """
    model = block.model()
    block.scenarios = pyo.RangeSet(0, len(shape.scenarios) - 1)
    block.accounts = pyo.RangeSet(0, len(shape.accounts) - 1)
    block.price, block.share = add_param(block.accounts), add_param(block.scenarios)
    add_var(block, "threshold", low=float("-inf"))
    add_var(block, "excess", block.scenarios)
    add_var(block, "paid", block.scenarios, block.accounts, low=float("-inf"))
    for s, scenario in enumerate(shape.scenarios):
        own = sites[scenario]
        for a, account in enumerate(shape.accounts):
            whole = own.account_total(account, model.time) if account in own.accounts else None
            rows = pyo.Constraint(rule=_pays(block.paid[s, a], whole))
            block.add_component(f"{scenario}_{account}", rows)
    block.beyond = pyo.Constraint(
        block.scenarios,
        rule=lambda b, s: (
            sum(b.price[a] * b.paid[s, a] for a in b.accounts) - b.threshold - b.excess[s] <= 0.0
        ),
    )
    assembler.add_fixed_cost(
        shape.account,
        lambda: block.threshold + sum(block.share[s] * block.excess[s] for s in block.scenarios),
    )


def _pays(paid: Any, whole: Any) -> Any:
    """Return the row by which a column is what an account pays."""
    if whole is None:
        return lambda _: paid == 0.0
    return lambda _: paid - whole() == 0.0
