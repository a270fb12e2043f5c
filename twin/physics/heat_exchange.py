"""Heat exchangers by effectiveness and number of transfer units."""

from typing import Final

import numpy as np

from twin.physics.numeric import Numeric

FLOW_EXPONENT: Final = 0.8
"""Film coefficient over flow in turbulent ducts and plate channels (Dittus and Boelter). [1]"""

_MOST_UNITS: Final = 1e12
"""Transfer units that stand for endlessly many. [1]"""

_LEAST_SHARE: Final = 1e-6  # of a rated flow, so that no film resistance becomes infinite


def counterflow_effectiveness(transfer_units: Numeric, capacity_ratio: Numeric) -> Numeric:
    r"""Return the effectiveness of a counterflow heat exchanger.

    Parameters
    ----------
    transfer_units
        Conductance over the smaller capacity rate, N. [1]
    capacity_ratio
        Smaller over larger capacity rate, 0 to 1. [1]

    Returns
    -------
    Numeric
        Heat exchanged over the most that could be. [1]

    Notes
    -----
    With :math:`d = N (1 - C_r)` and :math:`g = N (1 - e^{-d}) / d` the effectiveness is
    :math:`g / (1 + C_r g)`: the textbook form without its 0/0 at :math:`C_r = 1`, where it becomes
    :math:`N / (1 + N)`; at :math:`C_r = 0` it is :math:`1 - e^{-N}`.

    References
    ----------
    .. [1] W. M. Kays and A. L. London, *Compact Heat Exchangers*, 3rd ed. McGraw-Hill, 1984.
    """
    units = np.minimum(transfer_units, _MOST_UNITS)
    gain = units * _mean_decay(units * (1.0 - capacity_ratio))
    return np.minimum(gain / (1.0 + capacity_ratio * gain), 1.0)


def crossflow_effectiveness(transfer_units: Numeric, capacity_ratio: Numeric) -> Numeric:
    r"""Return the effectiveness of a crossflow heat exchanger, both streams unmixed.

    Parameters
    ----------
    transfer_units
        Conductance over the smaller capacity rate, N. [1]
    capacity_ratio
        Smaller over larger capacity rate, 0 to 1. [1]

    Returns
    -------
    Numeric
        Heat exchanged over the most that could be. [1]

    Notes
    -----
    :math:`1 - \exp\{[\exp(-C_r N^{0.78}) - 1] / (C_r N^{-0.22})\}`, an approximation within about
    2 % of the exact series; at :math:`C_r = 0` it becomes :math:`1 - e^{-N}`.

    References
    ----------
    .. [1] F. P. Incropera and D. P. DeWitt, *Fundamentals of Heat and Mass Transfer*, 5th ed.
       Wiley, 2002, eq. (11.33).

    Examples
    --------
    >>> round(float(crossflow_effectiveness(2.0, 0.5)), 3)
    0.739
    """
    units = np.clip(transfer_units, 0.0, _MOST_UNITS)
    return -np.expm1(-units * _mean_decay(capacity_ratio * units**0.78))


def conductance(
    hot_flow_share: Numeric,
    cold_flow_share: Numeric,
    *,
    rated_conductance: Numeric,
    hot_resistance_share: Numeric = 0.5,
    exponent: float = FLOW_EXPONENT,
) -> Numeric:
    r"""Return the conductance of a heat exchanger away from its rated flows.

    Parameters
    ----------
    hot_flow_share, cold_flow_share
        Flow over rated flow on either side. [1]
    rated_conductance
        Conductance at both rated flows. [MW K-1]
    hot_resistance_share
        Share of the rated resistance that lies on the hot side. [1]
    exponent
        Exponent of the film coefficient over the flow. [1]

    Returns
    -------
    Numeric
        Conductance UA. [MW K-1]

    Notes
    -----
    :math:`1/UA = [r\, v_h^{-0.8} + (1 - r)\, v_c^{-0.8}] / UA_r`; the wall is neglected.
    Valid while both sides stay turbulent, from about a quarter of the rated flow on.
    """
    hot = np.maximum(hot_flow_share, _LEAST_SHARE) ** -exponent
    cold = np.maximum(cold_flow_share, _LEAST_SHARE) ** -exponent
    resistance = hot_resistance_share * hot + (1.0 - hot_resistance_share) * cold
    return rated_conductance / resistance


def conductance_from_temperatures(
    heat: Numeric,
    hot_inlet: Numeric,
    *,
    hot_outlet: Numeric,
    cold_inlet: Numeric,
    cold_outlet: Numeric,
) -> Numeric:
    r"""Return the conductance that a counterflow heat exchanger shows at one measured point.

    Parameters
    ----------
    heat
        Heat exchanged. [MW]
    hot_inlet, hot_outlet, cold_inlet, cold_outlet
        Temperatures of the two streams. [degC]

    Returns
    -------
    Numeric
        Conductance UA. [MW K-1]

    Notes
    -----
    :math:`UA = Q / \Delta T_{lm}` with the logarithmic mean of the differences at the two ends,
    here without its 0/0 where they are equal.
    """
    warm_end, cold_end = hot_inlet - cold_outlet, hot_outlet - cold_inlet
    mean = warm_end * _mean_decay(np.log(warm_end / cold_end))
    return heat / mean


def heat_exchanged(
    inlet_difference: Numeric,
    conductance: Numeric,
    *,
    hot_capacity_rate: Numeric,
    cold_capacity_rate: Numeric,
) -> Numeric:
    r"""Return the heat that a counterflow heat exchanger passes on.

    Parameters
    ----------
    inlet_difference
        Inlet temperature of the hot side over that of the cold side. [K]
    conductance
        Conductance UA. [MW K-1]
    hot_capacity_rate, cold_capacity_rate
        Capacity rates of the two streams. [MW K-1]

    Returns
    -------
    Numeric
        Heat, negative where the hot side enters colder. [MW]

    Notes
    -----
    :math:`Q = \varepsilon\, C_{min} (T_{h,in} - T_{c,in})`; nothing where a stream stands still.
    """
    least = np.minimum(hot_capacity_rate, cold_capacity_rate)
    flowing = np.where(least > 0.0, least, 1.0)
    ratio = least / np.maximum(np.maximum(hot_capacity_rate, cold_capacity_rate), flowing)
    return counterflow_effectiveness(conductance / flowing, ratio) * least * inlet_difference


def _mean_decay(x: Numeric) -> Numeric:
    """Return (1 - exp(-x)) / x, which is 1 at x = 0."""
    is_small = np.abs(x) < _LEAST_SHARE
    safe = np.where(is_small, 1.0, x)
    return np.where(is_small, 1.0 - 0.5 * np.asarray(x), -np.expm1(-safe) / safe)[()]
