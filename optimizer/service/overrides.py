"""HOLD: a person's order to stop optimising; it has an author, a reason, an end, and it is kept."""

from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Final

from optimizer.service.folder import read_json
from optimizer.service.results import write_json
from twin.errors import Fault, ServiceError

LONGEST: Final = 24.0 * 31.0
"""Longest HOLD with an end. [h]"""

LONGEST_TEXT: Final = 500
"""Most characters of a name or a reason. [1]"""


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
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, Lock()
        self._hold = _read(path)

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
            return self._hold

    def set_hold(self, *, author: str, reason: str, hours: float | None = None, now: float) -> Hold:
        """Put a HOLD in force; it is on disk when this returns.

        Parameters
        ----------
        author, reason
            Who, and why.
        hours
            How long; None for no end. [h]
        now
            Seconds since 1970, of the wall clock. [s]

        Raises
        ------
        ServiceError
            If a word is missing or the length is none.
        """
        faults = [
            Fault(place=name, value=text[:40], mend=f"needs 1 to {LONGEST_TEXT} characters")
            for name, text in (("author", author), ("reason", reason))
            if not 0 < len(text.strip()) <= LONGEST_TEXT
        ]
        if hours is not None and not 0.0 < hours <= LONGEST:
            mend = f"must be above 0 h and at most {LONGEST:.0f} h"
            faults.append(Fault(place="hours", value=str(hours), mend=mend))
        if faults:
            raise ServiceError("hold", faults)
        until = None if hours is None else now + hours * 3600.0
        hold = Hold(author=author.strip(), reason=reason.strip(), since=now, until=until)
        with self._lock:
            self._keep(hold)
        return hold

    def release(self) -> Hold | None:
        """End the HOLD and return it."""
        with self._lock:
            last = self._hold
            self._keep(None)
        return last

    def _keep(self, hold: Hold | None) -> None:
        write_json(self._path, {} if hold is None else asdict(hold))
        self._hold = hold


def _read(path: Path) -> Hold | None:
    if not path.exists():
        return None
    match read_json(path):
        case {"author": str(author), "reason": str(reason), "since": float(since), **rest}:
            until = rest.get("until")
            return Hold(
                author=author,
                reason=reason,
                since=since,
                until=until if isinstance(until, float) else None,
            )
        case empty if not empty and path.read_text(encoding="utf-8").strip() == "{}":
            return None
    # Whoever spoilt the file cannot lift a HOLD by it.
    return Hold(author="gigatwin", reason=f"{path.name} is broken: it may have held", since=0.0)
