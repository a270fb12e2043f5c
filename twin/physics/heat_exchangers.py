"""Heat exchangers by effectiveness and transfer units, cold plates, and part-load approach.

Functions of cold plates describe a single chip: heat in W and flow in l/min.
"""

from typing import Final

import numpy as np

from twin.physics.numerics import FloatArray, Numeric, interpolate_extrapolate

FILM_COEFFICIENT_EXPONENT: Final = 0.8
"""Film coefficient over flow in turbulent ducts and plate channels (Dittus and Boelter). [1]"""

_MAX_TRANSFER_UNITS: Final = 1e12
"""Upper bound of transfer units, practically infinite. [1]"""

_MIN_FILM_FLOW_SHARE: Final = 1e-6  # of a rated flow; keeps film resistances finite


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
        Heat exchanged over the theoretical maximum. [1]

    Notes
    -----
    With :math:`d = N (1 - C_r)` and :math:`g = N (1 - e^{-d}) / d` the effectiveness is
    :math:`g / (1 + C_r g)`: the textbook form without its 0/0 at :math:`C_r = 1`, where it becomes
    :math:`N / (1 + N)`; at :math:`C_r = 0` it is :math:`1 - e^{-N}`.

    References
    ----------
    .. [1] W. M. Kays and A. L. London, *Compact Heat Exchangers*, 3rd ed. McGraw-Hill, 1984.
    """
    units = np.minimum(transfer_units, _MAX_TRANSFER_UNITS)
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
        Heat exchanged over the theoretical maximum. [1]

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
    units = np.clip(transfer_units, 0.0, _MAX_TRANSFER_UNITS)
    return -np.expm1(-units * _mean_decay(capacity_ratio * units**0.78))


def conductance(
    hot_flow_share: Numeric,
    cold_flow_share: Numeric,
    *,
    rated_conductance: Numeric,
) -> Numeric:
    r"""Return the conductance of a heat exchanger at other than rated flows.

    Parameters
    ----------
    hot_flow_share, cold_flow_share
        Flow over rated flow on either side. [1]
    rated_conductance
        Conductance at both rated flows. [MW K-1]

    Returns
    -------
    Numeric
        Conductance UA. [MW K-1]

    Notes
    -----
    :math:`1/UA = [v_h^{-0.8} + v_c^{-0.8}] / (2\, UA_r)`: each side has half of the rated
    resistance, and the wall is neglected. Valid while both sides stay turbulent, from about a
    quarter of the rated flow on.
    """
    hot, cold = (
        np.maximum(share, _MIN_FILM_FLOW_SHARE) ** -FILM_COEFFICIENT_EXPONENT
        for share in (hot_flow_share, cold_flow_share)
    )
    return rated_conductance / (0.5 * hot + 0.5 * cold)


def _mean_decay(x: Numeric) -> Numeric:
    """Return (1 - exp(-x)) / x, which is 1 at x = 0."""
    is_small = np.abs(x) < _MIN_FILM_FLOW_SHARE
    safe = np.where(is_small, 1.0, x)
    return np.where(is_small, 1.0 - 0.5 * np.asarray(x), -np.expm1(-safe) / safe)[()]


# Resistance of a cold plate for a 1 kW accelerator module with PG25 (Open Compute Project, OAM;
# secondary source): l/min, K/W.
OCP_PLATE_POINTS: Final = (
    (0.4, 0.6, 0.8, 1.0, 1.4, 2.0, 2.4),
    (0.0389, 0.0300, 0.0265, 0.0245, 0.0220, 0.0204, 0.0197),
)
"""Flows [l min-1] and resistances [K W-1] of the plate of a 1 kW module with PG25."""

_MIN_PLATE_FLOW: Final = 0.05  # l/min; below it the coolant boils


type PlatePoints = tuple[tuple[float, ...], tuple[float, ...]]
"""Rising flows [l min-1] and the resistances of a cold plate there [K W-1]."""


def cold_plate_resistance(flow: Numeric, *, points: PlatePoints = OCP_PLATE_POINTS) -> Numeric:
    """Return the thermal resistance from the chip's case to the coolant's inlet.

    Parameters
    ----------
    flow
        Flow through the plate. [l min-1]
    points
        Measured flows [l min-1] and resistances [K W-1], by default of the module of the Open
        Compute Project.

    Returns
    -------
    Numeric
        Thermal resistance. [K W-1]

    Notes
    -----
    Linear interpolation of the points in logarithms, extrapolated at both ends and constant below
    0.05 l/min. Valid between the points, by default from 0.4 to 2.4 l/min.
    """
    position = np.log(np.maximum(flow, _MIN_PLATE_FLOW))
    flows, resistances = np.log(points)
    return np.exp(interpolate_extrapolate(position, flows, resistances))


def part_load_approach(
    heat: FloatArray,
    *,
    rated_heat: float,
    rated_approach: float,
    ranges: tuple[float, float],
    minimum_flow: float,
    fouling: float = 1.0,
    flow_shares: tuple[FloatArray, FloatArray] | None = None,
) -> FloatArray:
    r"""Return hot outlet less cold inlet temperature of a heat exchanger at part load.

    Parameters
    ----------
    heat
        Heat exchanged. [MW]
    rated_heat
        Heat at rating. [MW]
    rated_approach
        Hot outlet less cold inlet at rating. [K]
    ranges
        Temperature change of the hot and of the cold stream at rating. [K]
    minimum_flow
        Minimum of both flows over rated flow. [1]
    fouling
        Conductance over that of the clean exchanger. [1]
    flow_shares
        Flows of the hot and cold stream over rated flow; by default both are proportional to the
        heat. [1]

    Returns
    -------
    numpy.ndarray
        Approach, zero without heat. [K]

    Notes
    -----
    Counterflow. Both flows are proportional to the heat, so their capacity rates are :math:`v C_h`
    and :math:`v C_c` with :math:`v = \max(Q / Q_r, v_{min})`, and the conductance is :math:`UA_r f
    v^{0.8}`; the approach is :math:`Q / (\varepsilon C_{min}) - Q / (v C_h)`. With ``flow_shares``
    each stream has its own :math:`v`.
    """
    heat = np.asarray(heat, dtype=np.float64)
    if flow_shares is None:
        share = np.maximum(heat / rated_heat, minimum_flow)
        flow_shares = share, share
    hot_share, cold_share = flow_shares
    hot_rate = hot_share * rated_heat / ranges[0]
    cold_rate = cold_share * rated_heat / ranges[1]
    smaller = np.minimum(hot_rate, cold_rate)
    passing = conductance(
        hot_share,
        cold_share,
        rated_conductance=fouling * _rated_conductance(rated_heat, rated_approach, ranges),
    )
    effectiveness = counterflow_effectiveness(
        passing / smaller, smaller / np.maximum(hot_rate, cold_rate)
    )
    return np.asarray(heat / (effectiveness * smaller) - heat / hot_rate)


def _rated_conductance(heat: float, approach: float, ranges: tuple[float, float]) -> float:
    """Return the conductance of the clean exchanger at rating. [MW K-1]

    It is the heat over the logarithmic mean of the differences at both ends, without 0/0.
    """
    warm_end = approach + ranges[0] - ranges[1]
    return float(heat / (warm_end * _mean_decay(np.log(warm_end / approach))))


def economiser_temperature_difference(
    heat: Numeric, approach: Numeric, *, chilled_rate: Numeric, water_rate: Numeric
) -> FloatArray:
    r"""Return chilled supply less rejection water at which an economiser carries a heat alone.

    Parameters
    ----------
    heat
        Heat of the chilled water. [MW]
    approach
        Smallest difference of the streams. [K]
    chilled_rate, water_rate
        Capacity rates of chilled and condenser water. [MW K-1]

    Returns
    -------
    numpy.ndarray
        Temperature difference. [K]

    Notes
    -----
    :math:`a + Q\,(1 / C_{min} - 1 / C)`, counterflow. The approach lies at the cold end, or at the
    warm end if the capacity rate of the condenser water is the smaller one.
    """
    smaller_rate = np.minimum(chilled_rate, water_rate)
    return np.asarray(approach + heat * (1.0 / smaller_rate - 1.0 / chilled_rate))
