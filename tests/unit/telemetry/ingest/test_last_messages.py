"""Last messages are loaded unchanged, or not at all."""

import json

import pytest

from telemetry.archive import loss_log
from telemetry.archive.last_messages import LastMessageStore, corrupt_lines
from telemetry.messages import encode
from tests.support.archives import POINT, metadata, value
from tests.support.ingesting import Service
from tests.support.waiting import until

ITEMS = [encode(metadata()), encode(metadata(POINT.replace("battery_1", "battery_2")))]


def last_message_store(folder):
    return LastMessageStore(folder / "kept.jsonl")


def write(folder):
    store = last_message_store(folder)
    for item in ITEMS:
        store.store_decoded(*item)
    store.save()


def test_last_messages_are_loaded_again(tmp_path):
    assert list(last_message_store(tmp_path).load()) == []
    write(tmp_path)
    assert list(last_message_store(tmp_path).load()) == ITEMS
    assert corrupt_lines(tmp_path / "kept.jsonl") == []
    assert loss_log.read_losses(tmp_path) == []


def test_lines_without_a_checksum_are_read(tmp_path):
    lines = [json.dumps([topic, payload.decode()]) for topic, payload in ITEMS]
    (tmp_path / "kept.jsonl").write_text("\n".join([*lines, "[1", "5"]))
    assert list(last_message_store(tmp_path).load()) == ITEMS
    assert [one["reason"] for one in loss_log.read_losses(tmp_path)] == [
        "line 3 of kept.jsonl is corrupt",
        "line 4 of kept.jsonl is corrupt",
    ]


def test_corrupt_line_is_dropped(tmp_path):
    """Sensitivity: one changed letter turned kilowatts into megawatts unnoticed."""
    write(tmp_path / "archive")
    path = tmp_path / "archive" / "kept.jsonl"
    path.write_text(path.read_text().replace("battery_1", "battery_3", 1))
    with Service(tmp_path) as service:
        until(lambda: len(loss_log.read_losses(path.parent)) == 1)
        topics = [topic for topic, _ in service.ingester._last_messages.load()]
        assert topics == [ITEMS[1][0]]
        service.wire.send(metadata())
        until(lambda: len(service.wire.acknowledged) == 1)
        assert [frame.topic for frame in service.journal.read()] == [ITEMS[0][0]]


@pytest.mark.slow
def test_newest_metadata_survive_a_restart(tmp_path):
    """Proves: units that came after the file was written, and are not archived yet, are known.

    Sensitivity: plans used the units and the job queue of the first minute.
    """
    with Service(tmp_path) as service:
        service.wire.send(metadata(unit="%"), value(0, 50.0))
        until(lambda: len(service.wire.acknowledged) == 2)
        assert service.ingester.commit(include_open=True)  # writes the file
        service.wire.send(metadata(unit="1"), value(60, 0.5))
        service.wire.send_raw((ITEMS[0][0], b"corrupt"))
        until(lambda: len(service.wire.acknowledged) == 5)
    with Service(tmp_path) as again:
        assert again.ingester.changed_only([encode(metadata(unit="1"))]) == []
