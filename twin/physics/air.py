"""Humid air: wet bulb, dew point, enthalpy.

The equations are those of ASHRAE, "Psychrometrics," in *ASHRAE Handbook - Fundamentals*, SI ed.,
ch. 1, 2017, in the units of the house (degC, kPa, kJ/kg).
"""

from typing import Final

import numpy as np

from twin.physics.atmosphere import STANDARD_PRESSURE
from twin.physics.numeric import BoolArray, FloatArray, Numeric
from twin.physics.saturation import (
    TRIPLE_POINT,
    VAPOUR_SHARE,
    ratio_of_vapour,
    saturated_humidity,
    saturation_pressure,
    saturation_temperature,
)

_DRY_AIR, _VAPOUR = 1.006, 1.86  # kJ kg-1 K-1
_EVAPORATION: Final = 2501.0  # kJ kg-1 at 0 degC

# Wet bulb, (latent heat at 0 degC, its slope, slope of the wick): equations (33) and (35).
_WET_WICK: Final = (2501.0, 2.326, 4.186)
_ICED_WICK: Final = (2830.0, 0.24, 2.1)

_SATURATED_RANGE: Final = (-60.0, 75.0)  # degC
_TOLERANCE: Final = 1e-7  # K, Newton's last step
_MOST_STEPS: Final = 60


def humidity_ratio(
    air_temperature: Numeric, relative_humidity: Numeric, *, pressure: Numeric = STANDARD_PRESSURE
) -> Numeric:
    r"""Return the mass of vapour per mass of dry air.

    Parameters
    ----------
    air_temperature
        Dry-bulb temperature. [degC]
    relative_humidity
        Relative humidity; values outside 0 to 1 are taken as the nearer end. [1]
    pressure
        Air pressure. [kPa]

    Returns
    -------
    Numeric
        Humidity ratio. [1]

    Notes
    -----
    :math:`W = 0.621945\, p_w / (p - p_w)` with :math:`p_w = \varphi\, p_s(T)`.
    """
    vapour = _share(relative_humidity) * saturation_pressure(air_temperature)
    return ratio_of_vapour(vapour, pressure)


def relative_humidity(
    air_temperature: Numeric, humidity_ratio: Numeric, *, pressure: Numeric = STANDARD_PRESSURE
) -> Numeric:
    r"""Return the relative humidity of air whose humidity ratio is known.

    Parameters
    ----------
    air_temperature
        Dry-bulb temperature. [degC]
    humidity_ratio
        Mass of vapour per mass of dry air. [1]
    pressure
        Air pressure. [kPa]

    Returns
    -------
    Numeric
        Relative humidity, 0 to 1. [1]

    Notes
    -----
    :math:`\varphi = W (0.621945 + W_s) / [W_s (0.621945 + W)]` with the humidity ratio :math:`W_s`
    of saturated air; inverts :func:`humidity_ratio`.
    """
    saturated = saturation_humidity_ratio(air_temperature, pressure=pressure)
    share = humidity_ratio / saturated * (VAPOUR_SHARE + saturated)
    return _share(share / (VAPOUR_SHARE + humidity_ratio))


def saturation_humidity_ratio(
    temperature: Numeric, *, pressure: Numeric = STANDARD_PRESSURE
) -> Numeric:
    """Return the humidity ratio of saturated air.

    Parameters
    ----------
    temperature
        Temperature of the air. [degC]
    pressure
        Air pressure. [kPa]

    Returns
    -------
    Numeric
        Humidity ratio, as :func:`humidity_ratio` at a relative humidity of 1. [1]
    """
    return ratio_of_vapour(saturation_pressure(temperature), pressure)


def humidity_ratio_from_wet_bulb(
    air_temperature: Numeric,
    wet_bulb_temperature: Numeric,
    *,
    pressure: Numeric = STANDARD_PRESSURE,
) -> Numeric:
    """Return the humidity ratio of air whose wet bulb is known.

    Parameters
    ----------
    air_temperature
        Dry-bulb temperature. [degC]
    wet_bulb_temperature
        Wet-bulb temperature, at most the dry-bulb temperature. [degC]
    pressure
        Air pressure. [kPa]

    Returns
    -------
    Numeric
        Humidity ratio, never negative. [1]

    Notes
    -----
    :math:`W = [(L - a T_w) W_s(T_w) - 1.006 (T - T_w)] / (L + 1.86 T - b T_w)` with L, a, b =
    2501, 2.326, 4.186 over a wet and 2830, 0.24, 2.1 over an iced wick.
    """
    dry = np.asarray(air_temperature, dtype=np.float64)
    wet = np.asarray(wet_bulb_temperature, dtype=np.float64)
    latent, slope, wick = _wick(wet < 0.0)
    saturated = saturation_humidity_ratio(wet, pressure=pressure)
    numerator = (latent - slope * wet) * saturated - _DRY_AIR * (dry - wet)
    return np.maximum(numerator / (latent + _VAPOUR * dry - wick * wet), 0.0)


def wet_bulb_temperature(
    air_temperature: Numeric, relative_humidity: Numeric, *, pressure: Numeric = STANDARD_PRESSURE
) -> Numeric:
    """Return the thermodynamic wet-bulb temperature of air.

    Parameters
    ----------
    air_temperature
        Dry-bulb temperature. [degC]
    relative_humidity
        Relative humidity; values outside 0 to 1 are taken as the nearer end. [1]
    pressure
        Air pressure. [kPa]

    Returns
    -------
    Numeric
        Wet-bulb temperature. [degC]

    Notes
    -----
    Solves equation (33), over ice (35), of the ASHRAE chapter by Newton's method; both rise with
    the wet bulb and are convex, so that the method always converges. Just below 0 degC a wick may
    be wet or iced; it is taken as wet wherever that is possible. Valid from -40 to 60 degC
    and from 50 kPa on; NaN stays NaN.

    Examples
    --------
    >>> round(float(wet_bulb_temperature(20.0, 0.5)), 2)
    13.78
    """
    dry, share, total = np.broadcast_arrays(
        np.asarray(air_temperature, dtype=np.float64),
        np.asarray(_share(relative_humidity), dtype=np.float64),
        np.asarray(pressure, dtype=np.float64),
    )
    moisture = np.asarray(humidity_ratio(dry, share, pressure=total))
    at_zero = humidity_ratio_from_wet_bulb(dry, np.zeros_like(dry), pressure=total)
    is_iced = np.asarray((moisture < at_zero) | (dry <= TRIPLE_POINT))
    latent, slope, wick = _wick(is_iced)
    wet: FloatArray = dry
    for _ in range(_MOST_STEPS):
        saturated, steepness = saturated_humidity(wet, is_iced, total)
        excess = (latent - slope * wet) * saturated - _DRY_AIR * (dry - wet)
        excess -= moisture * (latent + _VAPOUR * dry - wick * wet)
        gradient = (latent - slope * wet) * steepness - slope * saturated
        step = excess / (gradient + _DRY_AIR + moisture * wick)
        wet = np.minimum(wet - step, dry)
        if not np.any(np.abs(step) > _TOLERANCE):
            break
    return wet


def dew_point_temperature(air_temperature: Numeric, relative_humidity: Numeric) -> Numeric:
    """Return the temperature at which the vapour of the air condenses (or freezes out).

    Parameters
    ----------
    air_temperature
        Dry-bulb temperature. [degC]
    relative_humidity
        Relative humidity; values outside 0 to 1 are taken as the nearer end. [1]

    Returns
    -------
    Numeric
        Dew point, -100 degC for dry air. [degC]

    Notes
    -----
    The temperature at which the vapour's pressure is the saturation pressure; from -100 degC on.
    """
    vapour = _share(relative_humidity) * saturation_pressure(air_temperature)
    return np.minimum(saturation_temperature(vapour), air_temperature)


def moist_air_enthalpy(air_temperature: Numeric, humidity_ratio: Numeric) -> Numeric:
    r"""Return the enthalpy of moist air per mass of dry air.

    Parameters
    ----------
    air_temperature
        Dry-bulb temperature. [degC]
    humidity_ratio
        Mass of vapour per mass of dry air. [1]

    Returns
    -------
    Numeric
        Enthalpy, zero for dry air at 0 degC. [kJ kg-1]

    Notes
    -----
    :math:`h = 1.006\, T + W (2501 + 1.86\, T)`, equation (30) of the ASHRAE chapter.
    """
    return _DRY_AIR * air_temperature + humidity_ratio * (_EVAPORATION + _VAPOUR * air_temperature)


def saturated_air_temperature(
    enthalpy: Numeric, *, pressure: Numeric = STANDARD_PRESSURE
) -> Numeric:
    """Return the temperature of saturated air that has the given enthalpy.

    Parameters
    ----------
    enthalpy
        Enthalpy per mass of dry air. [kJ kg-1]
    pressure
        Air pressure. [kPa]

    Returns
    -------
    Numeric
        Temperature of the air, held to -60 to 75 degC. [degC]
    """
    celsius: FloatArray = np.clip(np.asarray(enthalpy) / _DRY_AIR, *_SATURATED_RANGE)
    for _ in range(_MOST_STEPS):
        moisture, steepness = saturated_humidity(
            celsius, np.asarray(celsius <= TRIPLE_POINT), pressure
        )
        gradient = _DRY_AIR + moisture * _VAPOUR + steepness * (_EVAPORATION + _VAPOUR * celsius)
        step = (moist_air_enthalpy(celsius, moisture) - enthalpy) / gradient
        before, celsius = celsius, np.clip(celsius - step, *_SATURATED_RANGE)
        if not np.any(np.abs(celsius - before) > _TOLERANCE):
            break
    return celsius


def _share(relative_humidity: Numeric) -> Numeric:
    return np.clip(relative_humidity, 0.0, 1.0)


def _wick(is_iced: BoolArray) -> list[FloatArray]:
    """Return latent heat, its slope and the wick's slope."""
    return [np.where(is_iced, i, w) for i, w in zip(_ICED_WICK, _WET_WICK, strict=True)]
