"""The most that is left of a plant, over the temperature of its water."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from twin.equipment import CoolingPlant
from twin.equipment.condensing import economiser_lift
from twin.failures.situation import Plant
from twin.physics import FloatArray
from twin.weather import Weather

_SHARES: Final = np.array([0.0, 0.02, *np.arange(0.1, 1.6, 0.1), 2.0, 3.0])
"""Heats at which coolers are asked for their water, over the rated cooling. [1]"""

_LEAST_FLOW: Final = 1e-3  # share of the rated flow, so that rates stay finite
_LEAST_RISE: Final = 1e-3  # K between two nodes, so that slopes stay finite
_HOT: Final = 1e6  # degC, at which coolers that are out would begin

type Nodes = tuple[FloatArray, FloatArray]
"""Temperatures of the water [degC] and heats [MW], nodes first."""


@dataclass(frozen=True, kw_only=True)
class Most:
    """The most that a plant takes: the greater of a constant and a polyline.

    Attributes
    ----------
    flat
        What compressors take with the economiser, at any temperature; 0 without. [MW]
    temperature, heat
        Nodes of what the coolers take alone, first axis: water [degC] and heat [MW]. The ends go
        on straight.
    at_target
        What it takes at the set point. [MW]
    """

    flat: FloatArray
    temperature: FloatArray
    heat: FloatArray
    at_target: FloatArray

    @classmethod
    def of(cls, flat: FloatArray, nodes: Nodes, *, target: FloatArray) -> Self:
        """Return a ceiling, with its value at a set point."""
        temperature, heat = nodes
        intercept, slope = pieces(temperature, heat)
        place = piece_at(target, temperature)
        alone = (intercept + slope * target)[place, np.arange(len(flat))]
        return cls(flat=flat, temperature=temperature, heat=heat, at_target=np.maximum(flat, alone))


def pieces(temperature: FloatArray, heat: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the pieces of polylines: heat at 0 degC [MW], and more for each kelvin [MW K-1]."""
    slope = np.diff(heat, axis=0) / np.diff(temperature, axis=0)
    return heat[:-1] - slope * temperature[:-1], slope


def piece_at(water: FloatArray, temperature: FloatArray) -> NDArray[np.int64]:
    """Return the piece in which water of some temperature lies; nodes are on the first axis."""
    found = (temperature <= water).sum(axis=0) - 1
    return np.asarray(np.minimum(np.maximum(found, 0), len(temperature) - 2))


class Ceilings:
    """The ceilings of one plant in some weather, as far as they have been asked for.

    Parameters
    ----------
    plant
        The plant at work.
    weather
        Outdoor air on ``time``.
    """

    def __init__(self, plant: Plant, weather: Weather) -> None:
        self._plant, self._weather = plant, weather
        self._compressors: dict[int, FloatArray] = {}
        self._alone: dict[tuple[int, bytes], Nodes] = {}
        self._found: dict[tuple[bytes, int, bytes | None], Most] = {}

    def most(
        self, *, flow: FloatArray, coolers_out: int = 0, chillers: FloatArray | float | None = None
    ) -> Most:
        """Return what the plant takes at most with some of its machines out.

        Parameters
        ----------
        flow
            Facility flow over the rated one, on ``time``. [1]
        coolers_out
            Dry coolers or tower cells that are out. [1]
        chillers
            Chillers that may run; by default all. [1]

        Returns
        -------
        Most
            The ceiling; with chillers the greater of what the economiser takes alone, and what it
            takes now with the compressors' share beside it.

        Notes
        -----
        Fans stand at full. A chiller gives its share of the bank's capacity in this weather, or
        what it gives now if that is more; its curves give no more for warmer water.
        """
        some = None if chillers is None else np.asarray(chillers).tobytes()
        key = flow.tobytes(), coolers_out, some
        if key not in self._found:  # failures have most of their phases in common
            self._found[key] = self._most(flow, coolers_out, chillers)
        return self._found[key]

    def _most(
        self, flow: FloatArray, coolers_out: int, chillers: FloatArray | float | None
    ) -> Most:
        machine = self._plant.machine
        bank = machine.chillers
        target, none = self._plant.target, np.zeros(len(self._weather))
        if bank is None:
            rate = np.maximum(flow, _LEAST_FLOW) * machine.rated_cooling / machine.temperature_range
            nodes = self._free(rate, approach=None, coolers_out=coolers_out)
            return Most.of(none, nodes, target=target)
        units = np.asarray(bank.count if chillers is None else chillers, dtype=np.float64)
        most = self._compressed(coolers_out)
        left = 1.0 - coolers_out / machine.rejection.count
        free = self._plant.free * left
        running = np.maximum(self._plant.units_on, 1.0)
        unit = np.maximum(most / bank.count, (self._plant.output - self._plant.free) / running)
        compressed = np.minimum(free + units * unit, np.maximum(most, self._plant.output * left))
        nodes = _never(len(none))
        if machine.economiser_approach is not None:
            rate = np.full(len(none), bank.rated_rejection / bank.condenser_range)
            nodes = self._free(rate, approach=machine.economiser_approach, coolers_out=coolers_out)
        return Most.of(compressed, nodes, target=target)

    def _compressed(self, coolers_out: int) -> FloatArray:
        """Return what all chillers take with some coolers out. [MW]"""
        if coolers_out not in self._compressors:
            whole = self._plant.machine
            most = _without(whole, coolers_out).capacity(self._weather, whole.supply_temperature)
            is_any = coolers_out < whole.rejection.count
            self._compressors[coolers_out] = most if is_any else np.zeros_like(most)
        return self._compressors[coolers_out]

    def nothing(self) -> Most:
        """Return the ceiling of a plant that stands still."""
        none = np.zeros(len(self._weather))
        return Most.of(none, _never(len(none)), target=self._plant.target)

    def _free(self, rate: FloatArray, *, approach: float | None, coolers_out: int) -> Nodes:
        """Return what leaves by the coolers alone, through water of some capacity rate."""
        key = coolers_out, rate.tobytes()
        if key not in self._alone:
            self._alone[key] = self._nodes(rate, approach=approach, coolers_out=coolers_out)
        return self._alone[key]

    def _nodes(self, rate: FloatArray, *, approach: float | None, coolers_out: int) -> Nodes:
        machine = self._plant.machine
        if coolers_out >= machine.rejection.count:
            return _never(len(rate))
        heat = np.broadcast_to(_SHARES[:, None] * machine.rated_cooling, (len(_SHARES), len(rate)))
        leaving = _without(machine, coolers_out).rejection.leaving_temperature(
            heat, capacity_rate=rate, weather=self._weather, speed=np.ones_like(heat)
        )
        least = np.arange(len(_SHARES))[:, None] * _LEAST_RISE
        temperature = np.maximum.accumulate(leaving - least) + least
        if approach is not None:
            chilled = machine.rated_cooling / machine.temperature_range
            lift = economiser_lift(heat, approach, chilled_rate=chilled, water_rate=rate)
            temperature = temperature + lift
        return temperature, heat - machine.pump_power


def _never(count: int) -> Nodes:
    """Return nodes of coolers that take nothing at any temperature."""
    temperature = np.broadcast_to((_HOT * (1.0 + _SHARES))[:, None], (len(_SHARES), count))
    return temperature, np.broadcast_to(_SHARES[:, None], temperature.shape)


def _without(plant: CoolingPlant, coolers: int) -> CoolingPlant:
    """Return a plant with some coolers or cells less, at least with one."""
    if not coolers:
        return plant
    count = max(plant.rejection.count - coolers, 1)
    rejection = plant.rejection.model_copy(update={"count": count})
    return plant.model_copy(update={"rejection": rejection})
