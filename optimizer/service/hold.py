"""HOLD: a person's order to stop optimising; it has an author, a reason, an end, and it is kept.

Several persons may hold at once, each with an end of their own. The site is held while one does.
A clock that is wrong for a while ends none: its hours must have passed too.

One HOLD: how long it lasts, by the clock and by the time that passed, and how it is kept.

Orders of a person while no service runs or answers: they are kept for the next start.

The audit record, which loads slowly, is loaded once a HOLD is on disk.
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
from twin.errors import JournalError, ServiceError, ValidationIssue
from twin.text import format_duration, one_line

MAX_HOLD_H: Final = 24.0 * 31.0
"""Longest HOLD with an end. [h]"""

MAX_TEXT_LENGTH: Final = 500
"""Most characters of a name or a reason. [1]"""

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Hold:
    """A person's order to stop optimising.

    Attributes
    ----------
    author, reason
        Who, and why.
    since, until
        Seconds since 1970, of the wall clock; ``until`` is None without an end. [s]
    is_expiry_reported
        Whether it has been told that it ran out: the next start does not tell it again.
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
        """Return whether it has not run out yet."""
        return self.until is None or now < self.until

    @classmethod
    def combine(cls, holds: Sequence["Hold"]) -> "Hold | None":
        """Return what several come to: theirs all, until the last ends; None if there is none."""
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
    """A HOLD, and how long it lasts by the time that passes in this process.

    Attributes
    ----------
    hold
        The HOLD.
    elapsed_end
        Moment at which its hours have passed; None if only the clock can tell, and was not asked.
        [s]
    is_counted_from_start
        Whether its hours were counted from its beginning.
    ended_at
        Moment at which both had said that it is over, while they do. [s]
    """

    hold: Hold
    elapsed_end: float | None = None
    is_counted_from_start: bool = False
    ended_at: float | None = None

    def is_in_force(self, now: float, moment: float) -> bool:
        """Return whether it is in force by the clock, or by the time that passed. [s]"""
        until = self.hold.until
        if until is None:
            return True
        if self.elapsed_end is None:
            self.elapsed_end = moment + min(until - now, until - self.hold.since)
        is_in_force = now < until or moment < self.elapsed_end
        if is_in_force and self.ended_at is not None:
            self.ended_at, self.elapsed_end = None, None  # the clock was ahead, and counts anew
            self.hold = replace(self.hold, is_expiry_reported=False)
        elif not is_in_force and self.ended_at is None:
            self.ended_at = moment
        return is_in_force

    def is_final(self, moment: float) -> bool:
        """Return whether it is over for good."""
        return self.ended_at is not None and (
            self.is_counted_from_start or moment - self.ended_at >= EXPIRY_CONFIRMATION_S
        )

    def clock_conflict(self, now: float, moment: float) -> str:
        """Return why it is in force though one of both says that it is over; else empty."""
        if self.ended_at is not None or self.elapsed_end is None or self.hold.until is None:
            return ""
        by_clock, to_pass = self.hold.until - now, self.elapsed_end - moment
        if min(by_clock, to_pass) > 0.0 or abs(by_clock - to_pass) <= CLOCK_TOLERANCE_S:
            return ""
        ours = f"the HOLD of {self.hold.author} is kept"
        if by_clock <= 0.0:
            over = f"by the clock it is over for {format_duration(-by_clock)}"
            return f"{ours}: {over}, and {format_duration(to_pass)} of it have not passed"
        left = f"its hours have passed, and by the clock it lasts {format_duration(by_clock)} more"
        return f"{ours}: {left}"


class HoldRegister:
    """The HOLDs in force, kept in a file so that they survive a restart.

    Parameters
    ----------
    path
        The file.
    passed
        Tells the time that passes here, whatever the clock is set to. [s]

    Attributes
    ----------
    trouble
        Why the file does not say what is in force, or nothing. A person is obeyed all the same;
        it is tried again whenever somebody asks.
    doubt
        Why a HOLD is in force though the clock, or the time that passed, says that it is over.
    """

    def __init__(self, path: Path, *, passed: Callable[[], float] = time.monotonic) -> None:
        self._path, self._lock, self._passed = path, Lock(), passed
        self._holds = [TimedHold(one) for one in read_holds(path)]
        self._ended, self._is_back = list[Hold](), False
        self.trouble = self.clock_conflict = ""

    def reload(self) -> None:
        """Put in force what was ordered by way of the file since it was read, while it starts."""
        with self._lock:
            known = [one.hold for one in self._holds]
            self._holds += [TimedHold(one) for one in read_holds(self._path) if one not in known]

    def in_force(self, now: float) -> Hold | None:
        """Return the HOLD in force, if there is one; several persons' are told as one.

        One is over once the clock says so and its hours have passed. After a restart the clock
        alone knows how many are left: one that is over by it is kept for some minutes, and in force
        again if the clock was wrong.

        Parameters
        ----------
        now
            Seconds since 1970, of the wall clock: a HOLD lasts for a person's hours. [s]
        """
        with self._lock:
            moment = self._passed()
            in_force, were_told = [], [one.hold.is_expiry_reported for one in self._holds]
            for one in self._holds:
                was_over = one.ended_at is not None
                if one.is_in_force(now, moment):
                    in_force.append(one.hold)
                    self._is_back |= was_over
                elif not was_over and not one.hold.is_expiry_reported:
                    self._ended.append(one.hold)
                elif one.hold not in self._ended:  # whoever asked has told it by now
                    one.hold = replace(one.hold, is_expiry_reported=True)
            doubts = (one.clock_conflict(now, moment) for one in self._holds)
            self.clock_conflict = "; ".join(filter(None, doubts))
            left = [one for one in self._holds if not one.is_final(moment)]
            if self.trouble or [one.hold.is_expiry_reported for one in left] != were_told:
                self._store(left)
            return Hold.combine(in_force)

    @property
    def alarm_text(self) -> str:
        """What a person must see to; empty if nothing."""
        return "; ".join(filter(None, (self.trouble, self.clock_conflict)))

    def set_hold(self, *, author: str, reason: str, hours: float | None = None, now: float) -> Hold:
        """Put a HOLD in force; it is on disk when this returns, or ``trouble`` says why not.

        It takes the place of an earlier one of the same person, and stands beside those of others.

        Parameters
        ----------
        author, reason
            Who, and why; what no terminal can show is left out.
        hours
            How long; None for no end. [h]
        now
            Seconds since 1970, of the wall clock. [s]

        Raises
        ------
        ServiceError
            If a word is missing or the length is none.
        """
        author, reason = one_line(author), one_line(reason)
        faults = [
            ValidationIssue(
                location=name, found=text[:40], remedy=f"needs 1 to {MAX_TEXT_LENGTH} characters"
            )
            for name, text in (("author", author), ("reason", reason))
            if not 0 < len(text) <= MAX_TEXT_LENGTH
        ]
        if hours is not None and not 0.0 < hours <= MAX_HOLD_H:
            remedy = f"must be above 0 h and at most {MAX_HOLD_H:.0f} h"
            faults.append(ValidationIssue(location="hours", found=str(hours), remedy=remedy))
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
        """Return those that have run out and were not returned yet."""
        with self._lock:
            found, self._ended = self._ended, []
        return found

    def take_reinstated(self) -> bool:
        """Return, once, whether one that was over is in force again: the clock had been ahead."""
        with self._lock:
            found, self._is_back = self._is_back, False
        return found

    def require_stored(self) -> None:
        """See to it that the next start knows what was ordered.

        Raises
        ------
        ServiceError
            If the file does not take it.
        """
        if self.trouble:
            remedy = f"{self.trouble}; make room, or give the command as the service's user"
            raise ServiceError(
                "hold", [ValidationIssue(location=str(self._path), found="", remedy=remedy)]
            )

    def release(self) -> Hold | None:
        """End every HOLD and return them as one; None, and the file is left, if nobody holds."""
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
            self.trouble = f"HOLD is not on disk as it is in force: {error}"


MAX_TIMESTAMP_S: Final = 1e11
"""Greatest moment that a clock may show, in the year 5138. [s]"""

CLOCK_TOLERANCE_S: Final = 5.0
"""How far the clock and the time that passed may differ before it is told. [s]"""

EXPIRY_CONFIRMATION_S: Final = 600.0
"""How long the clock alone must have said that a HOLD of an earlier run is over. [s]"""


def read_holds(path: Path) -> tuple[Hold, ...]:
    """Return the HOLDs that a file keeps; one of our own if the file is not what we wrote."""
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
        case row:  # as it was written when one person could hold
            found = [_of_row(row)]
    # Whoever spoilt the file cannot lift a HOLD by it.
    ours = Hold(author="gigatwin", reason=f"{path.name} is broken: it may have held", since=0.0)
    return (*(one for one in found if one), *([] if all(found) else [ours]))


def _of_row(row: object) -> Hold | None:
    match row:
        case {
            "author": str(author),
            "reason": str(reason),
            "since": float(since),
            "until": None | float() as until,
        } if all(0.0 <= moment < MAX_TIMESTAMP_S for moment in (since, until or since)):
            is_told = isinstance(row, dict) and row.get("is_told") is True
            return Hold(
                author=author, reason=reason, since=since, until=until, is_expiry_reported=is_told
            )
    return None


HOLD_FILE: Final = "hold.json"
"""Name of the HOLDs in the state folder of a service."""


def place_offline(folder: Path, *, author: str, reason: str, hours: float | None) -> None:
    """Have the next start hold; see :meth:`Overrides.set_hold`.

    Raises
    ------
    ServiceError
        If a word is missing, the length is none, or the file does not take it.
    """
    overrides = HoldRegister(folder / HOLD_FILE)
    held = overrides.set_hold(author=author, reason=reason, hours=hours, now=time.time())
    overrides.require_stored()
    told = {"event": "hold", "author": held.author, "reason": held.reason, "hours": hours}
    _record_offline(folder, told)


def read_offline(folder: Path) -> Hold | None:
    """Return the HOLD in which the next start would begin; the file is left as it is."""
    now = time.time()
    return Hold.combine([one for one in read_holds(folder / HOLD_FILE) if one.is_in_force(now)])


def release_offline(folder: Path, *, author: str) -> bool:
    """Have the next start hold no more; return whether it would have.

    Raises
    ------
    ServiceError
        If the file does not take it.
    """
    overrides = HoldRegister(folder / HOLD_FILE)
    was_held = overrides.in_force(time.time()) is not None
    overrides.release()
    overrides.require_stored()
    if was_held:
        told = {"event": "release", "author": author, "reason": f"released by {author}"}
        _record_offline(folder, told)
    return was_held


def _record_offline(folder: Path, told: Mapping[str, object]) -> None:
    """Write an order into the audit record, unless a service writes it."""
    audit = import_without_gc("optimizer.service.audit")
    path = folder / audit.AUDIT_FILE
    if not path.exists():
        return
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        with StateFolder(folder):
            audit.AuditLog(path).add({**told, "is_offline": True, "time": now})
    except ServiceError:
        return  # one that does not answer; what it holds by then stands in its decisions
