"""Limits of storage: level bounds with margins, soft return to the window, and taper.

=====================  =======  ====  ===========================================================
Name                   Unit     Axes  Meaning
=====================  =======  ====  ===========================================================
**Variables**
astray                 MWh      t     distance of level[t+1] from the intended levels; >= 0
**Parameters**
meant_low, meant_high  MWh      t     lowest and highest intended level at the end of an interval
astray_cost            EUR/MWh  t     penalty on the distance
full_by, empty_by      h              level per power at which the controller reduces charge and
                                      discharge
**Constraints**
back_up                MWh      t     meant_low - level[t+1] <= astray
back_down              MWh      t     level[t+1] - meant_high <= astray
fills                  MWh      t     level[t+1] + full_by * charge <= high[t+1]
ebbs                   MWh      t     level[t+1] - empty_by * discharge >= low[t+1]
**Cost**
return                 EUR      t     astray_cost * astray
=====================  =======  ====  ===========================================================

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
from twin.feasibility.connection import taper_exceeds_ramp
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.relations import Store
from twin.simulation.integration import STORAGE_TAPER_TIME_H

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
        "meant_low": low,
        "meant_high": high,
        "astray_cost": SOC_RETURN_PENALTY_EUR_PER_MWH_H * problem.hours,
    }


def add_soft_soc_return(block: pyo.Block, assembler: ModelAssembler) -> None:
    """Add soft rows that bring the level of a store back to its window."""
    time = block.model().time
    block.meant_low, block.meant_high = add_param(time), add_param(time)
    block.astray_cost = add_param(time)
    add_var(block, "astray", time)
    block.back_up = pyo.Constraint(
        time, rule=lambda b, t: b.meant_low[t] - b.level[t + 1] <= b.astray[t]
    )
    block.back_down = pyo.Constraint(
        time, rule=lambda b, t: b.level[t + 1] - b.meant_high[t] <= b.astray[t]
    )
    assembler.add_cost("return", lambda t: block.astray_cost[t] * block.astray[t])


def taper_parameters(store: Store, problem: Problem) -> Mapping[str, FloatArray]:
    """Return the level per power at which the controller of a battery reduces it. [MWh MW-1]"""
    if not taper_exceeds_ramp(store, problem.site):
        return {}
    return {
        "full_by": np.array(STORAGE_TAPER_TIME_H * store.charge_efficiency),
        "empty_by": np.array(STORAGE_TAPER_TIME_H / store.discharge_efficiency),
    }


def add_taper_limit(block: pyo.Block) -> None:
    """Keep the power of a battery below the taper near the ends of its window."""
    time = block.model().time
    block.full_by, block.empty_by = add_param(), add_param()
    block.fills = pyo.Constraint(
        time, rule=lambda b, t: b.level[t + 1] + b.full_by * b.charge[t] <= b.high[t + 1]
    )
    block.ebbs = pyo.Constraint(
        time, rule=lambda b, t: b.level[t + 1] - b.empty_by * b.discharge[t] >= b.low[t + 1]
    )


def may_charge_discharge(store: Store, problem: Problem) -> tuple[BoolArray, BoolArray]:
    """Return whether a store can be charged, and discharged, in each interval, ``(time,)``.

    Outside the window the controller of the store allows only the way back.
    """
    start, (low, high) = problem.initial_level(store), target_levels(store, problem)
    least, most = (np.append(start, ends)[:-1] for ends in (low, high))
    return (
        most <= store.max_level + LEVEL_TOLERANCE_MWH,
        least >= store.min_level - LEVEL_TOLERANCE_MWH,
    )
