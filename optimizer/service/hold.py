"""HOLD: a person's order to stop optimising, with number, author, reason and end, on disk.

Several HOLDs may be in force at once; the site is held while one is. Each is placed, replaced and
released by its own number. A HOLD with an end awaits a person's release after it, unless it was
placed to end by itself: then it ends when the clock is past its end and its hours have also passed,
so that a wrong clock ends none. Several processes may place HOLDs in one file: each writes it under
a lock and adopts what others have written. A folder with other state and without this file was
restored without its HOLDs, so it is held.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Final

import msgspec
import structlog

from optimizer.service.operators import NOT_SIGNED_IN
from optimizer.service.state_folder import read_state_file
from telemetry.durable_files import (
    NO_FILE_STAMP,
    file_stamp,
    json_with_checksum,
    lock_folder,
    write_atomic,
)
from twin.errors import IssueCode, JournalError, ServiceError, ValidationIssue
from twin.text import format_duration, one_line

HOLD_FILE: Final = "hold.json"
"""Name of the file in the state folder."""

MAX_HOLD_H: Final = 24.0 * 31.0
"""Longest HOLD with an end. [h]"""

MAX_HOLD_TEXT_LENGTH: Final = 500
"""Longest author or reason; the rest is cut. [characters]"""

MAX_UNSIGNED_HOLDS: Final = 64
"""HOLDs of requesters who are not signed in that are listed one by one. [1]"""

FILE_LOCK_TIMEOUT_S: Final = 0.3
"""Longest wait for the lock of the file: a HOLD does not wait longer for it. [s]"""

PENDING_REASON: Final = "pending"
"""Reason of a HOLD for which none is given yet."""

END_WARNING_S: Final = 900.0
"""Time before the end of a HOLD from which on it is announced. [s]"""

SERVICE_AUTHOR: Final = "gigatwin"
"""Author of a HOLD that no person placed."""

STATE_NAMES: Final = ("audit.jsonl", "feed", "orders.json", "record.json", "targets.json")
"""Names in a state folder that only a service that ran there, or a backup of it, has left."""

logger = structlog.get_logger(__name__)


class HoldStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A HOLD as page and commands show it; times by the wall clock, in UTC."""

    number: int
    author: str
    reason: str
    since: str
    until: str | None
    is_self_ending: bool


@dataclass(frozen=True, kw_only=True)
class Hold:
    """A person's order to stop optimising.

    - `number`: names it in one state folder; never given twice. 0: several, combined.
    - `author`, `reason`: who, and why.
    - `since`, `until`: seconds since 1970, by the wall clock; ``until`` is None without an end. [s]
    - `is_self_ending`: whether it ends by itself at ``until``; otherwise it awaits a person.
    - `folded`: number of HOLDs that it stands for, beyond those listed one by one; 0 if one. [1]
    - `is_expiry_reported`: whether its expiry was reported; the next start does not report it
      again.
    """

    number: int = 0
    author: str
    reason: str
    since: float
    until: float | None = None
    is_self_ending: bool = False
    folded: int = 0
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
        } | ({"folded": self.folded} if self.folded else {})

    def as_status(self) -> HoldStatus:
        """Return the HOLD as page and commands show it."""
        return HoldStatus(
            number=self.number,
            author=self.author,
            reason=self.reason,
            since=_format_time(self.since),
            until=None if self.until is None else _format_time(self.until),
            is_self_ending=self.is_self_ending,
        )

    @property
    def key(self) -> tuple[int, float]:
        """What does not change when it is replaced."""
        return self.number, self.since

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
        self._stamp, self._is_used = file_stamp(path), False
        stored, self._last_number = read_holds(path)
        self._holds = [TimedHold(one) for one in stored]
        self._in_file = {one.key for one in stored}
        self._ended, self._adopted, self._is_reinstated = list[Hold](), list[Hold](), False
        self.trouble = self.clock_conflict = ""

    @property
    def folder(self) -> Path:
        """State folder of the file."""
        return self._path.parent

    def create_file(self) -> None:
        """Write the file if there is none, so that a folder without it is a restored one."""
        with self._exclusive():
            if not self._path.exists():
                self._store(self._holds)

    def reload(self) -> None:
        """Add HOLDs that commands wrote to the file while the service started."""
        with self._exclusive():
            self._adopted.clear()

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
            self._is_used = True
            if file_stamp(self._path) != self._stamp:
                with self._file_lock():
                    self._store(self._holds)
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
                with self._file_lock():
                    self._store([one for one in self._holds if not one.is_final(moment)])
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
        [s since 1970]. Unprintable characters are removed, and long texts are cut. Beyond
        :data:`MAX_UNSIGNED_HOLDS`, HOLDs of requesters who are not signed in become one without an
        end, which counts them; only its first is written at once. Raises ServiceError if the
        length is out of range.
        """
        author = _cut(author) or f"{NOT_SIGNED_IN}unknown)"
        reason = _cut(reason) or PENDING_REASON
        faults = _length_faults(hours)
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
        with self._exclusive():
            folded = 0
            if NOT_SIGNED_IN in author and self._has_many_unsigned():
                if folding := next((one for one in self._holds if one.hold.folded), None):
                    folding.hold = _fold(folding.hold, folding.hold.folded + 1)
                    return folding.hold
                folded, hours, until, is_self_ending = 1, None, None, False
            self._last_number += 1
            hold = Hold(
                number=self._last_number,
                author=author,
                reason=reason,
                since=now,
                until=until,
                is_self_ending=is_self_ending,
            )
            hold = _fold(hold, folded) if folded else hold
            self._store([*self._holds, self._timed(hold, hours)])
        return hold

    def replace_hold(
        self,
        number: int,
        *,
        author: str,
        reason: str,
        hours: float | None,
        now: float,
        of: str | None = None,
    ) -> tuple[Hold, Hold]:
        """Make one HOLD that of another author, reason or end; return it before and after.

        An empty reason and ``hours`` None leave these as they are. [h] ``of`` is the author whom
        the person sees. Raises ServiceError if no such HOLD is in force, its author is another, or
        the length is out of range.
        """
        reason = _cut(reason)
        if faults := _length_faults(hours):
            raise ServiceError("hold", faults)
        with self._exclusive():
            timed = self._find(number, of)
            before, rest = timed.hold, [one for one in self._holds if one is not timed]
            after = replace(before, author=_cut(author), reason=reason or before.reason, folded=0)
            if hours is None:
                changed = replace(timed, hold=after)
            else:
                changed = self._timed(replace(after, until=now + hours * 3600.0), hours)
            self._store(sorted([*rest, changed], key=lambda one: one.hold.number))
        return before, after if hours is None else changed.hold

    def release(self, number: int | None, *, of: str | None = None) -> Hold:
        """End one HOLD and return it; the others stay in force.

        ``of`` is the author whom the person sees. ``number`` may be None if only one HOLD is in
        force, and ``of`` is its author. Raises ServiceError if no such HOLD is in force, or its
        author is another.
        """
        with self._exclusive():
            released = self._find(number, of)
            self._store([one for one in self._holds if one is not released])
        return released.hold

    def _timed(self, hold: Hold, hours: float | None) -> TimedHold:
        """Return a HOLD whose hours are counted from now on. [h]"""
        end = None if hours is None else self._passed() + hours * 3600.0
        return TimedHold(hold, end, is_counted_from_start=True)

    def _has_many_unsigned(self) -> bool:
        """Return whether no further HOLD of a requester who is not signed in is listed."""
        authors = [one.hold.author for one in self._holds if one.ended_at is None]
        return sum(NOT_SIGNED_IN in author for author in authors) >= MAX_UNSIGNED_HOLDS

    def _find(self, number: int | None, of: str | None) -> TimedHold:
        """Return the HOLD in force with a number, or the only one, if its author is ``of``."""
        in_force = [one for one in self._holds if one.ended_at is None]
        found = [one for one in in_force if number in (one.hold.number, None)]
        if len(found) == 1 and of in (found[0].hold.author, None):
            return found[0]
        names = [f"{one.hold.number} of {one.hold.author}" for one in in_force]
        if found:
            rows = [one.hold for one in found]
            listed = "; ".join(f"{one.number} of {one.author}: {one.reason}" for one in rows)
            raise ServiceError.single(
                "hold",
                IssueCode.MISSING if number is None else IssueCode.INCONSISTENT,
                "HOLD",
                found="no number" if number is None else f"{number} of {of}",
                expected=f"number and author of one HOLD in force: {listed}",
                remedy="name each HOLD by its number, when its author agrees",
            )
        raise ServiceError.single(
            "hold",
            IssueCode.UNKNOWN_NAME,
            "HOLD",
            found=str(number),
            expected=f"the number of a HOLD in force: {', '.join(names) or 'there is none'}",
            remedy="see gigatwin status or the page for those in force",
        )

    def take_adopted(self) -> list[Hold]:
        """Return HOLDs that other processes have placed and that were not returned before."""
        with self._lock:
            found, self._adopted = self._adopted, []
        return found

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
            raise ServiceError.single(
                "hold",
                IssueCode.FILE_ERROR,
                str(self._path),
                found=self.trouble,
                expected="a writable file with free space",
                remedy="free space, or run the command as the service's user",
            )

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        with self._lock, self._file_lock():
            yield

    @contextmanager
    def _file_lock(self) -> Iterator[None]:
        """Lock the file against other processes, and adopt the HOLDs that they have written."""
        handle = None
        if self.folder.exists():
            try:
                handle = lock_folder(self.folder, timeout=FILE_LOCK_TIMEOUT_S)
            except JournalError as error:  # a HOLD must not fail for it
                logger.warning("HOLD file not locked", because=str(error))
        try:
            self._adopt()
            yield
        finally:
            if handle is not None:
                os.close(handle)

    def _adopt(self) -> None:
        """Add the HOLDs of the file that neither this process nor an earlier look has found."""
        stamp = file_stamp(self._path)
        if stamp in (self._stamp, NO_FILE_STAMP):
            return
        self._stamp = stamp
        stored, last = read_holds(self._path)
        if not self._is_used:  # nothing here is newer than the file
            self._holds, self._in_file = [], set()
        self._last_number = max(self._last_number, last)
        known = self._in_file | {one.hold.key for one in self._holds}
        self._in_file = {one.key for one in stored}
        for one in stored:
            if one.key in known:
                continue
            hold = one
            if one.number in {other.hold.number for other in self._holds}:
                self._last_number += 1
                hold = replace(one, number=self._last_number)
            self._holds = [*self._holds, TimedHold(hold)]
            self._adopted.append(hold)

    def _store(self, holds: list[TimedHold]) -> None:
        self._holds, self._is_used = holds, True
        rows = [one.hold.as_json() for one in holds]
        content = {"holds": rows, "last_number": self._last_number}
        try:
            text = json_with_checksum(content)
            write_atomic(self._path, text, is_private=True, is_of_folder=True)
            self.trouble = ""
            self._stamp, self._in_file = file_stamp(self._path), {one.hold.key for one in holds}
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
            folded = others.get("folded", 0)
            is_timed = until is not None  # a timed HOLD of the earlier format ended by itself
            return Hold(
                number=number if isinstance(number, int) else 0,
                author=author,
                reason=reason,
                since=since,
                until=until,
                is_self_ending=others.get("is_self_ending", is_timed) is True,
                folded=folded if isinstance(folded, int) else 0,
                is_expiry_reported=others.get("is_told") is True,
            )
    return None


def _format_time(seconds: float) -> str:
    """Return seconds since 1970 as ISO 8601 in UTC."""
    return datetime.fromtimestamp(round(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _cut(text: str) -> str:
    """Return a text as one line of a limited length."""
    return one_line(text)[:MAX_HOLD_TEXT_LENGTH]


def _fold(hold: Hold, count: int) -> Hold:
    """Return the HOLD that stands for a number of further ones."""
    author = f"several, {NOT_SIGNED_IN}page or command)"
    return replace(hold, author=author, reason=f"further HOLDs: {count}", folded=count)


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
