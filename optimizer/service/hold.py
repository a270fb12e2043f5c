"""HOLD: a person's order to stop optimising, its states, and its end by two clocks.

Several HOLDs may be in force at once; the site is held while one is. A HOLD with an end awaits a
person's release after it, unless it was placed to end by itself: then it ends when the clock is
past its end and its hours have also passed, so that a wrong clock ends none.
:data:`HOLD_TRANSITIONS` lists the states and what leads from one to another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

import msgspec

from optimizer.service.operators import NOT_SIGNED_IN
from twin.text import format_duration

END_WARNING_S: Final = 900.0
"""Time before the end of a HOLD from which on it is announced. [s]"""

MAX_TIMESTAMP_S: Final = 1e11
"""Largest accepted timestamp, in the year 5138. [s]"""

CLOCK_TOLERANCE_S: Final = 5.0
"""Difference of the two clocks that is not reported. [s]"""

EXPIRY_CONFIRMATION_S: Final = 600.0
"""Time for which the clock must confirm the end of a HOLD of an earlier process. [s]"""

MAX_DESCRIPTION_LENGTH: Final = 1000
"""Longest description of a HOLD, beyond which it is cut. [characters]"""


class HoldState(StrEnum):
    """State of one HOLD."""

    HELD = "held"
    EXPIRED = "expired"
    ENDED = "ended"


HOLD_TRANSITIONS: Final[Mapping[HoldState, Mapping[HoldState, str]]] = {
    HoldState.HELD: {
        HoldState.EXPIRED: "it ends by itself, as clock and elapsed time are past its end",
        HoldState.ENDED: "an operator releases it",
    },
    HoldState.EXPIRED: {
        HoldState.HELD: "the clock was ahead, and is set back before its end",
        HoldState.ENDED: "its end is confirmed",
    },
    HoldState.ENDED: {},
}
"""State -> states that may follow it, and what leads there."""


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
    - `is_signed_in`: whether its author is an operator; otherwise the author only states a name.
    - `combined_hold_count`: number of HOLDs that it stands for, beyond those listed one by one; 0
      if one. [1]
    - `is_expiry_reported`: whether its expiry was reported; the next start does not report it
      again.
    """

    number: int = 0
    author: str
    reason: str
    since: float
    until: float | None = None
    is_self_ending: bool = False
    is_signed_in: bool = True
    combined_hold_count: int = 0
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
            "is_signed_in": self.is_signed_in,
            "is_told": self.is_expiry_reported,
        } | ({"folded": self.combined_hold_count} if self.combined_hold_count else {})

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

    def describe(self) -> str:
        """Return author and reason as one text of limited length."""
        return f"HOLD by {self.author}: {self.reason}"[:MAX_DESCRIPTION_LENGTH]


@dataclass
class TimedHold:
    """A HOLD with its state, and its end by the time that passes in this process.

    - `monotonic_end`: time of the monotonic clock at which its hours have passed; None until it is
      first checked. [s]
    - `is_counted_from_start`: whether its hours were counted from its beginning.
    - `expired_at`: time of the monotonic clock at which it expired; NaN before. [s]
    """

    hold: Hold
    monotonic_end: float | None = None
    is_counted_from_start: bool = False
    state: HoldState = HoldState.HELD
    expired_at: float = float("nan")

    def update(self, now: float, moment: float) -> HoldState:
        """Return the state by the wall clock ``now`` and the monotonic clock ``moment``. [s]

        After a restart only the clock knows how many hours are left. So an expired HOLD ends after
        some minutes, and is held again if the clock turns out to have been wrong.
        """
        until = self.hold.until
        if until is None or not self.hold.is_self_ending or self.state is HoldState.ENDED:
            return self.state
        if self.monotonic_end is None:
            self.monotonic_end = moment + min(until - now, until - self.hold.since)
        if now < until or moment < self.monotonic_end:
            if self.state is HoldState.EXPIRED:
                self._enter(HoldState.HELD)
                self.monotonic_end = None  # the clock had been ahead: count again
                self.hold = replace(self.hold, is_expiry_reported=False)
        elif self.state is HoldState.HELD:
            self._enter(HoldState.EXPIRED)
            self.expired_at = moment
        is_confirmed = moment - self.expired_at >= EXPIRY_CONFIRMATION_S
        if self.state is HoldState.EXPIRED and (self.is_counted_from_start or is_confirmed):
            self._enter(HoldState.ENDED)
        return self.state

    def release(self) -> None:
        """End it by an operator's order."""
        self._enter(HoldState.ENDED)

    def _enter(self, state: HoldState) -> None:
        if state not in HOLD_TRANSITIONS[self.state]:
            raise ValueError(f"a HOLD that is {self.state} cannot become {state}")
        self.state = state

    def clock_conflict(self, now: float, moment: float) -> str:
        """Return why it is in force although one clock is past its end; else empty."""
        if (
            self.state is not HoldState.HELD
            or self.monotonic_end is None
            or self.hold.until is None
        ):
            return ""
        by_clock, to_pass = self.hold.until - now, self.monotonic_end - moment
        if min(by_clock, to_pass) > 0.0 or abs(by_clock - to_pass) <= CLOCK_TOLERANCE_S:
            return ""
        head = f"HOLD {self.hold.number} of {self.hold.author} stays in force"
        if by_clock <= 0.0:
            over = f"by the clock it ended {format_duration(-by_clock)} ago"
            return f"{head}: {over}, but {format_duration(to_pass)} of it have not passed"
        left = f"its hours have passed, but by the clock {format_duration(by_clock)} remain"
        return f"{head}: {left}"


def read_hold(row: object) -> Hold | None:
    """Return a stored HOLD, also one of an earlier version; None for a damaged row."""
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
            # the earlier format: a timed HOLD ended by itself, and the author says who is signed in
            is_timed, is_signed_in = until is not None, NOT_SIGNED_IN not in author
            return Hold(
                number=number if isinstance(number, int) else 0,
                author=author,
                reason=reason,
                since=since,
                until=until,
                is_self_ending=others.get("is_self_ending", is_timed) is True,
                is_signed_in=others.get("is_signed_in", is_signed_in) is True,
                combined_hold_count=folded if isinstance(folded, int) else 0,
                is_expiry_reported=others.get("is_told") is True,
            )
    return None


def _format_time(seconds: float) -> str:
    """Return seconds since 1970 as ISO 8601 in UTC."""
    return datetime.fromtimestamp(round(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
