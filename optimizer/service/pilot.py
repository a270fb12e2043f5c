"""One quarter-hour of the service's mind: estimate, ask, choose, steer. No clock, no network."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import numpy as np
import xarray as xr

from optimizer.decision import Decision
from optimizer.dispatch import FLOWS, Orders, by_number, within
from optimizer.hedge.known import LEAST, Known
from optimizer.problem import Problem
from optimizer.realtime.guard import Guard
from optimizer.realtime.headroom import headroom
from optimizer.realtime.urgency import pressing
from optimizer.realtime.yielding import curtailed
from optimizer.service.fallback import Choice, Decide, Source, by_rule, choose
from optimizer.service.outcome import Facts, Outcome, RestError
from optimizer.service.watching.in_service import plannable
from optimizer.service.water import APPLIED, declared
from optimizer.steering import Steering, question, set_apart
from twin.estimation.observer import StateEstimate, estimate_state
from twin.physics import FloatArray
from twin.simulation.setpoints import SUPPLY_SET_POINT
from twin.site import Site
from twin.time_axes import HOUR, QUARTER_HOUR
from twin.variables import values_by_machine
from twin.workload.queue import JobQueue, RackPool, caps_below_limit, running_power, sustained_power

BATTERY_FLOWS: Final = ("battery_charge", "battery_discharge")
"""What a plan by rule orders of batteries; under HOLD the plant keeps the ramp by itself."""

HOURS: Final = float(QUARTER_HOUR / HOUR)
ROUNDING: Final = 1e-6
"""Power of jobs above the plan that is no difference. [MW]"""


@dataclass
class Pilot:
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
        self._steering = Steering(self.site)
        self._last: Outcome | None = None
        self._decision: Decision | None = None

    def run(self, facts: Facts) -> Outcome:
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
            choice = by_rule(problem, power, source=Source.HOLD, reason=hold)
        else:
            caps = _with_pressing(queue, caps, problem)
            power = running_power(queue, caps)
            choice = choose(problem, self._asked(facts), last=last, running_power=power)
        outcome = Outcome(
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
            raise RestError(outcome)
        self._last, self.believed = outcome, believed
        if not self.is_shadow:
            self.caps = outcome.orders.jobs
        self._decision = choice.decision or self._decision
        return outcome

    @property
    def guard(self) -> Guard | None:
        """What watches the quarter-hour that runs; none unless batteries follow a plan in it."""
        last = self._last
        if last is None or last.choice.source not in {Source.OPTIMUM, Source.SHIFTED}:
            return None
        return self._steering.guard

    def _question(self, facts: Facts, state: xr.Dataset) -> tuple[Problem, tuple[str, ...]]:
        """Return the question, of a site without what is out of service, and what that is."""
        site, absent = plannable(self.site, facts.observed, state)
        if not facts.is_steerable:
            site = declared(site)
        self._steering.site = site
        problem = question(
            site, facts.record, state, queue=facts.queue, past=facts.past, promised=facts.promised
        )
        return set_apart(problem, len(facts.apart)) if facts.apart else problem, absent

    def _estimate(self, facts: Facts) -> StateEstimate:
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

    def _asked(self, facts: Facts) -> Decide:
        """Return what asks the solver; where the site weighs scenarios, with what is known."""
        if self.site.scenarios.count < LEAST:
            return self.decide
        known = Known(record=facts.record, queue=facts.queue, past=facts.past)
        return partial(self.decide, known=known)

    def _caps_of(self, queue: JobQueue) -> FloatArray:
        """Return the caps of the jobs that run, as last ordered, in the order of the queue. [1]"""
        known = [self.caps.get(number, 1.0) for number in queue.jobs.number.tolist()]
        return np.where(queue.running, known, 0.0)

    def _orders(
        self, choice: Choice, problem: Problem, *, queue: JobQueue, caps: FloatArray
    ) -> Orders:
        """Return what to do: by the plan, or, without one, what the rule has planned for."""
        if choice.source in {Source.OPTIMUM, Source.SHIFTED}:
            return self._steering.orders(choice.schedule, problem.state, queue)
        soon = choice.schedule.isel(time=slice(2), instant=slice(3))
        room, first = headroom(problem.site, problem.state, soon), soon.isel(time=[0])
        room = self._steering.within_rise(room, queue)
        must = caps > 0 if choice.source is Source.HOLD else pressing(queue, HOURS)
        caps = within(queue, caps, headroom=room, must=must)
        caps = caps_below_limit(
            queue, caps, _planned_power(first, queue.pool), kept=np.zeros_like(must)
        )
        jobs, step = by_number(queue, caps), first.isel(time=0)
        if choice.source is Source.HOLD:
            return Orders(jobs=jobs)
        left = room.import_power(sustained_power(queue, caps, HOURS)) + room.export_limit
        batteries = {name: values_by_machine(step, name) for name in BATTERY_FLOWS if name in step}
        most = curtailed(step, batteries.get("battery_discharge", {}), left)
        return Orders(jobs=jobs, renewable_cap=most, **batteries)

    def _done(self, last: Outcome, observed: xr.Dataset) -> xr.Dataset | None:
        """Return what was done in the last quarter-hour, as measured, else as ordered."""
        now = np.datetime64(str(observed["instant"].to_numpy()), "us")
        if now - last.time != QUARTER_HOUR:
            return None
        step = last.choice.schedule.isel(time=[0], instant=[0, 1])
        for name in ("hall_power", *FLOWS):
            if name in step:
                told = getattr(last.orders, name, {}) if not self.is_shadow else {}
                step[name] = _seen(step[name], observed.get(APPLIED.get(name, name)), told)
        return step


def _with_pressing(queue: JobQueue, caps: FloatArray, problem: Problem) -> FloatArray:
    """Return the caps of what runs, and of what cannot wait, as far as racks are free."""
    caps, must = caps.copy(), pressing(queue, HOURS)
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
    return halls - pool.racks * pool.rack_idle_power - service + ROUNDING


def _seen(
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
