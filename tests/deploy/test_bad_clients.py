"""What a bad client does to the brokers of ``deploy/``: it is refused, and honest ones go on.

While it does its worst, a plant says something every few milliseconds. All of it has to come, in
its order; and where the machine is quiet enough to tell, not 50 ms later than without the bad one.
"""

import socket
import statistics
import struct
import sys
import threading
import time
from contextlib import contextmanager, suppress

import pytest

from telemetry import topics
from telemetry.codec import decode
from telemetry.topics import Kind
from tests.benchmarks.load import length_of
from tests.benchmarks.load import publish as packet
from tests.waiting import until
from twin.errors import WireError

pytestmark = pytest.mark.slow

LONG = 60.0
HASTY = 2.0
COUNT = 150
PAUSE = 0.01
QUIET = 0.02  # median delay of a machine that is quiet enough to tell 50 ms [s]
SLOWER = 0.05  # [s]
SERVICE, NODES, PARTNER, OTHER = "gigatwin-small", "nodes-small", "gridco", "otherco"
HONEST = topics.build(Kind.RACK_BATCH, site="small", hall="hall_1", rack="r0001")
SCHEDULE = topics.build(Kind.SCHEDULE, site="small", partner=PARTNER)
RETAIN = 0x01


class Raw:
    """A connection that keeps to nothing but the welcome of MQTT 3.1.1."""

    def __init__(self, stand, user, name):
        context = stand.tls(user).context()
        context.check_hostname = False
        plain = socket.create_connection(("127.0.0.1", stand.broker.port), timeout=LONG)
        self._socket = context.wrap_socket(plain)
        name = name.encode()
        body = b"\x00\x04MQTT\x04\x02\x00\x00" + struct.pack("!H", len(name)) + name
        self._socket.sendall(b"\x10" + bytes([len(body)]) + body)
        self.welcome = self._socket.recv(4)
        self._socket.settimeout(LONG)

    def send(self, data):
        """Send bytes; return whether the broker still takes them."""
        try:
            self._socket.sendall(data)
        except OSError:
            return False
        return True

    def is_thrown_out(self):
        """Return whether the broker hangs up."""
        self._socket.settimeout(HASTY)
        try:
            while self._socket.recv(4096):
                pass
        except TimeoutError:
            return False
        except OSError:
            return True
        return True

    def close(self):
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # also for who is sending just now
        self._socket.close()


def flags(data, more):
    """Return a packet with other flags in its first byte."""
    return bytes([data[0] | more]) + data[1:]


class Honest:
    """A plant that speaks, and a service that listens."""

    def __init__(self, stand):
        self._plant, self._service = stand.connected("plant-small"), stand.connected(SERVICE)
        wanted = (HONEST, f"feed/v1/{PARTNER}/small/request", "dc/v1/small/+/+/tele/json")
        for one in wanted:
            assert self._service.subscribe(one).wait(LONG)
        self.others = []
        self._count = 0

    def speak(self):
        """Say something again and again; return the delays, none lost and all in order. [s]"""
        numbers = range(self._count, self._count + COUNT)
        self._count += COUNT
        sent, came, order = {}, {}, []
        talk = threading.Thread(target=self._talk, args=(numbers, sent))
        talk.start()
        deadline = time.monotonic() + LONG
        while len(came) < COUNT and time.monotonic() < deadline:
            messages = self._service.take(timeout=0.1)
            now = time.perf_counter()
            self._service.acknowledge(messages)
            for one in messages:
                if one.topic != HONEST:
                    self.others.append(one)
                    continue
                number = int(one.payload[:8])
                order.append(number)
                came.setdefault(number, now)
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
def meanwhile(stand):
    """Yield the honest ones; behind it they must have been as well off as before."""
    honest = Honest(stand)
    honest.speak()
    before = honest.speak()
    spoken = {}
    yield honest, spoken
    during = spoken.get("during") or honest.speak()
    calm, busy = statistics.median(before), statistics.median(during)
    sys.stdout.write(f"delay {1e3 * calm:.1f} ms, {1e3 * busy:.1f} ms with a bad client\n")
    if calm < QUIET:
        assert busy - calm < SLOWER


def in_a_loop(work):
    """Start doing something again and again; return what ends it, and tells how often."""
    ended, count = threading.Event(), []

    def run():
        while not ended.is_set() and work():
            count.append(1)

    thread = threading.Thread(target=run)
    thread.start()

    def stop():
        ended.set()
        thread.join()
        return len(count)

    return stop


@pytest.mark.parametrize("topic", ["dc/v1/small/hall_1/r0001/tele", "feed/v1/gridco/small/request"])
def test_a_client_that_floods_keeps_nobody_waiting(stand, topic):
    """The first topic is not its own; on the second it may speak, and the service listens."""
    with meanwhile(stand) as (honest, spoken):
        bad = Raw(stand, PARTNER, "flood")
        data = _at_most_once(topic, bytes(700)) * 20
        stop = in_a_loop(lambda: bad.send(data) and time.sleep(0.005) is None)
        spoken["during"] = honest.speak()
        assert stop() > 0
        bad.close()
    forged = [one for one in honest.others if one.topic == HONEST]
    assert not forged


def _at_most_once(topic, payload):
    name = topic.encode()
    body = struct.pack("!H", len(name)) + name + payload
    return b"\x30" + length_of(len(body)) + body


def test_64_mib_reach_nobody(stand):
    """Mosquitto hangs up at once; NATS 2.10 has no limit for a packet and goes on to read it."""
    with meanwhile(stand) as (honest, spoken):
        bad = Raw(stand, NODES, "huge")
        topic = "dc/v1/small/hall_1/r0001/tele/json"
        size = 64 * 2**20
        head = struct.pack("!H", len(topic)) + topic.encode()
        begun = b"\x30" + length_of(len(head) + size) + head
        result = []

        def send():
            is_taken = bad.send(begun)
            for _ in range(64):
                is_taken = is_taken and bad.send(bytes(2**20))
            result.append(is_taken and not bad.is_thrown_out())

        thread = threading.Thread(target=send)
        thread.start()
        spoken["during"] = honest.speak()
        bad.close()
        thread.join()
    assert result == [False], "the broker took 64 MiB"
    assert not honest.others


def test_one_that_claims_another_site_is_heard_by_nobody(stand):
    with meanwhile(stand) as (honest, _):
        bad = Raw(stand, NODES, "claims")
        bad.send(_at_most_once("dc/v1/rhine/hall_1/r0001/tele", b"forged"))
        bad.send(packet(b"sim/v1/small/clock", b"forged", 1))
        bad.close()
        other = Raw(stand, OTHER, "claims-2")
        other.send(packet(HONEST.encode(), b"forged", 1))
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
        bad = Raw(stand, NODES, "wild")
        bad.send(packet(topic.encode(), b"forged", 1))
        is_out = bad.is_thrown_out()
        bad.close()
    assert is_out, "the broker keeps who publishes to a wildcard"
    assert not honest.others


@pytest.mark.parametrize("user", [OTHER, PARTNER, NODES])
def test_a_retained_schedule_of_a_rogue_is_kept_for_nobody(stand, user):
    service = stand.connected(SERVICE, client_id="feed")
    assert service.publish(SCHEDULE, b"ours", qos=1, retain=True).wait(LONG)
    bad = Raw(stand, user, "rogue")
    bad.send(flags(packet(SCHEDULE.encode(), b"forged", 1), RETAIN))
    bad.is_thrown_out()
    bad.close()
    partner = stand.connected(PARTNER, client_id="late")
    assert partner.subscribe(SCHEDULE).wait(LONG)
    heard = until(lambda: partner.take(timeout=0.5), deadline=LONG)
    heard += partner.take(timeout=0.5)
    assert [one.payload for one in heard] == [b"ours"]
