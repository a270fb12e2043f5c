import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from telemetry.mqtt import embedded_broker as brokers
from telemetry.mqtt.client import Client
from telemetry.mqtt.embedded_broker import EmbeddedBroker
from tests.support.clients import LONG, taken
from tests.support.waiting import until
from twin.errors import BrokerError

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def is_listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def connected(broker, name, *filters, qos=1):
    client = Client(broker.url, client_id=name)
    client.connect(LONG)
    if filters:
        assert client.subscribe(*filters, qos=qos).wait(LONG)
    return client


def test_broker_runs_only_within_its_block():
    with EmbeddedBroker() as broker:
        assert broker.is_running
        assert is_listening(broker.port)
        broker.start()
    assert not broker.is_running
    assert not is_listening(broker.port)
    broker.stop()


def test_broker_listens_on_loopback_only(embedded):
    port = f":{embedded.port:04X} 00000000:0000 0A"
    rows = [line for line in Path("/proc/net/tcp").read_text().splitlines() if port in line]
    assert [row.split()[1] for row in rows] == [f"0100007F:{embedded.port:04X}"]


def test_occupied_port_is_reported(embedded):
    with pytest.raises(BrokerError, match="name another port") as caught:
        EmbeddedBroker(embedded.port).start()
    assert caught.value.url == embedded.url


def test_port_taken_meanwhile_is_skipped(embedded, monkeypatch):
    ports = iter([embedded.port, brokers._free_port()])
    monkeypatch.setattr(brokers, "_free_port", lambda: next(ports))
    with EmbeddedBroker() as other:
        assert other.port != embedded.port


OWNER = """
import sys
from telemetry.mqtt.embedded_broker import EmbeddedBroker
broker = EmbeddedBroker()
broker.start()
sys.stdout.write(f"{broker.port}\\n")
sys.stdout.flush()
sys.stdin.read()
"""


def test_broker_ends_with_killed_parent():
    with subprocess.Popen(
        [sys.executable, "-c", OWNER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as owner:
        port = int(owner.stdout.readline())
        assert is_listening(port)
        owner.send_signal(signal.SIGKILL)
    until(lambda: not is_listening(port), deadline=LONG)


def test_ctrl_c_does_not_stop_broker(embedded):
    child = embedded._broker._process
    os.kill(child.pid, signal.SIGINT)
    client = connected(embedded, "c")
    assert client.publish("a", b"", qos=1).wait(LONG)
    client.stop()
    assert embedded.is_running
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_retained_messages_survive_segment_rotation(monkeypatch):
    monkeypatch.setattr(brokers, "SEGMENT_BYTES_AND_COUNT", (100_000, 2))
    with EmbeddedBroker() as broker:
        sender = connected(broker, "sender")
        for number in range(2500):
            sender.publish(f"BMS/v1/PUB/Metadata/{number}", bytes(200), qos=1, retain=True)
        last = sender.publish("BMS/v1/PUB/Metadata/0", b"latest", qos=1, retain=True)
        assert last.wait(LONG)
        client = connected(broker, "late", "BMS/v1/PUB/Metadata/#", qos=0)
        came = taken(client, 2500)
        assert len({message.topic for message in came}) == 2500
        assert all(message.retain for message in came)
        assert [m.payload for m in came if m.topic.endswith("/0")] == [b"latest"]
        sender.publish("BMS/v1/PUB/Metadata/0", b"", qos=1, retain=True).wait(LONG)
        later = connected(broker, "later", "#", qos=0)
        assert "BMS/v1/PUB/Metadata/0" not in {message.topic for message in taken(later, 2499)}
        for each in (sender, client, later):
            each.stop()


def test_session_stores_messages_for_absent_client(embedded):
    connected(embedded, "service", "dc/#", "BMS/#").stop()
    plant = connected(embedded, "plant")
    for number in range(1390):
        plant.publish(f"dc/v1/rhine/hall_1/{number}/tele", bytes(1500), qos=1)
    for number in range(2500):
        plant.publish(f"BMS/v1/PUB/Value/{number}", bytes(60), qos=1)
    assert plant.publish("dc/v1/end", b"", qos=1).wait(LONG)
    service = connected(embedded, "service")
    assert len(taken(service, 3891)) == 3891
    service.stop()
    plant.stop()


def test_oversized_payload_ends_only_its_connection(embedded):
    with socket.create_connection(("127.0.0.1", embedded.port)) as rude:
        rude.sendall(b"\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04rude")
        assert rude.recv(4) == b"\x20\x02\x00\x00"
        rude.sendall(b"\x30\xff\xff\xff\x7f\x00\x01a")
        rude.settimeout(LONG)
        assert rude.recv(1) == b""
    client = connected(embedded, "c")
    assert client.publish("a", bytes(256 * 1024), qos=1).wait(LONG)
    client.stop()
