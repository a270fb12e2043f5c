"""A store as levels at the edges, charge and discharge between them."""

import pyomo.environ as pyo

from optimizer import limits
from optimizer.forms.table import table
from optimizer.inputs import Inputs
from optimizer.ledger import Ledger
from twin.relations import Store


def build(block: pyo.Block, store: Store, *, ledger: Ledger, inputs: Inputs) -> None:
    """Write a store into its block; what it holds at the end is worth what it then saves.

    Parameters
    ----------
    block
        Empty block of the machine.
    store
        The store.
    ledger
        Where flows, wear and the worth of the end level are posted.
    inputs
        Hold start level, margins and worth of the carrier.
    """
    model, problem, hours = block.model(), inputs.problem, inputs.hours
    low, high = limits.levels(store, problem)
    kept = (1.0 - store.standing_loss) ** hours
    block.hours, block.kept = table(hours, model.time), table(kept, model.time)
    block.charge = pyo.Var(model.time, bounds=(0.0, store.charge_limit), doc="MW")
    block.discharge = pyo.Var(model.time, bounds=(0.0, store.discharge_limit), doc="MW")
    block.level = pyo.Var(model.instant, bounds=(0.0, max(store.high, high[0])), doc="MWh")
    start = problem.level(store)
    for i, bounds in enumerate([(start, start), *zip(low, high, strict=True)]):
        block.level[i].setlb(bounds[0])
        block.level[i].setub(bounds[1])
    into, out = store.charge_efficiency, 1.0 / store.discharge_efficiency
    block.keeps = pyo.Constraint(
        model.time,
        rule=lambda b, t: (
            b.level[t + 1]
            == b.kept[t] * b.level[t] + b.hours[t] * (into * b.charge[t] - out * b.discharge[t])
        ),
    )
    block.one_way = pyo.Constraint(
        model.time,
        rule=lambda b, t: (
            b.charge[t] / store.charge_limit + b.discharge[t] / store.discharge_limit <= 1.0
        ),
    )
    ledger.gain(store.carrier, lambda t: block.discharge[t])
    ledger.use(store.carrier, lambda t: block.charge[t])
    ledger.pay("wear", lambda t: store.wear_price * block.hours[t] * block.discharge[t])
    worth = inputs.worth.get(store.carrier, 0.0) - store.wear_price
    value = max(worth, 0.0) * store.discharge_efficiency
    ledger.pay_once("terminal", lambda: -value * block.level[model.instant.last()])
