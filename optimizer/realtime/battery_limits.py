"""Lead a battery no faster than the connection may follow: to the end of its window, to reserves.

A plan is kept from the end of the window as it believes the battery to be; the battery there is
holds less, or lost more. So each quarter-hour the measured level says what power will not fade in
it, and what the reserves behind it leave of the level. The same where the connection leans on the
battery: what it cannot take of the sun once it is full would be exported, what it cannot give once
it is empty imported. And a battery's own controller clears the room for a reserve at once when it
begins to hold it: so the quarter-hour before has to leave it.

Keep the peak of the billing period from being raised by what no plan foresaw.

A plan is an hour old and its sun and wind are forecasts. What the last quarter-hour's import was
above its expectation is expected again; where that would raise the peak, batteries charge less, or
give.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import xarray as xr

from optimizer.realtime.headroom import ConnectionLimits
from optimizer.realtime.orders import DispatchOrders
from twin import time_axes
from twin.feasibility.connection import taper_exceeds_ramp
from twin.feasibility.reserve_activation import activation_power, storage_headroom
from twin.relations import Store
from twin.simulation.integration import STORAGE_TAPER_TIME_H
from twin.simulation.limits import SET_POINT_TRANSITION_MIN
from twin.site import Site
from twin.variables import machine_values, net_import


@dataclass(frozen=True, kw_only=True)
class BatteryLimits:
    """The most that a battery may take, and give, all through a quarter-hour.

    Attributes
    ----------
    charge, discharge
        Powers. [MW]
    """

    charge: float
    discharge: float


def taper_limits(site: Site, state: xr.Dataset, now: xr.Dataset) -> dict[str, BatteryLimits]:
    """Return what batteries may do whose power may not fade within a quarter-hour.

    Parameters
    ----------
    site
        The site.
    state
        The state now.
    now
        A schedule from the interval on that begins now.

    Returns
    -------
    dict
        Battery -> what may be ordered of it, the site's margin of levels kept; both ways of those
        that :func:`twin.feasibility.connection.taper_exceeds_ramp` names, and of all the way that
        the connection leans on.
    """
    hours, found = time_axes.QUARTER_HOUR / time_axes.HOUR + STORAGE_TAPER_TIME_H, {}
    must_take, must_give = _connection_needs_battery(site, state, now)
    for store in site.stores:
        if store.carrier != "medium_voltage":
            continue
        abrupt = taper_exceeds_ramp(store, site)
        level = float(machine_values(state, "battery_level", store.owner))
        margin = store.level_margin(site.margins.level)
        room, stock = store.max_level - margin - level, level - store.min_level - margin
        charge = max(room, 0.0) / (store.charge_efficiency * hours)
        discharge = max(stock, 0.0) * store.discharge_efficiency / hours
        if abrupt or must_take or must_give:
            found[store.owner] = BatteryLimits(
                charge=charge if abrupt or must_take else store.charge_limit,
                discharge=discharge if abrupt or must_give else store.discharge_limit,
            )
    return found


def _connection_needs_battery(site: Site, state: xr.Dataset, now: xr.Dataset) -> tuple[bool, bool]:
    """Return whether the connection could not bear an interval if no battery took, or gave."""
    total = float(net_import(now)[0])
    taken, given = (float(now[f"battery_{way}"][0].sum()) for way in ("charge", "discharge"))
    most = ConnectionLimits.from_outlook(site, state, now)
    must_take = taken > 0.0 and taken - total > most.max_export
    return must_take, given > 0.0 and total + given > most.max_import


def pre_reserve_limits(
    site: Site,
    plan: xr.Dataset,
    state: xr.Dataset,
    *,
    now: np.datetime64,
    before: Mapping[str, float],
) -> dict[str, BatteryLimits]:
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
    edges, soon = time_axes.interval_edges(plan), now + time_axes.QUARTER_HOUR
    if "battery_reserve" not in plan or soon >= edges[-1]:
        return {}
    place, hours = (
        int(np.searchsorted(edges, soon, side="right")) - 1,
        time_axes.QUARTER_HOUR / time_axes.HOUR,
    )
    turn = 0.5 * hours * SET_POINT_TRANSITION_MIN / time_axes.METERING_PERIOD_MIN
    fast = {
        name: one
        for name, one in site.reserves.items()
        if one.full_activation < SET_POINT_TRANSITION_MIN
    }
    found = {}
    for store in site.stores:
        if store.owner in plan["battery"].to_numpy():
            kept = storage_headroom(site, plan, store)
            behind, room = float(kept.required_energy[place]), float(kept.required_room[place])
            mine = plan["battery_reserve"].isel(time=place).sel(battery=store.owner)
            held = {name: mine.sel(product=name).to_numpy() for name in fast}
            up, down = (float(power.max()) for power in activation_power(fast, held))
            if behind > 0.0 or room > 0.0:
                level = float(machine_values(state, "battery_level", store.owner))
                turned = before.get(store.owner, 0.0) * turn
                given = (level - store.min_level - behind) * store.discharge_efficiency - turned
                taken = (store.max_level - room - level) / store.charge_efficiency + turned
                found[store.owner] = BatteryLimits(
                    charge=max(min(taken / hours, store.charge_limit - down), 0.0),
                    discharge=max(min(given / hours, store.discharge_limit - up), 0.0),
                )
    return found


def intersect(*all_ways: Mapping[str, BatteryLimits]) -> dict[str, BatteryLimits]:
    """Return what batteries may do by all of some rules."""
    found: dict[str, BatteryLimits] = {}
    for ways in all_ways:
        for name, most in ways.items():
            least = found.get(name, most)
            found[name] = BatteryLimits(
                charge=min(least.charge, most.charge),
                discharge=min(least.discharge, most.discharge),
            )
    return found


def apply_limits(now: xr.Dataset, ways: Mapping[str, BatteryLimits]) -> xr.Dataset:
    """Return intervals of a schedule in which batteries do no more than they may.

    Parameters
    ----------
    now
        The intervals.
    ways
        As :func:`taper_limits` tells.
    """
    if not ways:
        return now
    charge, discharge = (now[f"battery_{way}"].copy() for way in ("charge", "discharge"))
    for name, most in ways.items():
        for flow, limit in ((charge, most.charge), (discharge, most.discharge)):
            flow.loc[{"battery": name}] = flow.sel(battery=name).clip(max=limit)
    return now.assign(battery_charge=charge, battery_discharge=discharge)


def discharge_margin(
    discharge_margin: Mapping[str, float], ways: Mapping[str, BatteryLimits], interval: xr.Dataset
) -> dict[str, float]:
    """Return how far batteries may be moved towards giving, so that none fades faster. [MW]

    Parameters
    ----------
    discharge_margin
        Battery -> most by which it may be moved for other reasons. [MW]
    ways
        As :func:`taper_limits` tells.
    interval
        What they are moved from, as :func:`apply_limits` tells.
    """
    found = dict(discharge_margin)
    for name, most in ways.items():
        charge, discharge = (
            float(machine_values(interval, f"battery_{way}", name))
            for way in ("charge", "discharge")
        )
        free = max(charge - discharge + most.discharge, 0.0)
        found[name] = min(found.get(name, free), free)
    return found


MIN_SHAVED_POWER_MW: Final = 0.1
"""Power below which nothing is shaved. [MW]"""

RESERVE_LOOKAHEAD_H: Final = 2.0
"""Time in which energy that is spent may be missed: a plan to come, and what it needs. [h]"""


def shave_peak(
    orders: DispatchOrders,
    site: Site,
    excess: float,
    *,
    discharge_margin: Mapping[str, float] | None = None,
) -> tuple[DispatchOrders, float]:
    """Return orders under which batteries take an excess of import away, as far as they can.

    Parameters
    ----------
    orders
        What was to be done.
    site
        The site.
    excess
        Import expected above the peak; negative if there is room. [MW]
    discharge_margin
        Battery -> most by which it may be moved towards giving, where it keeps reserves. [MW]

    Returns
    -------
    tuple of DispatchOrders and float
        The orders, and how much of the excess they take away. [MW]

    Notes
    -----
    Charging is cut before anything is discharged; whether there is enough in a battery is left to
    its own controller. What is kept for reserves is not spent: a peak costs less than a promise.
    """
    left = excess
    charge, discharge = dict(orders.battery_charge), dict(orders.battery_discharge)
    for battery in _batteries(site):
        if left > MIN_SHAVED_POWER_MW:
            most = (discharge_margin or {}).get(battery.owner, left)
            left -= _shift_to_discharge(battery, charge, discharge, min(left, most))
    if left == excess:
        return orders, 0.0
    shaved = replace(orders, battery_charge=charge, battery_discharge=discharge)
    return shaved, excess - left


def _batteries(site: Site) -> list[Store]:
    """Return the stores of electricity."""
    return [store for store in site.stores if store.carrier == "medium_voltage"]


def _shift_to_discharge(
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


def available_shaving(
    site: Site, interval: xr.Dataset, state: xr.Dataset, *, discharge_margin: Mapping[str, float]
) -> float:
    """Return by how much batteries can be moved towards giving for a quarter-hour. [MW]

    Parameters
    ----------
    site
        The site.
    interval
        The interval of a schedule.
    state
        The state now.
    discharge_margin
        Battery -> most by which it may be moved, where it keeps reserves. [MW]
    """
    total = 0.0
    for store in _batteries(site):
        name = store.owner
        charge, discharge = (
            float(machine_values(interval, f"battery_{way}", name))
            for way in ("charge", "discharge")
        )
        level = float(machine_values(state, "battery_level", name))
        given = (
            (level - store.min_level)
            * store.discharge_efficiency
            / (time_axes.QUARTER_HOUR / time_axes.HOUR)
        )
        most = charge + min(max(given, 0.0), store.discharge_limit) - discharge
        total += max(min(most, discharge_margin.get(name, most)), 0.0)
    return total


def reserve_free_margin(
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
    soon = (edges > 0.0) & (edges <= RESERVE_LOOKAHEAD_H)
    found = {}
    for store in _batteries(site):
        kept = storage_headroom(site, plan, store)
        if not (kept.power_up[step] > 0.0 or (kept.required_energy[soon] > 0.0).any()):
            continue
        names = ("battery_charge", "battery_discharge", "battery_level")
        charge, discharge, level = (plan[n].sel(battery=store.owner).to_numpy() for n in names)
        off = float(state["battery_level"].sel(battery=store.owner)) - level[step]
        energy = float((level + off - store.min_level - kept.required_energy)[soon].min())
        power = store.discharge_limit - float(kept.power_up[step] + discharge[step] - charge[step])
        most = min(energy * store.discharge_efficiency / hours, power)
        found[store.owner] = max(most, 0.0)
    return found
