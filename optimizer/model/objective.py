"""What a decision minimises: accounts in their own units, and the weight that makes each money.

Prices of ours: what a plan pays for what should not be, so that none fails for it.

Risk: how much the mean of the worst cases counts beside the mean of all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from twin.errors import ProblemError, ValidationIssue
from twin.physics import FloatArray


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


def account_weights(weights: Mapping[str, float]) -> dict[str, float]:
    """Return what a unit of every account costs under the weights of a decision. [EUR per unit]"""
    return {name: weights.get(account.weight, 1.0) for name, account in ACCOUNTS.items()}


RAMP_PENALTY_EUR_PER_MW: Final = 1e5
"""Price of a MW beyond the ramp of the connection, which no lateness of a week outweighs: a verdict
refuses whoever buys it. [EUR MW-1]"""

SOC_RETURN_PENALTY_EUR_PER_MWH_H: Final = 1e4
"""Price of a MWh by which a store is outside its window still, where it was meant to be back, for
each hour: dearer than all that waits, and no plan fails for it. [EUR MWh-1 h-1]"""

RESERVE_SHORTFALL_PENALTY_EUR_PER_MW_H: Final = 1e4
"""Price of a MW that is sold and not held for an hour, on top of the market's penalty, so that a
promise is never broken for gain, and a plan never fails for it. [EUR MW-1 h-1]"""

UNBACKED_PENALTY_RATIO: Final = 10.0
"""How much dearer it is to lack energy behind reserves than to come back late: as there are at the
least 0.2 MWh behind a MW (:data:`TAPER_TIME_H`), that beats the price of telling that it is not
held. [1]
"""

VIOLATION_ACCOUNTS: Final = ("lateness", "ramp", "targets", "reserve_shortfall")
"""Accounts that pay for what was promised and is not kept."""


@dataclass(frozen=True, kw_only=True)
class RiskPreference:
    """What is minimised over scenarios: (1 - w) mean + w CVaR of cost + v CVaR of violations.

    Attributes
    ----------
    level
        Share of the cases that the tail leaves out, 0 or more and below 1. [1]
    weight
        What the tail of the cost counts, 0 for the mean alone to 1 for the tail alone. [1]
    violations
        What the tail of :data:`VIOLATION_ACCOUNTS` counts on top, 0 or more. [1]

    Raises
    ------
    ProblemError
        If one of them is out of its bounds.
    """

    level: float = 0.9
    weight: float = 0.3
    violations: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what has no sense."""
        bounds = {"level": 1.0 - 1e-9, "weight": 1.0, "violations": np.inf}
        faults = [
            ValidationIssue(
                location=f"risk, {name}", found=str(value), remedy=f"must lie in 0 to {most:g}"
            )
            for name, most in bounds.items()
            if not (np.isfinite(value := getattr(self, name)) and 0.0 <= value <= most)
        ]
        if faults:
            source = "risk"
            raise ProblemError(source, faults)


def cvar(costs: FloatArray, probability: FloatArray, level: float) -> float:
    r"""Return the mean of the worst costs.

    Parameters
    ----------
    costs
        Of every case. [EUR]
    probability
        Of each; their sum is 1. [1]
    level
        Share of the cases that is left out. [1]

    Returns
    -------
    float
        :math:`\min_\eta \eta + \sum_i p_i \max(c_i - \eta, 0) / (1 - \alpha)`, which the least cost
        that is not exceeded in a share :math:`\alpha` of the cases solves. [EUR]
    """
    order = np.argsort(costs)
    reached = np.cumsum(probability[order]) >= level - 1e-12
    threshold = costs[order][np.argmax(reached)]
    beyond = probability @ np.maximum(costs - threshold, 0.0)
    return float(threshold + beyond / (1.0 - level))
