"""Time to limit: how many minutes a site has after a failure, and how it gets there.

How long the electrical supply of a site bears the loss of one of its units.

The way of a site after one failure, minute by minute.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from twin import variables
from twin.contingency.capacity import PrefaultState
from twin.contingency.contingencies import Contingency, FailedPart, single_contingencies
from twin.contingency.post_fault_circuits import (
    SECONDS_PER_HOUR,
    ChilledWaterCircuit,
    FacilityWaterCircuit,
    FaultedCircuit,
    PostFaultCircuit,
)
from twin.contingency.transient_solver import (
    STEP_GROWTH,
    TransientSolver,
    TransientState,
    step_edges,
)
from twin.equipment import CduBank, CoolingPlant, CrahBank, ITHall, TransformerBank, UpsBank
from twin.errors import StateError, ValidationIssue
from twin.physics import FloatArray
from twin.physics.electrical_equipment import transformer_overload_time, ups_overload_time
from twin.physics.numerics import BoolArray, clip
from twin.simulation.setpoints import collect_set_points, read_set_points
from twin.simulation.simulate import simulate
from twin.site import Site
from twin.weather import Weather

RIDE_THROUGH_HORIZON_H: Final = 12.0
"""What is not reached in this time is not reached at all. [h]"""

SECONDS_PER_MINUTE: Final = 60.0
"""Seconds in a minute."""

NO_LIMIT_REACHED: Final = ""
"""Limit that is named where none is reached."""

_THINNED: Final = 8  # steps between two looks at what need not go on

_SUPPLY: Final = {FailedPart.BLOCK, FailedPart.TRANSFORMER}
_OF_WARM: Final = {FailedPart.CDU, FailedPart.CDU_PUMP, FailedPart.HEAT_PUMP}


@dataclass(frozen=True, kw_only=True)
class TemperatureBound:
    """A temperature that must not be reached.

    Attributes
    ----------
    name
        What is reached then.
    limit
        The temperature. [degC]
    store_index, hall_index
        Place of what is bounded: in the chain, or among the halls.
    """

    name: str
    limit: float
    store_index: int | None = None
    hall_index: int | None = None

    def value(self, moment: TransientState) -> FloatArray:
        """Return the bounded temperature. [degC]"""
        if self.hall_index is not None:
            return moment.chips[self.hall_index]
        return moment.chain.temperature[self.store_index or 0]


def time_to_limit(
    site: Site,
    state: xr.Dataset,
    operation: xr.Dataset,
    *,
    contingencies: Sequence[Contingency] | None = None,
    result: xr.Dataset | None = None,
    counts_throttling: bool = True,
    growth: float = STEP_GROWTH,
) -> xr.Dataset:
    """Return how long a site endures after each failure, wherever in an operation it happens.

    Parameters
    ----------
    site
        The site.
    state
        Its state at the first edge.
    operation
        As :func:`twin.simulate` wants it; the contingencies happen at the starts of its intervals,
        and load and weather stay as they are in that interval.
    contingencies
        The failures; by default :func:`twin.contingency.contingencies.single_contingencies`.
    result
        What the twin did with state and operation, if that is known.
    counts_throttling
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
    every = single_contingencies(site) if contingencies is None else tuple(contingencies)
    situation = prefault_state(site, state, operation, result=result)
    minutes, names = time_to_limit_arrays(
        situation, every, is_throttling_told=counts_throttling, growth=growth
    )
    return _labelled(every, operation["time"].to_numpy(), minutes=minutes, names=names)


def time_to_limit_arrays(
    situation: PrefaultState,
    contingencies: Sequence[Contingency],
    *,
    is_throttling_told: bool,
    growth: float,
) -> tuple[FloatArray, np.ndarray]:
    """Return :func:`time_to_limit` as bare arrays on (trip, time).

    Parameters
    ----------
    situation
        A site at work.
    contingencies
        The failures.
    is_throttling_told, growth
        As there.

    Returns
    -------
    tuple of numpy.ndarray
        Minutes, infinite where nothing is reached, and names of what is reached first.
    """
    minutes = np.full((len(contingencies), len(situation)), np.inf)
    names = np.full(minutes.shape, NO_LIMIT_REACHED, dtype=object)
    for circuit in faulted_circuits(situation):
        rows = [row for row, trip in enumerate(contingencies) if affects(trip, circuit)]
        if rows:
            afters = [circuit.post_fault(contingencies[row]) for row in rows]
            bounds = [
                b for b in temperature_bounds(circuit) if is_throttling_told or b.hall_index is None
            ]
            _enter(minutes, names, rows, *_first(circuit, afters, bounds, growth=growth))
    for row, trip in enumerate(contingencies):
        if trip.failed_part in _SUPPLY:
            time, name = supply_ride_through(situation, trip)
            _enter(minutes, names, [row], time[None], np.full((1, len(situation)), name, object))
    return minutes, names


def _labelled(
    every: Sequence[Contingency], time: np.ndarray, *, minutes: FloatArray, names: np.ndarray
) -> xr.Dataset:
    found = xr.Dataset(
        {
            "time_to_limit": (("trip", "time"), minutes),
            "limit": (("trip", "time"), names.astype(str)),
        },
        coords={
            "trip": [trip.name for trip in every],
            "alike": ("trip", [trip.equivalent_units for trip in every]),
            "time": time,
        },
    )
    return found.assign(
        time_to_limit=variables.tag_variable(found["time_to_limit"], "time_to_limit")
    )


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


def prefault_state(
    site: Site, state: xr.Dataset, operation: xr.Dataset, *, result: xr.Dataset | None = None
) -> PrefaultState:
    """Return a site at work; see :func:`time_to_limit`."""
    if result is None:
        result = simulate(site, state, operation)
    if result.sizes["time"] != operation.sizes["time"]:
        remedy = "give the result of this very operation"
        value = f"{result.sizes['time']} intervals"
        raise StateError(
            site.name, [ValidationIssue(location="result", found=value, remedy=remedy)]
        )
    points = collect_set_points(site, read_set_points(site, operation))
    return PrefaultState(
        site=site, weather=Weather.from_dataset(operation), result=result, set_points=points
    )


def faulted_circuits(situation: PrefaultState) -> tuple[FaultedCircuit, ...]:
    """Return the circuits that a site has: the warm one with CDUs, the chilled one with air."""
    found: list[FaultedCircuit] = []
    if "warm" in situation.plants and situation.site.machines_of(CduBank):
        found.append(FacilityWaterCircuit(situation))
    if "chilled" in situation.plants and situation.site.machines_of(CrahBank):
        found.append(ChilledWaterCircuit(situation))
    return tuple(found)


def temperature_bounds(circuit: FaultedCircuit) -> tuple[TemperatureBound, ...]:
    """Return what must not be reached in a circuit."""
    site, plant = circuit.prefault.site, circuit.plant.machine
    supply = TemperatureBound(
        name=f"supply limit of {plant.name}", limit=plant.supply_limit, store_index=-1
    )
    margin = site.contingency.throttle_margin
    chips: dict[tuple[bytes, float], TemperatureBound] = {}
    for place, hall in enumerate(circuit.halls):
        alike = circuit.chip_temperature_rises[place].tobytes(), hall.chip_temperature_limit
        high = hall.chip_temperature_limit - margin
        chips.setdefault(
            alike, TemperatureBound(name=f"throttling in {hall.name}", limit=high, hall_index=place)
        )
    if not isinstance(circuit, ChilledWaterCircuit):
        return supply, *chips.values()
    coolest = min(hall.inlet_temperature_limit for hall in circuit.prefault.halls)
    name = f"inlet limit of {circuit.prefault.air.name}"
    return supply, TemperatureBound(name=name, limit=coolest, store_index=0), *chips.values()


def affects(trip: Contingency, circuit: FaultedCircuit) -> bool:
    """Return whether a failure changes a circuit."""
    if trip.failed_part in _SUPPLY:
        return trip.is_total_supply_loss
    if trip.failed_part in _OF_WARM:
        return isinstance(circuit, FacilityWaterCircuit)
    if trip.failed_part is FailedPart.TANK:
        return isinstance(circuit, ChilledWaterCircuit)
    return bool(trip.owner == circuit.plant.machine.name)


def _first(
    circuit: FaultedCircuit,
    afters: Sequence[PostFaultCircuit],
    bounds: Sequence[TemperatureBound],
    *,
    growth: float,
) -> tuple[FloatArray, np.ndarray]:
    """Return when the first bound is reached [min], and its name, on (trip, time)."""
    march = TransientSolver(circuit, afters)
    shape = len(afters), len(circuit.prefault)
    reached, which = np.full(shape, np.inf), np.full(shape, len(bounds))
    places = np.arange(reached.size).reshape(shape)
    last: TransientState | None = None
    edges = step_edges(RIDE_THROUGH_HORIZON_H * SECONDS_PER_HOUR, march.change_times, growth=growth)
    for count, moment in enumerate(march.solve(edges)):
        before = last or moment
        seconds, bound = _crossing(last, moment, bounds)
        is_new = np.isfinite(seconds) & np.isinf(reached.ravel()[places])
        reached.ravel()[places[is_new]] = seconds[is_new]
        which.ravel()[places[is_new]] = bound[is_new]
        last = moment
        if moment.seconds > max(march.change_times) and count % _THINNED == 0:
            going = np.isinf(reached.ravel()[places]) & _may_reach(before, moment, bounds)
            if not going.any():
                break
            march.restrict(going)
            places, last = places[going], march.moment
    names = np.array([*(bound.name for bound in bounds), NO_LIMIT_REACHED], dtype=object)
    return reached / SECONDS_PER_MINUTE, names[which]


def _crossing(
    last: TransientState | None, now: TransientState, bounds: Sequence[TemperatureBound]
) -> tuple[FloatArray, np.ndarray]:
    """Return when a bound was first reached in the last step [s], infinite if none, and which."""
    times = []
    for bound in bounds:
        value = bound.value(now)
        if last is None:
            times.append(np.where(value >= bound.limit, 0.0, np.inf))
            continue
        before = bound.value(last)
        rise = np.where(value > before, value - before, 1.0)
        share = clip((bound.limit - before) / rise, 0.0, 1.0)
        moment = last.seconds + share * (now.seconds - last.seconds)
        times.append(np.where(value >= bound.limit, moment, np.inf))
    stacked = np.stack(times)
    return stacked.min(axis=0), stacked.argmin(axis=0)


def _may_reach(
    last: TransientState, now: TransientState, bounds: Sequence[TemperatureBound]
) -> BoolArray:
    """Return where a bound might still be reached: at the present pace, or without some tank."""
    ahead = RIDE_THROUGH_HORIZON_H * SECONDS_PER_HOUR - now.seconds
    pace = ahead / max(now.seconds - last.seconds, 1.0)
    may = (now.discharge * ahead / SECONDS_PER_HOUR > now.level).any(axis=0)
    for bound in bounds:
        value = bound.value(now)
        may = may | (value + pace * (value - bound.value(last)) >= bound.limit)
    return np.asarray(may)


def supply_ride_through(situation: PrefaultState, trip: Contingency) -> tuple[FloatArray, str]:
    """Return how long the units left bear their load [min], and what is reached then.

    Parameters
    ----------
    situation
        The site at work.
    trip
        The loss of a block of the UPS, or of a transformer with its feeder.

    Returns
    -------
    tuple of numpy.ndarray and str
        On ``time``; where no unit is left, a UPS gives no time, and a transformer that of the UPS.
    """
    machine = situation.site.equipment[trip.owner]
    left = 1.0 - 1.0 / trip.equivalent_units
    name = f"overload of {trip.owner}"
    if isinstance(machine, UpsBank):
        if not left:
            return np.zeros(len(situation)), name
        return ups_overload_time(situation.values("ups_loading", machine.name) / left), name
    if not isinstance(machine, TransformerBank) or not left:
        autonomy = situation.site.contingency.ups_autonomy / SECONDS_PER_MINUTE
        return np.full(len(situation), autonomy), "autonomy of the UPS"
    before = situation.values("transformer_loading", machine.name)
    minutes = transformer_overload_time(
        before / left,
        before,
        air_temperature=situation.weather.air_temperature,
        loss_ratio=machine.load_loss / max(machine.no_load_loss, _LEAST_LOSS),
    )
    return minutes, name


_LEAST_LOSS = 1e-6  # MW

MS_PER_SECOND: Final = 1000.0
"""Milliseconds in a second."""

type CircuitTrajectories = Sequence[tuple[FaultedCircuit, Sequence[TransientState]]]
"""Each circuit, and its moments once a minute."""

type MachineColumns = dict[str, FloatArray]
"""Owner -> values on ``instant``."""

_DIMS: Final = {
    "chip_temperature": "hall",
    "technology_supply_temperature": "cdu",
    "facility_supply_temperature": "circuit",
    "cooling_plant_output": "circuit",
    "rack_inlet_temperature": "hall_air",
    "tank_level": "tank",
    "tank_discharge": "tank",
}


def contingency_trajectory(
    site: Site,
    state: xr.Dataset,
    operation: xr.Dataset,
    *,
    contingency: Contingency | None,
    minutes: int,
    interval: int = 0,
    result: xr.Dataset | None = None,
) -> xr.Dataset:
    """Return what the temperatures of a site do after a failure.

    Parameters
    ----------
    site
        The site.
    state
        Its state at the first edge.
    operation
        As :func:`twin.simulate` wants it.
    contingency
        The failure; None shows the site without any.
    minutes
        How long it is followed. [min]
    interval
        Place of the interval at whose start it fails; its load and weather last. [1]
    result
        What the twin did with state and operation, if that is known.

    Returns
    -------
    xarray.Dataset
        On ``instant``, once a minute: ``chip_temperature(hall)`` and
        ``technology_supply_temperature(cdu)`` of the racks that the failure touches,
        ``facility_supply_temperature`` and ``cooling_plant_output(circuit)``,
        ``rack_inlet_temperature(hall_air)``, ``tank_level(tank)``, and ``tank_discharge(tank)``,
        which tanks share as they can give. Attributes ``contingency``, ``time_to_limit`` [min] and
        ``limit``.
    """
    whole = prefault_state(site, state, operation, result=result).result
    span = {"time": [interval], "instant": [interval, interval + 1]}
    first, result = operation.isel(span), whole.isel(span)
    situation = prefault_state(site, state, first, result=result)
    path = _path(
        situation, contingency, SECONDS_PER_MINUTE * np.arange(minutes + 1, dtype=np.float64)
    )
    if contingency is not None:
        found = time_to_limit(site, state, first, contingencies=[contingency], result=result)
        path.attrs = {
            "trip": contingency.name,
            "time_to_limit": float(found["time_to_limit"][0, 0]),
            "limit": str(found["limit"][0, 0].to_numpy()),
        }
    return path


def _path(situation: PrefaultState, trip: Contingency | None, edges: FloatArray) -> xr.Dataset:
    """Return the way of both circuits, at some seconds after the failure."""
    courses: list[tuple[FaultedCircuit, list[TransientState]]] = []
    for circuit in faulted_circuits(situation):
        own = trip if trip is not None and affects(trip, circuit) else None
        march = TransientSolver(circuit, [circuit.post_fault(own)])
        fine = step_edges(float(edges[-1]), [*march.change_times, *edges.tolist()])
        seen = [
            moment for moment in march.solve(fine) if moment.seconds % SECONDS_PER_MINUTE == 0.0
        ]
        courses.append((circuit, seen))
    begun = situation.result["instant"].to_numpy()[0]
    instants = begun + (edges * MS_PER_SECOND).astype("timedelta64[ms]")
    path = xr.Dataset(coords={"instant": instants.astype("datetime64[us]")})
    columns = {**_of_plants(courses), "chip_temperature": _chips(courses)}
    for circuit, seen in courses:
        columns |= (
            _of_warm(circuit, seen)
            if isinstance(circuit, FacilityWaterCircuit)
            else _of_air(circuit, seen)
        )
    for name, owners in columns.items():
        rows = np.stack(list(owners.values()), axis=-1)
        coords = {_DIMS[name]: list(owners)}
        path[name] = xr.DataArray(rows, dims=("instant", _DIMS[name]), coords=coords)
    return variables.tag_dataset(path)


def temperature_limits(site: Site) -> dict[tuple[str, str], float]:
    """Return what the temperatures of a path must not reach, by name and owner. [degC]"""
    margin = site.contingency.throttle_margin
    found = {}
    for hall in site.machines_of(ITHall):
        found["chip_temperature", hall.name] = hall.chip_temperature_limit - margin
    for plant in site.machines_of(CoolingPlant):
        found["facility_supply_temperature", plant.name] = plant.supply_limit
    coolest = min(hall.inlet_temperature_limit for hall in site.machines_of(ITHall))
    for air in site.machines_of(CrahBank):
        found["rack_inlet_temperature", air.name] = coolest
    return found


def _column(rows: Sequence[FloatArray]) -> FloatArray:
    """Return the only interval of the only failure, on ``instant``."""
    return np.array([float(row[0, 0]) for row in rows])


def _chips(courses: CircuitTrajectories) -> MachineColumns:
    """Return the hottest chips of each hall."""
    found = {
        hall.name: _column([moment.chips[place] for moment in seen])
        for circuit, seen in courses
        for place, hall in enumerate(circuit.halls)
    }
    return {hall.name: found[hall.name] for hall in courses[0][0].prefault.halls}


def _of_warm(circuit: FaultedCircuit, seen: Sequence[TransientState]) -> dict[str, MachineColumns]:
    coolant = _column([moment.chain.temperature[1] for moment in seen])
    return {"technology_supply_temperature": {circuit.prefault.cdu.name: coolant}}


def _of_air(circuit: FaultedCircuit, seen: Sequence[TransientState]) -> dict[str, MachineColumns]:
    """Return the air, and the tanks."""
    situation = circuit.prefault
    air = _column([moment.chain.temperature[0] for moment in seen])
    found = {"rack_inlet_temperature": {situation.air.name: air}}
    for place, store in enumerate(situation.tanks):
        level = _column([moment.level[place] for moment in seen])
        kept = store.min_level + level / store.discharge_efficiency
        found.setdefault("tank_level", {})[store.owner] = kept
        given = _column([moment.discharge[place] for moment in seen])
        found.setdefault("tank_discharge", {})[store.owner] = given
    return found


def _of_plants(courses: CircuitTrajectories) -> dict[str, MachineColumns]:
    """Return water and output of each plant."""
    water, output = {}, {}
    for circuit, seen in courses:
        name = circuit.plant.machine.name
        water[name] = _column([moment.chain.temperature[-1] for moment in seen])
        output[name] = _column([moment.chain.output for moment in seen])
    return {"facility_supply_temperature": water, "cooling_plant_output": output}
