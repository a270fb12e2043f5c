"""Read an Open-Meteo answer: parallel arrays with their units beside them."""

from typing import Any, Final

import numpy as np
import pandas as pd

from telemetry.sources.record import Record
from telemetry.sources.table import place, refuse
from twin.errors import Fault, SeriesError

_NAMES: Final = {
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

_HOUR: Final = np.timedelta64(1, "h")


def read_open_meteo(source: str, answer: dict[str, Any]) -> Record:
    """Return the weather of an answer.

    Parameters
    ----------
    source
        Name of the file.
    answer
        Parsed JSON with ``hourly`` and ``hourly_units``.

    Returns
    -------
    Record
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
    hourly, units = answer["hourly"], answer.get("hourly_units", {})
    moments = _moments(source, answer)
    lines = np.arange(1, len(moments) + 1)
    values = {}
    for key, name in _NAMES.items():
        if key in hourly:
            factor, offset = _unit(source, key, name, units.get(key))
            values[name] = factor * _numbers(source, key, hourly[key], len(moments)) + offset
    if "global_irradiance" in values:
        values["global_irradiance"] = _an_hour_back(moments, values["global_irradiance"])
    return Record(
        source=source,
        lines=lines,
        stamps=moments,
        values=values,
        latitude=float(answer["latitude"]),
        longitude=float(answer["longitude"]),
        elevation=float(answer.get("elevation") or 0.0),
    )


def _moments(source: str, answer: dict[str, Any]) -> np.ndarray:
    texts = answer["hourly"].get("time", [])
    if answer.get("hourly_units", {}).get("time") == "unixtime":
        return np.array(texts, dtype="datetime64[s]").astype("datetime64[us]")
    parsed = pd.to_datetime(pd.Series(texts, dtype="str"), format="ISO8601", errors="coerce")
    faults = [
        Fault(
            place=place(source, row + 1, "time"), value=repr(texts[row]), mend="write an ISO time"
        )
        for row in np.flatnonzero(parsed.isna().to_numpy())
    ]
    refuse(source, faults)
    offset = answer.get("utc_offset_seconds")
    if offset is None:
        mend = "the times are local and name no offset; ask for timezone=GMT"
        raise SeriesError(
            source, [Fault(place=f"{source}, utc_offset_seconds", value="", mend=mend)]
        )
    return parsed.to_numpy().astype("datetime64[us]") - np.timedelta64(int(offset), "s")


def _unit(source: str, key: str, name: str, unit: str | None) -> tuple[float, float]:
    known = _TO_CANONICAL[name]
    if unit not in known:
        mend = f"name one of {', '.join(known)} in hourly_units"
        raise SeriesError(
            source, [Fault(place=f"{source}, {key}, unit", value=repr(unit), mend=mend)]
        )
    return known[unit]


def _numbers(source: str, key: str, entries: list[Any], count: int) -> np.ndarray:
    if len(entries) != count:
        mend = f"the file has {count} times; give as many values"
        raise SeriesError(
            source, [Fault(place=f"{source}, {key}", value=f"{len(entries)} values", mend=mend)]
        )
    faults = [
        Fault(place=place(source, row + 1, key), value=repr(entry), mend="write a number or null")
        for row, entry in enumerate(entries)
        if isinstance(entry, bool) or not isinstance(entry, int | float | None)
    ]
    refuse(source, faults)
    return np.array([np.nan if entry is None else entry for entry in entries], dtype=float)


def _an_hour_back(moments: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return at each moment the value that stands one hour later, NaN if there is none."""
    at = dict(zip(moments.tolist(), values.tolist(), strict=True))
    return np.array([at.get(moment, np.nan) for moment in (moments + _HOUR).tolist()])
