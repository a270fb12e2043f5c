"""Problem: the complete, checked input of one decision."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

import numpy as np
import xarray as xr

from optimizer.problem import checks
from optimizer.problem.checks import find_outlook_issues
from optimizer.problem.migration import Migration
from optimizer.problem.planning_outlook import (
    ExternalRequests,
    build_horizon,
    build_outlook,
    no_requests,
)
from twin.argument_checks import check_argument_types
from twin.equipment import Battery, Equipment
from twin.errors import ProblemError
from twin.feasibility import connection
from twin.feasibility.connection import max_import_change, unavoidable_excess_import
from twin.physics import FloatArray
from twin.relations import Exchange, Store
from twin.site import Site
from twin.site_settings import SafetyMargins
from twin.variables import machine_values, net_import, values_by_machine
from twin.workload.arrival_forecast import expected_arrivals
from twin.workload.cohorts import work_flexibility
from twin.workload.jobs import Jobs
from twin.workload.queue import JobQueue

LEVEL_NOISE_SHARE: Final = 0.01
"""Share of its capacity by which sensor noise may put a level outside the window. [1]"""


@dataclass(frozen=True)
class Problem:
    """Everything that one decision depends on.

    Attributes
    ----------
    state
        State at the first instant; levels outside their window because of noise are moved in.
    outlook
        Forecast over the horizon, on ``time`` and ``instant``.
    weights
        ``money`` [1], ``carbon`` [EUR kg-1], ``water`` [EUR m-3], ``lateness`` and ``waiting``
        [EUR MWh-1 h-1]; by default those of the site, and none for waiting work.
    past_units
        Bank -> units on in the intervals before the first one, equally long, latest last. [1]
    migration
        Routes for work from and to other sites; None for a site alone.
    work_power_limit
        Limit of the power of work above idle, ``(time,)``, infinite without limit. [MW]
    discharge_limits
        Store -> limit of its discharge beside its rated power, ``(time,)``. [MW]

    Raises
    ------
    ProblemError
        If anything is invalid; it reports all issues together.
    """

    site: Site
    state: xr.Dataset
    outlook: xr.Dataset
    weights: Mapping[str, float] = field(default_factory=dict)
    past_units: Mapping[str, FloatArray] = field(default_factory=dict)
    migration: Migration | None = None
    work_power_limit: FloatArray | None = None
    discharge_limits: Mapping[str, FloatArray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Complete the weights, check all input, and clip levels."""
        self._check_argument_types()
        own = {"money": 1.0, **self.site.weights.model_dump(), "waiting": 0.0}
        issues = list(checks.find_weight_issues(self.weights))
        object.__setattr__(self, "weights", own | dict(self.weights))
        issues += find_outlook_issues(self.site, self.state, self.outlook)
        if not issues:
            issues += checks.find_reserve_issues(self.site, self.outlook)
        if not issues:
            issues += checks.find_outlook_value_issues(self.site, self.outlook)
            issues += checks.find_state_issues(self.site, self.state)
            issues += checks.find_past_unit_issues(self.site, self.past_units)
            issues += checks.find_limit_issues(
                "work_limit", self.work_power_limit, self.interval_hours
            )
            for owner, limit in self.discharge_limits.items():
                place = f"discharge_limits, {owner}"
                issues += checks.find_limit_issues(place, limit, self.interval_hours)
        ProblemError.raise_if_any(f"problem of {self.site.name}", issues)
        object.__setattr__(self, "state", _clip_levels(self.site, self.state))

    def _check_argument_types(self) -> None:
        """Raise an error for arguments of a wrong type, before they are used."""
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
    def interval_hours(self) -> FloatArray:
        """Lengths of the intervals, ``(time,)``. [h]"""
        return self.outlook["duration"].to_numpy().astype(float)

    @cached_property
    def max_work_power(self) -> FloatArray:
        """Limit of the power of work above idle, ``(time,)``. [MW]"""
        return (
            np.full_like(self.interval_hours, np.inf)
            if self.work_power_limit is None
            else self.work_power_limit
        )

    def max_discharge(self, store: Store) -> FloatArray:
        """Return the largest discharge of a store, ``(time,)``. [MW]"""
        limit = self.discharge_limits.get(store.owner, np.full_like(self.interval_hours, np.inf))
        return np.minimum(limit, store.discharge_limit)

    @cached_property
    def service_racks(self) -> FloatArray:
        """Racks busy with inference, ``(time,)``. [1]"""
        return self.series("service_racks")

    def series(self, name: str) -> FloatArray:
        """Return a variable of the outlook as an array, ``time`` or ``instant`` first."""
        array = self.outlook[name]
        first = [dim for dim in ("time", "instant") if dim in array.dims]
        return array.transpose(*first, ...).to_numpy().astype(float)

    def available_import(self, exchange: Exchange) -> FloatArray:
        """Return the largest possible import of an exchange, ``(time,)``. [MW]"""
        limit = np.full_like(self.interval_hours, exchange.import_limit)
        if exchange.owner == self.site.grid_connection.name:
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
        """Import that no plan avoids for an external limit, ``(time,)``. [MW]"""
        return unavoidable_excess_import(self.site, self.state, self.outlook)

    def initial_level(self, store: Store) -> float:
        """Return the initial level of a store. [MWh]"""
        return self._levels[store.owner]

    @cached_property
    def _levels(self) -> dict[str, float]:
        """Initial levels of all stores. [MWh]"""
        kinds = {self.site.equipment[store.owner].kind for store in self.site.stores}
        columns = [values_by_machine(self.state, f"{kind}_level") for kind in kinds]
        return {owner: level for one in columns for owner, level in one.items()}


def _clip_levels(site: Site, state: xr.Dataset) -> xr.Dataset:
    """Return a state with physically possible levels.

    Levels are at least zero and at most the capacity. Levels slightly outside the window are noise;
    others remain, such as those of a battery after a reserve activation.
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
    """Return the possible level nearest to a measured one. [MWh]"""
    full = machine.usable_capacity if isinstance(machine, Battery) else store.max_level
    possible = min(max(level, 0.0), full)
    in_window = min(max(possible, store.min_level), store.max_level)
    return in_window if abs(possible - in_window) <= LEVEL_NOISE_SHARE * full else possible


def build_problem_from_record(
    site: Site,
    record: xr.Dataset,
    state: xr.Dataset,
    *,
    queue: JobQueue,
    past: Jobs,
    requests: ExternalRequests = no_requests,
    grid: xr.Dataset | None = None,
) -> Problem:
    """Return the problem of a moment, from information that is known then.

    Raises ProblemError if the input is invalid. Raises SeriesError if the record does not cover the
    horizon.

    - `record`: series of the site; unpublished values are not used.
    - `state`: the state; its ``instant`` is now.
    - `past`: earlier arrivals; those of the last two weeks are the basis of expected arrivals.
    - `grid`: the horizon; by default :func:`optimizer.problem.planning_outlook.build_horizon`.
    """
    if grid is None:
        grid = build_horizon(site, record, queue.instant, requests=requests)
    ahead = build_outlook(site, record, queue.instant, axes=grid)
    expected = expected_arrivals(past, queue.pool.kinds, queue.instant)
    announced = queue.announced_work
    arrivals = expected if announced is None else announced.expected_with(expected)
    work = work_flexibility(queue, grid, expected=arrivals)
    combined = ahead.merge(work).merge(requests(grid), compat="override")
    return Problem(site=site, state=state, outlook=combined)


def add_service_racks(problem: Problem, racks: int) -> Problem:
    """Return a problem with additional uncontrolled racks, which may draw full power."""
    busy = problem.outlook["service_racks"]
    total = (busy + racks).clip(max=float(problem.site.rack_count)).assign_attrs(busy.attrs)
    return replace(problem, outlook=problem.outlook.assign(service_racks=total))


def ramp_limited_intervals(exchange: Exchange, problem: Problem) -> tuple[int, ...]:
    """Return the intervals whose ramp limit can bind within the limits of the exchange.

    The net import before the first interval may lie outside these limits.
    """
    low, high = -exchange.export_limit, exchange.import_limit
    most, before = (
        max_import_change(exchange, problem.interval_hours),
        float(net_import(problem.state)),
    )
    widest = np.full_like(most, high - low)
    widest[0] = max(high, before) - min(low, before)
    return tuple(np.flatnonzero((most > 0.0) & (most < widest)).tolist())
