"""A store as levels at the edges, charge and discharge between them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyomo.environ as pyo

from optimizer.model.assembler import ModelAssembler, add_param, add_var
from optimizer.model.components import storage_limits
from optimizer.model.components.reserve_product import ReserveEligibility, store_eligibility
from optimizer.model.components.storage_reserve import (
    build_storage_reserve,
    storage_reserve_parameters,
)
from optimizer.model.model_data import ModelData
from twin.feasibility.connection import taper_exceeds_ramp
from twin.physics import FloatArray
from twin.relations import Store


@dataclass(frozen=True, kw_only=True)
class StorageSignature:
    """What of a store decides which rows and columns there are.

    Attributes
    ----------
    carrier
        The carrier it keeps.
    reserves
        Reserves that it may hold.
    starts_outside_window
        Whether it starts outside its window.
    needs_taper_limit
        Whether its power, fading near an end of its window, would outrun the connection's ramp.
    """

    carrier: str
    reserves: ReserveEligibility
    starts_outside_window: bool
    needs_taper_limit: bool


def signature(store: Store, data: ModelData) -> StorageSignature:
    """Return the shape of a store."""
    return StorageSignature(
        carrier=store.carrier,
        reserves=store_eligibility(store, data),
        starts_outside_window=storage_limits.starts_outside_window(store, data.problem),
        needs_taper_limit=taper_exceeds_ramp(store, data.problem.site),
    )


def parameters(store: Store, data: ModelData) -> Mapping[str, FloatArray]:
    """Return the numbers of a store; what it holds at the end is worth what it then saves."""
    hours, start = data.hours, data.problem.initial_level(store)
    low, high = storage_limits.level_bounds(store, data.problem)
    wear = data.problem.weights["money"] * store.wear_cost
    worth = data.terminal_value.get(store.carrier, 0.0) - wear
    scalars = {
        "charge_limit": store.charge_limit,
        "discharge_limit": store.discharge_limit,
        "charge_share": 1.0 / store.charge_limit,
        "discharge_share": 1.0 / store.discharge_limit,
        "worth": max(worth, 0.0) * store.discharge_efficiency,
    }
    may_charge, may_discharge = storage_limits.may_charge_discharge(store, data.problem)
    found = {name: np.array(value) for name, value in scalars.items()} | {
        "charge_most": store.charge_limit * may_charge,
        "discharge_most": store.discharge_limit * may_discharge,
        "kept": (1.0 - store.standing_loss) ** hours,
        "gained": hours * store.charge_efficiency,
        "taken": hours / store.discharge_efficiency,
        "wear": store.wear_cost * hours,
        "low": np.append(start, low),
        "high": np.append(start, high),
    }
    fading = storage_limits.taper_parameters(store, data.problem)
    back = storage_limits.soc_return_parameters(store, data.problem)
    return found | dict(fading) | dict(back) | dict(storage_reserve_parameters(store, data))


def build(block: pyo.Block, shape: StorageSignature, assembler: ModelAssembler) -> None:
    """Write a store into its block.

    Parameters
    ----------
    block
        Empty block of the machine.
    shape
        Its shape.
    assembler
        Where flows, wear and the worth of the end level are posted.
    """
    time, instant = block.model().time, block.model().instant
    end = instant.last()
    block.charge_limit, block.discharge_limit = add_param(), add_param()
    block.charge_share, block.discharge_share = add_param(), add_param()
    block.kept, block.gained, block.taken = add_param(time), add_param(time), add_param(time)
    block.wear, block.worth = add_param(time), add_param()
    block.low, block.high = add_param(instant), add_param(instant)
    block.charge_most, block.discharge_most = add_param(time), add_param(time)
    add_var(block, "charge", time, high=block.charge_most)
    add_var(block, "discharge", time, high=block.discharge_most)
    add_var(block, "level", instant, low=block.low, high=block.high)
    block.keeps = pyo.Constraint(
        time,
        rule=lambda b, t: (
            b.level[t + 1]
            == b.kept[t] * b.level[t] + b.gained[t] * b.charge[t] - b.taken[t] * b.discharge[t]
        ),
    )
    block.one_way = pyo.Constraint(
        time,
        rule=lambda b, t: b.charge_share * b.charge[t] + b.discharge_share * b.discharge[t] <= 1.0,
    )
    assembler.add_supply(shape.carrier, lambda t: block.discharge[t])
    assembler.add_demand(shape.carrier, lambda t: block.charge[t])
    assembler.add_cost("wear", lambda t: block.wear[t] * block.discharge[t])
    assembler.add_fixed_cost("terminal", lambda: -1.0 * block.worth * block.level[end])
    if shape.needs_taper_limit:
        storage_limits.add_taper_limit(block)
    if shape.starts_outside_window:
        storage_limits.add_soft_soc_return(block, assembler)
    build_storage_reserve(block, shape.reserves, assembler)
