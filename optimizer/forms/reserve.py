"""A reserve product: capacity sold already, capacity offered by blocks, and what falls short.

What is offered is constant over a block. Where blocks begin is a matter of numbers, as is whether a
gate is still open: the change from one interval to the next is a column, bounded by zero within a
block. So one shape serves all days, those of 23 and 25 hours too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyomo.environ as pyo

from optimizer.forms.table import columns, table
from optimizer.inputs import Inputs
from optimizer.ledger import Ledger, added
from optimizer.reserves.capacity import held, most, price, sold
from twin.markets.reserve_products import ReserveProduct, is_gate_open, starts_block
from twin.physics import FloatArray

BROKEN: Final = 1e4
"""Price of a MW that is sold and not held for an hour, on top of the market's penalty, so that a
promise is never broken for gain, and a plan never fails for it. [EUR MW-1 h-1]"""


@dataclass(frozen=True, kw_only=True)
class Shape:
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


def shape(product: ReserveProduct, _: Inputs) -> Shape:
    """Return the shape of a product."""
    return Shape(product=product.name, goes_up=product.goes_up, goes_down=product.goes_down)


def numbers(product: ReserveProduct, inputs: Inputs) -> Mapping[str, FloatArray]:
    """Return the numbers of a product: what is sold, may be sold, is paid, and where it changes."""
    problem, hours = inputs.problem, inputs.hours
    instants = problem.outlook["instant"].to_numpy()
    limit = most(problem.site, product)
    found = {
        "held": held(problem.outlook, product),
        "called": sold(problem.outlook, product) - held(problem.outlook, product),
        "limit": np.where(is_gate_open(product, instants), limit, 0.0),
        "pay": hours * price(problem.outlook, product),
        "penalty": hours * (BROKEN + product.shortfall_price),
    }
    if len(hours) > 1:
        jump = np.where(starts_block(product, instants)[1:-1], limit, 0.0)
        found |= {"rise": jump, "fall": -jump}
    return found


def build(block: pyo.Block, shape: Shape, ledger: Ledger) -> None:
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
    block.held, block.called, block.limit = table(time), table(time), table(time)
    block.pay, block.penalty = table(time), table(time)
    columns(block, "offered", time, high=block.limit)
    columns(block, "shortfall", time, high=block.held)
    for name, upwards in (("covered_up", True), ("covered_down", False)):
        if shape.goes_up if upwards else shape.goes_down:
            rule = _covered(ledger, shape.product, upwards)
            block.add_component(name, pyo.Constraint(time, rule=rule))
    if len(time) > 1:
        block.later = pyo.RangeSet(1, len(time) - 1)
        block.rise, block.fall = table(block.later), table(block.later)
        columns(block, "change", block.later, low=block.fall, high=block.rise)
        block.constant = pyo.Constraint(
            block.later, rule=lambda b, t: b.offered[t] - b.offered[t - 1] - b.change[t] == 0.0
        )
    ledger.pay(  # what is called is paid on
        "reserves", lambda t: -1.0 * block.pay[t] * (capacity(block, t) + block.called[t])
    )
    ledger.pay("reserve_shortfall", lambda t: block.penalty[t] * block.shortfall[t])


def capacity(block: pyo.Block, t: Any) -> Any:
    """Return the capacity of a product in an interval. [MW]"""
    return block.offered[t] - block.shortfall[t] + block.held[t]


def _covered(ledger: Ledger, product: str, upwards: bool) -> Any:
    def rule(block: pyo.Block, t: Any) -> Any:
        shares = [block.shortfall[t], *ledger.offered(product, t, upwards=upwards)]
        return added(shares) - block.offered[t] == block.held[t]

    return rule
