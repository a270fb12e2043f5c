"""Chillers after the reformulated EIR model: three curves of temperatures and part load."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from twin.physics.numeric import Numeric, within


@dataclass(frozen=True, kw_only=True)
class ChillerCurves:
    """A chiller's measured behaviour, relative to its reference point.

    Attributes
    ----------
    rated_cooling
        Cooling at the reference temperatures. [MW]
    rated_cop
        Cooling over electric power at the reference temperatures and full load. [1]
    capacity, energy_input
        Biquadratics of x, the leaving chilled, and y, the leaving condenser water [degC] for the
        cooling available and the energy input ratio: 1, x, x2, y, y2, xy.
    part_load
        Bicubic of x, the leaving condenser water [degC], and y, the part-load ratio, for the power:
        1, x, x2, y, y2, xy, x3, y3, x2y, xy2.
    chilled_range, condenser_range
        Leaving temperatures that the biquadratics were fitted to. [degC]
    part_load_range
        Part-load ratios that the bicubic was fitted to; below the first the chiller cycles. [1]
    """

    rated_cooling: float
    rated_cop: float
    capacity: tuple[float, ...]
    energy_input: tuple[float, ...]
    part_load: tuple[float, ...]
    chilled_range: tuple[float, float]
    condenser_range: tuple[float, float]
    part_load_range: tuple[float, float]


# Both sets: EnergyPlus, DataSets/Chillers.idf, "ReformEIRChiller Carrier 19XR 869kW/5.57COP/VSD"
# and "... 1403kW/7.09COP/VSD" (centrifugal, variable speed). The power of the second rises with
# load and with condenser temperature all over its range; each larger VSD set of that file, but for
# one that ends at 30.6 degC, breaks this somewhere. Larger machines are scaled from it (assumed).
CARRIER_19XR_869: Final = ChillerCurves(
    rated_cooling=0.8686,
    rated_cop=5.57,
    capacity=(0.5989856, 0.1069929, -8.442248e-3, -1.622083e-3, -4.384385e-4, 2.372388e-3),
    energy_input=(0.5173193, 0.07303695, -7.486318e-3, -2.613352e-3, 1.000039e-4, 1.264598e-3),
    part_load=(
        *(0.1317677, -7.501960e-3, 5.073e-6, 0.8550743, -0.6215987, 7.267902e-3),
        *(0.0, 0.6373549, 0.0, 0.0),
    ),
    chilled_range=(7.22, 12.78),
    condenser_range=(22.63, 36.94),
    part_load_range=(0.18, 1.03),
)
CARRIER_19XR_1403: Final = ChillerCurves(
    rated_cooling=1.4031,
    rated_cop=7.09,
    capacity=(0.8573696, -0.03077045, -2.171254e-3, 0.02296255, -1.067689e-3, 3.125156e-3),
    energy_input=(1.172049, -0.01768334, 3.356460e-4, -0.01485826, 6.930197e-4, -5.461447e-4),
    part_load=(
        *(0.1386665, 4.836823e-3, -5.406708e-5, -0.4609915, 2.214035, -1.925694e-3),
        *(0.0, -0.9302446, 0.0, 0.0),
    ),
    chilled_range=(6.67, 12.22),
    condenser_range=(21.77, 33.09),
    part_load_range=(0.17, 1.03),
)


def available_cooling_share(
    chilled_temperature: Numeric, condenser_temperature: Numeric, *, curves: ChillerCurves
) -> Numeric:
    """Return the cooling that a chiller can give, relative to its rated cooling.

    Parameters
    ----------
    chilled_temperature
        Leaving chilled-water temperature. [degC]
    condenser_temperature
        Leaving condenser-water temperature. [degC]
    curves
        The chiller's curves.

    Returns
    -------
    Numeric
        Cooling available over rated cooling. [1]

    Notes
    -----
    Biquadratic in both temperatures, which are held at the ends of the ranges of the fit.
    """
    return _biquadratic(curves.capacity, *_held(chilled_temperature, condenser_temperature, curves))


def energy_input_ratio(
    chilled_temperature: Numeric, condenser_temperature: Numeric, *, curves: ChillerCurves
) -> Numeric:
    """Return the electric power over the cooling at full load.

    Parameters
    ----------
    chilled_temperature
        Leaving chilled-water temperature. [degC]
    condenser_temperature
        Leaving condenser-water temperature. [degC]
    curves
        The chiller's curves.

    Returns
    -------
    Numeric
        Energy input ratio, one over the COP. [1]

    Notes
    -----
    Biquadratic in both temperatures, which are held at the ends of the ranges of the fit.
    """
    held = _held(chilled_temperature, condenser_temperature, curves)
    return _biquadratic(curves.energy_input, *held) / curves.rated_cop


def chiller_power(
    load: Numeric,
    rated_cooling: Numeric,
    *,
    chilled_temperature: Numeric,
    condenser_temperature: Numeric,
    curves: ChillerCurves,
) -> Numeric:
    r"""Return the electric power of one chiller.

    Parameters
    ----------
    load
        Cooling delivered. [MW]
    rated_cooling
        Cooling at the reference temperatures; the curves are scaled to it. [MW]
    chilled_temperature
        Leaving chilled-water temperature. [degC]
    condenser_temperature
        Leaving condenser-water temperature. [degC]
    curves
        The chiller's curves.

    Returns
    -------
    Numeric
        Electric power, 0 at zero load. [MW]

    Notes
    -----
    :math:`P = Q_r\, f_Q(T_e, T_c)\, f_E(T_e, T_c)\, f_P(T_c, y) / COP_r` with the part-load ratio
    :math:`y = Q / [Q_r f_Q]`. Below the least part-load ratio the chiller cycles, so the power is
    proportional to the load; above the greatest one it has no sense and the caller must keep off
    (:func:`available_cooling_share`). Temperatures are held at the ends of the ranges of the fit:
    warmer chilled and colder condenser water than that bring no further gain, which is safe, but
    warmer condenser water no further cost, so keep below the end of ``condenser_range``. The
    part-load curve is used to the same ends, a few kelvin past its own condenser range.

    References
    ----------
    .. [1] M. Hydeman, N. Webb, P. Sreedharan and S. Blanc, "Development and testing of a
       reformulated regression-based electric chiller model," *ASHRAE Transactions*, vol. 108,
       no. 2, pp. 1118-1127, 2002.
    """
    chilled, condenser = _held(chilled_temperature, condenser_temperature, curves)
    available = rated_cooling * _biquadratic(curves.capacity, chilled, condenser)
    full_power = available * _biquadratic(curves.energy_input, chilled, condenser)
    ratio = load / available
    least, _ = curves.part_load_range
    running = _bicubic(curves.part_load, condenser, np.maximum(ratio, least))
    return full_power / curves.rated_cop * running * np.minimum(ratio / least, 1.0)


def _held(
    chilled_temperature: Numeric, condenser_temperature: Numeric, curves: ChillerCurves
) -> tuple[Numeric, Numeric]:
    chilled = within(chilled_temperature, *curves.chilled_range)
    return chilled, within(condenser_temperature, *curves.condenser_range)


def _biquadratic(c: tuple[float, ...], x: Numeric, y: Numeric) -> Numeric:
    return c[0] + x * (c[1] + c[2] * x) + y * (c[3] + c[4] * y) + c[5] * x * y


def _bicubic(c: tuple[float, ...], x: Numeric, y: Numeric) -> Numeric:
    # by powers of y, whose axes are more than those of x: a trial of every number of units
    constant = c[0] + x * (c[1] + x * (c[2] + x * c[6]))
    linear = c[3] + x * (c[5] + x * c[8])
    square = c[4] + x * c[9]
    return constant + y * (linear + y * (square + y * c[7]))
