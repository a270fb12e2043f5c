"""Hall cooling: coolant distribution units for liquid, and CRAH units for the remaining heat."""

from functools import partial
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import model_validator

from twin.equipment.machine import Equipment
from twin.physics import FloatArray, fluid_flow
from twin.physics.heat_exchangers import part_load_approach
from twin.relations import Conversion, ConversionFlows, Relation, SetPoints, constant_output
from twin.units import ParameterDescription, Quantity
from twin.weather import Weather


class CduBank(Equipment):
    """A bank of equal units that share the heat; the UPS supplies their pumps."""

    kind: ClassVar[str] = "cdu"

    count: Annotated[
        int, Quantity("1", "number of equal units in service", at_least=1, at_most=10_000)
    ]
    rated_heat: Annotated[float, Quantity("MW", "rated heat of one unit", above=0)]
    approach: Annotated[
        float, Quantity("K", "coolant supply less facility supply at rating", above=0, below=20)
    ]
    technology_range: Annotated[
        float, Quantity("K", "temperature rise of the coolant at rating", above=0, below=40)
    ]
    facility_range: Annotated[
        float, Quantity("K", "temperature rise of the facility water at rating", above=0, below=40)
    ]
    pump_power: Annotated[float, Quantity("MW", "pump power of one unit at rating", at_least=0)]
    static_head_share: Annotated[
        float, Quantity("1", "share of the pumps' head that stays at any flow", at_least=0, below=1)
    ] = 0.0
    fluid: Annotated[
        Literal["water", "pg25"],
        ParameterDescription("coolant of the racks: water, or water with 25 % propylene glycol"),
    ] = "pg25"
    minimum_flow: Annotated[
        float, Quantity("1", "minimum flow, share of the rated flow", above=0, at_most=1)
    ]
    fouling: Annotated[
        float,
        Quantity("1", "conductance over that of the clean heat exchanger", above=0.2, below=2),
    ] = 1.0

    @model_validator(mode="after")
    def _check_ranges(self) -> Self:
        if self.approach + self.technology_range <= self.facility_range:
            raise ValueError("facility_range must be below approach + technology_range")
        return self

    def relations(self) -> tuple[Relation, ...]:
        """Return the conversion from warm facility water to coolant at the racks."""
        return (
            Conversion(
                owner=self.name,
                output_carrier="liquid",
                primary_input="critical",
                input_carriers=("warm", "critical"),
                max_output=constant_output(self.rated_heat_total),
                flows_at_output=self._flows,
                flows_for_set_points=lambda points: partial(self._flows, points=points),
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
        """Return the supply temperature of the coolant to the racks. [degC]

        ``heat`` is the heat from racks to coolant [MW]; ``facility_supply_temperature`` is that of
        the entering facility water [degC]; ``facility_flow`` is over the rated flow, by default
        proportional to the heat [1].
        """
        transferred = np.asarray(heat) + self.pump_power_at(heat, set_points)
        shares = None
        if set_points is not None:
            own = np.maximum(transferred / self.rated_heat_total, self.minimum_flow)
            shares = (
                self.coolant_flow(transferred, set_points),
                own if facility_flow is None else facility_flow,
            )
        approach = part_load_approach(
            transferred,
            rated_heat=self.rated_heat_total,
            rated_approach=self.approach,
            ranges=(self.technology_range, self.facility_range),
            minimum_flow=self.minimum_flow,
            fouling=self.fouling,
            flow_shares=shares,
        )
        return np.asarray(facility_supply_temperature + approach)

    @property
    def liquid(self) -> fluid_flow.Liquid:
        """Properties of the coolant."""
        return fluid_flow.LIQUIDS[self.fluid]

    @property
    def rated_heat_total(self) -> float:
        """Rated heat of all units. [MW]"""
        return self.count * self.rated_heat

    def coolant_flow(self, heat: FloatArray, set_points: SetPoints | None = None) -> FloatArray:
        """Return coolant flow over rated flow at a heat of the racks [MW]. [1]"""
        set_points = set_points or SetPoints()
        span = set_points.technology_range.get(self.name, np.asarray(self.technology_range))
        required = (
            np.asarray(heat, dtype=np.float64)
            / self.rated_heat_total
            * (self.technology_range / span)
        )
        return np.maximum(required, set_points.minimum_flow.get(self.name, self.minimum_flow))

    def cold_plate_flow(self, heat: FloatArray, set_points: SetPoints | None = None) -> FloatArray:
        """Return cold-plate flow over the declared one at a rack heat [MW], at most 1. [1]"""
        return np.minimum(self.coolant_flow(heat, set_points), 1.0)

    def pump_power_at(self, heat: FloatArray, set_points: SetPoints | None = None) -> FloatArray:
        """Return the power of all pumps at a heat of the racks [MW]. [MW]"""
        rated = self.count * self.pump_power
        return np.asarray(
            fluid_flow.pump_power(
                self.coolant_flow(heat, set_points),
                rated_power=rated,
                static_head_share=self.static_head_share,
            )
        )

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
    """All air handlers of the halls; air and water flow are proportional to the heat."""

    kind: ClassVar[str] = "hall_air"

    rated_heat: Annotated[float, Quantity("MW", "rated heat of the halls", above=0)]
    approach: Annotated[
        float, Quantity("K", "supply air less chilled supply at rating", above=0, below=20)
    ]
    air_range: Annotated[
        float, Quantity("K", "temperature rise of the air at rating", above=0, below=40)
    ]
    water_range: Annotated[
        float, Quantity("K", "temperature rise of the chilled water at rating", above=0, below=20)
    ]
    fan_power: Annotated[float, Quantity("MW", "power of all fans at rating", at_least=0)]
    fan_exponent: Annotated[
        float, Quantity("1", "exponent of fan power over air flow", at_least=1, at_most=3)
    ] = fluid_flow.FAN_POWER_EXPONENT
    minimum_flow: Annotated[
        float, Quantity("1", "minimum flow, share of the rated flow", above=0, at_most=1)
    ]
    fouling: Annotated[
        float, Quantity("1", "conductance over that of the clean coils", above=0.2, below=2)
    ] = 1.0

    @model_validator(mode="after")
    def _check_ranges(self) -> Self:
        if self.approach + self.air_range <= self.water_range:
            raise ValueError("water_range must be below approach + air_range")
        return self

    def relations(self) -> tuple[Relation, ...]:
        """Return the conversion from chilled water to cool air."""
        return (
            Conversion(
                owner=self.name,
                output_carrier="air",
                primary_input="critical",
                input_carriers=("chilled", "critical"),
                max_output=constant_output(self.rated_heat),
                flows_at_output=self._flows,
            ),
        )

    def rack_inlet_temperature(
        self,
        heat: FloatArray,
        chilled_supply_temperature: FloatArray,
        *,
        chilled_flow: FloatArray | None = None,
    ) -> FloatArray:
        """Return the air temperature at the rack inlets. [degC]

        ``heat`` is the heat from racks and busways to air [MW]; ``chilled_supply_temperature`` is
        that of the entering chilled water [degC]; ``chilled_flow`` is over the rated flow, by
        default proportional to the heat [1].
        """
        transferred = np.asarray(heat) + self._fan_power(heat)
        shares = None
        if chilled_flow is not None:
            shares = np.maximum(transferred / self.rated_heat, self.minimum_flow), chilled_flow
        approach = part_load_approach(
            transferred,
            rated_heat=self.rated_heat,
            rated_approach=self.approach,
            ranges=(self.air_range, self.water_range),
            minimum_flow=self.minimum_flow,
            fouling=self.fouling,
            flow_shares=shares,
        )
        return np.asarray(chilled_supply_temperature + approach)

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
