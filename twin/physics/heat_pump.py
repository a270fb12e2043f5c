"""Heat pumps between two streams of water that change their temperatures."""

from typing import Final

import numpy as np

from twin.physics.numeric import Numeric
from twin.units import KELVIN

SAME: Final = 1e-6
"""Difference of temperatures that is none. [K]"""


def mean_temperature(one: Numeric, other: Numeric) -> Numeric:
    """Return the thermodynamic mean of a stream's temperature between its two ends.

    Parameters
    ----------
    one, other
        Temperatures of the stream at its ends. [degC]

    Returns
    -------
    Numeric
        The logarithmic mean of the absolute temperatures. [degC]
    """
    warm, cold = one + KELVIN, other + KELVIN
    is_one = np.abs(warm - cold) < SAME
    apart = np.where(is_one, SAME, warm - cold)
    mean: Numeric = np.where(is_one, one, apart / np.log1p(apart / cold) - KELVIN)[()]
    return mean


def lorenz_cop(source_temperature: Numeric, sink_temperature: Numeric) -> Numeric:
    r"""Return the coefficient of performance of a heat pump without any loss.

    Parameters
    ----------
    source_temperature, sink_temperature
        Thermodynamic means of the stream that is cooled and of the one that is warmed, by
        :func:`mean_temperature`. [degC]

    Returns
    -------
    Numeric
        Heat delivered over electricity. [1]

    Notes
    -----
    :math:`\bar T_s / (\bar T_s - \bar T_q)` of the Lorenz cycle, which follows both streams where
    Carnot's has two fixed temperatures [1]_. Where nothing is lifted it is endless.

    References
    ----------
    .. [1] H. Lorenz, "Die Ermittlung der Grenzwerte der thermodynamischen Energieumwandlung,"
       Zeitschrift für die gesammte Kälte-Industrie, vol. 2, 1895.
    """
    lift = np.asarray(sink_temperature - source_temperature)
    is_lifted = lift > 0.0
    cop = (sink_temperature + KELVIN) / np.where(is_lifted, lift, 1.0)
    return np.where(is_lifted, cop, np.inf)[()]
