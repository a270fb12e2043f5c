"""The connection to the grid and its contract."""

from typing import Annotated, ClassVar, Literal

from twin.equipment.declaration import Equipment
from twin.peaks import Peak
from twin.relations import Exchange, Relation
from twin.units import Meaning, Quantity


class Grid(Equipment):
    """One connection with its limits, fees and peak charge."""

    kind: ClassVar[str] = "grid"

    import_limit: Annotated[float, Quantity("MW", "most that may be taken", above=0)]
    export_limit: Annotated[float, Quantity("MW", "most that may be given", at_least=0)] = 0.0
    ramp: Annotated[
        float, Quantity("MW/min", "most that net import may change in a minute", above=0)
    ]
    import_fee: Annotated[
        float, Quantity("EUR MWh-1", "network fee and taxes on import", at_least=0)
    ] = 0.0
    export_fee: Annotated[
        float, Quantity("EUR MWh-1", "kept back from the price of export", at_least=0)
    ] = 0.0
    peak_price: Annotated[
        float, Quantity("EUR MW-1", "charge for the greatest import of a month", at_least=0)
    ] = 0.0
    carbon: Annotated[
        Literal["average", "matched"],
        Meaning("of all import, or of what `hourly_matching` leaves over"),
    ] = "average"

    def relations(self) -> tuple[Relation, ...]:
        """Return the exchange at the connection and the charge on its peak."""
        return (
            Exchange(
                owner=self.name,
                carrier="grid",
                import_limit=self.import_limit,
                export_limit=self.export_limit,
                price="electricity_price",
                import_fee=self.import_fee,
                export_fee=self.export_fee,
                carbon="carbon_intensity" if self.carbon == "average" else "",
                ramp=self.ramp,
            ),
            Peak(owner=self.name, quantity="grid_import_power", price=self.peak_price),
        )
