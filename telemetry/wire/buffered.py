"""paho, taught to read ahead and to acknowledge in groups.

paho reads the socket byte by byte and writes once for each acknowledgement. Four things reach
into its inside, so its version is held by the lock and the tests watch them: ``_sock_recv``, which
reads ahead; ``_in_packet``, which tells whether a packet has been begun; ``_packet_queue``, which
takes many acknowledgements as one write; and ``_ssl_context``, which certificates are read into.
"""

import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from telemetry.address import Address, Tls
from telemetry.wire.mailbox import Will
from telemetry.wire.packets import Packet, publishes

KEEPALIVE: Final = 30
"""Silence after which the broker is asked whether it is there. [s]"""

EXPIRY: Final = 86_400
"""How long the broker keeps our session after we are gone, on MQTT 5. [s]"""

WIDEST: Final = 0xFFFF
"""The most messages that MQTT can number."""

PACKET: Final = 1024 * 1024
"""Longest packet that we ask a broker on MQTT 5 to send. [B]"""

BITE: Final = 65536
"""Bytes read from the socket at once. [B]"""

_PUBACK: Final = struct.Struct("!BBH")

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How we present ourselves to a broker."""

    address: Address
    client_id: str
    is_clean: bool
    is_5: bool
    will: Will | None
    tls: Tls | None
    window: int


class Buffered(paho.Client):
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

    def __init__(self, manner: Manner) -> None:
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id=manner.client_id,
            clean_session=None if manner.is_5 else manner.is_clean,
            protocol=MQTTProtocolVersion.MQTTv5 if manner.is_5 else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,  # or it tries MQTT 3.1 when refused
            manual_ack=True,
        )
        self._is_5 = manner.is_5
        self.forget()
        self.max_inflight_messages = 0  # the session counts
        address, will = manner.address, manner.will
        if address.user is not None:
            self.username_pw_set(address.user, address.password)
        self._certificates = manner.tls
        if manner.tls is not None:
            self.tls_set_context(manner.tls.context())
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

    def renew(self) -> None:
        """Take certificates as they are on disk now, or go on with those read last.

        They run out while we run, and whoever renews them ends no service for it.
        """
        if self._certificates is None:
            return
        try:
            self._ssl_context = self._certificates.context()
        except OSError as error:
            _logger.warning("certificates as read last", because=str(error))

    def drop(self) -> None:
        """Close the socket without a word."""
        self._sock_close()

    def acknowledge(self, numbers: Sequence[int]) -> None:
        """Acknowledge messages of QoS 1."""
        packets = b"".join([_PUBACK.pack(paho.PUBACK, 2, number) for number in numbers])
        self._packet_queue(paho.PUBACK, packets, 0, 1)

    def publishes(self) -> list[Packet]:
        """Return the messages of QoS 0 and 1 that are next in what was read ahead.

        Notes
        -----
        paho takes some ten microseconds to read a packet piece by piece, most of what a message
        costs. What is not a whole message, or not of these, is left to it.
        """
        if self._in_packet["command"]:  # paho is within a packet
            return []
        found, self._at = publishes(self._ahead, self._at, is_5=self._is_5)
        return found

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
