"""The outside world of a back-test: what really happened, on one grid of quarter-hours."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pandas as pd
import xarray as xr

from telemetry.sources import between, only, read_carbon, read_jobs, read_prices, read_weather
from twin import axes, vocabulary
from twin.axes import QUARTER
from twin.errors import Fault, SeriesError
from twin.site import Site

HISTORY: Final = np.timedelta64(14, "D")
"""How far back forecasts may look."""

DAY: Final = np.timedelta64(1, "D")

WEATHER: Final = (
    "air_temperature",
    "relative_humidity",
    "air_pressure",
    "global_irradiance",
    "wind_speed",
)
"""Weather that a site needs."""

CALM_WIND: Final = 3.0
"""Wind where a file has none: enough for the cooling of modules, too little for turbines. [m s-1]"""


@dataclass(frozen=True, kw_only=True)
class Files:
    """The files of a back-test, as the user names them.

    Attributes
    ----------
    prices, carbon, weather, jobs
        Paths; ``carbon`` may be left out when the prices bring it, ``jobs`` for no jobs.
    zone
        Zone of naive local prices; the site's by default.
    carbon_kind
        Emissions of generation only, or over the life cycle.
    """

    prices: Path
    weather: Path
    carbon: Path | None = None
    jobs: Path | None = None
    zone: str | None = None
    carbon_kind: Literal["direct", "lca"] = "direct"


@dataclass(frozen=True, kw_only=True)
class World:
    """What really happened.

    Attributes
    ----------
    series
        Prices, carbon and weather on quarter-hours, some days of history included.
    jobs
        Arrivals of the whole year; None where no file was given.
    start, end
        The stretch to be run.
    gaps
        What was filled, as texts.
    notes
        What was modelled or mapped.
    """

    series: xr.Dataset
    jobs: pd.DataFrame | None
    start: np.datetime64
    end: np.datetime64
    gaps: tuple[str, ...]
    notes: tuple[str, ...]


def read_world(site: Site, files: Files, *, start: str, days: int) -> World:
    """Read all series of a back-test and lay them on one grid.

    Parameters
    ----------
    site
        The site, for its place and its zone.
    files
        The files.
    start
        First moment; a bare date is 00:00 UTC.
    days
        Number of days to run.

    Returns
    -------
    World
        Series that cover the run, and as much history as the files hold.

    Raises
    ------
    SeriesError
        If a file cannot be read or does not cover the run.
    """
    first = axes.utc(start)
    last = first + days * DAY
    year = int(pd.Timestamp(first).year)
    prices = read_prices(files.prices, zone=files.zone)
    carbon = read_carbon(files.carbon or files.prices, kind=files.carbon_kind)
    weather = _weather(site, files.weather, first, last)
    parts = {
        files.prices.name: only(prices, "electricity_price"),
        (files.carbon or files.prices).name: carbon,
        files.weather.name: weather,
    }
    parts = {name: part.assign_coords(instant=_edges(part)) for name, part in parts.items()}
    begin = max(first - HISTORY, *(_edges(part)[0] for part in parts.values()))
    grid = axes.regular(begin, int((last - begin) / QUARTER))
    gaps: list[str] = []
    for name, part in parts.items():
        inside = between(part, start=first, end=last)
        gaps += [f"{name}: {gap}" for gap in inside.attrs.get("gaps", [])]
        grid = grid.assign(_regridded(part, grid))
    jobs = read_jobs(files.jobs, year=year) if files.jobs else None
    modelled = weather.attrs.get("modelled", "")
    notes = [f"{files.weather.name}: modelled {modelled}"] if modelled else []
    if weather.attrs["typical_year"]:
        notes.append(f"{files.weather.name}: a typical year, placed in {year}")
    return World(
        series=vocabulary.tag_all(grid).assign_attrs(
            latitude=site.latitude, longitude=site.longitude
        ),
        jobs=jobs,
        start=first,
        end=last,
        gaps=tuple(dict.fromkeys(gaps)),
        notes=tuple(notes),
    )


def _weather(site: Site, path: Path, first: np.datetime64, last: np.datetime64) -> xr.Dataset:
    """Return the weather; a typical year is laid on every year that the stretch touches."""
    place = (site.latitude, site.longitude, site.elevation)
    years = range(
        int(pd.Timestamp(first - HISTORY).year), int(pd.Timestamp(last - QUARTER).year) + 1
    )
    readings = {year: read_weather(path, year=year, location=place) for year in years}
    weather = readings[years[0]]
    if len(years) > 1 and weather.attrs["typical_year"]:
        joined = xr.concat(
            [reading.drop_vars("instant") for reading in readings.values()], "time", join="exact"
        ).drop_duplicates("time")
        joined = joined.sortby("time").assign_attrs(weather.attrs)
        weather = joined.assign_coords(instant=("instant", _edges(joined)))
    if "wind_speed" not in weather:
        calm = xr.full_like(weather["air_temperature"], CALM_WIND)
        weather["wind_speed"] = vocabulary.tag(calm, "wind_speed")
        said = [weather.attrs.get("modelled", ""), "wind_speed"]
        weather.attrs["modelled"] = ", ".join(word for word in said if word)
    return weather[[*WEATHER]].assign_attrs(weather.attrs)


def _edges(part: xr.Dataset) -> np.ndarray:
    starts = part["time"].to_numpy().astype("datetime64[us]")
    width = np.timedelta64(round(float(part["duration"][-1]) * 3600), "s")
    return np.append(starts, starts[-1] + width)


def _regridded(part: xr.Dataset, grid: xr.Dataset) -> dict[str, xr.DataArray]:
    """Return the variables of a file on the common grid, holes in the history closed."""
    wanted = grid["instant"].to_numpy()
    found = {}
    for name in part.data_vars:
        values = _closed(str(name), part[name].to_numpy(), part["duration"].to_numpy())
        regridded = axes.regrid(values, _edges(part), wanted)
        found[str(name)] = xr.DataArray(regridded, dims="time")
    return found


def _closed(name: str, values: np.ndarray, duration: np.ndarray) -> np.ndarray:
    """Return the values with long holes closed by the same hour a day before, or after.

    Only the history can still have holes: those inside the run have been refused before.
    """
    day = round(24.0 / float(np.median(duration)))
    values = values.copy()
    for shift in (day, -day):
        for _ in range(HISTORY // DAY):
            empty = np.isnan(values)
            if not empty.any():
                return values
            moved = np.roll(values, shift)
            edge = slice(None, shift) if shift > 0 else slice(shift, None)
            moved[edge] = np.nan
            values[empty] = moved[empty]
    mend = "give a file with shorter holes"
    raise SeriesError(name, [Fault(place=name, value="", mend=mend)])
