"""Cold goes to the machines before it goes into a tank, and out of one before they get too warm.

A plan may charge a tank with all that the model says the chillers have left. Those of a worn plant,
or in air warmer than foreseen, have less: the water becomes warm while the tank still fills. So
charging yields as it warms; and where water is warmer than a plan may have it, the tank gives.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
import xarray as xr

from optimizer.realtime.orders import DispatchOrders
from twin.equipment import CoolingPlant
from twin.relations import Convert
from twin.site import Site

SUPPLY_TOLERANCE_K: Final = 0.5
"""Supply water may be so much above its set point before charging yields: it swings as loads do.
[K]"""


def apply_tank_priority(
    orders: DispatchOrders, site: Site, water: Mapping[str, float]
) -> DispatchOrders:
    """Return orders that charge no tank with cold which its circuit lacks.

    Parameters
    ----------
    orders
        What the plan comes to.
    site
        The site.
    water
        Circuit -> its supply water now [degC]; where that is not known, nothing yields.

    Returns
    -------
    DispatchOrders
        The same, with charge in full up to :data:`CALM` above the set point, none where a plan may
        not go, and a share of it in between. Beyond, the tank gives, at the limit of the water all
        that it can; whether there is enough in it is left to its own controller. A set point so
        near to the limit that nothing is in between has the way to the limit instead.
    """
    circuit_of = {
        one.output: site.equipment[one.owner] for one in site.relations if isinstance(one, Convert)
    }
    charge, discharge = dict(orders.tank_charge), dict(orders.tank_discharge)
    for tank in site.stores:
        plant = circuit_of.get(tank.carrier)
        if not isinstance(plant, CoolingPlant):
            continue
        warmth, given = water.get(plant.name, np.nan), discharge.get(tank.owner, 0.0)
        share = _charge_share(plant, orders, site, warmth)
        if share < 1.0:
            charge[tank.owner] = charge.get(tank.owner, 0.0) * max(share, 0.0)
        if share < 0.0:
            discharge[tank.owner] = max(given, -share * tank.discharge_limit)
    return replace(orders, tank_charge=charge, tank_discharge=discharge)


def supply_temperatures(state: xr.Dataset) -> dict[str, float]:
    """Return the supply water of each circuit in a state. [degC]"""
    water = state["facility_supply_temperature"].to_series()
    return {str(circuit): float(value) for circuit, value in water.items()}


def _charge_share(plant: CoolingPlant, orders: DispatchOrders, site: Site, water: float) -> float:
    """Return the share of charge that a circuit can spare; below 0, of discharge it lacks. [1]"""
    wanted = orders.facility_supply_set_point.get(plant.name, plant.supply_temperature)
    first, limit = wanted + SUPPLY_TOLERANCE_K, plant.supply_limit
    last = limit - site.margins.temperature
    if last <= first:
        last = limit
    if water >= last:
        return -min((water - last) / max(limit - last, SUPPLY_TOLERANCE_K), 1.0)
    return (last - water) / (last - first) if water > first else 1.0
