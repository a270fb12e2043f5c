"""Every accelerator of a site, one step after another: a kernel, compiled where numba is."""

from typing import Final, NamedTuple

import numpy as np

from twin.physics.numeric import FloatArray
from twin.physics.rack_kernel import IntArray, SmallArray

_MEGAWATTS: Final = 1e-6  # in a W


class ChipTable(NamedTuple):
    """What the chips of a rack do over its power.

    Attributes
    ----------
    hall, unit
        Hall and coolant unit of each rack, ``(rack,)``.
    knots
        Knots in a MW, the first at zero, ``(hall,)``. [MW-1]
    power
        Mean power of a chip at the knots, ``(hall, knot)``. [W]
    factor
        Power of a chip over the mean of its rack, mean 1 over a rack, ``(rack, chip)``. [1]
    kept
        Share of a distance from the steady state that is left after a step. [1]
    """

    hall: IntArray
    unit: IntArray
    knots: FloatArray
    power: FloatArray
    factor: SmallArray
    kept: float


class ChipDrive(NamedTuple):
    """What comes from the racks.

    Attributes
    ----------
    rack_power
        Power of each rack, ``(time, rack)``. [MW]
    chip
        Case temperature at which a chip of mean power comes to rest, ``(time, rack)``. [degC]
    supply
        Coolant to the racks of each unit, ``(time, unit)``. [degC]
    """

    rack_power: SmallArray
    chip: SmallArray
    supply: FloatArray


class ChipTrack(NamedTuple):
    """What the kernel writes.

    Attributes
    ----------
    state
        Case temperatures before the first step, ``(rack, chip)``; those after the last on return.
        [degC]
    power, temperature
        To be filled, ``(time, rack, chip)``. [MW, degC]
    """

    state: SmallArray
    power: SmallArray
    temperature: SmallArray


def follow_chips(table: ChipTable, drive: ChipDrive, track: ChipTrack) -> None:
    r"""Follow power and case temperature of all chips through time.

    Parameters
    ----------
    table
        What the chips do.
    drive
        Power of the racks [MW], their chips and coolant [degC], step by step.
    track
        Where they stand [degC], and arrays to be filled [MW, degC].

    Returns
    -------
    None
        ``track`` [MW, degC] is written.

    Notes
    -----
    With the resistance :math:`R` of its rack's plates and power :math:`q` a chip goes to
    :math:`T_\infty = S + R q` as
    :math:`T_{i+1} = T_\infty + (T_i - T_\infty) e^{-h/\tau}`: exact at any step while power and
    coolant stand still over it.
    """
    state, powers, temperatures = track
    last_piece, kept = table.power.shape[1] - 2, np.float32(table.kept)
    for t in range(drive.rack_power.shape[0]):
        for r in range(drive.rack_power.shape[1]):
            h = table.hall[r]
            place = drive.rack_power[t, r] * table.knots[h]
            k = min(int(place), last_piece)
            low = table.power[h, k]
            mean = low + (place - k) * (table.power[h, k + 1] - low)
            coolant = np.float32(drive.supply[t, table.unit[r]])  # as precise as what is kept
            rise = drive.chip[t, r] - coolant
            power = np.float32(_MEGAWATTS * mean)
            for c in range(table.factor.shape[1]):
                end = coolant + rise * table.factor[r, c]
                now = end + (state[r, c] - end) * kept
                state[r, c] = now
                powers[t, r, c] = power * table.factor[r, c]
                temperatures[t, r, c] = now
