"""A client and its queues, without a broker or with a server that is no broker."""

import contextlib
import itertools
import socket
import threading
from types import SimpleNamespace

import pytest

from telemetry.mqtt import client as mqtt_client
from telemetry.mqtt.broker import TlsFiles
from telemetry.mqtt.client import CONNECTION_TRANSITIONS, Client, ConnectionState
from telemetry.mqtt.queues import (
    MAX_INBOX_BYTES,
    AcknowledgingHandler,
    IncomingQueue,
    OutgoingMessage,
    OutgoingQueue,
    PublishToken,
    ReceivedMessage,
)
from tests.support import brokers
from tests.support.clients import LONG, until_told
from tests.support.waiting import until
from twin.errors import BrokerError, IssueCode, JournalError, MessageError


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
def test_invalid_url_is_refused(url, reason):
    with pytest.raises(BrokerError, match=reason) as caught:
        Client(url, client_id="c")
    assert "mqtt" in caught.value.remedy


def test_password_is_never_shown():
    client = Client("mqtts://me:s%40cret@broker.plant:1884", client_id="c")
    assert client.url == "mqtts://me@broker.plant:1884"
    with pytest.raises(BrokerError) as caught:
        Client("mqtt://me:secret@broker.plant:x", client_id="c")
    assert "secret" not in str(caught.value)


def test_ports_have_defaults():
    assert Client("mqtt://localhost", client_id="c").url == "mqtt://localhost:1883"
    assert Client("mqtts://[::1]", client_id="c").url == "mqtts://[::1]:8883"


def test_certificates_need_tls_and_files(tmp_path):
    with pytest.raises(BrokerError, match="mqtts"):
        Client("mqtt://localhost", client_id="c", tls=TlsFiles(ca=tmp_path / "none.pem"))
    with pytest.raises(BrokerError, match=r"certificates cannot be used .*none\.pem"):
        Client("mqtts://host", client_id="c", tls=TlsFiles(ca=tmp_path / "none.pem"))


@pytest.mark.parametrize(
    "url", ["mqtt://me:secret@broker.plant", "mqtt://10.0.0.5", "mqtt://[2001:db8::1]:1884"]
)
def test_cleartext_to_another_machine_needs_permission(url):
    """Proves: without permission no client is made, so no password leaves this machine."""
    with pytest.raises(BrokerError) as caught:
        Client(url, client_id="c", tls=TlsFiles())
    assert caught.value.code is IssueCode.CLEARTEXT
    assert "--allow-cleartext" in caught.value.remedy
    assert "secret" not in str(caught.value)
    allowed = Client(url, client_id="c", tls=TlsFiles(allow_cleartext=True))
    assert not allowed.is_connected


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.8.9.10", "[::1]"])
def test_cleartext_on_this_machine_needs_no_permission(host):
    assert not Client(f"mqtt://{host}", client_id="c").is_connected


@pytest.mark.parametrize("topic", ["", "a/+", "#", "a\0"])
def test_invalid_topic_is_refused(topic):
    with pytest.raises(MessageError, match="topic"):
        Client("mqtt://localhost", client_id="c").publish(topic, b"")


def test_qos_2_and_large_payload_are_refused():
    client = Client("mqtt://localhost", client_id="c")
    with pytest.raises(MessageError, match="QoS 2"):
        client.publish("a", b"", qos=2)
    with pytest.raises(MessageError, match="262145 B"):
        client.publish("a", bytes(256 * 1024 + 1))


def test_unreachable_broker_is_reported_and_retried(made):
    client = made(f"mqtt://127.0.0.1:{brokers.free_port()}")
    client.start()
    until(lambda: client.counters["failed_connections"] > 1, deadline=LONG)
    assert not client.is_connected
    assert client.url in client.error
    assert "nothing listens at this address; start the broker" in client.error


def test_connect_raises_after_timeout(made):
    client = made(f"mqtt://127.0.0.1:{brokers.free_port()}")
    until_told(client, "nothing listens at this address")
    with pytest.raises(BrokerError, match="nothing listens at this address"):
        client.connect(0.1)


def test_offline_queue_holds_qos_1_up_to_depth(made):
    client = made("mqtt://127.0.0.1:1", depth=2)
    assert not client.publish("a", b"").wait(0.0)
    kept = [client.publish("a", b"", qos=1) for _ in range(3)]
    assert [receipt.is_complete for receipt in kept] == [False, False, True]
    assert client.counters["unsent"] == 1
    assert client.counters["overflowed"] == 1
    client.stop(timeout=0.0)
    assert all(receipt.is_complete and not receipt.wait(0.0) for receipt in kept)


def test_conflated_message_replaces_the_waiting_one(made):
    client = made("mqtt://127.0.0.1:1", depth=3)
    old, other, kept = (client.publish(t, b"", qos=1, conflate=t != "k") for t in ("a", "b", "k"))
    last = client.publish("a", b"now", qos=1, conflate=True)  # needs no further place
    assert not client.publish("c", b"", qos=1, conflate=True).wait(0.0)
    assert old.is_complete
    assert not old.wait(0.0)
    assert not any(receipt.is_complete for receipt in (other, kept, last))
    assert (client.counters["replaced"], client.counters["overflowed"]) == (1, 1)
    client.stop(timeout=0.0)
    assert all(receipt.is_complete and not receipt.wait(0.0) for receipt in (other, kept, last))


def test_queue_overflow_is_reported_for_a_time(made, monkeypatch):
    client = made("mqtt://127.0.0.1:1", depth=1)
    client.publish("a", b"", qos=1)
    assert client.error == ""
    client.publish("b", b"", qos=1)
    assert (
        f"{client.url}: 1 messages were dropped because the outgoing queue was full" in client.error
    )
    monkeypatch.setattr("telemetry.mqtt.client.OVERFLOW_ERROR_DURATION_S", 0.0)
    assert client.error == ""


def outgoing(topic, payload=b"", *, conflate=True):
    return OutgoingMessage(topic, payload, 1, False, PublishToken(), 0, conflate)


def test_conflated_messages_keep_order_of_last_publish():
    outbox = OutgoingQueue(10)
    for topic, payload in (("a", b"1"), ("b", b"1"), ("a", b"2")):
        outbox.put(outgoing(topic, payload))
    outbox.put(outgoing("b", b"x", conflate=False))
    assert len(outbox) == 3
    sent = [(one.topic, one.payload) for one in iter(outbox.take, None)]
    assert sent == [("b", b"1"), ("a", b"2"), ("b", b"x")]


def test_message_put_back_is_first_unless_replaced():
    outbox = OutgoingQueue(10)
    for one in (outgoing("a"), outgoing("b", conflate=False)):
        outbox.put(one)
    first, second = outbox.take(), outbox.take()
    outbox.put(outgoing("a", b"newer"))
    outbox.put_back(second)
    outbox.put_back(first)
    assert first.token.is_complete
    assert not first.token.wait(0.0)
    assert outbox.take() is second
    assert outbox.take().payload == b"newer"


@contextlib.contextmanager
def listening(answer):
    """Run a server that answers every connection with these bytes and then waits."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepted = []

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    accepted.append(server.accept()[0])
                    if answer is None:
                        accepted.pop().close()
                    else:
                        accepted[-1].sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"mqtt://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in accepted:
            connection.close()


MUTE = "did not accept the connection within"
"""Error after a server that did not answer in time."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "closed the connection"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", MUTE),
        (b"\x20\x02\x00\x05", "Not authorized"),
        (b"\x20\x02\x00\x02", "identifier"),
        (b"\x20\x7f" + bytes(200), "closed the connection|sends invalid MQTT"),
        (b"\x30\x00", "closed the connection|sends invalid MQTT"),
    ],
)
def test_server_that_is_no_broker_is_reported(made, answer, reason):
    with listening(answer) as url:
        client = made(url)
        if reason != MUTE:
            until_told(client, reason)
        with pytest.raises(BrokerError, match=reason):
            client.connect(0.3)


def test_silent_server_is_reported(made, monkeypatch):
    monkeypatch.setattr(mqtt_client, "CONNACK_TIMEOUT_S", 0.2)
    monkeypatch.setattr(mqtt_client, "SELECT_TIMEOUT_S", 0.05)
    with listening(b"") as url:
        client = made(url)
        client.start()
        until(lambda: client.error, deadline=LONG)
        assert "does not answer" in client.error


def test_connection_takes_only_transitions_of_its_table(made, embedded, monkeypatch):
    """Proves: up, lost, tried again, up again and stopped, each by a listed event."""
    client, taken = made(embedded.url), [ConnectionState.WAITING]
    monkeypatch.setattr(
        client._changed, "notify_all", lambda: taken.append(client.state)
    )  # called with each event
    client.start()
    until(lambda: client.is_connected, deadline=LONG)
    client._connection._stream._socket.shutdown(socket.SHUT_RDWR)
    until(lambda: client.counters["connections"] == 2, deadline=LONG)
    until(lambda: client.is_connected, deadline=LONG)
    client.stop()
    steps = [pair for pair in itertools.pairwise(taken) if pair[0] is not pair[1]]
    listed = {(before, after) for (before, _), after in CONNECTION_TRANSITIONS.items()}
    assert set(steps) <= listed
    assert [after for _, after in steps][-2:] == [ConnectionState.LEAVING, ConnectionState.ENDED]
    assert (ConnectionState.CONNECTED, ConnectionState.WAITING) in steps


def test_full_incoming_queue_drops_qos_0_first():
    inbox = IncomingQueue(2)
    assert [inbox.put(ReceivedMessage("a", b"")) for _ in range(3)] == [True, True, False]
    assert inbox.put(ReceivedMessage("a", b"", 1))
    assert not inbox.is_full
    assert inbox.put(ReceivedMessage("a", b"", 1))
    assert inbox.is_full
    assert len(inbox.take(3, 0.0)) == 3
    assert not inbox.is_full
    assert len(inbox) == 1


def test_incoming_queue_is_full_by_bytes():
    inbox = IncomingQueue(100)
    inbox.put(ReceivedMessage("a", bytes(MAX_INBOX_BYTES), 1))
    assert inbox.is_full


def test_token_waits_for_its_answer():
    receipt = PublishToken()
    assert not receipt.wait(0.0)
    receipt.complete(is_granted=True)
    assert receipt.wait(0.0)


def test_burst_is_handled_in_bounded_parts():
    """Proves: a handler takes at most 50 messages at once, also those that could not be stored."""
    burst = [ReceivedMessage("a", str(n).encode(), 1) for n in range(120)]
    acknowledged, is_full = [], True

    def poll(limit, _):
        taken = burst[:limit]
        del burst[:limit]
        return taken

    def handle(message):
        if is_full:
            raise JournalError("no space left; make room on the disk")
        return message.payload

    client = SimpleNamespace(poll=poll, acknowledge=acknowledged.extend)
    handler = AcknowledgingHandler()
    for _ in range(3):
        assert handler.handle_all(client, handle) == []
    assert (len(burst), acknowledged) == (70, [])
    is_full = False
    parts = [handler.handle_all(client, handle) for _ in range(3)]
    assert [len(part) for part in parts] == [50, 50, 20]
    assert [one for part in parts for one in part] == [str(n).encode() for n in range(120)]
    assert len(acknowledged) == 120


def test_message_that_cannot_be_handled_delays_no_other():
    """Proves: after an unexpected error the other messages of a burst are handled, once."""
    burst = [ReceivedMessage("a", text, 1) for text in (b"1", b"bad", b"3")]
    acknowledged = []

    def poll(limit, _):
        taken, burst[:] = burst[:limit], burst[limit:]
        return taken

    client = SimpleNamespace(poll=poll, acknowledge=acknowledged.extend)
    handler = AcknowledgingHandler()
    assert handler.handle_all(client, lambda message: int(message.payload)) == [1, 3]
    assert [message.payload for message in acknowledged] == [b"1", b"bad", b"3"]
    assert (handler.failed, handler.error) == (1, "")
    assert handler.handle_all(client, lambda message: int(message.payload)) == []
