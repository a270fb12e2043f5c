"""Reserves provided by storage: free power, and energy at the start and the end of activations.

=========================  ======  =======  ========================================================
Name                       Unit    Axes     Meaning
=========================  ======  =======  ========================================================
**Variables**
capacity_<product>         MW      m        capacity provided; 0 <= capacity <= <product>_most (0 in
                                            the past)
missing_reserve_energy     MWh     t        missing energy of storage that returns to its window; >=
                                            0
**Parameters**
<product>_power_<d>        1                activated power per capacity
<product>_behind_<d>       h                energy per capacity at the start of an activation
<product>_spent_<d>        h       t, e, w  energy per capacity, for activations that end at e
<product>_cost             EUR/MW  t        expected cost of activation
reserve_low, reserve_high  MWh     i        levels between which energy counts
ends_low, ends_high        MWh     t, e     the same at the endings
before, after              1       t, e     weights of the two instants around an ending
lag_up, lag_down           h                energy per power that has not yet followed the set point
taper_up, taper_down       h       t        energy per power that the taper needs
**Constraints**
power_up                   MW      t        discharge - charge + sum power_up * capacity <=
                                            discharge_limit
power_down                 MW      t        charge - discharge + sum power_down * capacity <=
                                            charge_limit
energy_up                  MWh     t > 0    sum behind_up * capacity + lag_up * charge[t-1] -
                                            level[t] - missing_reserve_energy[t-1] <=
                                            -reserve_low[t]
energy_down                MWh     t > 0    sum behind_down * capacity + level[t] + lag_down *
                                            discharge[t-1] - missing_reserve_energy[t-1] <=
                                            reserve_high[t]
first_energy_<d>           MWh     t = 0    the same without lag and missing energy
energy_at_end_up           MWh     t, e     sum_w spent_up * capacity - (before * level[t] + after *
                                            level[t+1]) + lag_up * charge + taper_up * discharge -
                                            missing_reserve_energy <= -ends_low
energy_at_end_down         MWh     t, e     sum_w spent_down * capacity + before * level[t] + after
                                            * level[t+1] + lag_down * discharge + taper_down *
                                            charge - missing_reserve_energy <= ends_high
**Offer and cost**
<product>                  MW      t        capacity, in both directions
activation                 EUR     t        cost * capacity
return                     EUR     t        UNBACKED_PENALTY_RATIO * soc_violation_cost *
                                            missing_reserve_energy
=========================  ======  =======  ========================================================

Axes: t interval, i instant, m interval with past ones in front, e ending of activations, w interval
of an activation; <d> is ``up`` or ``down``; sums without index run over the products.

An activation that ends with an interval uses the capacity of all intervals that it overlaps. Energy
is estimated conservatively: both directions count the discharge loss, because stopped discharge
saves more energy than charge stores.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyomo.environ as pyo

from optimizer.model.assembler import ModelAssembler, add_param, add_terms, add_var
from optimizer.model.components import storage_limits
from optimizer.model.components.reserve_product import (
    ReserveEligibility,
    activation_cost,
    activation_endings,
    add_named_param,
    component_pair,
    store_eligibility,
)
from optimizer.model.model_data import ModelData
from optimizer.model.objective import UNBACKED_PENALTY_RATIO
from optimizer.model.rows import reserve_column
from optimizer.problem.obligations_and_reserves import required_capacity as sold
from twin.equipment.storage import STORAGE_TAPER_TIME_H
from twin.feasibility.reserve_activation import activation_overlap
from twin.markets.reserve_products import ReserveProduct, is_gate_open
from twin.physics import FloatArray
from twin.relations import Store
from twin.simulation.limits import SET_POINT_TRANSITION_MIN
from twin.time_axes import HOUR

TAPER_TIME_H: Final = STORAGE_TAPER_TIME_H
"""Time constant with which the controller of a store tapers its power near an end of its window.
Reserves must be delivered in full until their end. [h]
"""

REPLAN_INTERVAL_H: Final = 1.0
"""Time until the next plan. [h]"""

SETPOINT_LAG_H: Final = 0.5 * SET_POINT_TRANSITION_MIN / 60.0
"""Mean delay between the set point of a store and its power. [h]"""


def storage_reserve_parameters(store: Store, data: ModelData) -> Mapping[str, FloatArray]:
    """Return the parameter values of reserves that a store may provide; empty if there are none."""
    eligibility, hours, problem = store_eligibility(store, data), data.hours, data.problem
    if not eligibility.products:
        return {}
    window = _reserve_levels(store, eligibility, data)
    until = activation_endings(data, eligibility.products)
    loss, none = 1.0 / store.discharge_efficiency, np.zeros(eligibility.window - 1)
    products = [problem.site.reserves[name] for name in eligibility.products]
    found = dict(window) | dict(_ending_levels(store, eligibility, data, window))
    for direction, lagged in (("up", store.charge_efficiency), ("down", loss)):
        mine = [p for p in products if (p.is_upward if direction == "up" else p.is_downward)]
        found[f"lag_{direction}"] = np.array(SETPOINT_LAG_H * lagged * bool(mine))
        found[f"taper_{direction}"] = TAPER_TIME_H * loss * _in_use(mine, data)
    may = np.all(storage_limits.may_charge_discharge(store, problem), axis=0)
    most = may * (store.charge_limit + store.discharge_limit)
    for name in eligibility.products:
        product = problem.site.reserves[name]
        spent = loss * activation_overlap(hours, product.duration, eligibility.window, until=until)
        spent[..., -1] += loss * TAPER_TIME_H * np.isfinite(until)
        behind = loss * (product.duration + TAPER_TIME_H)
        found |= {
            f"{name}_most": np.append(none, most),
            f"{name}_power_up": np.array(product.power_up),
            f"{name}_power_down": np.array(product.power_down),
            f"{name}_spent_up": spent * product.is_upward,
            f"{name}_spent_down": spent * product.is_downward,
            f"{name}_behind_up": np.array(behind * product.is_upward),
            f"{name}_behind_down": np.array(behind * product.is_downward),
            f"{name}_cost": hours * activation_cost(store, product, data),
        }
    return found


def _reserve_levels(
    store: Store, eligibility: ReserveEligibility, data: ModelData
) -> Mapping[str, FloatArray]:
    """Return the levels between which energy counts as reserve, less the margin while gates are
    open.

    Sold reserves may use half of the margin from the next plan on, and all of it before. No
    shortfall is planned to restore a margin. A store that starts outside its window may stay there.
    """
    problem, instants = data.problem, data.problem.outlook["instant"].to_numpy()
    products = [problem.site.reserves[name] for name in eligibility.products]
    opens = np.any([is_gate_open(product, instants) for product in products], axis=0)
    margin = store.level_margin(problem.margins.level)
    later = (instants - instants[0]) / HOUR >= REPLAN_INTERVAL_H
    is_open_at = np.append(opens, False) | np.append(False, opens)
    low, high = storage_limits.target_levels(store, problem)
    start = problem.initial_level(store)
    now = {p.name: float(sold(problem.outlook, p)[0]) * p.duration for p in products}
    behind, room = (
        sum(now[p.name] * way for p, way in ways) / store.discharge_efficiency
        for ways in ([(p, p.is_upward) for p in products], [(p, p.is_downward) for p in products])
    )
    spare = (start - store.min_level - behind, store.max_level - start - room)
    under, over = (
        np.where(is_open_at, margin, later * min(max(left, 0.0), 0.5 * margin)) for left in spare
    )
    return {
        "reserve_low": np.minimum(store.min_level + under, np.append(start, low)),
        "reserve_high": np.maximum(store.max_level - over, np.append(start, high)),
    }


def _ending_levels(
    store: Store, eligibility: ReserveEligibility, data: ModelData, window: Mapping[str, FloatArray]
) -> Mapping[str, FloatArray]:
    """Return the weights of the levels around the endings, and their bounds.

    Intervals with fewer endings than others have rows with bounds that never bind, whatever the
    level: a store that is drained, or out of service, may lie below its window.
    """
    start, (least, most) = (
        data.problem.initial_level(store),
        storage_limits.level_bounds(store, data.problem),
    )
    bottom, top = min(store.min_level, start, least.min()), max(store.max_level, start, most.max())
    until, hours = activation_endings(data, eligibility.products), data.hours[:, None]
    is_there = np.isfinite(until)
    after = np.where(is_there, until, hours) / hours
    before = 1.0 - after
    free = (
        (store.charge_limit + store.discharge_limit)
        * (SETPOINT_LAG_H + TAPER_TIME_H)
        / store.discharge_efficiency
    )
    low, high = (
        before * window[name][:-1, None] + after * window[name][1:, None]
        for name in ("reserve_low", "reserve_high")
    )
    return {
        "before": before,
        "after": after,
        "ends_low": np.where(is_there, low, bottom - free),
        "ends_high": np.where(is_there, high, top + free),
    }


def _in_use(products: Sequence[ReserveProduct], data: ModelData) -> FloatArray:
    """Return 1 in intervals in which one of the products is sold or can be, else 0, ``(time,)``."""
    outlook, found = data.problem.outlook, np.zeros(len(data.hours), dtype=bool)
    instants = outlook["instant"].to_numpy()
    for product in products:
        found |= is_gate_open(product, instants) | (sold(outlook, product) > 0.0)
    return found.astype(float)


def build_storage_reserve(
    block: pyo.Block, eligibility: ReserveEligibility, assembler: ModelAssembler
) -> None:
    """Add columns, rows and costs of the reserves that a store may provide."""
    if not eligibility.products:
        return
    time, instant, past = block.model().time, block.model().instant, eligibility.window - 1
    block.intervals_with_past, block.window = (
        pyo.RangeSet(0, past + len(time) - 1),
        pyo.RangeSet(0, past),
    )
    block.endings = pyo.RangeSet(0, eligibility.ending_count - 1)
    block.reserve_low, block.reserve_high = add_param(instant), add_param(instant)
    for word in ("before", "after", "ends_low", "ends_high"):
        add_named_param(block, word, time, block.endings)
    block.lag_up, block.lag_down = add_param(), add_param()
    block.taper_up, block.taper_down = add_param(time), add_param(time)
    for name in eligibility.products:
        add_var(
            block,
            reserve_column(name),
            block.intervals_with_past,
            high=add_named_param(block, f"{name}_most", block.intervals_with_past),
        )
        for direction in ("up", "down"):
            add_named_param(block, f"{name}_power_{direction}")
            add_named_param(block, f"{name}_behind_{direction}")
            add_named_param(block, f"{name}_spent_{direction}", time, block.endings, block.window)
        _add_offer(block, name, past, assembler=assembler)
    _add_power_limits(block, eligibility)
    if block.component("soc_violation") is not None:
        _add_missing_energy(block, assembler)
    add_energy_at_activation_start(block, eligibility)
    add_energy_at_activation_end(block, eligibility)


def _add_power_limits(block: pyo.Block, eligibility: ReserveEligibility) -> None:
    time, past = block.model().time, eligibility.window - 1

    def provided(direction: str) -> Callable[[Any], list[Any]]:
        pairs = [
            component_pair(block, reserve_column(name), f"{name}_power_{direction}")
            for name in eligibility.products
        ]
        return lambda t: [power * capacity[t + past] for capacity, power in pairs]

    up, down = provided("up"), provided("down")
    block.power_up = pyo.Constraint(
        time,
        rule=lambda b, t: add_terms([b.discharge[t] - b.charge[t], *up(t)]) <= b.discharge_limit,
    )
    block.power_down = pyo.Constraint(
        time,
        rule=lambda b, t: add_terms([b.charge[t] - b.discharge[t], *down(t)]) <= b.charge_limit,
    )


def _add_missing_energy(block: pyo.Block, assembler: ModelAssembler) -> None:
    """Let a returning store lack energy at a penalty above that of a shortfall."""
    add_var(block, "missing_reserve_energy", block.model().time)
    assembler.add_cost(
        "return",
        lambda t: (
            UNBACKED_PENALTY_RATIO * block.soc_violation_cost[t] * block.missing_reserve_energy[t]
        ),
    )


def _add_offer(block: pyo.Block, name: str, past: int, *, assembler: ModelAssembler) -> None:
    """Offer the provided capacity, and post its expected activation cost."""
    time = block.model().time
    capacity, cost = (
        block.component(reserve_column(name)),
        add_named_param(block, f"{name}_cost", time),
    )
    assembler.add_reserve(name, up=lambda t: capacity[t + past], down=lambda t: capacity[t + past])
    assembler.add_cost("activation", lambda t: cost[t] * capacity[t + past])


def add_energy_at_activation_start(block: pyo.Block, eligibility: ReserveEligibility) -> None:
    """Keep energy for a full activation that begins with an interval.

    Power follows a set point with a lag, so part of the last charge is not yet stored.
    """
    time, past = block.model().time, eligibility.window - 1

    def first(direction: str) -> Callable[[Any], Any]:
        pairs = [
            component_pair(block, reserve_column(name), f"{name}_behind_{direction}")
            for name in eligibility.products
        ]
        return lambda t: add_terms([energy * capacity[t + past] for capacity, energy in pairs])

    up, down, missing = first("up"), first("down"), _missing_energy(block)
    block.at_once = pyo.Set(initialize=[0])
    block.first_energy_up = pyo.Constraint(
        block.at_once, rule=lambda b, t: up(t) - b.level[t] <= -1.0 * b.reserve_low[t]
    )
    block.first_energy_down = pyo.Constraint(
        block.at_once, rule=lambda b, t: down(t) + b.level[t] <= b.reserve_high[t]
    )
    if len(time) > 1:
        block.later = pyo.RangeSet(1, len(time) - 1)
        block.energy_up = pyo.Constraint(
            block.later,
            rule=lambda b, t: (
                add_terms([up(t), b.lag_up * b.charge[t - 1] - b.level[t], *missing(t - 1)])
                <= -1.0 * b.reserve_low[t]
            ),
        )
        block.energy_down = pyo.Constraint(
            block.later,
            rule=lambda b, t: (
                add_terms([down(t), b.level[t] + b.lag_down * b.discharge[t - 1], *missing(t - 1)])
                <= b.reserve_high[t]
            ),
        )


def add_energy_at_activation_end(block: pyo.Block, eligibility: ReserveEligibility) -> None:
    """Keep energy for full activations of all products that end together, at every ending.

    Levels are linear between instants and endings, so no other moment can be worse.
    """
    time, moments = block.model().time, block.endings

    def spent(direction: str) -> Callable[[Any, Any], Any]:
        pairs = [
            component_pair(block, reserve_column(name), f"{name}_spent_{direction}")
            for name in eligibility.products
        ]
        return lambda t, i: add_terms(
            [
                sum(share[t, i, k] * capacity[t + k] for k in block.window)
                for capacity, share in pairs
            ]
        )

    up, down, missing = spent("up"), spent("down"), _missing_energy(block)

    def level(t: int, i: int) -> Any:
        return block.before[t, i] * block.level[t] + block.after[t, i] * block.level[t + 1]

    block.energy_at_end_up = pyo.Constraint(
        time,
        moments,
        rule=lambda b, t, i: (
            add_terms([up(t, i) - level(t, i), b.lag_up * b.charge[t], *missing(t)])
            + b.taper_up[t] * b.discharge[t]
            <= -1.0 * b.ends_low[t, i]
        ),
    )
    block.energy_at_end_down = pyo.Constraint(
        time,
        moments,
        rule=lambda b, t, i: (
            add_terms([down(t, i) + level(t, i), b.lag_down * b.discharge[t], *missing(t)])
            + b.taper_down[t] * b.charge[t]
            <= b.ends_high[t, i]
        ),
    )


def _missing_energy(block: pyo.Block) -> Callable[[Any], list[Any]]:
    """Return the term of missing energy of a returning store; empty for others."""
    energy = block.component("missing_reserve_energy")
    return lambda t: [] if energy is None else [-1.0 * energy[t]]
