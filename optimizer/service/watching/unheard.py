"""What nobody has shown: by which point it is expected, and whether its stamps are refused."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

from telemetry.live.state import LiveState
from telemetry.points.site_points import SitePoint, list_points
from twin.errors import StateError, ValidationIssue
from twin.estimation.observer import NEVER_MEASURED
from twin.site import Site


class Unheard:
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

    def told(self, error: StateError) -> StateError:
        """Return an error about what was never measured, with the topics that would show it.

        Parameters
        ----------
        error
            What :func:`twin.estimation.observer.estimate_state` raised.

        Returns
        -------
        StateError
            The same faults; the mend of each names topic, process area and object id, or how far
            off the stamps of its point are.
        """
        return StateError(error.source, [self._fault(fault) for fault in error.faults])

    @cached_property
    def _points(self) -> Mapping[str, SitePoint]:
        """Place of a fault -> the point that would show it."""
        found: dict[str, SitePoint] = {}
        for point in list_points(self._site):
            of = "" if point.meaning.kinds == ("grid",) else f" of {point.label}"
            for name in (point.meaning.variable, point.meaning.negative):
                found[f"{name}{of}"] = point
        return found

    def _fault(self, fault: ValidationIssue) -> ValidationIssue:
        point = self._points.get(fault.place)
        if point is None or not fault.mend.startswith(NEVER_MEASURED):
            return fault
        off = self._window.misdated.words_of((point.meaning.variable, point.label))
        if off:
            return replace(fault, mend=f"its stamps are refused: {off}; set the clocks")
        told = point.metadata
        kind = f"{told.object_type}/{told.point_type}/{self._site.name}"
        area = f"process area {', '.join(told.process_area)}, " if told.process_area else ""
        mend = f"expected on BMS/v1/PUB/Value/{kind}/..., {area}object id {told.object_id}"
        return replace(fault, mend=f"{NEVER_MEASURED}; {mend}")
