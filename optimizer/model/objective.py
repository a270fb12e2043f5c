"""Objective of a decision: accounts in their own units, their weights, penalties and risk.

objective = sum over accounts of weight * account.

Penalties make limits soft, so that no plan fails for them. Under risk, the objective is
(1 - w) mean + w CVaR of the cost + v CVaR of the violations.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from twin.errors import IssueCode, ProblemError
from twin.physics import FloatArray

HARD_OBLIGATION_PENALTY: Final = {"net_import": 3e4, "import": 3e4, "carbon": 100.0, "water": 3e4}
"""Penalty of a hard obligation, above those of all other soft limits. [EUR per unit]"""


WEIGHT_OF_ACCOUNT: Final = {
    "electricity": "money",  # energy bought less energy sold
    "network": "money",  # fees on import and export
    "renewables": "money",  # paid for contracted solar and wind
    "heat": "money",  # less revenue from heat
    "peak": "money",  # a higher peak of the billing period
    "excess": "money",  # power above the contracted power
    "wear": "money",  # wear of the stores
    "starts": "money",  # starts and stops of units
    "transfer": "money",  # data transfer of migrated work
    "terminal": "",  # work left undone less final storage
    "ramp": "money",  # ramps beyond the connection's limit
    "return": "money",  # storage outside its window
    "targets": "money",  # import above what partners ask for
    "imbalance": "money",  # deviation from the position, beside its price
    "intraday": "money",  # trades after day-ahead, beside its price
    "budgets": "money",  # carbon and water beyond a budget
    "reserves": "money",  # less revenue from reserve capacity
    "activation": "money",  # expected use of reserves
    "reserve_shortfall": "money",  # penalty for reserves sold and not provided
    "carbon": "carbon",  # carbon of the energy imported [kg]
    "water": "water",  # water drawn [m3]
    "lateness": "lateness",  # work overdue, for each hour [MWh h]
    "waiting": "waiting",  # work that could have been done, for each hour [MWh h]
}
"""Account of a decision -> its weight, empty if it is weighted already. [EUR, or as stated]"""


def account_weights(weights: Mapping[str, float]) -> dict[str, float]:
    """Return the cost of a unit of every account under the weights of a decision. [EUR per unit]"""
    return {name: weights.get(weight, 1.0) for name, weight in WEIGHT_OF_ACCOUNT.items()}


RAMP_PENALTY_EUR_PER_MW: Final = 1e5
"""Penalty on a ramp above the limit of the connection, larger than a week of lateness. The
verifier rejects such plans. [EUR MW-1]
"""

SOC_RETURN_PENALTY_EUR_PER_MWH_H: Final = 1e4
"""Penalty on storage outside its window after the time by which it should be back; larger than any
other cost of waiting. [EUR MWh-1 h-1]
"""

RESERVE_SHORTFALL_PENALTY_EUR_PER_MW_H: Final = 1e4
"""Penalty on reserve sold and not provided, added to the market's penalty: a shortfall never pays.
[EUR MW-1 h-1]
"""

UNBACKED_PENALTY_RATIO: Final = 10.0
"""Penalty on missing reserve energy, as a multiple of the penalty on a late return. At least
0.2 MWh stand behind each MW (:data:`TAPER_TIME_H`), so that a shortfall is cheaper than missing
energy. [1]
"""

PENALTY_ACCOUNTS: Final = ("ramp", "return")
"""Accounts that hold penalties alone."""

VIOLATION_ACCOUNTS: Final = ("lateness", "ramp", "targets", "reserve_shortfall")
"""Accounts that pay for violated obligations and limits."""


@dataclass(frozen=True, kw_only=True)
class RiskPreference:
    """Risk measure over scenarios: (1 - w) mean + w CVaR of cost + v CVaR of violations.

    Raises ProblemError if one of them is out of its bounds.

    - `level`: share of scenarios outside the tail, at least 0 and below 1. [1]
    - `weight`: weight w of the tail of the cost, from 0 (mean alone) to 1 (tail alone). [1]
    - `violations`: weight v of the tail of :data:`VIOLATION_ACCOUNTS`, 0 or more. [1]
    - `waiting`: expected cost of work that waits, 0 or more. After the first stage a scenario knows
      its future, so that waiting looks better than it is: a larger burst may come at any time, in
      which waiting work runs uncapped, raises the peak or is late. [EUR MWh-1 h-1]
    """

    level: float = 0.9
    weight: float = 0.3
    violations: float = 0.5
    waiting: float = 0.15

    def __post_init__(self) -> None:
        """Raise an error if a value is out of its bounds."""
        bounds = {"level": 1.0 - 1e-9, "weight": 1.0, "violations": np.inf, "waiting": np.inf}
        issues = [
            IssueCode.OUT_OF_RANGE.issue(
                f"risk, {name}",
                found=str(value),
                expected=f"a number from 0 to {limit:g}",
                remedy="change the value",
            )
            for name, limit in bounds.items()
            if not (np.isfinite(value := getattr(self, name)) and 0.0 <= value <= limit)
        ]
        ProblemError.raise_if_any("risk", issues)

    def describe(self) -> str:
        """Return level and weights as text."""
        return (
            f"risk level {self.level:g}, weight of the tail {self.weight:g}, "
            f"of its violations {self.violations:g}, "
            f"cost of waiting work {self.waiting:g} EUR/MWh h"
        )


def cvar(costs: FloatArray, probability: FloatArray, level: float) -> float:
    r"""Return the conditional value at risk: the mean of the worst costs. [EUR]

    :math:`\min_\eta \eta + \sum_i p_i \max(c_i - \eta, 0) / (1 - \alpha)` with ``level``
    :math:`\alpha` [1], ``costs`` [EUR] and their ``probability`` [1]; the optimal :math:`\eta` is
    the value at risk.
    """
    order = np.argsort(costs)
    reached = np.cumsum(probability[order]) >= level - 1e-12
    threshold = costs[order][np.argmax(reached)]
    excess = probability @ np.maximum(costs - threshold, 0.0)
    return float(threshold + excess / (1.0 - level))
