"""What every long-running process needs: the mode of its clock, supervised threads, and logs.

A client may publish without end on its topics. Logging each refusal would fill the disk, and a full
disk stops planning, so repeated warnings are limited.
"""

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from threading import Event
from typing import Final

import structlog


class ClockMode(StrEnum):
    """Whether stamps of telemetry are compared with a clock.

    - `REAL`: stamps and the clock of this machine show the same time.
    - `SIMULATED`: a simulated plant sets the time by its ticks, at any date. Only its ticks show
      whether a stamp is early or late; before the first one, none is.
    """

    REAL = "real"
    SIMULATED = "simulated"


class SupervisedThread(threading.Thread):
    """A daemon thread that has to make progress until an event is set.

    - `work`: what it runs; it calls :meth:`note_progress` repeatedly.
    - `deadline_s`: longest time without progress. [s]
    - `ended`: set when the thread is to end.
    """

    def __init__(
        self, work: Callable[[], None], *, name: str, deadline_s: float, ended: Event
    ) -> None:
        super().__init__(target=work, name=name, daemon=True)
        self._deadline_s, self._ended = deadline_s, ended
        self._progress_at = time.monotonic()

    def start(self) -> None:
        """Start the thread; its deadline counts from here."""
        self.note_progress()
        super().start()

    def note_progress(self) -> None:
        """Note that the thread works."""
        self._progress_at = time.monotonic()

    @property
    def failure(self) -> str:
        """Why the thread does not work; empty if it works, has not started, or is to end."""
        if self.ident is None or self._ended.is_set():
            return ""
        remedy = "see the log, and restart the service"
        if not self.is_alive():
            return f"the {self.name} thread ended by itself: {remedy}"
        silence = time.monotonic() - self._progress_at
        if silence > self._deadline_s:
            return f"the {self.name} thread has made no progress for {silence:.0f} s: {remedy}"
        return ""


class _TolerantLogger(structlog.PrintLogger):
    """Logger that drops lines which cannot be written.

    Neither a full disk nor the end of the program that reads the log may stop a service.
    """

    def msg(self, message: str) -> None:
        with suppress(OSError):
            super().msg(message)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


def configure_logging() -> None:
    """Write logs to standard error: coloured lines to a terminal, else one JSON object a line."""
    stream = sys.stderr
    last: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if stream.isatty():
        last = structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: _TolerantLogger(stream),
    )


def run_with_logging[*Given](work: Callable[[*Given], None], *given: *Given) -> None:
    """Run the function of a spawned process, which does not inherit the configuration of logs."""
    configure_logging()
    work(*given)


MAX_LOGGED_REFUSALS: Final = 20
"""Refusals of one sender that are logged singly within a period. [1]"""

RATE_LIMIT_PERIOD_S: Final = 60.0
"""Period of rate limits, after which suppressed events are summed up. [s]"""

_logger = structlog.get_logger(__name__)


class RateLimiter:
    """Limit of the events of each sender within any period of :data:`RATE_LIMIT_PERIOD_S`.

    It may be used from any thread. ``limit`` is the number of events that it allows [1]; ``clock``
    returns the time [s].
    """

    def __init__(
        self, limit: int = MAX_LOGGED_REFUSALS, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit, self._clock, self._lock = limit, clock, threading.Lock()
        self._allowed: dict[str, deque[float]] = {}
        self._suppressed: dict[str, tuple[float, int]] = {}

    def allows(self, sender: str) -> bool:
        """Return whether a further event of a sender is within the limit; else count it."""
        with self._lock:
            moment = self._clock()
            allowed = self._allowed.setdefault(sender, deque(maxlen=self._limit))
            if len(allowed) < self._limit or moment - allowed[0] >= RATE_LIMIT_PERIOD_S:
                allowed.append(moment)
                return True
            begin, count = self._suppressed.get(sender, (moment, 0))
            self._suppressed[sender] = begin, count + 1
            return False

    def drain_suppressed(self) -> list[tuple[str, int]]:
        """Return and reset the numbers of suppressed events that began a period ago, by sender."""
        with self._lock:
            moment = self._clock()
            over = [
                sender
                for sender, (begin, _) in self._suppressed.items()
                if moment - begin >= RATE_LIMIT_PERIOD_S
            ]
            return [(sender, self._suppressed.pop(sender)[1]) for sender in over]

    def log_suppressed(self) -> None:
        """Log the number of suppressed refusals of each sender whose period is over."""
        for sender, count in self.drain_suppressed():
            _logger.warning("refusals suppressed", sender=sender, count=count)
