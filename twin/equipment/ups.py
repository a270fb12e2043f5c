"""Uninterruptible power supplies between the medium-voltage bus and the critical bus."""

from typing import Annotated, ClassVar, Self

import numpy as np
from pydantic import model_validator

from twin.equipment.declaration import Equipment
from twin.physics import FloatArray, electric
from twin.relations import Convert, Flows, Relation
from twin.units import Quantity
from twin.weather import Weather


class Ups(Equipment):
    """A bank of double-conversion units; its loss is carried away by the chilled circuit."""

    kind: ClassVar[str] = "ups"

    rating: Annotated[float, Quantity("MW", "rated output of the whole bank", above=0)]
    loss_constant: Annotated[
        float, Quantity("1", "loss at no load, share of rating", at_least=0, below=0.1)
    ]
    loss_linear: Annotated[float, Quantity("1", "linear loss, share of rating", above=-0.1)]
    loss_quadratic: Annotated[
        float, Quantity("1", "loss with the square of load, share of rating", at_least=0)
    ]
    loss_factor: Annotated[
        float, Quantity("1", "loss beside the maker's curve", above=0.5, below=2)
    ] = 1.0

    @model_validator(mode="after")
    def _loses(self) -> Self:
        falls = max(-self.loss_linear, 0.0)
        if falls > 0.0 and self.loss_constant * self.loss_quadratic < 0.25 * falls**2:
            message = "loss_linear is so far below 0 that some load would lose less than nothing"
            raise ValueError(message)
        return self

    def relations(self) -> tuple[Relation, ...]:
        """Return the conversion from medium voltage to the critical bus."""
        return (
            Convert(
                owner=self.name,
                output="critical",
                lead="medium_voltage",
                draws=("medium_voltage", "chilled"),
                limit=self._limit,
                physics=self._flows,
            ),
        )

    def _limit(self, weather: Weather) -> FloatArray:
        return np.full(len(weather), self.rating)

    def _flows(self, output: FloatArray, weather: Weather) -> Flows:
        loss = self.loss_factor * electric.ups_loss(
            output,
            self.rating,
            constant=self.loss_constant,
            linear=self.loss_linear,
            quadratic=self.loss_quadratic,
        )
        details = {
            "ups_output": np.asarray(output),
            "ups_loss": np.asarray(loss),
            "ups_loading": np.asarray(output) / self.rating,
        }
        draws = {"medium_voltage": output + loss, "chilled": np.asarray(loss)}
        return Flows(draws=draws, heat=np.zeros_like(loss), details=details)
