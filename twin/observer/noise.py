"""How noisy models and sensors may be, each beside the other and beside what is moving."""

from typing import Final

import numpy as np

from twin.observer.trust import Trust
from twin.physics import FloatArray

RATIOS: Final = np.arange(-6.0, 5.0)
"""Sizes of a model's noise beside that of the sensor, in doublings. [1]"""

RATIO_WIDTH: Final = 1.25
"""Standard deviation of what is believed of it before anything is read, in doublings. [1]"""

CALMS: Final = np.array([0.003, 0.03, 0.2, 0.6, 1.0])
"""Share of the noise, squared, that is there though nothing moves. [1]"""


def likely(trust: Trust) -> FloatArray:
    """Return how likely each noise is before anything is read, ``(noise,)``. [1]"""
    bell = np.exp(-0.5 * (_ratios(trust) / RATIO_WIDTH) ** 2)
    return np.tile(bell / bell.sum(), len(CALMS)) / len(CALMS)


def model_variance(trust: Trust, stir: float, hours: float) -> FloatArray:
    """Return the variance that a model gathers, beside the sensor's, ``(noise,)``. [1]

    Parameters
    ----------
    trust
        Its mean is what this says, before anything is read.
    stir
        Square of how far things have moved, beside what is usual. [1]
    hours
        Over which it gathers. [h]
    """
    squares = np.tile(4.0 ** _ratios(trust), len(CALMS))
    squares = squares / np.sum(likely(trust) * squares)
    beside = (trust.drift / trust.sensor) ** 2 * hours
    return np.asarray(beside * squares * _stirred(trust, stir))


def sensor_variance(trust: Trust, stir: float) -> FloatArray:
    """Return the variance of a sensor's noise beside what it usually is, ``(noise,)``. [1]

    A sensor errs as it always does; that of a held stock by as much as its model does, since
    nothing tells one from the other.

    Parameters
    ----------
    trust
        Of the stock.
    stir
        Square of how far things have moved, beside what is usual. [1]
    """
    factor = _stirred(trust, stir)
    return factor if trust.is_held else np.ones(len(factor))


def _ratios(trust: Trust) -> FloatArray:
    return np.zeros(1) if trust.is_held else RATIOS


def _stirred(trust: Trust, stir: float) -> FloatArray:
    calm = np.repeat(CALMS, len(_ratios(trust)))
    return np.asarray(calm + (1.0 - calm) * stir)
