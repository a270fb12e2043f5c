"""Somebody who only listens to the broker, and counts what goes over it."""

import base64
import json
import time
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np

from telemetry.messages import decode, topics
from telemetry.messages.models import SimulationTick
from telemetry.messages.topics import TopicKind
from telemetry.mqtt.client import Client
from telemetry.mqtt.queues import ReceivedMessage
from twin.errors import GigatwinError

CONNECTION: Final = 10.0
"""Longest wait for the broker. [s]"""


@dataclass
class Seen:
    """What went over the broker.

    Attributes
    ----------
    revisions, accepted
        Revisions of the schedules seen, and of those that the partner acknowledged with A01.
    refused
        Number of acknowledgements with A02. [1]
    first
        When the first schedule was acknowledged, seconds since 1970; None before. [s]
    step, steps
        Number of the interval that the plant has reached, and how many there will be.
    time
        Simulated time that the plant has reached.
    power
        Net import that the last schedule promises for its first interval. [MW]
    source
        What the last schedule is: ``optimum`` or a fallback.
    is_over
        Whether the plant has ended.
    """

    revisions: set[int] = field(default_factory=set)
    accepted: set[int] = field(default_factory=set)
    refused: int = 0
    first: float | None = None
    step: int = 0
    steps: int = 0
    time: np.datetime64 = field(default_factory=lambda: np.datetime64("NaT", "us"))
    power: float | None = None
    source: str = ""
    is_over: bool = False


class Watcher:
    """Listens to the clock and the feed of a site.

    Parameters
    ----------
    broker
        URL of the broker.
    site
        Name of the site.
    """

    def __init__(self, broker: str, site: str) -> None:
        self.seen = Seen()
        self._client = Client(broker, client_id=f"demo-watcher-{site}", is_clean=True)
        kinds = (TopicKind.TICK, TopicKind.SCHEDULE, TopicKind.ACKNOWLEDGEMENT)
        self._client.subscribe(*(topics.topic_filter(kind, site=site) for kind in kinds))

    def __enter__(self) -> Self:
        """Begin to listen.

        Raises
        ------
        BrokerError
            If the broker cannot be reached.
        """
        self._client.connect(CONNECTION)
        return self

    def __exit__(self, *_: object) -> None:
        """Listen no more."""
        self._client.stop()

    def look(self, timeout: float) -> None:
        """Take what has come.

        Parameters
        ----------
        timeout
            Longest wait for something. [s]
        """
        messages = self._client.take(timeout=timeout)
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
            self.seen.step, self.seen.steps, self.seen.time = tick.step, tick.steps, tick.time
            self.seen.is_over = tick.is_last

    def _schedule(self, message: ReceivedMessage) -> None:
        document = json.loads(_payload(message))
        self.seen.revisions.add(document["revision"])
        self.seen.power = document["intervals"][0]["scheduled_mw"]
        self.seen.source = document["meta"]["source"]

    def _answer(self, message: ReceivedMessage) -> None:
        answer = json.loads(_payload(message))
        if answer["code"] == "A01":
            self.seen.accepted.add(answer["revision"])
            self.seen.first = self.seen.first or time.time()
        else:
            self.seen.refused += 1


def _payload(message: ReceivedMessage) -> bytes:
    """Return what a signed message carries; its signature is the partner's business."""
    part = message.payload.split(b".")[1]
    return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
