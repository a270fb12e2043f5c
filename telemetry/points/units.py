"""The units of the wire, and what they are in those of the house."""

from typing import Final

LITRES_PER_GALLON: Final = 3.785411784
"""Litres of a US gallon: who counts in gallons a minute counts in these. [L]"""

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
    ("L/s", "kg s-1"): (1.0, 0.0),  # a kilogram a litre: right within 2 % for our coolants
    ("LPM", "kg s-1"): (1.0 / 60.0, 0.0),
    ("L/min", "kg s-1"): (1.0 / 60.0, 0.0),
    ("L/h", "kg s-1"): (1.0 / 3600.0, 0.0),
    ("m3/h", "kg s-1"): (1.0 / 3.6, 0.0),
    ("m3/s", "kg s-1"): (1e3, 0.0),
    ("GPM", "kg s-1"): (LITRES_PER_GALLON / 60.0, 0.0),
    ("", "ms"): (1.0, 0.0),  # heartbeats carry times
}
"""(unit on the wire, canonical unit) -> factor and offset of the conversion."""

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
"""What else vendors write -> the unit of the table."""

_LETTERS: Final = str.maketrans({"³": "3", "°": "deg", "º": "deg", "^": "", " ": "", "_": ""})
_EXACT: Final = frozenset({"MW", "MWh"})
"""Units that are others in small letters: a milliwatt is no megawatt."""

_KNOWN: Final = {unit.casefold(): unit for unit, _ in UNIT_CONVERSIONS if unit not in _EXACT} | {
    spelled.casefold(): unit for spelled, unit in UNIT_SPELLINGS.items()
}


_CANONICAL: Final = sorted({canonical for _, canonical in UNIT_CONVERSIONS})


def unit_identity(unit: str) -> object:
    """Return what is equal for units of the wire that mean the same, however they are spelled."""
    found = [unit_conversion(unit, canonical) for canonical in _CANONICAL]
    return tuple(found) if any(found) else unit


def unit_conversion(unit: str, canonical: str) -> tuple[float, float] | None:
    """Return factor and offset from a unit of the wire to a canonical one.

    Parameters
    ----------
    unit
        As a vendor writes it: in any case where that tells nothing apart, with ``m³``, ``°C``.
    canonical
        A unit of the vocabulary.

    Returns
    -------
    tuple of float or None
        None if there is no such conversion.
    """
    if (unit, canonical) in UNIT_CONVERSIONS:
        return UNIT_CONVERSIONS[unit, canonical]
    plain = unit.translate(_LETTERS)
    if plain == "MWH":
        plain = "MWh"
    known = plain if plain in _EXACT else _KNOWN.get(plain.casefold(), "")
    return UNIT_CONVERSIONS.get((known, canonical)) if known else None
