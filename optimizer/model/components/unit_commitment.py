"""Unit commitment of banks of equal units: how many units run, start and stop.

=================================  ====  =========  ================================================
Name                               Unit  Axes       Meaning
=================================  ====  =========  ================================================
**Variables**
on                                 1     t          units on, integer for t in near; 0 <= on <=
                                                    count
start, stop                        1     m          units started and stopped; bounds allow both in
                                                    the first interval of an hour
excess_units, missing_units        1     t          units on beyond those required, and missing; >=
                                                    0
**Parameters**
count, initial_on                  1                units of the bank; units on before the horizon
unit_min_output, unit_max_output   MW    t          smallest and largest output of a unit
free_output                        MW    t          output by economizer, which needs no unit
required_at_min_output             1     t          units required with empty segments
required_per_output                1/MW  t, k       units required per output in a segment
spare_draw, short_draw             MW    t          additional draw with one unit more, and one less
start_cost, stop_cost              EUR   t          cost of one start and one stop
up_holds, down_holds, again_holds  1     t, w       1 where a change in the window still binds
**Constraints**
initial_units                      1     t = 0      on[0] - start[0] + stop[0] == initial_on
unit_balance                       1     t > 0      on[t] - on[t-1] == start[t] - stop[t]
max_output                         MW    t          output - unit_max_output * on <= free_output
min_output                         MW    t          unit_min_output * on <= output
required_units                     1     t          on - excess_units + missing_units ==
                                                    required_at_min_output + sum_k
                                                    required_per_output * segment
spare_limit                        1     t          excess_units <= on
min_up_time                        1     t in near  sum_w up_holds * start <= on
min_down_time                      1     t in near  sum_w down_holds * stop + on <= count
min_restart_time                   1     t in near  sum_w again_holds * start <= count
**Demand and cost**
primary input                      MW    t          spare_draw * excess_units + short_draw *
                                                    missing_units
starts                             EUR   t          start_cost * start + stop_cost * stop
=================================  ====  =========  ================================================

Axes: t interval, m interval with past ones in front, k segment, w interval of a window. ``near`` is
the integer part of the horizon; its intervals are equal, apart from a shorter first one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyomo.environ as pyo

from optimizer.curves.piecewise_linear import MIN_OUTPUT_RANGE_MW, ConvexSegments
from optimizer.model.assembler import ModelAssembler, add_intervals, add_params, add_rows, add_var
from optimizer.model.components.converter import converter_output
from optimizer.model.model_data import ModelData
from optimizer.model.rows import RowSpec
from twin.physics import FloatArray
from twin.relations import Conversion, SwitchableUnits, UnitCharacteristics
from twin.simulation.minimum_times import unit_commitment_steps
from twin.weather import Weather

MIN_TIME_ROWS: Final = {
    "up": ("min_up_time", "least time that units stay on", "start"),
    "down": ("min_down_time", "least time that units stay off", "stop"),
    "again": ("min_restart_time", "least time between starts of a unit", "start"),
}
"""Minimum time -> its row, label, and the changes that it limits."""

MIN_OUTPUT_LABEL: Final = "least load of units that run"
RUNNING_OUTPUT_LABEL: Final = "output of the units that run"

INTEGER_HORIZON_H: Final = 24.0
"""Length of the part of the horizon in which units are integer. [h]"""


@dataclass(frozen=True, kw_only=True)
class UnitCommitmentSignature:
    """Everything about a bank of units that decides its rows and columns.

    ``primary_input`` is the carrier that an excess unit draws. A minimum of one interval is no
    minimum.
    """

    primary_input: str
    integer_interval_count: int
    min_up_intervals: int
    min_down_intervals: int
    min_restart_intervals: int

    @property
    def past_interval_count(self) -> int:
        """Intervals before the horizon whose starts and stops count."""
        return max(self.min_up_intervals, self.min_down_intervals, self.min_restart_intervals) - 1


def signature(convert: Conversion, data: ModelData) -> UnitCommitmentSignature:
    """Return the signature of the units of a conversion."""
    units, hours = _units(convert), data.interval_hours

    def steps(time: float) -> int:
        return max(int(np.ceil(time / hours[0] - 1e-9)), 1)

    return UnitCommitmentSignature(
        primary_input=convert.primary_input,
        integer_interval_count=unit_commitment_steps(hours, INTEGER_HORIZON_H),
        min_up_intervals=steps(units.min_up_time),
        min_down_intervals=steps(units.min_down_time),
        min_restart_intervals=steps(units.minimum_restart_time),
    )


def parameters(convert: Conversion, data: ModelData) -> Mapping[str, FloatArray]:
    """Return the parameter values of the units: outputs, costs and units on before the horizon."""
    units, own = _units(convert), signature(convert, data)
    running = units.characteristics(Weather.from_dataset(data.problem.outlook))
    past = data.problem.past_units.get(convert.owner)
    known = _past(past, own.past_interval_count + 1)
    begun, ended, staying = _past_changes(own, known, units.count)
    instants = data.problem.outlook["time"].to_numpy()
    is_new = np.append(True, np.diff(instants.astype("datetime64[h]")) > np.timedelta64(0, "h"))
    changes = (
        units.count * (is_new | (np.arange(len(instants)) >= own.integer_interval_count)) * 1.0
    )
    changes[0] = units.count  # at any minute of the hour: the units that the load needs must be on
    cost = np.ones(len(instants))
    cost[0] = 0.0 if past is None else 1.0  # unknown past: the first change is free
    return {
        "count": np.array(float(units.count)),
        "initial_on": np.array(known[-1]),
        "free_output": running.economiser_output,
        "unit_min_output": running.min_output,
        "unit_max_output": running.max_output,
        **_required_units(data.curves[convert.owner], running),
        "spare_draw": running.extra_power_one_unit_more,
        "short_draw": running.extra_power_one_unit_less,
        "start_low": np.concatenate([begun, np.zeros_like(changes)]),
        "start_high": np.concatenate([begun, changes]),
        "stop_low": np.concatenate([ended, np.zeros_like(changes)]),
        "stop_high": np.concatenate([ended, changes]),
        "start_cost": units.start_cost * cost,
        "stop_cost": units.stop_cost * cost,
        **dict(_binding_changes(units, own, data.interval_hours, staying)),
    }


def _binding_changes(
    units: SwitchableUnits, own: UnitCommitmentSignature, hours: FloatArray, staying: FloatArray
) -> Iterator[tuple[str, FloatArray]]:
    """Yield for each minimum time which changes still bind."""
    for name, window, least in (
        ("up", own.min_up_intervals, units.min_up_time),
        ("down", own.min_down_intervals, units.min_down_time),
        ("again", own.min_restart_intervals, units.minimum_restart_time),
    ):
        if window > 1:
            holds = _is_binding(hours, own, window, least)
            if name == "up":
                of = (
                    np.arange(own.integer_interval_count)[:, None]
                    + np.arange(1 - window, 1)
                    + own.past_interval_count
                )
                holds *= np.append(staying, np.ones(own.integer_interval_count))[of]
            yield f"{name}_holds", holds


def _is_binding(
    hours: FloatArray, own: UnitCommitmentSignature, window: int, least: float
) -> FloatArray:
    """Return whether a change in an interval of a window still binds, ``(near, window)``. [1]

    The window ends with the constrained interval. Intervals before the horizon are as long as the
    first one.
    """
    begins = np.concatenate([[0.0], np.cumsum(hours)])[: own.integer_interval_count]
    begins = np.concatenate([-hours[0] * np.arange(window - 1, 0, -1), begins])
    since = np.stack(
        [begins[t + window - 1] - begins[t : t + window] for t in range(own.integer_interval_count)]
    )
    return np.where(since < least - 1e-9, 1.0, 0.0)


def _required_units(curve: ConvexSegments, running: UnitCharacteristics) -> dict[str, FloatArray]:
    """Return the units called for at the lowest output, and per output of each segment.

    Output by economizer needs no units, so a segment that begins within it calls for fewer units.
    """
    ends = np.cumsum(np.column_stack([curve.min_output, curve.segment_widths]), axis=1)
    called = (
        np.maximum(ends - running.economiser_output[:, None], 0.0) / running.optimal_output[:, None]
    )
    rate = np.diff(called, axis=1) / np.maximum(curve.segment_widths, MIN_OUTPUT_RANGE_MW)
    return {"required_at_min_output": called[:, 0], "required_per_output": rate}


def build(block: pyo.Block, signature: UnitCommitmentSignature, assembler: ModelAssembler) -> None:
    """Write the units beside the segments of their conversion."""
    time = block.model().time
    _declare(block, signature)
    block.first = first = add_intervals([0])
    if len(time) > 1:
        block.later = later = add_intervals(range(1, len(time)))
        block.unit_balance = pyo.Constraint(
            later, rule=lambda b, t: b.on[t] - b.on[t - 1] == b.start[t] - b.stop[t]
        )
    block.initial_units = pyo.Constraint(
        first, rule=lambda b, t: b.on[t] - b.start[t] + b.stop[t] == b.initial_on
    )
    block.max_output = add_rows(
        time,
        rule=lambda b, t: (
            converter_output(b, t) - b.unit_max_output[t] * b.on[t] <= b.free_output[t]
        ),
        spec=RowSpec(label=RUNNING_OUTPUT_LABEL),
    )
    block.min_output = add_rows(
        time,
        rule=lambda b, t: b.unit_min_output[t] * b.on[t] <= converter_output(b, t),
        spec=RowSpec(label=MIN_OUTPUT_LABEL),
    )
    block.required_units = pyo.Constraint(
        time,
        rule=lambda b, t: (
            b.on[t] - b.excess_units[t] + b.missing_units[t]
            == b.required_at_min_output[t]
            + sum(b.required_per_output[t, k] * b.segment[t, k] for k in b.segments)
        ),
    )
    # at negative prices, spare and short units would otherwise grow together without bound
    block.spare_limit = pyo.Constraint(time, rule=lambda b, t: b.excess_units[t] <= b.on[t])
    block.near = add_intervals(range(signature.integer_interval_count))
    _add_min_time(block, "up", signature.min_up_intervals)
    _add_min_time(block, "down", signature.min_down_intervals)
    _add_min_time(block, "again", signature.min_restart_intervals)
    assembler.add_demand(
        signature.primary_input,
        lambda t: (
            block.spare_draw[t] * block.excess_units[t]
            + block.short_draw[t] * block.missing_units[t]
        ),
    )
    assembler.add_cost(
        "starts",
        lambda t: block.start_cost[t] * block.start[t] + block.stop_cost[t] * block.stop[t],
    )


def _declare(block: pyo.Block, signature: UnitCommitmentSignature) -> None:
    """Declare parameters and units; starts and stops also of the intervals before the horizon."""
    time = block.model().time
    past = range(-signature.past_interval_count, len(time))
    block.intervals_with_past = moments = add_intervals(past)
    add_params(block, "count initial_on")
    add_params(block, "free_output unit_min_output unit_max_output required_at_min_output", time)
    add_params(block, "spare_draw short_draw start_cost stop_cost", time)
    add_params(block, "required_per_output", time, block.segments)
    add_params(block, "start_low start_high stop_low stop_high", moments)
    add_var(block, "on", time, high=block.count, integers=signature.integer_interval_count)
    add_var(block, "start", moments, low=block.start_low, high=block.start_high)
    add_var(block, "stop", moments, low=block.stop_low, high=block.stop_high)
    add_var(block, "excess_units", time)
    add_var(block, "missing_units", time)


def _add_min_time(block: pyo.Block, name: str, length: int) -> None:
    """Add a minimum time on, off or between starts, unless it is one interval."""
    if length == 1:
        return
    row, label, word = MIN_TIME_ROWS[name]
    window, changes = pyo.RangeSet(1 - length, 0), block.component(word)
    block.add_component(f"{name}_window", window)
    (holds,) = add_params(block, f"{name}_holds", block.near, window)

    def rule(b: pyo.Block, t: Any) -> Any:
        changed = sum(holds[t, k] * changes[t + k] for k in window)
        if name == "up":
            return changed <= b.on[t]
        return changed + b.on[t] <= b.count if name == "down" else changed <= b.count

    spec = RowSpec(label=label, unit="unit")
    block.add_component(row, add_rows(block.near, rule=rule, spec=spec))


def _units(convert: Conversion) -> SwitchableUnits:
    if convert.switchable_units is None:
        raise TypeError(f"{convert.owner} has no units to commit")
    return convert.switchable_units


def _past_changes(
    own: UnitCommitmentSignature, known: FloatArray, count: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the starts and stops before the horizon that may still bind, ``(past,)``.

    A violated minimum time, as after a trip, does not bind. At most the units that are off must
    stay off, all units of the bank wait for another start, and the units that are on must stay on.
    The third array is the share of the starts that must stay on: a tripped unit only waits to
    restart.
    """
    change = np.diff(known)
    begun, ended = np.maximum(change, 0.0), np.maximum(-change, 0.0)
    staying = _latest(begun, own.min_up_intervals, known[-1])
    begun = _latest(begun, own.min_restart_intervals, count)
    share = np.where(begun > 0.0, np.minimum(staying, begun) / np.maximum(begun, 1.0), 0.0)
    return begun, _latest(ended, own.min_down_intervals, count - known[-1]), share


def _latest(events: FloatArray, steps: int, most: float) -> FloatArray:
    """Return the past events that bind, if only the latest of a window may."""
    left = events.copy()
    if steps > 1:
        window = left[1 - steps :]
        window[:] = np.diff(np.minimum(np.cumsum(window[::-1]), most), prepend=0.0)[::-1]
    return left


def _past(given: FloatArray | None, length: int) -> FloatArray:
    """Return the units on in the last intervals; before the first known one, the same number."""
    known = np.zeros(1) if given is None else np.asarray(given, dtype=float)
    return np.concatenate([np.full(length, known[0]), known])[-length:]
