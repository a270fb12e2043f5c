"""The most that is left of a plant, as a line over the temperature of its water."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from twin.equipment import CoolingPlant
from twin.failures.situation import Plant
from twin.physics import FloatArray
from twin.walk import PROBE
from twin.weather import Weather

_BISECTIONS: Final = 24  # of the widest search: heat to 1e-6 of the rated cooling
_MOST_OVERLOAD: Final = 4.0  # of the rated cooling: the widest that a capacity is searched
_LEAST_FLOW: Final = 1e-3  # share of the rated flow, so that rates stay finite


@dataclass(frozen=True, kw_only=True)
class Line:
    """The most that a plant takes.

    Attributes
    ----------
    base
        At the set point. [MW]
    rise
        More for each kelvin above it. [MW K-1]
    """

    base: FloatArray
    rise: FloatArray


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
        self._alone: dict[tuple[int, bytes], Line] = {}

    def line(
        self, *, flow: FloatArray, coolers_out: int = 0, chillers: FloatArray | float | None = None
    ) -> Line:
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
        Line
            The ceiling; with chillers the greater of what the economiser takes alone, and what it
            takes now with the compressors' share beside it.

        Notes
        -----
        Fans stand at full. A chiller gives its share of the bank's capacity in this weather, or
        what it gives now if that is more; its curves give no more for warmer water.
        """
        machine = self._plant.machine
        bank = machine.chillers
        if bank is None:
            rate = np.maximum(flow, _LEAST_FLOW) * machine.rated_cooling / machine.temperature_range
            return self._free(rate, approach=0.0, coolers_out=coolers_out)
        units = np.asarray(bank.count if chillers is None else chillers, dtype=np.float64)
        most = self._compressed(coolers_out)
        left = 1.0 - coolers_out / machine.rejection.count
        free = self._plant.free * left
        running = np.maximum(self._plant.units_on, 1.0)
        unit = np.maximum(most / bank.count, (self._plant.output - self._plant.free) / running)
        compressed = np.minimum(free + units * unit, np.maximum(most, self._plant.output * left))
        if machine.economiser_approach is None:
            return Line(base=compressed, rise=np.zeros_like(compressed))
        rate = np.full(len(self._weather), bank.rated_rejection / bank.condenser_range)
        alone = self._free(rate, approach=machine.economiser_approach, coolers_out=coolers_out)
        base = np.maximum(compressed, alone.base)
        warmer = np.maximum(compressed, alone.base + PROBE * alone.rise)
        return Line(base=base, rise=(warmer - base) / PROBE)

    def _compressed(self, coolers_out: int) -> FloatArray:
        """Return what all chillers take with some coolers out. [MW]"""
        if coolers_out not in self._compressors:
            whole = self._plant.machine
            most = _without(whole, coolers_out).capacity(self._weather, whole.supply_temperature)
            is_any = coolers_out < whole.rejection.count
            self._compressors[coolers_out] = most if is_any else np.zeros_like(most)
        return self._compressors[coolers_out]

    def _free(self, rate: FloatArray, *, approach: float, coolers_out: int) -> Line:
        """Return what leaves by the coolers alone, through water of some capacity rate."""
        key = coolers_out, rate.tobytes()
        if key not in self._alone:
            self._alone[key] = self._search(rate, approach=approach, coolers_out=coolers_out)
        return self._alone[key]

    def _search(self, rate: FloatArray, *, approach: float, coolers_out: int) -> Line:
        machine = self._plant.machine
        if coolers_out >= machine.rejection.count:
            return Line(base=np.zeros_like(rate), rise=np.zeros_like(rate))
        rejection = _without(machine, coolers_out).rejection
        target = self._plant.target - approach + np.array([[0.0], [PROBE]])
        heat = np.zeros((2, len(rate)))
        step = _MOST_OVERLOAD * machine.rated_cooling
        full = np.ones_like(heat)
        for _ in range(_BISECTIONS):
            step *= 0.5
            leaving = rejection.leaving_temperature(
                heat + step, capacity_rate=rate, weather=self._weather, speed=full
            )
            heat = np.where(leaving <= target, heat + step, heat)
        heat = np.maximum(heat - machine.pump_power, 0.0)
        return Line(base=heat[0], rise=(heat[1] - heat[0]) / PROBE)


def _without(plant: CoolingPlant, coolers: int) -> CoolingPlant:
    """Return a plant with some coolers or cells less, at least with one."""
    if not coolers:
        return plant
    count = max(plant.rejection.count - coolers, 1)
    rejection = plant.rejection.model_copy(update={"count": count})
    return plant.model_copy(update={"rejection": rejection})
