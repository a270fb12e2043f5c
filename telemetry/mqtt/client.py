"""An MQTT client that keeps its connection by itself.

One thread owns the connection: it connects, waits longer after each failure, subscribes, moves
received messages into an incoming queue and sends those of an outgoing queue. All other threads use
the queues only, so they wait for the network only where they ask for it.

Guarantees:

* A message of QoS 1 is acknowledged only by :meth:`Client.acknowledge`, so it can be made durable
  first. Until then the broker sends no more than its window, which limits its rate. Messages left
  unacknowledged by a lost connection come again, so a message may come twice.
* Messages of one filter come in order; between filters only Mosquitto preserves the order.
* When the incoming queue is full, messages of QoS 0 are dropped and counted. At twice that length
  the socket is not read.
* Messages published at QoS 1 wait while there is no connection, at most ``depth`` of them, in
  memory only: a killed process loses them. They may go out late, so orders carry their own expiry.
  At QoS 0 a message without a connection is dropped and counted.
* Of messages published with ``conflate`` only the last one of each topic waits, behind all that was
  published before it. So an outage of days does not deliver outdated orders. A message that was
  sent and not acknowledged comes before it, perhaps again.
* Publishing never blocks, so no broker can delay a decision; the token gives the outcome.
"""

import random
import select
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final, Literal

import structlog

from telemetry.mqtt import broker
from telemetry.mqtt.broker import (
    BrokerProblem,
    ClientIdConflictDetector,
    TlsFiles,
    describe_broker_problems,
    parse_broker_url,
)
from telemetry.mqtt.connection import BrokerConnection, ConnectOptions, PacketStream, PublishPacket
from telemetry.mqtt.queues import (
    MAX_PAYLOAD_BYTES,
    REJECTED_TOKEN,
    AcknowledgementQueue,
    IncomingQueue,
    LastWill,
    OutgoingMessage,
    OutgoingQueue,
    PublishToken,
    ReceivedMessage,
    SubscriptionState,
    Waker,
)
from twin.errors import BrokerError, IssueCode, MessageError

__all__ = ["Client", "LastWill", "PublishToken", "ReceivedMessage", "TlsFiles"]

MAX_QUEUED_MESSAGES: Final = 65_536
"""Messages in a queue; it exceeds the number of packet ids of MQTT. [1]"""

CONNECT_TIMEOUT_S: Final = 10.0
"""Longest wait for the broker to accept a connection. [s]"""

SUBSCRIBE_TIMEOUT_S: Final = 10.0
"""Longest wait for the broker to grant a subscription. [s]"""

STOP_TIMEOUT_S: Final = 2.0
"""Longest wait for messages still to be sent. [s]"""

THREAD_JOIN_TIMEOUT_S: Final = 15.0
"""Longest wait for the network thread, which may be within a handshake. [s]"""

OVERFLOW_ERROR_DURATION_S: Final = 600.0
"""Time after the last message dropped by a full outgoing queue for which that is an error. [s]"""


MAX_SILENCE_S: Final = 45.0
"""Silence after which a connection is given up: 1.5 times the keep-alive. [s]"""

CONNACK_TIMEOUT_S: Final = 10.0
"""Longest wait for the broker to accept the connection. [s]"""

STABLE_CONNECTION_S: Final = 10.0
"""Duration of a connection after which the next failure counts as the first. [s]"""

RECONNECT_DELAYS_S: Final = (0.25, 3.0)
"""Wait after the end of a stable connection, and the longest wait. [s]"""

SELECT_TIMEOUT_S: Final = 0.5
"""Longest wait for the socket. [s]"""

MAX_MESSAGES_PER_SEND: Final = 1000
"""Messages sent before other work gets its turn. [1]"""

CLIENT_COUNTERS: Final = (
    *("received", "dropped", "oversized", "spoilt", "acknowledged", "acknowledged_too_late"),
    *("published", "delivered", "not_taken", "unsent", "overflowed"),
    *("connections", "lost_connections", "failed_connections"),
)
"""Names of counters; :attr:`Client.counters` gives their meanings."""

_logger = structlog.get_logger(__name__)


class ConnectionState(StrEnum):
    """State of the connection to a broker."""

    WAITING = "waiting"
    CONNECTING = "connecting"
    REFUSED = "refused"
    CONNECTED = "connected"
    LEAVING = "leaving"
    ENDED = "ended"


class ConnectionEvent(StrEnum):
    """What changes the state of the connection to a broker."""

    ATTEMPT = "attempt"
    ACCEPTANCE = "broker accepts"
    REFUSAL = "broker refuses"
    LOSS = "connection lost"
    DEPARTURE = "client stops"
    END = "thread ends"


CONNECTION_TRANSITIONS: Final[Mapping[tuple[ConnectionState, ConnectionEvent], ConnectionState]] = {
    (ConnectionState.WAITING, ConnectionEvent.ATTEMPT): ConnectionState.CONNECTING,
    (ConnectionState.WAITING, ConnectionEvent.END): ConnectionState.ENDED,
    (ConnectionState.CONNECTING, ConnectionEvent.ACCEPTANCE): ConnectionState.CONNECTED,
    (ConnectionState.CONNECTING, ConnectionEvent.REFUSAL): ConnectionState.REFUSED,
    (ConnectionState.CONNECTING, ConnectionEvent.LOSS): ConnectionState.WAITING,
    (ConnectionState.CONNECTING, ConnectionEvent.DEPARTURE): ConnectionState.LEAVING,
    (ConnectionState.REFUSED, ConnectionEvent.ATTEMPT): ConnectionState.CONNECTING,
    (ConnectionState.REFUSED, ConnectionEvent.END): ConnectionState.ENDED,
    (ConnectionState.CONNECTED, ConnectionEvent.LOSS): ConnectionState.WAITING,
    (ConnectionState.CONNECTED, ConnectionEvent.DEPARTURE): ConnectionState.LEAVING,
    (ConnectionState.LEAVING, ConnectionEvent.LOSS): ConnectionState.ENDED,
}
"""State and event -> next state; any other event changes nothing."""


def reconnect_delay(failures: int) -> float:
    """Return a random wait before the next attempt; it doubles with each failure in a row. [s]"""
    first, longest = RECONNECT_DELAYS_S
    doublings = min(failures, 10)  # beyond 10 the longest wait applies anyway
    return min(longest, first * 2.0**doublings) * random.uniform(0.5, 1.0)


class Client:
    """A client of one broker.

    - `url`: ``mqtt://`` or ``mqtts://``, with user and password if needed.
    - `client_id`: name at the broker; of two clients with one id the broker disconnects the
      earlier.
    - `will`: message that the broker publishes when the connection is lost.
    - `clean_session`: whether the broker discards the session after a disconnect. If not, it stores
      messages of QoS 1 for a client of the same id, which may be another process.
    - `protocol`: MQTT 3.1.1, which every broker supports, or 5, with a wider window and a session
      that ends after a day.
    - `tls`: certificates, for ``mqtts://``. Without its permission ``mqtt://`` to another machine
      is refused with BrokerError.
    - `depth`: messages that each queue holds.
    """

    def __init__(
        self,
        url: str,
        *,
        client_id: str,
        will: LastWill | None = None,
        clean_session: bool = False,
        protocol: Literal["3.1.1", "5"] = "3.1.1",
        tls: TlsFiles | None = None,
        depth: int = MAX_QUEUED_MESSAGES,
    ) -> None:
        address = parse_broker_url(url)
        self.url = str(address)
        if address.is_exposed and not (tls and tls.allow_cleartext):
            reason = "the connection to another machine would not be encrypted"
            remedy = "write mqtts://, or allow cleartext (--allow-cleartext, TlsFiles in Python)"
            raise BrokerError(self.url, reason, remedy, code=IssueCode.CLEARTEXT)
        if tls and tls.has_files and not address.is_secure:
            reason, remedy = "certificates are given for a connection without TLS", "write mqtts://"
            raise BrokerError(self.url, reason, remedy, code=IssueCode.INCONSISTENT)
        options = ConnectOptions(
            address=address,
            client_id=client_id,
            clean_session=clean_session,
            is_mqtt5=protocol == "5",
            will=will,
            tls=(tls or TlsFiles()) if address.is_secure else None,
            receive_maximum=depth,
        )
        try:
            self._connection = BrokerConnection(options, self)
        except OSError as error:
            reason = f"the certificates cannot be used ({error})"
            remedy = "give PEM files, and the private key of the certificate"
            raise BrokerError(self.url, reason, remedy, code=IssueCode.INVALID_KEY) from error
        self.state = ConnectionState.WAITING
        self.inbox, self.outbox = IncomingQueue(depth), OutgoingQueue(depth)
        self._oversized: deque[tuple[str, int]] = deque(maxlen=MAX_MESSAGES_PER_SEND)
        self._address, self._client_id = address, client_id
        self._thread: threading.Thread | None = None
        self._counts = Counter(dict.fromkeys(CLIENT_COUNTERS, 0))
        self._counting, self._changed = threading.Lock(), threading.Condition()
        self._overflowed = -OVERFLOW_ERROR_DURATION_S
        self._epoch = 0  # number of the connection, from 1
        self._acks = AcknowledgementQueue(hold_back_last=not clean_session, counts=self._counts)
        self._subscriptions = SubscriptionState()
        self._in_flight: dict[int, PublishToken] = {}
        self._window = 0
        self._problem: BrokerProblem | None = None
        self._disconnect_reason = ""
        self._conflicts = ClientIdConflictDetector()
        self._ending, self._deadline = threading.Event(), 0.0
        self._waker = Waker()

    def start(self) -> None:
        """Connect in the background, and again whenever the connection is lost."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name=f"client of {self.url}", daemon=True
            )
            self._thread.start()

    def connect(self, timeout: float = 10.0) -> None:
        """Start, and wait at most ``timeout`` [s] for the connection.

        If the broker refuses it, or the time is over, the client stops and BrokerError is raised.
        """
        self.start()
        answers = ConnectionState.CONNECTED, ConnectionState.REFUSED
        with self._changed:
            self._changed.wait_for(lambda: self.state in answers, timeout)
        if not self.is_connected:
            error = self._current_problem or broker.CONNECT_TIMEOUT_PROBLEM.with_details(timeout)
            self.stop()
            raise BrokerError(self.url, error.reason, error.remedy)

    def subscribe(self, *filters: str, qos: int = 1) -> PublishToken:
        """Receive topics from now on, also on later connections; return the token of the answer.

        After a lost connection the client subscribes again only if the broker has lost the session,
        because each subscription brings all retained messages again.
        """
        _check_qos(filters[0], qos)
        token = self._subscriptions.request(dict.fromkeys(filters, qos))
        self._waker.wake()
        return token

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 0,
        retain: bool = False,
        conflate: bool = False,
    ) -> PublishToken:
        """Send a message, without ever blocking.

        - `qos`: 0: now or never. 1: until the broker acknowledges it.
        - `retain`: whether the broker stores it for later subscribers.
        - `conflate`: whether it replaces an earlier conflated message on this topic that still
          waits. The token of that one completes as rejected.

        Returns
        -------
        PublishToken
            Its ``wait`` returns True only once the broker has acknowledged the message, and False
            at once if that cannot happen any more.
        """
        _check_topic(topic)
        _check_qos(topic, qos)
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise MessageError(
                topic,
                f"{len(payload)} B",
                f"at most {MAX_PAYLOAD_BYTES} B",
                code=IssueCode.TOO_LARGE,
            )
        if qos == 0 and not self.is_connected:
            return self._failed("unsent")
        token = PublishToken() if qos else REJECTED_TOKEN
        message = OutgoingMessage(topic, payload, qos, retain, token, self._epoch, conflate)
        if not self._ending.is_set() and self.outbox.put(message):
            self._waker.wake()
            return token
        self._overflowed = time.monotonic()
        return self._failed("overflowed")

    def poll(self, limit: int = 1000, timeout: float = 0.1) -> list[ReceivedMessage]:
        """Return the oldest received messages, at most ``limit`` of them.

        ``timeout`` is the longest wait for the first. [s] Messages of QoS 1 must be acknowledged.
        """
        was_full = self.inbox.is_full
        messages = self.inbox.take(limit, timeout)
        if was_full:
            self._waker.wake()
        return messages

    def acknowledge(self, messages: Sequence[ReceivedMessage]) -> None:
        """Acknowledge messages, which the broker then deletes from the session.

        Messages of an earlier connection cannot be acknowledged any more; they come again.
        """
        self._acks.add([(m.connection_epoch, m.packet_id) for m in messages if m.qos])
        self._waker.wake()

    def stop(self, timeout: float = STOP_TIMEOUT_S) -> None:
        """Send waiting messages, disconnect and end; a stopped client cannot be started again.

        ``timeout`` is the longest wait for the broker's acknowledgements. [s]
        """
        self._deadline = time.monotonic() + timeout
        self._ending.set()
        self._waker.wake()
        self.start()  # if it was never started: the thread then only completes the tokens
        if self._thread is not None:
            self._thread.join(timeout + THREAD_JOIN_TIMEOUT_S)

    @property
    def is_connected(self) -> bool:
        """Whether the broker has accepted the connection and it lasts."""
        return self.state is ConnectionState.CONNECTED

    @property
    def error(self) -> str:
        """Current problems and their remedies, with the broker's URL; empty if there are none."""
        is_lossy = time.monotonic() - self._overflowed < OVERFLOW_ERROR_DURATION_S
        lost = (
            broker.QUEUE_OVERFLOW_PROBLEM.with_details(self._counts["overflowed"])
            if is_lossy
            else None
        )
        return describe_broker_problems(self.url, self._current_problem, lost)

    @property
    def connection_error(self) -> str:
        """Current problem of the connection alone, without dropped messages."""
        return describe_broker_problems(self.url, self._current_problem)

    @property
    def _current_problem(self) -> BrokerProblem | None:
        if self._conflicts.is_conflict_detected:
            return broker.CLIENT_ID_CONFLICT_PROBLEM.with_details(self._client_id)
        if not self.is_connected:
            return self._problem
        denied = self._subscriptions.denied_topics
        return (
            broker.SUBSCRIPTION_DENIED_PROBLEM.with_details(", ".join(sorted(denied)))
            if denied
            else None
        )

    @property
    def counters(self) -> Mapping[str, int]:
        """Counters since the start.

        ``received``, of these ``dropped`` (QoS 0, incoming queue full), ``oversized`` and
        ``spoilt`` (topic not UTF-8; both acknowledged and dropped); ``acknowledged`` and
        ``acknowledged_too_late`` (on a later connection); ``published``, of these ``delivered``
        (acknowledged) and ``not_taken`` (refused by the broker); ``unsent`` (QoS 0 without a
        connection), ``overflowed`` (outgoing queue full), ``replaced`` (by a newer message before
        it was sent); ``connections``, ``lost_connections``, ``failed_connections``; and
        ``waiting``, the messages in the incoming queue now.
        """
        return {
            **self._counts,
            "replaced": self.outbox.replaced,
            "waiting": len(self.inbox),
        }

    @property
    def oversized_messages(self) -> Sequence[tuple[str, int]]:
        """Topics and sizes [B] of the latest messages that were too large."""
        return tuple(self._oversized)

    def _failed(self, count: str) -> PublishToken:
        with self._counting:
            self._counts[count] += 1
        return REJECTED_TOKEN

    # Methods of the network thread.

    def _run(self) -> None:
        """Connect, move messages, and connect again after a failure, until stopped."""
        failures = 0
        wake_socket = self._waker.open()
        while not self._ending.is_set():
            begin = time.monotonic()
            self._change(ConnectionEvent.ATTEMPT)
            problem = self._connect_and_serve(wake_socket)
            is_stable = self.is_connected and time.monotonic() - begin > STABLE_CONNECTION_S
            failures = 0 if is_stable else failures + 1
            self._connection.close()
            if not self._ending.is_set():
                self._counts["lost_connections" if self.is_connected else "failed_connections"] += 1
            self._problem = problem or self._problem
            self._change(ConnectionEvent.LOSS)
            self._ending.wait(reconnect_delay(failures))
        self._change(ConnectionEvent.END)
        unsent = iter(self.outbox.take, None)
        for token in [*self._in_flight.values(), *(message.token for message in unsent)]:
            token.complete(is_granted=False)
        self._waker.close()

    def _change(self, event: ConnectionEvent) -> None:
        """Take the transition that an event causes, if any, and tell waiting threads."""
        with self._changed:
            self.state = CONNECTION_TRANSITIONS.get((self.state, event), self.state)
            self._changed.notify_all()

    def _connect_and_serve(self, wake_socket: socket.socket) -> BrokerProblem | None:
        """Serve one connection; return the problem that ended it, None if it was refused."""
        self._disconnect_reason = ""
        try:
            self._connection.open()
            return self._serve(wake_socket)
        except OSError as error:
            return broker.network_problem(error)
        except Exception as error:  # paho raises many kinds of errors for malformed packets
            _logger.exception("connection failed", broker=self.url)
            return broker.PROTOCOL_PROBLEM.with_details(error)

    def _serve(self, wake_socket: socket.socket) -> BrokerProblem | None:
        """Move messages both ways until the connection ends; return why it ended."""
        while (stream := self._connection.stream) is not None:
            if self._ending.is_set() and self._has_finished():
                self._change(ConnectionEvent.DEPARTURE)
                self._connection.disconnect()
            self._send(stream)
            self._wait(stream, wake_socket)
            self._connection.keep_alive()
            limit = MAX_SILENCE_S if self.is_connected else CONNACK_TIMEOUT_S
            if time.monotonic() - stream.received_at > limit and not self.inbox.is_full:
                return broker.NO_TRAFFIC_PROBLEM if self.is_connected else broker.NO_CONNACK_PROBLEM
        if self.state is ConnectionState.REFUSED:
            return None
        if self.state is ConnectionState.CONNECTING:
            return broker.early_close_problem(is_secure=self._address.is_secure)
        if self.is_connected:
            self._conflicts.on_disconnect(self._disconnect_reason)
        reason = self._disconnect_reason
        return broker.CONNECTION_LOST_PROBLEM.with_details(f": {reason}" if reason else "")

    def _has_finished(self) -> bool:
        """Return whether to disconnect now: nothing is left to send, or nobody to send it to."""
        if self.state is ConnectionState.LEAVING:
            return False
        is_waiting = self._acks or self.outbox or self._in_flight or self._connection.has_to_write
        return not (is_waiting and self.is_connected) or time.monotonic() > self._deadline

    def _wait(self, stream: PacketStream, wake_socket: socket.socket) -> None:
        """Wait until there is work; read and write what is possible."""
        may_read = not self.inbox.is_full
        readers: list[socket.socket | PacketStream] = (
            [wake_socket, stream] if may_read else [wake_socket]
        )
        writers = [stream] if self._connection.has_to_write else []
        is_ahead = may_read and stream.has_read_ahead
        timeout = 0.0 if is_ahead or self._may_send() else SELECT_TIMEOUT_S
        readable, _, _ = select.select(readers, writers, [], timeout)
        if wake_socket in readable:
            self._waker.clear_pending_wakes()
        if is_ahead or stream in readable:
            self._connection.read()
            self.inbox.wake()
        if self._connection.has_to_write:
            self._connection.write()

    def _send(self, stream: PacketStream) -> None:
        """Give waiting subscriptions, acknowledgements and messages to the connection."""
        if not self.is_connected:
            return
        self._subscriptions.send(self._connection.subscribe)
        if packet_ids := self._acks.take_due(self._epoch):
            stream.acknowledge(packet_ids)
        if not self._connection.has_to_write:
            self._send_messages()

    def _may_send(self) -> bool:
        """Return whether a message waits that the broker and the socket would accept."""
        has_room = len(self._in_flight) < self._window and not self._connection.has_to_write
        return self.is_connected and bool(self.outbox) and has_room

    def _send_messages(self) -> None:
        for _ in range(min(MAX_MESSAGES_PER_SEND, len(self.outbox))):
            message = self.outbox.take() if len(self._in_flight) < self._window else None
            if message is None:
                return
            if message.qos == 0 and message.connection_epoch != self._epoch:
                self._counts["unsent"] += 1
                continue
            packet_id = self._connection.publish(message)
            if packet_id is None:
                self.outbox.put_back(message)
                return
            if message.qos:
                self._in_flight[packet_id] = message.token
            self._counts["published"] += 1

    # Events of the connection, on the network thread.

    def on_connect(self, refusal: str, *, is_known: bool, window: int) -> None:
        """Subscribe to topics that the broker's session lacks, unless the broker refuses us."""
        if refusal:
            self._problem = broker.refusal_problem(refusal)
            self._change(ConnectionEvent.REFUSAL)
            return
        self._epoch += 1
        self._subscriptions.on_connect(is_known)
        self._acks.begin()
        self._window = window
        self._counts["connections"] += 1
        self._change(ConnectionEvent.ACCEPTANCE)

    def on_publish(self, packet: PublishPacket) -> None:
        """Queue a message, or count why it is dropped."""
        topic, payload, flags, packet_id = packet
        qos, retain, dup = flags >> 1 & 3, bool(flags & 1), bool(flags & 8)
        if dup and self._acks.is_held_back(packet_id):
            return  # it is durable; its acknowledgement is held back on purpose
        if qos:
            self._acks.on_message()
        self._counts["received"] += 1
        try:
            name = topic.decode()
        except UnicodeDecodeError:
            self._counts["spoilt"] += 1
        else:
            if len(payload) <= MAX_PAYLOAD_BYTES:
                message = ReceivedMessage(name, payload, qos, retain, self._epoch, packet_id, dup)
                if not self.inbox.put(message):
                    self._counts["dropped"] += 1
                return
            self._counts["oversized"] += 1
            self._oversized.append((name, len(payload)))
        if qos:
            self._acks.add([(self._epoch, packet_id)])

    def on_puback(self, packet_id: int, *, is_accepted: bool) -> None:
        """Complete the token of a published message."""
        token = self._in_flight.pop(packet_id, None)
        if token is not None:
            token.complete(is_accepted)
            self._counts["delivered" if is_accepted else "not_taken"] += 1

    def on_suback(self, packet_id: int, is_granted: Sequence[bool]) -> None:
        """Record the answer to a subscription."""
        self._subscriptions.on_suback(packet_id, is_granted)

    def on_disconnect(self, reason: str) -> None:
        """Record the broker's reason for a disconnect."""
        self._disconnect_reason = reason


def _check_qos(topic: str, qos: int) -> None:
    if qos not in (0, 1):
        raise MessageError(topic, f"QoS {qos}", "0 or 1, as some brokers lose messages of QoS 2")


def _check_topic(topic: str) -> None:
    if not topic or set(topic) & set("+#\0"):
        raise MessageError(topic, topic, "a topic that is not empty and has no +, # or NUL")
