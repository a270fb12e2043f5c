"""Quantiles of a mixture of normal distributions, and Student's density."""

from math import erf, lgamma
from typing import Final

import numpy as np

from twin.physics import FloatArray

REACH: Final = 9.0
"""Standard deviations beyond which a normal distribution has nothing. [1]"""

HALVINGS: Final = 50
"""Halvings of the span in which a quantile is looked for. [1]"""

LIKELY: Final = 1e-6
"""Weight below which a part is left out. [1]"""


def quantile(share: float, weight: FloatArray, mean: FloatArray, *, sizes: FloatArray) -> float:
    """Return the value below which a share of a mixture lies.

    Parameters
    ----------
    share
        The share. [1]
    weight
        How likely each part is. [1]
    mean, sizes
        Means and standard deviations of the parts. [any unit]

    Returns
    -------
    float
        The quantile. [the same unit]
    """
    kept = weight > LIKELY
    weight, mean, sizes = weight[kept] / weight[kept].sum(), mean[kept], sizes[kept]
    low, high = float(np.min(mean - REACH * sizes)), float(np.max(mean + REACH * sizes))
    scaled = np.sqrt(2.0) * np.maximum(sizes, np.finfo(float).tiny)
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        below = [erf(x) for x in ((middle - mean) / scaled).tolist()]
        if 0.5 * (1.0 + float(np.dot(weight, below))) < share:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def student(off: FloatArray, count: FloatArray, squares: FloatArray) -> FloatArray:
    """Return Student's density of an error whose variance is known by an inverse gamma alone.

    Parameters
    ----------
    off
        The error. [any unit]
    count, squares
        Shape [1] and scale [unit of the error, squared] of the distribution of its variance.

    Returns
    -------
    numpy.ndarray
        Density. [1 / unit of the error]
    """
    free = 2.0 * count
    scale = np.sqrt(squares / count)
    factor = [lgamma(0.5 * (f + 1.0)) - lgamma(0.5 * f) for f in free.ravel().tolist()]
    whole = np.exp(np.reshape(factor, free.shape)) / (np.sqrt(np.pi * free) * scale)
    return np.asarray(whole * (1.0 + (off / scale) ** 2 / free) ** (-0.5 * (free + 1.0)))
