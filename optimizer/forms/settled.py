"""What the expected activation of reserves costs and earns whoever holds them."""

import numpy as np

from optimizer.inputs import Inputs
from twin.markets.reserve_products import ReserveProduct
from twin.physics import FloatArray
from twin.relations import Store


def activation_cost(store: Store, product: ReserveProduct, inputs: Inputs) -> FloatArray:
    """Return what the expected activation costs a store for each MW in an hour. [EUR MW-1 h-1]

    What is given is bought back, and what is taken saves buying, at the mean price of the horizon
    and with the losses.
    """
    later, whole = later_price(inputs), store.charge_efficiency * store.discharge_efficiency
    received, paid = product.activation_up_price, product.activation_down_price
    income, expense = (settled_price(inputs, price) for price in (received, paid))
    up = product.activation_up * product.goes_up * (later / whole + store.wear_price - income)
    down = product.activation_down * product.goes_down
    return np.asarray(up + down * (expense - whole * (later - store.wear_price)))


def settled_price(inputs: Inputs, own: float | None) -> FloatArray:
    """Return at what price energy of an activation is settled, ``(time,)``. [EUR MWh-1]

    That of its product, or what the meter shows. Network fees are the meter's in any case.
    """
    price = inputs.problem.series("electricity_price")
    return _fees(inputs) + (price if own is None else own)


def later_price(inputs: Inputs) -> float:
    """Return the price of energy with its fees on the mean of the horizon. [EUR MWh-1]"""
    return float(inputs.hours @ settled_price(inputs, None) / inputs.hours.sum())


def _fees(inputs: Inputs) -> FloatArray:
    instants = inputs.problem.outlook["instant"].to_numpy()
    return inputs.problem.site.mean_import_fees(instants)
