"""Lay a typical year onto the year asked for."""

from typing import Final

import numpy as np

from telemetry.sources.record import Record
from telemetry.sources.series import Rows
from twin.axes import HOUR
from twin.errors import Fault, SeriesError

YEAR: Final = 8760
"""Hours of a typical year, which has no 29 February. [h]"""

_LEAP_DAY: Final = 59 * 24
"""Hour at which 29 February would begin. [h]"""

_DAYS_IN: Final = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
_DAYS_BEFORE: Final = np.cumsum(_DAYS_IN) - _DAYS_IN


def hour_of_year(*, month: np.ndarray, day: np.ndarray, hour: np.ndarray) -> np.ndarray:
    """Return the hour of a year of 365 days, -1 on 29 February.

    Parameters
    ----------
    month, day
        From 1.
    hour
        From 0; the hour that begins then. [h]

    Returns
    -------
    numpy.ndarray
        From 0 to 8759. [h]
    """
    found = (_DAYS_BEFORE[month - 1] + day - 1) * 24 + hour
    is_leap_day = day > _DAYS_IN[month - 1]
    return np.where(is_leap_day, -1, found)


def to_utc(hours: np.ndarray, offset: float) -> np.ndarray:
    """Return hours of the year in UTC; what falls off one end comes in at the other.

    Parameters
    ----------
    hours
        In local standard time, -1 for none. [h]
    offset
        Standard time less UTC; rounded to whole hours. [h]

    Returns
    -------
    numpy.ndarray
        In UTC, -1 for none. [h]
    """
    return np.where(hours < 0, -1, (hours - round(offset)) % YEAR)


def onto(record: Record, year: int | None) -> Rows:
    """Return typical rows at the hours of a real year.

    Parameters
    ----------
    record
        With ``hours``.
    year
        Asked for; in a leap year 29 February repeats the 28th.

    Returns
    -------
    Rows
        Stamped in UTC.

    Raises
    ------
    SeriesError
        If no year is asked for.
    """
    if year is None:
        mend = "typical weather belongs to no year; say which one it shall stand for"
        raise SeriesError(record.source, [Fault(place="year", value="", mend=mend)])
    hours = np.asarray(record.hours)
    rows = np.flatnonzero(hours >= 0)
    begin = np.datetime64(f"{year:04d}-01-01", "us")
    days = int((np.datetime64(f"{year + 1:04d}-01-01") - begin) / np.timedelta64(1, "D"))
    shift = hours[rows]
    if days * 24 > YEAR:
        twice = rows[(hours[rows] >= _LEAP_DAY - 24) & (hours[rows] < _LEAP_DAY)]
        shift = np.concatenate([shift + 24 * (shift >= _LEAP_DAY), hours[twice] + 24])
        rows = np.concatenate([rows, twice])
    return Rows(
        source=record.source,
        lines=record.lines[rows],
        stamps=begin + shift * HOUR,
        values={name: series[rows] for name, series in record.values.items()},
        notes=(*record.notes, f"a typical year, standing for {year}"),
    )
