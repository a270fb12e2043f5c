"""Swings of 0.1 to 20 Hz: what power smoothing and rack stores leave of them, second by second.

Of one rack or of many alike. Power is in MW and time in s here, so that energy is in MJ.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from twin.physics.numeric import FloatArray, Numeric

BURST: Final = 0.5
"""Longest burst above a cap; measured were 0.05 to 0.5 s (secondary source). [s]"""

OVERSHOOT: Final = 0.43
"""Most by which a burst exceeds its cap, measured at a cap of 500 W (secondary source). [1]"""

_ROUNDING: Final = 1e-9  # of the hysteresis, so that whole steps count as whole


@dataclass(frozen=True, kw_only=True)
class Smoother:
    """What stands between the work of racks and the busway: accelerators' firmware and a store.

    Attributes
    ----------
    idle, full
        Power of the racks that wait, and at full work. [MW]
    floor
        Power held while work runs and for the hysteresis after it. [MW]
    ramp_up, ramp_down
        Fastest rise and fall of the power; infinite without smoothing. [MW s-1]
    hysteresis
        Time for which the floor is held after work has stopped. [s]
    storage
        Energy between a full and an empty store of the power shelves. [MJ]
    """

    idle: float
    full: float
    floor: float = 0.0
    ramp_up: float = math.inf
    ramp_down: float = math.inf
    hysteresis: float = 0.0
    storage: float = 0.0

    @property
    def lag(self) -> float:
        """Time constant of the store: its energy over the widest swing. [s]"""
        return self.storage / (self.full - self.idle)


@dataclass(frozen=True, kw_only=True)
class Smoothed:
    """What became of a course of load, means over its steps unless said.

    Attributes
    ----------
    draw
        Power that the accelerators draw, floor and ramps included. [MW]
    connection
        Power drawn from the busway, behind the store. [MW]
    level
        Energy in the store at the edges, one more than steps. [MJ]
    burned
        Energy drawn above the load, which does no work. [MJ]
    withheld
        Energy of the load that ramps did not let through; its work is late. [MJ]
    """

    draw: FloatArray
    connection: FloatArray
    level: FloatArray
    burned: float
    withheld: float


def smooth(load: FloatArray, smoother: Smoother, *, step: float) -> Smoothed:
    r"""Return what becomes of a course of load, exactly for a load that is constant in each step.

    Parameters
    ----------
    load
        Power that the work asks for, in equal steps. [MW]
    smoother
        Floor, ramps, hysteresis and store.
    step
        Length of a step, about 1 ms. [s]

    Returns
    -------
    Smoothed
        Draw, power behind the store, level, energy burned and withheld. [MW, MJ]

    Notes
    -----
    While work runs (the load stands above idle), and for the hysteresis after it, the accelerators
    aim at :math:`\max(p, floor)`, else at the load; the draw follows at most at the ramps. The
    store's controller lets the power from the busway follow the draw with the lag
    :math:`\tau = E / (P_{full} - P_{idle})`:

    .. math:: \tau \dot g = q - g, \qquad e = E\, (P_{full} - g) / (P_{full} - P_{idle})

    so that what flows into the store is :math:`\dot e = g - q`, energy is conserved, and no load
    between idle and full ever empties or fills it. Both equations are linear within a step and
    solved there; only the mean of a step that ramps is taken as constant for the store.
    """
    target = _target(np.asarray(load, dtype=np.float64), smoother, step)
    draw = _follow(target, smoother, step)
    lag = smoother.lag
    level = np.zeros(len(draw) + 1)
    if lag == 0.0:
        connection = draw
    else:
        edges = _lagged(draw, decay=math.exp(-step / lag))
        connection = draw - np.diff(edges) * lag / step
        level = lag * (smoother.full - edges)
    above = draw - load
    return Smoothed(
        draw=draw,
        connection=connection,
        level=level,
        burned=float(np.maximum(above, 0.0).sum() * step),
        withheld=float(np.maximum(-above, 0.0).sum() * step),
    )


def _target(load: FloatArray, smoother: Smoother, step: float) -> FloatArray:
    """Return the power that the firmware aims at in each step. [MW]"""
    runs = load > smoother.idle
    last = np.maximum.accumulate(np.where(runs, np.arange(len(load)), -np.inf))
    since = (np.arange(len(load)) - last) * step
    is_held = since <= smoother.hysteresis * (1.0 + _ROUNDING)
    return np.where(is_held, np.maximum(load, smoother.floor), load)


def _follow(target: FloatArray, smoother: Smoother, step: float) -> FloatArray:
    """Return the means of a power that follows its target at most at the ramps. [MW]"""
    if math.isinf(smoother.ramp_up) and math.isinf(smoother.ramp_down):
        return target
    means = np.empty_like(target)
    power = float(target[0])
    rise, fall = smoother.ramp_up * step, smoother.ramp_down * step
    for i, aim in enumerate(target.tolist()):
        change = max(min(aim - power, rise), -fall)
        most = rise if change > 0.0 else fall
        moving = abs(change) / most if change else 0.0  # share of the step
        means[i] = power + change * (1.0 - 0.5 * moving)
        power += change
    return means


def _lagged(draw: FloatArray, *, decay: float) -> FloatArray:
    """Return a first-order lag of a course at its edges, at rest on its mean before. [MW]"""
    edges = np.empty(len(draw) + 1)
    power = edges[0] = float(draw.mean())
    for i, drawn in enumerate(draw.tolist()):
        power = drawn + (power - drawn) * decay
        edges[i + 1] = power
    return edges


def peak_under_cap(
    cap: Numeric,
    uncapped: Numeric,
    *,
    synchronised: Numeric = 1.0,
    window: Numeric = BURST,
    lag: float = 0.0,
) -> Numeric:
    r"""Return the highest short-time mean of power that racks under a cap can draw.

    Parameters
    ----------
    cap
        Cap of all racks together. [MW]
    uncapped
        What they would draw without it. [MW]
    synchronised
        Share of the racks whose bursts coincide; the others keep the cap on average. [1]
    window
        Time over which the connection's peak is a mean. [s]
    lag
        Time constant of the racks' store, see :func:`smooth`. [s]

    Returns
    -------
    Numeric
        Highest mean; the cap itself where nothing would exceed it. [MW]

    Notes
    -----
    A cap is not instantaneous: bursts of up to 0.5 s overshoot it by up to 43 %, then it is kept.
    One burst a window gives at most :math:`P_{cap} + s\, \min(0.43 P_{cap}, P - P_{cap})\, m` with
    :math:`m = \min(1, 0.5 / W, 1 - e^{-0.5/\tau})`: behind a store with lag a burst cannot have
    grown to its height when it ends.
    """
    height = np.clip(np.asarray(uncapped) - cap, 0.0, OVERSHOOT * np.asarray(cap))
    grown = -math.expm1(-BURST / lag) if lag > 0.0 else 1.0
    share = np.minimum(np.minimum(BURST / np.asarray(window), 1.0), grown)
    drawn: FloatArray = np.minimum(cap, uncapped) + synchronised * height * share
    return drawn
