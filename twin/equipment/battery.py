"""Battery energy storage on the medium-voltage bus."""

from typing import Annotated, ClassVar

from twin.equipment.declaration import Equipment, register
from twin.relations import Relation, Store
from twin.units import Quantity


@register
class Battery(Equipment):
    """A battery with its converters; what lies below ``reserve`` is for ride-through, not trade."""

    kind: ClassVar[str] = "battery"

    capacity: Annotated[float, Quantity("MWh", "usable energy when new", above=0)]
    power: Annotated[float, Quantity("MW", "rated power of the converters", above=0)]
    charge_efficiency: Annotated[float, Quantity("1", "of charging", above=0, at_most=1)]
    discharge_efficiency: Annotated[float, Quantity("1", "of discharging", above=0, at_most=1)]
    standing_loss: Annotated[
        float, Quantity("1", "share of the level lost in an hour", at_least=0, below=0.1)
    ] = 0.0
    reserve: Annotated[
        float, Quantity("1", "share of the capacity that is never traded", at_least=0, below=1)
    ] = 0.0
    ceiling: Annotated[
        float, Quantity("1", "greatest level, share of the capacity", above=0, at_most=1)
    ] = 1.0
    wear_price: Annotated[
        float, Quantity("EUR MWh-1", "wear for each MWh discharged", at_least=0)
    ] = 0.0

    def relations(self) -> tuple[Relation, ...]:
        """Return the store of electricity."""
        return (
            Store(
                owner=self.name,
                carrier="medium_voltage",
                low=self.reserve * self.capacity,
                high=self.ceiling * self.capacity,
                charge_limit=self.power,
                discharge_limit=self.power,
                charge_efficiency=self.charge_efficiency,
                discharge_efficiency=self.discharge_efficiency,
                standing_loss=self.standing_loss,
                wear_price=self.wear_price,
            ),
        )
