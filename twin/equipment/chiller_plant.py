"""Chillers: a bank of equal centrifugal units with variable speed, and how many of them run.

The cheapest way to cool a load with chillers, an economiser, and fans that share the work.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Final, Self

import numpy as np
from pydantic import model_validator

from twin.equipment.heat_rejection import CoolingTower, DryCooler
from twin.physics import FloatArray, fluid_flow, refrigeration
from twin.physics.numerics import BoolArray, last_feasible, take_per_column
from twin.physics.refrigeration import (
    ValidPartLoads,
    carnot_power_bound,
    check_chiller_curves,
    valid_part_loads,
)
from twin.relations import ConversionFlows, SwitchableUnits, UnitCharacteristics
from twin.units import MAX_START_COST_EUR, Declaration, Quantity
from twin.weather import Weather

_MOST_PART_LOAD = 1.03  # share of the cooling available; the fits end there

_LOADS = 17  # loads at which a plant is asked how many units it runs

_LEAST_OUTPUT = 0.1  # of a unit's rating, where hardly any load needs one

_FEWER_FIRST = 1e-9  # share of power that another unit must save, so that ties do not flicker


class ChillerBank(Declaration):
    """Equal water-cooled chillers after the reformulated EIR model, with their condenser pumps.

    The curves are those of EnergyPlus: biquadratics in (leaving chilled, leaving condenser water)
    with terms 1, x, x2, y, y2, xy; a bicubic in (leaving condenser water, part-load ratio) with
    terms 1, x, x2, y, y2, xy, x3, y3, x2y, xy2.
    """

    count: Annotated[
        int, Quantity("1", "number of equal units in service", at_least=1, at_most=1000)
    ]
    rated_cooling: Annotated[float, Quantity("MW", "rated cooling of one unit", above=0)]
    rated_cop: Annotated[float, Quantity("1", "rated cooling over power", above=1, below=20)]
    capacity_curve: tuple[float, float, float, float, float, float]
    eir_temperature_curve: tuple[float, float, float, float, float, float]
    eir_part_load_curve: tuple[float, ...]
    chilled_low: Annotated[float, Quantity("degC", "least leaving chilled water of the fit")]
    chilled_high: Annotated[float, Quantity("degC", "greatest leaving chilled water of the fit")]
    condenser_low: Annotated[float, Quantity("degC", "least leaving condenser water of the fit")]
    condenser_high: Annotated[
        float, Quantity("degC", "greatest leaving condenser water, of the fit and in operation")
    ]
    condenser_minimum: Annotated[
        float, Quantity("degC", "leaving condenser water held by a bypass", above=10, below=40)
    ]
    minimum_part_load: Annotated[
        float, Quantity("1", "part-load ratio below which a unit cycles", above=0, below=1)
    ]
    eir_factor: Annotated[
        float, Quantity("1", "power beside that of the clean machine", above=0.5, below=2)
    ] = 1.0
    condenser_range: Annotated[
        float, Quantity("K", "warming of the condenser water at rating", above=1, below=20)
    ]
    condenser_pump_power: Annotated[
        float, Quantity("MW", "power of one unit's condenser pump at rating", at_least=0)
    ]
    condenser_static_head: Annotated[
        float, Quantity("1", "share of the pump's head asked for at no flow", at_least=0, below=1)
    ] = 0.0
    condenser_minimum_flow: Annotated[
        float, Quantity("1", "least condenser flow, share of the rated one", above=0, at_most=1)
    ]

    minimum_up: Annotated[float, Quantity("h", "a unit that started runs so long", at_least=0)] = (
        0.0
    )
    minimum_down: Annotated[
        float, Quantity("h", "a unit that stopped stays off so long", at_least=0)
    ] = 0.0
    restart: Annotated[
        float, Quantity("h", "least time between two starts of a unit (anti-recycle)", at_least=0)
    ] = 0.0
    start_cost: Annotated[
        float,
        Quantity("EUR", "wear and energy of a start", at_least=0, at_most=MAX_START_COST_EUR),
    ] = 0.0

    @model_validator(mode="after")
    def _curves_are_whole(self) -> Self:
        if self.chilled_low >= self.chilled_high or self.condenser_low >= self.condenser_high:
            message = "chilled_low and condenser_low must be below chilled_high and condenser_high"
            raise ValueError(message)
        if self.condenser_minimum >= self.condenser_high:
            message = "condenser_minimum must be below condenser_high"
            raise ValueError(message)
        check_chiller_curves(
            self.model_copy().curves
        )  # what is kept here, changed copies would keep
        return self

    @cached_property
    def curves(self) -> refrigeration.ChillerCurves:
        """The curves as the physics takes them."""
        return refrigeration.ChillerCurves(
            rated_cooling=self.rated_cooling,
            rated_cop=self.rated_cop,
            capacity=self.capacity_curve,
            energy_input=self.eir_temperature_curve,
            part_load=self.eir_part_load_curve,
            chilled_range=(self.chilled_low, self.chilled_high),
            condenser_range=(self.condenser_low, self.condenser_high),
            part_load_range=(self.minimum_part_load, _MOST_PART_LOAD),
        )

    @property
    def rated_rejection(self) -> float:
        """Heat that leaves the condensers of the whole bank at rating. [MW]"""
        return self.count * self.rated_cooling * (1.0 + self.eir_factor / self.rated_cop)

    def capacity(
        self, supply_temperature: FloatArray | float, condenser_temperature: FloatArray
    ) -> FloatArray:
        """Return the most cooling of all units together.

        Parameters
        ----------
        supply_temperature
            Chilled water that leaves the units. [degC]
        condenser_temperature
            Condenser water that leaves the units. [degC]

        Returns
        -------
        numpy.ndarray
            Cooling. [MW]
        """
        share = refrigeration.available_cooling_share(
            supply_temperature, condenser_temperature, curves=self.curves
        )
        return np.asarray(self.count * self.rated_cooling * share)

    def power(
        self,
        load: FloatArray,
        *,
        supply_temperature: FloatArray | float,
        condenser_temperature: FloatArray,
        units_on: FloatArray | None = None,
    ) -> tuple[FloatArray, FloatArray]:
        """Return the least power that carries a load, and the number of units that run then.

        Parameters
        ----------
        load
            Cooling delivered by the bank. [MW]
        supply_temperature
            Chilled water that leaves the units. [degC]
        condenser_temperature
            Condenser water that leaves the units, on the axes of the load. [degC]
        units_on
            Units that shall run, whole and on the last axes of the load; by default those with the
            least power do. [1]

        Returns
        -------
        power : numpy.ndarray
            Power of the compressors. [MW]
        units : numpy.ndarray
            Equal units that share the load, 0 without load; those that are told, as far as there
            are so many, and more where these cannot carry it. [1]

        Notes
        -----
        A unit follows its curves down to the part load from which warmer condenser water no longer
        saves, cycles below, and keeps to Carnot's law (:mod:`twin.physics.refrigeration`).
        """
        temperature = np.maximum(condenser_temperature, self.condenser_minimum)
        load, temperature = np.broadcast_arrays(load, temperature)
        unit_limit = self.capacity(supply_temperature, temperature) / self.count * _MOST_PART_LOAD
        units = np.arange(1.0, self.count + 1.0).reshape(-1, *(1,) * load.ndim)
        power = self._shared(load, units, temperature, supply_temperature=supply_temperature)
        power *= 1.0 + _FEWER_FIRST * units
        overloaded = load / units > unit_limit
        overloaded[-1] = False
        if units_on is None:
            best = np.argmin(np.where(overloaded, np.inf, power), axis=0)
        else:
            needed = np.argmin(overloaded, axis=0) + 1
            best = np.clip(units_on, needed, self.count).astype(needed.dtype) - 1
        return take_per_column(power, best), np.where(load > 0.0, best + 1.0, 0.0)

    def switchable_units(
        self,
        operate: Callable[[FloatArray, Weather], ConversionFlows],
        limit: Callable[[Weather], FloatArray],
    ) -> SwitchableUnits | None:
        """Return the units as something to be committed.

        Parameters
        ----------
        operate
            (cooling [MW], weather) -> what the plant draws, with its operating point.
        limit
            Weather -> most that the plant delivers. [MW]

        Returns
        -------
        Units or None
            None where a unit may start and stop at any time for nothing.
        """
        if not (self.minimum_up or self.minimum_down or self.restart or self.start_cost):
            return None
        return SwitchableUnits(
            count=self.count,
            minimum_up=self.minimum_up,
            minimum_down=self.minimum_down,
            minimum_restart_time=self.restart,
            start_cost=self.start_cost,
            characteristics=lambda weather: self._running(operate, limit(weather), weather),
        )

    def _running(
        self,
        operate: Callable[[FloatArray, Weather], ConversionFlows],
        most: FloatArray,
        weather: Weather,
    ) -> UnitCharacteristics:
        """Return what units give and draw, from the points at which the plant runs best.

        The economiser carries what needs no unit; from there to the most, units are called in
        proportion. A unit more shares the load of the middle, for which the economiser leaves all
        of them their least load, and runs its pump at least flow.
        """
        loads = np.linspace(0.0, 1.0, _LOADS)[:, None] * most
        point = operate(loads, weather).details
        on, temperature = (
            point["cooling_plant_units_on"],
            point["cooling_plant_condenser_temperature"],
        )
        free = np.where(on <= 0.0, loads, 0.0).max(axis=0)
        called = np.where(on[-1] > 0.0, on[-1], 1.0)
        best = np.maximum(most - free, _LEAST_OUTPUT * self.rated_cooling) / called
        carried = 0.5 * (most - free)
        chilled, warm = 0.5 * (self.chilled_low + self.chilled_high), temperature[_LOADS // 2]
        middle = np.maximum(carried / best, 1.0)
        others = np.where(carried > 0.0, middle, 0.0) + 1.0
        held = np.clip(others * self.min_unit_cooling(chilled, warm), carried, carried + free)
        alone, more = (
            self._shared(load, units, warm, supply_temperature=chilled)
            for load, units in ((carried, middle), (held, others))
        )
        pump = fluid_flow.pump_power(
            self.condenser_minimum_flow,
            1.0,
            rated_power=self.condenser_pump_power,
            static_head_share=self.condenser_static_head,
            minimum_flow_share=self.condenser_minimum_flow,
        )
        spare = np.maximum(more - alone, 0.0) + pump
        return UnitCharacteristics(
            economiser_output=free,
            min_output=np.zeros_like(free),
            optimal_output=best,
            max_output=np.maximum((most - free) / self.count, np.maximum(best, self.rated_cooling)),
            power_one_unit_more=spare,
            power_one_unit_less=np.zeros_like(free),
        )

    def _shared(
        self,
        load: FloatArray,
        units: FloatArray,
        condenser_temperature: FloatArray,
        *,
        supply_temperature: FloatArray | float,
    ) -> FloatArray:
        """Return the power of some units, which may be a broken number, that share a load. [MW]"""
        least = self.min_unit_cooling(supply_temperature, condenser_temperature)
        each = load / units
        power = refrigeration.chiller_power(
            np.maximum(each, least),
            self.rated_cooling,
            chilled_temperature=supply_temperature,
            condenser_temperature=condenser_temperature,
            curves=self.curves,
        )
        running = units * np.minimum(each / least, 1.0)
        bound = carnot_power_bound(load, supply_temperature, condenser_temperature)
        worn = max(self.eir_factor, 1.0)
        return np.asarray(np.maximum(running * self.eir_factor * power, worn * bound))

    def min_unit_cooling(
        self, supply_temperature: FloatArray | float, condenser_temperature: FloatArray
    ) -> FloatArray:
        """Return the cooling of one unit below which it cycles, on the axes of its water. [MW]"""
        available = self.capacity(supply_temperature, condenser_temperature) / self.count
        return available * self._sound.minimum(supply_temperature, condenser_temperature)

    @cached_property
    def _sound(self) -> ValidPartLoads:
        """The part loads below which a unit is taken to cycle."""
        return valid_part_loads(self.curves)


_SPEEDS: Final = 11  # fan speeds tried between the least and full speed
_NEAR: Final = 0.01  # K below the greatest temperature of the condensers, so that it is kept
_PASSES: Final = 3  # compressor power to 1e-4 of itself
_TOLERANCE: Final = 1e-7  # MW of the greatest load


def economiser_temperature_difference(
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
class PlantOperatingPoint:
    """How a load is cooled: on the axes of the load, with one axis more while trials are compared.

    Attributes
    ----------
    speed
        Fan speed, share of full speed. [1]
    compressor_power, fan_power, pump_power
        Electric powers; the pumps are those of the condenser water. [MW]
    economiser_heat
        Heat taken by the economiser. [MW]
    units_on
        Chillers that run. [1]
    condenser_temperature
        Water leaving the condensers. [degC]
    """

    speed: FloatArray
    compressor_power: FloatArray
    fan_power: FloatArray
    pump_power: FloatArray
    economiser_heat: FloatArray
    units_on: FloatArray
    condenser_temperature: FloatArray


@dataclass(frozen=True, kw_only=True)
class ChillerPlant:
    """Chillers, heat rejection and economiser of one plant, at its chilled-water temperatures.

    Attributes
    ----------
    chillers, rejection
        The machines.
    supply_temperature
        Chilled water that leaves, one number or on the axes of the load. [degC]
    economiser_approach
        Least difference of the streams in the economiser; None without one. [K]
    units_on
        Chillers that are told to run, on the last axes of the load; by default as many as take the
        least power. [1]
    """

    chillers: ChillerBank
    rejection: DryCooler | CoolingTower
    supply_temperature: FloatArray | float
    economiser_approach: float | None
    units_on: FloatArray | None = None

    def min_power_point(
        self, load: FloatArray, weather: Weather, *, capacity_rate: FloatArray
    ) -> PlantOperatingPoint:
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
        PlantOperatingPoint
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
        return PlantOperatingPoint(
            speed=take_per_column(speed, best),
            compressor_power=take_per_column(power, best),
            fan_power=take_per_column(fan, best),
            pump_power=pump,
            economiser_heat=take_per_column(free, best),
            units_on=take_per_column(units, best),
            condenser_temperature=np.maximum(
                take_per_column(temperature, best), self.chillers.condenser_minimum
            ),
        )

    def _obeys(self, units: FloatArray, is_open: BoolArray) -> BoolArray:
        """Return which trials come nearest to the units that are told, of those that are open."""
        if self.units_on is None:
            return is_open
        more = np.where(is_open, np.maximum(units, self.units_on) - self.units_on, np.inf)
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
        found = self.rejection.min_fan_speed(
            heat, target, capacity_rate=water_rate, weather=weather
        )
        return np.concatenate([np.broadcast_to(spaced, (_SPEEDS, *found.shape[1:])), found])

    def max_load(self, weather: Weather) -> FloatArray:
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
        return last_feasible(excess, 0.0 * full, most, tolerance=_TOLERANCE)

    def _condenser_water(self, load: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return capacity rate [MW K-1] and pump power [MW]; the flow follows the load."""
        bank = self.chillers
        flow = load / (bank.count * bank.rated_cooling)
        power = fluid_flow.pump_power(
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
            lift = economiser_temperature_difference(
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
        if self.units_on is None:
            return load
        warm = np.maximum(temperature, self.chillers.condenser_minimum)
        each = self.chillers.min_unit_cooling(self.supply_temperature, warm)
        return np.maximum(load - np.minimum(self.units_on, self.chillers.count) * each, 0.0)

    def _compress(self, load: FloatArray, temperature: FloatArray) -> tuple[FloatArray, FloatArray]:
        return self.chillers.power(
            load,
            supply_temperature=self.supply_temperature,
            condenser_temperature=temperature,
            units_on=self.units_on,
        )
