"""Reserve product: capacity sold before, capacity offered by blocks, and shortfall.

========================  ======  =====  ==========================================================
Name                      Unit    Axes   Meaning
========================  ======  =====  ==========================================================
**Variables**
offered                   MW      t      capacity offered; 0 <= offered <= limit
shortfall                 MW      t      sold capacity that is not provided; 0 <= shortfall <=
                                         required
change                    MW      t > 0  change of the offer; block_fall <= change <= block_rise
**Parameters**
required                  MW      t      sold capacity that must be provided
activated                 MW      t      sold capacity that is activated
limit                     MW      t      largest offer; 0 where the gate is closed
pay                       EUR/MW  t      price of capacity, times the length of the interval
penalty                   EUR/MW  t      penalty on shortfall, times the length of the interval
block_rise, block_fall    MW      t > 0  bounds of the change; 0 within a block
**Constraints**
covered_up, covered_down  MW      t      sum of provided capacity + shortfall - offered == required
constant_within_block     MW      t > 0  offered[t] - offered[t-1] == change[t]
**Cost**
reserves                  EUR     t      -pay * (offered - shortfall + required + activated)
reserve_shortfall         EUR     t      penalty * shortfall
========================  ======  =====  ==========================================================

Axes: t interval. The start of blocks and the gates are numbers, so that all days, also those of 23
and 25 hours, share one signature.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyomo.environ as pyo

from optimizer.model.assembler import ModelAssembler, add_param, add_terms, add_var
from optimizer.model.model_data import ModelData
from optimizer.model.objective import RESERVE_SHORTFALL_PENALTY_EUR_PER_MW_H
from optimizer.problem.obligations_and_reserves import (
    max_capacity,
    required_capacity,
    reserve_price,
    sold_capacity,
)
from twin.feasibility.reserve_activation import activation_ends, max_touched_intervals
from twin.feasibility.reserve_deliverability import eligible_stores
from twin.markets.reserve_products import ReserveProduct, is_gate_open, starts_block
from twin.physics import FloatArray
from twin.relations import Store


@dataclass(frozen=True, kw_only=True)
class ReserveProductSignature:
    """Everything about a reserve product that decides its rows and columns.

    Activation of an upward product lowers net import, that of a downward product raises it.
    """

    product: str
    goes_up: bool
    goes_down: bool


def signature(product: ReserveProduct, _: ModelData) -> ReserveProductSignature:
    """Return the signature of a product."""
    return ReserveProductSignature(
        product=product.name, goes_up=product.is_upward, goes_down=product.is_downward
    )


def parameters(product: ReserveProduct, data: ModelData) -> Mapping[str, FloatArray]:
    """Return the parameter values of a product: sold capacity, limits of offers, prices and
    blocks.
    """
    problem, hours = data.problem, data.hours
    instants = problem.outlook["instant"].to_numpy()
    limit = max_capacity(problem.site, product)
    found = {
        "required": required_capacity(problem.outlook, product),
        "activated": sold_capacity(problem.outlook, product)
        - required_capacity(problem.outlook, product),
        "limit": np.where(is_gate_open(product, instants), limit, 0.0),
        "pay": hours * reserve_price(problem.outlook, product),
        "penalty": hours * (RESERVE_SHORTFALL_PENALTY_EUR_PER_MW_H + product.shortfall_price),
    }
    if len(hours) > 1:
        jump = np.where(starts_block(product, instants)[1:-1], limit, 0.0)
        found |= {"block_rise": jump, "block_fall": -jump}
    return found


def build(block: pyo.Block, signature: ReserveProductSignature, assembler: ModelAssembler) -> None:
    """Write a product into its empty block, after all providers have posted their offers."""
    time = block.model().time
    block.required, block.activated, block.limit = add_param(time), add_param(time), add_param(time)
    block.pay, block.penalty = add_param(time), add_param(time)
    add_var(block, "offered", time, high=block.limit)
    add_var(block, "shortfall", time, high=block.required)
    for name, upwards in (("covered_up", True), ("covered_down", False)):
        if signature.goes_up if upwards else signature.goes_down:
            rule = _covered(assembler, signature.product, upwards)
            block.add_component(name, pyo.Constraint(time, rule=rule))
    if len(time) > 1:
        block.later = pyo.RangeSet(1, len(time) - 1)
        block.block_rise, block.block_fall = add_param(block.later), add_param(block.later)
        add_var(block, "change", block.later, low=block.block_fall, high=block.block_rise)
        block.constant_within_block = pyo.Constraint(
            block.later, rule=lambda b, t: b.offered[t] - b.offered[t - 1] - b.change[t] == 0.0
        )
    assembler.add_cost(  # activated capacity is still paid
        "reserves", lambda t: -1.0 * block.pay[t] * (total_capacity(block, t) + block.activated[t])
    )
    assembler.add_cost("reserve_shortfall", lambda t: block.penalty[t] * block.shortfall[t])


def total_capacity(block: pyo.Block, t: Any) -> Any:
    """Return the capacity of a product in an interval. [MW]"""
    return block.offered[t] - block.shortfall[t] + block.required[t]


def _covered(assembler: ModelAssembler, product: str, upwards: bool) -> Any:
    def rule(block: pyo.Block, t: Any) -> Any:
        shares = [block.shortfall[t], *assembler.reserve_terms(product, t, upwards=upwards)]
        return add_terms(shares) - block.offered[t] == block.required[t]

    return rule


@dataclass(frozen=True, kw_only=True)
class ReserveEligibility:
    """The products that a provider may hold.

    ``window`` is the number of intervals that an activation can overlap, ``ending_count`` the
    number of moments of an interval at which it can end. [1]
    """

    products: tuple[str, ...] = ()
    window: int = 1
    ending_count: int = 1


def store_eligibility(store: Store, data: ModelData) -> ReserveEligibility:
    """Return the products that a store may provide."""
    return eligibility(data, lambda product: store in eligible_stores(data.problem.site, product))


def eligibility(data: ModelData, may: Callable[[ReserveProduct], bool]) -> ReserveEligibility:
    """Return the products that a provider may hold by a rule."""
    products = [p for p in data.problem.site.reserves.values() if may(p)]
    until = activation_endings(data, [p.name for p in products])
    window = max(
        (max_touched_intervals(data.hours, p.duration, until) for p in products), default=1
    )
    names = tuple(product.name for product in products)
    return ReserveEligibility(products=names, window=window, ending_count=until.shape[1])


def activation_endings(data: ModelData, names: Sequence[str]) -> FloatArray:
    """Return when full activations may end, see
    :func:`twin.feasibility.reserve_activation.activation_ends`.
    """
    products = data.problem.site.reserves
    return activation_ends(data.hours, [products[name].duration for name in names])


def add_named_param(block: pyo.Block, name: str, *sets: pyo.Set) -> pyo.Param:
    """Declare a parameter under a computed name, and return it."""
    block.add_component(name, add_param(*sets))
    return block.component(name)


def component_pair(block: pyo.Block, first: str, second: str) -> tuple[Any, Any]:
    """Return two components of a block by name."""
    return block.component(first), block.component(second)


def activation_cost(store: Store, product: ReserveProduct, data: ModelData) -> FloatArray:
    """Return the expected activation cost of a store per capacity. [EUR MW-1 h-1]

    Delivered energy is bought back, and received energy saves purchases, at the mean price of the
    horizon and with the losses of the store.
    """
    later, efficiency = (
        mean_energy_price(data),
        store.charge_efficiency * store.discharge_efficiency,
    )
    received, paid = product.activation_up_price, product.activation_down_price
    income, expense = (settlement_price(data, price) for price in (received, paid))
    up = product.activation_up * product.is_upward * (later / efficiency + store.wear_cost - income)
    down = product.activation_down * product.is_downward
    return np.asarray(up + down * (expense - efficiency * (later - store.wear_cost)))


def settlement_price(data: ModelData, own: float | None) -> FloatArray:
    """Return the settlement price of activated energy, ``(time,)``. [EUR MWh-1]

    This is the product's own price or the electricity price, each with the network fees.
    """
    price = data.problem.series("electricity_price")
    return _fees(data) + (price if own is None else own)


def mean_energy_price(data: ModelData) -> float:
    """Return the mean price of energy over the horizon, fees included. [EUR MWh-1]"""
    return float(data.hours @ settlement_price(data, None) / data.hours.sum())


def _fees(data: ModelData) -> FloatArray:
    instants = data.problem.outlook["instant"].to_numpy()
    return data.problem.site.mean_import_fees(instants)
