"""An ingester: durable before acknowledgement, then live state, archive and listeners."""

import base64
import json
import random
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from telemetry.archive import open as open_archive
from telemetry.delivery.protocol import REPORT_SUFFIX
from telemetry.messages import encode
from telemetry.messages.samples import JobStatus
from telemetry.mqtt.client import Client
from tests.support import brokers, ingesting
from tests.support.archives import START, batch, metadata, tick, value
from tests.support.ingesting import SITE, Service
from tests.support.rack_batches import SOURCE
from tests.support.waiting import DEADLINE, until

ROOT = Path(__file__).parents[4]


def test_messages_are_durable_before_they_are_acknowledged(service, monkeypatch):
    seen = []
    append = service.journal.append

    def spying(*items):
        seen.append(len(service.wire.acknowledged))
        return append(*items)

    monkeypatch.setattr(service.journal, "append", spying)
    service.wire.send(batch("r0001", 0), value(0, 5.0))
    until(lambda: len(service.wire.acknowledged) == 2)
    assert seen[0] == 0
    assert [frame.topic for frame in service.journal.read()] == [
        message.topic for message in service.wire.acknowledged
    ]


def test_reports_are_acknowledged_and_not_journaled(service, monkeypatch):
    published = []
    monkeypatch.setattr(service.wire, "publish", lambda *one: published.append(one), raising=False)
    door = value(0, 1.0, point="Sensor/GenericPoint/rhine/door_1/held")
    service.wire.send(door)
    service.wire.send_raw((SOURCE + REPORT_SUFFIX, b"nonsense"))
    until(lambda: len(service.wire.acknowledged) == 2)
    assert [frame.topic for frame in service.journal.read()] == [encode(door)[0]]
    assert not published


@pytest.mark.slow
def test_open_minutes_are_archived_during_silence(tmp_path, monkeypatch):
    monkeypatch.setattr("telemetry.ingest.pipeline.PIPELINE_IDLE_COMMIT_S", 0.1)
    with Service(tmp_path) as service:
        service.wire.send(batch("r0001", 0), batch("r0001", 1))
        until(lambda: service.archive.counters["commits"])
        assert service.racks().sizes["time"] == 2


def test_samples_reach_window_archive_and_listeners(service):
    service.wire.send(metadata(), value(0, 50.0), batch("r0001", 0), tick(0))
    until(lambda: service.archive.counters["commits"] >= 1)
    assert [type(sample).__name__ for sample in service.heard] == [
        "PointMetadata",
        "PointValue",
        "RackBatch",
        "SimulationTick",
    ]
    observed = service.window.latest_values(START)
    capacity = SITE.equipment["battery_1"].capacity
    assert observed["battery_level"].item() == pytest.approx(0.5 * capacity)
    assert service.racks().sizes["time"] == 1
    opened = open_archive(SITE, root=service.folder)
    assert opened["battery_level"].values.tolist() == [[0.5 * capacity]]


def test_undecodable_messages_are_stored_and_acknowledged(service):
    topic = "dc/v1/rhine/hall_1/r0001/tele"
    service.wire.send_raw((topic, b"\xff" * 5000), ("odd/topic", b"{}"))
    service.wire.send(tick(0))
    until(lambda: len(service.wire.acknowledged) == 3)
    until(lambda: service.ingester.counters.get("quarantined") == 2)
    lines = (service.folder / "quarantine" / "poison.jsonl").read_text().splitlines()
    first, second = (json.loads(line) for line in lines)
    assert first["topic"] == topic
    assert first["size"] == 5000
    assert base64.b64decode(first["payload"]) == b"\xff" * 1000
    assert topic in first["reason"]
    assert second["topic"] == "odd/topic"


def test_oversized_message_is_recorded(service):
    service.wire.oversized_messages.append(("some/topic", 300_000))
    service.wire.counters["oversized"] = 1
    path = service.folder / "quarantine" / "poison.jsonl"
    until(lambda: path.exists() and path.read_text().endswith("\n"))
    row = json.loads(path.read_text())
    assert (row["topic"], row["size"], row["reason"]) == ("some/topic", 300_000, "too large")


def test_repeated_metadata_is_not_journaled(tmp_path):
    with Service(tmp_path) as service:
        service.wire.send(metadata())
        until(lambda: len(service.wire.acknowledged) == 1)
        end = service.journal.end_position
        service.wire.send(*[metadata()] * 100)
        until(lambda: service.ingester.counters["repeated"] == 100)
        assert service.journal.end_position == end
        assert len(service.wire.acknowledged) == 101
        service.wire.send(metadata(unit="1"), metadata())
        until(lambda: len(service.wire.acknowledged) == 103)
        assert len(list(service.journal.read(after=end))) == 2
    with Service(tmp_path) as service:
        service.wire.send(metadata())
        until(lambda: service.ingester.counters["repeated"] == 1)


@pytest.mark.slow
def test_state_of_killed_process_is_recovered(tmp_path):
    status = JobStatus(site="rhine", sequence=7, is_applied=True)
    with Service(tmp_path) as service:
        service.wire.send(metadata(), status, value(0, 50.0), batch("r0001", 0))
        until(lambda: len(service.wire.acknowledged) == 4)
        service.die()
    with Service(tmp_path) as service:
        assert service.heard == []
        assert service.window.job_status == status
        assert np.isfinite(service.window.latest_values(START)["battery_level"].item())
        service.wire.send(tick(0))
        until(lambda: service.archive.counters["commits"] >= 1)
        assert service.racks()["power"].values[0, 0, 0] == 0.0


@pytest.mark.slow
def test_journal_is_trimmed_and_metadata_is_kept(tmp_path):
    status = JobStatus(site="rhine", sequence=7, is_applied=True)
    with Service(tmp_path, segment_bytes=4096) as service:
        first = service.journal.end_position.segment
        service.wire.send(metadata(), status)
        for second in range(0, 9000, 900):
            service.wire.send(*(batch(f"r{rack:04d}", second) for rack in range(40)), tick(second))
            until(lambda: service.archive.counters["commits"] * 900 > second)  # noqa: B023
    kept = sorted(int(path.stem) for path in (tmp_path / "journal").glob("*.journal"))
    assert kept[0] > first
    with Service(tmp_path) as service:
        assert service.window.job_status == status
        assert service.window.binder.binding_of(metadata().point) is not None


@pytest.mark.slow
def test_acknowledged_samples_survive_kills_exactly_once(run, tmp_path):
    mosquitto = run("mosquitto", brokers.WIDE)
    count, racks, dice = 10_000, 20, random.Random(3)
    command = [sys.executable, "-m", "tests.support.ingesting", mosquitto.url, str(tmp_path)]
    process = ingesting.start(command, ROOT)
    publisher = Client(mosquitto.url, client_id="agents")
    publisher.connect(DEADLINE)
    kills = {int(count * share) for share in (0.2, 0.5, 0.8)}
    receipts = []
    for number in range(count):
        topic, payload = encode(batch(f"r{number % racks:04d}", number // racks, sequence=number))
        receipts.append(publisher.publish(topic, payload, qos=1))
        if number in kills:
            time.sleep(0.3 * dice.random())  # a random moment of the kill, not a wait
            process.kill()
            process.wait()
            process = ingesting.start(command, ROOT)
        elif number % 500 == 0:
            assert receipts[-1].wait(DEADLINE)
    assert all(receipt.wait(DEADLINE) for receipt in receipts)
    publisher.publish(*encode(tick(count // racks + 1)), qos=1).wait(DEADLINE)
    assert process.wait(6 * DEADLINE) == 0
    publisher.stop()
    power = open_archive("rhine", group="racks", root=tmp_path)["power"].isel(chip=0)
    assert power.sizes == {"time": count // racks, "rack": racks}
    assert (power.values == np.arange(count // racks)[:, None]).all()


def test_stop_ingests_all_waiting_messages(tmp_path, monkeypatch):
    """Sensitivity: messages beyond one append were lost, as QoS 0 is not sent again."""
    monkeypatch.setattr("telemetry.ingest.ingester.MAX_MESSAGES_PER_APPEND", 10)
    with Service(tmp_path) as service:
        service.ingester._ingester.stop()
        service.ingester._thread.join()
        service.wire.send(*(value(second, 1.0) for second in range(55)), qos=0)
        service.ingester._ingester.run()
        assert service.wire.sent == []
        assert service.ingester.counters["messages"] == 55
