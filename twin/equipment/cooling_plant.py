"""The plant of one circuit: its pumps, its water, its chillers if any, and its heat rejection.

The water of a circuit: how much heat it takes to warm it.
"""

from functools import partial
from typing import Annotated, ClassVar, Final, Literal, Self

import numpy as np
from pydantic import model_validator

from twin.equipment.chiller_plant import ChillerBank, ChillerPlant, PlantOperatingPoint
from twin.equipment.heat_rejection import HeatRejection
from twin.equipment.machine import Equipment
from twin.physics import FloatArray, fluid_flow
from twin.physics.numerics import BoolArray
from twin.relations import ConversionFlows, Convert, Relation, SetPoints
from twin.units import Declaration, ParameterDescription, Quantity
from twin.weather import Weather

_MOST_OVERLOAD: Final = 4.0  # of the rated cooling: the widest that a capacity is searched
_LEAST_LOAD: Final = 1e-12  # MW, so that shares of no load are finite


class CoolingLoop(Declaration):
    """The liquid in the pipes, headers and exchangers of one circuit."""

    volume: Annotated[float, Quantity("m3", "volume of the liquid", above=0)]
    fluid: Annotated[
        Literal["water", "pg25"],
        ParameterDescription("water, or water with a quarter of propylene glycol"),
    ] = "water"
    valve_lag: Annotated[
        float, Quantity("s", "time constant of the valve that holds the supply", at_least=0)
    ] = 0.0
    supply_share: Annotated[
        float, Quantity("1", "share of the volume between plant and halls", at_least=0, below=0.9)
    ] = 0.0

    @property
    def liquid(self) -> fluid_flow.Liquid:
        """Properties of the liquid."""
        return LOOP_LIQUIDS[self.fluid]

    @property
    def heat_capacity(self) -> float:
        """Heat that warms the whole loop by one kelvin. [MWh K-1]"""
        mass = self.volume * float(fluid_flow.density(_MEAN_TEMPERATURE, self.liquid))
        per_kelvin = mass * float(fluid_flow.heat_capacity(_MEAN_TEMPERATURE, self.liquid))
        return per_kelvin / _KILOJOULES / _MEGAJOULES


class CoolingPlant(Equipment):
    """All machines that hold the supply water of one circuit at its set point, at least power.

    Without chillers the fans run as slowly as the set point allows; with chillers fans, economiser
    and compressors share the work at the least sum of their powers. The flow follows the load at a
    constant temperature range, down to the pumps' minimum.
    """

    kind: ClassVar[str] = "cooling_plant"

    serves: Annotated[Literal["warm", "chilled"], ParameterDescription("circuit that it cools")]
    rated_cooling: Annotated[float, Quantity("MW", "load at which the pumps are rated", above=0)]
    supply_temperature: Annotated[
        float, Quantity("degC", "set point of the supply water", above=4, below=60)
    ]
    supply_limit: Annotated[
        float, Quantity("degC", "greatest temperature of the supply water", above=4, below=65)
    ]
    supply_margin: Annotated[
        float, Quantity("K", "distance to the limit that plans keep", at_least=0, below=10)
    ] = 0.5
    temperature_range: Annotated[
        float, Quantity("K", "return less supply temperature", above=1, below=30)
    ]
    pump_power: Annotated[float, Quantity("MW", "power of all pumps at rating", at_least=0)]
    minimum_flow: Annotated[
        float, Quantity("1", "least flow, share of the rated flow", above=0, at_most=1)
    ]
    static_head_share: Annotated[
        float, Quantity("1", "share of the pumps' head asked for at no flow", at_least=0, below=1)
    ] = 0.0
    frost_temperature: Annotated[
        float, Quantity("degC", "outdoor temperature below which water must keep moving", below=10)
    ] = 3.0
    frost_flow: Annotated[
        float, Quantity("1", "least flow then, share of the rated one", at_least=0, at_most=1)
    ] = 0.0
    loop: CoolingLoop
    rejection: HeatRejection
    chillers: ChillerBank | None = None
    economiser_approach: (
        Annotated[float, Quantity("K", "least difference of the economiser's streams", above=0)]
        | None
    ) = None

    @model_validator(mode="after")
    def _limit_lies_above_set_point(self) -> Self:
        if self.supply_limit - self.supply_margin < self.supply_temperature:
            message = "supply_limit less supply_margin must not be below supply_temperature"
            raise ValueError(message)
        if self.chillers is None and self.economiser_approach is not None:
            message = "economiser_approach has no sense without chillers"
            raise ValueError(message)
        return self

    def relations(self) -> tuple[Relation, ...]:
        """Return the conversion from electricity and water to cooling of the circuit."""
        return (
            Convert(
                owner=self.name,
                output=self.serves,
                primary_input="medium_voltage",
                inputs=("medium_voltage", "water"),
                max_output=self.max_output,
                physics=self.operate,
                physics_at=lambda points: partial(self.operate, set_points=points),
                units=self.chillers.switchable_units(self.operate, self.max_output)
                if self.chillers
                else None,
            ),
        )

    def max_output(self, weather: Weather) -> FloatArray:
        """Return the most that plans may ask for, by the pumps and by the air. [MW]"""
        warmest = self.supply_limit - self.supply_margin
        return np.minimum(self.capacity(weather, warmest), self.rated_cooling)

    def capacity(self, weather: Weather, supply_temperature: FloatArray | float) -> FloatArray:
        """Return the most heat that leaves the circuit with everything at full.

        Parameters
        ----------
        weather
            Outdoor air.
        supply_temperature
            Temperature of the supply water, on the axes of the weather or one number. [degC]

        Returns
        -------
        numpy.ndarray
            Heat besides that of the pumps; never falls as the water gets warmer. [MW]

        Notes
        -----
        The pumps give their rated flow. Chillers are taken at the set point: their curves give no
        more for warmer water (see :mod:`twin.equipment.chiller_plant`).
        """
        condenser = self._condenser(self.supply_temperature)
        if condenser is not None:
            return np.maximum(condenser.max_load(weather) - self.pump_power, 0.0)
        heat = self.rejection.max_heat(
            supply_temperature,
            capacity_rate=self._rated_capacity_rate,
            weather=weather,
            search_limit=_MOST_OVERLOAD * self.rated_cooling,
        )
        return np.maximum(heat - self.pump_power, 0.0)

    def is_extrapolated(self, weather: Weather) -> BoolArray:
        """Return where the weather lies outside a correlation, which is then held at its end."""
        return self.rejection.is_extrapolated(weather)

    def operate(
        self, load: FloatArray, weather: Weather, set_points: SetPoints | None = None
    ) -> ConversionFlows:
        """Return what the plant draws to carry a load at its best operating point.

        Parameters
        ----------
        load
            Heat that the circuit brings, ``time`` last. [MW]
        weather
            Outdoor air on ``time``.
        set_points
            Set points of the water, on axes that fit the load, and chillers that shall run; by
            default the declared ones, and as many chillers as take the least power.

        Returns
        -------
        Flows
            Electricity, water, heat to the sky, and the operating point.

        Notes
        -----
        All work of pumps and compressors ends in the water and is rejected with the load; that of
        the fans ends in the outdoor air. Beyond the capacity the machines stand at full and the
        water gets warmer, which the walk through time accounts for.
        """
        load = np.maximum(np.asarray(load, dtype=np.float64), 0.0)
        set_points = set_points or SetPoints()
        target = set_points.supply_temperature.get(self.name, self.supply_temperature)
        capacity_rate = self.capacity_rate(load, weather, set_points)
        flow = capacity_rate / self._rated_capacity_rate
        pump = np.asarray(
            fluid_flow.pump_power(
                flow,
                1.0,
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
            / np.maximum(load + pump, _LEAST_LOAD),
            "cooling_plant_units_on": point.units_on,
            "cooling_plant_extrapolated": np.where(self.is_extrapolated(weather), 1.0, 0.0 * draw),
            "cooling_plant_condenser_temperature": point.condenser_temperature,
            "cooling_plant_rejected_heat": rejected,
            "cooling_plant_blow_down": used / self.rejection.cycles_of_concentration,
            "cooling_plant_flow": capacity_rate
            / fluid_flow.capacity_rate(1.0, self.loop.liquid, temperature=target),
        }
        draws = {"medium_voltage": draw, "water": used}
        return ConversionFlows(inputs=draws, heat=load + draw, details=details)

    def capacity_rate(
        self, load: FloatArray, weather: Weather, set_points: SetPoints | None = None
    ) -> FloatArray:
        """Return the heat that the water of the circuit carries per kelvin.

        Parameters
        ----------
        load
            Heat that the circuit brings. [MW]
        weather
            Outdoor air.
        set_points
            Set points of the water; by default the declared ones.

        Returns
        -------
        numpy.ndarray
            Capacity rate, from the least flow (that of frost, too) to the rated. [MW K-1]
        """
        set_points = set_points or SetPoints()
        least = set_points.minimum_flow.get(self.name, self.minimum_flow)
        share = np.minimum(load / self.rated_cooling * self._narrowing(set_points), 1.0)
        frost = np.where(weather.air_temperature < self.frost_temperature, self.frost_flow, 0.0)
        return np.asarray(np.maximum(share, np.maximum(frost, least)) * self._rated_capacity_rate)

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
        """Return the water that a consumer of the circuit gets, over its rated flow.

        Parameters
        ----------
        heat
            Heat that the consumer gives to the water. [MW]
        rated_heat, rated_range
            Its heat [MW] and the warming of the water at rating [K].
        set_points
            Set points of the circuit.

        Returns
        -------
        numpy.ndarray or None
            Share of its rated flow [1]; None where the range is the declared one, as laid out.
        """
        if set_points is None or self.name not in set_points.temperature_range:
            return None
        rate = np.asarray(heat) / set_points.temperature_range[self.name]
        wanted = np.minimum(rate, self._rated_capacity_rate) * (rated_range / rated_heat)
        return np.maximum(wanted, set_points.minimum_flow.get(self.name, self.minimum_flow))

    def _narrowing(self, points: SetPoints) -> FloatArray | float:
        """Return the declared range over that of the set points. [1]"""
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
        """Return the best operating point for the heat that the water brings."""
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


LOOP_LIQUIDS: Final = {"water": fluid_flow.WATER, "pg25": fluid_flow.PG25}
"""Liquids that a circuit may hold, by the name they have in site files."""

_MEAN_TEMPERATURE = 30.0  # degC, at which density and heat capacity are taken
_MEGAJOULES = 3600.0  # in a MWh
_KILOJOULES = 1000.0  # in a MJ
