"""Back-test: policies in closed loop on a simulated plant that differs from their model.

Each run has a trajectory in quarter-hours, a bill, a work balance and violations.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

from optimizer.backtesting.case import BacktestCase, PlannedSchedule
from optimizer.backtesting.closed_loop import run_policy
from optimizer.backtesting.reserve_calls import (
    build_plant,
    count_violations_outside_calls,
    reserve_record,
)
from optimizer.backtesting.results import BacktestResults, PolicySummary, mean_accounts
from optimizer.backtesting.settlement import Settlement, WorkBalance, settle
from optimizer.model.objective import RiskPreference
from optimizer.planner.decision import Decision
from optimizer.policies.mpc import (
    MpcPolicy,
    PartialForesightPolicy,
    PlanningSettings,
    StochasticMpcPolicy,
)
from optimizer.policies.policy import (
    DEFAULT_PLANNER,
    DEFAULT_POLICIES,
    FORESIGHT_POLICIES,
    KNOWN_POLICIES,
    PERFECT_FORESIGHT_POLICY,
    PLANNER_ALIAS,
    RULE_ORDERS,
    Policy,
    RulePolicy,
    resolve_policy,
)
from telemetry.simulator.plant import SimulatedFacility
from twin import time_axes, variables
from twin.argument_checks import check_argument_types
from twin.errors import IssueCode, ProblemError
from twin.text import closest_match_hint
from twin.time_axes import METERING_PERIOD_MIN
from twin.units import format_minute
from twin.workload.queue import JobQueue, QueueProgress


@dataclass(frozen=True, kw_only=True)
class PolicyRun:
    """One policy on one plant.

    - `trajectory`: means of the plant, values of the plans and the queue, in quarter-hours.
    - `settlement`, `work_balance`: bill, and work done and left.
    - `violated_minutes`: violated minutes by limit.
    - `decisions`: every decision of a planner; empty for a rule.
    - `risk`: risk measure of a planner with scenarios; None of the others.
    """

    policy: str
    seed: int
    trajectory: xr.Dataset
    settlement: Settlement
    work_balance: WorkBalance
    violated_minutes: xr.DataArray
    decisions: tuple[Decision, ...]
    risk: RiskPreference | None = None

    def without_series(self) -> "PolicyRun":
        """Return the run without its trajectory and optimal plans, which take much memory."""
        fallbacks = tuple(decision for decision in self.decisions if decision.is_fallback)
        return replace(self, trajectory=xr.Dataset(), decisions=fallbacks)

    @property
    def summary(self) -> PolicySummary:
        """Figures of the run."""
        return PolicySummary.of(
            self.settlement,
            self.work_balance,
            int(self.violated_minutes.sum()),
            fallbacks=sum(decision.is_fallback for decision in self.decisions),
        )

    @property
    def fallback_plans(self) -> list[dict[str, object]]:
        """Plans that are not the optimum, for want of a safe one: ``plant, time, reason``."""
        return [
            {
                "plant": self.seed,
                "time": format_minute(decision.start),
                "reason": decision.explanation.degradation_reason,
            }
            for decision in self.decisions
            if decision.is_fallback
        ]

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
            for one in self.violated_minutes[self.violated_minutes.to_numpy() > 0]
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
        work_balance=work,
        violated_minutes=count_violations_outside_calls(plant, case.site),
        decisions=tuple(decisions),
        risk=next((one.explanation.hedge.risk for one in decisions if one.explanation.hedge), None),
    )


COMPARED_SCHEDULE_VARIABLES = ("grid_import_power", "grid_export_power", "facility_power")
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
        remaining_work=left,
        lateness=sum(p.lateness for _, p in steps),
        power_weighted_lateness=sum(p.power_weighted_lateness for _, p in steps),
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
        .coarsen(time=METERING_PERIOD_MIN)
        .mean()
    )
    edges = stocks.drop_vars(["time", "duration"], errors="ignore")
    trajectory = (
        grid.merge(edges.isel(instant=slice(None, None, METERING_PERIOD_MIN)))
        .merge(means.assign_coords(time=grid["time"]))
        .merge(case.true_series.drop_vars(unknown), compat="override")
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
    found: dict[str, list[float]] = {name: [] for name in COMPARED_SCHEDULE_VARIABLES}
    for moment, which in zip(time, current, strict=True):
        step = decisions[which].schedule[[*COMPARED_SCHEDULE_VARIABLES]].sel(time=moment)
        for name in COMPARED_SCHEDULE_VARIABLES:
            found[name].append(float(step[name]))
    return {
        f"plan_{name}": variables.tag_variable(xr.DataArray(values, dims="time"), name)
        for name, values in found.items()
    }


MIN_SEEDS: Final = 1
"""Plants that a back-test needs. [1]"""

type ProgressCallback = Callable[[str, int, int, int], None]
"""Receives the policy, the seed, the quarter-hours done and those in all."""


def backtest(
    case: BacktestCase,
    *,
    policies: Sequence[str] = DEFAULT_POLICIES,
    seeds: int = 1,
    on_progress: ProgressCallback = lambda *_: None,
    on_run: Callable[[PolicyRun], None] = lambda _: None,
    export_folder: Path | None = None,
) -> BacktestResults:
    """Run policies on the same plants and compare them.

    Parameters
    ----------
    case
        Site, series and work.
    policies
        Names of :data:`KNOWN_POLICIES`, or ``optimal``; a repeated name is run once.
    seeds
        Number of plants, each with its own hidden parameters; at least one. [1]
    on_progress
        Receives the progress.
    on_run
        Receives every run when it is done.
    export_folder
        Folder for the linear model of every decision; None writes none.

    Returns
    -------
    BacktestResults
        Summaries by policy, under the stored names.

    Raises
    ------
    ProblemError
        If a policy is unknown, none is named, or ``seeds`` is below 1; before anything is run.
    """
    check_argument_types("back-test", setting=(case, BacktestCase))
    names = validate_policies(policies)
    if seeds < MIN_SEEDS:
        raise ProblemError.single(
            "back-test",
            IssueCode.OUT_OF_RANGE,
            "seeds",
            found=str(seeds),
            expected=f"at least {MIN_SEEDS} plant",
            remedy="name the number of plants to run",
        )
    began = time.process_time()
    ran: dict[str, list[PolicyRun]] = {name: [] for name in names}
    for seed in range(seeds):
        for name in names:
            run = run_backtest_policy(
                case, name, seed=seed, on_progress=on_progress, export_folder=export_folder
            )
            on_run(run)
            ran[name].append(run.without_series())
    return _summarise(case, ran, seeds=seeds, cpu_s=time.process_time() - began)


def _summarise(
    case: BacktestCase, ran: Mapping[str, Sequence[PolicyRun]], *, seeds: int, cpu_s: float
) -> BacktestResults:
    """Return the results of a back-test from the summaries of its runs by policy."""
    inputs = case.inputs
    summaries = {name: [run.summary for run in many] for name, many in ran.items()}
    bills = {name: [run.settlement for run in many] for name, many in ran.items()}
    return BacktestResults(
        site=case.site.name,
        start=format_minute(inputs.start),
        days=round((inputs.end - inputs.start) / np.timedelta64(1, "D")),
        seeds=seeds,
        cpu_s=cpu_s,
        gaps=inputs.gaps,
        notes=(
            *inputs.notes,
            *case.announcement_notes(),
            *(case.arrival_notes() if "hedged" in ran else ()),
        ),
        policies={name: PolicySummary.averaged(many) for name, many in summaries.items()},
        by_seed=summaries,
        accounts={name: mean_accounts([bill.accounts for bill in b]) for name, b in bills.items()},
        weighed={
            name: mean_accounts([bill.weighted_terms for bill in b]) for name, b in bills.items()
        },
        broken={
            name: [row for run in many for row in run.violated_limits] for name, many in ran.items()
        },
        fallbacks={
            name: [row for run in many for row in run.fallback_plans] for name, many in ran.items()
        },
        risk={name: asdict(risk) for name, many in ran.items() if (risk := many[0].risk)},
    )


def validate_policies(names: Iterable[str], *, place: str = "policies") -> tuple[str, ...]:
    """Return the stored names of the named policies, each once.

    ``place`` is the location in an error. Raises ProblemError if a policy is unknown, or none is
    named.
    """
    given = (names,) if isinstance(names, str) else tuple(names)
    found = dict.fromkeys(resolve_policy(str(name)) for name in given)
    choices = (PLANNER_ALIAS, *KNOWN_POLICIES)
    faults = [
        IssueCode.UNKNOWN_NAME.issue(
            place,
            found=str(name),
            expected=f"one of {', '.join(choices)}",
            remedy="choose a known policy" + closest_match_hint(str(name).lower(), choices),
        )
        for name in dict.fromkeys(given)
        if resolve_policy(str(name)) not in KNOWN_POLICIES
    ]
    if not found:
        fault = IssueCode.MISSING.issue(
            place,
            found="none",
            expected=f"some of {', '.join(choices)}",
            remedy="name at least one policy",
        )
        faults = [fault]
    ProblemError.raise_if_any("back-test", faults)
    return tuple(found)


def run_backtest_policy(
    case: BacktestCase,
    name: str,
    *,
    seed: int,
    on_progress: ProgressCallback,
    export_folder: Path | None = None,
) -> PolicyRun:
    """Run one policy on the plant of a seed from start to end, and settle the run.

    The linear models of its decisions go to a folder for policy and plant in ``export_folder``.
    """
    name = resolve_policy(name)
    decisions: list[Decision] = []
    models = export_folder and export_folder / f"{name}_{seed}"
    policy = build_policy(
        case, name, lambda decision: decisions.append(decision.without_replay()), export=models
    )
    plant = build_plant(case, seed=seed)
    count = case.true_series.sizes["time"]
    steps: list[IntervalProgress] = []
    for queue, progress in run_policy(case, policy, plant, decisions=decisions):
        steps.append((queue.backlog, progress))
        on_progress(name, seed, len(steps), count)
    return settle_policy_run(
        case, plant, queue, name=name, seed=seed, steps=steps, decisions=decisions
    )


def build_policy(
    case: BacktestCase,
    name: str,
    on_decision: Callable[[Decision], None],
    *,
    export: Path | None = None,
) -> Policy:
    """Return a policy by its name; a planner writes its models to the folder ``export``.

    Raises ProblemError if no policy has this name.
    """
    (name,) = validate_policies([name], place="policy")
    site, record = case.site, case.inputs.series
    if name in RULE_ORDERS:
        return RulePolicy(site, record, RULE_ORDERS[name])
    settings = PlanningSettings(workload=case.workload, on_decision=on_decision, export=export)
    if name == DEFAULT_PLANNER:
        return StochasticMpcPolicy(site, record, **settings)
    if name in FORESIGHT_POLICIES:
        return PartialForesightPolicy(site, record, knows=FORESIGHT_POLICIES[name], **settings)
    if name == PERFECT_FORESIGHT_POLICY:
        price = float(case.true_series["electricity_price"].mean())
        return MpcPolicy(site, record, until=case.inputs.end, final_price=price, **settings)
    return MpcPolicy(site, record, **settings)
