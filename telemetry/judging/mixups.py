"""Readings that come in another unit than the one before: told by the number alone, and with care.

A number within its band is doubted only where it is the last one, converted, and far from it. What
follows it as closely is doubted too, since a gateway that changed its unit goes on so; a power that
merely fell to almost nothing soon moves otherwise.
"""

from typing import Final

import numpy as np

THOUSANDTH: Final = (1e3, 0.0)
HUNDREDTH: Final = (100.0, 0.0)
FAHRENHEIT: Final = (5.0 / 9.0, -160.0 / 9.0)

IN_BAND: Final[dict[str, tuple[tuple[float, float], ...]]] = {
    "MW": (THOUSANDTH,),
    "MWh": (THOUSANDTH, HUNDREDTH),
    "1": (HUNDREDTH,),
    "degC": (FAHRENHEIT,),
}
"""Canonical unit -> factor and offset by which a number in a wrong unit is the one before: MW sent
for kW, a share for per cent, degrees Fahrenheit for Celsius. What is too large by a factor lies
outside its band."""

SAME: Final = 0.005
"""Share by which a converted number may differ from the one before. [1]"""

FOLLOWS: Final = 0.1
"""Share by which the next number in a wrong unit may differ from the one before it. [1]"""

CLEAR: Final = 0.05
"""Share of the band's greater end below which a number says nothing of its unit. [1]"""

DEGREE: Final = 0.5
"""How far a converted temperature may be from the one before. [K]"""

DEGREES: Final = 3.0
"""How far the next one in a wrong unit may be from the one before it. [K]"""

LEAP: Final = 10.0
"""Change of a temperature that is too large for a machine between two readings. [K]"""

SOON: Final = np.timedelta64(1, "h")
"""Age of a reading from which on it says nothing of the unit of the next."""


def is_other_unit(value: float, before: float, *, unit: str, greatest: float) -> bool:
    """Return whether a number within its band is the one before it in another unit.

    Parameters
    ----------
    value, before
        The number and the last that was believed, in the canonical unit.
    unit
        The canonical unit.
    greatest
        Greatest absolute value of the band.
    """
    if unit == "degC":
        is_telling, near = abs(value - before) > LEAP, DEGREE
    else:
        is_telling, near = abs(before) >= CLEAR * greatest, SAME * abs(before)
    if not is_telling:
        return False
    for factor, offset in IN_BAND.get(unit, ()):
        if abs(value * factor + offset - before) <= near:
            return True
    return False


def goes_on(value: float, doubted: float, before: float, *, unit: str) -> bool:
    """Return whether a number follows one that was in another unit, and not the one believed.

    Parameters
    ----------
    value, doubted, before
        The number, the last that was doubted, and the last that was believed.
    unit
        The canonical unit.
    """
    away = abs(value - doubted)
    near = DEGREES if unit == "degC" else FOLLOWS * abs(doubted)
    return away <= near and away < abs(value - before)
