"""Read an Open-Meteo answer: parallel arrays with their units beside them."""

from typing import Final

import numpy as np
import pandas as pd

from telemetry.sources.answers import LAST, Entry, Hourly, numbers
from telemetry.sources.record import Record
from telemetry.sources.stamps import iso
from telemetry.sources.table import place, refuse
from twin.axes import HOUR
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


def read_open_meteo(source: str, answer: Hourly) -> Record:
    """Return the weather of an Open-Meteo answer.

    Parameters
    ----------
    source
        Name of the file.
    answer
        What it holds.

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
    stamps = _stamps(source, answer)
    values = {}
    for key, name in _NAMES.items():
        if key in answer.hourly:
            factor, offset = _unit(source, answer, key=key)
            entries = answer.hourly[key]
            _refuse_length(source, entries, key=key, wanted=len(stamps))
            values[name] = factor * numbers(source, entries, name=key) + offset
    if "global_irradiance" in values:
        values["global_irradiance"] = _an_hour_back(stamps, values["global_irradiance"])
    return Record(
        source=source,
        lines=np.arange(1, len(stamps) + 1),
        stamps=stamps,
        values=values,
        latitude=answer.latitude,
        longitude=answer.longitude,
        elevation=answer.elevation,
    )


def _stamps(source: str, answer: Hourly) -> np.ndarray:
    entries = answer.hourly.get("time", [])
    if answer.hourly_units.get("time") == "unixtime":
        seconds = numbers(source, entries, name="time")
        is_time = (seconds >= 0.0) & (seconds < LAST)
        _refuse_times(source, entries, ~is_time, mend="write seconds since 1970")
        return np.asarray(seconds.astype("datetime64[s]"), dtype="datetime64[us]")
    texts = pd.Series([str(entry) for entry in entries], dtype="str")
    parsed = iso(texts, is_utc=False)
    mend = "write an ISO time without an offset"
    _refuse_times(source, entries, parsed.isna().to_numpy(), mend=mend)
    if answer.utc_offset_seconds is None:
        mend = "the times are local and name no offset; ask for timezone=GMT"
        raise SeriesError(
            source, [Fault(place=f"{source}, utc_offset_seconds", value="", mend=mend)]
        )
    local = np.asarray(parsed.to_numpy(), dtype="datetime64[us]")
    return np.asarray(local - np.timedelta64(answer.utc_offset_seconds, "s"))


def _refuse_times(source: str, entries: list[Entry], is_bad: np.ndarray, *, mend: str) -> None:
    faults = [
        Fault(place=place(source, row=row + 1, name="time"), value=repr(entries[row]), mend=mend)
        for row in np.flatnonzero(is_bad)
    ]
    refuse(source, faults)


def _unit(source: str, answer: Hourly, *, key: str) -> tuple[float, float]:
    known = _TO_CANONICAL[_NAMES[key]]
    unit = answer.hourly_units.get(key)
    if unit not in known:
        mend = f"name one of {', '.join(known)} in hourly_units"
        raise SeriesError(
            source, [Fault(place=f"{source}, {key}, unit", value=repr(unit), mend=mend)]
        )
    return known[unit]


def _refuse_length(source: str, entries: list[Entry], *, key: str, wanted: int) -> None:
    if len(entries) != wanted:
        mend = f"the file has {wanted} times; give as many values"
        raise SeriesError(
            source, [Fault(place=f"{source}, {key}", value=f"{len(entries)} values", mend=mend)]
        )


def _an_hour_back(stamps: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return at each moment the value that stands one hour later, NaN if there is none."""
    at = dict(zip(stamps.tolist(), values.tolist(), strict=True))
    return np.array([at.get(moment, np.nan) for moment in (stamps + HOUR).tolist()])
