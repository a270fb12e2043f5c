"""Days of the small site on the synthetic series, for tests of the closed loop."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd

import sites
from optimizer.backtesting.case import BacktestCase
from optimizer.inputs.series_files import SeriesFiles, read_run_inputs
from optimizer.planner.planner import decide
from optimizer.problem.problem import Problem
from twin import time_axes
from twin.forecast.outlook import outlook
from twin.workload.arrival_forecast import expected_arrivals
from twin.workload.cohorts import work_flexibility
from twin.workload.queue import RackPool

START = "2026-06-16"


def files(**others):
    """Return the synthetic files, some replaced."""
    own = {name: sites.series_file(name) for name in ("prices", "weather", "jobs")}
    return SeriesFiles(**(own | others))


@cache
def world(days=1):
    return read_run_inputs(sites.load_site("small"), files(), start=START, days=days)


@cache
def setting(hours=24):
    """Return the setting of a run that is cut after some hours."""
    whole = world()
    end = whole.start + np.timedelta64(round(hours * 60), "m")
    return BacktestCase.of(sites.load_site("small"), replace(whole, end=end), load_scale=0.6)


@cache
def problem(hours=8):
    """Return the question of the first moment, over a short horizon."""
    here = setting()
    now, pool = here.inputs.start, RackPool.from_site(here.site)
    grid = time_axes.horizon_axes(now, [(hours, 15.0)])
    expected = expected_arrivals(here.workload.past(now), pool.kinds, now)
    ahead = outlook(here.site, here.inputs.series, now, axes=grid)
    return Problem(
        here.site,
        here.initial_state,
        ahead.merge(work_flexibility(queue(), grid, expected=expected)),
    )


def queue():
    """Return the jobs of the first moment."""
    return setting().queue()


@cache
def decision(hours=8):
    return decide(problem(hours))


def typical_year(tmp_path):
    """Write a typical year in UTC whose pressure counts the days: 1 January has 1000.00 hPa."""
    lines = ["LOCATION,TOWN,-,DEU,IWEC Data,000000,50.0,8.0,0.0,100.0", "DATA PERIODS,1,1,Data"]
    for count, day in enumerate(pd.date_range("1990-01-01", "1990-12-31")):
        stamp = f"1990,{day.month},{day.day}"
        rest = f"{100_000 + count},0,0,0,0,0,0,0,0,0,0,0,3.0,5,5,9,9"
        lines += [f"{stamp},{hour},60,flags,10,0,50,{rest}" for hour in range(1, 25)]
    path = tmp_path / "town.epw"
    path.write_text("\n".join(lines))
    return path
