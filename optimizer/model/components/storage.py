"""Storage of a carrier: levels at instants, charge and discharge between them.

===================================  =======  ====  ================================================
Name                                 Unit     Axes  Meaning
===================================  =======  ====  ================================================
**Variables**
charge, discharge                    MW       t     power in and out; 0 <= charge <= charge_max
level                                MWh      i     content; low <= level <= high, level[0] is the
                                                    state
**Parameters**
charge_max, discharge_max            MW       t     largest power in an interval, 0 where it is not
                                                    allowed
charge_limit, discharge_limit        MW             rated power
charge_fraction, discharge_fraction  1/MW           1 / rated power
retention                            1        t     share of the level that remains after an
                                                    interval
charge_gain, discharge_loss          h        t     level gained per charge, and lost per discharge
low, high                            MWh      i     bounds of the level
wear                                 EUR/MW   t     cost of wear per discharge
terminal_value                       EUR/MWh        terminal value of the last level
**Constraints**
soc_balance                          MWh      t     level[t+1] == retention * level[t] + charge_gain
                                                    * charge - discharge_loss * discharge
charge_discharge_limit               1        t     charge_fraction * charge + discharge_fraction *
                                                    discharge <= 1
**Supply and cost**
carrier                              MW       t     discharge - charge
wear                                 EUR      t     wear * discharge
terminal                             EUR            -terminal_value * level[end]
===================================  =======  ====  ================================================

Axes: t interval, i instant. :mod:`storage_limits` and :mod:`storage_reserve` add rows to the block.
"""

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
    """Everything about a store that decides its rows and columns.

    ``needs_taper_limit`` is true if the taper near an end of its window would exceed the ramp of
    the connection.
    """

    carrier: str
    reserves: ReserveEligibility
    starts_outside_window: bool
    needs_taper_limit: bool


def signature(store: Store, data: ModelData) -> StorageSignature:
    """Return the signature of a store."""
    return StorageSignature(
        carrier=store.carrier,
        reserves=store_eligibility(store, data),
        starts_outside_window=storage_limits.starts_outside_window(store, data.problem),
        needs_taper_limit=taper_exceeds_ramp(store, data.problem.site),
    )


def parameters(store: Store, data: ModelData) -> Mapping[str, FloatArray]:
    """Return the parameter values of a store; its last level is worth the cost that it saves
    later.
    """
    hours, start = data.hours, data.problem.initial_level(store)
    low, high = storage_limits.level_bounds(store, data.problem)
    wear = data.problem.weights["money"] * store.wear_cost
    worth = data.terminal_value.get(store.carrier, 0.0) - wear
    scalars = {
        "charge_limit": store.charge_limit,
        "discharge_limit": store.discharge_limit,
        "charge_fraction": 1.0 / store.charge_limit,
        "discharge_fraction": 1.0 / store.discharge_limit,
        "terminal_value": max(worth, 0.0) * store.discharge_efficiency,
    }
    may_charge, may_discharge = storage_limits.may_charge_discharge(store, data.problem)
    found = {name: np.array(value) for name, value in scalars.items()} | {
        "charge_max": store.charge_limit * may_charge,
        "discharge_max": data.problem.max_discharge(store) * may_discharge,
        "retention": (1.0 - store.standing_loss) ** hours,
        "charge_gain": hours * store.charge_efficiency,
        "discharge_loss": hours / store.discharge_efficiency,
        "wear": store.wear_cost * hours,
        "low": np.append(start, low),
        "high": np.append(start, high),
    }
    fading = storage_limits.taper_parameters(store, data.problem)
    back = storage_limits.soc_return_parameters(store, data.problem)
    return found | dict(fading) | dict(back) | dict(storage_reserve_parameters(store, data))


def build(block: pyo.Block, signature: StorageSignature, assembler: ModelAssembler) -> None:
    """Write a store into its empty block and post flows, wear and terminal value."""
    time, instant = block.model().time, block.model().instant
    end = instant.last()
    block.charge_limit, block.discharge_limit = add_param(), add_param()
    block.charge_fraction, block.discharge_fraction = add_param(), add_param()
    block.retention, block.charge_gain, block.discharge_loss = (
        add_param(time),
        add_param(time),
        add_param(time),
    )
    block.wear, block.terminal_value = add_param(time), add_param()
    block.low, block.high = add_param(instant), add_param(instant)
    block.charge_max, block.discharge_max = add_param(time), add_param(time)
    add_var(block, "charge", time, high=block.charge_max)
    add_var(block, "discharge", time, high=block.discharge_max)
    add_var(block, "level", instant, low=block.low, high=block.high)
    block.soc_balance = pyo.Constraint(
        time,
        rule=lambda b, t: (
            b.level[t + 1]
            == b.retention[t] * b.level[t]
            + b.charge_gain[t] * b.charge[t]
            - b.discharge_loss[t] * b.discharge[t]
        ),
    )
    block.charge_discharge_limit = pyo.Constraint(
        time,
        rule=lambda b, t: (
            b.charge_fraction * b.charge[t] + b.discharge_fraction * b.discharge[t] <= 1.0
        ),
    )
    assembler.add_supply(signature.carrier, lambda t: block.discharge[t])
    assembler.add_demand(signature.carrier, lambda t: block.charge[t])
    assembler.add_cost("wear", lambda t: block.wear[t] * block.discharge[t])
    assembler.add_fixed_cost("terminal", lambda: -1.0 * block.terminal_value * block.level[end])
    if signature.needs_taper_limit:
        storage_limits.add_taper_limit(block)
    if signature.starts_outside_window:
        storage_limits.add_soft_soc_return(block, assembler)
    build_storage_reserve(block, signature.reserves, assembler)
