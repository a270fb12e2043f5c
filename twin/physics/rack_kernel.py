"""Every rack and every coolant distribution unit of a site, one step after another.

A kernel: loops over bare arrays, compiled where numba is installed. Powers are in MW, temperatures
in degC, heat capacities in MWh/K, capacity rates in MW/K.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twin.physics.numeric import FloatArray

type SmallArray = NDArray[np.float32]
type IndexArray = NDArray[np.int64]


class Places(NamedTuple):
    """Where racks stand: those of one unit are neighbours.

    Attributes
    ----------
    first
        First rack of each unit, and the number of racks, ``(unit + 1,)``.
    hall
        Hall of each rack, ``(rack,)``.
    """

    first: IndexArray
    hall: IndexArray


class HallTable(NamedTuple):
    """What the racks of a hall do, tabulated over their power.

    Attributes
    ----------
    idle, span
        Power of a rack that waits; what full work adds, ``(hall,)``. [MW]
    liquid_share
        Share of the power that leaves by liquid, ``(hall,)``. [1]
    knots
        Knots in a MW, the first at zero, ``(hall,)``. [MW-1]
    rise
        Hottest chip above the coolant at the knots, ``(hall, knot)``. [K]
    """

    idle: FloatArray
    span: FloatArray
    liquid_share: FloatArray
    knots: FloatArray
    rise: FloatArray


class UnitTable(NamedTuple):
    """What one unit does, tabulated over the heat that its racks bring.

    Attributes
    ----------
    knots
        Knots in a MW, the first at zero. [MW-1]
    pump_power
        Pump power at the knots. [MW]
    rate
        Capacity rate of the coolant at the knots. [MW K-1]
    passing
        Heat passed on for each kelvin between the two inlets, at the knots. [MW K-1]
    rack_capacity, unit_capacity
        Heat that warms the coolant in one rack, and in the unit with its headers. [MWh K-1]
    """

    knots: float
    pump_power: FloatArray
    rate: FloatArray
    passing: FloatArray
    rack_capacity: float
    unit_capacity: float


class RackTable(NamedTuple):
    """Who stands where, and what they do."""

    places: Places
    halls: HallTable
    unit: UnitTable


class Drive(NamedTuple):
    """What comes from outside, step by step.

    Attributes
    ----------
    share
        Mean work of a hall's racks, 0 waiting to 1 full, ``(time, hall)``. [1]
    deviation
        How much busier each rack is, mean zero over a hall, -1 to 1, ``(spell, rack)``. [1]
    spell
        Row of ``deviation`` that holds at each step, ``(time,)``.
    water
        Facility water into the units, ``(time,)``. [degC]
    hours
        Length of a step. [h]
    """

    share: FloatArray
    deviation: SmallArray
    spell: IndexArray
    water: FloatArray
    hours: float


class Coolant(NamedTuple):
    """The state: temperatures of the coolant behind each rack and each unit. [degC]"""

    racks: FloatArray
    units: FloatArray


class Found(NamedTuple):
    """What a kernel writes, step by step.

    Attributes
    ----------
    rack_power, rack_return, chip
        Power of racks [MW], coolant behind them and their hottest chips [degC], ``(time, rack)``.
    unit_heat, unit_pump, unit_passed, unit_kept
        Heat from the racks, pump power, heat given to the facility water, and heat kept in the
        coolant of the unit and its racks, ``(time, unit)``. [MW]
    unit_supply
        Coolant to the racks, ``(time, unit)``. [degC]
    """

    rack_power: SmallArray
    rack_return: SmallArray
    chip: SmallArray
    unit_heat: FloatArray
    unit_pump: FloatArray
    unit_passed: FloatArray
    unit_kept: FloatArray
    unit_supply: FloatArray


class _Here(NamedTuple):
    """A unit at a step: their indices, its first rack and the one after its last."""

    step: int
    unit: int
    first: int
    last: int


class _Flow(NamedTuple):
    """Heat of a unit's racks and its pump [MW], and its capacity rates [MW K-1]."""

    heat: float
    pump: float
    rate: float
    passing: float


def follow_racks(table: RackTable, drive: Drive, track: tuple[Coolant, Found]) -> None:
    r"""Follow the power and the coolant of all racks and units through time.

    Parameters
    ----------
    table
        Who stands where, and tables of what they do.
    drive
        Work and facility water of each step.
    track
        Coolant before the first step, which holds that after the last one on return [degC], and
        arrays to be filled [MW, degC].

    Returns
    -------
    None
        ``track`` [MW, degC] is written.

    Notes
    -----
    A rack of a hall with mean work :math:`u` works :math:`u_r = u + \min(u, 1-u)\, d_r`, which is
    never below 0 or above 1 and keeps the hall's sum, since the deviations :math:`d_r` sum to 0.

    The :math:`n` racks of a unit share its flow alike. With :math:`Q = \sum q_r` and :math:`p` from
    the pump,

    .. math::

        K_r \dot T_r &= q_r - (C/n)\,(T_r - S) \\
        K_u \dot S &= C\,(\bar T - S) + p - X, \qquad X = G\,(\bar T + p/C - W)

    The flow, hence :math:`C` and :math:`G`, follows the heat without delay. One implicit step is
    solved in closed form; all its coefficients are positive, so it is stable and monotone at any
    length, and what comes in equals what goes out and is kept.
    """
    heats = np.empty(len(table.places.hall))
    first = table.places.first
    for step in range(len(drive.water)):
        for unit in range(len(first) - 1):
            here = _Here(step, unit, first[unit], first[unit + 1])
            heat = _work(table, drive, here, heats, track[1])
            _exchange(table.unit, drive, here, _flow(table.unit, heat), heats, track)


def _work(table: RackTable, drive: Drive, here: _Here, heats: FloatArray, found: Found) -> float:
    """Enter the power of a unit's racks, and their chips above the coolant; return their heat."""
    halls, hall = table.halls, table.places.hall
    deviation = drive.deviation[drive.spell[here.step]]
    last_piece = halls.rise.shape[1] - 2
    heat = 0.0
    for r in range(here.first, here.last):
        h = hall[r]
        work = drive.share[here.step, h]
        room = max(min(work, 1.0 - work), 0.0)
        power = halls.idle[h] + halls.span[h] * (work + room * deviation[r])
        place = power * halls.knots[h]
        k = min(int(place), last_piece)
        low = halls.rise[h, k]
        found.chip[here.step, r] = low + (place - k) * (halls.rise[h, k + 1] - low)
        found.rack_power[here.step, r] = power
        heats[r] = halls.liquid_share[h] * power
        heat += heats[r]
    return heat


def _flow(unit: UnitTable, heat: float) -> _Flow:
    """Return the coolant of a unit at a heat."""
    place = heat * unit.knots
    k = min(int(place), len(unit.rate) - 2)
    w = place - k
    return _Flow(
        heat,
        unit.pump_power[k] + w * (unit.pump_power[k + 1] - unit.pump_power[k]),
        unit.rate[k] + w * (unit.rate[k + 1] - unit.rate[k]),
        unit.passing[k] + w * (unit.passing[k + 1] - unit.passing[k]),
    )


def _exchange(
    unit: UnitTable,
    drive: Drive,
    here: _Here,
    flow: _Flow,
    heats: FloatArray,
    track: tuple[Coolant, Found],
) -> None:
    """Step the coolant of a unit and its racks, and enter what it takes, passes on and keeps."""
    state, found = track
    t, c, count = here.step, here.unit, here.last - here.first
    warmth = 0.0
    for r in range(here.first, here.last):
        warmth += state.racks[r]
    lag, slow = unit.rack_capacity / drive.hours, unit.unit_capacity / drive.hours
    each = flow.rate / count
    blend = 1.0 / (lag + each)
    mean, follow = blend * (lag * warmth + flow.heat) / count, each * blend
    supply = slow * state.units[c] + (flow.rate - flow.passing) * mean
    supply += flow.pump * (1.0 - flow.passing / flow.rate) + flow.passing * drive.water[t]
    supply /= slow + flow.rate * (1.0 - follow) + flow.passing * follow
    kept = slow * (supply - state.units[c])
    for r in range(here.first, here.last):
        out = blend * (lag * state.racks[r] + heats[r] + each * supply)
        kept += lag * (out - state.racks[r])
        state.racks[r] = out
        found.rack_return[t, r] = out
        found.chip[t, r] += supply
    state.units[c] = supply
    found.unit_heat[t, c], found.unit_pump[t, c] = flow.heat, flow.pump
    water = drive.water[t]
    found.unit_passed[t, c] = flow.passing * (
        mean + follow * supply + flow.pump / flow.rate - water
    )
    found.unit_kept[t, c], found.unit_supply[t, c] = kept, supply


PARTS: Final = (_work, _flow, _exchange)
"""What :func:`follow_racks` calls, to be compiled with it."""
