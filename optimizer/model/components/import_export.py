"""Exchange of a carrier as import and export, with ramp limit, and water supply.

========================  ======  ===========  =====================================================
Name                      Unit    Axes         Meaning
========================  ======  ===========  =====================================================
**Variables**
import_power              MW      t            import; min_import <= import_power <= import_limit
export_power              MW      t            export; 0 <= export_power <= export_limit
ramp_excess               MW      t in ramped  change above the ramp limit; >= 0
water_use                 m3/h    t            water from the mains; >= 0
**Parameters**
min_import, import_limit  MW      t            bounds of the import, less the margin
export_limit              MW                   bound of the export, less the margin
import_fee, export_fee    EUR/MW  t            fees, times the length of the interval
price                     EUR/MW  t            price of the carrier, times the length of the
                                               interval
carbon                    kg/MW   t            carbon intensity, times the length of the interval
ramp_limit, last          MW      t; -         largest change between intervals; net import before
                                               the horizon
hours                     h       t            length of the interval
**Constraints** (net = import_power - export_power)
ramp_up, ramp_down        MW      t > 0        +-(net[t] - net[t-1]) <= ramp_limit + ramp_excess
first_up, first_down      MW      t = 0        +-(net[0] - last) <= ramp_limit + ramp_excess
**Supply and cost**
carrier                   MW      t            import_power - export_power
electricity               EUR     t            price * (import_power - export_power)
<account>                 EUR     t            import_fee * import_power + export_fee * export_power
carbon                    kg      t            carbon * import_power
ramp                      EUR                  RAMP_PENALTY_EUR_PER_MW * sum_t ramp_excess
water                     m3      t            hours * water_use
========================  ======  ===========  =====================================================

Axes: t interval. The water supply is a block of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyomo.environ as pyo

from optimizer.model.assembler import ModelAssembler, add_intervals, add_params, add_rows, add_var
from optimizer.model.model_data import ModelData
from optimizer.model.objective import RAMP_PENALTY_EUR_PER_MW
from optimizer.model.rows import RowSpec
from optimizer.problem.problem import Problem, ramp_limited_intervals
from twin.feasibility.connection import max_import_change
from twin.physics import FloatArray
from twin.relations import Exchange
from twin.variables import net_import

IMPORT_LABEL: Final = "power taken from the connection or source"
EXPORT_LABEL: Final = "power or heat sold"


@dataclass(frozen=True, kw_only=True)
class WaterSupplySignature:
    """Signature of the water supply; it has no variants."""


def build_water_supply(
    block: pyo.Block, _: WaterSupplySignature, assembler: ModelAssembler
) -> None:
    """Write the water supply and its account."""
    add_params(block, "hours", block.model().time)
    add_var(block, "water_use", block.model().time)
    assembler.add_supply("water", lambda t: block.water_use[t])
    assembler.add_cost("water", lambda t: block.hours[t] * block.water_use[t])


MIN_IMPORT_MARGIN_SHARE: Final = 0.1
"""Share of the power margin that is kept as import where export is not allowed. [1]"""


def min_import(exchange: Exchange, problem: Problem) -> float:
    """Return the least planned import where export is not allowed. [MW]

    Segments lie slightly above the curves of the machines. Without a minimum, renewables and
    batteries would give more power than the site draws.
    """
    is_one_way = exchange.carrier == "grid" and exchange.export_limit <= 0.0
    return is_one_way * MIN_IMPORT_MARGIN_SHARE * problem.margins.power * exchange.import_limit


def ramp_parameters(exchange: Exchange, data: ModelData) -> Mapping[str, FloatArray]:
    """Return the ramp limit and the last net import; empty where no ramp can bind."""
    if not ramp_limited_intervals(exchange, data.problem):
        return {}
    state = data.problem.state
    last = float(net_import(state))
    return {"ramp_limit": max_import_change(exchange, data.interval_hours), "last": np.array(last)}


def add_ramp_limit(block: pyo.Block, steps: tuple[int, ...], *, assembler: ModelAssembler) -> None:
    """Add the soft ramp limit of an exchange, in the given intervals."""
    if not steps:
        return
    block.ramped = ramped = add_intervals(steps)
    add_params(block, "ramp_limit", block.model().time)
    add_params(block, "last")
    add_var(block, "ramp_excess", ramped)

    def net(t: int) -> Any:
        return block.import_power[t] - block.export_power[t]

    def limit(t: int) -> Any:
        return block.ramp_limit[t] + block.ramp_excess[t]

    up, down = (RowSpec(label=f"ramp of the connection, {way}wards") for way in ("up", "down"))
    if positive := [t for t in steps if t > 0]:
        block.ramped_later = later = add_intervals(positive)
        block.ramp_up = add_rows(later, rule=lambda _, t: net(t) - net(t - 1) <= limit(t), spec=up)
        block.ramp_down = add_rows(
            later, rule=lambda _, t: net(t - 1) - net(t) <= limit(t), spec=down
        )
    if steps[0] == 0:
        block.ramped_first = first = add_intervals([0])
        last = block.last
        block.first_up = add_rows(first, rule=lambda _, t: net(t) - last <= limit(t), spec=up)
        block.first_down = add_rows(first, rule=lambda _, t: last - net(t) <= limit(t), spec=down)
    assembler.add_fixed_cost(
        "ramp", lambda: RAMP_PENALTY_EUR_PER_MW * sum(block.ramp_excess[t] for t in ramped)
    )


@dataclass(frozen=True, kw_only=True)
class ImportExportSignature:
    """Everything about an exchange that decides its rows and columns; ``account`` pays the fees."""

    carrier: str
    account: str
    has_price: bool
    has_carbon: bool
    depends_on_weather: bool
    ramp_intervals: tuple[int, ...]


def signature(exchange: Exchange, data: ModelData) -> ImportExportSignature:
    """Return the signature of an exchange."""
    return ImportExportSignature(
        carrier=exchange.carrier,
        account=exchange.account,
        has_price=bool(exchange.price_variable),
        has_carbon=bool(exchange.carbon_variable),
        depends_on_weather=bool(exchange.availability_variable),
        ramp_intervals=ramp_limited_intervals(exchange, data.problem),
    )


def parameters(exchange: Exchange, data: ModelData) -> Mapping[str, FloatArray]:
    """Return the parameter values of an exchange; one that depends on weather has no power
    margin.
    """
    problem, hours = data.problem, data.interval_hours
    share = 1.0 if exchange.availability_variable else 1.0 - problem.margins.power
    import_limit = share * problem.available_import(exchange)
    found = {
        "import_limit": import_limit,
        "min_import": np.minimum(min_import(exchange, problem), import_limit),
        "export_limit": np.array(share * exchange.export_limit),
        "import_fee": hours * _import_fee(exchange, data),
        "export_fee": hours * exchange.export_fee,
    }
    if exchange.price_variable:
        found["price"] = hours * problem.series(exchange.price_variable)
    if exchange.carbon_variable:
        found["carbon"] = hours * problem.series(exchange.carbon_variable)
    return found | dict(ramp_parameters(exchange, data))


def build(block: pyo.Block, signature: ImportExportSignature, assembler: ModelAssembler) -> None:
    """Write an exchange into its empty block and post flows, fees and carbon."""
    time = block.model().time
    add_params(block, "min_import import_limit import_fee export_fee", time)
    add_params(block, "export_limit")
    imported, exported = (
        RowSpec(label=label, margin_name="power", is_priced=not signature.depends_on_weather)
        for label in (IMPORT_LABEL, EXPORT_LABEL)
    )
    upper = imported if signature.carrier != "heat" else None  # heat is only sold
    add_var(block, "import_power", time, low=block.min_import, high=block.import_limit, upper=upper)
    add_var(block, "export_power", time, high=block.export_limit, upper=exported)
    assembler.add_supply(signature.carrier, lambda t: block.import_power[t])
    assembler.add_demand(signature.carrier, lambda t: block.export_power[t])
    if signature.has_price:
        add_params(block, "price", time)
        assembler.add_cost(
            "electricity",
            lambda t: block.price[t] * (block.import_power[t] - block.export_power[t]),
        )
    assembler.add_cost(
        signature.account,
        lambda t: (
            block.import_fee[t] * block.import_power[t]
            + block.export_fee[t] * block.export_power[t]
        ),
    )
    if signature.has_carbon:
        add_params(block, "carbon", time)
        assembler.add_cost("carbon", lambda t: block.carbon[t] * block.import_power[t])
    add_ramp_limit(block, signature.ramp_intervals, assembler=assembler)


def _import_fee(exchange: Exchange, data: ModelData) -> FloatArray | float:
    """Return the fee on imports, for the grid that of the tariffs. [EUR MWh-1]"""
    if exchange.carrier != "grid":
        return exchange.import_fee
    return data.problem.site.mean_import_fees(data.problem.outlook["instant"].to_numpy())
