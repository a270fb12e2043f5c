"""Keep the peak of the billing period from being raised by what no plan foresaw.

A plan is an hour old and its sun and wind are forecasts. What the last quarter-hour's import was
above its expectation is expected again; where that would raise the peak, batteries charge less, or
give.
"""

from dataclasses import replace
from typing import Final

from optimizer.dispatch import Orders
from twin.relations import Store
from twin.site import Site

LEAST: Final = 0.1
"""Power below which nothing is shaved. [MW]"""


def shave(orders: Orders, site: Site, excess: float) -> tuple[Orders, float]:
    """Return orders under which batteries take an excess of import away, as far as they can.

    Parameters
    ----------
    orders
        What was to be done.
    site
        The site.
    excess
        Import expected above the peak; negative if there is room. [MW]

    Returns
    -------
    tuple of Orders and float
        The orders, and how much of the excess they take away. [MW]

    Notes
    -----
    Charging is cut before anything is discharged; whether there is enough in a battery is left to
    its own controller.
    """
    left = excess
    charge, discharge = dict(orders.battery_charge), dict(orders.battery_discharge)
    batteries = [store for store in site.stores if store.carrier == "medium_voltage"]
    for battery in batteries:
        if left > LEAST:
            left -= _move(battery, charge, discharge, left)
    if left == excess:
        return orders, 0.0
    shaved = replace(orders, battery_charge=charge, battery_discharge=discharge)
    return shaved, excess - left


def _move(
    battery: Store, charge: dict[str, float], discharge: dict[str, float], wanted: float
) -> float:
    """Move one battery's orders towards giving, in place; return by how much. [MW]"""
    name = battery.owner
    cut = min(charge.get(name, 0.0), wanted)
    charge[name] = charge.get(name, 0.0) - cut
    room = battery.discharge_limit - discharge.get(name, 0.0) if charge[name] == 0.0 else 0.0
    given = min(wanted - cut, room)
    discharge[name] = discharge.get(name, 0.0) + given
    return cut + given
