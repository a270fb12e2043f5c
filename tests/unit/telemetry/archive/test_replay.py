"""Replay of an archive: the recorded messages, at their pace, archived unchanged."""

import numpy as np
import pytest

from telemetry.archive import Archive
from telemetry.archive import open as open_archive
from telemetry.journal.format import JournalPosition
from telemetry.messages import decode, encode
from telemetry.quality.checks import QualityFlag
from telemetry.simulator.replay import publish_replay, read_messages
from tests.support.archives import START, batch, fill, metadata
from twin.errors import ArchiveError, BrokerError


class Broker:
    """Takes what is published, until it takes no more."""

    def __init__(self, most=10**9):
        self.heard = []
        self.most = most

    def publish(self, topic, payload, *, qos=0, retain=False):
        assert qos == 1
        self.heard.append((topic, payload, retain))
        return self

    def wait(self, timeout):
        return len(self.heard) <= self.most


@pytest.mark.slow
def test_replay_publishes_recorded_messages(tmp_path):
    folder = fill(tmp_path, range(0, 200, 5), is_compacted=True)
    broker = Broker()
    span = {"start": "2026-07-01T00:01:00", "end": "2026-07-01T00:02:30"}
    assert publish_replay(read_messages(folder, "rhine", **span), broker, speed=0.0) == len(
        broker.heard
    )
    (first, *rest) = broker.heard
    assert decode(*first[:2]) == metadata()
    assert first[2]
    samples = [decode(topic, payload) for topic, payload, _ in rest]
    values = [one for one in samples if hasattr(one, "value")]
    assert [(one.time, one.value) for one in values if one.quality == 1] == [
        (START + np.timedelta64(second, "s"), float(second)) for second in range(60, 150, 5)
    ]
    (bad,) = [one for one in values if one.quality != 1]
    assert bad.value is None
    batches = [one for one in samples if hasattr(one, "rack")]
    assert len(batches) == 2 * 18
    assert batches[0].values.tolist() == batch("r0001", 60).values.tolist()


def test_a_replay_keeps_its_pace(tmp_path):
    folder = fill(tmp_path, range(0, 100, 10))
    now, waits = [0.0], []

    def sleep(seconds):
        waits.append(seconds)
        now[0] += seconds

    stretch = read_messages(folder, "rhine", start="2026-07-01T00:00:00", end="2026-07-01T00:00:50")
    publish_replay(stretch, Broker(), speed=5.0, clock=lambda: now[0], sleep=sleep)
    assert waits == [2.0] * 4  # ten seconds of data each


def test_replay_without_receiver_is_reported(tmp_path):
    folder = fill(tmp_path, range(0, 100, 10))
    stretch = read_messages(folder, "rhine", start="2026-07-01", end="2026-07-02")
    with pytest.raises(BrokerError, match="not acknowledged"):
        publish_replay(stretch, Broker(most=3), speed=0.0)
    with pytest.raises(ArchiveError, match="expected a start before the end"):
        list(read_messages(folder, "rhine", start="2026-07-02", end="2026-07-01"))


def test_archived_replay_equals_its_source(tmp_path):
    folder = fill(tmp_path, range(0, 100, 5))
    again = Archive(tmp_path / "again" / "archive", "rhine")
    for second in read_messages(folder, "rhine", start="2026-07-01", end="2026-07-02"):
        for topic, payload, _ in second.messages:
            sample = decode(topic, payload)
            is_bad = getattr(sample, "quality", 1) != 1
            flag = QualityFlag.BAD_SOURCE if is_bad else QualityFlag.GOOD
            assert encode(sample) == (topic, payload)
            again.add(sample, JournalPosition(1, 30), flag=flag)
    again.commit(include_open=True)
    for group in ("racks", "points"):
        first, second = (
            open_archive("rhine", group=group, root=root) for root in (tmp_path, tmp_path / "again")
        )
        assert first.load().identical(second.load())
