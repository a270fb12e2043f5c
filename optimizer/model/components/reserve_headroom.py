"""Room at the connection, and in what feeds the bus, for reserves that are activated together."""

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
    """What decides which rows there are.

    Attributes
    ----------
    grid
        Block of the connection.
    feeders
        Blocks of what feeds the bus.
    products
        Names of the products.
    """

    grid: str
    feeders: tuple[str, ...]
    products: tuple[str, ...]


def signature(site: Site, _: ModelData) -> ReserveHeadroomSignature:
    """Return the shape of the room of a site."""
    feeders = tuple(
        convert.owner for convert in site.conversions if convert.output in BIDIRECTIONAL_CARRIERS
    )
    return ReserveHeadroomSignature(
        grid=site.grid.name, feeders=feeders, products=tuple(site.reserves)
    )


def parameters(site: Site, data: ModelData) -> Mapping[str, FloatArray]:
    """Return the numbers of the room: limits less the margin, and power for each MW sold."""
    keep = 1.0 - data.problem.margins.power
    weather = Weather.from_dataset(data.problem.outlook)
    found = {
        "most_import": keep * data.problem.available_import(site.exchanges[0]),
        "most_export": np.array(keep * site.grid.export_limit),
    }
    for convert in site.conversions:
        if convert.output in BIDIRECTIONAL_CARRIERS:
            found[f"{convert.owner}_limit"] = keep * convert.max_output(weather)
    for name, product in site.reserves.items():
        found[f"{name}_power_up"] = np.array(product.power_up)
        found[f"{name}_power_down"] = np.array(product.power_down)
    return found


def build(block: pyo.Block, shape: ReserveHeadroomSignature, _: ModelAssembler) -> None:
    """Keep room for all capacity on top of what is planned.

    Parameters
    ----------
    block
        Empty block; those of the connection, of what feeds the bus, and of the products stand
        beside it.
    shape
        Its shape.
    """
    time, beside = block.model().time, block.parent_block()
    grid = beside.component(shape.grid)
    block.most_import, block.most_export = add_param(time), add_param()
    up, down = (_activation_power(block, shape.products, way) for way in ("up", "down"))
    block.import_room = pyo.Constraint(
        time,
        rule=lambda b, t: grid.import_power[t] - grid.export_power[t] + down(t) <= b.most_import[t],
    )
    block.export_room = pyo.Constraint(
        time,
        rule=lambda b, t: grid.export_power[t] - grid.import_power[t] + up(t) <= b.most_export,
    )
    for name in shape.feeders:
        limit = add_named_param(block, f"{name}_limit", time)
        for direction, rule in _feeder_rows(
            beside.component(name), limit, up=up, down=down
        ).items():
            block.add_component(f"{name}_{direction}", pyo.Constraint(time, rule=rule))


def _activation_power(
    block: pyo.Block, products: tuple[str, ...], direction: str
) -> Callable[[Any], Any]:
    """Return the power of all products one way."""
    beside = block.parent_block()
    parts = [
        (add_named_param(block, f"{name}_power_{direction}"), beside.component(f"{name}_reserve"))
        for name in products
    ]
    return lambda t: add_terms([power * total_capacity(product, t) for power, product in parts])


def _feeder_rows(
    feeder: pyo.Block, limit: pyo.Param, *, up: Callable[[Any], Any], down: Callable[[Any], Any]
) -> Mapping[str, Callable[..., Any]]:
    """Return the rules of what a feeder bears forwards, and backwards where the site gives."""
    return {
        "room": lambda _, t: converter_output(feeder, t) + down(t) <= limit[t],
        "room_back": lambda _, t: up(t) - converter_output(feeder, t) <= limit[t],
    }
