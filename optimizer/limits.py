"""Limits as a plan keeps them: less the margins, wider where the plant already stands beyond."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pyomo.environ as pyo

from optimizer.forms.table import columns, table
from optimizer.inputs import Inputs
from optimizer.ledger import Ledger
from optimizer.prices import RAMP_PRICE, RETURN_PRICE
from optimizer.problem import Problem
from optimizer.when import allowed, ramped
from twin.feasibility.connection import taper_exceeds_ramp
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.relations import Exchange, Store
from twin.simulation.integration import STORAGE_TAPER_TIME_H
from twin.variables import net_import

RETURN: Final = 0.25
"""Share of its power at which a store is brought back that starts outside its window. [1]"""

HAIR: Final = 0.1
"""Share of the margin of power that is kept of an import where nothing may be exported. [1]"""

NEAR: Final = 1e-9
"""Energy that is no difference. [MWh]"""


def levels(store: Store, problem: Problem) -> tuple[FloatArray, FloatArray]:
    """Return least and greatest level that is meant at every instant but the first. [MWh]

    A store that starts within the margin may stay where it is and need not hurry back; what it
    loses is charged again, where it can be charged as fast: one out of service sinks. One that
    starts outside its window, as a battery whose reserve was used, is meant to be brought back at
    :data:`RETURN` of its power.
    """
    start, margin = problem.level(store), store.margin(problem.margins.level)
    passed = np.cumsum(problem.hours)
    kept = start * (1.0 - store.standing_loss) ** passed
    low = np.full_like(kept, min(store.low + margin, max(start, store.low)))
    high = np.full_like(kept, max(store.high - margin, min(start, store.high)))
    if store.charge_limit * store.charge_efficiency <= store.standing_loss * start:
        low = np.minimum(low, kept)
    if start < store.low:
        back = RETURN * store.charge_limit * store.charge_efficiency
        low = np.minimum(low, kept + back * passed)
    if start > store.high:
        back = RETURN * store.discharge_limit / store.discharge_efficiency
        high = np.maximum(high, start - back * passed)
    return low, high


def is_astray(store: Store, problem: Problem) -> bool:
    """Return whether a store starts outside its window."""
    return not store.low - NEAR <= problem.level(store) <= store.high + NEAR


def bounds(store: Store, problem: Problem) -> tuple[FloatArray, FloatArray]:
    """Return the levels between which a store can be planned at every instant but the first. [MWh]

    Those that are meant; on its way back it may come later, as other limits may leave no room.
    """
    start, (low, high) = problem.level(store), levels(store, problem)
    rest = start * (1.0 - store.standing_loss) ** np.cumsum(problem.hours)
    if start < store.low:
        low = np.minimum(low, rest)
    return low, np.maximum(high, start) if start > store.high else high


def return_numbers(store: Store, problem: Problem) -> Mapping[str, FloatArray]:
    """Return what a store on its way back is meant to do; nothing for one within its window."""
    if not is_astray(store, problem):
        return {}
    low, high = levels(store, problem)
    return {"meant_low": low, "meant_high": high, "astray_cost": RETURN_PRICE * problem.hours}


def bring_back(block: pyo.Block, ledger: Ledger) -> None:
    """Bring the level of a store back to its window.

    Parameters
    ----------
    block
        Block of a store, with ``level``.
    ledger
        Where it is paid at :data:`optimizer.prices.RETURN_PRICE` that it comes later than meant.
    """
    time = block.model().time
    block.meant_low, block.meant_high = table(time), table(time)
    block.astray_cost = table(time)
    columns(block, "astray", time)
    block.back_up = pyo.Constraint(
        time, rule=lambda b, t: b.meant_low[t] - b.level[t + 1] <= b.astray[t]
    )
    block.back_down = pyo.Constraint(
        time, rule=lambda b, t: b.level[t + 1] - b.meant_high[t] <= b.astray[t]
    )
    ledger.pay("return", lambda t: block.astray_cost[t] * block.astray[t])


def fading_numbers(store: Store, problem: Problem) -> Mapping[str, FloatArray]:
    """Return what a battery has left, for each MW, when its power begins to fade. [MWh MW-1]"""
    if not taper_exceeds_ramp(store, problem.site):
        return {}
    return {
        "full_by": np.array(STORAGE_TAPER_TIME_H * store.charge_efficiency),
        "empty_by": np.array(STORAGE_TAPER_TIME_H / store.discharge_efficiency),
    }


def lead_gently(block: pyo.Block) -> None:
    """Keep so much of a battery's window at the end of each interval that its power never fades.

    Parameters
    ----------
    block
        Block of a store, with ``level`` between ``low`` and ``high``.
    """
    time = block.model().time
    block.full_by, block.empty_by = table(), table()
    block.fills = pyo.Constraint(
        time, rule=lambda b, t: b.level[t + 1] + b.full_by * b.charge[t] <= b.high[t + 1]
    )
    block.ebbs = pyo.Constraint(
        time, rule=lambda b, t: b.level[t + 1] - b.empty_by * b.discharge[t] >= b.low[t + 1]
    )


def ways(store: Store, problem: Problem) -> tuple[BoolArray, BoolArray]:
    """Return whether a store can surely be charged, and discharged, in each interval, ``(time,)``.

    Beyond an end of its window its own controller lets it go back only.
    """
    start, (low, high) = problem.level(store), levels(store, problem)
    least, most = (np.append(start, ends)[:-1] for ends in (low, high))
    return most <= store.high + NEAR, least >= store.low - NEAR


def kept_import(exchange: Exchange, problem: Problem) -> float:
    """Return the least import that is planned where nothing may be given to the grid. [MW]

    The lines of a model lie a hair above the curves of the machines: at no import at all, sun and
    batteries would give more than the site draws.
    """
    is_one_way = exchange.carrier == "grid" and exchange.export_limit <= 0.0
    return is_one_way * HAIR * problem.margins.power * exchange.import_limit


def ramp_numbers(exchange: Exchange, inputs: Inputs) -> Mapping[str, FloatArray]:
    """Return the ramp of an exchange and its last net import; none where no ramp is kept."""
    if not ramped(exchange, inputs.problem):
        return {}
    state = inputs.problem.state
    last = float(net_import(state))
    return {"ramp_limit": allowed(exchange, inputs.hours), "last": np.array(last)}


def ramp(block: pyo.Block, steps: tuple[int, ...], *, ledger: Ledger) -> None:
    """Hold the change of net import from one interval to the next within the ramp.

    Parameters
    ----------
    block
        Block of an exchange, with ``import_power`` and ``export_power``.
    steps
        Intervals in which it is held; without any nothing is written.
    ledger
        Where a breach is paid, at :data:`optimizer.prices.RAMP_PRICE`.
    """
    if not steps:
        return
    block.ramped = pyo.Set(initialize=steps)
    block.ramped_later = pyo.Set(initialize=[t for t in steps if t > 0])
    block.ramp_limit, block.last = table(block.model().time), table()
    columns(block, "ramp_excess", block.ramped)

    def net(t: int) -> Any:
        return block.import_power[t] - block.export_power[t]

    def most(t: int) -> Any:
        return block.ramp_limit[t] + block.ramp_excess[t]

    later = block.ramped_later
    if len(later):
        block.ramp_up = pyo.Constraint(later, rule=lambda _, t: net(t) - net(t - 1) <= most(t))
        block.ramp_down = pyo.Constraint(later, rule=lambda _, t: net(t - 1) - net(t) <= most(t))
    if steps[0] == 0:
        block.ramped_first = pyo.Set(initialize=[0])
        first, last = block.ramped_first, block.last
        block.first_up = pyo.Constraint(first, rule=lambda _, t: net(t) - last <= most(t))
        block.first_down = pyo.Constraint(first, rule=lambda _, t: last - net(t) <= most(t))
    ledger.pay_once("ramp", lambda: RAMP_PRICE * sum(block.ramp_excess[t] for t in block.ramped))
