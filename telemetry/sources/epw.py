"""Read EnergyPlus weather (EPW) and its Modelica form (.mos): the same columns, a typical year."""

from typing import Final

import numpy as np

from telemetry.sources.record import Record
from telemetry.sources.table import place, refuse
from telemetry.sources.typical import YEAR, hour_of_year, to_utc
from twin.errors import Fault, SeriesError

_FIELDS: Final[dict[str, tuple[int, float, float]]] = {
    "air_temperature": (0, 99.9, 1.0),
    "relative_humidity": (2, 999.0, 0.01),
    "air_pressure": (3, 999_999.0, 0.001),
    "global_irradiance": (7, 9_999.0, 1.0),
    "wind_speed": (15, 999.0, 1.0),
    "cloud_cover": (16, 99.0, 0.1),
}
"""Place after the dry bulb, the number that means "missing", and the factor to our unit."""

GREATEST: Final = 1e9
"""No number of a row is greater; the seconds of a year come nearest."""

_BOUNDS: Final = (90.0, 180.0, 24.0, 9000.0)
"""Greatest latitude and longitude [deg], offset from UTC [h] and elevation [m]."""

_FLAGS: Final = 6
"""Year, month, day, hour, minute and the source flags stand before the values of an EPW row."""


def read_epw(source: str, text: str) -> Record:
    """Return the typical weather of an EPW file.

    Parameters
    ----------
    source
        Name of the file.
    text
        Its text.

    Returns
    -------
    Record
        Typical weather, in UTC.

    Raises
    ------
    SeriesError
        If the file has no location, not one row an hour, or a row that cannot be read.

    Notes
    -----
    Times are local standard time the whole year and name the *end* of the hour: hour 1 is the
    interval from 00:00 to 01:00. Zones off by part of an hour are rounded.

    References
    ----------
    .. [1] U.S. Department of Energy, "EnergyPlus auxiliary programs," weather file format.
    """
    rows = text.splitlines()
    place_of = _location(source, rows[0].split(","))
    begin = 1 + next((at for at, row in enumerate(rows) if row.startswith("DATA PERIODS")), 0)
    periods = rows[begin - 1].split(",")
    if begin == 1 or periods[2:3] != ["1"]:
        mend = "the header must say DATA PERIODS with one row an hour"
        raise SeriesError(
            source, [Fault(place=f"{source}, DATA PERIODS", value=rows[begin - 1], mend=mend)]
        )
    lines = np.array([at + 1 for at in range(begin, len(rows)) if rows[at].strip()], dtype=int)
    cells = [rows[line - 1].split(",") for line in lines]
    dates = _parse(source, [row[1:4] for row in cells], lines=lines, width=3).astype(int)
    values = _parse(source, [row[_FLAGS : _FLAGS + 17] for row in cells], lines=lines, width=17)
    _refuse_dates(source, dates, lines=lines)
    hours = hour_of_year(month=dates[:, 0], day=dates[:, 1], hour=dates[:, 2] - 1)
    return Record(
        source=source,
        lines=lines,
        hours=to_utc(hours, place_of["offset"]),
        values=_columns(values),
        latitude=place_of["latitude"],
        longitude=place_of["longitude"],
        elevation=place_of["elevation"],
    )


def read_mos(source: str, text: str) -> Record:
    """Return the typical weather of a Modelica weather file.

    Parameters
    ----------
    source
        Name of the file.
    text
        Its text.

    Returns
    -------
    Record
        Typical weather, in UTC.

    Raises
    ------
    SeriesError
        If the file has no location, or a row that cannot be read.

    Notes
    -----
    The first column counts seconds of local standard time. As in EPW a row closes its hour, so
    3600 s is the interval from 00:00 to 01:00. Converters put a row at 0 s as well, to have the
    whole year covered: it is the first hour's if that one is missing and the year's last hour has
    a row of its own, else it is the last hour's, or a copy that is dropped.

    References
    ----------
    .. [1] M. Wetter et al., "Modelica Buildings library," Buildings.BoundaryConditions.
       WeatherData.ReaderTMY3.
    """
    rows = text.splitlines()
    head = next((row for row in rows if row.startswith("#LOCATION")), "")
    place_of = _location(source, head.split(","))
    lines = np.array(
        [at + 1 for at, row in enumerate(rows) if row.strip()[:1].isdigit()], dtype=int
    )
    cells = _parse(source, [rows[line - 1].split()[:18] for line in lines], lines=lines, width=18)
    ends = np.round(cells[:, 0] / 3600.0).astype(int)
    hours = ends - 1
    if 0 in ends[:1]:
        has_first, has_last = 1 in ends, YEAR in ends
        hours[0] = (-1 if has_first else 0) if has_last else YEAR - 1
    return Record(
        source=source,
        lines=lines,
        hours=to_utc(hours, place_of["offset"]),
        values=_columns(cells[:, 1:]),
        latitude=place_of["latitude"],
        longitude=place_of["longitude"],
        elevation=place_of["elevation"],
    )


def _location(source: str, cells: list[str]) -> dict[str, float]:
    """Return latitude, longitude, offset from UTC [h] and elevation of a LOCATION line."""
    names = ("latitude", "longitude", "offset", "elevation")
    try:
        numbers = [float(cell) for cell in cells[6:10]]
    except ValueError:
        numbers = []
    if len(numbers) != len(names) or not (np.abs(numbers) <= _BOUNDS).all():
        mend = "write LOCATION with latitude, longitude, zone and elevation in fields 7 to 10"
        raise SeriesError(
            source, [Fault(place=f"{source}, LOCATION", value=",".join(cells), mend=mend)]
        )
    return dict(zip(names, numbers, strict=True))


def _refuse_dates(source: str, dates: np.ndarray, *, lines: np.ndarray) -> None:
    """Refuse months, days and hours that no calendar has."""
    is_bad = ((dates < 1) | (dates > np.array([12, 31, 24]))).any(axis=1)
    faults = [
        Fault(
            place=place(source, row=lines[row], name="month, day, hour"),
            value=", ".join(map(str, dates[row])),
            mend="must lie in 1 to 12, 1 to 31 and 1 to 24",
        )
        for row in np.flatnonzero(is_bad)
    ]
    refuse(source, faults)


def _parse(source: str, cells: list[list[str]], *, lines: np.ndarray, width: int) -> np.ndarray:
    faults = []
    for line, row in zip(lines, cells, strict=True):
        try:
            numbers = np.array([float(cell) for cell in row])
            is_good = len(row) == width and bool((np.abs(numbers) < GREATEST).all())
        except ValueError:
            is_good = False
        if not is_good:
            mend = f"{width} numbers are wanted; mend or drop the row"
            faults.append(
                Fault(place=place(source, row=line, name="values"), value=",".join(row), mend=mend)
            )
    refuse(source, faults)
    return np.array(cells, dtype=float).reshape(len(lines), width)


def _columns(values: np.ndarray) -> dict[str, np.ndarray]:
    columns = {}
    for name, (at, missing, factor) in _FIELDS.items():
        column = values[:, at]
        columns[name] = factor * np.where(np.isclose(column, missing), np.nan, column)
    return columns
