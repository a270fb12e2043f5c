"""What set points of the water must keep to, and whether a site uses any but the declared ones."""

from typing import Annotated, Literal

from twin.equipment.declaration import Declared
from twin.units import Meaning, Quantity


class SetPointRules(Declared):
    """How the set points of the water are chosen: declared and constant, or the cheapest safe ones.

    Rules with a number of their own source are those of one measured exascale plant; the others are
    assumptions.
    """

    choice: Annotated[
        Literal["declared", "temperature", "cheapest"],
        Meaning("what plans choose: nothing, the supply temperature, or flows too"),
    ] = "declared"
    chip_spread: Annotated[
        float, Quantity("K", "hottest chip above the one that is modelled", at_least=0, below=20)
    ] = 3.0
    reserve: Annotated[
        float, Quantity("K", "kept below temperature limits beside the margin", at_least=0)
    ] = 1.0
    hall_dew_point: Annotated[
        float, Quantity("degC", "highest dew point that the halls are held to", below=30)
    ] = 15.0
    dew_point_distance: Annotated[
        float, Quantity("K", "least coolant temperature above the dew point", at_least=0)
    ] = 2.0
    temperature_ramp: Annotated[
        float, Quantity("K min-1", "fastest change of a supply temperature", above=0)
    ] = 0.1
    swing: Annotated[
        float, Quantity("1", "rise of heat before flow follows, share of rating", at_least=0)
    ] = 0.2
    pumps: Annotated[
        int, Quantity("1", "equal pumps of a circuit, of which one may trip", at_least=2)
    ] = 4
    widest_range: Annotated[
        float, Quantity("1", "greatest temperature range beside the declared", at_least=1, below=4)
    ] = 1.5
    coolant_range: Annotated[
        float, Quantity("1", "greatest coolant range beside the declared", at_least=1, below=3)
    ] = 1.2
    electricity_price: Annotated[
        float, Quantity("EUR MWh-1", "price of electricity against that of water", above=0)
    ] = 80.0
