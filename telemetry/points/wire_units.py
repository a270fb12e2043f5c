"""Units in messages of a facility: their spellings, and conversions to canonical units."""

from typing import Final

LITRES_PER_GALLON: Final = 3.785411784
"""Litres of a US gallon, for flows in gallons per minute. [L]"""

UNIT_CONVERSIONS: Final[dict[tuple[str, str], tuple[float, float]]] = {
    ("W", "MW"): (1e-6, 0.0),
    ("kW", "MW"): (1e-3, 0.0),
    ("MW", "MW"): (1.0, 0.0),
    ("GW", "MW"): (1e3, 0.0),
    ("Wh", "MWh"): (1e-6, 0.0),
    ("kWh", "MWh"): (1e-3, 0.0),
    ("MWh", "MWh"): (1.0, 0.0),
    ("GWh", "MWh"): (1e3, 0.0),
    ("%", "1"): (0.01, 0.0),
    ("1", "1"): (1.0, 0.0),
    ("C", "degC"): (1.0, 0.0),
    ("degC", "degC"): (1.0, 0.0),
    ("F", "degC"): (5.0 / 9.0, -160.0 / 9.0),
    ("K", "degC"): (1.0, -273.15),
    ("K", "K"): (1.0, 0.0),  # differences
    ("C", "K"): (1.0, 0.0),
    ("degC", "K"): (1.0, 0.0),
    ("F", "K"): (5.0 / 9.0, 0.0),
    ("kg/s", "kg s-1"): (1.0, 0.0),
    ("kg/h", "kg s-1"): (1.0 / 3600.0, 0.0),
    ("L/s", "kg s-1"): (1.0, 0.0),  # 1 kg/L, within 2 % for the coolants
    ("LPM", "kg s-1"): (1.0 / 60.0, 0.0),
    ("L/min", "kg s-1"): (1.0 / 60.0, 0.0),
    ("L/h", "kg s-1"): (1.0 / 3600.0, 0.0),
    ("m3/h", "kg s-1"): (1.0 / 3.6, 0.0),
    ("m3/s", "kg s-1"): (1e3, 0.0),
    ("GPM", "kg s-1"): (LITRES_PER_GALLON / 60.0, 0.0),
    ("", "ms"): (1.0, 0.0),  # heartbeats carry times
}
"""(unit in messages, canonical unit) -> factor and offset of the conversion."""

UNIT_SPELLINGS: Final = {
    "degF": "F",
    "degK": "K",
    "celsius": "C",
    "fahrenheit": "F",
    "kelvin": "K",
    "deltaC": "C",
    "percent": "%",
    "pct": "%",
    "%RH": "%",
    "RH%": "%",
    "LPS": "L/s",
    "l/sec": "L/s",
    "lps": "L/s",
    "litre/s": "L/s",
    "l/minute": "L/min",
    "CMH": "m3/h",
    "m3/hr": "m3/h",
    "kg/hr": "kg/h",
    "kg/sec": "kg/s",
    "USGPM": "GPM",
    "gal/min": "GPM",
}
"""Other spellings of vendors -> unit of the table."""

_LETTERS: Final = str.maketrans({"³": "3", "°": "deg", "º": "deg", "^": "", " ": "", "_": ""})
_EXACT: Final = frozenset({"MW", "MWh"})
"""Units whose case matters: a milliwatt is not a megawatt."""

_KNOWN: Final = {unit.casefold(): unit for unit, _ in UNIT_CONVERSIONS if unit not in _EXACT} | {
    spelled.casefold(): unit for spelled, unit in UNIT_SPELLINGS.items()
}


_CANONICAL: Final = sorted({canonical for _, canonical in UNIT_CONVERSIONS})


def unit_identity(unit: str) -> object:
    """Return a value that is equal for units of the same meaning, however they are spelled."""
    found = [unit_conversion(unit, canonical) for canonical in _CANONICAL]
    return tuple(found) if any(found) else unit


def unit_conversion(unit: str, canonical: str) -> tuple[float, float] | None:
    """Return factor and offset to a canonical unit, or None if there is no such conversion.

    The vendor's unit may be in any case where that is unambiguous, with ``m³``, ``°C``.
    """
    if (unit, canonical) in UNIT_CONVERSIONS:
        return UNIT_CONVERSIONS[unit, canonical]
    plain = unit.translate(_LETTERS)
    if plain == "MWH":
        plain = "MWh"
    known = plain if plain in _EXACT else _KNOWN.get(plain.casefold(), "")
    return UNIT_CONVERSIONS.get((known, canonical)) if known else None
