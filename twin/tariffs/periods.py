"""Billing periods: calendar months of the site's own clock, and what is carried across them."""

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twin.axes import utc

USUAL: Final = 168.0
"""Time over which the mean import is taken: a week has nights, and days without work. [h]"""

type Moments = NDArray[np.datetime64]


def months(moments: Moments, time_zone: str) -> NDArray[np.int64]:
    """Return the month in which each moment lies, as the number of months since January of year 0.

    Parameters
    ----------
    moments
        Starts of intervals, UTC. [datetime64]
    time_zone
        IANA zone whose calendar counts.
    """
    local = pd.DatetimeIndex(moments, tz="UTC").tz_convert(time_zone)
    return np.asarray(12 * local.year + local.month - 1, dtype=np.int64)


def month_start(moment: np.datetime64, time_zone: str) -> np.datetime64:
    """Return when the month began in which a moment lies. [datetime64, UTC]

    Parameters
    ----------
    moment
        The moment, UTC; the first of a month belongs to it.
    time_zone
        IANA zone whose calendar counts.
    """
    local = pd.Timestamp(moment, tz="UTC").tz_convert(time_zone)
    first = pd.Timestamp(year=local.year, month=local.month, day=1, tz=time_zone)
    return utc(first)


def month_end(moment: np.datetime64, time_zone: str) -> np.datetime64:
    """Return when the month ends in which a moment lies. [datetime64, UTC]

    Parameters
    ----------
    moment
        The moment, UTC; the first of a month belongs to it.
    time_zone
        IANA zone whose calendar counts.
    """
    local = pd.Timestamp(moment, tz="UTC").tz_convert(time_zone)
    year, month = local.year + local.month // 12, local.month % 12 + 1
    return utc(pd.Timestamp(year=year, month=month, day=1, tz=time_zone))


def year_ends(moment: np.datetime64, time_zone: str) -> tuple[np.datetime64, np.datetime64]:
    """Return when the calendar year of a moment begins and ends. [datetime64, UTC]

    Parameters
    ----------
    moment
        The moment, UTC.
    time_zone
        IANA zone whose calendar counts.
    """
    year = pd.Timestamp(moment, tz="UTC").tz_convert(time_zone).year
    begin, end = (pd.Timestamp(year=y, month=1, day=1, tz=time_zone) for y in (year, year + 1))
    return utc(begin), utc(end)


def usual(before: float, imported: float, hours: float) -> float:
    """Return the mean import of about the last week, some time later.

    Parameters
    ----------
    before
        What it was. [MW]
    imported
        Mean import since. [MW]
    hours
        How long since. [h]

    Returns
    -------
    float
        The mean in which what is a week old counts 1/e of what is new. [MW] It never exceeds the
        greatest of what went into it, so within one month it stays below the running peak.
    """
    return before + (imported - before) * -float(np.expm1(-hours / USUAL))
