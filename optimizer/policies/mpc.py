"""Model-predictive policies: plan every hour over a week and dispatch every quarter-hour.

Variants: published information, perfect foresight, scenarios, and perfect foresight of one input.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final, NotRequired, TypedDict, Unpack

import numpy as np
import xarray as xr

from optimizer.diagnostics.explanation import Explanation
from optimizer.fallback.ladder import ScheduleSource, choose_schedule, stop_all_work
from optimizer.fallback.plan_by_rule import caps_with_urgent_jobs, orders_by_rule
from optimizer.model.objective import RiskPreference
from optimizer.planner.decision import Decision
from optimizer.planner.planner import decide
from optimizer.policies.policy import FORESIGHT_VARIABLES, JOB_FORESIGHT_KIND, Observation
from optimizer.problem.checks import unit_counts
from optimizer.problem.planning_outlook import (
    ExternalRequests,
    SoldReserves,
    build_horizon,
    build_outlook,
)
from optimizer.problem.problem import Problem, build_problem_from_record
from optimizer.realtime.intra_interval import MeteringIntervalControl
from optimizer.realtime.orders import DispatchOrders
from optimizer.realtime.plan_follower import RealtimeController
from optimizer.stochastic.planner import StochasticPlanner
from optimizer.stochastic.scenarios import MIN_SCENARIOS, ScenarioInputs
from twin import time_axes
from twin.errors import GigatwinError, NoScheduleError, SolverError
from twin.forecast.outlook import outlook
from twin.site import Site
from twin.site_settings import DEFAULT_SCENARIO_COUNT
from twin.workload.announced_work import assess_announced_work
from twin.workload.cohorts import work_flexibility
from twin.workload.jobs import Workload
from twin.workload.queue import JobQueue, running_power

REPLAN_INTERVAL: Final = np.timedelta64(60, "m")
"""Time between two plans; forecasts, prices and weather are hourly. [min]"""


class PlanningSettings(TypedDict):
    """Parameters that all planners share, see :class:`MpcPolicy`."""

    workload: Workload
    on_decision: NotRequired[Callable[[Decision], None]]
    export: NotRequired[Path | None]


class MpcPolicy:
    """Plan every hour over a week from the available information, and dispatch every quarter-hour.

    - `record`: series of the site; unpublished values are not used without foresight.
    - `workload`: jobs; future ones are not used without foresight.
    - `until`: for perfect foresight: end of the run, up to which everything is known; otherwise
      None.
    - `final_price`: for perfect foresight: price at which remaining storage and backlog are valued
      at the end.
    - `export`: folder for the linear model of every decision, ``<time>.mps.gz``; none are written
      without it.
    """

    def __init__(
        self,
        site: Site,
        record: xr.Dataset,
        *,
        workload: Workload,
        until: np.datetime64 | None = None,
        final_price: float = 0.0,
        on_decision: Callable[[Decision], None] = lambda _: None,
        export: Path | None = None,
    ) -> None:
        self._site, self._record, self._workload = site, record, workload
        self._export = export
        self._until, self._final_price, self._on_decision = until, final_price, on_decision
        self._planned = np.datetime64("NaT", "us")
        self._controller, self._sold_reserves = RealtimeController(site), SoldReserves(site)
        self._last: Decision | None = None
        self._schedule = xr.Dataset()
        self._follows_rule = False

    def orders(self, observation: Observation) -> DispatchOrders:
        """Return the orders that follow the current plan most closely.

        Where no plan is safe, a fallback is followed, as in a service.
        """
        is_new = self._planned == observation.now  # planned with the fleet just now
        if self.is_plan_due(observation.now) or (observation.has_new_request and not is_new):
            self._decide(observation)
        if self._follows_rule:
            return self._orders_by_rule(observation)
        return self._controller.orders(self._schedule, observation.state, observation.queue)

    @property
    def plan_in_force(self) -> Decision | None:
        """The plan in force, if there is one."""
        return self._last

    def is_plan_due(self, now: np.datetime64) -> bool:
        """Return whether a new plan is due."""
        return bool(np.isnat(self._planned) or now - self._planned >= REPLAN_INTERVAL)

    def plan_axes(self, observation: Observation) -> xr.Dataset:
        """Return the time axes of a plan made now."""
        return build_horizon(
            self._site, self._record, observation.now, requests=self._external_requests(observation)
        )

    def build_problem(self, observation: Observation, grid: xr.Dataset | None = None) -> Problem:
        """Build the problem of a plan made now.

        `grid` is the horizon, by default the site's own; the queue may include jobs in transit.
        """
        problem = self._problem(observation, grid)
        if self._last is not None:
            return problem
        stopped = dict.fromkeys(unit_counts(self._site), np.zeros(1))  # every unit has to start
        return replace(problem, past_units=stopped)

    def adopt_decision(self, decision: Decision, now: np.datetime64) -> None:
        """Adopt a decision on the problem of :meth:`build_problem`, and close market gates."""
        self._sold_reserves.record_sales_before(decision.schedule, now + REPLAN_INTERVAL)
        self._adopt(decision, now)

    @property
    def interval_control(self) -> MeteringIntervalControl | None:
        """Controller of the current quarter-hour; None while a plan by rule is followed."""
        return None if self._follows_rule else self._controller.interval_control

    def _decide(self, observation: Observation) -> None:
        """Adopt a new decision, or a fallback with the reason why there is none."""
        problem = self.build_problem(observation)
        try:
            decision = self._decide_problem(problem, observation)
        except (NoScheduleError, SolverError) as error:
            self._fall_back(problem, observation, error)
            return
        self.adopt_decision(decision, observation.now)

    def _fall_back(
        self, problem: Problem, observation: Observation, error: NoScheduleError | SolverError
    ) -> None:
        """Adopt the best schedule without an optimum, by the ladder of a service."""
        queue = observation.queue
        caps = caps_with_urgent_jobs(queue, queue.caps, float(problem.service_racks[0]))

        def decide_part(part: Problem, _: Decision | None) -> Decision:
            if part is problem:  # tried already
                raise error
            return self._decide_problem(part, observation)

        power = running_power(queue, caps)
        try:
            choice = choose_schedule(problem, decide_part, last=self._last, running_power=power)
        except GigatwinError as refusal:
            choice = stop_all_work(problem, str(refusal))
        adopted = choice.decision or Decision(
            schedule=choice.schedule,
            verdict=choice.verdict,
            explanation=Explanation(accounts={}, binding_limits=(), changes=()),
        )
        reason = f"{choice.source}: {choice.reason}"
        adopted = replace(adopted.with_degradation(reason), is_fallback=True)
        if choice.source is ScheduleSource.OPTIMUM:  # of a shorter horizon
            self.adopt_decision(adopted, observation.now)
            return
        self._planned, self._schedule = observation.now, choice.schedule
        self._follows_rule = choice.source is ScheduleSource.RULE
        self._last = choice.decision or self._last
        self._on_decision(replace(adopted, schedule=choice.schedule))

    def _orders_by_rule(self, observation: Observation) -> DispatchOrders:
        """Return the orders of a plan by rule, from now on."""
        queue, schedule = observation.queue, self._schedule
        is_ahead = schedule["time"].to_numpy() >= observation.now
        ahead = schedule.isel(time=is_ahead, instant=np.append(is_ahead, True))
        caps = caps_with_urgent_jobs(queue, queue.caps, float(ahead["service_racks"][0]))
        return orders_by_rule(
            self._site,
            observation.state,
            ahead,
            queue=queue,
            caps=caps,
            within_rise=self._controller.limit_work_rise,
        )

    def _adopt(self, decision: Decision, now: np.datetime64) -> None:
        self._last, self._planned = decision, now
        self._schedule, self._follows_rule = decision.schedule, False
        self._on_decision(decision)

    def _model_file(self, now: np.datetime64) -> Path | None:
        """Return the file for the model of a decision; its name has no colons."""
        if self._export is None:
            return None
        stamp = np.datetime_as_string(now, unit="m").replace(":", "")
        return self._export / f"{stamp}Z.mps.gz"

    def _decide_problem(self, problem: Problem, observation: Observation) -> Decision:
        return decide(problem, previous=self._last, export=self._model_file(observation.now))

    def _problem(self, observation: Observation, grid: xr.Dataset | None = None) -> Problem:
        if self._until is None:
            past = self._workload.past(observation.now)
            return build_problem_from_record(
                self._site,
                self._record,
                observation.state,
                queue=self._queue_with_announcements(observation.queue),
                past=past,
                requests=self._external_requests(observation),
                grid=grid,
            )
        return self._perfect_foresight_problem(observation, self._until)

    def _queue_with_announcements(self, queue: JobQueue) -> JobQueue:
        """Return the queue with the work that the scheduler has announced by now."""
        announcements, now = self._workload.announcements, queue.instant
        if announcements is None:
            return queue
        past = self._workload.past(now)
        announced = assess_announced_work(
            announcements, past, now, kinds=queue.pool.kinds, racks=queue.pool.racks
        )
        return replace(queue, announced_work=announced)

    def _external_requests(self, observation: Observation) -> ExternalRequests:
        """Return sold reserves and requests of partners."""
        return lambda axes: self._sold_reserves.as_outlook(axes).merge(
            observation.requests(axes), compat="override"
        )

    def _perfect_foresight_problem(self, observation: Observation, until: np.datetime64) -> Problem:
        """Build the problem from true values, to the end of the run but at most a week ahead."""
        axes = self.plan_axes(observation)
        edges = time_axes.interval_edges(axes)
        last = min(until, edges[-1])
        grid = time_axes.interval_axes(np.append(edges[edges < last], last))
        ahead = build_outlook(self._site, self._record, observation.now, axes=grid, foresight=True)
        if grid["instant"].to_numpy()[-1] == until:
            ahead["terminal_price"].values = np.array(self._final_price)
        flexibility = work_flexibility(observation.queue, grid, future=self._workload.jobs)
        complete = ahead.merge(flexibility).merge(
            self._external_requests(observation)(grid), compat="override"
        )
        return Problem(site=self._site, state=observation.state, outlook=complete)


class StochasticMpcPolicy(MpcPolicy):
    """Plan as :class:`MpcPolicy` does, but with a hedged plan over several scenarios.

    `count` is the largest number of scenarios, by default that of the site, or
    :data:`~twin.site_settings.DEFAULT_SCENARIO_COUNT` if the site has none [1]. The other
    parameters are those of :class:`MpcPolicy`.
    """

    def __init__(
        self,
        site: Site,
        record: xr.Dataset,
        *,
        risk: RiskPreference | None = None,
        count: int | None = None,
        **settings: Unpack[PlanningSettings],
    ) -> None:
        super().__init__(site, record, **settings)
        declared = site.scenarios.count
        default = declared if declared >= MIN_SCENARIOS else DEFAULT_SCENARIO_COUNT
        self._planner, self._count = StochasticPlanner(risk), count or default

    def _decide_problem(self, problem: Problem, observation: Observation) -> Decision:
        known = ScenarioInputs(
            record=self._record,
            queue=self._queue_with_announcements(observation.queue),
            past_jobs=self._workload.past(observation.now),
        )
        export = self._model_file(observation.now)
        return self._planner.decide(problem, self._last, known, count=self._count, export=export)


class PartialForesightPolicy(MpcPolicy):
    """Plan as :class:`MpcPolicy` does, with perfect foresight of one input of the coming week.

    Its saving over the plain policy bounds what better forecasts of that input are worth. `knows`
    is a key of :data:`FORESIGHT_VARIABLES`; the other parameters are those of :class:`MpcPolicy`.
    """

    def __init__(
        self, site: Site, record: xr.Dataset, *, knows: str, **settings: Unpack[PlanningSettings]
    ) -> None:
        super().__init__(site, record, **settings)
        self._foresight = knows

    def _problem(self, observation: Observation, grid: xr.Dataset | None = None) -> Problem:
        problem = super()._problem(observation, grid)
        grid = time_axes.interval_axes(time_axes.interval_edges(problem.outlook))
        if self._foresight == JOB_FORESIGHT_KIND:
            flexibility = work_flexibility(observation.queue, grid, future=self._workload.jobs)
            remaining = problem.outlook.drop_dims("cohort")
            complete = flexibility.merge(remaining, compat="override").assign_attrs(remaining.attrs)
            return replace(problem, outlook=complete)
        return replace(problem, outlook=self._with_truth(problem.outlook, grid, observation))

    def _with_truth(
        self, ahead: xr.Dataset, grid: xr.Dataset, observation: Observation
    ) -> xr.Dataset:
        """Return an outlook with true values in place of forecasts."""
        truth = outlook(
            self._site, self._record, observation.now, axes=grid, has_perfect_foresight=True
        )
        return ahead.assign({name: truth[name] for name in FORESIGHT_VARIABLES[self._foresight]})
