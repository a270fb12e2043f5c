"""`twin.site_year`: every rack and coolant unit of rhine, a year at a minute, streamed to disk."""

from pathlib import Path

import numpy as np
import xarray as xr

import sites
import telemetry
from benchmarks import behind
from benchmarks.bench import Bench, Measured, Place, cpu
from optimizer.reporting.run_files import DetailRequest, write_detail
from telemetry.archive.view_store import TEMPERATURE_RESOLUTION_K
from twin import time_axes, variables
from twin.equipment import ITHall
from twin.racks.layout import RackLayout
from twin.simulation.simulate import settled_state, simulate_arrays_in_chunks
from twin.site import Site

DAYS = 365
START = np.datetime64("2026-01-01", "us")
SPAN = 10_080  # minutes that the limit runs at once
CLOSED = 1e-6
STORED = {
    "rack_power": (np.float32, "rack"),
    "rack_return_temperature": (np.int16, "rack"),
    "chip_temperature": (np.int16, "rack"),
    "cdu_output": (np.float32, "unit"),
    "cdu_pump_power": (np.float32, "unit"),
    "cdu_passed_heat": (np.float32, "unit"),
    "cdu_kept_heat": (np.float32, "unit"),
    "technology_supply_temperature": (np.int16, "unit"),
}
CLOSURE = {"closure": (np.float32, "")}
HOUR, DAY, SEASON = 1.0, 24.0, 8766.0  # h


def operation(site: Site, days: int, *, step: np.timedelta64 = time_axes.MINUTE) -> xr.Dataset:
    """Return a made year, or its first days: weather by the hour, work by the quarter-hour."""
    count = round(days * DAY / (step / time_axes.HOUR))
    grid = time_axes.regular_axes(START, count, step)
    hours = (grid["time"].to_numpy() - START) / time_axes.HOUR
    hour, quarter = hours.astype(int), (4.0 * hours).astype(int)
    rng = np.random.default_rng(0)
    chance = rng.normal(0.0, 2.0, 400 * 24)[hour]
    moved = rng.uniform(-0.1, 0.1, 400 * 96)[quarter]
    share = 0.7 + 0.2 * np.sin(2 * np.pi * quarter / 96.0) + moved
    day = np.cos(2 * np.pi * hour / DAY)
    halls = site.machines_of(ITHall)
    idle, full = np.array([(hall.idle_power, hall.full_power) for hall in halls]).T
    air = 10.5 - 9.5 * np.cos(2 * np.pi * hour / SEASON) - 4.0 * day + chance
    return variables.tag_dataset(
        grid.assign(
            air_temperature=("time", air),
            relative_humidity=("time", 0.7 + 0.15 * day),
            air_pressure=("time", np.full(count, 100.0)),
            hall_power=(("time", "hall"), idle + share[:, None] * (full - idle)),
        ).assign_coords(hall=[hall.name for hall in halls])
    )


def ours(place: Place, days: int = DAYS) -> Measured:
    """Stream the year as the command does, with names, units and checks."""
    site = sites.load_site("rhine")
    orders = operation(site, days)
    detail = DetailRequest(level="rack", step=time_axes.MINUTE)
    write_detail(site, operation(site, 1), detail, folder=place.scratch / "first")  # compiled
    with cpu() as clock:
        whole = write_detail(site, orders, detail, folder=place.scratch / "year")
    found = telemetry.open_view(place.scratch / "year")
    names = (*STORED, "closure")
    rows = {name: found[name].isel(time=samples(days)).to_numpy() for name in names}
    power = whole["facility_power"].to_numpy()
    return Measured(value=clock.seconds, figures=_figures(rows, power))


def limit(place: Place, days: int = DAYS) -> Measured:
    """Run it on bare arrays, racks and units compiled, and write them pressed as ours are."""
    site = sites.load_site("rhine")
    orders = operation(site, days)
    run_bare(site, operation(site, 1), place.scratch)  # compiled
    with cpu() as clock:
        power, files = run_bare(site, orders, place.scratch)
    rows = {}
    for file, (name, (kind, _)) in zip(files, packed(site).items(), strict=True):
        scale = TEMPERATURE_RESOLUTION_K if kind is np.int16 else 1.0
        rows[name] = scale * file.rows(samples(days), kind).astype(np.float64)
    return Measured(value=clock.seconds, figures=_figures(rows, power))


def run_bare(
    site: Site, orders: xr.Dataset, folder: Path
) -> tuple[np.ndarray, list[behind.Pieces]]:
    """Write packed arrays of all racks and units, and return them and the site's power. [MW]"""
    hours, rest = orders["duration"].to_numpy(), settled_state(site, orders)
    racks = behind.Racks(RackLayout.from_site(site), hours[0], folder, packed(site))
    power = np.empty(len(hours))
    for part, found in simulate_arrays_in_chunks(site, rest, orders, span=SPAN):
        power[part] = found.flows["facility_power", ""]
        racks.follow(found, orders["time"].to_numpy()[part])
    racks.close()
    return power, racks.files


def packed(site: Site) -> dict[str, tuple[type, int]]:
    """Return how each variable is stored: its numbers, and how many a step has."""
    layout = RackLayout.from_site(site)
    widths = {"rack": layout.rack_count, "unit": layout.cdu_count, "": 1}
    return {name: (kind, widths[axis]) for name, (kind, axis) in (STORED | CLOSURE).items()}


def samples(days: int) -> np.ndarray:
    """Return the steps that are compared: an hour of each month, and the last."""
    starts = np.linspace(0, days * 1440 - 60, 13).astype(int)
    return np.unique(starts[:, None] + np.arange(60))


def _figures(rows: dict[str, np.ndarray], power: np.ndarray) -> dict[str, float]:
    found = {name: float(rows[name].sum(dtype=np.float64)) for name in STORED}
    found["is_closed"] = float(rows["closure"].max() < CLOSED)
    found["site_mwh"] = float(power.sum()) / 60.0
    return found


BENCH = Bench(
    name="twin.site_year",
    unit="s of CPU",
    ours=ours,
    limit=limit,
    tolerance=2e-6,  # temperatures are kept to 0.01 K
    note="rhine: 1,390 racks of 100,080 accelerators, 140 CDUs, both circuits, 525,600 min, to"
    " disk; the limit writes pressed arrays, and takes the plants' operating points from"
    " twin.simulation.engine",
)
