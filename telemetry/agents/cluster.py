"""The scheduler of a site's racks: it holds the true queue and obeys orders it can check."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from telemetry.agents.placement import Placed
from telemetry.job_samples import (
    JobColumns,
    JobHistory,
    JobOrders,
    JobStatus,
    QueueSnapshot,
)
from telemetry.samples import CapOrder, CapStatus
from twin.equipment import Accelerators
from twin.physics import FloatArray
from twin.site import Site
from twin.workloads.capping import under
from twin.workloads.halls import hall_powers
from twin.workloads.jobs import Workload
from twin.workloads.queue import Pool, Progress, Queue, advance, open_queue

AHEAD: Final = np.timedelta64(5, "s")
"""How far in the future an order may be dated before it is refused."""

NEVER: Final = -1
"""Sequence before the first order."""

MOST_TOLD: Final = 8_000
"""Most jobs of a history: they are within what a broker takes, and who hears it remembers more."""

_SAME: Final = 1e-9  # of a cap or of racks: what is less is rounding


class Cluster:
    """The scheduler.

    Parameters
    ----------
    site
        The site, for its racks and its kinds of work.
    workload
        All jobs of the run, of which none is told before it arrives, and those before.
    start
        First instant. [datetime64, UTC]

    Attributes
    ----------
    queue
        The jobs that are here.
    steps
        Work not yet done after each interval, and what was done in it. [MWh]
    sequence
        Of the last job orders that came, applied or not.
    at_work
        Jobs that ran in the last interval, with the caps that really held.
    """

    def __init__(self, site: Site, workload: Workload, *, start: np.datetime64) -> None:
        self._site, self._workload = site, workload
        self.queue: Queue = open_queue(Pool.of(site), workload.jobs, start)
        self.steps: list[tuple[float, Progress]] = []
        self.sequence = NEVER
        self.at_work: tuple[Placed, ...] = ()
        self._orders: JobOrders | None = None
        self._caps: dict[str, CapOrder] = {}
        self._running: dict[int, float] = {}

    def obey(self, orders: JobOrders, now: np.datetime64) -> JobStatus:
        """Take orders for the jobs, or say why not.

        Parameters
        ----------
        orders
            Which jobs shall run.
        now
            The plant's time. [datetime64, UTC]
        """
        last = self.sequence if self.sequence != NEVER else None
        reason = _outdated(orders, last, now=now)
        if not reason and any(not 0.0 < cap <= 1.0 for cap in orders.caps.values()):
            reason = "a cap is above 0 and at most 1"
        self.sequence = max(self.sequence, orders.sequence)
        if not reason:
            self._orders = orders
        return self._status(orders.sequence, reason, is_applied=not reason)

    def cap(self, order: CapOrder, now: np.datetime64) -> CapStatus:
        """Take a cap of a hall, or say why not."""
        halls = {hall.name: hall for hall in self._site.of(Accelerators)}
        before = self._caps.get(order.hall)
        reason = _outdated(order, before.sequence if before else None, now=now)
        if order.hall not in halls:
            reason = f"there is no such hall; there are {', '.join(halls)}"
        elif not halls[order.hall].idle_power <= _of_all(halls[order.hall], order):
            reason = f"the hall draws {halls[order.hall].idle_power:g} MW when it waits"
        if not reason:
            self._caps[order.hall] = order
        return CapStatus(order=order, is_applied=not reason, reason=reason)

    def caps(self, now: np.datetime64) -> dict[str, float]:
        """Return the caps of halls that are in force: none that has expired. [MW]

        Racks that a cap does not apply to are free to draw what they can.
        """
        halls = {hall.name: hall for hall in self._site.of(Accelerators)}
        return {
            name: _of_all(halls[name], order)
            for name, order in self._caps.items()
            if order.expires > now
        }

    def advance(self, hours: float, service_racks: float) -> tuple[Progress, list[JobStatus]]:
        """Run the jobs for an interval.

        Parameters
        ----------
        hours
            Its length. [h]
        service_racks
            Racks busy with the service. [1]

        Returns
        -------
        tuple
            What was done, and what had to be changed of the orders.

        Notes
        -----
        Without orders in force, what runs goes on at its caps and nothing starts. No more jobs
        run than there are racks, and no hall is led beyond its cap.
        """
        queue, said = self.queue, []
        asked = self._asked()
        fitting = self._fit(asked, self.queue.pool.racks - service_racks)
        if (fitting != asked).any():
            said.append(f"{int((fitting != asked).sum())} jobs wait for racks")
        capped = self._capped(fitting, service_racks)
        lowered = int((capped < fitting - _SAME).sum())
        if lowered:
            said.append(f"caps of {lowered} jobs lowered to keep those of their halls")
        on = capped > 0.0
        columns = (queue.jobs.number[on], queue.jobs.racks[on], capped[on])
        rows = zip(*(column.tolist() for column in columns), strict=True)
        self.at_work = tuple(Placed(number=n, racks=r, cap=c) for n, r, c in rows)
        self._running = {job.number: job.cap for job in self.at_work}
        self.queue, progress = advance(
            queue, self._running, hours=hours, arrivals=self._workload.jobs
        )
        self.steps.append((self.queue.backlog, progress))
        return progress, [self._status(self.sequence, text, is_applied=True) for text in said]

    def _asked(self) -> FloatArray:
        """Return the cap of each job by the orders in force, 0 for those that wait. [1]"""
        orders = self._orders
        is_fresh = orders is not None and orders.expires > self.queue.instant
        caps: Mapping[int, float] = orders.caps if orders and is_fresh else self._running
        return np.array([caps.get(number, 0.0) for number in self.queue.jobs.number.tolist()])

    def _fit(self, caps: FloatArray, racks: float) -> FloatArray:
        """Return caps of no more jobs than there are racks: running ones first, then by laxity."""
        order = np.lexsort((self.queue.laxity, ~self.queue.running))
        wanted = np.where(caps[order] > 0.0, self.queue.jobs.racks[order], 0.0)
        fitting = caps.copy()
        for job, width in zip(order.tolist(), wanted.tolist(), strict=True):
            if width > racks + _SAME:
                fitting[job] = 0.0
            else:
                racks -= width
        return fitting

    def _capped(self, caps: FloatArray, service_racks: float) -> FloatArray:
        """Return caps of jobs under which no hall draws more than its own cap."""
        idle = hall_powers(self._site, work_power=0.0, service_racks=service_racks)
        racks = {hall.name: hall.racks for hall in self._site.of(Accelerators)}
        rooms = [
            (cap - idle[hall]) * self.queue.pool.racks / racks[hall]
            for hall, cap in self.caps(self.queue.instant).items()
        ]
        if not rooms:
            return caps
        kept = np.zeros(len(caps), dtype=bool)
        return under(self.queue, caps, max(min(rooms), 0.0), kept=kept)

    def _status(self, sequence: int, reason: str, *, is_applied: bool) -> JobStatus:
        return JobStatus(
            site=self._site.name, sequence=sequence, is_applied=is_applied, reason=reason
        )

    def snapshot(self) -> QueueSnapshot:
        """Return the queue as it is published."""
        queue = self.queue
        return QueueSnapshot(
            site=self._site.name,
            time=queue.instant,
            jobs=JobColumns.of(queue.jobs, tuple(self._site.work)),
            done=queue.done,
            ran=queue.ran,
            running=queue.running,
        )

    def history(self) -> JobHistory:
        """Return the arrivals of the last two weeks as published, the newest if there are many."""
        now = self.queue.instant
        past = self._workload.past(now)
        told = JobColumns.of(past.take(slice(-MOST_TOLD, None)), tuple(self._site.work))
        return JobHistory(site=self._site.name, time=now, jobs=told)


def _of_all(hall: Accelerators, order: CapOrder) -> float:
    """Return what a hall may draw under a cap, with the racks that it does not apply to. [MW]"""
    return order.power_cap + len(order.without) * hall.rack_power


def _outdated(order: JobOrders | CapOrder, last: int | None, *, now: np.datetime64) -> str:
    """Return why an order is not to be taken for its time or sequence, or ""."""
    if last is not None and order.sequence <= last:
        return f"stale: sequence {order.sequence} is not above {last}"
    if order.expires <= now:
        return f"expired at {order.expires}Z"
    if order.issued > now + AHEAD:
        return f"issued in the future, at {order.issued}Z"
    return ""
