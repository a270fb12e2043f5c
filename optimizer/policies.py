"""Policies: what decides a site's next quarter-hour. All see the same and steer the same plant."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import xarray as xr

from optimizer.baselines import rules
from optimizer.baselines.scaling import scaling as follow_carbon
from optimizer.deciding import decide
from optimizer.decision import Decision
from optimizer.dispatch import Orders
from optimizer.problem import Problem
from optimizer.question.horizons import Promised, horizon, nothing
from optimizer.question.sense import banks
from optimizer.realtime.guard import Guard
from optimizer.reserves.book import Book
from optimizer.steering import Steering, question, told
from twin import time_axes
from twin.errors import NoScheduleError, SolverError
from twin.forecast.history import published_until
from twin.forecast.outlook import outlook
from twin.site import Site
from twin.workload.flexibility import work_flexibility
from twin.workload.jobs import Workload
from twin.workload.queue import JobQueue

REPLAN: Final = np.timedelta64(60, "m")
"""Time between two decisions, with perfect foresight too: forecasts, prices and weather are hourly,
and the plant surprises both alike. [min]"""


@dataclass(frozen=True, kw_only=True)
class View:
    """What a policy may see at a moment.

    Attributes
    ----------
    state
        The state as measured; its ``instant`` is now.
    queue
        The jobs that have arrived.
    promised
        What others ask of the site over a horizon.
    is_called
        Whether they began to ask it just now.
    """

    state: xr.Dataset
    queue: JobQueue
    promised: Promised = nothing
    is_called: bool = False

    @property
    def now(self) -> np.datetime64:
        """The moment."""
        return self.queue.instant


class Policy(Protocol):
    """What decides."""

    def orders(self, view: View) -> Orders:
        """Return what the plant shall do in the quarter-hour that begins now."""
        ...

    @property
    def guard(self) -> Guard | None:
        """What watches the quarter-hour that runs, if anything does."""
        ...


class Rule:
    """A rule that looks at the known prices only.

    Parameters
    ----------
    site
        The site.
    record
        Its series; what is unpublished is never looked at.
    rule
        One of :mod:`optimizer.baselines.rules`.
    """

    def __init__(self, site: Site, record: xr.Dataset, rule: Callable[..., Orders]) -> None:
        self._site, self._record, self._rule = site, record, rule

    @property
    def guard(self) -> None:
        """Rules watch nothing."""

    def orders(self, view: View) -> Orders:
        """Return the orders of the rule."""
        until = published_until(view.now, self._site.market_day_zone)
        wide = time_axes.horizon_axes(view.now, [((until - view.now) / time_axes.HOUR, 15.0)])
        known = outlook(self._site, self._record, view.now, axes=wide)
        return self._rule(known, view.state, queue=view.queue, site=self._site)


class Optimal:
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
        listen: Callable[[Decision], None] = lambda _: None,
        export: Path | None = None,
    ) -> None:
        self._site, self._record, self._workload = site, record, workload
        self._export = export
        self._until, self._final_price, self._listen = until, final_price, listen
        self._planned = np.datetime64("NaT", "us")
        self._steering, self._book = Steering(site), Book(site)
        self._last: Decision | None = None

    def orders(self, view: View) -> Orders:
        """Return the orders that come closest to the current plan."""
        last = self._last
        is_new = self._planned == view.now  # settled with others just now, the call with it
        if last is None or self.is_due(view.now) or (view.is_called and not is_new):
            last = self._decide(view)
        return self._steering.orders(last.schedule, view.state, view.queue)

    @property
    def last(self) -> Decision | None:
        """The plan in force, if there is one."""
        return self._last

    def is_due(self, now: np.datetime64) -> bool:
        """Return whether a new plan has to be made at a moment."""
        return self._last is None or bool(now - self._planned >= REPLAN)

    def horizon(self, view: View) -> xr.Dataset:
        """Return the axes of a plan of this moment."""
        return horizon(self._site, self._record, view.now, promised=self._promised(view))

    def asks(self, view: View, grid: xr.Dataset | None = None) -> Problem:
        """Return the question that a plan of this moment answers.

        Parameters
        ----------
        view
            What may be seen; the queue may hold jobs that are still on their way.
        grid
            The horizon, of others too; by default the site's own.
        """
        problem = self._problem(view, grid)
        if self._last is not None:
            return problem
        still = dict.fromkeys(banks(self._site), np.zeros(1))  # what runs first has to start
        return replace(problem, past_units=still)

    def take(self, decision: Decision, now: np.datetime64) -> None:
        """Plan by a decision that was found now, from the answers to :meth:`asks`."""
        self._book.close(decision.schedule, now + REPLAN)
        self._plan_by(decision, now)

    @property
    def guard(self) -> Guard | None:
        """What watches the quarter-hour that runs."""
        return self._steering.guard

    def _decide(self, view: View) -> Decision:
        """Return a new decision, or the last one with the reason why it is kept."""
        try:
            found = self._best(self.asks(view), view)
        except (NoScheduleError, SolverError) as error:
            if self._last is None:
                raise
            kept = self._last.degraded(f"last plan kept: {error}")
            self._plan_by(kept, view.now)
            return kept
        self.take(found, view.now)
        return found

    def _plan_by(self, decision: Decision, now: np.datetime64) -> None:
        self._last, self._planned = decision, now
        self._listen(decision)

    def _model(self, now: np.datetime64) -> Path | None:
        """Return the file for the model of a decision, its time without what files may not have."""
        if self._export is None:
            return None
        stamp = np.datetime_as_string(now, unit="m").replace(":", "")
        return self._export / f"{stamp}Z.mps.gz"

    def _best(self, problem: Problem, view: View) -> Decision:
        return decide(problem, previous=self._last, export=self._model(view.now))

    def _problem(self, view: View, grid: xr.Dataset | None = None) -> Problem:
        if self._until is None:
            past = self._workload.past(view.now)
            return question(
                self._site,
                self._record,
                view.state,
                queue=view.queue,
                past=past,
                promised=self._promised(view),
                grid=grid,
            )
        return self._foreseen(view, self._until)

    def _promised(self, view: View) -> Promised:
        """Return what is sold, and what others ask."""
        return lambda axes: self._book.held(axes).merge(view.promised(axes), compat="override")

    def _foreseen(self, view: View, until: np.datetime64) -> Problem:
        """Return the question to the end of the run or of the week ahead, all known."""
        wide = self.horizon(view)
        edges = time_axes.interval_edges(wide)
        last = min(until, edges[-1])
        grid = time_axes.interval_axes(np.append(edges[edges < last], last))
        ahead = told(self._site, self._record, view.now, axes=grid, foresight=True)
        if grid["instant"].to_numpy()[-1] == until:
            ahead["terminal_price"].values = np.array(self._final_price)
        room = work_flexibility(view.queue, grid, future=self._workload.jobs)
        whole = ahead.merge(room).merge(self._promised(view)(grid), compat="override")
        return Problem(site=self._site, state=view.state, outlook=whole)


def immediate(site: Site, record: xr.Dataset) -> Policy:
    """Return the policy that never waits."""
    return Rule(site, record, rules.immediate)


def threshold(site: Site, record: xr.Dataset) -> Policy:
    """Return the policy of the cheapest known hours."""
    return Rule(site, record, rules.threshold)


def uncapped(site: Site, record: xr.Dataset) -> Policy:
    """Return the policy of the cheapest known hours, capped by no price but by limits alone."""
    return Rule(site, record, partial(rules.threshold, caps_work=False))


def scaling(site: Site, record: xr.Dataset) -> Policy:
    """Return the published policy that follows the carbon of the grid."""
    return Rule(site, record, follow_carbon)
