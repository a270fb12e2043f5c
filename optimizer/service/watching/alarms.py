"""Alarms: what is wrong now, since when, how grave, and what to do about it."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from threading import Lock
from typing import Final

import structlog

logger = structlog.get_logger(__name__)

_NUMBER: Final = re.compile(r"(?<![A-Za-z_])\d[\d.,:TZ-]*")
"""An age, an amount or a time; no number in a name, as that of chiller_2."""


class Severity(StrEnum):
    """How soon somebody has to come, after ISA-18.2."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """One thing that is wrong.

    Attributes
    ----------
    cause
        Word under which the operators' guide has it.
    time
        Since when, UTC.
    severity
        How soon somebody has to come.
    text, mend
        What is wrong, and what to do about it.
    """

    cause: str
    time: str
    severity: Severity
    text: str
    mend: str


class Alarms:
    """All that is wrong now, by a word for each cause; may be used from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._found: dict[str, Alarm] = {}

    def note(self, cause: str, text: str, *, severity: Severity, mend: str, time: str) -> None:
        """Raise the alarm of a cause, or clear it if there is no text.

        Parameters
        ----------
        cause
            Word by which it is known.
        text
            What is wrong; empty clears.
        severity, mend
            How grave, and what to do.
        time
            Now, UTC.
        """
        with self._lock:
            before = self._found.get(cause)
            if not text:
                if self._found.pop(cause, None):
                    logger.info("alarm cleared", cause=cause)
                return
            since = before.time if before else time
            self._found[cause] = Alarm(
                cause=cause, time=since, severity=severity, text=text, mend=mend
            )
        known = _troubles(before.text) if before else set()
        is_new = not _troubles(text) <= known  # many troubles have one cause
        if before is None or before.severity is not severity or is_new:
            logger.warning("alarm", cause=cause, severity=severity.value, text=text, mend=mend)

    def show(self) -> list[Mapping[str, object]]:
        """Return all alarms, the gravest first."""
        order = list(Severity)
        with self._lock:
            found = sorted(self._found.values(), key=lambda alarm: order.index(alarm.severity))
        return [asdict(alarm) for alarm in found]


def _troubles(text: str) -> set[str]:
    """Return what a text tells, without the numbers that change from look to look."""
    return {_NUMBER.sub("", trouble) for trouble in text.split("; ")}
