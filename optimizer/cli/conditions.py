"""Under what a site is run: intervals, outdoor air, carbon and load, from files or from words.

What was filled, modelled or taken from elsewhere is told with it.

The option that says where naive local times of files are from, of every command that has it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import numpy as np
import typer
import xarray as xr

import sites
from optimizer.inputs.series_files import read_site_weather, weather_notes
from telemetry import market_zones
from telemetry.series import between, read_carbon, read_load
from twin import time_axes, units
from twin.equipment import ITHall
from twin.errors import ProblemError, UnitError, ValidationIssue
from twin.forecast.history import WEATHER_VARIABLES
from twin.physics import FloatArray
from twin.site import Site
from twin.units import parse_quantity
from twin.variables import tag_dataset, tag_variable

MAX_STEP_H: Final = 1.0
"""Longest step that the temperatures are followed at. [h]"""

RELATIVE_TOLERANCE: Final = 1e-9
"""Share of a number by which another may differ and be the same: means of series round. [1]"""

SECONDS_PER_HOUR: Final = 3600
"""Seconds of an hour."""


LoadFileOption = Annotated[
    Path | None, typer.Option(help="CSV of time_utc,hall_power_mw: power of all halls.")
]


def check_zone(zone: str | None) -> str | None:
    """Return the zone as it was given; a name that nobody knows is told before any file is read."""
    if zone is not None:
        market_zones.time_zone(zone)
    return zone


LoadZoneOption = Annotated[
    str | None,
    typer.Option(
        callback=check_zone, help="Zone of naive local times of load and carbon, as DE-LU."
    ),
]


@dataclass(frozen=True, kw_only=True)
class SeriesNotes:
    """What is to be known of series that were read.

    Attributes
    ----------
    gaps
        What was filled, as texts.
    notes
        What was modelled, mapped or taken from elsewhere.
    """

    gaps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, path: Path, part: xr.Dataset) -> Self:
        """Return what a source tells of a stretch of its series."""
        gaps, notes = (part.attrs.get(key, ()) for key in ("gaps", "notes"))
        return cls(
            gaps=tuple(f"{path.name}: {gap}" for gap in gaps),
            notes=tuple(f"{path.name}: {note}" for note in notes),
        )

    @property
    def as_json(self) -> dict[str, list[str]]:
        """Both, as JSON has them."""
        return {"gaps": list(self.gaps), "notes": list(self.notes)}

    def __add__(self, other: "SeriesNotes") -> "SeriesNotes":
        """Return both, each text once."""
        return SeriesNotes(
            gaps=tuple(dict.fromkeys((*self.gaps, *other.gaps))),
            notes=tuple(dict.fromkeys((*self.notes, *other.notes))),
        )


def time_axis(start: str, days: int, step: str) -> xr.Dataset:
    """Return the intervals of some days.

    Parameters
    ----------
    start
        First moment; a bare date is 00:00 UTC.
    days
        Number of days.
    step
        Length of an interval, with its unit.

    Raises
    ------
    ProblemError
        If the step is no whole number of seconds, or does not divide a day.
    """
    remedy = (
        f"choose a step of at most {MAX_STEP_H:g} h that is a whole number of seconds and divides "
        "a day, as 15min"
    )
    fault = ProblemError("command", [ValidationIssue(location="--step", found=step, remedy=remedy)])
    try:
        seconds = parse_quantity(step, "h") * SECONDS_PER_HOUR
    except UnitError as error:
        raise fault from error
    if not 0.0 < seconds <= MAX_STEP_H * SECONDS_PER_HOUR:
        raise fault
    whole = round(seconds)
    if abs(seconds - whole) > RELATIVE_TOLERANCE * seconds or (24 * SECONDS_PER_HOUR) % whole:
        raise fault
    return time_axes.regular_axes(
        time_axes.to_utc(start), days * 24 * SECONDS_PER_HOUR // whole, np.timedelta64(whole, "s")
    )


def weather_on(site: Site, path: Path | None, grid: xr.Dataset) -> tuple[xr.Dataset, SeriesNotes]:
    """Return the intervals with the weather of a file; without one the synthetic must do."""
    edges, file = grid["instant"].to_numpy(), path or sites.series_file("weather")
    read = read_site_weather(site, file, start=edges[0], end=edges[-1])
    has = read["instant"].to_numpy()
    if path is None and not has[0] <= edges[0] <= edges[-1] <= has[-1]:
        first, last, start, end = map(units.format_minute, (has[0], has[-1], edges[0], edges[-1]))
        remedy = (
            f"the run is from {start} to {end}, and the synthetic weather that ships from {first} "
            f"to {last} only; give --weather FILE, or a --start that it covers"
        )
        raise ProblemError(
            "command", [ValidationIssue(location="--weather", found="", remedy=remedy)]
        )
    part = between(read, start=edges[0], end=edges[-1])
    notes = SeriesNotes(notes=tuple(weather_notes(site, file.name, read)))
    values = {name: ("time", _means(part, name, edges)) for name in WEATHER_VARIABLES}
    return tag_dataset(grid.assign(values)), SeriesNotes.of(file, part) + notes


def carbon_on(
    path: Path | None, grid: xr.Dataset, *, kind: Literal["direct", "lca"], zone: str | None = None
) -> tuple[xr.DataArray | None, SeriesNotes]:
    """Return the carbon intensity of a file on some intervals; None without one. [kg MWh-1]"""
    if path is None:
        return None, SeriesNotes()
    name, edges = "carbon_intensity", grid["instant"].to_numpy()
    part = between(read_carbon(path, zone=zone, kind=kind), start=edges[0], end=edges[-1])
    values = xr.DataArray(_means(part, name, edges), coords={"time": grid["time"]})
    return tag_variable(values, name), SeriesNotes.of(path, part)


def hall_power_on(
    site: Site,
    grid: xr.Dataset,
    load: Path | None,
    utilisation: float | None,
    *,
    zone: str | None = None,
) -> tuple[xr.DataArray, SeriesNotes]:
    """Return the power of each hall, from a file or from a share of racks at work. [MW]"""
    halls, remarks = site.machines_of(ITHall), SeriesNotes()
    if utilisation is not None and load is None:
        idle = np.array([hall.idle_power for hall in halls])
        full = np.array([hall.full_power for hall in halls])
        rows = np.tile(idle + utilisation * (full - idle), (grid.sizes["time"], 1))
    elif load is not None and utilisation is None:
        shares = np.array([hall.racks / site.racks for hall in halls])
        total, remarks = _loaded(site, grid, load, zone=zone)
        rows = total[:, None] * shares
    else:
        remedy = "give either --load FILE or --utilisation SHARE"
        raise ProblemError("command", [ValidationIssue(location="load", found="", remedy=remedy)])
    coords = {"hall": [hall.name for hall in halls]}
    power = xr.DataArray(rows, dims=("time", "hall"), coords=coords, attrs={"units": "MW"})
    return power, remarks


def _loaded(
    site: Site, grid: xr.Dataset, load: Path, *, zone: str | None
) -> tuple[FloatArray, SeriesNotes]:
    """Return the power of all halls from a file. [MW]"""
    edges = grid["instant"].to_numpy()
    part = between(read_load(load, zone=zone), start=edges[0], end=edges[-1])
    total = _means(part, "hall_power", edges)
    most = sum(hall.full_power for hall in site.machines_of(ITHall))
    is_beyond = total > most * (1.0 + RELATIVE_TOLERANCE)
    if is_beyond.any():
        first = int(np.argmax(is_beyond))
        place = f"{load.name}, {units.format_minute(edges[first])}"
        remedy = f"the halls draw {most:g} MW at most; correct it, or the unit of its column"
        fault = ValidationIssue(location=place, found=f"{total[first]:g} MW", remedy=remedy)
        raise ProblemError("load", [fault])
    return np.minimum(total, most), SeriesNotes.of(load, part) + _below_idle(site, load, total)


def _below_idle(site: Site, load: Path, total: FloatArray) -> SeriesNotes:
    """Return the remark on a load that racks do not draw unless some of them are off."""
    idle = sum(hall.idle_power for hall in site.machines_of(ITHall))
    is_below = total < idle * (1.0 - RELATIVE_TOLERANCE)
    if not is_below.any():
        return SeriesNotes()
    count = f"{is_below.sum()} of {len(total)} intervals"
    text = f"{load.name}: below the {idle:g} MW of idle racks in {count}, as if some were off"
    return SeriesNotes(notes=(text,))


def _means(part: xr.Dataset, name: str, edges: np.ndarray) -> FloatArray:
    """Return the means of a series between some edges, which it must cover."""
    return time_axes.regrid(part[name].to_numpy(), part["instant"].to_numpy(), edges)


ZoneOption = Annotated[
    str | None,
    typer.Option(
        "--zone", callback=check_zone, help="Zone of naive local times; the site's by default."
    ),
]
"""A bidding zone, as DE-LU, or an IANA name, as Europe/Berlin."""
