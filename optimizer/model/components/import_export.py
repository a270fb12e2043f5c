"""An exchange across the fence as import and export."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyomo.environ as pyo

from optimizer.model.assembler import ModelAssembler, add_param, add_var
from optimizer.model.model_data import ModelData
from optimizer.model.objective import RAMP_PENALTY_EUR_PER_MW
from optimizer.problem.problem import Problem, max_import_change, ramp_limited_intervals
from twin.physics import FloatArray
from twin.relations import Exchange
from twin.variables import net_import


@dataclass(frozen=True, kw_only=True)
class WaterSupplySignature:
    """What of the mains decides which rows and columns there are: nothing."""


def build_water_supply(
    block: pyo.Block, _: WaterSupplySignature, assembler: ModelAssembler
) -> None:
    """Let water come from outside, and count it."""
    block.hours = add_param(block.model().time)
    add_var(block, "water_use", block.model().time)
    assembler.add_supply("water", lambda t: block.water_use[t])
    assembler.add_cost("water", lambda t: block.hours[t] * block.water_use[t])


MIN_IMPORT_MARGIN_SHARE: Final = 0.1
"""Share of the margin of power that is kept of an import where nothing may be exported. [1]"""


def min_import(exchange: Exchange, problem: Problem) -> float:
    """Return the least import that is planned where nothing may be given to the grid. [MW]

    The lines of a model lie a hair above the curves of the machines: at no import at all, sun and
    batteries would give more than the site draws.
    """
    is_one_way = exchange.carrier == "grid" and exchange.export_limit <= 0.0
    return is_one_way * MIN_IMPORT_MARGIN_SHARE * problem.margins.power * exchange.import_limit


def ramp_parameters(exchange: Exchange, data: ModelData) -> Mapping[str, FloatArray]:
    """Return the ramp of an exchange and its last net import; none where no ramp is kept."""
    if not ramp_limited_intervals(exchange, data.problem):
        return {}
    state = data.problem.state
    last = float(net_import(state))
    return {"ramp_limit": max_import_change(exchange, data.hours), "last": np.array(last)}


def add_ramp_limit(block: pyo.Block, steps: tuple[int, ...], *, assembler: ModelAssembler) -> None:
    """Hold the change of net import from one interval to the next within the ramp.

    Parameters
    ----------
    block
        Block of an exchange, with ``import_power`` and ``export_power``.
    steps
        Intervals in which it is held; without any nothing is written.
    assembler
        Where a breach is paid, at :data:`optimizer.model.objective.RAMP_PENALTY_EUR_PER_MW`.
    """
    if not steps:
        return
    block.ramped = pyo.Set(initialize=steps)
    block.ramped_later = pyo.Set(initialize=[t for t in steps if t > 0])
    block.ramp_limit, block.last = add_param(block.model().time), add_param()
    add_var(block, "ramp_excess", block.ramped)

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
    assembler.add_fixed_cost(
        "ramp", lambda: RAMP_PENALTY_EUR_PER_MW * sum(block.ramp_excess[t] for t in block.ramped)
    )


@dataclass(frozen=True, kw_only=True)
class ImportExportSignature:
    """What of an exchange decides which rows and columns there are.

    Attributes
    ----------
    carrier
        Carrier traded.
    account
        Account that pays the fees.
    has_price, has_carbon
        Whether the outlook has a price and a carbon intensity for it.
    ramp_intervals
        Intervals whose change of net import is bounded.
    """

    carrier: str
    account: str
    has_price: bool
    has_carbon: bool
    ramp_intervals: tuple[int, ...]


def signature(exchange: Exchange, data: ModelData) -> ImportExportSignature:
    """Return the shape of an exchange."""
    return ImportExportSignature(
        carrier=exchange.carrier,
        account=exchange.account,
        has_price=bool(exchange.price_variable),
        has_carbon=bool(exchange.carbon_variable),
        ramp_intervals=ramp_limited_intervals(exchange, data.problem),
    )


def parameters(exchange: Exchange, data: ModelData) -> Mapping[str, FloatArray]:
    """Return the numbers of an exchange; one that the weather bounds keeps no margin of power."""
    problem, hours = data.problem, data.hours
    keep = 1.0 if exchange.availability_variable else 1.0 - problem.margins.power
    most = keep * problem.available_import(exchange)
    found = {
        "import_limit": most,
        "import_least": np.minimum(min_import(exchange, problem), most),
        "export_limit": np.array(keep * exchange.export_limit),
        "import_fee": hours * _import_fee(exchange, data),
        "export_fee": hours * exchange.export_fee,
    }
    if exchange.price_variable:
        found["price"] = hours * problem.series(exchange.price_variable)
    if exchange.carbon_variable:
        found["carbon"] = hours * problem.series(exchange.carbon_variable)
    return found | dict(ramp_parameters(exchange, data))


def build(block: pyo.Block, shape: ImportExportSignature, assembler: ModelAssembler) -> None:
    """Write an exchange into its block and post energy, fees and carbon.

    Parameters
    ----------
    block
        Empty block of the machine or contract.
    shape
        Its shape.
    assembler
        Where flows and payments are posted.
    """
    time = block.model().time
    block.import_least, block.import_limit = add_param(time), add_param(time)
    block.export_limit = add_param()
    block.import_fee, block.export_fee = add_param(time), add_param(time)
    add_var(block, "import_power", time, low=block.import_least, high=block.import_limit)
    add_var(block, "export_power", time, high=block.export_limit)
    assembler.add_supply(shape.carrier, lambda t: block.import_power[t])
    assembler.add_demand(shape.carrier, lambda t: block.export_power[t])
    if shape.has_price:
        block.price = add_param(time)
        assembler.add_cost(
            "electricity",
            lambda t: block.price[t] * (block.import_power[t] - block.export_power[t]),
        )
    assembler.add_cost(
        shape.account,
        lambda t: (
            block.import_fee[t] * block.import_power[t]
            + block.export_fee[t] * block.export_power[t]
        ),
    )
    if shape.has_carbon:
        block.carbon = add_param(time)
        assembler.add_cost("carbon", lambda t: block.carbon[t] * block.import_power[t])
    add_ramp_limit(block, shape.ramp_intervals, assembler=assembler)


def _import_fee(exchange: Exchange, data: ModelData) -> FloatArray | float:
    """Return the fee of what is taken in, at the connection with the tariffs'. [EUR MWh-1]"""
    if exchange.carrier != "grid":
        return exchange.import_fee
    return data.problem.site.mean_import_fees(data.problem.outlook["instant"].to_numpy())
