"""Readings of a commit by second, and how far the commit reaches in the journals.

A reading belongs to the second of its stamp. Of one label's readings in a second the newest is
stored, but a bad one never replaces a good one.
"""

from telemetry.archive.layout import QUALITY_CODES
from telemetry.quality.checks import QualityFlag

type StoredReading = tuple[float, int, int]
"""Value of a point in its own unit, the code of its flag, and its time in its second. [us]"""


def is_duplicate(stored: StoredReading, value: StoredReading) -> bool:
    """Return whether a value is the same reading as the stored one, whose flag then stays."""
    return stored[2] == value[2] and (
        stored[0] == value[0] or stored[0] != stored[0] != value[0] != value[0]
    )


def preferred_reading(stored: StoredReading, value: StoredReading) -> StoredReading:
    """Return the value of a second to store: the good one of good and bad, else the newer."""
    bad = QUALITY_CODES[QualityFlag.BAD_SOURCE]
    if (stored[1] == bad) != (value[1] == bad):
        return stored if value[1] == bad else value
    return stored if value[2] < stored[2] else value
