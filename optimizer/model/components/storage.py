"""Storage of a carrier: levels at instants, charge and discharge between them, and their limits.

===================================  =======  ====  ================================================
Name                                 Unit     Axes  Meaning
===================================  =======  ====  ================================================
**Variables**
charge, discharge                    MW       t     power in and out; 0 <= charge <= charge_max
level                                MWh      i     content; low <= level <= high, level[0] is the
                                                    state
soc_violation                        MWh      t     distance of level[t+1] from the intended levels;
                                                    >= 0
**Parameters**
charge_max, discharge_max            MW       t     largest power in an interval, 0 where it is not
                                                    allowed
charge_limit, discharge_limit        MW             rated power
charge_fraction, discharge_fraction  1/MW           1 / rated power
retention                            1        t     share of the level that remains after an
                                                    interval
charge_gain, discharge_loss          h        t     level gained per charge, and lost per discharge
low, high                            MWh      i     bounds of the level
wear                                 EUR/MW   t     cost of wear per discharge
terminal_value                       EUR/MWh        terminal value of the last level
target_low, target_high              MWh      t     lowest and highest intended level at the end of
                                                    an interval
soc_violation_cost                   EUR/MWh  t     penalty on the distance
<direction>_taper_energy             h              level per power at which the controller reduces
                                                    charge and discharge
**Constraints**
soc_balance                          MWh      t     level[t+1] == retention * level[t] + charge_gain
                                                    * charge - discharge_loss * discharge
charge_discharge_limit               1        t     charge_fraction * charge + discharge_fraction *
                                                    discharge <= 1
soc_return_from_below                MWh      t     target_low - level[t+1] <= soc_violation
soc_return_from_above                MWh      t     level[t+1] - target_high <= soc_violation
taper_charge_limit                   MWh      t     level[t+1] + charge_taper_energy * charge <=
                                                    high[t+1]
taper_discharge_limit                MWh      t     level[t+1] - discharge_taper_energy * discharge
                                                    >= low[t+1]
**Supply and cost**
carrier                              MW       t     discharge - charge
wear                                 EUR      t     wear * discharge
terminal                             EUR            -terminal_value * level[end]
return                               EUR      t     soc_violation_cost * soc_violation
===================================  =======  ====  ================================================

Axes: t interval, i instant. The return exists only for storage that starts outside its window, the
taper limit only where the taper would exceed the ramp of the connection.
:mod:`storage_reserve` adds reserves to the block.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyomo.environ as pyo

from optimizer.model.assembler import ModelAssembler, add_params, add_rows, add_var
from optimizer.model.model_data import ModelData
from optimizer.model.objective import SOC_RETURN_PENALTY_EUR_PER_MWH_H
from optimizer.model.rows import BlockNumbers, RowShare, RowSpec, share_where_positive
from optimizer.problem.problem import Problem
from twin.equipment.storage import STORAGE_TAPER_TIME_H
from twin.feasibility.connection import taper_exceeds_ramp
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.relations import Store

POWER_LABELS: Final[Mapping[str, str]] = {"charge": "charging", "discharge": "discharging"}
"""Direction -> label of its power."""

UPPER_LEVEL_LABEL: Final = "level of the store"
LOWER_LEVEL_LABEL: Final = "least level of the store"

WINDOW_RETURN_POWER_SHARE: Final = 0.25
"""Share of its power at which a store outside its window returns. [1]"""

LEVEL_TOLERANCE_MWH: Final = 1e-9
"""Difference of levels that is ignored. [MWh]"""


@dataclass(frozen=True, kw_only=True)
class StorageSignature:
    """Everything about a store that decides its rows and columns.

    ``needs_taper_limit`` is true if the taper near an end of its window would exceed the ramp of
    the connection.
    """

    carrier: str
    starts_outside_window: bool
    needs_taper_limit: bool


def signature(store: Store, data: ModelData) -> StorageSignature:
    """Return the signature of a store."""
    return StorageSignature(
        carrier=store.carrier,
        starts_outside_window=starts_outside_window(store, data.problem),
        needs_taper_limit=taper_exceeds_ramp(store, data.problem.site),
    )


def parameters(store: Store, data: ModelData) -> Mapping[str, FloatArray]:
    """Return the parameter values of a store; its last level is worth the cost that it saves
    later.
    """
    hours, start = data.interval_hours, data.problem.initial_level(store)
    low, high = level_bounds(store, data.problem)
    wear = data.problem.weights["money"] * store.wear_cost
    worth = data.terminal_value.get(store.carrier, 0.0) - wear
    scalars = {
        "charge_limit": store.charge_limit,
        "discharge_limit": store.discharge_limit,
        "charge_fraction": 1.0 / store.charge_limit,
        "discharge_fraction": 1.0 / store.discharge_limit,
        "terminal_value": max(worth, 0.0) * store.discharge_efficiency,
    }
    may_charge, may_discharge = may_charge_discharge(store, data.problem)
    found = {name: np.array(value) for name, value in scalars.items()} | {
        "charge_max": store.charge_limit * may_charge,
        "discharge_max": data.problem.max_discharge(store) * may_discharge,
        "retention": (1.0 - store.standing_loss) ** hours,
        "charge_gain": hours * store.charge_efficiency,
        "discharge_loss": hours / store.discharge_efficiency,
        "wear": store.wear_cost * hours,
        "low": np.append(start, low),
        "high": np.append(start, high),
    }
    taper = taper_parameters(store, data.problem)
    return found | taper | soc_return_parameters(store, data.problem)


def build(block: pyo.Block, signature: StorageSignature, assembler: ModelAssembler) -> None:
    """Write a store into its empty block and post flows, wear and terminal value."""
    time, instant = block.model().time, block.model().instant
    end = instant.last()
    add_params(block, "charge_limit discharge_limit charge_fraction discharge_fraction")
    add_params(block, "terminal_value")
    add_params(block, "retention charge_gain discharge_loss wear charge_max discharge_max", time)
    add_params(block, "low high", instant)
    for name, label in POWER_LABELS.items():
        high = block.component(f"{name}_max")
        spec = RowSpec(label=label, change_per_unit=share_where_positive(f"{name}_max"))
        add_var(block, name, time, high=high, upper=spec)
    ends = [RowSpec(label=label, unit="MWh") for label in (UPPER_LEVEL_LABEL, LOWER_LEVEL_LABEL)]
    add_var(block, "level", instant, low=block.low, high=block.high, upper=ends[0], lower=ends[1])
    block.soc_balance = pyo.Constraint(
        time,
        rule=lambda b, t: (
            b.level[t + 1]
            == b.retention[t] * b.level[t]
            + b.charge_gain[t] * b.charge[t]
            - b.discharge_loss[t] * b.discharge[t]
        ),
    )
    shares = {label: _used_share(name) for name, label in POWER_LABELS.items()}
    block.charge_discharge_limit = add_rows(
        time,
        rule=lambda b, t: (
            b.charge_fraction * b.charge[t] + b.discharge_fraction * b.discharge[t] <= 1.0
        ),
        spec=RowSpec(relaxed_with=shares),
    )
    assembler.add_supply(signature.carrier, lambda t: block.discharge[t])
    assembler.add_demand(signature.carrier, lambda t: block.charge[t])
    assembler.add_cost("wear", lambda t: block.wear[t] * block.discharge[t])
    assembler.add_fixed_cost("terminal", lambda: -1.0 * block.terminal_value * block.level[end])
    if signature.needs_taper_limit:
        add_taper_limit(block)
    if signature.starts_outside_window:
        add_soft_soc_return(block, assembler)


def _used_share(direction: str) -> RowShare:
    """Return how much less of the shared row a plan uses per MW more of its limit. [MW-1]"""

    def share(of: BlockNumbers) -> FloatArray:
        limit = of(f"{direction}_limit")
        return np.asarray(np.maximum(of(direction) / limit, 0.0).round(6) / limit)

    return share


def target_levels(store: Store, problem: Problem) -> tuple[FloatArray, FloatArray]:
    """Return the lowest and highest intended level at every instant but the first. [MWh]

    A store that starts within the margin may stay there. Its losses are recharged, if the charge
    power suffices; a store out of service sinks. A store that starts outside its window, such as a
    battery after a reserve activation, returns at :data:`WINDOW_RETURN_POWER_SHARE` of its power.
    """
    start, margin = problem.initial_level(store), store.level_margin(problem.margins.level)
    elapsed = np.cumsum(problem.interval_hours)
    idle_level = start * (1.0 - store.standing_loss) ** elapsed
    low = np.full_like(idle_level, min(store.min_level + margin, max(start, store.min_level)))
    high = np.full_like(idle_level, max(store.max_level - margin, min(start, store.max_level)))
    if store.charge_limit * store.charge_efficiency <= store.standing_loss * start:
        low = np.minimum(low, idle_level)
    if start < store.min_level:
        back = WINDOW_RETURN_POWER_SHARE * store.charge_limit * store.charge_efficiency
        low = np.minimum(low, idle_level + back * elapsed)
    if start > store.max_level:
        back = WINDOW_RETURN_POWER_SHARE * store.discharge_limit / store.discharge_efficiency
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
    rest = start * (1.0 - store.standing_loss) ** np.cumsum(problem.interval_hours)
    if start < store.min_level:
        low = np.minimum(low, rest)
    return low, np.maximum(high, start) if start > store.max_level else high


def soc_return_parameters(store: Store, problem: Problem) -> dict[str, FloatArray]:
    """Return the parameter values of the return to the window; empty within it."""
    if not starts_outside_window(store, problem):
        return {}
    low, high = target_levels(store, problem)
    return {
        "target_low": low,
        "target_high": high,
        "soc_violation_cost": SOC_RETURN_PENALTY_EUR_PER_MWH_H * problem.interval_hours,
    }


def add_soft_soc_return(block: pyo.Block, assembler: ModelAssembler) -> None:
    """Add soft rows that bring the level of a store back to its window."""
    time = block.model().time
    add_params(block, "target_low target_high soc_violation_cost", time)
    add_var(block, "soc_violation", time)
    block.soc_return_from_below = pyo.Constraint(
        time, rule=lambda b, t: b.target_low[t] - b.level[t + 1] <= b.soc_violation[t]
    )
    block.soc_return_from_above = pyo.Constraint(
        time, rule=lambda b, t: b.level[t + 1] - b.target_high[t] <= b.soc_violation[t]
    )
    assembler.add_cost("return", lambda t: block.soc_violation_cost[t] * block.soc_violation[t])


def taper_parameters(store: Store, problem: Problem) -> dict[str, FloatArray]:
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
    add_params(block, "charge_taper_energy discharge_taper_energy")
    spec = RowSpec(label="power of the store near an end of its window", unit="MWh")
    block.taper_charge_limit = add_rows(
        time,
        rule=lambda b, t: b.level[t + 1] + b.charge_taper_energy * b.charge[t] <= b.high[t + 1],
        spec=spec,
    )
    block.taper_discharge_limit = add_rows(
        time,
        rule=lambda b, t: (
            b.level[t + 1] - b.discharge_taper_energy * b.discharge[t] >= b.low[t + 1]
        ),
        spec=spec,
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
