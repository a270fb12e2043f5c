"""Between two plans: ask the question of the moment, and steer by the plan in force."""

from dataclasses import replace
from typing import cast

import numpy as np
import xarray as xr

from optimizer.realtime.battery_limits import (
    apply_limits,
    available_shaving,
    discharge_margin,
    intersect,
    pre_reserve_limits,
    reserve_free_margin,
    shave_peak,
    taper_limits,
)
from optimizer.realtime.dispatch import dispatch_jobs
from optimizer.realtime.headroom import Headroom, compute_headroom
from optimizer.realtime.intra_interval import (
    LoadShedding,
    MeteringIntervalControl,
    mean_ramp_fraction,
)
from optimizer.realtime.job_priority import start_limits
from optimizer.realtime.orders import CurtailmentResult, DispatchOrders
from optimizer.realtime.tank_priority import apply_tank_priority, supply_temperatures
from twin import time_axes
from twin.site import Site
from twin.variables import net_import
from twin.workload.queue import JobQueue, running_power


class RealtimeController:
    """What is carried from one quarter-hour to the next while a plan is followed.

    Parameters
    ----------
    site
        The site.

    Attributes
    ----------
    site
        The site as it is now: machines go out of service and come back.
    guard
        Watches the quarter-hour that was last given orders.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self._carry: dict[str, float] = {}
        self._before, self._begun = self._carry, np.datetime64("NaT", "us")
        self._settled, self._foreseen = np.nan, (np.nan, np.nan)
        self._drifted = self._missed = 0.0
        self._drawn_at, self._drawn = np.datetime64("NaT", "us"), 0.0
        self._turns_from: dict[str, float] = {}
        self._until, self._can_yield = np.datetime64("NaT", "us"), False
        self.interval_control: MeteringIntervalControl | None = None

    def orders(self, plan: xr.Dataset, state: xr.Dataset, queue: JobQueue) -> DispatchOrders:
        """Return the orders that come closest to a plan in the quarter-hour that begins now.

        Parameters
        ----------
        plan
            The schedule in force; one of its intervals begins now.
        state
            The state now.
        queue
            The jobs now.

        Returns
        -------
        DispatchOrders
            Within what the site leaves, and without raising the peak by what was not foreseen.
        """
        is_again = queue.instant == self._begun
        if not is_again:
            self._begun, self._before = queue.instant, self._carry
            self._turns_from = self._last_battery_orders(queue.instant)
            self._drifted = self._import_surprise(state, queue.instant)
            is_next = queue.instant == self._until
            self._missed = (
                self.interval_control.unforeseen_import
                if self.interval_control and is_next
                else 0.0
            )
        planned, drift = _current_intervals(plan, queue.instant), self._drifted
        to_reserves = pre_reserve_limits(
            self.site, plan, state, now=queue.instant, before=self._turns_from
        )
        ways = intersect(taper_limits(self.site, state, planned), to_reserves)
        now = apply_limits(planned, ways)
        step = now.isel(time=0)
        spare = discharge_margin(
            reserve_free_margin(self.site, plan, state, now=queue.instant), ways, step
        )
        room = self._headroom(
            state, now, able=available_shaving(self.site, step, state, discharge_margin=spare)
        )
        room = replace(
            self.within_rise(room, queue), start_limits=start_limits(self.site, plan, queue.instant)
        )
        warm_start, self._carry = dispatch_jobs(step, queue, headroom=room, carry=self._before)
        orders = apply_tank_priority(warm_start, self.site, supply_temperatures(state))
        work = LoadShedding.from_orders(queue, orders.jobs)
        given = CurtailmentResult.of(
            step, discharge=warm_start.battery_discharge, caps=warm_start.renewable_cap
        )
        expected = room.import_power(work.power) + given.reduced
        excess, most = expected + max(drift, 0.0) - room.peak_power, expected + room.export_limit
        ordered, shaved = shave_peak(orders, self.site, min(excess, most), discharge_margin=spare)
        before, self.interval_control = (
            self.interval_control,
            MeteringIntervalControl(
                site=self.site,
                planned=orders,
                peak=room.peak_power,
                limit=room.import_limit,
                initial_import=float(net_import(state)),
                expected_import=expected,
                discharge_margin=spare,
                initial_shed=shaved,
                export_limit=room.export_limit,
                orders_before_tank=warm_start,
                shedding=work,
            ),
        )
        self._store_expected_import(expected - shaved, state, queue.instant, given)
        if is_again and before and before.reduction > before.initial_shed:
            self.interval_control.continue_from(before)
            return self.interval_control.current_orders
        return ordered

    def within_rise(self, headroom: Headroom, queue: JobQueue) -> Headroom:
        """Return the headroom, less what work rose since the quarter-hour was first given orders.

        Parameters
        ----------
        headroom
            What the site leaves.
        queue
            The jobs now, under the caps in force.
        """
        drawn = running_power(queue, queue.caps)
        if queue.instant != self._drawn_at:
            self._drawn_at, self._drawn = queue.instant, drawn
        left = headroom.max_load_step - max(drawn - self._drawn, 0.0)
        return replace(headroom, max_load_step=max(left, 0.0))

    def _headroom(self, state: xr.Dataset, now: xr.Dataset, *, able: float) -> Headroom:
        """Return what the site leaves, less what was not foreseen and batteries are not able to."""
        room = compute_headroom(self.site, state, now).reduced_by(self._drifted - able)
        return replace(
            room,
            work_power=max(room.work_power - self._missed / room.slope, 0.0),
            export_limit=room.export_limit + min(self._drifted, 0.0),
        )

    def _import_surprise(self, state: xr.Dataset, now: np.datetime64) -> float:
        """Return by how much the last quarter-hour took more than was foreseen of it. [MW]

        Less than foreseen counts where sun, wind and batteries could have yielded more: else nobody
        can correct it. A called reserve looks alike: beyond the margin nothing is made up.
        """
        if now != self._until:
            return 0.0
        saved = self.interval_control.mean_reduction if self.interval_control else 0.0
        shown, (least, most) = float(net_import(state)) + saved, self._foreseen
        lacking = min(shown - least, 0.0) if self._can_yield else 0.0
        margin = self.site.margins.power * self.site.grid.import_limit
        return max(shown - most, 0.0) + max(lacking, -margin)

    def _last_battery_orders(self, now: np.datetime64) -> dict[str, float]:
        """Return what batteries were told to give, less to take, until now; nothing if unknown."""
        if self.interval_control is None or now != self._until:
            return {}
        last = self.interval_control.current_orders
        names = {*last.battery_charge, *last.battery_discharge}
        return {name: -last.net_charge("battery", name) for name in names}

    def _store_expected_import(
        self, settled: float, state: xr.Dataset, now: np.datetime64, given: CurtailmentResult
    ) -> None:
        """Note what may be shown at the end, without surprise, while the plant turns to an import.

        Meters tell the quarter-hour's mean or their newest reading: neither is a surprise. Nor is
        sun beyond the forecast, as far as it may be used.
        """
        before = self._settled if now == self._until else float(net_import(state))
        mean = before + (settled - before) * mean_ramp_fraction(time_axes.METERING_PERIOD_MIN)
        self._settled, self._can_yield = settled, given.reducible > 0.0
        self._foreseen = min(mean, settled) - given.extra, max(mean, settled)
        self._until = now + time_axes.QUARTER_HOUR


def _current_intervals(plan: xr.Dataset, instant: np.datetime64) -> xr.Dataset:
    """Return the interval of a plan that begins at an instant, and the one after it."""
    place = cast(int, plan.variables["time"].to_index().get_loc(instant))
    return plan.isel(time=slice(place, place + 2))
