"""How steeply a schedule changes the import of a site, and what of that could be gentler.

A ramp can be broken already when a plan begins: racks serve at once when power comes back, and
work that has ended draws nothing any more. To refuse such a plan would leave a plant without any,
and its import as steep.

What a schedule does to the connection that need not be, and what it does as nothing can be done.

Ramps, and what others leave of a connection, can be beyond a site: to refuse every schedule then
would leave a plant without any, at the import that it has. What no schedule avoids is told.

Connections that are not firm: limits of import that change, and how soon they can be kept.

A limit that comes without notice cannot be kept at once: the ramp of the connection allows only so
much. Until then the fastest fall that a plant can be held to stands in for it.

The import that a site cannot avoid: what it draws while no rack works but for the service.

Where others take a part of the connection away, as they may where it is not firm, a site can come
down to this and no farther.

Batteries whose power, as it fades near an end of their window, outruns the connection's ramp.

At full power into an end of the window a battery's controller takes back a share of the power each
minute (:data:`twin.simulation.integration.STORAGE_TAPER_TIME_H`). For most sites that is slow;
beside a connection that may change slowly, a large battery must be led to its end more gently than
that.
"""

from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import xarray as xr

from twin import variables
from twin.physics import FloatArray
from twin.relations import Store
from twin.simulation import limits, simulate
from twin.simulation.integration import STORAGE_TAPER_TIME_H
from twin.simulation.limits import LIMIT_TOLERANCE, RAMP_LIMIT_NAME, Violation, find_violation
from twin.site import Site
from twin.time_axes import HOUR, MINUTE
from twin.variables import machine_values, net_import
from twin.weather import PLAUSIBLE_AIR
from twin.workload.queue import RackPool, split_over_halls

IMPORT_LIMIT_NAME: Final = "grid_import_power beyond what is left of the connection"
"""What the limit that others set for the connection is called."""


@dataclass(frozen=True, kw_only=True)
class ConnectionVerdict:
    """Where the ramp of a connection, or what is left of it, is not kept.

    Attributes
    ----------
    avoidable
        Where it could be.
    total
        Everywhere, whether it could be or not.
    """

    avoidable: tuple[Violation, ...]
    total: tuple[Violation, ...]


def check_connection(
    site: Site,
    state: xr.Dataset,
    schedule: xr.Dataset,
    *,
    replay: xr.Dataset,
    floor: FloatArray,
    safety_margin: float,
) -> ConnectionVerdict:
    """Judge what a schedule does to the connection.

    Parameters
    ----------
    site, state
        The site and its state at the start.
    schedule
        The schedule.
    replay
        What the twin did.
    floor
        Power of all halls while they serve inference and do no work, ``(time,)``. [MW]
    safety_margin
        Share of what is left to be kept free. [1]

    Returns
    -------
    ConnectionVerdict
        What is to be refused, and all that is to be told.
    """
    time = schedule["time"].to_numpy()
    turned = check_ramp(site, state, schedule, replay=replay, floor=floor)
    beyond = partial(
        import_limit_excess, site, state, schedule, replay=replay, safety_margin=safety_margin
    )
    least = minimum_import(site, state, schedule)
    refused = (
        *find_violation(RAMP_LIMIT_NAME, turned.avoidable_ratio, time),
        *find_violation(IMPORT_LIMIT_NAME, beyond(unavoidable_import=least), time),
    )
    forced = (
        *find_violation(RAMP_LIMIT_NAME, turned.ramp_ratio, time),
        *find_violation(IMPORT_LIMIT_NAME, beyond(), time),
    )
    return ConnectionVerdict(avoidable=refused, total=forced)


MODEL_TOLERANCE: Final = 0.02
"""Share of the connection that is no room: so closely plans know what a site draws. [1]"""


@dataclass(frozen=True, kw_only=True)
class RampCheck:
    """How fast net import changes into each interval.

    Attributes
    ----------
    ramp_ratio
        Change over what the ramp allows, ``(time,)``; up to 1 it is kept. [1]
    avoidable_ratio
        The same where something could still have made it gentler, else at most 1, ``(time,)``. [1]
    """

    ramp_ratio: FloatArray
    avoidable_ratio: FloatArray


def check_ramp(
    site: Site, state: xr.Dataset, schedule: xr.Dataset, *, replay: xr.Dataset, floor: FloatArray
) -> RampCheck:
    """Return how fast the promised net import changes, and where it need not.

    Parameters
    ----------
    site, state
        The site and its state at the start.
    schedule
        What is promised at the connection, with the operation behind it.
    replay
        What the twin did.
    floor
        Power of all halls while they serve inference and do no work, ``(time,)``. [MW]

    Returns
    -------
    RampCheck
        A rise is needless as far as work could rest, batteries give more, or more of sun and wind
        be used; a fall as far as batteries could take more, or less of sun and wind be used, within
        the connection. Whether there is more work to do is not known here.
    """
    net = net_import(schedule).to_numpy()
    step = np.diff(np.concatenate([[float(net_import(state))], net]))
    over = schedule["duration"].to_numpy() * 60.0 * min(limits.SET_POINT_TRANSITION_MIN / 15.0, 1.0)
    steepness = np.abs(step) / over / site.grid.ramp
    less, more = _battery_room(site, replay)
    used, unused = _sun_and_wind(site, schedule)
    work = schedule["hall_power"].sum("hall").to_numpy() - floor
    room = site.grid.import_limit * (1.0 - site.margins.power) - net
    gentler = np.where(step > 0.0, work + less + unused, np.minimum(more + used, room))
    could = gentler > MODEL_TOLERANCE * site.grid.import_limit
    return RampCheck(
        ramp_ratio=steepness, avoidable_ratio=np.where(could, steepness, np.minimum(steepness, 1.0))
    )


def _battery_room(site: Site, ran: xr.Dataset) -> tuple[FloatArray, FloatArray]:
    """Return by how much batteries could still lower the import, and raise it, ``(time,)``. [MW]"""
    hours = ran["duration"].to_numpy()
    less, more = np.zeros_like(hours), np.zeros_like(hours)
    for store in (one for one in site.stores if one.carrier == "medium_voltage"):
        charge, discharge, level = (
            machine_values(ran, f"battery_{word}", store.owner)
            for word in ("charge", "discharge", "level")
        )
        margin = store.level_margin(site.margins.level)
        above, below = level[:-1] - store.min_level - margin, store.max_level - margin - level[:-1]
        give = np.clip(above * store.discharge_efficiency / hours, 0.0, store.discharge_limit)
        take = np.clip(below / store.charge_efficiency / hours, 0.0, store.charge_limit)
        less += charge + np.maximum(give - discharge, 0.0)
        more += discharge + np.maximum(take - charge, 0.0)
    return less, more


def _sun_and_wind(site: Site, schedule: xr.Dataset) -> tuple[FloatArray, FloatArray]:
    """Return what is used of sun and wind, and what is left unused, ``(time,)``. [MW]"""
    used, unused = np.zeros(schedule.sizes["time"]), np.zeros(schedule.sizes["time"])
    if schedule.get("renewable_used_power", xr.DataArray([])).size:
        for source in (one for one in site.exchanges if one.availability_variable):
            taken = machine_values(schedule, "renewable_used_power", source.owner)
            given = machine_values(schedule, source.availability_variable, source.owner)
            used += taken
            unused += np.minimum(given, source.import_limit) - taken
    return used, unused


IMPORT_LIMIT: Final = "grid_import_limit"
"""Word of an outlook or a schedule."""

PLANNED_RAMP_SHARE: Final = 0.5
"""Share of the ramp at which a plan comes down; the means of quarter-hours show 0.6. [1]"""

VERIFIED_RAMP_SHARE: Final = 0.4
"""Share of the ramp that a verdict asks for. [1]"""


def plannable_import_limit(
    site: Site,
    state: xr.Dataset,
    outlook: xr.Dataset,
    *,
    unavoidable_import: FloatArray | float = 0.0,
) -> FloatArray:
    """Return the most import that a plan may count on, before its margin.

    Parameters
    ----------
    site
        The site.
    state
        Its state, with the import of now.
    outlook
        ``grid_import_limit`` on ``time``, if there is one.
    unavoidable_import
        Import that no plan avoids. [MW]

    Returns
    -------
    numpy.ndarray
        Limit of each interval, ``(time,)``. [MW]
    """
    most = site.grid.import_limit
    if IMPORT_LIMIT not in outlook:
        return np.full(outlook.sizes["time"], most)
    room = np.maximum(_reached(site, state, outlook, share=PLANNED_RAMP_SHARE), unavoidable_import)
    room = room / (1.0 - site.margins.power)
    return np.minimum(np.maximum(partner_import_limit(outlook), room), most)


def import_limit_excess(
    site: Site,
    state: xr.Dataset,
    schedule: xr.Dataset,
    *,
    replay: xr.Dataset,
    safety_margin: float,
    unavoidable_import: FloatArray | float = 0.0,
) -> FloatArray:
    """Return by how much a run lies beyond the limit that its schedule was made for.

    Parameters
    ----------
    site, state
        The site and its state at the start.
    schedule
        ``grid_import_limit`` on ``time``; without it nothing is beyond.
    replay
        What the twin did.
    safety_margin
        Share of the limit to be kept free. [1]
    unavoidable_import
        Import that no plan avoids. [MW]

    Returns
    -------
    numpy.ndarray
        Excess over the tolerance, ``(time,)``; at most 1 where the limit is kept. [1]
    """
    most = site.grid.import_limit
    if IMPORT_LIMIT not in schedule:
        return np.zeros(schedule.sizes["time"])
    limit = np.minimum(partner_import_limit(schedule), most) * (1.0 - safety_margin)
    allowed = np.maximum(limit, _reached(site, state, schedule, share=VERIFIED_RAMP_SHARE))
    allowed = np.maximum(allowed, unavoidable_import)
    taken = replay["grid_import_power"].to_numpy()
    return np.asarray((taken - allowed) / (LIMIT_TOLERANCE * most))


def partner_import_limit(data: xr.Dataset) -> FloatArray:
    """Return the limit that others have set, ``(time,)``. [MW]

    Parameters
    ----------
    data
        ``grid_import_limit`` on ``time``.
    """
    return data[IMPORT_LIMIT].to_numpy().astype(float)


def _reached(site: Site, state: xr.Dataset, data: xr.Dataset, *, share: float) -> FloatArray:
    """Return the import to which a share of the ramp has brought the site by each interval. [MW]"""
    before = float(net_import(state))
    minutes = np.cumsum(data["duration"].to_numpy()) * 60.0
    return np.asarray(before - share * site.grid.ramp * minutes)


MINIMUM_IMPORT_FACTOR: Final = 1.02
"""What is counted on over what the twin draws: plans know a site so closely. [1]"""

AVAILABLE_RENEWABLES: Final = "renewable_available_power"
"""Word of an outlook that has sun or wind."""


def minimum_import(site: Site, state: xr.Dataset, outlook: xr.Dataset) -> FloatArray:
    """Return the import that no plan for a limit of the connection can avoid.

    Parameters
    ----------
    site
        The site.
    state
        Its state at the start.
    outlook
        Weather, ``service_racks``, sun and wind, and ``grid_import_limit``, on ``time``.

    Returns
    -------
    numpy.ndarray
        Import of each interval in which the limit cannot be kept, and nothing in all others,
        ``(time,)``. Batteries are charged while there is room, and give what they can. [MW]
    """
    none = np.zeros(outlook.sizes["time"])
    if (
        IMPORT_LIMIT not in outlook
        or not (partner_import_limit(outlook) < site.grid.import_limit).any()
    ):
        return none
    idle = outlook[
        [*PLAUSIBLE_AIR, *([AVAILABLE_RENEWABLES] if AVAILABLE_RENEWABLES in outlook else [])]
    ]
    racks = RackPool.from_site(site).total_power(outlook["service_racks"])
    idle = idle.assign_coords(instant=outlook["instant"]).assign(
        hall_power=split_over_halls(site, racks)
    )
    if AVAILABLE_RENEWABLES in outlook:
        used = variables.tag_variable(outlook[AVAILABLE_RENEWABLES], "renewable_used_power")
        idle = idle.assign(renewable_used_power=used)
    net = MINIMUM_IMPORT_FACTOR * net_import(simulate.simulate(site, state, idle)).to_numpy()
    left = np.minimum(partner_import_limit(outlook), site.grid.import_limit) * (
        1.0 - site.margins.power
    )
    rest = net - _given_by_batteries(site, state, net - left, outlook["duration"].to_numpy())
    return np.where(rest > left, rest, none)


def _given_by_batteries(
    site: Site, state: xr.Dataset, lack: FloatArray, hours: FloatArray
) -> FloatArray:
    """Return what batteries give of a lack, charged by what room there is before, ``(time,)``."""
    flow = np.zeros_like(lack)
    for store in (one for one in site.stores if one.carrier == "medium_voltage"):
        level = float(machine_values(state, "battery_level", store.owner))
        margin = store.level_margin(site.margins.level)
        for t, (short, length) in enumerate(zip(lack - flow, hours, strict=True)):
            above = max(level - store.min_level - margin, 0.0) * store.discharge_efficiency / length
            below = max(store.max_level - margin - level, 0.0) / store.charge_efficiency / length
            most, least = min(store.discharge_limit, above), -min(store.charge_limit, below)
            given_now = float(np.clip(short, least, most))
            flow[t] += given_now
            kept = given_now / store.discharge_efficiency
            level -= length * (kept if given_now > 0.0 else given_now * store.charge_efficiency)
    return np.maximum(flow, 0.0)


TAPER_RAMP_SHARE: Final = 0.75
"""Share of the ramp that a fading battery may take; the rest is for what moves beside it. [1]"""


def taper_exceeds_ramp(store: Store, site: Site) -> bool:
    """Return whether a store's power may fade faster than the import of its site may change.

    Parameters
    ----------
    store
        The store.
    site
        Its site.
    """
    greatest = max(store.charge_limit, store.discharge_limit)
    is_near = store.carrier == "medium_voltage"
    return (
        is_near
        and greatest / (STORAGE_TAPER_TIME_H * float(HOUR / MINUTE))
        > TAPER_RAMP_SHARE * site.grid.ramp
    )
