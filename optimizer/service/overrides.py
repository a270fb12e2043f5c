"""HOLD: a person's order to stop optimising; it has an author, a reason, an end, and it is kept.

Several persons may hold at once, each with an end of their own. The site is held while one does.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Final

import structlog

from optimizer.service.folder import read_json
from telemetry.durable import write_json
from twin.errors import Fault, JournalError, ServiceError, one_line

LONGEST: Final = 24.0 * 31.0
"""Longest HOLD with an end. [h]"""

LONGEST_TEXT: Final = 500
"""Most characters of a name or a reason. [1]"""

LATEST: Final = 1e11
"""Greatest moment that a clock may show, in the year 5138. [s]"""

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
    """

    author: str
    reason: str
    since: float
    until: float | None = None

    def holds(self, now: float) -> bool:
        """Return whether it has not run out yet."""
        return self.until is None or now < self.until

    @classmethod
    def of(cls, holds: Sequence["Hold"]) -> "Hold | None":
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


class Overrides:
    """The HOLDs in force, kept in a file so that they survive a restart.

    Parameters
    ----------
    path
        The file.

    Attributes
    ----------
    trouble
        Why the file does not say what is in force, or nothing. A person is obeyed all the same;
        it is tried again whenever somebody asks.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, Lock()
        self._holds, self._ended = read_holds(path), list[Hold]()
        self.trouble = ""

    def hold(self, now: float) -> Hold | None:
        """Return the HOLD in force, if there is one; several persons' are told as one.

        Parameters
        ----------
        now
            Seconds since 1970, of the wall clock: a HOLD lasts for a person's hours. [s]
        """
        with self._lock:
            left = tuple(one for one in self._holds if one.holds(now))
            self._ended += [one for one in self._holds if one not in left]
            if self.trouble or left != self._holds:
                self._keep(left)
            return Hold.of(left)

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
            Fault(place=name, value=text[:40], mend=f"needs 1 to {LONGEST_TEXT} characters")
            for name, text in (("author", author), ("reason", reason))
            if not 0 < len(text) <= LONGEST_TEXT
        ]
        if hours is not None and not 0.0 < hours <= LONGEST:
            mend = f"must be above 0 h and at most {LONGEST:.0f} h"
            faults.append(Fault(place="hours", value=str(hours), mend=mend))
        if faults:
            raise ServiceError("hold", faults)
        until = None if hours is None else now + hours * 3600.0
        hold = Hold(author=author, reason=reason, since=now, until=until)
        with self._lock:
            others = tuple(one for one in self._holds if one.author != author and one.holds(now))
            self._keep((*others, hold))
        return hold

    def ended(self) -> list[Hold]:
        """Return those that have run out and were not returned yet."""
        with self._lock:
            found, self._ended = self._ended, []
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
            raise ServiceError("hold", [Fault(place=str(self._path), value="", mend=mend)])

    def release(self) -> Hold | None:
        """End every HOLD and return them as one; None, and the file is left, if nobody holds."""
        with self._lock:
            last = Hold.of(self._holds)
            if last or self.trouble:
                self._keep(())
        return last

    def _keep(self, holds: tuple[Hold, ...]) -> None:
        self._holds = holds
        try:
            write_json(self._path, {"holds": [asdict(one) for one in holds]} if holds else {})
            self.trouble = ""
        except (OSError, JournalError) as error:
            if not self.trouble:
                logger.warning("HOLD not on disk", is_held=bool(holds), because=str(error))
            self.trouble = f"HOLD is not on disk as it is in force: {error}"


def read_holds(path: Path) -> tuple[Hold, ...]:
    """Return the HOLDs that a file keeps; one of our own if the file is not what we wrote."""
    try:
        if path.read_bytes().strip() == b"{}":
            return ()
    except FileNotFoundError:
        return ()
    except OSError as error:
        logger.warning("HOLD unreadable", because=str(error))
    match read_json(path):
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
        } if all(0.0 <= moment < LATEST for moment in (since, until or since)):
            return Hold(author=author, reason=reason, since=since, until=until)
    return None
