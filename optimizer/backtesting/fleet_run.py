"""A fleet in closed loop: sites settle every hour which waiting jobs move, beside each alone.

A site of a fleet that runs: its plant, its policy, its jobs, and those on their way to it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

import numpy as np

from optimizer.backtesting.case import BacktestCase
from optimizer.backtesting.closed_loop import observe, run_interval
from optimizer.backtesting.policy_run import IntervalProgress, PolicyRun, settle_policy_run
from optimizer.backtesting.reserve_calls import ReserveCaller, build_plant
from optimizer.backtesting.runner import run_backtest_policy
from optimizer.fleet.planner import decide_rolling
from optimizer.fleet.problem import build_fleet_problems, check_fleet
from optimizer.fleet.transfers import JobTransfer, select_transfers
from optimizer.planner.decision import Decision
from optimizer.policies.mpc import REPLAN_INTERVAL, MpcPolicy
from optimizer.policies.policy import Observation
from twin.declarations import FleetRoute
from twin.errors import NoScheduleError, ProblemError, SolverError, ValidationIssue
from twin.time_axes import HOUR
from twin.units import format_minute
from twin.workload.jobs import Jobs
from twin.workload.queue import JobQueue


class FleetSiteRun:
    """A site of a fleet that runs.

    Parameters
    ----------
    setting
        Site, world and work.
    seed
        Seed of its plant.

    Attributes
    ----------
    name
        Of the site.
    policy
        What decides; its plans may be made for it.
    queue
        The jobs that are here.
    """

    def __init__(self, setting: BacktestCase, *, seed: int) -> None:
        self.name, self.queue = setting.site.name, setting.queue()
        self._setting, self._seed = setting, seed
        self._plant = build_plant(setting, seed=seed)
        self._caller = ReserveCaller(setting.site, self._plant)
        self._decisions: list[Decision] = []
        self.policy = MpcPolicy(
            setting.site,
            setting.world.record,
            workload=setting.workload,
            listen=lambda decision: self._decisions.append(decision.kept()),
        )
        self._coming: Jobs = self.queue.jobs.take(slice(0, 0))
        own = (setting.workload.jobs, setting.workload.arrivals)
        self._next = 1 + max(int(jobs.number.max()) for jobs in own if len(jobs))
        self._steps: list[IntervalProgress] = []

    def looks(self) -> Observation:
        """Return what may be seen now."""
        self._receive()
        return observe(self._plant, self.queue, caller=self._caller, decisions=self._decisions)

    def foresees(self, view: Observation) -> Observation:
        """Return the same, with the jobs that are on their way: a plan counts on them."""
        return replace(view, queue=self._whole)

    def send(self, parcel: JobTransfer) -> None:
        """Let jobs go."""
        self.queue = self.queue.take(~np.isin(self.queue.jobs.number, parcel.numbers))

    def welcome(self, parcel: JobTransfer) -> None:
        """Expect jobs, by numbers that are no other job's here."""
        count = len(parcel.jobs)
        numbers = np.arange(self._next, self._next + count)
        self._coming = self._coming.then(replace(parcel.jobs, number=numbers))
        self._next += count

    def play(self, view: Observation) -> None:
        """Live a quarter-hour.

        Parameters
        ----------
        view
            What was seen at its start; the jobs are those that are here now.
        """
        self._receive()
        self.queue, progress = run_interval(
            self._setting,
            self.policy,
            self._plant,
            view=replace(view, queue=self.queue),
            decisions=self._decisions,
        )
        self._steps.append((self._whole.backlog, progress))

    def trial(self, name: str) -> PolicyRun:
        """Return what became of it, by the name of what decided."""
        return settle_policy_run(
            self._setting,
            self._plant,
            self._whole,
            name=name,
            seed=self._seed,
            steps=self._steps,
            decisions=self._decisions,
        )

    def _receive(self) -> None:
        """Take in the jobs whose way ends by now."""
        is_here = self._coming.arrival <= self.queue.instant
        self.queue = self.queue.joined(self._coming.take(is_here))
        self._coming = self._coming.take(~is_here)

    @property
    def _whole(self) -> JobQueue:
        """The jobs that are here, and those on their way here."""
        return self.queue.joined(self._coming)


INDEPENDENT_POLICY: Final = "optimal"
SHARED_RUN: Final = "shared"
"""Names of the policies: each site by itself, and with the others."""

type FleetProgressCallback = Callable[[str, str, int, int], None]
"""Told of progress: policy, site or sites, quarter-hours done, quarter-hours in all."""


@dataclass(frozen=True, kw_only=True)
class FleetRunResult:
    """What sharing was worth in a run.

    Attributes
    ----------
    alone, shared
        Site -> its trial by itself, and with the others; on the same plants.
    parcels
        What moved, in order.
    undecided
        Moments at which the sites found no common plan -> why: each decided alone, nothing moved.
    """

    alone: Mapping[str, PolicyRun]
    shared: Mapping[str, PolicyRun]
    parcels: tuple[JobTransfer, ...]
    undecided: Mapping[str, str]

    @property
    def move_cost(self) -> float:
        """What moving cost. [EUR]"""
        return sum(parcel.cost for parcel in self.parcels)

    @property
    def saved(self) -> float:
        """What all sites paid less than alone, moving counted, as objectives weigh it. [EUR]"""
        alone, shared = (_objective(trials) for trials in (self.alone, self.shared))
        return alone - shared - self.move_cost

    def sent(self, site: str) -> float:
        """Return the work that left a site. [MWh]"""
        return sum(parcel.energy for parcel in self.parcels if parcel.origin == site)

    def taken(self, site: str) -> float:
        """Return the work that came to a site. [MWh]"""
        return sum(parcel.energy for parcel in self.parcels if parcel.host == site)

    def as_json(self) -> dict[str, object]:
        """Return the object that ``gigatwin fleet --days N --json`` writes."""
        sites = {
            name: {
                "alone": asdict(self.alone[name].summary),
                "shared": asdict(self.shared[name].summary),
                "sends_mwh": round(self.sent(name), 3),
                "takes_in_mwh": round(self.taken(name), 3),
            }
            for name in self.alone
        }
        return {
            "sites": sites,
            "parcels": [_transfer_row(parcel) for parcel in self.parcels],
            "objective_alone": round(_objective(self.alone), 2),
            "objective": round(_objective(self.shared) + self.move_cost, 2),
            "move_cost": round(self.move_cost, 2),
            "saved": round(self.saved, 2),
            "undecided": dict(self.undecided),
        }


def run_fleet(
    settings: Sequence[BacktestCase],
    routes: Mapping[str, FleetRoute],
    *,
    seed: int = 0,
    cluster: str | None = None,
    listen: FleetProgressCallback = lambda *_: None,
) -> FleetRunResult:
    """Run sites alone, then with one another, on the same plants.

    Parameters
    ----------
    settings
        Their worlds and work, over the same days.
    routes
        Name -> which work may move from where to where.
    seed
        Seed of the plants. [1]
    cluster
        Address of a Dask scheduler whose workers ask the sites.
    listen
        Told of progress.

    Raises
    ------
    ProblemError
        If sites, routes and days do not fit together; before anything is run.

    Notes
    -----
    Nothing is foreseen: every hour all plan together from what is known then, the jobs to be sent
    in that hour leave at once, and each site steers by its part. Jobs keep their deadlines
    wherever they go, so that who promised too much is late and pays.
    """
    check_fleet([setting.site for setting in settings], routes)
    _check_days(settings)
    alone = {setting.site.name: _alone(setting, seed=seed, listen=listen) for setting in settings}
    seats = [FleetSiteRun(setting, seed=seed) for setting in settings]
    count, names = settings[0].truth.sizes["time"], ", ".join(alone)
    parcels: list[JobTransfer] = []
    undecided: dict[str, str] = {}
    for number in range(count):
        views = [seat.looks() for seat in seats]
        if seats[0].policy.is_due(views[0].now):
            try:
                parcels += _plan_transfers(seats, views, routes, cluster=cluster)
            except (NoScheduleError, SolverError) as error:  # each decides alone now
                undecided[format_minute(views[0].now)] = str(error)
        for seat, view in zip(seats, views, strict=True):
            seat.play(view)
        listen(SHARED_RUN, names, number + 1, count)
    return FleetRunResult(
        alone=alone,
        shared={seat.name: seat.trial(SHARED_RUN) for seat in seats},
        parcels=tuple(parcels),
        undecided=undecided,
    )


def _alone(setting: BacktestCase, *, seed: int, listen: FleetProgressCallback) -> PolicyRun:
    """Return what a site does by itself."""
    name = setting.site.name
    return run_backtest_policy(
        setting,
        INDEPENDENT_POLICY,
        seed=seed,
        listen=lambda _, __, *steps: listen(INDEPENDENT_POLICY, name, *steps),
    )


def _check_days(settings: Sequence[BacktestCase]) -> None:
    """Refuse sites that are not run over the same days."""
    first, *others = settings
    days = f"{format_minute(first.world.start)} to {format_minute(first.world.end)}"
    faults = [
        ValidationIssue(
            place=f"{one.site.name}, days",
            value=f"{format_minute(one.world.start)} to {format_minute(one.world.end)}",
            mend=f"must be those of {first.site.name}, {days}",
        )
        for one in others
        if (one.world.start, one.world.end) != (first.world.start, first.world.end)
    ]
    if faults:
        raise ProblemError("fleet", faults)


def _plan_transfers(
    seats: Sequence[FleetSiteRun],
    views: Sequence[Observation],
    routes: Mapping[str, FleetRoute],
    *,
    cluster: str | None,
) -> list[JobTransfer]:
    """Plan for all, and let go what leaves now."""
    both = list(zip(seats, views, strict=True))
    grids = [seat.policy.horizon(view) for seat, view in both]
    grid = max(grids, key=lambda axes: axes.sizes["time"])
    problems = build_fleet_problems(
        [seat.policy.asks(seat.foresees(view), grid) for seat, view in both], routes
    )
    last = {seat.name: seat.policy.last for seat in seats if seat.policy.last}
    found = decide_rolling(problems, previous=last, cluster=cluster)
    by_name = {seat.name: seat for seat in seats}
    for name, decision in found.decisions.items():
        by_name[name].policy.take(decision, views[0].now)
    queues, hours = [seat.queue for seat in seats], float(REPLAN_INTERVAL / HOUR)
    parcels = list(select_transfers(problems, found.nets, queues, hours=hours))
    for parcel in parcels:
        by_name[parcel.origin].send(parcel)
        by_name[parcel.host].welcome(parcel)
    return parcels


def _objective(trials: Mapping[str, PolicyRun]) -> float:
    return sum(trial.bill.objective for trial in trials.values())


def _transfer_row(parcel: JobTransfer) -> dict[str, object]:
    """Return a parcel as plain values."""
    return {
        "lane": parcel.lane,
        "origin": parcel.origin,
        "host": parcel.host,
        "leaves": format_minute(parcel.leaves),
        "ready": format_minute(parcel.ready),
        "jobs": len(parcel.jobs),
        "mwh": round(parcel.energy, 3),
        "cost_eur": round(parcel.cost, 2),
    }
