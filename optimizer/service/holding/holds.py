"""One HOLD: how long it lasts, by the clock and by the time that passed, and how it is kept."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import structlog

from optimizer.service.folder import read_json
from twin.text import format_duration

LATEST: Final = 1e11
"""Greatest moment that a clock may show, in the year 5138. [s]"""

APART: Final = 5.0
"""How far the clock and the time that passed may differ before it is told. [s]"""

PROOF: Final = 600.0
"""How long the clock alone must have said that a HOLD of an earlier run is over. [s]"""

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
    is_told
        Whether it has been told that it ran out: the next start does not tell it again.
    """

    author: str
    reason: str
    since: float
    until: float | None = None
    is_told: bool = field(default=False, compare=False)

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


@dataclass
class Kept:
    """A HOLD, and how long it lasts by the time that passes in this process.

    Attributes
    ----------
    hold
        The HOLD.
    lasts
        Moment at which its hours have passed; None if only the clock can tell, and was not asked.
        [s]
    is_sure
        Whether its hours were counted from its beginning.
    ended
        Moment at which both had said that it is over, while they do. [s]
    """

    hold: Hold
    lasts: float | None = None
    is_sure: bool = False
    ended: float | None = None

    def look(self, now: float, moment: float) -> bool:
        """Return whether it is in force by the clock, or by the time that passed. [s]"""
        until = self.hold.until
        if until is None:
            return True
        if self.lasts is None:
            self.lasts = moment + min(until - now, until - self.hold.since)
        is_in_force = now < until or moment < self.lasts
        if is_in_force and self.ended is not None:
            self.ended, self.lasts = None, None  # the clock was ahead, and counts anew
            self.hold = replace(self.hold, is_told=False)
        elif not is_in_force and self.ended is None:
            self.ended = moment
        return is_in_force

    def is_over(self, moment: float) -> bool:
        """Return whether it is over for good."""
        return self.ended is not None and (self.is_sure or moment - self.ended >= PROOF)

    def doubt(self, now: float, moment: float) -> str:
        """Return why it is in force though one of both says that it is over; else empty."""
        if self.ended is not None or self.lasts is None or self.hold.until is None:
            return ""
        by_clock, to_pass = self.hold.until - now, self.lasts - moment
        if min(by_clock, to_pass) > 0.0 or abs(by_clock - to_pass) <= APART:
            return ""
        ours = f"the HOLD of {self.hold.author} is kept"
        if by_clock <= 0.0:
            over = f"by the clock it is over for {format_duration(-by_clock)}"
            return f"{ours}: {over}, and {format_duration(to_pass)} of it have not passed"
        left = f"its hours have passed, and by the clock it lasts {format_duration(by_clock)} more"
        return f"{ours}: {left}"


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
            is_told = isinstance(row, dict) and row.get("is_told") is True
            return Hold(author=author, reason=reason, since=since, until=until, is_told=is_told)
    return None
