"""Configure logs for all commands and processes, and limit the rate of repeated warnings.

A client may publish without end on its topics. Logging each refusal would fill the disk,
and a full disk stops planning.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog


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


MAX_LOGGED: Final = 20
"""Refusals of one sender that are logged singly within a period. [1]"""

LOG_PERIOD_S: Final = 60.0
"""Period after which suppressed refusals are summed up. [s]"""

_logger = structlog.get_logger(__name__)


class LogRateLimiter:
    """Counter of refusals by sender, for any thread; ``clock`` returns the time. [s]"""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._counts: dict[str, tuple[float, int]] = {}

    def allows(self, sender: str) -> bool:
        """Count a refusal of a sender; return whether to log it singly."""
        with self._lock:
            begin, count = self._counts.get(sender, (self._clock(), 0))
            self._counts[sender] = begin, count + 1
        return count < MAX_LOGGED

    def drain_suppressed(self) -> list[tuple[str, int]]:
        """Return senders whose period is over and the number of suppressed refusals; reset them."""
        with self._lock:
            over = [
                sender
                for sender, (begin, _) in self._counts.items()
                if self._clock() - begin >= LOG_PERIOD_S
            ]
            counts = [(sender, self._counts.pop(sender)[1] - MAX_LOGGED) for sender in over]
        return [(sender, count) for sender, count in counts if count > 0]

    def log_suppressed(self) -> None:
        """Log the number of suppressed refusals of each sender whose period is over."""
        for sender, count in self.drain_suppressed():
            _logger.warning("refusals suppressed", sender=sender, count=count)
