"""Dry coolers and cooling towers: machines that reject a circuit's heat to outdoor air."""

from typing import Annotated, Final, Literal

import numpy as np
from pydantic import Field

from twin.physics import FloatArray, fluid_flow, heat_rejection, psychrometrics
from twin.physics.numerics import BoolArray, last_feasible
from twin.units import Declaration, Quantity
from twin.weather import Weather

_AIR_HEAT_CAPACITY: Final = 1.02e-3  # MJ per kg of dry air and K, with typical vapour
_M3_H_PER_KG_S: Final = 3.6  # of water
_SPEED_TOLERANCE: Final = 1e-7
_HEAT_TOLERANCE: Final = 1e-9  # MW


class HeatRejectionBank(Declaration):
    """Common part of dry coolers and towers: a bank of equal units with variable fans."""

    count: Annotated[
        int, Quantity("1", "number of equal units in service", at_least=1, at_most=1000)
    ]
    air_flow: Annotated[float, Quantity("kg s-1", "air flow of one unit at full speed", above=0)]
    rated_air_pressure: (
        Annotated[
            float,
            Quantity(
                "kPa", "air pressure at which air_flow is rated; default: any", above=50, below=110
            ),
        ]
        | None
    ) = None
    fan_power: Annotated[float, Quantity("MW", "fan power of one unit at full speed", at_least=0)]
    fan_exponent: Annotated[
        float, Quantity("1", "exponent of fan power over speed", at_least=1, at_most=3)
    ] = fluid_flow.FAN_POWER_EXPONENT
    minimum_speed: Annotated[
        float, Quantity("1", "minimum fan speed, share of full speed", at_least=0.05, below=1)
    ]
    cycles_of_concentration: Annotated[
        float, Quantity("1", "solids in circulating over make-up water", above=1, below=20)
    ] = 4.0

    def leaving_temperature(
        self, heat: FloatArray, *, capacity_rate: FloatArray, weather: Weather, speed: FloatArray
    ) -> FloatArray:
        """Return the temperature of the leaving water; it rises with heat and falls with fan speed.
        [degC]

        ``heat`` is rejected heat [MW]; ``capacity_rate`` is that of the water through all units [MW
        K-1]; ``speed`` is the share of full fan speed [1].
        """
        raise NotImplementedError

    def power(self, speed: FloatArray, weather: Weather | None = None) -> FloatArray:
        """Return the power of all fans at a share of full speed, in given air or at rating. [MW]"""
        rated = self.count * self.fan_power
        power = np.asarray(fluid_flow.fan_power(speed, rated, exponent=self.fan_exponent))
        return power if weather is None else power * self.air_density_ratio(weather)

    def air_density_ratio(self, weather: Weather) -> FloatArray | float:
        """Return the air density by its pressure over that of the fan rating. [1]

        Fans move a volume: in thinner air both mass flow and power fall in proportion. The effect
        of temperature, 5 % from 20 to 35 degC, is neglected.
        """
        if self.rated_air_pressure is None:
            return 1.0
        return weather.air_pressure / self.rated_air_pressure

    def min_fan_speed(
        self,
        heat: FloatArray,
        target: FloatArray | float,
        *,
        capacity_rate: FloatArray,
        weather: Weather,
    ) -> FloatArray:
        """Return the minimum fan speed at which water leaves at most at a target [degC]; 1 if
        impossible. [1]

        ``heat`` is rejected heat [MW]; ``capacity_rate`` is that of the water through all units [MW
        K-1].
        """
        full = np.ones(np.broadcast_shapes(np.shape(heat), np.shape(target), weather.shape))
        return last_feasible(
            self._excess,
            full,
            full * self.minimum_speed,
            heat,
            target,
            capacity_rate,
            *weather.columns,
            tolerance=_SPEED_TOLERANCE,
        )

    def max_heat(
        self,
        target: FloatArray | float,
        *,
        capacity_rate: float,
        weather: Weather,
        search_limit: float,
    ) -> FloatArray:
        """Return the maximum heat at full fan speed for a leaving-water target [degC]; 0 if
        impossible. [MW]

        ``capacity_rate`` is that of the water through all units [MW K-1]; ``search_limit`` bounds
        the search [MW].
        """
        full = np.ones(weather.shape)
        return last_feasible(
            lambda heat, *given: self._excess(np.ones_like(heat), heat, *given),
            0.0 * full,
            search_limit * full,
            target,
            capacity_rate,
            *weather.columns,
            tolerance=_HEAT_TOLERANCE,
        )

    def _excess(
        self,
        speed: FloatArray,
        heat: FloatArray,
        target: FloatArray,
        capacity_rate: FloatArray,
        *air: FloatArray,
    ) -> FloatArray:
        """Return leaving temperature less a target. [K]"""
        weather = Weather.from_columns(*air)
        leaving = self.leaving_temperature(
            heat, capacity_rate=capacity_rate, weather=weather, speed=speed
        )
        return np.asarray(leaving - target)


class DryCooler(HeatRejectionBank):
    """Finned coils with fans, optionally with pads that wet the air on hot days.

    Above ``pad_threshold`` the pads are wetted just enough to keep the air at it: this saves water,
    and warmer air never helps.
    """

    kind: Literal["dry_cooler"] = "dry_cooler"
    conductance: Annotated[
        float, Quantity("MW K-1", "conductance of one clean unit at full speed", above=0)
    ]
    fouling: Annotated[
        float, Quantity("1", "conductance over that of the clean coil", above=0.2, below=2)
    ] = 1.0
    pad_effectiveness: Annotated[
        float, Quantity("1", "air cooling over wet-bulb depression", at_least=0, below=1)
    ] = 0.0
    pad_threshold: Annotated[
        float, Quantity("degC", "air temperature above which pads are wetted", above=5)
    ] = 30.0

    def degraded(self, share: float) -> "DryCooler":
        """Return a copy that has lost a share of its conductance."""
        return self.model_copy(update={"fouling": self.fouling * (1.0 - share)})

    def leaving_temperature(
        self, heat: FloatArray, *, capacity_rate: FloatArray, weather: Weather, speed: FloatArray
    ) -> FloatArray:
        """Return the temperature of the leaving water; see :class:`HeatRejectionBank`."""
        leaving = heat_rejection.dry_cooler_outlet_temperature(
            heat,
            self._entering_air(weather),
            fan_speed_share=speed * self.air_density_ratio(weather),
            capacity_rate=capacity_rate,
            rated_air_capacity_rate=self.count * self.air_flow * _AIR_HEAT_CAPACITY,
            rated_conductance=self.count * self.conductance * self.fouling,
        )
        return np.asarray(leaving)

    def water_use(self, heat: FloatArray, weather: Weather, speed: FloatArray) -> FloatArray:
        """Return the water use of the pads. [m3 h-1]"""
        entering = self._entering_air(weather)
        wetted = heat_rejection.pad_evaporation(
            entering,
            weather.wet_bulb_temperature,
            humidity_ratio=weather.humidity_ratio,
            air_flow=self.count * self.air_flow * speed * self.air_density_ratio(weather),
            pressure=weather.air_pressure,
        )
        evaporation = np.where(entering < weather.air_temperature, wetted, 0.0)
        return np.asarray(
            _M3_H_PER_KG_S * heat_rejection.make_up_water(evaporation, self.cycles_of_concentration)
        )

    def is_extrapolated(self, weather: Weather, cooling_range: FloatArray | float) -> BoolArray:
        """Return where the model is used outside its range; for a dry cooler nowhere."""
        return np.zeros(weather.shape, dtype=bool)

    def _entering_air(self, weather: Weather) -> FloatArray:
        outdoors = weather.air_temperature
        wetted = heat_rejection.precooled_air_temperature(
            outdoors, weather.wet_bulb_temperature, pad_effectiveness=self.pad_effectiveness
        )
        return np.maximum(wetted, np.minimum(outdoors, self.pad_threshold))


class CoolingTower(HeatRejectionBank):
    """Open cells with variable fans, by the YorkCalc correlation.

    The rated water flow is cooled from 35.0 to 29.4 degC at 25.6 degC wet bulb and full fan speed:
    the reference point of the correlation.
    """

    kind: Literal["cooling_tower"] = "cooling_tower"
    water_flow: Annotated[float, Quantity("kg s-1", "rated water flow of one cell", above=0)]
    approach_factor: Annotated[
        float, Quantity("1", "approach over that of the clean cell", above=0.5, below=2)
    ] = 1.0

    def degraded(self, share: float) -> "CoolingTower":
        """Return a copy whose approach is larger by a share."""
        return self.model_copy(update={"approach_factor": self.approach_factor * (1.0 + share)})

    def leaving_temperature(
        self, heat: FloatArray, *, capacity_rate: FloatArray, weather: Weather, speed: FloatArray
    ) -> FloatArray:
        """Return the temperature of the leaving water; see :class:`HeatRejectionBank`."""
        rated_rate = self.count * fluid_flow.capacity_rate(self.water_flow)
        return heat_rejection.tower_outlet_temperature(
            heat / capacity_rate,
            weather.wet_bulb_temperature,
            liquid_gas_ratio=capacity_rate / rated_rate / (speed * self.air_density_ratio(weather)),
            water_per_air=self.water_flow / self.air_flow,
            approach_factor=self.approach_factor,
            pressure=weather.air_pressure,
        )

    def water_use(self, heat: FloatArray, weather: Weather, speed: FloatArray) -> FloatArray:
        """Return the water use by evaporation and blow-down. [m3 h-1]"""
        humidity = psychrometrics.relative_humidity(
            weather.air_temperature, weather.humidity_ratio, pressure=weather.air_pressure
        )
        evaporation = heat_rejection.tower_evaporation(
            heat,
            weather.air_temperature,
            relative_humidity=humidity,
            air_flow=self.count * self.air_flow * speed * self.air_density_ratio(weather),
            pressure=weather.air_pressure,
        )
        return np.asarray(
            _M3_H_PER_KG_S * heat_rejection.make_up_water(evaporation, self.cycles_of_concentration)
        )

    def is_extrapolated(self, weather: Weather, cooling_range: FloatArray | float) -> BoolArray:
        """Return where wet bulb [degC] or cooling range [K] are outside the correlation."""
        low, high = heat_rejection.WET_BULB_LIMITS_C
        bulb, widest = weather.wet_bulb_temperature, heat_rejection.COOLING_RANGE_LIMITS_K[1]
        return np.asarray((bulb < low) | (bulb > high) | (cooling_range > widest))


HeatRejection = Annotated[DryCooler | CoolingTower, Field(discriminator="kind")]
"""Either kind; ``kind`` selects it in site files."""
