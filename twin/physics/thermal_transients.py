"""Heat stores in a chain, the last one cooled by a plant: one implicit step of any length.

A chain lies between a chip, or the air of a hall, and the plant of its circuit. Each store
exchanges heat only with its neighbours, so that a step needs one elimination. The method is
second-order, L-stable and conserves energy exactly.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from twin.physics.numerics import FloatArray, clip

RECOVERY_TIME_LAGS: Final = 4.0
"""Recovery time of a temperature controller, in valve time constants: critically damped. [1]"""

_DIAGONAL: Final = 1.0 - 1.0 / math.sqrt(2.0)  # of the two-stage method of Alexander


@dataclass(frozen=True, kw_only=True)
class ThermalChain:
    r"""A chain of heat stores and the plant behind them; all arrays broadcast.

    - `heat_capacity`: heat capacity of each store. [MWh K-1]
    - `conductance`: conductance between each store and the next. [MW K-1]
    - `external_heat`: external heat into each store. [MW]
    - `plant_set_point`: set point of the last store. [degC]
    - `chiller_capacity`, `cooler_capacity_at_set_point`, `capacity_slope`: maximum cooling of the
      plant: the greater of a constant [MW] and a line with a value at the set point [MW] and a
      slope [MW K-1].
    - `valve_time_constant`: time constant of the plant's valve. [h]

    Notes
    -----
    With temperatures :math:`T_i`, heats :math:`Q_i`, and the plant's output :math:`y`

    .. math::
        K_i \dot T_i = Q_i + G_{i-1} (T_{i-1} - T_i) - G_i (T_i - T_{i+1}) - y\,[i = n] \\
        \tau \dot y = q + K_n (T_n - T_s) / (4 \tau) - y, \qquad
        0 \le y \le \max(Q_f,\, Q_0 + r (T_n - T_s))

    where :math:`q` is the external_heat into the last store: the valve follows it and the
    temperature error, as in :func:`twin.simulation.state_integration.integrate_loop`. A bound of
    :math:`y` also limits the valve, so that it does not wind up.
    """

    heat_capacity: tuple[FloatArray, ...]
    conductance: tuple[FloatArray, ...]
    external_heat: tuple[FloatArray, ...]
    plant_set_point: FloatArray
    chiller_capacity: FloatArray
    cooler_capacity_at_set_point: FloatArray
    capacity_slope: FloatArray
    valve_time_constant: FloatArray


@dataclass(frozen=True, kw_only=True)
class ChainState:
    """State of a chain: temperatures of the stores [degC], current output and mean output of the
    last step of the plant [MW].
    """

    store_temperatures: tuple[FloatArray, ...]
    cooling_output: FloatArray
    mean_cooling_output: FloatArray


def step_chain(chain: ThermalChain, state: ChainState, step: float) -> ChainState:
    """Return the state of a chain after a step of any length.

    Parameters
    ----------
    chain
        The chain, constant over the step.
    step
        Length of the step. [h]

    Returns
    -------
    ChainState
        Temperatures [degC] and output [MW]; the change of stored heat is the heat that entered less
        ``mean_cooling_output``, to rounding.

    Notes
    -----
    The diagonally implicit two-stage method of order 2 [1]_, whose second stage is the result.

    References
    ----------
    .. [1] R. Alexander, "Diagonally implicit Runge-Kutta methods for stiff O.D.E.'s," SIAM J.
       Numer. Anal., vol. 14, no. 6, pp. 1006-1021, 1977. doi:10.1137/0714068
    """
    width = _DIAGONAL * step
    before = _limit_output(chain, state.cooling_output, state.store_temperatures[-1])
    first, output = _stage(chain, state.store_temperatures, before, width=width)
    share = (1.0 - _DIAGONAL) / _DIAGONAL
    predicted = [t + share * (s - t) for t, s in zip(state.store_temperatures, first, strict=True)]
    ahead = _limit_output(chain, before + share * (output - before), predicted[-1])
    second, last = _stage(chain, tuple(predicted), ahead, width=width)
    mean_output = (1.0 - _DIAGONAL) * output + _DIAGONAL * last
    return ChainState(
        store_temperatures=second, cooling_output=last, mean_cooling_output=mean_output
    )


def _limit_output(chain: ThermalChain, output: FloatArray, water: FloatArray) -> FloatArray:
    """Return an output within its bounds, which may have changed."""
    max_output = np.maximum(
        chain.chiller_capacity,
        chain.cooler_capacity_at_set_point + chain.capacity_slope * (water - chain.plant_set_point),
    )
    return clip(output, 0.0, max_output)


def _stage(
    chain: ThermalChain, initial: tuple[FloatArray, ...], output: FloatArray, *, width: float
) -> tuple[tuple[FloatArray, ...], FloatArray]:
    """Solve one implicit stage: eliminate down the chain, find the plant, substitute back."""
    constants, slopes = [], []
    into: FloatArray | float = 0.0  # heat from the previous store at 0 degC of this one
    back: FloatArray | float = 0.0  # its reduction per kelvin of this one
    for index, conductance in enumerate(chain.conductance):
        inertia = chain.heat_capacity[index] / width
        diagonal = inertia + conductance + back
        constants.append((inertia * initial[index] + chain.external_heat[index] + into) / diagonal)
        slopes.append(conductance / diagonal)
        into, back = conductance * constants[-1], conductance * (1.0 - slopes[-1])
    inertia = chain.heat_capacity[-1] / width
    water, cooling = _plant(
        chain,
        inertia=inertia,
        known=inertia * initial[-1] + chain.external_heat[-1] + into,
        back=back,
        output=output,
        width=width,
        entered=chain.external_heat[-1] + into,
    )
    temperatures = [water]
    for constant, slope in zip(reversed(constants), reversed(slopes), strict=True):
        temperatures.append(constant + slope * temperatures[-1])
    return tuple(reversed(temperatures)), cooling


def _plant(
    chain: ThermalChain,
    *,
    inertia: FloatArray,
    known: FloatArray,
    back: FloatArray | float,
    output: FloatArray,
    width: float,
    entered: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Return temperature and output at which the last store and its plant agree.

    The store obeys (inertia + back) T + y = known. The plant's y is the smaller of the valve's line
    and the maximum cooling, and not below 0. With each line for y the left side rises with T. The
    minimum of lines therefore meets the right side at the greatest of their temperatures, and the
    maximum of the two lines of maximum cooling at the smallest of theirs.
    """
    stiffness = inertia + back
    pace = width / chain.valve_time_constant
    pull = chain.heat_capacity[-1] / (RECOVERY_TIME_LAGS * chain.valve_time_constant)
    valve_slope = pace * (pull - back) / (1.0 + pace)
    valve_base = (output + pace * (entered - pull * chain.plant_set_point)) / (1.0 + pace)
    valve_water = (known - valve_base) / (stiffness + valve_slope)
    full_water = (
        known - chain.cooler_capacity_at_set_point + chain.capacity_slope * chain.plant_set_point
    ) / (stiffness + chain.capacity_slope)
    full_water = np.minimum(full_water, (known - chain.chiller_capacity) / stiffness)
    water = np.minimum(np.maximum(valve_water, full_water), known / stiffness)
    return water, known - stiffness * water
