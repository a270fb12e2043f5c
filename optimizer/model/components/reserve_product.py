"""A reserve product: capacity sold already, capacity offered by blocks, and what falls short.

What is offered is constant over a block. Where blocks begin is a matter of numbers, as is whether a
gate is still open: the change from one interval to the next is a column, bounded by zero within a
block. So one shape serves all days, those of 23 and 25 hours too.

Who may hold which reserves, over how many intervals, and the parts of their rows.

What the expected activation of reserves costs and earns whoever holds them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyomo.environ as pyo

from optimizer.model.assembler import ModelAssembler, add_param, add_terms, add_var
from optimizer.model.model_data import ModelData
from optimizer.model.objective import RESERVE_SHORTFALL_PENALTY_EUR_PER_MW_H
from optimizer.problem.contracts import (
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
    """What of a product decides which rows and columns there are.

    Attributes
    ----------
    product
        Its name.
    goes_up, goes_down
        Whether it lowers net import, and whether it raises it.
    """

    product: str
    goes_up: bool
    goes_down: bool


def signature(product: ReserveProduct, _: ModelData) -> ReserveProductSignature:
    """Return the shape of a product."""
    return ReserveProductSignature(
        product=product.name, goes_up=product.is_upward, goes_down=product.is_downward
    )


def parameters(product: ReserveProduct, data: ModelData) -> Mapping[str, FloatArray]:
    """Return the numbers of a product: what is sold, may be sold, is paid, and where it changes."""
    problem, hours = data.problem, data.hours
    instants = problem.outlook["instant"].to_numpy()
    limit = max_capacity(problem.site, product)
    found = {
        "held": required_capacity(problem.outlook, product),
        "called": sold_capacity(problem.outlook, product)
        - required_capacity(problem.outlook, product),
        "limit": np.where(is_gate_open(product, instants), limit, 0.0),
        "pay": hours * reserve_price(problem.outlook, product),
        "penalty": hours * (RESERVE_SHORTFALL_PENALTY_EUR_PER_MW_H + product.shortfall_price),
    }
    if len(hours) > 1:
        jump = np.where(starts_block(product, instants)[1:-1], limit, 0.0)
        found |= {"rise": jump, "fall": -jump}
    return found


def build(block: pyo.Block, shape: ReserveProductSignature, assembler: ModelAssembler) -> None:
    """Write a product into its block, once all have offered.

    Parameters
    ----------
    block
        Empty block of the product.
    shape
        Its shape.
    assembler
        Who holds it, and where it is paid.
    """
    time = block.model().time
    block.held, block.called, block.limit = add_param(time), add_param(time), add_param(time)
    block.pay, block.penalty = add_param(time), add_param(time)
    add_var(block, "offered", time, high=block.limit)
    add_var(block, "shortfall", time, high=block.held)
    for name, upwards in (("covered_up", True), ("covered_down", False)):
        if shape.goes_up if upwards else shape.goes_down:
            rule = _covered(assembler, shape.product, upwards)
            block.add_component(name, pyo.Constraint(time, rule=rule))
    if len(time) > 1:
        block.later = pyo.RangeSet(1, len(time) - 1)
        block.rise, block.fall = add_param(block.later), add_param(block.later)
        add_var(block, "change", block.later, low=block.fall, high=block.rise)
        block.constant = pyo.Constraint(
            block.later, rule=lambda b, t: b.offered[t] - b.offered[t - 1] - b.change[t] == 0.0
        )
    assembler.add_cost(  # what is called is paid on
        "reserves", lambda t: -1.0 * block.pay[t] * (total_capacity(block, t) + block.called[t])
    )
    assembler.add_cost("reserve_shortfall", lambda t: block.penalty[t] * block.shortfall[t])


def total_capacity(block: pyo.Block, t: Any) -> Any:
    """Return the capacity of a product in an interval. [MW]"""
    return block.offered[t] - block.shortfall[t] + block.held[t]


def _covered(assembler: ModelAssembler, product: str, upwards: bool) -> Any:
    def rule(block: pyo.Block, t: Any) -> Any:
        shares = [block.shortfall[t], *assembler.reserve_terms(product, t, upwards=upwards)]
        return add_terms(shares) - block.offered[t] == block.held[t]

    return rule


@dataclass(frozen=True, kw_only=True)
class ReserveEligibility:
    """The products that somebody may hold.

    Attributes
    ----------
    products
        Their names.
    window
        Over how many intervals an activation can last. [1]
    ending_count
        At how many moments of an interval one may end. [1]
    """

    products: tuple[str, ...] = ()
    window: int = 1
    ending_count: int = 1


def store_eligibility(store: Store, data: ModelData) -> ReserveEligibility:
    """Return the products that a store may hold."""
    return eligibility(data, lambda product: store in eligible_stores(data.problem.site, product))


def eligibility(data: ModelData, may: Callable[[ReserveProduct], bool]) -> ReserveEligibility:
    """Return the products that somebody may hold, by a rule that tells which."""
    products = [p for p in data.problem.site.reserves.values() if may(p)]
    until = activation_endings(data, [p.name for p in products])
    window = max(
        (max_touched_intervals(data.hours, p.duration, until) for p in products), default=1
    )
    names = tuple(product.name for product in products)
    return ReserveEligibility(products=names, window=window, ending_count=until.shape[1])


def activation_endings(data: ModelData, names: Sequence[str]) -> FloatArray:
    """Return when full activations may end, as
    :func:`twin.feasibility.reserve_activation.activation_ends` does.
    """
    products = data.problem.site.reserves
    return activation_ends(data.hours, [products[name].duration for name in names])


def add_named_param(block: pyo.Block, name: str, *sets: pyo.Set) -> pyo.Param:
    """Declare a parameter under a name that follows from a product's, and return it."""
    block.add_component(name, add_param(*sets))
    return block.component(name)


def component_pair(block: pyo.Block, first: str, second: str) -> tuple[Any, Any]:
    """Return two parts of a block by their names."""
    return block.component(first), block.component(second)


def activation_cost(store: Store, product: ReserveProduct, data: ModelData) -> FloatArray:
    """Return what the expected activation costs a store for each MW in an hour. [EUR MW-1 h-1]

    What is given is bought back, and what is taken saves buying, at the mean price of the horizon
    and with the losses.
    """
    later, whole = mean_energy_price(data), store.charge_efficiency * store.discharge_efficiency
    received, paid = product.activation_up_price, product.activation_down_price
    income, expense = (settlement_price(data, price) for price in (received, paid))
    up = product.activation_up * product.is_upward * (later / whole + store.wear_cost - income)
    down = product.activation_down * product.is_downward
    return np.asarray(up + down * (expense - whole * (later - store.wear_cost)))


def settlement_price(data: ModelData, own: float | None) -> FloatArray:
    """Return at what price energy of an activation is settled, ``(time,)``. [EUR MWh-1]

    That of its product, or what the meter shows. Network fees are the meter's in any case.
    """
    price = data.problem.series("electricity_price")
    return _fees(data) + (price if own is None else own)


def mean_energy_price(data: ModelData) -> float:
    """Return the price of energy with its fees on the mean of the horizon. [EUR MWh-1]"""
    return float(data.hours @ settlement_price(data, None) / data.hours.sum())


def _fees(data: ModelData) -> FloatArray:
    instants = data.problem.outlook["instant"].to_numpy()
    return data.problem.site.mean_import_fees(instants)
