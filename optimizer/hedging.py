"""The policy that plans for many courses of the world at once."""

from collections.abc import Callable
from pathlib import Path

import xarray as xr

from optimizer.cases import cases_of
from optimizer.compile.shift import Warm
from optimizer.decision import Decision
from optimizer.hedged import decide_hedged
from optimizer.policies import Optimal, View
from optimizer.problem import Problem
from optimizer.risk import Risk
from twin.forecast.errors import Errors
from twin.forecast.scenarios import COUNT
from twin.site import Site
from twin.workloads.jobs import Workload


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
        self._risk, self._count = risk or Risk(), count
        self._errors = Errors(site, record)
        self._warm: Warm | None = None

    def _best(self, problem: Problem, view: View) -> Decision:
        cases = cases_of(
            problem,
            self._record,
            queue=view.queue,
            past=self._workload.past(view.now),
            errors=self._errors,
            count=self._count,
        )
        found = decide_hedged(
            problem,
            cases,
            risk=self._risk,
            previous=self._last,
            warm=self._warm,
            is_compared=False,
            export=self._model(view.now),
        )
        self._warm = found.warm
        return found.decision
