"""Within a quarter-hour: the meter's mean stays below the peak, the import and water below limits.

The meter averages over the quarter-hour that runs. What sun, wind or jobs did not bring in its
first minutes can be made good in its last ones, before the peak of the billing period is raised.
A plant turns towards new orders slowly, so little of what is ordered late counts in the mean, and
what import does on its way must be foreseen. Batteries do it; where they do not suffice to keep the
connection's limit work is capped; and tanks yield where water gets warm.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from optimizer.dispatch import Orders
from optimizer.realtime.cool_first import cool_first
from optimizer.realtime.easing import Easing
from optimizer.realtime.shave import LEAST, shave
from optimizer.realtime.turning import mean_way
from twin.feasibility.connection import TAPER_RAMP_SHARE
from twin.simulation.limits import SET_POINT_TRANSITION_MIN
from twin.site import Site
from twin.time_axes import METERING_PERIOD_MIN

SOON: Final = 3.0
"""Time for which a rise of the import is expected to go on. [min]"""

UNKNOWN: Final = -1e9
"""Stands for an import that nobody foresaw: any other is above it. [MW]"""

WORTH: Final = 0.05
"""Share of a tank's power from which on another order within the quarter-hour is worth it. [1]"""


@dataclass
class Guard:
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
    begin, settled
        Net import when the quarter-hour began, and expected of what is planned once the plant has
        followed; by default not known. [MW]
    spare
        Battery -> most by which it may be moved, where it holds something for others. [MW]
    least
        What is shaved from the start on, whatever the meter shows. [MW]
    export_limit
        Most that may be given to the grid; below 0 what is to be taken at least. [MW]
    unyielded
        What the plan orders, had no tank yielded; by default what is planned.
    work
        The jobs that may be capped to keep the limit; by default none.
    cut
        What is to be shaved, that from the start included, once the plant has followed. [MW]
    eased
        What of it work is to draw less. [MW]
    """

    site: Site
    planned: Orders
    peak: float
    limit: float = math.inf
    begin: float = math.nan
    settled: float = math.nan
    spare: Mapping[str, float] = field(default_factory=dict)
    least: float = 0.0
    export_limit: float = math.inf
    unyielded: Orders | None = None
    work: Easing | None = None
    cut: float = field(init=False)
    eased: float = field(init=False, default=0.0)
    _excess: float = field(init=False, default=0.0)
    _from: float = field(init=False)
    _since: float = field(init=False, default=0.0)
    _energy: float = field(init=False, default=0.0)
    _asked: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        """Begin with what is shaved already."""
        self.cut = self._from = self.least
        self.unyielded = self.unyielded or self.planned

    @property
    def ordered(self) -> Orders:
        """What is ordered now: what is planned, less the cut."""
        orders, _ = shave(self.planned, self.site, self.cut - self.eased, spare=self.spare)
        return self._less_work(orders, self.eased)[0]

    @property
    def saved(self) -> float:
        """Mean of what is shaved beyond ``least`` over all of it, if nothing changes. [MW]"""
        return self._whole(METERING_PERIOD_MIN) / METERING_PERIOD_MIN

    @property
    def missed(self) -> float:
        """Import that nobody foresaw, by the last look, if work is capped for it. [MW]"""
        return max(self._excess, 0.0) if self.eased > 0.0 else 0.0

    def take_over(self, before: "Guard") -> None:
        """Go on with what was cut before the quarter-hour was decided anew."""
        self._from, self._since = before._from, before._since
        self._energy, self._asked = before._energy, before._asked
        self.cut, self.eased = max(before.cut, self.least), before.eased

    def look(self, *, minutes: float, mean: float, latest: float) -> Orders | None:
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
        Orders or None
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
        coming = latest + rise * mean_way(left, SOON) * SOON
        now = self._cut_at(minutes)
        wanted = max(now + (coming - allowed) / mean_way(left), self.least)
        held = self._held(minutes, mean=mean, latest=latest)
        if math.isfinite(self.settled):
            self._excess = latest + now - max(self._course(minutes), self.settled)
        wanted = min(max(wanted, held), max(self._most(latest + now, minutes), self.least))
        if abs(wanted - self.cut) <= LEAST:
            return None
        orders, shaved = shave(self.planned, self.site, wanted, spare=self.spare)
        orders, eased = self._less_work(orders, min(wanted, held) - shaved)
        if abs(shaved + eased - self.cut) <= LEAST:
            return None
        self._asked = self._asked_by(minutes)
        self._energy = self._whole(minutes)
        self._from, self._since, self.cut, self.eased = now, minutes, shaved + eased, eased
        return orders

    def _held(self, minutes: float, *, mean: float, latest: float) -> float:
        """Return the cut that keeps the limit, however fast the plant follows. [MW]

        Machines may follow at once, as racks do, or over :data:`TRANSITION`. So only what the meter
        shows as room is given back; and a rise counts that both ways of following leave as one.
        """
        now, soon = self._cut_at(minutes), self._course(minutes + SOON)
        rise = 0.0
        if minutes:
            slow = latest + now - self.least - mean - self._whole(minutes) / minutes
            fast = latest + self.cut - self.least - mean - self._asked_by(minutes) / minutes
            rise = max(2.0 * min(slow, fast) / minutes, 0.0)
        going = rise * SOON or soon - self._course(minutes)
        beyond = latest + going - max(self.limit, soon)
        if beyond <= 0.0:
            return max(self.cut, now) + beyond
        return max(self.cut + beyond, now + beyond * SET_POINT_TRANSITION_MIN / SOON)

    def _less_work(self, orders: Orders, cut: float) -> tuple[Orders, float]:
        """Return orders with capped work, and how much less it draws. [MW]"""
        if self.work is None or cut <= LEAST:
            return orders, 0.0
        jobs, eased = self.work.by(cut)
        return replace(orders, jobs=jobs), eased

    def cool(self, water: Mapping[str, float]) -> Orders | None:
        """Return other orders for the rest of the quarter-hour, if water is too warm for them.

        Parameters
        ----------
        water
            Circuit -> its supply water now; where that is not known, nothing yields. [degC]

        Returns
        -------
        Orders or None
            With tanks that charge less or give more, never the other way within the quarter-hour;
            nothing if the orders stand.
        """
        cold, now = cool_first(self.unyielded or self.planned, self.site, water), self.planned
        moved = [
            tank.owner
            for tank in self.site.stores
            if cold.net("tank", tank.owner)
            < now.net("tank", tank.owner) - WORTH * tank.discharge_limit
        ]
        if not moved:
            return None
        charge = {**now.tank_charge, **{n: cold.tank_charge.get(n, 0.0) for n in moved}}
        discharge = {**now.tank_discharge, **{n: cold.tank_discharge.get(n, 0.0) for n in moved}}
        self.planned = replace(now, tank_charge=charge, tank_discharge=discharge)
        return self.ordered

    def _most(self, uncut: float, minutes: float) -> float:
        """Return what may be shaved before more is exported than may be. [MW]"""
        return uncut + self._course(METERING_PERIOD_MIN) - self._course(minutes) + self.export_limit

    def _course(self, minutes: float) -> float:
        """Return the net import that is foreseen by a minute without any cut. [MW]

        Set points move over ten minutes, or as slowly as the connection may follow.
        """
        if not math.isfinite(self.begin + self.settled):
            return UNKNOWN
        change = self.settled - self.begin
        over = max(SET_POINT_TRANSITION_MIN, abs(change) / (TAPER_RAMP_SHARE * self.site.grid.ramp))
        return self.begin + change * min(minutes / over, 1.0)

    def _cut_at(self, minutes: float) -> float:
        """Return what of the cut the plant has made true by a minute. [MW]"""
        way = min((minutes - self._since) / SET_POINT_TRANSITION_MIN, 1.0)
        return self._from + (self.cut - self._from) * way

    def _asked_by(self, until: float) -> float:
        """Return what has been asked beyond ``least`` by a minute. [MW min]"""
        return self._asked + (self.cut - self.least) * max(until - self._since, 0.0)

    def _whole(self, until: float) -> float:
        """Return what is shaved beyond ``least`` by a minute, if nothing changes. [MW min]"""
        span = until - self._since
        if span <= 0.0:
            return self._energy
        turned = (self.cut - self._from) * mean_way(span)
        return self._energy + (self._from - self.least + turned) * span
