"""One quarter-hour of the service's mind: estimate, ask, choose, steer. No clock, no network.

What is known when a quarter-hour begins, and what is made of it.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import numpy as np
import xarray as xr

from optimizer.fallback.ladder import (
    DecideFunction,
    ScheduleChoice,
    ScheduleSource,
    choose_schedule,
    plan_by_rule,
)
from optimizer.planner.decision import Decision
from optimizer.problem.outlook import ExternalRequests, no_requests
from optimizer.problem.problem import Problem, add_service_racks, build_problem
from optimizer.realtime.controller import RealtimeController
from optimizer.realtime.dispatch import limit_caps
from optimizer.realtime.headroom import compute_headroom
from optimizer.realtime.intra_interval import MeteringIntervalControl
from optimizer.realtime.job_priority import must_run
from optimizer.realtime.orders import COPIED_FLOWS, DispatchOrders, caps_by_job, curtail_export
from optimizer.service.availability import (
    APPLIED_VARIABLES,
    available_site,
    with_declared_setpoints,
)
from optimizer.stochastic.scenarios import MIN_SCENARIOS, ScenarioInputs
from twin.errors import NoScheduleError
from twin.estimation.observer import StateEstimate, estimate_state
from twin.physics import FloatArray
from twin.simulation.setpoints import SUPPLY_SET_POINT
from twin.site import Site
from twin.time_axes import HOUR, QUARTER_HOUR
from twin.variables import values_by_machine
from twin.workload.jobs import Jobs
from twin.workload.queue import JobQueue, RackPool, caps_below_limit, running_power, sustained_power

BATTERY_FLOWS: Final = ("battery_charge", "battery_discharge")
"""What a plan by rule orders of batteries; under HOLD the plant keeps the ramp by itself."""

INTERVAL_HOURS: Final = float(QUARTER_HOUR / HOUR)
POWER_TOLERANCE_MW: Final = 1e-6
"""Power of jobs above the plan that is no difference. [MW]"""


@dataclass(frozen=True, kw_only=True)
class DecisionInputs:
    """What is known when a quarter-hour begins.

    Attributes
    ----------
    observed
        Newest good readings under the names of the state, and ``hall_power(hall)``.
    queue
        The jobs now.
    past
        Arrivals of the last two weeks.
    record
        Prices, carbon and weather.
    hold
        Why a person holds the service; empty if nobody does.
    is_steerable
        Whether the plant takes set points of its water; if not, plans keep to the declared ones.
    promised
        Horizon -> what others ask of the connection over it, in words of an outlook.
    apart
        Racks that are not acted on, as plant and cluster do not name them alike.
    """

    observed: xr.Dataset
    queue: JobQueue
    past: Jobs
    record: xr.Dataset
    hold: str = ""
    is_steerable: bool = True
    promised: ExternalRequests = no_requests
    apart: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DecisionResult:
    """What was made of it.

    Attributes
    ----------
    time
        Start of the quarter-hour.
    estimate
        The state, and how far it is believed.
    problem
        The question.
    choice
        The schedule, its label and its reasons.
    queue
        The jobs.
    orders
        What to do now.
    seconds
        How long it took, of the wall clock. [s]
    apart
        Racks that are not acted on, ``{hall}-{rack}``.
    absent
        Machines out of service or drained, in words.
    """

    time: np.datetime64
    estimate: StateEstimate
    problem: Problem
    choice: ScheduleChoice
    queue: JobQueue
    orders: DispatchOrders
    seconds: float
    apart: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


@dataclass
class DecisionEngine:
    """Decides quarter-hour after quarter-hour.

    Attributes
    ----------
    site
        The site.
    decide
        Asks the solver; where the site weighs scenarios it is given ``known`` too.
    caps
        Number of each job that runs -> its cap, as last ordered. [1]
    believed
        The last estimate of the state, before a restart too.
    is_shadow
        Whether nothing is ordered: what the plant does is not what was decided.
    """

    site: Site
    decide: Callable[..., Decision]
    caps: Mapping[int, float] = field(default_factory=dict)
    believed: StateEstimate | None = None
    is_shadow: bool = False

    def __post_init__(self) -> None:
        """Begin without a past."""
        self._steering = RealtimeController(self.site)
        self._last: DecisionResult | None = None
        self._decision: Decision | None = None

    def run(self, facts: DecisionInputs) -> DecisionResult:
        """Return what to do in the quarter-hour that begins now.

        Parameters
        ----------
        facts
            What is known.

        Raises
        ------
        StateError
            If something that must be known has never been measured.
        RestError
            If not even a plan by rule keeps every limit, and work at rest is nearer to that.
        NoScheduleError
            If none keeps every limit, and rest relieves nothing.
        ProblemError, SeriesError
            If the question has no sense.
        """
        begun = time.perf_counter()
        queue = replace(facts.queue, caps=self._caps_of(facts.queue))
        believed = self._estimate(facts)
        problem, absent = self._question(facts, believed.state)
        last = self._decision
        if not facts.is_steerable and last is not None and SUPPLY_SET_POINT in last.schedule:
            last = None
        lost = f"telemetry: {'; '.join(believed.said)}" if believed.is_useless else ""
        hold = facts.hold or lost
        caps = queue.caps
        if hold:
            power = running_power(queue, caps)
            choice = plan_by_rule(problem, power, source=ScheduleSource.HOLD, reason=hold)
        else:
            caps = _with_urgent_jobs(queue, caps, problem)
            power = running_power(queue, caps)
            choice = choose_schedule(problem, self._asked(facts), last=last, running_power=power)
        outcome = DecisionResult(
            time=queue.instant,
            estimate=believed,
            problem=problem,
            choice=choice,
            queue=queue,
            orders=self._orders(choice, problem, queue=queue, caps=caps),
            seconds=time.perf_counter() - begun,
            apart=facts.apart,
            absent=absent,
        )
        if choice.verdict.breaches:
            raise LoadShedError(outcome)
        self._last, self.believed = outcome, believed
        if not self.is_shadow:
            self.caps = outcome.orders.jobs
        self._decision = choice.decision or self._decision
        return outcome

    @property
    def guard(self) -> MeteringIntervalControl | None:
        """What watches the quarter-hour that runs; none unless batteries follow a plan in it."""
        last = self._last
        if last is None or last.choice.source not in {
            ScheduleSource.OPTIMUM,
            ScheduleSource.SHIFTED,
        }:
            return None
        return self._steering.guard

    def _question(
        self, facts: DecisionInputs, state: xr.Dataset
    ) -> tuple[Problem, tuple[str, ...]]:
        """Return the question, of a site without what is out of service, and what that is."""
        site, absent = available_site(self.site, facts.observed, state)
        if not facts.is_steerable:
            site = with_declared_setpoints(site)
        self._steering.site = site
        problem = build_problem(
            site, facts.record, state, queue=facts.queue, past=facts.past, promised=facts.promised
        )
        return add_service_racks(problem, len(facts.apart)) if facts.apart else problem, absent

    def _estimate(self, facts: DecisionInputs) -> StateEstimate:
        """Return the state now; what was measured once is not believed twice.

        An estimate that nothing could be planned on is made anew: more may have been heard since.
        """
        last = self._last
        if last and last.time == facts.queue.instant and not last.estimate.is_useless:
            return last.estimate
        return estimate_state(
            self.site,
            facts.observed,
            last=self.believed,
            operation=self._done(last, facts.observed) if last else None,
        )

    def _asked(self, facts: DecisionInputs) -> DecideFunction:
        """Return what asks the solver; where the site weighs scenarios, with what is known."""
        if self.site.scenarios.count < MIN_SCENARIOS:
            return self.decide
        known = ScenarioInputs(record=facts.record, queue=facts.queue, past=facts.past)
        return partial(self.decide, known=known)

    def _caps_of(self, queue: JobQueue) -> FloatArray:
        """Return the caps of the jobs that run, as last ordered, in the order of the queue. [1]"""
        known = [self.caps.get(number, 1.0) for number in queue.jobs.number.tolist()]
        return np.where(queue.running, known, 0.0)

    def _orders(
        self, choice: ScheduleChoice, problem: Problem, *, queue: JobQueue, caps: FloatArray
    ) -> DispatchOrders:
        """Return what to do: by the plan, or, without one, what the rule has planned for."""
        if choice.source in {ScheduleSource.OPTIMUM, ScheduleSource.SHIFTED}:
            return self._steering.orders(choice.schedule, problem.state, queue)
        soon = choice.schedule.isel(time=slice(2), instant=slice(3))
        room, first = compute_headroom(problem.site, problem.state, soon), soon.isel(time=[0])
        room = self._steering.within_rise(room, queue)
        must = caps > 0 if choice.source is ScheduleSource.HOLD else must_run(queue, INTERVAL_HOURS)
        caps = limit_caps(queue, caps, headroom=room, must=must)
        caps = caps_below_limit(
            queue, caps, _planned_power(first, queue.pool), kept=np.zeros_like(must)
        )
        jobs, step = caps_by_job(queue, caps), first.isel(time=0)
        if choice.source is ScheduleSource.HOLD:
            return DispatchOrders(jobs=jobs)
        left = room.import_power(sustained_power(queue, caps, INTERVAL_HOURS)) + room.export_limit
        batteries = {name: values_by_machine(step, name) for name in BATTERY_FLOWS if name in step}
        most = curtail_export(step, batteries.get("battery_discharge", {}), left)
        return DispatchOrders(jobs=jobs, renewable_cap=most, **batteries)

    def _done(self, last: DecisionResult, observed: xr.Dataset) -> xr.Dataset | None:
        """Return what was done in the last quarter-hour, as measured, else as ordered."""
        now = np.datetime64(str(observed["instant"].to_numpy()), "us")
        if now - last.time != QUARTER_HOUR:
            return None
        step = last.choice.schedule.isel(time=[0], instant=[0, 1])
        for name in ("hall_power", *COPIED_FLOWS):
            if name in step:
                told = getattr(last.orders, name, {}) if not self.is_shadow else {}
                step[name] = _measured_or_ordered(
                    step[name], observed.get(APPLIED_VARIABLES.get(name, name)), told
                )
        return step


def _with_urgent_jobs(queue: JobQueue, caps: FloatArray, problem: Problem) -> FloatArray:
    """Return the caps of what runs, and of what cannot wait, as far as racks are free."""
    caps, must = caps.copy(), must_run(queue, INTERVAL_HOURS)
    free = queue.pool.racks - problem.service[0] - queue.jobs.racks[caps > 0].sum()
    for job in np.argsort(queue.laxity, kind="stable").tolist():
        if must[job] and caps[job] == 0.0 and queue.jobs.racks[job] <= free:
            free -= queue.jobs.racks[job]
            caps[job] = 1.0
    return caps


def _planned_power(first: xr.Dataset, pool: RackPool) -> float:
    """Return the power above idle that a schedule leaves to jobs in its first interval. [MW]"""
    service = float(first["service_racks"][0]) * float(pool.power(1.0))
    halls = float(first["hall_power"].isel(time=0).sum())
    return halls - pool.racks * pool.rack_idle_power - service + POWER_TOLERANCE_MW


def _measured_or_ordered(
    planned: xr.DataArray, observed: xr.DataArray | None, told: Mapping[str, float]
) -> xr.DataArray:
    """Return a flow of one interval: as measured, else as ordered, else as planned."""
    dim = str(planned.dims[1])
    values = []
    for place, label in enumerate(planned[dim].to_numpy().tolist()):
        value = np.nan
        if observed is not None and dim in observed.dims and label in observed[dim].to_numpy():
            value = float(observed.sel({dim: label}))
        if np.isnan(value):
            value = told.get(label, float(planned[0, place]))
        values.append(max(value, 0.0))
    return planned.copy(data=[values])


class LoadShedError(NoScheduleError):
    """No schedule is safe; work rests.

    Parameters
    ----------
    outcome
        What is ordered all the same: caps of jobs and halls.
    """

    def __init__(self, outcome: DecisionResult) -> None:
        super().__init__(outcome.choice.reason)
        self.outcome = outcome
