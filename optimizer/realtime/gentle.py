"""Lead a battery no faster than the connection may follow: to the end of its window, to reserves.

A plan is kept from the end of the window as it believes the battery to be; the battery there is
holds less, or lost more. So each quarter-hour the measured level says what power will not fade in
it. And a battery's own controller clears the room for a reserve at once when it begins to hold it:
so the quarter-hour before has to leave it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from optimizer.dispatch import Orders
from twin import axes
from twin.fading import is_abrupt
from twin.labels import of_owner
from twin.limits import TRANSITION
from twin.reserved.activation import powers
from twin.site import Site
from twin.walk import TAPER


@dataclass(frozen=True, kw_only=True)
class Ways:
    """The most that a battery may take, and give, all through a quarter-hour.

    Attributes
    ----------
    charge, discharge
        Powers. [MW]
    """

    charge: float
    discharge: float


def gentle(site: Site, state: xr.Dataset) -> dict[str, Ways]:
    """Return what batteries may do that would otherwise fade faster than the connection's ramp.

    Parameters
    ----------
    site
        The site.
    state
        The state now.

    Returns
    -------
    dict
        Battery -> what may be ordered of it, the site's margin of levels kept; only of those that
        :func:`twin.fading.is_abrupt` names.
    """
    hours, found = axes.QUARTER / axes.HOUR + TAPER, {}
    for store in site.stores:
        if is_abrupt(store, site):
            level = float(of_owner(state, "battery_level", store.owner))
            margin = store.margin(site.margins.level)
            room, stock = store.high - margin - level, level - store.low - margin
            found[store.owner] = Ways(
                charge=max(room, 0.0) / (store.charge_efficiency * hours),
                discharge=max(stock, 0.0) * store.discharge_efficiency / hours,
            )
    return found


def ready(site: Site, plan: xr.Dataset, now: np.datetime64) -> dict[str, Ways]:
    """Return what batteries may do that hold a reserve from the next quarter-hour on.

    Parameters
    ----------
    site
        The site.
    plan
        The schedule in force.
    now
        Start of the coming quarter-hour. [datetime64, UTC]

    Returns
    -------
    dict
        Battery -> what leaves the room for all that must be there before a plant has turned; only
        of those that hold such a product then.
    """
    soon = now + axes.QUARTER
    if "battery_reserve" not in plan or soon >= axes.edges_of(plan)[-1]:
        return {}
    step, found = plan["battery_reserve"].sel(time=soon, method="pad"), {}
    fast = {name: one for name, one in site.reserves.items() if one.full_activation < TRANSITION}
    for store in site.stores:
        if store.owner in step["battery"].to_numpy():
            mine = step.sel(battery=store.owner)
            up, down = powers(fast, {name: mine.sel(product=name).to_numpy() for name in fast})
            if up.max() > 0.0 or down.max() > 0.0:
                found[store.owner] = Ways(
                    charge=max(store.charge_limit - float(down.max()), 0.0),
                    discharge=max(store.discharge_limit - float(up.max()), 0.0),
                )
    return found


def tightest(*all_ways: Mapping[str, Ways]) -> dict[str, Ways]:
    """Return what batteries may do by all of some rules."""
    found: dict[str, Ways] = {}
    for ways in all_ways:
        for name, most in ways.items():
            least = found.get(name, most)
            found[name] = Ways(
                charge=min(least.charge, most.charge),
                discharge=min(least.discharge, most.discharge),
            )
    return found


def gently(orders: Orders, ways: Mapping[str, Ways]) -> tuple[Orders, float]:
    """Return orders under which no battery fades faster, and how much less they give. [MW]

    Parameters
    ----------
    orders
        What the plan comes to.
    ways
        As :func:`gentle` tells.
    """
    charge, discharge, less = dict(orders.battery_charge), dict(orders.battery_discharge), 0.0
    for name, most in ways.items():
        for flow, limit, sign in ((charge, most.charge, -1.0), (discharge, most.discharge, 1.0)):
            if flow.get(name, 0.0) > limit:
                less += sign * (flow[name] - limit)
                flow[name] = limit
    return replace(orders, battery_charge=charge, battery_discharge=discharge), less


def narrowed(
    spare: Mapping[str, float], ways: Mapping[str, Ways], step: xr.Dataset
) -> dict[str, float]:
    """Return how far batteries may be moved towards giving, so that none fades faster. [MW]

    Parameters
    ----------
    spare
        Battery -> most by which it may be moved for other reasons. [MW]
    ways
        As :func:`gentle` tells.
    step
        The interval of a schedule, from which they are moved.
    """
    found = dict(spare)
    for name, most in ways.items():
        charge, discharge = (
            float(of_owner(step, f"battery_{way}", name)) for way in ("charge", "discharge")
        )
        free = max(charge + most.discharge - discharge, 0.0)
        found[name] = min(found.get(name, free), free)
    return found
