"""What a bad client does to the brokers of ``deploy/``: it is refused, and honest ones go on.

While it does its worst, a plant says something every few milliseconds. All of it has to come, in
its order; and where the machine is quiet enough to tell, not 50 ms later than without the bad one.
What else runs on a machine only adds to a delay: so it is the least of some talks that counts, and
nothing is told where the talk behind them is slow as well.
"""

import math
import statistics
import struct
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from telemetry import topics
from telemetry.codec import decode
from telemetry.topics import Kind
from tests.benchmarks.load import length_of
from tests.benchmarks.load import publish as packet
from tests.deploy.raw import HASTY, Raw, flooding
from tests.waiting import DEADLINE, until
from twin.errors import WireError

pytestmark = pytest.mark.slow

COUNT = 50  # messages of a talk
LONG = 150  # messages of a talk while the bad one is at it
TALKS = 5
PAUSE = 0.01
QUIET = 0.02  # median delay of a machine that is quiet enough to tell 50 ms [s]
SLOWER = 0.05  # [s]
COPYING = 1.0  # the same while NATS copies a packet that does not end, for seconds, on one core [s]
SERVICE, NODES, PARTNER, OTHER = "gigatwin-small", "nodes-small", "gridco", "otherco"
HONEST = topics.build(Kind.RACK_BATCH, site="small", hall="hall_1", rack="r0001")
SCHEDULE = topics.build(Kind.SCHEDULE, site="small", partner=PARTNER)
RETAIN = 0x01


def raw(stand, user, name):
    return Raw(stand.broker.port, stand.tls(user), name)


def at_most_once(topic, payload):
    """Return the packet of a message of QoS 0."""
    name = topic.encode()
    body = struct.pack("!H", len(name)) + name + payload
    return b"\x30" + length_of(len(body)) + body


def flags(data, more):
    """Return a packet with other flags in its first byte."""
    return bytes([data[0] | more]) + data[1:]


class Honest:
    """A plant that speaks, and a service that listens; to a partner by a connection of its own."""

    def __init__(self, stand):
        self._plant, self._service = stand.connected("plant-small"), stand.connected(SERVICE)
        self._feed = stand.connected(SERVICE, client_id=f"{SERVICE}-feed-{PARTNER}")
        for one in (HONEST, "dc/v1/small/+/+/tele/json"):
            assert self._service.subscribe(one).wait(DEADLINE)
        assert self._feed.subscribe(f"feed/v1/{PARTNER}/small/request").wait(DEADLINE)
        self.others = []
        self._count = 0

    def delay(self, count=COUNT):
        """Return the median delay of a talk. [s]"""
        return statistics.median(self.speak(count))

    def least_delay(self, enough, count=COUNT):
        """Return the least of some talks; the first that is short enough ends them. [s]"""
        least = math.inf
        for _ in range(TALKS):
            least = min(least, self.delay(count))
            if least < enough:
                break
        return least

    def speak(self, count=COUNT):
        """Say something again and again; return the delays, none lost and all in order. [s]"""
        numbers = range(self._count, self._count + count)
        self._count += count
        sent, came, order = {}, {}, []
        talk = threading.Thread(target=self._talk, args=(numbers, sent))
        talk.start()
        deadline = time.monotonic() + DEADLINE
        while len(came) < count and time.monotonic() < deadline:
            messages = self._service.take(timeout=0.1)
            now = time.perf_counter()
            self._service.acknowledge(messages)
            self.others += self._feed.take(timeout=0.0)
            for one in messages:
                if one.topic != HONEST:
                    self.others.append(one)
                    continue
                number = int(one.payload[:8])
                order.append(number)
                came.setdefault(number, now)
                deadline = time.monotonic() + DEADLINE  # behind a flood it may take its time
        talk.join()
        assert sorted(came) == list(numbers), "an honest message is lost"
        assert list(dict.fromkeys(order)) == list(numbers), "honest messages changed places"
        return [came[number] - sent[number] for number in numbers]

    def _talk(self, numbers, sent):
        for number in numbers:
            sent[number] = time.perf_counter()
            self._plant.publish(HONEST, b"%08d" % number + bytes(1400), qos=1)
            time.sleep(PAUSE)


@contextmanager
def meanwhile(stand, slower=SLOWER):
    """Yield the honest ones; behind it they must have been as well off as before.

    Yields too what lets them talk while the bad one is at it.
    """
    honest = Honest(stand)
    honest.speak()
    calm, busy = honest.delay(), []
    enough = calm + slower if calm < QUIET else math.inf
    yield honest, lambda: busy.append(honest.least_delay(enough, LONG))
    least = busy[0] if busy else honest.least_delay(enough)
    sys.stdout.write(f"delay {1e3 * calm:.1f} ms, {1e3 * least:.1f} ms with a bad client\n")
    if least >= enough:
        assert honest.delay() >= QUIET, "honest ones have to wait"


@pytest.mark.parametrize("topic", ["dc/v1/small/hall_1/r0001/tele", "feed/v1/gridco/small/request"])
def test_a_client_that_floods_keeps_nobody_waiting(stand, topic):
    """The first topic is not its own; on the second it may speak, and the service listens."""
    port, tls, data = stand.broker.port, stand.tls(PARTNER), at_most_once(topic, bytes(700)) * 20
    with meanwhile(stand) as (honest, talk), flooding(port, tls, data):
        talk()
    forged = [one for one in honest.others if one.topic == HONEST]
    assert not forged


def test_64_mib_reach_nobody(stand):
    """Mosquitto hangs up at once; NATS 2.10 has no limit for a packet and goes on to read it.

    It copies all that it has with each piece that comes, so others may wait for its core.
    """
    is_nats = stand.broker.name == "nats-server"
    with meanwhile(stand, COPYING if is_nats else SLOWER) as (honest, talk):
        bad = raw(stand, NODES, "huge")
        topic = "dc/v1/small/hall_1/r0001/tele/json"
        size = 64 * 2**20
        head = struct.pack("!H", len(topic)) + topic.encode()
        begun = b"\x30" + length_of(len(head) + size) + head
        result = []

        def send():
            is_taken = bad.send(begun)
            for _ in range(64):
                is_taken = is_taken and bad.send(bytes(2**20))
            result.append(is_taken and not bad.is_thrown_out(HASTY))

        thread = threading.Thread(target=send)
        thread.start()
        talk()
        bad.close()
        thread.join()
    assert result == [False], "the broker took 64 MiB"
    assert not honest.others


def test_one_that_claims_another_site_is_heard_by_nobody(stand):
    with meanwhile(stand) as (honest, _):
        bad = raw(stand, NODES, "claims")
        bad.send(at_most_once("dc/v1/rhine/hall_1/r0001/tele", b"forged"))
        bad.send(packet(b"sim/v1/small/clock", b"forged", 1))
        bad.until_read()
        bad.close()
        other = raw(stand, OTHER, "claims-2")
        other.send(packet(HONEST.encode(), b"forged", 1))
        other.until_read()
        other.close()
    assert not honest.others
    with pytest.raises(WireError, match="as its topic does"):
        decode(
            "dc/v1/small/jobs/status",
            b'{"v":1,"site":"rhine","sequence":1,"applied":true,"reason":""}',
        )


@pytest.mark.parametrize("topic", ["dc/v1/small/+/+/tele", "dc/v1/small/hall_1/#", "#"])
def test_a_topic_with_a_wildcard_is_published_to_nobody(stand, topic):
    with meanwhile(stand) as (honest, _):
        bad = raw(stand, NODES, "wild")
        bad.send(packet(topic.encode(), b"forged", 1))
        is_out = bad.is_thrown_out()
        bad.close()
    assert is_out, "the broker keeps who publishes to a wildcard"
    assert not honest.others


@pytest.mark.parametrize("user", [OTHER, PARTNER, NODES])
def test_a_retained_schedule_of_a_rogue_is_kept_for_nobody(stand, user):
    service = stand.connected(SERVICE, client_id="feed")
    assert service.publish(SCHEDULE, b"ours", qos=1, retain=True).wait(DEADLINE)
    bad = raw(stand, user, "rogue")
    bad.send(flags(packet(SCHEDULE.encode(), b"forged", 1), RETAIN))
    bad.until_read()
    bad.close()
    partner = stand.connected(PARTNER, client_id="late")
    assert partner.subscribe(SCHEDULE).wait(DEADLINE)
    heard = until(lambda: partner.take(timeout=0.5), deadline=DEADLINE)
    heard += partner.take(timeout=0.5)
    assert [one.payload for one in heard] == [b"ours"]
