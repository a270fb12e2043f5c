"""The course of a run in quarter-hours: what the plant did, what the plans had promised.

A trial: one policy on one plant, as it went and as it is settled.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from optimizer.backtesting.case import BacktestCase, PlannedSchedule
from optimizer.backtesting.reserve_calls import count_violations, reserve_record
from optimizer.backtesting.results import PolicySummary
from optimizer.backtesting.settlement import Settlement, WorkBalance, settle
from optimizer.planner.decision import Decision
from telemetry.simulator.plant import QUARTER_MINUTES, SimulatedFacility
from twin import time_axes, variables
from twin.units import format_minute
from twin.workload.queue import JobQueue, QueueProgress


@dataclass(frozen=True, kw_only=True)
class PolicyRun:
    """One policy on one plant.

    Attributes
    ----------
    policy, seed
        Which.
    trajectory
        What happened in quarter-hours: the plant's means, the plan's promises, the queue.
    settlement, work, violations
        The settled run, its work, and the violated minutes by limit.
    decisions
        Every decision of a planning policy.
    """

    policy: str
    seed: int
    trajectory: xr.Dataset
    settlement: Settlement
    work: WorkBalance
    violations: xr.DataArray
    decisions: tuple[Decision, ...]

    @property
    def summary(self) -> PolicySummary:
        """The trial in numbers."""
        return PolicySummary.of(self.settlement, self.work, int(self.violations.sum()))

    @property
    def violated_limits(self) -> list[dict[str, object]]:
        """The limits that were broken: ``limit, plant, minutes, first``."""
        return [
            {
                "limit": str(one["limit"].item()),
                "plant": self.seed,
                "minutes": int(one),
                "first": format_minute(one["first"].to_numpy()),
            }
            for one in self.violations[self.violations.to_numpy() > 0]
        ]


type IntervalProgress = tuple[float, QueueProgress]
"""Work not yet done after a quarter-hour [MWh], and what was done in it: a run has too many to keep
the queue of each."""


def settle_policy_run(
    case: BacktestCase,
    plant: SimulatedFacility,
    queue: JobQueue,
    *,
    name: str,
    seed: int,
    steps: Sequence[IntervalProgress],
    decisions: Sequence[Decision],
) -> PolicyRun:
    """Return what became of a run, settled.

    Parameters
    ----------
    case
        Site, world and work.
    plant
        The plant after it.
    queue
        What is left of the work.
    name, seed
        Of the policy, and of the plant.
    steps, decisions
        Every quarter-hour, and every decision of a policy that plans.
    """
    world, record, work = case.inputs, plant.record(), work_balance(queue, steps)
    course = build_trajectory(case, record, steps=steps, decisions=decisions)
    held = reserve_record(plant, decisions, case)
    return PolicyRun(
        policy=name,
        seed=seed,
        trajectory=course if held is None else course.merge(held, compat="override"),
        settlement=settle(
            case.site,
            record,
            world.series,
            work=work,
            peak_power=float(case.initial_state["peak_power"]),
            reserves=held,
        ),
        work=work,
        violations=count_violations(plant, case.site),
        decisions=tuple(decisions),
    )


COMPARED_VARIABLES = ("grid_import_power", "grid_export_power", "facility_power")
"""Words of a schedule that are held against what the plant did."""


def work_balance(last: JobQueue, steps: Sequence[IntervalProgress]) -> WorkBalance:
    """Return what became of the work of a run.

    Parameters
    ----------
    last
        The queue at its end.
    steps
        Every quarter-hour.
    """
    left = {
        kind.name: float(
            last.jobs.racks[last.jobs.kind_index == k]
            @ last.remaining_hours[last.jobs.kind_index == k]
        )
        * last.pool.rack_power
        for k, kind in enumerate(last.pool.kinds)
    }
    return WorkBalance(
        done=sum(float(p.work_done.sum() - p.work_lost.sum()) for _, p in steps),
        left=left,
        lateness=sum(p.lateness for _, p in steps),
        late_energy=sum(p.overdue_energy for _, p in steps),
    )


def build_trajectory(
    case: BacktestCase,
    record: xr.Dataset,
    *,
    steps: Sequence[IntervalProgress],
    decisions: Sequence[PlannedSchedule],
) -> xr.Dataset:
    """Return a run in quarter-hours, with the prices it met and the promises of the plans.

    Parameters
    ----------
    case
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
    unknown = ["terminal_price", *([] if case.inputs.has_carbon else ["carbon_intensity"])]
    grid = time_axes.regular_axes(case.inputs.start, len(steps))
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
        .merge(case.actual.drop_vars(unknown), compat="override")
    )
    backlog, progress = zip(*steps, strict=True)
    first = backlog[0] + float(progress[0].work_done.sum())
    course["work_power"] = ("time", "kind"), np.stack([p.work_power for p in progress])
    course["work_backlog"] = "instant", np.array([first, *backlog])
    course = course.assign_coords(kind=list(case.site.work))
    for name in ("work_power", "work_backlog"):
        course[name] = variables.tag_variable(course[name], name)
    return course.assign(_planned_values(decisions, course["time"].to_numpy()))


def _planned_values(
    decisions: Sequence[PlannedSchedule], time: np.ndarray
) -> Mapping[str, xr.DataArray]:
    """Return what the plan in force at each moment had promised for it."""
    if not decisions:
        return {}
    starts = [decision.start for decision in decisions]
    current = np.searchsorted(starts, time, side="right") - 1
    found: dict[str, list[float]] = {name: [] for name in COMPARED_VARIABLES}
    for moment, which in zip(time, current, strict=True):
        step = decisions[which].schedule[[*COMPARED_VARIABLES]].sel(time=moment)
        for name in COMPARED_VARIABLES:
            found[name].append(float(step[name]))
    return {
        f"plan_{name}": variables.tag_variable(xr.DataArray(values, dims="time"), name)
        for name, values in found.items()
    }
