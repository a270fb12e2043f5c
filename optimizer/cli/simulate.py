"""`gigatwin simulate`: what a site would draw at a load, in a weather."""

from collections.abc import Mapping
from dataclasses import asdict
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
from optimizer.baselines.heat import sell_heat
from optimizer.baselines.sun_and_wind import use_sun_and_wind
from optimizer.cli.conditions import (
    ROUNDING,
    LoadFile,
    Zone,
    carbon_on,
    grid_of,
    halls_on,
    outdoors_on,
)
from optimizer.cli.show import (
    JsonFile,
    console,
    counted,
    made_file,
    picture_option,
    table,
    tell,
    write_json,
)
from optimizer.cli.streaming import Detail, stream
from optimizer.cli.trip import Day, asked_trips, show_trips
from optimizer.service.trials.results import write_netcdf
from twin.equipment import CoolingPlant
from twin.errors import ProblemError, UnitError, ValidationIssue
from twin.racks.view import DEFAULT_STEPS, ViewLevel
from twin.reporting.indicators import indicators
from twin.simulation.limits import freeze_risks, limit_excess, run_violations
from twin.simulation.simulate import settled_state
from twin.simulation.simulate import simulate as simulate_site
from twin.site import Site
from twin.units import format_minute, parse_quantity
from twin.weather import Weather

app = typer.Typer(add_completion=False, help="Run a site at a load, in a weather.")

MILLISECONDS: Final = 3_600_000
"""Milliseconds of an hour."""

WeatherFile = Annotated[
    Path | None, typer.Option(help="Weather file; left out, the synthetic June 2026 that ships.")
]
CarbonFile = Annotated[
    Path | None,
    typer.Option(help="Carbon intensity, for CUE; left out, synthetic where the weather is."),
]
Utilisation = Annotated[
    float | None, typer.Option(min=0.0, max=1.0, help="Share of racks at full work.")
]
LevelStep = Annotated[
    str | None, typer.Option(help="Step of racks, 1 min if left out, or chips, 1 s.")
]
Seed = Annotated[
    int | None, typer.Option(min=0, help="Of the spread of work over racks; 0 if left out.")
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
    "ref": ("REF, share of own and contracted sun and wind [1]", "{:.3f}"),
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
    load: LoadFile = None,
    zone: Zone = None,
    utilisation: Utilisation = None,
    out: Annotated[
        Path | None, typer.Option(help="NetCDF file for everything it did; Zarr folder of a level.")
    ] = None,
    level: Annotated[
        Scale, typer.Option(help="Scale that --out keeps: rack adds every rack and coolant unit.")
    ] = Scale.SITE,
    level_step: LevelStep = None,
    begin: Annotated[
        str | None, typer.Option("--from", help="Keep racks or chips from here.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Keep them up to here.")] = None,
    seed: Seed = None,
    trip: Annotated[
        str | None, typer.Option(help="Show what follows if this fails, as chiller_3; or all.")
    ] = None,
    picture: Annotated[Path | None, picture_option("PNG, SVG or PDF of what follows.")] = None,
    json_file: JsonFile = None,
) -> None:
    """Run the twin of a site through a weather at a load, and sum up what it draws."""
    loaded, screen = sites.load_site(site), console(json_file)
    detail = _detail(level, level_step, slice(begin, end), seed=seed)
    if out is not None and detail is None:
        made_file(out, "--out")
    asked_trips(loaded, trip, picture=picture)
    grid = grid_of(start, days, step)
    outdoors, of_air = outdoors_on(loaded, weather, grid)
    file = carbon or _synthetic(weather)
    intensity, of_carbon = carbon_on(file, grid, kind=carbon_kind, zone=zone)
    halls, of_load = halls_on(loaded, grid, load, utilisation, zone=zone)
    tell(screen, remarks := of_air + of_carbon + of_load)
    operation = use_sun_and_wind(sell_heat(outdoors, loaded).assign(hall_power=halls), loaded)
    screen.print(f"simulating {loaded.name}: {grid.sizes['time']} intervals of {step}")
    begun = settled_state(loaded, operation)
    if detail is None:
        result = simulate_site(loaded, begun, operation)
    else:
        result = _stream(loaded, operation, detail, out=out, screen=screen)
    summary = _summary(result, intensity)
    screen.print(_table(summary, f"{loaded.name}, {counted(days, 'day')} from {start}"))
    if out is not None and detail is None:
        done = _whole(result, operation, intensity)
        write_netcdf(out, done, site=loaded.name, title=f"{loaded.name} from {start}")
    if out is not None:
        screen.print(f"wrote {out}", markup=False)
    if detail is not None and trip is not None:  # beside racks and chips only sums are kept
        result = simulate_site(loaded, begun, operation)
    shown = _exceeded(loaded, result, operation, screen) | remarks.told
    day = Day(site=loaded, start=begun, operation=operation, result=result)
    write_json(summary | shown | show_trips(day, trip, picture=picture, screen=screen), json_file)


def _exceeded(
    site: Site, result: xr.Dataset, operation: xr.Dataset, screen: Console
) -> dict[str, object]:
    """Tell which limits the run does not keep, and where weather lies outside the correlations."""
    distance = result["beyond"] if "beyond" in result else limit_excess(site, result)
    rows: list[dict[str, object]] = []
    for one in run_violations(site, distance):
        first = format_minute(one.first)
        rows.append(asdict(one) | {"first": first})
        screen.print(
            f"beyond its limit: {one.limit} reaches {one.reached:.4g} {one.unit}, the limit is "
            f"{one.bound:.4g}; {one.count} of {one.of} intervals, the first {first}",
            markup=False,
        )
    weather, extrapolated = Weather.of(operation), []
    for plant in site.of(CoolingPlant):
        if (is_out := plant.extrapolates(weather)).any():
            first = format_minute(operation["time"].to_numpy()[np.argmax(is_out)])
            place = f"{plant.name}: {is_out.sum()} of {len(is_out)} intervals, the first {first}"
            extrapolated.append({"plant": plant.name, "count": int(is_out.sum()), "first": first})
            screen.print(f"beyond the tower's correlation, taken at its end: {place}", markup=False)
    frost = _frozen(site, result, weather, screen)
    return {"beyond": rows, "extrapolated": extrapolated, "frost": frost}


def _frozen(
    site: Site, result: xr.Dataset, weather: Weather, screen: Console
) -> list[dict[str, object]]:
    """Tell where the set point is held only if water does not pass all coolers."""
    rows: list[dict[str, object]] = []
    for one in freeze_risks(site, result, weather):
        first = format_minute(one.first)
        rows.append(asdict(one) | {"first": first})
        screen.print(
            f"frost: through all coolers the water of {one.plant} would leave at {one.reached:.1f} "
            f"degC and freezes at {one.freezing_point:g}; {one.count} of {one.of} intervals, the "
            f"first {first}. Figures hold if it is turned past them or units stop; or add glycol",
            markup=False,
        )
    return rows


def _whole(result: xr.Dataset, operation: xr.Dataset, carbon: xr.DataArray | None) -> xr.Dataset:
    """Return what a run did, in what weather, and the carbon of the grid where it is known."""
    done = result.merge(operation, compat="override")
    return done if carbon is None else done.assign(carbon_intensity=carbon)


def _detail(level: Scale, step: str | None, time: slice, *, seed: int | None) -> Detail | None:
    """Return what a level is to hold; None for the site as a whole, of which nothing is asked."""
    if level is Scale.SITE:
        asked = {"--level-step": step, "--from": time.start, "--to": time.stop, "--seed": seed}
        mend = "is of racks or chips: add --level rack or --level chip"
        faults = [
            ValidationIssue(place=word, value=str(value), mend=mend)
            for word, value in asked.items()
            if value is not None
        ]
        if faults:
            raise ProblemError("command", faults)
        return None
    width = DEFAULT_STEPS[level.value] if step is None else _width(step)
    name: ViewLevel = "rack" if level is Scale.RACK else "chip"
    return Detail(level=name, step=width, time=time, seed=seed or 0)


def _width(step: str) -> np.timedelta64:
    """Return the step of racks or chips, in whole milliseconds."""
    mend = "choose a step that divides --step, as 10s"
    fault = ProblemError("command", [ValidationIssue(place="--level-step", value=step, mend=mend)])
    try:
        length = parse_quantity(step, "h") * MILLISECONDS
    except UnitError as error:
        raise fault from error
    whole = round(length)
    if whole < 1 or abs(length - whole) > ROUNDING * length:
        raise fault
    return np.timedelta64(whole, "ms")


def _stream(
    site: Site, operation: xr.Dataset, detail: Detail, *, out: Path | None, screen: Console
) -> xr.Dataset:
    """Run a site under a progress bar, and write the racks or chips behind the run."""
    if out is None:
        mend = "name a folder for them: --out DIR.zarr"
        raise ProblemError("command", [ValidationIssue(place="--out", value="", mend=mend)])
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


def _synthetic(weather: Path | None) -> Path | None:
    """Return the synthetic carbon that goes with synthetic weather; None beside a file's."""
    return sites.series_file("prices") if weather is None else None


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
