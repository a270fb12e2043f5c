"""Battery energy storage on the medium-voltage bus."""

from typing import Annotated, ClassVar, Self

from pydantic import model_validator

from twin.bounds import GREATEST_CAPACITY_PRICE
from twin.equipment.declaration import Equipment
from twin.relations import Relation, Store
from twin.units import Meaning, Quantity


class Battery(Equipment):
    """A battery with its converters; what lies below ``reserve`` is for ride-through, not trade.

    Levels are shares of what is left of the capacity. Wear is a price for each MWh, either given or
    that of new cells over the energy that they give in their life. Reserves that follow the grid by
    the second are held only by a battery with a ``local_controller`` that answers by itself; that
    of a UPS with a grid function is declared as one.
    """

    kind: ClassVar[str] = "battery"

    capacity: Annotated[float, Quantity("MWh", "usable energy when new", above=0)]
    health: Annotated[
        float, Quantity("1", "capacity left, beside that when new", above=0.2, at_most=1)
    ] = 1.0
    power: Annotated[float, Quantity("MW", "rated power of the converters", above=0)]
    c_rate: (
        Annotated[float, Quantity("1", "most power of the cells, 1 fills them in an hour", above=0)]
        | None
    ) = None
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
    local_controller: Annotated[
        bool, Meaning("answers the grid by itself, and may hold reserves")
    ] = False
    wear_price: Annotated[
        float, Quantity("EUR MWh-1", "wear for each MWh discharged", at_least=0)
    ] = 0.0
    cell_price: (
        Annotated[
            float,
            Quantity(
                "EUR MWh-1",
                "new cells for each MWh of capacity",
                at_least=0,
                at_most=GREATEST_CAPACITY_PRICE,
            ),
        ]
        | None
    ) = None
    cycle_life: Annotated[
        float, Quantity("1", "full cycles until the cells are replaced", above=0)
    ] = 6000.0

    @model_validator(mode="after")
    def _has_a_window(self) -> Self:
        if self.reserve >= self.ceiling:
            message = "reserve must be below ceiling"
            raise ValueError(message)
        if self.cell_price is not None and self.wear_price > 0.0:
            message = "give wear_price, or cell_price and cycle_life, but not both"
            raise ValueError(message)
        return self

    @property
    def usable(self) -> float:
        """Energy that the cells still hold. [MWh]"""
        return self.health * self.capacity

    @property
    def limit(self) -> float:
        """Most charge or discharge at the bus: of the converters, and of the cells. [MW]"""
        return self.power if self.c_rate is None else min(self.power, self.c_rate * self.usable)

    @property
    def wear(self) -> float:
        """Cost of wear for each MWh discharged, of which the cells give more. [EUR MWh-1]"""
        if self.cell_price is None:
            return self.wear_price
        return self.cell_price / self.cycle_life / self.discharge_efficiency

    def relations(self) -> tuple[Relation, ...]:
        """Return the store of electricity."""
        return (
            Store(
                owner=self.name,
                carrier="medium_voltage",
                low=self.reserve * self.usable,
                high=self.ceiling * self.usable,
                charge_limit=self.limit,
                discharge_limit=self.limit,
                charge_efficiency=self.charge_efficiency,
                discharge_efficiency=self.discharge_efficiency,
                standing_loss=self.standing_loss,
                wear_price=self.wear,
            ),
        )
