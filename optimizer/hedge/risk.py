"""Risk: how much the mean of the worst cases counts beside the mean of all."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from twin.errors import ProblemError, ValidationIssue
from twin.physics import FloatArray

VIOLATIONS: Final = ("lateness", "ramp", "targets", "reserve_shortfall")
"""Accounts that pay for what was promised and is not kept."""


@dataclass(frozen=True, kw_only=True)
class Risk:
    """What is minimised over scenarios: (1 - w) mean + w CVaR of cost + v CVaR of violations.

    Attributes
    ----------
    level
        Share of the cases that the tail leaves out, 0 or more and below 1. [1]
    weight
        What the tail of the cost counts, 0 for the mean alone to 1 for the tail alone. [1]
    violations
        What the tail of :data:`VIOLATIONS` counts on top, 0 or more. [1]

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
                place=f"risk, {name}", value=str(value), mend=f"must lie in 0 to {most:g}"
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
