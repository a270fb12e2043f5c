"""Between two plans: ask the question of the moment, and steer by the plan in force."""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import xarray as xr

from optimizer.dispatch import Orders, dispatch
from optimizer.guard import Guard
from optimizer.headroom import Headroom, headroom
from optimizer.positions import positions
from optimizer.problem import Problem
from optimizer.shave import shave, spare_of
from twin import axes
from twin.forecast.outlook import outlook
from twin.site import Site
from twin.workloads.arrivals import expect
from twin.workloads.capping import work_power
from twin.workloads.envelope import envelope
from twin.workloads.jobs import Jobs
from twin.workloads.queue import Queue

NEAR: Final = (24.0, 15.0)
FAR: Final = (24.0, 60.0)
"""The horizon: hours covered and minutes an interval. Quarter-hours for a day, then hours."""


type Promised = Callable[[xr.Dataset], xr.Dataset]
"""Horizon -> what others ask of the site over it, in words of an outlook."""


def nothing(_: xr.Dataset) -> xr.Dataset:
    """Ask nothing."""
    return xr.Dataset()


def question(
    site: Site,
    record: xr.Dataset,
    state: xr.Dataset,
    *,
    queue: Queue,
    past: Jobs,
    promised: Promised = nothing,
    apart: int = 0,
) -> Problem:
    """Return the question of a moment, from nothing but what is known then.

    Parameters
    ----------
    site
        The site.
    record
        Its series; what is unpublished is never looked at.
    state
        The state; its ``instant`` is now.
    queue
        The jobs that have arrived.
    past
        Arrivals of the two weeks before, from which those to come are expected.
    promised
        What others ask of the site.
    apart
        Racks that nobody acts on: none of them is planned with, and each may draw all it can.

    Returns
    -------
    Problem
        Over the two days of :data:`NEAR` and :data:`FAR`.

    Raises
    ------
    ProblemError
        If anything in it has no sense.
    SeriesError
        If the record does not reach the horizon.
    """
    grid = axes.horizon(queue.instant, [NEAR, FAR])
    ahead = outlook(site, record, queue.instant, axes=grid)
    expected = expect(past, queue.pool.kinds, queue.instant)
    room = envelope(queue, grid, expected=expected)
    bought = positions(site, record, queue.instant, axes=grid)
    whole = ahead.merge(room).merge(bought).merge(promised(grid), compat="override")
    whole["service_racks"] = _with(whole["service_racks"], apart, site)
    return Problem(site=site, state=state, outlook=whole)


def _with(racks: xr.DataArray, apart: int, site: Site) -> xr.DataArray:
    """Return racks that are busy whatever is planned. [1]"""
    if not apart:
        return racks
    return (racks + apart).clip(max=float(site.racks)).assign_attrs(racks.attrs)


class Steering:
    """What is carried from one quarter-hour to the next while a plan is followed.

    Parameters
    ----------
    site
        The site.

    Attributes
    ----------
    guard
        Watches the quarter-hour that was last given orders.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._carry: dict[str, float] = {}
        self._before, self._begun = self._carry, np.datetime64("NaT", "us")
        self._foreseen = np.nan
        self._until = np.datetime64("NaT", "us")
        self.guard: Guard | None = None

    def orders(self, plan: xr.Dataset, state: xr.Dataset, queue: Queue) -> Orders:
        """Return the orders that come closest to a plan in the quarter-hour that begins now.

        Parameters
        ----------
        plan
            The schedule in force; one of its intervals begins now.
        state
            The state now.
        queue
            The jobs now.

        Returns
        -------
        Orders
            Within what the site leaves, and without raising the peak by what was not foreseen.
        """
        if queue.instant != self._begun:  # else the quarter-hour is decided once more
            self._begun, self._before = queue.instant, self._carry
        step = plan.sel(time=queue.instant)
        room = headroom(self._site, state, plan.sel(time=[queue.instant]))
        orders, self._carry = dispatch(step, queue, headroom=room, carry=self._before)
        spare = spare_of(self._site, plan, state, now=queue.instant)
        return self._within_peak(orders, state, queue=queue, room=room, spare=spare)

    def _within_peak(
        self,
        orders: Orders,
        state: xr.Dataset,
        *,
        queue: Queue,
        room: Headroom,
        spare: Mapping[str, float],
    ) -> Orders:
        """Return orders that do not raise the peak by what the plan did not foresee."""
        caps = np.array([orders.jobs.get(job, 0.0) for job in queue.jobs.number.tolist()])
        expected = room.import_power(work_power(queue, caps))
        measured = float(state["grid_import_power"] - state["grid_export_power"])
        is_next = queue.instant == self._until
        saved = self.guard.saved if self.guard else 0.0
        drift = max(measured + saved - self._foreseen, 0.0) if is_next else 0.0
        excess = expected + drift - room.peak_power
        ordered, shaved = shave(orders, self._site, excess, spare=spare)
        self._foreseen, self._until = expected - shaved, queue.instant + axes.QUARTER
        self.guard = Guard(
            site=self._site, planned=orders, peak=room.peak_power, spare=spare, least=shaved
        )
        return ordered
