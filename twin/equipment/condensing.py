"""The cheapest way to cool a load with chillers, an economiser, and fans that share the work."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from twin.equipment.chiller import ChillerBank
from twin.equipment.heat_rejection import CoolingTower, DryCooler
from twin.physics import FloatArray, machines
from twin.physics.numeric import BoolArray, at_each
from twin.physics.search import farthest
from twin.weather import Weather

_SPEEDS: Final = 11  # fan speeds tried between the least and full speed
_NEAR: Final = 0.01  # K below the greatest temperature of the condensers, so that it is kept
_PASSES: Final = 3  # compressor power to 1e-4 of itself
_TOLERANCE: Final = 1e-7  # MW of the greatest load


def economiser_lift(
    heat: FloatArray | float,
    approach: float,
    *,
    chilled_rate: FloatArray | float,
    water_rate: FloatArray | float,
) -> FloatArray:
    r"""Return the chilled supply less the rejection water where an economiser carries a heat alone.

    Parameters
    ----------
    heat
        Heat that the chilled water brings. [MW]
    approach
        Between the streams where they are nearest. [K]
    chilled_rate, water_rate
        Capacity rates of the chilled and of the condenser water. [MW K-1]

    Returns
    -------
    numpy.ndarray
        Difference of temperatures. [K]

    Notes
    -----
    :math:`a + Q\,(1 / C_{min} - 1 / C)`, counterflow: the streams are nearest at the cold end, or
    at the warm one where less condenser water flows than chilled; else it would leave warmer than
    the chilled water comes.
    """
    least = np.minimum(chilled_rate, water_rate)
    return np.asarray(approach + heat * (1.0 / least - 1.0 / chilled_rate))


@dataclass(frozen=True, kw_only=True)
class Condensing:
    """How a load is cooled: on the axes of the load, with one axis more while trials are compared.

    Attributes
    ----------
    speed
        Fan speed, share of full speed. [1]
    compressor_power, fan_power, pump_power
        Electric powers; the pumps are those of the condenser water. [MW]
    free
        Heat taken by the economiser. [MW]
    units_on
        Chillers that run. [1]
    temperature
        Water leaving the condensers. [degC]
    """

    speed: FloatArray
    compressor_power: FloatArray
    fan_power: FloatArray
    pump_power: FloatArray
    free: FloatArray
    units_on: FloatArray
    temperature: FloatArray


@dataclass(frozen=True, kw_only=True)
class Condenser:
    """Chillers, heat rejection and economiser of one plant, at its chilled-water temperatures.

    Attributes
    ----------
    chillers, rejection
        The machines.
    supply_temperature
        Chilled water that leaves, one number or on the axes of the load. [degC]
    economiser_approach
        Least difference of the streams in the economiser; None without one. [K]
    units
        Chillers that are told to run, on the last axes of the load; by default as many as take the
        least power. [1]
    """

    chillers: ChillerBank
    rejection: DryCooler | CoolingTower
    supply_temperature: FloatArray | float
    economiser_approach: float | None
    units: FloatArray | None = None

    def cheapest(
        self, load: FloatArray, weather: Weather, *, capacity_rate: FloatArray
    ) -> Condensing:
        """Return the fan speed with the least power of fans and compressors, and what follows.

        Parameters
        ----------
        load
            Heat that the chilled water brings, pump heat included. [MW]
        weather
            Outdoor air on the last axis of the load.
        capacity_rate
            Capacity rate of the chilled water. [MW K-1]

        Returns
        -------
        Condensing
            The best of some fan speeds.

        Notes
        -----
        Tried are equally spaced speeds, the speed at which the economiser just carries the whole
        load, and those at which the condensers just reach their least and their greatest
        temperature: the kinks of the sum lie there, between them it is flat around its least
        value. No bypass is tried above the least condenser temperature: warmer water saves nothing.
        Where the number of chillers is told, fans turn faster before another chiller starts, and
        the economiser leaves those that run the load below which they would cycle.
        """
        water_rate, pump = self._condenser_water(load)
        fixed = load + pump
        kinks = self._kinks(load, fixed, capacity_rate, water_rate)
        speed = self._trials(kinks, weather, water_rate=water_rate)
        power = np.zeros_like(speed)
        for _ in range(_PASSES):
            heat = fixed + power
            leaving = self.rejection.leaving_temperature(
                heat, capacity_rate=water_rate, weather=weather, speed=speed
            )
            temperature = leaving + heat / water_rate
            free = self._free(
                leaving, load, capacity_rate, water_rate=water_rate, temperature=temperature
            )
            power, units = self._compress(load - free, temperature)
        fan = self.rejection.power(speed, weather)
        is_open = (temperature <= self.chillers.condenser_high) | (speed >= 1.0)
        is_open &= self._obeys(units, is_open)
        best = np.argmin(np.where(is_open, fan + power, np.inf), axis=0)
        return Condensing(
            speed=at_each(speed, best),
            compressor_power=at_each(power, best),
            fan_power=at_each(fan, best),
            pump_power=pump,
            free=at_each(free, best),
            units_on=at_each(units, best),
            temperature=np.maximum(at_each(temperature, best), self.chillers.condenser_minimum),
        )

    def _obeys(self, units: FloatArray, is_open: BoolArray) -> BoolArray:
        """Return which trials come nearest to the units that are told, of those that are open."""
        if self.units is None:
            return is_open
        more = np.where(is_open, np.maximum(units, self.units) - self.units, np.inf)
        return np.asarray(more <= more.min(axis=0))

    def _trials(
        self,
        kinks: Sequence[tuple[FloatArray, FloatArray]],
        weather: Weather,
        *,
        water_rate: FloatArray,
    ) -> FloatArray:
        """Return the fan speeds to be tried: equally spaced, and of kinks."""
        spaced = np.linspace(self.rejection.minimum_speed, 1.0, _SPEEDS)
        spaced = spaced.reshape(-1, *(1,) * water_rate.ndim)
        heat, target = (np.stack(part) for part in zip(*kinks, strict=True))
        found = self.rejection.slowest_speed(
            heat, target, capacity_rate=water_rate, weather=weather
        )
        return np.concatenate([np.broadcast_to(spaced, (_SPEEDS, *found.shape[1:])), found])

    def greatest_load(self, weather: Weather) -> FloatArray:
        """Return the most that the chillers carry with fans at full speed. [MW]"""
        bank, full = self.chillers, np.ones(len(weather))

        def excess(load: FloatArray) -> FloatArray:
            power, _ = self._compress(load, np.full_like(load, bank.condenser_high))
            water_rate, pump = self._condenser_water(load)
            heat = load + power + pump
            leaving = self.rejection.leaving_temperature(
                heat, capacity_rate=water_rate, weather=weather, speed=full
            )
            temperature = leaving + heat / water_rate
            limit = bank.capacity(self.supply_temperature, temperature)
            return np.maximum(temperature - bank.condenser_high, load - limit)

        most = 1.25 * bank.count * bank.rated_cooling * full
        return farthest(excess, 0.0 * full, most, tolerance=_TOLERANCE)

    def _condenser_water(self, load: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return capacity rate [MW K-1] and pump power [MW]; the flow follows the load."""
        bank = self.chillers
        flow = load / (bank.count * bank.rated_cooling)
        power = machines.pump_power(
            flow,
            1.0,
            rated_power=bank.count * bank.condenser_pump_power,
            static_head_share=bank.condenser_static_head,
            minimum_flow_share=bank.condenser_minimum_flow,
        )
        share = np.maximum(flow, bank.condenser_minimum_flow)
        return share * bank.rated_rejection / bank.condenser_range, np.asarray(power)

    def _kinks(
        self,
        load: FloatArray,
        fixed: FloatArray,
        capacity_rate: FloatArray,
        water_rate: FloatArray,
    ) -> list[tuple[FloatArray, FloatArray]]:
        """Return heat rejected [MW] and leaving water [degC] at the kinks of the power."""
        least = self.chillers.condenser_minimum
        leaving = least - (fixed + load / self.chillers.rated_cop) / water_rate
        cool = np.full_like(load, least)
        free = self._free(leaving, load, capacity_rate, water_rate=water_rate, temperature=cool)
        power, _ = self._compress(load - free, cool)
        heat = fixed + power
        highest = self.chillers.condenser_high
        power, _ = self._compress(load, np.full_like(load, highest))
        hot = fixed + power
        kinks = [(heat, least - heat / water_rate), (hot, highest - _NEAR - hot / water_rate)]
        if self.economiser_approach is not None:
            lift = economiser_lift(
                load, self.economiser_approach, chilled_rate=capacity_rate, water_rate=water_rate
            )
            kinks.append((fixed, self.supply_temperature - lift))
        return kinks

    def _free(
        self,
        leaving: FloatArray,
        load: FloatArray,
        capacity_rate: FloatArray,
        *,
        water_rate: FloatArray,
        temperature: FloatArray,
    ) -> FloatArray:
        """Return the heat that the economiser takes from the chilled water on its way back."""
        if self.economiser_approach is None:
            return np.zeros(np.broadcast_shapes(leaving.shape, load.shape))
        warm_end = self.supply_temperature + load / capacity_rate
        least = np.minimum(capacity_rate, water_rate)  # the end where the streams are near
        gained = least * (warm_end - self.economiser_approach - leaving)
        return np.clip(gained, 0.0, self._spared(load, temperature))

    def _spared(self, load: FloatArray, temperature: FloatArray) -> FloatArray:
        """Return what the economiser may take: not the least load of units that are told. [MW]"""
        if self.units is None:
            return load
        warm = np.maximum(temperature, self.chillers.condenser_minimum)
        each = self.chillers.least(self.supply_temperature, warm)
        return np.maximum(load - np.minimum(self.units, self.chillers.count) * each, 0.0)

    def _compress(self, load: FloatArray, temperature: FloatArray) -> tuple[FloatArray, FloatArray]:
        return self.chillers.power(
            load,
            supply_temperature=self.supply_temperature,
            condenser_temperature=temperature,
            told=self.units,
        )
