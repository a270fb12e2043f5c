"""Conditions of a run from files or options: intervals, weather, carbon and load, with notes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import numpy as np
import typer
import xarray as xr

import sites
from optimizer.cli.output import option_error
from optimizer.inputs.series_files import read_site_weather, weather_notes
from telemetry import market_zones
from telemetry.series import read_carbon, read_load, select_period
from twin import time_axes, units
from twin.equipment import ITHall
from twin.errors import IssueCode, ProblemError, UnitError
from twin.physics import FloatArray
from twin.site import Site
from twin.units import SECONDS_PER_HOUR, parse_quantity
from twin.variables import tag_dataset, tag_variable
from twin.weather import WEATHER_VARIABLES

MAX_STEP_H: Final = 1.0
"""Longest interval of a simulation. [h]"""

RELATIVE_ROUNDING_TOLERANCE: Final = 1e-9
"""Relative difference below which numbers count as equal, after rounding of means. [1]"""


WeatherFileOption = Annotated[
    Path | None, typer.Option(help="Weather file; default: the synthetic June 2026.")
]
LoadFileOption = Annotated[
    Path | None, typer.Option(help="CSV with time_utc,hall_power_mw: power of all halls.")
]


def check_zone(zone: str | None) -> str | None:
    """Return the zone unchanged; an unknown name is an error before any file is read."""
    if zone is not None:
        market_zones.time_zone_of_bidding_zone(zone)
    return zone


LoadZoneOption = Annotated[
    str | None,
    typer.Option(
        callback=check_zone,
        help="Time zone of naive times in load and carbon files, such as DE-LU.",
    ),
]

ZoneOption = Annotated[
    str | None,
    typer.Option(
        "--zone", callback=check_zone, help="Time zone of times without an offset in files."
    ),
]
"""A bidding zone, such as DE-LU, or an IANA name, such as Europe/Berlin."""


@dataclass(frozen=True, kw_only=True)
class SeriesNotes:
    """Notes on series that were read."""

    gaps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, path: Path, part: xr.Dataset) -> Self:
        """Return the notes of a reader on a part of its series."""
        gaps, notes = (part.attrs.get(key, ()) for key in ("gaps", "notes"))
        return cls(
            gaps=tuple(f"{path.name}: {gap}" for gap in gaps),
            notes=tuple(f"{path.name}: {note}" for note in notes),
        )

    @property
    def as_json(self) -> dict[str, list[str]]:
        """Both, under the keys of the JSON output."""
        return {"gaps": list(self.gaps), "notes": list(self.notes)}

    def __add__(self, other: "SeriesNotes") -> "SeriesNotes":
        """Return the notes of both, each text once."""
        return SeriesNotes(
            gaps=tuple(dict.fromkeys((*self.gaps, *other.gaps))),
            notes=tuple(dict.fromkeys((*self.notes, *other.notes))),
        )


def time_axis(start: str, days: int, step: str) -> xr.Dataset:
    """Return the intervals of some days.

    Raises ProblemError if the step is not in whole seconds, too long, or does not divide a day.
    """
    expected = f"at most {MAX_STEP_H:g} h, in whole seconds that divide a day"
    remedy = "choose another step, such as 15min"
    invalid = option_error(
        "--step", step, expected=expected, remedy=remedy, code=IssueCode.OUT_OF_RANGE
    )
    try:
        seconds = parse_quantity(step, "h") * SECONDS_PER_HOUR
    except UnitError as error:
        raise invalid from error
    if not 0.0 < seconds <= MAX_STEP_H * SECONDS_PER_HOUR:
        raise invalid
    whole = round(seconds)
    if (
        abs(seconds - whole) > RELATIVE_ROUNDING_TOLERANCE * seconds
        or (24 * SECONDS_PER_HOUR) % whole
    ):
        raise invalid
    return time_axes.regular_axes(
        time_axes.to_utc(start), days * 24 * SECONDS_PER_HOUR // whole, np.timedelta64(whole, "s")
    )


def weather_on(site: Site, path: Path | None, grid: xr.Dataset) -> tuple[xr.Dataset, SeriesNotes]:
    """Return the intervals with weather, by default the synthetic one."""
    edges, file = grid["instant"].to_numpy(), path or sites.series_file("weather")
    read = read_site_weather(site, file, start=edges[0], end=edges[-1])
    available = read["instant"].to_numpy()
    if path is None and not available[0] <= edges[0] <= edges[-1] <= available[-1]:
        first, last, start, end = map(
            units.format_minute, (available[0], available[-1], edges[0], edges[-1])
        )
        expected = f"weather from {start} to {end}; the synthetic one is from {first} to {last}"
        remedy = "give --weather FILE, or a --start within it"
        raise option_error(
            "--weather", "", expected=expected, remedy=remedy, code=IssueCode.MISSING
        )
    part = select_period(read, start=edges[0], end=edges[-1])
    notes = SeriesNotes(notes=tuple(weather_notes(site, file.name, read)))
    values = {name: ("time", _means(part, name, edges)) for name in WEATHER_VARIABLES}
    return tag_dataset(grid.assign(values)), SeriesNotes.of(file, part) + notes


def carbon_on(
    site: Site,
    path: Path | None,
    grid: xr.Dataset,
    *,
    kind: Literal["direct", "lca"],
    zone: str | None = None,
) -> tuple[xr.DataArray | None, SeriesNotes]:
    """Return the carbon intensity of a file on some intervals; None without a file. [kg MWh-1]"""
    if path is None:
        return None, SeriesNotes()
    name, edges = "carbon_intensity", grid["instant"].to_numpy()
    read = read_carbon(path, zone=zone, kind=kind, market_zone=site.zone)
    part = select_period(read, start=edges[0], end=edges[-1])
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
    """Return the power of each hall, from a file or from the share of working racks. [MW]"""
    halls, notes = site.machines_of(ITHall), SeriesNotes()
    if utilisation is not None and load is None:
        idle = np.array([hall.idle_power for hall in halls])
        full = np.array([hall.full_power for hall in halls])
        rows = np.tile(idle + utilisation * (full - idle), (grid.sizes["time"], 1))
    elif load is not None and utilisation is None:
        shares = np.array([hall.racks / site.rack_count for hall in halls])
        total, notes = _read_load(site, grid, load, zone=zone)
        rows = total[:, None] * shares
    else:
        remedy = "give either --load FILE or --utilisation SHARE"
        raise option_error("load", "", expected="one of --load and --utilisation", remedy=remedy)
    coords = {"hall": [hall.name for hall in halls]}
    power = xr.DataArray(rows, dims=("time", "hall"), coords=coords, attrs={"units": "MW"})
    return power, notes


def _read_load(
    site: Site, grid: xr.Dataset, load: Path, *, zone: str | None
) -> tuple[FloatArray, SeriesNotes]:
    """Return the power of all halls from a file. [MW]"""
    edges = grid["instant"].to_numpy()
    part = select_period(read_load(load, zone=zone), start=edges[0], end=edges[-1])
    total = _means(part, "hall_power", edges)
    limit = sum(hall.full_power for hall in site.machines_of(ITHall))
    is_beyond = total > limit * (1.0 + RELATIVE_ROUNDING_TOLERANCE)
    if is_beyond.any():
        first = int(np.argmax(is_beyond))
        raise ProblemError.single(
            "load",
            IssueCode.OUT_OF_RANGE,
            f"{load.name}, {units.format_minute(edges[first])}",
            found=f"{total[first]:g} MW",
            expected=f"at most {limit:g} MW, which the halls draw at full power",
            remedy="correct the value, or the unit of its column",
        )
    return np.minimum(total, limit), SeriesNotes.of(load, part) + _below_idle(site, load, total)


def _below_idle(site: Site, load: Path, total: FloatArray) -> SeriesNotes:
    """Return a note if the load is below the power of idle racks."""
    idle = sum(hall.idle_power for hall in site.machines_of(ITHall))
    is_below = total < idle * (1.0 - RELATIVE_ROUNDING_TOLERANCE)
    if not is_below.any():
        return SeriesNotes()
    count = f"{is_below.sum()} of {len(total)} intervals"
    text = f"{load.name}: below the {idle:g} MW of idle racks in {count}, as if some were off"
    return SeriesNotes(notes=(text,))


def _means(part: xr.Dataset, name: str, edges: np.ndarray) -> FloatArray:
    """Return the means of a series between edges, which it must cover."""
    return time_axes.regrid(part[name].to_numpy(), part["instant"].to_numpy(), edges)
