"""Policies: what decides a site's next quarter-hour. All see the same and steer the same plant.

A policy that is told a part of what is to come: what perfect forecasts of it would be worth.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr

from optimizer.model.objective import RiskPreference
from optimizer.planner.decision import Decision
from optimizer.planner.planner import decide
from optimizer.policies.policy import Observation
from optimizer.problem.outlook import ExternalRequests, SoldReserves, build_horizon, build_outlook
from optimizer.problem.problem import Problem, build_problem
from optimizer.problem.validation import unit_counts
from optimizer.realtime.controller import RealtimeController
from optimizer.realtime.intra_interval import MeteringIntervalControl
from optimizer.realtime.orders import DispatchOrders
from optimizer.stochastic.planner import StochasticPlanner
from optimizer.stochastic.scenarios import DEFAULT_SCENARIO_COUNT, ScenarioInputs
from twin import time_axes
from twin.errors import NoScheduleError, SolverError
from twin.forecast.outlook import outlook
from twin.site import Site
from twin.workload.flexibility import work_flexibility
from twin.workload.jobs import Workload

REPLAN_INTERVAL: Final = np.timedelta64(60, "m")
"""Time between two decisions, with perfect foresight too: forecasts, prices and weather are hourly,
and the plant surprises both alike. [min]"""


class MpcPolicy:
    """Plan anew every hour over a week with what is known, and dispatch every quarter-hour.

    Parameters
    ----------
    site
        The site.
    record
        Its series; what is unpublished is never looked at, unless there is foresight.
    workload
        Jobs; those to come are never looked at, unless there is foresight.
    until
        For perfect foresight: the end of the run, to which everything is known. None otherwise.
    final_price
        For perfect foresight: the price at which the bill values what is left at the end.
    listen
        Called with every decision.
    export
        Folder for the linear model of every decision, ``<time>.mps.gz``; none are written without.
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
        self._steering, self._book = RealtimeController(site), SoldReserves(site)
        self._last: Decision | None = None

    def orders(self, observation: Observation) -> DispatchOrders:
        """Return the orders that come closest to the current plan."""
        last = self._last
        is_new = self._planned == observation.now  # settled with others just now, the call with it
        if (
            last is None
            or self.is_due(observation.now)
            or (observation.has_new_request and not is_new)
        ):
            last = self._decide(observation)
        return self._steering.orders(last.schedule, observation.state, observation.queue)

    @property
    def last(self) -> Decision | None:
        """The plan in force, if there is one."""
        return self._last

    def is_due(self, now: np.datetime64) -> bool:
        """Return whether a new plan has to be made at a moment."""
        return self._last is None or bool(now - self._planned >= REPLAN_INTERVAL)

    def horizon(self, observation: Observation) -> xr.Dataset:
        """Return the axes of a plan of this moment."""
        return build_horizon(
            self._site, self._record, observation.now, requests=self._external_requests(observation)
        )

    def build_problem(self, observation: Observation, grid: xr.Dataset | None = None) -> Problem:
        """Return the question that a plan of this moment answers.

        Parameters
        ----------
        observation
            What may be seen; the queue may hold jobs that are still on their way.
        grid
            The horizon, of others too; by default the site's own.
        """
        problem = self._problem(observation, grid)
        if self._last is not None:
            return problem
        still = dict.fromkeys(unit_counts(self._site), np.zeros(1))  # what runs first has to start
        return replace(problem, past_units=still)

    def accept(self, decision: Decision, now: np.datetime64) -> None:
        """Plan by a decision that was found now, from the answers to :meth:`asks`."""
        self._book.close_gates(decision.schedule, now + REPLAN_INTERVAL)
        self._plan_by(decision, now)

    @property
    def interval_control(self) -> MeteringIntervalControl | None:
        """What watches the quarter-hour that runs."""
        return self._steering.interval_control

    def _decide(self, observation: Observation) -> Decision:
        """Return a new decision, or the last one with the reason why it is kept."""
        try:
            found = self._decide_problem(self.build_problem(observation), observation)
        except (NoScheduleError, SolverError) as error:
            if self._last is None:
                raise
            kept = self._last.with_degradation(f"last plan kept: {error}")
            self._plan_by(kept, observation.now)
            return kept
        self.accept(found, observation.now)
        return found

    def _plan_by(self, decision: Decision, now: np.datetime64) -> None:
        self._last, self._planned = decision, now
        self._on_decision(decision)

    def _model(self, now: np.datetime64) -> Path | None:
        """Return the file for the model of a decision, its time without what files may not have."""
        if self._export is None:
            return None
        stamp = np.datetime_as_string(now, unit="m").replace(":", "")
        return self._export / f"{stamp}Z.mps.gz"

    def _decide_problem(self, problem: Problem, observation: Observation) -> Decision:
        return decide(problem, previous=self._last, export=self._model(observation.now))

    def _problem(self, observation: Observation, grid: xr.Dataset | None = None) -> Problem:
        if self._until is None:
            past = self._workload.past(observation.now)
            return build_problem(
                self._site,
                self._record,
                observation.state,
                queue=observation.queue,
                past=past,
                requests=self._external_requests(observation),
                grid=grid,
            )
        return self._perfect_foresight_problem(observation, self._until)

    def _external_requests(self, observation: Observation) -> ExternalRequests:
        """Return what is sold, and what others ask."""
        return lambda axes: self._book.as_outlook(axes).merge(
            observation.requests(axes), compat="override"
        )

    def _perfect_foresight_problem(self, observation: Observation, until: np.datetime64) -> Problem:
        """Return the question to the end of the run or of the week ahead, all known."""
        wide = self.horizon(observation)
        edges = time_axes.interval_edges(wide)
        last = min(until, edges[-1])
        grid = time_axes.interval_axes(np.append(edges[edges < last], last))
        ahead = build_outlook(self._site, self._record, observation.now, axes=grid, foresight=True)
        if grid["instant"].to_numpy()[-1] == until:
            ahead["terminal_price"].values = np.array(self._final_price)
        room = work_flexibility(observation.queue, grid, future=self._workload.jobs)
        whole = ahead.merge(room).merge(
            self._external_requests(observation)(grid), compat="override"
        )
        return Problem(site=self._site, state=observation.state, outlook=whole)


class StochasticMpcPolicy(MpcPolicy):
    """Plan as :class:`MpcPolicy` does, but decide each hour for many courses of the world.

    Parameters
    ----------
    site
        The site.
    record
        Its series; what is unpublished is never looked at.
    workload
        Jobs; those to come are never looked at.
    risk
        What is weighed.
    count
        How many courses, at most. [1]
    listen
        Called with every decision.
    export
        Folder for the linear model of every decision, the hedge kept in it.
    """

    def __init__(
        self,
        site: Site,
        record: xr.Dataset,
        *,
        workload: Workload,
        risk: RiskPreference | None = None,
        count: int = DEFAULT_SCENARIO_COUNT,
        on_decision: Callable[[Decision], None] = lambda _: None,
        export: Path | None = None,
    ) -> None:
        super().__init__(site, record, workload=workload, on_decision=on_decision, export=export)
        self._hedger, self._count = StochasticPlanner(risk), count

    def _decide_problem(self, problem: Problem, observation: Observation) -> Decision:
        known = ScenarioInputs(
            record=self._record, queue=observation.queue, past=self._workload.past(observation.now)
        )
        export = self._model(observation.now)
        return self._hedger.decide(problem, self._last, known, count=self._count, export=export)


JOBS_KNOWN: Final = "jobs"

FORESIGHT_VARIABLES: Final = {
    "prices": ("electricity_price", "terminal_price", "carbon_intensity"),
    "weather": (
        *("air_temperature", "relative_humidity", "air_pressure", "wind_speed"),
        *("global_irradiance", "renewable_available_power"),
    ),
    JOBS_KNOWN: (),
}
"""What one may be told -> its words in an outlook; carbon goes with the prices."""

FORESIGHT_POLICIES: Final = {f"deterministic+{name}": name for name in FORESIGHT_VARIABLES}
"""Name of a policy -> what it is told."""


class PartialForesightPolicy(MpcPolicy):
    """Plan as the optimum does, but told the truth of the week ahead in one respect.

    No site could: what it saves over the optimum is the most that better forecasts of this are
    worth, and what it leaves to perfect foresight is due to all else.

    Parameters
    ----------
    site, record, workload, listen, export
        As for :class:`optimizer.policies.mpc.MpcPolicy`.
    knows
        A key of :data:`FORESIGHT_VARIABLES`.
    """

    def __init__(
        self,
        site: Site,
        record: xr.Dataset,
        *,
        workload: Workload,
        knows: str,
        on_decision: Callable[[Decision], None] = lambda _: None,
        export: Path | None = None,
    ) -> None:
        super().__init__(site, record, workload=workload, on_decision=on_decision, export=export)
        self._knows = knows

    def _problem(self, observation: Observation, grid: xr.Dataset | None = None) -> Problem:
        problem = super()._problem(observation, grid)
        grid = time_axes.interval_axes(time_axes.interval_edges(problem.outlook))
        if self._knows == JOBS_KNOWN:
            room = work_flexibility(observation.queue, grid, future=self._workload.jobs)
            rest = problem.outlook.drop_dims("cohort")
            whole = room.merge(rest, compat="override").assign_attrs(rest.attrs)
            return replace(problem, outlook=whole)
        return replace(problem, outlook=self._with_truth(problem.outlook, grid, observation))

    def _with_truth(
        self, ahead: xr.Dataset, grid: xr.Dataset, observation: Observation
    ) -> xr.Dataset:
        """Return an outlook with the truth in the place of forecasts."""
        truth = outlook(
            self._site, self._record, observation.now, axes=grid, has_perfect_foresight=True
        )
        return ahead.assign({name: truth[name] for name in FORESIGHT_VARIABLES[self._knows]})
