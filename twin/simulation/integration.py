"""Walk the states of a site through time: stores, and the water of a loop."""

import math
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from twin.equipment.chiller_plant import economiser_temperature_difference
from twin.equipment.cooling_plant import CoolingPlant
from twin.physics import FloatArray
from twin.physics.thermal_transients import RECOVERY_TIME_LAGS
from twin.relations import Store
from twin.weather import Weather

CAPACITY_LINE_SHARES = (0.5, 1.0)
"""Heats through which the line of what a plant gives is laid, over its rated cooling. [1]"""

STORAGE_TAPER_TIME_H = 0.2
"""Time constant with which a store's controller lets power fade near an end of its window. [h]"""


MIN_TEMPERATURE_RISE_K = 1e-3
"""Least warming of what coolers deliver between those heats, so that the line is finite. [K]"""


@dataclass(frozen=True, kw_only=True)
class CoolingCapacity:
    """What a plant can give at most: what its chillers can, or its coolers alone if that is more.

    Attributes
    ----------
    chiller
        What chillers give, at any temperature of the supply water, ``(time,)``; 0 without. [MW]
    dry_base
        What coolers alone give at the set point, ``(time,)``; negative in air that is warmer. [MW]
    slope
        What each kelvin above it adds, ``(time,)``. [MW K-1]
    """

    chiller: FloatArray
    dry_base: FloatArray
    slope: FloatArray

    @classmethod
    def from_plant(cls, plant: CoolingPlant, weather: Weather) -> Self:
        """Return the ceiling of a plant in some weather.

        The line of coolers goes through the heats that matter, wherever the set point lies: in air
        hotter than that they still give what they do at the temperature that the water then has.
        For dry coolers it is exact; towers are within half a kelvin of it above a third of the
        rating.
        """
        target, none = plant.supply_temperature, np.zeros(len(weather))
        flat = plant.capacity(weather, target) if plant.chillers else none
        if plant.chillers and plant.economiser_approach is None:
            return cls(chiller=flat, dry_base=none, slope=none)
        low, high = (share * plant.rated_cooling for share in CAPACITY_LINE_SHARES)
        cool, warm = (_free(plant, heat, weather) for heat in (low, high))
        rise = (high - low) / np.maximum(warm - cool, MIN_TEMPERATURE_RISE_K)
        return cls(chiller=flat, dry_base=low + rise * (target - cool), slope=rise)

    def plannable(self, plant: CoolingPlant) -> FloatArray:
        """Return the most that plans may ask for, as :meth:`CoolingPlant.limit`, by the line. [MW]

        Parameters
        ----------
        plant
            The plant whose ceiling it is.
        """
        warmer = plant.supply_limit - plant.supply_margin - plant.supply_temperature
        most = (
            self.chiller if plant.chillers else np.maximum(self.dry_base + self.slope * warmer, 0.0)
        )
        return np.minimum(most, plant.rated_cooling)

    def select(self, span: slice | NDArray[np.int64]) -> "CoolingCapacity":
        """Return the ceiling of some of the intervals."""
        return CoolingCapacity(
            chiller=self.chiller[span], dry_base=self.dry_base[span], slope=self.slope[span]
        )


def _free(plant: CoolingPlant, heat: float, weather: Weather) -> FloatArray:
    """Return the water of a circuit at which coolers, at full and alone, take its heat. [degC]"""
    full, bank, load = np.ones(len(weather)), plant.chillers, heat + plant.pump_power
    rate, lift = plant.rated_cooling / plant.temperature_range, np.zeros(len(weather))
    if bank is not None:
        chilled, rate = rate, bank.rated_rejection / bank.condenser_range
        near = plant.economiser_approach or 0.0
        lift += economiser_temperature_difference(load, near, chilled_rate=chilled, water_rate=rate)
    leaving = plant.rejection.leaving_temperature(
        load * full, capacity_rate=rate * full, weather=weather, speed=full
    )
    return leaving + lift


def integrate_storage(
    store: Store, level: float, charge: FloatArray, *, discharge: FloatArray, durations: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return what a store really takes and gives, and its levels.

    Parameters
    ----------
    store
        The store.
    level
        Level at the first edge. [MWh]
    charge, discharge
        What is asked, ``(time,)``. [MW]
    durations
        Lengths of the intervals. [h]

    Returns
    -------
    tuple of numpy.ndarray
        Charge, discharge ``(time,)`` [MW] and levels ``(instant,)`` [MWh].

    Notes
    -----
    The store's own controller stops at rated power and at both ends of its window; a plan that
    counts on more is refused by the verdict, since it would not be obeyed.
    """
    put, got = np.empty(len(durations)), np.empty(len(durations))
    levels = np.empty(len(durations) + 1)
    levels[0] = level
    for i, h in enumerate(durations.tolist()):
        kept = level * (1.0 - store.standing_loss) ** h
        fading = max(h, STORAGE_TAPER_TIME_H)
        room = max(store.max_level - kept, 0.0) / (store.charge_efficiency * fading)
        stock = (kept - store.min_level) * store.discharge_efficiency / fading
        put[i] = min(float(charge[i]), store.charge_limit, room)
        got[i] = min(float(discharge[i]), store.discharge_limit, max(stock, 0.0))
        gain = store.charge_efficiency * put[i] - got[i] / store.discharge_efficiency
        level = kept + h * gain
        levels[i + 1] = level
    return put, got, levels


def storage_losses(
    store: Store,
    charge: FloatArray,
    *,
    discharge: FloatArray,
    levels: FloatArray,
    durations: FloatArray,
) -> FloatArray:
    """Return what a store leaves in its surroundings: in charging, discharging and standing.

    Parameters
    ----------
    store
        The store.
    charge, discharge
        What it takes and gives, ``(time,)``. [MW]
    levels
        Its levels, ``(instant,)``. [MWh]
    durations
        Lengths of the intervals. [h]

    Returns
    -------
    numpy.ndarray
        Loss of what it stores, ``(time,)``. [MW]
    """
    standing = levels[:-1] * (1.0 - (1.0 - store.standing_loss) ** durations) / durations
    turned = (1.0 - store.charge_efficiency) * charge
    return np.asarray(turned + (1.0 / store.discharge_efficiency - 1.0) * discharge + standing)


@dataclass(frozen=True, kw_only=True)
class LoopTransport:
    """The water on its way from a plant to the halls.

    Attributes
    ----------
    capacity_rate
        Heat that the flow carries per kelvin, ``(time,)``. [MW K-1]
    temperature
        Water that arrives at the halls, at the first edge. [degC]
    """

    capacity_rate: FloatArray
    temperature: float


class LoopTrajectory(NamedTuple):
    """Where a loop has gone.

    Attributes
    ----------
    output
        What the plant took in the mean, ``(time,)``. [MW]
    supply
        Temperatures of the water that leaves it, ``(instant,)``. [degC]
    hall_supply
        Temperatures of the water that arrives at the halls, ``(instant,)``. [degC]
    valve_output
        What its valve let it take, ``(instant,)``. [MW]
    """

    output: FloatArray
    supply: FloatArray
    hall_supply: FloatArray
    valve_output: FloatArray


def integrate_loop(
    plant: CoolingPlant,
    load: FloatArray,
    capacity: CoolingCapacity,
    *,
    durations: FloatArray,
    start: tuple[float, float],
    target: FloatArray | None = None,
    transport: LoopTransport | None = None,
) -> LoopTrajectory:
    """Return the output of a plant that holds its loop at the set point, and the temperatures.

    Parameters
    ----------
    plant, load
        The plant with its loop; heat that enters it, ``(time,)`` [MW].
    capacity
        What the plant can give at most, on ``time``.
    durations, start
        Lengths of the intervals [h]; supply temperature [degC] and output [MW] at the first edge.
    target
        Set point of the supply water, ``(time,)``; by default the declared one. [degC]
    transport
        The water on its way to the halls, where the loop declares how much of it there is.

    Returns
    -------
    LoopTrajectory
        Output and temperatures.

    Notes
    -----
    The controller asks for the load plus what brings the water back, and gets at most the capacity
    at the temperature reached, for which the step is solved: it is stable at any length. A valve
    with a lag follows as a first-order filter: in a short step the plant takes its mean, in a
    longer one it has caught up and brought back what it was late with.
    """
    declared, count, water = plant.supply_temperature, len(durations), _Water(plant, transport)
    targets = np.full(count, declared) if target is None else target
    lag, (temperature, output) = plant.loop.valve_lag / 3600.0, start
    transport = transport or LoopTransport(capacity_rate=np.zeros(count), temperature=temperature)
    outputs, (supply, arriving, valve) = np.empty(count), np.empty((3, count + 1))
    supply[0], arriving[0], valve[0] = temperature, (there := transport.temperature), output
    columns = (
        durations,
        load,
        capacity.chiller,
        capacity.dry_base,
        capacity.slope,
        targets,
        transport.capacity_rate,
    )
    rows = zip(*(one.tolist() for one in columns), strict=True)
    for i, (h, q, flat, base, rise, aim, rate) in enumerate(rows):
        pull = water.pull(h * rate)
        away = water.far if h < RECOVERY_TIME_LAGS * lag else water.near * pull
        excess = water.near * (temperature - aim) + away * (there - aim)
        ahead = q + excess / max(h, RECOVERY_TIME_LAGS * lag) - output
        mean, end = _followed(h, lag)
        slope = h / water.near / (1.0 + pull)
        free = (temperature + pull * there) / (1.0 + pull) + slope * q
        most = max(flat, (base + rise * (free - declared)) / (1.0 + rise * slope))
        outputs[i] = max(min(output + mean * ahead, most), 0.0)
        output = max(min(output + end * ahead, most), 0.0)
        temperature = free - slope * outputs[i]
        there = water.arrives(temperature, there, h * rate)
        supply[i + 1], arriving[i + 1], valve[i + 1] = temperature, there, output
    return LoopTrajectory(outputs, supply, arriving, valve)


def _followed(hours: float, lag: float) -> tuple[float, float]:
    """Return how far a valve follows what is wanted: in the mean of a step, and at its end. [1]"""
    if not lag:
        return 1.0, 1.0
    end = -math.expm1(-hours / lag)
    return (1.0 - end * lag / hours if hours < RECOVERY_TIME_LAGS * lag else end), end


class _Water:
    r"""The water of a loop, near its plant and on its way to the halls.

    Of the loop's heat capacity :math:`K` the share :math:`s` is on its way with the flow's
    :math:`C`, and follows the supply within its transit time :math:`s K / C`:

    .. math:: (1-s) K \dot T_s = C (T_a - T_s) + Q - y, \qquad s K \dot T_a = C (T_s - T_a)

    Both are stepped implicitly; what is carried is :math:`h C` [MWh K-1].
    """

    def __init__(self, plant: CoolingPlant, pipes: LoopTransport | None) -> None:
        whole = plant.loop.heat_capacity
        self.far = 0.0 if pipes is None else plant.loop.supply_share * whole
        self.near = whole - self.far

    def pull(self, carried: float) -> float:
        """Return how strongly the far water holds the near one back in a step. [1]"""
        return carried / self.near * self.far / (self.far + carried) if self.far else 0.0

    def arrives(self, supply: float, before: float, carried: float) -> float:
        """Return the temperature at the halls behind a step. [degC]"""
        if not self.far:
            return supply
        return (self.far * before + carried * supply) / (self.far + carried)
