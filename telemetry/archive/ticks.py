"""Commits follow one another on the clock: Icechunk refuses what is not later than all before it.

A clock that was set back is no fault of the archive. For a moment it is waited for; for longer the
writer says so, and what it has stays in the journals until the clock has caught up.
"""

import time
from typing import Final

import icechunk

from telemetry.archive.snapshot import BRANCH
from twin.errors import ArchiveError

WAIT: Final = 5.0
"""Longest wait for a clock that is behind: two commits may fall in one tick of it. [s]"""

LONGEST: Final = 3600.0
"""How far the clock may be behind until the repository goes back to an earlier commit. [s]"""

TICK: Final = 0.001
"""Time between two looks at the clock. [s]"""

LATER: Final = 0.05
"""How much later a commit must be: Icechunk may read a clock of ticks of milliseconds. [s]"""


class ClockError(ArchiveError):
    """The clock is behind the last commit."""


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
        If that takes longer than a moment. A clock that is behind by more than an hour was wrong
        when the commit was made: then it is left to the repository to refuse the next one.
    """
    behind = last - time.time()
    if behind > LONGEST:
        return
    if behind > WAIT:
        message = f"the clock is {behind:.0f} s behind the last commit"
        raise ClockError(message)
    while time.time() <= last + LATER:
        time.sleep(TICK)
