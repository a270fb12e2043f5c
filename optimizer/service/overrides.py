"""HOLD: a person's order to stop optimising; it has an author, a reason, an end, and it is kept.

Several persons may hold at once, each with an end of their own. The site is held while one does.
A clock that is wrong for a while ends none: its hours must have passed too.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from threading import Lock
from typing import Final

import structlog

from optimizer.service.holding.holds import Hold, Kept, read_holds
from telemetry.files import json_with_checksum, write_atomic
from twin.errors import JournalError, ServiceError, ValidationIssue
from twin.text import one_line

LONGEST: Final = 24.0 * 31.0
"""Longest HOLD with an end. [h]"""

LONGEST_TEXT: Final = 500
"""Most characters of a name or a reason. [1]"""

logger = structlog.get_logger(__name__)


class Overrides:
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
        self._holds = [Kept(one) for one in read_holds(path)]
        self._ended, self._is_back = list[Hold](), False
        self.trouble = self.doubt = ""

    def take_up(self) -> None:
        """Put in force what was ordered by way of the file since it was read, while it starts."""
        with self._lock:
            known = [one.hold for one in self._holds]
            self._holds += [Kept(one) for one in read_holds(self._path) if one not in known]

    def hold(self, now: float) -> Hold | None:
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
            in_force, were_told = [], [one.hold.is_told for one in self._holds]
            for one in self._holds:
                was_over = one.ended is not None
                if one.look(now, moment):
                    in_force.append(one.hold)
                    self._is_back |= was_over
                elif not was_over and not one.hold.is_told:
                    self._ended.append(one.hold)
                elif one.hold not in self._ended:  # whoever asked has told it by now
                    one.hold = replace(one.hold, is_told=True)
            doubts = (one.doubt(now, moment) for one in self._holds)
            self.doubt = "; ".join(filter(None, doubts))
            left = [one for one in self._holds if not one.is_over(moment)]
            if self.trouble or [one.hold.is_told for one in left] != were_told:
                self._keep(left)
            return Hold.of(in_force)

    @property
    def alarm(self) -> str:
        """What a person must see to; empty if nothing."""
        return "; ".join(filter(None, (self.trouble, self.doubt)))

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
                place=name, value=text[:40], mend=f"needs 1 to {LONGEST_TEXT} characters"
            )
            for name, text in (("author", author), ("reason", reason))
            if not 0 < len(text) <= LONGEST_TEXT
        ]
        if hours is not None and not 0.0 < hours <= LONGEST:
            mend = f"must be above 0 h and at most {LONGEST:.0f} h"
            faults.append(ValidationIssue(place="hours", value=str(hours), mend=mend))
        if faults:
            raise ServiceError("hold", faults)
        until = None if hours is None else now + hours * 3600.0
        hold = Hold(author=author, reason=reason, since=now, until=until)
        with self._lock:
            lasts = None if hours is None else self._passed() + hours * 3600.0
            others = [one for one in self._holds if one.hold.author != author]
            self._keep([*others, Kept(hold, lasts, is_sure=True)])
        return hold

    def ended(self) -> list[Hold]:
        """Return those that have run out and were not returned yet."""
        with self._lock:
            found, self._ended = self._ended, []
        return found

    def is_back(self) -> bool:
        """Return, once, whether one that was over is in force again: the clock had been ahead."""
        with self._lock:
            found, self._is_back = self._is_back, False
        return found

    def must_be_kept(self) -> None:
        """See to it that the next start knows what was ordered.

        Raises
        ------
        ServiceError
            If the file does not take it.
        """
        if self.trouble:
            mend = f"{self.trouble}; make room, or give the command as the service's user"
            raise ServiceError(
                "hold", [ValidationIssue(place=str(self._path), value="", mend=mend)]
            )

    def release(self) -> Hold | None:
        """End every HOLD and return them as one; None, and the file is left, if nobody holds."""
        with self._lock:
            last = Hold.of([one.hold for one in self._holds if one.ended is None])
            if self._holds or self.trouble:
                self._keep([])
            self.doubt = ""
        return last

    def _keep(self, holds: list[Kept]) -> None:
        self._holds = holds
        rows = [asdict(one.hold) for one in holds]
        try:
            write_atomic(self._path, json_with_checksum({"holds": rows}) if rows else "{}")
            self.trouble = ""
        except (OSError, JournalError) as error:
            if not self.trouble:
                logger.warning("HOLD not on disk", is_held=bool(holds), because=str(error))
            self.trouble = f"HOLD is not on disk as it is in force: {error}"
