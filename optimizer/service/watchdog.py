"""The heart of the service: tells plant and systemd that it lives, unless a decision is stuck.

What is done between two decisions, all in turn: what fails keeps nothing else from its turn.

Tell systemd how the service is.
"""

import os
import socket
import time
from collections.abc import Callable
from threading import Event
from typing import Final

import numpy as np
import structlog

HEARTBEAT_INTERVAL_S: Final = 10.0
"""Time between two of our heartbeats, as the plant's contract wants it. [s]"""

DECISION_OVERDUE_S: Final = 90.0
"""Length of a decision from which on it is told to be stuck; a solver is killed before. [s]"""

WATCHDOG_LIMIT_S: Final = 300.0
"""Length of a decision after which systemd starts us anew. [s]"""


class Watchdog:
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
        self.decision_started = np.inf

    @property
    def error(self) -> str:
        """Why the quarter-hour that runs has no decision: its making is stuck; empty if not."""
        taken = time.monotonic() - self.decision_started
        if taken <= DECISION_OVERDUE_S:
            return ""
        return (
            f"the decision is stuck: none has come for {taken / 60.0:.1f} min; the plant hears no "
            "heartbeat, and systemd starts the service anew after "
            f"{WATCHDOG_LIMIT_S / 60.0:.0f} min"
        )

    def update(self) -> None:
        """Beat if it is time; while a decision is stuck the plant is left to its own watch."""
        moment = time.monotonic()
        if moment - self._beaten < HEARTBEAT_INTERVAL_S:
            return
        self._beaten = moment
        if moment - self.decision_started < WATCHDOG_LIMIT_S:
            notify_systemd("WATCHDOG=1")
        if not self.error:
            self._beat()


POLL_INTERVAL_S: Final = 0.1
"""Time between two looks at everything. [s]"""

logger = structlog.get_logger(__name__)


def run_periodic(stop: Event, *tasks: Callable[[], None]) -> None:
    """Do all turns again and again, until it is to stop.

    Parameters
    ----------
    stop
        Set by whoever wants the end.
    tasks
        What is to be done, each by itself.
    """
    while not stop.wait(POLL_INTERVAL_S):
        for turn in tasks:
            try:
                turn()
            except Exception:
                logger.exception("housekeeping", turn=turn.__qualname__)


NOTIFY_SOCKET_VARIABLE: Final = "NOTIFY_SOCKET"
"""Where systemd names its socket; a name that begins with @ is abstract."""


def notify_systemd(state: str) -> None:
    """Send a word to systemd; without it nothing happens.

    Parameters
    ----------
    state
        ``READY=1``, ``WATCHDOG=1``, ``STOPPING=1``, or ``STATUS=`` and a line for people; several
        stand on a line each.
    """
    path = os.environ.get(NOTIFY_SOCKET_VARIABLE)
    if not path:
        return
    address = f"\0{path[1:]}" if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.sendto(state.encode(), address)
    except OSError as error:
        logger.warning("systemd does not hear", socket=path, because=str(error))
