"""What a plan leaves to others: how far consumption can be lowered or raised, and what it costs.

Up and down are the grid's: up lowers net import (as a generator that gives more), down raises it.
All is counted on the careful side. What may be offered for an hour from an interval on is:

* up, batteries: charging stopped and power given, as far as converters allow and as the level
  can be won back before the plan needs it;
* up, work: jobs put off that are here already, as far as the plan is ahead of their deadlines
  until the end of the horizon; what a pause loses is counted in, and jobs that the plan may have
  started just now are left alone;
* down, batteries only: more work may not be there, and more heat may not be carried away.

Cooling that saves power while work rests, cold tanks, and sun and wind that could be curtailed are
not counted. The limits of the connection bound all of it, with the site's margin. Power and energy
behind reserves that are sold belong to those who bought them.

Net import over a plan, and what the connection leaves beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import xarray as xr

from twin import time_axes, variables
from twin.feasibility.connection import IMPORT_LIMIT
from twin.feasibility.reserve_activation import (
    activation_power,
    connection_headroom,
    deferred_work,
    storage_headroom,
)
from twin.physics import FloatArray
from twin.physics.numerics import BoolArray
from twin.relations import Store
from twin.simulation import limits
from twin.site import Site
from twin.time_axes import HOUR
from twin.variables import net_import
from twin.workload.flexibility import EXPECTED_COHORT_SUFFIX
from twin.workload.queue import RackPool

ACTIVATION_TIME_MIN: Final = 15.0
"""Time in which what is offered must be reached at the ramp that is left. [min]"""

BATTERY_CARRIER: Final = "medium_voltage"
"""Carrier of the stores that count."""


def estimate_flexibility(
    site: Site,
    schedule: xr.Dataset,
    replay: xr.Dataset,
    *,
    outlook: xr.Dataset,
    before: float | None = None,
) -> xr.Dataset:
    """Return what a verified plan leaves to others.

    Parameters
    ----------
    site
        The site.
    schedule
        The plan: its promise at the connection and, if it has cohorts of work, their racks.
    replay
        What the twin did with it: battery powers and levels.
    outlook
        ``work_least`` from the plan's first instant on.
    before
        Net import when the plan begins; None if the plan begins with it. [MW]

    Returns
    -------
    xarray.Dataset
        ``reserve_up_power``, ``reserve_down_power`` [MW], ``reserve_duration`` [h],
        ``recovery_energy`` [MWh], ``ramp_up_limit``, ``ramp_down_limit`` [MW min-1] on ``time``.
    """
    course = NetImportProfile.from_schedule(site, schedule, before=before)
    ramp_up, ramp_down = course.free_ramps(site.grid.ramp)
    batteries = [store for store in site.stores if store.carrier == BATTERY_CARRIER]
    stored = [_battery(site, store, replay, course, schedule=schedule) for store in batteries]
    works, lost = _work(site, schedule, outlook, course)
    nothing = np.zeros(len(course.net))
    given = sum((up for up, _ in stored), nothing)
    taken = sum((down for _, down in stored), nothing)
    sold_up, sold_down = connection_headroom(site, schedule)
    falls, rises = (
        _minimum_over_offer(course, course.room_to_lower - sold_up),
        _minimum_over_offer(course, course.room_to_raise - sold_down),
    )
    up = np.minimum(given + works, np.minimum(falls, ACTIVATION_TIME_MIN * ramp_up))
    down = np.minimum(taken, np.minimum(rises, ACTIVATION_TIME_MIN * ramp_down))
    whole = course.edges[:-1] + OFFER_DURATION_H <= course.edges[-1] + OFFER_TOLERANCE
    up, down = (np.where(whole & (power > OFFER_TOLERANCE), power, 0.0) for power in (up, down))
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
    return label_on_schedule(schedule, values)


def no_flexibility(schedule: xr.Dataset) -> xr.Dataset:
    """Return the flexibility of a plan that leaves none to anybody.

    See :func:`estimate_flexibility`.
    """
    names = ("reserve_up_power", "reserve_down_power", "reserve_duration", "recovery_energy")
    nothing = np.zeros(schedule.sizes["time"])
    return label_on_schedule(
        schedule, dict.fromkeys((*names, "ramp_up_limit", "ramp_down_limit"), nothing)
    )


def label_on_schedule(schedule: xr.Dataset, values: Mapping[str, FloatArray]) -> xr.Dataset:
    """Return values on the time of a plan, with their units."""
    bare = time_axes.interval_axes(time_axes.interval_edges(schedule))
    return variables.tag_dataset(bare.assign({name: ("time", row) for name, row in values.items()}))


@dataclass(frozen=True, kw_only=True)
class NetImportProfile:
    """A plan on its axes.

    Attributes
    ----------
    edges
        Of its intervals, from the start. [h]
    net, before
        Net import of each interval, and when the first begins. [MW]
    low, high
        Limits of the connection, and the least that partners want as the most, less the site's
        margin. [MW]
    """

    edges: FloatArray
    net: FloatArray
    before: float
    low: float
    high: FloatArray

    @classmethod
    def from_schedule(cls, site: Site, schedule: xr.Dataset, *, before: float | None) -> Self:
        """Return the course of a plan; without what was before, it begins as it goes on."""
        edges = (time_axes.interval_edges(schedule) - schedule["time"].to_numpy()[0]) / HOUR
        net = net_import(schedule).to_numpy()
        keep = site.margins.power * site.grid.import_limit
        most = np.full(len(net), site.grid.import_limit)
        if IMPORT_LIMIT in schedule:  # the connection is not firm
            most = np.minimum(most, schedule[IMPORT_LIMIT].to_numpy())
        if TARGET_VARIABLE in schedule:  # what one partner wants below, no other is offered above
            most = np.minimum(most, schedule[TARGET_VARIABLE].min("contract").to_numpy())
        return cls(
            edges=np.asarray(edges, dtype=float),
            net=net,
            before=float(net[0]) if before is None else before,
            low=-max(site.grid.export_limit - keep, 0.0),
            high=most - keep,
        )

    def overlaps_offer(self, step: int) -> BoolArray:
        """Return which intervals touch the hour that begins with one."""
        return self.overlaps(self.edges[step], self.edges[step] + OFFER_DURATION_H)

    def overlaps(self, begin: float, end: float) -> BoolArray:
        """Return which intervals touch a span. [h]"""
        return np.asarray(
            (self.edges[:-1] < end - OFFER_TOLERANCE) & (self.edges[1:] > begin + OFFER_TOLERANCE)
        )

    @property
    def room_to_lower(self) -> FloatArray:
        """How far net import could be lowered, by the connection alone. [MW]"""
        return np.maximum(self.net - self.low, 0.0)

    @property
    def room_to_raise(self) -> FloatArray:
        """How far net import could be raised, by the connection and targets alone. [MW]"""
        return np.maximum(self.high - self.net, 0.0)

    def free_ramps(self, ramp: float) -> tuple[FloatArray, FloatArray]:
        """Return how fast net import may fall and rise beside what the plan does. [MW min-1]

        The plan turns towards an interval as it begins, towards its first from what was before.

        Parameters
        ----------
        ramp
            Most that the connection allows either way. [MW min-1]
        """
        minutes = 60.0 * np.diff(self.edges)
        over = np.minimum(minutes, limits.SET_POINT_TRANSITION_MIN * minutes / 15.0)
        begins = np.diff(self.net, prepend=self.before) / over
        ends = np.append(begins[1:], 0.0)
        falls = np.maximum(-np.minimum(begins, ends), 0.0)
        rises = np.maximum(np.maximum(begins, ends), 0.0)
        return np.maximum(ramp - falls, 0.0), np.maximum(ramp - rises, 0.0)


def _minimum_over_offer(profile: NetImportProfile, room: FloatArray) -> FloatArray:
    """Return the least of a course over the hour that begins with each interval. [MW]"""
    return np.array([room[profile.overlaps_offer(step)].min() for step in range(len(room))])


def _battery(
    site: Site, store: Store, replay: xr.Dataset, profile: NetImportProfile, *, schedule: xr.Dataset
) -> tuple[FloatArray, FloatArray]:
    """Return the power that a battery can give and take beyond its plan, for an hour. [MW]

    The level that is missing (or too much) after the hour must be won back, within converters and
    connection, before the plan needs it. What is sold as reserve is not offered once more.
    """
    kind = site.equipment[store.owner].kind
    level = replay[f"{kind}_level"].sel({kind: store.owner}).to_numpy()[1:]
    charge = (replay[f"{kind}_charge"] - replay[f"{kind}_discharge"]).sel({kind: store.owner})
    plan = charge.to_numpy()
    share = store.charge_limit / sum(
        s.charge_limit for s in site.stores if s.carrier == BATTERY_CARRIER
    )
    spare, kept = store.level_margin(site.margins.level), storage_headroom(site, schedule, store)
    can_give = store.discharge_limit + plan - kept.power_up
    can_take = store.charge_limit - plan - kept.power_down
    hours = np.diff(profile.edges)
    regained = np.clip(np.minimum(can_take, share * profile.room_to_raise), 0.0, None)
    released = np.clip(np.minimum(can_give, share * profile.room_to_lower), 0.0, None)
    up = _sustainable_power(
        profile,
        can_give,
        (level - store.min_level - spare - kept.required_energy[1:]) * store.discharge_efficiency,
        won=regained * hours * store.charge_efficiency * store.discharge_efficiency,
    )
    down = _sustainable_power(
        profile,
        can_take,
        (store.max_level - spare - level - kept.required_room[1:]) / store.charge_efficiency,
        won=released * hours / (store.discharge_efficiency * store.charge_efficiency),
    )
    return up, down


def _sustainable_power(
    profile: NetImportProfile,
    power: FloatArray,
    energy: FloatArray,
    *,
    won: FloatArray,
    lost: float = 0.0,
) -> FloatArray:
    """Return the power that can be kept for an hour from each interval on. [MW]

    Parameters
    ----------
    profile
        The plan.
    power
        Most that the converters leave in each interval. [MW]
    energy
        Most that may be used up by the end of each interval, at the bus. [MWh]
    won
        What each interval could win back, once the hour is over. [MWh]
    lost
        What beginning costs, as time at that power. [h]
    """
    found = np.zeros(len(power))
    for step in range(len(power)):
        window = profile.overlaps_offer(step)
        until = profile.edges[1:] - profile.edges[step]
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
    """Return the power of work that can be put off for an hour, and MWh to regain for each MWh."""
    delayed, lost = np.zeros(len(profile.net)), 1.0
    if "work_racks" not in schedule or outlook["instant"][0] != schedule["time"][0]:
        return delayed, lost
    pool, hours = RackPool.from_site(site), np.diff(profile.edges)
    for label in schedule["cohort"].to_numpy().tolist():
        if str(label).endswith(EXPECTED_COHORT_SUFFIX):
            continue
        one = schedule.sel(cohort=label)
        kind = site.work[str(one["kind"].item())]
        racks = one["work_racks"].transpose("time", "level").to_numpy()
        levels = one["level_power"].to_numpy()
        power = racks @ pool.power_above_idle(levels)
        work = racks @ (pool.rack_power * kind.throughput.work(levels))
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
                profile, power - activation_power(site.reserves, sold)[0], kind.minimum_run
            ),
            ahead / rate,
            won=np.zeros(len(power)),
            lost=kind.pause_loss,
        )
        lost = max(lost, 1.0 + kind.pause_loss / OFFER_DURATION_H)
    return delayed, lost


def _sold_by_cohort(site: Site, schedule: xr.Dataset, label: str) -> dict[str, FloatArray]:
    """Return what a cohort of work holds of each reserve product, ``(time,)``. [MW]"""
    if "work_reserve" not in schedule:
        return {}
    part = schedule["work_reserve"].sel(cohort=label)
    return {name: part.sel(product=name).to_numpy() for name in site.reserves}


def _past_minimum_run(
    profile: NetImportProfile, power: FloatArray, minimum_run: float
) -> FloatArray:
    """Return the power of work that runs already for the time it must run at least. [MW]"""
    begins = profile.edges[:-1]
    spans = (
        profile.overlaps(begin - minimum_run, begin + 2.0 * OFFER_TOLERANCE) for begin in begins
    )
    return np.array([power[span].min() for span in spans])


OFFER_DURATION_H: Final = 1.0
"""How long what is offered can be kept. [h]"""

OFFER_TOLERANCE: Final = 1e-3
"""Power below which nothing is offered [MW], and time that is none. [h]"""


TARGET_VARIABLE: Final = "grid_import_target"
"""Word of a schedule for the most net import that partners want."""
