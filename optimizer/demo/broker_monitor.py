"""Count the messages of a demo on its broker, and remove what an earlier run left there."""

import base64
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np

from telemetry.messages import decode, topics
from telemetry.messages.feed_documents import read_acknowledgement, read_schedule
from telemetry.messages.samples import SimulationTick
from telemetry.messages.topics import TopicKind
from telemetry.mqtt.client import CONNECT_TIMEOUT_S, Client, TlsFiles
from telemetry.mqtt.queues import ReceivedMessage
from twin.errors import GigatwinError

SETTLE_TIME_S: Final = 0.5
"""Time without a message after which all retained ones count as received. [s]"""


def clear_retained(
    broker: str, site: str, *, clients: Sequence[str], tls: TlsFiles | None = None
) -> int:
    """Remove retained and queued messages of an earlier run of a site; return their number.

    Messages of other sites are not touched. `clients` are the client ids whose sessions end.

    Raises BrokerError if the broker cannot be reached.
    """
    for name in clients:
        client = Client(broker, client_id=name, clean_session=True, tls=tls)
        client.connect(CONNECT_TIMEOUT_S)
        client.stop()
    client = Client(broker, client_id=f"demo-sweeper-{site}", clean_session=True, tls=tls)
    kinds = (topics.topic_filter(kind, site=site) for kind in topics.TOPIC_PATTERNS)
    client.subscribe("BMS/v1/#", *kinds, qos=0)
    client.connect(CONNECT_TIMEOUT_S)
    found: set[str] = set()
    last_message = time.monotonic()
    while time.monotonic() - last_message < SETTLE_TIME_S:
        messages = client.poll(timeout=SETTLE_TIME_S / 5.0)
        client.acknowledge(messages)
        own = {m.topic for m in messages if m.retain and _is_topic_of(m.topic, site)}
        if own - found:
            found |= own
            last_message = time.monotonic()
    tokens = [client.publish(topic, b"", qos=1, retain=True) for topic in sorted(found)]
    for token in tokens:
        token.wait(CONNECT_TIMEOUT_S)
    client.stop()
    return len(found)


def _is_topic_of(topic: str, site: str) -> bool:
    """Return whether a topic belongs to a site; on the facility's bus the tag path names it."""
    return site in topic.split("/")


@dataclass
class BrokerTraffic:
    """Messages seen on the broker.

    - `revisions`, `accepted`: revisions of published schedules, and of those acknowledged with A01.
    - `refused`: acknowledgements with A02. [1]
    - `first_accepted_at`: time of the first A01 since 1970; None before. [s]
    - `step`, `steps`: interval that the plant has reached, and their total.
    - `power`: net import of the first interval of the last schedule. [MW]
    - `source`: source of the last schedule: ``optimum`` or a fallback.
    """

    revisions: set[int] = field(default_factory=set)
    accepted: set[int] = field(default_factory=set)
    refused: int = 0
    first_accepted_at: float | None = None
    step: int = 0
    steps: int = 0
    time: np.datetime64 = field(default_factory=lambda: np.datetime64("NaT", "us"))
    power: float | None = None
    source: str = ""
    has_ended: bool = False


class BrokerMonitor:
    """Subscriber to the clock and the feed of a site."""

    def __init__(self, broker: str, site: str, *, tls: TlsFiles | None = None) -> None:
        self.traffic = BrokerTraffic()
        self._client = Client(broker, client_id=f"demo-watcher-{site}", clean_session=True, tls=tls)
        kinds = (TopicKind.TICK, TopicKind.SCHEDULE, TopicKind.ACKNOWLEDGEMENT)
        self._client.subscribe(*(topics.topic_filter(kind, site=site) for kind in kinds))

    def __enter__(self) -> Self:
        """Connect.

        Raises BrokerError if the broker cannot be reached.
        """
        self._client.connect(CONNECT_TIMEOUT_S)
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect."""
        self._client.stop()

    def poll(self, timeout: float) -> None:
        """Process received messages; wait at most `timeout` for one [s]."""
        messages = self._client.poll(timeout=timeout)
        for message in messages:
            self._process(message)
        self._client.acknowledge(messages)

    def _process(self, message: ReceivedMessage) -> None:
        try:
            kind = topics.parse_topic(message.topic).kind
            if kind is TopicKind.TICK:
                self._process_tick(message)
            elif kind is TopicKind.SCHEDULE:
                self._process_schedule(message)
            else:
                self._process_acknowledgement(message)
        except (GigatwinError, KeyError, ValueError, IndexError):
            return  # the partner validates messages; the monitor only counts them

    def _process_tick(self, message: ReceivedMessage) -> None:
        tick = decode(message.topic, message.payload)
        if isinstance(tick, SimulationTick):
            self.traffic.step = tick.step
            self.traffic.steps = tick.steps
            self.traffic.time = tick.time
            self.traffic.has_ended = tick.is_last

    def _process_schedule(self, message: ReceivedMessage) -> None:
        document = read_schedule(_payload(message))
        self.traffic.revisions.add(document["revision"])
        self.traffic.power = document["intervals"][0]["scheduled_mw"]
        self.traffic.source = document["meta"]["source"]

    def _process_acknowledgement(self, message: ReceivedMessage) -> None:
        acknowledgement = read_acknowledgement(_payload(message))
        if acknowledgement["code"] == "A01":
            self.traffic.accepted.add(acknowledgement["revision"])
            self.traffic.first_accepted_at = self.traffic.first_accepted_at or time.time()
        else:
            self.traffic.refused += 1


def _payload(message: ReceivedMessage) -> bytes:
    """Return the payload of a signed message; the partner verifies the signature."""
    part = message.payload.split(b".")[1]
    return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
