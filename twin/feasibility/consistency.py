"""Consistency of a schedule: its derived variables must follow from its dispatch.

The simulation replays only the dispatch. Others use more of a schedule: batteries are controlled by
their planned levels, jobs are started and reserves offered by the racks of the work. A replay would
not reveal that these belong to another plan.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import xarray as xr

from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.relations import Store
from twin.simulation.minimum_times import breaks_minimum_times, unit_commitment_steps
from twin.simulation.operating_limits import LIMIT_TOLERANCE, TEMPERATURE_TOLERANCE_K, Finding
from twin.simulation.setpoints import SUPPLY_SET_POINT_VARIABLE, UNITS_ON_VARIABLE
from twin.site import Site
from twin.variables import machine_values
from twin.workload.queue import RackPool


def dew_point_excess(site: Site, result: xr.Dataset) -> FloatArray:
    """Return the coolant's shortfall from the dew point rule, in tolerances, ``(time,)``. [1]

    Above 1 the rule is violated.
    """
    rules = site.set_points
    min_temperature = rules.hall_dew_point + rules.dew_point_distance
    coldest = result["technology_supply_temperature"].min("cdu").to_numpy()
    return np.asarray((min_temperature - coldest) / TEMPERATURE_TOLERANCE_K)


def supply_ramp_ratio(site: Site, schedule: xr.Dataset, replay: xr.Dataset) -> FloatArray:
    """Return the change of supply set points over the allowed one, ``(time,)``. [1]

    Above 1 it is too fast. The first set point is compared with the present water if that is
    cooler: warm water is cooled at once.

    - ``replay``: Simulation of the schedule from the present state.
    """
    rules = site.set_points
    allowed = (
        rules.temperature_ramp * 60.0 * schedule["duration"].to_numpy() + TEMPERATURE_TOLERANCE_K
    )
    set_points = schedule[SUPPLY_SET_POINT_VARIABLE]
    present = (
        replay["facility_supply_temperature"].isel(instant=0).sel(circuit=set_points["circuit"])
    )
    first = np.maximum(set_points.to_numpy()[:1] - present.to_numpy(), 0.0)
    steps = np.concatenate([first, np.abs(np.diff(set_points.to_numpy(), axis=0))])
    return np.asarray(steps.max(axis=1) / allowed)


SCHEDULE_AXES: Final[Mapping[str, tuple[str, ...]]] = {
    "battery_level": ("instant", "battery"),
    "tank_level": ("instant", "tank"),
    "facility_power": ("time",),
    "work_racks": ("time", "cohort", "level"),
    "work_power": ("time", "cohort"),
    "work_late": ("instant", "cohort"),
    UNITS_ON_VARIABLE: ("time", "cooling_plant"),
}
"""Derived variable of a schedule -> its axes."""

LEVEL_TOLERANCE_SHARE: Final = 0.01
"""Allowed difference of a level from its dispatch, as a share of the store's window. [1]"""

INITIAL_LEVEL_TOLERANCE_SHARE: Final = 0.1
"""The same of the initial level, which may have been measured outside the window. [1]"""

NEGATIVE_POWER_TOLERANCE_MW: Final = 0.01
"""Difference of power, or work, that counts as zero. [MW; MWh]"""

NONNEGATIVE_VARIABLES: Final = ("facility_power", "work_late")
"""Variables that must only be finite and not negative."""

MINIMUM_TIME_HORIZON_H: Final = 12.0
"""Horizon in which minimum times are checked. [h]

Plans keep them for a day, and an old plan may be followed for half of it.
"""


def inconsistencies(site: Site, state: xr.Dataset, schedule: xr.Dataset) -> Iterator[Finding]:
    """Yield each inconsistency of a schedule and its size in each interval; above 1 it counts.

    Variables that the schedule lacks are not checked.
    """
    for store in site.stores:
        kind = site.equipment[store.owner].kind
        if f"{kind}_level" in schedule:
            off = _level_off(store, kind, state, schedule)
            yield f"{kind}_level of {store.owner} differs from its orders", off
    for name in NONNEGATIVE_VARIABLES:
        if name in schedule:
            wrong = ~(schedule[name].to_numpy() >= -NEGATIVE_POWER_TOLERANCE_MW) | np.isinf(
                schedule[name].to_numpy()
            )
            yield f"{name} is no number of its kind", _anywhere(wrong, len(schedule["time"]))
    if "work_racks" in schedule:
        yield from _work(site, schedule)
    if UNITS_ON_VARIABLE in schedule:
        yield from _units(site, schedule)


def service_only_power(site: Site, schedule: xr.Dataset) -> FloatArray:
    """Return the power of all halls with the inference service alone, ``(time,)``. [MW]"""
    return RackPool.from_site(site).total_power(schedule["service_racks"].to_numpy())


def _level_off(store: Store, kind: str, state: xr.Dataset, schedule: xr.Dataset) -> FloatArray:
    """Return the difference of each level from the one before and its dispatch, in tolerances."""
    hours, window = schedule["duration"].to_numpy(), store.max_level - store.min_level
    if store.owner not in schedule[kind].to_numpy():
        return np.full_like(hours, np.inf)
    level = machine_values(schedule, f"{kind}_level", store.owner)
    charge, discharge = (
        machine_values(schedule, f"{kind}_{way}", store.owner)
        if f"{kind}_{way}" in schedule
        else np.zeros_like(hours)
        for way in ("charge", "discharge")
    )
    rate = store.level_rate(charge, discharge)
    follows = (1.0 - store.standing_loss) ** hours * level[:-1] + hours * rate
    # the simulation keeps a level outside the window, or losses at its low end, at that end
    within = np.clip(follows, store.min_level, store.max_level)
    off = np.minimum(np.abs(level[1:] - follows), np.abs(level[1:] - within)) / (
        LEVEL_TOLERANCE_SHARE * window
    )
    begun = abs(level[0] - machine_values(state, f"{kind}_level", store.owner))
    off[0] = max(
        off[0], float(begun) / (INITIAL_LEVEL_TOLERANCE_SHARE * window)
    )  # NaN counts as an inconsistency
    return np.asarray(off)


def _units(site: Site, schedule: xr.Dataset) -> Iterator[Finding]:
    """Yield units beyond a bank's count, and units that switch before a minimum time ends."""
    hours = schedule["duration"].to_numpy()
    near = np.arange(len(hours)) < unit_commitment_steps(hours, MINIMUM_TIME_HORIZON_H)
    for owner, units in site.switchable_units.items():
        if owner not in schedule["cooling_plant"].to_numpy():
            continue
        on = machine_values(schedule, UNITS_ON_VARIABLE, owner)
        beyond = on > units.count
        yield f"units of {owner} beyond its bank", np.where(beyond, np.inf, 0.0)
        if not beyond.any():
            too_soon = near & breaks_minimum_times(units, on, hours)
            yield f"units of {owner} are switched too soon", np.where(too_soon, np.inf, 0.0)


def _anywhere(wrong: BoolArray, steps: int) -> FloatArray:
    """Return whether a value is wrong in each interval, at its edges or for any cohort."""
    each = wrong.reshape(len(wrong), -1).any(axis=1)
    each = each if len(each) == steps else each[:-1] | each[1:]
    return np.where(each, np.inf, 0.0)


def _work(site: Site, schedule: xr.Dataset) -> Iterator[Finding]:
    """Yield racks beyond the site's, and work power that differs from its racks or halls."""
    tolerance = LIMIT_TOLERANCE * site.rack_count * site.flexible_loads[0].full_power
    racks = schedule["work_racks"].transpose("time", "cohort", "level").to_numpy()
    power = schedule["work_power"].transpose("time", "cohort").to_numpy()
    used = racks.sum(axis=(1, 2)) + schedule["service_racks"].to_numpy()
    yield "racks of the site", (used - site.rack_count) / (LIMIT_TOLERANCE * site.rack_count)
    given = schedule["hall_power"].sum("hall").to_numpy()
    wanted = service_only_power(site, schedule) + power.sum(axis=1)
    yield "hall_power differs from its service and work", np.abs(given - wanted) / tolerance
    if "level_power" in schedule.coords:
        caps = schedule["level_power"].transpose("cohort", "level").to_numpy()
        off = power - (racks * RackPool.from_site(site).power_above_idle(caps)).sum(axis=2)
        yield "work_power differs from its racks", np.abs(off).max(axis=1, initial=0.0) / tolerance
