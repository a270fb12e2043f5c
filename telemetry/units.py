"""The units of the wire, and what they are in those of the house."""

from typing import Final

UNITS: Final[dict[tuple[str, str], tuple[float, float]]] = {
    ("W", "MW"): (1e-6, 0.0),
    ("kW", "MW"): (1e-3, 0.0),
    ("MW", "MW"): (1.0, 0.0),
    ("kWh", "MWh"): (1e-3, 0.0),
    ("MWh", "MWh"): (1.0, 0.0),
    ("%", "1"): (0.01, 0.0),
    ("1", "1"): (1.0, 0.0),
    ("C", "degC"): (1.0, 0.0),
    ("degC", "degC"): (1.0, 0.0),
    ("F", "degC"): (5.0 / 9.0, -160.0 / 9.0),
    ("K", "degC"): (1.0, -273.15),
    ("K", "K"): (1.0, 0.0),  # differences
    ("C", "K"): (1.0, 0.0),
    ("F", "K"): (5.0 / 9.0, 0.0),
    ("kg/s", "kg s-1"): (1.0, 0.0),
    ("L/s", "kg s-1"): (1.0, 0.0),  # a kilogram a litre: right within 2 % for our coolants
    ("LPM", "kg s-1"): (1.0 / 60.0, 0.0),
    ("L/min", "kg s-1"): (1.0 / 60.0, 0.0),
    ("m3/h", "kg s-1"): (1.0 / 3.6, 0.0),
    ("", "ms"): (1.0, 0.0),  # heartbeats carry times
}
"""(unit on the wire, canonical unit) -> factor and offset of the conversion."""
