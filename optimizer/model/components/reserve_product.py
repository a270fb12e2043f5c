"""Reserve products: capacity sold before and offered by blocks, shortfall, and headroom.

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

Headroom at the grid connection and its feeders, for all products activated together:

===================  ====  ====  ================================================
Name                 Unit  Axes  Meaning
===================  ====  ====  ================================================
**Parameters**
max_import           MW    t     largest import less the margin
max_export           MW          largest export less the margin
<feeder>_limit       MW    t     largest output of a feeder less the margin
<product>_power_<d>  1           activated power per capacity
**Constraints** (up, down: sum over products of power * capacity)
import_headroom      MW    t     import_power - export_power + down <= max_import
export_headroom      MW    t     export_power - import_power + up <= max_export
<feeder>_room        MW    t     output + down <= limit
<feeder>_room_back   MW    t     up - output <= limit
===================  ====  ====  ================================================

<d> is ``up`` or ``down``. There are no variables and no costs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
from optimizer.model.components.converter import OUTPUT_LABEL, converter_output
from optimizer.model.components.import_export import EXPORT_LABEL, IMPORT_LABEL
from optimizer.model.model_data import ModelData
from optimizer.model.objective import RESERVE_SHORTFALL_PENALTY_EUR_PER_MW_H
from optimizer.model.rows import RowSpec
from optimizer.problem.obligations_and_reserves import (
    required_capacity,
    reserve_capacity_bound,
    reserve_price,
    sold_capacity,
)
from twin.feasibility.reserve_activation import activation_ends, max_touched_intervals
from twin.markets.reserve_products import ReserveProduct, is_gate_open, starts_block
from twin.physics import FloatArray
from twin.relations import BIDIRECTIONAL_CARRIERS, Store
from twin.site import Site
from twin.weather import Weather


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
    problem, hours = data.problem, data.interval_hours
    instants = problem.outlook["instant"].to_numpy()
    limit = reserve_capacity_bound(problem.site, product)
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
    add_params(block, "required activated limit pay penalty", time)
    add_var(block, "offered", time, high=block.limit)
    add_var(block, "shortfall", time, high=block.required)
    for name, upwards in (("covered_up", True), ("covered_down", False)):
        if signature.goes_up if upwards else signature.goes_down:
            rule = _covered(assembler, signature.product, upwards)
            block.add_component(name, pyo.Constraint(time, rule=rule))
    if len(time) > 1:
        block.later = later = add_intervals(range(1, len(time)))
        add_params(block, "block_rise block_fall", later)
        add_var(block, "change", later, low=block.block_fall, high=block.block_rise)
        block.constant_within_block = pyo.Constraint(
            later, rule=lambda b, t: b.offered[t] - b.offered[t - 1] - b.change[t] == 0.0
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

    ``overlapped_interval_count`` is the number of intervals that an activation can overlap,
    ``ending_count`` the number of moments of an interval at which it can end. [1]
    """

    products: tuple[str, ...] = ()
    overlapped_interval_count: int = 1
    ending_count: int = 1


def eligibility(data: ModelData, may: Callable[[ReserveProduct], bool]) -> ReserveEligibility:
    """Return the products that a provider may hold by a rule."""
    products = [p for p in data.problem.site.reserves.values() if may(p)]
    until = activation_endings(data, [p.name for p in products])
    window = max(
        (max_touched_intervals(data.interval_hours, p.duration, until) for p in products), default=1
    )
    names = tuple(product.name for product in products)
    return ReserveEligibility(
        products=names, overlapped_interval_count=window, ending_count=until.shape[1]
    )


def activation_endings(data: ModelData, names: Sequence[str]) -> FloatArray:
    """Return when full activations may end, see
    :func:`twin.feasibility.reserve_activation.activation_ends`.
    """
    products = data.problem.site.reserves
    return activation_ends(data.interval_hours, [products[name].duration for name in names])


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
    return float(data.interval_hours @ settlement_price(data, None) / data.interval_hours.sum())


def _fees(data: ModelData) -> FloatArray:
    instants = data.problem.outlook["instant"].to_numpy()
    return data.problem.site.mean_import_fees(instants)


@dataclass(frozen=True, kw_only=True)
class ReserveHeadroomSignature:
    """Everything about the headroom that decides its rows: blocks of the connection and the
    feeders.
    """

    connection_block: str
    feeder_blocks: tuple[str, ...]
    products: tuple[str, ...]


def headroom_signature(site: Site, _: ModelData) -> ReserveHeadroomSignature:
    """Return the signature of the headroom of a site."""
    feeders = tuple(
        convert.owner
        for convert in site.conversions
        if convert.output_carrier in BIDIRECTIONAL_CARRIERS
    )
    return ReserveHeadroomSignature(
        connection_block=site.grid_connection.name,
        feeder_blocks=feeders,
        products=tuple(site.reserves),
    )


def headroom_parameters(site: Site, data: ModelData) -> Mapping[str, FloatArray]:
    """Return the parameter values of the headroom: limits less the margin, and power per
    capacity.
    """
    share = 1.0 - data.problem.margins.power
    weather = Weather.from_dataset(data.problem.outlook)
    found = {
        "max_import": share * data.problem.available_import(site.exchanges[0]),
        "max_export": np.array(share * site.grid_connection.export_limit),
    }
    for convert in site.conversions:
        if convert.output_carrier in BIDIRECTIONAL_CARRIERS:
            found[f"{convert.owner}_limit"] = share * convert.max_output(weather)
    for name, product in site.reserves.items():
        found[f"{name}_power_up"] = np.array(product.power_up)
        found[f"{name}_power_down"] = np.array(product.power_down)
    return found


def build_headroom(
    block: pyo.Block, signature: ReserveHeadroomSignature, _: ModelAssembler
) -> None:
    """Add headroom for all capacity on top of the planned flows."""
    time, site = block.model().time, block.parent_block()
    grid = site.component(signature.connection_block)
    add_params(block, "max_import", time)
    add_params(block, "max_export")
    up, down = (_activation_power(block, signature.products, way) for way in ("up", "down"))
    imported, exported = (
        RowSpec(
            label=f"connection, with reserves used {way}wards",
            owner=signature.connection_block,
            margin_name="power",
            relaxed_with={label: None},
            reserve_direction=way,
        )
        for way, label in (("down", IMPORT_LABEL), ("up", EXPORT_LABEL))
    )
    block.import_headroom = add_rows(
        time,
        rule=lambda b, t: grid.import_power[t] - grid.export_power[t] + down(t) <= b.max_import[t],
        spec=imported,
    )
    block.export_headroom = add_rows(
        time,
        rule=lambda b, t: grid.export_power[t] - grid.import_power[t] + up(t) <= b.max_export,
        spec=exported,
    )
    for name in signature.feeder_blocks:
        (limit,) = add_params(block, f"{name}_limit", time)
        rules = _feeder_rules(site.component(name), limit, up=up, down=down)
        for (word, rule), way in zip(rules.items(), ("down", "up"), strict=True):
            spec = RowSpec(owner=name, relaxed_with={OUTPUT_LABEL: None}, reserve_direction=way)
            block.add_component(f"{name}_{word}", add_rows(time, rule=rule, spec=spec))


def _activation_power(
    block: pyo.Block, products: tuple[str, ...], direction: str
) -> Callable[[Any], Any]:
    """Return the power of all products in one direction."""
    names = " ".join(f"{name}_power_{direction}" for name in products)
    sold = [block.parent_block().component(f"{name}_reserve") for name in products]
    parts = list(zip(add_params(block, names), sold, strict=True))
    return lambda t: add_terms([power * total_capacity(product, t) for power, product in parts])


def _feeder_rules(
    feeder: pyo.Block, limit: pyo.Param, *, up: Callable[[Any], Any], down: Callable[[Any], Any]
) -> Mapping[str, Callable[..., Any]]:
    """Return the rules of a feeder forwards, and backwards where the site exports."""
    return {
        "room": lambda _, t: converter_output(feeder, t) + down(t) <= limit[t],
        "room_back": lambda _, t: up(t) - converter_output(feeder, t) <= limit[t],
    }
