"""Heartbeats to plant and systemd, and the loop of periodic tasks."""

import os
import socket
import time
from collections.abc import Callable
from threading import Event
from typing import Final

import numpy as np
import structlog

HEARTBEAT_INTERVAL_S: Final = 10.0
"""Time between two heartbeats, by the plant's contract. [s]"""

DECISION_OVERDUE_S: Final = 90.0
"""Duration of a decision from which it is reported as stuck; solvers are killed earlier. [s]"""

WATCHDOG_LIMIT_S: Final = 300.0
"""Duration of a decision after which systemd restarts the service. [s]"""


class Watchdog:
    """Send heartbeats while no decision is stuck.

    Attributes
    ----------
    decision_started
        Start of the current decision by the monotonic clock; infinite if there is none. [s]
    """

    def __init__(self, beat: Callable[[], None]) -> None:
        self._beat = beat
        self._last_beat = 0.0
        self.decision_started = np.inf

    @property
    def error(self) -> str:
        """Why the current quarter-hour has no decision: it is stuck; empty if it is not."""
        taken = time.monotonic() - self.decision_started
        if taken <= DECISION_OVERDUE_S:
            return ""
        return (
            f"the decision is stuck for {taken / 60.0:.1f} min; the plant gets no heartbeat, and "
            f"systemd restarts the service after {WATCHDOG_LIMIT_S / 60.0:.0f} min"
        )

    def update(self) -> None:
        """Send a heartbeat if it is due; none to the plant while a decision is stuck."""
        moment = time.monotonic()
        if moment - self._last_beat < HEARTBEAT_INTERVAL_S:
            return
        self._last_beat = moment
        if moment - self.decision_started < WATCHDOG_LIMIT_S:
            notify_systemd("WATCHDOG=1")
        if not self.error:
            self._beat()


POLL_INTERVAL_S: Final = 0.1
"""Time between two rounds of the periodic tasks. [s]"""

logger = structlog.get_logger(__name__)


def run_periodic(stop: Event, *tasks: Callable[[], None]) -> None:
    """Run all tasks repeatedly until ``stop`` is set; a failing task affects no other."""
    while not stop.wait(POLL_INTERVAL_S):
        for task in tasks:
            try:
                task()
            except Exception:
                logger.exception("periodic task failed", turn=task.__qualname__)


NOTIFY_SOCKET_VARIABLE: Final = "NOTIFY_SOCKET"
"""Environment variable with systemd's socket; a name that begins with @ is abstract."""


def notify_systemd(state: str) -> None:
    """Send a state such as ``READY=1`` or ``WATCHDOG=1`` to systemd; without systemd do nothing."""
    path = os.environ.get(NOTIFY_SOCKET_VARIABLE)
    if not path:
        return
    address = f"\0{path[1:]}" if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.sendto(state.encode(), address)
    except OSError as error:
        logger.warning("systemd not notified", socket=path, because=str(error))
