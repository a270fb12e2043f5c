"""Dry coolers, plain and with adiabatic pre-cooling pads."""

from typing import Final

import numpy as np

from twin.physics.air import humidity_ratio_from_wet_bulb
from twin.physics.atmosphere import STANDARD_PRESSURE
from twin.physics.heat_exchange import crossflow_effectiveness
from twin.physics.numeric import FloatArray, Numeric

AIR_EXPONENT: Final = 0.6
"""Conductance of a finned coil over its air flow; 0.5 to 0.7 in coils, assumed. [1]"""

_LEAST_SPEED: Final = 0.02  # draught through a coil whose fans stand still; assumed
_LEAST_GAIN: Final = 1e-300  # MW K-1, so that none is divided by


def dry_cooler_heat(
    inlet_difference: Numeric,
    fan_speed_share: Numeric,
    *,
    capacity_rate: Numeric,
    rated_air_capacity_rate: Numeric,
    rated_conductance: Numeric,
    exponent: float = AIR_EXPONENT,
) -> Numeric:
    r"""Return the heat that a dry cooler rejects.

    Parameters
    ----------
    inlet_difference
        Temperature of the entering water less that of the entering air. [K]
    fan_speed_share
        Fan speed over rated speed; fans at rest leave a draught of 0.02 (assumed). [1]
    capacity_rate
        Capacity rate of the water. [MW K-1]
    rated_air_capacity_rate
        Capacity rate of the air at rated fan speed. [MW K-1]
    rated_conductance
        Conductance UA at rated fan speed. [MW K-1]
    exponent
        Exponent of the conductance over the fan speed. [1]

    Returns
    -------
    Numeric
        Heat rejected, 0 where the air is warmer than the water. [MW]

    Notes
    -----
    :math:`Q = \varepsilon\, C_{min} (T_w - T_a)`, crossflow with both streams unmixed,
    :math:`UA = UA_r n^k`, air flow proportional to the speed.
    """
    gain = _gain(
        fan_speed_share,
        capacity_rate,
        rated_air_capacity_rate=rated_air_capacity_rate,
        rated_conductance=rated_conductance,
        exponent=exponent,
    )
    return gain * np.maximum(inlet_difference, 0.0)


def dry_cooler_outlet(
    heat: Numeric,
    air_temperature: Numeric,
    *,
    fan_speed_share: Numeric,
    capacity_rate: Numeric,
    rated_air_capacity_rate: Numeric,
    rated_conductance: Numeric,
    exponent: float = AIR_EXPONENT,
) -> Numeric:
    r"""Return the temperature of the water that leaves a dry cooler in a closed loop.

    Parameters
    ----------
    heat
        Heat rejected. [MW]
    air_temperature
        Temperature of the entering air, behind the pads if there are any. [degC]
    fan_speed_share
        Speed of the fans, share of full speed. [1]
    capacity_rate, rated_air_capacity_rate
        Of the water, and of the air at full speed. [MW K-1]
    rated_conductance
        Conductance at full speed. [MW K-1]
    exponent
        Of the conductance over the air flow. [1]

    Returns
    -------
    Numeric
        Leaving water temperature. [degC]

    Notes
    -----
    :math:`T_{out} = T_a + Q / (\varepsilon C_{min}) - Q / C_w`; water that hardly flows leaves as
    cold as the air, and without air or surface no water is warm enough to give the heat away.
    """
    gain = _gain(
        fan_speed_share,
        capacity_rate,
        rated_air_capacity_rate=rated_air_capacity_rate,
        rated_conductance=rated_conductance,
        exponent=exponent,
    )
    is_flowing = np.asarray(capacity_rate) > 0.0
    flowing = np.where(is_flowing, capacity_rate, np.inf)
    resistance = np.where(is_flowing, 1.0 / np.maximum(gain, _LEAST_GAIN), 0.0)
    return air_temperature + heat * (resistance - 1.0 / flowing)


def precooled_air_temperature(
    air_temperature: Numeric, wet_bulb_temperature: Numeric, *, pad_effectiveness: Numeric
) -> Numeric:
    r"""Return the temperature of air behind a wetted pad.

    Parameters
    ----------
    air_temperature
        Dry-bulb temperature of the air that enters. [degC]
    wet_bulb_temperature
        Its wet bulb. [degC]
    pad_effectiveness
        Cooling over the most that could be, 0 for a dry pad. [1]

    Returns
    -------
    Numeric
        Temperature behind the pad. [degC]

    Notes
    -----
    :math:`T_2 = T_1 - \varepsilon (T_1 - T_{wb})`. Only for air above freezing: below, pads are
    drained, which is the caller's matter.
    """
    return air_temperature - pad_effectiveness * (air_temperature - wet_bulb_temperature)


def pad_evaporation(
    leaving_temperature: Numeric,
    wet_bulb_temperature: Numeric,
    *,
    humidity_ratio: Numeric,
    air_flow: Numeric,
    pressure: Numeric = STANDARD_PRESSURE,
) -> Numeric:
    r"""Return the water that a wetted pad evaporates.

    Parameters
    ----------
    leaving_temperature
        Temperature of the air behind the pad. [degC]
    wet_bulb_temperature
        Wet bulb of the air, before and behind. [degC]
    humidity_ratio
        Water per dry air that enters. [kg/kg]
    air_flow
        Mass flow of dry air. [kg s-1]
    pressure
        Air pressure. [kPa]

    Returns
    -------
    Numeric
        Water evaporated. [kg s-1]

    Notes
    -----
    :math:`\dot m_a (W_2 - W_1)`, both on the line of constant wet bulb.
    """
    leaving = humidity_ratio_from_wet_bulb(
        leaving_temperature, wet_bulb_temperature, pressure=pressure
    )
    return air_flow * np.maximum(leaving - humidity_ratio, 0.0)


def _gain(
    fan_speed_share: Numeric,
    capacity_rate: Numeric,
    *,
    rated_air_capacity_rate: Numeric,
    rated_conductance: Numeric,
    exponent: float,
) -> Numeric:
    """Return the heat rejected per kelvin between the entering water and the entering air."""
    speed = np.maximum(fan_speed_share, _LEAST_SPEED)
    air = rated_air_capacity_rate * speed
    least = np.minimum(air, capacity_rate)
    units = rated_conductance * speed**exponent / np.where(least > 0.0, least, 1.0)
    gain: FloatArray = least * crossflow_effectiveness(
        units, least / np.maximum(air, capacity_rate)
    )
    return gain
