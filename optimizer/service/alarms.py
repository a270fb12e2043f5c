"""Alarms: definitions, those in force, and the monitor that raises and clears them."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from threading import Lock
from typing import Final

import numpy as np
import structlog

from optimizer.fallback.ladder import ScheduleSource
from optimizer.inputs.live_series import LiveSeries
from optimizer.service.decision_engine import DecisionResult
from optimizer.service.hold import HoldRegister
from optimizer.service.partner_link import PartnerLink
from optimizer.service.plant_link import PlantLink
from optimizer.service.status import Severity
from telemetry.points.topology import describe_excluded
from twin.units import format_second

logger = structlog.get_logger(__name__)

SILENCE_ALARM_PERIODS: Final = 3
"""Repetition periods without a reading after which a point raises the alarm for silence. [1]"""

_AMOUNT_OR_TIME: Final = re.compile(r"(?<![A-Za-z_])\d[\d.,:TZ-]*")
"""Matches an age, an amount or a time, but no digits in a name such as chiller_2."""


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """An alarm in force.

    - `cause`: key of :data:`ALARM_DEFINITIONS`, or ``wear``.
    - `time`: when it was raised, UTC.
    - `severity`: how soon a person must act.
    - `text`, `remedy`: what is wrong, and what to do about it.
    """

    cause: str
    time: str
    severity: Severity
    text: str
    remedy: str


class AlarmList:
    """Alarms in force by cause; usable from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._found: dict[str, Alarm] = {}

    def update(self, cause: str, text: str, *, severity: Severity, remedy: str, time: str) -> None:
        """Raise or update the alarm of a cause; an empty text clears it."""
        with self._lock:
            before = self._found.get(cause)
            if not text:
                if self._found.pop(cause, None):
                    logger.info("alarm cleared", cause=cause)
                return
            since = before.time if before else time
            self._found[cause] = Alarm(
                cause=cause, time=since, severity=severity, text=text, remedy=remedy
            )
        reported = _distinct_problems(before.text) if before else set()
        is_new = not _distinct_problems(text) <= reported  # one cause may have many problems
        if before is None or before.severity is not severity or is_new:
            logger.warning("alarm", cause=cause, severity=severity.value, text=text, remedy=remedy)

    def as_snapshot(self) -> list[Mapping[str, object]]:
        """Return all alarms, the most severe first."""
        order = list(Severity)
        with self._lock:
            found = sorted(self._found.values(), key=lambda alarm: order.index(alarm.severity))
        return [asdict(alarm) for alarm in found]


def _distinct_problems(text: str) -> set[str]:
    """Return the problems in a text without their numbers, which change from check to check."""
    return {_AMOUNT_OR_TIME.sub("", problem) for problem in text.split("; ")}


ALARM_DEFINITIONS: Final[Mapping[str, tuple[Severity, str]]] = {
    "broker": (Severity.HIGH, "check broker and network; the service reconnects by itself"),
    "feed": (Severity.MEDIUM, "ask the partner; the feed shows its status"),
    "series": (Severity.MEDIUM, "check the source of the files"),
    "archive": (
        Severity.HIGH,
        "repair what the text names; unstored data is not acknowledged, and is sent again",
    ),
    "record": (Severity.HIGH, "free space on the disk"),
    "hold": (Severity.HIGH, "free space on the disk, or set the clock"),
    "decision": (Severity.HIGH, "restore what the text names as missing"),
    "fallback": (Severity.MEDIUM, "see the reason; the next quarter-hour is planned again"),
    "connection": (
        Severity.MEDIUM,
        "inform the grid operator; gigatwin explain states the excess; the site can do no more",
    ),
    "telemetry": (Severity.MEDIUM, "check the sensors and clocks named"),
    "jobs": (
        Severity.HIGH,
        "check the scheduler's agent and its clock; place a HOLD if jobs are unknown",
    ),
    "orders": (Severity.MEDIUM, "check the agents of scheduler and nodes"),
    "racks": (Severity.MEDIUM, "align the rack names of plant, cluster and site file"),
    "machines": (
        Severity.MEDIUM,
        "check the machines named; plans use them again when they report availability",
    ),
}
"""Cause of an alarm -> severity and remedy; the drift monitor supplies those of ``wear``."""


class AlarmMonitor:
    """Check connections, series, HOLD, telemetry, jobs and machines, and update the alarms."""

    def __init__(
        self,
        plant_link: PlantLink,
        partner_link: PartnerLink,
        *,
        series: LiveSeries,
        hold_register: HoldRegister,
    ) -> None:
        self.alarms = AlarmList()
        self._link, self._partners = plant_link, partner_link
        self._series, self._hold_register = series, hold_register

    def update(self, now: np.datetime64, last: DecisionResult | None, missing: str) -> None:
        """Raise and clear alarms.

        ``last`` is the last decision; ``missing`` states why this quarter-hour has none, or is
        empty.
        """
        link = self._link
        link.drift_monitor.update(now)
        doubts = (
            link.refused_timestamps(now),
            link.silent_points(now, SILENCE_ALARM_PERIODS),
            *_estimate_warnings(last),
        )
        texts = {
            "broker": link.error,
            "feed": self._partners.error(now),
            "series": self._series.alarm_text(now),
            "archive": link.archive_error,
            "record": self._partners.audit_error,
            "hold": self._hold_register.alarm_text,
            "decision": missing,
            "fallback": _fallback(last),
            "connection": "; ".join(map(str, last.choice.verdict.unavoidable_violations))
            if last
            else "",
            "telemetry": "; ".join(filter(None, doubts)),
            "jobs": link.jobs.error(now) or (link.jobs.missing_queue if missing else ""),
            "orders": link.jobs.rejected_orders(),
            "racks": rack_name_alarm(link, now),
            "machines": "; ".join(last.unavailable) if last else "",
        }
        found = {cause: (text, *ALARM_DEFINITIONS[cause]) for cause, text in texts.items()}
        found["wear"] = link.drift_monitor.alarm()
        for cause, (text, severity, remedy) in found.items():
            self.alarms.update(
                cause, text, severity=severity, remedy=remedy, time=format_second(now)
            )


def _fallback(last: DecisionResult | None) -> str:
    if last is None or last.choice.source is ScheduleSource.HOLD:
        return ""
    if last.choice.source is ScheduleSource.OPTIMUM:
        return last.choice.reason
    return f"the plan is a fallback ({last.choice.source}): {last.choice.reason}"


def rack_name_alarm(plant_link: PlantLink, now: np.datetime64) -> str:
    """Return which racks are excluded and how their names differ; empty if none is."""
    head = describe_excluded(plant_link.excluded_racks(now))
    if not head and plant_link.rack_names.has_no_declared_racks:
        head = "no rack name matches the site file"
    return f"{head}: {'; '.join(plant_link.rack_names.describe())}" if head else ""


def _estimate_warnings(last: DecisionResult | None) -> tuple[str, ...]:
    return last.estimate.messages if last else ()
