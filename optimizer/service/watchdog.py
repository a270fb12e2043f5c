"""Supervision of decisions: heartbeats, and the loop of periodic tasks."""

import os
import socket
from collections.abc import Callable
from threading import Event
from typing import Final

import numpy as np
import structlog

from telemetry.runtime import SupervisedThread

logger = structlog.get_logger(__name__)

HEARTBEAT_INTERVAL_S: Final = 10.0
"""Time between two heartbeats, by the plant's contract. [s]"""

DECISION_OVERDUE_S: Final = 90.0
"""Duration of a decision from which it is reported as stuck; solvers are killed earlier. [s]"""

WATCHDOG_LIMIT_S: Final = 300.0
"""Duration of a decision after which systemd restarts the service. [s]"""


class Watchdog:
    """Send heartbeats while no decision is stuck; report to systemd while all threads work.

    - `decision_started`: start of the current decision by the monotonic clock; infinite if there is
      none. [s]
    """

    def __init__(self, beat: Callable[[], None], monotonic: Callable[[], float]) -> None:
        self._beat, self._monotonic = beat, monotonic
        self._last_beat = 0.0
        self._threads: list[SupervisedThread] = []
        self._reported = ""
        self.decision_started = np.inf

    def supervise(self, *threads: SupervisedThread) -> None:
        """Let systemd restart the service if one of these threads ends or hangs."""
        self._threads += threads

    @property
    def thread_failures(self) -> list[str]:
        """Which threads do not work."""
        return [failure for thread in self._threads if (failure := thread.failure)]

    @property
    def error(self) -> str:
        """Why the current quarter-hour has no decision: it is stuck; empty if it is not."""
        duration = self._monotonic() - self.decision_started
        if duration <= DECISION_OVERDUE_S:
            return ""
        return (
            f"the decision is stuck for {duration / 60.0:.1f} min; the plant gets no heartbeat, "
            f"and systemd restarts the service after {WATCHDOG_LIMIT_S / 60.0:.0f} min"
        )

    def send_heartbeat_if_due(self) -> None:
        """Send a heartbeat if it is due.

        The plant gets none while a decision is stuck, and systemd none while one is stuck for long,
        or a thread does not work.
        """
        moment = self._monotonic()
        if moment - self._last_beat < HEARTBEAT_INTERVAL_S:
            return
        self._last_beat = moment
        failure = "; ".join(self.thread_failures)
        if failure and not self._reported:
            logger.error("systemd restarts the service", because=failure)
        self._reported = failure
        if not failure and moment - self.decision_started < WATCHDOG_LIMIT_S:
            notify_systemd("WATCHDOG=1")
        if not self.error:
            self._beat()


PERIODIC_TASK_INTERVAL_S: Final = 0.1
"""Time between two rounds of the periodic tasks. [s]"""

PERIODIC_TASK_DEADLINE_S: Final = 120.0
"""Longest round of periodic tasks. [s]"""


def run_periodic(stop: Event, *tasks: Callable[[], None]) -> None:
    """Run all tasks repeatedly until ``stop`` is set; a failing task affects no other."""
    while not stop.wait(PERIODIC_TASK_INTERVAL_S):
        for task in tasks:
            try:
                task()
            except Exception:
                logger.exception("periodic task failed", turn=task.__qualname__)


def periodic_thread(
    name: str, stop: Event, *tasks: Callable[[], None], at_end: Callable[[], None] | None = None
) -> SupervisedThread:
    """Return a thread that runs tasks repeatedly until ``stop`` is set, and then ``at_end``."""

    def work() -> None:
        run_periodic(stop, thread.note_progress, *tasks)
        if at_end is not None:
            at_end()

    thread = SupervisedThread(work, name=name, deadline_s=PERIODIC_TASK_DEADLINE_S, ended=stop)
    return thread


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
