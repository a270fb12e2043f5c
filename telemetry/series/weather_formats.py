"""Read EnergyPlus weather (EPW) and its Modelica form (.mos): the same columns, a typical year.

Read an Open-Meteo answer: parallel arrays with their units beside them.

Read PVGIS answers: hours of actual years, or a typical year.

What a weather file holds, before it is laid on a time axis.

Lay a typical year onto the year asked for.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from telemetry.series.intervals import SeriesRows
from telemetry.series.provider_formats import (
    MAX_EPOCH_S,
    JsonEntry,
    OpenMeteoResponse,
    PvgisResponse,
    json_numbers,
)
from telemetry.series.table import cell_location, raise_faults
from telemetry.series.timestamps import parse_iso
from twin.errors import SeriesError, ValidationIssue
from twin.time_axes import HOUR

_FIELDS: Final[dict[str, tuple[int, float, float]]] = {
    "air_temperature": (0, 99.9, 1.0),
    "relative_humidity": (2, 999.0, 0.01),
    "air_pressure": (3, 999_999.0, 0.001),
    "global_irradiance": (7, 9_999.0, 1.0),
    "wind_speed": (15, 999.0, 1.0),
    "cloud_cover": (16, 99.0, 0.1),
}
"""Place after the dry bulb, the number that means "missing", and the factor to our unit."""

MAX_ABSOLUTE_VALUE: Final = 1e9
"""No number of a row is greater; the seconds of a year come nearest."""

_BOUNDS: Final = (90.0, 180.0, 24.0, 9000.0)
"""Greatest latitude and longitude [deg], offset from UTC [h] and elevation [m]."""

_FLAGS: Final = 6
"""Year, month, day, hour, minute and the source flags stand before the values of an EPW row."""


@dataclass(frozen=True, kw_only=True)
class WeatherRows:
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


def read_epw(source: str, text: str) -> WeatherRows:
    """Return the typical weather of an EPW file.

    Parameters
    ----------
    source
        Name of the file.
    text
        Its text.

    Returns
    -------
    WeatherRows
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
        remedy = "the header must say DATA PERIODS with one row an hour"
        raise SeriesError(
            source,
            [
                ValidationIssue(
                    location=f"{source}, DATA PERIODS", found=rows[begin - 1], remedy=remedy
                )
            ],
        )
    lines = np.array([at + 1 for at in range(begin, len(rows)) if rows[at].strip()], dtype=int)
    cells = [rows[line - 1].split(",") for line in lines]
    dates = _parse(source, [row[1:4] for row in cells], lines=lines, width=3).astype(int)
    values = _parse(source, [row[_FLAGS : _FLAGS + 17] for row in cells], lines=lines, width=17)
    _refuse_dates(source, dates, lines=lines)
    hours = hour_of_year(month=dates[:, 0], day=dates[:, 1], hour=dates[:, 2] - 1)
    return WeatherRows(
        source=source,
        lines=lines,
        hours=shift_to_utc(hours, place_of["offset"]),
        values=_columns(values),
        latitude=place_of["latitude"],
        longitude=place_of["longitude"],
        elevation=place_of["elevation"],
    )


def read_mos(source: str, text: str) -> WeatherRows:
    """Return the typical weather of a Modelica weather file.

    Parameters
    ----------
    source
        Name of the file.
    text
        Its text.

    Returns
    -------
    WeatherRows
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
        has_first, has_last = 1 in ends, HOURS_PER_YEAR in ends
        hours[0] = (-1 if has_first else 0) if has_last else HOURS_PER_YEAR - 1
    return WeatherRows(
        source=source,
        lines=lines,
        hours=shift_to_utc(hours, place_of["offset"]),
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
        remedy = "write LOCATION with latitude, longitude, zone and elevation in fields 7 to 10"
        raise SeriesError(
            source,
            [ValidationIssue(location=f"{source}, LOCATION", found=",".join(cells), remedy=remedy)],
        )
    return dict(zip(names, numbers, strict=True))


def _refuse_dates(source: str, dates: np.ndarray, *, lines: np.ndarray) -> None:
    """Refuse months, days and hours that no calendar has."""
    is_bad = ((dates < 1) | (dates > np.array([12, 31, 24]))).any(axis=1)
    faults = [
        ValidationIssue(
            location=cell_location(source, row=lines[row], name="month, day, hour"),
            found=", ".join(map(str, dates[row])),
            remedy="must lie in 1 to 12, 1 to 31 and 1 to 24",
        )
        for row in np.flatnonzero(is_bad)
    ]
    raise_faults(source, faults)


def _parse(source: str, cells: list[list[str]], *, lines: np.ndarray, width: int) -> np.ndarray:
    faults = []
    for line, row in zip(lines, cells, strict=True):
        try:
            numbers = np.array([float(cell) for cell in row])
            is_good = len(row) == width and bool((np.abs(numbers) < MAX_ABSOLUTE_VALUE).all())
        except ValueError:
            is_good = False
        if not is_good:
            remedy = f"{width} numbers are wanted; remedy or drop the row"
            faults.append(
                ValidationIssue(
                    location=cell_location(source, row=line, name="values"),
                    found=",".join(row),
                    remedy=remedy,
                )
            )
    raise_faults(source, faults)
    return np.array(cells, dtype=float).reshape(len(lines), width)


def _columns(values: np.ndarray) -> dict[str, np.ndarray]:
    columns = {}
    for name, (at, missing, factor) in _FIELDS.items():
        column = values[:, at]
        columns[name] = factor * np.where(np.isclose(column, missing), np.nan, column)
    return columns


_OPEN_METEO_NAMES: Final = {
    "temperature_2m": "air_temperature",
    "relative_humidity_2m": "relative_humidity",
    "relativehumidity_2m": "relative_humidity",
    "surface_pressure": "air_pressure",
    "wind_speed_10m": "wind_speed",
    "windspeed_10m": "wind_speed",
    "cloud_cover": "cloud_cover",
    "cloudcover": "cloud_cover",
    "shortwave_radiation": "global_irradiance",
}

_TO_CANONICAL: Final[dict[str, dict[str, tuple[float, float]]]] = {
    "air_temperature": {"°C": (1.0, 0.0), "°F": (5.0 / 9.0, -160.0 / 9.0)},
    "relative_humidity": {"%": (0.01, 0.0)},
    "air_pressure": {"hPa": (0.1, 0.0)},
    "wind_speed": {
        "km/h": (1.0 / 3.6, 0.0),
        "m/s": (1.0, 0.0),
        "mp/h": (0.44704, 0.0),
        "mph": (0.44704, 0.0),
        "kn": (0.514444, 0.0),
    },
    "cloud_cover": {"%": (0.01, 0.0)},
    "global_irradiance": {"W/m²": (1.0, 0.0)},
}
"""Factor and offset from each unit that the service may be asked for."""


def read_open_meteo(source: str, answer: OpenMeteoResponse) -> WeatherRows:
    """Return the weather of an Open-Meteo answer.

    Parameters
    ----------
    source
        Name of the file.
    answer
        What it holds.

    Returns
    -------
    WeatherRows
        Actual weather, in UTC.

    Raises
    ------
    SeriesError
        If a unit is missing or foreign, or an array has another length than its times.

    Notes
    -----
    Naive times are moved by ``utc_offset_seconds``, which is fixed over the file; ``timezone`` is
    only a name. Radiation is the mean of the hour *before* its time, all else belongs to the
    moment: so radiation moves one hour back, to the interval that it describes.
    """
    stamps = _open_meteo_times(source, answer)
    values = {}
    for key, name in _OPEN_METEO_NAMES.items():
        if key in answer.hourly:
            factor, offset = _unit(source, answer, key=key)
            entries = answer.hourly[key]
            _refuse_length(source, entries, key=key, wanted=len(stamps))
            values[name] = factor * json_numbers(source, entries, name=key) + offset
    if "global_irradiance" in values:
        values["global_irradiance"] = _an_hour_back(stamps, values["global_irradiance"])
    return WeatherRows(
        source=source,
        lines=np.arange(1, len(stamps) + 1),
        stamps=stamps,
        values=values,
        latitude=answer.latitude,
        longitude=answer.longitude,
        elevation=answer.elevation,
    )


def _open_meteo_times(source: str, answer: OpenMeteoResponse) -> np.ndarray:
    entries = answer.hourly.get("time", [])
    if answer.hourly_units.get("time") == "unixtime":
        seconds = json_numbers(source, entries, name="time")
        is_time = (seconds >= 0.0) & (seconds < MAX_EPOCH_S)
        _refuse_times(source, entries, ~is_time, remedy="write seconds since 1970")
        return np.asarray(seconds.astype("datetime64[s]"), dtype="datetime64[us]")
    texts = pd.Series([str(entry) for entry in entries], dtype="str")
    parsed = parse_iso(texts, is_utc=False)
    remedy = "write an ISO time without an offset"
    _refuse_times(source, entries, parsed.isna().to_numpy(), remedy=remedy)
    if answer.utc_offset_seconds is None:
        remedy = "the times are local and name no offset; ask for timezone=GMT"
        raise SeriesError(
            source,
            [ValidationIssue(location=f"{source}, utc_offset_seconds", found="", remedy=remedy)],
        )
    local = np.asarray(parsed.to_numpy(), dtype="datetime64[us]")
    return np.asarray(local - np.timedelta64(answer.utc_offset_seconds, "s"))


def _refuse_times(
    source: str, entries: list[JsonEntry], is_bad: np.ndarray, *, remedy: str
) -> None:
    faults = [
        ValidationIssue(
            location=cell_location(source, row=row + 1, name="time"),
            found=repr(entries[row]),
            remedy=remedy,
        )
        for row in np.flatnonzero(is_bad)
    ]
    raise_faults(source, faults)


def _unit(source: str, answer: OpenMeteoResponse, *, key: str) -> tuple[float, float]:
    known = _TO_CANONICAL[_OPEN_METEO_NAMES[key]]
    unit = answer.hourly_units.get(key)
    if unit not in known:
        remedy = f"name one of {', '.join(known)} in hourly_units"
        raise SeriesError(
            source,
            [ValidationIssue(location=f"{source}, {key}, unit", found=repr(unit), remedy=remedy)],
        )
    return known[unit]


def _refuse_length(source: str, entries: list[JsonEntry], *, key: str, wanted: int) -> None:
    if len(entries) != wanted:
        remedy = f"the file has {wanted} times; give as many values"
        raise SeriesError(
            source,
            [
                ValidationIssue(
                    location=f"{source}, {key}", found=f"{len(entries)} values", remedy=remedy
                )
            ],
        )


def _an_hour_back(stamps: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return at each moment the value that stands one hour later, NaN if there is none."""
    at = dict(zip(stamps.tolist(), values.tolist(), strict=True))
    return np.array([at.get(moment, np.nan) for moment in (stamps + HOUR).tolist()])


_PVGIS_NAMES: Final[dict[str, tuple[str, float]]] = {
    "T2m": ("air_temperature", 1.0),
    "RH": ("relative_humidity", 0.01),
    "SP": ("air_pressure", 0.001),
    "WS10m": ("wind_speed", 1.0),
    "G(h)": ("global_irradiance", 1.0),
}
"""Our name and the factor to our unit; PVGIS fixes its units (degC, %, Pa, m/s, W/m2)."""

_ON_PLANE: Final = ("Gb(i)", "Gd(i)", "Gr(i)")
"""Beam, diffuse and reflected irradiance on the plane, which the service gives instead of G(i)."""


def read_pvgis(source: str, answer: PvgisResponse) -> WeatherRows:
    """Return the weather of a PVGIS answer.

    Parameters
    ----------
    source
        Name of the file.
    answer
        With ``outputs.hourly`` (actual) or ``outputs.tmy_hourly`` (typical).

    Returns
    -------
    WeatherRows
        In UTC.

    Raises
    ------
    SeriesError
        If a time or value cannot be read, or the irradiance is that of an inclined plane.

    Notes
    -----
    Times are UTC; their minutes tell when the satellite looked (or where in the hour ERA5's mean
    lies), so each row belongs to the hour it stands in. The hourly tool gives irradiance on a
    plane: it is the horizontal one only at slope 0.

    References
    ----------
    .. [1] European Commission, Joint Research Centre, "PVGIS user manual," 2024.
    """
    rows = answer.outputs.tmy_hourly or answer.outputs.hourly or []
    is_typical = answer.outputs.tmy_hourly is not None
    keys = dict.fromkeys(key for row in rows for key in row)
    columns = {key: [row.get(key) for row in rows] for key in keys}
    stamps = _pvgis_times(source, columns)
    values = {
        name: factor * json_numbers(source, columns[key], name=key)
        for key, (name, factor) in _PVGIS_NAMES.items()
        if key in columns
    }
    if "global_irradiance" not in values:
        values |= _on_the_ground(source, answer, columns=columns)
    moments = pd.DatetimeIndex(stamps)
    hours = hour_of_year(
        month=moments.month.to_numpy(), day=moments.day.to_numpy(), hour=moments.hour.to_numpy()
    )
    return WeatherRows(
        source=source,
        lines=np.arange(1, len(rows) + 1),
        stamps=None if is_typical else stamps,
        hours=hours if is_typical else None,
        values=values,
        latitude=answer.inputs.location.latitude,
        longitude=answer.inputs.location.longitude,
        elevation=answer.inputs.location.elevation,
    )


def _pvgis_times(source: str, columns: dict[str, list[JsonEntry]]) -> np.ndarray:
    name = "time(UTC)" if "time(UTC)" in columns else "time"
    texts = [str(entry) for entry in columns.get(name, [])]
    parsed = pd.to_datetime(pd.Series(texts, dtype="str"), format="%Y%m%d:%H%M", errors="coerce")
    faults = [
        ValidationIssue(
            location=cell_location(source, row=row + 1, name=name),
            found=repr(texts[row]),
            remedy="write a time as in 20230101:0010",
        )
        for row in np.flatnonzero(parsed.isna().to_numpy())
    ]
    if not texts:
        found = ", ".join(columns)
        faults = [
            ValidationIssue(location=f"{source}, columns", found=found, remedy="no column of times")
        ]
    raise_faults(source, faults)
    return np.asarray(parsed.dt.floor("h").to_numpy(), dtype="datetime64[us]")


def _on_the_ground(
    source: str, answer: PvgisResponse, *, columns: dict[str, list[JsonEntry]]
) -> dict[str, np.ndarray]:
    """Return the horizontal irradiance from that on a plane, which must lie flat."""
    parts = ["G(i)"] if "G(i)" in columns else [key for key in _ON_PLANE if key in columns]
    if not parts:
        return {}
    plane = answer.inputs.mounting_system.fixed
    if plane is None or plane.slope.value != 0.0:
        value = "a plane that turns" if plane is None else f"slope {plane.slope.value:g}"
        remedy = "the irradiance is on an inclined plane; ask PVGIS for a fixed one with angle=0"
        raise SeriesError(
            source,
            [ValidationIssue(location=f"{source}, mounting_system", found=value, remedy=remedy)],
        )
    sums = np.sum([json_numbers(source, columns[key], name=key) for key in parts], axis=0)
    return {"global_irradiance": np.asarray(sums)}


HOURS_PER_YEAR: Final = 8760
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


def shift_to_utc(hours: np.ndarray, offset: float) -> np.ndarray:
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
    return np.where(hours < 0, -1, (hours - round(offset)) % HOURS_PER_YEAR)


def map_to_year(record: WeatherRows, year: int | None) -> SeriesRows:
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
        remedy = "typical weather belongs to no year; say which one it shall stand for"
        raise SeriesError(
            record.source, [ValidationIssue(location="year", found="", remedy=remedy)]
        )
    hours = np.asarray(record.hours)
    rows = np.flatnonzero(hours >= 0)
    begin = np.datetime64(f"{year:04d}-01-01", "us")
    days = int((np.datetime64(f"{year + 1:04d}-01-01") - begin) / np.timedelta64(1, "D"))
    shift = hours[rows]
    if days * 24 > HOURS_PER_YEAR:
        twice = rows[(hours[rows] >= _LEAP_DAY - 24) & (hours[rows] < _LEAP_DAY)]
        shift = np.concatenate([shift + 24 * (shift >= _LEAP_DAY), hours[twice] + 24])
        rows = np.concatenate([rows, twice])
    return SeriesRows(
        source=record.source,
        lines=record.lines[rows],
        stamps=begin + shift * HOUR,
        values={name: series[rows] for name, series in record.values.items()},
        notes=(*record.notes, f"a typical year, standing for {year}"),
    )
