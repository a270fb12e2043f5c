"""`twin.chip_hour`: power and temperature of every accelerator of rhine, an hour at a second."""

import numpy as np
import xarray as xr

import sites
import twin
from benchmarks.bare import racks as bare
from benchmarks.behind import outside_of, table_of
from benchmarks.bench import Bench, Measured, Place, cpu
from benchmarks.site_year import operation
from twin.racks import rack_series
from twin.racks.layout import RackLayout
from twin.racks.rack_series import ViewWindow
from twin.racks.view import block_steps, view_blocks
from twin.site import Site
from twin.time_axes import QUARTER_HOUR

SECOND = np.timedelta64(1, "s")
SECONDS = 3600
START = "2026-01-01T10:00"


def ours(_place: Place, seconds: int = SECONDS) -> Measured:
    """View the chips block by block, each with labels and units."""
    site, run = _run()
    next(view_blocks(site, [run], level="chip", time=_span(60)))  # compiled and imported
    figures, clock = _Figures(), cpu()
    views = view_blocks(site, [run], level="chip", time=_span(seconds))
    for _ in range(0, seconds, block_steps(site, "chip")):
        with clock:
            found = next(views)
            power, temperature = found["chip_power"].data, found["chip_temperature"].data
        figures.add(power, temperature)
    return Measured(value=clock.seconds, figures=figures.sums)


def limit(_place: Place, seconds: int = SECONDS) -> Measured:
    """Follow them on bare arrays, from where ours begins."""
    site, run = _run()
    layout = RackLayout.from_site(site)
    window = ViewWindow.from_run(run, _span(seconds), SECOND)
    table = rack_series.chip_table(layout, hours=window.step_hours, seed=0)
    (_, temperature), (coolant, _) = rack_series.simulate_chips(
        layout, run, window.select(-1, 1), table=table, seed=0
    )
    state = coolant.racks, coolant.cdus, temperature[-1].copy()
    constants = (
        table.knots_per_mw[layout.places.hall_of_rack],
        table.power,
        layout.hall_table.chip_temperature_rise,
        table.unit,
        table.chip_power_factor,
        np.float32(table.remaining_step_share),
    )
    count = block_steps(site, "chip")
    room = tuple(np.zeros((count, *table.chip_power_factor.shape), np.float32) for _ in range(2))
    places, figures, clock = table_of(layout, window.step_hours), _Figures(), cpu()
    still = tuple(part.copy() for part in state)
    first = outside_of(layout, run, window.select(0, count))
    bare.follow_chips(places, constants, first, still, room)  # compiled
    for begin in range(0, window.step_count, count):
        outside = outside_of(layout, run, window.select(begin, count))
        with clock:
            bare.follow_chips(places, constants, outside, state, room)
        figures.add(*room)
    return Measured(value=clock.seconds, figures=figures.sums)


class _Figures:
    """Sums over all chips and seconds, and extremes."""

    def __init__(self) -> None:
        self.sums = {"energy_mwh": 0.0, "temperature_sum": 0.0, "hottest": 0.0, "last": 0.0}

    def add(self, power: np.ndarray, temperature: np.ndarray) -> None:
        self.sums["energy_mwh"] += float(power.sum(dtype=np.float64)) / 3600.0
        self.sums["temperature_sum"] += float(temperature.sum(dtype=np.float64))
        self.sums["hottest"] = max(self.sums["hottest"], float(temperature.max()))
        self.sums["last"] = float(temperature[-1].astype(np.float64).std())


def _span(seconds: int) -> slice:
    return slice(START, str(np.datetime64(START, "s") + seconds * SECOND))


def _run() -> tuple[Site, xr.Dataset]:
    site = sites.load_site("rhine")
    orders = operation(site, 1, step=QUARTER_HOUR)
    return site, twin.simulate(site, twin.initial_state(site, orders["time"].to_numpy()[0]), orders)


BENCH = Bench(
    name="twin.chip_hour",
    unit="s of CPU",
    ours=ours,
    limit=limit,
    tolerance=1e-5,  # both sum float32
    note="100,080 chips of rhine, 3,600 s, in blocks of labelled arrays; ours with its warm-up",
)
