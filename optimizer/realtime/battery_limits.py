"""Limits of batteries within a quarter-hour.

A plan assumes a battery level; the real battery may hold less. Each quarter-hour the measured level
limits the power, so that it does not fade faster than the connection's ramp allows, and so that the
energy and power of sold reserves stay available. Where the connection depends on the battery, a
full battery would cause export and an empty one import. The quarter-hour before a reserve begins
must leave its energy and room.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from optimizer.realtime.headroom import ConnectionLimits
from twin import time_axes
from twin.equipment.storage import STORAGE_TAPER_TIME_H
from twin.feasibility.connection import taper_exceeds_ramp
from twin.feasibility.reserve_activation import reserved_power, reserved_storage
from twin.simulation.limits import SET_POINT_TRANSITION_MIN
from twin.site import Site
from twin.variables import machine_values, net_import

RESERVE_LOOKAHEAD_H: Final = 2.0
"""Time within which a new plan can recover energy that was spent. [h]"""


@dataclass(frozen=True, kw_only=True)
class BatteryLimits:
    """Largest charge and discharge of a battery throughout a quarter-hour. [MW]"""

    charge: float
    discharge: float


def taper_limits(site: Site, state: xr.Dataset, now: xr.Dataset) -> dict[str, BatteryLimits]:
    """Return the limits of batteries whose power must not fade within the quarter-hour.

    Both directions are limited where :func:`twin.feasibility.connection.taper_exceeds_ramp` holds,
    and for all batteries the direction on which the connection depends; level margins are kept.
    `now` holds the intervals of a schedule from the one that begins now.
    """
    hours, found = time_axes.QUARTER_HOUR / time_axes.HOUR + STORAGE_TAPER_TIME_H, {}
    must_charge, must_discharge = _connection_needs_battery(site, state, now)
    for store in site.electricity_stores:
        abrupt = taper_exceeds_ramp(store, site)
        level = float(machine_values(state, "battery_level", store.owner))
        margin = store.level_margin(site.margins.level)
        if abrupt or must_charge or must_discharge:
            charge = store.max_charge(level, hours, kept=margin)
            discharge = store.max_discharge(level, hours, kept=margin)
            found[store.owner] = BatteryLimits(
                charge=float(charge) if abrupt or must_charge else store.charge_limit,
                discharge=float(discharge) if abrupt or must_discharge else store.discharge_limit,
            )
    return found


def _connection_needs_battery(site: Site, state: xr.Dataset, now: xr.Dataset) -> tuple[bool, bool]:
    """Return whether the connection's limits need battery charge, and discharge."""
    total = float(net_import(now)[0])
    charge, discharge = (float(now[f"battery_{flow}"][0].sum()) for flow in ("charge", "discharge"))
    limits = ConnectionLimits.from_outlook(site, state, now)
    must_charge = charge > 0.0 and charge - total > limits.max_export
    return must_charge, discharge > 0.0 and total + discharge > limits.max_import


def reserve_holding_limits(
    site: Site,
    plan: xr.Dataset,
    state: xr.Dataset,
    *,
    now: np.datetime64,
    before: Mapping[str, float],
) -> dict[str, BatteryLimits]:
    """Return the limits of batteries that hold a reserve when the coming quarter-hour ends.

    They leave the reserve power that must be available before a plant has changed its set points,
    and, from the measured level, the energy required for all reserves.

    - `now`: start of the coming quarter-hour. [datetime64, UTC]
    - `before`: Battery -> net discharge ordered until now, from which it ramps. [MW]
    """
    edges, soon = time_axes.interval_edges(plan), now + time_axes.QUARTER_HOUR
    if "battery_reserve" not in plan or soon >= edges[-1]:
        return {}
    place = int(np.searchsorted(edges, soon, side="right")) - 1
    hours = time_axes.QUARTER_HOUR / time_axes.HOUR
    ramp_h = 0.5 * hours * SET_POINT_TRANSITION_MIN / time_axes.METERING_PERIOD_MIN
    fast = {
        name: one
        for name, one in site.reserves.items()
        if one.full_activation < SET_POINT_TRANSITION_MIN
    }
    found = {}
    for store in site.stores:
        if store.owner in plan["battery"].to_numpy():
            reserved = reserved_storage(site, plan, store)
            energy = float(reserved.required_energy[place])
            room = float(reserved.required_room[place])
            by_product = plan["battery_reserve"].isel(time=place).sel(battery=store.owner)
            powers = {name: by_product.sel(product=name).to_numpy() for name in fast}
            up, down = (float(power.max()) for power in reserved_power(fast, powers))
            if energy > 0.0 or room > 0.0:
                level = float(machine_values(state, "battery_level", store.owner))
                ramp = before.get(store.owner, 0.0) * ramp_h
                discharge = float(store.deliverable_energy(level, kept=energy)) - ramp
                charge = float(store.acceptable_energy(level, kept=room)) + ramp
                found[store.owner] = BatteryLimits(
                    charge=max(min(charge / hours, store.charge_limit - down), 0.0),
                    discharge=max(min(discharge / hours, store.discharge_limit - up), 0.0),
                )
    return found


def intersect(*all_limits: Mapping[str, BatteryLimits]) -> dict[str, BatteryLimits]:
    """Return the limits of batteries that satisfy all of the given limits."""
    found: dict[str, BatteryLimits] = {}
    for limits in all_limits:
        for name, limit in limits.items():
            other = found.get(name, limit)
            found[name] = BatteryLimits(
                charge=min(other.charge, limit.charge),
                discharge=min(other.discharge, limit.discharge),
            )
    return found


def apply_limits(now: xr.Dataset, limits: Mapping[str, BatteryLimits]) -> xr.Dataset:
    """Return intervals of a schedule with battery power within the limits."""
    if not limits:
        return now
    charge, discharge = (now[f"battery_{flow}"].copy() for flow in ("charge", "discharge"))
    for name, limit in limits.items():
        for flow, power in ((charge, limit.charge), (discharge, limit.discharge)):
            flow.loc[{"battery": name}] = flow.sel(battery=name).clip(max=power)
    return now.assign(battery_charge=charge, battery_discharge=discharge)


def limit_discharge_margin(
    discharge_margin: Mapping[str, float], limits: Mapping[str, BatteryLimits], interval: xr.Dataset
) -> dict[str, float]:
    """Return how far each battery may be moved towards discharge without fading. [MW]

    - `discharge_margin`: Battery -> largest move allowed for other reasons. [MW]
    - `interval`: interval from which batteries are moved, after :func:`apply_limits`.
    """
    found = dict(discharge_margin)
    for name, limit in limits.items():
        free = max(_net_charge(interval, name) + limit.discharge, 0.0)
        found[name] = min(found.get(name, free), free)
    return found


def _net_charge(interval: xr.Dataset, name: str) -> float:
    """Return the charge of a battery less its discharge in one interval. [MW]"""
    charge, discharge = (
        float(machine_values(interval, f"battery_{flow}", name)) for flow in ("charge", "discharge")
    )
    return charge - discharge


def available_shaving(
    site: Site, interval: xr.Dataset, state: xr.Dataset, *, discharge_margin: Mapping[str, float]
) -> float:
    """Return how far batteries can be moved towards discharge for a quarter-hour. [MW]

    `discharge_margin` limits the move of each battery that holds reserves [MW].
    """
    total = 0.0
    for store in site.electricity_stores:
        level = float(machine_values(state, "battery_level", store.owner))
        power = store.max_discharge(level, time_axes.QUARTER_HOUR / time_axes.HOUR)
        most = _net_charge(interval, store.owner) + float(power)
        total += max(min(most, discharge_margin.get(store.owner, most)), 0.0)
    return total


def reserve_free_margin(
    site: Site, plan: xr.Dataset, state: xr.Dataset, *, now: np.datetime64
) -> dict[str, float]:
    """Return how far batteries that hold reserves may be moved towards discharge. [MW]

    The move leaves reserve power free in the interval that begins `now`, and the energy of reserves
    in the next hours, in which no plan could recover it. Batteries without reserves are left out.
    """
    edges = (time_axes.interval_edges(plan) - now) / time_axes.HOUR
    step = int(np.searchsorted(edges, 0.0))
    hours = float(plan["duration"][step])
    soon = (edges > 0.0) & (edges <= RESERVE_LOOKAHEAD_H)
    found = {}
    for store in site.electricity_stores:
        reserved = reserved_storage(site, plan, store)
        if not (reserved.power_up[step] > 0.0 or (reserved.required_energy[soon] > 0.0).any()):
            continue
        names = ("battery_charge", "battery_discharge", "battery_level")
        charge, discharge, level = (plan[n].sel(battery=store.owner).to_numpy() for n in names)
        deviation = float(state["battery_level"].sel(battery=store.owner)) - level[step]
        energy = store.deliverable_energy(level + deviation, kept=reserved.required_energy)
        power = store.discharge_limit - float(
            reserved.power_up[step] + discharge[step] - charge[step]
        )
        found[store.owner] = max(min(float(energy[soon].min()) / hours, power), 0.0)
    return found
