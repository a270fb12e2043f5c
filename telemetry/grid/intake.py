"""Messages that are acknowledged only once what they say is kept, in their order."""

import threading
from collections.abc import Callable

import structlog

from telemetry.client import Client, Message
from twin.errors import JournalError

_logger = structlog.get_logger(__name__)


class Intake:
    """What a client has brought and what is not handled yet.

    Attributes
    ----------
    trouble
        Why the first message that waits cannot be kept; empty if none waits.
    """

    def __init__(self) -> None:
        self.trouble = ""
        self._waiting: list[Message] = []
        self._lock = threading.Lock()

    def take[T](
        self, client: Client, handle: Callable[[Message], T], *, timeout: float = 0.0
    ) -> list[T]:
        """Handle what waits, and what has come, and acknowledge it.

        Parameters
        ----------
        client
            Who brings it.
        handle
            Called with each message. If it raises JournalError, this one and all after it wait
            for the next time.
        timeout
            Longest wait for the first message. [s]

        Returns
        -------
        list
            What was returned for each.
        """
        with self._lock:
            waiting = [*self._waiting, *client.take(timeout=timeout)]
            told: list[T] = []
            trouble = ""
            for message in waiting:
                try:
                    told.append(handle(message))
                except JournalError as error:
                    trouble = str(error)
                    if not self.trouble:
                        _logger.exception("not kept, so not taken", topic=message.topic)
                    break
            self.trouble = trouble
            self._waiting = waiting[len(told) :]
            client.acknowledge(waiting[: len(told)])
        return told
