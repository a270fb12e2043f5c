"""What a weather file holds, before it is laid on a time axis."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Record:
    """Weather rows in canonical units, and where they were measured.

    Attributes
    ----------
    source
        Name of the file.
    lines
        Where each row stands in it.
    stamps
        Start of each row's interval, for actual weather. [datetime64, UTC]
    hours
        Hour of a year of 365 days that each row opens, in UTC, for typical weather. [h]
    values
        Values by name; NaN where the file is blank.
    latitude, longitude
        North and east. [deg]
    elevation
        Above the sea. [m]
    notes
        What was decided on the way.
    """

    source: str
    lines: np.ndarray
    stamps: np.ndarray | None = None
    hours: np.ndarray | None = None
    values: dict[str, np.ndarray]
    latitude: float
    longitude: float
    elevation: float
    notes: tuple[str, ...] = ()
