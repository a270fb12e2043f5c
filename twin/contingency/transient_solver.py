"""March several failures of one circuit through time, over all intervals at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from twin.contingency.capacity import line_segments, segment_index
from twin.contingency.post_fault_circuits import (
    SECONDS_PER_HOUR,
    FaultedCircuit,
    PostFaultCircuit,
    PostFaultPhase,
)
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray, take_per_column
from twin.physics.thermal_transients import ChainState, ThermalChain, step_chain

MIN_STEP_S: Final = 1.0
"""Shortest step. [s]"""

STEP_GROWTH: Final = 25.0
"""A step is at most the time gone by over this. [1]"""

MAX_STEP_GROWTH_S: Final = 7500.0
"""Longest step, times the growth. [s]"""

_LEAST_POWER: Final = 1e-12  # MW of all tanks, so that shares stay finite


@dataclass(frozen=True, kw_only=True)
class TransientState:
    """Where a march is; arrays have the axes (trip, time) until it is thinned, then one.

    Attributes
    ----------
    seconds
        Time since the failures. [s]
    chain
        Temperatures of the stores, and what the plant takes.
    chips
        Hottest chip of each hall; none in the chilled circuit. [degC]
    discharge, level
        What each tank gave over the last step [MW], and what it keeps above its floor [MWh]; tanks
        are on an axis before the others.
    """

    seconds: float
    chain: ChainState
    chips: tuple[FloatArray, ...]
    discharge: FloatArray
    level: FloatArray


def step_edges(
    horizon: float, moments: Sequence[float], *, growth: float = STEP_GROWTH
) -> FloatArray:
    """Return the edges of steps that grow with time and do not jump over a change.

    Parameters
    ----------
    horizon
        The last edge. [s]
    moments
        Changes. [s]
    growth
        A step is at most the time gone by over this. [1]
    """
    edges, last, most = [], 0.0, MAX_STEP_GROWTH_S / growth
    while last < horizon:
        edges.append(last)
        last += min(max(last / growth, MIN_STEP_S), most)
    inner = [moment for moment in moments if 0.0 < moment < horizon]
    return np.unique(np.array([*edges, *inner, horizon]))


class TransientSolver:
    """Failures of one circuit on their way.

    Parameters
    ----------
    circuit
        The circuit.
    aftermaths
        What each failure does to it.
    """

    def __init__(self, circuit: FaultedCircuit, aftermaths: Sequence[PostFaultCircuit]) -> None:
        plan, machine = circuit.prefault.site.contingency, circuit.plant.machine
        self._afters = aftermaths
        self._lag = np.asarray(plan.valve_time_constant(machine.loop))
        self._plate_lag = plan.plate_lag / SECONDS_PER_HOUR
        shape = len(aftermaths), len(circuit.prefault)
        self._target = np.broadcast_to(circuit.plant.target, shape)
        self._rises = tuple(np.broadcast_to(rise, shape) for rise in circuit.chip_temperature_rises)
        none = np.zeros((0, shape[1]))
        tanks = [after.tank or (none, none, none) for after in aftermaths]
        self._power, self._discharge, kept = (
            np.stack(row, axis=1) for row in zip(*tanks, strict=True)
        )
        self._wanted = self._discharge.sum(axis=0)
        self._tank_start = plan.tank_start
        self._stack(np.broadcast_to(circuit.plant.output, shape), kept)

    def _stack(self, output: FloatArray, kept: FloatArray) -> None:
        """Lay the aftermaths beside each other, each in its first phase."""
        afters = self._afters
        depth = range(len(afters[0].capacity))
        self._capacity = tuple(np.stack([a.capacity[i] for a in afters]) for i in depth)
        self._heat = tuple(np.stack([a.heat[i] for a in afters]) for i in depth)
        begun = tuple(np.stack([a.temperature[i] for a in afters]) for i in depth)
        self._conductance = tuple(
            np.stack([a.phases[0].conductance[i] for a in afters]) for i in depth[:-1]
        )
        ceilings = [a.phases[0].capacity for a in afters]
        self._flat = np.stack([most.chiller for most in ceilings])
        self._most = np.stack([most.heat_at_set_point for most in ceilings])
        self._nodes = np.stack([most.temperature for most in ceilings], axis=1)
        lines = [line_segments(most.temperature, most.heat) for most in ceilings]
        self._intercept, self._slope = (np.stack(part, axis=1) for part in zip(*lines, strict=True))
        self._resistance = np.stack([a.phases[0].resistance for a in afters])
        coolant = begun[-2]
        self.moment = TransientState(
            seconds=0.0,
            chain=ChainState(
                temperature=begun,
                output=output,
                mean_output=output,
            ),
            chips=tuple(coolant + rise for rise in self._rises),
            discharge=self._discharge,
            level=kept,
        )

    @property
    def change_times(self) -> tuple[float, ...]:
        """All moments at which something changes. [s]"""
        found = {phase.start for after in self._afters for phase in after.phases}
        return tuple(sorted(found | {self._tank_start}))

    def solve(self, edges: FloatArray) -> Iterator[TransientState]:
        """Yield where the march is at each edge, the first one included.

        Parameters
        ----------
        edges
            Edges of the steps; all of :attr:`moments` before the last are among them. [s]
        """
        yield self.moment
        changes = set(self.change_times)
        for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            if start in changes:
                self._change(start)
            self._step((end - start) / SECONDS_PER_HOUR, end)
            yield self.moment

    def restrict(self, active: BoolArray) -> None:
        """Go on with some of the failures and intervals only; nothing may change any more."""

        def take(array: FloatArray) -> FloatArray:
            return np.asarray(np.broadcast_to(array, active.shape)[active])

        now, course = self.moment, self.moment.chain
        for name in ("_flat", "_resistance", "_wanted", "_target"):
            setattr(self, name, take(getattr(self, name)))
        for name in ("_nodes", "_intercept", "_slope", "_power", "_discharge"):
            setattr(self, name, getattr(self, name)[:, active])
        for name in ("_capacity", "_heat", "_conductance", "_rises"):
            setattr(self, name, tuple(take(array) for array in getattr(self, name)))
        self.moment = TransientState(
            seconds=now.seconds,
            chain=ChainState(
                temperature=tuple(take(t) for t in course.temperature),
                output=take(course.output),
                mean_output=take(course.mean_output),
            ),
            chips=tuple(take(chip) for chip in now.chips),
            discharge=now.discharge[:, active],
            level=now.level[:, active],
        )

    def _change(self, seconds: float) -> None:
        """Enter the phases that begin now, and let tanks give what plants lack."""
        for row, after in enumerate(self._afters):
            for phase in after.phases:
                if phase.start == seconds:
                    self._enter(row, phase)
        if seconds >= self._tank_start:
            lacking = np.maximum(sum(self._heat) - self._most, 0.0)
            is_calm = np.array([after.contingency is None for after in self._afters])[:, None]
            self._wanted = np.where(is_calm, self._wanted, lacking)
            self._discharge = np.where(is_calm, self._discharge, self._power)

    def _enter(self, row: int, phase: PostFaultPhase) -> None:
        for stacked, conductance in zip(self._conductance, phase.conductance, strict=True):
            stacked[row] = conductance
        most = phase.capacity
        self._flat[row], self._most[row] = most.chiller, most.heat_at_set_point
        self._nodes[:, row] = most.temperature
        self._intercept[:, row], self._slope[:, row] = line_segments(most.temperature, most.heat)
        self._resistance[row] = phase.resistance

    def _step(self, hours: float, end: float) -> None:
        """Go one step; a tank that would run empty gives what it has over the step.

        Tanks share what is wanted as each can give.
        """
        now = self.moment
        most = np.minimum(self._discharge, now.level / hours)
        together = most.sum(axis=0)
        given = most * (np.minimum(self._wanted, together) / np.maximum(together, _LEAST_POWER))
        place = segment_index(now.chain.temperature[-1], self._nodes)
        rise, intercept = (
            take_per_column(self._slope, place),
            take_per_column(self._intercept, place),
        )
        chain = ThermalChain(
            capacity=self._capacity,
            conductance=self._conductance,
            heat=(*self._heat[:-1], self._heat[-1] - given.sum(axis=0)),
            target=self._target,
            chiller_capacity=self._flat,
            dry_base=intercept + rise * self._target,
            capacity_slope=rise,
            valve_time_constant=self._lag,
        )
        course = step_chain(chain, now.chain, hours)
        pace = hours / (self._plate_lag * self._resistance)
        coolant = course.temperature[-2]
        self.moment = TransientState(
            seconds=end,
            chain=course,
            chips=tuple(
                (chip + pace * (coolant + rise * self._resistance)) / (1.0 + pace)
                for chip, rise in zip(now.chips, self._rises, strict=True)
            ),
            discharge=given,
            level=now.level - hours * given,
        )
