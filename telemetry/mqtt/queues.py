"""What waits between the wire and us: messages that came, and messages that shall go.

Nothing here knows of sockets; one thread of the client puts and takes on the wire's side, any
thread on ours.
"""

import socket
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple

MAX_PAYLOAD_BYTES: Final = 256 * 1024
"""Longest payload that is let in or sent. [B]"""

MAX_INBOX_BYTES: Final = 256 * 1024 * 1024
"""Payload that an inbox holds before reading stops. [B]"""


class ReceivedMessage(NamedTuple):
    """One message that came.

    Attributes
    ----------
    topic, payload, qos
        As on the wire.
    retain
        Whether the broker had kept it from before we subscribed.
    connection_epoch
        The connection that brought it, counted from 1; only that one can acknowledge it.
    packet_id
        Its packet number on that connection, 0 at QoS 0.
    dup
        Whether the broker says that it has sent it before.
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
    """What the broker says for us when we vanish without a word."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = True


class PublishToken:
    """The promise of an answer from the broker.

    Parameters
    ----------
    awaited
        How many answers must come.
    """

    _told: ClassVar = threading.Condition()  # one for all: few wait, many are made

    __slots__ = ("_awaited", "_is_granted")

    def __init__(self, awaited: int = 1) -> None:
        self._awaited = awaited
        self._is_granted = True

    def wait(self, timeout: float) -> bool:
        """Wait for the broker's answer; return whether it came in time and was yes.

        Parameters
        ----------
        timeout
            Longest wait. [s]
        """
        with PublishToken._told:
            PublishToken._told.wait_for(lambda: self.is_complete, timeout)
        return self.is_complete and self._is_granted

    @property
    def is_complete(self) -> bool:
        """Whether all is known that ever will be."""
        return self._awaited <= 0

    def complete(self, is_granted: bool) -> None:
        """Take one answer down."""
        with PublishToken._told:
            self._awaited -= 1
            self._is_granted &= is_granted
            if self._awaited <= 0:
                PublishToken._told.notify_all()


REJECTED: Final = PublishToken()
"""What is given for messages of which no answer will come; its wait returns False at once."""

REJECTED.complete(False)


def wait_all(tokens: Iterable[PublishToken], timeout: float) -> bool:
    """Return whether the broker says yes to all, within one time for all of them. [s]"""
    deadline = time.monotonic() + timeout
    return all([one.wait(max(deadline - time.monotonic(), 0.0)) for one in tokens])


class OutgoingMessage(NamedTuple):
    """One message that shall go.

    Attributes
    ----------
    topic, payload, qos, retain
        As on the wire.
    token
        Promise of the broker's answer.
    connection_epoch
        The connection that stood when it was posted.
    conflate
        Whether it alone matters of all that are so posted to its topic.
    """

    topic: str
    payload: bytes
    qos: int
    retain: bool
    token: PublishToken
    connection_epoch: int
    conflate: bool = False


class OutgoingQueue:
    """The letters that wait to go, in the order in which they were posted.

    One that alone matters takes the place of the one before it on its topic, whose receipt says
    no, and goes with those of its own time. Any thread may post; one takes.

    Parameters
    ----------
    depth
        Letters that it holds.

    Attributes
    ----------
    replaced
        Letters that went nowhere as a newer one took their place.
    """

    def __init__(self, depth: int) -> None:
        self.replaced = 0
        self._depth = depth
        self._lock = threading.Lock()
        self._letters: OrderedDict[str | int, OutgoingMessage] = (
            OrderedDict()
        )  # takes its first at once
        self._posted = 0

    def put(self, letter: OutgoingMessage) -> bool:
        """Lay a letter last; return whether there was room."""
        with self._lock:
            older = self._letters.pop(letter.topic, None) if letter.conflate else None
            if older is None and len(self._letters) >= self._depth:
                return False
            self._posted += 1
            self._letters[letter.topic if letter.conflate else self._posted] = letter
        if older is not None:
            self._let_go(older)
        return True

    def take(self) -> OutgoingMessage | None:
        """Take the first letter, if there is one."""
        with self._lock:
            return self._letters.popitem(last=False)[1] if self._letters else None

    def put_back(self, letter: OutgoingMessage) -> None:
        """Lay a letter first that was taken and could not go, unless a newer one is here."""
        with self._lock:
            is_old = letter.conflate and letter.topic in self._letters
            if not is_old:
                self._posted += 1
                place = letter.topic if letter.conflate else self._posted
                self._letters[place] = letter
                self._letters.move_to_end(place, last=False)
        if is_old:
            self._let_go(letter)

    def _let_go(self, letter: OutgoingMessage) -> None:
        with self._lock:
            self.replaced += 1
        if letter.qos:
            letter.token.complete(is_granted=False)

    def __len__(self) -> int:
        """Return how many letters wait."""
        return len(self._letters)


class IncomingQueue:
    """The messages that came and that nobody has taken yet.

    Parameters
    ----------
    depth
        Messages above which QoS 0 is dropped. At twice that, or at :data:`MAX_INBOX_BYTES`, the
        inbox says that it is full and reading from the socket shall stop.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._messages: deque[ReceivedMessage] = deque()
        self._bytes = 0
        self._filled = threading.Condition()

    @property
    def is_full(self) -> bool:
        """Whether reading shall stop."""
        return len(self._messages) >= 2 * self._depth or self._bytes >= MAX_INBOX_BYTES

    def put(self, message: ReceivedMessage) -> bool:
        """Keep a message for whom it may concern; return False if it was dropped.

        Those who wait are not woken before :meth:`ring`.
        """
        if message.qos == 0 and len(self._messages) >= self._depth:
            return False
        with self._filled:
            self._messages.append(message)
            self._bytes += len(message.payload)
        return True

    def wake(self) -> None:
        """Wake those who wait for messages."""
        with self._filled:
            if self._messages:
                self._filled.notify_all()

    def take(self, limit: int, timeout: float) -> list[ReceivedMessage]:
        """Return the oldest messages, at most so many, once there are any or time is up. [s]"""
        with self._filled:
            self._filled.wait_for(lambda: self._messages, timeout)
            count = min(limit, len(self._messages))
            taken = [self._messages.popleft() for _ in range(count)]
            self._bytes -= sum(len(message.payload) for message in taken)
        return taken

    def __len__(self) -> int:
        """Return how many messages wait."""
        return len(self._messages)


class Waker:
    """A file that ``select`` wakes for when another thread rings; silent until opened."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: tuple[socket.socket, socket.socket] | None = None
        self._is_rung = False

    def open(self) -> socket.socket:
        """Return what to wait for."""
        with self._lock:
            self._ends = socket.socketpair()
            return self._ends[0]

    def wake(self) -> None:
        """Wake the one who waits; once is enough until he hears it."""
        if not self._is_rung:
            with self._lock:
                if self._ends and not self._is_rung:
                    self._is_rung = True
                    self._ends[1].send(b"!")

    def drain(self) -> None:
        """Be ready for the next ring; what was laid before it is seen after this."""
        if self._ends:
            self._ends[0].recv(1)
            self._is_rung = False

    def close(self) -> None:
        """Ring no more."""
        with self._lock:
            for end in self._ends or ():
                end.close()
            self._ends = None
