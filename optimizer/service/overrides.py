"""HOLD: a person's order to stop optimising; it has an author, a reason, an end, and it is kept."""

from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Final

import structlog

from optimizer.service.folder import read_json
from telemetry.durable import write_json
from twin.errors import Fault, JournalError, ServiceError

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


class Overrides:
    """The HOLD in force, kept in a file so that it survives a restart.

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
        self._hold = _read(path)
        self.trouble = ""

    def hold(self, now: float) -> Hold | None:
        """Return the HOLD in force, if there is one.

        Parameters
        ----------
        now
            Seconds since 1970, of the wall clock: a HOLD lasts for a person's hours. [s]
        """
        with self._lock:
            if self._hold and self._hold.until is not None and now >= self._hold.until:
                self._keep(None)
            elif self.trouble:
                self._keep(self._hold)
            return self._hold

    def set_hold(self, *, author: str, reason: str, hours: float | None = None, now: float) -> Hold:
        """Put a HOLD in force; it is on disk when this returns, or ``trouble`` says why not.

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
        author, reason = _plain(author), _plain(reason)
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
            self._keep(hold)
        return hold

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
        """End the HOLD and return it; None, and the file is left, if nobody holds."""
        with self._lock:
            last = self._hold
            if last or self.trouble:
                self._keep(None)
        return last

    def _keep(self, hold: Hold | None) -> None:
        self._hold = hold
        try:
            write_json(self._path, {} if hold is None else asdict(hold))
            self.trouble = ""
        except (OSError, JournalError) as error:
            if not self.trouble:
                logger.warning("HOLD not on disk", is_held=hold is not None, because=str(error))
            self.trouble = f"HOLD is not on disk as it is in force: {error}"


def _plain(text: str) -> str:
    """Return a text on one line, of letters that every log and terminal takes."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _read(path: Path) -> Hold | None:
    """Return the HOLD that a file keeps; one of our own if the file is not what we wrote."""
    try:
        if path.read_bytes().strip() == b"{}":
            return None
    except FileNotFoundError:
        return None
    except OSError as error:
        logger.warning("HOLD unreadable", because=str(error))
    match read_json(path):
        case {
            "author": str(author),
            "reason": str(reason),
            "since": float(since),
            "until": None | float() as until,
        } if all(0.0 <= moment < LATEST for moment in (since, until or since)):
            return Hold(author=author, reason=reason, since=since, until=until)
    # Whoever spoilt the file cannot lift a HOLD by it.
    return Hold(author="gigatwin", reason=f"{path.name} is broken: it may have held", since=0.0)
