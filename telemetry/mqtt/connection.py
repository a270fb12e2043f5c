"""One connection to a broker at a time, driven by one thread.

paho's own loop makes one ``select`` a packet, waits between attempts without jitter, and hides why
a connection failed. Here the caller drives it through its interface for foreign event loops;
:mod:`telemetry.mqtt.connection` does the rest.

paho, taught to read ahead and to acknowledge in groups.

paho reads the socket byte by byte and writes once for each acknowledgement. Four things reach
into its inside, so its version is held by the lock and the tests watch them: ``_sock_recv``, which
reads ahead; ``_in_packet``, which tells whether a packet has been begun; ``_packet_queue``, which
takes many acknowledgements as one write; and ``_ssl_context``, which certificates are read into.

MQTT messages in a buffer, found without a detour: as bytes, topic, payload, flags, number.

Addresses of brokers: URLs and what TLS needs.
"""

import socket
import ssl
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

import structlog
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from telemetry.mqtt.queues import LastWill, OutgoingMessage, ReceivedMessage
from twin.errors import BrokerError

__all__ = [
    "BrokerConnection",
    "ConnectionListener",
]

MAX_UNACKNOWLEDGED: Final = 1000
"""Messages that may be sent and not yet acknowledged by the broker."""

MAX_PACKETS_PER_READ: Final = 1000
"""Packets read before others get their turn."""


class ConnectionListener(Protocol):
    """Who is told what happens on a link; on the thread that drives it, and never to raise."""

    def on_connect(self, is_known: bool, window: int) -> None:
        """The broker let us in; whether it knew our session, and how much it takes at once."""

    def on_refused(self, reason: str) -> None:
        """The broker will not have us."""

    def on_message(self, message: ReceivedMessage) -> None:
        """A message came; with an empty topic if its topic is no text."""

    def on_puback(self, number: int, is_taken: bool) -> None:
        """The broker acknowledged what we published."""

    def on_suback(self, number: int, answers: Sequence[bool]) -> None:
        """The broker answered a subscription."""

    def on_disconnect(self, reason: str) -> None:
        """The broker ended the connection and said why."""


@dataclass(frozen=True, kw_only=True)
class TlsFiles:
    """Whom to trust, and who we are.

    Attributes
    ----------
    ca
        Certificates of the authorities that may vouch for the broker; the system's if None.
    certificate, key
        Our own certificate and its key, for brokers that ask for one.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def ssl_context(self) -> ssl.SSLContext:
        """Return what these files say, ready for use.

        Raises
        ------
        OSError
            If a file is missing or is not what it should be.
        """
        for file in filter(None, (self.ca, self.certificate, self.key)):
            file.open("rb").close()  # OpenSSL would not say which is missing
        context = ssl.create_default_context(cafile=self.ca)
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.key)
        return context


@dataclass(frozen=True, kw_only=True)
class BrokerAddress:
    """Where a broker is, and as whom to log in."""

    scheme: str
    host: str
    port: int
    user: str | None = None
    password: str | None = None

    @property
    def is_secure(self) -> bool:
        """Whether the way there is encrypted."""
        return self.scheme == "mqtts"

    def __str__(self) -> str:
        """Return the URL without the password, for people to read."""
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{user}{host}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class ConnectOptions:
    """How we present ourselves to a broker."""

    address: BrokerAddress
    client_id: str
    clean_session: bool
    is_mqtt5: bool
    will: LastWill | None
    tls: TlsFiles | None
    receive_maximum: int


class BrokerConnection:
    """A connection, when there is one.

    Parameters
    ----------
    manner
        Where to, and as whom.
    listener
        Who is told.
    """

    def __init__(self, manner: ConnectOptions, listener: ConnectionListener) -> None:
        self._listener = listener
        self._is_writing = False
        self.generation = 0
        self._paho = paho_client = ReadAheadPahoClient(manner)
        paho_client.on_connect = self._on_connect
        paho_client.on_publish = self._on_publish
        paho_client.on_subscribe = self._on_subscribe
        paho_client.on_disconnect = self._on_disconnect
        paho_client.on_message = self._on_message
        paho_client.on_socket_register_write = lambda *_: None  # write only when told to

    @property
    def socket(self) -> socket.socket | None:
        """The open socket, to be waited for."""
        found = self._paho.socket()
        return found if isinstance(found, socket.socket) else None

    @property
    def has_read_ahead(self) -> bool:
        """Whether there are bytes that no wait for the socket would tell of."""
        return not self._paho.is_buffer_empty

    @property
    def has_to_write(self) -> bool:
        """Whether the socket did not take everything yet."""
        return self._paho.want_write()

    @property
    def seconds_since_received(self) -> float:
        """Time since the broker last sent anything. [s]"""
        return time.monotonic() - self._paho.last_received

    def open(self) -> None:
        """Connect and ask to be let in; OSError if nobody is there."""
        self._paho.reset()
        self._paho.reload_certificates()
        self._paho.reconnect()

    def read(self) -> None:
        """Take in what has come, at most a batch."""
        taken = 0
        while (
            taken < MAX_PACKETS_PER_READ
            and not self._paho.loop_read()
            and not self._paho.is_buffer_empty
        ):
            taken += 1
            for topic, payload, flags, number in self._paho.take_publishes():
                taken += 1
                self._arrived(topic, payload, flags, number)

    def write(self) -> None:
        """Send what waits, as much as the socket takes."""
        self._is_writing = True
        self._paho.loop_write()
        self._is_writing = False

    def keep_alive(self) -> None:
        """Ask a silent broker whether it is there."""
        self._paho.loop_misc()

    def publish(self, letter: OutgoingMessage) -> int | None:
        """Hand a message over; return its number, or None if it must wait."""
        told = self._paho.publish(letter.topic, letter.payload, letter.qos, letter.retain)
        return told.mid if told.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else None

    def subscribe(self, filters: Mapping[str, int]) -> int:
        """Ask for topics by their QoS; return the number that the answer will have."""
        return self._paho.subscribe(list(filters.items()))[1] or 0

    def acknowledge(self, numbers: Sequence[int]) -> None:
        """Acknowledge messages of QoS 1, as one write."""
        self._paho.acknowledge(numbers)

    def disconnect(self) -> None:
        """Say goodbye: no will is sent, our session stays as agreed."""
        self._paho.disconnect()

    def close_socket(self) -> None:
        """Close the socket without a word."""
        self._paho.close_socket()

    def _on_connect(
        self,
        _client: paho.Client,
        _data: object,
        flags: paho.ConnectFlags,
        code: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if code.is_failure:
            self._listener.on_refused(str(code))
        else:
            self.generation += 1
            widest = getattr(properties, "ReceiveMaximum", MAX_UNACKNOWLEDGED)
            self._listener.on_connect(flags.session_present, min(MAX_UNACKNOWLEDGED, widest))

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        kind = (message.qos, message.retain, self.generation, message.mid, message.dup)
        self._listener.on_message(ReceivedMessage(topic, bytes(message.payload), *kind))

    def _arrived(self, topic: bytes, payload: bytes, flags: int, number: int) -> None:
        """Tell of a message that paho has not seen."""
        try:
            name = topic.decode()
        except UnicodeDecodeError:
            name = ""
        qos, is_retained, is_again = flags >> 1 & 3, bool(flags & 1), bool(flags & 8)
        told = ReceivedMessage(name, payload, qos, is_retained, self.generation, number, is_again)
        self._listener.on_message(told)

    def _on_publish(
        self,
        _client: paho.Client,
        _data: object,
        number: int,
        code: ReasonCode,
        _properties: Properties,
    ) -> None:
        if not self._is_writing:  # else it tells of QoS 0, whose numbers may stand for others too
            self._listener.on_puback(number, not code.is_failure)

    def _on_subscribe(
        self,
        _client: paho.Client,
        _data: object,
        number: int,
        codes: list[ReasonCode],
        _properties: Properties,
    ) -> None:
        self._listener.on_suback(number, [not code.is_failure for code in codes])

    def _on_disconnect(
        self,
        _client: paho.Client,
        _data: object,
        flags: paho.DisconnectFlags,
        code: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self._listener.on_disconnect(str(code))


KEEPALIVE_S: Final = 30
"""Silence after which the broker is asked whether it is there. [s]"""

SESSION_EXPIRY_S: Final = 86_400
"""How long the broker keeps our session after we are gone, on MQTT 5. [s]"""

MAX_PACKET_ID: Final = 0xFFFF
"""The most messages that MQTT can number."""

MAX_PACKET_BYTES: Final = 1024 * 1024
"""Longest packet that we ask a broker on MQTT 5 to send. [B]"""

READ_BYTES: Final = 65536
"""Bytes read from the socket at once. [B]"""

_PUBACK: Final = struct.Struct("!BBH")

_logger = structlog.get_logger(__name__)

type PublishPacket = tuple[bytes, bytes, int, int]
"""Topic, payload, flags of the first byte, and packet number (0 at QoS 0)."""


class ReadAheadPahoClient(paho.Client):
    """paho with a read that looks ahead and acknowledgements in groups.

    Parameters
    ----------
    manner
        Where to, and as whom.

    Attributes
    ----------
    is_dry
        Whether nothing is left of what was read ahead.
    heard
        When the broker last sent anything, on the monotonic clock. [s]
    """

    def __init__(self, manner: ConnectOptions) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=manner.client_id,
            clean_session=None if manner.is_mqtt5 else manner.clean_session,
            protocol=MQTTProtocolVersion.MQTTv5
            if manner.is_mqtt5
            else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,  # or it tries MQTT 3.1 when refused
            manual_ack=True,
        )
        self._is_5 = manner.is_mqtt5
        self.reset()
        self.max_inflight_messages = 0  # the session counts
        address, will = manner.address, manner.will
        if address.user is not None:
            self.username_pw_set(address.user, address.password)
        self._certificates = manner.tls
        if manner.tls is not None:
            self.tls_set_context(manner.tls.ssl_context())
        if will is not None:
            self.will_set(will.topic, will.payload, will.qos, will.retain)
        if manner.is_mqtt5:
            self.connect_async(
                address.host,
                address.port,
                KEEPALIVE_S,
                clean_start=manner.clean_session,
                properties=_wishes(manner),
            )
        else:
            self.connect_async(address.host, address.port, KEEPALIVE_S)

    def reset(self) -> None:
        """Forget what was read from an earlier socket."""
        self._ahead, self._at = b"", 0
        self.is_buffer_empty = True
        self.last_received = time.monotonic()

    def reload_certificates(self) -> None:
        """Take certificates as they are on disk now, or go on with those read last.

        They run out while we run, and whoever renews them ends no service for it.
        """
        if self._certificates is None:
            return
        try:
            self._ssl_context = self._certificates.ssl_context()
        except OSError as error:
            _logger.warning("certificates as read last", because=str(error))

    def close_socket(self) -> None:
        """Close the socket without a word."""
        self._sock_close()

    def acknowledge(self, numbers: Sequence[int]) -> None:
        """Acknowledge messages of QoS 1."""
        packets = b"".join([_PUBACK.pack(paho.PUBACK, 2, number) for number in numbers])
        self._packet_queue(paho.PUBACK, packets, 0, 1)

    def take_publishes(self) -> list[PublishPacket]:
        """Return the messages of QoS 0 and 1 that are next in what was read ahead.

        Notes
        -----
        paho takes some ten microseconds to read a packet piece by piece, most of what a message
        costs. What is not a whole message, or not of these, is left to it.
        """
        if self._in_packet["command"]:  # paho is within a packet
            return []
        found, self._at = parse_publishes(self._ahead, self._at, is_5=self._is_5)
        return found

    def _sock_recv(self, bufsize: int) -> bytes:
        if self._at >= len(self._ahead):
            self.is_buffer_empty = True
            self._ahead, self._at = super()._sock_recv(READ_BYTES), 0
            self.is_buffer_empty = False
            self.last_received = time.monotonic()
        piece = self._ahead[self._at : self._at + bufsize]
        self._at += len(piece)
        return piece


def _wishes(manner: ConnectOptions) -> Properties:
    """Return what only MQTT 5 lets us ask for."""
    wishes = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    wishes.SessionExpiryInterval = 0 if manner.clean_session else SESSION_EXPIRY_S
    wishes.ReceiveMaximum = min(MAX_PACKET_ID, manner.receive_maximum)
    wishes.MaximumPacketSize = MAX_PACKET_BYTES
    return wishes


PUBLISH_TYPE: Final = 0x30
"""First byte of a message, without its flags."""

_KIND: Final = 0xF0
_QOS: Final = 0x06
_QOS_2: Final = 0x04
_MORE: Final = 0x80  # a digit of a length that another one follows
_DIGITS: Final = 4


def parse_publishes(data: bytes, at: int, *, is_5: bool) -> tuple[list[PublishPacket], int]:
    """Return the whole messages of QoS 0 and 1 at a place of a buffer, and where they end.

    Parameters
    ----------
    data
        What came over the wire.
    at
        Where a packet begins in it.
    is_5
        Whether it is MQTT 5: then messages carry properties, which are passed over.

    Returns
    -------
    tuple
        The messages, and where the first packet begins that is none of them: another kind, not
        whole yet, without a topic, or broken.
    """
    found: list[PublishPacket] = []
    end = len(data)
    while at < end:
        first = data[at]
        if first & _KIND != PUBLISH_TYPE or first & _QOS >= _QOS_2:
            break
        size, place = _number(data, at + 1, end)
        last = place + size
        if size < 0 or last > end:
            break
        topic = place + 2
        place = topic + (data[place] << 8 | data[place + 1]) if size >= 2 else end + 1  # noqa: PLR2004 - of a length
        name = data[topic:place]
        number = 0
        if first & _QOS:
            if place + 2 > last:
                break
            number = data[place] << 8 | data[place + 1]
            place += 2
        if is_5:
            size, place = _number(data, place, last)
            place += size
            if size < 0:
                break
        if not name or place > last:
            break
        found.append((name, data[place:last], first & 0x0F, number))
        at = last
    return found, at


def _number(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return a number of variable length and where it ends; -1 if it is not whole or broken."""
    value = 0
    for digit in range(_DIGITS):
        if at + digit >= end:
            break
        byte = data[at + digit]
        value |= (byte & ~_MORE) << 7 * digit
        if not byte & _MORE:
            return value, at + digit + 1
    return -1, at


DEFAULT_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
"""Schemes and the ports they stand for."""

BROKER_URL_HINT: Final = "write mqtt://host:port, or mqtts://user:password@host:port"


def parse_broker_url(url: str) -> BrokerAddress:
    """Read the URL of a broker.

    Parameters
    ----------
    url
        ``mqtt://`` or ``mqtts://``, with or without user, password and port. Signs that mean
        something in a URL stand in a password as ``%40`` and the like.

    Returns
    -------
    Address
        Its parts.

    Raises
    ------
    BrokerError
        If this cannot be the URL of a broker.
    """
    shown = url.rpartition("@")[2]  # never with the password
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BrokerError(shown, str(error), BROKER_URL_HINT) from error
    if parts.scheme not in DEFAULT_PORTS:
        raise BrokerError(
            shown, f"no broker speaks {parts.scheme or 'without a scheme'!r}", BROKER_URL_HINT
        )
    if not parts.hostname:
        raise BrokerError(shown, "it names no host", BROKER_URL_HINT)
    if port == 0 or parts.path.strip("/") or parts.query or parts.fragment:
        raise BrokerError(
            shown, "a broker has a host and a port above 0, and no path", BROKER_URL_HINT
        )
    return BrokerAddress(
        scheme=parts.scheme,
        host=parts.hostname,
        port=port or DEFAULT_PORTS[parts.scheme],
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )
