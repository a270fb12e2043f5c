"""Integrate several failures of one circuit through time, over all intervals at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from twin.contingency.capacity_after_failure import line_segments, segment_index
from twin.contingency.post_fault_circuits import FaultedCircuit, PostFaultCircuit, PostFaultPhase
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray, take_per_column
from twin.physics.thermal_transients import ChainState, ThermalChain, step_chain
from twin.units import SECONDS_PER_HOUR

MIN_STEP_S: Final = 1.0
"""Shortest step. [s]"""

STEP_GROWTH: Final = 25.0
"""A step is at most the elapsed time over this. [1]"""

MAX_STEP_GROWTH_S: Final = 7500.0
"""Longest step, times the growth. [s]"""

_MIN_TANK_POWER_MW: Final = 1e-12  # so that shares stay finite


@dataclass(frozen=True, kw_only=True)
class TransientState:
    """State of a solution; arrays on (trip, time), after :meth:`TransientSolver.restrict` on one
    axis.

    - ``seconds``: Time since the failures. [s]
    - ``chain``: Temperatures of the stores, and output of the plant.
    - ``chips``: Hottest chip of each hall; none in the chilled circuit. [degC]
    - ``tank_output``, ``tank_energy``: Output of each tank over the last step [MW], and its energy
      above the minimum level [MWh]; tanks are on the first axis.
    """

    seconds: float
    chain: ChainState
    chips: tuple[FloatArray, ...]
    tank_output: FloatArray
    tank_energy: FloatArray


def step_edges(
    horizon: float, moments: Sequence[float], *, growth: float = STEP_GROWTH
) -> FloatArray:
    """Return the edges of steps [s] that grow with time and include all changes.

    - ``horizon``: The last edge. [s]
    - ``moments``: Times of changes. [s]
    - ``growth``: A step is at most the elapsed time over this. [1]
    """
    edges, last, max_step = [], 0.0, MAX_STEP_GROWTH_S / growth
    while last < horizon:
        edges.append(last)
        last += min(max(last / growth, MIN_STEP_S), max_step)
    inner = [moment for moment in moments if 0.0 < moment < horizon]
    return np.unique(np.array([*edges, *inner, horizon]))


class TransientSolver:
    """Failures of one circuit over time."""

    def __init__(
        self, circuit: FaultedCircuit, post_fault_circuits: Sequence[PostFaultCircuit]
    ) -> None:
        plan, machine = circuit.prefault.site.contingency, circuit.plant.machine
        self._circuits = post_fault_circuits
        self._lag = np.asarray(plan.valve_time_constant(machine.loop))
        self._plate_lag = plan.plate_lag / SECONDS_PER_HOUR
        shape = len(post_fault_circuits), len(circuit.prefault)
        self._target = np.broadcast_to(circuit.plant.supply_set_point, shape)
        self._rises = tuple(np.broadcast_to(rise, shape) for rise in circuit.chip_temperature_rises)
        none = np.zeros((0, shape[1]))
        tanks = [one.tank or (none, none, none) for one in post_fault_circuits]
        self._power, self._discharge, energy = (
            np.stack(row, axis=1) for row in zip(*tanks, strict=True)
        )
        self._tank_demand = self._discharge.sum(axis=0)
        self._tank_start = plan.tank_start
        self._stack(np.broadcast_to(circuit.plant.cooling_output, shape), energy)

    def _stack(self, output: FloatArray, energy: FloatArray) -> None:
        """Stack the circuits, each in its first phase."""
        circuits = self._circuits
        depth = range(len(circuits[0].heat_capacity))
        self._capacity = tuple(np.stack([a.heat_capacity[i] for a in circuits]) for i in depth)
        self._heat = tuple(np.stack([a.external_heat[i] for a in circuits]) for i in depth)
        initial = tuple(np.stack([a.initial_temperature[i] for a in circuits]) for i in depth)
        self._conductance = tuple(
            np.stack([a.phases[0].conductance[i] for a in circuits]) for i in depth[:-1]
        )
        curves = [a.phases[0].plant_capacity for a in circuits]
        self._chiller_capacity = np.stack([curve.chiller_capacity for curve in curves])
        self._set_point_capacity = np.stack([curve.capacity_at_set_point for curve in curves])
        self._nodes = np.stack([curve.node_water_temperature for curve in curves], axis=1)
        lines = [
            line_segments(curve.node_water_temperature, curve.cooler_capacity) for curve in curves
        ]
        self._intercept, self._slope = (np.stack(part, axis=1) for part in zip(*lines, strict=True))
        self._resistance = np.stack([a.phases[0].cold_plate_resistance_ratio for a in circuits])
        coolant = initial[-2]
        self.moment = TransientState(
            seconds=0.0,
            chain=ChainState(
                store_temperatures=initial,
                cooling_output=output,
                mean_cooling_output=output,
            ),
            chips=tuple(coolant + rise for rise in self._rises),
            tank_output=self._discharge,
            tank_energy=energy,
        )

    @property
    def change_times(self) -> tuple[float, ...]:
        """All times at which something changes. [s]"""
        found = {phase.time_after_failure for one in self._circuits for phase in one.phases}
        return tuple(sorted(found | {self._tank_start}))

    def solve(self, edges: FloatArray) -> Iterator[TransientState]:
        """Yield the state at each edge [s], the first included.

        All :attr:`change_times` before the last edge must be edges.
        """
        yield self.moment
        changes = set(self.change_times)
        for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            if start in changes:
                self._change(start)
            self._step((end - start) / SECONDS_PER_HOUR, end)
            yield self.moment

    def restrict(self, active: BoolArray) -> None:
        """Continue with some of the failures and intervals only, after the last change."""

        def take(array: FloatArray) -> FloatArray:
            return np.asarray(np.broadcast_to(array, active.shape)[active])

        now, chain_state = self.moment, self.moment.chain
        for name in ("_chiller_capacity", "_resistance", "_tank_demand", "_target"):
            setattr(self, name, take(getattr(self, name)))
        for name in ("_nodes", "_intercept", "_slope", "_power", "_discharge"):
            setattr(self, name, getattr(self, name)[:, active])
        for name in ("_capacity", "_heat", "_conductance", "_rises"):
            setattr(self, name, tuple(take(array) for array in getattr(self, name)))
        self.moment = TransientState(
            seconds=now.seconds,
            chain=ChainState(
                store_temperatures=tuple(take(t) for t in chain_state.store_temperatures),
                cooling_output=take(chain_state.cooling_output),
                mean_cooling_output=take(chain_state.mean_cooling_output),
            ),
            chips=tuple(take(chip) for chip in now.chips),
            tank_output=now.tank_output[:, active],
            tank_energy=now.tank_energy[:, active],
        )

    def _change(self, seconds: float) -> None:
        """Start the phases that begin now, and let tanks replace missing capacity."""
        for row, one in enumerate(self._circuits):
            for phase in one.phases:
                if phase.time_after_failure == seconds:
                    self._enter(row, phase)
        if seconds >= self._tank_start:
            shortage = np.maximum(sum(self._heat) - self._set_point_capacity, 0.0)
            is_normal = np.array([one.contingency is None for one in self._circuits])[:, None]
            self._tank_demand = np.where(is_normal, self._tank_demand, shortage)
            self._discharge = np.where(is_normal, self._discharge, self._power)

    def _enter(self, row: int, phase: PostFaultPhase) -> None:
        for stacked, conductance in zip(self._conductance, phase.conductance, strict=True):
            stacked[row] = conductance
        curve = phase.plant_capacity
        self._chiller_capacity[row], self._set_point_capacity[row] = (
            curve.chiller_capacity,
            curve.capacity_at_set_point,
        )
        self._nodes[:, row] = curve.node_water_temperature
        self._intercept[:, row], self._slope[:, row] = line_segments(
            curve.node_water_temperature, curve.cooler_capacity
        )
        self._resistance[row] = phase.cold_plate_resistance_ratio

    def _step(self, hours: float, end: float) -> None:
        """Advance one step; tanks share the demand by what each can deliver over the step."""
        now = self.moment
        available = np.minimum(self._discharge, now.tank_energy / hours)
        total = available.sum(axis=0)
        given = available * (
            np.minimum(self._tank_demand, total) / np.maximum(total, _MIN_TANK_POWER_MW)
        )
        place = segment_index(now.chain.store_temperatures[-1], self._nodes)
        rise, intercept = (
            take_per_column(self._slope, place),
            take_per_column(self._intercept, place),
        )
        chain = ThermalChain(
            heat_capacity=self._capacity,
            conductance=self._conductance,
            external_heat=(*self._heat[:-1], self._heat[-1] - given.sum(axis=0)),
            plant_set_point=self._target,
            chiller_capacity=self._chiller_capacity,
            cooler_capacity_at_set_point=intercept + rise * self._target,
            capacity_slope=rise,
            valve_time_constant=self._lag,
        )
        chain_state = step_chain(chain, now.chain, hours)
        pace = hours / (self._plate_lag * self._resistance)
        coolant = chain_state.store_temperatures[-2]
        self.moment = TransientState(
            seconds=end,
            chain=chain_state,
            chips=tuple(
                (chip + pace * (coolant + rise * self._resistance)) / (1.0 + pace)
                for chip, rise in zip(now.chips, self._rises, strict=True)
            ),
            tank_output=given,
            tank_energy=now.tank_energy - hours * given,
        )
