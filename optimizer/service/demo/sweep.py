"""Make room on a broker for a new run: what an earlier one left retained or queued is removed."""

import time
from collections.abc import Sequence
from typing import Final

from telemetry.messages import topics
from telemetry.mqtt.client import Client

QUIET: Final = 0.5
"""Silence after which all retained messages are taken to have come. [s]"""

CONNECTION: Final = 10.0
"""Longest wait for the broker. [s]"""


def sweep(broker: str, site: str, *, clients: Sequence[str]) -> int:
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
        client = Client(broker, client_id=name, is_clean=True)
        client.connect(CONNECTION)
        client.stop()
    client = Client(broker, client_id=f"demo-sweeper-{site}", is_clean=True)
    kinds = (topics.topic_filter(kind, site=site) for kind in topics.TOPIC_PATTERNS)
    client.subscribe("BMS/v1/#", *kinds, qos=0)
    client.connect(CONNECTION)
    found: set[str] = set()
    heard = time.monotonic()
    while time.monotonic() - heard < QUIET:
        messages = client.take(timeout=QUIET / 5.0)
        client.acknowledge(messages)
        mine = {m.topic for m in messages if m.is_retained and _is_of(m.topic, site)}
        if mine - found:
            found |= mine
            heard = time.monotonic()
    receipts = [client.publish(topic, b"", qos=1, retain=True) for topic in sorted(found)]
    for receipt in receipts:
        receipt.wait(CONNECTION)
    client.stop()
    return len(found)


def _is_of(topic: str, site: str) -> bool:
    """Return whether a topic is of a site: on the plant's own bus the tag path names it."""
    return site in topic.split("/")
