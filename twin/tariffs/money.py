"""Money and quantities as bills write them: decimal, rounded half up."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Final

CENT: Final = Decimal("0.01")
THOUSANDTH: Final = Decimal("0.001")
"""A kWh of a MWh, a kW of a MW: what meters and bills count in."""

FINEST: Final = Decimal("1e-12")
"""Less than this is what division left over. [EUR]"""

DIGITS: Final = 12
"""Significant digits of a number that a file gave; a float carries three or four more. [1]"""


def decimal(value: float) -> Decimal:
    """Return a declared number as it was written: 12.3, not 12.300000000000001."""
    return Decimal(f"{value:.{DIGITS}g}")


def counted(value: float) -> Decimal:
    """Return a quantity in whole kWh of MWh, or whole kW of MW."""
    return decimal(value).quantize(THOUSANDTH, rounding=ROUND_HALF_UP)


def cents(money: Decimal) -> Decimal:
    """Return money in whole cents. [EUR]

    A twelfth of a year has no end of digits: what lies that near to half a cent is half a cent.
    """
    return money.quantize(FINEST).quantize(CENT, rounding=ROUND_HALF_UP)
