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

:class:`AcknowledgingHandler` acknowledges messages in order, each once it is durable.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

import structlog

from telemetry.mqtt.connection import ConnectOptions, TlsFiles, parse_broker_url
from telemetry.mqtt.errors import connect_timeout, describe, queue_overflow
from telemetry.mqtt.network_loop import NetworkLoop
from telemetry.mqtt.queues import (
    MAX_PAYLOAD_BYTES,
    REJECTED,
    LastWill,
    OutgoingMessage,
    PublishToken,
    ReceivedMessage,
)
from twin.errors import BrokerError, IssueCode, JournalError, MessageError

__all__ = ["Client", "LastWill", "PublishToken", "ReceivedMessage", "TlsFiles"]

QUEUE_DEPTH: Final = 65_536
"""Messages in a queue; it exceeds the number of packet ids of MQTT. [1]"""

CONNECT_TIMEOUT_S: Final = 10.0
"""Longest wait for the broker to accept a connection. [s]"""

SUBSCRIBE_TIMEOUT_S: Final = 10.0
"""Longest wait for the broker to grant a subscription. [s]"""

STOP_TIMEOUT_S: Final = 2.0
"""Longest wait for messages still to be sent. [s]"""

MAX_HANDLED_MESSAGES: Final = 50
"""Most messages that a handler takes at once, such as load targets of 25 ms each. [1]"""

THREAD_JOIN_TIMEOUT_S: Final = 15.0
"""Longest wait for the network thread, which may be within a handshake. [s]"""

OVERFLOW_REPORT_S: Final = 600.0
"""Time after the last message dropped by a full outgoing queue for which that is an error. [s]"""


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
        depth: int = QUEUE_DEPTH,
    ) -> None:
        address = parse_broker_url(url)
        self.url = str(address)
        if address.is_exposed and not (tls and tls.allow_cleartext):
            reason = "the connection to another machine would not be encrypted"
            remedy = "write mqtts://, or allow cleartext (--allow-cleartext, TlsFiles in Python)"
            raise BrokerError(self.url, reason, remedy, code=IssueCode.CLEARTEXT)
        if tls and tls.names_files and not address.is_secure:
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
            self._loop = NetworkLoop(options, depth)
        except OSError as error:
            reason = f"the certificates cannot be used ({error})"
            remedy = "give PEM files, and the private key of the certificate"
            raise BrokerError(self.url, reason, remedy, code=IssueCode.INVALID_KEY) from error
        self._thread: threading.Thread | None = None
        self._counting = threading.Lock()
        self._overflowed = -OVERFLOW_REPORT_S

    def start(self) -> None:
        """Connect in the background, and again whenever the connection is lost."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._loop.run, name=f"client of {self.url}", daemon=True
            )
            self._thread.start()

    def connect(self, timeout: float = 10.0) -> None:
        """Start, and wait at most ``timeout`` [s] for the connection.

        If the broker refuses it, or the time is over, the client stops and BrokerError is raised.
        """
        self.start()
        loop = self._loop
        with loop.changed:
            loop.changed.wait_for(lambda: loop.is_up or loop.is_refused, timeout)
        if not loop.is_up:
            error = loop.error or connect_timeout(timeout)
            self.stop()
            raise BrokerError(self.url, error.reason, error.remedy)

    def subscribe(self, *filters: str, qos: int = 1) -> PublishToken:
        """Receive topics from now on, also on later connections; return the token of the answer.

        After a lost connection the client subscribes again only if the broker has lost the session,
        because each subscription brings all retained messages again.
        """
        _check_qos(filters[0], qos)
        return self._loop.subscribe(dict.fromkeys(filters, qos))

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
        loop = self._loop
        if qos == 0 and not loop.is_up:
            return self._failed("unsent")
        token = PublishToken() if qos else REJECTED
        message = OutgoingMessage(
            topic, payload, qos, retain, token, loop.connection_epoch, conflate
        )
        if loop.publish(message):
            return token
        self._overflowed = time.monotonic()
        return self._failed("overflowed")

    def poll(self, limit: int = 1000, timeout: float = 0.1) -> list[ReceivedMessage]:
        """Return the oldest received messages, at most ``limit`` of them.

        ``timeout`` is the longest wait for the first. [s] Messages of QoS 1 must be acknowledged.
        """
        return self._loop.poll(limit, timeout)

    def acknowledge(self, messages: Sequence[ReceivedMessage]) -> None:
        """Acknowledge messages, which the broker then deletes from the session.

        Messages of an earlier connection cannot be acknowledged any more; they come again.
        """
        self._loop.acknowledge(messages)

    def stop(self, timeout: float = STOP_TIMEOUT_S) -> None:
        """Send waiting messages, disconnect and end; a stopped client cannot be started again.

        ``timeout`` is the longest wait for the broker's acknowledgements. [s]
        """
        self._loop.stop(timeout)
        self.start()  # if it was never started: the thread then only completes the tokens
        if self._thread is not None:
            self._thread.join(timeout + THREAD_JOIN_TIMEOUT_S)

    @property
    def is_connected(self) -> bool:
        """Whether the broker has accepted the connection and it lasts."""
        return self._loop.is_up

    @property
    def error(self) -> str:
        """Current problems and their remedies, with the broker's URL; empty if there are none."""
        is_lossy = time.monotonic() - self._overflowed < OVERFLOW_REPORT_S
        lost = queue_overflow(self._loop.counts["overflowed"]) if is_lossy else None
        return describe(self.url, self._loop.error, lost)

    @property
    def connection_error(self) -> str:
        """Current problem of the connection alone, without dropped messages."""
        return describe(self.url, self._loop.error)

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
        loop = self._loop
        now = {"replaced": loop.outbox.replaced, "waiting": len(loop.inbox)}
        return {**loop.counts, **now}

    @property
    def oversized(self) -> Sequence[tuple[str, int]]:
        """Topics and sizes [B] of the latest messages that were too large."""
        return tuple(self._loop.oversized)

    def _failed(self, count: str) -> PublishToken:
        with self._counting:
            self._loop.counts[count] += 1
        return REJECTED


def _check_qos(topic: str, qos: int) -> None:
    if qos not in (0, 1):
        raise MessageError(topic, f"QoS {qos}", "0 or 1, as some brokers lose messages of QoS 2")


def _check_topic(topic: str) -> None:
    if not topic or set(topic) & set("+#\0"):
        raise MessageError(topic, topic, "a topic that is not empty and has no +, # or NUL")


_logger = structlog.get_logger(__name__)


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
        self, client: Client, handle: Callable[[ReceivedMessage], T], *, timeout: float = 0.0
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
