"""Read outdoor weather from a file of any of four formats; estimate what it lacks."""

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
    read_response,
    response_error,
)
from telemetry.series.table import MAX_SHOWN_LETTERS, read_text, series_error
from telemetry.series.weather_formats import (
    WeatherRows,
    map_to_year,
    read_epw,
    read_mos,
    read_open_meteo,
    read_pvgis,
)
from twin.errors import IssueCode, SeriesError
from twin.physics.psychrometrics import standard_pressure
from twin.variables import tag_dataset

_EXPECTED: Final = "a response of Open-Meteo or PVGIS, an EPW or a .mos file"


def read_weather(
    path: str | Path,
    *,
    year: int | None = None,
    location: tuple[float, float, float] | None = None,
) -> xr.Dataset:
    """Return the weather of a file; estimate what it lacks.

    Parameters
    ----------
    path
        Open-Meteo JSON, EPW, Modelica ``.mos`` or PVGIS JSON, recognised by content.
    year
        Year that typical weather stands for; unused for actual weather.
    location
        Latitude [deg], longitude [deg] and elevation [m] to use instead of the file's.

    Returns
    -------
    xarray.Dataset
        ``air_temperature`` [degC], ``relative_humidity`` [1], ``air_pressure`` [kPa],
        ``global_irradiance`` [W m-2], and ``wind_speed`` [m s-1] and ``cloud_cover`` [1] if the
        file has them, as :func:`telemetry.series.intervals.to_intervals` returns. Attributes:
        ``latitude``, ``longitude`` and ``elevation`` used, ``file_latitude`` and
        ``file_longitude``, ``typical_year``, and ``modelled``, the names of estimated variables.

    Raises
    ------
    SeriesError
        If the file has another format, a foreign unit or a value outside its limits, or lacks what
        cannot be estimated.
    """
    record = _record(path)
    if location is None:
        location = (record.latitude, record.longitude, record.elevation)
    values = {name: series for name, series in record.values.items() if not np.isnan(series).all()}
    _refuse_incomplete(record.source, values)
    rows = _rows(record, year)
    dataset = to_intervals(replace(rows, values={name: rows.values[name] for name in values}))
    for name, upper in (("relative_humidity", 1.0), ("global_irradiance", np.inf)):
        if name in dataset:
            dataset[name] = dataset[name].clip(0.0, upper, keep_attrs=True)
    latitude, longitude, elevation = location
    attrs = {
        "latitude": latitude,
        "longitude": longitude,
        "elevation": elevation,
        "file_latitude": record.latitude,
        "file_longitude": record.longitude,
        "typical_year": record.hours_of_year is not None,
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
        raise _format_error(source, f"{source}, row 1", repr(opening[:MAX_SHOWN_LETTERS]))
    response = read_response(source, text)
    entries = response if isinstance(response, dict) else {}
    keys = set(entries)
    try:
        if {"hourly", "latitude"} <= keys:
            return read_open_meteo(source, OpenMeteoResponse.model_validate(response))
        if {"inputs", "outputs"} <= keys:
            return read_pvgis(source, PvgisResponse.model_validate(response))
    except ValidationError as error:
        raise response_error(source, error) from error
    reason = entries["reason"] if "reason" in keys else ", ".join(sorted(keys))
    raise _format_error(source, source, str(reason))


def _format_error(source: str, location: str, found: str) -> SeriesError:
    return series_error(
        source,
        location,
        found=found,
        expected=_EXPECTED,
        remedy="give weather in one of these formats",
        code=IssueCode.INVALID_FORMAT,
    )


def _rows(record: WeatherRows, year: int | None) -> SeriesRows:
    if record.stamps is None:
        return map_to_year(record, year)
    return SeriesRows(
        source=record.source,
        lines=record.lines,
        stamps=record.stamps,
        values=record.values,
    )


def _refuse_incomplete(source: str, values: dict[str, np.ndarray]) -> None:
    if "air_temperature" not in values:
        expected, remedy = "an air temperature", "add air temperatures"
    elif not {"global_irradiance", "cloud_cover"} & set(values):
        expected, remedy = "an irradiance, or a cloud cover to estimate it", "add cloud_cover"
    else:
        return
    raise series_error(
        source,
        f"{source}, columns",
        found=", ".join(values),
        expected=expected,
        remedy=remedy,
        code=IssueCode.MISSING,
    )


def _complete(dataset: xr.Dataset) -> xr.Dataset:
    """Return the weather with estimates of missing variables."""
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
    r"""Estimate the global horizontal irradiance under clouds, as means of intervals. [W m-2]

    ``cloud_cover`` is a share [1], NaN if unknown; ``middle`` are the middles of the intervals
    [datetime64, UTC]; latitude and longitude are north and east [deg].

    Notes
    -----
    .. math:: G = (910 \sin\gamma - 30) (1 - 0.75 N^{3.4})

    with the sun's elevation :math:`\gamma` and the cover :math:`N`; fitted to ten years of hourly
    values of Hamburg. It suits similar climates, and means rather than single hours.

    References
    ----------
    .. [1] F. Kasten and G. Czeplak, "Solar and terrestrial radiation dependent on the amount and
       type of cloud," Solar Energy, vol. 24, no. 2, pp. 177-189, 1980.
       doi:10.1016/0038-092X(80)90391-6
    """
    import pvlib  # noqa: PLC0415 (slow to import, rarely needed)

    is_known = np.isfinite(cloud_cover)  # a gap in a file may be years long
    times = pd.DatetimeIndex(middle[is_known], tz="UTC")
    sun = pvlib.solarposition.spa_python(times, latitude, longitude)
    sine = np.sin(np.radians(sun["elevation"].to_numpy()))
    clear = np.maximum(910.0 * sine - 30.0, 0.0)
    irradiance = np.full(len(cloud_cover), np.nan)
    irradiance[is_known] = clear * (1.0 - 0.75 * cloud_cover[is_known] ** 3.4)
    return irradiance


def estimate_humidity(air_temperature: np.ndarray, start: np.ndarray) -> np.ndarray:
    r"""Estimate relative humidity [1] from temperature [degC]; the dew point is the day's minimum.

    Notes
    -----
    .. math:: e(T) = 0.6108 \exp \frac{17.27 T}{T + 237.3}, \quad \varphi = e(T_{min}) / e(T)

    The result is too moist in dry climates, by a few kelvin of dew point.

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
