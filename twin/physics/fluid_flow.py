"""Pumps and fans: electric power from flow, head and speed, and properties of cooling liquids.

Liquids are water, and water with 25 % propylene glycol by mass (PG25).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from twin.physics.numerics import Numeric
from twin.units import KW_PER_MW


@dataclass(frozen=True, kw_only=True)
class Liquid:
    """Density and heat capacity of a liquid as polynomials of its temperature in degC.

    - `density`: coefficients of the density, constant term first. [kg m-3]
    - `heat_capacity`: coefficients of the specific heat capacity, constant term first. [kJ kg-1
      K-1]
    - `freezing_point`: temperature at which ice begins to form. [degC]
    """

    name: str
    density: tuple[float, float, float]
    heat_capacity: tuple[float, float, float]
    freezing_point: float


# Both are fits from 5 to 70 degC to CoolProp 8.0: pure water (IAPWS-95), and "INCOMP::MPG" at
# 25 % (Melinder, Thermophysical Properties of Liquid Secondary Refrigerants, IIR, 2010); greatest
# error of the fits 0.03 % in density, 0.09 % in heat capacity.
WATER: Final = Liquid(
    name="water",
    density=(1000.653, -0.0455396, -0.00404371),
    heat_capacity=(4.207164, -0.001410263, 1.701192e-5),
    freezing_point=0.0,
)
PG25: Final = Liquid(
    name="pg25",
    density=(1026.179, -0.294595, -0.00278753),
    heat_capacity=(3.871625, 0.002474658, -1.249595e-6),
    freezing_point=-9.8,  # the same source, by CoolProp
)

LIQUIDS: Final = {liquid.name: liquid for liquid in (WATER, PG25)}
"""Liquids of circuits and racks, by their name in site files."""


def density(temperature: Numeric, liquid: Liquid = WATER) -> Numeric:
    """Return the density of a liquid.

    Parameters
    ----------
    temperature
        Temperature, 5 to 70 degC. [degC]

    Returns
    -------
    Numeric
        Density. [kg m-3]
    """
    return _polynomial(liquid.density, temperature)


def heat_capacity(temperature: Numeric, liquid: Liquid = WATER) -> Numeric:
    """Return the specific heat capacity of a liquid.

    Parameters
    ----------
    temperature
        Temperature, 5 to 70 degC. [degC]

    Returns
    -------
    Numeric
        Specific heat capacity. [kJ kg-1 K-1]
    """
    return _polynomial(liquid.heat_capacity, temperature)


def capacity_rate(flow: Numeric, liquid: Liquid = WATER, *, temperature: Numeric = 30.0) -> Numeric:
    r"""Return the heat that a flow carries per kelvin.

    Parameters
    ----------
    flow
        Mass flow. [kg s-1]
    temperature
        Mean temperature of the liquid. [degC]

    Returns
    -------
    Numeric
        Capacity rate. [MW K-1]

    Notes
    -----
    :math:`C = \dot m\, c_p(T)`.

    Examples
    --------
    >>> round(float(capacity_rate(3900.0) * 10.0), 1)
    163.0
    """
    return flow * heat_capacity(temperature, liquid) / KW_PER_MW


def _polynomial(coefficients: tuple[float, float, float], temperature: Numeric) -> Numeric:
    constant, linear, quadratic = coefficients
    return constant + temperature * (linear + temperature * quadratic)


FAN_POWER_EXPONENT: Final = 2.62
"""Power over speed of a tower's fan: 4.2 % of the power at 29.8 % of the flow (EnergyPlus). [1]"""


SHUT_OFF_HEAD: Final = 1.25
"""Head of a pump at rated speed and no flow, over its rated head; radial pumps: 1.1 to 1.4. [1]"""


def pump_speed(flow_share: Numeric, *, static_head_share: Numeric = 0.0) -> Numeric:
    r"""Return the speed at which the head of a pump equals that of its network.

    Parameters
    ----------
    flow_share
        Flow over rated flow. [1]
    static_head_share
        Static head of the network over rated head. [1]

    Returns
    -------
    Numeric
        Speed over rated speed. [1]

    Notes
    -----
    The network needs :math:`s + (1 - s) v^2`, the pump delivers :math:`a n^2 - (a - 1) v^2`; they
    are equal at :math:`n = \sqrt{[s + (a - s) v^2] / a}`. Without static head :math:`n = v` and the
    affinity laws hold. The shut-off head :math:`a` is :data:`SHUT_OFF_HEAD`.
    """
    head = static_head_share + (SHUT_OFF_HEAD - static_head_share) * np.square(flow_share)
    return np.sqrt(head / SHUT_OFF_HEAD)


def pump_power(
    flow_share: Numeric,
    *,
    rated_power: Numeric,
    static_head_share: Numeric = 0.0,
    minimum_flow_share: Numeric = 0.0,
) -> Numeric:
    r"""Return the electric power of a running pump with a drive.

    Parameters
    ----------
    flow_share
        Flow delivered to the network over rated flow. [1]
    rated_power
        Electric power at rated flow. [MW]
    static_head_share
        Static head of the network over rated head. [1]
    minimum_flow_share
        Lowest flow through the pump over rated flow; a bypass returns the rest. [1]

    Returns
    -------
    Numeric
        Electric power; a pump that is switched off is the caller's matter. [MW]

    Notes
    -----
    :math:`P = P_r\, v\, [a n^2 - (a - 1) v^2]` with :math:`v` held at its least value and
    :math:`n` from :func:`pump_speed`. The efficiency is that of the rated point; with
    much static head or throttling the true power is somewhat higher. Valid from 0 to 1.1 of the
    rated flow.
    """
    share = np.maximum(flow_share, minimum_flow_share)
    speed = pump_speed(share, static_head_share=static_head_share)
    head = SHUT_OFF_HEAD * speed**2 - (SHUT_OFF_HEAD - 1.0) * share**2
    return rated_power * share * head


def fan_power(
    speed_share: Numeric,
    rated_power: Numeric,
    *,
    exponent: Numeric = FAN_POWER_EXPONENT,
    minimum_speed_share: Numeric = 0.0,
) -> Numeric:
    r"""Return the electric power of a running fan with a drive.

    Parameters
    ----------
    speed_share
        Speed, or flow against an unchanged network, over the rated one. [1]
    rated_power
        Electric power at rated speed. [MW]
    exponent
        Exponent of the power over the speed; 3 without losses of drive and motor. [1]
    minimum_speed_share
        Lowest speed of the drive over rated speed. [1]

    Returns
    -------
    Numeric
        Electric power; a fan that is switched off is the caller's matter. [MW]

    Notes
    -----
    :math:`P = P_r\, n^k`, k from 2.6 to 3.
    """
    return rated_power * np.maximum(speed_share, minimum_speed_share) ** exponent
