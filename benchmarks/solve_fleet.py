"""The fleet of the solver's benches: four reference sites, twelve kinds of work, a rolling week.

All series are synthetic. Every cycle the window moves on by a quarter-hour, prices, carbon and
weather are forecast again, and the state is another.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

import sites
from optimizer.inputs.series_files import SeriesFiles, read_run_inputs
from optimizer.model.model_data import ModelData, build_model_data
from optimizer.problem.problem import Problem
from twin import time_axes
from twin.forecast.outlook import outlook
from twin.simulation import state
from twin.site import Site
from twin.workload.queue import RackPool

SITES = ("rhine", "iberia", "gallia", "baltica")
START = "2026-06-10"
DAYS = 14
WEEK = 672
"""Quarter-hours of a week. [1]"""

TOLERANCES = (0.0, 0.1, 0.25, 0.5)
"""Losses of throughput that the tiers of work tolerate. [1]"""

WAITS = (2.0, 12.0, 48.0)
"""Hours that work of a tier may wait. [h]"""

KINDS = tuple(product(TOLERANCES, WAITS))
FREE_SHARE = 0.6
"""Share of the racks that the service leaves which movable work keeps busy. [1]"""

REVISIONS = {"electricity_price": 0.8, "carbon_intensity": 2.0, "air_temperature": 0.1}
"""Standard deviation by which a quarter-hour changes a forecast, in its unit: that of an error of 8
EUR/MWh, 20 kg/MWh or 1 K which has grown over a day."""

MOST_CYCLES = 20
"""Most cycles that the series are made for. [1]"""

KNOWN = 96
"""Quarter-hours from the first moment on whose prices are published and change no more. [1]"""


@dataclass(frozen=True)
class Fleet:
    """The questions of the sites over some quarter-hours.

    Attributes
    ----------
    steps
        Quarter-hours of the window.
    """

    steps: int = WEEK

    @cached_property
    def members(self) -> tuple[tuple[Site, object], ...]:
        """The sites with twelve kinds of work, and the series that all of them see."""
        data = {name: sites.series_file(name) for name in ("prices", "weather", "jobs")}
        return tuple(
            (
                _with_kinds(site),
                read_run_inputs(site, SeriesFiles(**data), start=START, days=DAYS).series,
            )
            for site in map(sites.load_site, SITES)
        )

    def inputs(self, cycle: int) -> list[ModelData]:
        """Return the questions of a cycle, their curves laid."""
        return [build_model_data(problem) for problem in self.problems(cycle)]

    def problems(self, cycle: int) -> list[Problem]:
        """Return the questions of a cycle."""
        return [self._problem(place, cycle) for place in range(len(self.members))]

    def _problem(self, place: int, cycle: int) -> Problem:
        site, record = self.members[place]
        rng = np.random.default_rng([place, cycle])
        revised = self._revised(place, cycle)
        now = time_axes.to_utc(START) + cycle * time_axes.QUARTER_HOUR
        grid = time_axes.horizon_axes(now, [(0.25 * self.steps, 15.0)])
        ahead = outlook(site, record, now, axes=grid, has_perfect_foresight=True)
        for number, (name, size) in enumerate(REVISIONS.items()):
            known = max(KNOWN - cycle, 0) if name == "electricity_price" else 0
            ahead[name] = ahead[name] + size * np.where(
                np.arange(self.steps) < known, 0.0, revised[number]
            )
        ahead["carbon_intensity"] = ahead["carbon_intensity"].clip(min=0.0)
        start = state.initial_state(
            site,
            now,
            level=0.5 + 0.03 * np.sin(cycle) + rng.normal(scale=0.005),
            peak_power=0.6 * site.grid_connection.import_limit,
            grid_import_power=0.4 * site.grid_connection.import_limit,
        )
        return Problem(site, start, ahead.assign(_work(site, ahead, cycle)).pipe(_labelled))

    def _revised(self, place: int, cycle: int):
        """Return the sum of all revisions so far, for every word and interval of the window."""
        rng = np.random.default_rng([place, 77])
        whole = _wandering(rng, MOST_CYCLES, len(REVISIONS), self.steps + MOST_CYCLES)
        return whole[: cycle + 1].sum(axis=0)[:, cycle : cycle + self.steps]


def _with_kinds(site: Site) -> Site:
    """Return a site whose work comes in twelve kinds: four tiers, each with three waits."""
    batch = site.work["batch"]
    work = {
        f"tier_{round(100 * tolerance)}_{round(wait)}h": batch.model_copy(
            update={"name": f"tier_{round(100 * tolerance)}_{round(wait)}h", "tolerance": tolerance}
        )
        for tolerance, wait in KINDS
    }
    return site.model_copy(update={"work": work})


def _labelled(ahead):
    names = [f"tier_{round(100 * tolerance)}_{round(wait)}h" for tolerance, wait in KINDS]
    return ahead.assign_coords(cohort=[f"{n}/0" for n in names], kind=("cohort", names))


def _work(site: Site, ahead, cycle: int):
    """Return the envelope of work that comes steadily, more by day, and may wait for its time."""
    pool = RackPool.from_site(site)
    free = (pool.racks - ahead["service_racks"].to_numpy()).min() * FREE_SHARE / len(KINDS)
    edges = 0.25 * (cycle + np.arange(ahead.sizes["instant"]))
    least, most = np.zeros((2, len(edges), len(KINDS)))
    for c, (_, wait) in enumerate(KINDS):
        begun = _come(edges[0]) - _come(edges[0] - 0.5 * wait)
        can = begun + _come(edges) - _come(edges[0])
        must = np.maximum(_come(edges - wait) - _come(edges[0] - 0.5 * wait), 0.0)
        fast = 4.0 * (edges - edges[0])  # racks there are for each: four times the mean
        most[:, c] = np.minimum(can, fast) * free * pool.rack_power
        least[:, c] = np.minimum(must * free * pool.rack_power, most[:, c])
    limit = np.full((ahead.sizes["time"], len(KINDS)), 4.0 * free)
    tagged = {"work_least": least, "work_most": most}
    return {
        **{n: (("instant", "cohort"), v, {"units": "MWh"}) for n, v in tagged.items()},
        "work_racks_limit": (("time", "cohort"), limit, {"units": "1"}),
    }


def _come(hours):
    """Return the hours of work of one rack that have come, with a swing over the day. [h]"""
    turn = 2.0 * np.pi / 24.0
    return hours + 0.5 / turn * (1.0 - np.cos(turn * hours))


def _wandering(rng, *shape):
    """Return errors of forecasts, which forget themselves in five hours; variance 1."""
    noise = rng.normal(size=shape)
    for i in range(1, shape[-1]):
        noise[..., i] = 0.95 * noise[..., i - 1] + (1.0 - 0.95**2) ** 0.5 * noise[..., i]
    return noise
