"""Few scenarios for many: those that lie closest to all others, with the others' probability."""

import numpy as np
from numpy.typing import NDArray

from twin.physics import FloatArray


def reduced(
    points: FloatArray, probability: FloatArray, count: int
) -> tuple[NDArray[np.int64], FloatArray]:
    r"""Return which scenarios stand for all, and how probable they are then.

    Parameters
    ----------
    points
        Scenarios, ``(scenario, value)``; their distance is the Euclidean one. [1]
    probability
        Of each scenario; their sum is 1. [1]
    count
        How many are kept, at most. [1]

    Returns
    -------
    tuple
        Positions of those kept, rising, and their probabilities. [1]

    Notes
    -----
    Fast forward selection (Heitsch and Römisch, *Scenario reduction algorithms in stochastic
    programming*, Comput. Optim. Appl. 24, 2003): one after the other that scenario is taken which
    leaves the least :math:`\sum_i p_i \min_j |x_i - x_j|`, the distance between the two measures;
    then everyone left gives its probability to the nearest one kept.
    """
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    nearest = np.full(len(points), np.inf)
    kept: list[int] = []
    for _ in range(min(count, len(points))):
        left = probability @ np.minimum(nearest[:, None], apart)
        left[kept] = np.inf
        best = int(np.argmin(left))
        kept.append(best)
        nearest = np.minimum(nearest, apart[best])
    places = np.sort(np.array(kept, dtype=np.int64))
    heir = np.argmin(apart[:, places], axis=1)
    heir[places] = np.arange(len(places))  # twins keep their own
    return places, np.bincount(heir, weights=probability, minlength=len(places)).astype(float)
