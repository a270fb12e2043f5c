"""The water of a circuit: how much heat it takes to warm it."""

from typing import Annotated, Final, Literal

from twin.equipment.declaration import Declared
from twin.physics import water
from twin.units import Meaning, Quantity

LIQUIDS: Final = {"water": water.WATER, "pg25": water.PG25}
"""Liquids that a circuit may hold, by the name they have in site files."""

_MEAN_TEMPERATURE = 30.0  # degC, at which density and heat capacity are taken
_MEGAJOULES = 3600.0  # in a MWh
_KILOJOULES = 1000.0  # in a MJ


class Loop(Declared):
    """The liquid in the pipes, headers and exchangers of one circuit."""

    volume: Annotated[float, Quantity("m3", "volume of the liquid", above=0)]
    fluid: Annotated[
        Literal["water", "pg25"], Meaning("water, or water with a quarter of propylene glycol")
    ] = "water"
    valve_lag: Annotated[
        float, Quantity("s", "time constant of the valve that holds the supply", at_least=0)
    ] = 0.0
    supply_share: Annotated[
        float, Quantity("1", "share of the volume between plant and halls", at_least=0, below=0.9)
    ] = 0.0

    @property
    def liquid(self) -> water.Liquid:
        """Properties of the liquid."""
        return LIQUIDS[self.fluid]

    @property
    def heat_capacity(self) -> float:
        """Heat that warms the whole loop by one kelvin. [MWh K-1]"""
        mass = self.volume * float(water.density(_MEAN_TEMPERATURE, self.liquid))
        per_kelvin = mass * float(water.heat_capacity(_MEAN_TEMPERATURE, self.liquid))
        return per_kelvin / _KILOJOULES / _MEGAJOULES
