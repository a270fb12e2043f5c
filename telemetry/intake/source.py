"""Where an ingester takes messages from, and how it waits for them."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol

from telemetry.wire.mailbox import Message

LIMIT: Final = 5000
"""Messages of one append."""

GATHER: Final = 0.010
"""Wait for more messages before an append. [s]"""

PATIENCE: Final = 0.1
"""Longest wait for the first message. [s]"""

FAREWELL: Final = 5.0
"""Longest time for which what waits is taken in at the end. [s]"""

AGAIN: Final = 1.0
"""Wait after an append that failed. [s]"""

MOST_WAITING: Final = 50_000
"""Messages that wait for room on the disk; beyond that, nothing more is taken."""


class Source(Protocol):
    """Where messages come from: a :class:`telemetry.client.Client`."""

    def take(self, limit: int = ..., timeout: float = ...) -> list[Message]:
        """Return what came, after waiting for the first at most so long. [s]"""

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Let the broker forget messages."""

    def publish(self, topic: str, payload: bytes) -> object:
        """Say something, now or never."""

    @property
    def oversized(self) -> Sequence[tuple[str, int]]:
        """Topics and sizes of the latest messages that were too large. [B]"""

    @property
    def counters(self) -> Mapping[str, int]:
        """What happened; ``oversized`` among it."""


class Oversized:
    """The messages of a source that were too large, each told once.

    Attributes
    ----------
    count
        How many there were when this was asked last. [1]
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.count = 0

    def new(self) -> list[tuple[str, int]]:
        """Return topics and sizes [B] of those since this was asked before, as far as known."""
        before, self.count = self.count, self._source.counters.get("oversized", 0)
        new = self.count - before
        return list(self._source.oversized)[-new:] if new else []


def rest(source: Source) -> Iterator[list[Message]]:
    """Yield what waits at the end, until there is no more or it takes too long."""
    deadline = time.monotonic() + FAREWELL
    while messages := source.take(LIMIT, 0.0):
        yield messages
        if len(messages) < LIMIT or time.monotonic() > deadline:
            return


def gather(source: Source) -> list[Message]:
    """Return the messages of one append: the first is awaited, and a few wait for more."""
    messages = source.take(LIMIT, PATIENCE)
    if messages and len(messages) < LIMIT:
        time.sleep(GATHER)
        messages += source.take(LIMIT - len(messages), 0.0)
    return messages
