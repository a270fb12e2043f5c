"""Points whose stamps are refused, as too old or of the future: how many, and how far off."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from telemetry.quality import PERIODS, Flag
from twin.run import Key
from twin.spans import in_words

SECOND: Final = np.timedelta64(1, "s")

MICROSECONDS: Final = 1e6
"""Of a second. [us]"""

REFUSED: Final = (Flag.FUTURE, Flag.LATE)
"""Verdicts on readings that are treated as if they had never come, for their stamp."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Off:
    """A point whose newest reading was refused for its stamp.

    Attributes
    ----------
    off
        Its stamp less the time at which it came. [timedelta64]
    since, last
        When the first of these readings came, and the newest, UTC.
    """

    off: np.timedelta64
    since: np.datetime64
    last: np.datetime64


class Misdated:
    """Points whose newest reading was refused for its stamp; one thread notes, others look."""

    def __init__(self) -> None:
        self._found: dict[Key, Off] = {}

    def note(
        self, key: Key, flag: Flag, *, time: np.datetime64, received: np.datetime64 | None
    ) -> None:
        """Take note of a verdict.

        Parameters
        ----------
        key
            Variable and object of the point.
        flag
            The verdict.
        time
            Stamp of the reading, UTC.
        received
            When it came, UTC; None in simulated time, where no stamp is refused.
        """
        if flag not in REFUSED or received is None:
            self._found.pop(key, None)
            return
        new = Off(off=time - received, since=received, last=received)
        before = self._found.get(key)
        self._found[key] = replace(new, since=before.since) if before else new

    def words_of(self, key: Key) -> str:
        """Return how far off the newest stamp of a point is; empty if it was not refused.

        Parameters
        ----------
        key
            Variable and object of the point.
        """
        found = self._found.get(key)
        return apart([found.off]) if found else ""

    def words(self, now: np.datetime64, period: np.timedelta64) -> str:
        """Return which or how many points are refused by now, and how far off; empty if none is.

        Parameters
        ----------
        now
            The moment, UTC.
        period
            How often points are repeated. One counts from its second round on: what waited for us
            comes late once, and is no wrong clock.
        """
        found = {
            key: one.off
            for key, one in self._found.copy().items()
            if one.last - one.since >= 0.5 * period and now - one.last <= PERIODS * period
        }
        if not found:
            return ""
        first = " of ".join(filter(None, next(iter(found))))
        off, others = apart(found.values()), len(found) > 1
        whose, such = (f"{len(found)} points", f", as of {first}") if others else (first, "")
        return f"stamps of {whose} are refused, {off}{such}: set the clocks"


def kept_ahead(times: NDArray[np.int64], latest: int) -> str:
    """Return how many stamps that were kept are ahead of the clock, by now; empty if none is.

    Parameters
    ----------
    times, latest
        The stamps, and the latest that is not of the future. [us since 1970]
    """
    ahead = times[times > latest] - latest
    if not ahead.size:
        return ""
    most = in_words(float(ahead.max()) / MICROSECONDS)
    return (
        f"{ahead.size} points or racks were heard last by a clock that was up to {most} ahead and "
        "was set back: they are not used until they speak again"
    )


def apart(offs: Iterable[np.timedelta64]) -> str:
    """Return in words how far stamps are from the clock here."""
    seconds = sorted(float(off / SECOND) for off in offs)
    ways = []
    for way, some in (
        ("behind", [-value for value in reversed(seconds) if value < 0.0]),
        ("ahead of", [value for value in seconds if value >= 0.0]),
    ):
        if some:
            least, most = some[0], some[-1]
            span = f"{least:.0f}" if most - least < 1.0 else f"{least:.0f} to {most:.0f}"
            ways.append(f"{span} s {way} the clock here")
    return " and ".join(ways)
