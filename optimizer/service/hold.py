"""HOLD: a person's order to stop optimising, with number, author, reason and end, on disk.

Several HOLDs may be in force at once; the site is held while one is. Each is placed, replaced and
released by its own number. A HOLD with an end awaits a person's release after it, unless it was
placed to end by itself: then it ends when the clock is past its end and its hours have also passed,
so that a wrong clock ends none. While no service runs or answers, commands write the file for the
next start. A folder with other state and without this file was restored without its HOLDs, so it is
held.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Final

import structlog

from optimizer.module_loading import import_without_gc
from optimizer.service.operators import Requester, describe_author, require_operator
from optimizer.service.state_folder import StateFolder, read_state_file
from telemetry.files import json_with_checksum, write_atomic
from twin.errors import IssueCode, JournalError, ServiceError, ValidationIssue
from twin.text import format_duration, one_line

MAX_HOLD_H: Final = 24.0 * 31.0
"""Longest HOLD with an end. [h]"""

MAX_HOLD_TEXT_LENGTH: Final = 500
"""Longest name or reason. [characters]"""

PENDING_REASON: Final = "pending"
"""Reason of a HOLD for which none is given yet."""

END_WARNING_S: Final = 900.0
"""Time before the end of a HOLD from which on it is announced. [s]"""

SERVICE_AUTHOR: Final = "gigatwin"
"""Author of a HOLD that no person placed."""

STATE_NAMES: Final = ("audit.jsonl", "feed", "orders.json", "record.json", "targets.json")
"""Names in a state folder that only a service that ran there, or a backup of it, has left."""

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Hold:
    """A person's order to stop optimising.

    - `number`: names it in one state folder; never given twice. 0: several, combined.
    - `author`, `reason`: who, and why.
    - `since`, `until`: seconds since 1970, by the wall clock; ``until`` is None without an end. [s]
    - `is_self_ending`: whether it ends by itself at ``until``; otherwise it awaits a person.
    - `is_expiry_reported`: whether its expiry was reported; the next start does not report it
      again.
    """

    number: int = 0
    author: str
    reason: str
    since: float
    until: float | None = None
    is_self_ending: bool = False
    is_expiry_reported: bool = field(default=False, compare=False)

    def as_json(self) -> dict[str, object]:
        """Return the row that the file stores."""
        return {
            "number": self.number,
            "author": self.author,
            "reason": self.reason,
            "since": self.since,
            "until": self.until,
            "is_self_ending": self.is_self_ending,
            "is_told": self.is_expiry_reported,
        }

    def is_in_force(self, now: float) -> bool:
        """Return whether it has not expired at ``now``. [s]"""
        return self.until is None or not self.is_self_ending or now < self.until

    def end_notice(self, now: float) -> str:
        """Return that its end is near, or past and awaits a person; else empty. [s]"""
        if self.until is None:
            return ""
        left, name = self.until - now, f"HOLD {self.number} of {self.author}"
        if left > min(END_WARNING_S, (self.until - self.since) / 2.0):
            return ""
        if left > 0.0:
            then = "planning then resumes" if self.is_self_ending else "it then awaits a person"
            return f"{name} reaches its end in {format_duration(left)}; {then}"
        if self.is_self_ending:
            return ""
        over = format_duration(-left)
        return f"{name} reached its end {over} ago and stays in force until a person releases it"

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
            is_self_ending=all(one.is_self_ending for one in holds),
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
        if until is None or not self.hold.is_self_ending:
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
        head = f"HOLD {self.hold.number} of {self.hold.author} stays in force"
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
        stored, self._last_number = read_holds(path)
        self._holds = [TimedHold(one) for one in stored]
        self._ended, self._is_reinstated = list[Hold](), False
        self.trouble = self.clock_conflict = ""

    @property
    def folder(self) -> Path:
        """State folder of the file."""
        return self._path.parent

    def create_file(self) -> None:
        """Write the file if there is none, so that a folder without it is a restored one."""
        with self._lock:
            if not self._path.exists():
                self._store(self._holds)

    def reload(self) -> None:
        """Add HOLDs that were written to the file while the service started."""
        with self._lock:
            known = [one.hold.number for one in self._holds]
            stored, last = read_holds(self._path)
            self._holds += [TimedHold(one) for one in stored if one.number not in known]
            self._last_number = max(self._last_number, last)

    def in_force(self, now: float) -> Hold | None:
        """Return the HOLDs in force at ``now`` combined into one, or None. [s since 1970]"""
        return Hold.combine(self.all_in_force(now))

    def all_in_force(self, now: float) -> tuple[Hold, ...]:
        """Return each HOLD in force at ``now``, the oldest first. [s since 1970]

        A self-ending HOLD ends when the clock is past its end and its hours have passed. After a
        restart only the clock knows how many hours are left: an expired HOLD is stored for some
        minutes, and is in force again if the clock turns out to have been wrong.
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
            return tuple(in_force)

    def end_notices(self, now: float) -> dict[str, str]:
        """Return by HOLD that its end is near, or past and awaits a person. [s since 1970]"""
        notices = {f"HOLD {one.number}": one.end_notice(now) for one in self.all_in_force(now)}
        return {name: text for name, text in notices.items() if text}

    @property
    def alarm_text(self) -> str:
        """What a person must correct; empty if nothing."""
        return "; ".join(filter(None, (self.trouble, self.clock_conflict)))

    def set_hold(
        self,
        *,
        author: str,
        reason: str,
        hours: float | None = None,
        is_self_ending: bool = False,
        now: float,
    ) -> Hold:
        """Put a further HOLD in force; it is on disk at return, or ``trouble`` states why not.

        An empty reason is pending. ``hours`` is None for no end [h]; ``now`` is the wall clock
        [s since 1970]. Unprintable characters are removed. Raises ServiceError if the author is
        missing, a text is too long, or the length is out of range.
        """
        author, reason = one_line(author), one_line(reason) or PENDING_REASON
        faults = [*_text_faults({"author": author, "reason": reason}), *_length_faults(hours)]
        if is_self_ending and hours is None:
            faults.append(
                ValidationIssue(
                    code=IssueCode.INCONSISTENT,
                    location="hours",
                    found="none",
                    expected="a length, since the HOLD ends by itself",
                    remedy="give the hours, or let the HOLD await a release",
                )
            )
        if faults:
            raise ServiceError("hold", faults)
        until = None if hours is None else now + hours * 3600.0
        with self._lock:
            self._last_number += 1
            hold = Hold(
                number=self._last_number,
                author=author,
                reason=reason,
                since=now,
                until=until,
                is_self_ending=is_self_ending,
            )
            self._store([*self._holds, self._timed(hold, hours)])
        return hold

    def replace_hold(
        self, number: int, *, author: str, reason: str, hours: float | None, now: float
    ) -> tuple[Hold, Hold]:
        """Make one HOLD that of another author, reason or end; return it before and after.

        An empty reason and ``hours`` None leave these as they are. [h] Raises ServiceError if no
        such HOLD is in force, or a value is invalid.
        """
        reason = one_line(reason)
        texts = {"author": one_line(author)} | ({"reason": reason} if reason else {})
        if faults := [*_text_faults(texts), *_length_faults(hours)]:
            raise ServiceError("hold", faults)
        with self._lock:
            timed = self._find(number)
            before, rest = timed.hold, [one for one in self._holds if one is not timed]
            after = replace(before, author=one_line(author), reason=reason or before.reason)
            if hours is None:
                changed = replace(timed, hold=after)
            else:
                changed = self._timed(replace(after, until=now + hours * 3600.0), hours)
            self._store(sorted([*rest, changed], key=lambda one: one.hold.number))
        return before, after if hours is None else changed.hold

    def release(self, number: int) -> Hold:
        """End one HOLD and return it; the others stay in force.

        Raises ServiceError if no such HOLD is in force.
        """
        with self._lock:
            released = self._find(number)
            self._store([one for one in self._holds if one is not released])
        return released.hold

    def _timed(self, hold: Hold, hours: float | None) -> TimedHold:
        """Return a HOLD whose hours are counted from now on. [h]"""
        end = None if hours is None else self._passed() + hours * 3600.0
        return TimedHold(hold, end, is_counted_from_start=True)

    def _find(self, number: int) -> TimedHold:
        """Return the HOLD in force with a number."""
        in_force = [one for one in self._holds if one.ended_at is None]
        for one in in_force:
            if one.hold.number == number:
                return one
        names = [f"{one.hold.number} of {one.hold.author}" for one in in_force]
        issue = ValidationIssue(
            code=IssueCode.UNKNOWN_NAME,
            location="HOLD",
            found=str(number),
            expected=f"the number of a HOLD in force: {', '.join(names) or 'there is none'}",
            remedy="see gigatwin status or the page for those in force",
        )
        raise ServiceError("hold", [issue])

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

    def _store(self, holds: list[TimedHold]) -> None:
        self._holds = holds
        rows = [one.hold.as_json() for one in holds]
        content = {"holds": rows, "last_number": self._last_number}
        try:
            write_atomic(self._path, json_with_checksum(content))
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


def read_holds(path: Path) -> tuple[tuple[Hold, ...], int]:
    """Return the HOLDs of a file, and the last number given.

    A HOLD of our own stands for what a damaged file, or one that a restore lacks, may contain.
    """
    try:
        if path.read_bytes().strip() == b"{}":  # earlier format without a HOLD
            return (), 0
    except FileNotFoundError:
        return _of_missing_file(path)
    except OSError as error:
        logger.warning("HOLD unreadable", because=str(error))
    content = read_state_file(path)
    last = content.get("last_number")
    last_number = last if isinstance(last, int) else 0
    match content:
        case {"holds": [], "last_number": int()}:
            return (), last_number
        case {"holds": [_, *_] as rows}:
            found = [_of_row(row) for row in rows]
        case row:  # earlier format, of one HOLD
            found = [_of_row(row)]
    holds = [one for one in found if one]
    if not all(found):  # a damaged file must not end a HOLD
        reason = f"{path.name} is damaged: it may hold a HOLD"
        holds.append(Hold(author=SERVICE_AUTHOR, reason=reason, since=0.0))
    last_number = max([last_number, *(one.number for one in holds)])
    for place, one in enumerate(holds):
        if one.number == 0:  # earlier format without numbers
            last_number += 1
            holds[place] = replace(one, number=last_number)
    return tuple(holds), last_number


def _of_missing_file(path: Path) -> tuple[tuple[Hold, ...], int]:
    """Return a HOLD of our own if the folder has other state, so that it may be a restored one."""
    left = [name for name in STATE_NAMES if (path.parent / name).exists()]
    if not left:
        return (), 0
    reason = (
        f"{path.name} is missing beside {left[0]}: the state may be restored without its HOLDs; "
        "check with those who held the site, then release this HOLD"
    )
    return (Hold(number=1, author=SERVICE_AUTHOR, reason=reason, since=time.time()),), 1


def _of_row(row: object) -> Hold | None:
    match row:
        case {
            "author": str(author),
            "reason": str(reason),
            "since": float(since),
            "until": None | float() as until,
            **others,
        } if all(0.0 <= moment < MAX_TIMESTAMP_S for moment in (since, until or since)):
            number = others.get("number", 0)
            is_timed = until is not None  # a timed HOLD of the earlier format ended by itself
            return Hold(
                number=number if isinstance(number, int) else 0,
                author=author,
                reason=reason,
                since=since,
                until=until,
                is_self_ending=others.get("is_self_ending", is_timed) is True,
                is_expiry_reported=others.get("is_told") is True,
            )
    return None


def _text_faults(texts: Mapping[str, str]) -> list[ValidationIssue]:
    """Return the texts of a HOLD that are empty or too long."""
    return [
        ValidationIssue(
            code=IssueCode.OUT_OF_RANGE if text else IssueCode.MISSING,
            location=name,
            found=text[:40],
            expected=f"1 to {MAX_HOLD_TEXT_LENGTH} characters",
            remedy=f"give the {name}",
        )
        for name, text in texts.items()
        if not 0 < len(text) <= MAX_HOLD_TEXT_LENGTH
    ]


def _length_faults(hours: float | None) -> list[ValidationIssue]:
    """Return that the length of a HOLD is out of range, or nothing. [h]"""
    if hours is None or 0.0 < hours <= MAX_HOLD_H:
        return []
    issue = ValidationIssue(
        code=IssueCode.OUT_OF_RANGE,
        location="hours",
        found=str(hours),
        expected=f"above 0 h and at most {MAX_HOLD_H:.0f} h",
        remedy="give another number of hours, or none",
    )
    return [issue]


HOLD_FILE: Final = "hold.json"
"""Name of the file in the state folder."""


def order_event(
    event: str, hold: Hold, requester: Requester, **fields: object
) -> dict[str, object]:
    """Return the audit entry of an order; the author is the person who gives it."""
    named = {"hold": hold.number, "author": hold.author, "reason": hold.reason}
    return {"event": event} | named | fields | requester.audit_fields()


def release_event(hold: Hold, operator: str, requester: Requester) -> dict[str, object]:
    """Return the audit entry of a release, with the operator and the author of the HOLD."""
    released = replace(hold, author=operator, reason=f"released by {operator}")
    return order_event("release", released, requester, of=hold.author)


def place_offline(
    folder: Path,
    *,
    requester: Requester,
    author: str = "",
    reason: str = "",
    hours: float | None = None,
    is_self_ending: bool = False,
) -> Hold:
    """Store a HOLD for the next start; see :meth:`HoldRegister.set_hold`.

    ``author`` is the name that the person states. Raises ServiceError if an argument is invalid,
    or the file cannot be written.
    """
    register = HoldRegister(folder / HOLD_FILE)
    hold = register.set_hold(
        author=describe_author(folder, requester, one_line(author)),
        reason=reason,
        hours=hours,
        is_self_ending=is_self_ending,
        now=time.time(),
    )
    register.require_stored()
    _record_offline(folder, order_event("hold", hold, requester, hours=hours))
    return hold


def replace_offline(
    folder: Path, number: int, *, requester: Requester, reason: str, hours: float | None
) -> Hold:
    """Replace a stored HOLD; see :meth:`HoldRegister.replace_hold`.

    Raises ServiceError if the sender is no operator, no such HOLD is stored, a value is invalid,
    or the file cannot be written.
    """
    operator = require_operator(folder, requester, order=f"replacing HOLD {number}")
    register = HoldRegister(folder / HOLD_FILE)
    before, after = register.replace_hold(
        number, author=operator, reason=reason, hours=hours, now=time.time()
    )
    register.require_stored()
    event = order_event("replace", after, requester, hours=hours, before=before.as_json())
    _record_offline(folder, event)
    return after


def release_offline(folder: Path, number: int, *, requester: Requester) -> tuple[Hold, str]:
    """Release a stored HOLD; return it and the operator.

    Raises ServiceError if the sender is no operator, no such HOLD is stored, or the file cannot be
    written.
    """
    operator = require_operator(folder, requester, order=f"releasing HOLD {number}")
    register = HoldRegister(folder / HOLD_FILE)
    hold = register.release(number)
    register.require_stored()
    _record_offline(folder, release_event(hold, operator, requester))
    return hold, operator


def read_offline(folder: Path) -> tuple[Hold, ...]:
    """Return the HOLDs with which the next start would begin; the file is left as it is."""
    now = time.time()
    return tuple(one for one in read_holds(folder / HOLD_FILE)[0] if one.is_in_force(now))


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
