"""Read outdoor weather from a file of any of four formats.

Model what a weather file lacks from what it has.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import xarray as xr
from pydantic import ValidationError

from telemetry.series.intervals import SeriesRows, to_intervals
from telemetry.series.provider_formats import (
    OpenMeteoResponse,
    PvgisResponse,
    parse_json,
    response_error,
)
from telemetry.series.table import read_text
from telemetry.series.weather_formats import (
    WeatherRows,
    map_to_year,
    read_epw,
    read_mos,
    read_open_meteo,
    read_pvgis,
)
from twin.errors import SeriesError, ValidationIssue
from twin.physics.psychrometrics import standard_pressure
from twin.variables import tag_dataset

_NO_WEATHER: Final = "no weather; wanted is an answer of Open-Meteo or PVGIS, an EPW or a .mos file"
_SHOWN: Final = 40  # letters of a stranger's file that a fault shows


def read_weather(
    path: str | Path,
    *,
    year: int | None = None,
    location: tuple[float, float, float] | None = None,
) -> xr.Dataset:
    """Return the weather of a file, complete: what it lacks is modelled and said to be so.

    Parameters
    ----------
    path
        Open-Meteo JSON, EPW, Modelica ``.mos`` or PVGIS JSON; told apart by content.
    year
        Year that typical weather shall stand for; not looked at for actual weather.
    location
        Latitude [deg], longitude [deg] and elevation [m] to use instead of the file's.

    Returns
    -------
    xarray.Dataset
        ``air_temperature`` [degC], ``relative_humidity`` [1], ``air_pressure`` [kPa],
        ``global_irradiance`` [W m-2], and ``wind_speed`` [m s-1] and ``cloud_cover`` [1] if the
        file has them, laid out as :func:`telemetry.series.intervals.to_intervals` does. Attributes
        ``latitude``, ``longitude``, ``elevation``, ``file_latitude`` and ``file_longitude`` of the
        place that the file is of, ``typical_year`` and ``modelled``, the names
        of what was modelled.

    Raises
    ------
    SeriesError
        If the file is of no such format, has a foreign unit or an absurd value, or lacks what
        cannot be modelled.
    """
    record = _record(path)
    if location is None:
        location = (record.latitude, record.longitude, record.elevation)
    values = {name: series for name, series in record.values.items() if not np.isnan(series).all()}
    _refuse_lacking(record.source, values)
    rows = _rows(record, year)
    dataset = to_intervals(replace(rows, values={name: rows.values[name] for name in values}))
    for name, most in (("relative_humidity", 1.0), ("global_irradiance", np.inf)):
        if name in dataset:
            dataset[name] = dataset[name].clip(0.0, most, keep_attrs=True)
    latitude, longitude, elevation = location
    attrs = {
        "latitude": latitude,
        "longitude": longitude,
        "elevation": elevation,
        "file_latitude": record.latitude,
        "file_longitude": record.longitude,
        "typical_year": record.hours is not None,
    }
    return _complete(dataset.assign_attrs(attrs))


def _record(path: str | Path) -> WeatherRows:
    text, source = read_text(path), Path(path).name
    opening = text.lstrip().split("\n", 1)[0]
    if text.startswith("LOCATION,"):
        return read_epw(source, text)
    if text.startswith("#1"):
        return read_mos(source, text)
    if not opening.startswith("{"):
        fault = ValidationIssue(
            location=f"{source}, row 1", found=repr(opening[:_SHOWN]), remedy=_NO_WEATHER
        )
        raise SeriesError(source, [fault])
    answer = parse_json(source, text)
    told = answer if isinstance(answer, dict) else {}
    keys = set(told)
    try:
        if {"hourly", "latitude"} <= keys:
            return read_open_meteo(source, OpenMeteoResponse.model_validate(answer))
        if {"inputs", "outputs"} <= keys:
            return read_pvgis(source, PvgisResponse.model_validate(answer))
    except ValidationError as error:
        raise response_error(source, error) from error
    reason = told["reason"] if "reason" in keys else ", ".join(sorted(keys))
    raise SeriesError(
        source, [ValidationIssue(location=source, found=str(reason), remedy=_NO_WEATHER)]
    )


def _rows(record: WeatherRows, year: int | None) -> SeriesRows:
    if record.stamps is None:
        return map_to_year(record, year)
    return SeriesRows(
        source=record.source,
        lines=record.lines,
        stamps=record.stamps,
        values=record.values,
        notes=record.notes,
    )


def _refuse_lacking(source: str, values: dict[str, np.ndarray]) -> None:
    found = ", ".join(values)
    if "air_temperature" not in values:
        remedy = "no air temperature, which nothing else can stand for"
    elif not {"global_irradiance", "cloud_cover"} & set(values):
        remedy = "no irradiance, and no cloud cover to model it from; add one, as cloud_cover"
    else:
        return
    raise SeriesError(
        source, [ValidationIssue(location=f"{source}, columns", found=found, remedy=remedy)]
    )


def _complete(dataset: xr.Dataset) -> xr.Dataset:
    """Return the weather with what it lacks modelled from what it has."""
    starts, bounds = dataset["time"].values, dataset["instant"].values
    attrs, modelled = dataset.attrs, {}
    if "global_irradiance" not in dataset:
        modelled["global_irradiance"] = estimate_irradiance(
            dataset["cloud_cover"].values,
            starts + np.diff(bounds) // 2,
            latitude=attrs["latitude"],
            longitude=attrs["longitude"],
        )
    if "air_pressure" not in dataset:
        modelled["air_pressure"] = np.full(len(starts), standard_pressure(attrs["elevation"]))
    if "relative_humidity" not in dataset:
        modelled["relative_humidity"] = estimate_humidity(dataset["air_temperature"].values, starts)
    dataset = dataset.assign(
        {
            name: ("time", series, {"modelled": 1, "gaps": [], "long_gaps": []})
            for name, series in modelled.items()
        }
    )
    return tag_dataset(dataset.assign_attrs(modelled=", ".join(modelled)))


def estimate_irradiance(
    cloud_cover: np.ndarray, middle: np.ndarray, *, latitude: float, longitude: float
) -> np.ndarray:
    r"""Estimate the global horizontal irradiance under clouds.

    Parameters
    ----------
    cloud_cover
        Share of the sky covered. [1]
    middle
        Middles of the intervals. [datetime64, UTC]
    latitude, longitude
        North and east. [deg]

    Returns
    -------
    numpy.ndarray
        Means over the intervals, roughly; NaN where the cover is not known. [W m-2]

    Notes
    -----
    .. math:: G = (910 \sin\gamma - 30) (1 - 0.75 N^{3.4})

    with the sun's elevation :math:`\gamma` and the cover :math:`N`; fitted to ten years of hourly
    values of Hamburg, so good for climates like it and not for single hours.

    References
    ----------
    .. [1] F. Kasten and G. Czeplak, "Solar and terrestrial radiation dependent on the amount and
       type of cloud," Solar Energy, vol. 24, no. 2, pp. 177-189, 1980.
       doi:10.1016/0038-092X(80)90391-6
    """
    import pvlib  # noqa: PLC0415 (takes a second, seldom needed)

    is_seen = np.isfinite(cloud_cover)  # a hole in a file may be years long
    known = pd.DatetimeIndex(middle[is_seen], tz="UTC")
    sun = pvlib.solarposition.spa_python(known, latitude, longitude)
    sine = np.sin(np.radians(sun["elevation"].to_numpy()))
    clear = np.maximum(910.0 * sine - 30.0, 0.0)
    found = np.full(len(cloud_cover), np.nan)
    found[is_seen] = clear * (1.0 - 0.75 * cloud_cover[is_seen] ** 3.4)
    return found


def estimate_humidity(air_temperature: np.ndarray, start: np.ndarray) -> np.ndarray:
    r"""Estimate humidity where only temperature is known: the dew point is the day's minimum.

    Parameters
    ----------
    air_temperature
        Dry-bulb temperature. [degC]
    start
        Starts of the intervals. [datetime64, UTC]

    Returns
    -------
    numpy.ndarray
        Relative humidity. [1]

    Notes
    -----
    .. math:: e(T) = 0.6108 \exp \frac{17.27 T}{T + 237.3}, \quad \varphi = e(T_{min}) / e(T)

    Too moist in dry climates, by a few kelvin of dew point.

    References
    ----------
    .. [1] R. G. Allen et al., "Crop evapotranspiration," FAO Irrigation and Drainage Paper 56,
       equations 11 and 48, 1998.
    """
    temperature = pd.Series(air_temperature)
    lowest = temperature.groupby(start.astype("datetime64[D]")).transform("min").to_numpy()

    def vapour(degrees: np.ndarray) -> np.ndarray:
        return np.asarray(np.exp(17.27 * degrees / (degrees + 237.3)))

    return np.asarray(vapour(lowest) / vapour(air_temperature))
