"""A shard acknowledges what is durable, and trims what is archived."""

import threading

from telemetry.archive import Archive
from telemetry.codec import encode
from telemetry.journal import Journal
from telemetry.shards.shard import Shard
from telemetry.shards.site_archiver import SiteArchiver
from telemetry.wire.mailbox import Message
from tests.telemetry.archives import batch
from tests.telemetry.shards.journaling import append, clock_at
from tests.waiting import until


class Wire:
    """A client without a broker."""

    oversized = ()
    counters = {"oversized": 0}  # noqa: RUF012 - it stays empty

    def __init__(self, messages):
        self.left = messages
        self.acknowledged = []

    def take(self, limit=1000, timeout=0.1):
        taken, self.left = self.left[:limit], self.left[limit:]
        return taken

    def acknowledge(self, messages):
        self.acknowledged += messages


def test_a_shard_acknowledges_what_is_durable_and_trims_what_is_archived(tmp_path):
    messages = [Message(*encode(batch("r0001", second)), 1) for second in range(50)]
    wire = Wire(messages)
    journal = Journal(tmp_path / "a", segment_bytes=1000, clock=clock_at(60))
    shard = Shard(wire, journal, folder=tmp_path / "a")
    thread = threading.Thread(target=shard.run)
    thread.start()
    until(lambda: len(wire.acknowledged) >= 50)
    shard.stop()
    thread.join()
    assert wire.acknowledged == messages
    assert shard.counters["messages"] == 50
    wire.oversized, wire.counters = (("a", 1), ("b", 2), ("c", 3)), {"oversized": 2, "spoilt": 1}
    assert shard.oversized() == [("b", 2), ("c", 3)]
    assert shard.oversized() == []
    assert [shard.counters[name] for name in ("oversized", "spoilt", "dropped")] == [2, 1, 0]
    append(journal, batch("r0001", 51))
    assert len(list((tmp_path / "a").glob("*.journal"))) == 2
    archive = Archive(tmp_path / "archive", "rhine")
    archiver = SiteArchiver(archive, {"a": tmp_path / "a"})
    archiver.stop()
    archiver.run()
    shard._looked = -100.0
    shard._trim()
    assert len(list((tmp_path / "a").glob("*.journal"))) == 1
