"""Read several series files at once; recognise by columns and content what each one holds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr

from telemetry.series.electricity import (
    intensity_columns,
    is_price_header,
    read_carbon,
    read_prices,
)
from telemetry.series.intervals import select_variables
from telemetry.series.provider_formats import is_market_response, read_market_table
from telemetry.series.table import read_text, series_error
from telemetry.series.weather import read_weather
from telemetry.series.workload import REQUIRED_COLUMNS, read_jobs
from twin.errors import IssueCode


@dataclass(frozen=True, kw_only=True)
class SeriesBundle:
    """The series of several files, as their readers return them; None if no file held one."""

    prices: xr.Dataset | None = None
    carbon: xr.Dataset | None = None
    weather: xr.Dataset | None = None
    jobs: pd.DataFrame | None = None


def read(
    *paths: str | Path,
    zone: str | None = None,
    year: int | None = None,
    kind: Literal["direct", "lca"] = "direct",
    location: tuple[float, float, float] | None = None,
) -> SeriesBundle:
    """Return the series of several files.

    Parameters
    ----------
    paths
        Files in any order, at most one of each kind of series.
    zone
        Zone of naive local times in prices and carbon.
    year
        Year for typical weather and for jobs; by default that of the prices or the carbon.
    kind
        Kind of carbon intensity.
    location
        Latitude [deg], longitude [deg] and elevation [m] instead of the weather file's.

    Returns
    -------
    SeriesBundle
        A price file with an intensity gives the carbon, too, if no other file does.

    Raises
    ------
    SeriesError
        If a file cannot be read, or two files hold the same kind of series.
    """
    found: dict[str, Path] = {}
    for path in map(Path, paths):
        series = recognise_series_kind(path)
        if series in found:
            raise series_error(
                path.name,
                path.name,
                found=series,
                expected=f"another kind of series than in {found[series].name}",
                remedy="give one file of each kind",
                code=IssueCode.DUPLICATE,
            )
        found[series] = path
    prices = read_prices(found["prices"], zone=zone) if "prices" in found else None
    carbon = None
    if "carbon" in found:
        carbon = read_carbon(found["carbon"], zone=zone, kind=kind)
    elif prices is not None and "carbon_intensity" in prices:
        carbon = read_carbon(found["prices"], zone=zone, kind=kind)
    if prices is not None:
        prices = select_variables(prices, "electricity_price")
    year = year or _year(prices, carbon)
    return SeriesBundle(
        prices=prices,
        carbon=carbon,
        weather=read_weather(found["weather"], year=year, location=location)
        if "weather" in found
        else None,
        jobs=_jobs(found.get("jobs"), year),
    )


def _jobs(path: Path | None, year: int | None) -> pd.DataFrame | None:
    if path is None:
        return None
    if year is None:
        raise series_error(
            path.name,
            "year",
            expected="the year of hour 0 of the jobs",
            remedy="name the year",
            code=IssueCode.MISSING,
        )
    return read_jobs(path, year=year)


def _year(*datasets: xr.Dataset | None) -> int | None:
    """Return the year of the middle of the first given series."""
    for dataset in datasets:
        if dataset is not None:
            middle = dataset["time"].values[dataset.sizes["time"] // 2]
            return int(np.datetime_as_string(middle, "Y"))
    return None


SeriesKind = Literal["prices", "carbon", "weather", "jobs"]


def recognise_series_kind(path: str | Path) -> SeriesKind:
    """Return which series a file holds, by its content.

    Returns
    -------
    str
        ``prices`` (also for a file of prices and carbon), ``carbon``, ``weather`` or ``jobs``.

    Raises
    ------
    SeriesError
        If no reader accepts the file; names the columns found.
    """
    text = read_text(path).lstrip()
    if text.startswith(("LOCATION,", "#1")) or (
        text.startswith("{") and not is_market_response(text)
    ):
        return "weather"
    table = read_market_table(path)
    if set(REQUIRED_COLUMNS) <= set(table.columns):
        return "jobs"
    if any(is_price_header(name) for name in table.columns):
        return "prices"
    if intensity_columns(table):
        return "carbon"
    raise table.column_error(
        "give a file of one of these series", expected="columns of prices, carbon, weather or jobs"
    )
