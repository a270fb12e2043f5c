"""An ingester acknowledges durable messages and trims archived segments."""

import io
import os
import threading
from pathlib import Path

import pytest

from telemetry.archive import Archive
from telemetry.delivery.protocol import ACK_SUFFIX, REPORT_SUFFIX, SenderReport, encode_report
from telemetry.ingest import ingester
from telemetry.ingest.ingester import Ingester, IngesterConfig
from telemetry.ingest.journal_archiver import JournalArchiver
from telemetry.journal import format
from telemetry.journal.follower import JournalFollower
from telemetry.journal.format import JournalPosition
from telemetry.journal.writer import Journal
from telemetry.messages import decode, encode
from telemetry.mqtt.queues import ReceivedMessage
from tests.support.archives import batch, value
from tests.support.journaling import append, clock_at
from tests.support.rack_batches import SOURCE
from tests.support.waiting import until
from twin.errors import JournalError


class FakeClient:
    """A client without a broker."""

    oversized_messages = ()
    counters = {"oversized": 0}  # noqa: RUF012 - it stays empty

    def __init__(self, messages):
        self.waiting = messages
        self.acknowledged, self.published_topics = [], []

    def poll(self, limit=1000, timeout=0.1):
        taken, self.waiting = self.waiting[:limit], self.waiting[limit:]
        return taken

    def acknowledge(self, messages):
        self.acknowledged += messages

    def publish(self, topic, payload):
        self.published_topics.append(topic)


def test_ingester_acknowledges_durable_and_trims_archived(tmp_path, monkeypatch):
    messages = [ReceivedMessage(*encode(batch("r0001", second)), 1) for second in range(50)]
    client = FakeClient(messages)
    journal = Journal(tmp_path / "a", segment_bytes=1000, clock=clock_at(60))
    shard = Ingester(client, journal)
    thread = threading.Thread(target=shard.run)
    thread.start()
    until(lambda: len(client.acknowledged) >= 50)
    shard.stop()
    thread.join()
    assert client.acknowledged == messages
    assert shard.counters["messages"] == 50
    client.oversized_messages, client.counters = (
        (("a", 1), ("b", 2), ("c", 3)),
        {"oversized": 2, "spoilt": 1},
    )
    assert shard.take_oversized_messages() == [("b", 2), ("c", 3)]
    assert shard.take_oversized_messages() == []
    assert [shard.counters[name] for name in ("oversized", "spoilt", "dropped")] == [2, 1, 0]
    append(journal, batch("r0001", 51))
    assert len(list((tmp_path / "a").glob("*.journal"))) == 2
    archive = Archive(tmp_path / "archive", "rhine")
    archiver = JournalArchiver(archive, {"a": tmp_path / "a"})
    archiver.stop()
    archiver.run()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", fail)
        shard._trim()
    assert "check the disk" in shard.error  # and its thread continues
    shard._trim()
    assert shard.error == ""
    assert len(list((tmp_path / "a").glob("*.journal"))) == 1


def fail(*_, **__):
    raise OSError(5, "no disk")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_ingester_ends_when_its_thread_dies(tmp_path, monkeypatch):
    """Sensitivity: the process stayed connected and silent, so it was not restarted."""
    monkeypatch.setattr(Ingester, "run", fail)
    monkeypatch.setattr(ingester, "STATUS_PERIODS_S", (0.01, 0.01))
    task = IngesterConfig(url="mqtt://127.0.0.1:1", client_id="b", topics={}, folder=str(tmp_path))
    read, write = os.pipe()
    with (
        os.fdopen(read) as source,
        os.fdopen(write, "w"),
        pytest.raises(JournalError, match="ended by itself"),
    ):
        ingester.run_ingester(task, source, io.StringIO())
    Journal(tmp_path).close()  # and its journal is unlocked


def test_waiting_messages_are_journaled_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr("telemetry.ingest.ingester.MAX_MESSAGES_PER_APPEND", 10)
    client = FakeClient(
        [ReceivedMessage(*encode(batch("r0001", second)), 0) for second in range(50)]
    )
    shard = Ingester(client, Journal(tmp_path / "a"))
    shard.stop()
    shard.run()
    assert len(list(shard._journal.read())) == 50


def test_point_named_like_a_report_is_journaled(tmp_path):
    """Sensitivity: it was never acknowledged, and filled the in-flight window of the broker."""
    door = value(0, 1.0, point="Sensor/GenericPoint/rhine/door_1/held")
    question = ReceivedMessage(
        SOURCE + REPORT_SUFFIX,
        encode_report([SenderReport(boot=1, first_stored=1, last_stored=0)]),
        1,
    )
    silent = ReceivedMessage(SOURCE + REPORT_SUFFIX, question.payload, 0)
    client = FakeClient([ReceivedMessage(*encode(door), 1), question, silent])
    journal = Journal(tmp_path / "a")
    shard = Ingester(client, journal)
    thread = threading.Thread(target=shard.run)
    thread.start()
    until(lambda: len(client.acknowledged) >= 2 and client.published_topics)
    shard.stop()
    thread.join()
    assert [one.topic for one in client.acknowledged] == [encode(door)[0], SOURCE + REPORT_SUFFIX]
    assert client.published_topics == [SOURCE + ACK_SUFFIX] * 2
    assert [decode(frame.topic, frame.payload) for frame in journal.read()] == [door]


def test_lost_part_of_a_journal_is_reported_once(tmp_path):
    """Proves: a recording reports once that its journal was damaged and what is lost.

    Sensitivity: only a log line; and by the later archived position nothing would be lost.
    """
    journal = Journal(tmp_path / "a")
    end = append(journal, batch("r0001", 1))
    journal.close()
    path = format.segment_path(tmp_path / "a", end.segment)
    path.write_bytes(path.read_bytes()[:-1])
    shard = Ingester(FakeClient([]), Journal(tmp_path / "a"))
    JournalFollower(tmp_path / "a", None).write_archived_position(
        JournalPosition(end.segment + 1, 100)
    )  # of what came after
    (loss,) = shard.damage.new_losses()
    assert "messages that were not archived are lost" in loss
    assert shard.error == loss
    assert shard.damage.new_losses() == []
    assert shard.error == loss
