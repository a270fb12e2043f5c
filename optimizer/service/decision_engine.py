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
from optimizer.realtime.dispatch import limit_caps, must_run
from optimizer.realtime.headroom import compute_headroom
from optimizer.realtime.intra_interval import MeteringIntervalControl
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
    past_jobs
        Arrivals of the last two weeks.
    series
        Prices, carbon and weather.
    hold_reason
        Why a person holds the service; empty if nobody does.
    accepts_setpoints
        Whether the plant takes set points of its water; if not, plans keep to the declared ones.
    requests
        Horizon -> what others ask of the connection over it, in words of an outlook.
    excluded_racks
        Racks that are not acted on, as plant and cluster do not name them alike.
    """

    observed: xr.Dataset
    queue: JobQueue
    past_jobs: Jobs
    series: xr.Dataset
    hold_reason: str = ""
    accepts_setpoints: bool = True
    requests: ExternalRequests = no_requests
    excluded_racks: tuple[str, ...] = ()


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
    excluded_racks
        Racks that are not acted on, ``{hall}-{rack}``.
    unavailable
        Machines out of service or drained, in words.
    """

    time: np.datetime64
    estimate: StateEstimate
    problem: Problem
    choice: ScheduleChoice
    queue: JobQueue
    orders: DispatchOrders
    seconds: float
    excluded_racks: tuple[str, ...] = ()
    unavailable: tuple[str, ...] = ()


@dataclass
class DecisionEngine:
    """Decides quarter-hour after quarter-hour.

    Attributes
    ----------
    site
        The site.
    solve_problem
        Asks the solver; where the site weighs scenarios it is given ``known`` too.
    caps
        Number of each job that runs -> its cap, as last ordered. [1]
    last_estimate
        The last estimate of the state, before a restart too.
    is_shadow
        Whether nothing is ordered: what the plant does is not what was decided.
    """

    site: Site
    solve_problem: Callable[..., Decision]
    caps: Mapping[int, float] = field(default_factory=dict)
    last_estimate: StateEstimate | None = None
    is_shadow: bool = False

    def __post_init__(self) -> None:
        """Begin without a past."""
        self._controller = RealtimeController(self.site)
        self._last: DecisionResult | None = None
        self._decision: Decision | None = None

    def decide(self, inputs: DecisionInputs) -> DecisionResult:
        """Return what to do in the quarter-hour that begins now.

        Parameters
        ----------
        inputs
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
        queue = replace(inputs.queue, caps=self._caps_of(inputs.queue))
        believed = self._estimate(inputs)
        problem, absent = self._build_problem(inputs, believed.state)
        last = self._decision
        if not inputs.accepts_setpoints and last is not None and SUPPLY_SET_POINT in last.schedule:
            last = None
        lost = f"telemetry: {'; '.join(believed.messages)}" if believed.is_unusable else ""
        hold = inputs.hold_reason or lost
        caps = queue.caps
        if hold:
            power = running_power(queue, caps)
            choice = plan_by_rule(problem, power, source=ScheduleSource.HOLD, reason=hold)
        else:
            caps = _with_urgent_jobs(queue, caps, problem)
            power = running_power(queue, caps)
            choice = choose_schedule(
                problem, self._decide_function(inputs), last=last, running_power=power
            )
        result = DecisionResult(
            time=queue.instant,
            estimate=believed,
            problem=problem,
            choice=choice,
            queue=queue,
            orders=self._orders(choice, problem, queue=queue, caps=caps),
            seconds=time.perf_counter() - begun,
            excluded_racks=inputs.excluded_racks,
            unavailable=absent,
        )
        if choice.verdict.violations:
            raise LoadShedError(result)
        self._last, self.last_estimate = result, believed
        if not self.is_shadow:
            self.caps = result.orders.jobs
        self._decision = choice.decision or self._decision
        return result

    @property
    def interval_control(self) -> MeteringIntervalControl | None:
        """What watches the quarter-hour that runs; none unless batteries follow a plan in it."""
        last = self._last
        if last is None or last.choice.source not in {
            ScheduleSource.OPTIMUM,
            ScheduleSource.SHIFTED,
        }:
            return None
        return self._controller.interval_control

    def _build_problem(
        self, inputs: DecisionInputs, state: xr.Dataset
    ) -> tuple[Problem, tuple[str, ...]]:
        """Return the question, of a site without what is out of service, and what that is."""
        site, absent = available_site(self.site, inputs.observed, state)
        if not inputs.accepts_setpoints:
            site = with_declared_setpoints(site)
        self._controller.site = site
        problem = build_problem(
            site,
            inputs.series,
            state,
            queue=inputs.queue,
            past=inputs.past_jobs,
            requests=inputs.requests,
        )
        return add_service_racks(
            problem, len(inputs.excluded_racks)
        ) if inputs.excluded_racks else problem, absent

    def _estimate(self, inputs: DecisionInputs) -> StateEstimate:
        """Return the state now; what was measured once is not believed twice.

        An estimate that nothing could be planned on is made anew: more may have been heard since.
        """
        last = self._last
        if last and last.time == inputs.queue.instant and not last.estimate.is_unusable:
            return last.estimate
        return estimate_state(
            self.site,
            inputs.observed,
            last=self.last_estimate,
            operation=self._last_operation(last, inputs.observed) if last else None,
        )

    def _decide_function(self, inputs: DecisionInputs) -> DecideFunction:
        """Return what asks the solver; where the site weighs scenarios, with what is known."""
        if self.site.scenarios.count < MIN_SCENARIOS:
            return self.solve_problem
        known = ScenarioInputs(record=inputs.series, queue=inputs.queue, past=inputs.past_jobs)
        return partial(self.solve_problem, known=known)

    def _caps_of(self, queue: JobQueue) -> FloatArray:
        """Return the caps of the jobs that run, as last ordered, in the order of the queue. [1]"""
        known = [self.caps.get(number, 1.0) for number in queue.jobs.number.tolist()]
        return np.where(queue.is_running, known, 0.0)

    def _orders(
        self, choice: ScheduleChoice, problem: Problem, *, queue: JobQueue, caps: FloatArray
    ) -> DispatchOrders:
        """Return what to do: by the plan, or, without one, what the rule has planned for."""
        if choice.source in {ScheduleSource.OPTIMUM, ScheduleSource.SHIFTED}:
            return self._controller.orders(choice.schedule, problem.state, queue)
        soon = choice.schedule.isel(time=slice(2), instant=slice(3))
        room, first = compute_headroom(problem.site, problem.state, soon), soon.isel(time=[0])
        room = self._controller.within_rise(room, queue)
        must = caps > 0 if choice.source is ScheduleSource.HOLD else must_run(queue, INTERVAL_HOURS)
        caps = limit_caps(queue, caps, headroom=room, must=must)
        caps = caps_below_limit(
            queue, caps, _planned_power(first, queue.pool), fixed=np.zeros_like(must)
        )
        jobs, step = caps_by_job(queue, caps), first.isel(time=0)
        if choice.source is ScheduleSource.HOLD:
            return DispatchOrders(jobs=jobs)
        left = room.import_power(sustained_power(queue, caps, INTERVAL_HOURS)) + room.export_limit
        batteries = {name: values_by_machine(step, name) for name in BATTERY_FLOWS if name in step}
        most = curtail_export(step, batteries.get("battery_discharge", {}), left)
        return DispatchOrders(jobs=jobs, renewable_cap=most, **batteries)

    def _last_operation(self, last: DecisionResult, observed: xr.Dataset) -> xr.Dataset | None:
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
    free = queue.pool.racks - problem.service_racks[0] - queue.jobs.racks[caps > 0].sum()
    for job in np.argsort(queue.laxity, kind="stable").tolist():
        if must[job] and caps[job] == 0.0 and queue.jobs.racks[job] <= free:
            free -= queue.jobs.racks[job]
            caps[job] = 1.0
    return caps


def _planned_power(first: xr.Dataset, pool: RackPool) -> float:
    """Return the power above idle that a schedule leaves to jobs in its first interval. [MW]"""
    service = float(first["service_racks"][0]) * float(pool.power_above_idle(1.0))
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

    def __init__(self, result: DecisionResult) -> None:
        super().__init__(result.choice.reason)
        self.outcome = result
