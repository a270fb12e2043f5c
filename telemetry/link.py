"""The only user of paho: one connection to a broker at a time, driven by one thread.

paho's own loop makes one ``select`` a packet, reads the socket byte by byte, writes once for each
acknowledgement, waits between attempts without jitter, and hides why a connection failed. Here the
caller drives it through its interface for foreign event loops. Two things reach into its inside,
so paho's version is held by the lock and the tests watch them: ``_sock_recv``, which reads ahead,
and ``_packet_queue``, which takes many acknowledgements as one write.
"""

import socket
import ssl
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from telemetry.address import Address
from telemetry.mailbox import Letter, Message, Will

KEEPALIVE: Final = 30
"""Silence after which the broker is asked whether it is there. [s]"""

EXPIRY: Final = 86_400
"""How long the broker keeps our session after we are gone, on MQTT 5. [s]"""

WINDOW: Final = 1000
"""Messages that may be sent and not yet acknowledged by the broker."""

WIDEST: Final = 0xFFFF
"""The most messages that MQTT can number."""

PACKET: Final = 1024 * 1024
"""Longest packet that we ask a broker on MQTT 5 to send. [B]"""

BITE: Final = 65536
"""Bytes read from the socket at once. [B]"""

BATCH: Final = 1000
"""Packets read before others get their turn."""

_PUBACK: Final = struct.Struct("!BBH")


class Listener(Protocol):
    """Who is told what happens on a link; on the thread that drives it, and never to raise."""

    def greeted(self, is_known: bool, window: int) -> None:
        """The broker let us in; whether it knew our session, and how much it takes at once."""

    def refused(self, reason: str) -> None:
        """The broker will not have us."""

    def arrived(self, message: Message) -> None:
        """A message came; with an empty topic if its topic is no text."""

    def delivered(self, number: int, is_taken: bool) -> None:
        """The broker acknowledged what we published."""

    def granted(self, number: int, answers: Sequence[bool]) -> None:
        """The broker answered a subscription."""

    def dismissed(self, reason: str) -> None:
        """The broker ended the connection and said why."""


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How we present ourselves to a broker."""

    address: Address
    client_id: str
    is_clean: bool
    is_5: bool
    will: Will | None
    tls: ssl.SSLContext | None
    window: int


class Link:
    """A connection, when there is one.

    Parameters
    ----------
    manner
        Where to, and as whom.
    listener
        Who is told.
    """

    def __init__(self, manner: Manner, listener: Listener) -> None:
        self._listener = listener
        self._is_writing = False
        self.generation = 0
        self._paho = paho_client = _Buffered(manner)
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
        return not self._paho.is_dry

    @property
    def has_to_write(self) -> bool:
        """Whether the socket did not take everything yet."""
        return self._paho.want_write()

    @property
    def silence(self) -> float:
        """Time since the broker last sent anything. [s]"""
        return time.monotonic() - self._paho.heard

    def open(self) -> None:
        """Connect and ask to be let in; OSError if nobody is there."""
        self._paho.forget()
        self._paho.reconnect()

    def read(self) -> None:
        """Take in what has come, at most a batch."""
        for _ in range(BATCH):
            if self._paho.loop_read() or self._paho.is_dry:
                return

    def write(self) -> None:
        """Send what waits, as much as the socket takes."""
        self._is_writing = True
        self._paho.loop_write()
        self._is_writing = False

    def keep_alive(self) -> None:
        """Ask a silent broker whether it is there."""
        self._paho.loop_misc()

    def publish(self, letter: Letter) -> int | None:
        """Hand a message over; return its number, or None if it must wait."""
        told = self._paho.publish(letter.topic, letter.payload, letter.qos, letter.retain)
        return told.mid if told.rc == MQTTErrorCode.MQTT_ERR_SUCCESS else None

    def subscribe(self, filters: Mapping[str, int]) -> int:
        """Ask for topics by their QoS; return the number that the answer will have."""
        return self._paho.subscribe(list(filters.items()))[1] or 0

    def acknowledge(self, numbers: Sequence[int]) -> None:
        """Acknowledge messages of QoS 1, as one write."""
        self._paho.acknowledge(numbers)

    def leave(self) -> None:
        """Say goodbye: no will is sent, our session stays as agreed."""
        self._paho.disconnect()

    def drop(self) -> None:
        """Close the socket without a word."""
        self._paho.drop()

    def _on_connect(
        self,
        _client: paho.Client,
        _data: object,
        flags: paho.ConnectFlags,
        code: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if code.is_failure:
            self._listener.refused(str(code))
        else:
            self.generation += 1
            widest = getattr(properties, "ReceiveMaximum", WINDOW)
            self._listener.greeted(flags.session_present, min(WINDOW, widest))

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        self._listener.arrived(
            Message(
                topic,
                bytes(message.payload),
                message.qos,
                message.retain,
                self.generation,
                message.mid,
            )
        )

    def _on_publish(
        self,
        _client: paho.Client,
        _data: object,
        number: int,
        code: ReasonCode,
        _properties: Properties,
    ) -> None:
        if not self._is_writing:  # else it tells of QoS 0, whose numbers may stand for others too
            self._listener.delivered(number, not code.is_failure)

    def _on_subscribe(
        self,
        _client: paho.Client,
        _data: object,
        number: int,
        codes: list[ReasonCode],
        _properties: Properties,
    ) -> None:
        self._listener.granted(number, [not code.is_failure for code in codes])

    def _on_disconnect(
        self,
        _client: paho.Client,
        _data: object,
        flags: paho.DisconnectFlags,
        code: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self._listener.dismissed(str(code))


class _Buffered(paho.Client):
    """paho with a read that looks ahead and acknowledgements in groups."""

    def __init__(self, manner: Manner) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=manner.client_id,
            clean_session=None if manner.is_5 else manner.is_clean,
            protocol=MQTTProtocolVersion.MQTTv5 if manner.is_5 else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,  # or it tries MQTT 3.1 when refused
            manual_ack=True,
        )
        self.forget()
        self.max_inflight_messages = 0  # the session counts
        address, will = manner.address, manner.will
        if address.user is not None:
            self.username_pw_set(address.user, address.password)
        if manner.tls is not None:
            self.tls_set_context(manner.tls)
        if will is not None:
            self.will_set(will.topic, will.payload, will.qos, will.retain)
        if manner.is_5:
            self.connect_async(
                address.host,
                address.port,
                KEEPALIVE,
                clean_start=manner.is_clean,
                properties=_wishes(manner),
            )
        else:
            self.connect_async(address.host, address.port, KEEPALIVE)

    def forget(self) -> None:
        """Forget what was read from an earlier socket."""
        self._ahead, self._at = b"", 0
        self.is_dry = True
        self.heard = time.monotonic()

    def drop(self) -> None:
        """Close the socket without a word."""
        self._sock_close()

    def acknowledge(self, numbers: Sequence[int]) -> None:
        """Acknowledge messages of QoS 1."""
        packets = b"".join([_PUBACK.pack(paho.PUBACK, 2, number) for number in numbers])
        self._packet_queue(paho.PUBACK, packets, 0, 1)

    def _sock_recv(self, bufsize: int) -> bytes:
        if self._at >= len(self._ahead):
            self.is_dry = True
            self._ahead, self._at = super()._sock_recv(BITE), 0
            self.is_dry = False
            self.heard = time.monotonic()
        piece = self._ahead[self._at : self._at + bufsize]
        self._at += len(piece)
        return piece


def _wishes(manner: Manner) -> Properties:
    """Return what only MQTT 5 lets us ask for."""
    wishes = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    wishes.SessionExpiryInterval = 0 if manner.is_clean else EXPIRY
    wishes.ReceiveMaximum = min(WIDEST, manner.window)
    wishes.MaximumPacketSize = PACKET
    return wishes
