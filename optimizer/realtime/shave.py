"""Keep the peak of the billing period from being raised by what no plan foresaw.

A plan is an hour old and its sun and wind are forecasts. What the last quarter-hour's import was
above its expectation is expected again; where that would raise the peak, batteries charge less, or
give.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
import xarray as xr

from optimizer.dispatch import Orders
from twin import time_axes
from twin.feasibility.reserve_activation import storage_headroom
from twin.relations import Store
from twin.site import Site
from twin.variables import machine_values

LEAST: Final = 0.1
"""Power below which nothing is shaved. [MW]"""

AHEAD: Final = 2.0
"""Time in which energy that is spent may be missed: a plan to come, and what it needs. [h]"""


def shave(
    orders: Orders, site: Site, excess: float, *, spare: Mapping[str, float] | None = None
) -> tuple[Orders, float]:
    """Return orders under which batteries take an excess of import away, as far as they can.

    Parameters
    ----------
    orders
        What was to be done.
    site
        The site.
    excess
        Import expected above the peak; negative if there is room. [MW]
    spare
        Battery -> most by which it may be moved towards giving, where it keeps reserves. [MW]

    Returns
    -------
    tuple of Orders and float
        The orders, and how much of the excess they take away. [MW]

    Notes
    -----
    Charging is cut before anything is discharged; whether there is enough in a battery is left to
    its own controller. What is kept for reserves is not spent: a peak costs less than a promise.
    """
    left = excess
    charge, discharge = dict(orders.battery_charge), dict(orders.battery_discharge)
    for battery in _batteries(site):
        if left > LEAST:
            most = (spare or {}).get(battery.owner, left)
            left -= _move(battery, charge, discharge, min(left, most))
    if left == excess:
        return orders, 0.0
    shaved = replace(orders, battery_charge=charge, battery_discharge=discharge)
    return shaved, excess - left


def _batteries(site: Site) -> list[Store]:
    """Return the stores of electricity."""
    return [store for store in site.stores if store.carrier == "medium_voltage"]


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


def able(site: Site, step: xr.Dataset, state: xr.Dataset, *, spare: Mapping[str, float]) -> float:
    """Return by how much batteries can be moved towards giving for a quarter-hour. [MW]

    Parameters
    ----------
    site
        The site.
    step
        The interval of a schedule.
    state
        The state now.
    spare
        Battery -> most by which it may be moved, where it keeps reserves. [MW]
    """
    total = 0.0
    for store in _batteries(site):
        name = store.owner
        charge, discharge = (
            float(machine_values(step, f"battery_{way}", name)) for way in ("charge", "discharge")
        )
        level = float(machine_values(state, "battery_level", name))
        given = (
            (level - store.low)
            * store.discharge_efficiency
            / (time_axes.QUARTER_HOUR / time_axes.HOUR)
        )
        most = charge + min(max(given, 0.0), store.discharge_limit) - discharge
        total += max(min(most, spare.get(name, most)), 0.0)
    return total


def spare_of(
    site: Site, plan: xr.Dataset, state: xr.Dataset, *, now: np.datetime64
) -> dict[str, float]:
    """Return how far batteries may be moved towards giving beside the reserves that they hold.

    Parameters
    ----------
    site
        The site.
    plan
        The schedule in force.
    state
        The state now.
    now
        Start of the interval.

    Returns
    -------
    dict
        Battery -> power beyond what is planned, so that power stays free for the interval, and
        energy behind what is held for the next hours, in which no plan could win it back; only
        batteries that hold any then. [MW]
    """
    edges = (time_axes.interval_edges(plan) - now) / time_axes.HOUR
    step = int(np.searchsorted(edges, 0.0))
    hours = float(plan["duration"][step])
    soon = (edges > 0.0) & (edges <= AHEAD)
    found = {}
    for store in _batteries(site):
        kept = storage_headroom(site, plan, store)
        if not (kept.up[step] > 0.0 or (kept.behind[soon] > 0.0).any()):
            continue
        names = ("battery_charge", "battery_discharge", "battery_level")
        charge, discharge, level = (plan[n].sel(battery=store.owner).to_numpy() for n in names)
        off = float(state["battery_level"].sel(battery=store.owner)) - level[step]
        energy = float((level + off - store.low - kept.behind)[soon].min())
        power = store.discharge_limit - float(kept.up[step] + discharge[step] - charge[step])
        most = min(energy * store.discharge_efficiency / hours, power)
        found[store.owner] = max(most, 0.0)
    return found
