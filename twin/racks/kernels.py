"""Kernels that step every rack, coolant unit and chip through time.

The kernel of racks is a plain loop that numba compiles where it is installed; elsewhere the same
equations are vectorised over the racks. Powers are in MW, temperatures in degC, heat capacities in
MWh/K, capacity rates in MW/K.
"""

from collections.abc import Callable
from functools import cache
from typing import Final, NamedTuple

import numpy as np

from twin.physics.numerics import Float32Array, FloatArray, IntArray

FASTMATH_FLAGS: Final = frozenset({"arcp", "contract", "nsz", "reassoc"})
"""Permitted optimisations: another order of sums, multiplication by reciprocals.

NaN and infinity stay exact.
"""


MIN_BALANCE_HEAT_MW: Final = 1e-3
"""Heat below which a balance error is not relative to it. [MW]"""


class RackPlacement(NamedTuple):
    """Positions of racks; those of one coolant unit are neighbours.

    - ``first_rack``: First rack of each unit, and the number of racks, ``(unit + 1,)``.
    - ``hall_of_rack``: Hall of each rack, ``(rack,)``.
    """

    first_rack: IntArray
    hall_of_rack: IntArray


class HallTable(NamedTuple):
    """Behaviour of a hall's racks, tabulated over their power.

    - ``idle_power``, ``power_span``: Idle power of a rack, and what full work adds, ``(hall,)``.
      [MW]
    - ``liquid_share``: Share of the power that liquid cools, ``(hall,)``. [1]
    - ``knots_per_mw``: Knots per MW, the first at zero, ``(hall,)``. [MW-1]
    - ``chip_temperature_rise``: Hottest chip above the coolant at the knots and the declared flow,
      ``(hall, knot)``. [K]
    - ``resistance``: Of the plates over that at the declared flow, at the unit's knots, ``(hall,
      knot)``. [1]
    """

    idle_power: FloatArray
    power_span: FloatArray
    liquid_share: FloatArray
    knots_per_mw: FloatArray
    chip_temperature_rise: FloatArray
    resistance: FloatArray


class CduTable(NamedTuple):
    """Behaviour of one coolant unit, tabulated over the heat of its racks.

    - ``knots_per_mw``: Knots per MW, the first at zero. [MW-1]
    - ``pump_power``: Pump power at the knots. [MW]
    - ``capacity_rate``: Capacity rate of the coolant at the knots. [MW K-1]
    - ``heat_per_kelvin``: Transferred heat per kelvin between the two inlets, at the knots.
      [MW K-1]
    - ``rack_capacity``, ``cdu_capacity``: Heat capacity of the coolant in one rack, and in the unit
      with its headers. [MWh K-1]
    """

    knots_per_mw: float
    pump_power: FloatArray
    capacity_rate: FloatArray
    heat_per_kelvin: FloatArray
    rack_capacity: float
    cdu_capacity: float


class RackTable(NamedTuple):
    """Positions and behaviour of racks."""

    places: RackPlacement
    halls: HallTable
    cdu: CduTable


class RackInputs(NamedTuple):
    """Inputs of each step.

    - ``work_share``: Mean work of a hall's racks, 0 idle to 1 full, ``(time, hall)``. [1]
    - ``deviation``: Deviation of each rack's work, mean zero over a hall, -1 to 1, ``(interval,
      rack)``. [1]
    - ``work_interval``: Row of ``deviation`` at each step, ``(time,)``.
    - ``facility_water``: Facility water into the units, ``(time,)``. [degC]
    - ``step_hours``: Length of a step. [h]
    """

    work_share: FloatArray
    deviation: Float32Array
    work_interval: IntArray
    facility_water: FloatArray
    step_hours: float


class CoolantState(NamedTuple):
    """Temperatures of the coolant behind each rack and each unit. [degC]"""

    racks: FloatArray
    cdus: FloatArray


class RackOutputs(NamedTuple):
    """Outputs of each step.

    - ``rack_power``, ``rack_return``, ``chip``: Power of racks [MW], coolant behind them and their
      hottest chips [degC], ``(time, rack)``.
    - ``cdu_heat``, ``cdu_pump_power``, ``cdu_transferred_heat``, ``cdu_stored_heat``: Heat of the
      racks, pump power, heat into the facility water, and heat stored in the coolant of the unit
      and its racks, ``(time, unit)``. [MW]
    - ``cdu_supply_temperature``: Coolant to the racks, ``(time, unit)``. [degC]
    - ``balance_error``: Largest relative error of a unit's heat balance, with its racks,
      ``(time,)``. [1]
    """

    rack_power: Float32Array
    rack_return: Float32Array
    chip: Float32Array
    cdu_heat: FloatArray
    cdu_pump_power: FloatArray
    cdu_transferred_heat: FloatArray
    cdu_stored_heat: FloatArray
    cdu_supply_temperature: FloatArray
    balance_error: FloatArray


class _StepBuffer(NamedTuple):
    """Values of a step for the next loop.

    Heat of each rack [MW]; and of each unit the share of a rack's past and present that stays
    [h K MWh-1] and what the coolant returns to it [MW].
    """

    heats: FloatArray
    blend: FloatArray
    brought: FloatArray


def rack_kernel(
    table: RackTable, drive: RackInputs, state_and_outputs: tuple[CoolantState, RackOutputs]
) -> None:
    r"""Simulate power and coolant of all racks and units through time.

    - ``table``: Positions, and tables of behaviour.
    - ``drive``: Work and facility water of each step.
    - ``state_and_outputs``: Coolant before the first step, overwritten by that after the last
      [degC], and arrays to fill [MW, degC].

    A rack of a hall with mean work :math:`u` works :math:`u_r = u + \min(u, 1-u)\, d_r`. This is
    never below 0 or above 1 and keeps the hall's sum, since the deviations :math:`d_r` sum to 0.

    The :math:`n` racks of a unit share its flow equally. With :math:`Q = \sum q_r` and :math:`p`
    from the pump,

    .. math::

        K_r \dot T_r &= q_r - (C/n)\,(T_r - S) \\
        K_u \dot S &= C\,(\bar T - S) + p - X, \qquad X = G\,(\bar T + p/C - W)

    The flow, hence :math:`C` and :math:`G`, follows the heat without delay. One implicit step is
    solved in closed form. All its coefficients are positive, so it is stable and monotone at any
    length, and it conserves energy.
    """
    racks, units = len(table.places.hall_of_rack), len(table.places.first_rack) - 1
    buffer = _StepBuffer(np.empty(racks), np.empty(units), np.empty(units))
    for step in range(len(drive.facility_water)):
        _work(table, drive, step, buffer, state_and_outputs[1])
        _exchange(table, drive, step, buffer, state_and_outputs)
        _warm(table, drive, step, buffer, state_and_outputs)


def _work(
    table: RackTable, drive: RackInputs, step: int, buffer: _StepBuffer, found: RackOutputs
) -> None:
    """Compute power and heat of all racks, and their chips above the coolant at declared flow."""
    halls, hall = table.halls, table.places.hall_of_rack
    deviation = drive.deviation[drive.work_interval[step]]
    last_piece = halls.chip_temperature_rise.shape[1] - 2
    for r in range(len(hall)):
        h = hall[r]
        work = drive.work_share[step, h]
        headroom = max(min(work, 1.0 - work), 0.0)
        power = halls.idle_power[h] + halls.power_span[h] * (work + headroom * deviation[r])
        place = power * halls.knots_per_mw[h]
        k = min(int(place), last_piece)
        low = halls.chip_temperature_rise[h, k]
        found.chip[step, r] = low + (place - k) * (halls.chip_temperature_rise[h, k + 1] - low)
        found.rack_power[step, r] = power
        buffer.heats[r] = halls.liquid_share[h] * power


def _exchange(
    table: RackTable,
    drive: RackInputs,
    step: int,
    buffer: _StepBuffer,
    track: tuple[CoolantState, RackOutputs],
) -> None:
    """Step the coolant of all units, and compute the heat that they take, transfer and store."""
    unit, first = table.cdu, table.places.first_rack
    state, found = track
    lag, slow = unit.rack_capacity / drive.step_hours, unit.cdu_capacity / drive.step_hours
    water = drive.facility_water[step]
    for c in range(len(first) - 1):
        heat, warmth = 0.0, 0.0
        for r in range(first[c], first[c + 1]):
            heat += buffer.heats[r]
            warmth += state.racks[r]
        count = first[c + 1] - first[c]
        pump, rate, passing = _flow(unit, heat)
        each = rate / count
        blend = 1.0 / (lag + each)
        mean, follow = blend * (lag * warmth + heat) / count, each * blend
        supply = slow * state.cdus[c] + (rate - passing) * mean
        supply += pump * (1.0 - passing / rate) + passing * water
        supply /= slow + rate * (1.0 - follow) + passing * follow
        back = mean + follow * supply
        found.cdu_heat[step, c], found.cdu_pump_power[step, c] = heat, pump
        found.cdu_transferred_heat[step, c] = passing * (back + pump / rate - water)
        found.cdu_stored_heat[step, c] = slow * (supply - state.cdus[c])
        found.cdu_supply_temperature[step, c] = supply
        state.cdus[c] = supply
        buffer.blend[c], buffer.brought[c] = blend, each * supply


def _warm(
    table: RackTable,
    drive: RackInputs,
    step: int,
    buffer: _StepBuffer,
    track: tuple[CoolantState, RackOutputs],
) -> None:
    """Step the coolant of all racks, and compute its stored heat and the chip temperatures."""
    first, lag = table.places.first_rack, table.cdu.rack_capacity / drive.step_hours
    hall, resistance = table.places.hall_of_rack, table.halls.resistance
    state, found = track
    worst = 0.0
    for c in range(len(first) - 1):
        stored, supply = 0.0, state.cdus[c]
        k, w = _place(table.cdu, found.cdu_heat[step, c])
        for r in range(first[c], first[c + 1]):
            heat_in = lag * state.racks[r] + buffer.heats[r] + buffer.brought[c]
            back = buffer.blend[c] * heat_in
            stored += back - state.racks[r]
            state.racks[r] = back
            found.rack_return[step, r] = back
            low = resistance[hall[r], k]
            plate = low + w * (resistance[hall[r], k + 1] - low)
            found.chip[step, r] = supply + plate * found.chip[step, r]
        found.cdu_stored_heat[step, c] += lag * stored
        taken = found.cdu_heat[step, c] + found.cdu_pump_power[step, c]
        lost = taken - found.cdu_transferred_heat[step, c] - found.cdu_stored_heat[step, c]
        worst = max(worst, abs(lost) / max(taken, MIN_BALANCE_HEAT_MW))
    found.balance_error[step] = worst


def _flow(unit: CduTable, heat: float) -> tuple[float, float, float]:
    """Return pump power [MW] and both capacity rates [MW K-1] of a unit at a heat."""
    k, w = _place(unit, heat)
    return (
        unit.pump_power[k] + w * (unit.pump_power[k + 1] - unit.pump_power[k]),
        unit.capacity_rate[k] + w * (unit.capacity_rate[k + 1] - unit.capacity_rate[k]),
        unit.heat_per_kelvin[k] + w * (unit.heat_per_kelvin[k + 1] - unit.heat_per_kelvin[k]),
    )


def _place(unit: CduTable, heat: float) -> tuple[int, float]:
    """Return the segment of the unit's tables for a heat, and the position in it. [1]"""
    place = heat * unit.knots_per_mw
    k = min(int(place), len(unit.capacity_rate) - 2)
    return k, place - k


_RACK_KERNEL_PARTS: Final = (_work, _exchange, _warm, _flow, _place)  # compiled with the kernel

type RackKernel = Callable[[RackTable, RackInputs, tuple[CoolantState, RackOutputs]], None]
"""A function with the arguments of :func:`rack_kernel`."""


@cache
def fastest_rack_kernel() -> RackKernel:
    """Return :func:`rack_kernel` as machine code, or the vectorised one where numba is missing.

    Machine code is compiled at the first call and cached beside this file.
    """
    try:
        import numba.extending  # noqa: PLC0415  (heavy, and only in the planner's environment)
    except ImportError:
        return vectorised_rack_kernel
    for part in _RACK_KERNEL_PARTS:
        numba.extending.register_jitable(fastmath=set(FASTMATH_FLAGS))(part)
    compile_ = numba.njit(cache=True, nogil=True, fastmath=set(FASTMATH_FLAGS))
    machine: RackKernel = compile_(rack_kernel)
    return machine


_VECTORISED_STEPS: Final = 256  # computed at once, to limit memory


def vectorised_rack_kernel(
    table: RackTable, drive: RackInputs, state_and_outputs: tuple[CoolantState, RackOutputs]
) -> None:
    """Do the same as :func:`rack_kernel` by operations on all racks at once."""
    state, found = state_and_outputs
    for begin in range(0, len(drive.facility_water), _VECTORISED_STEPS):
        part = slice(begin, begin + _VECTORISED_STEPS)
        inputs = drive._replace(
            work_share=drive.work_share[part],
            work_interval=drive.work_interval[part],
            facility_water=drive.facility_water[part],
        )
        _vectorised_steps(table, inputs, state, RackOutputs._make(rows[part] for rows in found))


def _vectorised_steps(
    table: RackTable, drive: RackInputs, state: CoolantState, found: RackOutputs
) -> None:
    """Simulate some steps: all that has no memory at once, then the coolant step by step."""
    unit, starts = table.cdu, table.places.first_rack[:-1]
    counts = np.diff(table.places.first_rack)
    unit_of_rack = np.repeat(np.arange(len(counts)), counts)
    rises, heats = _vectorised_work(table, drive, found)
    heat = np.add.reduceat(heats, starts, axis=1)
    place = heat * unit.knots_per_mw
    pump, rate, passing = (
        _interpolate(values[None], 0, place)
        for values in (unit.pump_power, unit.capacity_rate, unit.heat_per_kelvin)
    )
    lag, slow = unit.rack_capacity / drive.step_hours, unit.cdu_capacity / drive.step_hours
    water = drive.facility_water[:, None]
    each = rate / counts
    blend = 1.0 / (lag + each)
    follow = each * blend
    from_pump = pump * (1.0 - passing / rate) + passing * water
    inertia = slow + rate * (1.0 - follow) + passing * follow
    means, supplies, cdus_before = np.empty((3, *heat.shape))
    returns, racks_before = np.empty((2, *heats.shape))
    for t in range(len(water)):
        racks_before[t], cdus_before[t] = state.racks, state.cdus
        warmth = np.add.reduceat(state.racks, starts)
        means[t] = blend[t] * (lag * warmth + heat[t]) / counts
        gain = slow * state.cdus + (rate[t] - passing[t]) * means[t] + from_pump[t]
        supplies[t] = gain / inertia[t]
        brought = (each[t] * supplies[t])[unit_of_rack]
        returns[t] = blend[t][unit_of_rack] * (lag * state.racks + heats[t] + brought)
        state.racks[:], state.cdus[:] = returns[t], supplies[t]
    found.cdu_heat[:], found.cdu_pump_power[:], found.rack_return[:] = heat, pump, returns
    found.cdu_supply_temperature[:] = supplies
    found.cdu_transferred_heat[:] = passing * (means + follow * supplies + pump / rate - water)
    stored = np.add.reduceat(returns - racks_before, starts, axis=1)
    found.cdu_stored_heat[:] = slow * (supplies - cdus_before) + lag * stored
    resistance = _interpolate(
        table.halls.resistance, table.places.hall_of_rack, place[:, unit_of_rack]
    )
    found.chip[:] = supplies[:, unit_of_rack] + resistance * rises
    taken = heat + pump
    lost = np.abs(taken - found.cdu_transferred_heat - found.cdu_stored_heat)
    found.balance_error[:] = (lost / np.maximum(taken, MIN_BALANCE_HEAT_MW)).max(axis=1)


def _vectorised_work(
    table: RackTable, drive: RackInputs, found: RackOutputs
) -> tuple[FloatArray, FloatArray]:
    """Return chips above the coolant at declared flow [K] and heat of racks [MW], by step."""
    halls, hall = table.halls, table.places.hall_of_rack
    work = drive.work_share[:, hall]
    headroom = np.maximum(np.minimum(work, 1.0 - work), 0.0)
    deviation = drive.deviation[drive.work_interval]
    power = halls.idle_power[hall] + halls.power_span[hall] * (work + headroom * deviation)
    found.rack_power[:] = power
    rises = _interpolate(halls.chip_temperature_rise, hall, power * halls.knots_per_mw[hall])
    return rises, halls.liquid_share[hall] * power


def _interpolate(tables: FloatArray, row: IntArray | int, place: FloatArray) -> FloatArray:
    """Return values of tables at places between their knots; the ends are extrapolated."""
    knot = np.minimum(place.astype(np.int64), tables.shape[1] - 2)
    low = tables[row, knot]
    return np.asarray(low + (place - knot) * (tables[row, knot + 1] - low))


_MEGAWATTS: Final = 1e-6  # in a W


class ChipTable(NamedTuple):
    """Behaviour of the chips of a rack over its power.

    - ``hall``, ``unit``: Hall and coolant unit of each rack, ``(rack,)``.
    - ``knots_per_mw``: Knots per MW, the first at zero, ``(hall,)``. [MW-1]
    - ``power``: Mean power of a chip at the knots, ``(hall, knot)``. [W]
    - ``chip_power_factor``: Power of a chip over the mean of its rack, ``(rack, chip)``. [1]
    - ``remaining_step_share``: Share of the distance from the steady state that remains after a
      step. [1]
    """

    hall: IntArray
    unit: IntArray
    knots_per_mw: FloatArray
    power: FloatArray
    chip_power_factor: Float32Array
    remaining_step_share: float


class ChipInputs(NamedTuple):
    """Inputs from the racks.

    - ``rack_power``: Power of each rack, ``(time, rack)``. [MW]
    - ``steady_chip_temperature``: Steady case temperature of a chip with mean power,
      ``(time, rack)``. [degC]
    - ``coolant_supply_temperature``: Coolant to the racks of each unit, ``(time, unit)``. [degC]
    """

    rack_power: Float32Array
    steady_chip_temperature: Float32Array
    coolant_supply_temperature: FloatArray


class ChipOutputs(NamedTuple):
    """Outputs of the kernel.

    - ``state``: Case temperatures before the first step, overwritten by those after the last,
      ``(rack, chip)``. [degC]
    - ``power``, ``temperature``: Arrays to fill, ``(time, rack, chip)``. [MW, degC]
    """

    state: Float32Array
    power: Float32Array
    temperature: Float32Array


def chip_kernel(table: ChipTable, drive: ChipInputs, track: ChipOutputs) -> None:
    r"""Simulate power and case temperature of all chips through time; fills ``track`` [MW, degC].

    With the resistance :math:`R` of its rack's plates and power :math:`q` a chip approaches
    :math:`T_\infty = S + R q` as :math:`T_{i+1} = d T_i + (1 - d) T_\infty`, where :math:`d` is
    :math:`e^{-h/\tau}`. This is exact at any step with constant power and coolant.
    """
    state, powers, temperatures = track
    remaining = np.float32(table.remaining_step_share)
    place = drive.rack_power * table.knots_per_mw[table.hall]
    power = (_MEGAWATTS * _interpolate(table.power, table.hall, place)).astype(np.float32)
    coolant = drive.coolant_supply_temperature[:, table.unit].astype(np.float32)  # as the state
    rise = (1 - remaining) * (drive.steady_chip_temperature - coolant)
    supply, before = (1 - remaining) * coolant, state
    approached = np.empty_like(state)
    for t, after in enumerate(temperatures):
        np.multiply(rise[t, :, None], table.chip_power_factor, out=approached)
        approached += supply[t, :, None]
        np.multiply(before, remaining, out=after)
        after += approached
        np.multiply(power[t, :, None], table.chip_power_factor, out=powers[t])
        before = after
    state[:] = before
