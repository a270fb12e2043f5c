"""Decision of one quarter-hour: estimate the state, choose a schedule, derive orders.

The engine uses no clock and no network. The last estimate is stored in a
file, from which the engine continues after a restart.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final, cast

import numpy as np
import xarray as xr

from optimizer.fallback.ladder import (
    DecideFunction,
    ScheduleChoice,
    ScheduleSource,
    choose_schedule,
    plan_by_rule,
)
from optimizer.fallback.plan_by_rule import caps_with_urgent_jobs, orders_by_rule
from optimizer.planner.decision import Decision
from optimizer.problem.planning_outlook import ExternalRequests, no_requests
from optimizer.problem.problem import Problem, add_service_racks, build_problem_from_record
from optimizer.realtime.intra_interval import MeteringIntervalControl
from optimizer.realtime.orders import COPIED_FLOWS, DispatchOrders
from optimizer.realtime.plan_follower import RealtimeController
from optimizer.service.decision_inputs import APPLIED_SETPOINT_VARIABLES
from optimizer.service.machine_availability import available_site
from optimizer.service.state_folder import read_state_file
from optimizer.stochastic.scenarios import MIN_SCENARIOS, ScenarioInputs
from telemetry.durable_files import json_with_checksum, write_atomic
from twin.errors import GigatwinError, NoScheduleError
from twin.estimation.kalman_bank import NOISE_PRIORS
from twin.estimation.measurement_update import StateVariableFilter, restore_filter, serialise_filter
from twin.estimation.observer import StateEstimate, estimate_state, state_scales
from twin.physics import FloatArray
from twin.simulation import state as states
from twin.simulation.setpoints import SUPPLY_SET_POINT_VARIABLE
from twin.site import Site
from twin.time_axes import QUARTER_HOUR
from twin.workload.jobs import Jobs
from twin.workload.queue import JobQueue, running_power


@dataclass(frozen=True, kw_only=True)
class DecisionInputs:
    """Inputs of a decision at the start of a quarter-hour.

    - `observed`: newest good readings under the names of the state, and ``hall_power(hall)``.
    - `queue`: jobs now.
    - `past_jobs`: arrivals of the last twelve weeks.
    - `series`: prices, carbon and weather.
    - `hold_reason`: reason of a person's HOLD; empty without one.
    - `accepts_setpoints`: whether the plant accepts water set points; otherwise plans use the
      declared ones.
    - `requests`: Horizon -> load targets and limits of partners over it, as variables of an
      outlook.
    - `excluded_racks`: racks that receive no orders, because plant and cluster name them
      differently.
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
    """Result of a decision.

    - `time`: start of the quarter-hour.
    - `choice`: schedule, source and reason.
    - `queue`: jobs now.
    - `decision_duration_s`: duration of the decision, by the stopwatch. [s]
    - `excluded_racks`: racks that receive no orders, ``{hall}-{rack}``.
    - `unavailable_machines`: machine out of service or drained -> message.
    - `is_held_by_person`: whether a person's HOLD is in force.
    """

    time: np.datetime64
    estimate: StateEstimate
    problem: Problem
    choice: ScheduleChoice
    queue: JobQueue
    orders: DispatchOrders
    decision_duration_s: float
    excluded_racks: tuple[str, ...] = ()
    unavailable_machines: Mapping[str, str] = field(default_factory=dict)
    is_held_by_person: bool = False


@dataclass
class DecisionEngine:
    """Decide quarter-hour after quarter-hour.

    - `solve_problem`: calls the solver; with ``scenario_inputs`` where the site weighs scenarios.
    - `last_ordered_caps`: Number of each running job -> its cap, as last ordered. [1]
    - `last_estimate`: last estimate of the state, also from before a restart.
    - `is_shadow`: whether nothing is ordered, so that the plant does not follow the decisions.
    - `stopwatch`: monotonic clock that measures decisions, by default none. [s]
    """

    site: Site
    solve_problem: Callable[..., Decision]
    last_ordered_caps: Mapping[int, float] = field(default_factory=dict)
    last_estimate: StateEstimate | None = None
    is_shadow: bool = False
    stopwatch: Callable[[], float] = float

    def __post_init__(self) -> None:
        """Create the controller; there is no decision yet."""
        self._controller = RealtimeController(self.site)
        self._last: DecisionResult | None = None
        self._decision: Decision | None = None

    def decide(self, inputs: DecisionInputs) -> DecisionResult:
        """Return the decision for the quarter-hour that begins now.

        Raises
        ------
        StateError
            If a required quantity has never been measured.
        LoadShedError
            If not even a plan by rule keeps every limit, and shed load reduces the violation.
        NoScheduleError
            If no plan keeps every limit, and shed load does not help.
        ProblemError, SeriesError
            If inputs are invalid.
        """
        begun = self.stopwatch()
        queue = replace(inputs.queue, caps=self._caps_of(inputs.queue))
        estimate = self._estimate(inputs)
        problem, absent = self._build_problem(inputs, estimate.state)
        last = self._decision
        if (
            not inputs.accepts_setpoints
            and last is not None
            and SUPPLY_SET_POINT_VARIABLE in last.schedule
        ):
            last = None
        unusable = f"telemetry: {'; '.join(estimate.messages)}" if estimate.is_unusable else ""
        hold = inputs.hold_reason or unusable
        caps = queue.caps
        if hold:
            power = running_power(queue, caps)
            choice = plan_by_rule(problem, power, source=ScheduleSource.HOLD, reason=hold)
        else:
            caps = caps_with_urgent_jobs(queue, caps, float(problem.service_racks[0]))
            power = running_power(queue, caps)
            choice = choose_schedule(
                problem, self._decide_function(inputs), last=last, running_power=power
            )
        result = DecisionResult(
            time=queue.instant,
            estimate=estimate,
            problem=problem,
            choice=choice,
            queue=queue,
            orders=self._orders(choice, problem, queue=queue, caps=caps),
            excluded_racks=inputs.excluded_racks,
            unavailable_machines=absent,
            is_held_by_person=bool(inputs.hold_reason),
            decision_duration_s=self.stopwatch() - begun,
        )
        if choice.verdict.violations:
            raise LoadShedError(result)
        self._last, self.last_estimate = result, estimate
        if not self.is_shadow:
            self.last_ordered_caps = result.orders.jobs
        self._decision = choice.decision or self._decision
        return result

    @property
    def interval_control(self) -> MeteringIntervalControl | None:
        """Controller within the quarter-hour; None unless batteries follow a plan."""
        last = self._last
        if last is None or last.choice.source not in {
            ScheduleSource.OPTIMUM,
            ScheduleSource.SHIFTED,
        }:
            return None
        return self._controller.interval_control

    def _build_problem(
        self, inputs: DecisionInputs, state: xr.Dataset
    ) -> tuple[Problem, Mapping[str, str]]:
        """Return the problem of the site without machines out of service, and messages on these."""
        site, absent = available_site(self.site, inputs.observed, state)
        if not inputs.accepts_setpoints:
            site = with_declared_setpoints(site)
        self._controller.site = site
        problem = build_problem_from_record(
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
        """Return the state now; the same readings update the estimate only once.

        An unusable estimate is computed again, because further readings may have arrived.
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
        """Return the solver call, with scenario inputs where the site weighs scenarios."""
        if self.site.scenarios.count < MIN_SCENARIOS:
            return self.solve_problem
        scenario_inputs = ScenarioInputs(
            record=inputs.series, queue=inputs.queue, past_jobs=inputs.past_jobs
        )
        return partial(self.solve_problem, scenario_inputs=scenario_inputs)

    def _caps_of(self, queue: JobQueue) -> FloatArray:
        """Return the last ordered caps of running jobs, in the order of the queue. [1]"""
        known = [self.last_ordered_caps.get(number, 1.0) for number in queue.jobs.number.tolist()]
        return np.where(queue.is_running, known, 0.0)

    def _orders(
        self, choice: ScheduleChoice, problem: Problem, *, queue: JobQueue, caps: FloatArray
    ) -> DispatchOrders:
        """Return orders by the plan, or, without an optimised plan, by the rule's schedule."""
        if choice.source in {ScheduleSource.OPTIMUM, ScheduleSource.SHIFTED}:
            return self._controller.orders(choice.schedule, problem.state, queue)
        is_hold = choice.source is ScheduleSource.HOLD
        orders = orders_by_rule(
            problem.site,
            problem.state,
            choice.schedule,
            queue=queue,
            caps=caps,
            within_rise=self._controller.limit_work_rise,
            keeps_running_work=is_hold,
        )
        return DispatchOrders(jobs=orders.jobs) if is_hold else orders

    def _last_operation(self, last: DecisionResult, observed: xr.Dataset) -> xr.Dataset | None:
        """Return the flows of the last quarter-hour, as measured, else as ordered."""
        now = np.datetime64(str(observed["instant"].to_numpy()), "us")
        if now - last.time != QUARTER_HOUR:
            return None
        step = last.choice.schedule.isel(time=[0], instant=[0, 1])
        for name in ("hall_power", *COPIED_FLOWS):
            if name in step:
                ordered = getattr(last.orders, name, {}) if not self.is_shadow else {}
                step[name] = _measured_or_ordered(
                    step[name], observed.get(APPLIED_SETPOINT_VARIABLES.get(name, name)), ordered
                )
        return step


def _measured_or_ordered(
    planned: xr.DataArray, observed: xr.DataArray | None, ordered: Mapping[str, float]
) -> xr.DataArray:
    """Return a flow of one interval as measured, else as ordered, else as planned."""
    dim = str(planned.dims[1])
    values = []
    for place, label in enumerate(planned[dim].to_numpy().tolist()):
        value = np.nan
        if observed is not None and dim in observed.dims and label in observed[dim].to_numpy():
            value = float(observed.sel({dim: label}))
        if np.isnan(value):
            value = ordered.get(label, float(planned[0, place]))
        values.append(max(value, 0.0))
    return planned.copy(data=[values])


class LoadShedError(NoScheduleError):
    """No schedule is safe, so load is shed; ``outcome`` holds the caps that are ordered."""

    def __init__(self, result: DecisionResult) -> None:
        super().__init__(result.choice.reason)
        self.outcome = result


OPTIONAL_ESTIMATE_VARIABLES: Final = frozenset({"usual_power"})
"""Variables that files of older versions lack; they default to 0."""


def store_estimate(path: Path, estimate: StateEstimate) -> None:
    """Write an estimate, whole or not at all."""
    state = estimate.state
    content = {
        "instant": str(state["instant"].to_numpy()),
        "state": {name: state[name].to_numpy().tolist() for name in states.STATE_VARIABLES},
        "spread": [[*key, value] for key, value in estimate.standard_error.items()],
        "silence": estimate.meter_silence,
        "learned": [[*key, serialise_filter(known)] for key, known in estimate.filters.items()],
    }
    write_atomic(path, json_with_checksum(content))


def read_estimate(path: Path, site: Site) -> StateEstimate | None:
    """Return the estimate of a file; None if there is none that fits the site."""
    match read_state_file(path):
        case {
            "instant": str(instant),
            "state": dict(values),
            "spread": list(rows),
            "silence": float(silence),
            **rest,
        }:
            learned = rest.get("learned", [])
        case _:
            return None
    try:
        state = states.initial_state(site, np.datetime64(instant, "us"))
        for name in states.STATE_VARIABLES:
            stored = values.get(name, 0.0) if name in OPTIONAL_ESTIMATE_VARIABLES else values[name]
            state[name].values = np.array(stored, dtype=float).reshape(state[name].shape)
        spread = {(str(name), str(owner)): float(value) for name, owner, value in rows}
        states.check_state(site, state)
    except (GigatwinError, KeyError, TypeError, ValueError):
        return None
    if set(spread) != set(_stocks(site)):
        return None
    return StateEstimate(
        state=state,
        standard_error=spread,
        warnings=(),
        is_unusable=False,
        meter_silence=silence,
        filters=_read_priors(learned, site),
    )


def _read_priors(rows: object, site: Site) -> dict[tuple[str, str], StateVariableFilter]:
    """Return the filter of each stock; none if they are of another version or site."""
    sizes = state_scales(site)
    found = {}
    try:
        for name, owner, content in cast("list[tuple[str, str, object]]", rows):
            trust = NOISE_PRIORS[name].scaled(sizes[name, owner])
            found[name, owner] = restore_filter(content, trust)
    except (KeyError, TypeError, ValueError):
        return {}
    return found


def _stocks(site: Site) -> list[tuple[str, str]]:
    state = states.initial_state(site)
    return [
        (name, str(label))
        for name in states.STATE_VARIABLES
        if state[name].dims
        for label in state[name][state[name].dims[0]].to_numpy()
    ]


def with_declared_setpoints(site: Site) -> Site:
    """Return the site with plans limited to its declared set points."""
    rules = site.set_points.model_copy(update={"choice": "declared"})
    return site.model_copy(update={"set_points": rules})
