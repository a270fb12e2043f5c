"""A promise about a flow summed over windows: what is above and below it is paid for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyomo.environ as pyo

from optimizer.model.assembler import ModelAssembler, add_param, add_var
from optimizer.model.model_data import ModelData
from twin.physics import FloatArray
from twin.relations import HARD_OBLIGATION_PENALTY, Obligation, ObligationQuantity

LIMIT_ACCOUNTS: Final = frozenset({"targets", "budgets"})
"""Accounts whose promises are limits, so that their rows are told among what binds."""


@dataclass(frozen=True, kw_only=True)
class ContractPositionSignature:
    """What of a promise decides which rows and columns there are.

    Attributes
    ----------
    quantity
        What is summed.
    grid
        Block of the connection.
    account
        Account that pays.
    windows
        Number of windows; 0 where each interval is one.
    has_intraday
        Whether energy may still be bought and sold.
    """

    quantity: ObligationQuantity
    grid: str
    account: str
    windows: int
    has_intraday: bool


def signature(commitment: Obligation, data: ModelData) -> ContractPositionSignature:
    """Return the shape of a promise."""
    windows = len(commitment.terms(data.problem.outlook).target) if commitment.min_windows else 0
    return ContractPositionSignature(
        quantity=commitment.quantity,
        grid=data.problem.site.grid.name,
        account=commitment.account,
        windows=windows,
        has_intraday=commitment.trades is not None,
    )


def parameters(commitment: Obligation, data: ModelData) -> Mapping[str, FloatArray]:
    """Return the numbers of a promise; where nothing is promised its row is empty."""
    outlook, hours = data.problem.outlook, data.hours
    terms = commitment.terms(outlook)
    held = terms.is_binding
    weight = hours
    if commitment.quantity == "carbon":
        weight = hours * data.problem.series("carbon_intensity")
    if commitment.min_windows:
        in_window = terms.window_index[None, :] == np.arange(len(terms.target))[:, None]
        weight = weight * in_window * held[:, None]
    else:
        weight = weight * held
    up_price = np.where(
        np.isinf(terms.price_above), HARD_OBLIGATION_PENALTY[commitment.quantity], terms.price_above
    )
    found = {
        "weight": weight,
        "target": np.where(held, terms.target, 0.0),
        "room": np.where(held, np.inf, 0.0),
        "up_price": np.where(held, up_price, 0.0),
        "down_price": np.where(held, terms.price_below, 0.0),
    }
    if commitment.trades is None:
        return found
    trades = commitment.trades(outlook)
    return found | {
        "trade_limit": trades.limit * held,
        "buy_cost": hours * trades.buy_price,
        "sell_cost": hours * trades.sell_price,
    }


def build(block: pyo.Block, shape: ContractPositionSignature, assembler: ModelAssembler) -> None:
    """Write a promise into its block.

    Parameters
    ----------
    block
        Empty block of the contract; the blocks of connection and water stand beside it.
    shape
        Its shape.
    assembler
        Where deviation and trades are paid.
    """
    time = block.model().time
    block.window = pyo.RangeSet(0, shape.windows - 1)
    windows = block.window if shape.windows else time
    block.weight = add_param(windows, time) if shape.windows else add_param(time)
    block.target, block.room = add_param(windows), add_param(windows)
    block.up_price, block.down_price = add_param(windows), add_param(windows)
    add_var(block, "above", windows, high=block.room)
    add_var(block, "below", windows, high=block.room)
    flow = _flow(block, shape)
    if shape.has_intraday:
        flow = _traded(block, flow, assembler)

    def whole(b: pyo.Block, w: Any) -> Any:
        return sum(b.weight[w, t] * flow(t) for t in time)

    def single(b: pyo.Block, t: Any) -> Any:
        return b.weight[t] * flow(t)

    total = whole if shape.windows else single
    row = pyo.Constraint(
        windows, rule=lambda b, w: total(b, w) - b.above[w] + b.below[w] == b.target[w]
    )
    block.add_component("promised" if shape.account in LIMIT_ACCOUNTS else "settled", row)
    if shape.windows:
        assembler.add_fixed_cost(shape.account, lambda: sum(_paid(block, w) for w in block.window))
    else:
        assembler.add_cost(shape.account, lambda t: _paid(block, t))


def _flow(block: pyo.Block, shape: ContractPositionSignature) -> Any:
    """Return the flow that is summed: interval -> expression. [MW; m3 h-1]"""
    place = block.parent_block()
    grid, water = place.component(shape.grid), place.component("water")
    flows = {
        "net_import": lambda t: grid.import_power[t] - grid.export_power[t],
        "import": lambda t: grid.import_power[t],
        "carbon": lambda t: grid.import_power[t],
        "water": lambda t: water.water_use[t],
    }
    return flows[shape.quantity]


def _traded(block: pyo.Block, flow: Any, assembler: ModelAssembler) -> Any:
    """Return a flow less what is bought for it and more what is sold, and pay for both. [MW]"""
    time = block.model().time
    block.trade_limit, block.buy_cost, block.sell_cost = (
        add_param(time),
        add_param(time),
        add_param(time),
    )
    add_var(block, "bought", time, high=block.trade_limit)
    add_var(block, "sold", time, high=block.trade_limit)
    assembler.add_cost(
        "intraday",
        lambda t: block.buy_cost[t] * block.bought[t] + block.sell_cost[t] * block.sold[t],
    )
    return lambda t: flow(t) - block.bought[t] + block.sold[t]


def _paid(block: pyo.Block, w: Any) -> Any:
    return block.up_price[w] * block.above[w] + block.down_price[w] * block.below[w]
