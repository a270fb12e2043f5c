"""A connection to a broker that looks after itself.

One thread owns the connection: it connects, waits longer after each failure, subscribes, lays what
comes into an inbox and sends what waits in an outbox. All other threads touch the boxes only, so
none of them waits for the network unless it asks to.

What is promised:

* A message of QoS 1 is acknowledged only by :meth:`Client.acknowledge`, so it can be made durable
  first. Until then the broker sends no more than its window: that is the back-pressure. What a
  lost connection left unacknowledged comes again, so the same message may come twice.
* Messages of one filter come in their order; between filters no broker but Mosquitto keeps it.
* When the inbox is full, messages of QoS 0 are dropped and counted; at twice that the socket is
  not read.
* What is published at QoS 1 is kept while there is no connection, at most ``depth`` messages, and
  in memory only: a killed process takes them along. It may go out late, so orders carry their own
  expiry. At QoS 0 nothing is kept: without a connection it is dropped and counted.
* Of what is published with ``is_newest`` one message a topic waits: the last, behind all that was
  published before it, so an outage of days brings no order of before. What was sent already and
  is not acknowledged comes before it, perhaps again.
* Publishing never blocks, so no broker can hold up a decision; the receipt tells what came of it.

Messages that are acknowledged only once what they say is kept, in their order.
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
from twin.errors import BrokerError, JournalError, MessageError

__all__ = ["Client", "LastWill", "PublishToken", "ReceivedMessage", "TlsFiles"]

QUEUE_DEPTH: Final = 65_536
"""Messages in a box; all that MQTT can have underway fit in."""

STOP_TIMEOUT_S: Final = 2.0
"""Longest wait for what is still to be sent. [s]"""

THREAD_JOIN_TIMEOUT_S: Final = 15.0
"""Longest wait for the thread, which may be within a handshake. [s]"""

OVERFLOW_REPORT_S: Final = 600.0
"""How long it is told that messages found no room in the outbox, after the last of them. [s]"""


class Client:
    """Us at a broker.

    Parameters
    ----------
    url
        ``mqtt://`` or ``mqtts://``, with user and password if need be.
    client_id
        Our name there; of two clients with one name the broker keeps the later.
    will
        What the broker says for us when we vanish.
    is_clean
        Whether the broker forgets us when we are gone. If not, it keeps what comes meanwhile at
        QoS 1, and a client of the same name gets it, also after a restart of the process.
    protocol
        MQTT 3.1.1, which every broker speaks, or 5, with a wider window and a session that ends
        after a day.
    tls
        Certificates, for ``mqtts://``.
    depth
        Messages that inbox and outbox hold.

    Raises
    ------
    BrokerError
        If the URL or the certificates cannot be used.
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
        if tls is not None and not address.is_secure:
            raise BrokerError(self.url, "certificates, and no TLS", "write mqtts://")
        manner = ConnectOptions(
            address=address,
            client_id=client_id,
            clean_session=clean_session,
            is_mqtt5=protocol == "5",
            will=will,
            tls=(tls or TlsFiles()) if address.is_secure else None,
            receive_maximum=depth,
        )
        try:
            self._session = NetworkLoop(manner, depth)
        except OSError as error:
            reason = f"the certificates cannot be used ({error})"
            raise BrokerError(self.url, reason, "give PEM, and the own key of it") from error
        self._thread: threading.Thread | None = None
        self._counting = threading.Lock()
        self._overflowed = -OVERFLOW_REPORT_S

    def start(self) -> None:
        """Connect in the background, and again whenever the connection is lost."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._session.run, name=f"client of {self.url}", daemon=True
            )
            self._thread.start()

    def connect(self, timeout: float = 10.0) -> None:
        """Start, and wait for the connection.

        Parameters
        ----------
        timeout
            Longest wait; a broker that refuses us ends it at once. [s]

        Raises
        ------
        BrokerError
            If there is none by then. The client is stopped.
        """
        self.start()
        session = self._session
        with session.changed:
            session.changed.wait_for(lambda: session.is_up or session.is_refused, timeout)
        if not session.is_up:
            error = session.error or connect_timeout(timeout)
            self.stop()
            raise BrokerError(self.url, error.reason, error.remedy)

    def subscribe(self, *filters: str, qos: int = 1) -> PublishToken:
        """Hear topics from now on, also after the connection was lost.

        After a lost connection the broker is asked again only if it has forgotten us, as each
        asking brings all retained messages again.

        Parameters
        ----------
        filters
            Topics; ``+`` stands for any one part, ``#`` for all the rest.
        qos
            0 or 1.

        Returns
        -------
        PublishToken
            Whether the broker lets us hear all of them.
        """
        _check_qos(filters[0], qos)
        return self._session.subscribe(dict.fromkeys(filters, qos))

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 0,
        retain: bool = False,
        conflate: bool = False,
    ) -> PublishToken:
        """Send a message; never blocks.

        Parameters
        ----------
        topic, payload
            The message.
        qos
            0: now or never. 1: until the broker has acknowledged it.
        retain
            Whether the broker keeps it for those who come later.
        conflate
            Whether it takes the place of what was so published to this topic and still waits: the
            receipt of that says no.

        Returns
        -------
        PublishToken
            Its wait returns True only once the broker has acknowledged the message, False at
            once if that will never be.

        Raises
        ------
        MessageError
            If no broker would take it: a topic that is none, or a payload of more than 256 KiB.
        """
        _check_topic(topic)
        _check_qos(topic, qos)
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise MessageError(
                topic, f"{len(payload)} B", f"at most {MAX_PAYLOAD_BYTES} B may be sent"
            )
        session = self._session
        if qos == 0 and not session.is_up:
            return self._failed("unsent")
        token = PublishToken() if qos else REJECTED
        letter = OutgoingMessage(
            topic, payload, qos, retain, token, session.connection_epoch, conflate
        )
        if session.publish(letter):
            return token
        self._overflowed = time.monotonic()
        return self._failed("overflowed")

    def poll(self, limit: int = 1000, timeout: float = 0.1) -> list[ReceivedMessage]:
        """Take what came, oldest first.

        Parameters
        ----------
        limit
            Most messages.
        timeout
            Longest wait for the first. [s]

        Returns
        -------
        list of Message
            None to ``limit`` messages. Those of QoS 1 want to be acknowledged.
        """
        return self._session.poll(limit, timeout)

    def acknowledge(self, messages: Sequence[ReceivedMessage]) -> None:
        """Tell the broker that messages need not be kept for us any more.

        Those that an earlier connection brought cannot be acknowledged any more; they come again.
        """
        self._session.acknowledge(messages)

    def stop(self, timeout: float = STOP_TIMEOUT_S) -> None:
        """Send what waits, say goodbye and end; a stopped client cannot be started again.

        Parameters
        ----------
        timeout
            Longest wait for the broker to acknowledge what was published. [s]
        """
        self._session.stop(timeout)
        self.start()  # if it never was: the thread then only tells that nothing will be sent
        if self._thread is not None:
            self._thread.join(timeout + THREAD_JOIN_TIMEOUT_S)

    @property
    def is_connected(self) -> bool:
        """Whether the broker has let us in and the connection stands."""
        return self._session.is_up

    @property
    def error(self) -> str:
        """What is wrong and what to do about it, with the broker's URL; empty if nothing is."""
        is_lossy = time.monotonic() - self._overflowed < OVERFLOW_REPORT_S
        lost = queue_overflow(self._session.counts["overflowed"]) if is_lossy else None
        return describe(self.url, self._session.error, lost)

    @property
    def connection_error(self) -> str:
        """The same of the connection alone, whatever found no room to wait for it."""
        return describe(self.url, self._session.error)

    @property
    def counters(self) -> Mapping[str, int]:
        """What happened so far.

        ``received``, of these ``dropped`` (QoS 0, inbox full), ``oversized`` and ``spoilt``
        (acknowledged and dropped); ``acknowledged`` and ``acknowledged_too_late`` (on a later
        connection); ``published``, of these ``delivered`` (acknowledged) and ``not_taken``
        (refused by the broker); ``unsent`` (QoS 0 without a connection), ``overflowed`` (outbox
        full), ``replaced`` (by a newer one, before it went); ``connections``,
        ``lost_connections``, ``failed_connections``; and ``waiting``, the messages in the inbox
        now.
        """
        session = self._session
        now = {"replaced": session.outbox.replaced, "waiting": len(session.inbox)}
        return {**session.counts, **now}

    @property
    def oversized(self) -> Sequence[tuple[str, int]]:
        """Topics and sizes [B] of the latest messages that were too large."""
        return tuple(self._session.oversized)

    def _failed(self, count: str) -> PublishToken:
        with self._counting:
            self._session.counts[count] += 1
        return REJECTED


def _check_qos(topic: str, qos: int) -> None:
    if qos not in (0, 1):
        raise MessageError(topic, f"QoS {qos}", "0 or 1; some brokers lose messages of QoS 2")


def _check_topic(topic: str) -> None:
    if not topic or set(topic) & set("+#\0"):
        raise MessageError(topic, topic, "a topic is not empty and has no +, # or NUL")


_logger = structlog.get_logger(__name__)


class AcknowledgingHandler:
    """What a client has brought and what is not handled yet.

    Attributes
    ----------
    trouble
        Why the first message that waits cannot be kept; empty if none waits.
    """

    def __init__(self) -> None:
        self.trouble = ""
        self._waiting: list[ReceivedMessage] = []
        self._lock = threading.Lock()

    def handle_all[T](
        self, client: Client, handle: Callable[[ReceivedMessage], T], *, timeout: float = 0.0
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
            waiting = [*self._waiting, *client.poll(timeout=timeout)]
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
