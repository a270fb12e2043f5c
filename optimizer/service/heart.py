"""The heart of the service: tells plant and systemd that it lives, unless a decision is stuck."""

import time
from collections.abc import Callable
from typing import Final

import numpy as np

from optimizer.service.notify import notify

HEARTBEAT: Final = 10.0
"""Time between two of our heartbeats, as the plant's contract wants it. [s]"""

STUCK: Final = 300.0
"""Length of a decision after which systemd starts us anew; a solver is killed long before. [s]"""


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

    def look(self) -> None:
        """Beat if it is time; systemd hears it only while no decision is stuck."""
        moment = time.monotonic()
        if moment - self._beaten < HEARTBEAT:
            return
        self._beaten = moment
        if moment - self.busy < STUCK:
            notify("WATCHDOG=1")
        self._beat()
