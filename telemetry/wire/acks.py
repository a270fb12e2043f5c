"""What is to be acknowledged to the broker, and the newest of it, which is kept back.

NATS 2.10 that is killed while its store is empty counts from 0 again, and takes what comes next
for what it has delivered already: up to hundreds of messages are lost that it has acknowledged.
So a session that outlives its connections never lets the store become empty: the newest of its
messages stays unacknowledged until a newer one is durable. See ADR 022.
"""

import time
from collections import Counter, deque
from collections.abc import Iterable
from typing import Final

PATIENCE: Final = 2.0
"""Longest time that a message is kept back before it is known that the broker sends more. [s]"""


class Acks:
    """Acknowledgements on their way from any thread to that of the connection.

    Nothing is kept back from a broker that sends one message at a time: it would wait for ever.
    Whether it does is known once two were here at once.

    Parameters
    ----------
    keeps_newest
        Whether the newest is kept back.
    counts
        Where those that came in time and those too late are counted.
    """

    def __init__(self, *, keeps_newest: bool, counts: Counter[str]) -> None:
        self._keeps_newest, self._counts = keeps_newest, counts
        self._pending: deque[tuple[int, int]] = deque()
        self.begin()

    def add(self, marks: Iterable[tuple[int, int]]) -> None:
        """Have messages acknowledged, each told by connection and number; from any thread."""
        self._pending.extend(marks)

    def __bool__(self) -> bool:
        """Return whether any wait to be sent."""
        return bool(self._pending)

    def begin(self) -> None:
        """Forget what was kept back: a new connection brings it again."""
        self._kept: list[int] = []
        self._since = 0.0
        self._sends_more: bool | None = None

    def is_kept(self, number: int) -> bool:
        """Tell whether a message that comes has the number of the one that is kept back."""
        return number in self._kept

    def note(self) -> None:
        """Take down that another message has come."""
        if self._kept:
            self._sends_more = True

    def take(self, generation: int) -> list[int]:
        """Return what to send on a connection.

        Parameters
        ----------
        generation
            The connection, counted from 1.

        Returns
        -------
        list of int
            Numbers of messages; those of earlier connections came too late.
        """
        numbers = self._handed_in(generation)
        if len(numbers) > 1:
            self._sends_more = True
        if not self._keeps_newest:
            return numbers
        if self._kept and self._sends_more is None and time.monotonic() > self._since + PATIENCE:
            self._sends_more = False
        if self._sends_more is False:
            numbers, self._kept = [*self._kept, *numbers], []
        elif numbers:
            *numbers, newest = [*self._kept, *numbers]
            self._kept, self._since = [newest], time.monotonic()
        return numbers

    def _handed_in(self, generation: int) -> list[int]:
        pending = [self._pending.popleft() for _ in range(len(self._pending))]
        numbers = [number for its, number in pending if its == generation]
        self._counts["acknowledged"] += len(numbers)
        self._counts["acknowledged_too_late"] += len(pending) - len(numbers)
        return numbers
