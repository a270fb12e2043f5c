"""Read all series of a question at once, each file for what it holds.

Tell by columns and content what a file holds.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr

from telemetry.series.carbon import intensity_columns, read_carbon
from telemetry.series.intervals import select_variables
from telemetry.series.market import is_price_header, read_prices
from telemetry.series.provider_formats import is_market_response, read_market_table
from telemetry.series.table import read_text
from telemetry.series.weather import read_weather
from telemetry.series.workload import REQUIRED_COLUMNS, read_jobs
from twin.errors import SeriesError, ValidationIssue


@dataclass(frozen=True, kw_only=True)
class SeriesBundle:
    """The series that were read; None for what no file held.

    Attributes
    ----------
    prices, carbon, weather
        As :func:`read_prices`, :func:`read_carbon` and :func:`read_weather` return them.
    jobs
        As :func:`read_jobs` returns them.
    """

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
        Files in any order, at most one of each sort.
    zone
        Zone of naive local times in prices and carbon.
    year
        Year for typical weather and for jobs; that of the prices or the carbon if not given.
    kind
        Kind of carbon intensity.
    location
        Latitude [deg], longitude [deg] and elevation [m] instead of the weather file's.

    Returns
    -------
    SeriesBundle
        What the files held. Prices joined with an intensity give the carbon, too, if no other
        file does.

    Raises
    ------
    SeriesError
        If a file cannot be read, or two files hold the same.
    """
    found: dict[str, Path] = {}
    for path in map(Path, paths):
        sort = recognise(path)
        if sort in found:
            remedy = f"{found[sort].name} holds {sort} as well; give one file of them"
            raise SeriesError(
                path.name, [ValidationIssue(location=path.name, found=sort, remedy=remedy)]
            )
        found[sort] = path
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
        remedy = "jobs count hours from no year; say which one"
        raise SeriesError(path.name, [ValidationIssue(location="year", found="", remedy=remedy)])
    return read_jobs(path, year=year)


def _year(*datasets: xr.Dataset | None) -> int | None:
    """Return the year in which the first of the series has its middle."""
    for dataset in datasets:
        if dataset is not None:
            middle = dataset["time"].values[dataset.sizes["time"] // 2]
            return int(np.datetime_as_string(middle, "Y"))
    return None


SeriesKind = Literal["prices", "carbon", "weather", "jobs"]


def recognise(path: str | Path) -> SeriesKind:
    """Return what a file holds, whatever its name is.

    Parameters
    ----------
    path
        Any file that one of the readers reads.

    Returns
    -------
    str
        ``prices`` (also for a file of prices and carbon), ``carbon``, ``weather`` or ``jobs``.

    Raises
    ------
    SeriesError
        If no reader would take it; names the columns found.
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
    remedy = "these columns are those of no series; wanted is prices, carbon, weather or jobs"
    raise table.column_error(remedy)
