"""Cooling towers (outlet temperature, evaporation, make-up water), and dry coolers with wetted
pads.
"""

from typing import Final

import numpy as np

from twin.physics.fluid_flow import heat_capacity
from twin.physics.heat_exchangers import crossflow_effectiveness
from twin.physics.numerics import FloatArray, Numeric, clip
from twin.physics.psychrometrics import (
    STANDARD_PRESSURE_KPA,
    humidity_ratio,
    humidity_ratio_from_wet_bulb,
    moist_air_enthalpy,
    saturated_air_temperature,
    saturation_humidity_ratio,
)
from twin.units import KW_PER_MW

# YorkCalc: powers of (liquid to gas ratio, range, wet bulb), the last index fastest.
# EnergyPlus Engineering Reference, "Variable Speed Cooling Towers"; Modelica Buildings library.
_YORK_CALC: Final = np.array(
    [
        *(-0.359741205, -0.055053608, 0.0023850432, 0.173926877, -0.0248473764, 0.00048430224),
        *(-0.005589849456, 0.0005770079712, -1.342427256e-05),
        *(2.84765801111111, -0.121765149, 0.0014599242, 1.680428651, -0.0166920786, -0.0007190532),
        *(-0.025485194448, 4.87491696e-05, 2.719234152e-05),
        *(-0.0653766255555556, -0.002278167, 0.0002500254, -0.0910565458, 0.00318176316),
        *(3.8621772e-05, -0.0034285382352, 8.56589904e-06, -1.516821552e-06),
    ]
).reshape(3, 3, 3)

# The part of the correlation's range (-34.4 to 26.7 degC, 1.1 to 22.2 K, ratio to 8, approach
# 1.1 to 40 K) in which it is monotone, so that no controller can exploit a bend of the polynomial.
WET_BULB_LIMITS_C: Final = (-10.0, 26.7)
"""Range of wet bulbs in which YorkCalc is used. [degC]"""

COOLING_RANGE_LIMITS_K: Final = (1.1, 18.0)
"""Range of cooling ranges. [K]"""

APPROACH_OVER_RANGE_SLOPE: Final = 0.33
"""Rise of the approach with the range above it: that of the correlation at 18 K, 20 degC and rated
flows. [1]"""

LIQUID_GAS_RATIO_LIMITS: Final = (0.25, 3.0)
"""Range of water over air flow, each relative to rated flow. [1]"""

MIN_APPROACH_K: Final = 1.1
"""Minimum approach; the maximum of the fit, 40 K, is not enforced, which is conservative. [K]"""


def yorkcalc_approach(
    wet_bulb_temperature: Numeric, cooling_range: Numeric, *, liquid_gas_ratio: Numeric
) -> Numeric:
    r"""Return the approach of a cooling tower by the YorkCalc correlation.

    Parameters
    ----------
    wet_bulb_temperature
        Wet bulb of entering air. [degC]
    cooling_range
        Entering less leaving water temperature. [K]
    liquid_gas_ratio
        Water flow over air flow, each over its rated one. [1]

    Returns
    -------
    Numeric
        Leaving water temperature less wet bulb. [K]

    Notes
    -----
    :math:`A = \sum_{j,i,m=0}^{2} c_{jim} (L/G)^j R^i T_{wb}^m`. Published as valid from -34.4 to
    26.7 degC, ranges of 1.1 to 22.2 K, approaches of 1.1 to 40 K, water flows of 0.75 to 1.25 of
    the rated one and ratios up to 8. :func:`tower_outlet_temperature` clips the arguments.

    References
    ----------
    .. [1] U.S. Department of Energy, *EnergyPlus Engineering Reference*, "Variable Speed Cooling
       Towers Empirical Models," 2023.

    Examples
    --------
    >>> round(float(yorkcalc_approach(20.0, 6.0, liquid_gas_ratio=1.0)), 2)
    5.38
    """
    # one argument after the other on its own axes: the air has one value per interval, candidates
    # of heat and fan speed have further axes
    of_range = [
        [_quadratic(wet_bulb_temperature, *terms) for terms in rows] for rows in _YORK_CALC.tolist()
    ]
    of_ratio = [_quadratic(cooling_range, *terms) for terms in of_range]
    return _quadratic(liquid_gas_ratio, *of_ratio)


def _quadratic(x: Numeric, constant: Numeric, linear: Numeric, square: Numeric) -> Numeric:
    return constant + x * (linear + x * square)


def tower_outlet_temperature(
    cooling_range: Numeric,
    wet_bulb_temperature: Numeric,
    *,
    liquid_gas_ratio: Numeric,
    water_per_air: Numeric = 1.0,
    approach_factor: Numeric = 1.0,
    pressure: Numeric = STANDARD_PRESSURE_KPA,
) -> FloatArray:
    r"""Return the outlet temperature of a tower in a closed loop.

    Parameters
    ----------
    cooling_range
        Entering less leaving water temperature. [K]
    wet_bulb_temperature
        Wet bulb of entering air. [degC]
    liquid_gas_ratio
        Water flow over air flow, each over its rated one. [1]
    water_per_air
        Rated mass flow of water over that of air. [1]
    approach_factor
        Approach over that of the clean tower. [1]
    pressure
        Air pressure. [kPa]

    Returns
    -------
    numpy.ndarray
        Leaving water temperature, never below the wet bulb. [degC]

    Notes
    -----
    :math:`T = T_{wb} + f A(T_{wb}, R, L/G)` with the approach of :func:`yorkcalc_approach`,
    clipped to the range in which it is monotone. Below a range of 1.1 K the approach goes to zero
    with it. Above 18 K it rises by :data:`APPROACH_OVER_RANGE_SLOPE`; a constant approach would let
    a tower reject any heat. Above a ratio of 3 the wet bulb is raised to that of air which has
    already absorbed :math:`c_p R\, m (L/G - 3)`, with the rated :math:`m` of water per air;
    otherwise slow fans would remove more heat than their air can absorb.
    """
    outlet = _outlet(cooling_range, wet_bulb_temperature, liquid_gas_ratio, approach_factor)
    surplus = np.maximum(np.asarray(liquid_gas_ratio) - LIQUID_GAS_RATIO_LIMITS[1], 0.0)
    if not (is_slow := surplus > 0.0).any():
        return outlet
    heat = heat_capacity(30.0) * cooling_range * water_per_air
    saturated = saturation_humidity_ratio(wet_bulb_temperature, pressure=pressure)
    entering = moist_air_enthalpy(wet_bulb_temperature, saturated)
    is_slow, enthalpy, pressure, cooling_range, liquid_gas_ratio, approach_factor = (
        np.broadcast_arrays(
            is_slow,
            entering + heat * surplus,
            pressure,
            cooling_range,
            liquid_gas_ratio,
            approach_factor,
        )
    )
    outlet = np.broadcast_to(outlet, is_slow.shape).copy()
    outlet[is_slow] = _outlet(
        cooling_range[is_slow],
        saturated_air_temperature(enthalpy[is_slow], pressure=pressure[is_slow]),
        liquid_gas_ratio[is_slow],
        approach_factor[is_slow],
    )
    return outlet


def _outlet(
    cooling_range: Numeric,
    wet_bulb_temperature: Numeric,
    liquid_gas_ratio: Numeric,
    approach_factor: Numeric,
) -> FloatArray:
    """Return the outlet temperature at a wet bulb that may be that of warmed air. [degC]"""
    lowest, highest = COOLING_RANGE_LIMITS_K
    approach = yorkcalc_approach(
        clip(wet_bulb_temperature, *WET_BULB_LIMITS_C),
        clip(cooling_range, lowest, highest),
        liquid_gas_ratio=clip(liquid_gas_ratio, *LIQUID_GAS_RATIO_LIMITS),
    )
    damping = clip(cooling_range / lowest, 0.0, 1.0)
    beyond = APPROACH_OVER_RANGE_SLOPE * np.maximum(cooling_range - highest, 0.0)
    approach = damping * np.maximum(approach, MIN_APPROACH_K) + beyond
    return np.asarray(wet_bulb_temperature + approach_factor * approach)


def tower_evaporation(
    heat: Numeric,
    air_temperature: Numeric,
    *,
    relative_humidity: Numeric,
    air_flow: Numeric,
    pressure: Numeric = STANDARD_PRESSURE_KPA,
) -> Numeric:
    r"""Return the water evaporated by a tower.

    Parameters
    ----------
    heat
        Heat rejected. [MW]
    air_temperature
        Dry-bulb temperature of entering air. [degC]
    relative_humidity
        Relative humidity of entering air. [1]
    air_flow
        Mass flow of dry air through the tower. [kg s-1]
    pressure
        Air pressure. [kPa]

    Returns
    -------
    Numeric
        Water evaporated. [kg s-1]

    Notes
    -----
    The air leaves saturated with the enthalpy :math:`h_1 + Q / \dot m_a`; the evaporation is
    :math:`\dot m_a (W_2 - W_1)`. In hot dry air it exceeds :math:`Q / h_{fg}`, because the air is
    cooled too; in cold air it is less, because the air is warmed. The enthalpy of the
    make-up water is neglected, as in EnergyPlus (about 3 %).
    """
    moving = np.maximum(air_flow, 1e-9)
    entering = humidity_ratio(air_temperature, relative_humidity, pressure=pressure)
    enthalpy = moist_air_enthalpy(air_temperature, entering) + KW_PER_MW * heat / moving
    leaving = saturation_humidity_ratio(
        saturated_air_temperature(enthalpy, pressure=pressure), pressure=pressure
    )
    return np.where(np.asarray(heat) > 0.0, moving * np.maximum(leaving - entering, 0.0), 0.0)[()]


def make_up_water(evaporation: Numeric, cycles_of_concentration: Numeric) -> Numeric:
    r"""Return the fresh water that replaces evaporation and blow-down.

    Parameters
    ----------
    evaporation
        Water evaporated. [any unit of flow or volume]
    cycles_of_concentration
        Dissolved solids in the loop over those in the make-up water, above 1. [1]

    Returns
    -------
    Numeric
        Make-up water. [unit of ``evaporation``]

    Notes
    -----
    :math:`M = E\, n / (n - 1)`, the balance of the dissolved solids without drift.
    """
    return evaporation * cycles_of_concentration / (cycles_of_concentration - 1.0)


COIL_CONDUCTANCE_EXPONENT: Final = 0.6
"""Exponent of a finned coil's conductance over air flow; assumed, usually 0.5 to 0.7. [1]"""

_MIN_SPEED: Final = 0.02  # natural draught of a coil with stopped fans; assumed
_MIN_GAIN: Final = 1e-300  # MW K-1; avoids division by zero


def dry_cooler_outlet_temperature(
    heat: Numeric,
    air_temperature: Numeric,
    *,
    fan_speed_share: Numeric,
    capacity_rate: Numeric,
    rated_air_capacity_rate: Numeric,
    rated_conductance: Numeric,
    exponent: float = COIL_CONDUCTANCE_EXPONENT,
) -> Numeric:
    r"""Return the outlet temperature of a dry cooler in a closed loop.

    Parameters
    ----------
    heat
        Heat rejected. [MW]
    air_temperature
        Temperature of entering air, after the pads if there are any. [degC]
    fan_speed_share
        Speed of the fans, share of full speed. [1]
    capacity_rate, rated_air_capacity_rate
        Capacity rates of the water, and of the air at full speed. [MW K-1]
    rated_conductance
        Conductance at full speed. [MW K-1]
    exponent
        Exponent of the conductance over air flow. [1]

    Returns
    -------
    Numeric
        Leaving water temperature. [degC]

    Notes
    -----
    :math:`T_{out} = T_a + Q / (\varepsilon C_{min}) - Q / C_w`; water with
    negligible flow leaves at air temperature; without air flow or conductance the temperature is
    practically infinite.
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
    resistance = np.where(is_flowing, 1.0 / np.maximum(gain, _MIN_GAIN), 0.0)
    return air_temperature + heat * (resistance - 1.0 / flowing)


def precooled_air_temperature(
    air_temperature: Numeric, wet_bulb_temperature: Numeric, *, pad_effectiveness: Numeric
) -> Numeric:
    r"""Return the temperature of air after a wetted pad.

    Parameters
    ----------
    air_temperature
        Dry-bulb temperature of entering air. [degC]
    wet_bulb_temperature
        Its wet bulb. [degC]
    pad_effectiveness
        Cooling over wet-bulb depression, 0 for a dry pad. [1]

    Returns
    -------
    Numeric
        Temperature after the pad. [degC]

    Notes
    -----
    :math:`T_2 = T_1 - \varepsilon (T_1 - T_{wb})`. Valid above freezing; below it the
    caller must drain the pads.
    """
    return air_temperature - pad_effectiveness * (air_temperature - wet_bulb_temperature)


def pad_evaporation(
    leaving_temperature: Numeric,
    wet_bulb_temperature: Numeric,
    *,
    humidity_ratio: Numeric,
    air_flow: Numeric,
    pressure: Numeric = STANDARD_PRESSURE_KPA,
) -> Numeric:
    r"""Return the water evaporated by a wetted pad.

    Parameters
    ----------
    leaving_temperature
        Temperature of the air after the pad. [degC]
    wet_bulb_temperature
        Wet bulb of the air, before and after the pad. [degC]
    humidity_ratio
        Water per dry air, entering. [kg/kg]
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
    :math:`\dot m_a (W_2 - W_1)`, both at constant wet bulb.
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
    """Return the rejected heat per kelvin between entering water and entering air. [MW K-1]"""
    speed = np.maximum(fan_speed_share, _MIN_SPEED)
    air = rated_air_capacity_rate * speed
    smaller = np.minimum(air, capacity_rate)
    units = rated_conductance * speed**exponent / np.where(smaller > 0.0, smaller, 1.0)
    gain: FloatArray = smaller * crossflow_effectiveness(
        units, smaller / np.maximum(air, capacity_rate)
    )
    return gain
