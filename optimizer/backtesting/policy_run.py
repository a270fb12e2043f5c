"""One policy on one plant: its trajectory in quarter-hours, its bill and its violations."""

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
        Name of the policy, and seed of the plant.
    trajectory
        Means of the plant, values of the plans and the queue, in quarter-hours.
    settlement, work, violations
        Bill, work balance, and violated minutes by limit.
    decisions
        Every decision of a planner; empty for a rule.
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
        """Figures of the run."""
        return PolicySummary.of(self.settlement, self.work, int(self.violations.sum()))

    @property
    def violated_limits(self) -> list[dict[str, object]]:
        """Violated limits: ``limit, plant, minutes, first``."""
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
"""Backlog after a quarter-hour [MWh], and the progress within it.

A run has too many quarter-hours to store the queue of each."""


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
    """Return the settled run of a policy from its plant and ``queue`` at the end."""
    record, work = plant.record(), work_balance(queue, steps)
    trajectory = build_trajectory(case, record, steps=steps, decisions=decisions)
    reserves = reserve_record(plant, decisions, case)
    return PolicyRun(
        policy=name,
        seed=seed,
        trajectory=trajectory
        if reserves is None
        else trajectory.merge(reserves, compat="override"),
        settlement=settle(
            case.site,
            record,
            case.inputs.series,
            work=work,
            peak_power=float(case.initial_state["peak_power"]),
            reserves=reserves,
        ),
        work=work,
        violations=count_violations(plant, case.site),
        decisions=tuple(decisions),
    )


COMPARED_VARIABLES = ("grid_import_power", "grid_export_power", "facility_power")
"""Variables of a schedule that a trajectory compares with the plant."""


def work_balance(last: JobQueue, steps: Sequence[IntervalProgress]) -> WorkBalance:
    """Return the work done and left in a run; ``last`` is the queue at its end."""
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
    """Return a run in quarter-hours, with true prices and the values of the plans.

    Means are on ``time`` and stocks on ``instant``; ``plan_<name>`` holds the value of the plan in
    force. The carbon intensity is absent where it is unknown, because zeros would look measured.
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
    trajectory = (
        grid.merge(edges.isel(instant=slice(None, None, QUARTER_MINUTES)))
        .merge(means.assign_coords(time=grid["time"]))
        .merge(case.actual.drop_vars(unknown), compat="override")
    )
    backlog, progress = zip(*steps, strict=True)
    first = backlog[0] + float(progress[0].work_done.sum())
    trajectory["work_power"] = ("time", "kind"), np.stack([p.work_power for p in progress])
    trajectory["work_backlog"] = "instant", np.array([first, *backlog])
    trajectory = trajectory.assign_coords(kind=list(case.site.work))
    for name in ("work_power", "work_backlog"):
        trajectory[name] = variables.tag_variable(trajectory[name], name)
    return trajectory.assign(_planned_values(decisions, trajectory["time"].to_numpy()))


def _planned_values(
    decisions: Sequence[PlannedSchedule], time: np.ndarray
) -> Mapping[str, xr.DataArray]:
    """Return the values of the plan in force at each time, under ``plan_<name>``."""
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
