"""Chilled-water tank: a store between the return and the supply temperature of its circuit."""

from typing import Annotated, ClassVar, Final

from twin.equipment.declaration import Equipment
from twin.physics import water
from twin.relations import Relation, Store
from twin.units import Quantity

COLD: Final = 15.0
"""Temperature at which the water of the tank is weighed. [degC]"""

KILOJOULES: Final = 3.6e6
"""kJ in a MWh."""


class Tank(Equipment):
    """A stratified tank; the level is the cooling it can still give."""

    kind: ClassVar[str] = "tank"

    volume: Annotated[float, Quantity("m3", "volume of water", above=0)]
    temperature_span: Annotated[
        float, Quantity("K", "return less supply temperature", above=1, below=30)
    ]
    useful_share: Annotated[
        float, Quantity("1", "share of the volume outside the thermocline", above=0, at_most=1)
    ] = 0.9
    power: Annotated[float, Quantity("MW", "most cooling in or out", above=0)]
    standing_loss: Annotated[
        float, Quantity("1", "share of the level lost in an hour", at_least=0, below=0.1)
    ] = 0.0

    @property
    def capacity(self) -> float:
        """Cooling kept when full. [MWh]"""
        kilojoules = water.density(COLD) * water.heat_capacity(COLD) * self.temperature_span
        return float(self.useful_share * self.volume * kilojoules / KILOJOULES)

    def relations(self) -> tuple[Relation, ...]:
        """Return the store of chilled water."""
        return (
            Store(
                owner=self.name,
                carrier="chilled",
                low=0.0,
                high=self.capacity,
                charge_limit=self.power,
                discharge_limit=self.power,
                standing_loss=self.standing_loss,
            ),
        )
