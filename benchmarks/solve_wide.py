"""Fleets of 4 to 32 sites for the benches: the reference sites, each a little other every time.

Each has its own racks, prices, weather and state, and the twelve kinds of work of the solver's
benches, over two days. Two kinds that may wait two days may move.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import xarray as xr

import sites
from benchmarks.solve_fleet import (
    DAYS,
    FREE_SHARE,
    KINDS,
    SITES,
    START,
    _come,
    _labelled,
    _with_kinds,
)
from optimizer.fleet.routes import build_fleet_problems
from optimizer.inputs.series_files import SeriesFiles, read_run_inputs
from optimizer.problem.problem import Problem
from twin import time_axes
from twin.equipment import ITHall
from twin.forecast.outlook import outlook
from twin.simulation import state
from twin.site import Site
from twin.site_settings import FleetRoute
from twin.workload.queue import RackPool

TWO_DAYS = ((24.0, 15.0), (24.0, 60.0))
"""Hours covered and minutes an interval."""

MOVABLE = ("tier_0_48h", "tier_25_48h")
ROUTE = {"transfer_time": "1 h", "window": "8 h", "job_length": "2 h", "cost": "2 EUR/MWh"}

SPREAD = 0.3
"""Share by which prices of sites swing more or less than those of the series. [1]"""

APART = 12.0
"""Standard deviation of their levels. [EUR MWh-1]"""


@dataclass(frozen=True)
class Wide:
    """The questions of many sites that share work.

    Attributes
    ----------
    count
        Number of sites.
    horizon
        Hours covered and minutes an interval.
    """

    count: int
    horizon: tuple[tuple[float, float], ...] = TWO_DAYS

    def problems(self) -> tuple[Problem, ...]:
        """Return the questions, with their lanes."""
        routes = {
            f"lane_{kind}": FleetRoute.model_validate(ROUTE | {"kind": kind}) for kind in MOVABLE
        }
        return build_fleet_problems([self._problem(place) for place in range(self.count)], routes)

    def _problem(self, place: int) -> Problem:
        rng = np.random.default_rng([place, 11])
        base, record = _base(SITES[place % len(SITES)])
        site = _with_kinds(_smaller(base, rng.uniform(0.85, 1.0)))
        site = site.model_copy(update={"name": f"site_{place:02d}"})
        now = time_axes.to_utc(START)
        ahead = outlook(
            site,
            record,
            now,
            axes=time_axes.horizon_axes(now, list(self.horizon)),
            has_perfect_foresight=True,
        )
        price, shift = ahead["electricity_price"], int(rng.integers(-4, 5))
        other = np.roll(price.to_numpy(), shift) * rng.uniform(1.0 - SPREAD, 1.0 + SPREAD)
        ahead["electricity_price"] = price.copy(data=other + rng.normal(scale=APART))
        ahead["air_temperature"] = ahead["air_temperature"] + rng.normal(scale=3.0)
        start = state.initial_state(
            site,
            now,
            level=0.5 + rng.normal(scale=0.05),
            peak_power=0.6 * site.grid_connection.import_limit,
            grid_import_power=0.4 * site.grid_connection.import_limit,
        )
        return Problem(site, start, ahead.assign(_work(site, ahead)).pipe(_labelled))


@cache
def _base(name: str) -> tuple[Site, xr.Dataset]:
    site = sites.load_site(name)
    data = {word: sites.series_file(word) for word in ("prices", "weather", "jobs")}
    return site, read_run_inputs(site, SeriesFiles(**data), start=START, days=DAYS).series


def _smaller(site: Site, share_of_racks: float) -> Site:
    """Return a site with fewer racks in every hall."""
    equipment = {
        name: machine.model_copy(update={"racks": round(machine.racks * share_of_racks)})
        if isinstance(machine, ITHall)
        else machine
        for name, machine in site.equipment.items()
    }
    return site.with_equipment(equipment)


def _work(site: Site, ahead: xr.Dataset) -> dict[str, object]:
    """Return the envelope of work that comes steadily, more by day, and may wait for its time."""
    pool = RackPool.from_site(site)
    free = (pool.racks - ahead["service_racks"].to_numpy()).min() * FREE_SHARE / len(KINDS)
    edges = np.concatenate([[0.0], np.cumsum(ahead["duration"].to_numpy())])
    least, most = np.zeros((2, len(edges), len(KINDS)))
    for c, (_, wait) in enumerate(KINDS):
        begun = -_come(-0.5 * wait)
        must = np.maximum(_come(edges - wait) - _come(-0.5 * wait), 0.0)
        most[:, c] = np.minimum(begun + _come(edges), 4.0 * edges) * free * pool.rack_power
        least[:, c] = np.minimum(must * free * pool.rack_power, most[:, c])
    limit = np.full((ahead.sizes["time"], len(KINDS)), 4.0 * free)
    tagged = {"work_least": least, "work_most": most}
    return {
        **{n: (("instant", "cohort"), v, {"units": "MWh"}) for n, v in tagged.items()},
        "work_racks_limit": (("time", "cohort"), limit, {"units": "1"}),
    }
