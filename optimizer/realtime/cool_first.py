"""Cold goes to the machines before it goes into a tank.

A plan may charge a tank with all that the model says the chillers have left. Those of a worn plant
have less: the water becomes warm while the tank still fills. So charging yields as it warms.
"""

from dataclasses import replace
from typing import Final

import xarray as xr

from optimizer.dispatch import Orders
from twin.equipment import CoolingPlant
from twin.labels import of_owner
from twin.relations import Convert
from twin.site import Site

CALM: Final = 0.5
"""Supply water may be so much above its set point before charging yields: it swings as loads do.
[K]"""


def cool_first(orders: Orders, site: Site, state: xr.Dataset) -> Orders:
    """Return orders that charge no tank with cold which its circuit lacks.

    Parameters
    ----------
    orders
        What the plan comes to.
    site
        The site.
    state
        The state now: ``facility_supply_temperature(circuit)``.

    Returns
    -------
    Orders
        The same, with charge in full up to :data:`CALM` above the set point, none where a plan may
        not go, and a share of it in between.
    """
    circuit_of = {
        one.output: site.equipment[one.owner] for one in site.relations if isinstance(one, Convert)
    }
    carrier_of = {store.owner: store.carrier for store in site.stores}
    charge = {}
    for name, power in orders.tank_charge.items():
        plant = circuit_of.get(carrier_of[name])
        share = _share(plant, orders, site, state) if isinstance(plant, CoolingPlant) else 1.0
        if share > 0.0:
            charge[name] = power * share
    return replace(orders, tank_charge=charge)


def _share(plant: CoolingPlant, orders: Orders, site: Site, state: xr.Dataset) -> float:
    """Return how much of the charge a circuit can spare. [1]"""
    wanted = orders.facility_supply_set_point.get(plant.name, plant.supply_temperature)
    first, last = wanted + CALM, plant.supply_limit - site.margins.temperature
    water = float(of_owner(state, "facility_supply_temperature", plant.name))
    if water <= first:
        return 1.0
    return max((last - water) / (last - first), 0.0) if last > first else 0.0
