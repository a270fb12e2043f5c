"""Wet cooling towers: leaving water temperature, evaporation and make-up water."""

from typing import Final

import numpy as np

from twin.physics.air import (
    humidity_ratio,
    moist_air_enthalpy,
    saturated_air_temperature,
    saturation_humidity_ratio,
)
from twin.physics.atmosphere import STANDARD_PRESSURE
from twin.physics.machines import KILOWATTS
from twin.physics.numeric import FloatArray, Numeric, within
from twin.physics.water import heat_capacity

# YorkCalc: powers of (liquid to gas ratio, range, wet bulb), the last one running fastest.
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
# 1.1 to 40 K) in which it is monotone, so that no controller can gain from a bend of a polynomial.
WET_BULBS: Final = (-10.0, 26.7)
"""Least and greatest wet bulb at which YorkCalc is used. [degC]"""

RANGES: Final = (1.1, 18.0)
"""Least and greatest cooling range. [K]"""

RATIOS: Final = (0.25, 3.0)
"""Least and greatest water over air, each over its rated flow. [1]"""

LEAST_APPROACH: Final = 1.1
"""Least approach; above the greatest of the fit, 40 K, more is on the safe side. [K]"""


def yorkcalc_approach(
    wet_bulb_temperature: Numeric, cooling_range: Numeric, *, liquid_gas_ratio: Numeric
) -> Numeric:
    r"""Return the approach of a cooling tower by the YorkCalc correlation.

    Parameters
    ----------
    wet_bulb_temperature
        Wet bulb of the air that enters. [degC]
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
    the rated one and ratios up to 8. Nothing is clipped here; :func:`tower_outlet` does it.

    References
    ----------
    .. [1] U.S. Department of Energy, *EnergyPlus Engineering Reference*, "Variable Speed Cooling
       Towers Empirical Models," 2023.

    Examples
    --------
    >>> round(float(yorkcalc_approach(20.0, 6.0, liquid_gas_ratio=1.0)), 2)
    5.38
    """
    # one argument after the other, each on its own axes: the air is one number an interval, while
    # trials of heat and fan speed stand on axes of their own
    of_range = [
        [_quadratic(wet_bulb_temperature, *terms) for terms in rows] for rows in _YORK_CALC.tolist()
    ]
    of_ratio = [_quadratic(cooling_range, *terms) for terms in of_range]
    return _quadratic(liquid_gas_ratio, *of_ratio)


def _quadratic(x: Numeric, constant: Numeric, linear: Numeric, square: Numeric) -> Numeric:
    return constant + x * (linear + x * square)


def tower_outlet(
    cooling_range: Numeric,
    wet_bulb_temperature: Numeric,
    *,
    liquid_gas_ratio: Numeric,
    water_per_air: Numeric = 1.0,
    approach_factor: Numeric = 1.0,
    pressure: Numeric = STANDARD_PRESSURE,
) -> FloatArray:
    r"""Return the temperature of the water that leaves a tower in a closed loop.

    Parameters
    ----------
    cooling_range
        Entering less leaving water temperature. [K]
    wet_bulb_temperature
        Wet bulb of the air that enters. [degC]
    liquid_gas_ratio
        Water flow over air flow, each over its rated one. [1]
    water_per_air
        Rated mass flow of the water over that of the air. [1]
    approach_factor
        Approach beside that of the clean tower. [1]
    pressure
        Air pressure. [kPa]

    Returns
    -------
    numpy.ndarray
        Leaving water temperature, never below the wet bulb. [degC]

    Notes
    -----
    :math:`T = T_{wb} + f A(T_{wb}, R, L/G)` with the approach of :func:`yorkcalc_approach`, held to
    the part of its range in which more heat, less air and a warmer wet bulb never cool the water.
    Below a range of 1.1 K the approach goes to zero with it. Above a ratio of 3 the air that is
    missing is accounted for by its enthalpy: the wet bulb is raised to that of air which has
    already taken up :math:`c_p R\, m (L/G - 3)`, with the rated :math:`m` of water per air; else
    slow fans would carry away more than their air can hold.
    """
    bulb = _warmed(
        wet_bulb_temperature,
        heat_capacity(30.0) * cooling_range * water_per_air,
        np.maximum(np.asarray(liquid_gas_ratio) - RATIOS[1], 0.0),
        pressure=pressure,
    )
    approach = yorkcalc_approach(
        within(bulb, *WET_BULBS),
        within(cooling_range, *RANGES),
        liquid_gas_ratio=within(liquid_gas_ratio, *RATIOS),
    )
    damping = within(cooling_range / RANGES[0], 0.0, 1.0)
    outlet: FloatArray = bulb + approach_factor * damping * np.maximum(approach, LEAST_APPROACH)
    return outlet


def _warmed(
    wet_bulb_temperature: Numeric, heat: Numeric, surplus: FloatArray, *, pressure: Numeric
) -> Numeric:
    """Return the wet bulb of air that took up a heat [kJ kg-1] so often. [degC]"""
    if not (surplus > 0.0).any():
        return wet_bulb_temperature
    saturated = saturation_humidity_ratio(wet_bulb_temperature, pressure=pressure)
    enthalpy = moist_air_enthalpy(wet_bulb_temperature, saturated) + heat * surplus
    warmed = saturated_air_temperature(enthalpy, pressure=pressure)
    return np.where(surplus > 0.0, warmed, wet_bulb_temperature)


def tower_evaporation(
    heat: Numeric,
    air_temperature: Numeric,
    *,
    relative_humidity: Numeric,
    air_flow: Numeric,
    pressure: Numeric = STANDARD_PRESSURE,
) -> Numeric:
    r"""Return the water that a tower evaporates.

    Parameters
    ----------
    heat
        Heat rejected. [MW]
    air_temperature
        Dry-bulb temperature of the air that enters. [degC]
    relative_humidity
        Relative humidity of the air that enters. [1]
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
    The air leaves saturated with the enthalpy :math:`h_1 + Q / \dot m_a`; evaporated is
    :math:`\dot m_a (W_2 - W_1)`. In hot dry air this is more than :math:`Q / h_{fg}`, because the
    air itself is cooled too; in cold air it is less, because the air is warmed. The enthalpy of the
    make-up water is neglected, as in EnergyPlus (about 3 %).
    """
    moving = np.maximum(air_flow, 1e-9)
    entering = humidity_ratio(air_temperature, relative_humidity, pressure=pressure)
    enthalpy = moist_air_enthalpy(air_temperature, entering) + KILOWATTS * heat / moving
    leaving = saturation_humidity_ratio(
        saturated_air_temperature(enthalpy, pressure=pressure), pressure=pressure
    )
    return np.where(np.asarray(heat) > 0.0, moving * np.maximum(leaving - entering, 0.0), 0.0)[()]


def make_up(evaporation: Numeric, cycles_of_concentration: Numeric) -> Numeric:
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
