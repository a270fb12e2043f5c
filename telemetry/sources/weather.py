"""Read outdoor weather from a file of any of four formats."""

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr
from pydantic import ValidationError

from telemetry.sources.answers import Hourly, Pvgis, parsed, unfit
from telemetry.sources.epw import read_epw, read_mos
from telemetry.sources.open_meteo import read_open_meteo
from telemetry.sources.pvgis import read_pvgis
from telemetry.sources.record import Record
from telemetry.sources.series import Rows, assemble
from telemetry.sources.sky import global_irradiance, relative_humidity
from telemetry.sources.table import read_text
from telemetry.sources.typical import onto
from twin.errors import Fault, SeriesError
from twin.physics.atmosphere import standard_pressure
from twin.vocabulary import tag_all

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
        file has them, laid out as :func:`telemetry.sources.series.assemble` does. Attributes
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
    dataset = assemble(replace(rows, values={name: rows.values[name] for name in values}))
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


def _record(path: str | Path) -> Record:
    text, source = read_text(path), Path(path).name
    opening = text.lstrip().split("\n", 1)[0]
    if text.startswith("LOCATION,"):
        return read_epw(source, text)
    if text.startswith("#1"):
        return read_mos(source, text)
    if not opening.startswith("{"):
        fault = Fault(place=f"{source}, row 1", value=repr(opening[:_SHOWN]), mend=_NO_WEATHER)
        raise SeriesError(source, [fault])
    answer = parsed(source, text)
    told = answer if isinstance(answer, dict) else {}
    keys = set(told)
    try:
        if {"hourly", "latitude"} <= keys:
            return read_open_meteo(source, Hourly.model_validate(answer))
        if {"inputs", "outputs"} <= keys:
            return read_pvgis(source, Pvgis.model_validate(answer))
    except ValidationError as error:
        raise unfit(source, error) from error
    reason = told["reason"] if "reason" in keys else ", ".join(sorted(keys))
    raise SeriesError(source, [Fault(place=source, value=str(reason), mend=_NO_WEATHER)])


def _rows(record: Record, year: int | None) -> Rows:
    if record.stamps is None:
        return onto(record, year)
    return Rows(
        source=record.source,
        lines=record.lines,
        stamps=record.stamps,
        values=record.values,
        notes=record.notes,
    )


def _refuse_lacking(source: str, values: dict[str, np.ndarray]) -> None:
    found = ", ".join(values)
    if "air_temperature" not in values:
        mend = "no air temperature, which nothing else can stand for"
    elif not {"global_irradiance", "cloud_cover"} & set(values):
        mend = "no irradiance, and no cloud cover to model it from; add one, as cloud_cover"
    else:
        return
    raise SeriesError(source, [Fault(place=f"{source}, columns", value=found, mend=mend)])


def _complete(dataset: xr.Dataset) -> xr.Dataset:
    """Return the weather with what it lacks modelled from what it has."""
    starts, bounds = dataset["time"].values, dataset["instant"].values
    attrs, modelled = dataset.attrs, {}
    if "global_irradiance" not in dataset:
        modelled["global_irradiance"] = global_irradiance(
            dataset["cloud_cover"].values,
            starts + np.diff(bounds) // 2,
            latitude=attrs["latitude"],
            longitude=attrs["longitude"],
        )
    if "air_pressure" not in dataset:
        modelled["air_pressure"] = np.full(len(starts), standard_pressure(attrs["elevation"]))
    if "relative_humidity" not in dataset:
        modelled["relative_humidity"] = relative_humidity(dataset["air_temperature"].values, starts)
    dataset = dataset.assign(
        {
            name: ("time", series, {"modelled": 1, "gaps": [], "long_gaps": []})
            for name, series in modelled.items()
        }
    )
    return tag_all(dataset.assign_attrs(modelled=", ".join(modelled)))
