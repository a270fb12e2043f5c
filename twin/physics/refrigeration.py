"""Chillers by the reformulated EIR model with its limits of validity, and heat pumps (Lorenz
cycle).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twin.physics.numerics import BoolArray, FloatArray, Numeric, clip
from twin.units import ZERO_CELSIUS_K


@dataclass(frozen=True, kw_only=True)
class CurveRange:
    """Range of the fit of one curve of a chiller, in the units of its arguments x and y."""

    x: tuple[float, float]
    y: tuple[float, float]

    def clip(self, x: Numeric, y: Numeric) -> tuple[Numeric, Numeric]:
        """Return the arguments of the curve, each clipped to the range of its fit."""
        return clip(x, *self.x), clip(y, *self.y)


@dataclass(frozen=True, kw_only=True)
class ChillerCurves:
    """Performance curves of a chiller, relative to its reference point.

    - `rated_cooling`: cooling at the reference temperatures. [MW]
    - `rated_cop`: cooling over electric power at the reference temperatures and full load. [1]
    - `capacity_coefficients`, `energy_input_coefficients`: biquadratics of x, the leaving chilled,
      and y, the leaving condenser water [degC] for the cooling available and the energy input
      ratio: 1, x, x2, y, y2, xy.
    - `part_load_coefficients`: bicubic of x, the leaving condenser water [degC], and y, the
      part-load ratio, for the power: 1, x, x2, y, y2, xy, x3, y3, x2y, xy2.
    - `chilled_range`, `condenser_range`: leaving temperatures of the capacity curve's fit. [degC]
    - `part_load_range`: part-load ratios of operation; below the first the chiller cycles. [1]
    - `energy_input_fit`: range of the fit of `energy_input_coefficients`; by default that of
      `capacity_coefficients`. [degC]
    - `part_load_fit`: range of the fit of `part_load_coefficients`; by default the condenser water
      of `capacity_coefficients` and the part loads of operation. [degC, 1]
    """

    rated_cooling: float
    rated_cop: float
    capacity_coefficients: tuple[float, ...]
    energy_input_coefficients: tuple[float, ...]
    part_load_coefficients: tuple[float, ...]
    chilled_range: tuple[float, float]
    condenser_range: tuple[float, float]
    part_load_range: tuple[float, float]
    energy_input_fit: CurveRange | None = None
    part_load_fit: CurveRange | None = None

    @property
    def capacity_range(self) -> CurveRange:
        """Range of the fit of the capacity curve: leaving chilled and condenser water. [degC]"""
        return CurveRange(x=self.chilled_range, y=self.condenser_range)

    @property
    def energy_input_range(self) -> CurveRange:
        """Range of the fit of the energy input ratio. [degC]"""
        return self.energy_input_fit or self.capacity_range

    @property
    def part_load_curve_range(self) -> CurveRange:
        """Range of the fit of the part-load curve: condenser water [degC] and part load [1]."""
        return self.part_load_fit or CurveRange(x=self.condenser_range, y=self.part_load_range)


# EnergyPlus, DataSets/Chillers.idf, "ReformEIRChiller Carrier 19XR 869kW/5.57COP/VSD" (centrifugal,
# variable speed). These are the bare curves: the catalogue also declares the fit of the part-load
# curve, which ends at 35 degC.
CARRIER_19XR_869: Final = ChillerCurves(
    rated_cooling=0.8686,
    rated_cop=5.57,
    capacity_coefficients=(
        0.5989856,
        0.1069929,
        -8.442248e-3,
        -1.622083e-3,
        -4.384385e-4,
        2.372388e-3,
    ),
    energy_input_coefficients=(
        0.5173193,
        0.07303695,
        -7.486318e-3,
        -2.613352e-3,
        1.000039e-4,
        1.264598e-3,
    ),
    part_load_coefficients=(
        *(0.1317677, -7.501960e-3, 5.073e-6, 0.8550743, -0.6215987, 7.267902e-3),
        *(0.0, 0.6373549, 0.0, 0.0),
    ),
    chilled_range=(7.22, 12.78),
    condenser_range=(22.63, 36.94),
    part_load_range=(0.18, 1.03),
)


def available_cooling_share(
    chilled_temperature: Numeric, condenser_temperature: Numeric, *, curves: ChillerCurves
) -> Numeric:
    """Return the available cooling of a chiller over its rated cooling.

    Parameters
    ----------
    chilled_temperature
        Leaving chilled-water temperature. [degC]
    condenser_temperature
        Leaving condenser-water temperature. [degC]

    Returns
    -------
    Numeric
        Cooling available over rated cooling. [1]

    Notes
    -----
    Biquadratic in both temperatures, which are clipped to the ranges of the fit.
    """
    clipped = curves.capacity_range.clip(chilled_temperature, condenser_temperature)
    return _biquadratic(curves.capacity_coefficients, *clipped)


def energy_input_ratio(
    chilled_temperature: Numeric, condenser_temperature: Numeric, *, curves: ChillerCurves
) -> Numeric:
    """Return electric power over cooling at full load.

    Parameters
    ----------
    chilled_temperature
        Leaving chilled-water temperature. [degC]
    condenser_temperature
        Leaving condenser-water temperature. [degC]

    Returns
    -------
    Numeric
        Energy input ratio, one over the COP. [1]

    Notes
    -----
    Biquadratic in both temperatures, which are clipped to the ranges of the fit.
    """
    clipped = curves.energy_input_range.clip(chilled_temperature, condenser_temperature)
    return _biquadratic(curves.energy_input_coefficients, *clipped) / curves.rated_cop


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

    Returns
    -------
    Numeric
        Electric power, 0 at zero load. [MW]

    Notes
    -----
    :math:`P = Q_r\, f_Q(T_e, T_c)\, f_E(T_e, T_c)\, f_P(T_c, y) / COP_r` with the part-load ratio
    :math:`y = Q / [Q_r f_Q]`. Below the minimum part-load ratio the chiller cycles, so power is
    proportional to load; above the maximum it is invalid, and the caller must check the load
    (:func:`available_cooling_share`). The arguments of each curve are clipped to the range of its
    own fit, but part loads above it are not, which is conservative. Clipping is conservative except
    for condenser water above a range and chilled water below it; :func:`is_outside_fits` shows
    where.

    References
    ----------
    .. [1] M. Hydeman, N. Webb, P. Sreedharan and S. Blanc, "Development and testing of a
       reformulated regression-based electric chiller model," *ASHRAE Transactions*, vol. 108,
       no. 2, pp. 1118-1127, 2002.
    """
    available = rated_cooling * available_cooling_share(
        chilled_temperature, condenser_temperature, curves=curves
    )
    input_ratio = energy_input_ratio(chilled_temperature, condenser_temperature, curves=curves)
    ratio = load / available
    minimum, fit = curves.part_load_range[0], curves.part_load_curve_range
    running = _bicubic(
        curves.part_load_coefficients,
        clip(condenser_temperature, *fit.x),
        np.maximum(ratio, max(minimum, fit.y[0])),
    )
    return available * input_ratio * running * np.minimum(ratio / minimum, 1.0)


def is_outside_fits(
    load: Numeric,
    rated_cooling: Numeric,
    *,
    chilled_temperature: Numeric,
    condenser_temperature: Numeric,
    curves: ChillerCurves,
) -> BoolArray:
    """Return where a curve of a chiller is clipped and its power may be too low.

    Parameters
    ----------
    load
        Cooling delivered by one unit. [MW]
    rated_cooling
        Cooling at the reference temperatures. [MW]
    chilled_temperature, condenser_temperature
        Leaving water of both sides. [degC]

    Returns
    -------
    numpy.ndarray
        Whether condenser water is above the fit of a curve, chilled water below it, or the part
        load of a running unit outside it. Clipping on the other sides is conservative. [1]
    """
    temperature_fits = curves.capacity_range, curves.energy_input_range
    part_load_fit = curves.part_load_curve_range
    available = rated_cooling * available_cooling_share(
        chilled_temperature, condenser_temperature, curves=curves
    )
    ratio = np.maximum(load / available, curves.part_load_range[0])
    return np.asarray(
        (chilled_temperature < max(fit.x[0] for fit in temperature_fits))
        | (condenser_temperature > min(*(fit.y[1] for fit in temperature_fits), part_load_fit.x[1]))
        | (ratio < part_load_fit.y[0])
        | (ratio > part_load_fit.y[1])
    )


def _biquadratic(c: tuple[float, ...], x: Numeric, y: Numeric) -> Numeric:
    return c[0] + x * (c[1] + c[2] * x) + y * (c[3] + c[4] * y) + c[5] * x * y


def _bicubic(c: tuple[float, ...], x: Numeric, y: Numeric) -> Numeric:
    # by powers of y, which has more axes than x: one for each number of units
    constant = c[0] + x * (c[1] + x * (c[2] + x * c[6]))
    linear = c[3] + x * (c[5] + x * c[8])
    square = c[4] + x * c[9]
    return constant + y * (linear + y * (square + y * c[7]))


MAX_CARNOT_FRACTION: Final = 0.78
"""Maximum share of Carnot's COP between the leaving water of both sides. [1]

The best machine on the market needs 0.45 kW per ton at the standard rating, 6.7 against 34.5 degC:
COP 7.8 of 10.1 (Trane CenTraVac, CTV-PRC007Q, 2018). Valid EnergyPlus sets are mostly below 0.7.
"""

BICUBIC_TERMS: Final = 10
"""Number of coefficients of a bicubic. [1]"""

_SAMPLED_TEMPERATURES: Final = 25  # of chilled and of condenser water
_SAMPLED_PART_LOADS: Final = 65  # from the minimum to full load
_POWER_TOLERANCE: Final = 1e-9  # share of power


def carnot_power_bound(
    load: FloatArray, supply_temperature: FloatArray | float, condenser_temperature: FloatArray
) -> FloatArray:
    r"""Return the minimum power of any chiller for a load.

    Parameters
    ----------
    load
        Cooling delivered. [MW]
    supply_temperature, condenser_temperature
        Water leaving the evaporators and the condensers. [degC]

    Returns
    -------
    numpy.ndarray
        Power; 0 if the condensers are colder. [MW]

    Notes
    -----
    :math:`P = Q\,(T_c - T_e) / (0.78\, T_e)` with :math:`T_e` in kelvin, by
    :data:`MAX_CARNOT_FRACTION`.
    """
    lift = np.maximum(condenser_temperature - supply_temperature, 0.0)
    return np.asarray(load * lift / (supply_temperature + ZERO_CELSIUS_K) / MAX_CARNOT_FRACTION)


@dataclass(frozen=True, kw_only=True, eq=False)
class ValidPartLoads:
    """Minimum part-load ratios at which the curves of a chiller are valid.

    - `chilled_temperatures`, `condenser_temperatures`: leaving temperatures, equally spaced over
      the ranges of the fit. [degC]
    - `ratio`: minimum valid part-load ratio there, ``(chilled, condenser)``. [1]
    """

    chilled_temperatures: FloatArray
    condenser_temperatures: FloatArray
    ratio: FloatArray

    def minimum(
        self, supply_temperature: FloatArray | float, condenser_temperature: FloatArray
    ) -> FloatArray:
        """Return the minimum valid part-load ratio, interpolated linearly. [1]"""
        row, row_weight = _grid_position(self.chilled_temperatures, supply_temperature)
        column, column_weight = _grid_position(self.condenser_temperatures, condenser_temperature)
        cold, warm = (
            (1.0 - row_weight) * self.ratio[row, at] + row_weight * self.ratio[row + 1, at]
            for at in (column, column + 1)
        )
        return np.asarray((1.0 - column_weight) * cold + column_weight * warm)


def check_chiller_curves(curves: ChillerCurves) -> None:
    """Raise a ValueError for curves without cooling, or without power for it.

    Parameters
    ----------
    curves
        The chiller's curves, with rising ranges.

    Raises
    ------
    ValueError
        With the temperatures of the error.

    Notes
    -----
    Checked at full load; :func:`valid_part_loads` excludes invalid part loads of published sets.
    """
    if len(curves.part_load_coefficients) != BICUBIC_TERMS:
        raise ValueError(f"eir_part_load_curve must have {BICUBIC_TERMS} coefficients")
    chilled = np.linspace(*curves.chilled_range, _SAMPLED_TEMPERATURES)[:, None]
    condenser = np.linspace(*curves.condenser_range, _SAMPLED_TEMPERATURES)
    capacity = available_cooling_share(chilled, condenser, curves=curves)
    _check_above_zero("capacity_curve", capacity, chilled, condenser)
    full = energy_input_ratio(chilled, condenser, curves=curves)
    _check_above_zero("eir_temperature_curve", full, chilled, condenser)
    power = chiller_power(
        capacity, 1.0, chilled_temperature=chilled, condenser_temperature=condenser, curves=curves
    )
    _check_above_zero("eir_part_load_curve", power, chilled, condenser)


def _check_above_zero(
    name: str, values: FloatArray | float, chilled: FloatArray, condenser: FloatArray
) -> None:
    values, chilled, condenser = np.broadcast_arrays(values, chilled, condenser)
    if not (values > 0.0).all():
        at = np.unravel_index(int(np.argmin(values)), values.shape)
        raise ValueError(
            f"correct {name}: it is {values[at]:.3g} at chilled water of {chilled[at]:.4g} and "
            f"condenser water of {condenser[at]:.4g} degC; it must be above 0 in the fitted range"
        )


def valid_part_loads(curves: ChillerCurves) -> ValidPartLoads:
    """Return the minimum part-load ratios at which the curves of a chiller are valid.

    Returns
    -------
    ValidPartLoads
        Ratios on a grid of temperatures, at least the first part load of the fit. [1]

    Notes
    -----
    Below it a unit would need less power per cooling than with colder condensers, in some fits less
    than Carnot's machine, because low loads with high lift were not measured. The same effect of
    the temperature curves at full load is not excluded.
    """
    chilled = np.linspace(*curves.chilled_range, _SAMPLED_TEMPERATURES)
    condenser = np.linspace(*curves.condenser_range, _SAMPLED_TEMPERATURES)
    ratio = np.linspace(curves.part_load_range[0], 1.0, _SAMPLED_PART_LOADS)[:, None, None]
    supply = chilled[:, None]
    load = ratio * available_cooling_share(supply, condenser, curves=curves)
    power = chiller_power(
        load, 1.0, chilled_temperature=supply, condenser_temperature=condenser, curves=curves
    )
    input_ratio = np.asarray(power / load)
    fall = 1.0 - input_ratio / np.maximum.accumulate(input_ratio, axis=2)
    is_invalid = fall > fall[-1] + _POWER_TOLERANCE
    valid = np.where(is_invalid[:-1], ratio[1:], ratio[0]).max(axis=0)
    valid[:, :-1] = np.maximum(valid[:, :-1], valid[:, 1:])  # conservative between points
    valid = np.maximum.accumulate(
        valid, axis=1
    )  # no step down where the part-load curve is clipped
    return ValidPartLoads(
        chilled_temperatures=chilled, condenser_temperatures=condenser, ratio=valid
    )


def _grid_position(
    grid: FloatArray, value: FloatArray | float
) -> tuple[NDArray[np.intp], FloatArray]:
    """Return the grid point below a clipped value, and the relative distance from it. [1]"""
    steps = np.clip((value - grid[0]) / (grid[1] - grid[0]), 0.0, len(grid) - 1.0)
    point = np.minimum(steps.astype(np.intp), len(grid) - 2)
    return point, steps - point


EQUAL_TEMPERATURE_K: Final = 1e-6
"""Temperatures closer than this are equal. [K]"""


def thermodynamic_mean_temperature(one: Numeric, other: Numeric) -> Numeric:
    """Return the thermodynamic mean temperature of a stream.

    Parameters
    ----------
    one, other
        Temperatures of the stream at its ends. [degC]

    Returns
    -------
    Numeric
        The logarithmic mean of the absolute temperatures. [degC]
    """
    warm, cold = one + ZERO_CELSIUS_K, other + ZERO_CELSIUS_K
    is_equal = np.abs(warm - cold) < EQUAL_TEMPERATURE_K
    difference = np.where(is_equal, EQUAL_TEMPERATURE_K, warm - cold)
    mean: Numeric = np.where(
        is_equal, one, difference / np.log1p(difference / cold) - ZERO_CELSIUS_K
    )[()]
    return mean


def lorenz_cop(source_temperature: Numeric, sink_temperature: Numeric) -> Numeric:
    r"""Return the coefficient of performance of a heat pump without losses.

    Parameters
    ----------
    source_temperature, sink_temperature
        Mean temperatures of source and sink by :func:`thermodynamic_mean_temperature`. [degC]

    Returns
    -------
    Numeric
        Heat delivered over electricity. [1]

    Notes
    -----
    :math:`\bar T_s / (\bar T_s - \bar T_q)` of the Lorenz cycle, which follows both streams where
    Carnot's has two fixed temperatures [1]_. Without lift it is infinite.

    References
    ----------
    .. [1] H. Lorenz, "Die Ermittlung der Grenzwerte der thermodynamischen Energieumwandlung,"
       Zeitschrift für die gesammte Kälte-Industrie, vol. 2, 1895.
    """
    lift = np.asarray(sink_temperature - source_temperature)
    is_lifted = lift > 0.0
    cop = (sink_temperature + ZERO_CELSIUS_K) / np.where(is_lifted, lift, 1.0)
    return np.where(is_lifted, cop, np.inf)[()]
