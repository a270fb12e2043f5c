"""Parse weather: EnergyPlus (EPW), Modelica (.mos), Open-Meteo and PVGIS, to rows in UTC.

EPW, .mos and some responses of PVGIS hold a typical year of 365 days, which is mapped to a real
year.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd

from telemetry.series.intervals import SeriesRows, parse_iso
from telemetry.series.provider_formats import (
    MAX_EPOCH_S,
    JsonEntry,
    OpenMeteoResponse,
    PvgisResponse,
    json_numbers,
)
from telemetry.series.table import cell_location, raise_issues, refuse_cells, series_error
from twin.errors import IssueCode
from twin.time_axes import HOUR

_EPW_FIELDS: Final[dict[str, tuple[int, float, float]]] = {
    "air_temperature": (0, 99.9, 1.0),
    "relative_humidity": (2, 999.0, 0.01),
    "air_pressure": (3, 999_999.0, 0.001),
    "global_irradiance": (7, 9_999.0, 1.0),
    "wind_speed": (15, 999.0, 1.0),
    "cloud_cover": (16, 99.0, 0.1),
}
"""Column after that of the dry bulb, number for a missing value, factor to the canonical unit."""

MAX_WEATHER_ROW_VALUE: Final = 1e9
"""Limit of the numbers of a row; the largest valid ones are the seconds of a year."""

_MAX_LOCATION: Final = (90.0, 180.0, 24.0, 9000.0)
"""Largest latitude and longitude [deg], offset from UTC [h] and elevation [m]."""

_EPW_LEADING_COLUMNS: Final = 6
"""Columns before the values of an EPW row: year, month, day, hour, minute and source flags."""


@dataclass(frozen=True, kw_only=True)
class WeatherRows:
    """Weather rows in canonical units, and their location.

    - `source`: name of the file.
    - `lines`: line of each row in it.
    - `stamps`: start of each row's interval, for actual weather. [datetime64, UTC]
    - `hours_of_year`: first hour of each row in a year of 365 days, in UTC, for typical weather.
      [h]
    - `values`: values by name; NaN where the file is blank.
    - `latitude`, `longitude`: north and east. [deg]
    - `elevation`: above the sea. [m]
    """

    source: str
    lines: np.ndarray
    stamps: np.ndarray | None = None
    hours_of_year: np.ndarray | None = None
    values: dict[str, np.ndarray]
    latitude: float
    longitude: float
    elevation: float


def read_epw(source: str, text: str) -> WeatherRows:
    """Return the typical weather of an EPW file, in UTC.

    Notes
    -----
    Times are local standard time the whole year and name the *end* of the hour: hour 1 is the
    interval from 00:00 to 01:00. Zones off by part of an hour are rounded.

    References
    ----------
    .. [1] U.S. Department of Energy, "EnergyPlus auxiliary programs," weather file format.
    """
    rows = text.splitlines()
    begin = 1 + next((at for at, row in enumerate(rows) if row.startswith("DATA PERIODS")), 0)
    location = _location(source, rows[0].split(","))
    periods = rows[begin - 1].split(",")
    if begin == 1 or periods[2:3] != ["1"]:
        raise series_error(
            source,
            f"{source}, DATA PERIODS",
            found=rows[begin - 1],
            expected="a header DATA PERIODS with one row an hour",
            remedy="give an hourly EPW file",
            code=IssueCode.INVALID_FORMAT,
        )
    lines = np.array([at + 1 for at in range(begin, len(rows)) if rows[at].strip()], dtype=int)
    cells = [rows[line - 1].split(",") for line in lines]
    dates = _parse(source, [row[1:4] for row in cells], lines=lines, width=3).astype(int)
    first = _EPW_LEADING_COLUMNS
    values = _parse(source, [row[first : first + 17] for row in cells], lines=lines, width=17)
    _refuse_dates(source, dates, lines=lines)
    hours = hour_of_year(month=dates[:, 0], day=dates[:, 1], hour=dates[:, 2] - 1)
    return _typical_rows(source, lines, location, hours=hours, values=values)


def _typical_rows(
    source: str,
    lines: np.ndarray,
    location: dict[str, float],
    *,
    hours: np.ndarray,
    values: np.ndarray,
) -> WeatherRows:
    """Return typical rows whose hours are in local standard time. [h]"""
    return WeatherRows(
        source=source,
        lines=lines,
        hours_of_year=shift_to_utc(hours, location["offset"]),
        values=_columns(values),
        latitude=location["latitude"],
        longitude=location["longitude"],
        elevation=location["elevation"],
    )


def read_mos(source: str, text: str) -> WeatherRows:
    """Return the typical weather of a Modelica weather file, in UTC.

    Notes
    -----
    The first column counts seconds of local standard time. As in EPW a row ends its hour, so
    3600 s is the interval from 00:00 to 01:00. Converters write a row at 0 s as well, to cover the
    whole year. It is the first hour's if that one is missing and the year's last hour has a row.
    Otherwise it is the last hour's, or a copy that is dropped.

    References
    ----------
    .. [1] M. Wetter et al., "Modelica Buildings library," Buildings.BoundaryConditions.
       WeatherData.ReaderTMY3.
    """
    rows = text.splitlines()
    head = next((row for row in rows if row.startswith("#LOCATION")), "")
    location = _location(source, head.split(","))
    lines = np.array(
        [at + 1 for at, row in enumerate(rows) if row.strip()[:1].isdigit()], dtype=int
    )
    cells = _parse(source, [rows[line - 1].split()[:18] for line in lines], lines=lines, width=18)
    ends = np.round(cells[:, 0] / 3600.0).astype(int)
    hours = ends - 1
    if 0 in ends[:1]:
        has_first, has_last = 1 in ends, HOURS_PER_YEAR in ends
        hours[0] = (-1 if has_first else 0) if has_last else HOURS_PER_YEAR - 1
    return _typical_rows(source, lines, location, hours=hours, values=cells[:, 1:])


def _location(source: str, cells: list[str]) -> dict[str, float]:
    """Return latitude, longitude, offset from UTC [h] and elevation of a LOCATION line."""
    names = ("latitude", "longitude", "offset", "elevation")
    try:
        numbers = [float(cell) for cell in cells[6:10]]
    except ValueError:
        numbers = []
    if len(numbers) != len(names) or not (np.abs(numbers) <= _MAX_LOCATION).all():
        raise series_error(
            source,
            f"{source}, LOCATION",
            found=",".join(cells),
            expected="latitude, longitude, zone and elevation in fields 7 to 10",
            remedy="write LOCATION with these four numbers",
            code=IssueCode.INVALID_FORMAT,
        )
    return dict(zip(names, numbers, strict=True))


def _refuse_dates(source: str, dates: np.ndarray, *, lines: np.ndarray) -> None:
    """Refuse months, days and hours that no calendar has."""
    is_bad = ((dates < 1) | (dates > np.array([12, 31, 24]))).any(axis=1)
    issues = [
        IssueCode.OUT_OF_RANGE.issue(
            cell_location(source, row=lines[row], name="month, day, hour"),
            found=", ".join(map(str, dates[row])),
            expected="1 to 12, 1 to 31 and 1 to 24",
            remedy="correct or drop the row",
        )
        for row in np.flatnonzero(is_bad)
    ]
    raise_issues(source, issues)


def _parse(source: str, cells: list[list[str]], *, lines: np.ndarray, width: int) -> np.ndarray:
    """Return rows of numbers; refuse rows of another width or with other texts."""
    issues = []
    for line, row in zip(lines, cells, strict=True):
        try:
            numbers = np.array([float(cell) for cell in row])
            is_good = len(row) == width and bool((np.abs(numbers) < MAX_WEATHER_ROW_VALUE).all())
        except ValueError:
            is_good = False
        if not is_good:
            issue = IssueCode.INVALID_FORMAT.issue(
                cell_location(source, row=line, name="values"),
                found=",".join(row),
                expected=f"{width} numbers",
                remedy="correct or drop the row",
            )
            issues.append(issue)
    raise_issues(source, issues)
    return np.array(cells, dtype=float).reshape(len(lines), width)


def _columns(values: np.ndarray) -> dict[str, np.ndarray]:
    columns = {}
    for name, (at, missing, factor) in _EPW_FIELDS.items():
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
"""Factor and offset from each unit that the service offers."""


def read_open_meteo(source: str, response: OpenMeteoResponse) -> WeatherRows:
    """Return the actual weather of an Open-Meteo response, in UTC.

    Naive times are shifted by ``utc_offset_seconds``, which is fixed over the file; ``timezone`` is
    only a name. Radiation is the mean of the hour *before* its time, so it moves one hour back, to
    its own interval. All other values belong to the moment.
    """
    stamps = _open_meteo_times(source, response)
    values = {}
    for key, name in _OPEN_METEO_NAMES.items():
        if key in response.hourly:
            factor, offset = _unit(source, response, key=key)
            entries = response.hourly[key]
            _refuse_length(source, entries, key=key, count=len(stamps))
            values[name] = factor * json_numbers(source, entries, name=key) + offset
    if "global_irradiance" in values:
        values["global_irradiance"] = _one_hour_earlier(stamps, values["global_irradiance"])
    return WeatherRows(
        source=source,
        lines=np.arange(1, len(stamps) + 1),
        stamps=stamps,
        values=values,
        latitude=response.latitude,
        longitude=response.longitude,
        elevation=response.elevation,
    )


def _open_meteo_times(source: str, response: OpenMeteoResponse) -> np.ndarray:
    entries = response.hourly.get("time", [])
    if response.hourly_units.get("time") == "unixtime":
        seconds = json_numbers(source, entries, name="time")
        is_bad = ~((seconds >= 0.0) & (seconds < MAX_EPOCH_S))
        refuse_cells(
            *(source, entries, is_bad),
            name="time",
            expected="a time before 2100",
            remedy="write seconds since 1970",
        )
        return np.asarray(seconds.astype("datetime64[s]"), dtype="datetime64[us]")
    texts = pd.Series([str(entry) for entry in entries], dtype="str")
    parsed = parse_iso(texts, is_utc=False)
    refuse_cells(
        *(source, entries, parsed.isna().to_numpy()),
        name="time",
        expected="an ISO time without an offset",
        remedy="write local times as the service does",
    )
    if response.utc_offset_seconds is None:
        raise series_error(
            source,
            f"{source}, utc_offset_seconds",
            expected="the offset of the local times",
            remedy="request the data with timezone=GMT",
            code=IssueCode.TIME_ZONE,
        )
    local = np.asarray(parsed.to_numpy(), dtype="datetime64[us]")
    return np.asarray(local - np.timedelta64(response.utc_offset_seconds, "s"))


def _unit(source: str, response: OpenMeteoResponse, *, key: str) -> tuple[float, float]:
    """Return factor and offset from the unit of a key to the canonical one."""
    known = _TO_CANONICAL[_OPEN_METEO_NAMES[key]]
    unit = response.hourly_units.get(key)
    if unit not in known:
        raise series_error(
            source,
            f"{source}, {key}, unit",
            found=repr(unit),
            expected=f"one of {', '.join(known)}",
            remedy="name the unit in hourly_units",
            code=IssueCode.WRONG_UNIT,
        )
    return known[unit]


def _refuse_length(source: str, entries: list[JsonEntry], *, key: str, count: int) -> None:
    if len(entries) != count:
        raise series_error(
            source,
            f"{source}, {key}",
            found=f"{len(entries)} values",
            expected=f"{count} values, one for each time",
            remedy="give as many values as times",
            code=IssueCode.INCONSISTENT,
        )


def _one_hour_earlier(stamps: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return for each time the value of one hour later, NaN if there is none."""
    at = dict(zip(stamps.tolist(), values.tolist(), strict=True))
    return np.array([at.get(moment, np.nan) for moment in (stamps + HOUR).tolist()])


_PVGIS_NAMES: Final[dict[str, tuple[str, float]]] = {
    "T2m": ("air_temperature", 1.0),
    "RH": ("relative_humidity", 0.01),
    "SP": ("air_pressure", 0.001),
    "WS10m": ("wind_speed", 1.0),
    "G(h)": ("global_irradiance", 1.0),
}
"""Variable and factor to its unit; PVGIS has fixed units (degC, %, Pa, m/s, W/m2)."""

_PLANE_PARTS: Final = ("Gb(i)", "Gd(i)", "Gr(i)")
"""Beam, diffuse and reflected irradiance on the plane, given instead of their sum G(i)."""


def read_pvgis(source: str, response: PvgisResponse) -> WeatherRows:
    """Return the weather of a PVGIS response, actual or typical, in UTC.

    Notes
    -----
    The minutes of a time are those of the satellite image (or of ERA5's mean), so each row belongs
    to the hour of its time. The hourly tool gives irradiance on a plane, which equals the
    horizontal one only at slope 0.

    References
    ----------
    .. [1] European Commission, Joint Research Centre, "PVGIS user manual," 2024.
    """
    rows = response.tmy_hourly or response.hourly or []
    is_typical = response.tmy_hourly is not None
    keys = dict.fromkeys(key for row in rows for key in row)
    columns = {key: [row.get(key) for row in rows] for key in keys}
    stamps = _pvgis_times(source, columns)
    values = {
        name: factor * json_numbers(source, columns[key], name=key)
        for key, (name, factor) in _PVGIS_NAMES.items()
        if key in columns
    }
    if "global_irradiance" not in values:
        values |= _horizontal_irradiance(source, response, columns=columns)
    moments = pd.DatetimeIndex(stamps)
    hours = hour_of_year(
        month=moments.month.to_numpy(), day=moments.day.to_numpy(), hour=moments.hour.to_numpy()
    )
    return WeatherRows(
        source=source,
        lines=np.arange(1, len(rows) + 1),
        stamps=None if is_typical else stamps,
        hours_of_year=hours if is_typical else None,
        values=values,
        latitude=response.latitude,
        longitude=response.longitude,
        elevation=response.elevation,
    )


def _pvgis_times(source: str, columns: dict[str, list[JsonEntry]]) -> np.ndarray:
    name = "time(UTC)" if "time(UTC)" in columns else "time"
    texts = [str(entry) for entry in columns.get(name, [])]
    parsed = pd.to_datetime(pd.Series(texts, dtype="str"), format="%Y%m%d:%H%M", errors="coerce")
    if not texts:
        raise series_error(
            source,
            f"{source}, columns",
            found=", ".join(columns),
            expected="a column time or time(UTC)",
            remedy="give a response of PVGIS as it came",
            code=IssueCode.MISSING,
        )
    refuse_cells(
        *(source, texts, parsed.isna().to_numpy()),
        name=name,
        expected="a time of PVGIS",
        remedy="write a time as in 20230101:0010",
    )
    return np.asarray(parsed.dt.floor("h").to_numpy(), dtype="datetime64[us]")


def _horizontal_irradiance(
    source: str, response: PvgisResponse, *, columns: dict[str, list[JsonEntry]]
) -> dict[str, np.ndarray]:
    """Return the irradiance on a plane as the horizontal one; refuse a plane that is not flat."""
    parts = ["G(i)"] if "G(i)" in columns else [key for key in _PLANE_PARTS if key in columns]
    if not parts:
        return {}
    if response.slope != 0.0:
        raise series_error(
            source,
            f"{source}, mounting_system",
            found="a tracking plane" if response.slope is None else f"slope {response.slope:g}",
            expected="irradiance on a horizontal plane",
            remedy="request a fixed plane of PVGIS with angle=0",
            code=IssueCode.UNSUPPORTED,
        )
    sums = np.sum([json_numbers(source, columns[key], name=key) for key in parts], axis=0)
    return {"global_irradiance": np.asarray(sums)}


HOURS_PER_YEAR: Final = 8760
"""Hours of a typical year, which has no 29 February. [h]"""

_LEAP_DAY_H: Final = 59 * 24
"""Hour at which 29 February would begin. [h]"""

_DAYS_IN: Final = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
_DAYS_BEFORE: Final = np.cumsum(_DAYS_IN) - _DAYS_IN


def hour_of_year(*, month: np.ndarray, day: np.ndarray, hour: np.ndarray) -> np.ndarray:
    """Return the hour of a year of 365 days, from 0 to 8759, and -1 on 29 February. [h]

    Months and days count from 1; ``hour`` is the hour of the day that begins, from 0 [h].
    """
    found = (_DAYS_BEFORE[month - 1] + day - 1) * 24 + hour
    is_leap_day = day > _DAYS_IN[month - 1]
    return np.where(is_leap_day, -1, found)


def shift_to_utc(hours: np.ndarray, offset: float) -> np.ndarray:
    """Return hours of the year in UTC, wrapped at the ends of the year; -1 stays -1. [h]

    ``offset`` is standard time less UTC [h] and is rounded to whole hours.
    """
    return np.where(hours < 0, -1, (hours - round(offset)) % HOURS_PER_YEAR)


def map_to_year(record: WeatherRows, year: int | None) -> SeriesRows:
    """Return typical rows in a year; 29 February repeats the 28th. Without a year, raise."""
    if year is None:
        raise series_error(
            record.source,
            "year",
            expected="a year for the typical weather",
            remedy="name the year that it stands for",
            code=IssueCode.MISSING,
        )
    hours = np.asarray(record.hours_of_year)
    rows = np.flatnonzero(hours >= 0)
    begin = np.datetime64(f"{year:04d}-01-01", "us")
    days = int((np.datetime64(f"{year + 1:04d}-01-01") - begin) / np.timedelta64(1, "D"))
    shift = hours[rows]
    if days * 24 > HOURS_PER_YEAR:
        twice = rows[(hours[rows] >= _LEAP_DAY_H - 24) & (hours[rows] < _LEAP_DAY_H)]
        shift = np.concatenate([shift + 24 * (shift >= _LEAP_DAY_H), hours[twice] + 24])
        rows = np.concatenate([rows, twice])
    return SeriesRows(
        source=record.source,
        lines=record.lines[rows],
        stamps=begin + shift * HOUR,
        values={name: series[rows] for name, series in record.values.items()},
        notes=(f"a typical year, standing for {year}",),
    )
