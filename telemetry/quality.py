"""Whether a reading may be believed: one verdict, by thresholds of one table."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

FUTURE: Final = np.timedelta64(5, "s")
"""How far a clock of the plant may be ahead of ours."""

LATE: Final = np.timedelta64(15, "m")
"""How old a reading may be when it comes; older ones are kept as history, and are not the state."""


class Flag(StrEnum):
    """The verdict on a reading."""

    GOOD = "good"
    BAD_SOURCE = "bad_source"
    RANGE = "range"
    RATE = "rate"
    STUCK = "stuck"
    LATE = "late"
    FUTURE = "future"
    STALE = "stale"


@dataclass(frozen=True, kw_only=True)
class Band:
    """What is plausible for a variable, in its canonical unit.

    Attributes
    ----------
    low, high
        Least and greatest value.
    rate
        Greatest change in a second, between readings.
    stuck
        How long a sensor may show one number to the last digit; None for what may stand still.
    """

    low: float
    high: float
    rate: float = np.inf
    stuck: np.timedelta64 | None = None
