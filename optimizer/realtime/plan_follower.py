"""Follow the plan in force from one quarter-hour to the next.

Import above expectation in the last quarter-hour is expected again. Where it would raise the
billing peak, batteries charge less or discharge.

A plan assumes a battery level; the real battery may hold less. Each quarter-hour the measured level
limits the power, so that it does not fade faster than the connection's ramp allows, and so that the
energy and power of sold reserves stay available. Where the connection depends on the battery, a
full battery would cause export and an empty one import. The quarter-hour before a reserve begins
must leave its energy and room.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, cast

import numpy as np
import xarray as xr

from optimizer.realtime.dispatch import dispatch_jobs, rack_limits_before_target
from optimizer.realtime.intra_interval import (
    LoadShedding,
    MeteringIntervalControl,
    mean_ramp_fraction,
    shave_peak,
)
from optimizer.realtime.orders import (
    CurtailmentResult,
    DispatchOrders,
    limit_tank_charging,
    supply_temperatures,
)
from optimizer.realtime.workload_headroom import ConnectionLimits, Headroom, compute_headroom
from twin import time_axes
from twin.equipment.storage import STORAGE_TAPER_TIME_H
from twin.feasibility.connection import taper_exceeds_ramp
from twin.feasibility.reserve_activation import reserved_power, reserved_storage
from twin.simulation.operating_limits import SET_POINT_TRANSITION_MIN
from twin.site import Site
from twin.variables import machine_values, net_import
from twin.workload.queue import JobQueue, running_power


class RealtimeController:
    """State that is carried from one quarter-hour to the next while a plan is followed.

    - `site`: the site as it is now; machines may be out of service.
    - `interval_control`: controller of the quarter-hour that received the last orders.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self._next_carry: dict[str, float] = {}
        self._carry_at_start, self._interval_start = self._next_carry, np.datetime64("NaT", "us")
        self._expected_final_import, self._expected_range = np.nan, (np.nan, np.nan)
        self._import_excess = self._unforeseen_import = 0.0
        self._work_power_time, self._work_power = np.datetime64("NaT", "us"), 0.0
        self._previous_battery_power: dict[str, float] = {}
        self._interval_end, self._has_reducible_power = np.datetime64("NaT", "us"), False
        self.interval_control: MeteringIntervalControl | None = None

    def orders(self, plan: xr.Dataset, state: xr.Dataset, queue: JobQueue) -> DispatchOrders:
        """Return the orders closest to a plan in the quarter-hour that begins now.

        They stay within the headroom, and unforeseen import does not raise the billing peak. One
        interval of `plan` must begin now.
        """
        is_again = queue.instant == self._interval_start
        if not is_again:
            self._interval_start, self._carry_at_start = queue.instant, self._next_carry
            self._previous_battery_power = self._last_battery_orders(queue.instant)
            self._import_excess = self._import_surprise(state, queue.instant)
            is_next = queue.instant == self._interval_end
            self._unforeseen_import = (
                self.interval_control.unforeseen_import
                if self.interval_control and is_next
                else 0.0
            )
        planned, excess_before = _current_intervals(plan, queue.instant), self._import_excess
        reserve_limits = reserve_holding_limits(
            self.site, plan, state, now=queue.instant, before=self._previous_battery_power
        )
        limits = intersect_battery_limits(taper_limits(self.site, state, planned), reserve_limits)
        now = apply_battery_limits(planned, limits)
        step = now.isel(time=0)
        spare = limit_discharge_margin(
            reserve_free_margin(self.site, plan, state, now=queue.instant), limits, step
        )
        headroom = self._headroom(
            state,
            now,
            available_power=available_shaving(self.site, step, state, discharge_margin=spare),
        )
        headroom = replace(
            self.limit_work_rise(headroom, queue),
            rack_limits_before_target=rack_limits_before_target(self.site, plan, queue.instant),
        )
        planned_orders, self._next_carry = dispatch_jobs(
            step, queue, headroom=headroom, carry=self._carry_at_start
        )
        orders = limit_tank_charging(planned_orders, self.site, supply_temperatures(state))
        shedding = LoadShedding.from_orders(queue, orders.jobs)
        curtailment = CurtailmentResult.compare_with_plan(
            step, discharge=planned_orders.battery_discharge, caps=planned_orders.renewable_cap
        )
        expected = (
            headroom.net_import_at(shedding.ordered_work_power) + curtailment.power_below_plan
        )
        excess = expected + max(excess_before, 0.0) - headroom.max_uncharged_import
        limit = expected + headroom.export_limit
        ordered, shaved = shave_peak(orders, self.site, min(excess, limit), discharge_margin=spare)
        before = self.interval_control
        self.interval_control = MeteringIntervalControl(
            site=self.site,
            planned_orders=orders,
            uncharged_mean_import=headroom.max_uncharged_import,
            import_limit=headroom.import_limit,
            initial_import=float(net_import(state)),
            expected_import=expected,
            discharge_margin=spare,
            shed_from_start=shaved,
            export_limit=headroom.export_limit,
            orders_before_tank=planned_orders,
            sheddable_jobs=shedding,
        )
        self._store_expected_import(expected - shaved, state, queue.instant, curtailment)
        if is_again and before and before.total_reduction > before.shed_from_start:
            self.interval_control.continue_from(before)
            return self.interval_control.current_orders
        return ordered

    def limit_work_rise(self, headroom: Headroom, queue: JobQueue) -> Headroom:
        """Return the headroom less what work rose since the first orders of the quarter-hour.

        `queue` holds the jobs under the caps in force.
        """
        power = running_power(queue, queue.caps)
        if queue.instant != self._work_power_time:
            self._work_power_time, self._work_power = queue.instant, power
        left = headroom.max_load_step - max(power - self._work_power, 0.0)
        return replace(headroom, max_load_step=max(left, 0.0))

    def _headroom(self, state: xr.Dataset, now: xr.Dataset, *, available_power: float) -> Headroom:
        """Return the headroom less unforeseen import beyond the available battery power [MW]."""
        headroom = compute_headroom(self.site, state, now).reduced_by(
            self._import_excess - available_power
        )
        return replace(
            headroom,
            max_work_power=max(
                headroom.max_work_power
                - self._unforeseen_import / headroom.site_power_per_work_power,
                0.0,
            ),
            export_limit=headroom.export_limit + min(self._import_excess, 0.0),
        )

    def _import_surprise(self, state: xr.Dataset, now: np.datetime64) -> float:
        """Return the import above expectation in the last quarter-hour; negative if below. [MW]

        A shortfall counts only where renewables or batteries could have been reduced further. An
        activated reserve looks the same, so that at most the margin is corrected.
        """
        if now != self._interval_end:
            return 0.0
        saved = self.interval_control.mean_reduction if self.interval_control else 0.0
        measured, (low, high) = float(net_import(state)) + saved, self._expected_range
        shortfall = min(measured - low, 0.0) if self._has_reducible_power else 0.0
        margin = self.site.margins.power * self.site.grid_connection.import_limit
        return max(measured - high, 0.0) + max(shortfall, -margin)

    def _last_battery_orders(self, now: np.datetime64) -> dict[str, float]:
        """Return the net discharge ordered of each battery until now; empty if unknown. [MW]"""
        if self.interval_control is None or now != self._interval_end:
            return {}
        last = self.interval_control.current_orders
        names = {*last.battery_charge, *last.battery_discharge}
        return {name: -last.net_charge("battery", name) for name in names}

    def _store_expected_import(
        self,
        final_import: float,
        state: xr.Dataset,
        now: np.datetime64,
        curtailment: CurtailmentResult,
    ) -> None:
        """Store the range of measured import that is expected while the plant follows its orders.

        Meters show the mean of the quarter-hour or the newest reading. Renewable power beyond the
        forecast is expected as far as it may be used.
        """
        before = (
            self._expected_final_import if now == self._interval_end else float(net_import(state))
        )
        mean = before + (final_import - before) * mean_ramp_fraction(time_axes.METERING_PERIOD_MIN)
        self._expected_final_import = final_import
        self._has_reducible_power = curtailment.reducible_power > 0.0
        self._expected_range = (
            min(mean, final_import) - curtailment.power_above_plan,
            max(mean, final_import),
        )
        self._interval_end = now + time_axes.QUARTER_HOUR


def _current_intervals(plan: xr.Dataset, instant: np.datetime64) -> xr.Dataset:
    """Return the interval of a plan that begins at an instant, and the next one."""
    place = cast(int, plan.variables["time"].to_index().get_loc(instant))
    return plan.isel(time=slice(place, place + 2))


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
    ramp_share = 0.5 * SET_POINT_TRANSITION_MIN / time_axes.METERING_PERIOD_MIN
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
                ramp = before.get(store.owner, 0.0) * ramp_share
                charge = float(store.filling_power(level, hours, kept=room)) + ramp
                discharge = float(store.emptying_power(level, hours, kept=energy)) - ramp
                found[store.owner] = BatteryLimits(
                    charge=max(min(charge, store.charge_limit - down), 0.0),
                    discharge=max(min(discharge, store.discharge_limit - up), 0.0),
                )
    return found


def intersect_battery_limits(*all_limits: Mapping[str, BatteryLimits]) -> dict[str, BatteryLimits]:
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


def apply_battery_limits(now: xr.Dataset, limits: Mapping[str, BatteryLimits]) -> xr.Dataset:
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
    - `interval`: interval from which batteries are moved, after :func:`apply_battery_limits`.
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
        level, kept = (level + deviation)[soon], reserved.required_energy[soon]
        lasting = float(np.min(store.emptying_power(level, hours, kept=kept)))
        free = reserved.power_up[step] + discharge[step] - charge[step]
        found[store.owner] = max(min(lasting, store.discharge_limit - float(free)), 0.0)
    return found
