"""The cooling plant of one circuit: pumps, loop water, optional chillers, and heat rejection."""

from functools import partial
from typing import Annotated, ClassVar, Final, Literal, Self

import numpy as np
from pydantic import model_validator

from twin.equipment.chiller_plant import ChillerBank, ChillerPlant, PlantOperatingPoint
from twin.equipment.coolers_and_towers import HeatRejection
from twin.equipment.machine import Equipment
from twin.physics import FloatArray, fluid_flow
from twin.physics.numerics import BoolArray
from twin.relations import Conversion, ConversionFlows, Relation, SetPoints
from twin.units import Declaration, ParameterDescription, Quantity
from twin.weather import Weather

_MAX_OVERLOAD: Final = 4.0  # of the rated cooling: upper bound of the capacity search
_MIN_LOAD_MW: Final = 1e-12  # keeps shares of a zero load finite

DEFAULT_VALVE_LAG_S: Final = 120.0
"""Time constant of a supply-temperature valve without a declared one; an assumption. [s]"""


class CoolingLoop(Declaration):
    """The liquid in pipes, headers and heat exchangers of one circuit."""

    volume: Annotated[float, Quantity("m3", "volume of the liquid", above=0)]
    fluid: Annotated[
        Literal["water", "pg25"],
        ParameterDescription("water, or water with 25 % propylene glycol"),
    ] = "water"
    valve_lag: Annotated[
        float, Quantity("s", "time constant of the supply-temperature valve", at_least=0)
    ] = DEFAULT_VALVE_LAG_S
    supply_share: Annotated[
        float, Quantity("1", "share of the volume between plant and halls", at_least=0, below=0.9)
    ] = 0.0

    @property
    def liquid(self) -> fluid_flow.Liquid:
        """Properties of the liquid."""
        return fluid_flow.LIQUIDS[self.fluid]

    @property
    def heat_capacity(self) -> float:
        """Heat that warms the whole loop by 1 K. [MWh K-1]"""
        mass = self.volume * float(fluid_flow.density(_MEAN_TEMPERATURE_C, self.liquid))
        per_kelvin = mass * float(fluid_flow.heat_capacity(_MEAN_TEMPERATURE_C, self.liquid))
        return per_kelvin / _KJ_PER_MJ / _MJ_PER_MWH


class CoolingPlant(Equipment):
    """All machines that keep the supply water of one circuit at its set point, at minimum power.

    Without chillers the fans run as slowly as the set point allows. With chillers, fans, economiser
    and compressors share the load at the minimum sum of their powers. The flow is proportional to
    the load at a constant temperature range, down to the minimum flow.
    """

    kind: ClassVar[str] = "cooling_plant"

    serves: Annotated[Literal["warm", "chilled"], ParameterDescription("circuit that it cools")]
    rated_cooling: Annotated[float, Quantity("MW", "load at which the pumps are rated", above=0)]
    supply_temperature: Annotated[
        float, Quantity("degC", "set point of the supply water", above=4, below=60)
    ]
    supply_limit: Annotated[
        float, Quantity("degC", "maximum temperature of the supply water", above=4, below=65)
    ]
    supply_margin: Annotated[
        float, Quantity("K", "distance of plans from the limit", at_least=0, below=10)
    ] = 0.5
    temperature_range: Annotated[
        float, Quantity("K", "return less supply temperature", above=1, below=30)
    ]
    pump_power: Annotated[float, Quantity("MW", "power of all pumps at rating", at_least=0)]
    minimum_flow: Annotated[
        float, Quantity("1", "minimum flow, share of the rated flow", above=0, at_most=1)
    ]
    static_head_share: Annotated[
        float, Quantity("1", "static share of the pumps' head", at_least=0, below=1)
    ] = 0.0
    frost_temperature: Annotated[
        float, Quantity("degC", "outdoor temperature below which frost_flow applies", below=10)
    ] = 3.0
    frost_flow: Annotated[
        float,
        Quantity("1", "minimum flow in frost, share of the rated flow", at_least=0, at_most=1),
    ] = 0.0
    loop: CoolingLoop
    rejection: HeatRejection
    chillers: ChillerBank | None = None
    economiser_approach: (
        Annotated[float, Quantity("K", "approach of the economiser", above=0)] | None
    ) = None

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        if self.supply_limit - self.supply_margin < self.supply_temperature:
            raise ValueError("supply_limit less supply_margin must not be below supply_temperature")
        if self.chillers is None and self.economiser_approach is not None:
            raise ValueError("remove economiser_approach: the plant has no chillers")
        return self

    def relations(self) -> tuple[Relation, ...]:
        """Return the conversion from electricity and water to cooling of the circuit."""
        return (
            Conversion(
                owner=self.name,
                output_carrier=self.serves,
                primary_input="medium_voltage",
                input_carriers=("medium_voltage", "water"),
                max_output=self.max_output,
                flows_at_output=self.operate,
                flows_for_set_points=lambda points: partial(self.operate, set_points=points),
                switchable_units=self.chillers.switchable_units(self.operate, self.max_output)
                if self.chillers
                else None,
            ),
        )

    def max_output(self, weather: Weather) -> FloatArray:
        """Return the maximum cooling for plans, limited by pumps and outdoor air. [MW]"""
        warmest = self.supply_limit - self.supply_margin
        return np.minimum(self.capacity(weather, warmest), self.rated_cooling)

    def capacity(self, weather: Weather, supply_temperature: FloatArray | float) -> FloatArray:
        """Return the maximum heat removed with all machines at full load, pump heat deducted. [MW]

        ``supply_temperature`` is a number or on the axes of the weather [degC]. The capacity never
        falls with it. Pumps deliver rated flow; chillers are evaluated at the set point, because
        their curves yield no more for warmer water (see :mod:`twin.equipment.chiller_plant`).
        """
        condenser = self._condenser(self.supply_temperature)
        if condenser is not None:
            return np.maximum(condenser.max_load(weather) - self.pump_power, 0.0)
        heat = self.rejection.max_heat(
            supply_temperature,
            capacity_rate=self._rated_capacity_rate,
            weather=weather,
            search_limit=_MAX_OVERLOAD * self.rated_cooling,
        )
        return np.maximum(heat - self.pump_power, 0.0)

    def operate(
        self, output: FloatArray | float, weather: Weather, set_points: SetPoints | None = None
    ) -> ConversionFlows:
        """Return the flows of the plant for a load at its best operating point.

        ``output`` is the load: the heat from the circuit, ``time`` last [MW]. ``set_points`` fit
        the axes of the load; by default the plant uses the declared ones, and the number of
        chillers with minimum power. The work of pumps and compressors heats the water and is
        rejected with the load; that of fans heats outdoor air. Above the capacity the machines run
        at full load and the water warms, which the simulation in time computes.
        """
        load = np.maximum(np.asarray(output, dtype=np.float64), 0.0)
        set_points = set_points or SetPoints()
        target = set_points.supply_temperature.get(self.name, self.supply_temperature)
        capacity_rate = self.capacity_rate(load, weather, set_points)
        flow = capacity_rate / self._rated_capacity_rate
        pump = np.asarray(
            fluid_flow.pump_power(
                flow,
                rated_power=self.pump_power,
                static_head_share=self.static_head_share,
                minimum_flow_share=set_points.minimum_flow.get(self.name, self.minimum_flow),
            )
        )
        point = self._point(load + pump, capacity_rate, weather, target=target, points=set_points)
        pumps = pump + point.pump_power
        rejected = load + pumps + point.compressor_power
        draw = pumps + point.compressor_power + point.fan_power
        used = np.broadcast_to(self.rejection.water_use(rejected, weather, point.speed), draw.shape)
        details = {
            "cooling_plant_output": load,
            "cooling_plant_draw": draw,
            "cooling_plant_fan_power": point.fan_power,
            "cooling_plant_pump_power": pumps,
            "cooling_plant_compressor_power": point.compressor_power,
            "cooling_plant_free_share": point.economiser_heat
            / np.maximum(load + pump, _MIN_LOAD_MW),
            "cooling_plant_units_on": point.units_on,
            "cooling_plant_extrapolated": np.where(
                self._is_extrapolated(load + pump, weather, point, target=target), 1.0, 0.0 * draw
            ),
            "cooling_plant_condenser_temperature": point.condenser_temperature,
            "cooling_plant_rejected_heat": rejected,
            "cooling_plant_blow_down": used / self.rejection.cycles_of_concentration,
            "cooling_plant_flow": capacity_rate
            / fluid_flow.capacity_rate(1.0, self.loop.liquid, temperature=target),
        }
        draws = {"medium_voltage": draw, "water": used}
        return ConversionFlows(inputs=draws, heat=load + draw, details=details)

    def _is_extrapolated(
        self,
        heat: FloatArray,
        weather: Weather,
        point: PlantOperatingPoint,
        *,
        target: FloatArray | float,
    ) -> BoolArray:
        """Return where a correlation of the coolers or chillers is clipped to its range."""
        if self.chillers is None:
            return self.rejection.is_extrapolated(weather, point.condenser_temperature - target)
        is_outside = self.rejection.is_extrapolated(weather, self.chillers.condenser_range)
        return is_outside | self.chillers.is_extrapolated(
            heat - point.economiser_heat,
            supply_temperature=target,
            condenser_temperature=point.condenser_temperature,
            units_on=point.units_on,
        )

    def capacity_rate(
        self, load: FloatArray, weather: Weather, set_points: SetPoints | None = None
    ) -> FloatArray:
        """Return the capacity rate of the circuit's water for a load [MW]. [MW K-1]

        It lies between minimum flow (or frost flow) and rated flow.
        """
        set_points = set_points or SetPoints()
        minimum = set_points.minimum_flow.get(self.name, self.minimum_flow)
        share = np.minimum(load / self.rated_cooling * self._narrowing(set_points), 1.0)
        frost = np.where(weather.air_temperature < self.frost_temperature, self.frost_flow, 0.0)
        return np.asarray(np.maximum(share, np.maximum(frost, minimum)) * self._rated_capacity_rate)

    @property
    def rated_flow(self) -> float:
        """Mass flow of all pumps at rating. [kg s-1]"""
        per_flow = fluid_flow.capacity_rate(
            1.0, self.loop.liquid, temperature=self.supply_temperature
        )
        return self._rated_capacity_rate / float(per_flow)

    @property
    def _rated_capacity_rate(self) -> float:
        return self.rated_cooling / self.temperature_range

    def consumer_flow(
        self,
        heat: FloatArray,
        *,
        rated_heat: float,
        rated_range: float,
        set_points: SetPoints | None,
    ) -> FloatArray | None:
        """Return a consumer's water flow over its rated flow. [1]

        ``heat`` is the heat from consumer to water [MW], ``rated_heat`` [MW] and ``rated_range``
        [K] are its rating. The result is None if the temperature range is the declared one.
        """
        if set_points is None or self.name not in set_points.temperature_range:
            return None
        rate = np.asarray(heat) / set_points.temperature_range[self.name]
        required = np.minimum(rate, self._rated_capacity_rate) * (rated_range / rated_heat)
        return np.maximum(required, set_points.minimum_flow.get(self.name, self.minimum_flow))

    def _narrowing(self, points: SetPoints) -> FloatArray | float:
        """Return the declared temperature range over that of the set points. [1]"""
        return self.temperature_range / points.temperature_range.get(
            self.name, np.asarray(self.temperature_range)
        )

    def _condenser(
        self, supply_temperature: FloatArray | float, units: FloatArray | None = None
    ) -> ChillerPlant | None:
        if self.chillers is None:
            return None
        return ChillerPlant(
            chillers=self.chillers,
            rejection=self.rejection,
            supply_temperature=supply_temperature,
            economiser_approach=self.economiser_approach,
            units_on=units,
        )

    def _point(
        self,
        heat: FloatArray,
        capacity_rate: FloatArray,
        weather: Weather,
        *,
        target: FloatArray | float,
        points: SetPoints,
    ) -> PlantOperatingPoint:
        """Return the best operating point for the heat of the water."""
        condenser = self._condenser(target, points.units_on.get(self.name))
        if condenser is not None:
            return condenser.min_power_point(heat, weather, capacity_rate=capacity_rate)
        speed = self.rejection.min_fan_speed(
            heat, target, capacity_rate=capacity_rate, weather=weather
        )
        none = 0.0 * heat
        return PlantOperatingPoint(
            speed=speed,
            compressor_power=none,
            fan_power=self.rejection.power(speed, weather),
            pump_power=none,
            economiser_heat=heat,
            units_on=none,
            condenser_temperature=target + heat / capacity_rate,
        )


_MEAN_TEMPERATURE_C = 30.0  # at which density and heat capacity are taken
_MJ_PER_MWH = 3600.0
_KJ_PER_MJ = 1000.0
