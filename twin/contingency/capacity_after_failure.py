"""Remaining capacity of cooling plants after a failure, over water temperature."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from twin.contingency.prefault_state import PrefaultPlant
from twin.equipment import CoolingPlant
from twin.physics import FloatArray
from twin.physics.heat_exchangers import economiser_temperature_difference
from twin.weather import Weather

_HEAT_SHARES: Final = np.array([0.0, 0.02, *np.arange(0.1, 1.6, 0.1), 2.0, 3.0])
"""Heats at which the capacity of coolers is computed, over the rated cooling. [1]"""

_MIN_COOLING_FLOW_SHARE: Final = 1e-3  # of the rated flow, so that rates stay finite
_MIN_RISE_K: Final = 1e-3  # between two nodes, so that slopes stay finite
_UNREACHABLE_TEMPERATURE_C: Final = 1e6  # first node of coolers that are out

type CurveNodes = tuple[FloatArray, FloatArray]
"""Temperatures of the water [degC] and heats [MW], nodes first."""


@dataclass(frozen=True, kw_only=True)
class CapacityCurve:
    """Capacity of a plant: the greater of a constant and a polyline.

    - ``chiller_capacity``: Capacity of compressors and economiser at any temperature; 0 without
      chillers. [MW]
    - ``node_water_temperature``, ``cooler_capacity``: Nodes of the coolers alone, first axis: water
      [degC] and heat [MW]. The end segments extend beyond the nodes.
    - ``capacity_at_set_point``: Capacity at the set point. [MW]
    """

    chiller_capacity: FloatArray
    node_water_temperature: FloatArray
    cooler_capacity: FloatArray
    capacity_at_set_point: FloatArray

    @classmethod
    def from_nodes(cls, flat: FloatArray, nodes: CurveNodes, *, target: FloatArray) -> Self:
        """Return a curve, with its value at a set point."""
        temperature, heat = nodes
        intercept, slope = line_segments(temperature, heat)
        place = segment_index(target, temperature)
        alone = (intercept + slope * target)[place, np.arange(len(flat))]
        return cls(
            chiller_capacity=flat,
            node_water_temperature=temperature,
            cooler_capacity=heat,
            capacity_at_set_point=np.maximum(flat, alone),
        )


def line_segments(temperature: FloatArray, heat: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the segments of polylines: heat at 0 degC [MW], and slope [MW K-1]."""
    slope = np.diff(heat, axis=0) / np.diff(temperature, axis=0)
    return heat[:-1] - slope * temperature[:-1], slope


def segment_index(water: FloatArray, temperature: FloatArray) -> NDArray[np.int64]:
    """Return the segment of a water temperature; nodes are on the first axis."""
    found = (temperature <= water).sum(axis=0) - 1
    return np.asarray(np.minimum(np.maximum(found, 0), len(temperature) - 2))


class CapacityCurves:
    """The capacity curves of one plant in some weather, cached."""

    def __init__(self, plant: PrefaultPlant, weather: Weather) -> None:
        self._plant, self._weather = plant, weather
        self._compressors: dict[int, FloatArray] = {}
        self._alone: dict[tuple[int, bytes], CurveNodes] = {}
        self._found: dict[tuple[bytes, int, bytes | None], CapacityCurve] = {}

    def curve(
        self, *, flow: FloatArray, coolers_out: int = 0, chillers: FloatArray | float | None = None
    ) -> CapacityCurve:
        """Return the capacity of the plant with some of its machines out.

        With chillers it is the greater of the economiser alone, and the economiser's present heat
        with the compressors. Fans run at full speed. A chiller gives its share of the bank's
        capacity in this weather, or its present output if that is more. Warmer water does not
        increase it.

        - ``flow``: Facility flow over the rated one, on ``time``. [1]
        - ``coolers_out``: Dry coolers or tower cells that are out. [1]
        - ``chillers``: Chillers that may run; by default all. [1]
        """
        chiller_key = None if chillers is None else np.asarray(chillers).tobytes()
        key = flow.tobytes(), coolers_out, chiller_key
        if key not in self._found:  # failures share most of their phases
            self._found[key] = self._compute_curve(flow, coolers_out, chillers)
        return self._found[key]

    def _compute_curve(
        self, flow: FloatArray, coolers_out: int, chillers: FloatArray | float | None
    ) -> CapacityCurve:
        machine = self._plant.machine
        bank = machine.chillers
        target, none = self._plant.supply_set_point, np.zeros(len(self._weather))
        if bank is None:
            rate = (
                np.maximum(flow, _MIN_COOLING_FLOW_SHARE)
                * machine.rated_cooling
                / machine.temperature_range
            )
            nodes = self._cooler_nodes(rate, approach=None, coolers_out=coolers_out)
            return CapacityCurve.from_nodes(none, nodes, target=target)
        units = np.asarray(bank.count if chillers is None else chillers, dtype=np.float64)
        capacity = self._chiller_capacity(coolers_out)
        left = 1.0 - coolers_out / machine.rejection.count
        free = self._plant.economiser_heat * left
        running = np.maximum(self._plant.units_on, 1.0)
        unit = np.maximum(
            capacity / bank.count,
            (self._plant.cooling_output - self._plant.economiser_heat) / running,
        )
        compressed = np.minimum(
            free + units * unit, np.maximum(capacity, self._plant.cooling_output * left)
        )
        nodes = _zero_nodes(len(none))
        if machine.economiser_approach is not None:
            rate = np.full(len(none), bank.rated_rejection / bank.condenser_range)
            nodes = self._cooler_nodes(
                rate, approach=machine.economiser_approach, coolers_out=coolers_out
            )
        return CapacityCurve.from_nodes(compressed, nodes, target=target)

    def _chiller_capacity(self, coolers_out: int) -> FloatArray:
        """Return the capacity of all chillers with some coolers out. [MW]"""
        if coolers_out not in self._compressors:
            whole = self._plant.machine
            capacity = _without(whole, coolers_out).capacity(
                self._weather, whole.supply_temperature
            )
            is_any = coolers_out < whole.rejection.count
            self._compressors[coolers_out] = capacity if is_any else np.zeros_like(capacity)
        return self._compressors[coolers_out]

    def zero(self) -> CapacityCurve:
        """Return the curve of a plant without power."""
        none = np.zeros(len(self._weather))
        return CapacityCurve.from_nodes(
            none, _zero_nodes(len(none)), target=self._plant.supply_set_point
        )

    def _cooler_nodes(
        self, rate: FloatArray, *, approach: float | None, coolers_out: int
    ) -> CurveNodes:
        """Return the nodes of coolers alone, for water of some capacity rate."""
        key = coolers_out, rate.tobytes()
        if key not in self._alone:
            self._alone[key] = self._compute_nodes(rate, approach=approach, coolers_out=coolers_out)
        return self._alone[key]

    def _compute_nodes(
        self, rate: FloatArray, *, approach: float | None, coolers_out: int
    ) -> CurveNodes:
        machine = self._plant.machine
        if coolers_out >= machine.rejection.count:
            return _zero_nodes(len(rate))
        heat = np.broadcast_to(
            _HEAT_SHARES[:, None] * machine.rated_cooling, (len(_HEAT_SHARES), len(rate))
        )
        leaving = _without(machine, coolers_out).rejection.leaving_temperature(
            heat, capacity_rate=rate, weather=self._weather, speed=np.ones_like(heat)
        )
        offset = np.arange(len(_HEAT_SHARES))[:, None] * _MIN_RISE_K
        temperature = np.maximum.accumulate(leaving - offset) + offset
        if approach is not None:
            chilled = machine.rated_cooling / machine.temperature_range
            lift = economiser_temperature_difference(
                heat, approach, chilled_rate=chilled, water_rate=rate
            )
            temperature = temperature + lift
        return temperature, heat - machine.pump_power


def _zero_nodes(count: int) -> CurveNodes:
    """Return nodes of coolers that reject no heat at any temperature."""
    temperature = np.broadcast_to(
        (_UNREACHABLE_TEMPERATURE_C * (1.0 + _HEAT_SHARES))[:, None], (len(_HEAT_SHARES), count)
    )
    return temperature, np.broadcast_to(_HEAT_SHARES[:, None], temperature.shape)


def _without(plant: CoolingPlant, coolers: int) -> CoolingPlant:
    """Return a plant with fewer coolers or cells, at least one."""
    if not coolers:
        return plant
    count = max(plant.rejection.count - coolers, 1)
    rejection = plant.rejection.model_copy(update={"count": count})
    return plant.model_copy(update={"rejection": rejection})
