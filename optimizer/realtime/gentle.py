"""Lead a battery no faster than the connection may follow: to the end of its window, to reserves.

A plan is kept from the end of the window as it believes the battery to be; the battery there is
holds less, or lost more. So each quarter-hour the measured level says what power will not fade in
it, and what the reserves behind it leave of the level. And a battery's own controller clears the
room for a reserve at once when it begins to hold it: so the quarter-hour before has to leave it.
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
from twin.reserved.kept import kept_by
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


def ready(
    site: Site,
    plan: xr.Dataset,
    state: xr.Dataset,
    *,
    now: np.datetime64,
    before: Mapping[str, float],
) -> dict[str, Ways]:
    """Return what batteries may do that hold a reserve when the coming quarter-hour ends.

    Parameters
    ----------
    site
        The site.
    plan
        The schedule in force.
    state
        The state now.
    now
        Start of the coming quarter-hour. [datetime64, UTC]
    before
        Battery -> what it was told to give until then, less what it was told to take: it turns from
        that, as it will turn from what it may. [MW]

    Returns
    -------
    dict
        Battery -> what leaves the power of all that must be there before a plant has turned, and,
        from the measured level on, the energy behind all of it; only of those that hold some then.
    """
    edges, soon = axes.edges_of(plan), now + axes.QUARTER
    if "battery_reserve" not in plan or soon >= edges[-1]:
        return {}
    place, hours = int(np.searchsorted(edges, soon, side="right")) - 1, axes.QUARTER / axes.HOUR
    turn = 0.5 * hours * TRANSITION / axes.METERING
    fast = {name: one for name, one in site.reserves.items() if one.full_activation < TRANSITION}
    found = {}
    for store in site.stores:
        if store.owner in plan["battery"].to_numpy():
            kept = kept_by(site, plan, store)
            behind, room = float(kept.behind[place]), float(kept.room[place])
            mine = plan["battery_reserve"].isel(time=place).sel(battery=store.owner)
            held = {name: mine.sel(product=name).to_numpy() for name in fast}
            up, down = (float(power.max()) for power in powers(fast, held))
            if behind > 0.0 or room > 0.0:
                level = float(of_owner(state, "battery_level", store.owner))
                turned = before.get(store.owner, 0.0) * turn
                given = (level - store.low - behind) * store.discharge_efficiency - turned
                taken = (store.high - room - level) / store.charge_efficiency + turned
                found[store.owner] = Ways(
                    charge=max(min(taken / hours, store.charge_limit - down), 0.0),
                    discharge=max(min(given / hours, store.discharge_limit - up), 0.0),
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
        kept = min(charge, most.charge) - min(discharge, most.discharge)  # as gently() orders it
        free = max(kept + most.discharge, 0.0)
        found[name] = min(found.get(name, free), free)
    return found
