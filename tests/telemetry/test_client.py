"""A client and its boxes, without a broker or with one that is none."""

import contextlib
import socket
import threading

import pytest

from telemetry.mqtt import network_loop
from telemetry.mqtt.client import Client
from telemetry.mqtt.connection import TlsFiles
from telemetry.mqtt.queues import (
    MAX_INBOX_BYTES,
    IncomingQueue,
    OutgoingMessage,
    OutgoingQueue,
    PublishToken,
    ReceivedMessage,
)
from tests import brokers
from tests.telemetry.clients import LONG, until_told
from tests.waiting import until
from twin.errors import BrokerError, MessageError


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "the scheme is"),
        ("http://host", "http"),
        ("mqtt://", "no host"),
        ("mqtt://host:port", "Port"),
        ("mqtt://host:0", "port above 0"),
        ("mqtt://host:70000", "Port out of range"),
        ("mqtt://host/path", "no path"),
    ],
)
def test_a_url_that_is_none_is_refused(url, reason):
    with pytest.raises(BrokerError, match=reason) as told:
        Client(url, client_id="c")
    assert "mqtt" in told.value.remedy


def test_passwords_are_never_told():
    client = Client("mqtt://me:s%40cret@broker.plant:1884", client_id="c")
    assert client.url == "mqtt://me@broker.plant:1884"
    with pytest.raises(BrokerError) as told:
        Client("mqtt://me:secret@broker.plant:x", client_id="c")
    assert "secret" not in str(told.value)


def test_ports_have_defaults():
    assert Client("mqtt://host", client_id="c").url == "mqtt://host:1883"
    assert Client("mqtts://[::1]", client_id="c").url == "mqtts://[::1]:8883"


def test_certificates_need_tls_and_files(tmp_path):
    with pytest.raises(BrokerError, match="mqtts"):
        Client("mqtt://host", client_id="c", tls=TlsFiles())
    with pytest.raises(BrokerError, match=r"certificates cannot be used .*none\.pem"):
        Client("mqtts://host", client_id="c", tls=TlsFiles(ca=tmp_path / "none.pem"))


@pytest.mark.parametrize("topic", ["", "a/+", "#", "a\0"])
def test_what_is_no_topic_is_refused(topic):
    with pytest.raises(MessageError, match="topic"):
        Client("mqtt://host", client_id="c").publish(topic, b"")


def test_what_no_broker_takes_is_refused():
    client = Client("mqtt://host", client_id="c")
    with pytest.raises(MessageError, match="QoS 2"):
        client.publish("a", b"", qos=2)
    with pytest.raises(MessageError, match="262145 B"):
        client.publish("a", bytes(256 * 1024 + 1))


def test_unreachable_is_told_and_tried_again(made):
    client = made(f"mqtt://127.0.0.1:{brokers.free_port()}")
    client.start()
    until(lambda: client.counters["failed_connections"] > 1, deadline=LONG)
    assert not client.is_connected
    assert client.url in client.error
    assert "nothing listens there; start the broker" in client.error


def test_connect_gives_up(made):
    client = made(f"mqtt://127.0.0.1:{brokers.free_port()}")
    until_told(client, "nothing listens there")
    with pytest.raises(BrokerError, match="nothing listens there"):
        client.connect(0.1)


def test_offline_qos_1_is_kept_within_bounds_and_qos_0_is_not(made):
    client = made("mqtt://127.0.0.1:1", depth=2)
    assert not client.publish("a", b"").wait(0.0)
    kept = [client.publish("a", b"", qos=1) for _ in range(3)]
    assert [receipt.is_complete for receipt in kept] == [False, False, True]
    assert client.counters["unsent"] == 1
    assert client.counters["overflowed"] == 1
    client.stop(timeout=0.0)
    assert all(receipt.is_complete and not receipt.wait(0.0) for receipt in kept)


def test_of_the_newest_only_one_waits_and_the_older_is_told_no(made):
    client = made("mqtt://127.0.0.1:1", depth=3)
    old, other, kept = (client.publish(t, b"", qos=1, conflate=t != "k") for t in ("a", "b", "k"))
    last = client.publish("a", b"now", qos=1, conflate=True)  # takes no more room
    assert not client.publish("c", b"", qos=1, conflate=True).wait(0.0)
    assert old.is_complete
    assert not old.wait(0.0)
    assert not any(receipt.is_complete for receipt in (other, kept, last))
    assert (client.counters["replaced"], client.counters["overflowed"]) == (1, 1)
    client.stop(timeout=0.0)
    assert all(receipt.is_complete and not receipt.wait(0.0) for receipt in (other, kept, last))


def test_what_found_no_room_is_told_for_a_while(made, monkeypatch):
    client = made("mqtt://127.0.0.1:1", depth=1)
    client.publish("a", b"", qos=1)
    assert client.error == ""
    client.publish("b", b"", qos=1)
    assert f"{client.url}: 1 messages found no room" in client.error
    monkeypatch.setattr("telemetry.mqtt.client.OVERFLOW_REPORT_S", 0.0)
    assert client.error == ""


def letter(topic, payload=b"", *, conflate=True):
    return OutgoingMessage(topic, payload, 1, False, PublishToken(), 0, conflate)


def test_letters_go_in_the_order_of_the_last_on_each_topic():
    outbox = OutgoingQueue(10)
    for topic, payload in (("a", b"1"), ("b", b"1"), ("a", b"2")):
        outbox.put(letter(topic, payload))
    outbox.put(letter("b", b"x", conflate=False))
    assert len(outbox) == 3
    went = [(one.topic, one.payload) for one in iter(outbox.take, None)]
    assert went == [("b", b"1"), ("a", b"2"), ("b", b"x")]


def test_a_letter_that_could_not_go_is_first_again_unless_a_newer_one_came():
    outbox = OutgoingQueue(10)
    for one in (letter("a"), letter("b", conflate=False)):
        outbox.put(one)
    first, second = outbox.take(), outbox.take()
    outbox.put(letter("a", b"newer"))
    outbox.put_back(second)
    outbox.put_back(first)
    assert first.token.is_complete
    assert not first.token.wait(0.0)
    assert outbox.take() is second
    assert outbox.take().payload == b"newer"


@contextlib.contextmanager
def listening(answer):
    """Run a server that is no broker: it answers every connection with these bytes and waits."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    held.append(server.accept()[0])
                    if answer is None:
                        held.pop().close()
                    else:
                        held[-1].sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"mqtt://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in held:
            connection.close()


MUTE = "no welcome"
"""What is said once one has waited in vain."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (None, "hung up"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", MUTE),
        (b"\x20\x02\x00\x05", "Not authorized"),
        (b"\x20\x02\x00\x02", "identifier"),
        (b"\x20\x7f" + bytes(200), "hung up|makes no sense"),
        (b"\x30\x00", "hung up|makes no sense"),
    ],
)
def test_no_broker_is_told_and_survived(made, answer, told):
    with listening(answer) as url:
        client = made(url)
        if told != MUTE:
            until_told(client, told)
        with pytest.raises(BrokerError, match=told):
            client.connect(0.3)


def test_one_that_takes_connections_and_says_nothing(made, monkeypatch):
    monkeypatch.setattr(network_loop, "CONNACK_TIMEOUT_S", 0.2)
    monkeypatch.setattr(network_loop, "SELECT_TIMEOUT_S", 0.05)
    with listening(b"") as url:
        client = made(url)
        client.start()
        until(lambda: client.error, deadline=LONG)
        assert "does not answer" in client.error


def test_an_inbox_drops_qos_0_first_and_then_says_that_it_is_full():
    inbox = IncomingQueue(2)
    assert [inbox.put(ReceivedMessage("a", b"")) for _ in range(3)] == [True, True, False]
    assert inbox.put(ReceivedMessage("a", b"", 1))
    assert not inbox.is_full
    assert inbox.put(ReceivedMessage("a", b"", 1))
    assert inbox.is_full
    assert len(inbox.take(3, 0.0)) == 3
    assert not inbox.is_full
    assert len(inbox) == 1


def test_an_inbox_counts_bytes_too():
    inbox = IncomingQueue(100)
    inbox.put(ReceivedMessage("a", bytes(MAX_INBOX_BYTES), 1))
    assert inbox.is_full


def test_a_receipt_waits_for_all_answers():
    receipt = PublishToken(2)
    receipt.complete(is_granted=True)
    assert not receipt.wait(0.0)
    receipt.complete(is_granted=True)
    assert receipt.wait(0.0)
