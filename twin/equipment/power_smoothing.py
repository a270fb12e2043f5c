"""Power smoothing of a rack: what its accelerators and its power shelves do about swings."""

import math
from typing import Annotated

from twin.equipment.declaration import Declared
from twin.units import Quantity


class PowerSmoothing(Declared):
    """Floor, ramps and hysteresis of a rack's accelerators, and the store of its power shelves.

    A floor burns what lies below it: it steadies a load and is never a reduction for sale.
    """

    floor: Annotated[
        float, Quantity("1", "power held while work runs, share of rack_power", at_least=0, below=1)
    ] = 0.0
    ramp_up: (
        Annotated[float, Quantity("MW s-1", "fastest rise of a rack's power", above=0)] | None
    ) = None
    ramp_down: (
        Annotated[float, Quantity("MW s-1", "fastest fall of a rack's power", above=0)] | None
    ) = None
    hysteresis: Annotated[
        float, Quantity("s", "time for which the floor is held after work", at_least=0, at_most=60)
    ] = 0.0
    storage: Annotated[
        float, Quantity("MJ", "energy in the store of a rack's power shelves", at_least=0)
    ] = 0.0

    @property
    def ramps(self) -> tuple[float, float]:
        """Fastest rise and fall, infinite where none is declared. [MW s-1]"""
        up, down = self.ramp_up, self.ramp_down
        return math.inf if up is None else up, math.inf if down is None else down
