"""The setting that all trials of a back-test share: site, world, work, and how the plant begins."""

from dataclasses import dataclass, replace
from typing import Final, Protocol, Self

import numpy as np
import xarray as xr

from optimizer.inputs.series_files import DAY, RunInputs, read_run_inputs, synthetic_files
from optimizer.policies.storage_and_renewables import sell_heat
from optimizer.problem.outlook import build_horizon, position_outlook
from optimizer.problem.problem import Problem, build_problem
from telemetry.simulator.plant import QUARTER_MINUTES, interpolate_to_minutes
from twin import time_axes
from twin.errors import ProblemError, ValidationIssue
from twin.forecast.history import WEATHER_VARIABLES
from twin.forecast.outlook import outlook
from twin.simulation import state
from twin.simulation.simulate import simulate
from twin.site import Site
from twin.time_axes import QUARTER_HOUR
from twin.validation import check_argument_types
from twin.workload.jobs import Workload, workload_from_jobs
from twin.workload.queue import JobQueue, RackPool, open_queue, split_over_halls

MIN_LOAD_SCALE: Final = 0.01
MAX_LOAD_SCALE: Final = 0.95
"""Mean movable work that a run may have, as shares of all racks at full work. [1]"""


@dataclass(frozen=True, kw_only=True)
class BacktestCase:
    """What all trials of a back-test share.

    Attributes
    ----------
    site, inputs, workload
        Where, in which world, with which work.
    actual
        Prices, carbon, weather, renewables and service in quarter-hours, as they really were.
    surroundings
        Weather and available power in minutes.
    initial_state
        True state of the plant at the start.
    """

    site: Site
    inputs: RunInputs
    workload: Workload
    actual: xr.Dataset
    surroundings: xr.Dataset
    initial_state: xr.Dataset

    @classmethod
    def of(cls, site: Site, inputs: RunInputs, *, load_scale: float) -> Self:
        """Return the common setting of a site in a world.

        Parameters
        ----------
        site
            The site.
        inputs
            Prices, carbon, weather and jobs.
        load_scale
            Mean movable work, as a share of all racks at full work, of :data:`LEAST_LOAD` to
            :data:`MAX_LOAD_SCALE`. [1]

        Raises
        ------
        ProblemError
            If it lies beyond, or no job falls into the run.

        Notes
        -----
        The month so far is taken to have peaked at the import of this mean work: neither a free
        peak nor a full connection is given away at the start. It is reckoned in the weather that is
        expected then, as every policy sees it: true weather would tell of what comes.
        """
        check_argument_types("back-test", site=(site, Site), world=(inputs, RunInputs))
        if not MIN_LOAD_SCALE <= load_scale <= MAX_LOAD_SCALE:  # NaN too
            bounds = f"{MIN_LOAD_SCALE:g} to {MAX_LOAD_SCALE:g} of 1"
            remedy = f"mean share of the racks that jobs use: {bounds}"
            fault = ValidationIssue(location="load_scale", found=f"{load_scale:g}", remedy=remedy)
            raise ProblemError("back-test", [fault])
        workload = workload_from_jobs(
            inputs.jobs,
            site,
            start=inputs.start,
            end=inputs.end,
            load_scale=load_scale,
            is_closed=False,
        )
        grid = time_axes.regular_axes(inputs.start, int((inputs.end - inputs.start) / QUARTER_HOUR))
        truth = outlook(site, inputs.series, inputs.start, axes=grid, has_perfect_foresight=True)
        bought = position_outlook(site, inputs.series, inputs.start, axes=grid, foresight=True)
        truth = truth.merge(bought, compat="override")
        watched = truth[[*WEATHER_VARIABLES, "renewable_available_power"]]
        around = interpolate_to_minutes(watched, inputs.start, QUARTER_MINUTES * grid.sizes["time"])
        expected = outlook(site, inputs.series, inputs.start, axes=grid)
        usual = _mean_import(site, expected, load_scale)
        begin = state.initial_state(
            site, inputs.start, peak_power=usual, mean_weekly_import=usual, grid_import_power=usual
        )
        return cls(
            site=site,
            inputs=inputs,
            workload=workload,
            actual=truth,
            surroundings=around,
            initial_state=begin,
        )

    def queue(self) -> JobQueue:
        """Return the jobs of the first moment."""
        return open_queue(RackPool.from_site(self.site), self.workload.jobs, self.inputs.start)

    def horizon(self) -> xr.Dataset:
        """Return the axes of a plan of the first moment."""
        return build_horizon(self.site, self.inputs.series, self.inputs.start)

    def build_problem(self, grid: xr.Dataset | None = None) -> Problem:
        """Return the question of the first moment, from nothing but what is known then.

        Parameters
        ----------
        grid
            The horizon; by default :meth:`horizon`.
        """
        past = self.workload.past(self.inputs.start)
        return build_problem(
            self.site,
            self.inputs.series,
            self.initial_state,
            queue=self.queue(),
            past=past,
            grid=grid,
        )


def _mean_import(site: Site, expected: xr.Dataset, load_scale: float) -> float:
    """Return the mean import when the mean work is done evenly, as an outlook expects it. [MW]"""
    pool = RackPool.from_site(site)
    busy = load_scale * pool.racks + expected["service_racks"]
    operation = sell_heat(expected, site).assign(
        hall_power=split_over_halls(site, pool.total_power(busy))
    )
    calm = state.initial_state(site, expected["time"].to_numpy()[0])
    return float(simulate(site, calm, operation)["grid_import_power"].mean())


SYNTHETIC_START: Final = "2026-06-16T00:00"
"""Where runs over the synthetic June 2026 begin: forecasts look back two weeks."""

DEFAULT_LOAD_SCALE: Final = 0.6
"""Mean share of the racks that jobs use. [1]"""


def synthetic_case(
    site: Site, *, start: str = SYNTHETIC_START, steps: int, load_scale: float = DEFAULT_LOAD_SCALE
) -> BacktestCase:
    """Return the world of a simulated plant.

    Parameters
    ----------
    site
        The site.
    start
        First moment, in the synthetic June 2026.
    steps
        Quarter-hours to run. [1]
    load_scale
        Mean share of the racks that jobs use. [1]

    Returns
    -------
    BacktestCase
        Over exactly these quarter-hours.
    """
    days = int(np.ceil(steps * QUARTER_HOUR / DAY))
    world = read_run_inputs(site, synthetic_files(site), start=start, days=days)
    world = replace(world, end=world.start + steps * QUARTER_HOUR)
    return BacktestCase.of(site, world, load_scale=load_scale)


class PlannedSchedule(Protocol):
    """A decision, as far as it promises something; importing the real one loads a solver."""

    @property
    def start(self) -> np.datetime64:
        """From when on it holds. [datetime64, UTC]"""
        ...

    @property
    def schedule(self) -> xr.Dataset:
        """What it promises."""
        ...
