"""Look round for what is wrong, and raise or clear its alarm."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from optimizer.service.fallback import Source
from optimizer.service.outcome import Outcome
from optimizer.service.overrides import Overrides
from optimizer.service.partners.partner_link import PartnerLink
from optimizer.service.plant_link import PlantLink
from optimizer.service.series import Series
from optimizer.service.watching.alarms import Alarms, Severity
from telemetry.points.topology import describe_excluded
from twin.units import format_second

CAUSES: Final[Mapping[str, tuple[Severity, str]]] = {
    "broker": (Severity.HIGH, "see the text; it tries again by itself"),
    "feed": (Severity.MEDIUM, "ask the partner; see its status"),
    "series": (Severity.MEDIUM, "see to whoever writes the files"),
    "archive": (
        Severity.HIGH,
        "see the text; what cannot be kept is not acknowledged, and comes again",
    ),
    "record": (Severity.HIGH, "make room on the disk"),
    "hold": (Severity.HIGH, "make room, or set the clock"),
    "decision": (Severity.HIGH, "see what is missing in the text"),
    "fallback": (Severity.MEDIUM, "see the reason; it tries again"),
    "connection": (
        Severity.MEDIUM,
        "tell the operator of the grid; explain says by how much; the site can do no more",
    ),
    "telemetry": (Severity.MEDIUM, "see to the sensors and clocks named"),
    "jobs": (
        Severity.HIGH,
        "see to the scheduler's agent and its clock; HOLD if jobs are not known",
    ),
    "orders": (Severity.MEDIUM, "see to the agents of scheduler and nodes"),
    "racks": (Severity.MEDIUM, "make plant, cluster and file agree"),
    "machines": (
        Severity.MEDIUM,
        "see to the machines named; plans count on them again when they say so",
    ),
}
"""Cause of an alarm -> how grave it is, and what to do about it; wear tells both itself."""


class Watch:
    """Looks at everything that can be wrong.

    Parameters
    ----------
    link, partners, series, overrides
        What is looked at.
    """

    def __init__(
        self, link: PlantLink, partners: PartnerLink, *, series: Series, overrides: Overrides
    ) -> None:
        self.alarms = Alarms()
        self._link, self._partners = link, partners
        self._series, self._overrides = series, overrides

    def look(self, now: np.datetime64, last: Outcome | None, missing: str) -> None:
        """Raise and clear alarms.

        Parameters
        ----------
        now
            The service's time.
        last
            The last decision.
        missing
            Why there is none for this quarter-hour; empty if there is.
        """
        link = self._link
        link.wear.look(now)
        doubts = link.misdated(now), link.silent(now), *_doubts(last)
        texts = {
            "broker": link.trouble,
            "feed": self._partners.trouble(now),
            "series": self._series.alarm(now),
            "archive": link.archive_trouble,
            "record": self._partners.record_trouble,
            "hold": self._overrides.alarm,
            "decision": missing,
            "fallback": _fallback(last),
            "connection": "; ".join(map(str, last.choice.verdict.forced)) if last else "",
            "telemetry": "; ".join(filter(None, doubts)),
            "jobs": link.jobs.trouble(now) or (link.jobs.unheard if missing else ""),
            "orders": link.jobs.disagreement(),
            "racks": of_racks(link, now),
            "machines": "; ".join(last.absent) if last else "",
        }
        found = {cause: (text, *CAUSES[cause]) for cause, text in texts.items()}
        found["wear"] = link.wear.alarm()
        for cause, (text, severity, mend) in found.items():
            self.alarms.note(cause, text, severity=severity, mend=mend, time=format_second(now))


def _fallback(last: Outcome | None) -> str:
    if last is None or last.choice.source is Source.HOLD:
        return ""
    if last.choice.source is Source.OPTIMUM:
        return last.choice.reason
    return f"the plan is a fallback ({last.choice.source}): {last.choice.reason}"


def of_racks(link: PlantLink, now: np.datetime64) -> str:
    """Return which racks are not acted on, and how names differ; empty if none does."""
    head = describe_excluded(link.racks_apart(now))
    if not head and link.apart.are_strange:
        head = "nothing that is said of racks is understood"
    return f"{head}: {'; '.join(link.apart.words())}" if head else ""


def _doubts(last: Outcome | None) -> tuple[str, ...]:
    return last.estimate.said if last else ()
