"""The newest message of a persistent session stays unacknowledged until a newer one is durable."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.mqtt.queues import AcknowledgementQueue
from tests.support import brokers
from tests.support.clients import LONG, taken
from tests.support.waiting import until

REDELIVERED = {"mosquitto": 0.0, "nats": 4.0}
"""Time after which a broker has sent again what is not acknowledged: `ack_wait`, twice. [s]"""

ONE_AT_A_TIME = brokers.MOSQUITTO + "max_inflight_messages 1\n"


def acks(*, keeps_newest=True):
    return AcknowledgementQueue(hold_back_last=keeps_newest, counts=Counter())


@given(st.lists(st.integers(1, 5), min_size=1, max_size=20))
def test_all_but_the_newest_are_acknowledged_in_order(sizes):
    box, sent, handed_in = acks(), [], 0
    for size in sizes:
        box.on_message()
        box.add((1, handed_in + number) for number in range(size))
        handed_in += size
        sent += box.take_due(1)
    assert sent == list(range(handed_in - 1))
    assert [number for number in range(handed_in) if box.is_held_back(number)] == [handed_in - 1]


def test_clean_session_holds_nothing_back():
    box = acks(keeps_newest=False)
    box.add([(1, 1), (1, 2)])
    assert box.take_due(1) == [1, 2]


def test_hold_back_is_short_with_a_window_of_one(monkeypatch):
    box = acks()
    box.add([(1, 1)])
    assert box.take_due(1) == []
    monkeypatch.setattr("telemetry.mqtt.queues.MAX_ACKNOWLEDGEMENT_DELAY_S", -1.0)
    assert box.take_due(1) == [1]
    for number in (2, 3):
        box.on_message()
        box.add([(1, number)])
        assert box.take_due(1) == [number]
    box.add([(1, 4), (1, 5)])  # two at once: it does not
    assert box.take_due(1) == [4]


def test_second_message_shows_a_larger_window(monkeypatch):
    box = acks()
    box.add([(1, 1)])
    assert box.take_due(1) == []
    box.on_message()
    monkeypatch.setattr("telemetry.mqtt.queues.MAX_ACKNOWLEDGEMENT_DELAY_S", -1.0)
    assert box.take_due(1) == []
    assert box.is_held_back(1)


def test_acknowledgements_of_old_connections_are_late():
    counts = Counter()
    box = AcknowledgementQueue(hold_back_last=True, counts=counts)
    box.add([(1, 1), (1, 2)])
    assert box.take_due(1) == [1]
    box.add([(1, 3), (2, 1), (2, 2)])
    box.begin()
    assert not box.is_held_back(2)
    assert box.take_due(2) == [1]
    assert counts == {"acknowledged": 4, "acknowledged_too_late": 1}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mosquitto", "nats"])
def test_newest_is_redelivered_only_after_reconnecting(request, made, connected, kind):
    url = request.getfixturevalue(kind).url
    first = connected(url, "a/#", client_id="keeper")
    sender = connected(url, clean_session=True)
    for number in range(50):
        sender.publish("a", str(number).encode(), qos=1)
    taken(first, 50)
    until(lambda: first.counters["acknowledged"] >= 50, deadline=LONG)
    again = set()

    def is_quiet():
        """Take what NATS repeats in a slow run; it repeats the newest too, which is ignored."""
        repeated = first.poll(timeout=REDELIVERED[kind])
        first.acknowledge(repeated)
        again.update(one.payload for one in repeated)
        return not repeated

    until(is_quiet)
    assert b"49" not in again
    first.stop()
    again = made(url, client_id="keeper")
    again.connect(LONG)
    assert {one.payload for one in taken(again, 1)} == {b"49"}


@pytest.mark.slow
def test_nats_store_is_not_empty_when_killed(nats, connected):
    client = connected(nats.url, "a/#")
    sender = connected(nats.url, clean_session=True)
    for number in range(50):
        sender.publish("a", str(number).encode(), qos=1)
    taken(client, 50)
    client.acknowledge(client.poll(timeout=1.0))  # until NATS has deleted all that is acknowledged
    nats.kill()
    nats.start()
    log = (nats.folder / "log").read_text()
    restored = [line for line in log.splitlines() if "Restored" in line and "MQTT_msgs'" in line]
    assert "Restored 0 messages" not in restored[-1]
    assert "ahead of stream" not in log


@pytest.mark.slow
def test_broker_with_a_window_of_one_does_not_stall(run, connected):
    url = run("mosquitto", ONE_AT_A_TIME).url
    client = connected(url, "a/#")
    sender = connected(url, clean_session=True)
    for number in range(50):
        sender.publish("a", str(number).encode(), qos=1)
    assert [int(one.payload) for one in taken(client, 50)] == list(range(50))
