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
        product=product.name, goes_up=product.goes_up, goes_down=product.goes_down
    )


def parameters(product: ReserveProduct, inputs: ModelData) -> Mapping[str, FloatArray]:
    """Return the numbers of a product: what is sold, may be sold, is paid, and where it changes."""
    problem, hours = inputs.problem, inputs.hours
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


def build(block: pyo.Block, shape: ReserveProductSignature, ledger: ModelAssembler) -> None:
    """Write a product into its block, once all have offered.

    Parameters
    ----------
    block
        Empty block of the product.
    shape
        Its shape.
    ledger
        Who holds it, and where it is paid.
    """
    time = block.model().time
    block.held, block.called, block.limit = add_param(time), add_param(time), add_param(time)
    block.pay, block.penalty = add_param(time), add_param(time)
    add_var(block, "offered", time, high=block.limit)
    add_var(block, "shortfall", time, high=block.held)
    for name, upwards in (("covered_up", True), ("covered_down", False)):
        if shape.goes_up if upwards else shape.goes_down:
            rule = _covered(ledger, shape.product, upwards)
            block.add_component(name, pyo.Constraint(time, rule=rule))
    if len(time) > 1:
        block.later = pyo.RangeSet(1, len(time) - 1)
        block.rise, block.fall = add_param(block.later), add_param(block.later)
        add_var(block, "change", block.later, low=block.fall, high=block.rise)
        block.constant = pyo.Constraint(
            block.later, rule=lambda b, t: b.offered[t] - b.offered[t - 1] - b.change[t] == 0.0
        )
    ledger.pay(  # what is called is paid on
        "reserves", lambda t: -1.0 * block.pay[t] * (total_capacity(block, t) + block.called[t])
    )
    ledger.pay("reserve_shortfall", lambda t: block.penalty[t] * block.shortfall[t])


def total_capacity(block: pyo.Block, t: Any) -> Any:
    """Return the capacity of a product in an interval. [MW]"""
    return block.offered[t] - block.shortfall[t] + block.held[t]


def _covered(ledger: ModelAssembler, product: str, upwards: bool) -> Any:
    def rule(block: pyo.Block, t: Any) -> Any:
        shares = [block.shortfall[t], *ledger.offered(product, t, upwards=upwards)]
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
    endings
        At how many moments of an interval one may end. [1]
    """

    products: tuple[str, ...] = ()
    window: int = 1
    endings: int = 1


def store_eligibility(store: Store, inputs: ModelData) -> ReserveEligibility:
    """Return the products that a store may hold."""
    return eligibility(
        inputs, lambda product: store in eligible_stores(inputs.problem.site, product)
    )


def eligibility(inputs: ModelData, may: Callable[[ReserveProduct], bool]) -> ReserveEligibility:
    """Return the products that somebody may hold, by a rule that tells which."""
    products = [p for p in inputs.problem.site.reserves.values() if may(p)]
    until = activation_endings(inputs, [p.name for p in products])
    window = max(
        (max_touched_intervals(inputs.hours, p.duration, until) for p in products), default=1
    )
    names = tuple(product.name for product in products)
    return ReserveEligibility(products=names, window=window, endings=until.shape[1])


def activation_endings(inputs: ModelData, names: Sequence[str]) -> FloatArray:
    """Return when full activations may end, as
    :func:`twin.feasibility.reserve_activation.activation_ends` does.
    """
    products = inputs.problem.site.reserves
    return activation_ends(inputs.hours, [products[name].duration for name in names])


def add_named_param(block: pyo.Block, name: str, *sets: pyo.Set) -> pyo.Param:
    """Declare a parameter under a name that follows from a product's, and return it."""
    block.add_component(name, add_param(*sets))
    return block.component(name)


def component_pair(block: pyo.Block, first: str, second: str) -> tuple[Any, Any]:
    """Return two parts of a block by their names."""
    return block.component(first), block.component(second)


def activation_cost(store: Store, product: ReserveProduct, inputs: ModelData) -> FloatArray:
    """Return what the expected activation costs a store for each MW in an hour. [EUR MW-1 h-1]

    What is given is bought back, and what is taken saves buying, at the mean price of the horizon
    and with the losses.
    """
    later, whole = mean_energy_price(inputs), store.charge_efficiency * store.discharge_efficiency
    received, paid = product.activation_up_price, product.activation_down_price
    income, expense = (settlement_price(inputs, price) for price in (received, paid))
    up = product.activation_up * product.goes_up * (later / whole + store.wear_price - income)
    down = product.activation_down * product.goes_down
    return np.asarray(up + down * (expense - whole * (later - store.wear_price)))


def settlement_price(inputs: ModelData, own: float | None) -> FloatArray:
    """Return at what price energy of an activation is settled, ``(time,)``. [EUR MWh-1]

    That of its product, or what the meter shows. Network fees are the meter's in any case.
    """
    price = inputs.problem.series("electricity_price")
    return _fees(inputs) + (price if own is None else own)


def mean_energy_price(inputs: ModelData) -> float:
    """Return the price of energy with its fees on the mean of the horizon. [EUR MWh-1]"""
    return float(inputs.hours @ settlement_price(inputs, None) / inputs.hours.sum())


def _fees(inputs: ModelData) -> FloatArray:
    instants = inputs.problem.outlook["instant"].to_numpy()
    return inputs.problem.site.mean_import_fees(instants)
