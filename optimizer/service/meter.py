"""Quarter-hours of a connection's meter: from a file, or from the course of a back-test."""

from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import xarray as xr

from twin.axes import HOUR, QUARTER
from twin.errors import Fault, SeriesError
from twin.exchange import net_import
from twin.physics import FloatArray
from twin.tariffs.metered import check
from twin.tariffs.periods import Moments

TIMES: Final = ("time_utc", "time", "timestamp")
"""Columns that may hold the starts of quarter-hours."""

POWERS: Final = {
    "import_mw": 1.0,
    "import_kw": 1e-3,
    "import_mwh": float(HOUR / QUARTER),
    "import_kwh": 1e-3 * float(HOUR / QUARTER),
}
"""Columns that may hold the import, and MW of each of their units."""

_OFFSET: Final = r"(?:Z|[+-]\d{2}:?\d{2})\s*$"


def read_meter(path: Path) -> tuple[Moments, FloatArray]:
    """Return the quarter-hours of a meter's file.

    Parameters
    ----------
    path
        A CSV with the start of every quarter-hour in ``time_utc``, or with its offset from UTC in
        ``time`` or ``timestamp``, and the import in ``import_mw``, ``import_kw`` (means) or
        ``import_mwh``, ``import_kwh`` (energy of the quarter-hour).

    Returns
    -------
    tuple of numpy.ndarray
        Starts, UTC [datetime64], and mean import. [MW]

    Raises
    ------
    SeriesError
        If a column is missing, a time has no offset, a quarter-hour is missing, or a value is no
        number.
    """
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise _fault(path, "file", "", f"cannot be read as CSV: {error}") from error
    time = next((name for name in TIMES if name in table), None)
    power = next((name for name in POWERS if name in table), None)
    if time is None or power is None:
        wanted = f"needs one of {', '.join(TIMES)} and one of {', '.join(POWERS)}"
        raise _fault(path, "columns", ", ".join(map(str, table.columns)), wanted)
    starts = _starts(path, time, table[time])
    values = pd.to_numeric(table[power], errors="coerce").to_numpy(dtype=float)
    check(starts, values, source=path.name)
    return starts, POWERS[power] * values


def of_course(course: xr.Dataset) -> tuple[Moments, FloatArray]:
    """Return the quarter-hours that a back-test's plant metered.

    Parameters
    ----------
    course
        Means of quarter-hours, as :func:`optimizer.service.trials.course.course_of` gives.

    Returns
    -------
    tuple of numpy.ndarray
        Starts, UTC [datetime64], and import less export. [MW]
    """
    net = net_import(course)
    return course["time"].to_numpy().astype("datetime64[us]"), net.to_numpy().astype(float)


def _starts(path: Path, name: str, column: "pd.Series[str]") -> Moments:
    bare = ~column.astype(str).str.contains(_OFFSET, regex=True)
    if name != "time_utc" and bare.any():
        mend = "times without an offset are local or UTC: call the column time_utc, or add offsets"
        raise _fault(path, name, str(column[bare].iloc[0]), mend)
    try:
        stamps = pd.DatetimeIndex(pd.to_datetime(column, utc=True, format="ISO8601"))
    except ValueError as error:
        raise _fault(path, name, "", f"write ISO times ({error})") from error
    return np.asarray(stamps.tz_localize(None).to_numpy(), dtype="datetime64[us]")


def _fault(path: Path, place: str, value: str, mend: str) -> SeriesError:
    return SeriesError(str(path), [Fault(place=place, value=value, mend=mend)])
