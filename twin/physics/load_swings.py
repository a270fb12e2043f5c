"""Load swings of 0.1 to 20 Hz, and their smoothing by accelerators and rack stores.

Power is in MW and time in s, so energy is in MJ.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from twin.physics.numerics import FloatArray

_SMOOTHING_ROUNDING: Final = 1e-9  # of the hysteresis, so that whole steps count as whole


@dataclass(frozen=True, kw_only=True)
class SmoothingModel:
    """Power smoothing between the work of racks and the busway: firmware and a store.

    - `idle_power`, `full_power`: power of idle racks, and at full load. [MW]
    - `power_floor`: minimum power while work runs and during the hysteresis after it. [MW]
    - `ramp_up`, `ramp_down`: maximum rise and fall of the power; infinite without smoothing. [MW
      s-1]
    - `hysteresis`: time for which the floor stays after work has stopped. [s]
    - `storage_energy`: energy capacity of the power shelves' store. [MJ]
    """

    idle_power: float
    full_power: float
    power_floor: float = 0.0
    ramp_up: float = math.inf
    ramp_down: float = math.inf
    hysteresis: float = 0.0
    storage_energy: float = 0.0

    @property
    def time_constant(self) -> float:
        """Time constant of the store: its energy over the maximum swing. [s]"""
        return self.storage_energy / (self.full_power - self.idle_power)


@dataclass(frozen=True, kw_only=True)
class SmoothedLoad:
    """A smoothed load profile, as means over steps unless noted.

    - `accelerator_power`: power of the accelerators, with floor and ramps. [MW]
    - `busway_power`: power drawn from the busway by accelerators and store. [MW]
    - `stored_energy`: energy in the store at the edges of the steps. [MJ]
    - `excess_energy`: energy drawn above the load, without work. [MJ]
    - `deferred_energy`: energy of the load delayed by ramps. [MJ]
    """

    accelerator_power: FloatArray
    busway_power: FloatArray
    stored_energy: FloatArray
    excess_energy: float
    deferred_energy: float


def smooth_load(load: FloatArray, smoother: SmoothingModel, *, step: float) -> SmoothedLoad:
    r"""Return a smoothed load profile, exact for a load constant in each step.

    Parameters
    ----------
    load
        Power that the work needs, in equal steps. [MW]
    smoother
        Floor, ramps, hysteresis and store.
    step
        Length of a step, about 1 ms. [s]

    Returns
    -------
    SmoothedLoad
        Powers [MW], level and energies [MJ].

    Notes
    -----
    While work runs (load above idle), and during the hysteresis after it, the target is
    :math:`\max(p, floor)`, otherwise the load; the draw follows it within the ramps. The power from
    the busway follows the draw with the time constant
    :math:`\tau = E / (P_{full} - P_{idle})`:

    .. math:: \tau \dot g = q - g, \qquad e = E\, (P_{full} - g) / (P_{full} - P_{idle})

    so that the store is charged with :math:`\dot e = g - q`, energy is conserved, and no load
    between idle and full exceeds its limits. Both equations are solved exactly within a step,
    except that the store sees the mean of a step with a ramp.
    """
    target = _target(np.asarray(load, dtype=np.float64), smoother, step)
    draw = _ramp_limited(target, smoother, step)
    lag = smoother.time_constant
    level = np.zeros(len(draw) + 1)
    if lag == 0.0:
        connection = draw
    else:
        edges = _lagged(draw, decay=math.exp(-step / lag))
        connection = draw - np.diff(edges) * lag / step
        level = lag * (smoother.full_power - edges)
    above = draw - load
    return SmoothedLoad(
        accelerator_power=draw,
        busway_power=connection,
        stored_energy=level,
        excess_energy=float(np.maximum(above, 0.0).sum() * step),
        deferred_energy=float(np.maximum(-above, 0.0).sum() * step),
    )


def _target(load: FloatArray, smoother: SmoothingModel, step: float) -> FloatArray:
    """Return the target power of the firmware in each step. [MW]"""
    runs = load > smoother.idle_power
    last = np.maximum.accumulate(np.where(runs, np.arange(len(load)), -np.inf))
    since = (np.arange(len(load)) - last) * step
    has_floor = since <= smoother.hysteresis * (1.0 + _SMOOTHING_ROUNDING)
    return np.where(has_floor, np.maximum(load, smoother.power_floor), load)


def _ramp_limited(target: FloatArray, smoother: SmoothingModel, step: float) -> FloatArray:
    """Return the means of a power that follows its target within the ramps. [MW]"""
    if math.isinf(smoother.ramp_up) and math.isinf(smoother.ramp_down):
        return target
    means = np.empty_like(target)
    power = float(target[0])
    rise, fall = smoother.ramp_up * step, smoother.ramp_down * step
    for i, aim in enumerate(target.tolist()):
        change = max(min(aim - power, rise), -fall)
        limit = rise if change > 0.0 else fall
        moving = abs(change) / limit if change else 0.0  # share of the step
        means[i] = power + change * (1.0 - 0.5 * moving)
        power += change
    return means


def _lagged(draw: FloatArray, *, decay: float) -> FloatArray:
    """Return the first-order lag of a draw at its edges, initially at its mean. [MW]"""
    edges = np.empty(len(draw) + 1)
    power = edges[0] = float(draw.mean())
    for i, drawn in enumerate(draw.tolist()):
        power = drawn + (power - drawn) * decay
        edges[i + 1] = power
    return edges
