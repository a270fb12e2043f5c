"""One question to the optimiser, checked whole before anything is built."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

import numpy as np
import xarray as xr

from optimizer.problem import validation
from optimizer.problem.migration import Migration
from optimizer.problem.outlook import ExternalRequests, build_horizon, build_outlook, no_requests
from optimizer.problem.validation import find_outlook_issues
from twin.declarations import SafetyMargins
from twin.equipment import Battery, Equipment
from twin.errors import ProblemError
from twin.feasibility import connection
from twin.feasibility.connection import minimum_import
from twin.physics import FloatArray
from twin.relations import Exchange, Store
from twin.site import Site
from twin.validation import check_argument_types
from twin.variables import machine_values, net_import, values_by_machine
from twin.workload.arrivals import expected_arrivals
from twin.workload.flexibility import work_flexibility
from twin.workload.jobs import Jobs
from twin.workload.queue import JobQueue

LEVEL_NOISE_SHARE: Final = 0.01
"""Share of its capacity by which a level may lie outside a store's window: sensors err. [1]"""


@dataclass(frozen=True)
class Problem:
    """Everything one decision depends on.

    Attributes
    ----------
    site
        The site.
    state
        Its state at the first instant; levels of stores that noise puts outside are moved in.
    outlook
        What is expected over the horizon, on ``time`` and ``instant``.
    weights
        ``money`` [1], ``carbon`` [EUR kg-1], ``water`` [EUR m-3], ``lateness`` [EUR MWh-1 h-1];
        what is left out is the site's.
    past_units
        Owner of units -> how many were on in the intervals before the first, as long as that one,
        the latest last, whole numbers up to the bank's; what is left out is not known.
    migration
        Work that may leave for other sites, and come from them; None for a site alone.
    work_power_limit
        Most that all work may draw above idle, ``(time,)``, infinite where it is not limited;
        None where it is nowhere. [MW]

    Raises
    ------
    ProblemError
        If anything has no sense; all faults are told at once.
    """

    site: Site
    state: xr.Dataset
    outlook: xr.Dataset
    weights: Mapping[str, float] = field(default_factory=dict)
    past_units: Mapping[str, FloatArray] = field(default_factory=dict)
    migration: Migration | None = None
    work_power_limit: FloatArray | None = None

    def __post_init__(self) -> None:
        """Complete the weights, refuse what has no sense, and move levels in."""
        self._check_kinds()
        own = {"money": 1.0, **self.site.weights.model_dump()}
        faults = list(validation.find_weight_issues(self.weights))
        object.__setattr__(self, "weights", own | dict(self.weights))
        faults += find_outlook_issues(self.site, self.state, self.outlook)
        if not faults:
            faults += validation.find_reserve_issues(self.site, self.outlook)
        if not faults:
            faults += validation.find_outlook_value_issues(self.site, self.outlook)
            faults += validation.find_state_issues(self.site, self.state)
            faults += validation.find_past_unit_issues(self.site, self.past_units)
            faults += validation.find_work_limit_issues(self.work_power_limit, self.hours)
        if faults:
            source = f"problem of {self.site.name}"
            raise ProblemError(source, faults)
        object.__setattr__(self, "state", _clip_levels(self.site, self.state))

    def _check_kinds(self) -> None:
        """Refuse what is None, or of another kind, before anything is asked of it."""
        check_argument_types(
            "problem",
            site=(self.site, Site),
            state=(self.state, xr.Dataset),
            outlook=(self.outlook, xr.Dataset),
            weights=(self.weights, Mapping),
            past_units=(self.past_units, Mapping),
            **({} if self.migration is None else {"moves": (self.migration, Migration)}),
        )

    @property
    def margins(self) -> SafetyMargins:
        """Margins of the site."""
        return self.site.margins

    @cached_property
    def hours(self) -> FloatArray:
        """Lengths of the intervals, ``(time,)``. [h]"""
        return self.outlook["duration"].to_numpy().astype(float)

    @cached_property
    def max_work_power(self) -> FloatArray:
        """Most that all work may draw above idle, ``(time,)``. [MW]"""
        return (
            np.full_like(self.hours, np.inf)
            if self.work_power_limit is None
            else self.work_power_limit
        )

    @cached_property
    def service_racks(self) -> FloatArray:
        """Racks busy with inference, ``(time,)``. [1]"""
        return self.series("service_racks")

    def series(self, name: str) -> FloatArray:
        """Return a variable of the outlook as a bare array, ``time`` or ``instant`` first."""
        array = self.outlook[name]
        first = [dim for dim in ("time", "instant") if dim in array.dims]
        return array.transpose(*first, ...).to_numpy().astype(float)

    def available_import(self, exchange: Exchange) -> FloatArray:
        """Return the most that an exchange can bring in, ``(time,)``. [MW]"""
        limit = np.full_like(self.hours, exchange.import_limit)
        if exchange.owner == self.site.grid.name:
            state, least = self.state, self.unavoidable_import
            return connection.plannable_import_limit(
                self.site, state, self.outlook, unavoidable_import=least
            )
        if not exchange.availability_variable:
            return limit
        given = machine_values(self.outlook, exchange.availability_variable, exchange.owner)
        return np.asarray(np.clip(given, 0.0, limit))

    @cached_property
    def unavoidable_import(self) -> FloatArray:
        """Import that no plan for a limit of others avoids, ``(time,)``. [MW]"""
        return minimum_import(self.site, self.state, self.outlook)

    def initial_level(self, store: Store) -> float:
        """Return the level of a store at the start. [MWh]"""
        return self._levels[store.owner]

    @cached_property
    def _levels(self) -> dict[str, float]:
        """Levels of all stores at the start. [MWh]"""
        kinds = {self.site.equipment[store.owner].kind for store in self.site.stores}
        columns = [values_by_machine(self.state, f"{kind}_level") for kind in kinds]
        return {owner: level for one in columns for owner, level in one.items()}


def _clip_levels(site: Site, state: xr.Dataset) -> xr.Dataset:
    """Return a state whose levels are such as stores can have.

    Below nothing and above what it can hold no store can be, and noise puts one beside an end of
    its window. Farther outside it can stand: a battery whose reserve was used has what it has.
    """
    moved: dict[str, xr.DataArray] = {}
    for store in site.stores:
        machine = site.equipment[store.owner]
        name = f"{machine.kind}_level"
        was = values_by_machine(state, name)[store.owner]
        now = _clip_level(store, machine, was)
        if now != was:
            levels = moved.setdefault(name, state[name].copy())
            levels.loc[{machine.kind: store.owner}] = now
    return state.assign(moved) if moved else state


def _clip_level(store: Store, machine: Equipment, level: float) -> float:
    """Return the level that a store can have next to one that was measured. [MWh]"""
    full = machine.usable_capacity if isinstance(machine, Battery) else store.max_level
    possible = min(max(level, 0.0), full)
    near = min(max(possible, store.min_level), store.max_level)
    return near if abs(possible - near) <= LEVEL_NOISE_SHARE * full else possible


def build_problem(
    site: Site,
    record: xr.Dataset,
    state: xr.Dataset,
    *,
    queue: JobQueue,
    past: Jobs,
    requests: ExternalRequests = no_requests,
    grid: xr.Dataset | None = None,
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
    requests
        What others ask of the site.
    grid
        The horizon; by default :func:`optimizer.problem.outlook.build_horizon`.

    Returns
    -------
    Problem
        Over the horizon.

    Raises
    ------
    ProblemError
        If anything in it has no sense.
    SeriesError
        If the record does not reach the horizon.
    """
    if grid is None:
        grid = build_horizon(site, record, queue.instant, requests=requests)
    ahead = build_outlook(site, record, queue.instant, axes=grid)
    expected = expected_arrivals(past, queue.pool.kinds, queue.instant)
    room = work_flexibility(queue, grid, expected=expected)
    whole = ahead.merge(room).merge(requests(grid), compat="override")
    return Problem(site=site, state=state, outlook=whole)


def add_service_racks(problem: Problem, racks: int) -> Problem:
    """Return a question in which nobody acts on some racks: each may draw all it can. [1]"""
    busy = problem.outlook["service_racks"]
    most = (busy + racks).clip(max=float(problem.site.racks)).assign_attrs(busy.attrs)
    return replace(problem, outlook=problem.outlook.assign(service_racks=most))


MEAN_RAMP_SHARE: Final = 0.6
"""Share of the change of set points that the means of two intervals may show. [1]

A change of P MW in 10 minutes at r MW/min is P = 10 r; quarter-hour means may then differ by 9 r,
which keeps a tenth in hand. Longer intervals are taken alike.
"""


def max_import_change(exchange: Exchange, hours: FloatArray) -> FloatArray:
    """Return by how much the net import may change into each interval. [MW]"""
    return MEAN_RAMP_SHARE * exchange.ramp_limit * 60.0 * hours


def ramp_limited_intervals(exchange: Exchange, problem: Problem) -> tuple[int, ...]:
    """Return the intervals whose ramp is not kept anyway by the limits of the exchange.

    Into the first it may have to come from beyond them.
    """
    low, high = -exchange.export_limit, exchange.import_limit
    most, before = max_import_change(exchange, problem.hours), float(net_import(problem.state))
    widest = np.full_like(most, high - low)
    widest[0] = max(high, before) - min(low, before)
    return tuple(np.flatnonzero((most > 0.0) & (most < widest)).tolist())
