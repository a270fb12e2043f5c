"""Water vapour in equilibrium with ice or water."""

from typing import Final

import numpy as np

from twin.physics.numeric import BoolArray, FloatArray, Numeric
from twin.units import KELVIN

TRIPLE_POINT: Final = 0.01
"""Ice below, water above. [degC]"""

VAPOUR_SHARE: Final = 0.621945
"""Molar mass of water over that of dry air. [1]"""

COLDEST: Final = -100.0
"""Lower end of the equations. [degC]"""

# Coefficients of ln(p/Pa) over T/K: 1/T, 1, T, T2, T3, T4, ln T. Equations (5) and (6) of [1].
_OVER_ICE: Final = (-5674.5359, 6.3925247, -9.677843e-3, 6.2215701e-7, 2.0747825e-9, -9.484024e-13,
                    4.1635019)  # fmt: skip
_OVER_WATER: Final = (-5800.2206, 1.3914993, -4.8640239e-2, 4.1764768e-5, -1.4452093e-8, 0.0,
                      6.5459673)  # fmt: skip

_MAGNUS: Final = (0.61094, 17.625, 243.04)  # kPa, 1, K; a start for Newton's method only
_TOLERANCE: Final = 1e-7  # K, Newton's last step
_MOST_STEPS: Final = 60


def saturation_pressure(temperature: Numeric) -> Numeric:
    r"""Return the pressure of water vapour over ice (below 0.01 degC) or over water.

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
    logarithm, _ = log_saturation(celsius, celsius <= TRIPLE_POINT)
    return np.exp(logarithm)


def saturation_temperature(vapour_pressure: Numeric) -> Numeric:
    """Return the temperature at which vapour of the given pressure is saturated.

    Parameters
    ----------
    vapour_pressure
        Partial pressure of the vapour. [kPa]

    Returns
    -------
    Numeric
        Saturation temperature, at least -100 degC. [degC]

    Notes
    -----
    Inverts :func:`saturation_pressure` by Newton's method on the logarithm of the pressure, started
    from Magnus' formula. Valid from -100 to 200 degC.
    """
    vapour = np.maximum(vapour_pressure, saturation_pressure(COLDEST))
    is_iced = np.asarray(vapour <= saturation_pressure(TRIPLE_POINT))
    target = np.log(vapour)
    magnus = target - np.log(_MAGNUS[0])
    celsius: FloatArray = _MAGNUS[2] * magnus / (_MAGNUS[1] - magnus)
    for _ in range(_MOST_STEPS):
        logarithm, steepness = log_saturation(celsius, is_iced)
        step = (logarithm - target) / steepness
        celsius = celsius - step
        if not np.any(np.abs(step) > _TOLERANCE):
            break
    return celsius


def log_saturation(celsius: FloatArray, is_iced: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Return the logarithm of the saturation pressure and its derivative.

    Parameters
    ----------
    celsius
        Temperature. [degC]
    is_iced
        Whether the vapour stands over ice rather than over water.

    Returns
    -------
    tuple of FloatArray
        The logarithm of the pressure in kPa [1] and its derivative [K-1].
    """
    t = celsius + KELVIN
    c = [np.where(is_iced, i, w) for i, w in zip(_OVER_ICE, _OVER_WATER, strict=True)]
    value = c[0] / t + c[1] + t * (c[2] + t * (c[3] + t * (c[4] + t * c[5]))) + c[6] * np.log(t)
    slope = c[2] + t * (2.0 * c[3] + t * (3.0 * c[4] + t * 4.0 * c[5])) + (c[6] - c[0] / t) / t
    return value - np.log(1000.0), slope


def saturated_humidity(
    celsius: FloatArray, is_iced: BoolArray, pressure: Numeric
) -> tuple[FloatArray, FloatArray]:
    """Return the humidity ratio of saturated air and its derivative.

    Parameters
    ----------
    celsius
        Temperature. [degC]
    is_iced
        Whether the vapour stands over ice rather than over water.
    pressure
        Air pressure. [kPa]

    Returns
    -------
    tuple of FloatArray
        Humidity ratio [1] and its derivative over the temperature [K-1].
    """
    logarithm, steepness = log_saturation(celsius, is_iced)
    dry = pressure - np.exp(logarithm)
    moisture = VAPOUR_SHARE * (pressure / dry - 1.0)
    return moisture, moisture * steepness * pressure / dry


def ratio_of_vapour(vapour_pressure: Numeric, pressure: Numeric) -> Numeric:
    """Return the humidity ratio of air whose vapour has some pressure.

    Parameters
    ----------
    vapour_pressure, pressure
        Pressure of the vapour, and of the air as a whole. [kPa]

    Returns
    -------
    Numeric
        Mass of vapour per mass of dry air. [1]
    """
    return VAPOUR_SHARE * vapour_pressure / (pressure - vapour_pressure)
