"""Queues between the network thread and all other threads, and tokens for the broker's answers.

Nothing here uses the connection. One network thread puts received messages and takes outgoing ones;
any thread does the reverse.
"""

import socket
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple

MAX_TOPIC_BYTES: Final = 1024
"""Longest topic; it also bounds the memory of the cache of parsed topics. [B]"""

MAX_PAYLOAD_BYTES: Final = 256 * 1024
"""Largest payload that is received or sent. [B]"""

MAX_INBOX_BYTES: Final = 256 * 1024 * 1024
"""Payloads that an incoming queue holds before reading stops. [B]"""


class ReceivedMessage(NamedTuple):
    """A received message.

    - `topic`, `payload`, `qos`: as on the wire.
    - `retain`: whether the broker had stored it before the subscription.
    - `connection_epoch`: number of its connection, from 1; only on that one can it be acknowledged.
    - `packet_id`: packet id on that connection, 0 at QoS 0.
    - `dup`: whether the broker marks it as sent before.
    """

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    connection_epoch: int = 0
    packet_id: int = 0
    dup: bool = False


@dataclass(frozen=True)
class LastWill:
    """Message that the broker publishes when the connection is lost."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = True


class PublishToken:
    """Pending answer of the broker; ``awaited`` is the number of answers it needs."""

    _completed: ClassVar = threading.Condition()  # one for all: many tokens, few waiting threads

    __slots__ = ("_awaited", "_is_granted")

    def __init__(self, awaited: int = 1) -> None:
        self._awaited = awaited
        self._is_granted = True

    def wait(self, timeout: float) -> bool:
        """Return whether the broker accepts, and answers within a time. [s]"""
        with PublishToken._completed:
            PublishToken._completed.wait_for(lambda: self.is_complete, timeout)
        return self.is_complete and self._is_granted

    @property
    def is_complete(self) -> bool:
        """Whether all answers have arrived, or none can arrive any more."""
        return self._awaited <= 0

    def complete(self, is_granted: bool) -> None:
        """Record one answer."""
        with PublishToken._completed:
            self._awaited -= 1
            self._is_granted &= is_granted
            if self._awaited <= 0:
                PublishToken._completed.notify_all()


REJECTED: Final = PublishToken()
"""Token of messages without an answer; its wait returns False at once."""

REJECTED.complete(False)


def wait_all(tokens: Iterable[PublishToken], timeout: float) -> bool:
    """Return whether the broker accepts all within one time for all of them. [s]"""
    deadline = time.monotonic() + timeout
    return all([token.wait(max(deadline - time.monotonic(), 0.0)) for token in tokens])


class OutgoingMessage(NamedTuple):
    """A message to send.

    - `topic`, `payload`, `qos`, `retain`: as on the wire.
    - `connection_epoch`: number of the connection when it was published.
    - `conflate`: whether only the last such message of its topic is sent.
    """

    topic: str
    payload: bytes
    qos: int
    retain: bool
    token: PublishToken
    connection_epoch: int
    conflate: bool = False


class OutgoingQueue:
    """Messages that wait to be sent, in the order of publication.

    A conflated message replaces an earlier one on its topic, whose token completes as rejected, and
    waits at the end. Any thread may put; one thread takes.

    ``depth`` is the most messages that wait. ``replaced`` counts messages replaced by newer ones.
    """

    def __init__(self, depth: int) -> None:
        self.replaced = 0
        self._depth = depth
        self._lock = threading.Lock()
        # an ordered dict removes its first entry in constant time
        self._messages: OrderedDict[str | int, OutgoingMessage] = OrderedDict()
        self._count = 0

    def put(self, message: OutgoingMessage) -> bool:
        """Append a message; return False if the queue is full."""
        with self._lock:
            older = self._messages.pop(message.topic, None) if message.conflate else None
            if older is None and len(self._messages) >= self._depth:
                return False
            self._count += 1
            self._messages[message.topic if message.conflate else self._count] = message
        if older is not None:
            self._drop(older)
        return True

    def take(self) -> OutgoingMessage | None:
        """Return the first message and remove it; None if there is none."""
        with self._lock:
            return self._messages.popitem(last=False)[1] if self._messages else None

    def put_back(self, message: OutgoingMessage) -> None:
        """Put a taken message back to the front, unless a newer one has replaced it."""
        with self._lock:
            is_replaced = message.conflate and message.topic in self._messages
            if not is_replaced:
                self._count += 1
                key = message.topic if message.conflate else self._count
                self._messages[key] = message
                self._messages.move_to_end(key, last=False)
        if is_replaced:
            self._drop(message)

    def _drop(self, message: OutgoingMessage) -> None:
        with self._lock:
            self.replaced += 1
        if message.qos:
            message.token.complete(is_granted=False)

    def __len__(self) -> int:
        """Return the number of waiting messages."""
        return len(self._messages)


class IncomingQueue:
    """Received messages that nobody has taken yet.

    Above ``depth`` messages those of QoS 0 are dropped. At twice that, or at
    :data:`MAX_INBOX_BYTES`, the queue is full and reading from the socket stops.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._messages: deque[ReceivedMessage] = deque()
        self._bytes = 0
        self._filled = threading.Condition()

    @property
    def is_full(self) -> bool:
        """Whether reading from the socket must stop."""
        return len(self._messages) >= 2 * self._depth or self._bytes >= MAX_INBOX_BYTES

    def put(self, message: ReceivedMessage) -> bool:
        """Append a message; return False if it is dropped. Waiting threads need :meth:`wake`."""
        if message.qos == 0 and len(self._messages) >= self._depth:
            return False
        with self._filled:
            self._messages.append(message)
            self._bytes += len(message.payload)
        return True

    def wake(self) -> None:
        """Wake the threads that wait for messages."""
        with self._filled:
            if self._messages:
                self._filled.notify_all()

    def take(self, limit: int, timeout: float) -> list[ReceivedMessage]:
        """Return the oldest messages, at most ``limit``; wait for the first ``timeout``. [s]"""
        with self._filled:
            self._filled.wait_for(lambda: self._messages, timeout)
            count = min(limit, len(self._messages))
            taken = [self._messages.popleft() for _ in range(count)]
            self._bytes -= sum(len(message.payload) for message in taken)
        return taken

    def __len__(self) -> int:
        """Return the number of waiting messages."""
        return len(self._messages)


class Waker:
    """Socket by which other threads end a ``select`` call; without effect until opened."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: tuple[socket.socket, socket.socket] | None = None
        self._is_awake = False

    def open(self) -> socket.socket:
        """Return the socket to wait for."""
        with self._lock:
            self._ends = socket.socketpair()
            return self._ends[0]

    def wake(self) -> None:
        """End the wait of the network thread; repeated calls have no effect until it drains."""
        if not self._is_awake:
            with self._lock:
                if self._ends and not self._is_awake:
                    self._is_awake = True
                    self._ends[1].send(b"!")

    def drain(self) -> None:
        """Prepare for the next wake; work queued before it is seen after this."""
        if self._ends:
            self._ends[0].recv(1)
            self._is_awake = False

    def close(self) -> None:
        """Close the socket."""
        with self._lock:
            for end in self._ends or ():
                end.close()
            self._ends = None
