"""Chiller plants: banks of equal variable-speed centrifugal chillers, and their cheapest operation.

Chillers, economiser and fans share a load at the minimum sum of their powers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Final, Self

import numpy as np
from pydantic import model_validator

from twin.equipment.coolers_and_towers import CoolingTower, DryCooler
from twin.physics import FloatArray, fluid_flow, refrigeration
from twin.physics.heat_exchangers import economiser_temperature_difference
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

_MAX_PART_LOAD = 1.03  # share of the available cooling; end of the fits

_SAMPLED_LOADS = 17  # for the number of running units

_MIN_OUTPUT = 0.1  # of a unit's rating

_LOADS_AT_ONCE = 3072  # whose powers with each number of units stay in the processor's cache

_UNIT_PENALTY = 1e-9  # share of power that a further unit must save, to break ties


class CurveFit(Declaration):
    """Range of the fit of one curve, where it differs from that of the capacity curve."""

    chilled_low: (
        Annotated[float, Quantity("degC", "minimum leaving chilled water of the fit")] | None
    ) = None
    chilled_high: (
        Annotated[float, Quantity("degC", "maximum leaving chilled water of the fit")] | None
    ) = None
    condenser_low: (
        Annotated[float, Quantity("degC", "minimum leaving condenser water of the fit")] | None
    ) = None
    condenser_high: (
        Annotated[float, Quantity("degC", "maximum leaving condenser water of the fit")] | None
    ) = None
    part_load_low: (
        Annotated[float, Quantity("1", "minimum part-load ratio of the fit", above=0, below=1)]
        | None
    ) = None

    def limits(self, name: str, default: tuple[float, float]) -> tuple[float, float]:
        """Return the range of an argument of the curve, in its unit."""
        low, high = (getattr(self, f"{name}_{end}", None) for end in ("low", "high"))
        return default[0] if low is None else low, default[1] if high is None else high


class ChillerBank(Declaration):
    """Equal water-cooled chillers (reformulated EIR model) with their condenser pumps.

    The curves follow EnergyPlus: biquadratics in (leaving chilled, leaving condenser water)
    with terms 1, x, x2, y, y2, xy; a bicubic in (leaving condenser water, part-load ratio) with
    terms 1, x, x2, y, y2, xy, x3, y3, x2y, xy2. Arguments outside the fit of a curve are clipped to
    it, and ``cooling_plant_extrapolated`` of a run is 1 there.
    """

    count: Annotated[
        int, Quantity("1", "number of equal units in service", at_least=1, at_most=1000)
    ]
    rated_cooling: Annotated[float, Quantity("MW", "rated cooling of one unit", above=0)]
    rated_cop: Annotated[float, Quantity("1", "rated cooling over power", above=1, below=20)]
    capacity_curve: tuple[float, float, float, float, float, float]
    eir_temperature_curve: tuple[float, float, float, float, float, float]
    eir_part_load_curve: tuple[float, ...]
    eir_temperature_fit: CurveFit = CurveFit()
    eir_part_load_fit: CurveFit = CurveFit()
    chilled_low: Annotated[float, Quantity("degC", "minimum leaving chilled water of the fit")]
    chilled_high: Annotated[float, Quantity("degC", "maximum leaving chilled water of the fit")]
    condenser_low: Annotated[float, Quantity("degC", "minimum leaving condenser water of the fit")]
    condenser_high: Annotated[
        float, Quantity("degC", "maximum leaving condenser water, of the fit and in operation")
    ]
    condenser_minimum: Annotated[
        float, Quantity("degC", "minimum leaving condenser water, by a bypass", above=10, below=40)
    ]
    minimum_part_load: Annotated[
        float, Quantity("1", "part-load ratio below which a unit cycles", above=0, below=1)
    ]
    eir_factor: Annotated[
        float, Quantity("1", "power over that of the clean machine", above=0.5, below=2)
    ] = 1.0
    condenser_range: Annotated[
        float, Quantity("K", "temperature rise of the condenser water at rating", above=1, below=20)
    ]
    condenser_pump_power: Annotated[
        float, Quantity("MW", "power of one unit's condenser pump at rating", at_least=0)
    ]
    condenser_static_head: Annotated[
        float, Quantity("1", "static share of the pump's head", at_least=0, below=1)
    ] = 0.0
    condenser_minimum_flow: Annotated[
        float, Quantity("1", "minimum condenser flow, share of the rated flow", above=0, at_most=1)
    ]

    minimum_up: Annotated[float, Quantity("h", "minimum running time of a unit", at_least=0)] = 0.0
    minimum_down: Annotated[float, Quantity("h", "minimum off time of a unit", at_least=0)] = 0.0
    restart: Annotated[
        float, Quantity("h", "minimum time between two starts of a unit (anti-recycle)", at_least=0)
    ] = 0.0
    start_cost: Annotated[
        float,
        Quantity("EUR", "cost of a start: wear and energy", at_least=0, at_most=MAX_START_COST_EUR),
    ] = 0.0

    @model_validator(mode="after")
    def _check_curves(self) -> Self:
        if self.chilled_low >= self.chilled_high or self.condenser_low >= self.condenser_high:
            message = "chilled_low and condenser_low must be below chilled_high and condenser_high"
            raise ValueError(message)
        if self.condenser_minimum >= self.condenser_high:
            raise ValueError("condenser_minimum must be below condenser_high")
        check_chiller_curves(
            self.model_copy().curves
        )  # a copy, because changed copies keep cached properties
        return self

    @cached_property
    def curves(self) -> refrigeration.ChillerCurves:
        """The curves in the form of the physics module."""
        return refrigeration.ChillerCurves(
            rated_cooling=self.rated_cooling,
            rated_cop=self.rated_cop,
            capacity_coefficients=self.capacity_curve,
            energy_input_coefficients=self.eir_temperature_curve,
            part_load_coefficients=self.eir_part_load_curve,
            chilled_range=(self.chilled_low, self.chilled_high),
            condenser_range=(self.condenser_low, self.condenser_high),
            part_load_range=(self.minimum_part_load, _MAX_PART_LOAD),
            energy_input_fit=refrigeration.CurveRange(
                x=self.eir_temperature_fit.limits("chilled", (self.chilled_low, self.chilled_high)),
                y=self.eir_temperature_fit.limits(
                    "condenser", (self.condenser_low, self.condenser_high)
                ),
            ),
            part_load_fit=refrigeration.CurveRange(
                x=self.eir_part_load_fit.limits(
                    "condenser", (self.condenser_low, self.condenser_high)
                ),
                y=self.eir_part_load_fit.limits(
                    "part_load", (self.minimum_part_load, _MAX_PART_LOAD)
                ),
            ),
        )

    def is_extrapolated(
        self,
        load: FloatArray,
        *,
        supply_temperature: FloatArray | float,
        condenser_temperature: FloatArray,
        units_on: FloatArray,
    ) -> BoolArray:
        """Return where running units are outside the fit of a curve, on the axes of the load.

        ``load`` is that of all units [MW]; see :func:`.refrigeration.is_outside_fits`.
        """
        outside = refrigeration.is_outside_fits(
            load / np.maximum(units_on, 1.0),
            self.rated_cooling,
            chilled_temperature=supply_temperature,
            condenser_temperature=condenser_temperature,
            curves=self.curves,
        )
        return outside & (units_on > 0.0)

    @property
    def rated_rejection(self) -> float:
        """Rated heat rejection of the whole bank. [MW]"""
        return self.count * self.rated_cooling * (1.0 + self.eir_factor / self.rated_cop)

    def capacity(
        self, supply_temperature: FloatArray | float, condenser_temperature: FloatArray
    ) -> FloatArray:
        """Return the maximum cooling of all units, from leaving chilled and condenser water [degC].
        [MW]
        """
        share = refrigeration.available_cooling_share(
            supply_temperature, condenser_temperature, curves=self.curves
        )
        return np.asarray(self.count * self.rated_cooling * share)

    def compressor_power_and_units(
        self,
        load: FloatArray,
        *,
        supply_temperature: FloatArray | float,
        condenser_temperature: FloatArray,
        units_on: FloatArray | None = None,
    ) -> tuple[FloatArray, FloatArray]:
        """Return the minimum compressor power for a load [MW], and the number of running units [1].

        Temperatures are those of the leaving water [degC]; that of the condenser is on the axes of
        the load. ``units_on`` is a whole number of units on the last axes of the load; by default
        the number with minimum power runs. More units run if these cannot carry the load; none run
        without load. A unit follows its curves down to the part load below which warmer condenser
        water saves no power, cycles below it, and obeys Carnot's bound
        (:mod:`twin.physics.refrigeration`).
        """
        warm = np.maximum(condenser_temperature, self.condenser_minimum)
        chilled = np.asarray(supply_temperature)
        given = np.asarray(0.0 if units_on is None else units_on)
        shaped = np.broadcast_arrays(load, warm, chilled, given)
        load, warm, all_chilled, all_given = (values.ravel() for values in shaped)
        power, running = np.zeros(load.size), np.zeros(load.size)
        busy = np.flatnonzero(~(load <= 0.0))
        if busy.size > _LOADS_AT_ONCE:  # similar loads together: they need similar numbers of units
            size = np.minimum(load[busy] / self.rated_cooling, np.iinfo(np.uint8).max)
            busy = busy[np.argsort(size.astype(np.uint8), kind="stable")]
        for first in range(0, busy.size, _LOADS_AT_ONCE):
            part = busy[first : first + _LOADS_AT_ONCE]
            power[part], running[part] = self._loaded_power(
                load[part],
                warm[part],
                supply_temperature=all_chilled[part] if chilled.ndim else chilled,
                units_on=None if units_on is None else all_given[part],
            )
        shape = shaped[0].shape
        return power.reshape(shape), running.reshape(shape)

    def _loaded_power(
        self,
        load: FloatArray,
        condenser_temperature: FloatArray,
        *,
        supply_temperature: FloatArray,
        units_on: FloatArray | None,
    ) -> tuple[FloatArray, FloatArray]:
        """Return power [MW] and running units [1] for loads above 0, on one axis.

        See :meth:`compressor_power_and_units`. Only numbers of units from those that carry the load
        to the first that cycle are compared: more cycling units need no less power.
        """
        available = self.capacity(supply_temperature, condenser_temperature) / self.count
        min_load = available * self._part_loads.minimum(supply_temperature, condenser_temperature)
        units = _units_needed(load, available * _MAX_PART_LOAD, self.count)[None]
        if units_on is None:
            cycling = np.minimum(np.floor(load / min_load) + 1.0, self.count)
            more = np.arange(np.fmax.reduce(cycling - units[0], initial=0.0) + 1.0)
            units = np.minimum(units + more[:, None], self.count)
        else:
            units = np.clip(units_on, units, self.count)
        warm, chilled = condenser_temperature, supply_temperature
        power = self._shared_power(
            load, units, warm, min_load=min_load, supply_temperature=chilled
        ) * (1.0 + _UNIT_PENALTY * units)
        least, running = power[0], units[0]
        for other, count in zip(power[1:], units[1:], strict=True):
            is_less = other < least
            least, running = np.where(is_less, other, least), np.where(is_less, count, running)
        return least, running

    def switchable_units(
        self,
        operate: Callable[[FloatArray, Weather], ConversionFlows],
        limit: Callable[[Weather], FloatArray],
    ) -> SwitchableUnits | None:
        """Return the units for unit commitment, or None if starts and stops are free and
        unrestricted.

        ``operate`` maps (cooling [MW], weather) to the flows of the plant; ``limit`` maps weather
        to the maximum cooling [MW].
        """
        if not (self.minimum_up or self.minimum_down or self.restart or self.start_cost):
            return None
        return SwitchableUnits(
            count=self.count,
            min_up_time=self.minimum_up,
            min_down_time=self.minimum_down,
            minimum_restart_time=self.restart,
            start_cost=self.start_cost,
            characteristics=lambda weather: self._unit_characteristics(
                operate, limit(weather), weather
            ),
        )

    def _unit_characteristics(
        self,
        operate: Callable[[FloatArray, Weather], ConversionFlows],
        max_load: FloatArray,
        weather: Weather,
    ) -> UnitCharacteristics:
        """Return the characteristics of units from the best operating points of the plant.

        The economiser carries loads that need no unit; above them, units start in proportion to the
        load. The power of a further unit is evaluated at half load: the economiser leaves each unit
        its minimum load, and the further unit runs its pump at minimum flow.
        """
        loads = np.linspace(0.0, 1.0, _SAMPLED_LOADS)[:, None] * max_load
        point = operate(loads, weather).details
        on, temperature = (
            point["cooling_plant_units_on"],
            point["cooling_plant_condenser_temperature"],
        )
        free = np.where(on <= 0.0, loads, 0.0).max(axis=0)
        running = np.where(on[-1] > 0.0, on[-1], 1.0)
        best = np.maximum(max_load - free, _MIN_OUTPUT * self.rated_cooling) / running
        carried = 0.5 * (max_load - free)
        chilled, warm = (
            0.5 * (self.chilled_low + self.chilled_high),
            temperature[_SAMPLED_LOADS // 2],
        )
        middle = np.maximum(carried / best, 1.0)
        others = np.where(carried > 0.0, middle, 0.0) + 1.0
        min_load = self.min_unit_cooling(chilled, warm)
        shared_load = np.clip(others * min_load, carried, carried + free)
        alone, more = (
            self._shared_power(load, units, warm, min_load=min_load, supply_temperature=chilled)
            for load, units in ((carried, middle), (shared_load, others))
        )
        pump = fluid_flow.pump_power(
            self.condenser_minimum_flow,
            rated_power=self.condenser_pump_power,
            static_head_share=self.condenser_static_head,
            minimum_flow_share=self.condenser_minimum_flow,
        )
        spare = np.maximum(more - alone, 0.0) + pump
        return UnitCharacteristics(
            economiser_output=free,
            min_output=np.zeros_like(free),
            optimal_output=best,
            max_output=np.maximum(
                (max_load - free) / self.count, np.maximum(best, self.rated_cooling)
            ),
            extra_power_one_unit_more=spare,
            extra_power_one_unit_less=np.zeros_like(free),
        )

    def _shared_power(
        self,
        load: FloatArray,
        units: FloatArray,
        condenser_temperature: FloatArray,
        *,
        min_load: FloatArray,
        supply_temperature: FloatArray | float,
    ) -> FloatArray:
        """Return the power of a possibly fractional number of units that share a load. [MW]

        A unit cycles below ``min_load`` [MW].
        """
        each = load / units
        power = refrigeration.chiller_power(
            np.maximum(each, min_load),
            self.rated_cooling,
            chilled_temperature=supply_temperature,
            condenser_temperature=condenser_temperature,
            curves=self.curves,
        )
        running = units * np.minimum(each / min_load, 1.0)
        bound = carnot_power_bound(load, supply_temperature, condenser_temperature)
        worn = max(self.eir_factor, 1.0)
        return np.asarray(np.maximum(running * self.eir_factor * power, worn * bound))

    def min_unit_cooling(
        self, supply_temperature: FloatArray | float, condenser_temperature: FloatArray
    ) -> FloatArray:
        """Return the cooling below which a unit cycles, on the axes of its water. [MW]"""
        available = self.capacity(supply_temperature, condenser_temperature) / self.count
        return available * self._part_loads.minimum(supply_temperature, condenser_temperature)

    @cached_property
    def _part_loads(self) -> ValidPartLoads:
        """The part loads below which a unit is assumed to cycle."""
        return valid_part_loads(self.curves)


def _units_needed(load: FloatArray, unit_limit: FloatArray, count: int) -> FloatArray:
    """Return the smallest number of units that carry a load, at most all. [1]"""
    units = np.clip(np.ceil(load / unit_limit), 1.0, count)
    units += (load / units > unit_limit) & (units < count)  # the quotient is rounded
    return units - ((units > 1.0) & (load / np.maximum(units - 1.0, 1.0) <= unit_limit))


_FAN_SPEEDS: Final = 11  # candidates between minimum and full speed
_CONDENSER_MARGIN_K: Final = 0.01  # below the maximum condenser temperature
_COMPRESSOR_POWER_ITERATIONS: Final = 3  # compressor power to a relative error of 1e-4
_LOAD_TOLERANCE_MW: Final = 1e-7


@dataclass(frozen=True, kw_only=True)
class PlantOperatingPoint:
    """An operating point, on the axes of the load.

    Units: ``speed`` is a share of full fan speed [1]; powers and heat are in [MW], pumps are those
    of the condenser water; ``units_on`` are running chillers [1]; ``condenser_temperature`` is that
    of the leaving condenser water [degC].
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
    """Chillers, heat rejection and economiser of one plant at a chilled-water temperature.

    ``supply_temperature`` is a number or on the axes of the load [degC]. ``economiser_approach`` is
    None without an economiser [K]. ``units_on`` is the commanded number of chillers on the last
    axes of the load; by default the number with minimum power runs [1].
    """

    chillers: ChillerBank
    rejection: DryCooler | CoolingTower
    supply_temperature: FloatArray | float
    economiser_approach: float | None
    units_on: FloatArray | None = None

    def min_power_point(
        self, load: FloatArray, weather: Weather, *, capacity_rate: FloatArray
    ) -> PlantOperatingPoint:
        """Return the operating point with the minimum power of fans and compressors.

        ``load`` is the heat of the chilled water, pump heat included [MW], the weather is on its
        last axis; ``capacity_rate`` is that of the chilled water [MW K-1]. Candidates are equally
        spaced fan speeds, the speed at which the economiser just carries the whole load, and those
        at which the condensers just reach their minimum and maximum temperature: the kinks of the
        sum, which is flat between them. No bypass is tried above the minimum condenser temperature,
        because warmer water saves nothing. If the number of chillers is given, fans speed up before
        another chiller starts, and the economiser leaves each running chiller its minimum load.
        """
        water_rate, pump = self._condenser_water(load)
        fixed = load + pump
        kinks = self._kinks(load, fixed, capacity_rate, water_rate)
        speed, is_new = self._candidate_speeds(kinks, weather, water_rate=water_rate)
        power = np.zeros_like(speed)
        for _ in range(_COMPRESSOR_POWER_ITERATIONS):
            heat = fixed + power
            leaving = self.rejection.leaving_temperature(
                heat, capacity_rate=water_rate, weather=weather, speed=speed
            )
            temperature = leaving + heat / water_rate
            free = self._economiser_heat(
                leaving, load, capacity_rate, water_rate=water_rate, temperature=temperature
            )
            power, units = self._compress(np.where(is_new, load - free, 0.0), temperature)
        fan = self.rejection.power(speed, weather)
        is_feasible = is_new & ((temperature <= self.chillers.condenser_high) | (speed >= 1.0))
        is_feasible &= self._matches_units(units, is_feasible)
        best = np.argmin(np.where(is_feasible, fan + power, np.inf), axis=0)
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

    def _matches_units(self, units: FloatArray, is_feasible: BoolArray) -> BoolArray:
        """Return the feasible candidates whose number of units is nearest to the given one."""
        if self.units_on is None:
            return is_feasible
        more = np.where(is_feasible, np.maximum(units, self.units_on) - self.units_on, np.inf)
        return np.asarray(more <= more.min(axis=0))

    def _candidate_speeds(
        self,
        kinks: Sequence[tuple[FloatArray, FloatArray]],
        weather: Weather,
        *,
        water_rate: FloatArray,
    ) -> tuple[FloatArray, BoolArray]:
        """Return candidate fan speeds: equally spaced ones, and those of the kinks.

        Also return which are new: a kink beyond the speeds repeats the first or the last of them.
        """
        spaced = np.linspace(self.rejection.minimum_speed, 1.0, _FAN_SPEEDS)
        spaced = spaced.reshape(-1, *(1,) * water_rate.ndim)
        heat, target = (np.stack(part) for part in zip(*kinks, strict=True))
        found = self.rejection.min_fan_speed(
            heat, target, capacity_rate=water_rate, weather=weather
        )
        is_new = (found != spaced[0]) & (found != spaced[-1])
        all_new = np.ones((_FAN_SPEEDS, *found.shape[1:]), dtype=np.bool_)
        speeds = np.concatenate([np.broadcast_to(spaced, all_new.shape), found])
        return speeds, np.concatenate([all_new, is_new])

    def max_load(self, weather: Weather) -> FloatArray:
        """Return the maximum load of the chillers with fans at full speed. [MW]"""
        bank, full = self.chillers, np.ones(weather.shape)

        def excess(load: FloatArray, *columns: FloatArray) -> FloatArray:
            power, _ = self._compress(load, np.full_like(load, bank.condenser_high))
            water_rate, pump = self._condenser_water(load)
            heat = load + power + pump
            leaving = self.rejection.leaving_temperature(
                heat,
                capacity_rate=water_rate,
                weather=Weather.from_columns(*columns),
                speed=np.ones_like(load),
            )
            temperature = leaving + heat / water_rate
            limit = bank.capacity(self.supply_temperature, temperature)
            return np.maximum(temperature - bank.condenser_high, load - limit)

        search_limit = 1.25 * bank.count * bank.rated_cooling * full
        return last_feasible(
            excess, 0.0 * full, search_limit, *weather.columns, tolerance=_LOAD_TOLERANCE_MW
        )

    def _condenser_water(self, load: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return capacity rate [MW K-1] and pump power [MW] of the condenser water."""
        bank = self.chillers
        flow = load / (bank.count * bank.rated_cooling)
        power = fluid_flow.pump_power(
            flow,
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
        """Return rejected heat [MW] and leaving temperature [degC] at the kinks of the power."""
        minimum = self.chillers.condenser_minimum
        leaving = minimum - (fixed + load / self.chillers.rated_cop) / water_rate
        cool = np.full_like(load, minimum)
        free = self._economiser_heat(
            leaving, load, capacity_rate, water_rate=water_rate, temperature=cool
        )
        power, _ = self._compress(load - free, cool)
        heat = fixed + power
        highest = self.chillers.condenser_high
        power, _ = self._compress(load, np.full_like(load, highest))
        hot = fixed + power
        kinks = [
            (heat, minimum - heat / water_rate),
            (hot, highest - _CONDENSER_MARGIN_K - hot / water_rate),
        ]
        if self.economiser_approach is not None:
            lift = economiser_temperature_difference(
                load, self.economiser_approach, chilled_rate=capacity_rate, water_rate=water_rate
            )
            kinks.append((fixed, self.supply_temperature - lift))
        return kinks

    def _economiser_heat(
        self,
        leaving: FloatArray,
        load: FloatArray,
        capacity_rate: FloatArray,
        *,
        water_rate: FloatArray,
        temperature: FloatArray,
    ) -> FloatArray:
        """Return the heat that the economiser removes from the chilled-water return. [MW]"""
        if self.economiser_approach is None:
            return np.zeros(np.broadcast_shapes(leaving.shape, load.shape))
        warm_end = self.supply_temperature + load / capacity_rate
        smaller_rate = np.minimum(capacity_rate, water_rate)
        gained = smaller_rate * (warm_end - self.economiser_approach - leaving)
        return np.clip(gained, 0.0, self._max_economiser_heat(load, temperature))

    def _max_economiser_heat(self, load: FloatArray, temperature: FloatArray) -> FloatArray:
        """Return the load less the minimum load of commanded chillers. [MW]"""
        if self.units_on is None:
            return load
        warm = np.maximum(temperature, self.chillers.condenser_minimum)
        each = self.chillers.min_unit_cooling(self.supply_temperature, warm)
        return np.maximum(load - np.minimum(self.units_on, self.chillers.count) * each, 0.0)

    def _compress(self, load: FloatArray, temperature: FloatArray) -> tuple[FloatArray, FloatArray]:
        return self.chillers.compressor_power_and_units(
            load,
            supply_temperature=self.supply_temperature,
            condenser_temperature=temperature,
            units_on=self.units_on,
        )
