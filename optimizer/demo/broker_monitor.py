"""Somebody who only listens to the broker, and counts what goes over it.

Make room on a broker for a new run: what an earlier one left retained or queued is removed.
"""

import base64
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np

from telemetry.messages import decode, topics
from telemetry.messages.models import SimulationTick
from telemetry.messages.topics import TopicKind
from telemetry.mqtt.client import Client
from telemetry.mqtt.queues import ReceivedMessage
from twin.errors import GigatwinError

SETTLE_TIME_S: Final = 0.5
"""Silence after which all retained messages are taken to have come. [s]"""

CONNECT_TIMEOUT_S: Final = 10.0
"""Longest wait for the broker. [s]"""


def clear_retained(broker: str, site: str, *, clients: Sequence[str]) -> int:
    """Remove what an earlier run of a site left on a broker; return how many messages it was.

    Parameters
    ----------
    broker
        URL of the broker.
    site
        Name of the site; nothing of other sites is touched.
    clients
        Client ids whose sessions end.

    Raises
    ------
    BrokerError
        If the broker cannot be reached.
    """
    for name in clients:
        client = Client(broker, client_id=name, clean_session=True)
        client.connect(CONNECT_TIMEOUT_S)
        client.stop()
    client = Client(broker, client_id=f"demo-sweeper-{site}", clean_session=True)
    kinds = (topics.topic_filter(kind, site=site) for kind in topics.TOPIC_PATTERNS)
    client.subscribe("BMS/v1/#", *kinds, qos=0)
    client.connect(CONNECT_TIMEOUT_S)
    found: set[str] = set()
    heard = time.monotonic()
    while time.monotonic() - heard < SETTLE_TIME_S:
        messages = client.poll(timeout=SETTLE_TIME_S / 5.0)
        client.acknowledge(messages)
        mine = {m.topic for m in messages if m.retain and _is_topic_of(m.topic, site)}
        if mine - found:
            found |= mine
            heard = time.monotonic()
    receipts = [client.publish(topic, b"", qos=1, retain=True) for topic in sorted(found)]
    for receipt in receipts:
        receipt.wait(CONNECT_TIMEOUT_S)
    client.stop()
    return len(found)


def _is_topic_of(topic: str, site: str) -> bool:
    """Return whether a topic is of a site: on the plant's own bus the tag path names it."""
    return site in topic.split("/")


@dataclass
class BrokerTraffic:
    """What went over the broker.

    Attributes
    ----------
    revisions, accepted
        Revisions of the schedules seen, and of those that the partner acknowledged with A01.
    refused
        Number of acknowledgements with A02. [1]
    first_accepted_at
        When the first schedule was acknowledged, seconds since 1970; None before. [s]
    step, steps
        Number of the interval that the plant has reached, and how many there will be.
    time
        Simulated time that the plant has reached.
    power
        Net import that the last schedule promises for its first interval. [MW]
    source
        What the last schedule is: ``optimum`` or a fallback.
    has_ended
        Whether the plant has ended.
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
    """Listens to the clock and the feed of a site.

    Parameters
    ----------
    broker
        URL of the broker.
    site
        Name of the site.
    """

    def __init__(self, broker: str, site: str) -> None:
        self.traffic = BrokerTraffic()
        self._client = Client(broker, client_id=f"demo-watcher-{site}", clean_session=True)
        kinds = (TopicKind.TICK, TopicKind.SCHEDULE, TopicKind.ACKNOWLEDGEMENT)
        self._client.subscribe(*(topics.topic_filter(kind, site=site) for kind in kinds))

    def __enter__(self) -> Self:
        """Begin to listen.

        Raises
        ------
        BrokerError
            If the broker cannot be reached.
        """
        self._client.connect(CONNECT_TIMEOUT_S)
        return self

    def __exit__(self, *_: object) -> None:
        """Listen no more."""
        self._client.stop()

    def poll(self, timeout: float) -> None:
        """Take what has come.

        Parameters
        ----------
        timeout
            Longest wait for something. [s]
        """
        messages = self._client.poll(timeout=timeout)
        for message in messages:
            self._take(message)
        self._client.acknowledge(messages)

    def _take(self, message: ReceivedMessage) -> None:
        try:
            kind = topics.parse_topic(message.topic).kind
            if kind is TopicKind.TICK:
                self._tick(message)
            elif kind is TopicKind.SCHEDULE:
                self._schedule(message)
            else:
                self._answer(message)
        except (GigatwinError, KeyError, ValueError, IndexError):
            return  # whoever judges messages is the partner; here they are only counted

    def _tick(self, message: ReceivedMessage) -> None:
        tick = decode(message.topic, message.payload)
        if isinstance(tick, SimulationTick):
            self.traffic.step, self.traffic.steps, self.traffic.time = (
                tick.step,
                tick.steps,
                tick.time,
            )
            self.traffic.has_ended = tick.is_last

    def _schedule(self, message: ReceivedMessage) -> None:
        document = json.loads(_payload(message))
        self.traffic.revisions.add(document["revision"])
        self.traffic.power = document["intervals"][0]["scheduled_mw"]
        self.traffic.source = document["meta"]["source"]

    def _answer(self, message: ReceivedMessage) -> None:
        answer = json.loads(_payload(message))
        if answer["code"] == "A01":
            self.traffic.accepted.add(answer["revision"])
            self.traffic.first_accepted_at = self.traffic.first_accepted_at or time.time()
        else:
            self.traffic.refused += 1


def _payload(message: ReceivedMessage) -> bytes:
    """Return what a signed message carries; its signature is the partner's business."""
    part = message.payload.split(b".")[1]
    return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
