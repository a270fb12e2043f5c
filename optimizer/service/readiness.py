"""What must be heard before a decision: waits for it, and tells when it is there again.

What nobody has shown: by which point it is expected, and whether its stamps are refused.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from threading import Event
from typing import Final

from optimizer.service.clock import ServiceClock
from optimizer.service.plant_link import PlantLink
from optimizer.service.watchdog import POLL_INTERVAL_S
from telemetry.live.state import LiveState
from telemetry.points.site_points import SitePoint, list_points
from twin.errors import NoScheduleError, StateError, ValidationIssue
from twin.estimation.observer import NEVER_MEASURED, estimate_state
from twin.site import Site

FIRST_TELEMETRY_TIMEOUT_S: Final = 120.0
"""Longest wait for the first telemetry: a plant says everything within 100 s. [s]"""


class ReadinessGate:
    """Fresh readings of all that an estimate needs, and the jobs.

    Parameters
    ----------
    site
        The site.
    link
        What is heard of it.
    clock
        The service's.

    Attributes
    ----------
    is_blind
        Whether the last decision was made without them.
    """

    def __init__(self, site: Site, plant_link: PlantLink, *, clock: ServiceClock) -> None:
        self._site, self._link, self._clock = site, plant_link, clock
        self._point_locator = MissingPointLocator(site, plant_link.window)
        self.lacks_inputs = False

    def missing_inputs(self) -> str:
        """Return what must be known and nobody says now, in words; empty if all is heard."""
        try:
            estimate_state(self._site, self._link.observed(self._clock.now()))
        except StateError as error:
            return str(self._point_locator.locate(error))
        return self._link.jobs.missing_queue

    def explain_error(self, error: Exception) -> Exception:
        """Return why there is no plan, with where to look, and what is not heard besides."""
        if isinstance(error, StateError):
            return self._point_locator.locate(error)
        if isinstance(error, NoScheduleError) and self.lacks_inputs:
            return NoScheduleError(f"{error}\nit may come of this: {self.missing_inputs()}")
        return error

    def wait_for_inputs(self, stop: Event) -> Iterator[str]:
        """Yield what is missing, until nothing is, the longest wait is over, or it is to stop."""
        until = time.monotonic() + FIRST_TELEMETRY_TIMEOUT_S
        while (words := self.missing_inputs()) and time.monotonic() < until:
            yield words
            if stop.wait(POLL_INTERVAL_S):
                return

    def note_decision(self, *, has_inputs: bool) -> None:
        """Take note of a decision: whether enough was known for a plan."""
        self.lacks_inputs = not has_inputs and bool(self.missing_inputs())

    def redecide_when_ready(self) -> None:
        """Have a quarter-hour that was decided blindly decided anew once all is heard again."""
        if self.lacks_inputs and not self.missing_inputs():
            self.lacks_inputs = False
            self._clock.request_redecision()


class MissingPointLocator:
    """Says where to look for what was never measured.

    Parameters
    ----------
    site
        The site.
    window
        What was heard of it.
    """

    def __init__(self, site: Site, window: LiveState) -> None:
        self._site, self._window = site, window

    def locate(self, error: StateError) -> StateError:
        """Return an error about what was never measured, with the topics that would show it.

        Parameters
        ----------
        error
            What :func:`twin.estimation.observer.estimate_state` raised.

        Returns
        -------
        StateError
            The same faults; the remedy of each names topic, process area and object id, or how far
            off the stamps of its point are.
        """
        return StateError(error.source, [self._fault(fault) for fault in error.issues])

    @cached_property
    def _points(self) -> Mapping[str, SitePoint]:
        """Place of a fault -> the point that would show it."""
        found: dict[str, SitePoint] = {}
        for point in list_points(self._site):
            of = "" if point.meaning.kinds == ("grid",) else f" of {point.label}"
            for name in (point.meaning.variable, point.meaning.reverse_variable):
                found[f"{name}{of}"] = point
        return found

    def _fault(self, fault: ValidationIssue) -> ValidationIssue:
        point = self._points.get(fault.location)
        if point is None or not fault.remedy.startswith(NEVER_MEASURED):
            return fault
        off = self._window.clock_skew.describe_point((point.meaning.variable, point.label))
        if off:
            return replace(fault, remedy=f"its stamps are refused: {off}; set the clocks")
        told = point.metadata
        kind = f"{told.object_type}/{told.point_type}/{self._site.name}"
        area = f"process area {', '.join(told.process_area)}, " if told.process_area else ""
        remedy = f"expected on BMS/v1/PUB/Value/{kind}/..., {area}object id {told.object_id}"
        return replace(fault, remedy=f"{NEVER_MEASURED}; {remedy}")
