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

from optimizer.model.assembler import (
    ModelAssembler,
    add_intervals,
    add_params,
    add_rows,
    add_terms,
    add_var,
)
from optimizer.model.components.reserve_product import (
    ReserveEligibility,
    activation_cost,
    activation_endings,
    eligibility,
)
from optimizer.model.components.storage import (
    LOWER_LEVEL_LABEL,
    POWER_LABELS,
    UPPER_LEVEL_LABEL,
    level_bounds,
    may_charge_discharge,
    target_levels,
)
from optimizer.model.model_data import ModelData
from optimizer.model.objective import UNBACKED_PENALTY_RATIO
from optimizer.model.rows import BlockNumbers, RowSpec, reserve_column_name, share_where_positive
from optimizer.problem.obligations_and_reserves import required_capacity as sold
from twin.equipment.storage import STORAGE_TAPER_TIME_H
from twin.feasibility.reserve_activation import activation_overlap
from twin.feasibility.reserve_deliverability import eligible_stores
from twin.markets.reserve_products import ReserveProduct, is_gate_open
from twin.physics import FloatArray
from twin.relations import Store
from twin.simulation.operating_limits import SET_POINT_TRANSITION_MIN
from twin.time_axes import HOUR

TAPER_TIME_H: Final = STORAGE_TAPER_TIME_H
"""Time constant with which the controller of a store tapers its power near an end of its window.
Reserves must be delivered in full until their end. [h]
"""

REPLAN_INTERVAL_H: Final = 1.0
"""Time until the next plan. [h]"""

SETPOINT_LAG_H: Final = 0.5 * SET_POINT_TRANSITION_MIN / 60.0
"""Mean delay between the set point of a store and its power. [h]"""


def signature(store: Store, data: ModelData) -> ReserveEligibility:
    """Return the products that a store may provide."""
    site = data.problem.site
    return eligibility(data, lambda product: store in eligible_stores(site, product))


def parameters(store: Store, data: ModelData) -> Mapping[str, FloatArray]:
    """Return the parameter values of reserves that a store may provide; empty if there are none."""
    eligible, hours, problem = signature(store, data), data.interval_hours, data.problem
    if not eligible.products:
        return {}
    window = _reserve_levels(store, eligible, data)
    until = activation_endings(data, eligible.products)
    loss, none = 1.0 / store.discharge_efficiency, np.zeros(eligible.overlapped_interval_count - 1)
    products = [problem.site.reserves[name] for name in eligible.products]
    found = dict(window) | dict(_ending_levels(store, eligible, data, window))
    for direction, lagged in (("up", store.charge_efficiency), ("down", loss)):
        mine = [p for p in products if (p.is_upward if direction == "up" else p.is_downward)]
        found[f"lag_{direction}"] = np.array(SETPOINT_LAG_H * lagged * bool(mine))
        found[f"taper_{direction}"] = TAPER_TIME_H * loss * _in_use(mine, data)
    may = np.all(may_charge_discharge(store, problem), axis=0)
    most = may * (store.charge_limit + store.discharge_limit)
    for name in eligible.products:
        product = problem.site.reserves[name]
        spent = loss * activation_overlap(
            hours, product.duration, eligible.overlapped_interval_count, until=until
        )
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
    store: Store, eligible: ReserveEligibility, data: ModelData
) -> Mapping[str, FloatArray]:
    """Return the levels between which energy counts as reserve, less the margin while gates are
    open.

    Sold reserves may use half of the margin from the next plan on, and all of it before. No
    shortfall is planned to restore a margin. A store that starts outside its window may stay there.
    """
    problem, instants = data.problem, data.problem.outlook["instant"].to_numpy()
    products = [problem.site.reserves[name] for name in eligible.products]
    opens = np.any([is_gate_open(product, instants) for product in products], axis=0)
    margin = store.level_margin(problem.margins.level)
    later = (instants - instants[0]) / HOUR >= REPLAN_INTERVAL_H
    is_open_at = np.append(opens, False) | np.append(False, opens)
    low, high = target_levels(store, problem)
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
    store: Store, eligible: ReserveEligibility, data: ModelData, window: Mapping[str, FloatArray]
) -> Mapping[str, FloatArray]:
    """Return the weights of the levels around the endings, and their bounds.

    Intervals with fewer endings than others have rows with bounds that never bind, whatever the
    level: a store that is drained, or out of service, may lie below its window.
    """
    start, (least, most) = (data.problem.initial_level(store), level_bounds(store, data.problem))
    bottom, top = min(store.min_level, start, least.min()), max(store.max_level, start, most.max())
    until, hours = activation_endings(data, eligible.products), data.interval_hours[:, None]
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
    outlook, found = data.problem.outlook, np.zeros(len(data.interval_hours), dtype=bool)
    instants = outlook["instant"].to_numpy()
    for product in products:
        found |= is_gate_open(product, instants) | (sold(outlook, product) > 0.0)
    return found.astype(float)


def build(block: pyo.Block, eligible: ReserveEligibility, assembler: ModelAssembler) -> None:
    """Add columns, rows and costs of the reserves that a store may provide to its block."""
    if not eligible.products:
        return
    time, instant, past = (
        block.model().time,
        block.model().instant,
        eligible.overlapped_interval_count - 1,
    )
    block.endings = pyo.RangeSet(0, eligible.ending_count - 1)
    block.window = pyo.RangeSet(-past, 0)
    block.intervals_with_past = with_past = add_intervals(range(-past, len(time)))
    add_params(block, "reserve_low reserve_high", instant)
    add_params(block, "before after ends_low ends_high", time, block.endings)
    add_params(block, "lag_up lag_down")
    add_params(block, "taper_up taper_down", time)
    for name in eligible.products:
        (most,) = add_params(block, f"{name}_most", with_past)
        open_power = share_where_positive(f"{name}_most")
        spec = RowSpec(relaxed_with=dict.fromkeys(POWER_LABELS.values(), open_power))
        add_var(block, reserve_column_name(name), with_past, high=most, upper=spec)
        for way in ("up", "down"):
            add_params(block, f"{name}_power_{way} {name}_behind_{way}")
            add_params(block, f"{name}_spent_{way}", time, block.endings, block.window)
        _add_offer(block, name, assembler=assembler)
    _add_power_limits(block, eligible)
    if block.component("soc_violation") is not None:
        _add_missing_energy(block, assembler)
    add_energy_at_activation_start(block, eligible)
    add_energy_at_activation_end(block, eligible)


def _weighted_capacity(
    block: pyo.Block, eligible: ReserveEligibility, parameter: str
) -> Callable[[Any], Any]:
    """Return the capacity of all products, each weighted by its ``<product>_<parameter>``."""
    pairs = [
        (block.component(f"{name}_{parameter}"), block.component(reserve_column_name(name)))
        for name in eligible.products
    ]
    return lambda t: add_terms([weight * capacity[t] for weight, capacity in pairs])


def _add_power_limits(block: pyo.Block, eligible: ReserveEligibility) -> None:
    """Limit the power of a store together with that of its reserves."""
    time = block.model().time
    up = _weighted_capacity(block, eligible, "power_up")
    down = _weighted_capacity(block, eligible, "power_down")
    label = "power kept for reserves {}wards"
    block.power_up = add_rows(
        time,
        rule=lambda b, t: b.discharge[t] - b.charge[t] + up(t) <= b.discharge_limit,
        spec=RowSpec(label=label.format("up"), relaxed_with={POWER_LABELS["discharge"]: None}),
    )
    block.power_down = add_rows(
        time,
        rule=lambda b, t: b.charge[t] - b.discharge[t] + down(t) <= b.charge_limit,
        spec=RowSpec(label=label.format("down"), relaxed_with={POWER_LABELS["charge"]: None}),
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


def _add_offer(block: pyo.Block, name: str, *, assembler: ModelAssembler) -> None:
    """Offer the provided capacity, and post its expected activation cost."""
    capacity, time = block.component(reserve_column_name(name)), block.model().time
    (cost,) = add_params(block, f"{name}_cost", time)
    assembler.add_reserve(name, up=lambda t: capacity[t], down=lambda t: capacity[t])
    assembler.add_cost("activation", lambda t: cost[t] * capacity[t])


ENERGY_UP_LABEL: Final = "energy behind reserves upwards"
ENERGY_DOWN_LABEL: Final = "room for reserves downwards"


def _energy_spec(
    direction: str, lowest: Callable[[BlockNumbers], FloatArray], ending: str = ""
) -> RowSpec:
    """Return the meaning of rows of reserve energy, with their ``lowest`` levels.

    They move with an end of the window of the store. The level cannot be lower than empty, so that
    the energy behind upward reserves is a limit of its own where the window begins there.
    """
    if direction == "down":
        return RowSpec(
            label=f"{ENERGY_DOWN_LABEL}{ending}", unit="MWh", relaxed_with={UPPER_LEVEL_LABEL: None}
        )
    return RowSpec(
        label=f"{ENERGY_UP_LABEL}{ending}",
        unit="MWh",
        relaxed_with={
            LOWER_LEVEL_LABEL: lambda of: lowest(of) > 0.0,
            ENERGY_UP_LABEL: lambda of: ~np.any(lowest(of) > 0.0),
        },
    )


def add_energy_at_activation_start(block: pyo.Block, eligible: ReserveEligibility) -> None:
    """Keep energy for a full activation that begins with an interval.

    Power follows a set point with a lag, so part of the last charge is not yet stored.
    """
    time, missing = block.model().time, _missing_energy(block)
    up = _weighted_capacity(block, eligible, "behind_up")
    down = _weighted_capacity(block, eligible, "behind_down")
    block.at_once = first = add_intervals([0])
    specs = [_energy_spec(way, lambda of: of("reserve_low")[:1]) for way in ("up", "down")]
    block.first_energy_up = add_rows(
        first, rule=lambda b, t: up(t) - b.level[t] <= -1.0 * b.reserve_low[t], spec=specs[0]
    )
    block.first_energy_down = add_rows(
        first, rule=lambda b, t: down(t) + b.level[t] <= b.reserve_high[t], spec=specs[1]
    )
    if len(time) > 1:
        block.later = later = add_intervals(range(1, len(time)))
        specs = [_energy_spec(way, lambda of: of("reserve_low")[1:-1]) for way in ("up", "down")]
        block.energy_up = add_rows(
            later,
            rule=lambda b, t: (
                add_terms([up(t), b.lag_up * b.charge[t - 1] - b.level[t], *missing(t - 1)])
                <= -1.0 * b.reserve_low[t]
            ),
            spec=specs[0],
        )
        block.energy_down = add_rows(
            later,
            rule=lambda b, t: (
                add_terms([down(t), b.level[t] + b.lag_down * b.discharge[t - 1], *missing(t - 1)])
                <= b.reserve_high[t]
            ),
            spec=specs[1],
        )


def add_energy_at_activation_end(block: pyo.Block, eligible: ReserveEligibility) -> None:
    """Keep energy for full activations of all products that end together, at every ending.

    Levels are linear between instants and endings, so no other moment can be worse.
    """
    time, moments, missing = block.model().time, block.endings, _missing_energy(block)

    def spent(direction: str) -> Callable[[Any, Any], Any]:
        pairs = [
            (
                block.component(reserve_column_name(name)),
                block.component(f"{name}_spent_{direction}"),
            )
            for name in eligible.products
        ]
        return lambda t, i: add_terms(
            [
                sum(share[t, i, k] * capacity[t + k] for k in block.window)
                for capacity, share in pairs
            ]
        )

    up, down = spent("up"), spent("down")
    specs = [
        _energy_spec(way, lambda of: of("ends_low"), ", to the end of their use")
        for way in ("up", "down")
    ]

    def level(t: int, i: int) -> Any:
        return block.before[t, i] * block.level[t] + block.after[t, i] * block.level[t + 1]

    block.energy_at_end_up = add_rows(
        time,
        moments,
        rule=lambda b, t, i: (
            add_terms([up(t, i) - level(t, i), b.lag_up * b.charge[t], *missing(t)])
            + b.taper_up[t] * b.discharge[t]
            <= -1.0 * b.ends_low[t, i]
        ),
        spec=specs[0],
    )
    block.energy_at_end_down = add_rows(
        time,
        moments,
        rule=lambda b, t, i: (
            add_terms([down(t, i) + level(t, i), b.lag_down * b.discharge[t], *missing(t)])
            + b.taper_down[t] * b.charge[t]
            <= b.ends_high[t, i]
        ),
        spec=specs[1],
    )


def _missing_energy(block: pyo.Block) -> Callable[[Any], list[Any]]:
    """Return the term of missing energy of a returning store; empty for others."""
    energy = block.component("missing_reserve_energy")
    return lambda t: [] if energy is None else [-1.0 * energy[t]]
