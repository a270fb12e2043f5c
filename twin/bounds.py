"""What prices, carbon and differences of temperature can be: beyond, a unit or a point is wrong.

Greater numbers would also drown all others in a plan's sums.
"""

from collections.abc import Mapping
from typing import Final

GREATEST: Final[Mapping[str, float]] = {
    "EUR MWh-1": 1e4,  # European markets close at 4,000 to 9,999
    "EUR MW-1 h-1": 1e4,
    "EUR MW-1": 1e6,  # of a month or a year: 1,000 EUR for each kW
    "EUR kg-1": 100.0,
    "EUR m-3": 1e4,
    "EUR GB-1": 100.0,
    "K": 100.0,  # 2 degC is 275 K, and no difference
}
"""Unit -> the greatest that is believed, either way. Everything declared in it has this bound."""

GREATEST_PRICE: Final = GREATEST["EUR MWh-1"]
"""Greatest price of energy; of lateness too. [EUR MWh-1; EUR MWh-1 h-1]"""

GREATEST_CAPACITY_PRICE: Final = 1e7
"""Greatest price of storage capacity: 10,000 EUR for each kWh. [EUR MWh-1]"""

GREATEST_START_COST: Final = 1e5
"""Greatest cost of a start of one machine. [EUR]"""

GREATEST_STANDING_CHARGE: Final = 1e9
"""Greatest charge of a year that is paid whatever is taken. [EUR]"""

GREATEST_IMPORT: Final = 1e6
"""Greatest power that a meter of a connection shows: all that Europe takes, and more. [MW]"""

GREATEST_INTENSITY: Final = 3e3
"""Greatest carbon intensity of electricity: three times that of coal. [kg MWh-1]"""

GREATEST_WEIGHTS: Final[Mapping[str, tuple[float, str]]] = {
    "money": (1e3, "1"),
    "carbon": (GREATEST["EUR kg-1"], "EUR kg-1"),
    "water": (GREATEST["EUR m-3"], "EUR m-3"),
    "lateness": (GREATEST_PRICE, "EUR MWh-1 h-1"),
}
"""What a plan may weigh -> the most that it may, and the unit of that."""
