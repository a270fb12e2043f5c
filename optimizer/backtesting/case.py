"""Setting that all runs of a back-test share: site, series, work, and the plant's initial state."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Protocol, Self

import numpy as np
import xarray as xr

import sites
from optimizer.inputs.series_files import (
    FORECAST_HISTORY,
    RunInputs,
    read_run_inputs,
    synthetic_files,
)
from optimizer.policies.storage_and_renewables import sell_heat
from optimizer.problem.planning_outlook import build_horizon, position_outlook
from optimizer.problem.problem import Problem, build_problem_from_record
from telemetry.simulator.plant import interpolate_to_minutes
from twin import time_axes, variables
from twin.argument_checks import check_argument_types
from twin.errors import IssueCode, ProblemError, ValidationIssue
from twin.forecast.outlook import outlook
from twin.markets.tariffs import expired_tariff_warnings
from twin.simulation import state
from twin.simulation.simulate import simulate
from twin.site import Site
from twin.time_axes import DAY, METERING_PERIOD_MIN, QUARTER_HOUR
from twin.weather import WEATHER_VARIABLES
from twin.workload.announced_work import assess_announced_work
from twin.workload.arrival_scenarios import arrival_ensemble
from twin.workload.jobs import Workload, workload_from_jobs
from twin.workload.queue import JobQueue, RackPool, open_queue, split_over_halls

USUAL_PRICE_QUANTILE: Final = 0.95
"""Share of the prices that must lie within plausible limits. [1]"""

USUAL_PRICE_LIMITS_EUR_MWH: Final = (5.0, 2000.0)
"""Plausible size of that share of all prices; weeks of 2022 and 2023 had 100 to 700. [EUR MWh-1]"""

WEEK: Final = 7 * DAY
FORECAST_YEAR_WEEKS: Final = 52
"""Weeks by which the fortnight that stands for a missing one is later, at most. [1]"""

MIN_LOAD_SCALE: Final = 0.01
MAX_LOAD_SCALE: Final = 0.95
"""Range of the mean movable work, as a share of all racks at full work. [1]"""


@dataclass(frozen=True, kw_only=True)
class BacktestCase:
    """Setting that all runs of a back-test share.

    Attributes
    ----------
    site, inputs, workload
        Site, series and jobs.
    actual
        True prices, carbon, weather, renewables and service in quarter-hours.
    surroundings
        Weather and available power in minutes.
    initial_state
        True state of the plant at the start.
    """

    site: Site
    inputs: RunInputs
    workload: Workload
    true_series: xr.Dataset
    boundary_conditions: xr.Dataset
    initial_state: xr.Dataset

    @classmethod
    def of(cls, site: Site, inputs: RunInputs, *, load_scale: float) -> Self:
        """Return the case of a site and its inputs.

        Parameters
        ----------
        site
            The site.
        inputs
            Prices, carbon, weather and jobs.
        load_scale
            Mean movable work as a share of all racks at full work, from :data:`MIN_LOAD_SCALE` to
            :data:`MAX_LOAD_SCALE`. [1]

        Raises
        ------
        ProblemError
            If it is out of range, or no job falls into the run.

        Notes
        -----
        The initial peak of the month is the import of this mean work, so that the run starts
        neither with a free peak nor with a full connection. It is computed in the weather expected
        then, as every policy sees it, because true weather would reveal the future.
        """
        check_argument_types("back-test", site=(site, Site), world=(inputs, RunInputs))
        if not MIN_LOAD_SCALE <= load_scale <= MAX_LOAD_SCALE:  # NaN too
            raise ProblemError.single(
                "back-test",
                IssueCode.OUT_OF_RANGE,
                "load_scale",
                found=f"{load_scale:g}",
                expected=f"a mean share of the racks, {MIN_LOAD_SCALE:g} to {MAX_LOAD_SCALE:g}",
                remedy="name a share in this range",
            )
        workload = workload_from_jobs(
            inputs.jobs,
            site,
            start=inputs.start,
            end=inputs.end,
            load_scale=load_scale,
            is_closed=False,
            announced=inputs.announced,
        )
        grid = time_axes.regular_axes(inputs.start, int((inputs.end - inputs.start) / QUARTER_HOUR))
        truth = outlook(site, inputs.series, inputs.start, axes=grid, has_perfect_foresight=True)
        position = position_outlook(site, inputs.series, inputs.start, axes=grid, foresight=True)
        truth = truth.merge(position, compat="override")
        surroundings = truth[[*WEATHER_VARIABLES, "renewable_available_power"]]
        around = interpolate_to_minutes(
            surroundings, inputs.start, METERING_PERIOD_MIN * grid.sizes["time"]
        )
        expected = outlook(site, inputs.series, inputs.start, axes=grid)
        mean_import = _mean_import(site, expected, load_scale)
        begin = state.initial_state(
            site,
            inputs.start,
            peak_power=mean_import,
            mean_weekly_import=mean_import,
            grid_import_power=mean_import,
        )
        return cls(
            site=site,
            inputs=inputs,
            workload=workload,
            true_series=truth,
            boundary_conditions=around,
            initial_state=begin,
        )

    def announcement_notes(self) -> list[str]:
        """Return what the announcements up to the end of the run were worth; nothing without any.

        Policies never see it: they judge announcements by what they knew at each moment.
        """
        made, end = self.workload.announcements, self.inputs.end
        if made is None:
            return []
        kinds, racks = tuple(self.site.work.values()), self.site.rack_count
        past = self.workload.past(end)
        return assess_announced_work(made, past, end, kinds=kinds, racks=racks).describe()

    def arrival_notes(self) -> list[str]:
        """Return what makes the scenarios of arrivals at the start wider, such as a gap."""
        past = self.workload.past(self.inputs.start)
        kinds = tuple(self.site.work.values())
        notices = arrival_ensemble(past, kinds, self.inputs.start).notices
        return [f"scenarios at the start: {notice}" for notice in notices]

    def plausibility_issues(self) -> list[ValidationIssue]:
        """Return implausible values of the site, its series and its work; none keeps a run back."""
        return [
            *sites.implausible_values(self.site),
            *self._price_doubts(),
            *self._work_doubts(),
            *self._tariff_doubts(),
        ]

    def _price_doubts(self) -> Iterator[ValidationIssue]:
        """Yield an issue for prices that look like those of another unit."""
        price = self.inputs.series["electricity_price"].to_numpy()
        usual = float(np.nanquantile(np.abs(price), USUAL_PRICE_QUANTILE))
        low, high = USUAL_PRICE_LIMITS_EUR_MWH
        if not low <= usual <= high:
            unit = "EUR/kWh, or divided by 1000" if usual < low else "ct/MWh, or multiplied by 1000"
            yield IssueCode.IMPLAUSIBLE.issue(
                "prices",
                found=f"{USUAL_PRICE_QUANTILE:.0%} of the prices within {usual:.3g} EUR/MWh of 0",
                expected=f"within {low:g} to {high:,g} EUR/MWh of 0",
                remedy=f"check the unit in the header: the values look like {unit}",
            )

    def _work_doubts(self) -> Iterator[ValidationIssue]:
        """Yield an issue if more work arrives in the run than free racks can do in its time."""
        jobs, actual = self.workload.jobs, self.true_series
        hours = actual["duration"].to_numpy()
        arrives = jobs.arrival > self.inputs.start
        offered = float(jobs.racks[arrives] @ jobs.length[arrives]) / hours.sum()
        free = (
            float(hours @ (self.site.rack_count - actual["service_racks"].to_numpy())) / hours.sum()
        )
        if offered > free:
            yield IssueCode.IMPLAUSIBLE.issue(
                "work",
                found=f"jobs for {offered:,.0f} racks in the mean",
                expected=f"at most {free:,.0f}, the racks beside inference",
                remedy="lower the load scale, or expect work that is late or left undone",
            )

    def _tariff_doubts(self) -> Iterator[ValidationIssue]:
        """Yield an issue if the last tariff ends before the run does."""
        site, time = self.site, self.true_series["time"].to_numpy()
        for text in expired_tariff_warnings(site.tariffs, time, site.time_zone):
            yield IssueCode.OUT_OF_RANGE.issue(
                "tariffs",
                found=text,
                expected="a tariff that is valid throughout the run",
                remedy="declare the next tariff once it is published",
            )

    def queue(self) -> JobQueue:
        """Return the jobs at the start."""
        return open_queue(RackPool.from_site(self.site), self.workload.jobs, self.inputs.start)

    def initial_plan_axes(self) -> xr.Dataset:
        """Return the axes of a plan made at the start."""
        return build_horizon(self.site, self.inputs.series, self.inputs.start)

    def build_problem(self, grid: xr.Dataset | None = None) -> Problem:
        """Return the problem at the start from what is known then.

        The axes are by default `initial_plan_axes()`.
        """
        past = self.workload.past(self.inputs.start)
        return build_problem_from_record(
            self.site,
            self.inputs.series,
            self.initial_state,
            queue=self.queue(),
            past=past,
            grid=grid,
        )


def _mean_import(site: Site, expected: xr.Dataset, load_scale: float) -> float:
    """Return the expected mean import when the mean work is done evenly. [MW]"""
    return float(_simulate_even_work(site, expected, load_scale)["grid_import_power"].mean())


def _simulate_even_work(site: Site, around: xr.Dataset, load_scale: float) -> xr.Dataset:
    """Return a site in given surroundings when the mean work is done evenly."""
    pool = RackPool.from_site(site)
    busy_racks = load_scale * pool.racks + around["service_racks"]
    operation = sell_heat(around, site).assign(
        hall_power=split_over_halls(site, pool.total_power(busy_racks))
    )
    return simulate(site, state.initial_state(site, around["time"].to_numpy()[0]), operation)


def find_peak_week(site: Site, inputs: RunInputs, *, load_scale: float) -> int:
    """Return the number of the week, from 0, in which the import of a site peaks at even work.

    ``inputs`` cover whole weeks. The twin simulates them in hours, in their true weather and with
    the service, work at ``load_scale`` [1], and unused stores.
    """
    hours = int((inputs.end - inputs.start) / time_axes.HOUR)
    axes = time_axes.horizon_axes(inputs.start, [(float(hours), time_axes.HOUR / time_axes.MINUTE)])
    around = outlook(site, inputs.series, inputs.start, axes=axes, has_perfect_foresight=True)
    net = variables.net_import(_simulate_even_work(site, around, load_scale)).to_numpy()
    return int(net.reshape(-1, 7 * 24).max(axis=1).argmax())


def with_forecast_history(inputs: RunInputs) -> RunInputs:
    """Return inputs whose forecasts have history at the start of the run.

    Where the files lack part of the fortnight before it, that of 52 weeks later stands for it, of
    the same days of the week and the same season; if the files lack that too, the latest before it.
    The run itself does not change.
    """
    series, first = inputs.series, inputs.start
    if _is_history_known(series, first):
        return inputs
    moves = (weeks * WEEK for weeks in range(FORECAST_YEAR_WEEKS, 1, -1))
    earlier = next((one for one in moves if _is_history_known(series, first + one)), None)
    if earlier is None:
        return inputs
    bare, end = series.drop_vars("instant"), first + earlier
    last = bare.sel(time=slice(end - FORECAST_HISTORY, end - QUARTER_HOUR))
    moved = last.assign_coords(
        time=last["time"] - earlier, local_time=("time", last["local_time"].to_numpy() - earlier)
    )
    joined = xr.concat([moved, bare.sel(time=slice(first, None))], "time", combine_attrs="override")
    edges = time_axes.regular_axes(first - FORECAST_HISTORY, joined.sizes["time"])["instant"]
    note = f"the fortnight to {str(end)[:10]} stands for the one before it, for forecasts only"
    return replace(
        inputs,
        series=joined.assign_coords(instant=edges),
        notes=(*inputs.notes, f"{str(first)[:10]}: {note}"),
    )


def _is_history_known(series: xr.Dataset, instant: np.datetime64) -> bool:
    """Return whether prices and weather of the fortnight before an instant are known."""
    before = series.sel(time=slice(instant - FORECAST_HISTORY, instant - QUARTER_HOUR))
    known = before["electricity_price"].notnull() & before["air_temperature"].notnull()
    return known.sizes["time"] == FORECAST_HISTORY // QUARTER_HOUR and bool(known.all())


SYNTHETIC_START: Final = "2026-06-16T00:00"
"""Start of runs over the synthetic June 2026: forecasts need two weeks of history."""

DEFAULT_LOAD_SCALE: Final = 0.6
"""Mean share of the racks that jobs use. [1]"""


def synthetic_case(
    site: Site, *, start: str = SYNTHETIC_START, steps: int, load_scale: float = DEFAULT_LOAD_SCALE
) -> BacktestCase:
    """Return the case of a site over synthetic series.

    ``start`` lies in the synthetic June 2026, ``steps`` is the number of quarter-hours [1], and
    ``load_scale`` the mean share of the racks that jobs use. [1]
    """
    days = int(np.ceil(steps * QUARTER_HOUR / DAY))
    inputs = read_run_inputs(site, synthetic_files(), start=start, days=days)
    inputs = replace(inputs, end=inputs.start + steps * QUARTER_HOUR)
    return BacktestCase.of(site, inputs, load_scale=load_scale)


class PlannedSchedule(Protocol):
    """Part of a decision that a run uses; importing the class itself loads a solver."""

    @property
    def start(self) -> np.datetime64:
        """Start of the schedule. [datetime64, UTC]"""
        ...

    @property
    def schedule(self) -> xr.Dataset:
        """The planned schedule."""
        ...
