"""Limits of storage: level bounds with margins, soft return to the window, and taper.

===========================================  =======  ====  ========================================
Name                                         Unit     Axes  Meaning
===========================================  =======  ====  ========================================
**Variables**
soc_violation                                MWh      t     distance of level[t+1] from the intended
                                                            levels; >= 0
**Parameters**
target_low, target_high                      MWh      t     lowest and highest intended level at the
                                                            end of an interval
soc_violation_cost                           EUR/MWh  t     penalty on the distance
charge_taper_energy, discharge_taper_energy  h              level per power at which the controller
                                                            reduces charge and discharge
**Constraints**
soc_return_from_below                        MWh      t     target_low - level[t+1] <= soc_violation
soc_return_from_above                        MWh      t     level[t+1] - target_high <=
                                                            soc_violation
taper_charge_limit                           MWh      t     level[t+1] + charge_taper_energy *
                                                            charge <= high[t+1]
taper_discharge_limit                        MWh      t     level[t+1] - discharge_taper_energy *
                                                            discharge >= low[t+1]
**Cost**
return                                       EUR      t     soc_violation_cost * soc_violation
===========================================  =======  ====  ========================================

Axes: t interval. The return exists only for storage that starts outside its window; fills and ebbs
only where the taper would exceed the ramp of the connection.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import pyomo.environ as pyo

from optimizer.model.assembler import ModelAssembler, add_param, add_var
from optimizer.model.objective import SOC_RETURN_PENALTY_EUR_PER_MWH_H
from optimizer.problem.problem import Problem
from twin.equipment.storage import STORAGE_TAPER_TIME_H
from twin.feasibility.connection import taper_exceeds_ramp
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.relations import Store

RETURN_POWER_SHARE: Final = 0.25
"""Share of its power at which a store outside its window returns. [1]"""

LEVEL_TOLERANCE_MWH: Final = 1e-9
"""Difference of levels that is ignored. [MWh]"""


def target_levels(store: Store, problem: Problem) -> tuple[FloatArray, FloatArray]:
    """Return the lowest and highest intended level at every instant but the first. [MWh]

    A store that starts within the margin may stay there. Its losses are recharged, if the charge
    power suffices; a store out of service sinks. A store that starts outside its window, such as a
    battery after a reserve activation, returns at :data:`RETURN_POWER_SHARE` of its power.
    """
    start, margin = problem.initial_level(store), store.level_margin(problem.margins.level)
    elapsed = np.cumsum(problem.hours)
    idle_level = start * (1.0 - store.standing_loss) ** elapsed
    low = np.full_like(idle_level, min(store.min_level + margin, max(start, store.min_level)))
    high = np.full_like(idle_level, max(store.max_level - margin, min(start, store.max_level)))
    if store.charge_limit * store.charge_efficiency <= store.standing_loss * start:
        low = np.minimum(low, idle_level)
    if start < store.min_level:
        back = RETURN_POWER_SHARE * store.charge_limit * store.charge_efficiency
        low = np.minimum(low, idle_level + back * elapsed)
    if start > store.max_level:
        back = RETURN_POWER_SHARE * store.discharge_limit / store.discharge_efficiency
        high = np.maximum(high, start - back * elapsed)
    return low, high


def starts_outside_window(store: Store, problem: Problem) -> bool:
    """Return whether the initial level lies outside the window."""
    return (
        not store.min_level - LEVEL_TOLERANCE_MWH
        <= problem.initial_level(store)
        <= store.max_level + LEVEL_TOLERANCE_MWH
    )


def level_bounds(store: Store, problem: Problem) -> tuple[FloatArray, FloatArray]:
    """Return the bounds of the level at every instant but the first. [MWh]

    These are the intended levels, widened for a store outside its window: it may return later,
    because other limits may prevent the intended return.
    """
    start, (low, high) = problem.initial_level(store), target_levels(store, problem)
    rest = start * (1.0 - store.standing_loss) ** np.cumsum(problem.hours)
    if start < store.min_level:
        low = np.minimum(low, rest)
    return low, np.maximum(high, start) if start > store.max_level else high


def soc_return_parameters(store: Store, problem: Problem) -> Mapping[str, FloatArray]:
    """Return the parameter values of the return to the window; empty within it."""
    if not starts_outside_window(store, problem):
        return {}
    low, high = target_levels(store, problem)
    return {
        "target_low": low,
        "target_high": high,
        "soc_violation_cost": SOC_RETURN_PENALTY_EUR_PER_MWH_H * problem.hours,
    }


def add_soft_soc_return(block: pyo.Block, assembler: ModelAssembler) -> None:
    """Add soft rows that bring the level of a store back to its window."""
    time = block.model().time
    block.target_low, block.target_high = add_param(time), add_param(time)
    block.soc_violation_cost = add_param(time)
    add_var(block, "soc_violation", time)
    block.soc_return_from_below = pyo.Constraint(
        time, rule=lambda b, t: b.target_low[t] - b.level[t + 1] <= b.soc_violation[t]
    )
    block.soc_return_from_above = pyo.Constraint(
        time, rule=lambda b, t: b.level[t + 1] - b.target_high[t] <= b.soc_violation[t]
    )
    assembler.add_cost("return", lambda t: block.soc_violation_cost[t] * block.soc_violation[t])


def taper_parameters(store: Store, problem: Problem) -> Mapping[str, FloatArray]:
    """Return the level per power at which the controller of a battery reduces it. [MWh MW-1]"""
    if not taper_exceeds_ramp(store, problem.site):
        return {}
    return {
        "charge_taper_energy": np.array(STORAGE_TAPER_TIME_H * store.charge_efficiency),
        "discharge_taper_energy": np.array(STORAGE_TAPER_TIME_H / store.discharge_efficiency),
    }


def add_taper_limit(block: pyo.Block) -> None:
    """Keep the power of a battery below the taper near the ends of its window."""
    time = block.model().time
    block.charge_taper_energy, block.discharge_taper_energy = add_param(), add_param()
    block.taper_charge_limit = pyo.Constraint(
        time,
        rule=lambda b, t: b.level[t + 1] + b.charge_taper_energy * b.charge[t] <= b.high[t + 1],
    )
    block.taper_discharge_limit = pyo.Constraint(
        time,
        rule=lambda b, t: (
            b.level[t + 1] - b.discharge_taper_energy * b.discharge[t] >= b.low[t + 1]
        ),
    )


def may_charge_discharge(store: Store, problem: Problem) -> tuple[BoolArray, BoolArray]:
    """Return whether a store can be charged, and discharged, in each interval, ``(time,)``.

    Outside the window the controller of the store allows only the way back.
    """
    start, (low, high) = problem.initial_level(store), target_levels(store, problem)
    lowest, highest = (np.append(start, ends)[:-1] for ends in (low, high))
    return (
        highest <= store.max_level + LEVEL_TOLERANCE_MWH,
        lowest >= store.min_level - LEVEL_TOLERANCE_MWH,
    )
