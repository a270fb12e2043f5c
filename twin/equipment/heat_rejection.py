"""Dry coolers and cooling towers: the machines that give a circuit's heat to the outdoor air."""

from typing import Annotated, Final, Literal

import numpy as np
from pydantic import Field

from twin.physics import FloatArray, fluid_flow, heat_rejection, psychrometrics
from twin.physics.numerics import BoolArray, last_feasible
from twin.units import Declaration, Quantity
from twin.weather import Weather

_AIR_HEAT: Final = 1.02e-3  # MJ kg-1 K-1 of dry air with its usual vapour
_HOURLY: Final = 3.6  # kg s-1 of water to m3 h-1
_SPEED_TOLERANCE: Final = 1e-7
_HEAT_TOLERANCE: Final = 1e-9  # MW


class HeatRejectionBank(Declaration):
    """What dry coolers and towers have in common: a bank of equal units with variable fans."""

    count: Annotated[
        int, Quantity("1", "number of equal units in service", at_least=1, at_most=1000)
    ]
    air_flow: Annotated[float, Quantity("kg s-1", "air through one unit at full speed", above=0)]
    rated_air_pressure: (
        Annotated[
            float,
            Quantity(
                "kPa", "air pressure of air_flow; left out, it is of any", above=50, below=110
            ),
        ]
        | None
    ) = None
    fan_power: Annotated[float, Quantity("MW", "fan power of one unit at full speed", at_least=0)]
    fan_exponent: Annotated[
        float, Quantity("1", "exponent of fan power over speed", at_least=1, at_most=3)
    ] = fluid_flow.FAN_POWER_EXPONENT
    minimum_speed: Annotated[
        float, Quantity("1", "least fan speed, share of full speed", at_least=0.05, below=1)
    ]
    cycles_of_concentration: Annotated[
        float, Quantity("1", "solids in the wetting water over the make-up", above=1, below=20)
    ] = 4.0

    def leaving_temperature(
        self, heat: FloatArray, *, capacity_rate: FloatArray, weather: Weather, speed: FloatArray
    ) -> FloatArray:
        """Return the temperature of the water that goes back to the plant.

        Parameters
        ----------
        heat
            Heat rejected. [MW]
        capacity_rate
            Capacity rate of the water through all units. [MW K-1]
        weather
            Outdoor air.
        speed
            Fan speed, share of full speed. [1]

        Returns
        -------
        numpy.ndarray
            Temperature; rises with the heat and falls with the speed. [degC]
        """
        raise NotImplementedError

    def power(self, speed: FloatArray, weather: Weather | None = None) -> FloatArray:
        """Return the power of all fans at a share of full speed, at rating or in some air. [MW]"""
        rated = self.count * self.fan_power
        power = np.asarray(fluid_flow.fan_power(speed, rated, exponent=self.fan_exponent))
        return power if weather is None else power * self.air_density_ratio(weather)

    def air_density_ratio(self, weather: Weather) -> FloatArray | float:
        """Return the density of the air by its pressure, over that at which fans are rated. [1]

        Fans move a volume: as much less mass, at as much less power, as the air is thinner. What
        its temperature changes, 5 % from 20 to 35 degC, is left to the rating.
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
        """Return the least fan speed at which the water leaves no warmer than a target.

        Parameters
        ----------
        heat
            Heat rejected. [MW]
        target
            Temperature wanted of the leaving water. [degC]
        capacity_rate
            Capacity rate of the water through all units. [MW K-1]
        weather
            Outdoor air.

        Returns
        -------
        numpy.ndarray
            Share of full speed; 1 where the target is out of reach. [1]
        """
        shape = np.broadcast_shapes(np.shape(heat), np.shape(target), (len(weather),))

        def excess(speed: FloatArray) -> FloatArray:
            return self._excess(heat, target, rate=capacity_rate, weather=weather, speed=speed)

        full = np.ones(shape)
        return last_feasible(excess, full, full * self.minimum_speed, tolerance=_SPEED_TOLERANCE)

    def max_heat(
        self,
        target: FloatArray | float,
        *,
        capacity_rate: float,
        weather: Weather,
        search_limit: float,
    ) -> FloatArray:
        """Return the most heat with which the water leaves no warmer than a target at full speed.

        Parameters
        ----------
        target
            Temperature wanted of the leaving water. [degC]
        capacity_rate
            Capacity rate of the water through all units. [MW K-1]
        weather
            Outdoor air.
        search_limit
            The widest that it is searched. [MW]

        Returns
        -------
        numpy.ndarray
            Heat; 0 where the target is out of reach. [MW]
        """
        full, rate = np.ones(len(weather)), np.asarray(capacity_rate)

        def excess(heat: FloatArray) -> FloatArray:
            return self._excess(heat, target, rate=rate, weather=weather, speed=full)

        return last_feasible(excess, 0.0 * full, search_limit * full, tolerance=_HEAT_TOLERANCE)

    def _excess(
        self,
        heat: FloatArray,
        target: FloatArray | float,
        *,
        rate: FloatArray,
        weather: Weather,
        speed: FloatArray,
    ) -> FloatArray:
        """Return by how much the water leaves warmer than a target. [K]"""
        leaving = self.leaving_temperature(heat, capacity_rate=rate, weather=weather, speed=speed)
        return np.asarray(leaving - target)


class DryCooler(HeatRejectionBank):
    """Finned coils with fans, and with pads that wet the air on hot days if there are any.

    Above ``pad_threshold`` the pads are wetted just enough to hold the air there, so that they save
    water and warmer air never helps.
    """

    kind: Literal["dry_cooler"] = "dry_cooler"
    conductance: Annotated[
        float, Quantity("MW K-1", "conductance of one clean unit at full speed", above=0)
    ]
    fouling: Annotated[
        float, Quantity("1", "conductance beside that of the clean coil", above=0.2, below=2)
    ] = 1.0
    pad_effectiveness: Annotated[
        float, Quantity("1", "cooling of the air over wet-bulb depression", at_least=0, below=1)
    ] = 0.0
    pad_threshold: Annotated[
        float, Quantity("degC", "air temperature above which pads are wetted", above=5)
    ] = 30.0

    def degraded(self, share: float) -> "DryCooler":
        """Return the same coolers with a share of their conductance lost."""
        return self.model_copy(update={"fouling": self.fouling * (1.0 - share)})

    def leaving_temperature(
        self, heat: FloatArray, *, capacity_rate: FloatArray, weather: Weather, speed: FloatArray
    ) -> FloatArray:
        """Return the temperature of the water that goes back; see the bank's own docstring."""
        leaving = heat_rejection.dry_cooler_outlet(
            heat,
            self._entering_air(weather),
            fan_speed_share=speed * self.air_density_ratio(weather),
            capacity_rate=capacity_rate,
            rated_air_capacity_rate=self.count * self.air_flow * _AIR_HEAT,
            rated_conductance=self.count * self.conductance * self.fouling,
        )
        return np.asarray(leaving)

    def water_use(self, heat: FloatArray, weather: Weather, speed: FloatArray) -> FloatArray:
        """Return the water drawn for the pads. [m3 h-1]"""
        behind = self._entering_air(weather)
        wetted = heat_rejection.pad_evaporation(
            behind,
            weather.wet_bulb_temperature,
            humidity_ratio=weather.humidity_ratio,
            air_flow=self.count * self.air_flow * speed * self.air_density_ratio(weather),
            pressure=weather.air_pressure,
        )
        evaporation = np.where(behind < weather.air_temperature, wetted, 0.0)
        return np.asarray(
            _HOURLY * heat_rejection.make_up_water(evaporation, self.cycles_of_concentration)
        )

    def is_extrapolated(self, weather: Weather) -> BoolArray:
        """Return where the weather lies outside the model; a dry cooler's has no such place."""
        return np.zeros(len(weather), dtype=bool)

    def _entering_air(self, weather: Weather) -> FloatArray:
        outdoors = weather.air_temperature
        wetted = heat_rejection.precooled_air_temperature(
            outdoors, weather.wet_bulb_temperature, pad_effectiveness=self.pad_effectiveness
        )
        return np.maximum(wetted, np.minimum(outdoors, self.pad_threshold))


class CoolingTower(HeatRejectionBank):
    """Open cells with variable fans, by the YorkCalc correlation.

    The rated water flow is the one that a cell cools from 35.0 to 29.4 degC in air of 25.6 degC wet
    bulb at full fan speed: the point to which the correlation is normalised.
    """

    kind: Literal["cooling_tower"] = "cooling_tower"
    water_flow: Annotated[float, Quantity("kg s-1", "rated water flow of one cell", above=0)]
    approach_factor: Annotated[
        float, Quantity("1", "approach beside that of the clean cell", above=0.5, below=2)
    ] = 1.0

    def degraded(self, share: float) -> "CoolingTower":
        """Return the same cells with an approach that is larger by a share."""
        return self.model_copy(update={"approach_factor": self.approach_factor * (1.0 + share)})

    def leaving_temperature(
        self, heat: FloatArray, *, capacity_rate: FloatArray, weather: Weather, speed: FloatArray
    ) -> FloatArray:
        """Return the temperature of the water that goes back; see the bank's own docstring."""
        rated_rate = self.count * fluid_flow.capacity_rate(self.water_flow)
        return heat_rejection.tower_outlet(
            heat / capacity_rate,
            weather.wet_bulb_temperature,
            liquid_gas_ratio=capacity_rate / rated_rate / (speed * self.air_density_ratio(weather)),
            water_per_air=self.water_flow / self.air_flow,
            approach_factor=self.approach_factor,
            pressure=weather.air_pressure,
        )

    def water_use(self, heat: FloatArray, weather: Weather, speed: FloatArray) -> FloatArray:
        """Return the water drawn for evaporation and blow-down. [m3 h-1]"""
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
            _HOURLY * heat_rejection.make_up_water(evaporation, self.cycles_of_concentration)
        )

    def is_extrapolated(self, weather: Weather) -> BoolArray:
        """Return where the wet bulb lies outside the correlation and is held at its end."""
        low, high = heat_rejection.WET_BULB_LIMITS_C
        bulb = weather.wet_bulb_temperature
        return np.asarray((bulb < low) | (bulb > high))


HeatRejection = Annotated[DryCooler | CoolingTower, Field(discriminator="kind")]
"""Either kind; ``kind`` tells them apart in site files."""
