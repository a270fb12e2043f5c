"""Control within a metering interval: keep its mean below the peak, and limits in each minute.

The meter averages over the quarter-hour that runs, so that an excess of its first minutes can be
compensated in its last ones. A plant follows its set points slowly; late orders hardly change the
mean, and the import in transition must be predicted. Batteries are used first; if they do not
suffice for the connection's limit, work is capped, which acts sooner than a pause. Tanks charge
less where water is too warm.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np

from optimizer.realtime.orders import DispatchOrders, caps_in_queue_order, limit_tank_charging
from twin.feasibility.connection import TAPER_RAMP_SHARE
from twin.physics import FloatArray
from twin.relations import Store
from twin.simulation.operating_limits import SET_POINT_TRANSITION_MIN
from twin.site import Site
from twin.time_axes import METERING_PERIOD_MIN
from twin.workload.queue import JobQueue, running_power

RISE_LOOKAHEAD_MIN: Final = 3.0
"""Time for which an increase of the import is extrapolated. [min]"""

UNKNOWN_IMPORT_MW: Final = -1e9
"""Placeholder of an unknown expected import, below any real one. [MW]"""

MIN_TANK_CHANGE_SHARE: Final = 0.05
"""Smallest change of a tank order within the quarter-hour, as a share of its power. [1]"""

MIN_SHAVED_POWER_MW: Final = 0.1


@dataclass(frozen=True, kw_only=True)
class LoadShedding:
    """Jobs ordered for a quarter-hour, whose power can be reduced.

    - `caps`: cap of each job as ordered, 0 for jobs that wait. [1]
    """

    queue: JobQueue
    caps: FloatArray

    @classmethod
    def from_orders(cls, queue: JobQueue, jobs: Mapping[int, float]) -> Self:
        """Return the jobs that were ordered by their numbers."""
        return cls(queue=queue, caps=caps_in_queue_order(queue, jobs))

    @property
    def ordered_work_power(self) -> float:
        """Ordered power above idle. [MW]"""
        return running_power(self.queue, self.caps)

    def shed(self, cut: float) -> tuple[dict[int, float], float]:
        """Return caps by job number that reduce the power, and the reduction reached. [MW]

        All jobs are capped, beyond the tolerance of their kinds, since an overloaded connection
        would end all work. No job is paused: a cap loses no checkpoint. `cut` is the reduction
        wanted [MW].
        """
        kinds = self.queue.pool.kinds
        floors = np.array([kind.throughput.power_points[0] for kind in kinds])
        min_caps = np.minimum(floors[self.queue.jobs.kind_index], self.caps)
        max_cut = self.ordered_work_power - running_power(self.queue, min_caps)
        reduction = min(max(cut, 0.0), max_cut)
        caps = self.caps - (self.caps - min_caps) * (reduction / max_cut if max_cut > 0.0 else 0.0)
        on = self.caps > 0.0
        return dict(
            zip(self.queue.jobs.number[on].tolist(), caps[on].tolist(), strict=True)
        ), reduction


@dataclass
class MeteringIntervalControl:
    """Controller of one quarter-hour.

    - `planned_orders`: orders of the plan before shaving, with tanks as corrected so far.
    - `uncharged_mean_import`: mean import that raises no peak. [MW]
    - `import_limit`: import that no minute may exceed once the plant has followed. [MW]
    - `initial_import`, `expected_import`: net import at the start, and expected once the plant has
      followed; NaN if unknown. [MW]
    - `discharge_margin`: Battery -> largest move towards discharge, where it holds reserves. [MW]
    - `shed_from_start`: reduction from the start on, whatever the meter shows. [MW]
    - `export_limit`: largest export; if negative, least import. [MW]
    - `orders_before_tank`: orders of the plan without tank corrections; by default `planned`.
    - `sheddable_jobs`: jobs that may be capped to keep the limit; by default none.
    - `total_reduction`: total reduction once the plant has followed, `shed_from_start` included.
      [MW]
    - `shed_work_power`: the part of it from work. [MW]
    """

    site: Site
    planned_orders: DispatchOrders
    uncharged_mean_import: float
    import_limit: float = math.inf
    initial_import: float = math.nan
    expected_import: float = math.nan
    discharge_margin: Mapping[str, float] = field(default_factory=dict)
    shed_from_start: float = 0.0
    export_limit: float = math.inf
    orders_before_tank: DispatchOrders | None = None
    sheddable_jobs: LoadShedding | None = None
    total_reduction: float = field(init=False)
    shed_work_power: float = field(init=False, default=0.0)
    _excess: float = field(init=False, default=0.0)
    _initial_cut: float = field(init=False)
    _cut_time: float = field(init=False, default=0.0)
    _cut_energy: float = field(init=False, default=0.0)
    _ordered_energy: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        """Start with the initial reduction."""
        self.total_reduction = self._initial_cut = self.shed_from_start
        self.orders_before_tank = self.orders_before_tank or self.planned_orders

    @property
    def current_orders(self) -> DispatchOrders:
        """Orders in force: the plan less the reduction."""
        orders, _ = shave_peak(
            self.planned_orders,
            self.site,
            self.total_reduction - self.shed_work_power,
            discharge_margin=self.discharge_margin,
        )
        return self._with_less_work(orders, self.shed_work_power)[0]

    @property
    def mean_reduction(self) -> float:
        """Mean reduction beyond `shed_from_start` if nothing changes. [MW]"""
        return self._reduction_energy(METERING_PERIOD_MIN) / METERING_PERIOD_MIN

    @property
    def unforeseen_import(self) -> float:
        """Unforeseen import at the last reading, if work is capped for it. [MW]"""
        return max(self._excess, 0.0) if self.shed_work_power > 0.0 else 0.0

    def continue_from(self, before: "MeteringIntervalControl") -> None:
        """Continue with the reduction from before the quarter-hour was planned again."""
        self._initial_cut, self._cut_time = before._initial_cut, before._cut_time
        self._cut_energy, self._ordered_energy = before._cut_energy, before._ordered_energy
        self.total_reduction, self.shed_work_power = (
            max(before.total_reduction, self.shed_from_start),
            before.shed_work_power,
        )

    def adjust_to_meter(
        self, *, minutes: float, mean: float, latest: float
    ) -> DispatchOrders | None:
        """Return new orders for the rest of the quarter-hour, or None if the orders stay.

        Batteries charge less or discharge more; work is capped if the limit requires more than
        batteries have. Reductions are withdrawn when there is room again.

        - `minutes`: minutes that have passed. [min]
        - `mean`, `latest`: mean net import in them, and net import now. [MW]

        With a peak :math:`P`, a mean :math:`m` over :math:`n` minutes and a metering interval
        :math:`N`, the remaining minutes may import :math:`(N P - n m)/(N - n)`. An import that has
        risen evenly rises by :math:`2 (l - m)/n` per minute. No mean helps above the connection's
        limit: the order is large enough that the part effective within :data:`RISE_LOOKAHEAD_MIN`
        suffices.
        """
        left = METERING_PERIOD_MIN - minutes
        if left <= 0.0:
            return None
        allowed = (METERING_PERIOD_MIN * self.uncharged_mean_import - minutes * mean) / left
        rise = max(2.0 * (latest - mean) / minutes, 0.0) if minutes else 0.0
        coming = latest + rise * mean_ramp_fraction(left, RISE_LOOKAHEAD_MIN) * RISE_LOOKAHEAD_MIN
        now = self._cut_at(minutes)
        wanted = max(now + (coming - allowed) / mean_ramp_fraction(left), self.shed_from_start)
        limit_cut = self._limit_reduction(minutes, mean=mean, latest=latest)
        if math.isfinite(self.expected_import):
            self._excess = (
                latest + now - max(self._expected_import_at(minutes), self.expected_import)
            )
        wanted = min(
            max(wanted, limit_cut),
            max(self._max_reduction(latest + now, minutes), self.shed_from_start),
        )
        if abs(wanted - self.total_reduction) <= MIN_SHAVED_POWER_MW:
            return None
        orders, shaved = shave_peak(
            self.planned_orders, self.site, wanted, discharge_margin=self.discharge_margin
        )
        orders, work_cut = self._with_less_work(orders, min(wanted, limit_cut) - shaved)
        if abs(shaved + work_cut - self.total_reduction) <= MIN_SHAVED_POWER_MW:
            return None
        self._ordered_energy = self._ordered_reduction_energy(minutes)
        self._cut_energy = self._reduction_energy(minutes)
        self._initial_cut = now
        self._cut_time = minutes
        self.total_reduction = shaved + work_cut
        self.shed_work_power = work_cut
        return orders

    def _limit_reduction(self, minutes: float, *, mean: float, latest: float) -> float:
        """Return the reduction that keeps the limit, however fast the plant follows. [MW]

        Machines may follow at once, as racks do, or over :data:`SET_POINT_TRANSITION_MIN`.
        Therefore only measured room is given back, and an increase counts only if it exists under
        both assumptions.
        """
        now = self._cut_at(minutes)
        expected_soon = self._expected_import_at(minutes + RISE_LOOKAHEAD_MIN)
        rise = 0.0
        if minutes:
            slow = (
                latest
                + now
                - self.shed_from_start
                - mean
                - self._reduction_energy(minutes) / minutes
            )
            fast = (
                latest
                + self.total_reduction
                - self.shed_from_start
                - mean
                - self._ordered_reduction_energy(minutes) / minutes
            )
            rise = max(2.0 * min(slow, fast) / minutes, 0.0)
        increase = rise * RISE_LOOKAHEAD_MIN or expected_soon - self._expected_import_at(minutes)
        beyond = latest + increase - max(self.import_limit, expected_soon)
        if beyond <= 0.0:
            return max(self.total_reduction, now) + beyond
        return max(
            self.total_reduction + beyond,
            now + beyond * SET_POINT_TRANSITION_MIN / RISE_LOOKAHEAD_MIN,
        )

    def _with_less_work(self, orders: DispatchOrders, cut: float) -> tuple[DispatchOrders, float]:
        """Return orders with capped work, and the reduction of its power. [MW]"""
        if self.sheddable_jobs is None or cut <= MIN_SHAVED_POWER_MW:
            return orders, 0.0
        jobs, work_cut = self.sheddable_jobs.shed(cut)
        return replace(orders, jobs=jobs), work_cut

    def adjust_to_water(self, water: Mapping[str, float]) -> DispatchOrders | None:
        """Return new orders if water is too warm for tank charging, or None if the orders stay.

        Within the quarter-hour tanks only change towards discharge. `water` maps circuits to supply
        temperatures [degC]; circuits without a reading change nothing.
        """
        corrected = limit_tank_charging(
            self.orders_before_tank or self.planned_orders, self.site, water
        )
        now = self.planned_orders
        changed_tanks = [
            tank.owner
            for tank in self.site.stores
            if corrected.net_charge("tank", tank.owner)
            < now.net_charge("tank", tank.owner) - MIN_TANK_CHANGE_SHARE * tank.discharge_limit
        ]
        if not changed_tanks:
            return None
        charge = {
            **now.tank_charge,
            **{n: corrected.tank_charge.get(n, 0.0) for n in changed_tanks},
        }
        discharge = {
            **now.tank_discharge,
            **{n: corrected.tank_discharge.get(n, 0.0) for n in changed_tanks},
        }
        self.planned_orders = replace(now, tank_charge=charge, tank_discharge=discharge)
        return self.current_orders

    def _max_reduction(self, uncut_import: float, minutes: float) -> float:
        """Return the largest reduction within the export limit. [MW]"""
        return (
            uncut_import
            + self._expected_import_at(METERING_PERIOD_MIN)
            - self._expected_import_at(minutes)
            + self.export_limit
        )

    def _expected_import_at(self, minutes: float) -> float:
        """Return the net import expected at a minute without any reduction. [MW]

        Set points change over ten minutes, or as slowly as the connection's ramp limit requires.
        """
        if not math.isfinite(self.initial_import + self.expected_import):
            return UNKNOWN_IMPORT_MW
        change = self.expected_import - self.initial_import
        transition = max(
            SET_POINT_TRANSITION_MIN,
            abs(change) / (TAPER_RAMP_SHARE * self.site.grid_connection.ramp),
        )
        return self.initial_import + change * min(minutes / transition, 1.0)

    def _cut_at(self, minutes: float) -> float:
        """Return the part of the reduction that is effective at a minute. [MW]"""
        progress = min((minutes - self._cut_time) / SET_POINT_TRANSITION_MIN, 1.0)
        return self._initial_cut + (self.total_reduction - self._initial_cut) * progress

    def _ordered_reduction_energy(self, until: float) -> float:
        """Return the reduction ordered beyond `shed_from_start` up to a minute. [MW min]"""
        return self._ordered_energy + (self.total_reduction - self.shed_from_start) * max(
            until - self._cut_time, 0.0
        )

    def _reduction_energy(self, until: float) -> float:
        """Return the effective reduction beyond `shed_from_start` up to a minute. [MW min]"""
        span = until - self._cut_time
        if span <= 0.0:
            return self._cut_energy
        change = (self.total_reduction - self._initial_cut) * mean_ramp_fraction(span)
        return self._cut_energy + (self._initial_cut - self.shed_from_start + change) * span


def mean_ramp_fraction(span: float, over: float = SET_POINT_TRANSITION_MIN) -> float:
    """Return the mean fraction of a linear transition over a time since its start.

    - `span`: that time. [min]
    - `over`: duration of the whole transition. [min]
    """
    return span / (2.0 * over) if span <= over else 1.0 - over / (2.0 * span)


def metered_means(setpoints: FloatArray, *, before: float, since: float = 0.0) -> FloatArray:
    """Return the quarter-hour means that a meter shows while a plant follows set points. [MW]

    In full quarter-hours the mean is :math:`p_i - (p_i - p_{i-1}) / 3`, since a transition takes
    `twin.simulation.operating_limits.SET_POINT_TRANSITION_MIN`.

    - `setpoints`: net import ten minutes after each change, which lasts for the quarter-hour,
      ``(time,)``. [MW]
    - `before`: net import at the first change. [MW]
    - `since`: time of the first quarter-hour that has passed then. [min]
    """
    spans = np.full(len(setpoints), float(METERING_PERIOD_MIN))
    spans[:1] = np.clip(METERING_PERIOD_MIN - since, 0.0, METERING_PERIOD_MIN)
    means = np.empty(len(setpoints))
    begin = before
    for index, (target, span) in enumerate(zip(setpoints.tolist(), spans.tolist(), strict=True)):
        means[index] = (
            begin + (target - begin) * mean_ramp_fraction(span) * span / METERING_PERIOD_MIN
        )
        begin += (target - begin) * min(span / SET_POINT_TRANSITION_MIN, 1.0)
    return means


def shave_peak(
    orders: DispatchOrders,
    site: Site,
    excess: float,
    *,
    discharge_margin: Mapping[str, float] | None = None,
) -> tuple[DispatchOrders, float]:
    """Return orders in which batteries reduce an excess of import, and the reduction. [MW]

    Charging is cut before anything is discharged; the battery's own controller stops an empty one.
    Reserve energy is not used: a missed reserve costs more than a peak.

    - `excess`: import expected above the peak; negative if below. [MW]
    - `discharge_margin`: Battery -> largest move towards discharge, where it holds reserves. [MW]
    """
    left = excess
    charge, discharge = dict(orders.battery_charge), dict(orders.battery_discharge)
    for battery in site.electricity_stores:
        if left > MIN_SHAVED_POWER_MW:
            margin = (discharge_margin or {}).get(battery.owner, left)
            left -= _shift_to_discharge(battery, charge, discharge, min(left, margin))
    if left == excess:
        return orders, 0.0
    shaved = replace(orders, battery_charge=charge, battery_discharge=discharge)
    return shaved, excess - left


def _shift_to_discharge(
    battery: Store, charge: dict[str, float], discharge: dict[str, float], wanted: float
) -> float:
    """Move one battery's orders towards discharge, in place; return the change. [MW]"""
    name = battery.owner
    cut = min(charge.get(name, 0.0), wanted)
    charge[name] = charge.get(name, 0.0) - cut
    free = battery.discharge_limit - discharge.get(name, 0.0) if charge[name] == 0.0 else 0.0
    added = min(wanted - cut, free)
    discharge[name] = discharge.get(name, 0.0) + added
    return cut + added
