"""Commits follow one another on the clock: Icechunk refuses what is not later than all before it.

A clock that was set back is no fault of the archive. For a moment it is waited for; for longer the
writer says so, and what it has stays in the journals until the clock has caught up. Only one that
has been far behind for a while may be right, and the commits made by one that was ahead.
"""

import time
from collections.abc import Callable
from typing import Final

import icechunk

from telemetry.archive.snapshot import BRANCH
from twin.errors import ArchiveError

WAIT: Final = 5.0
"""Longest wait for a clock that is behind: two commits may fall in one tick of it. [s]"""

LONGEST: Final = 3600.0
"""How far the clock may be behind until the repository goes back to an earlier commit. [s]"""

PROOF: Final = 600.0
"""How long it must have been so: machines start with a clock that is wrong for a minute. [s]"""

TICK: Final = 0.001
"""Time between two looks at the clock. [s]"""

LATER: Final = 0.05
"""How much later a commit must be: Icechunk may read a clock of ticks of milliseconds. [s]"""


class ClockError(ArchiveError):
    """The clock is behind the last commit.

    Attributes
    ----------
    behind
        How far. [s]
    """

    def __init__(self, behind: float) -> None:
        self.behind = behind
        super().__init__(f"the clock is {behind:.0f} s behind the last commit")


class Doubt:
    """Whether a clock far behind is to be believed rather than the commits made by it.

    Parameters
    ----------
    passed
        Tells the time that passes, whatever the clock is set to. [s]
    """

    def __init__(self, passed: Callable[[], float] = time.monotonic) -> None:
        self._passed = passed
        self._since: float | None = None

    def is_over(self, error: ClockError | None) -> bool:
        """Return whether it has been far behind for a while; None says that it is not behind."""
        if error is None or error.behind <= LONGEST:
            self._since = None
            return False
        if self._since is None:
            self._since = self._passed()
        return self._passed() - self._since >= PROOF


def written(repository: icechunk.Repository) -> float:
    """Return when the last commit was made, in seconds since 1970."""
    last = repository.lookup_snapshot(repository.lookup_branch(BRANCH))
    return last.written_at.timestamp()


def await_tick() -> None:
    """Wait until the clock shows a later moment than that of whatever was written before."""
    await_later(time.time())


def await_later(last: float) -> None:
    """Wait until the clock shows a later moment than that of a commit.

    Parameters
    ----------
    last
        When the commit was made. [s since 1970]

    Raises
    ------
    ClockError
        If that takes longer than a moment.
    """
    while (behind := last - time.time()) >= -LATER:
        if behind > WAIT:  # it may also be set back while it is waited for
            raise ClockError(behind)
        time.sleep(TICK)
