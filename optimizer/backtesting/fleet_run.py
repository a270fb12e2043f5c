"""A fleet in closed loop: sites agree every hour which waiting jobs move."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

import numpy as np

from optimizer.backtesting.case import BacktestCase
from optimizer.backtesting.closed_loop import observe, run_interval
from optimizer.backtesting.reserve_calls import ReserveCaller, build_plant
from optimizer.backtesting.runner import (
    IntervalProgress,
    PolicyRun,
    run_backtest_policy,
    settle_policy_run,
)
from optimizer.fleet.planner import decide_rolling
from optimizer.fleet.routes import build_fleet_problems, check_fleet
from optimizer.fleet.transfers import JobTransfer, select_transfers
from optimizer.planner.decision import Decision
from optimizer.policies.mpc import REPLAN_INTERVAL, MpcPolicy
from optimizer.policies.policy import FORECAST_PLANNER, Observation
from twin.errors import IssueCode, NoScheduleError, ProblemError, SolverError
from twin.site_settings import FleetRoute
from twin.time_axes import HOUR
from twin.units import format_minute
from twin.workload.jobs import Jobs
from twin.workload.queue import JobQueue


class FleetSiteRun:
    """Run of one site of a fleet: its plant, its policy, its jobs, and the jobs in transit to it.

    - `policy`: planner of the site; the fleet may plan for it.
    - `queue`: jobs at the site.
    """

    def __init__(self, case: BacktestCase, *, seed: int) -> None:
        self.name, self.queue = case.site.name, case.queue()
        self._case, self._seed = case, seed
        self._plant = build_plant(case, seed=seed)
        self._caller = ReserveCaller(case.site, self._plant)
        self._decisions: list[Decision] = []
        self.policy = MpcPolicy(
            case.site,
            case.inputs.series,
            workload=case.workload,
            on_decision=lambda decision: self._decisions.append(decision.without_replay()),
        )
        self._incoming: Jobs = self.queue.jobs.select(slice(0, 0))
        own = (case.workload.jobs, case.workload.arrival_history)
        self._next = 1 + max(int(jobs.number.max()) for jobs in own if len(jobs))
        self._steps: list[IntervalProgress] = []

    def observe(self) -> Observation:
        """Return the observation now."""
        self._receive()
        return observe(
            self._plant, self.queue, reserve_caller=self._caller, decisions=self._decisions
        )

    def with_jobs_in_transit(self, observation: Observation) -> Observation:
        """Return the observation with the jobs in transit, which a plan includes."""
        return replace(observation, queue=self._all_jobs)

    def remove_sent_jobs(self, transfer: JobTransfer) -> None:
        """Remove the jobs of a transfer."""
        self.queue = self.queue.select(~np.isin(self.queue.jobs.number, transfer.numbers_at_origin))

    def add_jobs_in_transit(self, transfer: JobTransfer) -> None:
        """Add the jobs of a transfer to those in transit, under new numbers."""
        count = len(transfer.jobs)
        numbers = np.arange(self._next, self._next + count)
        self._incoming = self._incoming.followed_by(replace(transfer.jobs, number=numbers))
        self._next += count

    def run_interval(self, observation: Observation) -> None:
        """Run a quarter-hour with the observation of its start, and the jobs that are here now."""
        self._receive()
        self.queue, progress = run_interval(
            self._case,
            self.policy,
            self._plant,
            observation=replace(observation, queue=self.queue),
            decisions=self._decisions,
        )
        self._steps.append((self._all_jobs.backlog, progress))

    def settled_run(self, name: str) -> PolicyRun:
        """Return the settled run under the name of what decided."""
        return settle_policy_run(
            self._case,
            self._plant,
            self._all_jobs,
            name=name,
            seed=self._seed,
            steps=self._steps,
            decisions=self._decisions,
        )

    def _receive(self) -> None:
        """Add jobs whose transfer has ended to the queue."""
        is_here = self._incoming.arrival <= self.queue.instant
        self.queue = self.queue.with_jobs(self._incoming.select(is_here))
        self._incoming = self._incoming.select(~is_here)

    @property
    def _all_jobs(self) -> JobQueue:
        """Jobs at the site and in transit to it."""
        return self.queue.with_jobs(self._incoming)


INDEPENDENT_RUN_NAME: Final = FORECAST_PLANNER
SHARED_RUN_NAME: Final = "shared"
"""Names of the runs: each site alone, and with the others."""

type FleetProgressCallback = Callable[[str, str, int, int], None]
"""Receives the policy, the site or sites, the quarter-hours done and those in all."""


@dataclass(frozen=True, kw_only=True)
class FleetRunResult:
    """Result of a fleet run, compared with each site alone on the same plants.

    - `independent_runs`, `shared_runs`: Site -> its run alone, and with the others.
    - `transfers`: transfers in order of time.
    - `failed_plans`: Times without a common plan -> reason; each site decided alone then, and
      nothing moved.
    """

    independent_runs: Mapping[str, PolicyRun]
    shared_runs: Mapping[str, PolicyRun]
    transfers: tuple[JobTransfer, ...]
    failed_plans: Mapping[str, str]

    @property
    def move_cost(self) -> float:
        """Cost of the transfers. [EUR]"""
        return sum(parcel.move_cost for parcel in self.transfers)

    @property
    def saved_objective(self) -> float:
        """Objective of all sites alone minus that with transfers and their cost. [EUR]"""
        alone, shared = (_objective(runs) for runs in (self.independent_runs, self.shared_runs))
        return alone - shared - self.move_cost

    def sent_work(self, site: str) -> float:
        """Return the work that left a site. [MWh]"""
        return sum(parcel.energy for parcel in self.transfers if parcel.sending_site == site)

    def received_work(self, site: str) -> float:
        """Return the work that came to a site. [MWh]"""
        return sum(parcel.energy for parcel in self.transfers if parcel.receiving_site == site)

    def as_json(self) -> dict[str, object]:
        """Return the object that ``gigatwin fleet --days N --json`` writes."""
        sites = {
            name: {
                "alone": asdict(self.independent_runs[name].summary),
                "shared": asdict(self.shared_runs[name].summary),
                "sends_mwh": round(self.sent_work(name), 3),
                "takes_in_mwh": round(self.received_work(name), 3),
            }
            for name in self.independent_runs
        }
        return {
            "sites": sites,
            "parcels": [_transfer_row(parcel) for parcel in self.transfers],
            "objective_alone": round(_objective(self.independent_runs), 2),
            "objective": round(_objective(self.shared_runs) + self.move_cost, 2),
            "move_cost": round(self.move_cost, 2),
            "saved": round(self.saved_objective, 2),
            "undecided": dict(self.failed_plans),
        }


def run_fleet(
    cases: Sequence[BacktestCase],
    routes: Mapping[str, FleetRoute],
    *,
    seed: int = 0,
    on_progress: FleetProgressCallback = lambda *_: None,
) -> FleetRunResult:
    """Run sites alone, then with one another, on the same plants.

    Raises ProblemError if sites, routes and days do not fit together; before anything is run.
    Nothing is foreseen: every hour the sites plan together from what is known then, jobs to be sent
    in that hour leave at once, and each site follows its part. Jobs keep their deadlines wherever
    they go, so a transfer that is too late costs money.
    """
    check_fleet([case.site for case in cases], routes)
    _check_days(cases)
    alone = {case.site.name: _alone(case, seed=seed, on_progress=on_progress) for case in cases}
    site_runs = [FleetSiteRun(case, seed=seed) for case in cases]
    count, names = cases[0].true_series.sizes["time"], ", ".join(alone)
    transfers: list[JobTransfer] = []
    undecided: dict[str, str] = {}
    for number in range(count):
        views = [site_run.observe() for site_run in site_runs]
        if site_runs[0].policy.is_plan_due(views[0].now):
            try:
                transfers += _plan_transfers(site_runs, views, routes)
            except (NoScheduleError, SolverError) as error:  # each site decides alone
                undecided[format_minute(views[0].now)] = str(error)
        for site_run, view in zip(site_runs, views, strict=True):
            site_run.run_interval(view)
        on_progress(SHARED_RUN_NAME, names, number + 1, count)
    return FleetRunResult(
        independent_runs=alone,
        shared_runs={
            site_run.name: site_run.settled_run(SHARED_RUN_NAME) for site_run in site_runs
        },
        transfers=tuple(transfers),
        failed_plans=undecided,
    )


def _alone(case: BacktestCase, *, seed: int, on_progress: FleetProgressCallback) -> PolicyRun:
    """Run a site alone."""
    name = case.site.name
    return run_backtest_policy(
        case,
        INDEPENDENT_RUN_NAME,
        seed=seed,
        on_progress=lambda _, __, *steps: on_progress(INDEPENDENT_RUN_NAME, name, *steps),
    )


def _check_days(cases: Sequence[BacktestCase]) -> None:
    """Refuse sites that are not run over the same days."""
    first, *others = cases
    days = f"{format_minute(first.inputs.start)} to {format_minute(first.inputs.end)}"
    faults = [
        IssueCode.INCONSISTENT.issue(
            f"{other.site.name}, days",
            found=f"{format_minute(other.inputs.start)} to {format_minute(other.inputs.end)}",
            expected=f"the days of {first.site.name}, {days}",
            remedy="run all sites over the same days",
        )
        for other in others
        if (other.inputs.start, other.inputs.end) != (first.inputs.start, first.inputs.end)
    ]
    ProblemError.raise_if_any("fleet", faults)


def _plan_transfers(
    site_runs: Sequence[FleetSiteRun],
    views: Sequence[Observation],
    routes: Mapping[str, FleetRoute],
) -> list[JobTransfer]:
    """Plan for all sites, and start the transfers of now."""
    both = list(zip(site_runs, views, strict=True))
    grids = [site_run.policy.plan_axes(view) for site_run, view in both]
    grid = max(grids, key=lambda axes: axes.sizes["time"])
    problems = build_fleet_problems(
        [
            site_run.policy.build_problem(site_run.with_jobs_in_transit(view), grid)
            for site_run, view in both
        ],
        routes,
    )
    last = {
        site_run.name: site_run.policy.plan_in_force
        for site_run in site_runs
        if site_run.policy.plan_in_force
    }
    decisions, net_sent = decide_rolling(problems, previous=last)
    by_name = {site_run.name: site_run for site_run in site_runs}
    for name, decision in decisions.items():
        by_name[name].policy.adopt_decision(decision, views[0].now)
    queues, hours = [site_run.queue for site_run in site_runs], float(REPLAN_INTERVAL / HOUR)
    transfers = list(select_transfers(problems, net_sent, queues, hours=hours))
    for transfer in transfers:
        by_name[transfer.sending_site].remove_sent_jobs(transfer)
        by_name[transfer.receiving_site].add_jobs_in_transit(transfer)
    return transfers


def _objective(runs: Mapping[str, PolicyRun]) -> float:
    return sum(run.settlement.objective for run in runs.values())


def _transfer_row(transfer: JobTransfer) -> dict[str, object]:
    """Return a transfer as JSON values."""
    return {
        "lane": transfer.route,
        "origin": transfer.sending_site,
        "host": transfer.receiving_site,
        "leaves": format_minute(transfer.departure),
        "ready": format_minute(transfer.earliest_start),
        "jobs": len(transfer.jobs),
        "mwh": round(transfer.energy, 3),
        "cost_eur": round(transfer.move_cost, 2),
    }
