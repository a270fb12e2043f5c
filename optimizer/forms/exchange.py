"""An exchange across the fence as import and export."""

import numpy as np
import pyomo.environ as pyo

from optimizer import limits
from optimizer.forms.table import table
from optimizer.inputs import Inputs
from optimizer.ledger import Ledger
from twin.relations import Exchange


def build(block: pyo.Block, exchange: Exchange, *, ledger: Ledger, inputs: Inputs) -> None:
    """Write an exchange into its block and post energy, fees and carbon.

    Parameters
    ----------
    block
        Empty block of the machine or contract.
    exchange
        The exchange. One that the weather bounds loses nothing to the margin of power.
    ledger
        Where flows and payments are posted.
    inputs
        Hold prices, carbon intensity and availability.
    """
    model, problem, hours = block.model(), inputs.problem, inputs.hours
    keep = 1.0 if exchange.available else 1.0 - problem.margins.power
    price = problem.series(exchange.price) if exchange.price else np.zeros_like(hours)
    block.import_limit = table(keep * problem.available(exchange), model.time)
    block.import_power = pyo.Var(model.time, bounds=lambda b, t: (0.0, b.import_limit[t]), doc="MW")
    most = keep * exchange.export_limit
    block.export_power = pyo.Var(model.time, bounds=(0.0, most), doc="MW")
    block.hours, block.price = table(hours, model.time), table(hours * price, model.time)
    ledger.gain(exchange.carrier, lambda t: block.import_power[t])
    ledger.use(exchange.carrier, lambda t: block.export_power[t])
    if exchange.price:
        ledger.pay(
            "electricity",
            lambda t: block.price[t] * (block.import_power[t] - block.export_power[t]),
        )
    ledger.pay(
        exchange.account,
        lambda t: (
            block.hours[t]
            * (
                exchange.import_fee * block.import_power[t]
                + exchange.export_fee * block.export_power[t]
            )
        ),
    )
    if exchange.carbon:
        block.carbon = table(hours * problem.series(exchange.carbon), model.time)
        ledger.pay("carbon", lambda t: block.carbon[t] * block.import_power[t])
    limits.ramp(block, exchange, ledger=ledger, inputs=inputs)
