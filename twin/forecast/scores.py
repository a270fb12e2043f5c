"""Scores of forecasts that are given as scenarios with probabilities: lower is better.

After Gneiting and Raftery, *Strictly proper scoring rules, prediction, and estimation*, J. Am.
Stat. Assoc. 102 (2007), equations 20 and 22.
"""

import numpy as np

from twin.physics import FloatArray


def crps(members: FloatArray, probability: FloatArray, truth: FloatArray) -> FloatArray:
    r"""Return the continuous ranked probability score of every value.

    Parameters
    ----------
    members
        Scenarios, ``(scenario, ...)``, in any unit.
    probability
        Of each scenario; their sum is 1. [1]
    truth
        What came, ``(...)``, in the same unit.

    Returns
    -------
    numpy.ndarray
        :math:`E|X - y| - E|X - X'| / 2`, in the same unit; for one scenario the absolute error.
    """
    off = np.tensordot(probability, np.abs(members - truth), axes=1)
    apart = np.abs(members[:, None] - members[None])
    spread = np.tensordot(np.outer(probability, probability), apart, axes=2)
    return np.asarray(off - 0.5 * spread)


def energy_score(members: FloatArray, probability: FloatArray, truth: FloatArray) -> float:
    r"""Return the energy score of whole courses.

    Parameters
    ----------
    members
        Scenarios, ``(scenario, value)``, in any unit, or each value in units of its spread.
    probability
        Of each scenario; their sum is 1. [1]
    truth
        What came, ``(value,)``, in the same unit.

    Returns
    -------
    float
        :math:`E\|X - y\| - E\|X - X'\| / 2` with the Euclidean norm, in the same unit.
    """
    off = probability @ np.linalg.norm(members - truth, axis=1)
    apart = np.linalg.norm(members[:, None] - members[None], axis=2)
    return float(off - 0.5 * probability @ apart @ probability)


def quantile(members: FloatArray, probability: FloatArray, share: float) -> FloatArray:
    """Return a quantile of scenarios: the least value that this share does not exceed.

    Parameters
    ----------
    members
        Scenarios, ``(scenario, ...)``, in any unit.
    probability
        Of each scenario; their sum is 1. [1]
    share
        Which quantile. [1]

    Returns
    -------
    numpy.ndarray
        Values ``(...)``, in the same unit.
    """
    order = np.argsort(members, axis=0, kind="stable")
    reached = np.cumsum(probability[order], axis=0) >= share - 1e-12
    first = np.argmax(reached, axis=0)[None]
    ranked = np.take_along_axis(members, order, axis=0)
    return np.asarray(np.take_along_axis(ranked, first, axis=0)[0])


def is_covered(
    members: FloatArray, probability: FloatArray, truth: FloatArray, *, low: float, high: float
) -> np.ndarray:
    """Tell where the truth lies between two quantiles of scenarios, or on one of them.

    Parameters
    ----------
    members
        Scenarios, ``(scenario, ...)``, in any unit.
    probability
        Of each scenario; their sum is 1. [1]
    truth
        What came, ``(...)``, in the same unit.
    low, high
        Shares of the quantiles. [1]
    """
    least, most = (quantile(members, probability, share) for share in (low, high))
    return np.asarray((least <= truth) & (truth <= most))
