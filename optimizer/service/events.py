"""What happened at a site, as a list for people: events of the audit record, read from its end."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np

from optimizer.fallback.ladder import ScheduleSource
from optimizer.service.audit import AuditEvent, read_newest_entries
from telemetry.feed.flex_agent import TargetEvent
from twin.errors import ProblemError
from twin.time_axes import to_utc
from twin.units import format_minute, format_second

CLOCK_MARGIN: Final = np.timedelta64(1, "D")
"""Reading continues this long before the wanted time: a clock may have been set back."""

BY_SERVICE: Final = "service"
"""Author of what no person and no partner did."""


class EventKind(StrEnum):
    """Kind of an event.

    - `OVERRIDE`: an operator takes over or changes a HOLD.
    - `FALLBACK`: a plan by a rule, or an earlier plan.
    - `REFUSAL`: a partner rejects a schedule, or the service a load target.
    """

    ALARM = "alarm"
    ALARM_OFF = "alarm off"
    HOLD = "hold"
    OVERRIDE = "override"
    RELEASE = "release"
    SCHEDULE = "schedule"
    FALLBACK = "fallback"
    NO_PLAN = "no plan"
    ANSWER = "answer"
    REFUSAL = "refusal"
    TARGET = "target"


@dataclass(frozen=True, kw_only=True)
class ServiceEvent:
    """One event; ``revision`` is that of the schedule, or None.

    - `subject`: what it concerns: an alarm with its subject, a HOLD, a partner, a schedule.
    - `author`: who did it: a person, a partner, or the service.
    """

    time: np.datetime64
    kind: EventKind
    subject: str
    text: str
    author: str = BY_SERVICE
    revision: int | None = None

    def as_json(self) -> dict[str, object]:
        """Return the event with JSON values; its time is UTC."""
        return {
            "time": format_second(self.time),
            "kind": self.kind.value,
            "subject": self.subject,
            "text": self.text,
            "author": self.author,
            "revision": self.revision,
        }


@dataclass(frozen=True, kw_only=True)
class EventGroup:
    """Equal events that follow each other: the first and the last of them, and their number."""

    first: ServiceEvent
    last: ServiceEvent
    count: int


@dataclass(frozen=True, kw_only=True)
class RecordedEvents:
    """Events of a period, oldest first.

    - `damages`: places of lines that do not match their hashes; their events are listed.
    - `newest`: time of the newest entry of the record, also outside the period; None without one.
    """

    events: tuple[ServiceEvent, ...]
    damages: tuple[str, ...]
    newest: np.datetime64 | None

    def groups(self) -> list[EventGroup]:
        """Return runs of events that differ only in time and revision, such as those of plans.

        Schedules and their answers alternate, so each author has a run; any other event ends all.
        """
        found: list[EventGroup] = []
        runs: dict[str, int] = {}  # author -> index of its run
        for event in self.events:
            index = runs.get(event.author)
            if index is not None and _is_repeated(found[index].last, event):
                run = found[index]
                found[index] = replace(run, last=event, count=run.count + 1)
                continue
            if event.revision is None:
                runs.clear()
            runs[event.author] = len(found)
            found.append(EventGroup(first=event, last=event, count=1))
        return found


def _is_repeated(before: ServiceEvent, event: ServiceEvent) -> bool:
    return replace(before, time=event.time, revision=event.revision) == event


def read_events(path: Path, *, since: np.datetime64, until: np.datetime64) -> RecordedEvents:
    """Return the events of a record from one time to another, both included, UTC.

    Only the end of the record is read, as far as a day before ``since``. An entry without a time
    has that of the entry before it.
    """
    events = _Collected()
    damages: list[str] = []
    for entry in read_newest_entries(path):
        damages += [entry.damage] if entry.damage else []
        time = events.add(entry.content)
        if time is not None and time < since - CLOCK_MARGIN:
            break
    within = [one for one in reversed(events.dated) if since <= one.time <= until]
    return RecordedEvents(
        events=tuple(sorted(within, key=lambda one: one.time)),
        damages=tuple(reversed(damages)),
        newest=events.newest,
    )


@dataclass
class _Collected:
    """Events, newest first; those without a time wait for the time of the entry before them."""

    dated: list[ServiceEvent] = field(default_factory=list)
    waiting: list[Mapping[str, object]] = field(default_factory=list)
    newest: np.datetime64 | None = None

    def add(self, content: Mapping[str, object]) -> np.datetime64 | None:
        """Add the event of an entry, and return its time; None if it has none."""
        time = _time_of(content)
        if time is None:
            self.waiting.append(content)
            return None
        self.newest = self.newest or time
        for one in (*self.waiting, content):
            event = _event(one, time)
            self.dated += [event] if event else []
        self.waiting.clear()
        return time


def _time_of(content: Mapping[str, object]) -> np.datetime64 | None:
    """Return the service's time of an entry."""
    for key in ("received", "time", "start"):
        try:
            return to_utc(str(content[key]))
        except (KeyError, ProblemError):  # `time` of an answer is a number, by the partner's clock
            continue
    return None


def _event(content: Mapping[str, object], time: np.datetime64) -> ServiceEvent | None:
    """Return the event of an entry; None if it is of an unknown kind."""
    describe = _DESCRIPTIONS.get(str(content.get("event")))
    return None if describe is None else describe(_Fields(content), time)


class _Fields:
    """Values of an entry as texts; those that are missing are empty."""

    def __init__(self, content: Mapping[str, object]) -> None:
        self._content = content

    def __call__(self, name: str) -> str:
        value = self._content.get(name)
        return "" if value is None else str(value)

    def is_true(self, name: str) -> bool:
        """Return whether the value is true."""
        return self._content.get(name) is True

    def items(self, name: str) -> Sequence[object]:
        """Return the items of a list."""
        value = self._content.get(name)
        return value if isinstance(value, list) else []

    def rows(self, name: str) -> list["_Fields"]:
        """Return the objects of a list."""
        return [_Fields(one) for one in self.items(name) if isinstance(one, Mapping)]


def _alarm(entry: _Fields, time: np.datetime64) -> ServiceEvent:
    is_off = entry("event") == AuditEvent.ALARM_CLEARED
    kind = EventKind.ALARM_OFF if is_off else EventKind.ALARM
    text = entry("text") if is_off else f"{entry('severity')}: {entry('text')}"
    return ServiceEvent(time=time, kind=kind, subject=entry("id"), text=text)


def _hold(entry: _Fields, time: np.datetime64) -> ServiceEvent:
    """Return a HOLD, its takeover, or its end; an end by its hours has no author."""
    event = AuditEvent(entry("event"))
    kinds = {AuditEvent.HOLD: EventKind.HOLD, AuditEvent.REPLACE: EventKind.OVERRIDE}
    kind = kinds.get(event, EventKind.RELEASE)
    parts = [entry("reason")]
    if event is AuditEvent.RELEASE and entry("of"):
        parts = [f"placed by {entry('of')}"]
    parts += [f"for {float(entry('hours')):g} h"] if entry("hours") else []
    parts += ["without a running service"] if entry.is_true("is_offline") else []
    return ServiceEvent(
        time=time,
        kind=kind,
        subject=f"HOLD {entry('hold')}".strip(),
        text=", ".join(filter(None, parts)),
        author=entry("author") or BY_SERVICE,
    )


_SOURCE_TEXTS: Final[Mapping[str, str]] = {
    ScheduleSource.OPTIMUM: "optimised",
    ScheduleSource.SHIFTED: "the last plan goes on",
    ScheduleSource.RULE: "by a rule",
    ScheduleSource.HOLD: "under HOLD",
}


def _decision(entry: _Fields, time: np.datetime64) -> ServiceEvent:
    """Return a schedule, or a fallback; in shadow mode nothing is published."""
    source = entry("source")
    is_fallback = source in {ScheduleSource.SHIFTED, ScheduleSource.RULE}
    is_shadow = entry.is_true("is_shadow")
    text = _SOURCE_TEXTS.get(source, source) + (
        ", not published (shadow mode)" if is_shadow else ""
    )
    reason = "" if source == ScheduleSource.HOLD else entry("degraded") or entry("reason")
    return ServiceEvent(
        time=time,
        kind=EventKind.FALLBACK if is_fallback else EventKind.SCHEDULE,
        subject="plan" if is_shadow else "schedule",
        text=f"{text}: {reason}" if reason else text,
        revision=None if is_shadow or not entry("revision") else int(entry("revision")),
    )


def _no_plan(entry: _Fields, time: np.datetime64) -> ServiceEvent:
    return ServiceEvent(
        time=time, kind=EventKind.NO_PLAN, subject="schedule", text=entry("degraded")
    )


def _answer(entry: _Fields, time: np.datetime64) -> ServiceEvent:
    """Return a partner's answer to a schedule."""
    is_accepted = entry("code") == "A01"
    reasons = ", ".join(f"{one('code')} {one('text')}".strip() for one in entry.rows("reasons"))
    text = "accepted" if is_accepted else "rejected"
    return ServiceEvent(
        time=time,
        kind=EventKind.ANSWER if is_accepted else EventKind.REFUSAL,
        subject="schedule",
        text=f"{text}: {reasons}" if reasons and not is_accepted else text,
        author=entry("partner"),
        revision=int(entry("revision")) if entry("revision") else None,
    )


def _target(entry: _Fields, time: np.datetime64) -> ServiceEvent:
    """Return load targets of a partner: accepted, refused by the service, or for other feeds."""
    subject = f"load target {entry('correlation')}".strip()
    match entry("event"):
        case TargetEvent.REFUSED:
            text = entry("reason")
            return ServiceEvent(
                time=time,
                kind=EventKind.REFUSAL,
                subject=subject,
                text=f"from {entry('partner')}: {text}",
            )
        case TargetEvent.FOR_OTHERS:
            text = f"for other feeds: {', '.join(map(str, entry.items('feeds')))}"
        case _:
            text = "; ".join(map(_describe_target, entry.rows("targets")))
    return ServiceEvent(
        time=time,
        kind=EventKind.TARGET,
        subject=subject,
        text=text,
        author=entry("partner"),
    )


def _describe_target(target: _Fields) -> str:
    power = f"at most {target('power_mw')} MW" if target("power_mw") else "no limit"
    start, end = (text and _minute(text) for text in (target("start"), target("end")))
    return f"{power} from {start} {f'until {end}' if end else 'until further notice'}"


def _minute(text: str) -> str:
    try:
        return format_minute(to_utc(text))
    except ProblemError:  # of an edited line
        return text


_DESCRIPTIONS: Final[Mapping[str, Callable[[_Fields, np.datetime64], ServiceEvent]]] = {
    AuditEvent.ALARM: _alarm,
    AuditEvent.ALARM_CLEARED: _alarm,
    AuditEvent.HOLD: _hold,
    AuditEvent.REPLACE: _hold,
    AuditEvent.RELEASE: _hold,
    AuditEvent.DECISION: _decision,
    AuditEvent.NO_PLAN: _no_plan,
    AuditEvent.ACKNOWLEDGEMENT: _answer,
    TargetEvent.TAKEN: _target,
    TargetEvent.REFUSED: _target,
    TargetEvent.FOR_OTHERS: _target,
}
