"""Time to limit: minutes from a failure to the first limit, and the trajectory until then.

It also covers overloads of the electrical supply after the failure of one unit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from twin import variables
from twin.contingency.contingencies import Contingency, FailedPart, single_contingencies
from twin.contingency.post_fault_circuits import (
    ChilledWaterCircuit,
    FacilityWaterCircuit,
    FaultedCircuit,
    PostFaultCircuit,
)
from twin.contingency.prefault_state import PrefaultState
from twin.contingency.transient_solver import (
    STEP_GROWTH,
    TransientSolver,
    TransientState,
    step_edges,
)
from twin.equipment import CduBank, CoolingPlant, CrahBank, ITHall, TransformerBank, UpsBank
from twin.errors import IssueCode, StateError
from twin.physics import FloatArray
from twin.physics.electrical_equipment import transformer_overload_time, ups_overload_time
from twin.physics.numerics import BoolArray, clip
from twin.simulation.setpoints import collect_set_points, read_set_points
from twin.simulation.simulate import simulate
from twin.site import Site
from twin.units import SECONDS_PER_HOUR
from twin.weather import Weather

RIDE_THROUGH_HORIZON_H: Final = 12.0
"""Time after which a limit counts as never reached. [h]"""

SECONDS_PER_MINUTE: Final = 60.0

NO_LIMIT_REACHED: Final = ""
"""Name of the limit where none is reached."""

_RESTRICT_STEPS: Final = 8  # steps between two checks for finished failures

_SUPPLY_PARTS: Final = {FailedPart.BLOCK, FailedPart.TRANSFORMER}
_WARM_CIRCUIT_PARTS: Final = {FailedPart.CDU, FailedPart.CDU_PUMP, FailedPart.HEAT_PUMP}


@dataclass(frozen=True, kw_only=True)
class TemperatureBound:
    """A temperature limit after a failure.

    - ``name``: Name of the limit.
    - ``limit``: The temperature. [degC]
    - ``store_index``, ``hall_index``: Index of the limited store in the chain, or of the hall.
    """

    name: str
    limit: float
    store_index: int | None = None
    hall_index: int | None = None

    def limited_temperature(self, moment: TransientState) -> FloatArray:
        """Return the limited temperature. [degC]"""
        if self.hall_index is not None:
            return moment.chips[self.hall_index]
        return moment.chain.store_temperatures[self.store_index or 0]


def time_to_limit(
    site: Site,
    state: xr.Dataset,
    operation: xr.Dataset,
    *,
    contingencies: Sequence[Contingency] | None = None,
    result: xr.Dataset | None = None,
    growth: float = STEP_GROWTH,
) -> xr.Dataset:
    """Return how long a site rides through each failure, at any time of an operation.

    - ``operation``: As for :func:`twin.simulate`. Failures happen at the starts of its intervals;
      load and weather stay as in that interval.
    - ``contingencies``: The failures; by default
      :func:`twin.contingency.contingencies.single_contingencies`.
    - ``result``: Simulation of state and operation, if available.
    - ``growth``: A step is at most the elapsed time over this: less is faster and less exact. [1]

    Returns: ``time_to_limit(trip, time)`` [min], infinite where nothing is reached in 12 h, and
    ``limit(trip, time)``, the limit reached first: throttling of a hall's chips, a temperature
    limit of water or air, or an overload; "" for none.

    Raises ``StateError`` if state or operation do not fit the site.
    """
    every = single_contingencies(site) if contingencies is None else tuple(contingencies)
    prefault = prefault_state(site, state, operation, result=result)
    minutes, names = time_to_limit_arrays(prefault, every, counts_throttling=True, growth=growth)
    return _labelled(every, operation["time"].to_numpy(), minutes=minutes, names=names)


def time_to_limit_arrays(
    prefault: PrefaultState,
    contingencies: Sequence[Contingency],
    *,
    counts_throttling: bool,
    growth: float,
) -> tuple[FloatArray, np.ndarray]:
    """Return :func:`time_to_limit` as arrays on (trip, time): minutes, and names of the limits."""
    minutes = np.full((len(contingencies), len(prefault)), np.inf)
    names = np.full(minutes.shape, NO_LIMIT_REACHED, dtype=object)
    for circuit in faulted_circuits(prefault):
        rows = [row for row, trip in enumerate(contingencies) if affects(trip, circuit)]
        if rows:
            circuits = [circuit.after_contingency(contingencies[row]) for row in rows]
            bounds = [
                b for b in temperature_bounds(circuit) if counts_throttling or b.hall_index is None
            ]
            _keep_sooner(
                minutes, names, rows, *_first_limit(circuit, circuits, bounds, growth=growth)
            )
    for row, trip in enumerate(contingencies):
        if trip.failed_part in _SUPPLY_PARTS:
            time, name = supply_ride_through(prefault, trip)
            _keep_sooner(
                minutes, names, [row], time[None], np.full((1, len(prefault)), name, object)
            )
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


def _keep_sooner(
    minutes: FloatArray,
    names: np.ndarray,
    rows: list[int],
    times: FloatArray,
    limits: np.ndarray,
) -> None:
    """Replace times and limits that are reached sooner."""
    is_sooner = times < minutes[rows]
    minutes[rows] = np.where(is_sooner, times, minutes[rows])
    names[rows] = np.where(is_sooner, limits, names[rows])


def prefault_state(
    site: Site, state: xr.Dataset, operation: xr.Dataset, *, result: xr.Dataset | None = None
) -> PrefaultState:
    """Return the simulated site before a failure; see :func:`time_to_limit`."""
    if result is None:
        result = simulate(site, state, operation)
    if result.sizes["time"] != operation.sizes["time"]:
        raise StateError.single(
            site.name,
            IssueCode.WRONG_AXES,
            "result",
            found=f"{result.sizes['time']} intervals",
            expected=f"{operation.sizes['time']} intervals",
            remedy="pass the result of this operation",
        )
    points = collect_set_points(site, read_set_points(site, operation))
    return PrefaultState(
        site=site, weather=Weather.from_dataset(operation), result=result, set_points=points
    )


def faulted_circuits(prefault: PrefaultState) -> tuple[FaultedCircuit, ...]:
    """Return the circuits of a site: the warm one with CDUs, the chilled one with air handlers."""
    found: list[FaultedCircuit] = []
    if "warm" in prefault.plants and prefault.site.machines_of(CduBank):
        found.append(FacilityWaterCircuit(prefault))
    if "chilled" in prefault.plants and prefault.site.machines_of(CrahBank):
        found.append(ChilledWaterCircuit(prefault))
    return tuple(found)


def temperature_bounds(circuit: FaultedCircuit) -> tuple[TemperatureBound, ...]:
    """Return the temperature limits of a circuit."""
    site, plant = circuit.prefault.site, circuit.plant.machine
    supply = TemperatureBound(
        name=f"supply limit of {plant.name}", limit=plant.supply_limit, store_index=-1
    )
    margin = site.contingency.throttle_margin
    chips: dict[tuple[bytes, float], TemperatureBound] = {}
    for place, hall in enumerate(circuit.halls):
        key = circuit.chip_temperature_rises[place].tobytes(), hall.chip_temperature_limit
        high = hall.chip_temperature_limit - margin
        chips.setdefault(
            key, TemperatureBound(name=f"throttling in {hall.name}", limit=high, hall_index=place)
        )
    if not isinstance(circuit, ChilledWaterCircuit):
        return supply, *chips.values()
    coolest = min(hall.inlet_temperature_limit for hall in circuit.prefault.halls)
    name = f"inlet limit of {circuit.prefault.air_handlers.name}"
    return supply, TemperatureBound(name=name, limit=coolest, store_index=0), *chips.values()


def affects(trip: Contingency, circuit: FaultedCircuit) -> bool:
    """Return whether a failure changes a circuit."""
    if trip.failed_part in _SUPPLY_PARTS:
        return trip.is_total_supply_loss
    if trip.failed_part in _WARM_CIRCUIT_PARTS:
        return isinstance(circuit, FacilityWaterCircuit)
    if trip.failed_part is FailedPart.TANK:
        return isinstance(circuit, ChilledWaterCircuit)
    return bool(trip.failed_machine == circuit.plant.machine.name)


def _first_limit(
    circuit: FaultedCircuit,
    circuits: Sequence[PostFaultCircuit],
    bounds: Sequence[TemperatureBound],
    *,
    growth: float,
) -> tuple[FloatArray, np.ndarray]:
    """Return when the first limit is reached [min], and its name, on (trip, time)."""
    solver = TransientSolver(circuit, circuits)
    shape = len(circuits), len(circuit.prefault)
    reached, which = np.full(shape, np.inf), np.full(shape, len(bounds))
    places = np.arange(reached.size).reshape(shape)
    last: TransientState | None = None
    edges = step_edges(
        RIDE_THROUGH_HORIZON_H * SECONDS_PER_HOUR, solver.change_times, growth=growth
    )
    for count, moment in enumerate(solver.solve(edges)):
        before = last or moment
        seconds, bound = _crossing(last, moment, bounds)
        is_new = np.isfinite(seconds) & np.isinf(reached.ravel()[places])
        reached.ravel()[places[is_new]] = seconds[is_new]
        which.ravel()[places[is_new]] = bound[is_new]
        last = moment
        if moment.seconds > max(solver.change_times) and count % _RESTRICT_STEPS == 0:
            going = np.isinf(reached.ravel()[places]) & _may_reach(before, moment, bounds)
            if not going.any():
                break
            solver.restrict(going)
            places, last = places[going], solver.moment
    names = np.array([*(bound.name for bound in bounds), NO_LIMIT_REACHED], dtype=object)
    return reached / SECONDS_PER_MINUTE, names[which]


def _crossing(
    last: TransientState | None, now: TransientState, bounds: Sequence[TemperatureBound]
) -> tuple[FloatArray, np.ndarray]:
    """Return when a limit was first reached in the last step [s], infinite if not, and which."""
    times = []
    for bound in bounds:
        value = bound.limited_temperature(now)
        if last is None:
            times.append(np.where(value >= bound.limit, 0.0, np.inf))
            continue
        before = bound.limited_temperature(last)
        rise = np.where(value > before, value - before, 1.0)
        share = clip((bound.limit - before) / rise, 0.0, 1.0)
        moment = last.seconds + share * (now.seconds - last.seconds)
        times.append(np.where(value >= bound.limit, moment, np.inf))
    stacked = np.stack(times)
    return stacked.min(axis=0), stacked.argmin(axis=0)


def _may_reach(
    last: TransientState, now: TransientState, bounds: Sequence[TemperatureBound]
) -> BoolArray:
    """Return where a limit may still be reached: at the present rate, or with an empty tank."""
    ahead = RIDE_THROUGH_HORIZON_H * SECONDS_PER_HOUR - now.seconds
    steps_ahead = ahead / max(now.seconds - last.seconds, 1.0)
    can_reach = (now.tank_output * ahead / SECONDS_PER_HOUR > now.tank_energy).any(axis=0)
    for bound in bounds:
        value = bound.limited_temperature(now)
        can_reach = can_reach | (
            value + steps_ahead * (value - bound.limited_temperature(last)) >= bound.limit
        )
    return np.asarray(can_reach)


def supply_ride_through(prefault: PrefaultState, trip: Contingency) -> tuple[FloatArray, str]:
    """Return how long the remaining units carry their load, on ``time`` [min], and the limit.

    A site without remaining units has no time after a UPS failure, and the autonomy of the UPS
    after a transformer failure.

    - ``trip``: Failure of a UPS block, or of a transformer with its feeder.
    """
    machine = prefault.site.equipment[trip.failed_machine]
    remaining_share = 1.0 - 1.0 / trip.equivalent_units
    name = f"overload of {trip.failed_machine}"
    if isinstance(machine, UpsBank):
        if not remaining_share:
            return np.zeros(len(prefault)), name
        return ups_overload_time(
            prefault.values("ups_loading", machine.name) / remaining_share
        ), name
    if not isinstance(machine, TransformerBank) or not remaining_share:
        autonomy = prefault.site.contingency.ups_autonomy / SECONDS_PER_MINUTE
        return np.full(len(prefault), autonomy), "autonomy of the UPS"
    before = prefault.values("transformer_loading", machine.name)
    minutes = transformer_overload_time(
        before / remaining_share,
        before,
        air_temperature=prefault.weather.air_temperature,
        loss_ratio=machine.load_loss / max(machine.no_load_loss, _MIN_NO_LOAD_LOSS_MW),
    )
    return minutes, name


_MIN_NO_LOAD_LOSS_MW = 1e-6

MS_PER_SECOND: Final = 1000.0

type CircuitTrajectories = Sequence[tuple[FaultedCircuit, Sequence[TransientState]]]
"""Each circuit, and its states once a minute."""

type MachineColumns = dict[str, FloatArray]
"""Machine -> values on ``instant``."""

_TRAJECTORY_DIMENSIONS: Final = {
    "full_load_chip_temperature": "hall",
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
    """Return the temperatures of a site over time after a failure.

    - ``operation``: As for :func:`twin.simulate`.
    - ``contingency``: The failure; None for the site without any.
    - ``minutes``: Length of the trajectory. [min]
    - ``interval``: Index of the interval at whose start the failure happens; its load and weather
      stay. [1]
    - ``result``: Simulation of state and operation, if available.

    Returns: On ``instant``, once a minute: ``full_load_chip_temperature(hall)`` and
    ``technology_supply_temperature(cdu)`` of the affected racks, ``facility_supply_temperature``
    and ``cooling_plant_output(circuit)``, ``rack_inlet_temperature(hall_air)``,
    ``tank_level(tank)`` and ``tank_discharge(tank)``. Attributes ``trip``, ``time_to_limit`` [min]
    and ``limit``.
    """
    whole = prefault_state(site, state, operation, result=result).result
    span = {"time": [interval], "instant": [interval, interval + 1]}
    first, result = operation.isel(span), whole.isel(span)
    prefault = prefault_state(site, state, first, result=result)
    trajectory = _trajectory(
        prefault, contingency, SECONDS_PER_MINUTE * np.arange(minutes + 1, dtype=np.float64)
    )
    if contingency is not None:
        found = time_to_limit(site, state, first, contingencies=[contingency], result=result)
        trajectory.attrs = {
            "trip": contingency.name,
            "time_to_limit": float(found["time_to_limit"][0, 0]),
            "limit": str(found["limit"][0, 0].to_numpy()),
        }
    return trajectory


def _trajectory(prefault: PrefaultState, trip: Contingency | None, edges: FloatArray) -> xr.Dataset:
    """Return the trajectories of both circuits, at some seconds after the failure."""
    trajectories: list[tuple[FaultedCircuit, list[TransientState]]] = []
    for circuit in faulted_circuits(prefault):
        own = trip if trip is not None and affects(trip, circuit) else None
        solver = TransientSolver(circuit, [circuit.after_contingency(own)])
        fine = step_edges(float(edges[-1]), [*solver.change_times, *edges.tolist()])
        states = [
            moment for moment in solver.solve(fine) if moment.seconds % SECONDS_PER_MINUTE == 0.0
        ]
        trajectories.append((circuit, states))
    begun = prefault.result["instant"].to_numpy()[0]
    instants = begun + (edges * MS_PER_SECOND).astype("timedelta64[ms]")
    trajectory = xr.Dataset(coords={"instant": instants.astype("datetime64[us]")})
    columns = {
        **_plant_columns(trajectories),
        "full_load_chip_temperature": _chip_columns(trajectories),
    }
    for circuit, states in trajectories:
        columns |= (
            _coolant_columns(circuit, states)
            if isinstance(circuit, FacilityWaterCircuit)
            else _air_columns(circuit, states)
        )
    for name, owners in columns.items():
        rows = np.stack(list(owners.values()), axis=-1)
        coords = {_TRAJECTORY_DIMENSIONS[name]: list(owners)}
        trajectory[name] = xr.DataArray(
            rows, dims=("instant", _TRAJECTORY_DIMENSIONS[name]), coords=coords
        )
    return variables.tag_dataset(trajectory)


def temperature_limits(site: Site) -> dict[tuple[str, str], float]:
    """Return the limits of a trajectory's temperatures, by variable and machine. [degC]"""
    margin = site.contingency.throttle_margin
    found = {}
    for hall in site.machines_of(ITHall):
        found["full_load_chip_temperature", hall.name] = hall.chip_temperature_limit - margin
    for plant in site.machines_of(CoolingPlant):
        found["facility_supply_temperature", plant.name] = plant.supply_limit
    coolest = min(hall.inlet_temperature_limit for hall in site.machines_of(ITHall))
    for air in site.machines_of(CrahBank):
        found["rack_inlet_temperature", air.name] = coolest
    return found


def _column(rows: Sequence[FloatArray]) -> FloatArray:
    """Return the only interval of the only failure, on ``instant``."""
    return np.array([float(row[0, 0]) for row in rows])


def _chip_columns(trajectories: CircuitTrajectories) -> MachineColumns:
    """Return the chips of each hall in racks at full load."""
    found = {
        hall.name: _column([moment.chips[place] for moment in states])
        for circuit, states in trajectories
        for place, hall in enumerate(circuit.halls)
    }
    return {hall.name: found[hall.name] for hall in trajectories[0][0].prefault.halls}


def _coolant_columns(
    circuit: FaultedCircuit, states: Sequence[TransientState]
) -> dict[str, MachineColumns]:
    coolant = _column([moment.chain.store_temperatures[1] for moment in states])
    return {"technology_supply_temperature": {circuit.prefault.cdu.name: coolant}}


def _air_columns(
    circuit: FaultedCircuit, states: Sequence[TransientState]
) -> dict[str, MachineColumns]:
    """Return air temperatures, and levels and discharge of tanks."""
    prefault = circuit.prefault
    air = _column([moment.chain.store_temperatures[0] for moment in states])
    found = {"rack_inlet_temperature": {prefault.air_handlers.name: air}}
    for place, store in enumerate(prefault.tanks):
        level = _column([moment.tank_energy[place] for moment in states])
        stored = store.min_level + level / store.discharge_efficiency
        found.setdefault("tank_level", {})[store.owner] = stored
        given = _column([moment.tank_output[place] for moment in states])
        found.setdefault("tank_discharge", {})[store.owner] = given
    return found


def _plant_columns(trajectories: CircuitTrajectories) -> dict[str, MachineColumns]:
    """Return water temperature and output of each plant."""
    water, output = {}, {}
    for circuit, states in trajectories:
        name = circuit.plant.machine.name
        water[name] = _column([moment.chain.store_temperatures[-1] for moment in states])
        output[name] = _column([moment.chain.cooling_output for moment in states])
    return {"facility_supply_temperature": water, "cooling_plant_output": output}
