"""Coupling of scenarios: equal first-stage decisions, and CVaR of the cost.

====================  ===============  ==============  ============================================
Name                  Unit             Axes            Meaning
====================  ===============  ==============  ============================================
**Variables**
threshold             EUR                              value at risk; unbounded
excess                EUR              s               cost of a scenario above the threshold; >= 0
paid                  unit of account  s, a            total of an account in a scenario; unbounded
**Parameters**
price                 EUR per unit     a               weight of an account
share                 1                s               probability / (1 - level)
**Constraints**
<store>_<scenario>    MWh              t in now        level of the first scenario == level of
                                                       another one
work_<scenario>       1                t in now, c, u  racks of the first scenario == racks of
                                                       another one
<scenario>_<account>  unit of account  s, a            paid == total of the account (0 without such
                                                       costs)
beyond                EUR              s               sum_a price * paid - threshold <= excess
**Cost**
<account>             EUR                              threshold + sum_s share * excess
====================  ===============  ==============  ============================================

Axes: s scenario, a account, t interval, c cohort, u cap. CVaR has the linear form of Rockafellar
and Uryasev, *Optimization of conditional value-at-risk*, J. Risk 2 (2000). Storage is equal in its
levels, not its flows, which are ambiguous at negative prices.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyomo.environ as pyo

from optimizer.model.assembler import ModelAssembler, add_intervals, add_params, add_var


@dataclass(frozen=True, kw_only=True)
class NonanticipativitySignature:
    """First-stage decisions, which are equal in all scenarios, by their blocks.

    In the first ``first_stage_interval_count`` intervals ``stores`` have equal levels, and
    ``cohorts`` equal racks: the positions of jobs that have arrived.
    """

    scenarios: tuple[str, ...]
    first_stage_interval_count: int
    stores: tuple[str, ...]
    cohorts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class CvarSignature:
    """CVaR over scenarios, paid by ``account``, of the weighted sum of ``accounts``.

    Accounts that a scenario lacks count as zero.
    """

    scenarios: tuple[str, ...]
    account: str
    accounts: tuple[str, ...]


def build_nonanticipativity(
    block: pyo.Block,
    signature: NonanticipativitySignature,
    _: ModelAssembler,
    *,
    sites: Mapping[str, ModelAssembler],
) -> None:
    """Add the rows that make first-stage decisions equal."""
    model = block.model()
    first, *others = (model.component(name) for name in signature.scenarios if name in sites)
    block.now = now = add_intervals(range(signature.first_stage_interval_count))
    block.cohorts = pyo.Set(initialize=signature.cohorts)
    for other in others:
        for store in signature.stores:
            rows = pyo.Constraint(now, rule=_equal_levels(first, other, store))
            block.add_component(f"{store}_{other.local_name}", rows)
        if signature.cohorts:
            axes = (now, block.cohorts, first.work.caps)
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
    signature: CvarSignature,
    assembler: ModelAssembler,
    *,
    sites: Mapping[str, ModelAssembler],
) -> None:
    """Add the cost of each scenario above a threshold, and post the CVaR."""
    model = block.model()
    block.scenarios = pyo.RangeSet(0, len(signature.scenarios) - 1)
    block.accounts = pyo.RangeSet(0, len(signature.accounts) - 1)
    add_params(block, "price", block.accounts)
    add_params(block, "share", block.scenarios)
    add_var(block, "threshold", low=float("-inf"))
    add_var(block, "excess", block.scenarios)
    add_var(block, "paid", block.scenarios, block.accounts, low=float("-inf"))
    for s, scenario in enumerate(signature.scenarios):
        own = sites[scenario]
        for a, account in enumerate(signature.accounts):
            total = own.account_total(account, model.time) if account in own.accounts else None
            rows = pyo.Constraint(rule=_account_row(block.paid[s, a], total))
            block.add_component(f"{scenario}_{account}", rows)
    block.beyond = pyo.Constraint(
        block.scenarios,
        rule=lambda b, s: (
            sum(b.price[a] * b.paid[s, a] for a in b.accounts) - b.threshold - b.excess[s] <= 0.0
        ),
    )
    assembler.add_fixed_cost(
        signature.account,
        lambda: block.threshold + sum(block.share[s] * block.excess[s] for s in block.scenarios),
    )


def _account_row(paid: Any, total: Any) -> Any:
    """Return the row that makes a column equal to the total of an account."""
    if total is None:
        return lambda _: paid == 0.0
    return lambda _: paid - total() == 0.0
