"""What a decision takes from the plant: jobs, set points, and readings that it requires."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from threading import Event
from typing import Final, Protocol

import numpy as np
import xarray as xr

from optimizer.service.clock import TIME_BEFORE_FIRST_TICK, ServiceClock
from optimizer.service.watchdog import PERIODIC_TASK_INTERVAL_S
from telemetry.live.state import LiveState
from telemetry.messages import topics
from telemetry.messages.samples import JobAnnouncements, JobColumns
from telemetry.points.site_points import SitePoint, list_points
from twin.errors import IssueCode, NoScheduleError, StateError, ValidationIssue
from twin.estimation.observer import estimate_state
from twin.physics.numerics import BoolArray
from twin.site import Site
from twin.workload.announced_work import (
    NOTICE_LOCATION,
    AnnouncedWork,
    assess_announced_work,
    merge_announcements,
)
from twin.workload.jobs import ARRIVAL_HISTORY, Announcements, Jobs
from twin.workload.queue import JobQueue, RackPool, open_queue

SETPOINT_REQUEST_VARIABLES: Final = {
    "facility_supply_set_point": "facility_supply_request",
    "facility_range_set_point": "facility_range_request",
    "technology_range_set_point": "technology_range_request",
}
"""Set point of a plan -> variable of the request."""

APPLIED_SETPOINT_VARIABLES: Final = {
    word: request.replace("_request", "_applied")
    for word, request in SETPOINT_REQUEST_VARIABLES.items()
}
"""Set point of a plan -> variable of the set point that the plant applies."""


MAX_JOBS_LISTED: Final = 3
"""Excluded jobs that are named in an alarm. [1]"""


class SchedulerJobs:
    """Jobs of a site from the live state of its scheduler."""

    def __init__(self, site: Site, window: LiveState) -> None:
        self._site, self._window = site, window
        self._arrivals: Jobs | None = None
        self._announcements: Announcements | None = None
        self._merged_list: JobAnnouncements | None = None
        self._announcement_notices: tuple[ValidationIssue, ...] = ()

    def queue(self, now: np.datetime64) -> JobQueue:
        """Return the last reported queue and announcements as of ``now``, without jobs wider than
        the site.

        Raises StateError if no queue was reported yet: a plan without the running jobs would end
        them.
        """
        snapshot = self._window.scheduler.queue
        if snapshot is not None:
            reported = snapshot.queue(self._site)
            return replace(
                reported.select(self._fits(reported.jobs)),
                instant=now,
                announced_work=self._announced_work(now),
            )
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
        """Return the arrivals of the last twelve weeks, from the history and from queues since."""
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

    def _announced_work(self, now: np.datetime64) -> AnnouncedWork | None:
        """Return the work announced by now, weighed by what came; None if none ever was.

        Earlier lists are remembered, since a newer one may leave out what did not come.
        """
        listed, kinds = self._window.scheduler.announcements, self._site.work
        if listed is not None and listed is not self._merged_list:
            self._announcements = merge_announcements(
                self._announcements, listed.announcements(tuple(kinds)), listed.time
            )
            self._merged_list = listed
        if self._announcements is None:
            return None
        found = assess_announced_work(
            self._announcements,
            self.past_arrivals(now),
            now,
            kinds=tuple(kinds.values()),
            racks=self._site.rack_count,
        )
        self._announcement_notices = found.notices
        return found

    def outdated_report_error(self, now: np.datetime64) -> str:
        """Return why reports of the scheduler are outdated; empty if they are not.

        Before a simulated clock starts, ages are unknown.
        """
        return "" if now == TIME_BEFORE_FIRST_TICK else self._window.scheduler.error(now)

    def rejected_orders(self) -> Mapping[str, str]:
        """Return scheduler, hall, ``wide jobs`` or ``announced work`` -> what was rejected or does
        not count.
        """
        found: dict[str, str] = {}
        reason = self._window.scheduler.announcement_reject_reason
        announced = [f"of the lists, {reason}"] if reason else []
        announced += map(str, self._announcement_notices)
        if announced:
            found[NOTICE_LOCATION] = "; ".join(announced)
        status, snapshot = self._window.job_status, self._window.scheduler.queue
        if status is not None and not status.is_applied:
            found["scheduler"] = f"the scheduler rejected the orders for jobs: {status.reason}"
            found["scheduler"] += f" [{status.code}]" if status.code else ""
        for hall, one in sorted(self._window.cap_status.items()):
            if not one.is_applied:
                cap = f"{one.order.power_cap:.4g} MW"
                found[hall] = f"{hall} rejected the cap of {cap}: {one.reason}"
                found[hall] += f" [{one.code}]" if one.code else ""
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


FIRST_TELEMETRY_TIMEOUT_S: Final = 120.0
"""Longest wait for the first telemetry; a plant sends everything within 100 s. [s]"""


class PlantReadings(Protocol):
    """What the check reads: :class:`optimizer.service.plant_link.PlantLink`."""

    window: LiveState
    jobs: SchedulerJobs

    def observed(self, now: np.datetime64) -> xr.Dataset:
        """Return the newest good readings."""


class DecisionInputCheck:
    """Check that readings for the estimate are recent and that the jobs are known.

    - `lacks_inputs`: whether the last decision was made without them.
    """

    def __init__(self, site: Site, plant_link: PlantReadings, *, clock: ServiceClock) -> None:
        self._site, self._link, self._clock = site, plant_link, clock
        self._point_locator = MissingPointLocator(site, plant_link.window)
        self.lacks_inputs = False

    def missing_inputs(self) -> str:
        """Return which required input is missing now; empty if none is."""
        try:
            estimate_state(self._site, self._link.observed(self._clock.now()))
        except StateError as error:
            return str(self._point_locator.error_with_topics(error))
        return self._link.jobs.missing_queue

    def explain_error(self, error: Exception) -> Exception:
        """Return the error of a missing plan, with the topics or inputs to check."""
        if isinstance(error, StateError):
            return self._point_locator.error_with_topics(error)
        if isinstance(error, NoScheduleError) and self.lacks_inputs:
            return NoScheduleError(f"{error}\na possible cause: {self.missing_inputs()}")
        return error

    def wait_for_inputs(self, stop: Event) -> Iterator[str]:
        """Yield what is missing, until nothing is, the timeout is over, or ``stop`` is set."""
        until = self._clock.monotonic() + FIRST_TELEMETRY_TIMEOUT_S
        while (message := self.missing_inputs()) and self._clock.monotonic() < until:
            yield message
            if stop.wait(PERIODIC_TASK_INTERVAL_S):
                return

    def record_input_status(self, *, has_inputs: bool) -> None:
        """Store whether a decision had all required inputs."""
        self.lacks_inputs = not has_inputs and bool(self.missing_inputs())

    def redecide_when_ready(self) -> None:
        """Request a new decision once the inputs that the last one lacked have arrived."""
        if self.lacks_inputs and not self.missing_inputs():
            self.lacks_inputs = False
            self._clock.request_redecision()


class MissingPointLocator:
    """Find the topics on which missing quantities are expected."""

    def __init__(self, site: Site, window: LiveState) -> None:
        self._site, self._window = site, window

    def error_with_topics(self, error: StateError) -> StateError:
        """Return an error of ``estimate_state`` with topics as remedies.

        Each remedy names topic, process area and object id, or the clock error of the point.
        """
        return StateError(error.source, [self._fault(fault) for fault in error.issues])

    @cached_property
    def _points(self) -> Mapping[str, SitePoint]:
        """Location of an issue -> the point that measures it."""
        found: dict[str, SitePoint] = {}
        for point in list_points(self._site):
            of = "" if point.meaning.equipment_kinds == ("grid",) else f" of {point.label}"
            for name in (point.meaning.variable, point.meaning.reverse_variable):
                found[f"{name}{of}"] = point
        return found

    def _fault(self, fault: ValidationIssue) -> ValidationIssue:
        point = self._points.get(fault.location)
        if point is None or fault.code is not IssueCode.MISSING:
            return fault
        clock_error = self._window.clock_skew_tracker.describe_point(
            (point.meaning.variable, point.label)
        )
        if clock_error:
            return replace(
                fault, remedy=f"set the clocks: its timestamps are refused, {clock_error}"
            )
        metadata = point.metadata
        kind = f"{metadata.object_type}/{metadata.point_type}/{self._site.name}"
        area = f"process area {', '.join(metadata.process_area)}, " if metadata.process_area else ""
        remedy = f"expected on BMS/v1/PUB/Value/{kind}/..., {area}object id {metadata.object_id}"
        return replace(fault, remedy=f"no sensor has shown it yet; {remedy}")
