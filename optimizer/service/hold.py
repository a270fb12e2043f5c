"""HOLD: a person's order to stop optimising, with author, reason and end, stored on disk.

Several persons may hold at once, each with an own end; the site is held while one of them holds. A
HOLD ends only when the clock is past its end and its hours have also passed, so that a wrong clock
ends none. While no service runs or answers, commands write the file for the next start.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Final

import structlog

from optimizer.module_loading import import_without_gc
from optimizer.service.state_folder import StateFolder, read_state_file
from telemetry.files import json_with_checksum, write_atomic
from twin.errors import IssueCode, JournalError, ServiceError, ValidationIssue
from twin.text import format_duration, one_line

MAX_HOLD_H: Final = 24.0 * 31.0
"""Longest HOLD with an end. [h]"""

MAX_HOLD_TEXT_LENGTH: Final = 500
"""Longest name or reason. [characters]"""

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Hold:
    """A person's order to stop optimising.

    - `author`, `reason`: who, and why.
    - `since`, `until`: seconds since 1970, by the wall clock; ``until`` is None without an end. [s]
    - `is_expiry_reported`: whether its expiry was reported; the next start does not report it
      again.
    """

    author: str
    reason: str
    since: float
    until: float | None = None
    is_expiry_reported: bool = field(default=False, compare=False)

    def as_json(self) -> dict[str, object]:
        """Return the row that the file stores."""
        return {
            "author": self.author,
            "reason": self.reason,
            "since": self.since,
            "until": self.until,
            "is_told": self.is_expiry_reported,
        }

    def is_in_force(self, now: float) -> bool:
        """Return whether it has not expired at ``now``. [s]"""
        return self.until is None or now < self.until

    @classmethod
    def combine(cls, holds: Sequence["Hold"]) -> "Hold | None":
        """Return one HOLD that stands for all, until the last ends; None if there is none."""
        if not holds:
            return None
        first, *others = holds
        if not others:
            return first
        ends = [one.until for one in holds]
        return cls(
            author=" and ".join(one.author for one in holds),
            reason="; ".join(f"{one.author}: {one.reason}" for one in holds),
            since=min(one.since for one in holds),
            until=None if None in ends else max(end for end in ends if end is not None),
        )


@dataclass
class TimedHold:
    """A HOLD, and its end by the time that passes in this process.

    - `elapsed_end`: time of the monotonic clock at which its hours have passed; None until it is
      first checked. [s]
    - `is_counted_from_start`: whether its hours were counted from its beginning.
    - `ended_at`: time of the monotonic clock at which both clocks were past its end; None before.
      [s]
    """

    hold: Hold
    elapsed_end: float | None = None
    is_counted_from_start: bool = False
    ended_at: float | None = None

    def is_in_force(self, now: float, moment: float) -> bool:
        """Return whether it is in force by the wall clock ``now`` or by the monotonic clock. [s]"""
        until = self.hold.until
        if until is None:
            return True
        if self.elapsed_end is None:
            self.elapsed_end = moment + min(until - now, until - self.hold.since)
        is_in_force = now < until or moment < self.elapsed_end
        if is_in_force and self.ended_at is not None:
            self.ended_at, self.elapsed_end = None, None  # the clock had been ahead: count again
            self.hold = replace(self.hold, is_expiry_reported=False)
        elif not is_in_force and self.ended_at is None:
            self.ended_at = moment
        return is_in_force

    def is_final(self, moment: float) -> bool:
        """Return whether it has ended for good."""
        return self.ended_at is not None and (
            self.is_counted_from_start or moment - self.ended_at >= EXPIRY_CONFIRMATION_S
        )

    def clock_conflict(self, now: float, moment: float) -> str:
        """Return why it is in force although one clock is past its end; else empty."""
        if self.ended_at is not None or self.elapsed_end is None or self.hold.until is None:
            return ""
        by_clock, to_pass = self.hold.until - now, self.elapsed_end - moment
        if min(by_clock, to_pass) > 0.0 or abs(by_clock - to_pass) <= CLOCK_TOLERANCE_S:
            return ""
        head = f"the HOLD of {self.hold.author} stays in force"
        if by_clock <= 0.0:
            over = f"by the clock it ended {format_duration(-by_clock)} ago"
            return f"{head}: {over}, but {format_duration(to_pass)} of it have not passed"
        left = f"its hours have passed, but by the clock {format_duration(by_clock)} remain"
        return f"{head}: {left}"


class HoldRegister:
    """HOLDs in force, stored in a file so that they survive a restart.

    ``passed`` returns the time of a monotonic clock. [s]

    - `trouble`: why the file does not match what is in force, or empty. The HOLD is in force all
      the same; each later check tries to write again.
    - `clock_conflict`: why a HOLD is in force although one clock is past its end.
    """

    def __init__(self, path: Path, *, passed: Callable[[], float] = time.monotonic) -> None:
        self._path, self._lock, self._passed = path, Lock(), passed
        self._holds = [TimedHold(one) for one in read_holds(path)]
        self._ended, self._is_reinstated = list[Hold](), False
        self.trouble = self.clock_conflict = ""

    def reload(self) -> None:
        """Add HOLDs that were written to the file while the service started."""
        with self._lock:
            known = [one.hold for one in self._holds]
            self._holds += [TimedHold(one) for one in read_holds(self._path) if one not in known]

    def in_force(self, now: float) -> Hold | None:
        """Return the HOLDs in force at ``now`` combined into one, or None. [s since 1970]

        A HOLD ends when the clock is past its end and its hours have passed. After a restart only
        the clock knows how many hours are left: an expired HOLD is stored for some minutes, and is
        in force again if the clock turns out to have been wrong.
        """
        with self._lock:
            moment = self._passed()
            in_force, were_reported = [], [one.hold.is_expiry_reported for one in self._holds]
            for one in self._holds:
                was_over = one.ended_at is not None
                if one.is_in_force(now, moment):
                    in_force.append(one.hold)
                    self._is_reinstated |= was_over
                elif not was_over and not one.hold.is_expiry_reported:
                    self._ended.append(one.hold)
                elif one.hold not in self._ended:  # the caller has reported it
                    one.hold = replace(one.hold, is_expiry_reported=True)
            conflicts = (one.clock_conflict(now, moment) for one in self._holds)
            self.clock_conflict = "; ".join(filter(None, conflicts))
            left = [one for one in self._holds if not one.is_final(moment)]
            if self.trouble or [one.hold.is_expiry_reported for one in left] != were_reported:
                self._store(left)
            return Hold.combine(in_force)

    @property
    def alarm_text(self) -> str:
        """What a person must correct; empty if nothing."""
        return "; ".join(filter(None, (self.trouble, self.clock_conflict)))

    def set_hold(self, *, author: str, reason: str, hours: float | None = None, now: float) -> Hold:
        """Put a HOLD in force; it is on disk at return, or ``trouble`` states why not.

        It replaces an earlier one of the same person, and stands beside those of others. ``hours``
        is None for no end [h]; ``now`` is the wall clock [s since 1970]. Unprintable characters are
        removed. Raises ServiceError if author or reason is empty or too long, or the length is out
        of range.
        """
        author, reason = one_line(author), one_line(reason)
        faults = [
            ValidationIssue(
                code=IssueCode.OUT_OF_RANGE if text else IssueCode.MISSING,
                location=name,
                found=text[:40],
                expected=f"1 to {MAX_HOLD_TEXT_LENGTH} characters",
                remedy=f"give the {name}",
            )
            for name, text in (("author", author), ("reason", reason))
            if not 0 < len(text) <= MAX_HOLD_TEXT_LENGTH
        ]
        if hours is not None and not 0.0 < hours <= MAX_HOLD_H:
            issue = ValidationIssue(
                code=IssueCode.OUT_OF_RANGE,
                location="hours",
                found=str(hours),
                expected=f"above 0 h and at most {MAX_HOLD_H:.0f} h",
                remedy="give another number of hours, or none",
            )
            faults.append(issue)
        if faults:
            raise ServiceError("hold", faults)
        until = None if hours is None else now + hours * 3600.0
        hold = Hold(author=author, reason=reason, since=now, until=until)
        with self._lock:
            lasts = None if hours is None else self._passed() + hours * 3600.0
            others = [one for one in self._holds if one.hold.author != author]
            self._store([*others, TimedHold(hold, lasts, is_counted_from_start=True)])
        return hold

    def take_expired(self) -> list[Hold]:
        """Return HOLDs that have expired and were not returned before."""
        with self._lock:
            found, self._ended = self._ended, []
        return found

    def take_reinstated(self) -> bool:
        """Return, once, whether an expired HOLD is in force again after a wrong clock."""
        with self._lock:
            found, self._is_reinstated = self._is_reinstated, False
        return found

    def require_stored(self) -> None:
        """Raise an error if the HOLDs in force are not on disk.

        Raises ServiceError if the file could not be written.
        """
        if self.trouble:
            issue = ValidationIssue(
                code=IssueCode.FILE_ERROR,
                location=str(self._path),
                found=self.trouble,
                expected="a writable file with free space",
                remedy="free space, or run the command as the service's user",
            )
            raise ServiceError("hold", [issue])

    def release(self) -> Hold | None:
        """End every HOLD and return them as one; None if nobody holds, and the file is left."""
        with self._lock:
            last = Hold.combine([one.hold for one in self._holds if one.ended_at is None])
            if self._holds or self.trouble:
                self._store([])
            self.clock_conflict = ""
        return last

    def _store(self, holds: list[TimedHold]) -> None:
        self._holds = holds
        rows = [one.hold.as_json() for one in holds]
        try:
            write_atomic(self._path, json_with_checksum({"holds": rows}) if rows else "{}")
            self.trouble = ""
        except (OSError, JournalError) as error:
            if not self.trouble:
                logger.warning("HOLD not on disk", is_held=bool(holds), because=str(error))
            self.trouble = f"the HOLD in force is not on disk: {error}"


MAX_TIMESTAMP_S: Final = 1e11
"""Largest accepted timestamp, in the year 5138. [s]"""

CLOCK_TOLERANCE_S: Final = 5.0
"""Difference of the two clocks that is not reported. [s]"""

EXPIRY_CONFIRMATION_S: Final = 600.0
"""Time for which the clock must confirm the end of a HOLD of an earlier process. [s]"""


def read_holds(path: Path) -> tuple[Hold, ...]:
    """Return the HOLDs of a file, and a HOLD of our own if the file is damaged."""
    try:
        if path.read_bytes().strip() == b"{}":
            return ()
    except FileNotFoundError:
        return ()
    except OSError as error:
        logger.warning("HOLD unreadable", because=str(error))
    match read_state_file(path):
        case {"holds": [_, *_] as rows}:
            found = [_of_row(row) for row in rows]
        case row:  # earlier format, of one HOLD
            found = [_of_row(row)]
    # A damaged file must not end a HOLD.
    fallback = Hold(
        author="gigatwin", reason=f"{path.name} is damaged: it may hold a HOLD", since=0.0
    )
    return (*(one for one in found if one), *([] if all(found) else [fallback]))


def _of_row(row: object) -> Hold | None:
    match row:
        case {
            "author": str(author),
            "reason": str(reason),
            "since": float(since),
            "until": None | float() as until,
        } if all(0.0 <= moment < MAX_TIMESTAMP_S for moment in (since, until or since)):
            is_reported = isinstance(row, dict) and row.get("is_told") is True
            return Hold(
                author=author,
                reason=reason,
                since=since,
                until=until,
                is_expiry_reported=is_reported,
            )
    return None


HOLD_FILE: Final = "hold.json"
"""Name of the file in the state folder."""


def place_offline(folder: Path, *, author: str, reason: str, hours: float | None) -> None:
    """Store a HOLD for the next start; see :meth:`HoldRegister.set_hold`.

    Raises ServiceError if an argument is invalid, or the file cannot be written.
    """
    register = HoldRegister(folder / HOLD_FILE)
    hold = register.set_hold(author=author, reason=reason, hours=hours, now=time.time())
    register.require_stored()
    event = {"event": "hold", "author": hold.author, "reason": hold.reason, "hours": hours}
    _record_offline(folder, event)


def read_offline(folder: Path) -> Hold | None:
    """Return the HOLD with which the next start would begin; the file is left as it is."""
    now = time.time()
    return Hold.combine([one for one in read_holds(folder / HOLD_FILE) if one.is_in_force(now)])


def release_offline(folder: Path, *, author: str) -> bool:
    """Release all stored HOLDs; return whether one was in force.

    Raises ServiceError if the file cannot be written.
    """
    register = HoldRegister(folder / HOLD_FILE)
    was_held = register.in_force(time.time()) is not None
    register.release()
    register.require_stored()
    if was_held:
        event = {"event": "release", "author": author, "reason": f"released by {author}"}
        _record_offline(folder, event)
    return was_held


def _record_offline(folder: Path, event: Mapping[str, object]) -> None:
    """Write an event into the audit record, unless a service holds the folder."""
    audit = import_without_gc("optimizer.service.audit")
    path = folder / audit.AUDIT_FILE
    if not path.exists():
        return
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        with StateFolder(folder):
            audit.AuditLog(path).add({**event, "is_offline": True, "time": now})
    except ServiceError:
        return  # an unresponsive service: its decisions record the HOLD
