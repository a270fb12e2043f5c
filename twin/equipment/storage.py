"""Storage: batteries on the medium-voltage bus, and chilled-water tanks."""

from typing import Annotated, ClassVar, Final, Self

from pydantic import model_validator

from twin.equipment.machine import Equipment
from twin.physics import fluid_flow
from twin.relations import Relation, Store
from twin.units import MAX_STORAGE_PRICE_EUR_MWH, ParameterDescription, Quantity

STORAGE_TAPER_TIME_H = 0.2
"""Time constant with which a storage controller tapers power near an end of its window. [h]"""


class Battery(Equipment):
    """A battery with its converters; energy below ``reserve`` is for ride-through only.

    Levels are shares of the remaining capacity. Wear is a price per MWh, either declared or the
    price of new cells over their lifetime energy. Reserves that follow the grid by the second need
    a ``local_controller``. A UPS with a grid function is declared as a battery.
    """

    kind: ClassVar[str] = "battery"

    capacity: Annotated[float, Quantity("MWh", "usable energy when new", above=0)]
    health: Annotated[
        float, Quantity("1", "remaining share of the new capacity", above=0.2, at_most=1)
    ] = 1.0
    power: Annotated[float, Quantity("MW", "rated power of the converters", above=0)]
    c_rate: (
        Annotated[float, Quantity("1", "maximum cell power; 1 charges them in an hour", above=0)]
        | None
    ) = None
    charge_efficiency: Annotated[float, Quantity("1", "charge efficiency", above=0, at_most=1)]
    discharge_efficiency: Annotated[
        float, Quantity("1", "discharge efficiency", above=0, at_most=1)
    ]
    standing_loss: Annotated[
        float, Quantity("1", "share of the level lost per hour", at_least=0, below=0.1)
    ] = 0.0
    reserve: Annotated[
        float, Quantity("1", "minimum level, share of the capacity", at_least=0, below=1)
    ] = 0.0
    ceiling: Annotated[
        float, Quantity("1", "maximum level, share of the capacity", above=0, at_most=1)
    ] = 1.0
    local_controller: Annotated[
        bool, ParameterDescription("responds to the grid locally, and may provide reserves")
    ] = False
    wear_price: Annotated[
        float, Quantity("EUR MWh-1", "wear cost per MWh discharged", at_least=0)
    ] = 0.0
    cell_price: (
        Annotated[
            float,
            Quantity(
                "EUR MWh-1",
                "price of new cells per MWh of capacity",
                at_least=0,
                at_most=MAX_STORAGE_PRICE_EUR_MWH,
            ),
        ]
        | None
    ) = None
    cycle_life: Annotated[
        float, Quantity("1", "full cycles before the cells are replaced", above=0)
    ] = 6000.0

    @model_validator(mode="after")
    def _check_window(self) -> Self:
        if self.reserve >= self.ceiling:
            raise ValueError("reserve must be below ceiling")
        if self.cell_price is not None and self.wear_price > 0.0:
            raise ValueError("give wear_price, or cell_price and cycle_life, but not both")
        return self

    @property
    def usable_capacity(self) -> float:
        """Energy that the cells can still store. [MWh]"""
        return self.health * self.capacity

    @property
    def max_power(self) -> float:
        """Maximum charge or discharge at the bus, limited by converters and cells. [MW]"""
        return (
            self.power
            if self.c_rate is None
            else min(self.power, self.c_rate * self.usable_capacity)
        )

    @property
    def wear_cost(self) -> float:
        """Wear cost per MWh discharged at the bus. [EUR MWh-1]"""
        if self.cell_price is None:
            return self.wear_price
        return self.cell_price / self.cycle_life / self.discharge_efficiency

    def relations(self) -> tuple[Relation, ...]:
        """Return the electricity storage."""
        return (
            Store(
                owner=self.name,
                carrier="medium_voltage",
                min_level=self.reserve * self.usable_capacity,
                max_level=self.ceiling * self.usable_capacity,
                charge_limit=self.max_power,
                discharge_limit=self.max_power,
                charge_efficiency=self.charge_efficiency,
                discharge_efficiency=self.discharge_efficiency,
                standing_loss=self.standing_loss,
                wear_cost=self.wear_cost,
            ),
        )


REFERENCE_TEMPERATURE_C: Final = 15.0
"""Temperature at which density and heat capacity of the tank's water are taken. [degC]"""

KJ_PER_MWH: Final = 3.6e6


class ChilledWaterTank(Equipment):
    """A stratified tank; its level is the cooling that it can still deliver."""

    kind: ClassVar[str] = "tank"

    volume: Annotated[float, Quantity("m3", "volume of water", above=0)]
    temperature_span: Annotated[
        float, Quantity("K", "return less supply temperature", above=1, below=30)
    ]
    useful_share: Annotated[
        float, Quantity("1", "share of the volume outside the thermocline", above=0, at_most=1)
    ] = 0.9
    power: Annotated[float, Quantity("MW", "maximum cooling in or out", above=0)]
    standing_loss: Annotated[
        float, Quantity("1", "share of the level lost per hour", at_least=0, below=0.1)
    ] = 0.0

    @property
    def capacity(self) -> float:
        """Cooling stored when full. [MWh]"""
        kilojoules = (
            fluid_flow.density(REFERENCE_TEMPERATURE_C)
            * fluid_flow.heat_capacity(REFERENCE_TEMPERATURE_C)
            * self.temperature_span
        )
        return float(self.useful_share * self.volume * kilojoules / KJ_PER_MWH)

    def relations(self) -> tuple[Relation, ...]:
        """Return the storage of chilled water."""
        return (
            Store(
                owner=self.name,
                carrier="chilled",
                min_level=0.0,
                max_level=self.capacity,
                charge_limit=self.power,
                discharge_limit=self.power,
                standing_loss=self.standing_loss,
            ),
        )
