"""The outside world of a back-test: what really happened.

What is to be known of series that were read: filled, modelled, or taken from elsewhere.

The jobs of a run from a trace that is counted from the first hour of any year.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pandas as pd
import xarray as xr

import sites
from optimizer.problem import validation
from telemetry.market_zones import is_known_zone
from telemetry.series import (
    between,
    read_carbon,
    read_jobs,
    read_positions,
    read_prices,
    read_reserves,
    read_weather,
    select_variables,
)
from twin import time_axes, variables
from twin.errors import ProblemError, SeriesError, ValidationIssue
from twin.forecast.history import WEATHER_VARIABLES
from twin.forecast.history import series_history as make_record
from twin.markets.contracts import DayAheadPosition
from twin.site import Site
from twin.time_axes import QUARTER_HOUR
from twin.validation import check_argument_types
from twin.workload.jobs import covered_hours

FORECAST_HISTORY: Final = np.timedelta64(14, "D")
"""How far back forecasts may look."""

MIN_COVERED_DAYS: Final = 2
"""Days of which files must tell where the next week is planned: forecasts go on from there. [1]"""

DAY: Final = np.timedelta64(1, "D")

NO_CARBON_NOTE: Final = (
    "no carbon intensity, and none was given (--carbon FILE): that of the grid counts as nothing"
)
"""What is noted of prices without it."""

COMMON_SERIES: Final = 3
"""Series that every site has: prices, carbon, weather. [1]"""

DEFAULT_WIND_SPEED: Final = 3.0
"""Wind where a file has none: it cools modules and turns no turbine. [m s-1]"""


@dataclass(frozen=True, kw_only=True)
class SeriesFiles:
    """The files of a site's world, as the user names them.

    Attributes
    ----------
    prices, carbon, weather, jobs, position, reserves
        Paths; ``carbon`` may be left out: then that of the prices counts, or none. A service has
        its jobs from the wire and leaves ``jobs`` out too. Without ``position`` none is held, and
        without ``reserves`` products pay what the site says.
    zone
        Zone of naive local times in all files but weather and jobs.
    carbon_kind
        Emissions of generation only, or over the life cycle.
    """

    prices: Path
    weather: Path
    jobs: Path | None = None
    position: Path | None = None
    reserves: Path | None = None
    carbon: Path | None = None
    zone: str | None = None
    carbon_kind: Literal["direct", "lca"] = "direct"


@dataclass(frozen=True, kw_only=True)
class RunInputs:
    """What really happened.

    Attributes
    ----------
    series
        All series on quarter-hours, as :func:`twin.forecast.history.series_history` makes them.
    jobs
        Arrivals of the whole year.
    start, end
        The stretch to be run.
    gaps
        What was filled, as texts.
    notes
        What was modelled, mapped or not read.
    has_carbon
        Whether the carbon intensity is known; if not, the record has zeros.
    """

    series: xr.Dataset
    jobs: pd.DataFrame
    start: np.datetime64
    end: np.datetime64
    gaps: tuple[str, ...]
    notes: tuple[str, ...]
    has_carbon: bool = True


def read_run_inputs(site: Site, files: SeriesFiles, *, start: str, days: int) -> RunInputs:
    """Read all series of a back-test.

    Parameters
    ----------
    site
        The site, for its place.
    files
        The files.
    start
        First moment; a bare date is 00:00 UTC.
    days
        Number of days to run.

    Returns
    -------
    RunInputs
        Series that cover the run, with as much history as the files hold.

    Raises
    ------
    ProblemError
        If the start is no moment, or none at which orders change.
    SeriesError
        If a file cannot be read or does not cover the run.
    """
    check_argument_types("run", site=(site, Site), files=(files, SeriesFiles))
    if files.jobs is None:
        remedy = "a back-test needs a file of jobs"
        raise ProblemError("run", [ValidationIssue(location="jobs", found="", remedy=remedy)])
    first = time_axes.to_utc(start)
    if (first - first.astype("datetime64[h]")) % QUARTER_HOUR:
        remedy = "a run begins on a full quarter-hour"
        raise ProblemError("run", [ValidationIssue(location="start", found=start, remedy=remedy)])
    last = first + days * DAY
    parts = read_series(site, files, start=first - FORECAST_HISTORY, end=last)
    inside = [(name, between(part, start=first, end=last)) for name, part in parts[:COMMON_SERIES]]
    notes = series_notes(site, parts)
    arrivals = read_trace(files.jobs, start=first - FORECAST_HISTORY, end=last)
    notes += [f"{files.jobs.name}: {note}" for note in arrivals.attrs["notes"]]
    return RunInputs(
        series=make_record(site, *(part for _, part in parts)),
        jobs=arrivals,
        start=first,
        end=last,
        gaps=collect_notes((*inside, *parts[COMMON_SERIES:]), "gaps"),
        notes=tuple(notes),
        has_carbon=NO_CARBON_NOTE not in parts[1][1].attrs["notes"],
    )


def read_series(
    site: Site, files: SeriesFiles, *, start: np.datetime64, end: np.datetime64
) -> list[tuple[str, xr.Dataset]]:
    """Return the series of a site's files but jobs, each with the name of its file.

    Parameters
    ----------
    site
        The site, for its place and its products.
    files
        The files.
    start, end
        The stretch for which weather is wanted.

    Returns
    -------
    list
        Those of every site, prices, carbon and weather; then those of markets, as far as there are.

    Raises
    ------
    SeriesError
        If a file cannot be read.
    """
    prices = read_prices(files.prices, zone=files.zone)
    weather = read_site_weather(site, files.weather, start=start, end=end)
    return [
        (files.prices.name, select_variables(prices, "electricity_price")),
        ((files.carbon or files.prices).name, read_carbon_intensity(prices, files)),
        (files.weather.name, weather),
        *((str(part.attrs["source"]), part) for part in read_market_series(site, files)),
    ]


def series_notes(site: Site, parts: Sequence[tuple[str, xr.Dataset]]) -> list[str]:
    """Return what is to be known of series that :func:`read_series` read, in words."""
    return [*collect_notes(parts, "notes"), *weather_notes(site, *parts[COMMON_SERIES - 1])]


def default_zone(site: Site) -> str:
    """Return the zone of naive local times of a site's files: its market's, else its own clock."""
    return site.zone if is_known_zone(site.zone) else site.time_zone


def read_carbon_intensity(prices: xr.Dataset, files: SeriesFiles) -> xr.Dataset:
    """Return the carbon intensity, from its own file or from that of the prices; else zeros.

    Parameters
    ----------
    prices
        What was read of the prices.
    files
        The files, of which that of the prices may hold it too.

    Returns
    -------
    xarray.Dataset
        ``carbon_intensity`` on its own axes. [kg MWh-1]
    """
    if files.carbon is None and "carbon_intensity" not in prices:
        nothing = xr.zeros_like(prices["electricity_price"]).fillna(0.0)
        named = variables.tag_variable(nothing.assign_attrs(), "carbon_intensity")
        found = named.to_dataset().assign_coords(
            instant=("instant", time_axes.interval_edges(prices))
        )
        return found.assign_attrs(notes=[NO_CARBON_NOTE])
    return read_carbon(files.carbon or files.prices, zone=files.zone, kind=files.carbon_kind)


def read_market_series(site: Site, files: SeriesFiles) -> list[xr.Dataset]:
    """Return what was bought and sold on markets, as far as there are files of it.

    Raises
    ------
    SeriesError
        If a file cannot be read, tells of reserves what the site's products cannot be, or of a
        position that no contract of the site holds.
    """
    if files.position and not site.machines_of(DayAheadPosition):
        remedy = (
            'the site has no contract of kind = "day_ahead": declare one, or leave the file out'
        )
        fault = ValidationIssue(location=files.position.name, found="", remedy=remedy)
        raise SeriesError(files.position.name, [fault])
    found = [read_positions(files.position, zone=files.zone)] if files.position else []
    if files.reserves:
        told = read_reserves(files.reserves, zone=files.zone)
        usual = {name: product.price for name, product in site.reserves.items()}
        if "reserve_price" in told:
            own = [usual.get(str(name), 0.0) for name in told["product"].to_numpy()]
            told["reserve_price"] = told["reserve_price"].fillna(xr.DataArray(own, dims="product"))
        if "reserve_held" in told:
            told["reserve_held"] = told["reserve_held"].fillna(0.0)
        place = files.reserves.name
        if wrong := list(validation.find_reserve_issues(site, told, place=place)):
            raise SeriesError(place, wrong)
        found.append(told)
    return found


def read_site_weather(
    site: Site, path: Path, *, start: np.datetime64, end: np.datetime64
) -> xr.Dataset:
    """Return the weather of a site from a file, with calm wind if the file has none.

    Parameters
    ----------
    site
        The site, for its place.
    path
        A file of weather.
    start, end
        The stretch that is wanted; a typical year is laid on every year that it touches.

    Returns
    -------
    xarray.Dataset
        All words of the weather, as far as the file reaches.

    Raises
    ------
    SeriesError
        If the file cannot be read.
    """
    place = (site.latitude, site.longitude, site.elevation)
    years = range(int(pd.Timestamp(start).year), int(pd.Timestamp(end - QUARTER_HOUR).year) + 1)
    readings = {year: read_weather(path, year=year, location=place) for year in years}
    weather = readings[years[0]]
    if len(years) > 1 and weather.attrs["typical_year"]:
        joined = xr.concat(
            [reading.drop_vars("instant") for reading in readings.values()], "time", join="exact"
        ).drop_duplicates("time")
        joined = joined.sortby("time").assign_attrs(weather.attrs)
        weather = joined.assign_coords(instant=("instant", time_axes.interval_edges(joined)))
    if "wind_speed" not in weather:
        calm = xr.full_like(weather["air_temperature"], DEFAULT_WIND_SPEED)
        weather["wind_speed"] = variables.tag_variable(calm, "wind_speed")
        said = [weather.attrs.get("modelled", ""), "wind_speed"]
        weather.attrs["modelled"] = ", ".join(word for word in said if word)
    kept = weather[[*WEATHER_VARIABLES]].assign_coords(
        instant=("instant", time_axes.interval_edges(weather))
    )
    return kept.assign_attrs(weather.attrs)


DISTANT_WEATHER_KM: Final = 100.0
"""Distance from which on it is said that weather was taken elsewhere. [km]"""

EARTH_RADIUS_KM: Final = 6371.0
"""Mean radius of the Earth. [km]"""


def collect_notes(
    parts: Iterable[tuple[str, xr.Dataset]], what: Literal["gaps", "notes"]
) -> tuple[str, ...]:
    """Return what readers tell of series, each text once.

    Parameters
    ----------
    parts
        Name of the file, and what was read of it.
    what
        What was filled, or what else was decided on the way.
    """
    told = (f"{name}: {text}" for name, part in parts for text in part.attrs.get(what, ()))
    return tuple(dict.fromkeys(told))


def weather_notes(site: Site, name: str, weather: xr.Dataset) -> list[str]:
    """Return what is to be known of a site's weather that was read from a file.

    Parameters
    ----------
    site
        The site, for its place.
    name
        Of the file.
    weather
        As :func:`optimizer.inputs.series_files.read_site_weather` gives it.
    """
    notes = []
    place = weather.attrs["file_latitude"], weather.attrs["file_longitude"]
    away = _distance_km(site, *place)
    if away > DISTANT_WEATHER_KM:
        where = f"{place[0]:.1f} N {place[1]:.1f} E"
        notes.append(f"{name}: weather of {where}, {away:,.0f} km from {site.name}")
    if weather.attrs.get("modelled"):
        notes.append(f"{name}: modelled {weather.attrs['modelled']}")
    return notes


def _distance_km(site: Site, latitude: float, longitude: float) -> float:
    """Return the way from a site to a place on a round Earth, by the haversine. [km]"""
    here, there, turned = np.deg2rad([site.latitude, latitude, longitude - site.longitude])
    half = np.sin((there - here) / 2.0) ** 2
    half += np.cos(here) * np.cos(there) * np.sin(turned / 2.0) ** 2
    return float(2.0 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(half)))


def read_trace(path: Path, *, start: np.datetime64, end: np.datetime64) -> pd.DataFrame:
    """Return the jobs of every year that a stretch touches.

    Parameters
    ----------
    path
        A trace, which is a usual year; the synthetic one that ships is a usual month instead.
    start, end
        The stretch, a run and its history.

    Returns
    -------
    pandas.DataFrame
        As :func:`telemetry.series.read_jobs` gives them; ``attrs["hours"]`` has for how long
        traces tell, without what lies between one and the next.

    Notes
    -----
    A trace longer than a year ends where that of the next year begins.
    """
    first, last = (pd.Timestamp(moment) for moment in (start, end - QUARTER_HOUR))
    if path == sites.series_file("jobs"):
        return _repeat_month(read_jobs(path, year=last.year), first, last)
    whole = [read_jobs(path, year=year) for year in range(first.year, last.year + 1)]
    ended = [one[one["arrival"] < later["arrival"].min()] for one, later in pairwise(whole)]
    told = [*ended, whole[-1]]
    jobs: pd.DataFrame = pd.concat(told, ignore_index=True)
    jobs.attrs["hours"] = sum(covered_hours(one["arrival"].to_numpy()) for one in told if len(one))
    return jobs


def _repeat_month(month: pd.DataFrame, first: pd.Timestamp, last: pd.Timestamp) -> pd.DataFrame:
    """Return the jobs of a month, moved by its length as often as fills the stretch."""
    begin = month["arrival"].iloc[0].floor("D")
    length = month["arrival"].iloc[-1].ceil("D") - begin
    moves = range((first - begin) // length, (last - begin) // length + 1)
    moved = [month.assign(arrival=month["arrival"] + move * length) for move in moves]
    return pd.concat(moved, ignore_index=True)


def synthetic_files(site: Site) -> SeriesFiles:
    """Return the series that ship with gigatwin: made by us, and good for demos only."""
    return SeriesFiles(
        prices=sites.series_file("prices"),
        weather=sites.series_file("weather"),
        jobs=sites.series_file("jobs"),
        zone=default_zone(site),
    )
