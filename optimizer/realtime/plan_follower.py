"""Follow the plan in force from one quarter-hour to the next.

Import above expectation in the last quarter-hour is expected again. Where it would raise the
billing peak, batteries charge less or discharge.
"""

from dataclasses import replace
from typing import cast

import numpy as np
import xarray as xr

from optimizer.realtime.battery_limits import (
    apply_limits,
    available_shaving,
    intersect,
    limit_discharge_margin,
    reserve_free_margin,
    reserve_holding_limits,
    taper_limits,
)
from optimizer.realtime.dispatch import dispatch_jobs, start_limits
from optimizer.realtime.headroom import Headroom, compute_headroom
from optimizer.realtime.intra_interval import (
    LoadShedding,
    MeteringIntervalControl,
    mean_ramp_fraction,
    shave_peak,
)
from optimizer.realtime.orders import (
    CurtailmentResult,
    DispatchOrders,
    apply_tank_priority,
    supply_temperatures,
)
from twin import time_axes
from twin.site import Site
from twin.variables import net_import
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
        limits = intersect(taper_limits(self.site, state, planned), reserve_limits)
        now = apply_limits(planned, limits)
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
            start_limits=start_limits(self.site, plan, queue.instant),
        )
        planned_orders, self._next_carry = dispatch_jobs(
            step, queue, headroom=headroom, carry=self._carry_at_start
        )
        orders = apply_tank_priority(planned_orders, self.site, supply_temperatures(state))
        shedding = LoadShedding.from_orders(queue, orders.jobs)
        curtailment = CurtailmentResult.of(
            step, discharge=planned_orders.battery_discharge, caps=planned_orders.renewable_cap
        )
        expected = headroom.net_import_at(shedding.power) + curtailment.reduced
        excess = expected + max(excess_before, 0.0) - headroom.max_uncharged_import
        limit = expected + headroom.export_limit
        ordered, shaved = shave_peak(orders, self.site, min(excess, limit), discharge_margin=spare)
        before = self.interval_control
        self.interval_control = MeteringIntervalControl(
            site=self.site,
            planned=orders,
            uncharged_mean_import=headroom.max_uncharged_import,
            import_limit=headroom.import_limit,
            initial_import=float(net_import(state)),
            expected_import=expected,
            discharge_margin=spare,
            initial_shed=shaved,
            export_limit=headroom.export_limit,
            orders_before_tank=planned_orders,
            shedding=shedding,
        )
        self._store_expected_import(expected - shaved, state, queue.instant, curtailment)
        if is_again and before and before.reduction > before.initial_shed:
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
        self._has_reducible_power = curtailment.reducible > 0.0
        self._expected_range = min(mean, final_import) - curtailment.extra, max(mean, final_import)
        self._interval_end = now + time_axes.QUARTER_HOUR


def _current_intervals(plan: xr.Dataset, instant: np.datetime64) -> xr.Dataset:
    """Return the interval of a plan that begins at an instant, and the next one."""
    place = cast(int, plan.variables["time"].to_index().get_loc(instant))
    return plan.isel(time=slice(place, place + 2))
