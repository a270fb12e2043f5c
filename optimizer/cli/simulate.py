"""`gigatwin simulate`: what a site would draw at a load, in a weather.

What `gigatwin simulate --trip` shows: how long a site endures a failure, and what follows.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib import import_module
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
from optimizer.cli.conditions import (
    RELATIVE_TOLERANCE,
    LoadFileOption,
    LoadZoneOption,
    carbon_on,
    hall_power_on,
    time_axis,
    weather_on,
)
from optimizer.cli.options import JsonFile, figure_option, prepare_file
from optimizer.cli.output import console, pluralise, print_series_notes, table, write_json
from optimizer.policies.storage_and_renewables import sell_heat, use_renewables
from optimizer.reporting.run_files import DetailRequest, write_detail, write_netcdf
from twin.contingency.contingencies import Contingency, find_contingency, single_contingencies
from twin.contingency.ride_through_time import (
    RIDE_THROUGH_HORIZON_H,
    contingency_trajectory,
    temperature_limits,
    time_to_limit,
)
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

MILLISECONDS_PER_HOUR: Final = 3_600_000
"""Milliseconds of an hour."""

WeatherFileOption = Annotated[
    Path | None, typer.Option(help="Weather file; left out, the synthetic June 2026 that ships.")
]
CarbonFileOption = Annotated[
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


class DetailLevel(StrEnum):
    """What a run is kept of."""

    SITE = "site"
    RACK = "rack"
    CHIP = "chip"


SUMMARY_LABELS: Final = {
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
    weather: WeatherFileOption = None,
    carbon: CarbonFileOption = None,
    carbon_kind: Annotated[Literal["direct", "lca"], typer.Option()] = "direct",
    step: Annotated[str, typer.Option(help="Length of an interval.")] = "15min",
    load: LoadFileOption = None,
    zone: LoadZoneOption = None,
    utilisation: Utilisation = None,
    out: Annotated[
        Path | None, typer.Option(help="NetCDF file for everything it did; Zarr folder of a level.")
    ] = None,
    level: Annotated[
        DetailLevel,
        typer.Option(help="Scale that --out keeps: rack adds every rack and coolant unit."),
    ] = DetailLevel.SITE,
    level_step: LevelStep = None,
    begin: Annotated[
        str | None, typer.Option("--from", help="Keep racks or chips from here.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Keep them up to here.")] = None,
    seed: Seed = None,
    trip: Annotated[
        str | None, typer.Option(help="Show what follows if this fails, as chiller_3; or all.")
    ] = None,
    picture: Annotated[Path | None, figure_option("PNG, SVG or PDF of what follows.")] = None,
    json_file: JsonFile = None,
) -> None:
    """Run the twin of a site through a weather at a load, and sum up what it draws."""
    loaded, screen = sites.load_site(site), console(json_file)
    detail = _detail(level, level_step, slice(begin, end), seed=seed)
    if out is not None and detail is None:
        prepare_file(out, "--out")
    select_trips(loaded, trip, picture=picture)
    grid = time_axis(start, days, step)
    outdoors, of_air = weather_on(loaded, weather, grid)
    file = carbon or _synthetic(weather)
    intensity, of_carbon = carbon_on(file, grid, kind=carbon_kind, zone=zone)
    halls, of_load = hall_power_on(loaded, grid, load, utilisation, zone=zone)
    print_series_notes(screen, remarks := of_air + of_carbon + of_load)
    operation = use_renewables(sell_heat(outdoors, loaded).assign(hall_power=halls), loaded)
    screen.print(f"simulating {loaded.name}: {grid.sizes['time']} intervals of {step}")
    begun = settled_state(loaded, operation)
    if detail is None:
        result = simulate_site(loaded, begun, operation)
    else:
        result = _stream(loaded, operation, detail, out=out, screen=screen)
    summary = _summary(result, intensity)
    screen.print(_table(summary, f"{loaded.name}, {pluralise(days, 'day')} from {start}"))
    if out is not None and detail is None:
        done = _full_result(result, operation, intensity)
        write_netcdf(out, done, site=loaded.name, title=f"{loaded.name} from {start}")
    if out is not None:
        screen.print(f"wrote {out}", markup=False)
    if detail is not None and trip is not None:  # beside racks and chips only sums are kept
        result = simulate_site(loaded, begun, operation)
    shown = _exceeded(loaded, result, operation, screen) | remarks.as_json
    day = SimulatedPeriod(site=loaded, start=begun, operation=operation, result=result)
    write_json(summary | shown | print_trips(day, trip, picture=picture, screen=screen), json_file)


def _exceeded(
    site: Site, result: xr.Dataset, operation: xr.Dataset, screen: Console
) -> dict[str, object]:
    """Tell which limits the run does not keep, and where weather lies outside the correlations."""
    distance = result["beyond"] if "beyond" in result else limit_excess(site, result)
    rows: list[dict[str, object]] = []
    for one in run_violations(site, distance):
        first = format_minute(one.first)
        rows.append(_with_json_keys(asdict(one) | {"first": first}))
        screen.print(
            f"beyond its limit: {one.limit} reaches {one.reached:.4g} {one.unit}, the limit is "
            f"{one.bound:.4g}; {one.count} of {one.interval_count} intervals, the first {first}",
            markup=False,
        )
    weather, extrapolated = Weather.from_dataset(operation), []
    for plant in site.machines_of(CoolingPlant):
        if (is_out := plant.is_extrapolated(weather)).any():
            first = format_minute(operation["time"].to_numpy()[np.argmax(is_out)])
            place = f"{plant.name}: {is_out.sum()} of {len(is_out)} intervals, the first {first}"
            extrapolated.append({"plant": plant.name, "count": int(is_out.sum()), "first": first})
            screen.print(f"beyond the tower's correlation, taken at its end: {place}", markup=False)
    frost = _print_frost(site, result, weather, screen)
    return {"beyond": rows, "extrapolated": extrapolated, "frost": frost}


def _with_json_keys(row: dict[str, object]) -> dict[str, object]:
    """Return a row of limit exceedances under the key names of the JSON output."""
    return {"of" if key == "interval_count" else key: value for key, value in row.items()}


def _print_frost(
    site: Site, result: xr.Dataset, weather: Weather, screen: Console
) -> list[dict[str, object]]:
    """Tell where the set point is held only if water does not pass all coolers."""
    rows: list[dict[str, object]] = []
    for one in freeze_risks(site, result, weather):
        first = format_minute(one.first)
        rows.append(_with_json_keys(asdict(one) | {"first": first}))
        screen.print(
            f"frost: through all coolers the water of {one.plant} would leave at {one.reached:.1f} "
            f"degC and freezes at {one.freezing_point:g}; "
            f"{one.count} of {one.interval_count} intervals, the first {first}. "
            f"Figures hold if it is turned past them or units stop; or add glycol",
            markup=False,
        )
    return rows


def _full_result(
    result: xr.Dataset, operation: xr.Dataset, carbon: xr.DataArray | None
) -> xr.Dataset:
    """Return what a run did, in what weather, and the carbon of the grid where it is known."""
    done = result.merge(operation, compat="override")
    return done if carbon is None else done.assign(carbon_intensity=carbon)


def _detail(
    level: DetailLevel, step: str | None, time: slice, *, seed: int | None
) -> DetailRequest | None:
    """Return what a level is to hold; None for the site as a whole, of which nothing is asked."""
    if level is DetailLevel.SITE:
        asked = {"--level-step": step, "--from": time.start, "--to": time.stop, "--seed": seed}
        remedy = "is of racks or chips: add --level rack or --level chip"
        faults = [
            ValidationIssue(location=word, found=str(value), remedy=remedy)
            for word, value in asked.items()
            if value is not None
        ]
        if faults:
            raise ProblemError("command", faults)
        return None
    width = DEFAULT_STEPS[level.value] if step is None else _width(step)
    name: ViewLevel = "rack" if level is DetailLevel.RACK else "chip"
    return DetailRequest(level=name, step=width, time=time, seed=seed or 0)


def _width(step: str) -> np.timedelta64:
    """Return the step of racks or chips, in whole milliseconds."""
    remedy = "choose a step that divides --step, as 10s"
    fault = ProblemError(
        "command", [ValidationIssue(location="--level-step", found=step, remedy=remedy)]
    )
    try:
        length = parse_quantity(step, "h") * MILLISECONDS_PER_HOUR
    except UnitError as error:
        raise fault from error
    whole = round(length)
    if whole < 1 or abs(length - whole) > RELATIVE_TOLERANCE * length:
        raise fault
    return np.timedelta64(whole, "ms")


def _stream(
    site: Site, operation: xr.Dataset, detail: DetailRequest, *, out: Path | None, screen: Console
) -> xr.Dataset:
    """Run a site under a progress bar, and write the racks or chips behind the run."""
    if out is None:
        remedy = "name a folder for them: --out DIR.zarr"
        raise ProblemError("command", [ValidationIssue(location="--out", found="", remedy=remedy)])
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

        return write_detail(site, operation, detail, folder=out, on_progress=listen)


def _synthetic(weather: Path | None) -> Path | None:
    """Return the synthetic carbon that goes with synthetic weather; None beside a file's."""
    return sites.series_file("prices") if weather is None else None


def _table(summary: Mapping[str, float | None], title: str) -> Table:
    shown = table(title, "sum", "value", numbers=["value"])
    for name, (words, form) in SUMMARY_LABELS.items():
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


ALL_TRIPS: Final = "all"
"""Asks for every single failure of the site."""

MAX_PATH_ROWS: Final = 16
"""Most rows of a path that are shown, about. [1]"""

ROW_INTERVALS_MIN: Final = (1, 2, 5, 10, 15, 30, 60)
"""Minutes between two rows. [min]"""

MINUTES_WITHOUT_LIMIT: Final = 60
"""Minutes that are shown where no limit is reached. [min]"""

DURATION_FACTOR: Final = 1.25
"""Minutes that are shown over those to the limit. [1]"""

PATH_COLUMNS: Final = {
    "chip_temperature": "chips of",
    "technology_supply_temperature": "coolant of",
    "facility_supply_temperature": "water of",
    "rack_inlet_temperature": "air of",
    "cooling_plant_output": "heat to",
    "tank_discharge": "heat to",
    "tank_level": "left in",
}
"""What is shown of a path, and how people call it. [degC; MW; MWh]"""

MIN_CHANGE: Final = 0.05
"""What moves less is not shown. [K; MW; MWh]"""

TRIP_LEGEND: Final = (
    "X/power: the supply of X fails and comes back. A plant's own name: all of it stands still."
)
"""What two kinds of names mean."""


@dataclass(frozen=True, kw_only=True)
class SimulatedPeriod:
    """A site that was simulated.

    Attributes
    ----------
    site
        The site.
    start
        Its state at the first edge.
    operation, result
        What it was told, and what it did.
    """

    site: Site
    start: xr.Dataset
    operation: xr.Dataset
    result: xr.Dataset


def select_trips(site: Site, name: str | None, *, picture: Path | None) -> tuple[Contingency, ...]:
    """Return the failures that somebody wants to see, looked at before the work is done.

    Parameters
    ----------
    site
        The site.
    name
        The failure as people call it; "all" for every one, None for none.
    picture
        File for the figure of one failure.

    Raises
    ------
    ProblemError
        If there is no such failure, or a picture of all is wanted.
    """
    if name in {ALL_TRIPS, None} and picture is not None:
        remedy = "name one failure for a picture, as --trip chiller_1"
        raise ProblemError(
            "command", [ValidationIssue(location="--picture", found=str(picture), remedy=remedy)]
        )
    if name is None:
        return ()
    return single_contingencies(site) if name == ALL_TRIPS else (find_contingency(site, name),)


def print_trips(
    period: SimulatedPeriod, name: str | None, *, picture: Path | None, screen: Console
) -> dict[str, object]:
    """Show how long a site endures one failure, or each; return it for scripts.

    Parameters
    ----------
    period
        What was simulated; the failure happens at its worst moment.
    name
        The failure as people call it; "all" for every one, None for none.
    picture
        File for the figure of one failure.
    screen
        Where tables go.

    Returns
    -------
    dict
        For every failure ``trip, title, alike, time_to_limit_min``, null if no limit is reached,
        ``limit`` and ``time``; for one also its ``path``; empty for none. [min; degC; MW; MWh]

    Raises
    ------
    ProblemError
        If there is no such failure, or a picture of all is wanted.
    """
    every = select_trips(period.site, name, picture=picture)
    if not every:
        return {}
    found = time_to_limit(
        period.site, period.start, period.operation, contingencies=every, result=period.result
    )
    if name == ALL_TRIPS:
        return _print_all_trips(period, every, found, screen=screen)
    return _print_trip(period, every[0], found.isel(trip=0), picture=picture, screen=screen)


def _print_all_trips(
    day: SimulatedPeriod, every: tuple[Contingency, ...], found: xr.Dataset, *, screen: Console
) -> dict[str, object]:
    rows = [_row(trip, found.isel(trip=place)) for place, trip in enumerate(every)]
    rows.sort(key=lambda row: _order(row["time_to_limit_min"]))
    title = f"{day.site.name}: minutes from a failure to the first limit, at the worst moment"
    shown = table(title, "min", "failure", "first limit", "worst at", numbers=["min"])
    for row in rows:
        reached = row["time_to_limit_min"]
        words = [str(row[name] or "-") for name in ("trip", "limit", "time")]
        shown.add_row(f"{reached:.1f}" if isinstance(reached, float) else "none", *words)
    screen.print(shown)
    screen.print(TRIP_LEGEND, markup=False)
    return {"site": day.site.name, "trips": rows}


def _order(minutes: object) -> float:
    return minutes if isinstance(minutes, float) else np.inf


def _row(trip: Contingency, found: xr.Dataset) -> dict[str, object]:
    """Return the worst moment of one failure as plain values."""
    times = found["time_to_limit"].to_numpy()
    place = int(times.argmin())
    minutes = float(times[place])
    stamp = format_minute(found["time"].to_numpy()[place])
    return {
        "trip": trip.name,
        "title": trip.title,
        "alike": trip.equivalent_units,
        "time_to_limit_min": minutes if np.isfinite(minutes) else None,
        "limit": str(found["limit"].to_numpy()[place]),
        "time": stamp if np.isfinite(minutes) else None,
    }


def _print_trip(
    day: SimulatedPeriod,
    trip: Contingency,
    found: xr.Dataset,
    *,
    picture: Path | None,
    screen: Console,
) -> dict[str, object]:
    row = _row(trip, found)
    reached = _order(row["time_to_limit_min"])
    times = found["time_to_limit"].to_numpy()
    load = day.result["cooling_load"].sum("circuit").to_numpy()
    place = int(times.argmin() if np.isfinite(reached) else load.argmax())
    minutes = (
        MINUTES_WITHOUT_LIMIT if np.isinf(reached) else int(np.ceil(DURATION_FACTOR * reached)) + 2
    )
    path = contingency_trajectory(
        day.site,
        day.start,
        day.operation,
        contingency=trip,
        minutes=min(minutes, round(60 * RIDE_THROUGH_HORIZON_H)),
        interval=place,
        result=day.result,
    )
    ceilings = temperature_limits(day.site)
    words = f"{row['limit']} after {reached:.1f} min" if np.isfinite(reached) else "no limit"
    when = format_minute(found["time"].to_numpy()[place])
    title = f"{day.site.name}, {trip.name} fails at {when}: {words}"
    _show_path(path, ceilings, title=title, screen=screen)
    if np.isinf(reached):
        screen.print(
            f"no limit is reached in {RIDE_THROUGH_HORIZON_H:g} h, at any moment of the run"
        )
    if picture is not None:
        plots = import_module("twin.plots")  # matplotlib is slow to import
        plots.plot_contingency(path, ceilings, title=title).savefig(picture)
        screen.print(f"wrote {picture}", markup=False)
    limits: dict[str, dict[str, float]] = {}
    for (name, owner), high in ceilings.items():
        limits.setdefault(name, {})[owner] = high
    return {"site": day.site.name, **row, "path": _plain(path), "path_limits": limits}


def _show_path(
    path: xr.Dataset, ceilings: dict[tuple[str, str], float], *, title: str, screen: Console
) -> None:
    """Print some minutes of what moves; limits stand in the headings."""
    moving: dict[bytes, tuple[str, np.ndarray, float | None]] = {}
    for name, word in PATH_COLUMNS.items():
        for owner, values in _columns(path, name):
            if np.ptp(values) >= MIN_CHANGE:
                ceiling = ceilings.get((name, owner))
                head = f"{word} {owner}" + ("" if ceiling is None else f" (<{ceiling:g})")
                moving.setdefault(values.tobytes(), (head, values, ceiling))
    if not moving:
        screen.print(f"{title}\nnothing moves by {MIN_CHANGE:g}, neither temperatures nor heat")
        return
    heads = [head for head, *_ in moving.values()]
    shown = table(title, "min", *heads, numbers=["min", *heads])
    last = path.sizes["instant"] - 1
    step = next(
        (step for step in ROW_INTERVALS_MIN if last <= step * MAX_PATH_ROWS), ROW_INTERVALS_MIN[-1]
    )
    for minute in sorted({*range(0, last + 1, step), last}):
        cells = [_cell(float(values[minute]), high) for _, values, high in moving.values()]
        shown.add_row(f"{minute}", *cells)
    screen.print(shown)


def _cell(value: float, ceiling: float | None) -> str:
    is_over = ceiling is not None and value >= ceiling
    return f"[bold red]{value:.1f} ![/]" if is_over else f"{value:.1f}"


def _columns(path: xr.Dataset, name: str) -> list[tuple[str, np.ndarray]]:
    if name not in path:
        return []
    dim = next(str(dim) for dim in path[name].dims if dim != "instant")
    return [(o, path[name].sel({dim: o}).to_numpy()) for o in path[dim].to_numpy().tolist()]


def _plain(path: xr.Dataset) -> dict[str, object]:
    """Return a path as plain lists, by name and owner, one value a minute."""
    return {
        "minute": list(range(path.sizes["instant"])),
        **{
            str(name): {
                owner: values.round(4).tolist() for owner, values in _columns(path, str(name))
            }
            for name in path.data_vars
        },
    }
