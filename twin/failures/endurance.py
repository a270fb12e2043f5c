"""Time to limit: how many minutes a site has after a failure, and how it gets there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from twin import vocabulary
from twin.equipment import Cdu, HallAir
from twin.errors import Fault, StateError
from twin.failures.aftermath import SECONDS, Aftermath
from twin.failures.chilled import Chilled
from twin.failures.circuit import Circuit
from twin.failures.march import GROWTH, March, Moment, grid
from twin.failures.situation import Situation
from twin.failures.supply import time_of_supply
from twin.failures.trips import Part, Trip, trips
from twin.failures.warm import Warm
from twin.physics import FloatArray
from twin.physics.numeric import BoolArray, within
from twin.simulation import simulate
from twin.site import Site
from twin.steering import gathered, read
from twin.weather import Weather

HORIZON: Final = 12.0
"""What is not reached in this time is not reached at all. [h]"""

MINUTE: Final = 60.0
"""Seconds in a minute."""

NEVER: Final = ""
"""Limit that is named where none is reached."""

_THINNED: Final = 8  # steps between two looks at what need not go on

_SUPPLY: Final = {Part.BLOCK, Part.TRANSFORMER}
_OF_WARM: Final = {Part.CDU, Part.CDU_PUMP, Part.HEAT_PUMP}


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A temperature that must not be reached.

    Attributes
    ----------
    name
        What is reached then.
    high
        The temperature. [degC]
    store, chip
        Place of what is bounded: in the chain, or among the halls.
    """

    name: str
    high: float
    store: int | None = None
    chip: int | None = None

    def value(self, moment: Moment) -> FloatArray:
        """Return the bounded temperature. [degC]"""
        if self.chip is not None:
            return moment.chips[self.chip]
        return moment.course.temperature[self.store or 0]


def time_to_limit(
    site: Site,
    state: xr.Dataset,
    operation: xr.Dataset,
    *,
    failures: Sequence[Trip] | None = None,
    result: xr.Dataset | None = None,
    is_throttling_told: bool = True,
    growth: float = GROWTH,
) -> xr.Dataset:
    """Return how long a site endures after each failure, wherever in an operation it happens.

    Parameters
    ----------
    site
        The site.
    state
        Its state at the first edge.
    operation
        As :func:`twin.simulate` wants it; the failures happen at the starts of its intervals, and
        load and weather stay as they are in that interval.
    failures
        The failures; by default :func:`twin.failures.trips.trips`.
    result
        What the twin did with state and operation, if that is known.
    is_throttling_told
        Whether throttling of chips counts as a limit.
    growth
        A step is at most the time gone by over this: less is quicker and less exact. [1]

    Returns
    -------
    xarray.Dataset
        ``time_to_limit(trip, time)`` [min], infinite where nothing is reached in 12 h, and the
        name of what is reached first, ``limit(trip, time)``: throttling of a hall's chips, a limit
        of the water's or the air's temperature, an overload; "" for none.

    Raises
    ------
    StateError
        If state or operation do not fit the site.
    """
    every = trips(site) if failures is None else tuple(failures)
    situation = situation_of(site, state, operation, result=result)
    minutes, names = endured(situation, every, is_throttling_told=is_throttling_told, growth=growth)
    return _labelled(every, operation["time"].to_numpy(), minutes=minutes, names=names)


def endured(
    situation: Situation, every: Sequence[Trip], *, is_throttling_told: bool, growth: float
) -> tuple[FloatArray, np.ndarray]:
    """Return :func:`time_to_limit` as bare arrays on (trip, time).

    Parameters
    ----------
    situation
        A site at work.
    every
        The failures.
    is_throttling_told, growth
        As there.

    Returns
    -------
    tuple of numpy.ndarray
        Minutes, infinite where nothing is reached, and names of what is reached first.
    """
    minutes = np.full((len(every), len(situation)), np.inf)
    names = np.full(minutes.shape, NEVER, dtype=object)
    for circuit in circuits(situation):
        rows = [row for row, trip in enumerate(every) if touches(trip, circuit)]
        if rows:
            afters = [circuit.after(every[row]) for row in rows]
            bounds = [b for b in bounds_of(circuit) if is_throttling_told or b.chip is None]
            _enter(minutes, names, rows, *_first(circuit, afters, bounds, growth=growth))
    for row, trip in enumerate(every):
        if trip.part in _SUPPLY:
            time, name = time_of_supply(situation, trip)
            _enter(minutes, names, [row], time[None], np.full((1, len(situation)), name, object))
    return minutes, names


def _labelled(
    every: Sequence[Trip], time: np.ndarray, *, minutes: FloatArray, names: np.ndarray
) -> xr.Dataset:
    found = xr.Dataset(
        {
            "time_to_limit": (("trip", "time"), minutes),
            "limit": (("trip", "time"), names.astype(str)),
        },
        coords={
            "trip": [trip.name for trip in every],
            "alike": ("trip", [trip.alike for trip in every]),
            "time": time,
        },
    )
    return found.assign(time_to_limit=vocabulary.tag(found["time_to_limit"], "time_to_limit"))


def _enter(
    minutes: FloatArray,
    names: np.ndarray,
    rows: list[int],
    times: FloatArray,
    limits: np.ndarray,
) -> None:
    """Enter what is reached sooner than all before."""
    is_sooner = times < minutes[rows]
    minutes[rows] = np.where(is_sooner, times, minutes[rows])
    names[rows] = np.where(is_sooner, limits, names[rows])


def situation_of(
    site: Site, state: xr.Dataset, operation: xr.Dataset, *, result: xr.Dataset | None = None
) -> Situation:
    """Return a site at work; see :func:`time_to_limit`."""
    if result is None:
        result = simulate(site, state, operation)
    if result.sizes["time"] != operation.sizes["time"]:
        mend = "give the result of this very operation"
        value = f"{result.sizes['time']} intervals"
        raise StateError(site.name, [Fault(place="result", value=value, mend=mend)])
    points = gathered(site, read(site, operation))
    return Situation(site=site, weather=Weather.of(operation), result=result, points=points)


def circuits(situation: Situation) -> tuple[Circuit, ...]:
    """Return the circuits that a site has: the warm one with CDUs, the chilled one with air."""
    found: list[Circuit] = []
    if "warm" in situation.plants and situation.site.of(Cdu):
        found.append(Warm(situation))
    if "chilled" in situation.plants and situation.site.of(HallAir):
        found.append(Chilled(situation))
    return tuple(found)


def bounds_of(circuit: Circuit) -> tuple[Bound, ...]:
    """Return what must not be reached in a circuit."""
    site, plant = circuit.situation.site, circuit.plant.machine
    supply = Bound(name=f"supply limit of {plant.name}", high=plant.supply_limit, store=-1)
    margin = site.contingency.throttle_margin
    chips: dict[tuple[bytes, float], Bound] = {}
    for place, hall in enumerate(circuit.halls):
        alike = circuit.rises[place].tobytes(), hall.chip_temperature_limit
        high = hall.chip_temperature_limit - margin
        chips.setdefault(alike, Bound(name=f"throttling in {hall.name}", high=high, chip=place))
    if not isinstance(circuit, Chilled):
        return supply, *chips.values()
    coolest = min(hall.inlet_temperature_limit for hall in circuit.situation.halls)
    name = f"inlet limit of {circuit.situation.air.name}"
    return supply, Bound(name=name, high=coolest, store=0), *chips.values()


def touches(trip: Trip, circuit: Circuit) -> bool:
    """Return whether a failure changes a circuit."""
    if trip.part in _SUPPLY:
        return trip.is_total
    if trip.part in _OF_WARM:
        return isinstance(circuit, Warm)
    if trip.part is Part.TANK:
        return isinstance(circuit, Chilled)
    return bool(trip.owner == circuit.plant.machine.name)


def _first(
    circuit: Circuit, afters: Sequence[Aftermath], bounds: Sequence[Bound], *, growth: float
) -> tuple[FloatArray, np.ndarray]:
    """Return when the first bound is reached [min], and its name, on (trip, time)."""
    march = March(circuit, afters)
    shape = len(afters), len(circuit.situation)
    reached, which = np.full(shape, np.inf), np.full(shape, len(bounds))
    places = np.arange(reached.size).reshape(shape)
    last: Moment | None = None
    edges = grid(HORIZON * SECONDS, march.moments, growth=growth)
    for count, moment in enumerate(march.run(edges)):
        before = last or moment
        seconds, bound = _crossing(last, moment, bounds)
        is_new = np.isfinite(seconds) & np.isinf(reached.ravel()[places])
        reached.ravel()[places[is_new]] = seconds[is_new]
        which.ravel()[places[is_new]] = bound[is_new]
        last = moment
        if moment.seconds > max(march.moments) and count % _THINNED == 0:
            going = np.isinf(reached.ravel()[places]) & _may_reach(before, moment, bounds)
            if not going.any():
                break
            march.thin(going)
            places, last = places[going], march.moment
    names = np.array([*(bound.name for bound in bounds), NEVER], dtype=object)
    return reached / MINUTE, names[which]


def _crossing(
    last: Moment | None, now: Moment, bounds: Sequence[Bound]
) -> tuple[FloatArray, np.ndarray]:
    """Return when a bound was first reached in the last step [s], infinite if none, and which."""
    times = []
    for bound in bounds:
        value = bound.value(now)
        if last is None:
            times.append(np.where(value >= bound.high, 0.0, np.inf))
            continue
        before = bound.value(last)
        rise = np.where(value > before, value - before, 1.0)
        share = within((bound.high - before) / rise, 0.0, 1.0)
        moment = last.seconds + share * (now.seconds - last.seconds)
        times.append(np.where(value >= bound.high, moment, np.inf))
    stacked = np.stack(times)
    return stacked.min(axis=0), stacked.argmin(axis=0)


def _may_reach(last: Moment, now: Moment, bounds: Sequence[Bound]) -> BoolArray:
    """Return where a bound might still be reached: at the present pace, or without some tank."""
    ahead = HORIZON * SECONDS - now.seconds
    pace = ahead / max(now.seconds - last.seconds, 1.0)
    may = (now.discharge * ahead / SECONDS > now.level).any(axis=0)
    for bound in bounds:
        value = bound.value(now)
        may = may | (value + pace * (value - bound.value(last)) >= bound.high)
    return np.asarray(may)
