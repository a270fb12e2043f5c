"""Which of two readings of one label in one second the archive stores.

Within a commit the newest reading wins, but a bad one never replaces a good one. A late reading
replaces an archived one only if the archived one is bad and the late one is not. A late rack batch
replaces nothing of a rack that has any chip in that second.
"""

import numpy as np
from numpy.typing import NDArray

from telemetry.archive.layout import NO_READING_QUALITY, QUALITY_CODES, AnyArray
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


def keeps_archived_points(archived: AnyArray, late: AnyArray) -> NDArray[np.bool_]:
    """Return which archived readings of points late ones do not replace, by their quality codes.

    A reading in time stays with its flag, unless its source called it bad and the late one is not.
    The order of the two is unknown, and most late readings are duplicates.
    """
    bad = QUALITY_CODES[QualityFlag.BAD_SOURCE]
    is_improved = (archived == bad) & (late != bad)
    return np.asarray((archived != NO_READING_QUALITY) & ~is_improved)


def keeps_archived_racks(archived: AnyArray) -> NDArray[np.bool_]:
    """Return which racks have any chip, from values on (second, rack, chip).

    Late values do not replace these: which of two batches is newer is unknown, and chips of two
    batches must not mix.
    """
    return np.asarray(~np.isnan(archived).all(axis=2))
