"""Headroom at the grid connection and its feeders for reserves that are activated together.

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

Axes: t interval; <d> is ``up`` or ``down``. There are no variables and no costs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyomo.environ as pyo

from optimizer.model.assembler import ModelAssembler, add_param, add_terms
from optimizer.model.components.converter import converter_output
from optimizer.model.components.reserve_product import add_named_param, total_capacity
from optimizer.model.model_data import ModelData
from twin.physics import FloatArray
from twin.relations import BIDIRECTIONAL_CARRIERS
from twin.site import Site
from twin.weather import Weather


@dataclass(frozen=True, kw_only=True)
class ReserveHeadroomSignature:
    """Everything about the headroom that decides its rows: blocks of the connection and the
    feeders.
    """

    grid: str
    feeders: tuple[str, ...]
    products: tuple[str, ...]


def signature(site: Site, _: ModelData) -> ReserveHeadroomSignature:
    """Return the signature of the headroom of a site."""
    feeders = tuple(
        convert.owner for convert in site.conversions if convert.output in BIDIRECTIONAL_CARRIERS
    )
    return ReserveHeadroomSignature(
        grid=site.grid_connection.name, feeders=feeders, products=tuple(site.reserves)
    )


def parameters(site: Site, data: ModelData) -> Mapping[str, FloatArray]:
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
        if convert.output in BIDIRECTIONAL_CARRIERS:
            found[f"{convert.owner}_limit"] = share * convert.max_output(weather)
    for name, product in site.reserves.items():
        found[f"{name}_power_up"] = np.array(product.power_up)
        found[f"{name}_power_down"] = np.array(product.power_down)
    return found


def build(block: pyo.Block, signature: ReserveHeadroomSignature, _: ModelAssembler) -> None:
    """Add headroom for all capacity on top of the planned flows."""
    time, site = block.model().time, block.parent_block()
    grid = site.component(signature.grid)
    block.max_import, block.max_export = add_param(time), add_param()
    up, down = (_activation_power(block, signature.products, way) for way in ("up", "down"))
    block.import_headroom = pyo.Constraint(
        time,
        rule=lambda b, t: grid.import_power[t] - grid.export_power[t] + down(t) <= b.max_import[t],
    )
    block.export_headroom = pyo.Constraint(
        time,
        rule=lambda b, t: grid.export_power[t] - grid.import_power[t] + up(t) <= b.max_export,
    )
    for name in signature.feeders:
        limit = add_named_param(block, f"{name}_limit", time)
        for direction, rule in _feeder_rows(site.component(name), limit, up=up, down=down).items():
            block.add_component(f"{name}_{direction}", pyo.Constraint(time, rule=rule))


def _activation_power(
    block: pyo.Block, products: tuple[str, ...], direction: str
) -> Callable[[Any], Any]:
    """Return the power of all products in one direction."""
    site = block.parent_block()
    parts = [
        (add_named_param(block, f"{name}_power_{direction}"), site.component(f"{name}_reserve"))
        for name in products
    ]
    return lambda t: add_terms([power * total_capacity(product, t) for power, product in parts])


def _feeder_rows(
    feeder: pyo.Block, limit: pyo.Param, *, up: Callable[[Any], Any], down: Callable[[Any], Any]
) -> Mapping[str, Callable[..., Any]]:
    """Return the rules of a feeder forwards, and backwards where the site exports."""
    return {
        "room": lambda _, t: converter_output(feeder, t) + down(t) <= limit[t],
        "room_back": lambda _, t: up(t) - converter_output(feeder, t) <= limit[t],
    }
