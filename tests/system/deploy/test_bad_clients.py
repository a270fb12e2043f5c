"""The brokers of ``deploy/`` refuse bad clients, and honest ones continue.

While it does its worst, a plant says something every few milliseconds. All of it has to come, in
its order. ``./dev bench clients`` measures how much later than without the bad one.
"""

import threading

import pytest

from benchmarks.load import publish as packet
from telemetry.messages import decode, topics
from telemetry.messages.topics import TopicKind
from tests.support.waiting import DEADLINE, until
from tests.system.deploy.honest import (
    BESIDE,
    MIB,
    NODES,
    OTHER,
    PARTNER,
    RACK,
    REQUEST,
    SERVICE,
    Honest,
    at_most_once,
    begun,
)
from tests.system.deploy.raw import HASTY, Raw, flooding
from twin.errors import MessageError

pytestmark = pytest.mark.slow

SCHEDULE = topics.build_topic(TopicKind.SCHEDULE, site="small", partner=PARTNER)
RETAIN = 0x01


def raw(stand, user, name):
    return Raw(stand.broker.port, stand.tls(user), name)


def flags(data, more):
    """Return a packet with other flags in its first byte."""
    return bytes([data[0] | more]) + data[1:]


@pytest.fixture
def honest(stand):
    """Return clients that follow the rules, connected to each other."""
    honest = Honest(stand)
    honest.speak()
    return honest


@pytest.mark.parametrize("topic", [RACK, REQUEST])
def test_flooding_client_delays_no_other(stand, honest, topic):
    """It may not publish to the first topic; to the second it may, and the service subscribes."""
    data = at_most_once(topic, bytes(700)) * 20
    with flooding(stand.broker.port, stand.tls(PARTNER), data):
        honest.speak()
    forged = [one for one in honest.others if one.topic == RACK]
    assert not forged


def test_message_of_64_mib_is_not_delivered(stand, honest):
    """Mosquitto disconnects at once; NATS 2.10 has no packet limit and continues to read."""
    bad = raw(stand, NODES, "huge")
    result = []

    def send():
        is_taken = bad.send(begun(BESIDE, 64 * MIB))
        for _ in range(64):
            is_taken = is_taken and bad.send(bytes(MIB))
        result.append(is_taken and not bad.is_thrown_out(HASTY))

    thread = threading.Thread(target=send)
    thread.start()
    honest.speak()
    bad.close()
    thread.join()
    assert result == [False], "the broker took 64 MiB"
    assert not honest.others


def test_message_for_another_site_is_not_delivered(stand, honest):
    bad = raw(stand, NODES, "claims")
    bad.send(at_most_once("dc/v1/rhine/hall_1/r0001/tele", b"forged"))
    bad.send(packet(b"sim/v1/small/clock", b"forged", 1))
    bad.until_read()
    bad.close()
    other = raw(stand, OTHER, "claims-2")
    other.send(packet(RACK.encode(), b"forged", 1))
    other.until_read()
    other.close()
    honest.speak()
    assert not honest.others
    with pytest.raises(MessageError, match="as its topic does"):
        decode(
            "dc/v1/small/jobs/status",
            b'{"v":1,"site":"rhine","sequence":1,"applied":true,"reason":""}',
        )


@pytest.mark.parametrize("topic", ["dc/v1/small/+/+/tele", "dc/v1/small/hall_1/#", "#"])
def test_topic_with_a_wildcard_is_not_delivered(stand, honest, topic):
    bad = raw(stand, NODES, "wild")
    bad.send(packet(topic.encode(), b"forged", 1))
    is_out = bad.is_thrown_out()
    bad.close()
    honest.speak()
    assert is_out, "the broker keeps who publishes to a wildcard"
    assert not honest.others


@pytest.mark.parametrize("user", [OTHER, PARTNER, NODES])
def test_retained_schedule_of_a_rogue_is_not_kept(stand, user):
    service = stand.connected(SERVICE, client_id="feed")
    assert service.publish(SCHEDULE, b"ours", qos=1, retain=True).wait(DEADLINE)
    bad = raw(stand, user, "rogue")
    bad.send(flags(packet(SCHEDULE.encode(), b"forged", 1), RETAIN))
    bad.until_read()
    bad.close()
    partner = stand.connected(PARTNER, client_id="late")
    assert partner.subscribe(SCHEDULE).wait(DEADLINE)
    messages = until(lambda: partner.poll(timeout=0.5), deadline=DEADLINE)
    messages += partner.poll(timeout=0.5)
    assert [one.payload for one in messages] == [b"ours"]
