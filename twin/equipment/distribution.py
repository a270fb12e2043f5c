"""Busways from the critical bus to the racks."""

from typing import Annotated, ClassVar

import numpy as np

from twin.equipment.declaration import Equipment
from twin.physics import FloatArray, electric
from twin.relations import Convert, Flows, Relation
from twin.units import Quantity
from twin.weather import Weather


class Distribution(Equipment):
    """All busways of the site as one conductor; its loss warms the air of the halls."""

    kind: ClassVar[str] = "distribution"

    rating: Annotated[float, Quantity("MW", "rated power of all busways", above=0)]
    rated_loss: Annotated[
        float, Quantity("1", "loss at rating, share of rating", at_least=0, below=0.1)
    ]

    def relations(self) -> tuple[Relation, ...]:
        """Return the conversion from the critical bus to the racks."""
        return (
            Convert(
                owner=self.name,
                output="rack",
                lead="critical",
                draws=("critical", "air"),
                limit=self._limit,
                physics=self._flows,
            ),
        )

    def _limit(self, weather: Weather) -> FloatArray:
        return np.full(len(weather), self.rating)

    def _flows(self, output: FloatArray, weather: Weather) -> Flows:
        loss = np.asarray(
            electric.resistive_loss(output, self.rating, rated_loss=self.rated_loss * self.rating)
        )
        draws = {"critical": output + loss, "air": loss}
        details = {"distribution_loss": loss}
        return Flows(draws=draws, heat=np.zeros_like(loss), details=details)
