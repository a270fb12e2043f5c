"""Integrate the states of a site through time: storage levels and loop water."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from twin.equipment.cooling_plant import CoolingPlant
from twin.equipment.storage import STORAGE_TAPER_TIME_H
from twin.physics import FloatArray
from twin.physics.heat_exchangers import economiser_temperature_difference
from twin.physics.thermal_transients import RECOVERY_TIME_LAGS
from twin.relations import Store
from twin.site import Site
from twin.weather import Weather

CAPACITY_LINE_SHARES = (0.5, 1.0)
"""Heats that define the linear capacity of coolers, as shares of rated cooling. [1]"""


MIN_TEMPERATURE_RISE_K = 1e-3
"""Minimum temperature rise between those heats; it keeps the slope of the line finite. [K]"""


@dataclass(frozen=True, kw_only=True)
class CoolingCapacity:
    """Capacity of a plant: that of its chillers, or of its coolers alone if that is more.

    On the axes of the weather, ``time`` last:

    - ``chiller_capacity``: Capacity of the chillers at any supply temperature; 0 without chillers.
      [MW]
    - ``cooler_capacity_at_set_point``: Capacity of the coolers alone at the set point; negative in
      warmer air. [MW]
    - ``cooler_capacity_slope``: Additional capacity of the coolers per kelvin above the set point.
      [MW K-1]
    """

    chiller_capacity: FloatArray
    cooler_capacity_at_set_point: FloatArray
    cooler_capacity_slope: FloatArray

    @classmethod
    def from_plant(cls, plant: CoolingPlant, weather: Weather) -> Self:
        """Return the capacity of a plant in some weather.

        The line of the coolers passes through fixed heats, wherever the set point lies. In air that
        is warmer than the set point they still cool at the temperature that the water then reaches.
        The line is exact for dry coolers. Towers deviate less than half a kelvin above a third of
        the rating.
        """
        target, none = plant.supply_temperature, np.zeros(weather.shape)
        flat = plant.capacity(weather, target) if plant.chillers else none
        if plant.chillers and plant.economiser_approach is None:
            return cls(
                chiller_capacity=flat, cooler_capacity_at_set_point=none, cooler_capacity_slope=none
            )
        low, high = (share * plant.rated_cooling for share in CAPACITY_LINE_SHARES)
        cool, warm = (_unassisted_supply_temperature(plant, heat, weather) for heat in (low, high))
        rise = (high - low) / np.maximum(warm - cool, MIN_TEMPERATURE_RISE_K)
        return cls(
            chiller_capacity=flat,
            cooler_capacity_at_set_point=low + rise * (target - cool),
            cooler_capacity_slope=rise,
        )

    @classmethod
    def by_plant(cls, site: Site, weather: Weather) -> dict[str, Self]:
        """Return the capacity of each plant of a site in some weather."""
        plants = site.machines_of(CoolingPlant)
        return {plant.name: cls.from_plant(plant, weather) for plant in plants}

    def plannable(self, plant: CoolingPlant) -> FloatArray:
        """Return the capacity that plans may use, on the line of :meth:`from_plant`. [MW]

        It corresponds to :meth:`CoolingPlant.limit`.
        """
        warmer = plant.supply_limit - plant.supply_margin - plant.supply_temperature
        most = (
            self.chiller_capacity
            if plant.chillers
            else np.maximum(
                self.cooler_capacity_at_set_point + self.cooler_capacity_slope * warmer, 0.0
            )
        )
        return np.minimum(most, plant.rated_cooling)

    def select(self, span: slice | NDArray[np.int64]) -> "CoolingCapacity":
        """Return the capacity of some of the intervals."""
        return CoolingCapacity(
            chiller_capacity=self.chiller_capacity[..., span],
            cooler_capacity_at_set_point=self.cooler_capacity_at_set_point[..., span],
            cooler_capacity_slope=self.cooler_capacity_slope[..., span],
        )


def _unassisted_supply_temperature(
    plant: CoolingPlant, heat: float, weather: Weather
) -> FloatArray:
    """Return the supply temperature at which coolers alone, at full speed, reject a heat. [degC]"""
    full, bank, load = np.ones(weather.shape), plant.chillers, heat + plant.pump_power
    rate, lift = plant.rated_cooling / plant.temperature_range, np.zeros(weather.shape)
    if bank is not None:
        chilled, rate = rate, bank.rated_rejection / bank.condenser_range
        near = plant.economiser_approach or 0.0
        lift += economiser_temperature_difference(load, near, chilled_rate=chilled, water_rate=rate)
    leaving = plant.rejection.leaving_temperature(
        load * full, capacity_rate=rate * full, weather=weather, speed=full
    )
    return leaving + lift


def integrate_storage(
    store: Store,
    level: FloatArray | float,
    charge: FloatArray,
    *,
    discharge: FloatArray,
    durations: FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the charge and discharge that a store achieves, and its levels.

    The controller of the store stops at rated power and at both ends of the window. The verifier
    refuses a plan that needs more.

    - ``level``: Level at the first edge, a number or on the leading axes. [MWh]
    - ``charge``, ``discharge``: Commanded power, ``(..., time)``. [MW]
    - ``durations``: Lengths of the intervals. [h]

    Returns: Charge and discharge, ``(..., time)`` [MW]; levels, ``(..., instant)`` [MWh].
    """
    shape = np.broadcast_shapes(np.shape(level), charge.shape[:-1], discharge.shape[:-1])
    put, got, levels = np.empty((3, len(durations) + 1, *shape))
    level = level if shape else float(level)
    levels[0] = level
    standing_share, (least, most) = 1.0 - store.standing_loss, _bounds(shape)
    commands = _by_step(
        np.minimum(charge, store.charge_limit), np.minimum(discharge, store.discharge_limit)
    )
    for i, (h, into, out) in enumerate(zip(durations.tolist(), *commands, strict=True)):
        standing_level = level * standing_share**h
        taper_time = max(h, STORAGE_TAPER_TIME_H)
        filling = most(store.filling_power(standing_level, taper_time), 0.0)
        emptying = most(store.emptying_power(standing_level, taper_time), 0.0)
        put[i] = charged = least(into, filling)
        got[i] = discharged = least(out, emptying)
        level = standing_level + h * store.level_rate(charged, discharged)
        levels[i + 1] = level
    return _time_last(put[:-1]), _time_last(got[:-1]), _time_last(levels)


def _by_step(*columns: FloatArray) -> list[FloatArray]:
    """Return arrays on ``(..., time)`` with time first, so that a loop over steps reads rows.

    Rows of time alone are Python's numbers: NumPy's scalars take several times as long.
    """
    rows = (np.ascontiguousarray(np.moveaxis(values, -1, 0)) for values in columns)
    return [values if values.ndim > 1 else values.tolist() for values in rows]


def _bounds(shape: tuple[int, ...]) -> tuple[Callable[..., FloatArray], Callable[..., FloatArray]]:
    """Return the functions for minimum and maximum of numbers, or of arrays of a shape."""
    return (np.minimum, np.maximum) if shape else (min, max)


def _time_last(rows: FloatArray) -> FloatArray:
    """Return the rows of a loop over steps as an array with time last."""
    return np.ascontiguousarray(np.moveaxis(rows, 0, -1))


def storage_losses(
    store: Store,
    charge: FloatArray,
    *,
    discharge: FloatArray,
    levels: FloatArray,
    durations: FloatArray,
) -> FloatArray:
    """Return the losses of a store in charging, discharging and standing, ``(time,)``. [MW]

    Charge and discharge are on ``(..., time)`` [MW], levels on ``(..., instant)`` [MWh], durations
    in hours [h].
    """
    standing = levels[..., :-1] * (1.0 - (1.0 - store.standing_loss) ** durations) / durations
    charging = (1.0 - store.charge_efficiency) * charge
    return np.asarray(charging + (1.0 / store.discharge_efficiency - 1.0) * discharge + standing)


@dataclass(frozen=True, kw_only=True)
class LoopTransport:
    """The water between a plant and the halls.

    - ``capacity_rate``: Heat that the flow carries per kelvin, ``(..., time)``. [MW K-1]
    - ``initial_hall_supply_temperature``: Temperature of the water that arrives at the halls, at
      the first edge. [degC]
    """

    capacity_rate: FloatArray
    initial_hall_supply_temperature: FloatArray | float


class LoopTrajectory(NamedTuple):
    """Output and temperatures of a loop over time.

    - ``plant_output``: Mean cooling of the plant, ``(..., time)``. [MW]
    - ``supply``: Temperatures of the water that leaves the plant, ``(..., instant)``. [degC]
    - ``hall_supply``: Temperatures of the water that arrives at the halls, ``(..., instant)``.
      [degC]
    - ``valve_output``: Cooling that the valve position allows, ``(..., instant)``. [MW]
    """

    plant_output: FloatArray
    supply: FloatArray
    hall_supply: FloatArray
    valve_output: FloatArray


def integrate_loop(
    plant: CoolingPlant,
    load: FloatArray,
    capacity: CoolingCapacity,
    *,
    durations: FloatArray,
    start: tuple[FloatArray | float, FloatArray | float],
    target: FloatArray | None = None,
    transport: LoopTransport | None = None,
) -> LoopTrajectory:
    """Integrate the output of a plant that controls its supply temperature, and the temperatures.

    The controller requests the load plus the heat that returns the water to its set point. The
    plant delivers at most its capacity at the temperature reached. The step is solved for that
    temperature, so it is stable at any length. A valve with a lag is a first-order filter. In a
    short step the plant delivers the filter's mean. In a longer step the valve catches up.

    - ``load``: Heat that enters the loop, ``(..., time)``; the other arguments broadcast to its
      leading axes. [MW]
    - ``capacity``: Capacity of the plant, on ``time``.
    - ``durations``, ``start``: Lengths of the intervals [h]; supply temperature [degC] and output
      [MW] at the first edge.
    - ``target``: Set point of the supply water, ``(..., time)``; by default the declared one.
      [degC]
    - ``transport``: The water between plant and halls, where the loop declares its amount.
    """
    declared, count, water = plant.supply_temperature, len(durations), _LoopWater(plant, transport)
    lag, (temperature, output) = plant.loop.valve_lag / 3600.0, start
    arriving = temperature if transport is None else transport.initial_hall_supply_temperature
    columns = _by_step(
        load,
        capacity.chiller_capacity,
        capacity.cooler_capacity_at_set_point,
        capacity.cooler_capacity_slope,
        np.full(count, declared) if target is None else target,
        np.zeros(count) if transport is None else transport.capacity_rate,
    )
    outputs, supplies, arrivals, valves = np.empty((4, count + 1, *load.shape[:-1]))
    least, most = _bounds(load.shape[:-1])
    if not load.shape[:-1]:
        temperature, arriving, output = float(temperature), float(arriving), float(output)
    supplies[0], arrivals[0], valves[0] = temperature, arriving, output
    rows = zip(durations.tolist(), *columns, strict=True)
    for i, (h, q, flat, base, rise, aim, rate) in enumerate(rows):
        coupling = water.coupling(h * rate)
        away = water.far if h < RECOVERY_TIME_LAGS * lag else water.near * coupling
        excess = water.near * (temperature - aim) + away * (arriving - aim)
        ahead = q + excess / max(h, RECOVERY_TIME_LAGS * lag) - output
        mean, end = _valve_response(h, lag)
        slope = h / water.near / (1.0 + coupling)
        free = (temperature + coupling * arriving) / (1.0 + coupling) + slope * q
        max_output = most(flat, (base + rise * (free - declared)) / (1.0 + rise * slope))
        outputs[i] = delivered = most(least(output + mean * ahead, max_output), 0.0)
        output = most(least(output + end * ahead, max_output), 0.0)
        temperature = free - slope * delivered
        arriving = water.arriving_temperature(temperature, arriving, h * rate)
        supplies[i + 1], arrivals[i + 1], valves[i + 1] = temperature, arriving, output
    return LoopTrajectory(_time_last(outputs[:-1]), *map(_time_last, (supplies, arrivals, valves)))


def _valve_response(hours: float, lag: float) -> tuple[float, float]:
    """Return how far a valve follows its command: mean over a step, and at its end. [1]"""
    if not lag:
        return 1.0, 1.0
    end = -math.expm1(-hours / lag)
    return (1.0 - end * lag / hours if hours < RECOVERY_TIME_LAGS * lag else end), end


class _LoopWater:
    r"""The water of a loop, near its plant and on its way to the halls.

    Of the loop's heat capacity :math:`K` the share :math:`s` is on its way with the flow's
    :math:`C`, and follows the supply within its transit time :math:`s K / C`:

    .. math:: (1-s) K \dot T_s = C (T_a - T_s) + Q - y, \qquad s K \dot T_a = C (T_s - T_a)

    Both equations are stepped implicitly; the carried heat capacity is :math:`h C` [MWh K-1].
    """

    def __init__(self, plant: CoolingPlant, transport: LoopTransport | None) -> None:
        whole = plant.loop.heat_capacity
        self.far = 0.0 if transport is None else plant.loop.supply_share * whole
        self.near = whole - self.far

    def coupling(self, carried: FloatArray) -> FloatArray | float:
        """Return the coupling of the far water to the near water in a step. [1]"""
        return carried / self.near * self.far / (self.far + carried) if self.far else 0.0

    def arriving_temperature(
        self, supply: FloatArray, before: FloatArray | float, carried: FloatArray
    ) -> FloatArray:
        """Return the temperature at the halls after a step. [degC]"""
        if not self.far:
            return supply
        return np.asarray((self.far * before + carried * supply) / (self.far + carried))
