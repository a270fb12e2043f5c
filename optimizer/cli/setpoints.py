"""`gigatwin setpoints`: savings by better set points of the cooling water over a year."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import pandas as pd
import typer
import xarray as xr
from numpy.typing import NDArray
from rich.console import Console

import sites
from optimizer.cli.conditions import (
    LoadFileOption,
    LoadZoneOption,
    WeatherFileOption,
    hall_power_on,
    time_axis,
    weather_on,
)
from optimizer.cli.options import JsonFile, figure_option
from optimizer.cli.output import console, print_series_notes, table, write_json
from telemetry.series import read_jobs
from twin.equipment import ITHall
from twin.physics import FloatArray
from twin.reporting.setpoint_savings import (
    CONTROL_STRATEGIES,
    FIXED_FLOW,
    CoolingProfile,
    compare_control_strategies,
)
from twin.site import Site
from twin.units import MINUTES_PER_HOUR
from twin.weather import Weather
from twin.workload.jobs import Jobs, workload_from_jobs
from twin.workload.queue import RackPool, hall_powers

app = typer.Typer(add_completion=False, help="Compare set points of the cooling water over a year.")

JobsFile = Annotated[
    Path | None,
    typer.Option(help="Job file; each job runs when it arrives, as far as racks are free."),
]

StartOption = Annotated[
    str | None,
    typer.Option(
        help="First instant; a date is 00:00 UTC. Default: 2023-01-01, or 2026-06-01 with "
        "synthetic weather."
    ),
]
DaysOption = Annotated[
    int | None,
    typer.Option(min=1, max=400, help="Days to run; default: 364, or 30 with synthetic weather."),
]

DEFAULT_UTILISATION: Final = 0.6
PUBLISHED_SAVINGS: Final = {"flow": 0.204, "flow and temperature": 0.301, "with ramps": 0.278}
"""Savings published for Frontier: S. A. Jadhav and Z. Liu, arXiv:2603.01198, 2026. [1]"""

PUBLISHED_SAVINGS_TEXT: Final = {
    strategy: f"{saving:.1%}" for strategy, saving in PUBLISHED_SAVINGS.items()
}

DEFAULT_PERIOD: Final = "2023-01-01", 364
"""Default first day and number of days; whole weeks."""

SYNTHETIC_PERIOD: Final = "2026-06-01", 30
"""Default first day and number of days of the synthetic weather."""


@app.command()
def setpoints(  # noqa: PLR0913  (one parameter an option of the command line)
    site: Annotated[str, typer.Argument(help="Name of a declared site, or path of a site file.")],
    weather: WeatherFileOption = None,
    start: StartOption = None,
    days: DaysOption = None,
    step: Annotated[str, typer.Option(help="Length of an interval.")] = "1h",
    load: LoadFileOption = None,
    zone: LoadZoneOption = None,
    jobs: JobsFile = None,
    utilisation: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Share of working racks; with jobs the mean share."),
    ] = DEFAULT_UTILISATION,
    picture: Annotated[Path | None, figure_option("PNG, SVG or PDF of months and days.")] = None,
    json_file: JsonFile = None,
) -> None:
    """Compare fixed flow with the cheapest safe flow and supply temperatures, month by month."""
    loaded = sites.load_site(site)
    screen = console(json_file)
    first, count = DEFAULT_PERIOD if weather else SYNTHETIC_PERIOD
    grid = time_axis(start or first, days or count, step)
    weather_series, notes = weather_on(loaded, weather, grid)
    outdoor_weather = Weather.from_dataset(weather_series)
    if jobs is None:
        halls, load_notes = hall_power_on(
            loaded, grid, load, None if load else utilisation, zone=zone
        )
        notes += load_notes
    else:
        halls = _power_of_jobs(loaded, grid, _read(jobs, grid, screen), utilisation)
    print_series_notes(screen, notes)
    powers = {str(name): halls.sel(hall=name).to_numpy() for name in halls["hall"].to_numpy()}
    screen.print(
        f"{loaded.name}: {len(outdoor_weather)} intervals of {step}, "
        f"{len(CONTROL_STRATEGIES)} control strategies"
    )
    found = compare_control_strategies(
        loaded, powers, outdoor_weather, durations=grid["duration"].to_numpy()
    )
    by_month = _by_month(found, grid)
    total = {
        strategy: sum(row[strategy] for row in by_month.values()) for strategy in CONTROL_STRATEGIES
    }
    saving = {strategy: 1.0 - energy / total[FIXED_FLOW] for strategy, energy in total.items()}
    sums = {
        strategy: _sums(loaded, profile, grid["duration"].to_numpy())
        for strategy, profile in found.items()
    }
    shown = table(
        f"{loaded.name}: cooling energy [MWh]",
        "month",
        *CONTROL_STRATEGIES,
        numbers=CONTROL_STRATEGIES,
    )
    for month, row in by_month.items():
        shown.add_row(month, *(f"{row[strategy]:,.1f}" for strategy in CONTROL_STRATEGIES))
    shown.add_section()
    shown.add_row("all", *(f"{total[strategy]:,.1f}" for strategy in CONTROL_STRATEGIES))
    shown.add_row(
        "saving over fixed flow", *(f"{saving[strategy]:.1%}" for strategy in CONTROL_STRATEGIES)
    )
    shown.add_row(
        "published for Frontier",
        *(PUBLISHED_SAVINGS_TEXT.get(strategy, "") for strategy in CONTROL_STRATEGIES),
    )
    screen.print(shown)
    for strategy in CONTROL_STRATEGIES:
        screen.print(f"{strategy}: {_describe_mode(sums[strategy])}")
    if picture is not None:
        plots = import_module("twin.plots")  # matplotlib is slow to import
        title = f"{loaded.name}: cooling energy by control strategy"
        plots.plot_savings(found, grid, title=title).savefig(picture)
        screen.print(f"wrote {picture}")
    content: dict[str, object] = {
        strategy.replace(" ", "_"): sums[strategy] for strategy in CONTROL_STRATEGIES
    }
    figures = {"energy_mwh": total, "saving": saving, "by_month_mwh": by_month, **content}
    write_json(
        {"site": loaded.name, "published": PUBLISHED_SAVINGS, **figures} | notes.as_json, json_file
    )


def _read(path: Path, grid: xr.Dataset, screen: Console) -> pd.DataFrame:
    """Return the jobs of a file, and print the notes on them."""
    frame = read_jobs(path, year=int(grid["time"].dt.year[0]))
    for note in frame.attrs["notes"]:
        screen.print(f"note: {path.name}: {note}")
    return frame


def _power_of_jobs(site: Site, grid: xr.Dataset, frame: pd.DataFrame, share: float) -> xr.DataArray:
    """Return the power of each hall if jobs run when they arrive. [MW]"""
    edges = grid["instant"].to_numpy()
    work = workload_from_jobs(
        frame, site, start=edges[0], end=edges[-1], load_scale=share, is_closed=False
    )
    busy = np.minimum(_busy(work.jobs, edges), site.rack_count)
    power = float(RackPool.from_site(site).power_above_idle(1.0))
    rows = [hall_powers(site, work_power=n * power, service_racks=0.0) for n in busy.tolist()]
    names = [hall.name for hall in site.machines_of(ITHall)]
    values = [[row[name] for name in names] for row in rows]
    return xr.DataArray(values, dims=("time", "hall"), coords={"hall": names})


def _busy(jobs: Jobs, edges: NDArray[np.datetime64]) -> FloatArray:
    """Return the mean racks that jobs need in each interval, each from its arrival on. [1]"""
    moments = (edges - edges[0]) / np.timedelta64(1, "h")
    begin = (jobs.arrival - edges[0]) / np.timedelta64(1, "h")
    begin = np.maximum(begin, 0.0)  # earlier jobs count from the first edge
    ends = np.concatenate([begin, begin + jobs.length])
    change = np.concatenate([jobs.racks, -jobs.racks])
    order = np.argsort(ends, kind="stable")
    ends, wanted = ends[order], np.cumsum(change[order])
    done = np.concatenate([[0.0], np.cumsum(wanted[:-1] * np.diff(ends))])
    return np.asarray(np.diff(np.interp(moments, ends, done)) / np.diff(moments))


def _by_month(found: Mapping[str, CoolingProfile], grid: xr.Dataset) -> dict[str, dict[str, float]]:
    """Return month -> control strategy -> cooling energy. [MWh]"""
    hours = grid["duration"].to_numpy()
    months = grid["time"].dt.strftime("%Y-%m").to_numpy()
    return {
        str(month): {
            strategy: float(hours[months == month] @ profile.cooling_power[months == month])
            for strategy, profile in found.items()
        }
        for month in np.unique(months)
    }


def _sums(site: Site, profile: CoolingProfile, hours: FloatArray) -> dict[str, float]:
    """Return water, extremes and ramps of one strategy."""
    steps = np.abs(np.diff(profile.supply_temperature)) / (MINUTES_PER_HOUR * hours[1:])
    return {
        "water_m3": float(hours @ profile.water_use),
        "chip_max_degc": float(profile.chip_temperature.max()),
        "chip_limit_degc": min(hall.chip_temperature_limit for hall in site.machines_of(ITHall)),
        "supply_mean_degc": float(profile.supply_temperature.mean()),
        "supply_max_degc": float(profile.supply_temperature.max()),
        "flow_mean": float(profile.flow_share.mean()),
        "fastest_k_per_min": float(steps.max(initial=0.0)),
        "ramp_k_per_min": site.set_points.temperature_ramp,
    }


def _describe_mode(sums: Mapping[str, float]) -> str:
    return (
        f"supply {sums['supply_mean_degc']:.1f} degC in the mean and {sums['supply_max_degc']:.1f} "
        f"at most, flow {sums['flow_mean']:.2f} of the rated, hottest chip "
        f"{sums['chip_max_degc']:.1f} of {sums['chip_limit_degc']:.0f} degC, fastest change "
        f"{sums['fastest_k_per_min']:.3f} of {sums['ramp_k_per_min']:g} K/min, "
        f"{sums['water_m3']:,.0f} m3 of water"
    )
