"""Few courses for several, told apart by the work that comes in them."""

import numpy as np
from numpy.typing import NDArray

from twin.physics import FloatArray


def by_work(
    work: FloatArray, probability: FloatArray, count: int
) -> tuple[NDArray[np.int64], FloatArray]:
    """Return which courses stand for all, and how probable they are then.

    Parameters
    ----------
    work
        What comes in each course. [any unit]
    probability
        Of each; their sum is 1. [1]
    count
        How many are kept, at most; two or more. [1]

    Returns
    -------
    tuple
        Positions of those kept, from the least work to the most, and their probabilities. [1]

    Notes
    -----
    The one with most work stands for itself: a burst is what has to be ready for. The others are
    parted by rank into groups of like number, and of each group the one nearest to its mean stands
    for all.
    """
    order = np.argsort(work, kind="stable")
    if len(order) <= count:
        return order, probability[order]
    groups = [*np.array_split(order[:-1], count - 1), order[-1:]]
    shares = np.array([probability[group].sum() for group in groups])
    means = [float(np.average(work[group], weights=probability[group])) for group in groups]
    kept = [
        group[np.argmin(np.abs(work[group] - mean))]
        for group, mean in zip(groups, means, strict=True)
    ]
    return np.array(kept, dtype=np.int64), shares
