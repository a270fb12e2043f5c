"""Clients that follow the rules: a publishing plant and a receiving service on one broker."""

import struct
import threading
import time

from benchmarks.load import length_of
from telemetry.messages import topics
from telemetry.messages.topics import TopicKind
from tests.support.waiting import DEADLINE

SERVICE, NODES, PARTNER, OTHER = "gigatwin-small", "nodes-small-hall_1", "gridco", "otherco"
RACK = topics.build_topic(TopicKind.RACK_BATCH, site="small", hall="hall_1", rack="r0001")
BESIDE = "dc/v1/small/hall_1/r0001/tele/json"
"""A topic of the same rack that the service hears too, and the nodes may use."""
REQUEST = f"feed/v1/{PARTNER}/small/request"

COUNT = 50
"""Messages of a talk. [1]"""

PAUSE = 0.01
"""Pause behind a message. [s]"""

MIB = 2**20


class Honest:
    """A plant that publishes, and a service that receives, with another connection for a partner.

    ``others`` contains messages that the service received from others than the plant.
    """

    def __init__(self, stand):
        self._plant, self._service = stand.connected("plant-small"), stand.connected(SERVICE)
        self._feed = stand.connected(SERVICE, client_id=f"{SERVICE}-feed-{PARTNER}")
        for one in (RACK, "dc/v1/small/+/+/tele/json"):
            assert self._service.subscribe(one).wait(DEADLINE)
        assert self._feed.subscribe(REQUEST).wait(DEADLINE)
        self.others = []
        self._count = 0

    def speak(self, count=COUNT, *, pause=PAUSE):
        """Publish repeatedly, and check that all messages arrive in order."""
        numbers = range(self._count, self._count + count)
        self._count += count
        order = []
        talk = threading.Thread(target=self._talk, args=(numbers, pause))
        talk.start()
        deadline = time.monotonic() + DEADLINE
        while len(set(order)) < count and time.monotonic() < deadline:
            messages = self._service.poll(timeout=0.1)
            self._service.acknowledge(messages)
            self.others += self._feed.poll(timeout=0.0)
            for one in messages:
                if one.topic != RACK:
                    self.others.append(one)
                    continue
                order.append(int(one.payload[:8]))
                deadline = time.monotonic() + DEADLINE  # behind a flood it may take its time
        talk.join()
        assert set(order) == set(numbers), "an honest message is lost"
        assert list(dict.fromkeys(order)) == list(numbers), "honest messages changed places"

    def _talk(self, numbers, pause):
        for number in numbers:
            self._plant.publish(RACK, b"%08d" % number + bytes(1400), qos=1)
            time.sleep(pause)


def at_most_once(topic, payload):
    """Return the packet of a message of QoS 0."""
    return begun(topic, len(payload)) + payload


def begun(topic, size):
    """Return the head of a message of QoS 0 whose payload, of some bytes, comes behind it."""
    name = topic.encode()
    head = struct.pack("!H", len(name)) + name
    return b"\x30" + length_of(len(head) + size) + head
