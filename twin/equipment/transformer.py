"""Transformers between the connection and the site's medium-voltage bus."""

from typing import Annotated, ClassVar, Literal

import numpy as np

from twin.equipment.declaration import Equipment
from twin.physics import FloatArray, electric
from twin.relations import Convert, Flows, Relation
from twin.units import Meaning, Quantity
from twin.weather import Weather


class Transformer(Equipment):
    """A bank of equal transformers that share the load."""

    kind: ClassVar[str] = "transformer"

    count: Annotated[
        int, Quantity("1", "number of equal units in service", at_least=1, at_most=1000)
    ]
    rating: Annotated[float, Quantity("MVA", "rated apparent power of one unit", above=0)]
    power_factor: Annotated[
        float, Quantity("1", "power factor of the load", above=0.5, at_most=1)
    ] = 0.95
    no_load_loss: Annotated[float, Quantity("MW", "loss of one unit at no load", at_least=0)]
    load_loss: Annotated[float, Quantity("MW", "loss of one unit at rating", at_least=0)]
    delivers: Annotated[
        Literal["medium_voltage", "busbar"],
        Meaning("what it feeds; a bank on `busbar` stands before switchgear"),
    ] = "medium_voltage"

    def relations(self) -> tuple[Relation, ...]:
        """Return the conversion from the grid to the medium-voltage bus or its switchgear."""
        return (
            Convert(
                owner=self.name,
                output=self.delivers,
                lead="grid",
                draws=("grid",),
                limit=self._limit,
                physics=self._flows,
            ),
        )

    def _limit(self, weather: Weather) -> FloatArray:
        rated = self.count * self.rating * self.power_factor
        return np.full(len(weather), rated)

    def _flows(self, output: FloatArray, weather: Weather) -> Flows:
        apparent = np.asarray(output) / self.power_factor
        loss = electric.transformer_loss(
            apparent,
            self.count * self.rating,
            no_load_loss=self.count * self.no_load_loss,
            load_loss=self.count * self.load_loss,
        )
        details = {
            "transformer_output": np.asarray(output),
            "transformer_loss": np.asarray(loss),
            "transformer_loading": apparent / (self.count * self.rating),
        }
        return Flows(draws={"grid": output + loss}, heat=np.asarray(loss), details=details)
