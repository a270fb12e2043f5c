"""Humid air and water vapour: wet bulb, enthalpy, saturation, and the standard atmosphere.

The equations are those of ASHRAE, "Psychrometrics," in *ASHRAE Handbook - Fundamentals*, SI ed.,
ch. 1, 2017, in degC, kPa and kJ/kg.
"""

from typing import Final

import numpy as np

from twin.physics.numerics import BoolArray, FloatArray, Numeric
from twin.units import ZERO_CELSIUS_K

_DRY_AIR, _VAPOUR = 1.006, 1.86  # kJ kg-1 K-1
_EVAPORATION: Final = 2501.0  # kJ kg-1 at 0 degC

# Wet bulb, (latent heat at 0 degC, its slope, slope of the wick): equations (33) and (35).
_WET_WICK: Final = (2501.0, 2.326, 4.186)
_ICED_WICK: Final = (2830.0, 0.24, 2.1)

_SATURATED_RANGE: Final = (-60.0, 75.0)  # degC
_TOLERANCE_K: Final = 1e-7  # last step of Newton's method
_MAX_ITERATIONS: Final = 60  # iterations of a wet-bulb search

STANDARD_PRESSURE_KPA: Final = 101.325
"""Air pressure at sea level in the standard atmosphere. [kPa]"""


def humidity_ratio(
    air_temperature: Numeric,
    relative_humidity: Numeric,
    *,
    pressure: Numeric = STANDARD_PRESSURE_KPA,
) -> Numeric:
    r"""Return the mass of vapour per mass of dry air.

    Parameters
    ----------
    air_temperature
        Dry-bulb temperature. [degC]
    relative_humidity
        Relative humidity, clipped to 0 to 1. [1]
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
    vapour = _clip_to_unit(relative_humidity) * saturation_pressure(air_temperature)
    return humidity_ratio_from_vapour_pressure(vapour, pressure)


def relative_humidity(
    air_temperature: Numeric, humidity_ratio: Numeric, *, pressure: Numeric = STANDARD_PRESSURE_KPA
) -> Numeric:
    r"""Return the relative humidity of air from its humidity ratio.

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
    share = humidity_ratio / saturated * (MOLAR_MASS_RATIO + saturated)
    return _clip_to_unit(share / (MOLAR_MASS_RATIO + humidity_ratio))


def saturation_humidity_ratio(
    temperature: Numeric, *, pressure: Numeric = STANDARD_PRESSURE_KPA
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
    return humidity_ratio_from_vapour_pressure(saturation_pressure(temperature), pressure)


def humidity_ratio_from_wet_bulb(
    air_temperature: Numeric,
    wet_bulb_temperature: Numeric,
    *,
    pressure: Numeric = STANDARD_PRESSURE_KPA,
) -> Numeric:
    """Return the humidity ratio of air from its wet bulb.

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
    air_temperature: Numeric,
    relative_humidity: Numeric,
    *,
    pressure: Numeric = STANDARD_PRESSURE_KPA,
) -> Numeric:
    """Return the thermodynamic wet-bulb temperature of air.

    Parameters
    ----------
    air_temperature
        Dry-bulb temperature. [degC]
    relative_humidity
        Relative humidity, clipped to 0 to 1. [1]
    pressure
        Air pressure. [kPa]

    Returns
    -------
    Numeric
        Wet-bulb temperature. [degC]

    Notes
    -----
    Solves equation (33), over ice (35), of the ASHRAE chapter by Newton's method, which
    converges because both are rising and convex. Just below 0 degC a wick may be wet or iced; it is
    assumed wet where possible. Valid from -40 to 60 degC and above 50 kPa; NaN stays NaN.

    Examples
    --------
    >>> round(float(wet_bulb_temperature(20.0, 0.5)), 2)
    13.78
    """
    dry, share, total = np.broadcast_arrays(
        np.asarray(air_temperature, dtype=np.float64),
        np.asarray(_clip_to_unit(relative_humidity), dtype=np.float64),
        np.asarray(pressure, dtype=np.float64),
    )
    moisture = np.asarray(humidity_ratio(dry, share, pressure=total))
    at_zero = humidity_ratio_from_wet_bulb(dry, np.zeros_like(dry), pressure=total)
    is_iced = np.asarray((moisture < at_zero) | (dry <= TRIPLE_POINT_C))
    latent, slope, wick = _wick(is_iced)
    wet: FloatArray = dry
    for _ in range(_MAX_ITERATIONS):
        saturated, steepness = saturation_humidity_slope(wet, is_iced, total)
        excess = (latent - slope * wet) * saturated - _DRY_AIR * (dry - wet)
        excess -= moisture * (latent + _VAPOUR * dry - wick * wet)
        gradient = (latent - slope * wet) * steepness - slope * saturated
        step = excess / (gradient + _DRY_AIR + moisture * wick)
        wet = np.minimum(wet - step, dry)
        if not np.any(np.abs(step) > _TOLERANCE_K):
            break
    return wet


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
    enthalpy: Numeric, *, pressure: Numeric = STANDARD_PRESSURE_KPA
) -> Numeric:
    """Return the temperature of saturated air with a given enthalpy.

    Parameters
    ----------
    enthalpy
        Enthalpy per mass of dry air. [kJ kg-1]
    pressure
        Air pressure. [kPa]

    Returns
    -------
    Numeric
        Temperature of the air, clipped to -60 to 75 degC. [degC]
    """
    celsius: FloatArray = np.clip(np.asarray(enthalpy) / _DRY_AIR, *_SATURATED_RANGE)
    for _ in range(_MAX_ITERATIONS):
        moisture, steepness = saturation_humidity_slope(
            celsius, np.asarray(celsius <= TRIPLE_POINT_C), pressure
        )
        gradient = _DRY_AIR + moisture * _VAPOUR + steepness * (_EVAPORATION + _VAPOUR * celsius)
        step = (moist_air_enthalpy(celsius, moisture) - enthalpy) / gradient
        before, celsius = celsius, np.clip(celsius - step, *_SATURATED_RANGE)
        if not np.any(np.abs(celsius - before) > _TOLERANCE_K):
            break
    return celsius


def _clip_to_unit(relative_humidity: Numeric) -> Numeric:
    return np.clip(relative_humidity, 0.0, 1.0)


def _wick(is_iced: BoolArray) -> list[FloatArray]:
    """Return latent heat, its slope and the wick's slope."""
    return [np.where(is_iced, i, w) for i, w in zip(_ICED_WICK, _WET_WICK, strict=True)]


TRIPLE_POINT_C: Final = 0.01
"""Triple point of water; ice below, liquid above. [degC]"""

MOLAR_MASS_RATIO: Final = 0.621945
"""Molar mass of water over that of dry air. [1]"""


# Coefficients of ln(p/Pa) over T/K: 1/T, 1, T, T2, T3, T4, ln T. Equations (5) and (6) of [1].
_OVER_ICE: Final = (-5674.5359, 6.3925247, -9.677843e-3, 6.2215701e-7, 2.0747825e-9, -9.484024e-13,
                    4.1635019)  # fmt: skip
_OVER_WATER: Final = (-5800.2206, 1.3914993, -4.8640239e-2, 4.1764768e-5, -1.4452093e-8, 0.0,
                      6.5459673)  # fmt: skip


def saturation_pressure(temperature: Numeric) -> Numeric:
    r"""Return the saturation pressure of vapour over ice (below 0.01 degC) or water.

    Parameters
    ----------
    temperature
        Temperature of the air. [degC]

    Returns
    -------
    Numeric
        Saturation pressure. [kPa]

    Notes
    -----
    :math:`\ln p = c_1/T + c_2 + c_3 T + c_4 T^2 + c_5 T^3 + c_6 T^4 + c_7 \ln T`, equations (5)
    and (6) of [1]_. Valid from -100 to 200 degC.

    References
    ----------
    .. [1] ASHRAE, "Psychrometrics," in *ASHRAE Handbook - Fundamentals*, SI ed., ch. 1, 2017.
    """
    celsius = np.asarray(temperature, dtype=np.float64)
    logarithm, _ = log_saturation_pressure(celsius, celsius <= TRIPLE_POINT_C)
    return np.exp(logarithm)


def log_saturation_pressure(
    celsius: FloatArray, is_iced: BoolArray
) -> tuple[FloatArray, FloatArray]:
    """Return the logarithm of the saturation pressure and its derivative.

    Parameters
    ----------
    celsius
        Temperature. [degC]
    is_iced
        Whether the vapour is over ice instead of water.

    Returns
    -------
    tuple of FloatArray
        Logarithm of the pressure in kPa [1], and its derivative [K-1].
    """
    t = celsius + ZERO_CELSIUS_K
    c = [np.where(is_iced, i, w) for i, w in zip(_OVER_ICE, _OVER_WATER, strict=True)]
    value = c[0] / t + c[1] + t * (c[2] + t * (c[3] + t * (c[4] + t * c[5]))) + c[6] * np.log(t)
    slope = c[2] + t * (2.0 * c[3] + t * (3.0 * c[4] + t * 4.0 * c[5])) + (c[6] - c[0] / t) / t
    return value - np.log(1000.0), slope


def saturation_humidity_slope(
    celsius: FloatArray, is_iced: BoolArray, pressure: Numeric
) -> tuple[FloatArray, FloatArray]:
    """Return the humidity ratio of saturated air and its derivative.

    Parameters
    ----------
    celsius
        Temperature. [degC]
    is_iced
        Whether the vapour is over ice instead of water.
    pressure
        Air pressure. [kPa]

    Returns
    -------
    tuple of FloatArray
        Humidity ratio [1] and its derivative over the temperature [K-1].
    """
    logarithm, steepness = log_saturation_pressure(celsius, is_iced)
    dry = pressure - np.exp(logarithm)
    moisture = MOLAR_MASS_RATIO * (pressure / dry - 1.0)
    return moisture, moisture * steepness * pressure / dry


def humidity_ratio_from_vapour_pressure(vapour_pressure: Numeric, pressure: Numeric) -> Numeric:
    """Return the humidity ratio of air from its vapour pressure.

    Parameters
    ----------
    vapour_pressure, pressure
        Pressure of the vapour, and of the air as a whole. [kPa]

    Returns
    -------
    Numeric
        Mass of vapour per mass of dry air. [1]
    """
    return MOLAR_MASS_RATIO * vapour_pressure / (pressure - vapour_pressure)


def standard_pressure(elevation: Numeric) -> Numeric:
    r"""Return the air pressure of the standard atmosphere.

    Parameters
    ----------
    elevation
        Height above sea level. [m]

    Returns
    -------
    Numeric
        Air pressure. [kPa]

    Notes
    -----
    :math:`p = 101.325 (1 - 2.25577 \cdot 10^{-5} z)^{5.25588}` [1]_, from -5 to 11 km.

    References
    ----------
    .. [1] ISO 2533:1975, "Standard atmosphere."

    Examples
    --------
    >>> round(standard_pressure(1000.0), 2)
    89.87
    """
    return STANDARD_PRESSURE_KPA * (1.0 - 2.25577e-5 * elevation) ** 5.25588
