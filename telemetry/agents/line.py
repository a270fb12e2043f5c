"""The line of a simulated site to its broker: it counts what goes and reads what comes."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from telemetry import topics
from telemetry.client import Client
from telemetry.codec import decode, encode
from telemetry.metadata.points import INTEGRATION
from telemetry.samples import Sample
from telemetry.topics import Kind
from twin.errors import WireError

LISTENING: Final = 0.1
"""Longest wait for a message before other things are looked after. [s]"""

SUBSCRIBING: Final = 10.0
"""Longest wait for the broker to grant a subscription; it is asked again when it comes back. [s]"""

GRACE: Final = 0.01
"""Silence after which nothing more is taken to be on its way: brokers keep the order of messages
of one topic only. [s]"""

type Message = tuple[str, bytes]
"""A topic and its payload."""


class Line:
    """A client, seen from the plant's side.

    Parameters
    ----------
    client
        A client that has been started.
    site
        Name of the site.
    hear
        Given every sample that comes.

    Attributes
    ----------
    counts
        Messages sent and heard, and those that could not be read.
    """

    def __init__(self, client: Client, site: str, hear: Callable[[Sample], None]) -> None:
        self._client, self._site, self._hear = client, site, hear
        self.counts: Counter[str] = Counter()

    def listen(self) -> None:
        """Ask the broker for all orders and requests to the site; those of an earlier run are void.

        The client's session outlives a run, and the broker may have kept some for it.
        """
        orders = (Kind.JOB_ORDERS, Kind.CAP_ORDER, Kind.DECIDED)
        ours = [topics.filter_of(kind, site=self._site) for kind in orders]
        bus = f"BMS/v1/{INTEGRATION}/Value/+/+/{self._site}/#"
        self._client.subscribe(*ours, bus).wait(SUBSCRIBING)
        while messages := self._client.take(timeout=LISTENING):
            self._client.acknowledge(messages)

    def send(
        self, messages: Iterable[Message], *, kind: str, qos: int = 0, retain: bool = False
    ) -> int:
        """Send messages and return how many there were.

        Parameters
        ----------
        messages
            Topics and payloads.
        kind
            Under which they are counted.
        qos, retain
            As on the wire.
        """
        count = 0
        for topic, payload in messages:
            self._client.publish(topic, payload, qos=qos, retain=retain)
            count += 1
        self.counts[kind] += count
        return count

    def say(self, *samples: Sample, retain: bool = False) -> None:
        """Send samples so that none gets lost."""
        for sample in samples:
            topic, payload = encode(sample)
            self._client.publish(topic, payload, qos=1, retain=retain)

    def close(self, sample: Sample, *, timeout: float) -> bool:
        """Send the last sample of a run; return whether the broker has it in time. [s]"""
        topic, payload = encode(sample)
        return self._client.publish(topic, payload, qos=1).wait(timeout)

    def receive(self, until: float, is_enough: Callable[[], bool] = lambda: False) -> bool:
        """Hear what comes until it is enough, or time is up; what has come by then is heard.

        Parameters
        ----------
        until
            Moment of the monotonic clock. [s]
        is_enough
            Asked after each batch of messages.

        Returns
        -------
        bool
            Whether it was enough.
        """
        while not is_enough():
            left = until - time.monotonic()
            self._take(min(max(left, 0.0), LISTENING))
            if left <= 0.0:
                return is_enough()
        return True

    def drain(self) -> None:
        """Hear what is still on its way."""
        while self._take(GRACE):
            pass

    def _take(self, timeout: float) -> int:
        """Hear what has come, and return how many messages it was."""
        messages = self._client.take(timeout=timeout)
        for message in messages:
            self.counts["heard"] += 1
            try:
                sample = decode(message.topic, message.payload)
            except WireError:
                self.counts["unreadable"] += 1
            else:
                self._hear(sample)
        self._client.acknowledge(messages)
        return len(messages)
