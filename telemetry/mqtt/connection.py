"""One connection to a broker at a time, over paho's interface for foreign event loops.

paho's own loop makes one ``select`` call for each packet, waits between attempts without jitter,
and hides why a connection failed. It also reads the socket byte by byte and writes once for each
acknowledgement. :class:`ReadAheadPahoClient` reads ahead, and acknowledges in groups. For that it
uses four private members of paho, so the lock file fixes paho's version and tests check them:

* ``_sock_recv`` reads ahead.
* ``_in_packet`` shows whether paho has begun to read a packet.
* ``_packet_queue`` takes many acknowledgements as one write.
* ``_ssl_context`` receives renewed certificates.

The caller, :class:`telemetry.mqtt.network_loop.NetworkLoop`, drives the connection in one thread.
"""

import ipaddress
import random
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
from twin.errors import BrokerError, IssueCode

__all__ = [
    "BrokerConnection",
    "ConnectionListener",
]

RECONNECT_DELAYS_S: Final = (0.25, 3.0)
"""Wait after the end of a stable connection, and the longest wait. [s]"""

MAX_UNACKNOWLEDGED: Final = 1000
"""Most messages that are sent and not yet acknowledged by the broker. [1]"""

MAX_PACKETS_PER_READ: Final = 1000
"""Packets read before other work gets its turn. [1]"""


class ConnectionListener(Protocol):
    """Receiver of the events of a connection, on the thread that drives it; it must not raise."""

    def on_connect(self, is_known: bool, window: int) -> None:
        """The broker accepts us: whether it had our session, and how much it takes at once."""

    def on_refused(self, reason: str) -> None:
        """The broker refuses the connection."""

    def on_message(self, message: ReceivedMessage) -> None:
        """A message has arrived; with an empty topic if its topic is no valid text."""

    def on_puback(self, packet_id: int, is_accepted: bool) -> None:
        """The broker answers a published message."""

    def on_suback(self, packet_id: int, is_granted: Sequence[bool]) -> None:
        """The broker answers a subscription."""

    def on_disconnect(self, reason: str) -> None:
        """The broker ends the connection and gives a reason."""


def reconnect_delay(failures: int) -> float:
    """Return a random wait before the next attempt; it doubles with each failure in a row. [s]"""
    first, longest = RECONNECT_DELAYS_S
    doublings = min(failures, 10)  # beyond 10 the longest wait applies anyway
    return min(longest, first * 2.0**doublings) * random.uniform(0.5, 1.0)


@dataclass(frozen=True, kw_only=True)
class TlsFiles:
    """Files for TLS, and whether a connection may do without TLS.

    - `ca`: certificates of the authorities to trust; those of the system if None.
    - `certificate`, `key`: our own certificate and its key, for brokers that require one.
    - `allow_cleartext`: whether ``mqtt://`` to another machine is allowed; others on the way can
      then read passwords and change orders.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    allow_cleartext: bool = False

    @property
    def names_files(self) -> bool:
        """Whether any file is named."""
        return any((self.ca, self.certificate, self.key))

    def ssl_context(self) -> ssl.SSLContext:
        """Return the TLS context of these files; raise OSError if one is missing or invalid."""
        for file in filter(None, (self.ca, self.certificate, self.key)):
            file.open("rb").close()  # OpenSSL does not name a missing file
        context = ssl.create_default_context(cafile=self.ca)
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.key)
        return context


@dataclass(frozen=True, kw_only=True)
class BrokerAddress:
    """Address of a broker, with user and password."""

    scheme: str
    host: str
    port: int
    user: str | None = None
    password: str | None = None

    @property
    def is_secure(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme == "mqtts"

    @property
    def is_exposed(self) -> bool:
        """Whether others can read the connection: without encryption, to another machine.

        A name that resolves to loopback counts as another machine, except ``localhost``.
        """
        if self.is_secure or self.host == "localhost":
            return False
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return True

    def __str__(self) -> str:
        """Return the URL without the password, safe to show."""
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{user}{host}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class ConnectOptions:
    """Options of a connection to a broker."""

    address: BrokerAddress
    client_id: str
    clean_session: bool
    is_mqtt5: bool
    will: LastWill | None
    tls: TlsFiles | None
    receive_maximum: int


class BrokerConnection:
    """A connection that can be opened again and again; it reports events to its listener."""

    def __init__(self, options: ConnectOptions, listener: ConnectionListener) -> None:
        self._listener = listener
        self._is_writing = False
        self.generation = 0
        self._paho = paho_client = ReadAheadPahoClient(options)
        paho_client.on_connect = self._on_connect
        paho_client.on_publish = self._on_publish
        paho_client.on_subscribe = self._on_subscribe
        paho_client.on_disconnect = self._on_disconnect
        paho_client.on_message = self._on_message
        paho_client.on_socket_register_write = lambda *_: None  # the caller decides when to write

    @property
    def socket(self) -> socket.socket | None:
        """The open socket, to wait for."""
        found = self._paho.socket()
        return found if isinstance(found, socket.socket) else None

    @property
    def has_read_ahead(self) -> bool:
        """Whether bytes were read ahead that waiting for the socket would not reveal."""
        return not self._paho.is_buffer_empty

    @property
    def has_to_write(self) -> bool:
        """Whether bytes wait that the socket did not accept yet."""
        return self._paho.want_write()

    @property
    def seconds_since_received(self) -> float:
        """Time since the broker last sent any bytes. [s]"""
        return time.monotonic() - self._paho.last_received

    def open(self) -> None:
        """Open the connection and send CONNECT; raise OSError if nothing answers."""
        self._paho.reset()
        self._paho.reload_certificates()
        self._paho.reconnect()

    def read(self) -> None:
        """Process the packets that have arrived, at most a batch."""
        count = 0
        while (
            count < MAX_PACKETS_PER_READ
            and not self._paho.loop_read()
            and not self._paho.is_buffer_empty
        ):
            count += 1
            for topic, payload, flags, packet_id in self._paho.take_publishes():
                count += 1
                self._on_publish_packet(topic, payload, flags, packet_id)

    def write(self) -> None:
        """Send waiting bytes, as many as the socket accepts."""
        self._is_writing = True
        self._paho.loop_write()
        self._is_writing = False

    def keep_alive(self) -> None:
        """Ping a silent broker."""
        self._paho.loop_misc()

    def publish(self, message: OutgoingMessage) -> int | None:
        """Queue a message in paho; return its packet id, or None if it must wait."""
        info = self._paho.publish(message.topic, message.payload, message.qos, message.retain)
        return info.mid if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else None

    def subscribe(self, filters: Mapping[str, int]) -> int:
        """Subscribe to topics at their QoS; return the packet id of the answer."""
        return self._paho.subscribe(list(filters.items()))[1] or 0

    def acknowledge(self, packet_ids: Sequence[int]) -> None:
        """Acknowledge messages of QoS 1, as one write."""
        self._paho.acknowledge(packet_ids)

    def disconnect(self) -> None:
        """Send DISCONNECT: the broker publishes no will, and the session stays as agreed."""
        self._paho.disconnect()

    def close_socket(self) -> None:
        """Close the socket without DISCONNECT."""
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
            receive_maximum = getattr(properties, "ReceiveMaximum", MAX_UNACKNOWLEDGED)
            window = min(MAX_UNACKNOWLEDGED, receive_maximum)
            self._listener.on_connect(flags.session_present, window)

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        fields = (message.qos, message.retain, self.generation, message.mid, message.dup)
        self._listener.on_message(ReceivedMessage(topic, bytes(message.payload), *fields))

    def _on_publish_packet(self, topic: bytes, payload: bytes, flags: int, packet_id: int) -> None:
        """Report a message that was parsed without paho."""
        try:
            name = topic.decode()
        except UnicodeDecodeError:
            name = ""
        qos, retain, dup = flags >> 1 & 3, bool(flags & 1), bool(flags & 8)
        message = ReceivedMessage(name, payload, qos, retain, self.generation, packet_id, dup)
        self._listener.on_message(message)

    def _on_publish(
        self,
        _client: paho.Client,
        _data: object,
        number: int,
        code: ReasonCode,
        _properties: Properties,
    ) -> None:
        if not self._is_writing:  # else it reports QoS 0, whose ids may also be those of QoS 1
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
"""Silence after which the broker is pinged. [s]"""

SESSION_EXPIRY_S: Final = 86_400
"""Time for which the broker keeps our session after a disconnect, on MQTT 5. [s]"""

MAX_PACKET_ID: Final = 0xFFFF
"""Largest packet id of MQTT. [1]"""

MAX_RECEIVED_PACKET_BYTES: Final = 1024 * 1024
"""Largest packet that a broker on MQTT 5 may send. [B]"""

SOCKET_READ_BYTES: Final = 65536
"""Bytes read from the socket at once. [B]"""

_PUBACK: Final = struct.Struct("!BBH")

_logger = structlog.get_logger(__name__)

type PublishPacket = tuple[bytes, bytes, int, int]
"""Topic, payload, flags of the first byte, and packet id (0 at QoS 0)."""


class ReadAheadPahoClient(paho.Client):
    """paho client that reads ahead and acknowledges in groups.

    - `is_buffer_empty`: whether all bytes that were read ahead are processed.
    - `last_received`: when the broker last sent any bytes, on the monotonic clock. [s]
    """

    def __init__(self, options: ConnectOptions) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=options.client_id,
            clean_session=None if options.is_mqtt5 else options.clean_session,
            protocol=MQTTProtocolVersion.MQTTv5
            if options.is_mqtt5
            else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,  # else it tries MQTT 3.1 when refused
            manual_ack=True,
        )
        self._is_5 = options.is_mqtt5
        self.reset()
        self.max_inflight_messages = 0  # the network loop limits them
        address, will = options.address, options.will
        if address.user is not None:
            self.username_pw_set(address.user, address.password)
        self._certificates = options.tls
        if options.tls is not None:
            self.tls_set_context(options.tls.ssl_context())
        if will is not None:
            self.will_set(will.topic, will.payload, will.qos, will.retain)
        if options.is_mqtt5:
            self.connect_async(
                address.host,
                address.port,
                KEEPALIVE_S,
                clean_start=options.clean_session,
                properties=_connect_properties(options),
            )
        else:
            self.connect_async(address.host, address.port, KEEPALIVE_S)

    def reset(self) -> None:
        """Discard bytes read from an earlier socket."""
        self._ahead, self._at = b"", 0
        self.is_buffer_empty = True
        self.last_received = time.monotonic()

    def reload_certificates(self) -> None:
        """Read certificates again, or keep the last ones if that fails.

        They expire while the client runs, and a failed renewal must not end the service.
        """
        if self._certificates is None:
            return
        try:
            self._ssl_context = self._certificates.ssl_context()
        except OSError as error:
            _logger.warning("certificates not reloaded", because=str(error))

    def close_socket(self) -> None:
        """Close the socket without DISCONNECT."""
        self._sock_close()

    def acknowledge(self, packet_ids: Sequence[int]) -> None:
        """Acknowledge messages of QoS 1."""
        packets = b"".join([_PUBACK.pack(paho.PUBACK, 2, number) for number in packet_ids])
        self._packet_queue(paho.PUBACK, packets, 0, 1)

    def take_publishes(self) -> list[PublishPacket]:
        """Return the messages of QoS 0 and 1 that come next in the bytes read ahead.

        paho needs some ten microseconds to read a packet piece by piece, most of the cost of a
        message. Incomplete and other packets are left to paho.
        """
        if self._in_packet["command"]:  # paho has read a part of a packet
            return []
        found, self._at = parse_publishes(self._ahead, self._at, is_5=self._is_5)
        return found

    def _sock_recv(self, bufsize: int) -> bytes:
        if self._at >= len(self._ahead):
            self.is_buffer_empty = True
            self._ahead, self._at = super()._sock_recv(SOCKET_READ_BYTES), 0
            self.is_buffer_empty = False
            self.last_received = time.monotonic()
        chunk = self._ahead[self._at : self._at + bufsize]
        self._at += len(chunk)
        return chunk


def _connect_properties(options: ConnectOptions) -> Properties:
    """Return the properties of CONNECT on MQTT 5."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = 0 if options.clean_session else SESSION_EXPIRY_S
    properties.ReceiveMaximum = min(MAX_PACKET_ID, options.receive_maximum)
    properties.MaximumPacketSize = MAX_RECEIVED_PACKET_BYTES
    return properties


PUBLISH_TYPE: Final = 0x30
"""First byte of a PUBLISH packet, without its flags."""

_KIND: Final = 0xF0
_QOS: Final = 0x06
_QOS_2: Final = 0x04
_CONTINUATION: Final = 0x80  # a digit of a length that another digit follows
_MAX_LENGTH_DIGITS: Final = 4  # bytes of a packet's remaining length


def parse_publishes(data: bytes, at: int, *, is_5: bool) -> tuple[list[PublishPacket], int]:
    """Return the complete messages of QoS 0 and 1 at an offset of a buffer, and their end.

    ``is_5`` is whether it is MQTT 5, whose messages have properties, which are skipped. The end is
    the offset of the first other packet: another kind, incomplete, without topic, or malformed.
    """
    found: list[PublishPacket] = []
    end = len(data)
    while at < end:
        first = data[at]
        if first & _KIND != PUBLISH_TYPE or first & _QOS >= _QOS_2:
            break
        size, place = _variable_length(data, at + 1, end)
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
            size, place = _variable_length(data, place, last)
            place += size
            if size < 0:
                break
        if not name or place > last:
            break
        found.append((name, data[place:last], first & 0x0F, number))
        at = last
    return found, at


def _variable_length(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return a number of variable length and its end; -1 if it is incomplete or malformed."""
    value = 0
    for digit in range(_MAX_LENGTH_DIGITS):
        if at + digit >= end:
            break
        byte = data[at + digit]
        value |= (byte & ~_CONTINUATION) << 7 * digit
        if not byte & _CONTINUATION:
            return value, at + digit + 1
    return -1, at


DEFAULT_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
"""URL schemes and their default ports."""

BROKER_URL_HINT: Final = "write mqtt://host:port, or mqtts://user:password@host:port"
_URL_CODE: Final = IssueCode.INVALID_FORMAT


def parse_broker_url(url: str) -> BrokerAddress:
    """Return the parts of a broker's URL: ``mqtt://`` or ``mqtts://`` with optional user and port.

    Percent-encode characters of a password that have a meaning in URLs, such as ``%40`` for ``@``.
    It raises BrokerError if the URL is not that of a broker.
    """
    shown = url.rpartition("@")[2]  # without the password
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BrokerError(shown, str(error), BROKER_URL_HINT, code=_URL_CODE) from error
    if parts.scheme not in DEFAULT_PORTS:
        reason = f"the scheme is {parts.scheme!r}, not mqtt or mqtts"
        raise BrokerError(shown, reason, BROKER_URL_HINT, code=_URL_CODE)
    if not parts.hostname:
        raise BrokerError(shown, "the URL has no host", BROKER_URL_HINT, code=_URL_CODE)
    if port == 0 or parts.path.strip("/") or parts.query or parts.fragment:
        reason = "the URL of a broker has a host, a port above 0, and no path"
        raise BrokerError(shown, reason, BROKER_URL_HINT, code=_URL_CODE)
    return BrokerAddress(
        scheme=parts.scheme,
        host=parts.hostname,
        port=port or DEFAULT_PORTS[parts.scheme],
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
    )
