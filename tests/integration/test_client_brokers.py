"""A client at brokers: embedded, Mosquitto and NATS, which come and go."""

import socket
import subprocess
import time

import pytest

from telemetry.mqtt import client as mqtt_client
from telemetry.mqtt.broker import TlsFiles
from telemetry.mqtt.embedded_broker import EmbeddedBroker
from telemetry.mqtt.queues import LastWill
from tests.support import brokers
from tests.support.clients import LONG, taken, until_told
from tests.support.waiting import until
from twin.errors import BrokerError


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
@pytest.mark.parametrize("kind", ["embedded", "mosquitto", "nats"])
def test_messages_go_both_ways(request, connected, kind, protocol):
    if protocol == "5" and kind != "mosquitto":
        pytest.skip(f"{kind} speaks MQTT 3.1.1 only")
    url = request.getfixturevalue(kind).url
    client = connected(url, "a/#", "b/+/c", protocol=protocol)
    other = connected(url, protocol=protocol, clean_session=True)
    sent = [("a", b""), ("a/b", bytes(40_000)), ("b/x/c", b"1"), ("a/ä", bytes(256 * 1024))]
    for topic, payload in sent:
        assert other.publish(topic, payload, qos=1).wait(LONG)
    other.publish("a/now", b"0")
    came = {m.topic: m for m in taken(client, 5)}  # NATS keeps the order within a filter only
    assert {topic: len(m.payload) for topic, m in came.items()} == {
        "a": 0,
        "a/b": 40_000,
        "b/x/c": 1,
        "a/ä": 256 * 1024,
        "a/now": 1,
    }
    assert all(came[topic].payload == payload and came[topic].qos == 1 for topic, payload in sent)
    until(lambda: client.counters["acknowledged"] >= 4, deadline=LONG)
    assert client.error == ""


@pytest.mark.slow
def test_late_subscriber_receives_retained_message(broker, connected):
    connected(broker.url).publish("kept", b"1", qos=1, retain=True).wait(LONG)
    first = taken(connected(broker.url, "kept"), 1)[0]
    assert (first.payload, first.retain) == (b"1", True)


@pytest.mark.slow
def test_will_is_published_only_after_lost_connection(broker, connected):
    watcher = connected(broker.url, "will/#")
    polite = connected(broker.url, will=LastWill("will/polite", b"gone"))
    polite.stop()
    killed = connected(broker.url, will=LastWill("will/killed", b"gone"))
    killed._connection._stream._socket.shutdown(socket.SHUT_RDWR)
    assert taken(watcher, 1)[0].topic == "will/killed"


@pytest.mark.slow
@pytest.mark.parametrize("filters", [(), ("a/#",)])
def test_session_survives_its_client(broker, made, connected, filters):
    connected(broker.url, "a/#", client_id="keeper").stop()
    sender = connected(broker.url)
    for number in range(150):
        sender.publish("a/b", str(number).encode(), qos=1)
    assert sender.publish("a/b", b"150", qos=1).wait(LONG)
    again = made(broker.url, client_id="keeper")
    if filters:
        again.subscribe(*filters)
    again.connect(LONG)
    came = [message.payload for message in taken(again, 151)]
    assert came == [str(number).encode() for number in range(151)]


@pytest.mark.slow
def test_unacknowledged_messages_come_again(broker, made, connected):
    first = connected(broker.url, "a/#", client_id="keeper")
    sender = connected(broker.url)
    for number in range(10):
        assert sender.publish("a", str(number).encode(), qos=1).wait(LONG)
    came = taken(first, 10, acknowledge=False)
    first.acknowledge(came[:4])
    first.stop()
    again = made(broker.url, client_id="keeper")
    again.connect(LONG)
    left = {str(number).encode() for number in range(4, 10)}
    while left:  # NATS may bring some of the others too
        left -= {message.payload for message in taken(again, 1)}


@pytest.mark.slow
def test_acknowledgements_of_an_earlier_connection_are_dropped(broker, connected):
    client = connected(broker.url, "a/#")
    connected(broker.url).publish("a", b"1", qos=1).wait(LONG)
    came = taken(client, 1, acknowledge=False)
    client._connection._stream._socket.shutdown(socket.SHUT_RDWR)
    until(lambda: client.counters["connections"] >= 2 and client.is_connected, deadline=LONG)
    client.acknowledge(came)
    until(lambda: client.counters["acknowledged_too_late"] >= 1, deadline=LONG)
    assert client.counters["acknowledged"] == 0
    assert taken(client, 1)[0].payload == b"1"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mosquitto", "nats"])
def test_client_survives_broker_restart(request, connected, kind):
    broker = request.getfixturevalue(kind)
    client = connected(broker.url, "a/#")
    sender = connected(broker.url)
    broker.stop()
    until(lambda: not client.is_connected and not sender.is_connected, deadline=LONG)
    until(lambda: "nothing listens at this address" in client.error, deadline=LONG)
    receipt = sender.publish("a", b"meanwhile", qos=1)
    assert not receipt.wait(0.0)
    broker.start()
    assert receipt.wait(LONG)
    assert taken(client, 1)[0].payload == b"meanwhile"
    assert client.error == ""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mosquitto", "nats"])
def test_outage_delivers_only_last_requests(request, connected, kind):
    """One request a topic, withdrawn at last; an outage had brought every one of before."""
    broker = request.getfixturevalue(kind)
    client = connected(broker.url, "asked/#")
    sender = connected(broker.url, depth=8)
    broker.stop()
    until(lambda: not client.is_connected and not sender.is_connected, deadline=LONG)
    for hour in range(100):
        for battery in range(4):
            sender.publish(f"asked/{battery}", b"%d" % hour, qos=1, conflate=True)
    last = {"qos": 1, "conflate": True, "retain": True}
    receipts = [sender.publish(f"asked/{n}", b"null", **last) for n in range(4)]
    broker.start()
    assert all(receipt.wait(LONG) for receipt in receipts)
    assert [one.payload for one in taken(client, 4)] == [b"null"] * 4
    assert sender.counters["published"] == sender.counters["delivered"] == 4
    assert (sender.counters["replaced"], sender.counters["overflowed"]) == (400, 0)
    assert client.counters["lost_connections"] == 1


@pytest.mark.slow
def test_client_subscribes_again_after_lost_session(connected):
    first = EmbeddedBroker()
    first.start()
    client = connected(first.url, "a/#")
    first.stop()
    with EmbeddedBroker(first.port) as second:
        until(lambda: client.is_connected and client.counters["connections"] >= 2, deadline=LONG)
        sender = connected(second.url)
        until(
            lambda: sender.publish("a", b"1", qos=1).wait(LONG) and client.poll(10, 0.1),
            deadline=LONG,
        )


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_client_id_conflict_is_reported(mosquitto, connected, made, protocol):
    one = connected(mosquitto.url, client_id="twin", protocol=protocol)
    two = made(mosquitto.url, client_id="twin", protocol=protocol)
    two.start()
    until(lambda: "another client may also be 'twin'" in one.error + two.error, deadline=LONG)


@pytest.mark.slow
def test_frozen_broker_is_detected(mosquitto, connected, monkeypatch):
    client = connected(mosquitto.url)
    mosquitto.pause()
    monkeypatch.setattr(mqtt_client, "MAX_SILENCE_S", 0.3)
    monkeypatch.setattr(mqtt_client, "CONNACK_TIMEOUT_S", 0.3)
    until(lambda: not client.is_connected, deadline=LONG)
    until(
        lambda: "stopped sending" in client.error or "does not answer" in client.error,
        deadline=LONG,
    )
    mosquitto.resume()
    monkeypatch.undo()
    until(lambda: client.is_connected, deadline=LONG)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_full_incoming_queue_loses_no_qos_1(mosquitto, connected, protocol):
    count = 2000
    client = connected(mosquitto.url, "a/#", depth=100, protocol=protocol)
    sender = connected(mosquitto.url, protocol=protocol)
    receipts = [sender.publish("a", str(i).encode(), qos=1) for i in range(count)]
    assert all(receipt.wait(LONG) for receipt in receipts)
    until(lambda: client.counters["waiting"] >= 20, deadline=LONG)
    assert client.counters["waiting"] <= 300
    came = taken(client, count)
    assert [m.payload for m in came] == [str(i).encode() for i in range(count)]
    assert client.counters["dropped"] == 0


@pytest.mark.slow
def test_excess_qos_0_is_dropped_and_counted(mosquitto, connected):
    client = connected(mosquitto.url, "a/#", depth=100, qos=0)
    sender = connected(mosquitto.url)
    for _ in range(3000):
        sender.publish("a", b"0")
    assert sender.publish("b", b"", qos=1).wait(LONG)
    until(lambda: client.counters["dropped"] > 0, deadline=LONG)
    assert client.counters["waiting"] <= 100


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mosquitto", "nats"])
def test_oversized_messages_are_acknowledged_and_dropped(run, connected, kind):
    broker = run(BINARIES[kind], LARGE[kind])
    client = connected(broker.url, "a/#")
    subprocess.run(
        ["mosquitto_pub", "-p", str(broker.port), "-t", "a/large", "-q", "1", "-s"],
        input=bytes(300_000),
        check=True,
    )
    connected(broker.url).publish("a/small", b"1", qos=1).wait(LONG)
    assert taken(client, 1)[0].topic == "a/small"
    until(lambda: client.counters["acknowledged"] >= 2, deadline=LONG)
    assert client.oversized_messages == (("a/large", 300_000),)


BINARIES = {"mosquitto": "mosquitto", "nats": "nats-server"}
LARGE = {
    "mosquitto": brokers.MOSQUITTO.replace("max_packet_size 263168", "max_packet_size 1000000"),
    "nats": brokers.NATS,
}


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_refused_login_is_reported_at_once(run, tmp_path, made, protocol):
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-c", "-b", str(passwords), "me", "right"], check=True)
    locked = brokers.MOSQUITTO.replace("allow_anonymous true", f"password_file {passwords}")
    broker = run("mosquitto", locked)
    place = broker.url.removeprefix("mqtt://")
    made(f"mqtt://me:right@{place}", protocol=protocol).connect(LONG)
    for login in ("", "me:wrong@"):
        client = made(f"mqtt://{login}{place}", protocol=protocol)
        began = time.monotonic()
        with pytest.raises(BrokerError, match="Not authorized") as caught:
            client.connect(LONG)
        assert time.monotonic() - began < LONG / 2
        assert "user and password" in caught.value.remedy
        assert "wrong" not in str(caught.value)


@pytest.fixture
def authority(tmp_path):
    """Return the folder of an authority's certificate, and of a broker's and a client's."""
    folder = tmp_path / "certificates"
    folder.mkdir()
    certify(folder)
    return folder


def certify(folder):
    """Make an authority, and certificates of a broker and a client, in place of older ones."""

    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    new = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2")
    usage = ("-addext", "keyUsage=critical,keyCertSign")  # Python 3.13 insists on it
    openssl(*new, *usage, "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem")
    for name in ("broker", "client"):
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "subjectAltName=IP:127.0.0.1")
        signed += ("-addext", "basicConstraints=critical,CA:FALSE")
        files = ("-keyout", f"{name}.key", "-out", f"{name}.pem")
        openssl(*new, *signed, "-subj", f"/CN={name}", *files)


@pytest.mark.slow
@pytest.mark.filterwarnings(  # paho leaves the socket of a failed handshake to the collector
    "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_both_sides_verify_certificates(run, authority, connected, made):
    lines = "".join(
        f"{word} {authority}/{name}\n"
        for word, name in [
            ("cafile", "ca.pem"),
            ("certfile", "broker.pem"),
            ("keyfile", "broker.key"),
        ]
    )
    broker = run("mosquitto", f"{brokers.MOSQUITTO}{lines}require_certificate true\n")
    url = broker.url.replace("mqtt:", "mqtts:")
    ca = authority / "ca.pem"
    ours = TlsFiles(ca=ca, certificate=authority / "client.pem", key=authority / "client.key")
    client = connected(url, "a", tls=ours)
    assert client.publish("a", bytes(200_000), qos=1).wait(LONG)
    assert len(taken(client, 1)[0].payload) == 200_000
    for tls, reason in [(TlsFiles(), "not trusted"), (TlsFiles(ca=ca), "our certificate")]:
        until_told(made(url, tls=tls), reason)
    until_told(made(broker.url), "closed the connection before")

    def again():
        broker.stop()
        until(lambda: not client.is_connected)
        broker.start()
        until(lambda: client.is_connected)

    certify(authority)  # all are renewed while we run
    again()
    (authority / "client.pem").unlink()  # those read last are used
    again()


@pytest.mark.slow
def test_denied_subscription_is_reported(run, connected):
    greedy = brokers.NATS.replace("max_ack_pending: 2000", "max_ack_pending: 40000")
    broker = run("nats-server", greedy)
    client = connected(broker.url, "a")
    assert not client.subscribe("b/#").wait(LONG)
    assert "denies the subscription to b/#" in client.error
