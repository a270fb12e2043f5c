"""The thread that keeps a connection to a broker and moves messages to and from the queues.

It also keeps the subscriptions over all connections, and sends acknowledgements. In a session that
outlives its connections, the newest message stays unacknowledged until a newer one is durable. The
reason is a defect of NATS 2.10: killed while its store is empty, it numbers messages from 0 again
and treats the next ones as delivered already. Hundreds of messages that it has acknowledged are
lost. So its store must never become empty; see ADR 022.
"""

import select
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Final, NamedTuple

import structlog

from telemetry.mqtt import errors
from telemetry.mqtt.connection import BrokerConnection, ConnectOptions, reconnect_delay
from telemetry.mqtt.errors import BrokerProblem, ClientIdConflictDetector
from telemetry.mqtt.queues import (
    MAX_PAYLOAD_BYTES,
    IncomingQueue,
    OutgoingMessage,
    OutgoingQueue,
    PublishToken,
    ReceivedMessage,
    Waker,
)

MAX_SILENCE_S: Final = 45.0
"""Silence after which a connection is given up: 1.5 times the keep-alive. [s]"""

CONNACK_TIMEOUT_S: Final = 10.0
"""Longest wait for the broker to accept the connection. [s]"""

STABLE_CONNECTION_S: Final = 10.0
"""Duration of a connection after which the next failure counts as the first. [s]"""

SELECT_TIMEOUT_S: Final = 0.5
"""Longest wait for the socket. [s]"""

MAX_MESSAGES_PER_SEND: Final = 1000
"""Messages sent before other work gets its turn. [1]"""

CLIENT_COUNTERS: Final = (
    *("received", "dropped", "oversized", "spoilt", "acknowledged", "acknowledged_too_late"),
    *("published", "delivered", "not_taken", "unsent", "overflowed"),
    *("connections", "lost_connections", "failed_connections"),
)
"""Names of counters; :attr:`telemetry.mqtt.client.Client.counters` gives their meanings."""

_logger = structlog.get_logger(__name__)


class NetworkLoop:
    """Owner of the connection, the queues of ``depth`` messages each, and the session's state."""

    def __init__(self, options: ConnectOptions, depth: int) -> None:
        self.inbox = IncomingQueue(depth)
        self.counts = Counter(dict.fromkeys(CLIENT_COUNTERS, 0))
        self.oversized: deque[tuple[str, int]] = deque(maxlen=MAX_MESSAGES_PER_SEND)
        self.is_up = False
        self.is_refused = False
        self.changed = threading.Condition()
        self._options = options
        self._connection = BrokerConnection(options, self)
        self.outbox = OutgoingQueue(depth)
        self._acks = AcknowledgementQueue(
            hold_back_last=not options.clean_session, counts=self.counts
        )
        self._in_flight: dict[int, PublishToken] = {}
        self._window = 0
        self._subscriptions = SubscriptionState()
        self._problem: BrokerProblem | None = None
        self._disconnect_reason = ""
        self._conflicts = ClientIdConflictDetector()
        self._ending = threading.Event()
        self._deadline = 0.0
        self._waker = Waker()

    @property
    def error(self) -> BrokerProblem | None:
        """Current problem with the broker, if any."""
        if self._conflicts.detected:
            return errors.client_id_conflict(self._options.client_id)
        if not self.is_up:
            return self._problem
        if denied := self._subscriptions.denied:
            return errors.subscription_denied(denied)
        return None

    @property
    def connection_epoch(self) -> int:
        """Number of the connection, from 1; 0 before the first."""
        return self._connection.generation

    # Methods for any thread.

    def publish(self, message: OutgoingMessage) -> bool:
        """Queue a message; return False if the queue is full or the loop ends."""
        if self._ending.is_set() or not self.outbox.put(message):
            return False
        self._waker.wake()
        return True

    def subscribe(self, filters: dict[str, int]) -> PublishToken:
        """Subscribe to topics, on this connection and all later ones."""
        token = self._subscriptions.request(filters)
        self._waker.wake()
        return token

    def poll(self, limit: int, timeout: float) -> list[ReceivedMessage]:
        """Return received messages; wait for the first at most ``timeout``. [s]"""
        was_full = self.inbox.is_full
        messages = self.inbox.take(limit, timeout)
        if was_full:
            self._waker.wake()
        return messages

    def acknowledge(self, messages: Sequence[ReceivedMessage]) -> None:
        """Queue acknowledgements of messages."""
        self._acks.add([(m.connection_epoch, m.packet_id) for m in messages if m.qos])
        self._waker.wake()

    def stop(self, timeout: float) -> None:
        """Let the thread send waiting messages within a time, disconnect and end. [s]"""
        self._deadline = time.monotonic() + timeout
        self._ending.set()
        self._waker.wake()

    # Methods of the network thread.

    def run(self) -> None:
        """Connect, move messages, and connect again after a failure, until stopped."""
        failures = 0
        wake_socket = self._waker.open()
        while not self._ending.is_set():
            begin = time.monotonic()
            problem = self._connect_and_serve(wake_socket)
            duration = time.monotonic() - begin
            failures = 0 if self.is_up and duration > STABLE_CONNECTION_S else failures + 1
            self._mark_down(problem)
            self._ending.wait(reconnect_delay(failures))
        unsent = iter(self.outbox.take, None)
        for token in [*self._in_flight.values(), *(message.token for message in unsent)]:
            token.complete(is_granted=False)
        self._waker.close()

    def _connect_and_serve(self, wake_socket: socket.socket) -> BrokerProblem | None:
        """Serve one connection; return the problem that ended it, None if it was refused."""
        self.is_refused = False
        self._disconnect_reason = ""
        try:
            self._connection.open()
            return self._serve(wake_socket)
        except OSError as error:
            return errors.network_error(error)
        except Exception as error:  # paho raises many kinds of errors for malformed packets
            _logger.exception("connection failed", broker=str(self._options.address))
            return errors.protocol_error(error)

    def _serve(self, wake_socket: socket.socket) -> BrokerProblem | None:
        """Move messages both ways until the connection ends; return why it ended."""
        is_leaving = False
        while (connection := self._connection.socket) is not None:
            if self._ending.is_set() and not is_leaving and self._has_finished():
                self._connection.disconnect()
                is_leaving = True
            self._send()
            self._wait(connection, wake_socket)
            self._connection.keep_alive()
            limit = MAX_SILENCE_S if self.is_up else CONNACK_TIMEOUT_S
            if self._connection.seconds_since_received > limit and not self.inbox.is_full:
                return errors.NO_TRAFFIC if self.is_up else errors.NO_CONNACK
        if self.is_refused:
            return None
        if not self.is_up:
            return errors.closed_before_connack(is_secure=self._options.address.is_secure)
        if not is_leaving:
            self._conflicts.on_disconnect(self._disconnect_reason)
        return errors.connection_lost(self._disconnect_reason)

    def _has_finished(self) -> bool:
        is_empty = not (self._acks or self.outbox or self._in_flight)
        return is_empty or not self.is_up or time.monotonic() > self._deadline

    def _wait(self, connection: socket.socket, wake_socket: socket.socket) -> None:
        """Wait until there is work; read and write what is possible."""
        may_read = not self.inbox.is_full
        readers = [wake_socket, connection] if may_read else [wake_socket]
        writers = [connection] if self._connection.has_to_write else []
        is_ahead = may_read and self._connection.has_read_ahead
        is_busy = is_ahead or self._may_send()
        readable, _, _ = select.select(readers, writers, [], 0.0 if is_busy else SELECT_TIMEOUT_S)
        if wake_socket in readable:
            self._waker.drain()
        if is_ahead or connection in readable:
            self._connection.read()
            self.inbox.wake()
        if self._connection.has_to_write:
            self._connection.write()

    def _send(self) -> None:
        """Give waiting subscriptions, acknowledgements and messages to the connection."""
        if not self.is_up:
            return
        self._subscriptions.send(self._connection.subscribe)
        if packet_ids := self._acks.take_due(self._connection.generation):
            self._connection.acknowledge(packet_ids)
        if not self._connection.has_to_write:
            self._send_messages()

    def _may_send(self) -> bool:
        """Return whether a message waits that the broker and the socket would accept."""
        has_room = len(self._in_flight) < self._window and not self._connection.has_to_write
        return self.is_up and bool(self.outbox) and has_room

    def _send_messages(self) -> None:
        for _ in range(min(MAX_MESSAGES_PER_SEND, len(self.outbox))):
            message = self.outbox.take() if len(self._in_flight) < self._window else None
            if message is None:
                return
            if message.qos == 0 and message.connection_epoch != self._connection.generation:
                self.counts["unsent"] += 1
                continue
            packet_id = self._connection.publish(message)
            if packet_id is None:
                self.outbox.put_back(message)
                return
            if message.qos:
                self._in_flight[packet_id] = message.token
            self.counts["published"] += 1

    def _mark_down(self, problem: BrokerProblem | None) -> None:
        """Record that there is no connection, and why."""
        self._connection.close_socket()
        if not self._ending.is_set():
            self.counts["lost_connections" if self.is_up else "failed_connections"] += 1
        self._problem = problem or self._problem
        with self.changed:
            self.is_up = False
            self.changed.notify_all()

    # Events of the connection.

    def on_connect(self, is_known: bool, window: int) -> None:
        """Subscribe to topics that the broker's session lacks, and mark the connection as up."""
        self._subscriptions.on_connect(is_known)
        self._acks.begin()
        self._window = window
        self.counts["connections"] += 1
        with self.changed:
            self.is_up = True
            self.changed.notify_all()

    def on_refused(self, reason: str) -> None:
        """Record why the broker refuses the connection."""
        self._problem = errors.connection_refused(reason)
        with self.changed:
            self.is_refused = True
            self.changed.notify_all()

    def on_message(self, message: ReceivedMessage) -> None:
        """Queue a message, or count why it is dropped."""
        if message.dup and self._acks.is_held_back(message.packet_id):
            return  # it is durable; its acknowledgement is held back on purpose
        if message.qos:
            self._acks.on_message()
        self.counts["received"] += 1
        if message.topic and len(message.payload) <= MAX_PAYLOAD_BYTES:
            if not self.inbox.put(message):
                self.counts["dropped"] += 1
            return
        if message.topic:
            self.counts["oversized"] += 1
            self.oversized.append((message.topic, len(message.payload)))
        else:
            self.counts["spoilt"] += 1
        if message.qos:
            self._acks.add([(message.connection_epoch, message.packet_id)])

    def on_puback(self, packet_id: int, is_accepted: bool) -> None:
        """Complete the token of a published message."""
        token = self._in_flight.pop(packet_id, None)
        if token is not None:
            token.complete(is_accepted)
            self.counts["delivered" if is_accepted else "not_taken"] += 1

    def on_suback(self, packet_id: int, is_granted: Sequence[bool]) -> None:
        """Record the answer to a subscription."""
        self._subscriptions.on_suback(packet_id, is_granted)

    def on_disconnect(self, reason: str) -> None:
        """Record the broker's reason for a disconnect."""
        self._disconnect_reason = reason


HOLD_BACK_S: Final = 2.0
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
            and time.monotonic() > self._since + HOLD_BACK_S
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
    def denied(self) -> Set[str]:
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
