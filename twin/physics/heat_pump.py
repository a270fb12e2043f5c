"""Heat pumps between two streams of water that change their temperatures."""

from typing import Final

import numpy as np

from twin.units import KELVIN

SAME: Final = 1e-6
"""Difference of temperatures that is none. [K]"""


def mean_temperature(one: float, other: float) -> float:
    """Return the thermodynamic mean of a stream's temperature between its two ends.

    Parameters
    ----------
    one, other
        Temperatures of the stream at its ends. [degC]

    Returns
    -------
    float
        The logarithmic mean of the absolute temperatures. [degC]
    """
    warm, cold = one + KELVIN, other + KELVIN
    if abs(warm - cold) < SAME:
        return one
    return float((warm - cold) / np.log(warm / cold)) - KELVIN


def lorenz_cop(source_temperature: float, sink_temperature: float) -> float:
    r"""Return the coefficient of performance of a heat pump without any loss.

    Parameters
    ----------
    source_temperature, sink_temperature
        Thermodynamic means of the stream that is cooled and of the one that is warmed, by
        :func:`mean_temperature`. [degC]

    Returns
    -------
    float
        Heat delivered over electricity. [1]

    Notes
    -----
    :math:`\bar T_s / (\bar T_s - \bar T_q)` of the Lorenz cycle, which follows both streams where
    Carnot's has two fixed temperatures [1]_.

    References
    ----------
    .. [1] H. Lorenz, "Die Ermittlung der Grenzwerte der thermodynamischen Energieumwandlung,"
       Zeitschrift für die gesammte Kälte-Industrie, vol. 2, 1895.
    """
    return (sink_temperature + KELVIN) / (sink_temperature - source_temperature)
