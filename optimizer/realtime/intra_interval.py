"""Within a quarter-hour: the meter's mean stays below the peak, the import and water below limits.

The meter averages over the quarter-hour that runs. What sun, wind or jobs did not bring in its
first minutes can be made good in its last ones, before the peak of the billing period is raised.
A plant turns towards new orders slowly, so little of what is ordered late counts in the mean, and
what import does on its way must be foreseen. Batteries do it; where they do not suffice to keep the
connection's limit work is capped; and tanks yield where water gets warm.

What work can yield within a quarter-hour: lower caps, which racks follow sooner than a pause.

How a plant turns from one interval of a plan to the next, and what its meter makes of that.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np

from optimizer.realtime.battery_limits import MIN_SHAVED_POWER_MW, shave_peak
from optimizer.realtime.orders import DispatchOrders, caps_in_queue_order
from optimizer.realtime.tank_priority import apply_tank_priority
from twin.feasibility.connection import TAPER_RAMP_SHARE
from twin.physics import FloatArray
from twin.simulation.limits import SET_POINT_TRANSITION_MIN
from twin.site import Site
from twin.time_axes import METERING_PERIOD_MIN
from twin.workload.queue import JobQueue, running_power

RISE_LOOKAHEAD_MIN: Final = 3.0
"""Time for which a rise of the import is expected to go on. [min]"""

UNKNOWN_IMPORT_MW: Final = -1e9
"""Stands for an import that nobody foresaw: any other is above it. [MW]"""

MIN_TANK_CHANGE_SHARE: Final = 0.05
"""Share of a tank's power from which on another order within the quarter-hour is worth it. [1]"""


@dataclass(frozen=True, kw_only=True)
class LoadShedding:
    """The jobs that were ordered for a quarter-hour, as far as they can do with less.

    Attributes
    ----------
    queue
        The jobs at its start.
    caps
        Cap of each job as ordered, 0 for those that wait. [1]
    """

    queue: JobQueue
    caps: FloatArray

    @classmethod
    def from_orders(cls, queue: JobQueue, jobs: Mapping[int, float]) -> Self:
        """Return what jobs can yield that were ordered by their numbers."""
        return cls(queue=queue, caps=caps_in_queue_order(queue, jobs))

    @property
    def power(self) -> float:
        """Power above idle that was ordered. [MW]"""
        return running_power(self.queue, self.caps)

    def shed(self, cut: float) -> tuple[dict[int, float], float]:
        """Return caps under which the jobs draw less, as far as racks can be capped.

        Parameters
        ----------
        cut
            By how much. [MW]

        Returns
        -------
        tuple of dict and float
            Number of each job that runs -> cap; and by how much less that is. [MW]

        Notes
        -----
        The tolerance of a kind says what slowness is worth while over days; here minutes count, and
        a connection that trips ends all work. So nobody is spared, and nobody paused: a cap costs
        no checkpoint.
        """
        kinds = self.queue.pool.kinds
        floors = np.array([kind.throughput.power_points[0] for kind in kinds])
        least = np.minimum(floors[self.queue.jobs.kind_index], self.caps)
        most = self.power - running_power(self.queue, least)
        less = min(max(cut, 0.0), most)
        eased = self.caps - (self.caps - least) * (less / most if most > 0.0 else 0.0)
        on = self.caps > 0.0
        return dict(zip(self.queue.jobs.number[on].tolist(), eased[on].tolist(), strict=True)), less


@dataclass
class MeteringIntervalControl:
    """Watches one quarter-hour.

    Attributes
    ----------
    site
        The site.
    planned
        What the plan orders, before anything is shaved; tanks as they have yielded so far.
    peak
        Mean import that raises no peak. [MW]
    limit
        Import that no minute may exceed, once the plant has followed. [MW]
    initial_import, expected_import
        Net import when the quarter-hour began, and expected of what is planned once the plant has
        followed; by default not known. [MW]
    discharge_margin
        Battery -> most by which it may be moved, where it holds something for others. [MW]
    initial_shed
        What is shaved from the start on, whatever the meter shows. [MW]
    export_limit
        Most that may be given to the grid; below 0 what is to be taken at least. [MW]
    orders_before_tank
        What the plan orders, had no tank yielded; by default what is planned.
    shedding
        The jobs that may be capped to keep the limit; by default none.
    reduction
        What is to be shaved, that from the start included, once the plant has followed. [MW]
    work_shed
        What of it work is to draw less. [MW]
    """

    site: Site
    planned: DispatchOrders
    peak: float
    limit: float = math.inf
    initial_import: float = math.nan
    expected_import: float = math.nan
    discharge_margin: Mapping[str, float] = field(default_factory=dict)
    initial_shed: float = 0.0
    export_limit: float = math.inf
    orders_before_tank: DispatchOrders | None = None
    shedding: LoadShedding | None = None
    reduction: float = field(init=False)
    work_shed: float = field(init=False, default=0.0)
    _excess: float = field(init=False, default=0.0)
    _from: float = field(init=False)
    _since: float = field(init=False, default=0.0)
    _energy: float = field(init=False, default=0.0)
    _asked: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        """Begin with what is shaved already."""
        self.reduction = self._from = self.initial_shed
        self.orders_before_tank = self.orders_before_tank or self.planned

    @property
    def current_orders(self) -> DispatchOrders:
        """What is ordered now: what is planned, less the cut."""
        orders, _ = shave_peak(
            self.planned,
            self.site,
            self.reduction - self.work_shed,
            discharge_margin=self.discharge_margin,
        )
        return self._less_work(orders, self.work_shed)[0]

    @property
    def mean_reduction(self) -> float:
        """Mean of what is shaved beyond ``least`` over all of it, if nothing changes. [MW]"""
        return self._reduction_energy(METERING_PERIOD_MIN) / METERING_PERIOD_MIN

    @property
    def unforeseen_import(self) -> float:
        """Import that nobody foresaw, by the last look, if work is capped for it. [MW]"""
        return max(self._excess, 0.0) if self.work_shed > 0.0 else 0.0

    def continue_from(self, before: "MeteringIntervalControl") -> None:
        """Go on with what was cut before the quarter-hour was decided anew."""
        self._from, self._since = before._from, before._since
        self._energy, self._asked = before._energy, before._asked
        self.reduction, self.work_shed = max(before.reduction, self.initial_shed), before.work_shed

    def check_meter(self, *, minutes: float, mean: float, latest: float) -> DispatchOrders | None:
        """Return other orders for the rest of the quarter-hour, if others are called for.

        Parameters
        ----------
        minutes
            Minutes that are over. [min]
        mean
            Mean net import in them. [MW]
        latest
            Net import now. [MW]

        Returns
        -------
        DispatchOrders or None
            With batteries that charge less or give more, and work that is capped if the limit asks
            for more than they have, or, where there is room again, as they were ordered at first;
            nothing if the orders stand.

        Notes
        -----
        With a peak :math:`P`, a mean :math:`m` over :math:`n` minutes and a meter that averages
        over :math:`N`, the rest of the quarter-hour may import :math:`(N P - n m)/(N - n)`. An
        import that rose evenly since the start rises by :math:`2 (l - m)/n` in a minute. Beyond the
        limit of the connection no mean helps: there so much is ordered that the part which is true
        in :data:`SOON` suffices, but for what a plant still has above it on its way down.
        """
        left = METERING_PERIOD_MIN - minutes
        if left <= 0.0:
            return None
        allowed = (METERING_PERIOD_MIN * self.peak - minutes * mean) / left
        rise = max(2.0 * (latest - mean) / minutes, 0.0) if minutes else 0.0
        coming = latest + rise * mean_ramp_fraction(left, RISE_LOOKAHEAD_MIN) * RISE_LOOKAHEAD_MIN
        now = self._cut_at(minutes)
        wanted = max(now + (coming - allowed) / mean_ramp_fraction(left), self.initial_shed)
        held = self._limit_reduction(minutes, mean=mean, latest=latest)
        if math.isfinite(self.expected_import):
            self._excess = (
                latest + now - max(self._expected_import_at(minutes), self.expected_import)
            )
        wanted = min(max(wanted, held), max(self._most(latest + now, minutes), self.initial_shed))
        if abs(wanted - self.reduction) <= MIN_SHAVED_POWER_MW:
            return None
        orders, shaved = shave_peak(
            self.planned, self.site, wanted, discharge_margin=self.discharge_margin
        )
        orders, eased = self._less_work(orders, min(wanted, held) - shaved)
        if abs(shaved + eased - self.reduction) <= MIN_SHAVED_POWER_MW:
            return None
        self._asked = self._asked_by(minutes)
        self._energy = self._reduction_energy(minutes)
        self._from, self._since, self.reduction, self.work_shed = (
            now,
            minutes,
            shaved + eased,
            eased,
        )
        return orders

    def _limit_reduction(self, minutes: float, *, mean: float, latest: float) -> float:
        """Return the cut that keeps the limit, however fast the plant follows. [MW]

        Machines may follow at once, as racks do, or over :data:`SET_POINT_TRANSITION_MIN`. So only
        what the meter shows as room is given back; and a rise counts that both ways of following
        leave as one.
        """
        now, soon = self._cut_at(minutes), self._expected_import_at(minutes + RISE_LOOKAHEAD_MIN)
        rise = 0.0
        if minutes:
            slow = (
                latest + now - self.initial_shed - mean - self._reduction_energy(minutes) / minutes
            )
            fast = (
                latest
                + self.reduction
                - self.initial_shed
                - mean
                - self._asked_by(minutes) / minutes
            )
            rise = max(2.0 * min(slow, fast) / minutes, 0.0)
        going = rise * RISE_LOOKAHEAD_MIN or soon - self._expected_import_at(minutes)
        beyond = latest + going - max(self.limit, soon)
        if beyond <= 0.0:
            return max(self.reduction, now) + beyond
        return max(
            self.reduction + beyond, now + beyond * SET_POINT_TRANSITION_MIN / RISE_LOOKAHEAD_MIN
        )

    def _less_work(self, orders: DispatchOrders, cut: float) -> tuple[DispatchOrders, float]:
        """Return orders with capped work, and how much less it draws. [MW]"""
        if self.shedding is None or cut <= MIN_SHAVED_POWER_MW:
            return orders, 0.0
        jobs, eased = self.shedding.shed(cut)
        return replace(orders, jobs=jobs), eased

    def check_water(self, water: Mapping[str, float]) -> DispatchOrders | None:
        """Return other orders for the rest of the quarter-hour, if water is too warm for them.

        Parameters
        ----------
        water
            Circuit -> its supply water now; where that is not known, nothing yields. [degC]

        Returns
        -------
        DispatchOrders or None
            With tanks that charge less or give more, never the other way within the quarter-hour;
            nothing if the orders stand.
        """
        cold, now = (
            apply_tank_priority(self.orders_before_tank or self.planned, self.site, water),
            self.planned,
        )
        moved = [
            tank.owner
            for tank in self.site.stores
            if cold.net_charge("tank", tank.owner)
            < now.net_charge("tank", tank.owner) - MIN_TANK_CHANGE_SHARE * tank.discharge_limit
        ]
        if not moved:
            return None
        charge = {**now.tank_charge, **{n: cold.tank_charge.get(n, 0.0) for n in moved}}
        discharge = {**now.tank_discharge, **{n: cold.tank_discharge.get(n, 0.0) for n in moved}}
        self.planned = replace(now, tank_charge=charge, tank_discharge=discharge)
        return self.current_orders

    def _most(self, uncut: float, minutes: float) -> float:
        """Return what may be shaved before more is exported than may be. [MW]"""
        return (
            uncut
            + self._expected_import_at(METERING_PERIOD_MIN)
            - self._expected_import_at(minutes)
            + self.export_limit
        )

    def _expected_import_at(self, minutes: float) -> float:
        """Return the net import that is foreseen by a minute without any cut. [MW]

        Set points move over ten minutes, or as slowly as the connection may follow.
        """
        if not math.isfinite(self.initial_import + self.expected_import):
            return UNKNOWN_IMPORT_MW
        change = self.expected_import - self.initial_import
        over = max(SET_POINT_TRANSITION_MIN, abs(change) / (TAPER_RAMP_SHARE * self.site.grid.ramp))
        return self.initial_import + change * min(minutes / over, 1.0)

    def _cut_at(self, minutes: float) -> float:
        """Return what of the cut the plant has made true by a minute. [MW]"""
        direction = min((minutes - self._since) / SET_POINT_TRANSITION_MIN, 1.0)
        return self._from + (self.reduction - self._from) * direction

    def _asked_by(self, until: float) -> float:
        """Return what has been asked beyond ``least`` by a minute. [MW min]"""
        return self._asked + (self.reduction - self.initial_shed) * max(until - self._since, 0.0)

    def _reduction_energy(self, until: float) -> float:
        """Return what is shaved beyond ``least`` by a minute, if nothing changes. [MW min]"""
        span = until - self._since
        if span <= 0.0:
            return self._energy
        turned = (self.reduction - self._from) * mean_ramp_fraction(span)
        return self._energy + (self._from - self.initial_shed + turned) * span


def mean_ramp_fraction(span: float, over: float = SET_POINT_TRANSITION_MIN) -> float:
    """Return the mean share made of a way in the time since it began.

    Parameters
    ----------
    span
        That time. [min]
    over
        Time that the whole way takes. [min]
    """
    return span / (2.0 * over) if span <= over else 1.0 - over / (2.0 * span)


def metered_means(setpoints: FloatArray, *, before: float, since: float = 0.0) -> FloatArray:
    """Return the means that a meter shows of quarter-hours towards whose set points a plant turns.

    Parameters
    ----------
    setpoints
        Net import that the plant has reached ten minutes after it began to turn, and keeps until
        the end of the quarter-hour, ``(time,)``. [MW]
    before
        Net import when it begins to turn towards the first. [MW]
    since
        How much of the first quarter-hour is over then, at `before`. [min]

    Returns
    -------
    numpy.ndarray
        Mean net import over each quarter-hour, ``(time,)``. [MW]

    Notes
    -----
    In full quarter-hours the mean is :math:`p_i - (p_i - p_{i-1}) / 3`. The turn takes as long as
    plans and verdicts count on (`twin.simulation.limits.SET_POINT_TRANSITION_MIN`); a plant that
    its ramp keeps from that is a little behind.
    """
    spans = np.full(len(setpoints), float(METERING_PERIOD_MIN))
    spans[:1] = np.clip(METERING_PERIOD_MIN - since, 0.0, METERING_PERIOD_MIN)
    means = np.empty(len(setpoints))
    begin = before
    for place, (goal, span) in enumerate(zip(setpoints.tolist(), spans.tolist(), strict=True)):
        means[place] = (
            begin + (goal - begin) * mean_ramp_fraction(span) * span / METERING_PERIOD_MIN
        )
        begin += (goal - begin) * min(span / SET_POINT_TRANSITION_MIN, 1.0)
    return means
