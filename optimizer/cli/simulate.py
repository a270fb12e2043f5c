"""`gigatwin simulate`: energy and limits of a site at a load and weather; effects of failures."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
import typer
import xarray as xr
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

import sites
from optimizer.cli.conditions import (
    RELATIVE_ROUNDING_TOLERANCE,
    LoadFileOption,
    LoadZoneOption,
    WeatherFileOption,
    carbon_on,
    hall_power_on,
    time_axis,
    weather_on,
)
from optimizer.cli.options import JsonFile, figure_option, prepare_file
from optimizer.cli.output import (
    console,
    option_error,
    pluralise,
    print_series_notes,
    table,
    write_json,
)
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
from twin.errors import IssueCode, ProblemError, UnitError
from twin.racks.view import DEFAULT_STEP_OF_LEVEL, ViewLevel
from twin.reporting.indicators import indicators
from twin.simulation.operating_limits import freeze_risks, limit_excess, limit_violations
from twin.simulation.simulate import settled_state
from twin.simulation.simulate import simulate as simulate_site
from twin.site import Site
from twin.units import MILLISECONDS_PER_HOUR, format_minute, parse_quantity
from twin.weather import Weather

app = typer.Typer(add_completion=False, help="Simulate a site at a given load and weather.")

CarbonFileOption = Annotated[
    Path | None,
    typer.Option(help="Carbon intensity for CUE; default: synthetic with synthetic weather."),
]
Utilisation = Annotated[
    float | None, typer.Option(min=0.0, max=1.0, help="Share of racks at full power.")
]
DetailStepOption = Annotated[
    str | None, typer.Option(help="Step of racks or chips; default: 1 min, or 1 s.")
]
Seed = Annotated[
    int | None, typer.Option(min=0, help="Seed of the distribution of work over racks; default: 0.")
]


class DetailLevel(StrEnum):
    """Level of detail that a run stores."""

    SITE = "site"
    RACK = "rack"
    CHIP = "chip"


SUMMARY_LABELS: Final = {
    "energy_mwh": ("energy [MWh]", "{:,.1f}"),
    "it_energy_mwh": ("energy of the IT [MWh]", "{:,.1f}"),
    "facility_power_max_mw": ("greatest power of the site [MW]", "{:,.2f}"),
    "pue": ("PUE1, power usage effectiveness at the UPS outputs [1]", "{:.3f}"),
    "pue2": ("PUE2, at the PDU outputs [1]", "{:.3f}"),
    "pue3": ("PUE3, at the rack inlets [1]", "{:.3f}"),
    "wue": ("WUE, water used for the IT [m3/MWh]", "{:.3f}"),
    "cue": ("CUE, carbon for the IT [kg/MWh]", "{:.1f}"),
    "erf": ("ERF, share of the energy reused [1]", "{:.3f}"),
    "ref": ("REF, share of own and contracted sun and wind [1]", "{:.3f}"),
    "closure": ("greatest error of a balance [1]", "{:.0e}"),
}
"""Key of the summary -> its label with the unit, and its format."""

PUE_CATEGORIES: Final = ("pue", "pue2", "pue3")
"""Keys of the PUE by category of ISO/IEC 30134-2; under twelve months they are interim values."""

ALL_TRIPS: Final = "all"
"""Value of --trip for all single failures."""

MAX_PATH_ROWS: Final = 16
"""Approximate number of rows of a path. [1]"""

ALLOWED_PATH_ROW_INTERVALS_MIN: Final = (1, 2, 5, 10, 15, 30, 60)
"""Allowed distances between two rows. [min]"""

UNLIMITED_PATH_LENGTH_MIN: Final = 60
"""Length of a path that reaches no limit. [min]"""

PATH_LENGTH_FACTOR: Final = 1.25
"""Length of a path over the time to the limit. [1]"""

PATH_COLUMNS: Final = {
    "full_load_chip_temperature": "chips of",
    "technology_supply_temperature": "coolant of",
    "facility_supply_temperature": "water of",
    "rack_inlet_temperature": "air of",
    "cooling_plant_output": "heat to",
    "tank_discharge": "heat to",
    "tank_level": "left in",
}
"""Variable of a path -> its label. [degC; MW; MWh]"""

MIN_DISPLAYED_CHANGE: Final = 0.05
"""Smallest change of a column that is shown. [K; MW; MWh]"""

TRIP_LEGEND: Final = (
    "X/power: the power supply of X fails and returns. The name of a plant: all of it fails."
)
"""Legend of the names of failures."""


@app.command()
def simulate(  # noqa: PLR0913  (one parameter an option of the command line)
    site: Annotated[str, typer.Argument(help="Name of a declared site, or path of a site file.")],
    start: Annotated[str, typer.Option(help="First instant; a date is 00:00 UTC.")],
    days: Annotated[int, typer.Option(min=1, max=400, help="Days to run.")],
    weather: WeatherFileOption = None,
    carbon: CarbonFileOption = None,
    carbon_kind: Annotated[
        Literal["direct", "lca"],
        typer.Option(help="Column of --carbon: direct at the plants, or lca over the life cycle."),
    ] = "direct",
    step: Annotated[str, typer.Option(help="Length of an interval.")] = "15min",
    load: LoadFileOption = None,
    zone: LoadZoneOption = None,
    utilisation: Utilisation = None,
    out: Annotated[
        Path | None, typer.Option(help="NetCDF file, or Zarr folder of --level.")
    ] = None,
    level: Annotated[
        DetailLevel, typer.Option(help="Detail of --out: site, rack or chip.")
    ] = DetailLevel.SITE,
    level_step: DetailStepOption = None,
    begin: Annotated[str | None, typer.Option("--from", help="Start of stored detail.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="End of stored detail.")] = None,
    seed: Seed = None,
    trip: Annotated[str | None, typer.Option(help="Failure, such as chiller_3; or all.")] = None,
    picture: Annotated[
        Path | None, figure_option("PNG, SVG or PDF figure of the run, or of the failure.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Simulate a site through a weather at a load, and summarise its consumption."""
    loaded, screen = sites.load_site(site), console(json_file)
    detail = _detail(level, level_step, slice(begin, end), seed=seed)
    if out is not None and detail is None:
        prepare_file(out, "--out")
    select_trips(loaded, trip, picture=picture)
    grid = time_axis(start, days, step)
    weather_series, weather_notes = weather_on(loaded, weather, grid)
    file = carbon or _synthetic(weather)
    intensity, carbon_notes = carbon_on(loaded, file, grid, kind=carbon_kind, zone=zone)
    halls, load_notes = hall_power_on(loaded, grid, load, utilisation, zone=zone)
    print_series_notes(screen, notes := weather_notes + carbon_notes + load_notes)
    operation = use_renewables(sell_heat(weather_series, loaded).assign(hall_power=halls), loaded)
    screen.print(f"simulating {loaded.name}: {grid.sizes['time']} intervals of {step}")
    initial_state = settled_state(loaded, operation)
    if detail is None:
        result = simulate_site(loaded, initial_state, operation)
    else:
        result = _stream(loaded, operation, detail, out=out, screen=screen)
    summary = _summary(result, intensity)
    screen.print(_table(summary, f"{loaded.name}, {pluralise(days, 'day')} from {start}"))
    if out is not None and detail is None:
        full = _full_result(result, operation, intensity)
        write_netcdf(out, full, site=loaded.name, title=f"{loaded.name} from {start}")
    if out is not None:
        screen.print(f"wrote {out}")
    if detail is not None and (trip or picture):  # a detailed run keeps only sums of the site
        result = simulate_site(loaded, initial_state, operation)
    if picture is not None and trip is None:
        plots = import_module("twin.plots")  # matplotlib is slow to import
        figure = plots.plot_run(
            _full_result(result, operation, intensity), loaded, title=f"{loaded.name}, simulated"
        )
        figure.savefig(picture)
        screen.print(f"wrote {picture}")
    limits = _exceeded(loaded, result, operation, screen) | notes.as_json
    period = SimulatedPeriod(
        site=loaded, initial_state=initial_state, operation=operation, result=result
    )
    write_json(
        summary | limits | print_trips(period, trip, picture=picture, screen=screen), json_file
    )


def _exceeded(
    site: Site, result: xr.Dataset, operation: xr.Dataset, screen: Console
) -> dict[str, object]:
    """Print and return exceeded limits, extrapolated correlations and frost risks."""
    distance = result["beyond"] if "beyond" in result else limit_excess(site, result)
    rows: list[dict[str, object]] = []
    for one in limit_violations(site, distance):
        first = format_minute(one.time)
        row = {
            "limit": one.limit,
            "unit": one.unit,
            "bound": one.limit_value,
            "reached": one.farthest_value,
        }
        rows.append(
            row | {"count": one.violated_interval_count, "of": one.interval_count, "first": first}
        )
        screen.print(
            f"beyond its limit: {one.limit} reaches {one.farthest_value:.4g} {one.unit}, "
            f"the limit is {one.limit_value:.4g}; {one.violated_interval_count} of "
            f"{one.interval_count} intervals, the first {first}"
        )
    weather, extrapolated = Weather.from_dataset(operation), []
    for plant in site.machines_of(CoolingPlant):
        flag = result["cooling_plant_extrapolated"].sel(circuit=plant.name).to_numpy()
        if (is_extrapolated := flag > 0.0).any():
            first = format_minute(operation["time"].to_numpy()[np.argmax(is_extrapolated)])
            count = int(is_extrapolated.sum())
            location = (
                f"{plant.name}: {count} of {len(is_extrapolated)} intervals, the first {first}"
            )
            extrapolated.append({"plant": plant.name, "count": count, "first": first})
            screen.print(f"outside the range of a correlation, evaluated at its bound: {location}")
    frost = _print_frost(site, result, weather, screen)
    return {"beyond": rows, "extrapolated": extrapolated, "frost": frost}


def _print_frost(
    site: Site, result: xr.Dataset, weather: Weather, screen: Console
) -> list[dict[str, object]]:
    """Print and return risks of frost at the given set point, if water passes all coolers."""
    rows: list[dict[str, object]] = []
    for one in freeze_risks(site, result, weather):
        first = format_minute(one.time)
        row = {"plant": one.limit, "reached": one.farthest_value, "freezing_point": one.limit_value}
        rows.append(
            row | {"count": one.violated_interval_count, "of": one.interval_count, "first": first}
        )
        screen.print(
            f"frost: through all coolers the water of {one.limit} would leave at "
            f"{one.farthest_value:.1f} degC and freezes at {one.limit_value:g}; "
            f"{one.violated_interval_count} of {one.interval_count} intervals, the first {first}. "
            "The figures hold if some coolers are bypassed or stopped; otherwise add glycol"
        )
    return rows


def _full_result(
    result: xr.Dataset, operation: xr.Dataset, carbon: xr.DataArray | None
) -> xr.Dataset:
    """Return a run with its weather, and with the carbon intensity if it is known."""
    full = result.merge(operation, compat="override")
    return full if carbon is None else full.assign(carbon_intensity=carbon)


def _detail(
    level: DetailLevel, step: str | None, time: slice, *, seed: int | None
) -> DetailRequest | None:
    """Return the detail to be stored; None for the site as a whole."""
    if level is DetailLevel.SITE:
        options = {"--level-step": step, "--from": time.start, "--to": time.stop, "--seed": seed}
        issues = [
            IssueCode.INCONSISTENT.issue(
                option,
                found=str(value),
                expected="no value, since it is for racks or chips only",
                remedy="add --level rack or --level chip",
            )
            for option, value in options.items()
            if value is not None
        ]
        ProblemError.raise_if_any("command", issues)
        return None
    width = DEFAULT_STEP_OF_LEVEL[level.value] if step is None else _width(step)
    name: ViewLevel = "rack" if level is DetailLevel.RACK else "chip"
    return DetailRequest(level=name, step=width, time=time, seed=seed or 0)


def _width(step: str) -> np.timedelta64:
    """Return the step of racks or chips, in whole milliseconds."""
    expected = "a step that divides --step, in whole milliseconds"
    remedy = "choose another, such as 10s"
    invalid = option_error(
        "--level-step", step, expected=expected, remedy=remedy, code=IssueCode.OUT_OF_RANGE
    )
    try:
        length = parse_quantity(step, "h") * MILLISECONDS_PER_HOUR
    except UnitError as error:
        raise invalid from error
    whole = round(length)
    if whole < 1 or abs(length - whole) > RELATIVE_ROUNDING_TOLERANCE * length:
        raise invalid
    return np.timedelta64(whole, "ms")


def _stream(
    site: Site, operation: xr.Dataset, detail: DetailRequest, *, out: Path | None, screen: Console
) -> xr.Dataset:
    """Simulate a site under a progress bar, and write its racks or chips."""
    if out is None:
        expected, remedy = "a folder for racks or chips", "add --out DIR.zarr"
        raise option_error("--out", "", expected=expected, remedy=remedy, code=IssueCode.MISSING)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} steps"),
        TimeRemainingColumn(),
        console=screen,
    )
    with bar:
        task = bar.add_task(f"every {detail.level}")

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        return write_detail(site, operation, detail, folder=out, on_progress=show)


def _synthetic(weather: Path | None) -> Path | None:
    """Return the synthetic carbon intensity for synthetic weather, else None."""
    return sites.series_file("prices") if weather is None else None


def _table(summary: Mapping[str, float | None], title: str) -> Table:
    shown = table(title, "quantity", "value", numbers=["value"])
    for name, (label, form) in SUMMARY_LABELS.items():
        value = summary[name]
        if name in PUE_CATEGORIES and summary["is_interim"]:
            label = f"interim {label}"
        shown.add_row(label, "unknown" if value is None else form.format(value))
    return shown


def _summary(result: xr.Dataset, carbon_intensity: xr.DataArray | None) -> dict[str, float | None]:
    hours = result["duration"]
    found = indicators(result, carbon_intensity=carbon_intensity)
    return {
        "energy_mwh": float((result["facility_power"] * hours).sum()),
        "it_energy_mwh": float((result["it_power"] * hours).sum()),
        "facility_power_max_mw": float(result["facility_power"].max()),
        **{name: float(found[name]) for name in PUE_CATEGORIES},
        "is_interim": bool(found.attrs["is_interim"]),
        "wue": float(found["wue"]),
        "cue": float(found["cue"]) if "cue" in found else None,
        "erf": float(found["erf"]),
        "ref": float(found["ref"]),
        "closure": float(result["closure"].max()),
    }


@dataclass(frozen=True, kw_only=True)
class SimulatedPeriod:
    """A simulated period of a site."""

    site: Site
    initial_state: xr.Dataset
    operation: xr.Dataset
    result: xr.Dataset


def select_trips(site: Site, name: str | None, *, picture: Path | None) -> tuple[Contingency, ...]:
    """Return the failures of `--trip`, before the work begins.

    `name` is a failure, "all", or None for none.

    Raises ProblemError if the failure is unknown, or a figure of all failures is requested.
    """
    if name == ALL_TRIPS and picture is not None:
        expected, remedy = "one failure", "name one failure for a picture, such as --trip chiller_1"
        raise option_error("--picture", str(picture), expected=expected, remedy=remedy)
    if name is None:
        return ()
    return single_contingencies(site) if name == ALL_TRIPS else (find_contingency(site, name),)


def print_trips(
    period: SimulatedPeriod, name: str | None, *, picture: Path | None, screen: Console
) -> dict[str, object]:
    """Show the time from a failure, or from each, to the first limit; return the JSON object.

    The object has ``trip, title, alike, time_to_limit_min`` (null without a limit), ``limit`` and
    ``time`` for every failure, at its worst time; for one failure also its ``path``. It is empty if
    `name` is None. [min; degC; MW; MWh]
    """
    contingencies = select_trips(period.site, name, picture=picture)
    if not contingencies:
        return {}
    found = time_to_limit(
        period.site,
        period.initial_state,
        period.operation,
        contingencies=contingencies,
        result=period.result,
    )
    if name == ALL_TRIPS:
        return _print_all_trips(period, contingencies, found, screen=screen)
    return _print_trip(period, contingencies[0], found.isel(trip=0), picture=picture, screen=screen)


def _print_all_trips(
    period: SimulatedPeriod,
    contingencies: tuple[Contingency, ...],
    found: xr.Dataset,
    *,
    screen: Console,
) -> dict[str, object]:
    rows = [_row(trip, found.isel(trip=place)) for place, trip in enumerate(contingencies)]
    rows.sort(key=lambda row: _minutes_or_infinite(row["time_to_limit_min"]))
    title = f"{period.site.name}: minutes from a failure to the first limit, at the worst moment"
    shown = table(title, "min", "failure", "first limit", "worst at", numbers=["min"])
    for row in rows:
        reached = row["time_to_limit_min"]
        cells = [str(row[name] or "-") for name in ("trip", "limit", "time")]
        shown.add_row(f"{reached:.1f}" if isinstance(reached, float) else "none", *cells)
    screen.print(shown)
    screen.print(TRIP_LEGEND)
    return {"site": period.site.name, "trips": rows}


def _minutes_or_infinite(minutes: object) -> float:
    return minutes if isinstance(minutes, float) else np.inf


def _row(trip: Contingency, found: xr.Dataset) -> dict[str, object]:
    """Return the worst time of one failure as plain values."""
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
    period: SimulatedPeriod,
    trip: Contingency,
    found: xr.Dataset,
    *,
    picture: Path | None,
    screen: Console,
) -> dict[str, object]:
    row = _row(trip, found)
    reached = _minutes_or_infinite(row["time_to_limit_min"])
    times = found["time_to_limit"].to_numpy()
    load = period.result["cooling_load"].sum("circuit").to_numpy()
    place = int(times.argmin() if np.isfinite(reached) else load.argmax())
    minutes = (
        UNLIMITED_PATH_LENGTH_MIN
        if np.isinf(reached)
        else int(np.ceil(PATH_LENGTH_FACTOR * reached)) + 2
    )
    path = contingency_trajectory(
        period.site,
        period.initial_state,
        period.operation,
        contingency=trip,
        minutes=min(minutes, round(60 * RIDE_THROUGH_HORIZON_H)),
        interval=place,
        result=period.result,
    )
    limits_by_owner = temperature_limits(period.site)
    effect = f"{row['limit']} after {reached:.1f} min" if np.isfinite(reached) else "no limit"
    when = format_minute(found["time"].to_numpy()[place])
    title = f"{period.site.name}, {trip.name} fails at {when}: {effect}"
    _show_path(path, limits_by_owner, title=title, screen=screen)
    if np.isinf(reached):
        screen.print(
            f"no limit is reached within {RIDE_THROUGH_HORIZON_H:g} h, at any moment of the run"
        )
    if picture is not None:
        plots = import_module("twin.plots")  # matplotlib is slow to import
        plots.plot_contingency(path, limits_by_owner, title=title).savefig(picture)
        screen.print(f"wrote {picture}")
    limits: dict[str, dict[str, float]] = {}
    for (name, owner), high in limits_by_owner.items():
        limits.setdefault(name, {})[owner] = high
    return {"site": period.site.name, **row, "path": _plain(path), "path_limits": limits}


def _show_path(
    path: xr.Dataset, limits_by_owner: dict[tuple[str, str], float], *, title: str, screen: Console
) -> None:
    """Print changing variables of some minutes; limits are in the headings."""
    changing: dict[bytes, tuple[str, np.ndarray, float | None]] = {}
    for name, label in PATH_COLUMNS.items():
        for owner, values in _columns(path, name):
            if np.ptp(values) >= MIN_DISPLAYED_CHANGE:
                limit = limits_by_owner.get((name, owner))
                head = f"{label} {owner}" + ("" if limit is None else f" (<{limit:g})")
                changing.setdefault(values.tobytes(), (head, values, limit))
    if not changing:
        screen.print(f"{title}\nno temperature or heat flow changes by {MIN_DISPLAYED_CHANGE:g}")
        return
    heads = [head for head, *_ in changing.values()]
    shown = table(title, "min", *heads, numbers=["min", *heads])
    last = path.sizes["instant"] - 1
    step = next(
        (step for step in ALLOWED_PATH_ROW_INTERVALS_MIN if last <= step * MAX_PATH_ROWS),
        ALLOWED_PATH_ROW_INTERVALS_MIN[-1],
    )
    for minute in sorted({*range(0, last + 1, step), last}):
        cells = [_cell(float(values[minute]), high) for _, values, high in changing.values()]
        shown.add_row(f"{minute}", *cells)
    screen.print(shown)


def _cell(value: float, limit: float | None) -> str | Text:
    is_over = limit is not None and value >= limit
    return Text(f"{value:.1f} !", style="bold red") if is_over else f"{value:.1f}"


def _columns(path: xr.Dataset, name: str) -> list[tuple[str, np.ndarray]]:
    if name not in path:
        return []
    dim = next(str(dim) for dim in path[name].dims if dim != "instant")
    return [(o, path[name].sel({dim: o}).to_numpy()) for o in path[dim].to_numpy().tolist()]


def _plain(path: xr.Dataset) -> dict[str, object]:
    """Return a path as plain lists, by variable and owner, one value a minute."""
    return {
        "minute": list(range(path.sizes["instant"])),
        **{
            str(name): {
                owner: values.round(4).tolist() for owner, values in _columns(path, str(name))
            }
            for name in path.data_vars
        },
    }
