"""The HOLDs of a state folder: their register in a file, and orders without a service.

Each HOLD is placed, replaced and released by its own number. Several processes may place HOLDs in
one file: each writes it under a lock and adopts what others have written, so a running service
adopts what a command has written. Releasing and replacing without a service need the state folder
to themselves. A folder with other state and without this file was restored without its HOLDs, so
it is held.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Final

import structlog

from optimizer.service.audit import AUDIT_FILE, AuditEvent, AuditLog
from optimizer.service.control_socket import is_service_running, send_command
from optimizer.service.hold import Hold, HoldState, TimedHold, read_hold
from optimizer.service.operators import (
    NOT_SIGNED_IN,
    Requester,
    identify_author,
    require_operator,
)
from optimizer.service.state_folder import StateFolder, earlier_service_files, read_state_file
from telemetry.durable_files import (
    NO_FILE_STAMP,
    file_stamp,
    json_with_checksum,
    lock_folder,
    write_atomic,
)
from twin.errors import IssueCode, JournalError, ServiceError
from twin.text import one_line

HOLD_FILE: Final = "hold.json"
"""Name of the file in the state folder."""

MAX_HOLD_H: Final = 24.0 * 31.0
"""Longest HOLD with an end. [h]"""

MAX_HOLD_TEXT_LENGTH: Final = 500
"""Longest author or reason; the rest is cut. [characters]"""

MAX_LISTED_UNSIGNED_HOLDS: Final = 64
"""HOLDs of requesters who are not signed in that are listed one by one. [1]"""

FILE_LOCK_TIMEOUT_S: Final = 0.3
"""Longest wait for the lock of the file: a HOLD does not wait longer for it. [s]"""

PENDING_REASON: Final = "pending"
"""Reason of a HOLD for which none is given yet."""

SERVICE_AUTHOR: Final = "gigatwin"
"""Author of a HOLD that no person placed."""

logger = structlog.get_logger(__name__)


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

    def combined_hold(self, now: float) -> Hold | None:
        """Return the HOLDs in force at ``now`` combined into one, or None. [s since 1970]"""
        return Hold.combine(self.holds_in_force(now))

    def holds_in_force(self, now: float) -> tuple[Hold, ...]:
        """Return each HOLD in force at ``now``, the oldest first. [s since 1970]"""
        with self._lock:
            self._is_used = True
            if file_stamp(self._path) != self._stamp:
                with self._file_lock():
                    self._store(self._holds)
            moment = self._passed()
            in_force, were_reported = [], [one.hold.is_expiry_reported for one in self._holds]
            for one in self._holds:
                before = one.state
                if one.update(now, moment) is HoldState.HELD:
                    in_force.append(one.hold)
                    self._is_reinstated |= before is HoldState.EXPIRED
                elif before is HoldState.HELD and not one.hold.is_expiry_reported:
                    self._ended.append(one.hold)
                elif one.hold not in self._ended:  # the caller has reported it
                    one.hold = replace(one.hold, is_expiry_reported=True)
            conflicts = (one.clock_conflict(now, moment) for one in self._holds)
            self.clock_conflict = "; ".join(filter(None, conflicts))
            left = [one for one in self._holds if one.state is not HoldState.ENDED]
            if self.trouble or [one.hold.is_expiry_reported for one in left] != were_reported:
                with self._file_lock():
                    self._store([one for one in self._holds if one.state is not HoldState.ENDED])
            return tuple(in_force)

    def end_notices(self, now: float) -> dict[str, str]:
        """Return by HOLD that its end is near, or past and awaits a person. [s since 1970]"""
        notices = {f"HOLD {one.number}": one.end_notice(now) for one in self.holds_in_force(now)}
        return {name: text for name, text in notices.items() if text}

    @property
    def alarm_text(self) -> str:
        """What a person must correct; empty if nothing."""
        return "; ".join(filter(None, (self.trouble, self.clock_conflict)))

    def place(
        self,
        *,
        requester: Requester,
        author: str,
        reason: str,
        hours: float | None,
        is_self_ending: bool,
    ) -> Hold:
        """Place a HOLD from now on, under the name of its sender, and return it.

        ``author`` is the name that a person states who is not signed in. Raises ServiceError as
        :meth:`set_hold` does.
        """
        sender = identify_author(self.folder, requester, one_line(author))
        return self.set_hold(
            author=sender.name,
            is_signed_in=sender.is_signed_in,
            reason=reason,
            hours=hours,
            is_self_ending=is_self_ending,
            now=time.time(),
        )

    def set_hold(
        self,
        *,
        author: str,
        reason: str,
        hours: float | None = None,
        is_self_ending: bool = False,
        is_signed_in: bool = True,
        now: float,
    ) -> Hold:
        """Put a further HOLD in force; it is on disk at return, or ``trouble`` states why not.

        An empty reason is pending. ``hours`` is None for no end [h]; ``now`` is the wall clock
        [s since 1970]. Unprintable characters are removed, and long texts are cut. Beyond
        :data:`MAX_LISTED_UNSIGNED_HOLDS`, HOLDs of requesters who are not signed in become one
        without an end, which counts them; only its first is written at once. Raises ServiceError
        if the length is out of range.
        """
        if not (author := _cut(author)):
            author, is_signed_in = f"{NOT_SIGNED_IN}unknown)", False
        reason = _cut(reason) or PENDING_REASON
        if is_self_ending and hours is None:
            raise ServiceError.single(
                "hold",
                IssueCode.INCONSISTENT,
                "hours",
                found="none",
                expected="a length, since the HOLD ends by itself",
                remedy="give the hours, or let the HOLD await a release",
            )
        _check_length(hours)
        until = None if hours is None else now + hours * 3600.0
        with self._exclusive():
            folded = 0
            if not is_signed_in and self._has_many_unsigned():
                if folding := next(
                    (one for one in self._holds if one.hold.combined_hold_count), None
                ):
                    folding.hold = _fold(folding.hold, folding.hold.combined_hold_count + 1)
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
                is_signed_in=is_signed_in,
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
        _check_length(hours)
        with self._exclusive():
            timed = self._find(number, of)
            before, rest = timed.hold, [one for one in self._holds if one is not timed]
            after = replace(
                before,
                author=_cut(author),
                is_signed_in=True,
                reason=reason or before.reason,
                combined_hold_count=0,
            )
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
            released.release()
            self._store([one for one in self._holds if one is not released])
        return released.hold

    def _timed(self, hold: Hold, hours: float | None) -> TimedHold:
        """Return a HOLD whose hours are counted from now on. [h]"""
        end = None if hours is None else self._passed() + hours * 3600.0
        return TimedHold(hold, end, is_counted_from_start=True)

    def _has_many_unsigned(self) -> bool:
        """Return whether no further HOLD of a requester who is not signed in is listed."""
        held = [one.hold for one in self._holds if one.state is HoldState.HELD]
        return sum(not one.is_signed_in for one in held) >= MAX_LISTED_UNSIGNED_HOLDS

    def _find(self, number: int | None, of: str | None) -> TimedHold:
        """Return the HOLD in force with a number, or the only one, if its author is ``of``."""
        in_force = [one for one in self._holds if one.state is HoldState.HELD]
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

    def take_holds_of_other_processes(self) -> list[Hold]:
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
            found = [read_hold(row) for row in rows]
        case row:  # earlier format, of one HOLD
            found = [read_hold(row)]
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
    left = earlier_service_files(path.parent)
    if not left:
        return (), 0
    reason = (
        f"{path.name} is missing beside {left[0]}: the state may be restored without its HOLDs; "
        "check with those who held the site, then release this HOLD"
    )
    return (Hold(number=1, author=SERVICE_AUTHOR, reason=reason, since=time.time()),), 1


def _cut(text: str) -> str:
    """Return a text as one line of a limited length."""
    return one_line(text)[:MAX_HOLD_TEXT_LENGTH]


def _fold(hold: Hold, count: int) -> Hold:
    """Return the HOLD that stands for a number of further ones."""
    author = f"several, {NOT_SIGNED_IN}page or command)"
    return replace(hold, author=author, reason=f"further HOLDs: {count}", combined_hold_count=count)


def _check_length(hours: float | None) -> None:
    """Refuse a length of a HOLD that is out of range. [h]"""
    if hours is not None and not 0.0 < hours <= MAX_HOLD_H:
        raise ServiceError.single(
            "hold",
            IssueCode.OUT_OF_RANGE,
            "hours",
            found=str(hours),
            expected=f"above 0 h and at most {MAX_HOLD_H:.0f} h",
            remedy="give another number of hours, or none",
        )


def order_event(
    event: AuditEvent, hold: Hold, requester: Requester, **fields: object
) -> dict[str, object]:
    """Return the audit entry of an order; the author is the person who gives it."""
    named = {"hold": hold.number, "author": hold.author, "reason": hold.reason}
    return {"event": event} | named | fields | requester.audit_fields()


def release_event(hold: Hold, operator: str, requester: Requester) -> dict[str, object]:
    """Return the audit entry of a release, with the operator and the author of the HOLD."""
    released = replace(hold, author=operator, reason=f"released by {operator}")
    return order_event(AuditEvent.RELEASE, released, requester, of=hold.author)


class StoredHolds:
    """The HOLDs of a state folder without a service, with which the next one starts.

    A service that has started meanwhile is notified of a HOLD, unless ``notifies`` is false. All
    orders raise ServiceError if they are refused, or the file cannot be written.
    """

    def __init__(self, folder: Path, *, notifies: bool = True) -> None:
        self._folder, self._notifies = folder, notifies

    def hold(
        self,
        *,
        requester: Requester,
        author: str = "",
        reason: str = "",
        hours: float | None = None,
        is_self_ending: bool = False,
    ) -> tuple[Hold, str]:
        """Store a HOLD, and return it without notes; ``author`` is the name that is stated."""
        register = HoldRegister(self._folder / HOLD_FILE)
        hold = register.place(
            requester=requester,
            author=author,
            reason=reason,
            hours=hours,
            is_self_ending=is_self_ending,
        )
        register.require_stored()
        if hold.combined_hold_count <= 1:
            with suppress(ServiceError), StateFolder(self._folder):  # else the service records it
                self._record(order_event(AuditEvent.HOLD, hold, requester, hours=hours))
        if self._notifies and is_service_running(self._folder):
            try:
                send_command(self._folder, "adopt")
            except ServiceError as error:  # its next check applies the file
                logger.warning("service not notified of a HOLD", because=str(error))
        return hold, ""

    def replace_hold(
        self, number: int, *, requester: Requester, of: str, reason: str, hours: float | None
    ) -> Hold:
        """Replace a stored HOLD of author ``of``; no service may hold the folder."""
        with StateFolder(self._folder):
            operator = require_operator(self._folder, requester, order=f"replacing HOLD {number}")
            register = HoldRegister(self._folder / HOLD_FILE)
            before, after = register.replace_hold(
                number, of=of, author=operator, reason=reason, hours=hours, now=time.time()
            )
            register.require_stored()
            earlier = before.as_json()
            self._record(
                order_event(AuditEvent.REPLACE, after, requester, hours=hours, before=earlier)
            )
        return after

    def release(
        self, number: int | None, *, requester: Requester, of: str | None
    ) -> tuple[Hold, str]:
        """Release a stored HOLD of author ``of``; return it and the operator.

        Without a number it must be the only HOLD and the operator's own. No service may hold the
        folder.
        """
        with StateFolder(self._folder):
            operator = require_operator(self._folder, requester, order=f"releasing HOLD {number}")
            register = HoldRegister(self._folder / HOLD_FILE)
            hold = register.release(number, of=operator if number is None else of)
            register.require_stored()
            self._record(release_event(hold, operator, requester))
        return hold, operator

    def in_force(self) -> tuple[Hold, ...]:
        """Return the HOLDs with which the next start would begin; the file is left as it is."""
        now = time.time()
        stored, _ = read_holds(self._folder / HOLD_FILE)
        return tuple(one for one in stored if one.is_in_force(now))

    def _record(self, event: Mapping[str, object]) -> None:
        """Write an event into the audit record of the locked folder."""
        path = self._folder / AUDIT_FILE
        if path.exists():
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            AuditLog(path).add({**event, "is_offline": True, "time": now})
