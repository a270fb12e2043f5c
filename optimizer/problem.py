"""One question to the optimiser, checked whole before anything is built."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
import xarray as xr

from optimizer.question import promised, sense
from optimizer.question.moves import Moves
from optimizer.reserves import capacity
from twin import variables
from twin.declarations import SafetyMargins
from twin.equipment import Battery, Equipment
from twin.errors import ProblemError, StateError, UnitError, ValidationIssue
from twin.feasibility import connection
from twin.feasibility.connection import minimum_import
from twin.forecast.history import WEATHER_VARIABLES
from twin.physics import FloatArray
from twin.relations import Exchange, Store
from twin.simulation import state as states
from twin.site import Site
from twin.validation import axis_issues, check_argument_types, value_issues
from twin.variables import machine_values, values_by_machine

AXES: Final[Mapping[str, tuple[str, ...]]] = {
    "electricity_price": ("time",),
    "carbon_intensity": ("time",),
    "air_temperature": ("time",),
    "relative_humidity": ("time",),
    "air_pressure": ("time",),
    "service_racks": ("time",),
    "work_least": ("instant", "cohort"),
    "work_most": ("instant", "cohort"),
    "work_racks_limit": ("time", "cohort"),
    "terminal_price": (),
}
"""Variable of every outlook -> its axes."""

COORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "time": ("time",),
    "duration": ("time",),
    "instant": ("instant",),
    "cohort": ("cohort",),
    "kind": ("cohort",),
}
"""Coordinate of every outlook -> its axis."""

SOURCES: Final = "renewable_available_power"
"""Variable of the outlooks of sites that have sun or wind of their own."""

SOME: Final[Mapping[str, tuple[str, ...]]] = {
    SOURCES: ("time", "renewable"),
    **dict.fromkeys(sense.PAUSES, ("cohort",)),
    **{word: ("time",) for word in WEATHER_VARIABLES if word not in AXES},
    **promised.AXES,
}
"""The same of what only some outlooks hold."""

NOISE: Final = 0.01
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
    moves
        Work that may leave for other sites, and come from them; None for a site alone.
    work_limit
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
    moves: Moves | None = None
    work_limit: FloatArray | None = None

    def __post_init__(self) -> None:
        """Complete the weights, refuse what has no sense, and move levels in."""
        self._check_kinds()
        own = {"money": 1.0, **self.site.weights.model_dump()}
        faults = list(sense.of_weights(self.weights))
        object.__setattr__(self, "weights", own | dict(self.weights))
        faults += _whole(self.site, self.state, self.outlook)
        if not faults:
            faults += capacity.faults(self.site, self.outlook)
        if not faults:
            faults += sense.of_outlook(self.site, self.outlook)
            faults += sense.of_state(self.site, self.state)
            faults += sense.of_past(self.site, self.past_units)
            faults += sense.of_limit(self.work_limit, self.hours)
        if faults:
            source = f"problem of {self.site.name}"
            raise ProblemError(source, faults)
        object.__setattr__(self, "state", _moved_in(self.site, self.state))

    def _check_kinds(self) -> None:
        """Refuse what is None, or of another kind, before anything is asked of it."""
        check_argument_types(
            "problem",
            site=(self.site, Site),
            state=(self.state, xr.Dataset),
            outlook=(self.outlook, xr.Dataset),
            weights=(self.weights, Mapping),
            past_units=(self.past_units, Mapping),
            **({} if self.moves is None else {"moves": (self.moves, Moves)}),
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
    def most_work(self) -> FloatArray:
        """Most that all work may draw above idle, ``(time,)``. [MW]"""
        return np.full_like(self.hours, np.inf) if self.work_limit is None else self.work_limit

    @cached_property
    def service(self) -> FloatArray:
        """Racks busy with inference, ``(time,)``. [1]"""
        return self.series("service_racks")

    def series(self, name: str) -> FloatArray:
        """Return a variable of the outlook as a bare array, ``time`` or ``instant`` first."""
        array = self.outlook[name]
        first = [dim for dim in ("time", "instant") if dim in array.dims]
        return array.transpose(*first, ...).to_numpy().astype(float)

    def available(self, exchange: Exchange) -> FloatArray:
        """Return the most that an exchange can bring in, ``(time,)``. [MW]"""
        limit = np.full_like(self.hours, exchange.import_limit)
        if exchange.owner == self.site.grid.name:
            state, least = self.state, self.least_import
            return connection.plannable_import_limit(self.site, state, self.outlook, least=least)
        if not exchange.available:
            return limit
        given = machine_values(self.outlook, exchange.available, exchange.owner)
        return np.asarray(np.clip(given, 0.0, limit))

    @cached_property
    def least_import(self) -> FloatArray:
        """Import that no plan for a limit of others avoids, ``(time,)``. [MW]"""
        return minimum_import(self.site, self.state, self.outlook)

    def level(self, store: Store) -> float:
        """Return the level of a store at the start. [MWh]"""
        return self._levels[store.owner]

    @cached_property
    def _levels(self) -> dict[str, float]:
        """Levels of all stores at the start. [MWh]"""
        kinds = {self.site.equipment[store.owner].kind for store in self.site.stores}
        columns = [values_by_machine(self.state, f"{kind}_level") for kind in kinds]
        return {owner: level for one in columns for owner, level in one.items()}


def _moved_in(site: Site, state: xr.Dataset) -> xr.Dataset:
    """Return a state whose levels are such as stores can have.

    Below nothing and above what it can hold no store can be, and noise puts one beside an end of
    its window. Farther outside it can stand: a battery whose reserve was used has what it has.
    """
    moved: dict[str, xr.DataArray] = {}
    for store in site.stores:
        machine = site.equipment[store.owner]
        name = f"{machine.kind}_level"
        was = values_by_machine(state, name)[store.owner]
        now = _within(store, machine, was)
        if now != was:
            levels = moved.setdefault(name, state[name].copy())
            levels.loc[{machine.kind: store.owner}] = now
    return state.assign(moved) if moved else state


def _within(store: Store, machine: Equipment, level: float) -> float:
    """Return the level that a store can have next to one that was measured. [MWh]"""
    full = machine.usable if isinstance(machine, Battery) else store.high
    possible = min(max(level, 0.0), full)
    near = min(max(possible, store.low), store.high)
    return near if abs(possible - near) <= NOISE * full else possible


def _whole(site: Site, state: xr.Dataset, outlook: xr.Dataset) -> list[ValidationIssue]:
    """Return what is missing, not finite, or has another unit, another axis or other labels."""
    sources = [e.owner for e in site.exchanges if e.available]
    names = [*AXES, *([SOURCES] if sources else [])]
    names += promised.given(outlook)
    names += sense.PAUSES if any(name in outlook for name in sense.PAUSES) else ()
    names += [word for word in WEATHER_VARIABLES if word in outlook and word not in AXES]
    faults, off = list(_axes(outlook)), list(axis_issues(outlook, {**AXES, **SOME}, "outlook"))
    faults += off
    try:
        variables.check_variables(outlook, *names)
    except UnitError as error:
        faults += error.faults
    try:
        states.check_state(site, state)
    except (UnitError, StateError) as error:
        faults += error.faults
    told = {fault.place for fault in off}
    if not faults and (now := state["instant"].to_numpy()) != outlook["instant"][0]:
        mend = f"must be the first instant of the outlook, {outlook['instant'].to_numpy()[0]}"
        faults.append(ValidationIssue(place="state, instant", value=str(now), mend=mend))
    for name in (name for name in names if name in outlook and f"outlook, {name}" not in told):
        wrong = ~promised.is_number(name, outlook[name].to_numpy())
        faults += value_issues(outlook[name], wrong, "must be finite")
    for owner in sorted(set(sources) - _labels(outlook, "renewable")):
        mend = "the outlook does not say what it can give"
        faults.append(ValidationIssue(place=f"outlook, renewable, {owner}", value="", mend=mend))
    faults += promised.labels(site, outlook)
    for axis in ("renewable", "contract", "cohort"):
        labels = outlook[axis].to_numpy().tolist() if axis in outlook.coords else []
        for label in sorted({str(one) for one in labels if labels.count(one) > 1}):
            faults.append(
                ValidationIssue(place=f"outlook, {axis}", value=label, mend="every label once")
            )
    for kind in sorted(_labels(outlook, "kind") - set(site.work)):
        mend = f"the site knows the work {', '.join(site.work)}"
        faults.append(ValidationIssue(place="outlook, kind", value=kind, mend=mend))
    return faults


def _labels(outlook: xr.Dataset, name: str) -> set[str]:
    return {str(label) for label in outlook[name].to_numpy()} if name in outlook.coords else set()


def _axes(outlook: xr.Dataset) -> Iterator[ValidationIssue]:
    if any(name not in outlook.coords or outlook[name].dims != on for name, on in COORDS.items()):
        mend = "needs the coordinates time, duration(time), instant, cohort and kind(cohort)"
        yield ValidationIssue(place="outlook", value=str(list(outlook.coords)), mend=mend)
        return
    time, instant = outlook["time"].to_numpy(), outlook["instant"].to_numpy()
    hours = outlook["duration"].to_numpy()
    if not len(time):
        yield ValidationIssue(
            place="outlook, time", value="empty", mend="needs one interval at least"
        )
    elif len(instant) != len(time) + 1 or (instant[:-1] != time).any():
        mend = "must be the starts of all intervals and the end of the last"
        yield ValidationIssue(place="outlook, instant", value=f"{len(instant)} instants", mend=mend)
    elif not np.allclose(np.diff(instant) / np.timedelta64(1, "h"), hours) or (hours <= 0).any():
        mend = "must be the distance of the instants, in hours, above 0"
        yield ValidationIssue(
            place="outlook, duration", value=f"{hours.min()} h at least", mend=mend
        )
