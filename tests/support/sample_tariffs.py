"""Tariffs of every kind with made-up prices, and quarter-hours to bill by them."""

import numpy as np

from twin import time_axes
from twin.markets.tariffs import Tariff
from twin.time_axes import QUARTER_HOUR

BERLIN, MADRID, STOCKHOLM = "Europe/Berlin", "Europe/Madrid", "Europe/Stockholm"
ABOUT = {"status": "assumed", "source": "assumed"}
YEAR = {"name": "sample", "valid_from": "2026-01-01", "valid_to": "2027-01-01", **ABOUT}


def tariff(**rules):
    return Tariff.model_validate(YEAR | rules)


def quarters(first, until):
    """Return the starts of all quarter-hours between two moments."""
    begin, end = time_axes.to_utc(first), time_axes.to_utc(until)
    return begin + np.arange(round((end - begin) / QUARTER_HOUR)) * QUARTER_HOUR


WHOLE_YEAR = quarters("2025-12-31T23:00", "2026-12-31T23:00")
"""2026 in Berlin: 35,040 quarter-hours."""

EVENINGS = {"months": [1, 2, 12], "days": "working", "hours": ["16:30-19:30"]}

GERMAN = {
    "utilisation": {
        "power_price": "100 EUR/kW",
        "energy_price": "0.005 EUR/kWh",
        "power_price_below": "20 EUR/kW",
        "energy_price_below": "0.04 EUR/kWh",
    },
    "energy": [{"name": "levies", "price": "20.50 EUR/MWh", "is_levy": True}],
    "standing": [{"name": "metering", "price": "1200 EUR"}],
    "band_load": {
        "valid_from": "2014-01-01", **ABOUT, "least_energy": "10 GWh",
        "classes": [
            {"hours": "7000 h", "share": 0.20},
            {"hours": "7500 h", "share": 0.15},
            {"hours": "8000 h", "share": 0.10},
        ],
    },
    "atypical": {
        "valid_from": "2014-01-01", **ABOUT, "windows": [EVENINGS],
        "least_share": 0.2, "least_shift": "10 %", "least_power": "100 kW",
    },
}  # fmt: skip


def spanish_days(*seasons):
    """Return the rows of six time classes: months, then the dear and the middle hours' class."""
    rows = []
    for months, dear, middle in seasons:
        days = {"months": months, "days": "working"}
        rows.append({"name": dear, **days, "hours": ["9-14", "18-22"]})
        rows.append({"name": middle, **days, "hours": ["8-9", "14-18", "22-24"]})
    return [*rows, {"name": "P6"}]


SIX_PERIODS = spanish_days(
    ([1, 2, 7, 12], "P1", "P2"),
    ([3, 11], "P2", "P3"),
    ([6, 8, 9], "P3", "P4"),
    ([4, 5, 10], "P4", "P5"),
)

SPANISH = {
    "year_by": "days",
    "holidays": ["2026-01-01", "2026-01-06"],
    "periods": SIX_PERIODS,
    "energy": [
        {"name": f"energy {name}", "price": f"{price} EUR/MWh", "periods": [name]}
        for name, price in (("P1", 30.123), ("P2", 20.5), ("P6", 1.27))
    ],
    "contracted": [
        {"period": name, "power": f"{power} MW", "price": f"{price} EUR/kW", "excess_price": excess}
        for name, power, price, excess in (
            ("P1", 18, 20, "1.5 EUR/kW"),
            ("P2", 20, 15, "0.75 EUR/kW"),
            ("P3", 20, 5, "0.25 EUR/kW"),
            ("P4", 20, 4, "0.20 EUR/kW"),
            ("P5", 20, 3, "0.15 EUR/kW"),
            ("P6", 25, 1, "0.05 EUR/kW"),
        )
    ],
    "taxes": [{"name": "electricity tax", "share": "5.11269632 %"}],
}
"""The form of a Spanish bill of six periods; the prices are none that anyone published."""


def euros(found):
    """Return the lines of a bill as money by rule."""
    return {line.rule.split(",")[0]: line.money for line in found.lines}
