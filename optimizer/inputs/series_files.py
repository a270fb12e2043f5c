"""Series of a site from files: prices, carbon, weather, markets and jobs, for runs and plans.

It also collects the notes of readers: what was filled, modelled or taken from elsewhere. The trace
of jobs counts hours from the first of any year.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pandas as pd
import xarray as xr

import sites
from optimizer.problem import checks
from optimizer.problem.planning_outlook import build_outlook
from optimizer.problem.problem import Problem
from telemetry.series import (
    SeriesBundle,
    read_announcements,
    read_carbon,
    read_jobs,
    read_positions,
    read_prices,
    read_reserves,
    read_weather,
    select_period,
    select_variables,
)
from twin import time_axes, variables
from twin.argument_checks import check_argument_types
from twin.errors import IssueCode, ProblemError, SeriesError
from twin.forecast.series_record import series_history, zero_carbon
from twin.markets.contracts import DayAheadPosition
from twin.simulation.state import initial_state
from twin.site import Site, design_loads
from twin.time_axes import DAY, QUARTER_HOUR
from twin.weather import WEATHER_VARIABLES
from twin.workload.arrival_forecast import expected_arrivals
from twin.workload.cohorts import work_flexibility
from twin.workload.jobs import ARRIVAL_HISTORY, covered_hours, workload_from_jobs
from twin.workload.queue import RackPool, open_queue

FORECAST_HISTORY: Final = np.timedelta64(14, "D")
"""History that forecasts use."""

MIN_COVERED_DAYS: Final = 2
"""Days that files must cover to plan a week; forecasts continue from there. [1]"""

NO_CARBON_NOTE: Final = (
    "no carbon intensity in the file of prices; the grid counts as 0 kg/MWh without --carbon FILE"
)
"""Note on prices without carbon intensity."""

PATH_FIELDS: Final = (
    "prices", "weather", "jobs", "announced", "position", "reserves", "carbon",
)  # fmt: skip
"""Attributes of :class:`SeriesFiles` that are paths."""

COMMON_SERIES_COUNT: Final = 3
"""Series that every site has: prices, carbon, weather. [1]"""

DEFAULT_WIND_SPEED: Final = 3.0
"""Wind speed where a file has none; it cools PV modules and drives no turbine. [m s-1]"""

DISTANT_WEATHER_KM: Final = 100.0
"""Distance from the site from which the origin of weather is noted. [km]"""

EARTH_RADIUS_KM: Final = 6371.0


@dataclass(frozen=True, kw_only=True)
class SeriesFiles:
    """Files of a site's series.

    Attributes
    ----------
    prices, carbon, weather, jobs, announced, position, reserves
        Paths, also as texts. Without ``carbon`` the intensity of the file of prices counts, or 0. A
        service receives jobs and announcements over MQTT and needs no ``jobs`` and ``announced``.
        Without ``announced`` no job is known before it arrives. Without ``position`` there is none;
        without ``reserves`` products pay the prices of the site file.
    zone
        Time zone of times without an offset in all files except weather and jobs; None refuses
        them.
    carbon_kind
        Emissions of generation only, or over the life cycle.
    """

    prices: Path
    weather: Path
    jobs: Path | None = None
    announced: Path | None = None
    position: Path | None = None
    reserves: Path | None = None
    carbon: Path | None = None
    zone: str | None = None
    carbon_kind: Literal["direct", "lca"] = "direct"

    def __post_init__(self) -> None:
        """Take texts as paths."""
        for name in PATH_FIELDS:
            path: object = getattr(self, name)
            if isinstance(path, str):
                object.__setattr__(self, name, Path(path))


@dataclass(frozen=True, kw_only=True)
class RunInputs:
    """True series and jobs of a run.

    - `announced`: announcements of jobs, by their ``id``; None if nothing is announced.
    - `series`: all series in quarter-hours, see :func:`twin.forecast.series_record.series_history`.
    - `gaps`, `notes`: texts on what was filled, and on what was modelled, mapped or not read.
    - `has_carbon`: whether the carbon intensity is known; otherwise it is zero.
    """

    series: xr.Dataset
    jobs: pd.DataFrame
    start: np.datetime64
    end: np.datetime64
    gaps: tuple[str, ...]
    notes: tuple[str, ...]
    has_carbon: bool = True
    announced: pd.DataFrame | None = None


def read_run_inputs(site: Site, files: SeriesFiles, *, start: str, days: int) -> RunInputs:
    """Read all series of a back-test, with as much history as the files hold.

    Parameters
    ----------
    site
        The site; its position is used for the weather.
    files
        The files.
    start
        First instant; a bare date is 00:00 UTC.
    days
        Number of days. [1]

    Raises
    ------
    ProblemError
        If the start is invalid, or not on a full quarter-hour.
    SeriesError
        If a file cannot be read or does not cover the run.
    """
    check_argument_types("run", site=(site, Site), files=(files, SeriesFiles))
    if files.jobs is None:
        expected, remedy = "a back-test needs a file of jobs", "name one"
        raise ProblemError.single(
            "run", IssueCode.MISSING, "jobs", expected=expected, remedy=remedy
        )
    first = time_axes.to_utc(start)
    if (first - first.astype("datetime64[h]")) % QUARTER_HOUR:
        raise ProblemError.single(
            "run",
            IssueCode.OUT_OF_RANGE,
            "start",
            found=start,
            expected="a full quarter-hour",
            remedy="choose the nearest one",
        )
    last = first + days * DAY
    parts = read_series(site, files, start=first - FORECAST_HISTORY, end=last)
    inside = [
        (name, select_period(part, start=first, end=last))
        for name, part in parts[:COMMON_SERIES_COUNT]
    ]
    notes = series_notes(site, parts)
    arrivals = read_trace(files.jobs, start=first - ARRIVAL_HISTORY, end=last)
    notes += [f"{files.jobs.name}: {note}" for note in arrivals.attrs["notes"]]
    announced = None
    if files.announced is not None:
        announced = read_announced(
            files.announced, files.jobs, start=first - FORECAST_HISTORY, end=last
        )
        notes += [f"{files.announced.name}: {note}" for note in announced.attrs["notes"]]
    return RunInputs(
        series=series_history(site, *(part for _, part in parts)),
        jobs=arrivals,
        start=first,
        end=last,
        gaps=collect_notes((*inside, *parts[COMMON_SERIES_COUNT:]), "gaps"),
        notes=tuple(notes),
        has_carbon=NO_CARBON_NOTE not in parts[1][1].attrs["notes"],
        announced=announced,
    )


def read_series(
    site: Site, files: SeriesFiles, *, start: np.datetime64, end: np.datetime64
) -> list[tuple[str, xr.Dataset]]:
    """Return all series except jobs, each with the name of its file.

    Prices, carbon and weather come first, then those of markets that have files. Weather is read
    from `start` to `end`.
    """
    prices = read_prices(files.prices, zone=files.zone)
    weather = read_site_weather(site, files.weather, start=start, end=end)
    return [
        (files.prices.name, select_variables(prices, "electricity_price")),
        ((files.carbon or files.prices).name, read_carbon_intensity(site, prices, files)),
        (files.weather.name, weather),
        *((str(part.attrs["source"]), part) for part in read_market_series(site, files)),
    ]


def series_notes(site: Site, parts: Sequence[tuple[str, xr.Dataset]]) -> list[str]:
    """Return the notes on series of :func:`read_series`."""
    return [*collect_notes(parts, "notes"), *weather_notes(site, *parts[COMMON_SERIES_COUNT - 1])]


def read_carbon_intensity(site: Site, prices: xr.Dataset, files: SeriesFiles) -> xr.Dataset:
    """Return the carbon intensity from its own file or that of the prices, else zeros. [kg MWh-1]

    `prices` holds what was read from the file of prices.
    """
    if files.carbon is None and "carbon_intensity" not in prices:
        return zero_carbon(prices).assign_attrs(notes=[NO_CARBON_NOTE])
    return read_carbon(
        files.carbon or files.prices,
        zone=files.zone,
        kind=files.carbon_kind,
        market_zone=site.zone,
    )


def read_market_series(site: Site, files: SeriesFiles) -> list[xr.Dataset]:
    """Return positions and reserves from the files that are given.

    Raises SeriesError if a file cannot be read, contradicts the site's reserve products, or holds a
    position without a contract.
    """
    if files.position and not site.machines_of(DayAheadPosition):
        raise SeriesError.single(
            files.position.name,
            IssueCode.INCONSISTENT,
            files.position.name,
            expected='the site has a contract of kind = "day_ahead"',
            remedy="declare one, or omit the file",
        )
    found = [read_positions(files.position, zone=files.zone)] if files.position else []
    if files.reserves:
        reserves = read_reserves(files.reserves, zone=files.zone)
        default = {name: product.price for name, product in site.reserves.items()}
        if "reserve_price" in reserves:
            own = [default.get(str(name), 0.0) for name in reserves["product"].to_numpy()]
            reserves["reserve_price"] = reserves["reserve_price"].fillna(
                xr.DataArray(own, dims="product")
            )
        if "reserve_held" in reserves:
            reserves["reserve_held"] = reserves["reserve_held"].fillna(0.0)
        place = files.reserves.name
        SeriesError.raise_if_any(
            place, list(checks.find_reserve_issues(site, reserves, place=place))
        )
        found.append(reserves)
    return found


def read_site_weather(
    site: Site, path: Path, *, start: np.datetime64, end: np.datetime64
) -> xr.Dataset:
    """Return the weather of a site from a file, with a default wind speed if it has none.

    A typical year is mapped onto every year from `start` to `end`.

    Raises SeriesError if the file cannot be read.
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
        modelled = [weather.attrs.get("modelled", ""), "wind_speed"]
        weather.attrs["modelled"] = ", ".join(filter(None, modelled))
    selected = weather[[*WEATHER_VARIABLES]].assign_coords(
        instant=("instant", time_axes.interval_edges(weather))
    )
    return selected.assign_attrs(weather.attrs)


def collect_notes(
    parts: Iterable[tuple[str, xr.Dataset]], what: Literal["gaps", "notes"]
) -> tuple[str, ...]:
    """Return the gaps or notes of series, with the names of their files, each text once."""
    texts = (f"{name}: {text}" for name, part in parts for text in part.attrs.get(what, ()))
    return tuple(dict.fromkeys(texts))


def weather_notes(site: Site, name: str, weather: xr.Dataset) -> list[str]:
    """Return the notes on weather of :func:`read_site_weather`: its origin, modelled variables."""
    notes = []
    place = weather.attrs["file_latitude"], weather.attrs["file_longitude"]
    distance = _distance_km(site, *place)
    if distance > DISTANT_WEATHER_KM:
        where = f"{place[0]:.1f} N {place[1]:.1f} E"
        notes.append(f"{name}: weather of {where}, {distance:,.0f} km from {site.name}")
    if weather.attrs.get("modelled"):
        notes.append(f"{name}: modelled {weather.attrs['modelled']}")
    return notes


def _distance_km(site: Site, latitude: float, longitude: float) -> float:
    """Return the distance from a site to a position, by the haversine formula. [km]"""
    site_lat, lat, delta_lon = np.deg2rad([site.latitude, latitude, longitude - site.longitude])
    half = np.sin((lat - site_lat) / 2.0) ** 2
    half += np.cos(site_lat) * np.cos(lat) * np.sin(delta_lon / 2.0) ** 2
    return float(2.0 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(half)))


def read_trace(path: Path, *, start: np.datetime64, end: np.datetime64) -> pd.DataFrame:
    """Return the jobs of every year from `start` to `end`, as :func:`telemetry.series.read_jobs`.

    A trace is a typical year, which ends where that of the next year begins; the synthetic trace is
    a typical month. ``attrs["hours"]`` is the time that traces cover, without gaps between them.
    """
    first, last = (pd.Timestamp(moment) for moment in (start, end - QUARTER_HOUR))
    if path == sites.series_file("jobs"):
        return _repeat_month(read_jobs(path, year=last.year), first, last)
    by_year = [
        _named_by_year(read_jobs(path, year=year), year)
        for year in range(first.year, last.year + 1)
    ]
    shortened = [one[one["arrival"] < later["arrival"].min()] for one, later in pairwise(by_year)]
    parts = [*shortened, by_year[-1]]
    jobs: pd.DataFrame = pd.concat(parts, ignore_index=True)
    jobs.attrs["hours"] = sum(covered_hours(one["arrival"].to_numpy()) for one in parts if len(one))
    return jobs


def _named_by_year(frame: pd.DataFrame, year: int) -> pd.DataFrame:
    """Return jobs or announcements whose ids differ from those of other years of the trace."""
    return frame.assign(id=f"{year}/" + frame["id"].astype(str))


def read_announced(
    path: Path, jobs: Path, *, start: np.datetime64, end: np.datetime64
) -> pd.DataFrame:
    """Return the announcements of every year from `start` to `end`, by the ids of `read_trace`.

    `jobs` is the file of jobs, which must not be the synthetic trace. Raises SeriesError if it is,
    or if an id of jobs occurs twice.
    """
    if jobs == sites.series_file("jobs"):
        raise SeriesError.single(
            path.name,
            IssueCode.INCONSISTENT,
            path.name,
            found="the synthetic jobs",
            expected="announcements of the jobs of a file",
            remedy="name the file of jobs too",
        )
    first, last = (pd.Timestamp(moment).year for moment in (start, end - QUARTER_HOUR))
    parts = []
    for year in range(first, last + 1):
        names = read_jobs(jobs, year=year)["id"]
        if names.duplicated().any():
            raise SeriesError.single(
                jobs.name,
                IssueCode.DUPLICATE,
                f"{jobs.name}, id",
                found=str(names[names.duplicated()].iloc[0]),
                expected="an id of its own for each job that may be announced",
                remedy="give each job its own id",
            )
        parts.append(_named_by_year(read_announcements(path, year=year), year))
    found: pd.DataFrame = pd.concat(parts, ignore_index=True)
    found.attrs["notes"] = parts[0].attrs["notes"]
    return found


def _repeat_month(month: pd.DataFrame, first: pd.Timestamp, last: pd.Timestamp) -> pd.DataFrame:
    """Return the jobs of a month, repeated to fill a period."""
    begin = month["arrival"].iloc[0].floor("D")
    length = month["arrival"].iloc[-1].ceil("D") - begin
    moves = range((first - begin) // length, (last - begin) // length + 1)
    moved = [month.assign(arrival=month["arrival"] + move * length) for move in moves]
    return pd.concat(moved, ignore_index=True)


def synthetic_files() -> SeriesFiles:
    """Return the synthetic series shipped with gigatwin, for demos only."""
    return SeriesFiles(
        prices=sites.series_file("prices"),
        weather=sites.series_file("weather"),
        jobs=sites.series_file("jobs"),
    )


DAY_AHEAD_HORIZON: Final = ((24.0, 15.0), (24.0, 60.0))
"""Horizon of a plan from files: hours covered [h], and length of an interval. [min]"""

REQUIRED_SERIES: Final = ("prices", "weather", "jobs")


def build_problem(
    site: Site,
    series: SeriesBundle,
    *,
    now: np.datetime64 | str,
    horizon: Sequence[tuple[float, float]] = DAY_AHEAD_HORIZON,
    load_scale: float = 0.6,
    weights: Mapping[str, float] | None = None,
    has_perfect_foresight: bool = False,
) -> Problem:
    """Return the problem of a site at a time, from series that were read from files.

    Parameters
    ----------
    site
        The site.
    series
        Prices, weather and jobs, as :func:`telemetry.series.read` returns them. Without carbon the
        plan weighs money only, and ``not_given`` of its explanation names the account.
    now
        Start of the plan; a bare date is 00:00 UTC.
    horizon
        Pairs of hours covered [h] and length of an interval [min], in order of time.
    load_scale
        Mean movable work as a share of all racks at full work. [1]
    weights
        Weights of the objective instead of those of the site; see :class:`Problem`.
    has_perfect_foresight
        Whether prices, weather and jobs of the horizon are known, instead of forecast. All jobs are
        then due by its end, so that plans of other sites do the same work.

    Returns
    -------
    Problem
        Stores are half full. The peak of the month so far is the import at the mean work on a mild
        day. Use ``dataclasses.replace(problem, state=...)`` for another state.

    Raises
    ------
    ProblemError
        If series of a kind are missing, or the problem is invalid.
    SeriesError
        If the series do not cover the horizon.

    Examples
    --------
    >>> import optimizer, sites, telemetry
    >>> files = [sites.series_file(name) for name in ("prices", "weather", "jobs")]
    >>> series = telemetry.series.read(*files)
    >>> problem = optimizer.build_problem(sites.load_site("small"), series, now="2026-06-16")
    >>> problem.outlook.sizes["time"]
    120
    """
    check_argument_types("build_problem", site=(site, Site), series=(series, SeriesBundle))
    _check_series(series)
    assert series.jobs is not None  # noqa: S101  (for mypy)
    begin = time_axes.to_utc(str(now))
    axes = time_axes.horizon_axes(begin, horizon)
    record = series_history(site, series.prices, series.carbon, series.weather)
    work = workload_from_jobs(
        series.jobs,
        site,
        start=begin,
        end=axes["instant"].to_numpy()[-1],
        load_scale=load_scale,
        is_closed=has_perfect_foresight,
    )
    queue = open_queue(RackPool.from_site(site), work.jobs, begin)
    ahead = build_outlook(site, record, begin, axes=axes, foresight=has_perfect_foresight)
    arrivals = expected_arrivals(work.past(begin), queue.pool.kinds, begin)
    known = {"future": work.jobs} if has_perfect_foresight else {"expected": arrivals}
    return Problem(
        site=site,
        state=_state_at_mean_work(site, begin, load_scale=load_scale),
        outlook=ahead.merge(work_flexibility(queue, axes, **known)),
        weights=weights or {},
    )


def _check_series(series: SeriesBundle) -> None:
    """Raise an error that names the kinds of series that are missing."""
    missing = [name for name in REQUIRED_SERIES if getattr(series, name) is None]
    ProblemError.raise_if_any(
        "build_problem",
        [
            IssueCode.MISSING.issue(
                f"series.{name}",
                expected=f"{name}, without which no plan is made",
                remedy=f"name a file of {name} in telemetry.series.read",
            )
            for name in missing
        ],
    )


def _state_at_mean_work(site: Site, instant: np.datetime64, *, load_scale: float) -> xr.Dataset:
    """Return a state with half-full stores, and the import at the mean work on a mild day."""
    busy = min(load_scale + site.service.racks / site.rack_count, 1.0)
    drawn = min(
        max(design_loads(site, busy_share=busy)["grid"], 0.0), site.grid_connection.import_limit
    )
    return initial_state(
        site, instant, peak_power=drawn, mean_weekly_import=drawn, grid_import_power=drawn
    )
