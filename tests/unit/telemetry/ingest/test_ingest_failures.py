"""Faults that an ingester survives: full disk, slow archive, dead thread."""

import os
import shutil
from pathlib import Path

import pytest

from telemetry import durable_files
from telemetry.archive import Archive, loss_log
from telemetry.archive import open as open_archive
from telemetry.journal.format import JOURNAL_HEADER_BYTES
from telemetry.messages.codec import DECODERS
from telemetry.messages.samples import JobStatus
from telemetry.messages.topics import TopicKind
from tests.support.archives import START, batch, metadata, tick, value
from tests.support.ingesting import Service
from tests.support.waiting import until


def fail(*_, **__):
    raise ZeroDivisionError


def test_failing_listener_stops_nothing(service):
    service.ingester.add_listener(fail)
    service.wire.send(value(0, 1.0), value(1, 2.0))
    until(lambda: service.ingester.counters.get("failed") == 2)
    assert len(service.wire.acknowledged) == 2


def test_full_disk_stops_acknowledgement_until_space(service, monkeypatch):
    full = durable_files.disk_error(Path("segment"), OSError(28, os.strerror(28)))
    append = service.journal.append

    def failing(*_):
        raise full

    monkeypatch.setattr("telemetry.ingest.ingester.APPEND_RETRY_S", 0.01)
    monkeypatch.setattr(service.journal, "append", failing)
    service.wire.send(metadata(), value(0, 50.0), batch("r0001", 0))
    until(lambda: len(service.heard) == 3)
    assert "free space" in service.ingester.error
    service.wire.send(value(1, 40.0))
    until(lambda: len(service.heard) == 4)
    assert service.wire.acknowledged == []
    assert service.window.latest_values(START)["battery_level"].item() > 0.0
    monkeypatch.setattr(service.journal, "append", append)
    until(lambda: len(service.wire.acknowledged) == 4)
    until(lambda: service.ingester.error == "")
    service.wire.send(tick(1))
    until(lambda: service.archive.counters["commits"] >= 1)
    assert service.racks().sizes["time"] == 1
    assert len(service.heard) == 5
    points = open_archive("rhine", group="points", root=service.folder)
    assert points["value"].values[:, 0].tolist() == [50.0, 40.0]


def test_full_disk_keeps_only_repeatable_messages(service, monkeypatch):
    full = durable_files.disk_error(Path("segment"), OSError(28, os.strerror(28)))

    def failing(*_):
        raise full

    append = service.journal.append
    monkeypatch.setattr("telemetry.ingest.ingester.APPEND_RETRY_S", 0.01)
    monkeypatch.setattr("telemetry.ingest.ingester.MAX_WAITING_MESSAGES", 10)
    monkeypatch.setattr(service.journal, "append", failing)
    service.wire.send(*(value(second, 1.0) for second in range(20)), qos=0)
    service.wire.send(*(batch("r0001", second) for second in range(3)))
    until(lambda: service.ingester.counters["unjournaled"] >= 20)
    monkeypatch.setattr(service.journal, "append", append)
    until(lambda: service.ingester.counters["waiting"] == 0)
    until(lambda: len([one for one in service.wire.acknowledged if one.qos]) == 3)


@pytest.mark.slow
def test_slow_archive_catches_up_from_journal(tmp_path):
    archive = Archive(tmp_path / "archive", "rhine", max_bytes=20_000)
    with Service(tmp_path, archive=archive) as service:
        for second in range(300):
            service.wire.send(*(batch(f"r{rack:04d}", second) for rack in range(5)))
        until(lambda: len(service.wire.acknowledged) == 1500)
        until(
            lambda: archive.added_position == service.journal.end_position and not archive.is_behind
        )
    assert archive.counters["commits"] >= 1
    assert service.racks()["power"].isel(chip=0).values.tolist() == [[s] * 5 for s in range(300)]


def full_disk(*_, **__):
    raise OSError(28, "no room")


@pytest.mark.slow
def test_recovery_on_a_full_disk_uses_bounded_memory(tmp_path, monkeypatch):
    """Proves: records that memory cannot hold stay in the journal, and are archived later."""
    with Service(tmp_path) as service:
        service.wire.send(*(batch("r0001", second) for second in range(200)))
        until(lambda: len(service.wire.acknowledged) == 200)
        service.die()
    archive = Archive(tmp_path / "archive", "rhine", max_bytes=20_000)
    service = Service(tmp_path, archive=archive)
    with monkeypatch.context() as patch:
        patch.setattr(type(archive._writer._store), "write", full_disk)
        service.ingester.recover()
    assert archive.is_behind
    assert archive.added_position < service.journal.end_position
    service.ingester.start()
    until(lambda: not archive.is_behind)
    service.__exit__()
    assert service.racks()["power"].isel(chip=0).values.tolist() == [[s] for s in range(200)]


@pytest.mark.slow
def test_catch_up_survives_failing_decoder(tmp_path, monkeypatch):
    monkeypatch.setitem(DECODERS, TopicKind.JOB_STATUS, fail)
    archive = Archive(tmp_path / "archive", "rhine", max_bytes=20_000)
    with Service(tmp_path, archive=archive) as service:
        for second in range(300):
            service.wire.send(*(batch(f"r{rack:04d}", second) for rack in range(5)))
        service.wire.send(JobStatus(site="rhine", sequence=7, is_applied=True))
        until(lambda: len(service.wire.acknowledged) == 1501)
        until(
            lambda: archive.added_position == service.journal.end_position and not archive.is_behind
        )
        assert service.ingester.error == ""
    assert service.racks()["power"].isel(chip=0).values.tolist() == [[s] * 5 for s in range(300)]


def test_quality_flag_survives_full_disk(service, monkeypatch):
    append = service.journal.append
    full = durable_files.disk_error(Path("segment"), OSError(28, os.strerror(28)))

    def failing(*_):
        raise full

    monkeypatch.setattr("telemetry.ingest.ingester.APPEND_RETRY_S", 0.01)
    monkeypatch.setattr(service.journal, "append", failing)
    service.wire.send(metadata(), value(0, 50.0), value(1, 400.0))
    until(lambda: len(service.heard) == 3)
    monkeypatch.setattr(service.journal, "append", append)
    until(lambda: len(service.wire.acknowledged) == 3)
    service.wire.send(tick(1))
    until(lambda: service.archive.counters["commits"] >= 1)
    points = open_archive("rhine", group="points", root=service.folder)
    assert points["quality"].values[:, 0].tolist() == [1, 2]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(("part", "name"), [("archive", "maintain"), ("wire", "poll")])
def test_dead_thread_is_reported(tmp_path, monkeypatch, part, name):
    service = Service(tmp_path)
    assert service.ingester.error == ""
    monkeypatch.setattr(getattr(service, part), name, fail)
    with service:
        thread = {"archive": "archiver", "wire": "ingester"}[part]
        until(lambda: f"the {thread} thread ended by itself" in service.ingester.error)
    assert service.ingester.error == ""  # it was stopped


@pytest.mark.slow
def test_corrupt_archive_is_rebuilt_from_journal(tmp_path):
    with Service(tmp_path) as service:
        service.wire.send(metadata(), batch("r0001", 0), batch("r0001", 900), tick(900))
        until(lambda: len(service.wire.acknowledged) == 4)
    (tmp_path / "archive" / "store" / "repo").write_bytes(b"nonsense")
    with Service(tmp_path) as service:
        assert len(service.archive.corrupt_copies) == 1
    assert service.racks().sizes["time"] == 2
    assert open_archive("rhine", group="points", root=tmp_path)["unit"].values.tolist() == ["%"]


@pytest.mark.slow
def test_short_journal_continues_behind_archive(tmp_path):
    """Sensitivity: new frames at archived positions were not read after a kill."""
    with Service(tmp_path) as service:
        service.wire.send(metadata(), batch("r0001", 0), batch("r0001", 900), tick(900))
        until(lambda: len(service.wire.acknowledged) == 4)
    (path,) = (tmp_path / "journal").glob("*.journal")
    os.truncate(path, JOURNAL_HEADER_BYTES)
    with Service(tmp_path) as service:
        service.wire.send(batch("r0001", 1000))
        until(lambda: len(service.wire.acknowledged) == 1)
        service.die()
    assert [repair.position.offset for repair in service.journal.corruptions] == [
        JOURNAL_HEADER_BYTES
    ]
    with Service(tmp_path) as service:
        pass
    assert service.racks().sizes["time"] == 3


def corrupt(tmp_path, place):
    """Flip a bit of the journal's first segment, as a disk does."""
    path = sorted((tmp_path / "journal").glob("*.journal"))[0]
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    return path


@pytest.mark.slow
def test_journal_damage_is_reported_and_recorded(tmp_path):
    """Proves: the error and the loss log name the lost messages and the file with their bytes.

    Sensitivity: a start after the cut reported nothing, and `archive verify` found no loss.
    """
    with Service(tmp_path) as service:
        service.wire.send(metadata(), batch("r0001", 0), batch("r0001", 1))
        until(lambda: len(service.wire.acknowledged) == 3)
        service.die()
    path = corrupt(tmp_path, -1)
    with Service(tmp_path) as service:
        words = service.ingester.damage.description
        assert f"segment {path.stem}" in words
        assert "messages that were not archived are lost" in words
        assert "check the disk" in words
        (aside,) = (tmp_path / "journal").glob("*.torn")
        assert aside.name in words
        service.die()
    assert [one["reason"] for one in loss_log.read_losses(tmp_path / "archive")] == [words]
    with Service(tmp_path) as service:
        assert service.ingester.damage.description == ""


@pytest.mark.slow
def test_gap_after_restored_archive_is_reported(tmp_path):
    """Sensitivity: 10 minutes between both were missing, and `archive verify` found no loss."""
    for second in range(0, 1800, 900):
        with Service(tmp_path, segment_bytes=100) as service:
            service.wire.send(metadata(), batch("r0001", second), tick(second + 900))
            until(lambda: len(service.wire.acknowledged) == 3)
        if second == 0:
            shutil.copytree(tmp_path / "archive", tmp_path / "backup")
            for path in (tmp_path / "journal").glob("*.journal"):
                path.unlink()  # trimmed, as it is archived
    shutil.rmtree(tmp_path / "archive")
    (tmp_path / "backup").rename(tmp_path / "archive")
    with Service(tmp_path) as service:
        words = service.ingester.damage.description
        assert "an older archive was restored" in words
        service.die()
    assert [one["reason"] for one in loss_log.read_losses(tmp_path / "archive")] == [words]


def test_damage_of_archived_messages_is_no_loss(tmp_path):
    with Service(tmp_path) as service:
        service.wire.send(metadata(), batch("r0001", 0), batch("r0001", 900), tick(900))
        until(lambda: len(service.wire.acknowledged) == 4)
    corrupt(tmp_path, JOURNAL_HEADER_BYTES)
    with Service(tmp_path) as service:
        assert "the archive has all of their messages" in service.ingester.damage.description
    assert loss_log.read_losses(tmp_path / "archive") == []
