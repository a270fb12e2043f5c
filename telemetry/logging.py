"""Of very many refusals the first are told one by one, and the rest as their number.

Who may write on a topic may write without end; a record and a log without end fill a disk, and a
full disk ends planning.

Where logs go: the one place that configures them, for all commands and their processes.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog


class _Lines(structlog.PrintLogger):
    """Lines of a log; what finds no room, or nobody who takes it, is left out.

    A full disk under the log, or the end of whoever reads it, must end no service.
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
        logger_factory=lambda *_: _Lines(stream),
    )


def run_with_logging[*Given](work: Callable[[*Given], None], *given: *Given) -> None:
    """Do the work of a spawned process, which knows nothing of how its parent logs.

    Parameters
    ----------
    work, given
        What is to be done, with what.
    """
    configure_logging()
    work(*given)


MAX_LOGGED: Final = 20
"""Refusals of one sender that are told one by one within a period. [1]"""

LOG_PERIOD_S: Final = 60.0
"""Time in which they are counted. [s]"""

_logger = structlog.get_logger(__name__)


class LogRateLimiter:
    """Counts the refusals of each sender; any thread may call anything.

    Parameters
    ----------
    passed
        Tells the time that passes here. [s]
    """

    def __init__(self, passed: Callable[[], float] = time.monotonic) -> None:
        self._passed, self._lock = passed, threading.Lock()
        self._counts: dict[str, tuple[float, int]] = {}

    def allows(self, who: str) -> bool:
        """Count a refusal of a sender; return whether it is to be told by itself."""
        with self._lock:
            begun, count = self._counts.get(who, (self._passed(), 0))
            self._counts[who] = begun, count + 1
        return count < MAX_LOGGED

    def drain_suppressed(self) -> list[tuple[str, int]]:
        """Return whose period is over, and how many were not told in it; they count anew."""
        with self._lock:
            over = [
                who
                for who, (begun, _) in self._counts.items()
                if self._passed() - begun >= LOG_PERIOD_S
            ]
            counts = [(who, self._counts.pop(who)[1] - MAX_LOGGED) for who in over]
        return [(who, count) for who, count in counts if count > 0]

    def log_suppressed(self) -> None:
        """Log how many were not told by themselves."""
        for who, count in self.drain_suppressed():
            _logger.warning("as many more without effect", sender=who, count=count)
