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
    held
        Reserves that it may hold.
    is_astray
        Whether it starts outside its window.
    is_abrupt
        Whether its power, fading near an end of its window, would outrun the connection's ramp.
    """

    carrier: str
    held: ReserveEligibility
    is_astray: bool
    is_abrupt: bool


def signature(store: Store, inputs: ModelData) -> StorageSignature:
    """Return the shape of a store."""
    return StorageSignature(
        carrier=store.carrier,
        held=store_eligibility(store, inputs),
        is_astray=storage_limits.starts_outside_window(store, inputs.problem),
        is_abrupt=taper_exceeds_ramp(store, inputs.problem.site),
    )


def parameters(store: Store, inputs: ModelData) -> Mapping[str, FloatArray]:
    """Return the numbers of a store; what it holds at the end is worth what it then saves."""
    hours, start = inputs.hours, inputs.problem.level(store)
    low, high = storage_limits.level_bounds(store, inputs.problem)
    wear = inputs.problem.weights["money"] * store.wear_price
    worth = inputs.worth.get(store.carrier, 0.0) - wear
    scalars = {
        "charge_limit": store.charge_limit,
        "discharge_limit": store.discharge_limit,
        "charge_share": 1.0 / store.charge_limit,
        "discharge_share": 1.0 / store.discharge_limit,
        "worth": max(worth, 0.0) * store.discharge_efficiency,
    }
    may_charge, may_discharge = storage_limits.may_charge_discharge(store, inputs.problem)
    found = {name: np.array(value) for name, value in scalars.items()} | {
        "charge_most": store.charge_limit * may_charge,
        "discharge_most": store.discharge_limit * may_discharge,
        "kept": (1.0 - store.standing_loss) ** hours,
        "gained": hours * store.charge_efficiency,
        "taken": hours / store.discharge_efficiency,
        "wear": store.wear_price * hours,
        "low": np.append(start, low),
        "high": np.append(start, high),
    }
    fading = storage_limits.taper_parameters(store, inputs.problem)
    back = storage_limits.soc_return_parameters(store, inputs.problem)
    return found | dict(fading) | dict(back) | dict(storage_reserve_parameters(store, inputs))


def build(block: pyo.Block, shape: StorageSignature, ledger: ModelAssembler) -> None:
    """Write a store into its block.

    Parameters
    ----------
    block
        Empty block of the machine.
    shape
        Its shape.
    ledger
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
    ledger.gain(shape.carrier, lambda t: block.discharge[t])
    ledger.use(shape.carrier, lambda t: block.charge[t])
    ledger.pay("wear", lambda t: block.wear[t] * block.discharge[t])
    ledger.pay_once("terminal", lambda: -1.0 * block.worth * block.level[end])
    if shape.is_abrupt:
        storage_limits.add_taper_limit(block)
    if shape.is_astray:
        storage_limits.add_soft_soc_return(block, ledger)
    build_storage_reserve(block, shape.held, ledger)
