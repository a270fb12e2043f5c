"""The electrical chain of a site: grid connection, transformers, switchgear, UPS and busways."""

from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import model_validator

from twin.equipment.machine import Equipment
from twin.physics import FloatArray, electrical_equipment
from twin.relations import (
    Conversion,
    ConversionFlows,
    DemandCharge,
    Exchange,
    Relation,
    constant_output,
)
from twin.units import ParameterDescription, Quantity
from twin.weather import Weather


class GridConnection(Equipment):
    """A grid connection with its limits, fees and demand charge."""

    kind: ClassVar[str] = "grid"

    import_limit: Annotated[float, Quantity("MW", "maximum import", above=0)]
    export_limit: Annotated[float, Quantity("MW", "maximum export", at_least=0)] = 0.0
    ramp: Annotated[float, Quantity("MW/min", "maximum change of net import per minute", above=0)]
    import_fee: Annotated[
        float, Quantity("EUR MWh-1", "network fee and taxes on import", at_least=0)
    ] = 0.0
    export_fee: Annotated[
        float, Quantity("EUR MWh-1", "deducted from the price of export", at_least=0)
    ] = 0.0
    peak_price: Annotated[
        float, Quantity("EUR MW-1", "demand charge for the greatest monthly import", at_least=0)
    ] = 0.0
    carbon: Annotated[
        Literal["average", "matched"],
        ParameterDescription(
            "carbon of all import, or only of import not matched by `hourly_matching`"
        ),
    ] = "average"

    def relations(self) -> tuple[Relation, ...]:
        """Return the exchange at the connection and its demand charge."""
        return (
            Exchange(
                owner=self.name,
                carrier="grid",
                import_limit=self.import_limit,
                export_limit=self.export_limit,
                price_variable="electricity_price",
                import_fee=self.import_fee,
                export_fee=self.export_fee,
                carbon_variable="carbon_intensity" if self.carbon == "average" else "",
                ramp_limit=self.ramp,
            ),
            DemandCharge(
                owner=self.name, charged_variable="grid_import_power", price=self.peak_price
            ),
        )


class TransformerBank(Equipment):
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
        ParameterDescription("output carrier; a bank on `busbar` feeds switchgear"),
    ] = "medium_voltage"

    def relations(self) -> tuple[Relation, ...]:
        """Return the conversion from the grid to the medium-voltage bus or its switchgear."""
        return (
            Conversion(
                owner=self.name,
                output_carrier=self.delivers,
                primary_input="grid",
                input_carriers=("grid",),
                max_output=constant_output(self.count * self.rating * self.power_factor),
                flows_at_output=self._flows,
            ),
        )

    def _flows(self, output: FloatArray, weather: Weather) -> ConversionFlows:
        apparent = np.asarray(output) / self.power_factor
        loss = electrical_equipment.transformer_loss(
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
        return ConversionFlows(
            inputs={"grid": output + loss}, heat=np.asarray(loss), details=details
        )


class Switchgear(Equipment):
    """The switchgear of the medium-voltage bus: its rating, losses and own use.

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
            Conversion(
                owner=self.name,
                output_carrier="medium_voltage",
                primary_input="busbar",
                input_carriers=("busbar",),
                max_output=constant_output(self.rating * self.power_factor),
                flows_at_output=self._flows,
            ),
        )

    def _flows(self, output: FloatArray, weather: Weather) -> ConversionFlows:
        output = np.asarray(output, dtype=np.float64)
        loading = np.abs(output) / self.power_factor / self.rating
        lost = electrical_equipment.resistive_loss(
            output, self.rating * self.power_factor, rated_loss=self.rated_loss * self.rating
        )
        loss = np.asarray(lost + self.own_use * self.rating)
        details = {
            "switchgear_output": output,
            "switchgear_loss": loss,
            "switchgear_loading": loading,
        }
        return ConversionFlows(inputs={"busbar": output + loss}, heat=loss, details=details)


class UpsBank(Equipment):
    """A bank of double-conversion units; the chilled circuit removes its loss."""

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
        float, Quantity("1", "ratio of loss to the manufacturer's curve", above=0.5, below=2)
    ] = 1.0

    @model_validator(mode="after")
    def _check_loss(self) -> Self:
        slope = max(-self.loss_linear, 0.0)
        if slope > 0.0 and self.loss_constant * self.loss_quadratic < 0.25 * slope**2:
            raise ValueError("raise loss_linear: the loss would be negative at some load")
        return self

    def relations(self) -> tuple[Relation, ...]:
        """Return the conversion from medium voltage to the critical bus."""
        return (
            Conversion(
                owner=self.name,
                output_carrier="critical",
                primary_input="medium_voltage",
                input_carriers=("medium_voltage", "chilled"),
                max_output=constant_output(self.rating),
                flows_at_output=self._flows,
            ),
        )

    def _flows(self, output: FloatArray, weather: Weather) -> ConversionFlows:
        loss = self.loss_factor * electrical_equipment.ups_loss(
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
        return ConversionFlows(inputs=draws, heat=np.zeros_like(loss), details=details)


class Busway(Equipment):
    """All busways of the site as one conductor; its loss heats the air of the halls."""

    kind: ClassVar[str] = "distribution"

    rating: Annotated[float, Quantity("MW", "rated power of all busways", above=0)]
    rated_loss: Annotated[
        float, Quantity("1", "loss at rating, share of rating", at_least=0, below=0.1)
    ]

    def relations(self) -> tuple[Relation, ...]:
        """Return the conversion from the critical bus to the racks."""
        return (
            Conversion(
                owner=self.name,
                output_carrier="rack",
                primary_input="critical",
                input_carriers=("critical", "air"),
                max_output=constant_output(self.rating),
                flows_at_output=self._flows,
            ),
        )

    def _flows(self, output: FloatArray, weather: Weather) -> ConversionFlows:
        loss = np.asarray(
            electrical_equipment.resistive_loss(
                output, self.rating, rated_loss=self.rated_loss * self.rating
            )
        )
        draws = {"critical": output + loss, "air": loss}
        details = {"distribution_loss": loss}
        return ConversionFlows(inputs=draws, heat=np.zeros_like(loss), details=details)
