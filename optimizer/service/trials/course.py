"""The course of a run in quarter-hours: what the plant did, what the plans had promised."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import xarray as xr

from optimizer.service.trials.setting import Setting
from optimizer.service.trials.settle import Work
from telemetry.simulator.plant import QUARTER_MINUTES
from twin import time_axes, variables
from twin.workload.queue import JobQueue, QueueProgress

PROMISES = ("grid_import_power", "grid_export_power", "facility_power")
"""Words of a schedule that are held against what the plant did."""


class Promise(Protocol):
    """A decision, as far as it promises something; importing the real one loads a solver."""

    @property
    def start(self) -> np.datetime64:
        """From when on it holds. [datetime64, UTC]"""
        ...

    @property
    def schedule(self) -> xr.Dataset:
        """What it promises."""
        ...


type Step = tuple[float, QueueProgress]
"""Work not yet done after a quarter-hour [MWh], and what was done in it: a run has too many to keep
the queue of each."""


def work_of(last: JobQueue, steps: Sequence[Step]) -> Work:
    """Return what became of the work of a run.

    Parameters
    ----------
    last
        The queue at its end.
    steps
        Every quarter-hour.
    """
    left = {
        kind.name: float(last.jobs.racks[last.jobs.kind == k] @ last.rest[last.jobs.kind == k])
        * last.pool.rack_power
        for k, kind in enumerate(last.pool.kinds)
    }
    return Work(
        done=sum(float(p.work_done.sum() - p.work_lost.sum()) for _, p in steps),
        left=left,
        lateness=sum(p.lateness for _, p in steps),
        late_energy=sum(p.late_energy for _, p in steps),
    )


def course_of(
    setting: Setting,
    record: xr.Dataset,
    *,
    steps: Sequence[Step],
    decisions: Sequence[Promise],
) -> xr.Dataset:
    """Return a run in quarter-hours, with the prices it met and the promises of the plans.

    Parameters
    ----------
    setting
        Site, world and work.
    record
        What the plant did, in minutes.
    steps
        Every quarter-hour.
    decisions
        Every decision of a planning policy.

    Returns
    -------
    xarray.Dataset
        Means on ``time``, stocks on ``instant``; promises under ``plan_<name>``. No carbon
        intensity where none is known: whoever reports on the run would take zeros for true.
    """
    unknown = ["terminal_price", *([] if setting.world.has_carbon else ["carbon_intensity"])]
    grid = time_axes.regular_axes(setting.world.start, len(steps))
    flows = record[[name for name in record.data_vars if "time" in record[name].dims]]
    stocks = record[[name for name in record.data_vars if "instant" in record[name].dims]]
    means = (
        flows.drop_vars(["duration", "instant"], errors="ignore")
        .coarsen(time=QUARTER_MINUTES)
        .mean()
    )
    edges = stocks.drop_vars(["time", "duration"], errors="ignore")
    course = (
        grid.merge(edges.isel(instant=slice(None, None, QUARTER_MINUTES)))
        .merge(means.assign_coords(time=grid["time"]))
        .merge(setting.truth.drop_vars(unknown), compat="override")
    )
    backlog, progress = zip(*steps, strict=True)
    first = backlog[0] + float(progress[0].work_done.sum())
    course["work_power"] = ("time", "kind"), np.stack([p.work_power for p in progress])
    course["work_backlog"] = "instant", np.array([first, *backlog])
    course = course.assign_coords(kind=list(setting.site.work))
    for name in ("work_power", "work_backlog"):
        course[name] = variables.tag_variable(course[name], name)
    return course.assign(_promises(decisions, course["time"].to_numpy()))


def _promises(decisions: Sequence[Promise], time: np.ndarray) -> Mapping[str, xr.DataArray]:
    """Return what the plan in force at each moment had promised for it."""
    if not decisions:
        return {}
    starts = [decision.start for decision in decisions]
    current = np.searchsorted(starts, time, side="right") - 1
    found: dict[str, list[float]] = {name: [] for name in PROMISES}
    for moment, which in zip(time, current, strict=True):
        step = decisions[which].schedule[[*PROMISES]].sel(time=moment)
        for name in PROMISES:
            found[name].append(float(step[name]))
    return {
        f"plan_{name}": variables.tag_variable(xr.DataArray(values, dims="time"), name)
        for name, values in found.items()
    }
