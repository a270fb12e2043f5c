"""A store as levels at the edges, charge and discharge between them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyomo.environ as pyo

from optimizer import limits
from optimizer.forms.held import Held, held_by
from optimizer.forms.holding import hold_by_store, store_numbers
from optimizer.forms.table import columns, table
from optimizer.inputs import Inputs
from optimizer.ledger import Ledger
from twin.feasibility.connection import taper_exceeds_ramp
from twin.physics import FloatArray
from twin.relations import Store


@dataclass(frozen=True, kw_only=True)
class Shape:
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
    held: Held
    is_astray: bool
    is_abrupt: bool


def shape(store: Store, inputs: Inputs) -> Shape:
    """Return the shape of a store."""
    return Shape(
        carrier=store.carrier,
        held=held_by(store, inputs),
        is_astray=limits.is_astray(store, inputs.problem),
        is_abrupt=taper_exceeds_ramp(store, inputs.problem.site),
    )


def numbers(store: Store, inputs: Inputs) -> Mapping[str, FloatArray]:
    """Return the numbers of a store; what it holds at the end is worth what it then saves."""
    hours, start = inputs.hours, inputs.problem.level(store)
    low, high = limits.bounds(store, inputs.problem)
    wear = inputs.problem.weights["money"] * store.wear_price
    worth = inputs.worth.get(store.carrier, 0.0) - wear
    scalars = {
        "charge_limit": store.charge_limit,
        "discharge_limit": store.discharge_limit,
        "charge_share": 1.0 / store.charge_limit,
        "discharge_share": 1.0 / store.discharge_limit,
        "worth": max(worth, 0.0) * store.discharge_efficiency,
    }
    may_charge, may_discharge = limits.ways(store, inputs.problem)
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
    fading = limits.fading_numbers(store, inputs.problem)
    back = limits.return_numbers(store, inputs.problem)
    return found | dict(fading) | dict(back) | dict(store_numbers(store, inputs))


def build(block: pyo.Block, shape: Shape, ledger: Ledger) -> None:
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
    block.charge_limit, block.discharge_limit = table(), table()
    block.charge_share, block.discharge_share = table(), table()
    block.kept, block.gained, block.taken = table(time), table(time), table(time)
    block.wear, block.worth = table(time), table()
    block.low, block.high = table(instant), table(instant)
    block.charge_most, block.discharge_most = table(time), table(time)
    columns(block, "charge", time, high=block.charge_most)
    columns(block, "discharge", time, high=block.discharge_most)
    columns(block, "level", instant, low=block.low, high=block.high)
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
        limits.lead_gently(block)
    if shape.is_astray:
        limits.bring_back(block, ledger)
    hold_by_store(block, shape.held, ledger)
