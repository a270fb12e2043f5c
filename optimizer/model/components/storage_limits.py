"""Limits as a plan keeps them: less the margins, wider where the plant already stands beyond."""

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
"""Share of its power at which a store is brought back that starts outside its window. [1]"""

LEVEL_TOLERANCE_MWH: Final = 1e-9
"""Energy that is no difference. [MWh]"""


def target_levels(store: Store, problem: Problem) -> tuple[FloatArray, FloatArray]:
    """Return least and greatest level that is meant at every instant but the first. [MWh]

    A store that starts within the margin may stay where it is and need not hurry back; what it
    loses is charged again, where it can be charged as fast: one out of service sinks. One that
    starts outside its window, as a battery whose reserve was used, is meant to be brought back at
    :data:`RETURN_POWER_SHARE` of its power.
    """
    start, margin = problem.initial_level(store), store.level_margin(problem.margins.level)
    passed = np.cumsum(problem.hours)
    kept = start * (1.0 - store.standing_loss) ** passed
    low = np.full_like(kept, min(store.min_level + margin, max(start, store.min_level)))
    high = np.full_like(kept, max(store.max_level - margin, min(start, store.max_level)))
    if store.charge_limit * store.charge_efficiency <= store.standing_loss * start:
        low = np.minimum(low, kept)
    if start < store.min_level:
        back = RETURN_POWER_SHARE * store.charge_limit * store.charge_efficiency
        low = np.minimum(low, kept + back * passed)
    if start > store.max_level:
        back = RETURN_POWER_SHARE * store.discharge_limit / store.discharge_efficiency
        high = np.maximum(high, start - back * passed)
    return low, high


def starts_outside_window(store: Store, problem: Problem) -> bool:
    """Return whether a store starts outside its window."""
    return (
        not store.min_level - LEVEL_TOLERANCE_MWH
        <= problem.initial_level(store)
        <= store.max_level + LEVEL_TOLERANCE_MWH
    )


def level_bounds(store: Store, problem: Problem) -> tuple[FloatArray, FloatArray]:
    """Return the levels between which a store can be planned at every instant but the first. [MWh]

    Those that are meant; on its way back it may come later, as other limits may leave no room.
    """
    start, (low, high) = problem.initial_level(store), target_levels(store, problem)
    rest = start * (1.0 - store.standing_loss) ** np.cumsum(problem.hours)
    if start < store.min_level:
        low = np.minimum(low, rest)
    return low, np.maximum(high, start) if start > store.max_level else high


def soc_return_parameters(store: Store, problem: Problem) -> Mapping[str, FloatArray]:
    """Return what a store on its way back is meant to do; nothing for one within its window."""
    if not starts_outside_window(store, problem):
        return {}
    low, high = target_levels(store, problem)
    return {
        "meant_low": low,
        "meant_high": high,
        "astray_cost": SOC_RETURN_PENALTY_EUR_PER_MWH_H * problem.hours,
    }


def add_soft_soc_return(block: pyo.Block, assembler: ModelAssembler) -> None:
    """Bring the level of a store back to its window.

    Parameters
    ----------
    block
        Block of a store, with ``level``.
    assembler
        Where it is paid at :data:`optimizer.model.objective.SOC_RETURN_PENALTY_EUR_PER_MWH_H` that
        it comes later than meant.
    """
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
    """Return what a battery has left, for each MW, when its power begins to fade. [MWh MW-1]"""
    if not taper_exceeds_ramp(store, problem.site):
        return {}
    return {
        "full_by": np.array(STORAGE_TAPER_TIME_H * store.charge_efficiency),
        "empty_by": np.array(STORAGE_TAPER_TIME_H / store.discharge_efficiency),
    }


def add_taper_limit(block: pyo.Block) -> None:
    """Keep so much of a battery's window at the end of each interval that its power never fades.

    Parameters
    ----------
    block
        Block of a store, with ``level`` between ``low`` and ``high``.
    """
    time = block.model().time
    block.full_by, block.empty_by = add_param(), add_param()
    block.fills = pyo.Constraint(
        time, rule=lambda b, t: b.level[t + 1] + b.full_by * b.charge[t] <= b.high[t + 1]
    )
    block.ebbs = pyo.Constraint(
        time, rule=lambda b, t: b.level[t + 1] - b.empty_by * b.discharge[t] >= b.low[t + 1]
    )


def may_charge_discharge(store: Store, problem: Problem) -> tuple[BoolArray, BoolArray]:
    """Return whether a store can surely be charged, and discharged, in each interval, ``(time,)``.

    Beyond an end of its window its own controller lets it go back only.
    """
    start, (low, high) = problem.initial_level(store), target_levels(store, problem)
    least, most = (np.append(start, ends)[:-1] for ends in (low, high))
    return (
        most <= store.max_level + LEVEL_TOLERANCE_MWH,
        least >= store.min_level - LEVEL_TOLERANCE_MWH,
    )
