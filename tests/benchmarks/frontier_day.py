"""`twin.frontier_day`: Frontier's power from every chassis, over a day of seconds."""

import numpy as np
import xarray as xr

import sites
from tests.benchmarks.bare import frontier_day as bare
from tests.benchmarks.bench import Bench, Measured, Place, cpu
from twin import time_axes
from twin.scale import cabinets
from twin.site import Site

SECONDS = 86_400
CHASSIS = (74, 8)
DIMS = ("time", "rack", "chassis")


def day(seconds: int = SECONDS) -> tuple[np.ndarray, np.ndarray]:
    """Return the work of CPUs and GPUs of each chassis, in percent of their ranges."""
    rng = np.random.default_rng(0)
    count = CHASSIS[0] * CHASSIS[1]
    gpu = rng.integers(0, 101, (seconds, count), dtype=np.uint8)
    gpu[: seconds // 3] = 79  # a third under HPL, as published
    other = rng.integers(0, 101, (seconds, count), dtype=np.uint8)
    other[: seconds // 3] = 33
    return other, gpu


def shares(percent: np.ndarray) -> xr.DataArray:
    """Return percentages as packed shares with names and units."""
    attrs = {"units": "1", "scale_factor": 0.01}
    return xr.DataArray(percent.reshape(-1, *CHASSIS), dims=DIMS, attrs=attrs)


def follow(site: Site, other: np.ndarray, gpu: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the power of the racks and of the site. [MW]"""
    grid = time_axes.regular_axes(time_axes.to_utc("2026-07-01"), len(gpu), np.timedelta64(1, "s"))
    found = cabinets.follow(site, grid.assign(cpu_share=shares(other), gpu_share=shares(gpu)))
    total = found["hall_power"].sum("hall") + found["cdu_pump_power"].sum("cdu")
    return found["rack_power"].to_numpy(), total.to_numpy()


def ours(_place: Place, seconds: int = SECONDS) -> Measured:
    """Follow the day with names, units and checks."""
    site, work = sites.load_site("frontier"), day(seconds)
    follow(site, *day(60))  # compiled and imported
    with cpu() as clock:
        racks, total = follow(site, *work)
    return Measured(value=clock.seconds, figures=_figures(racks, total))


def limit(_place: Place, seconds: int = SECONDS) -> Measured:
    """Follow it on bare arrays."""
    work = day(seconds)
    bare.run(*day(60))
    with cpu() as clock:
        racks, total = bare.run(*work)
    return Measured(value=clock.seconds, figures=_figures(racks, total))


def _figures(racks: np.ndarray, total: np.ndarray) -> dict[str, float]:
    spread = racks[-600:].astype(np.float64)
    return {
        "mean_mw": float(total.mean()),
        "greatest_mw": float(total.max()),
        "under_hpl_mw": float(total[0]),
        "rack_sum_mw": float(racks.sum(dtype=np.float64)),
        "rack_square": float((spread * spread).sum()),
    }


BENCH = Bench(
    name="twin.frontier_day",
    unit="s of CPU",
    ours=ours,
    limit=limit,
    runs=7,
    note="592 chassis of Frontier, 24 h at 1 s, from percentages to racks and site",
)
