"""One question to the optimiser, checked whole before anything is built."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
import xarray as xr

from optimizer import promised
from optimizer.moves import Moves
from optimizer.reserves import capacity
from twin import curtailment, vocabulary
from twin import state as states
from twin.errors import Fault, ProblemError, StateError, UnitError
from twin.physics import FloatArray
from twin.physics.numeric import BoolArray
from twin.relations import Exchange, Store
from twin.site import Margins, Site
from twin.workloads.queue import Pool

GREATEST_PRICE: Final = 1e4
"""Price beyond which a series is taken to be broken. [EUR MWh-1]"""

GROSS: Final = 0.1
"""Share of a store's window by which a level may lie outside and still be moved in. [1]"""

NEARLY: Final = 1e-3
"""Share of the work that may be due before it can be done: intervals are cut at their edges. [1]"""

ROUNDING: Final = 1e-6
"""Difference of work or racks that is no difference. [1]"""

SERIES: Final = (
    "electricity_price",
    "carbon_intensity",
    "air_temperature",
    "relative_humidity",
    "air_pressure",
    "service_racks",
    "work_least",
    "work_most",
    "work_racks_limit",
    "terminal_price",
)
"""Variables of every outlook."""


@dataclass(frozen=True)
class Problem:
    """Everything one decision depends on.

    Attributes
    ----------
    site
        The site.
    state
        Its state at the first instant.
    outlook
        What is expected over the horizon, on ``time`` and ``instant``.
    weights
        ``money`` [1], ``carbon`` [EUR kg-1], ``water`` [EUR m-3], ``lateness`` [EUR MWh-1 h-1];
        what is left out is the site's.
    past_units
        Owner of units -> how many were on in the intervals before the first, as long as that one,
        the latest last; what is left out is not known.
    moves
        Work that may leave for other sites, and come from them; None for a site alone.

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

    def __post_init__(self) -> None:
        """Complete the weights and refuse what has no sense."""
        own = {"money": 1.0, **self.site.weights.model_dump()}
        faults = list(_weights(self.weights, own))
        object.__setattr__(self, "weights", own | dict(self.weights))
        faults += _whole(self)
        if not faults:
            faults += capacity.faults(self.site, self.outlook)
        if not faults:
            faults += [*_sense_of_outlook(self), *_sense_of_state(self)]
        if faults:
            source = f"problem of {self.site.name}"
            raise ProblemError(source, faults)

    @property
    def margins(self) -> Margins:
        """Margins of the site."""
        return self.site.margins

    @cached_property
    def hours(self) -> FloatArray:
        """Lengths of the intervals, ``(time,)``. [h]"""
        return self.outlook["duration"].to_numpy().astype(float)

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
            return curtailment.import_limit(self.site, self.state, self.outlook)
        if not exchange.available:
            return limit
        given = self.outlook[exchange.available].sel(renewable=exchange.owner).to_numpy()
        return np.asarray(np.clip(given, 0.0, limit))

    def level(self, store: Store) -> float:
        """Return the level of a store at the start, moved into its window. [MWh]"""
        return min(max(self._measured(store), store.low), store.high)

    def _measured(self, store: Store) -> float:
        kind = self.site.equipment[store.owner].kind
        return float(self.state[f"{kind}_level"].sel({kind: store.owner}))

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What was moved into its bounds before solving, in words."""
        moved = []
        for store in self.site.stores:
            was, now = self._measured(store), self.level(store)
            if abs(was - now) > ROUNDING:
                moved.append(f"{store.owner} starts at {now:.3f} MWh instead of {was:.3f} MWh")
        return tuple(moved)


def _weights(given: Mapping[str, float], known: Mapping[str, float]) -> Iterator[Fault]:
    for name, weight in given.items():
        if name not in known:
            mend = f"there are the weights {', '.join(known)}"
            yield Fault(place=f"weights, {name}", value=str(weight), mend=mend)
        elif not (np.isfinite(weight) and weight >= 0.0):
            yield Fault(place=f"weights, {name}", value=str(weight), mend="must be finite, >= 0")


def _whole(problem: Problem) -> list[Fault]:
    """Return what is missing, not finite, or has another unit, another axis or other labels."""
    site, outlook = problem.site, problem.outlook
    sources = [e.owner for e in site.exchanges if e.available]
    names = [*SERIES, *(["renewable_available_power"] if sources else [])]
    names += promised.given(outlook)
    faults = list(_axes(outlook))
    try:
        vocabulary.check(outlook, *names)
    except UnitError as error:
        faults += error.faults
    try:
        states.check(site, problem.state)
    except (UnitError, StateError) as error:
        faults += error.faults
    for name in (name for name in names if name in outlook):
        wrong = ~promised.is_number(name, outlook[name].to_numpy())
        faults += _where(outlook[name], wrong, "must be finite")
    for owner in sorted(set(sources) - _labels(outlook, "renewable")):
        mend = "the outlook does not say what it can give"
        faults.append(Fault(place=f"outlook, renewable, {owner}", value="", mend=mend))
    faults += promised.labels(site, outlook)
    for kind in sorted(_labels(outlook, "kind") - set(site.work)):
        mend = f"the site knows the work {', '.join(site.work)}"
        faults.append(Fault(place="outlook, kind", value=kind, mend=mend))
    return faults


def _labels(outlook: xr.Dataset, name: str) -> set[str]:
    return {str(label) for label in outlook[name].to_numpy()} if name in outlook.coords else set()


def _axes(outlook: xr.Dataset) -> Iterator[Fault]:
    if not {"time", "instant", "duration", "kind"} <= set(outlook.coords):
        mend = "needs the coordinates time, duration, instant and kind(cohort)"
        yield Fault(place="outlook", value=str(list(outlook.coords)), mend=mend)
        return
    time, instant = outlook["time"].to_numpy(), outlook["instant"].to_numpy()
    hours = outlook["duration"].to_numpy()
    if not len(time):
        yield Fault(place="outlook, time", value="empty", mend="needs one interval at least")
    elif len(instant) != len(time) + 1 or (instant[:-1] != time).any():
        mend = "must be the starts of all intervals and the end of the last"
        yield Fault(place="outlook, instant", value=f"{len(instant)} instants", mend=mend)
    elif not np.allclose(np.diff(instant) / np.timedelta64(1, "h"), hours) or (hours <= 0).any():
        mend = "must be the distance of the instants, in hours, above 0"
        yield Fault(place="outlook, duration", value=f"{hours.min()} h at least", mend=mend)


def _where(array: xr.DataArray, wrong: BoolArray, mend: str) -> Iterator[Fault]:
    """Return one fault for all wrong values of a series, showing the first of them."""
    if not wrong.any():
        return
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    place = f"outlook, {array.name}"
    for dim, i in zip(array.dims, first, strict=True):
        if dim in array.coords:
            place += f", {array[dim].to_numpy()[i]}"
    others = int(wrong.sum()) - 1
    more = f" (and {others} more)" if others else ""
    yield Fault(place=place, value=f"{array.to_numpy()[first]}{more}", mend=mend)


def _sense_of_outlook(problem: Problem) -> Iterator[Fault]:
    outlook = problem.outlook
    yield from promised.sense(problem.site, outlook, greatest=GREATEST_PRICE)
    prices = outlook["electricity_price"], outlook["terminal_price"]
    for price in prices:
        mend = f"no market has more than {GREATEST_PRICE:g} EUR/MWh; is it in EUR/MWh?"
        yield from _where(price, np.abs(price.to_numpy()) > GREATEST_PRICE, mend)
    racks = outlook["service_racks"]
    mend = f"must lie between 0 and the site's {problem.site.racks} racks"
    off = (racks.to_numpy() < 0) | (racks.to_numpy() > problem.site.racks + ROUNDING)
    yield from _where(racks, off, mend)
    for name in ("carbon_intensity", "work_racks_limit"):
        yield from _where(outlook[name], outlook[name].to_numpy() < 0, "must not be negative")
    least, most = problem.series("work_least"), problem.series("work_most")
    rows = outlook["work_least"].transpose("instant", "cohort")
    mend = "is more than work_most allows by then"
    yield from _where(rows, least > most + ROUNDING, mend)
    room = Pool.of(problem.site).rack_power * problem.hours[:, None]
    could = np.cumsum(room * problem.series("work_racks_limit"), axis=0)
    short = np.concatenate([np.zeros_like(least[:1]), least[1:] - could])
    mend = "is more than its racks can do by then: its jobs are longer than their windows"
    yield from _where(rows, short > NEARLY * (1.0 + least), mend)
    for name, sums in (("work_least", least), ("work_most", most)):
        falls = np.diff(sums, axis=0, prepend=0.0) < -ROUNDING
        rows = outlook[name].transpose("instant", "cohort")
        yield from _where(rows, falls, "is a sum since the first instant: it must not fall")
        mend = "must be 0 at the first instant"
        yield from _where(rows[:1], np.abs(sums[:1]) > ROUNDING, mend)


def _sense_of_state(problem: Problem) -> Iterator[Fault]:
    for store in problem.site.stores:
        kind = problem.site.equipment[store.owner].kind
        level = float(problem.state[f"{kind}_level"].sel({kind: store.owner}))
        slack = GROSS * (store.high - store.low)
        if not store.low - slack <= level <= store.high + slack:
            mend = f"must lie between {store.low:g} and {store.high:g} MWh"
            place = f"state, {kind}_level, {store.owner}"
            yield Fault(place=place, value=f"{level:g} MWh", mend=mend)
    for name in ("peak_power", "usual_power", "grid_import_power", "grid_export_power"):
        power = float(problem.state[name])
        if power < 0.0:
            mend = "powers are never negative"
            yield Fault(place=f"state, {name}", value=f"{power:g} MW", mend=mend)
