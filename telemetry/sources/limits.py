"""What a value of a series can be at all; beyond it a file is wrong, not extreme."""

from typing import Final

import numpy as np

from telemetry.sources.table import place, refuse
from twin.errors import Fault
from twin.units import written
from twin.vocabulary import term

LIMITS: Final[dict[str, tuple[float, float]]] = {
    "electricity_price": (-10_000.0, 10_000.0),
    "day_ahead_position": (-10_000.0, 10_000.0),
    "imbalance_short_price": (-100_000.0, 100_000.0),
    "imbalance_long_price": (-100_000.0, 100_000.0),
    "reserve_price": (-10_000.0, 10_000.0),
    "reserve_held": (0.0, 10_000.0),
    "carbon_intensity": (0.0, 3_000.0),
    "air_temperature": (-60.0, 60.0),
    "relative_humidity": (0.0, 1.05),
    "air_pressure": (45.0, 110.0),
    "wind_speed": (0.0, 120.0),
    "cloud_cover": (0.0, 1.0),
    "global_irradiance": (-20.0, 1_600.0),
    "hall_power": (0.0, 10_000.0),
}
"""Least and greatest value believed, in canonical units."""


def check_limits(source: str, values: dict[str, np.ndarray], *, lines: np.ndarray) -> None:
    """Refuse a file that holds an infinite or an absurd value.

    Parameters
    ----------
    source
        Name of the file.
    values
        Values by name, in canonical units; NaN is a blank and passes.
    lines
        Row of each value in the file.

    Raises
    ------
    SeriesError
        If a value lies outside its limits; names the rows.
    """
    faults = []
    for name, series in values.items():
        low, high = LIMITS[name]
        unit = "" if term(name).unit == "1" else f" {written(term(name).unit)}"
        is_bad = ~np.isnan(series) & ~((series >= low) & (series <= high))
        faults += [
            Fault(
                place=place(source, row=lines[row], name=name),
                value=f"{series[row]:g}{unit}",
                mend=f"must lie between {low:g} and {high:g}{unit}; correct or blank it",
            )
            for row in np.flatnonzero(is_bad)
        ]
    refuse(source, faults)
