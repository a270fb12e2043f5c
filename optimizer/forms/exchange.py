"""An exchange across the fence as import and export."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyomo.environ as pyo

from optimizer import limits
from optimizer.forms.table import columns, table
from optimizer.inputs import Inputs
from optimizer.ledger import Ledger
from optimizer.when import ramped
from twin.physics import FloatArray
from twin.relations import Exchange


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What of an exchange decides which rows and columns there are.

    Attributes
    ----------
    carrier
        Carrier traded.
    account
        Account that pays the fees.
    has_price, has_carbon
        Whether the outlook has a price and a carbon intensity for it.
    ramped
        Intervals whose change of net import is bounded.
    """

    carrier: str
    account: str
    has_price: bool
    has_carbon: bool
    ramped: tuple[int, ...]


def shape(exchange: Exchange, inputs: Inputs) -> Shape:
    """Return the shape of an exchange."""
    return Shape(
        carrier=exchange.carrier,
        account=exchange.account,
        has_price=bool(exchange.price),
        has_carbon=bool(exchange.carbon),
        ramped=ramped(exchange, inputs.problem),
    )


def numbers(exchange: Exchange, inputs: Inputs) -> Mapping[str, FloatArray]:
    """Return the numbers of an exchange; one that the weather bounds keeps no margin of power."""
    problem, hours = inputs.problem, inputs.hours
    keep = 1.0 if exchange.available else 1.0 - problem.margins.power
    most = keep * problem.available(exchange)
    found = {
        "import_limit": most,
        "import_least": np.minimum(limits.kept_import(exchange, problem), most),
        "export_limit": np.array(keep * exchange.export_limit),
        "import_fee": hours * _import_fee(exchange, inputs),
        "export_fee": hours * exchange.export_fee,
    }
    if exchange.price:
        found["price"] = hours * problem.series(exchange.price)
    if exchange.carbon:
        found["carbon"] = hours * problem.series(exchange.carbon)
    return found | dict(limits.ramp_numbers(exchange, inputs))


def build(block: pyo.Block, shape: Shape, ledger: Ledger) -> None:
    """Write an exchange into its block and post energy, fees and carbon.

    Parameters
    ----------
    block
        Empty block of the machine or contract.
    shape
        Its shape.
    ledger
        Where flows and payments are posted.
    """
    time = block.model().time
    block.import_least, block.import_limit = table(time), table(time)
    block.export_limit = table()
    block.import_fee, block.export_fee = table(time), table(time)
    columns(block, "import_power", time, low=block.import_least, high=block.import_limit)
    columns(block, "export_power", time, high=block.export_limit)
    ledger.gain(shape.carrier, lambda t: block.import_power[t])
    ledger.use(shape.carrier, lambda t: block.export_power[t])
    if shape.has_price:
        block.price = table(time)
        ledger.pay(
            "electricity",
            lambda t: block.price[t] * (block.import_power[t] - block.export_power[t]),
        )
    ledger.pay(
        shape.account,
        lambda t: (
            block.import_fee[t] * block.import_power[t]
            + block.export_fee[t] * block.export_power[t]
        ),
    )
    if shape.has_carbon:
        block.carbon = table(time)
        ledger.pay("carbon", lambda t: block.carbon[t] * block.import_power[t])
    limits.ramp(block, shape.ramped, ledger=ledger)


def _import_fee(exchange: Exchange, inputs: Inputs) -> FloatArray | float:
    """Return the fee of what is taken in, at the connection with the tariffs'. [EUR MWh-1]"""
    if exchange.carrier != "grid":
        return exchange.import_fee
    return inputs.problem.site.mean_import_fees(inputs.problem.outlook["instant"].to_numpy())
