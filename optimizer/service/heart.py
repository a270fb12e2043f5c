"""The heart of the service: tells plant and systemd that it lives, unless a decision is stuck."""

import time
from collections.abc import Callable
from typing import Final

import numpy as np

from optimizer.service.notify import notify

HEARTBEAT: Final = 10.0
"""Time between two of our heartbeats, as the plant's contract wants it. [s]"""

LATE: Final = 90.0
"""Length of a decision from which on it is told to be stuck; a solver is killed before. [s]"""

STUCK: Final = 300.0
"""Length of a decision after which systemd starts us anew. [s]"""


class Heart:
    """Beats whenever it is time.

    Parameters
    ----------
    beat
        Tells the plant.

    Attributes
    ----------
    busy
        Since when a decision is being made, of the monotonic clock; infinite if none is. [s]
    """

    def __init__(self, beat: Callable[[], None]) -> None:
        self._beat = beat
        self._beaten = 0.0
        self.busy = np.inf

    @property
    def trouble(self) -> str:
        """Why the quarter-hour that runs has no decision: its making is stuck; empty if not."""
        taken = time.monotonic() - self.busy
        if taken <= LATE:
            return ""
        return (
            f"the decision is stuck: none has come for {taken / 60.0:.1f} min; the plant hears no "
            f"heartbeat, and systemd starts the service anew after {STUCK / 60.0:.0f} min"
        )

    def look(self) -> None:
        """Beat if it is time; while a decision is stuck the plant is left to its own watch."""
        moment = time.monotonic()
        if moment - self._beaten < HEARTBEAT:
            return
        self._beaten = moment
        if moment - self.busy < STUCK:
            notify("WATCHDOG=1")
        if not self.trouble:
            self._beat()
