"""Checks of the grid connection: ramps, import limits of partners and unavoidable import.

A ramp limit can be violated when a plan begins: racks serve at once when power returns, and work
that has ended draws nothing any more. Limits of a non-firm connection can also be beyond a site. To
refuse every schedule then would leave a plant without any, at its present import. So only
violations that a schedule could avoid are refused; the others are reported.

A limit without notice cannot be kept at once: the ramp of the connection bounds the fall. Until
then the fastest fall replaces the limit. The minimum import of a site is that with no work but the
inference service.

At full power near an end of its window, a battery's controller reduces the power each minute
(:data:`twin.equipment.storage.STORAGE_TAPER_TIME_H`). Where the connection may change only
slowly, a large battery must approach its end more gently.
"""

from functools import partial
from typing import Final

import numpy as np
import xarray as xr

from twin import variables
from twin.equipment.storage import STORAGE_TAPER_TIME_H
from twin.physics import FloatArray
from twin.relations import Exchange, Store
from twin.simulation import operating_limits, simulate
from twin.simulation.operating_limits import (
    LIMIT_TOLERANCE,
    RAMP_LIMIT_NAME,
    Violation,
    find_violation,
)
from twin.site import Site
from twin.time_axes import HOUR, MINUTE
from twin.variables import machine_values, net_import
from twin.weather import PLAUSIBLE_AIR
from twin.workload.queue import RackPool, split_over_halls

PARTNER_IMPORT_LIMIT_NAME: Final = "grid_import_power beyond what is left of the connection"
"""Name of the limit that partners set for the connection."""

MEAN_RAMP_SHARE: Final = 0.6
"""Share of a set-point change that the means of two intervals may show. [1]

A change of P MW in 10 minutes at r MW/min is P = 10 r. Quarter-hour means may then differ by 9 r,
with a tenth as margin. Longer intervals use the same share.
"""


def check_connection(
    site: Site,
    state: xr.Dataset,
    schedule: xr.Dataset,
    *,
    replay: xr.Dataset,
    floor: FloatArray,
    safety_margin: float,
) -> tuple[list[Violation], list[Violation]]:
    """Return the violations at the connection that a schedule could avoid, and all of them.

    - ``floor``: Power of all halls with the inference service alone, ``(time,)``. [MW]
    - ``safety_margin``: Share of the limit to keep free. [1]
    """
    time = schedule["time"].to_numpy()
    ramp_ratio, avoidable_ratio = check_ramp(site, state, schedule, replay=replay, floor=floor)
    excess = partial(
        import_limit_excess, site, state, schedule, replay=replay, safety_margin=safety_margin
    )
    min_import = unavoidable_excess_import(site, state, schedule)
    grid = site.grid_connection
    find_ramp = partial(
        find_violation,
        RAMP_LIMIT_NAME,
        time=time,
        allowed=grid.ramp,
        unit="MW/min",
        remedy=f"raise ramp of {grid.name} to what the connection agreement allows",
    )
    find_import = partial(
        find_violation,
        PARTNER_IMPORT_LIMIT_NAME,
        time=time,
        allowed=LIMIT_TOLERANCE * grid.import_limit,
        unit="MW",
        remedy="raise grid_import_limit, or announce it earlier",
    )
    return (
        find_ramp(avoidable_ratio) + find_import(excess(unavoidable_import=min_import)),
        find_ramp(ramp_ratio) + find_import(excess()),
    )


PLANNED_DRAW_ERROR_SHARE: Final = 0.02
"""Share of the connection within which plans know the draw of a site. [1]"""


def check_ramp(
    site: Site, state: xr.Dataset, schedule: xr.Dataset, *, replay: xr.Dataset, floor: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the changes of the promised net import over the ramp limit, ``(time,)``. [1]

    Above 1 the limit is violated. The second result is the same where a change could be smaller,
    elsewhere at most 1.

    A rise is avoidable as far as work could stop, batteries discharge more, or more of sun and wind
    be used. A fall is avoidable as far as batteries could charge more, or less of sun and wind be
    used, within the connection. More work to do is not considered.

    - ``floor``: Power of all halls with the inference service alone, ``(time,)``. [MW]
    """
    net = net_import(schedule).to_numpy()
    step = np.diff(np.concatenate([[float(net_import(state))], net]))
    over = (
        schedule["duration"].to_numpy()
        * 60.0
        * min(operating_limits.SET_POINT_TRANSITION_MIN / 15.0, 1.0)
    )
    ramp_ratio = np.abs(step) / over / site.grid_connection.ramp
    battery_decrease, battery_increase = _battery_flexibility(site, replay)
    used, unused = _sun_and_wind(site, schedule)
    work = schedule["hall_power"].sum("hall").to_numpy() - floor
    headroom = site.grid_connection.import_limit * (1.0 - site.margins.power) - net
    possible_change = np.where(
        step > 0.0, work + battery_decrease + unused, np.minimum(battery_increase + used, headroom)
    )
    is_avoidable = possible_change > PLANNED_DRAW_ERROR_SHARE * site.grid_connection.import_limit
    return ramp_ratio, np.where(is_avoidable, ramp_ratio, np.minimum(ramp_ratio, 1.0))


def _battery_flexibility(site: Site, ran: xr.Dataset) -> tuple[FloatArray, FloatArray]:
    """Return by how much batteries could lower the import, and raise it, ``(time,)``. [MW]"""
    hours = ran["duration"].to_numpy()
    less, more = np.zeros_like(hours), np.zeros_like(hours)
    for store in site.electricity_stores:
        charge, discharge, level = (
            machine_values(ran, f"battery_{word}", store.owner)
            for word in ("charge", "discharge", "level")
        )
        margin = store.level_margin(site.margins.level)
        give = store.max_discharge(level[:-1], hours, kept=margin) - discharge
        take = store.max_charge(level[:-1], hours, kept=margin) - charge
        less += charge + np.maximum(give, 0.0)
        more += discharge + np.maximum(take, 0.0)
    return less, more


def _sun_and_wind(site: Site, schedule: xr.Dataset) -> tuple[FloatArray, FloatArray]:
    """Return the used and the unused power of sun and wind, ``(time,)``. [MW]"""
    used, unused = np.zeros(schedule.sizes["time"]), np.zeros(schedule.sizes["time"])
    if schedule.get("renewable_used_power", xr.DataArray([])).size:
        for source in (one for one in site.exchanges if one.availability_variable):
            taken = machine_values(schedule, "renewable_used_power", source.owner)
            given = machine_values(schedule, source.availability_variable, source.owner)
            used += taken
            unused += np.minimum(given, source.import_limit) - taken
    return used, unused


IMPORT_LIMIT_VARIABLE: Final = "grid_import_limit"
"""Variable of an outlook or a schedule."""

PLANNED_RAMP_SHARE: Final = 0.5
"""Share of the ramp at which a plan reduces import; quarter-hour means allow 0.6. [1]"""

VERIFIED_RAMP_SHARE: Final = 0.4
"""Share of the ramp that the verifier requires. [1]"""


def plannable_import_limit(
    site: Site,
    state: xr.Dataset,
    outlook: xr.Dataset,
    *,
    unavoidable_import: FloatArray | float = 0.0,
) -> FloatArray:
    """Return the largest import that a plan may use, before its margin, ``(time,)``. [MW]

    - ``outlook``: ``grid_import_limit`` on ``time``, if there is one.
    - ``unavoidable_import``: Import that no plan avoids. [MW]
    """
    connection_limit = site.grid_connection.import_limit
    if IMPORT_LIMIT_VARIABLE not in outlook:
        return np.full(outlook.sizes["time"], connection_limit)
    reachable = np.maximum(
        _ramped_import(site, state, outlook, share=PLANNED_RAMP_SHARE), unavoidable_import
    )
    reachable = reachable / (1.0 - site.margins.power)
    return np.minimum(np.maximum(partner_import_limit(outlook), reachable), connection_limit)


def import_limit_excess(
    site: Site,
    state: xr.Dataset,
    schedule: xr.Dataset,
    *,
    replay: xr.Dataset,
    safety_margin: float,
    unavoidable_import: FloatArray | float = 0.0,
) -> FloatArray:
    """Return the excess of a run over its import limit, in tolerances, ``(time,)``. [1]

    - ``schedule``: ``grid_import_limit`` on ``time``; without it the excess is zero.
    - ``replay``: Simulation of the schedule.
    - ``safety_margin``: Share of the limit to keep free. [1]
    - ``unavoidable_import``: Import that no plan avoids. [MW]
    """
    connection_limit = site.grid_connection.import_limit
    if IMPORT_LIMIT_VARIABLE not in schedule:
        return np.zeros(schedule.sizes["time"])
    limit = np.minimum(partner_import_limit(schedule), connection_limit) * (1.0 - safety_margin)
    allowed = np.maximum(limit, _ramped_import(site, state, schedule, share=VERIFIED_RAMP_SHARE))
    allowed = np.maximum(allowed, unavoidable_import)
    taken = replay["grid_import_power"].to_numpy()
    return np.asarray((taken - allowed) / (LIMIT_TOLERANCE * connection_limit))


def partner_import_limit(data: xr.Dataset) -> FloatArray:
    """Return the import limit of partners, ``(time,)``. [MW]"""
    return data[IMPORT_LIMIT_VARIABLE].to_numpy().astype(float)


def _ramped_import(site: Site, state: xr.Dataset, data: xr.Dataset, *, share: float) -> FloatArray:
    """Return the import that a share of the ramp reaches by each interval. [MW]"""
    before = float(net_import(state))
    minutes = np.cumsum(data["duration"].to_numpy()) * 60.0
    return np.asarray(before - share * site.grid_connection.ramp * minutes)


ASSUMED_DRAW_FACTOR: Final = 1.02
"""Assumed draw over the simulated one, because plans know a site only so closely. [1]"""

AVAILABLE_RENEWABLES_VARIABLE: Final = "renewable_available_power"
"""Variable of an outlook with sun or wind."""


def unavoidable_excess_import(site: Site, state: xr.Dataset, outlook: xr.Dataset) -> FloatArray:
    """Return the import that no plan can avoid where the limit cannot be kept, 0 elsewhere. [MW]

    It is on ``time``. Batteries charge while import is below the limit, and discharge as needed.

    - ``outlook``: Weather, ``service_racks``, sun and wind, and ``grid_import_limit``, on ``time``.
    """
    none = np.zeros(outlook.sizes["time"])
    if (
        IMPORT_LIMIT_VARIABLE not in outlook
        or not (partner_import_limit(outlook) < site.grid_connection.import_limit).any()
    ):
        return none
    idle = outlook[
        [
            *PLAUSIBLE_AIR,
            *([AVAILABLE_RENEWABLES_VARIABLE] if AVAILABLE_RENEWABLES_VARIABLE in outlook else []),
        ]
    ]
    racks = RackPool.from_site(site).total_power(outlook["service_racks"])
    idle = idle.assign_coords(instant=outlook["instant"]).assign(
        hall_power=split_over_halls(site, racks)
    )
    if AVAILABLE_RENEWABLES_VARIABLE in outlook:
        used = variables.tag_variable(
            outlook[AVAILABLE_RENEWABLES_VARIABLE], "renewable_used_power"
        )
        idle = idle.assign(renewable_used_power=used)
    net = ASSUMED_DRAW_FACTOR * net_import(simulate.simulate(site, state, idle)).to_numpy()
    limit = np.minimum(partner_import_limit(outlook), site.grid_connection.import_limit) * (
        1.0 - site.margins.power
    )
    remaining = net - _battery_relief(site, state, net - limit, outlook["duration"].to_numpy())
    return np.where(remaining > limit, remaining, none)


def _battery_relief(
    site: Site, state: xr.Dataset, shortage: FloatArray, hours: FloatArray
) -> FloatArray:
    """Return the battery discharge that covers a shortage, ``(time,)``. [MW]"""
    flow = np.zeros_like(shortage)
    for store in site.electricity_stores:
        level = float(machine_values(state, "battery_level", store.owner))
        margin = store.level_margin(site.margins.level)
        for t, (short, length) in enumerate(zip(shortage - flow, hours, strict=True)):
            discharge = float(
                np.clip(
                    short,
                    -store.max_charge(level, length, kept=margin),
                    store.max_discharge(level, length, kept=margin),
                )
            )
            flow[t] += discharge
            level += length * float(store.level_rate(max(-discharge, 0.0), max(discharge, 0.0)))
    return np.maximum(flow, 0.0)


TAPER_RAMP_SHARE: Final = 0.75
"""Share of the ramp that a tapering battery may use; other changes use the remaining share. [1]"""


def taper_exceeds_ramp(store: Store, site: Site) -> bool:
    """Return whether a battery's power may taper faster than the site's import may change."""
    max_power = max(store.charge_limit, store.discharge_limit)
    is_near = store.carrier == "medium_voltage"
    return (
        is_near
        and max_power / (STORAGE_TAPER_TIME_H * float(HOUR / MINUTE))
        > TAPER_RAMP_SHARE * site.grid_connection.ramp
    )


def max_import_change(exchange: Exchange, hours: FloatArray) -> FloatArray:
    """Return the largest change of net import into each interval. [MW]"""
    return MEAN_RAMP_SHARE * exchange.ramp_limit * 60.0 * hours
