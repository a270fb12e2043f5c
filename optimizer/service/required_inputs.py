"""Required inputs of decisions: wait for the first telemetry, and locate missing points."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from threading import Event
from typing import Final

from optimizer.service.clock import ServiceClock
from optimizer.service.plant_link import PlantLink
from optimizer.service.watchdog import PERIODIC_TASK_INTERVAL_S
from telemetry.live.state import LiveState
from telemetry.points.site_points import SitePoint, list_points
from twin.errors import IssueCode, NoScheduleError, StateError, ValidationIssue
from twin.estimation.observer import estimate_state
from twin.site import Site

FIRST_TELEMETRY_TIMEOUT_S: Final = 120.0
"""Longest wait for the first telemetry; a plant sends everything within 100 s. [s]"""


class DecisionInputCheck:
    """Check that readings for the estimate are recent and that the jobs are known.

    - `lacks_inputs`: whether the last decision was made without them.
    """

    def __init__(self, site: Site, plant_link: PlantLink, *, clock: ServiceClock) -> None:
        self._site, self._link, self._clock = site, plant_link, clock
        self._point_locator = MissingPointLocator(site, plant_link.window)
        self.lacks_inputs = False

    def missing_inputs(self) -> str:
        """Return which required input is missing now; empty if none is."""
        try:
            estimate_state(self._site, self._link.observed(self._clock.now()))
        except StateError as error:
            return str(self._point_locator.locate(error))
        return self._link.jobs.missing_queue

    def explain_error(self, error: Exception) -> Exception:
        """Return the error of a missing plan, with the topics or inputs to check."""
        if isinstance(error, StateError):
            return self._point_locator.locate(error)
        if isinstance(error, NoScheduleError) and self.lacks_inputs:
            return NoScheduleError(f"{error}\na possible cause: {self.missing_inputs()}")
        return error

    def wait_for_inputs(self, stop: Event) -> Iterator[str]:
        """Yield what is missing, until nothing is, the timeout is over, or ``stop`` is set."""
        until = time.monotonic() + FIRST_TELEMETRY_TIMEOUT_S
        while (message := self.missing_inputs()) and time.monotonic() < until:
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

    def locate(self, error: StateError) -> StateError:
        """Return an error of ``estimate_state`` with topics as remedies.

        Each remedy names topic, process area and object id, or the clock error of the point.
        """
        return StateError(error.source, [self._fault(fault) for fault in error.issues])

    @cached_property
    def _points(self) -> Mapping[str, SitePoint]:
        """Location of an issue -> the point that measures it."""
        found: dict[str, SitePoint] = {}
        for point in list_points(self._site):
            of = "" if point.meaning.kinds == ("grid",) else f" of {point.label}"
            for name in (point.meaning.variable, point.meaning.reverse_variable):
                found[f"{name}{of}"] = point
        return found

    def _fault(self, fault: ValidationIssue) -> ValidationIssue:
        point = self._points.get(fault.location)
        if point is None or fault.code is not IssueCode.MISSING:
            return fault
        clock_error = self._window.clock_skew.describe_point((point.meaning.variable, point.label))
        if clock_error:
            return replace(
                fault, remedy=f"set the clocks: its timestamps are refused, {clock_error}"
            )
        metadata = point.metadata
        kind = f"{metadata.object_type}/{metadata.point_type}/{self._site.name}"
        area = f"process area {', '.join(metadata.process_area)}, " if metadata.process_area else ""
        remedy = f"expected on BMS/v1/PUB/Value/{kind}/..., {area}object id {metadata.object_id}"
        return replace(fault, remedy=f"no sensor has shown it yet; {remedy}")
