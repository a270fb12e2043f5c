"""Coolant distribution units: from the cold plates' coolant to the warm facility water.

Hall air: coils and fans for the heat that liquid does not carry.
"""

from functools import partial
from typing import Annotated, ClassVar, Self

import numpy as np
from pydantic import model_validator

from twin.equipment.machine import Equipment
from twin.physics import FloatArray, fluid_flow
from twin.physics.heat_exchangers import part_load_approach
from twin.relations import ConversionFlows, Convert, Relation, SetPoints
from twin.units import Quantity
from twin.weather import Weather


class CduBank(Equipment):
    """A bank of equal units that share the heat; their pumps are supplied by the UPS."""

    kind: ClassVar[str] = "cdu"

    count: Annotated[
        int, Quantity("1", "number of equal units in service", at_least=1, at_most=10_000)
    ]
    rated_heat: Annotated[float, Quantity("MW", "heat carried by one unit at rating", above=0)]
    approach: Annotated[
        float, Quantity("K", "technology supply less facility supply at rating", above=0, below=20)
    ]
    technology_range: Annotated[
        float, Quantity("K", "warming of the coolant in the racks at rating", above=0, below=40)
    ]
    facility_range: Annotated[
        float, Quantity("K", "warming of the facility water at rating", above=0, below=40)
    ]
    pump_power: Annotated[float, Quantity("MW", "pump power of one unit at rating", at_least=0)]
    minimum_flow: Annotated[
        float, Quantity("1", "least flow, share of the rated flow", above=0, at_most=1)
    ]
    fouling: Annotated[
        float, Quantity("1", "conductance beside that of the clean exchanger", above=0.2, below=2)
    ] = 1.0

    @model_validator(mode="after")
    def _coolant_comes_back_warmer(self) -> Self:
        if self.approach + self.technology_range <= self.facility_range:
            message = "facility_range must be below approach + technology_range"
            raise ValueError(message)
        return self

    def relations(self) -> tuple[Relation, ...]:
        """Return the conversion from warm facility water to coolant at the racks."""
        return (
            Convert(
                owner=self.name,
                output="liquid",
                primary_input="critical",
                inputs=("warm", "critical"),
                max_output=self._limit,
                physics=self._flows,
                physics_at=lambda points: partial(self._flows, points=points),
            ),
        )

    def technology_supply_temperature(
        self,
        heat: FloatArray,
        facility_supply_temperature: FloatArray,
        *,
        set_points: SetPoints | None = None,
        facility_flow: FloatArray | None = None,
    ) -> FloatArray:
        """Return the temperature of the coolant that goes to the racks.

        Parameters
        ----------
        heat
            Heat that the racks give to the coolant. [MW]
        facility_supply_temperature
            Temperature of the facility water that comes in. [degC]
        set_points
            Set points of the coolant; by default its flow follows the heat as declared.
        facility_flow
            Facility water over the rated one; by default it follows the heat. [1]

        Returns
        -------
        numpy.ndarray
            Temperature of the coolant. [degC]
        """
        taken = np.asarray(heat) + self.pump_power_at(heat, set_points)
        shares = None
        if set_points is not None:
            own = np.maximum(taken / self.rated_heat_total, self.minimum_flow)
            shares = (
                self.coolant_flow(taken, set_points),
                own if facility_flow is None else facility_flow,
            )
        above = part_load_approach(
            taken,
            rated_heat=self.rated_heat_total,
            rated_approach=self.approach,
            ranges=(self.technology_range, self.facility_range),
            minimum_flow=self.minimum_flow,
            fouling=self.fouling,
            flow_shares=shares,
        )
        return np.asarray(facility_supply_temperature + above)

    @property
    def rated_heat_total(self) -> float:
        """Heat carried by all units at rating. [MW]"""
        return self.count * self.rated_heat

    def coolant_flow(self, heat: FloatArray, set_points: SetPoints | None = None) -> FloatArray:
        """Return the coolant's flow over the rated one at some heat of the racks.

        Parameters
        ----------
        heat
            Heat that the racks give to the coolant. [MW]
        set_points
            Set points; by default the declared range and least flow.

        Returns
        -------
        numpy.ndarray
            Share of the rated flow. [1]
        """
        set_points = set_points or SetPoints()
        span = set_points.technology_range.get(self.name, np.asarray(self.technology_range))
        wanted = (
            np.asarray(heat, dtype=np.float64)
            / self.rated_heat_total
            * (self.technology_range / span)
        )
        return np.maximum(wanted, set_points.minimum_flow.get(self.name, self.minimum_flow))

    def cold_plate_flow(self, heat: FloatArray, set_points: SetPoints | None = None) -> FloatArray:
        """Return the coolant through the racks' cold plates over their declared flow.

        It is that of the units, and never more than declared.

        Parameters
        ----------
        heat
            Heat that the racks give to the coolant. [MW]
        set_points
            Set points; by default the declared range and least flow.

        Returns
        -------
        numpy.ndarray
            Share of the declared flow. [1]
        """
        return np.minimum(self.coolant_flow(heat, set_points), 1.0)

    def pump_power_at(self, heat: FloatArray, set_points: SetPoints | None = None) -> FloatArray:
        """Return the power of all pumps at some heat of the racks, and some set points. [MW]"""
        rated = self.count * self.pump_power
        return np.asarray(
            fluid_flow.pump_power(self.coolant_flow(heat, set_points), 1.0, rated_power=rated)
        )

    def _limit(self, weather: Weather) -> FloatArray:
        return np.full(len(weather), self.rated_heat_total)

    def _flows(
        self, output: FloatArray, weather: Weather, points: SetPoints | None = None
    ) -> ConversionFlows:
        pump = self.pump_power_at(output, points)
        details = {
            "cdu_output": np.asarray(output),
            "cdu_pump_power": pump,
            "cdu_loading": np.asarray(output) / self.rated_heat_total,
        }
        draws = {"warm": output + pump, "critical": pump}
        return ConversionFlows(inputs=draws, heat=np.zeros_like(pump), details=details)


class CrahBank(Equipment):
    """All air handlers of the halls; air and water flow follow the heat."""

    kind: ClassVar[str] = "hall_air"

    rated_heat: Annotated[float, Quantity("MW", "heat of the halls at rating", above=0)]
    approach: Annotated[
        float, Quantity("K", "supply air less chilled supply at rating", above=0, below=20)
    ]
    air_range: Annotated[
        float, Quantity("K", "warming of the air in the racks at rating", above=0, below=40)
    ]
    water_range: Annotated[
        float, Quantity("K", "warming of the chilled water at rating", above=0, below=20)
    ]
    fan_power: Annotated[float, Quantity("MW", "power of all fans at rating", at_least=0)]
    fan_exponent: Annotated[
        float, Quantity("1", "exponent of fan power over air flow", at_least=1, at_most=3)
    ] = fluid_flow.FAN_POWER_EXPONENT
    minimum_flow: Annotated[
        float, Quantity("1", "least flow, share of the rated flow", above=0, at_most=1)
    ]
    fouling: Annotated[
        float, Quantity("1", "conductance beside that of the clean coils", above=0.2, below=2)
    ] = 1.0

    @model_validator(mode="after")
    def _air_comes_back_warmer(self) -> Self:
        if self.approach + self.air_range <= self.water_range:
            message = "water_range must be below approach + air_range"
            raise ValueError(message)
        return self

    def relations(self) -> tuple[Relation, ...]:
        """Return the conversion from chilled water to cool air."""
        return (
            Convert(
                owner=self.name,
                output="air",
                primary_input="critical",
                inputs=("chilled", "critical"),
                max_output=self._limit,
                physics=self._flows,
            ),
        )

    def rack_inlet_temperature(
        self,
        heat: FloatArray,
        chilled_supply_temperature: FloatArray,
        *,
        chilled_flow: FloatArray | None = None,
    ) -> FloatArray:
        """Return the temperature of the air at the racks' inlets.

        Parameters
        ----------
        heat
            Heat that racks and busways give to the air. [MW]
        chilled_supply_temperature
            Temperature of the chilled water that comes in. [degC]
        chilled_flow
            Chilled water over the rated one; by default it follows the heat. [1]

        Returns
        -------
        numpy.ndarray
            Temperature of the air. [degC]
        """
        taken = np.asarray(heat) + self._fan_power(heat)
        shares = None
        if chilled_flow is not None:
            shares = np.maximum(taken / self.rated_heat, self.minimum_flow), chilled_flow
        above = part_load_approach(
            taken,
            rated_heat=self.rated_heat,
            rated_approach=self.approach,
            ranges=(self.air_range, self.water_range),
            minimum_flow=self.minimum_flow,
            fouling=self.fouling,
            flow_shares=shares,
        )
        return np.asarray(chilled_supply_temperature + above)

    def _limit(self, weather: Weather) -> FloatArray:
        return np.full(len(weather), self.rated_heat)

    def _flows(self, output: FloatArray, weather: Weather) -> ConversionFlows:
        fan = self._fan_power(output)
        details = {
            "hall_air_output": np.asarray(output),
            "hall_air_fan_power": fan,
            "hall_air_loading": np.asarray(output) / self.rated_heat,
        }
        draws = {"chilled": output + fan, "critical": fan}
        return ConversionFlows(inputs=draws, heat=np.zeros_like(fan), details=details)

    def _fan_power(self, heat: FloatArray) -> FloatArray:
        power = fluid_flow.fan_power(
            np.asarray(heat, dtype=np.float64) / self.rated_heat,
            self.fan_power,
            exponent=self.fan_exponent,
            minimum_speed_share=self.minimum_flow,
        )
        return np.asarray(power)
