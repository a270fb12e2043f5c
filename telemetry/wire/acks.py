"""What is to be acknowledged to the broker, and the newest of it, which is kept back.

NATS 2.10 that is killed while its store is empty counts from 0 again, and takes what comes next
for what it has delivered already: up to hundreds of messages are lost that it has acknowledged.
So a session that outlives its connections never lets the store become empty: the newest of its
messages stays unacknowledged until a newer one is durable. See ADR 049.
"""

from collections import Counter, deque
from collections.abc import Iterable


class Acks:
    """Acknowledgements on their way from any thread to that of the connection.

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
        self._has_room = False
        self._kept: list[int] = []

    def add(self, marks: Iterable[tuple[int, int]]) -> None:
        """Have messages acknowledged, each told by connection and number; from any thread."""
        self._pending.extend(marks)

    def __bool__(self) -> bool:
        """Return whether any wait to be sent."""
        return bool(self._pending)

    def begin(self) -> None:
        """Forget what was kept back: a new connection brings it again."""
        self._has_room, self._kept = False, []

    def is_kept(self, number: int) -> bool:
        """Tell whether a message of this connection is the one that is kept back."""
        return number in self._kept

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

        Notes
        -----
        Nothing is kept back before two messages were here at once: a broker that sends one at a
        time would wait for ever.
        """
        pending = [self._pending.popleft() for _ in range(len(self._pending))]
        numbers = [number for its, number in pending if its == generation]
        self._counts["acknowledged"] += len(numbers)
        self._counts["acknowledged_too_late"] += len(pending) - len(numbers)
        self._has_room |= len(numbers) > 1
        if self._keeps_newest and self._has_room and numbers:
            *numbers, newest = [*self._kept, *numbers]
            self._kept = [newest]
        return numbers
