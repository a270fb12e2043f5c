"""What a decision minimises: accounts in their own units, and the weight that makes each money."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pyomo.environ as pyo

from optimizer.forms.table import columns, table
from optimizer.ledger import Ledger


@dataclass(frozen=True, kw_only=True)
class Account:
    """One account: its unit, the weight that prices it (empty if it is weighted), and its sense."""

    unit: str
    weight: str
    meaning: str


ACCOUNTS: Final = {
    "electricity": Account(unit="EUR", weight="money", meaning="energy bought less energy sold"),
    "network": Account(unit="EUR", weight="money", meaning="fees on what crosses the fence"),
    "renewables": Account(unit="EUR", weight="money", meaning="paid for contracted sun and wind"),
    "heat": Account(unit="EUR", weight="money", meaning="less what is earned by heat"),
    "peak": Account(unit="EUR", weight="money", meaning="a higher peak of the billing period"),
    "excess": Account(unit="EUR", weight="money", meaning="power beyond what is contracted"),
    "wear": Account(unit="EUR", weight="money", meaning="wear of the stores"),
    "starts": Account(unit="EUR", weight="money", meaning="starts and stops of units"),
    "transfer": Account(unit="EUR", weight="money", meaning="data of work that moves"),
    "terminal": Account(unit="EUR", weight="", meaning="work left undone less stores kept"),
    "ramp": Account(unit="EUR", weight="money", meaning="ramps beyond the connection's limit"),
    "return": Account(unit="EUR", weight="money", meaning="stores that are late to their window"),
    "targets": Account(unit="EUR", weight="money", meaning="import above what partners ask for"),
    "imbalance": Account(
        unit="EUR", weight="money", meaning="deviation from the position, beside its price"
    ),
    "intraday": Account(
        unit="EUR", weight="money", meaning="trades after day-ahead, beside its price"
    ),
    "budgets": Account(unit="EUR", weight="money", meaning="carbon and water beyond a budget"),
    "reserves": Account(unit="EUR", weight="money", meaning="less what reserve capacity earns"),
    "activation": Account(unit="EUR", weight="money", meaning="expected use of reserves"),
    "reserve_shortfall": Account(
        unit="EUR", weight="money", meaning="penalty for reserves sold and not held"
    ),
    "carbon": Account(unit="kg", weight="carbon", meaning="carbon of the energy imported"),
    "water": Account(unit="m3", weight="water", meaning="water drawn"),
    "lateness": Account(unit="MWh h", weight="lateness", meaning="work overdue, for each hour"),
}
"""Every account of a decision."""


def account_prices(weights: Mapping[str, float]) -> dict[str, float]:
    """Return what a unit of every account costs under the weights of a decision. [EUR per unit]"""
    return {name: weights.get(account.weight, 1.0) for name, account in ACCOUNTS.items()}


@dataclass(frozen=True, kw_only=True)
class Water:
    """What of the mains decides which rows and columns there are: nothing."""


def buy_water(block: pyo.Block, _: Water, ledger: Ledger) -> None:
    """Let water come from outside, and count it."""
    block.hours = table(block.model().time)
    columns(block, "water_use", block.model().time)
    ledger.gain("water", lambda t: block.water_use[t])
    ledger.pay("water", lambda t: block.hours[t] * block.water_use[t])
