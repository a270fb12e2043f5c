r"""Heat stores one behind another, the last cooled by a plant: one implicit step of any length.

A chain is what stands between a chip, or the air of a hall, and the plant of its circuit. Stores
exchange heat with their neighbours only, so that a step costs one elimination; it is second-order,
L-stable, and keeps energy exactly.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from twin.physics.numerics import FloatArray, clip

RECOVERY_TIME_LAGS: Final = 4.0
"""Recovery time of a temperature controller, in lags of its valve: critically damped. [1]"""

_DIAGONAL: Final = 1.0 - 1.0 / math.sqrt(2.0)  # of the two-stage method of Alexander


@dataclass(frozen=True, kw_only=True)
class ThermalChain:
    r"""Heat stores in a row and the plant behind them; all arrays on axes that fit each other.

    Attributes
    ----------
    capacity
        Heat that warms each store by a kelvin. [MWh K-1]
    conductance
        Heat between each store and the next, for each kelvin; one fewer than stores. [MW K-1]
    heat
        Heat that enters each store from outside. [MW]
    target
        Temperature that the plant holds in the last store. [degC]
    chiller_capacity, dry_base, capacity_slope
        The most that the plant takes: the greater of a constant [MW] and a line, at the target
        [MW], and more for each kelvin [MW K-1].
    valve_time_constant
        Time constant of the plant's valve. [h]

    Notes
    -----
    With temperatures :math:`T_i`, heats :math:`Q_i`, and the plant's output :math:`y`

    .. math::
        K_i \dot T_i = Q_i + G_{i-1} (T_{i-1} - T_i) - G_i (T_i - T_{i+1}) - y\,[i = n] \\
        \tau \dot y = q + K_n (T_n - T_s) / (4 \tau) - y, \qquad
        0 \le y \le \max(Q_f,\, Q_0 + r (T_n - T_s))

    where :math:`q` is the heat that enters the last store: the valve follows what comes, and what
    the temperature asks for, as in :func:`twin.simulation.integration.integrate_loop`. A bound that
    holds :math:`y` also holds the valve, which does not wind up.
    """

    capacity: tuple[FloatArray, ...]
    conductance: tuple[FloatArray, ...]
    heat: tuple[FloatArray, ...]
    target: FloatArray
    chiller_capacity: FloatArray
    dry_base: FloatArray
    capacity_slope: FloatArray
    valve_time_constant: FloatArray


@dataclass(frozen=True, kw_only=True)
class ChainState:
    """Where a chain is.

    Attributes
    ----------
    temperature
        Of each store. [degC]
    output
        What the plant takes now. [MW]
    mean_output
        What it took on average over the last step. [MW]
    """

    temperature: tuple[FloatArray, ...]
    output: FloatArray
    mean_output: FloatArray


def step_chain(chain: ThermalChain, state: ChainState, step: float) -> ChainState:
    """Return where a chain is after a step of any length.

    Parameters
    ----------
    chain
        The chain, constant over the step.
    state
        Where it is.
    step
        Length of the step. [h]

    Returns
    -------
    Course
        Temperatures then [degC] and the plant's output [MW]; the change of all heat kept is the
        heat that entered less ``taken``, to rounding.

    Notes
    -----
    The diagonally implicit two-stage method of order 2 [1]_, whose second stage is the result.

    References
    ----------
    .. [1] R. Alexander, "Diagonally implicit Runge-Kutta methods for stiff O.D.E.'s," SIAM J.
       Numer. Anal., vol. 14, no. 6, pp. 1006-1021, 1977. doi:10.1137/0714068
    """
    width = _DIAGONAL * step
    before = _held(chain, state.output, state.temperature[-1])
    first, output = _stage(chain, state.temperature, before, width=width)
    share = (1.0 - _DIAGONAL) / _DIAGONAL
    begun = [t + share * (s - t) for t, s in zip(state.temperature, first, strict=True)]
    ahead = _held(chain, before + share * (output - before), begun[-1])
    second, last = _stage(chain, tuple(begun), ahead, width=width)
    taken = (1.0 - _DIAGONAL) * output + _DIAGONAL * last
    return ChainState(temperature=second, output=last, mean_output=taken)


def _held(chain: ThermalChain, output: FloatArray, water: FloatArray) -> FloatArray:
    """Return an output within its bounds, which may just have changed."""
    most = np.maximum(
        chain.chiller_capacity, chain.dry_base + chain.capacity_slope * (water - chain.target)
    )
    return clip(output, 0.0, most)


def _stage(
    chain: ThermalChain, begun: tuple[FloatArray, ...], output: FloatArray, *, width: float
) -> tuple[tuple[FloatArray, ...], FloatArray]:
    """Solve one implicit stage: eliminate down the chain, find the plant, substitute back."""
    constants, slopes = [], []
    into: FloatArray | float = 0.0  # heat from the store before, at no temperature of this one
    back: FloatArray | float = 0.0  # and what of it each kelvin of this one keeps away
    for place, conductance in enumerate(chain.conductance):
        kept = chain.capacity[place] / width
        whole = kept + conductance + back
        constants.append((kept * begun[place] + chain.heat[place] + into) / whole)
        slopes.append(conductance / whole)
        into, back = conductance * constants[-1], conductance * (1.0 - slopes[-1])
    kept = chain.capacity[-1] / width
    water, taken = _plant(
        chain,
        kept=kept,
        known=kept * begun[-1] + chain.heat[-1] + into,
        back=back,
        output=output,
        width=width,
        entered=chain.heat[-1] + into,
    )
    temperatures = [water]
    for constant, slope in zip(reversed(constants), reversed(slopes), strict=True):
        temperatures.append(constant + slope * temperatures[-1])
    return tuple(reversed(temperatures)), taken


def _plant(
    chain: ThermalChain,
    *,
    kept: FloatArray,
    known: FloatArray,
    back: FloatArray | float,
    output: FloatArray,
    width: float,
    entered: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Return temperature and output where the last store and its plant agree.

    The store: (kept + back) T + y = known. The plant: y is the least of the valve's line and the
    ceiling's, and not below 0. With any of these lines for y the left side rises with T, so the
    least of them meets the right side at the greatest of their temperatures, and the greater of
    the two that make the ceiling at the least of theirs.
    """
    stiffness = kept + back
    pace = width / chain.valve_time_constant
    pull = chain.capacity[-1] / (RECOVERY_TIME_LAGS * chain.valve_time_constant)
    valve_slope = pace * (pull - back) / (1.0 + pace)
    valve_base = (output + pace * (entered - pull * chain.target)) / (1.0 + pace)
    valve_water = (known - valve_base) / (stiffness + valve_slope)
    full_water = (known - chain.dry_base + chain.capacity_slope * chain.target) / (
        stiffness + chain.capacity_slope
    )
    full_water = np.minimum(full_water, (known - chain.chiller_capacity) / stiffness)
    water = np.minimum(np.maximum(valve_water, full_water), known / stiffness)
    return water, known - stiffness * water
