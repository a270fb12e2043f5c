"""How far the curves of a chiller are believed: down to some part load, and never beyond Carnot."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from twin.physics import FloatArray, chiller
from twin.units import KELVIN

MOST_OF_CARNOT: Final = 0.78
"""Most of Carnot's COP, between the water that leaves on both sides, that a unit reaches. [1]

The best machine sold takes 0.45 kW a ton at the standard rating, 6.7 against 34.5 degC: COP 7.8 of
10.1 (Trane CenTraVac, CTV-PRC007Q, 2018). EnergyPlus' sets that make sense mostly stay below 0.7.
"""

TERMS: Final = 10
"""Coefficients of a bicubic. [1]"""

_TEMPERATURES: Final = 25  # chilled, and condensers', at which the curves are looked at
_PART_LOADS: Final = 65  # at which they are, from the least one to full load
_ROUNDING: Final = 1e-9  # share of power


def least_power(
    load: FloatArray, supply_temperature: FloatArray | float, condenser_temperature: FloatArray
) -> FloatArray:
    r"""Return the power below which no chiller carries a load.

    Parameters
    ----------
    load
        Cooling delivered. [MW]
    supply_temperature, condenser_temperature
        Water that leaves the evaporators and the condensers. [degC]

    Returns
    -------
    numpy.ndarray
        Power; 0 where the condensers are the colder. [MW]

    Notes
    -----
    :math:`P = Q\,(T_c - T_e) / (0.78\, T_e)` with :math:`T_e` in kelvin, by :data:`MOST_OF_CARNOT`.
    """
    lift = np.maximum(condenser_temperature - supply_temperature, 0.0)
    return np.asarray(load * lift / (supply_temperature + KELVIN) / MOST_OF_CARNOT)


@dataclass(frozen=True, kw_only=True, eq=False)
class SoundPartLoads:
    """From which part load the curves of a chiller make sense.

    Attributes
    ----------
    chilled, condenser
        Leaving temperatures, equally spaced over the ranges of the fit. [degC]
    ratio
        Least sound part-load ratio there, ``(chilled, condenser)``. [1]
    """

    chilled: FloatArray
    condenser: FloatArray
    ratio: FloatArray

    def least(
        self, supply_temperature: FloatArray | float, condenser_temperature: FloatArray
    ) -> FloatArray:
        """Return the least sound part-load ratio, between the points on straight lines. [1]"""
        row, below = _place(self.chilled, supply_temperature)
        column, left = _place(self.condenser, condenser_temperature)
        cold, warm = (
            (1.0 - below) * self.ratio[row, at] + below * self.ratio[row + 1, at]
            for at in (column, column + 1)
        )
        return np.asarray((1.0 - left) * cold + left * warm)


def check_curves(curves: chiller.ChillerCurves) -> None:
    """Refuse curves by which a chiller gives no cooling, or needs no power for it.

    Parameters
    ----------
    curves
        The chiller's curves, whose ranges are in order.

    Raises
    ------
    ValueError
        With the temperatures at which it is so.

    Notes
    -----
    At full load: at little load many a published set gives less than nothing somewhere, and
    :func:`sound_part_loads` keeps off.
    """
    if len(curves.part_load) != TERMS:
        message = f"eir_part_load_curve must have {TERMS} coefficients"
        raise ValueError(message)
    chilled = np.linspace(*curves.chilled_range, _TEMPERATURES)[:, None]
    condenser = np.linspace(*curves.condenser_range, _TEMPERATURES)
    capacity = chiller.available_cooling_share(chilled, condenser, curves=curves)
    _check_above_zero("capacity_curve", capacity, chilled, condenser)
    full = chiller.energy_input_ratio(chilled, condenser, curves=curves)
    _check_above_zero("eir_temperature_curve", full, chilled, condenser)
    power = chiller.chiller_power(
        capacity, 1.0, chilled_temperature=chilled, condenser_temperature=condenser, curves=curves
    )
    _check_above_zero("eir_part_load_curve", power, chilled, condenser)


def _check_above_zero(
    name: str, values: FloatArray | float, chilled: FloatArray, condenser: FloatArray
) -> None:
    values, chilled, condenser = np.broadcast_arrays(values, chilled, condenser)
    if not (values > 0.0).all():
        at = np.unravel_index(int(np.argmin(values)), values.shape)
        message = (
            f"{name} gives {values[at]:.3g} at chilled water of {chilled[at]:.4g} and condenser "
            f"water of {condenser[at]:.4g} degC; it must be above 0 over the ranges of the fit"
        )
        raise ValueError(message)


def sound_part_loads(curves: chiller.ChillerCurves) -> SoundPartLoads:
    """Return from which part load the curves of a chiller make sense.

    Parameters
    ----------
    curves
        The chiller's curves.

    Returns
    -------
    SoundPartLoads
        At some temperatures; at least the first part load of the fit.

    Notes
    -----
    At less than it a unit would draw less for its cooling than with colder condensers, and in some
    fits less than Carnot's machine: nobody measured little load and much lift. What the curves of
    temperatures alone do so, at full load, is left to them.
    """
    chilled = np.linspace(*curves.chilled_range, _TEMPERATURES)
    condenser = np.linspace(*curves.condenser_range, _TEMPERATURES)
    ratio = np.linspace(curves.part_load_range[0], 1.0, _PART_LOADS)[:, None, None]
    supply = chilled[:, None]
    load = ratio * chiller.available_cooling_share(supply, condenser, curves=curves)
    power = chiller.chiller_power(
        load, 1.0, chilled_temperature=supply, condenser_temperature=condenser, curves=curves
    )
    input_ratio = np.asarray(power / load)
    fall = 1.0 - input_ratio / np.maximum.accumulate(input_ratio, axis=2)
    is_odd = fall > fall[-1] + _ROUNDING
    sound = np.where(is_odd[:-1], ratio[1:], ratio[0]).max(axis=0)
    sound[:, :-1] = np.maximum(sound[:, :-1], sound[:, 1:])  # so that it is safe between points
    return SoundPartLoads(chilled=chilled, condenser=condenser, ratio=sound)


def _place(grid: FloatArray, value: FloatArray | float) -> tuple[NDArray[np.intp], FloatArray]:
    """Return the point of an even grid below a value, which is held to it, and the way on. [1]"""
    steps = np.clip((value - grid[0]) / (grid[1] - grid[0]), 0.0, len(grid) - 1.0)
    point = np.minimum(steps.astype(np.intp), len(grid) - 2)
    return point, steps - point
