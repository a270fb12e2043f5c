"""Decisions that are weighed over many courses of the world, and the policy that makes them."""

from collections.abc import Callable
from pathlib import Path

import xarray as xr

from optimizer.compile.shift import Warm
from optimizer.deciding import decide
from optimizer.decision import Decision
from optimizer.hedge.cases import COUNT, cases_of
from optimizer.hedge.hedged import decide_hedged
from optimizer.hedge.known import LEAST, Known
from optimizer.hedge.risk import Risk
from optimizer.policies import Optimal, View
from optimizer.problem import Problem
from twin.forecast.scenarios import ForecastErrors
from twin.site import Site
from twin.workload.jobs import Workload


class Hedger:
    """What decides for many courses of the world, and keeps past errors and the last basis.

    Parameters
    ----------
    risk
        What is weighed.
    """

    def __init__(self, risk: Risk | None = None) -> None:
        self._risk = risk or Risk()
        self._errors: ForecastErrors | None = None
        self._warm: Warm | None = None

    def decide(
        self,
        problem: Problem,
        previous: Decision | None,
        known: Known,
        *,
        count: int,
        export: Path | None = None,
    ) -> Decision:
        """Return a decision whose next hour is best for many courses.

        Parameters
        ----------
        problem
            The question with the forecast alone.
        previous
            The decision in force until now.
        known
            What the courses are drawn from.
        count
            How many courses, at most; with fewer than two it is decided for the forecast alone. [1]
        export
            File for the linear model of the plan, if somebody wants it.
        """
        if count < LEAST:
            return decide(problem, previous=previous, export=export)
        if self._errors is None:
            self._errors = ForecastErrors(problem.site, known.record)
        self._errors.record = known.record
        cases = cases_of(
            problem,
            known.record,
            queue=known.queue,
            past=known.past,
            errors=self._errors,
            count=count,
        )
        found = decide_hedged(
            problem,
            cases,
            risk=self._risk,
            previous=previous,
            warm=self._warm,
            export=export,
        )
        self._warm = found.warm
        return found.decision


def solver() -> Callable[[Problem, Decision | None, Known | None], Decision]:
    """Return what decides in the solver's own process: hedged where the site asks for it."""
    hedger = Hedger()

    def solve(problem: Problem, previous: Decision | None, known: Known | None) -> Decision:
        if known is None:
            return decide(problem, previous=previous)
        return hedger.decide(problem, previous, known, count=problem.site.scenarios.count)

    return solve


class Hedging(Optimal):
    """Plan as :class:`Optimal` does, but decide each hour for many courses of the world.

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
        risk: Risk | None = None,
        count: int = COUNT,
        listen: Callable[[Decision], None] = lambda _: None,
        export: Path | None = None,
    ) -> None:
        super().__init__(site, record, workload=workload, listen=listen, export=export)
        self._hedger, self._count = Hedger(risk), count

    def _best(self, problem: Problem, view: View) -> Decision:
        known = Known(record=self._record, queue=view.queue, past=self._workload.past(view.now))
        export = self._model(view.now)
        return self._hedger.decide(problem, self._last, known, count=self._count, export=export)
