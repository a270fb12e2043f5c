"""One connection to a broker at a time, over paho's interface for foreign event loops.

paho takes 20 us to read a message piece by piece, with a system call for each piece. So its socket
is a :class:`PacketStream`, which reads ahead, takes whole messages of QoS 0 and 1 out of the bytes,
and leaves all other packets to paho (ADR 033). paho's hook for TLS contexts installs the stream, so
no private name of paho is used. :class:`telemetry.mqtt.client.Client` drives the connection in one
thread.
"""

import socket
import ssl
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol, cast

import structlog
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from telemetry.mqtt.broker import BrokerAddress, TlsFiles
from telemetry.mqtt.queues import LastWill, OutgoingMessage

MAX_PACKETS_PER_READ: Final = 1000
"""Packets that paho reads before other work gets its turn. [1]"""

MAX_UNACKNOWLEDGED: Final = 1000
"""Most messages that are sent and not yet acknowledged by the broker. [1]"""

KEEPALIVE_S: Final = 30
"""Silence after which the broker is pinged. [s]"""

SESSION_EXPIRY_S: Final = 86_400
"""Time for which the broker keeps our session after a disconnect, on MQTT 5. [s]"""

MAX_PACKET_ID: Final = 0xFFFF
"""Largest packet id of MQTT. [1]"""

MAX_RECEIVED_PACKET_BYTES: Final = 1024 * 1024
"""Largest packet that a broker on MQTT 5 may send. [B]"""

_logger = structlog.get_logger(__name__)


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


type PublishPacket = tuple[bytes, bytes, int, int]
"""Topic, payload, flags of the first byte, and packet id (0 at QoS 0)."""


class ConnectionListener(Protocol):
    """Receiver of the events of a connection, on the thread that drives it; it must not raise."""

    def on_connect(self, refusal: str, *, is_known: bool, window: int) -> None:
        """The broker refuses us, or has our session and takes so many messages at once."""

    def on_publish(self, packet: PublishPacket) -> None:
        """A message has arrived."""

    def on_puback(self, packet_id: int, *, is_accepted: bool) -> None:
        """The broker answers a published message."""

    def on_suback(self, packet_id: int, is_granted: Sequence[bool]) -> None:
        """The broker answers a subscription."""

    def on_disconnect(self, reason: str) -> None:
        """The broker ends the connection and gives a reason."""


class BrokerConnection:
    """A connection that can be opened again and again; it reports events to its listener.

    Certificates are read again for each connection, because they expire while the client runs. If
    that fails, the last ones stay, so that a failed renewal does not end the service. Raises
    OSError if they cannot be read at first.
    """

    check_hostname = True  # by the TLS context

    def __init__(self, options: ConnectOptions, listener: ConnectionListener) -> None:
        self._options, self._listener = options, listener
        self._context = options.tls.ssl_context() if options.tls else None
        self._stream: PacketStream | None = None
        self._is_writing = False
        self._paho = create_paho_client(options)
        self._paho.tls_set_context(cast("ssl.SSLContext", self))
        self._paho.on_socket_register_write = lambda *_: None  # the caller decides when to write
        self._paho.on_connect = lambda _, __, flags, code, properties: listener.on_connect(
            str(code) if code.is_failure else "",
            is_known=flags.session_present,
            window=min(
                getattr(properties, "ReceiveMaximum", MAX_UNACKNOWLEDGED), MAX_UNACKNOWLEDGED
            ),
        )
        self._paho.on_message = lambda _, __, message: self._on_message(message)
        self._paho.on_publish = lambda _, __, number, code, ___: self._on_puback(
            number, is_accepted=not code.is_failure
        )
        self._paho.on_subscribe = lambda _, __, number, codes, ___: listener.on_suback(
            number, [not code.is_failure for code in codes]
        )
        self._paho.on_disconnect = lambda _, __, flags, code, ___: (
            listener.on_disconnect(str(code)) if flags.is_disconnect_packet_from_server else None
        )

    def _on_message(self, message: paho.MQTTMessage) -> None:
        """Report a message that paho has parsed, such as a large one."""
        try:
            topic = message.topic.encode()
        except UnicodeDecodeError:
            topic = b"\xff"
        flags = message.qos << 1 | message.retain | message.dup << 3
        self._listener.on_publish((topic, bytes(message.payload), flags, message.mid))

    def _on_puback(self, packet_id: int, *, is_accepted: bool) -> None:
        if not self._is_writing:  # else it reports QoS 0, whose ids may also be those of QoS 1
            self._listener.on_puback(packet_id, is_accepted=is_accepted)

    def wrap_socket(
        self, connection: socket.socket, *, server_hostname: str, do_handshake_on_connect: bool
    ) -> "PacketStream":
        """Return the stream of a socket that paho has just connected, with TLS if declared."""
        if self._context is not None and self._options.tls is not None:
            try:
                self._context = self._options.tls.ssl_context()
            except OSError as error:
                _logger.warning("certificates not reloaded", because=str(error))
            connection = self._context.wrap_socket(
                connection,
                server_hostname=server_hostname,
                do_handshake_on_connect=do_handshake_on_connect,
            )
        self._stream = PacketStream(
            connection, self._listener.on_publish, is_5=self._options.is_mqtt5
        )
        return self._stream

    @property
    def stream(self) -> "PacketStream | None":
        """The open connection, to wait for; None without one."""
        return self._stream if self._stream and not self._stream.is_closed else None

    @property
    def has_to_write(self) -> bool:
        """Whether bytes wait that the socket did not accept yet."""
        stream = self.stream
        return stream is not None and (self._paho.want_write() or stream.has_unsent)

    def open(self) -> None:
        """Open the connection and send CONNECT; raise OSError if nothing answers."""
        self._paho.reconnect()

    def read(self) -> None:
        """Process the packets that have arrived, at most a batch."""
        for _ in range(MAX_PACKETS_PER_READ):
            if self._paho.loop_read() or not (self._stream and self._stream.has_read_ahead):
                return

    def write(self) -> None:
        """Send waiting bytes, as many as the socket accepts."""
        self._is_writing = True
        self._paho.loop_write()
        self._is_writing = False
        if self._stream is not None:
            self._stream.flush()

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

    def disconnect(self) -> None:
        """Send DISCONNECT: the broker publishes no will, and the session stays as agreed."""
        self._paho.disconnect()

    def close(self) -> None:
        """Close the socket without DISCONNECT."""
        if self._stream is not None:
            self._stream.close()


def create_paho_client(options: ConnectOptions) -> paho.Client:
    """Return a client that is not connected."""
    is_5, address, will = options.is_mqtt5, options.address, options.will
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=options.client_id,
        clean_session=None if is_5 else options.clean_session,
        protocol=MQTTProtocolVersion.MQTTv5 if is_5 else MQTTProtocolVersion.MQTTv311,
        reconnect_on_failure=False,  # else it tries MQTT 3.1 when refused
        manual_ack=True,
    )
    client.max_inflight_messages = 0  # the caller limits them
    if address.user is not None:
        client.username_pw_set(address.user, address.password)
    if will is not None:
        client.will_set(will.topic, will.payload, will.qos, will.retain)
    if not is_5:
        client.connect_async(address.host, address.port, KEEPALIVE_S)
        return client
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = 0 if options.clean_session else SESSION_EXPIRY_S
    properties.ReceiveMaximum = min(MAX_PACKET_ID, options.receive_maximum)
    properties.MaximumPacketSize = MAX_RECEIVED_PACKET_BYTES
    client.connect_async(
        address.host,
        address.port,
        KEEPALIVE_S,
        clean_start=options.clean_session,
        properties=properties,
    )
    return client


SOCKET_READ_BYTES: Final = 65536
"""Bytes read from the socket at once. [B]"""

_PUBACK: Final = struct.Struct("!BBH")


class PacketStream:
    """A socket for paho that hands messages of QoS 0 and 1 to a function, and reads and writes much
    at once.

    paho reads all other packets, and messages larger than :data:`SOCKET_READ_BYTES`. What it writes
    waits for :meth:`flush`.

    - `received_at`: when the broker last sent any bytes, on the monotonic clock. [s]
    - `is_closed`: whether either side has closed the connection.
    """

    def __init__(
        self, connection: socket.socket, on_publish: Callable[[PublishPacket], None], *, is_5: bool
    ) -> None:
        self._socket, self._on_publish, self._is_5 = connection, on_publish, is_5
        self._data, self._at = b"", 0
        self._left = 0  # bytes of the packet that paho is reading
        self._is_incomplete = False
        self._unsent = bytearray()
        self.is_closed = False
        self.received_at = time.monotonic()
        self.fileno = connection.fileno
        self.setblocking, self.settimeout = connection.setblocking, connection.settimeout

    @property
    def has_read_ahead(self) -> bool:
        """Whether there are bytes for paho that waiting for the socket would not reveal."""
        return self._at < len(self._data) and not self._is_incomplete

    @property
    def has_unsent(self) -> bool:
        """Whether bytes wait that the socket did not accept yet."""
        return bool(self._unsent)

    def do_handshake(self) -> None:
        """Complete the handshake of TLS, if any."""
        if isinstance(self._socket, ssl.SSLSocket):
            self._socket.do_handshake()

    def recv(self, size: int) -> bytes:
        """Return at most ``size`` bytes of the packets that are left to paho.

        Raises BlockingIOError if there are none now.
        """
        if self._at == len(self._data) or self._is_incomplete:
            self._fill()
        if not self._left:
            messages, self._at = parse_publishes(self._data, self._at, is_5=self._is_5)
            for message in messages:
                self._on_publish(message)
            self._left = self._next_size()
        if not self._left:
            self._is_incomplete = True
            raise BlockingIOError
        chunk = self._data[self._at : self._at + min(size, self._left)]
        self._at += len(chunk)
        self._left -= len(chunk)
        return chunk

    def _next_size(self) -> int:
        """Return the size of the next packet for paho; 0 if more bytes must arrive first. [B]"""
        size, available = packet_size(self._data, self._at), len(self._data) - self._at
        is_message = available > 0 and self._data[self._at] & _KIND == PUBLISH_PACKET_TYPE
        return 0 if is_message and available < size <= SOCKET_READ_BYTES else size

    def _fill(self) -> None:
        """Read what has arrived."""
        self._is_incomplete = True
        received = self._socket.recv(SOCKET_READ_BYTES)
        if not received:
            raise ConnectionResetError
        self._data, self._at = self._data[self._at :] + received, 0
        self._is_incomplete = False
        self.received_at = time.monotonic()

    def send(self, data: bytes) -> int:
        """Take bytes to send."""
        self._unsent += data
        return len(data)

    def acknowledge(self, packet_ids: Sequence[int]) -> None:
        """Acknowledge messages of QoS 1."""
        self._unsent += b"".join([_PUBACK.pack(paho.PUBACK, 2, number) for number in packet_ids])

    def flush(self) -> None:
        """Send waiting bytes, as many as the socket accepts."""
        if not self._unsent or self.is_closed:
            return
        try:
            del self._unsent[: self._socket.send(self._unsent)]
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError:
            self._unsent.clear()
            self.close()

    def close(self) -> None:
        """Send what the socket accepts at once, such as DISCONNECT, and close it."""
        self.flush()
        self.is_closed = True
        with suppress(OSError):
            self._socket.close()


PUBLISH_PACKET_TYPE: Final = 0x30
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
        if first & _KIND != PUBLISH_PACKET_TYPE or first & _QOS >= _QOS_2:
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


def packet_size(data: bytes, at: int) -> int:
    """Return the size of the packet at an offset of a buffer; 0 if its header is incomplete. [B]"""
    size, place = _variable_length(data, at + 1, len(data))
    if size >= 0:
        return place + size - at
    is_cut = len(data) - at <= _MAX_LENGTH_DIGITS
    return 0 if is_cut else _MAX_LENGTH_DIGITS + 2  # malformed: paho finds it in these bytes


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
