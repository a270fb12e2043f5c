"""Hall air: coils and fans for the heat that liquid does not carry."""

from typing import Annotated, ClassVar, Self

import numpy as np
from pydantic import model_validator

from twin.equipment.declaration import Equipment
from twin.equipment.part_load import part_load_approach
from twin.physics import FloatArray, machines
from twin.relations import Convert, Flows, Relation
from twin.units import Quantity
from twin.weather import Weather


class HallAir(Equipment):
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
    ] = machines.FAN_EXPONENT
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
                lead="critical",
                draws=("chilled", "critical"),
                limit=self._limit,
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
            shares=shares,
        )
        return np.asarray(chilled_supply_temperature + above)

    def _limit(self, weather: Weather) -> FloatArray:
        return np.full(len(weather), self.rated_heat)

    def _flows(self, output: FloatArray, weather: Weather) -> Flows:
        fan = self._fan_power(output)
        details = {
            "hall_air_output": np.asarray(output),
            "hall_air_fan_power": fan,
            "hall_air_loading": np.asarray(output) / self.rated_heat,
        }
        draws = {"chilled": output + fan, "critical": fan}
        return Flows(draws=draws, heat=np.zeros_like(fan), details=details)

    def _fan_power(self, heat: FloatArray) -> FloatArray:
        power = machines.fan_power(
            np.asarray(heat, dtype=np.float64) / self.rated_heat,
            self.fan_power,
            exponent=self.fan_exponent,
            minimum_speed_share=self.minimum_flow,
        )
        return np.asarray(power)
