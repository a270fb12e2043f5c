"""Switchgear between the transformers and the machines on medium voltage."""

from typing import Annotated, ClassVar

import numpy as np

from twin.equipment.declaration import Equipment
from twin.physics import FloatArray, electric
from twin.relations import Convert, Flows, Relation
from twin.units import Quantity
from twin.weather import Weather


class Switchgear(Equipment):
    """The panels of the medium-voltage bus: what they can carry, what they lose and use.

    A site that declares it has transformers with ``delivers = "busbar"``.
    """

    kind: ClassVar[str] = "switchgear"

    rating: Annotated[float, Quantity("MVA", "rated apparent power of the busbars", above=0)]
    power_factor: Annotated[
        float, Quantity("1", "power factor of the load", above=0.5, at_most=1)
    ] = 0.95
    rated_loss: Annotated[
        float, Quantity("1", "loss of contacts and busbars at rating", at_least=0, below=0.05)
    ]
    own_use: Annotated[
        float, Quantity("1", "heaters and control, share of the rating", at_least=0, below=0.01)
    ]

    def relations(self) -> tuple[Relation, ...]:
        """Return the conversion from the busbars to the machines on medium voltage."""
        return (
            Convert(
                owner=self.name,
                output="medium_voltage",
                lead="busbar",
                draws=("busbar",),
                limit=self._limit,
                physics=self._flows,
            ),
        )

    def _limit(self, weather: Weather) -> FloatArray:
        return np.full(len(weather), self.rating * self.power_factor)

    def _flows(self, output: FloatArray, weather: Weather) -> Flows:
        output = np.asarray(output, dtype=np.float64)
        loading = np.abs(output) / self.power_factor / self.rating
        lost = electric.resistive_loss(
            output, self.rating * self.power_factor, rated_loss=self.rated_loss * self.rating
        )
        loss = np.asarray(lost + self.own_use * self.rating)
        details = {
            "switchgear_output": output,
            "switchgear_loss": loss,
            "switchgear_loading": loading,
        }
        return Flows(draws={"busbar": output + loss}, heat=loss, details=details)
