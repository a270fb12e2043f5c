"""Flexibility of a plan: how far consumption can be lowered or raised for an hour, and its cost.

Up and down are the grid's: up lowers net import (like a generator that gives more), down raises it.
The estimate is conservative. An offer for an hour from an interval on consists of:

* up, batteries: stopped charge and additional discharge, within converters and as far as the level
  can be recovered before the plan needs it;
* up, work: deferred jobs that have arrived, as far as the plan is ahead of their deadlines until
  the end of the horizon, pause losses included; jobs within their minimum run time stay;
* down, batteries only: more work may not exist, and more heat may not be removable.

Cooling power saved while work rests, cold tanks, and curtailment of renewables are not counted. The
connection limits the sum, with the site's margin. Power and energy of sold reserves are excluded.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import xarray as xr

from twin import time_axes, variables
from twin.feasibility.connection import IMPORT_LIMIT_VARIABLE
from twin.feasibility.reserve_activation import (
    connection_headroom,
    deferred_work,
    reserved_power,
    reserved_storage,
)
from twin.physics import FloatArray, Numeric
from twin.physics.numerics import BoolArray
from twin.relations import Store
from twin.simulation import operating_limits
from twin.site import Site
from twin.time_axes import HOUR
from twin.variables import net_import
from twin.workload.cohorts import EXPECTED_COHORT_SUFFIX
from twin.workload.queue import RackPool

ACTIVATION_TIME_MIN: Final = 15.0
"""Time in which an offer must be reached with the free ramp. [min]"""


def estimate_flexibility(
    site: Site,
    schedule: xr.Dataset,
    replay: xr.Dataset,
    *,
    outlook: xr.Dataset,
    before: float | None = None,
) -> xr.Dataset:
    """Return the flexibility that a verified plan leaves.

    - `schedule`: the plan, with the racks of its cohorts of work, if any.
    - `replay`: battery powers and levels simulated by the twin.
    - `outlook`: ``work_least`` from the plan's first instant on.
    - `before`: net import before the plan; None if it equals that of the first interval. [MW]

    Returns
    -------
    xarray.Dataset
        ``reserve_up_power``, ``reserve_down_power`` [MW], ``reserve_duration`` [h],
        ``recovery_energy`` [MWh], ``ramp_up_limit``, ``ramp_down_limit`` [MW min-1] on ``time``.
    """
    profile = NetImportProfile.from_schedule(site, schedule, before=before)
    ramp_up, ramp_down = profile.free_ramps(site.grid_connection.ramp)
    batteries = site.electricity_stores
    stored = [_battery(site, store, replay, profile, schedule=schedule) for store in batteries]
    works, lost = _work(site, schedule, outlook, profile)
    zeros = np.zeros(len(profile.net_import))
    given = sum((up for up, _ in stored), zeros)
    taken = sum((down for _, down in stored), zeros)
    sold_up, sold_down = connection_headroom(site, schedule)
    falls, rises = (
        _minimum_over_offer(profile, profile.room_to_lower - sold_up),
        _minimum_over_offer(profile, profile.room_to_raise - sold_down),
    )
    up = np.minimum(given + works, np.minimum(falls, ACTIVATION_TIME_MIN * ramp_up))
    down = np.minimum(taken, np.minimum(rises, ACTIVATION_TIME_MIN * ramp_down))
    fits = (
        profile.interval_edges[:-1] + OFFER_DURATION_H
        <= profile.interval_edges[-1] + OFFER_TOLERANCE
    )
    up, down = (np.where(fits & (power > OFFER_TOLERANCE), power, 0.0) for power in (up, down))
    loss = max((1.0 / (b.charge_efficiency * b.discharge_efficiency) for b in batteries), default=1)
    from_store = np.minimum(given, up)
    recovery = OFFER_DURATION_H * (from_store * loss + (up - from_store) * lost)
    offered = np.where((up > 0.0) | (down > 0.0), OFFER_DURATION_H, 0.0)
    values = {
        "reserve_up_power": up,
        "reserve_down_power": down,
        "reserve_duration": offered,
        "recovery_energy": recovery,
        "ramp_up_limit": ramp_up,
        "ramp_down_limit": ramp_down,
    }
    return values_on_schedule(schedule, values)


def no_flexibility(schedule: xr.Dataset) -> xr.Dataset:
    """Return zero flexibility, in the form of :func:`estimate_flexibility`."""
    names = ("reserve_up_power", "reserve_down_power", "reserve_duration", "recovery_energy")
    zeros = np.zeros(schedule.sizes["time"])
    return values_on_schedule(
        schedule, dict.fromkeys((*names, "ramp_up_limit", "ramp_down_limit"), zeros)
    )


def values_on_schedule(schedule: xr.Dataset, values: Mapping[str, FloatArray]) -> xr.Dataset:
    """Return values on the time axis of a plan, with their units."""
    bare = time_axes.interval_axes(time_axes.interval_edges(schedule))
    return variables.tag_dataset(bare.assign({name: ("time", row) for name, row in values.items()}))


@dataclass(frozen=True, kw_only=True)
class NetImportProfile:
    """Net import of a plan and before it, and the limits of the connection. [MW]

    ``interval_edges`` are the instants from the start [h]. The limits include the lowest load
    target, less the site's margin.
    """

    interval_edges: FloatArray
    net_import: FloatArray
    net_import_before: float
    min_net_import: float
    max_net_import: FloatArray

    @classmethod
    def from_schedule(cls, site: Site, schedule: xr.Dataset, *, before: float | None) -> Self:
        """Return the profile of a plan; ``before`` is by default the first net import. [MW]"""
        edges = (time_axes.interval_edges(schedule) - schedule["time"].to_numpy()[0]) / HOUR
        net = net_import(schedule).to_numpy()
        margin = site.margins.power * site.grid_connection.import_limit
        limit = np.full(len(net), site.grid_connection.import_limit)
        if IMPORT_LIMIT_VARIABLE in schedule:  # the connection is not firm
            limit = np.minimum(limit, schedule[IMPORT_LIMIT_VARIABLE].to_numpy())
        if LOAD_TARGET_VARIABLE in schedule:  # a target of one partner limits offers to all
            limit = np.minimum(limit, schedule[LOAD_TARGET_VARIABLE].min("contract").to_numpy())
        return cls(
            interval_edges=np.asarray(edges, dtype=float),
            net_import=net,
            net_import_before=float(net[0]) if before is None else before,
            min_net_import=-max(site.grid_connection.export_limit - margin, 0.0),
            max_net_import=limit - margin,
        )

    def overlaps_offer(self, step: int) -> BoolArray:
        """Return the intervals that overlap the hour that begins with one."""
        return self.overlaps(
            self.interval_edges[step], self.interval_edges[step] + OFFER_DURATION_H
        )

    def overlaps(self, begin: float, end: float) -> BoolArray:
        """Return the intervals that overlap a span. [h]"""
        return np.asarray(
            (self.interval_edges[:-1] < end - OFFER_TOLERANCE)
            & (self.interval_edges[1:] > begin + OFFER_TOLERANCE)
        )

    @property
    def room_to_lower(self) -> FloatArray:
        """Possible reduction of net import, by the connection alone. [MW]"""
        return np.maximum(self.net_import - self.min_net_import, 0.0)

    @property
    def room_to_raise(self) -> FloatArray:
        """Possible increase of net import, by the connection and targets alone. [MW]"""
        return np.maximum(self.max_net_import - self.net_import, 0.0)

    def free_ramps(self, ramp: float) -> tuple[FloatArray, FloatArray]:
        """Return how fast net import may fall and rise on top of the plan. [MW min-1]

        ``ramp`` is the limit of the connection in both directions. [MW min-1] The plan changes as
        an interval begins.
        """
        minutes = 60.0 * np.diff(self.interval_edges)
        over = np.minimum(minutes, operating_limits.SET_POINT_TRANSITION_MIN * minutes / 15.0)
        begins = np.diff(self.net_import, prepend=self.net_import_before) / over
        ends = np.append(begins[1:], 0.0)
        falls = np.maximum(-np.minimum(begins, ends), 0.0)
        rises = np.maximum(np.maximum(begins, ends), 0.0)
        return np.maximum(ramp - falls, 0.0), np.maximum(ramp - rises, 0.0)


def _minimum_over_offer(profile: NetImportProfile, headroom: FloatArray) -> FloatArray:
    """Return the minimum over the hour that begins with each interval. [MW]"""
    return np.array([headroom[profile.overlaps_offer(step)].min() for step in range(len(headroom))])


def _battery(
    site: Site, store: Store, replay: xr.Dataset, profile: NetImportProfile, *, schedule: xr.Dataset
) -> tuple[FloatArray, FloatArray]:
    """Return the additional discharge and charge power of a battery for an hour. [MW]

    The level must be recovered before the plan needs it, within converters and connection. Sold
    reserves are not offered again.
    """
    kind = site.equipment[store.owner].kind
    level = replay[f"{kind}_level"].sel({kind: store.owner}).to_numpy()[1:]
    charge = (replay[f"{kind}_charge"] - replay[f"{kind}_discharge"]).sel({kind: store.owner})
    plan = charge.to_numpy()
    share = store.charge_limit / sum(s.charge_limit for s in site.electricity_stores)
    margin, reserved = (
        store.level_margin(site.margins.level),
        reserved_storage(site, schedule, store),
    )
    can_give = store.discharge_limit + plan - reserved.power_up
    can_take = store.charge_limit - plan - reserved.power_down
    hours = np.diff(profile.interval_edges)
    regained = np.clip(np.minimum(can_take, share * profile.room_to_raise), 0.0, None)
    released = np.clip(np.minimum(can_give, share * profile.room_to_lower), 0.0, None)
    up = _sustainable_power(
        profile,
        can_give,
        store.emptying_power(level, 1.0, kept=margin + reserved.required_energy[1:]),
        won=regained * hours * store.charge_efficiency * store.discharge_efficiency,
    )
    down = _sustainable_power(
        profile,
        can_take,
        store.filling_power(level, 1.0, kept=margin + reserved.required_room[1:]),
        won=released * hours / (store.discharge_efficiency * store.charge_efficiency),
    )
    return up, down


def _sustainable_power(
    profile: NetImportProfile,
    power: FloatArray,
    energy: Numeric,
    *,
    won: FloatArray,
    lost: float = 0.0,
) -> FloatArray:
    """Return the power that can be sustained for an hour from each interval on. [MW]

    ``power`` [MW] is free in the converters. ``energy`` [MWh at the bus] is available by the end of
    each interval; each can recover ``won`` [MWh] after the hour. ``lost`` is the energy lost at the
    start, as time at that power. [h]
    """
    found = np.zeros(len(power))
    for step in range(len(power)):
        window = profile.overlaps_offer(step)
        until = profile.interval_edges[1:] - profile.interval_edges[step]
        later = until > OFFER_DURATION_H + OFFER_TOLERANCE
        back = np.cumsum(np.where(later & ~window, won, 0.0))
        ahead = until > OFFER_TOLERANCE
        used = np.minimum(until, OFFER_DURATION_H)[ahead] + lost  # of each MW [MWh]
        bound = (energy + back)[ahead] / used
        found[step] = max(min(power[window].min(), bound.min()), 0.0)
    return found


def _work(
    site: Site, schedule: xr.Dataset, outlook: xr.Dataset, profile: NetImportProfile
) -> tuple[FloatArray, float]:
    """Return the power of work that can be deferred for an hour [MW], and MWh to recover per
    MWh.
    """
    delayed, lost = np.zeros(len(profile.net_import)), 1.0
    if "work_racks" not in schedule or outlook["instant"][0] != schedule["time"][0]:
        return delayed, lost
    pool, hours = RackPool.from_site(site), np.diff(profile.interval_edges)
    for label in schedule["cohort"].to_numpy().tolist():
        if str(label).endswith(EXPECTED_COHORT_SUFFIX):
            continue
        one = schedule.sel(cohort=label)
        kind = site.work[str(one["kind"].item())]
        racks = one["work_racks"].transpose("time", "level").to_numpy()
        levels = one["level_power"].to_numpy()
        power = racks @ pool.power_above_idle(levels)
        work = racks @ (pool.rack_power * kind.throughput.throughput_at(levels))
        if not (power > OFFER_TOLERANCE).any():
            continue
        rate = (work / np.maximum(power, OFFER_TOLERANCE)).max()
        due = outlook["work_least"].sel(cohort=label).to_numpy()[1 : len(power) + 1]
        sold = _sold_by_cohort(site, schedule, label)
        owed = sum(
            (
                deferred_work(site.reserves[p], row, kind.pause_loss, durations=hours)
                for p, row in sold.items()
            ),
            np.zeros(len(power)),
        )
        ahead = np.cumsum(work * hours) - due - rate * owed
        delayed += _sustainable_power(
            profile,
            _past_minimum_run(
                profile, power - reserved_power(site.reserves, sold)[0], kind.minimum_run
            ),
            ahead / rate,
            won=np.zeros(len(power)),
            lost=kind.pause_loss,
        )
        lost = max(lost, 1.0 + kind.pause_loss / OFFER_DURATION_H)
    return delayed, lost


def _sold_by_cohort(site: Site, schedule: xr.Dataset, label: str) -> dict[str, FloatArray]:
    """Return the capacity of each reserve product that a cohort provides, ``(time,)``. [MW]"""
    if "work_reserve" not in schedule:
        return {}
    part = schedule["work_reserve"].sel(cohort=label)
    return {name: part.sel(product=name).to_numpy() for name in site.reserves}


def _past_minimum_run(
    profile: NetImportProfile, power: FloatArray, minimum_run: float
) -> FloatArray:
    """Return the power of work that has run for its minimum time. [MW]"""
    begins = profile.interval_edges[:-1]
    spans = (
        profile.overlaps(begin - minimum_run, begin + 2.0 * OFFER_TOLERANCE) for begin in begins
    )
    return np.array([power[span].min() for span in spans])


OFFER_DURATION_H: Final = 1.0

OFFER_TOLERANCE: Final = 1e-3
"""Power that is not offered [MW], and difference of times that is ignored. [h]"""


LOAD_TARGET_VARIABLE: Final = "grid_import_target"
"""Variable of a schedule for the load target."""
