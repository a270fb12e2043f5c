"""Jobs as the scheduler reports them: the queue, past arrivals, and errors."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from optimizer.service.clock import NOT_STARTED
from telemetry.live.state import LiveState
from telemetry.messages import topics
from telemetry.messages.samples import JobColumns
from twin.errors import IssueCode, StateError
from twin.physics.numerics import BoolArray
from twin.site import Site
from twin.workload.jobs import ARRIVAL_HISTORY, Jobs
from twin.workload.queue import JobQueue, RackPool, open_queue

MAX_JOBS_LISTED: Final = 3
"""Excluded jobs that are named in an alarm. [1]"""


class SchedulerJobs:
    """Jobs of a site from the live state of its scheduler."""

    def __init__(self, site: Site, window: LiveState) -> None:
        self._site, self._window = site, window
        self._arrivals: Jobs | None = None

    def queue(self, now: np.datetime64) -> JobQueue:
        """Return the last reported queue as of ``now``, without jobs wider than the site.

        Raises StateError if no queue was reported yet: a plan without the running jobs would end
        them.
        """
        snapshot = self._window.scheduler.queue
        if snapshot is not None:
            reported = snapshot.queue(self._site)
            return replace(reported.select(self._fits(reported.jobs)), instant=now)
        if self.missing_queue:
            issue = IssueCode.MISSING.issue(
                "jobs", expected=self.missing_queue, remedy="start the scheduler's agent"
            )
            raise StateError(f"state of {self._site.name}", [issue])
        return open_queue(RackPool.from_site(self._site), _nothing(), now)

    @property
    def missing_queue(self) -> str:
        """Where a missing queue is expected; empty if none is missing or no work is movable."""
        if self._window.scheduler.queue is not None or not self._site.work:
            return ""
        topic = topics.build_topic(topics.TopicKind.JOB_QUEUE, site=self._site.name)
        message = f"the scheduler has reported no queue yet; expected on {topic}"
        return "; ".join(filter(None, (message, self._window.scheduler.reject_reason)))

    def past_arrivals(self, now: np.datetime64) -> Jobs:
        """Return the arrivals of the last two weeks, from the history and from queues since."""
        kinds = tuple(self._site.work)
        history, snapshot = self._window.scheduler.history, self._window.scheduler.queue
        found = [self._arrivals] if self._arrivals else []
        found += [report.jobs.jobs(kinds) for report in (history, snapshot) if report is not None]
        if not found:
            return _nothing()
        joined = found[0]
        for jobs in found[1:]:
            joined = joined.followed_by(jobs.select(~np.isin(jobs.number, joined.number)))
        joined = joined.select(self._fits(joined) & (joined.arrival > now - ARRIVAL_HISTORY))
        self._arrivals = joined.select(np.argsort(joined.arrival, kind="stable"))
        return self._arrivals.arriving_between(now - ARRIVAL_HISTORY, now)

    def error(self, now: np.datetime64) -> str:
        """Return why reports of the scheduler are outdated; empty if they are not.

        Before a simulated clock starts, ages are unknown.
        """
        return "" if now == NOT_STARTED else self._window.scheduler.error(now)

    def rejected_orders(self) -> Mapping[str, str]:
        """Return scheduler, hall or ``wide jobs`` -> rejected orders or excluded jobs."""
        found: dict[str, str] = {}
        status, snapshot = self._window.job_status, self._window.scheduler.queue
        if status is not None and not status.is_applied:
            found["scheduler"] = f"the scheduler rejected the orders for jobs: {status.reason}"
        for hall, one in sorted(self._window.cap_status.items()):
            if not one.is_applied:
                cap = f"{one.order.power_cap:.4g} MW"
                found[hall] = f"{hall} rejected the cap of {cap}: {one.reason}"
        if snapshot is not None:
            jobs = snapshot.jobs
            wide = np.flatnonzero(
                ~self._fits(jobs)
            )  # called ten times a second with thousands of jobs
            named = [
                f"job {jobs.number[at]} of {jobs.racks[at]:.4g}" for at in wide[:MAX_JOBS_LISTED]
            ]
            more = [f"{len(wide) - MAX_JOBS_LISTED} more"] if len(wide) > MAX_JOBS_LISTED else []
            if named:
                listed = ", ".join([*named, *more])
                text = f"jobs wider than the {self._site.rack_count} racks of the site: {listed}"
                found["wide jobs"] = text
        return found

    def _fits(self, jobs: Jobs | JobColumns) -> BoolArray:
        return jobs.racks <= self._site.rack_count


def _nothing() -> Jobs:
    """Return no jobs."""
    return Jobs(
        number=np.empty(0, dtype=np.int64),
        kind_index=np.empty(0, dtype=np.int64),
        arrival=np.empty(0, dtype="datetime64[us]"),
        deadline=np.empty(0, dtype="datetime64[us]"),
        length=np.empty(0),
        racks=np.empty(0),
    )
