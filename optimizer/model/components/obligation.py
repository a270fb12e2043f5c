"""Obligation: a flow summed over windows, and the cost of its deviation from a target.

============================  ============  ====  ===============================================
Name                          Unit          Axes  Meaning
============================  ============  ====  ===============================================
**Variables**
above, below                  MWh, kg, m3   w     deviation from the target; 0 <= above <=
                                                  deviation_limit
bought, sold                  MW            t     intraday trades; 0 <= bought <= trade_limit
**Parameters**
weight                        h, kg/MW      w, t  length (and carbon intensity) of an interval in
                                                  its window, else 0
target                        MWh, kg, m3   w     agreed sum
deviation_limit               MWh, kg, m3   w     0 where nothing is agreed, else infinite
up_price, down_price          EUR per unit  w     price of a deviation
trade_limit                   MW            t     largest trade
buy_cost, sell_cost           EUR/MW        t     cost of a trade beside its price
**Constraints**
obligation, position_balance  MWh, kg, m3   w     sum_t weight * (flow - bought + sold) - above +
                                                  below == target
**Cost**
<account>                     EUR           w     up_price * above + down_price * below
intraday                      EUR           t     buy_cost * bought + sell_cost * sold
============================  ============  ====  ===============================================

Axes: t interval, w window; without windows each interval is one. The row is ``obligation`` for load
targets and budgets, which diagnostics report as limits, and ``position_balance`` for positions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyomo.environ as pyo

from optimizer.model.assembler import ModelAssembler, add_params, add_rows, add_var
from optimizer.model.model_data import ModelData
from optimizer.model.objective import HARD_OBLIGATION_PENALTY
from optimizer.model.rows import RowSpec
from twin.physics import FloatArray
from twin.relations import OBLIGATION_UNITS, Obligation, ObligationQuantity

LIMIT_ACCOUNTS: Final = frozenset({"targets", "budgets"})
"""Accounts whose obligations are limits, so that diagnostics report their rows."""


@dataclass(frozen=True, kw_only=True)
class ObligationSignature:
    """Everything about an obligation that decides its rows and columns.

    ``connection_block`` is the block of the connection. ``window_count`` is 0 where each interval
    is a window.
    """

    quantity: ObligationQuantity
    connection_block: str
    account: str
    window_count: int
    has_intraday: bool


def signature(obligation: Obligation, data: ModelData) -> ObligationSignature:
    """Return the signature of an obligation."""
    windows = (
        len(obligation.terms(data.problem.outlook).contracted_sum) if obligation.min_windows else 0
    )
    return ObligationSignature(
        quantity=obligation.quantity,
        connection_block=data.problem.site.grid_connection.name,
        account=obligation.account,
        window_count=windows,
        has_intraday=obligation.trades is not None,
    )


def parameters(obligation: Obligation, data: ModelData) -> Mapping[str, FloatArray]:
    """Return the parameter values of an obligation; without an agreement its row is empty."""
    outlook, hours = data.problem.outlook, data.interval_hours
    terms = obligation.terms(outlook)
    is_binding = terms.is_binding
    weight = hours
    if obligation.quantity == "carbon":
        weight = hours * data.problem.series("carbon_intensity")
    if obligation.min_windows:
        in_window = terms.window_index[None, :] == np.arange(len(terms.contracted_sum))[:, None]
        weight = weight * in_window * is_binding[:, None]
    else:
        weight = weight * is_binding
    up_price = np.where(
        np.isinf(terms.price_above), HARD_OBLIGATION_PENALTY[obligation.quantity], terms.price_above
    )
    found = {
        "weight": weight,
        "target": np.where(is_binding, terms.contracted_sum, 0.0),
        "deviation_limit": np.where(is_binding, np.inf, 0.0),
        "up_price": np.where(is_binding, up_price, 0.0),
        "down_price": np.where(is_binding, terms.price_below, 0.0),
    }
    if obligation.trades is None:
        return found
    trades = obligation.trades(outlook)
    return found | {
        "trade_limit": trades.max_trade_power * is_binding,
        "buy_cost": hours * trades.buy_price,
        "sell_cost": hours * trades.sell_price,
    }


def build(block: pyo.Block, signature: ObligationSignature, assembler: ModelAssembler) -> None:
    """Write an obligation into its empty block, beside those of the connection and of water."""
    time = block.model().time
    block.window = pyo.RangeSet(0, signature.window_count - 1)
    windows = block.window if signature.window_count else time
    add_params(block, "weight", *([windows, time] if signature.window_count else [time]))
    add_params(block, "target deviation_limit up_price down_price", windows)
    add_var(block, "above", windows, high=block.deviation_limit)
    add_var(block, "below", windows, high=block.deviation_limit)
    flow = _flow(block, signature)
    if signature.has_intraday:
        flow = _with_trades(block, flow, assembler)

    def window_sum(b: pyo.Block, w: Any) -> Any:
        return sum(b.weight[w, t] * flow(t) for t in time)

    def interval_value(b: pyo.Block, t: Any) -> Any:
        return b.weight[t] * flow(t)

    total = window_sum if signature.window_count else interval_value
    is_limit = signature.account in LIMIT_ACCOUNTS
    rows = add_rows(
        windows,
        rule=lambda b, w: total(b, w) - b.above[w] + b.below[w] == b.target[w],
        spec=_limit(signature) if is_limit else None,
    )
    block.add_component("obligation" if is_limit else "position_balance", rows)
    if signature.window_count:
        assembler.add_fixed_cost(
            signature.account, lambda: sum(_deviation_cost(block, w) for w in block.window)
        )
    else:
        assembler.add_cost(signature.account, lambda t: _deviation_cost(block, t))


def _limit(signature: ObligationSignature) -> RowSpec:
    """Return the meaning of the row of a load target or budget.

    A load target is relaxed by a power, and a daily budget by the same amount each day.
    """
    unit, label = OBLIGATION_UNITS[signature.quantity], "load target or budget"
    if not signature.window_count:
        return RowSpec(
            label=label, unit=unit, relaxed_unit="MW", change_per_unit=lambda of: of("weight")
        )
    return RowSpec(
        label=label,
        unit=unit,
        relaxed_unit=unit if signature.window_count == 1 else f"{unit} each day",
        windows=lambda of: of("weight") > 0.0,
    )


def _flow(block: pyo.Block, signature: ObligationSignature) -> Any:
    """Return the flow that is summed: interval -> expression. [MW; m3 h-1]"""
    site = block.parent_block()
    grid, water = site.component(signature.connection_block), site.component("water")
    flows = {
        "net_import": lambda t: grid.import_power[t] - grid.export_power[t],
        "import": lambda t: grid.import_power[t],
        "carbon": lambda t: grid.import_power[t],
        "water": lambda t: water.water_use[t],
    }
    return flows[signature.quantity]


def _with_trades(block: pyo.Block, flow: Any, assembler: ModelAssembler) -> Any:
    """Return the flow less bought and plus sold energy, and post the cost of both. [MW]"""
    time = block.model().time
    add_params(block, "trade_limit buy_cost sell_cost", time)
    add_var(block, "bought", time, high=block.trade_limit)
    add_var(block, "sold", time, high=block.trade_limit)
    assembler.add_cost(
        "intraday",
        lambda t: block.buy_cost[t] * block.bought[t] + block.sell_cost[t] * block.sold[t],
    )
    return lambda t: flow(t) - block.bought[t] + block.sold[t]


def _deviation_cost(block: pyo.Block, w: Any) -> Any:
    return block.up_price[w] * block.above[w] + block.down_price[w] * block.below[w]
