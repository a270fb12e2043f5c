"""One connection to a broker at a time, driven by one thread.

paho's own loop makes one ``select`` a packet, waits between attempts without jitter, and hides why
a connection failed. Here the caller drives it through its interface for foreign event loops;
:mod:`telemetry.wire.buffered` does the rest.
"""

import socket
import time
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from telemetry.wire.buffered import Buffered, Manner
from telemetry.wire.mailbox import Letter, Message

__all__ = ["Link", "Listener", "Manner"]

WINDOW: Final = 1000
"""Messages that may be sent and not yet acknowledged by the broker."""

BATCH: Final = 1000
"""Packets read before others get their turn."""


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
        self._paho = paho_client = Buffered(manner)
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
        self._paho.renew()
        self._paho.reconnect()

    def read(self) -> None:
        """Take in what has come, at most a batch."""
        taken = 0
        while taken < BATCH and not self._paho.loop_read() and not self._paho.is_dry:
            taken += 1
            for topic, payload, flags, number in self._paho.publishes():
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
        kind = (message.qos, message.retain, self.generation, message.mid, message.dup)
        self._listener.arrived(Message(topic, bytes(message.payload), *kind))

    def _arrived(self, topic: bytes, payload: bytes, flags: int, number: int) -> None:
        """Tell of a message that paho has not seen."""
        try:
            name = topic.decode()
        except UnicodeDecodeError:
            name = ""
        qos, is_retained, is_again = flags >> 1 & 3, bool(flags & 1), bool(flags & 8)
        told = Message(name, payload, qos, is_retained, self.generation, number, is_again)
        self._listener.arrived(told)

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
