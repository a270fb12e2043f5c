"""Where logs go: the one place that configures them, for all commands and their processes."""

import logging
import sys
from collections.abc import Callable
from contextlib import suppress

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


def configure_logs() -> None:
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


def logged[*Given](work: Callable[[*Given], None], *given: *Given) -> None:
    """Do the work of a spawned process, which knows nothing of how its parent logs.

    Parameters
    ----------
    work, given
        What is to be done, with what.
    """
    configure_logs()
    work(*given)
