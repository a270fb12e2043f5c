"""Messages, their queues between the network thread and others, and tokens for broker answers.

Nothing here uses the connection. One network thread puts received messages and takes outgoing ones,
acknowledgements and subscriptions; any thread does the reverse.

In a session that outlives its connections, the newest message stays unacknowledged until a newer
one is durable. The reason is a defect of NATS 2.10: killed while its store is empty, it numbers
messages from 0 again and treats the next ones as delivered already. Hundreds of messages that it
has acknowledged are lost. So its store must never become empty; see ADR 022.
"""

import socket
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple, Protocol

import structlog

from twin.errors import JournalError

_logger = structlog.get_logger(__name__)

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
    """Pending answer of the broker."""

    _completed: ClassVar = threading.Condition()  # one for all: many tokens, few waiting threads

    __slots__ = ("_is_granted",)

    def __init__(self) -> None:
        self._is_granted: bool | None = None

    def wait(self, timeout: float) -> bool:
        """Return whether the broker accepts, and answers within a time. [s]"""
        with PublishToken._completed:
            PublishToken._completed.wait_for(lambda: self.is_complete, timeout)
        return self._is_granted is True

    @property
    def is_complete(self) -> bool:
        """Whether the answer has arrived, or cannot arrive any more."""
        return self._is_granted is not None

    def complete(self, is_granted: bool) -> None:
        """Record the answer; a refusal stays."""
        with PublishToken._completed:
            self._is_granted = is_granted and self._is_granted is not False
            PublishToken._completed.notify_all()


REJECTED_TOKEN: Final = PublishToken()
"""Token of messages without an answer; its wait returns False at once."""

REJECTED_TOKEN.complete(False)


def wait_all(tokens: Iterable[PublishToken], timeout: float) -> bool:
    """Return whether the broker accepts all within one time for all of them. [s]"""
    deadline = time.monotonic() + timeout
    return all([token.wait(max(deadline - time.monotonic(), 0.0)) for token in tokens])


class MessageClient(Protocol):
    """What the service needs of a client of a broker: :class:`telemetry.mqtt.client.Client`."""

    @property
    def url(self) -> str:
        """URL of the broker, without the password."""

    @property
    def is_connected(self) -> bool:
        """Whether the broker has accepted the connection and it lasts."""

    @property
    def error(self) -> str:
        """Current problems and their remedies; empty if there are none."""

    @property
    def connection_error(self) -> str:
        """Current problem of the connection alone."""

    @property
    def counters(self) -> Mapping[str, int]:
        """Counters since the start."""

    @property
    def oversized_messages(self) -> Sequence[tuple[str, int]]:
        """Topics and sizes of the latest messages that were too large. [B]"""

    def start(self) -> None:
        """Connect in the background."""

    def subscribe(self, *filters: str, qos: int = ...) -> PublishToken:
        """Receive topics from now on."""

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = ...,
        retain: bool = ...,
        conflate: bool = ...,
    ) -> PublishToken:
        """Send a message; never blocks."""

    def poll(self, limit: int = ..., timeout: float = ...) -> list[ReceivedMessage]:
        """Return received messages; wait for the first at most ``timeout``. [s]"""

    def acknowledge(self, messages: Sequence[ReceivedMessage]) -> None:
        """Acknowledge messages, which the broker then deletes."""

    def stop(self, timeout: float = ...) -> None:
        """Send waiting messages, disconnect and end."""


MAX_HANDLED_MESSAGES: Final = 50
"""Most messages that a handler takes at once, such as load targets of 25 ms each. [1]"""


class AcknowledgingHandler:
    """Handler of a client's messages that acknowledges each one once it is handled.

    - `error`: why the first waiting message cannot be stored; empty if none waits.
    - `failed`: messages whose handling raised an unexpected error.
    """

    def __init__(self) -> None:
        self.error = ""
        self.failed = 0
        self._waiting: list[ReceivedMessage] = []
        self._lock = threading.Lock()

    def handle_all[T](
        self, client: MessageClient, handle: Callable[[ReceivedMessage], T], *, timeout: float = 0.0
    ) -> list[T]:
        """Handle waiting and new messages in order, acknowledge them, and return the results.

        It takes at most :data:`MAX_HANDLED_MESSAGES` at once, so that a burst delays nothing else.
        If ``handle`` raises JournalError, its message and all later ones wait for the next call.
        After any other error its message is logged, counted and acknowledged without a result: it
        would fail again, and delays no other message. ``timeout`` is the longest wait for the
        first message. [s]
        """
        with self._lock:
            waiting = self._waiting
            if room := max(MAX_HANDLED_MESSAGES - len(waiting), 0):
                waiting = [*waiting, *client.poll(room, timeout)]
            results: list[T] = []
            failure, handled = "", 0
            for message in waiting:
                try:
                    results.append(handle(message))
                except JournalError as error:
                    failure = str(error)
                    if not self.error:
                        _logger.exception("message not stored", topic=message.topic)
                    break
                except Exception:
                    self.failed += 1
                    _logger.exception("message not handled", topic=message.topic)
                handled += 1
            self.error = failure
            self._waiting = waiting[handled:]
            client.acknowledge(waiting[:handled])
        return results


class OutgoingMessage(NamedTuple):
    """A message to send.

    - `topic`, `payload`, `qos`, `retain`: as on the wire.
    - `connection_epoch`: number of the connection when it was published.
    - `is_conflated`: whether only the last such message of its topic is sent.
    """

    topic: str
    payload: bytes
    qos: int
    retain: bool
    token: PublishToken
    connection_epoch: int
    is_conflated: bool = False


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
            older = self._messages.pop(message.topic, None) if message.is_conflated else None
            if older is None and len(self._messages) >= self._depth:
                return False
            self._count += 1
            self._messages[message.topic if message.is_conflated else self._count] = message
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
            is_replaced = message.is_conflated and message.topic in self._messages
            if not is_replaced:
                self._count += 1
                key = message.topic if message.is_conflated else self._count
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

    def clear_pending_wakes(self) -> None:
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


MAX_ACKNOWLEDGEMENT_DELAY_S: Final = 2.0
"""Longest time for which a message is held back until the broker proves to send more. [s]"""


class AcknowledgementQueue:
    """Acknowledgements from any thread, on their way to the thread of the connection.

    With ``hold_back_last`` the newest one is held back, except from a broker that sends one message
    at a time: it would wait for ever. A broker sends more once two messages are unacknowledged at
    the same time. ``counts`` receives the numbers of acknowledgements sent and too late.
    """

    def __init__(self, *, hold_back_last: bool, counts: Counter[str]) -> None:
        self._hold_back_last, self._counts = hold_back_last, counts
        self._pending: deque[tuple[int, int]] = deque()
        self.begin()

    def add(self, marks: Iterable[tuple[int, int]]) -> None:
        """Queue acknowledgements, each of connection and packet id; from any thread."""
        self._pending.extend(marks)

    def __bool__(self) -> bool:
        """Return whether any acknowledgement waits."""
        return bool(self._pending)

    def begin(self) -> None:
        """Forget the acknowledgement held back: on a new connection its message comes again."""
        self._held_back: list[int] = []
        self._since = 0.0
        self._sends_more: bool | None = None

    def is_held_back(self, packet_id: int) -> bool:
        """Return whether the acknowledgement of a packet id is held back."""
        return packet_id in self._held_back

    def on_message(self) -> None:
        """Record that another message has arrived."""
        if self._held_back:
            self._sends_more = True

    def take_due(self, connection_epoch: int) -> list[int]:
        """Return packet ids to acknowledge; those of earlier connections are counted as too late.

        ``connection_epoch`` is the number of the connection, from 1.
        """
        packet_ids = self._take_pending(connection_epoch)
        if len(packet_ids) > 1:
            self._sends_more = True
        if not self._hold_back_last:
            return packet_ids
        if (
            self._held_back
            and self._sends_more is None
            and time.monotonic() > self._since + MAX_ACKNOWLEDGEMENT_DELAY_S
        ):
            self._sends_more = False
        if self._sends_more is False:
            packet_ids, self._held_back = [*self._held_back, *packet_ids], []
        elif packet_ids:
            *packet_ids, newest = [*self._held_back, *packet_ids]
            self._held_back, self._since = [newest], time.monotonic()
        return packet_ids

    def _take_pending(self, connection_epoch: int) -> list[int]:
        pending = [self._pending.popleft() for _ in range(len(self._pending))]
        packet_ids = [packet_id for epoch, packet_id in pending if epoch == connection_epoch]
        self._counts["acknowledged"] += len(packet_ids)
        self._counts["acknowledged_too_late"] += len(pending) - len(packet_ids)
        return packet_ids


class SubscribeRequest(NamedTuple):
    """Topics with their QoS, and the token of the answer."""

    filters: Mapping[str, int]
    token: PublishToken


class SubscriptionState:
    """Subscriptions over all connections; any thread may request, one thread does the rest."""

    def __init__(self) -> None:
        self._waiting: deque[SubscribeRequest] = deque()
        self._unanswered: dict[int, SubscribeRequest] = {}
        self._granted: dict[str, int] = {}
        self._denied: dict[str, int] = {}

    @property
    def denied_topics(self) -> Set[str]:
        """Topics that the broker does not allow us to receive."""
        return frozenset(self._denied)

    def request(self, filters: Mapping[str, int]) -> PublishToken:
        """Queue a subscription; return the token of its answer."""
        request = SubscribeRequest(filters, PublishToken())
        self._waiting.append(request)
        return request.token

    def send(self, subscribe: Callable[[Mapping[str, int]], int]) -> None:
        """Send all waiting requests by a function that returns the packet id of the answer."""
        while self._waiting:
            request = self._waiting.popleft()
            self._unanswered[subscribe(request.filters)] = request

    def on_connect(self, is_known: bool) -> None:
        """Repeat unanswered and denied requests, and all if the broker has lost the session.

        The broker may have allowed denied topics meanwhile, as the reported remedy demands.
        """
        self._waiting.extendleft(
            self._unanswered[packet_id] for packet_id in sorted(self._unanswered)[::-1]
        )
        self._unanswered.clear()
        if again := self._denied | ({} if is_known else self._granted):
            self._waiting.appendleft(SubscribeRequest(again, PublishToken()))

    def on_suback(self, packet_id: int, is_granted: Sequence[bool]) -> None:
        """Record which topics of a request the broker allows."""
        request = self._unanswered.pop(packet_id, None)
        if request is None:
            return
        granted_by_topic = dict(zip(request.filters, is_granted, strict=False))
        for topic, qos in request.filters.items():
            self._granted.pop(topic, None)
            self._denied.pop(topic, None)
            found = self._granted if granted_by_topic.get(topic) else self._denied
            found[topic] = qos
        request.token.complete(is_granted=all(is_granted))
