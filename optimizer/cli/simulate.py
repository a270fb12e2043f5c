"""`gigatwin simulate`: what a site would draw at a load, in a weather."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
import typer
import xarray as xr
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

import sites
from optimizer.cli.show import (
    JsonFile,
    console,
    counted,
    made_file,
    picture_option,
    table,
    write_json,
)
from optimizer.cli.streaming import Detail, stream
from optimizer.cli.trip import Day, asked_trips, show_trips
from optimizer.heat import sell_heat
from optimizer.service.trials.results import write_netcdf
from optimizer.service.world import read_outdoors
from optimizer.sun_and_wind import use_sun_and_wind
from telemetry.sources import between, read_carbon, read_load
from twin import axes, state
from twin.effectiveness import indicators
from twin.equipment import Accelerators
from twin.errors import Fault, ProblemError, UnitError
from twin.forecast.record import WEATHER
from twin.physics import FloatArray
from twin.scale.view import STEPS
from twin.simulation import simulate as simulate_site
from twin.site import Site
from twin.units import canonical
from twin.vocabulary import tag, tag_all

app = typer.Typer(add_completion=False, help="Run a site at a load, in a weather.")

LONGEST: Final = 1.0
"""Longest step that the temperatures are followed at. [h]"""

ROUNDING: Final = 1e-9
"""Difference of a count from a whole number that is no difference. [1]"""

WeatherFile = Annotated[
    Path | None, typer.Option(help="Weather file; left out, the synthetic June 2026 that ships.")
]
CarbonFile = Annotated[
    Path | None,
    typer.Option(help="Carbon intensity, for CUE; left out, synthetic where the weather is."),
]


class Scale(StrEnum):
    """What a run is kept of."""

    SITE = "site"
    RACK = "rack"
    CHIP = "chip"


WORDS: Final = {
    "energy_mwh": ("energy [MWh]", "{:,.1f}"),
    "it_energy_mwh": ("energy of the IT [MWh]", "{:,.1f}"),
    "facility_power_max_mw": ("greatest power of the site [MW]", "{:,.2f}"),
    "pue": ("PUE, power usage effectiveness [1]", "{:.3f}"),
    "wue": ("WUE, water used for the IT [m3/MWh]", "{:.3f}"),
    "cue": ("CUE, carbon for the IT [kg/MWh]", "{:.1f}"),
    "erf": ("ERF, share of the energy reused [1]", "{:.3f}"),
    "ref": ("REF, share of own sun, wind and contracts [1]", "{:.3f}"),
    "closure": ("greatest error of a balance [1]", "{:.0e}"),
}
"""Key of the summary -> its words with the unit, and its form."""


@app.command()
def simulate(  # noqa: PLR0913  (one parameter an option of the command line)
    site: Annotated[str, typer.Argument(help="Name of a declared site, or path of a file.")],
    start: Annotated[str, typer.Option(help="First day, or moment; a date is 00:00 UTC.")],
    days: Annotated[int, typer.Option(min=1, max=400, help="Days to run.")],
    weather: WeatherFile = None,
    carbon: CarbonFile = None,
    carbon_kind: Annotated[Literal["direct", "lca"], typer.Option()] = "direct",
    step: Annotated[str, typer.Option(help="Length of an interval.")] = "15min",
    load: Annotated[
        Path | None, typer.Option(help="CSV of time_utc,hall_power_mw: power of all halls.")
    ] = None,
    utilisation: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Share of racks at full work.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="NetCDF file for everything it did; Zarr folder of a level.")
    ] = None,
    level: Annotated[
        Scale, typer.Option(help="Scale that --out keeps: rack adds every rack and coolant unit.")
    ] = Scale.SITE,
    level_step: Annotated[
        str | None, typer.Option(help="Step of racks, 1 min if left out, or chips, 1 s.")
    ] = None,
    begin: Annotated[
        str | None, typer.Option("--from", help="Keep racks or chips from here.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Keep them up to here.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the spread of work over racks.")] = 0,
    trip: Annotated[
        str | None, typer.Option(help="Show what follows if this fails, as chiller_3; or all.")
    ] = None,
    picture: Annotated[Path | None, picture_option("PNG, SVG or PDF of what follows.")] = None,
    json_file: JsonFile = None,
) -> None:
    """Run the twin of a site through a weather at a load, and sum up what it draws."""
    loaded, screen = sites.load(site), console(json_file)
    detail = _detail(level, level_step, slice(begin, end), seed=seed)
    if out is not None and detail is None:
        made_file(out, "--out")
    asked_trips(loaded, trip, picture=picture)
    grid = grid_of(start, days, step)
    outdoors = outdoors_on(loaded, weather, grid)
    intensity = carbon_on(carbon or _synthetic(weather), grid, kind=carbon_kind)
    halls = halls_on(loaded, grid, load, utilisation)
    operation = use_sun_and_wind(sell_heat(outdoors, loaded).assign(hall_power=halls), loaded)
    screen.print(f"simulating {loaded.name}: {grid.sizes['time']} intervals of {step}")
    begun = state.rest(loaded, grid["time"].to_numpy()[0])
    if detail is None:
        result = simulate_site(loaded, begun, operation)
    else:
        result = _stream(loaded, operation, detail, out=out, screen=screen)
    summary = _summary(result, intensity)
    screen.print(_table(summary, f"{loaded.name}, {counted(days, 'day')} from {start}"))
    if out is not None:
        if detail is None:
            done = result.merge(operation, compat="override")
            write_netcdf(out, done, site=loaded.name, title=f"{loaded.name} from {start}")
        screen.print(f"wrote {out}", markup=False)
    day = Day(site=loaded, start=begun, operation=operation, result=result)
    write_json(summary | show_trips(day, trip, picture=picture, screen=screen), json_file)


def _detail(level: Scale, step: str | None, time: slice, *, seed: int) -> Detail | None:
    """Return what a level is to hold; None for the site as a whole."""
    if level is Scale.SITE:
        return None
    width = STEPS[level.value]
    if step is not None:
        try:
            width = np.timedelta64(round(canonical(step, "h") * 3_600_000), "ms")
        except UnitError as error:
            mend = "choose a step that divides --step, as 10s"
            fault = Fault(place="--level-step", value=step, mend=mend)
            raise ProblemError("command", [fault]) from error
    return Detail(level="rack" if level is Scale.RACK else "chip", step=width, time=time, seed=seed)


def _stream(
    site: Site, operation: xr.Dataset, detail: Detail, *, out: Path | None, screen: Console
) -> xr.Dataset:
    """Run a site under a progress bar, and write the racks or chips behind the run."""
    if out is None:
        mend = "name a folder for them: --out DIR.zarr"
        raise ProblemError("command", [Fault(place="--out", value="", mend=mend)])
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} steps"),
        TimeRemainingColumn(),
        console=screen,
    )
    with bar:
        task = bar.add_task(f"every {detail.level}")

        def listen(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        return stream(site, operation, detail, folder=out, listen=listen)


def grid_of(start: str, days: int, step: str) -> xr.Dataset:
    """Return the intervals of some days; a step that does not divide a day is refused."""
    mend = f"choose a step of at most {LONGEST:g} h that divides a day, as 15min"
    fault = ProblemError("command", [Fault(place="--step", value=step, mend=mend)])
    try:
        hours = canonical(step, "h")
    except UnitError as error:
        raise fault from error
    if not 0.0 < hours <= LONGEST:
        raise fault
    count = days * 24.0 / hours
    if abs(count - round(count)) > ROUNDING:
        raise fault
    width = np.timedelta64(round(hours * 3600), "s")
    return axes.regular(axes.utc(start), round(count), width)


def outdoors_on(site: Site, path: Path | None, grid: xr.Dataset) -> xr.Dataset:
    """Return the intervals with the weather of a file; without one the synthetic must do."""
    edges = grid["instant"].to_numpy()
    read = read_outdoors(site, path or sites.data("weather"), start=edges[0], end=edges[-1])
    has = read["instant"].to_numpy()
    if path is None and not has[0] <= edges[0] <= edges[-1] <= has[-1]:
        first, last, start, end = map(axes.to_minute, (has[0], has[-1], edges[0], edges[-1]))
        mend = (
            f"the run is from {start} to {end}, and the synthetic weather that ships from {first} "
            f"to {last} only; give --weather FILE, or a --start that it covers"
        )
        raise ProblemError("command", [Fault(place="--weather", value="", mend=mend)])
    return tag_all(grid.assign({name: ("time", _means(read, name, edges)) for name in WEATHER}))


def _means(read: xr.Dataset, name: str, edges: np.ndarray) -> FloatArray:
    """Return the means of a series between some edges, which it must cover."""
    part = between(read, start=edges[0], end=edges[-1])
    return axes.regrid(part[name].to_numpy(), part["instant"].to_numpy(), edges)


def _synthetic(weather: Path | None) -> Path | None:
    """Return the synthetic carbon that goes with synthetic weather; None beside a file's."""
    return sites.data("prices") if weather is None else None


def carbon_on(
    path: Path | None, grid: xr.Dataset, *, kind: Literal["direct", "lca"]
) -> xr.DataArray | None:
    """Return the carbon intensity of a file on some intervals; None without one. [kg MWh-1]"""
    if path is None:
        return None
    name, edges = "carbon_intensity", grid["instant"].to_numpy()
    values = _means(read_carbon(path, kind=kind), name, edges)
    return tag(xr.DataArray(values, coords={"time": grid["time"]}), name)


def halls_on(
    site: Site, grid: xr.Dataset, load: Path | None, utilisation: float | None
) -> xr.DataArray:
    """Return the power of each hall, from a file or from a share of racks at work. [MW]"""
    halls = site.of(Accelerators)
    if utilisation is not None and load is None:
        idle = np.array([hall.idle_power for hall in halls])
        full = np.array([hall.full_power for hall in halls])
        rows = np.tile(idle + utilisation * (full - idle), (grid.sizes["time"], 1))
    elif load is not None and utilisation is None:
        shares = np.array([hall.racks / site.racks for hall in halls])
        rows = _loaded(site, grid, load)[:, None] * shares
    else:
        mend = "give either --load FILE or --utilisation SHARE"
        raise ProblemError("command", [Fault(place="load", value="", mend=mend)])
    names = [hall.name for hall in halls]
    return xr.DataArray(rows, dims=("time", "hall"), coords={"hall": names}, attrs={"units": "MW"})


def _loaded(site: Site, grid: xr.Dataset, load: Path) -> FloatArray:
    """Return the power of all halls from a file. [MW]"""
    edges = grid["instant"].to_numpy()
    total = _means(read_load(load), "hall_power", edges)
    most = sum(hall.full_power for hall in site.of(Accelerators))
    if (total > most).any():
        first = int(np.argmax(total > most))
        place = f"{load.name}, {axes.to_minute(edges[first])}"
        mend = f"the halls draw {most:g} MW at most; correct it, or the unit of its column"
        fault = Fault(place=place, value=f"{total[first]:g} MW", mend=mend)
        raise ProblemError("load", [fault])
    return total


def _table(summary: Mapping[str, float | None], title: str) -> Table:
    shown = table(title, "sum", "value", numbers=["value"])
    for name, (words, form) in WORDS.items():
        value = summary[name]
        shown.add_row(escape(words), "unknown" if value is None else form.format(value))
    return shown


def _summary(result: xr.Dataset, carbon_intensity: xr.DataArray | None) -> dict[str, float | None]:
    hours = result["duration"]
    found = indicators(result, carbon_intensity=carbon_intensity)
    return {
        "energy_mwh": float((result["facility_power"] * hours).sum()),
        "it_energy_mwh": float((result["it_power"] * hours).sum()),
        "facility_power_max_mw": float(result["facility_power"].max()),
        "pue": float(found["pue"]),
        "wue": float(found["wue"]),
        "cue": float(found["cue"]) if "cue" in found else None,
        "erf": float(found["erf"]),
        "ref": float(found["ref"]),
        "closure": float(result["closure"].max()),
    }
