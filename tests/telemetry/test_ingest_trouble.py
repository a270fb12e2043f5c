"""What an ingester outlives: a full disk, an archive that falls behind, a dead thread."""

import os
import shutil
from pathlib import Path

import pytest

from telemetry import files
from telemetry.archive import Archive, loss_log
from telemetry.archive import open as open_archive
from telemetry.journal.format import JOURNAL_HEADER_BYTES
from telemetry.messages.codec import DECODERS
from telemetry.messages.models import JobStatus
from telemetry.messages.topics import TopicKind
from tests.telemetry.archives import START, batch, metadata, tick, value
from tests.telemetry.ingesting import Service
from tests.waiting import until


def fail(*_, **__):
    raise ZeroDivisionError


def test_a_listener_that_fails_stops_nothing(service):
    service.ingester.add_listener(fail)
    service.wire.send(value(0, 1.0), value(1, 2.0))
    until(lambda: service.ingester.counters.get("failed") == 2)
    assert len(service.wire.acknowledged) == 2


def test_a_full_disk_acknowledges_nothing_and_goes_on_when_there_is_room(service, monkeypatch):
    full = files.disk_error(Path("segment"), OSError(28, os.strerror(28)))
    append = service.journal.append

    def failing(_):
        raise full

    monkeypatch.setattr("telemetry.ingest.pipeline.APPEND_RETRY_S", 0.01)
    monkeypatch.setattr(service.journal, "append", failing)
    service.wire.send(metadata(), value(0, 50.0), batch("r0001", 0))
    until(lambda: len(service.heard) == 3)
    assert "make room" in service.ingester.trouble
    service.wire.send(value(1, 40.0))
    until(lambda: len(service.heard) == 4)
    assert service.wire.acknowledged == []
    assert service.window.observed(START)["battery_level"].item() > 0.0
    monkeypatch.setattr(service.journal, "append", append)
    until(lambda: len(service.wire.acknowledged) == 4)
    until(lambda: service.ingester.trouble == "")
    service.wire.send(tick(1))
    until(lambda: service.archive.counters["commits"] >= 1)
    assert service.racks().sizes["time"] == 1
    assert len(service.heard) == 5
    points = open_archive("rhine", group="points", root=service.folder)
    assert points["value"].values[:, 0].tolist() == [50.0, 40.0]


def test_on_a_full_disk_only_what_comes_again_is_held(service, monkeypatch):
    full = files.disk_error(Path("segment"), OSError(28, os.strerror(28)))

    def failing(_):
        raise full

    append = service.journal.append
    monkeypatch.setattr("telemetry.ingest.pipeline.APPEND_RETRY_S", 0.01)
    monkeypatch.setattr("telemetry.ingest.pipeline.MAX_WAITING", 10)
    monkeypatch.setattr(service.journal, "append", failing)
    service.wire.send(*(value(second, 1.0) for second in range(20)), qos=0)
    service.wire.send(*(batch("r0001", second) for second in range(3)))
    until(lambda: service.ingester.counters["unjournaled"] >= 20)
    monkeypatch.setattr(service.journal, "append", append)
    until(lambda: service.ingester.counters["waiting"] == 0)
    until(lambda: len([one for one in service.wire.acknowledged if one.qos]) == 3)


@pytest.mark.slow
def test_an_archive_that_cannot_keep_up_reads_the_journal_later(tmp_path):
    archive = Archive(tmp_path / "archive", "rhine", max_bytes=20_000)
    with Service(tmp_path, archive=archive) as service:
        for second in range(300):
            service.wire.send(*(batch(f"r{rack:04d}", second) for rack in range(5)))
        until(lambda: len(service.wire.acknowledged) == 1500)
        until(lambda: archive.added_position == service.journal.end and not archive.is_behind)
    assert archive.counters["commits"] >= 1
    assert service.racks()["power"].isel(chip=0).values.tolist() == [[s] * 5 for s in range(300)]


@pytest.mark.slow
def test_an_archive_catches_up_over_what_no_decoder_should_do(tmp_path, monkeypatch):
    monkeypatch.setitem(DECODERS, TopicKind.JOB_STATUS, fail)
    archive = Archive(tmp_path / "archive", "rhine", max_bytes=20_000)
    with Service(tmp_path, archive=archive) as service:
        for second in range(300):
            service.wire.send(*(batch(f"r{rack:04d}", second) for rack in range(5)))
        service.wire.send(JobStatus(site="rhine", sequence=7, is_applied=True))
        until(lambda: len(service.wire.acknowledged) == 1501)
        until(lambda: archive.added_position == service.journal.end and not archive.is_behind)
        assert service.ingester.trouble == ""
    assert service.racks()["power"].isel(chip=0).values.tolist() == [[s] * 5 for s in range(300)]


def test_a_verdict_outlives_a_full_disk(service, monkeypatch):
    append = service.journal.append
    full = files.disk_error(Path("segment"), OSError(28, os.strerror(28)))

    def failing(_):
        raise full

    monkeypatch.setattr("telemetry.ingest.pipeline.APPEND_RETRY_S", 0.01)
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
def test_a_thread_that_has_died_is_told(tmp_path, monkeypatch, part, name):
    service = Service(tmp_path)
    assert service.ingester.error == ""
    monkeypatch.setattr(getattr(service, part), name, fail)
    with service:
        thread = {"archive": "archiver", "wire": "ingester"}[part]
        until(lambda: f"the {thread} ended by itself" in service.ingester.error)
    assert service.ingester.error == ""  # it is meant to have ended


@pytest.mark.slow
def test_a_spoilt_archive_is_made_anew_from_the_journal(tmp_path):
    with Service(tmp_path) as service:
        service.wire.send(metadata(), batch("r0001", 0), batch("r0001", 900), tick(900))
        until(lambda: len(service.wire.acknowledged) == 4)
    (tmp_path / "archive" / "store" / "repo").write_bytes(b"nonsense")
    with Service(tmp_path) as service:
        assert len(service.archive.set_aside) == 1
    assert service.racks().sizes["time"] == 2
    assert open_archive("rhine", group="points", root=tmp_path)["unit"].values.tolist() == ["%"]


@pytest.mark.slow
def test_a_journal_that_ends_before_the_archive_is_written_on_behind_it(tmp_path):
    """What came next lay where archived frames had been, and was not read after a kill."""
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


def spoil(tmp_path, place):
    """Flip a bit of the journal's first segment, as a disk does."""
    path = sorted((tmp_path / "journal").glob("*.journal"))[0]
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    return path


@pytest.mark.slow
def test_a_journal_that_was_damaged_is_told_and_written_down(tmp_path):
    """Proves: nobody need read the log to know that what was heard is lost, and where it is kept.

    Sensitivity: a start after it was cut told nothing, and `archive verify` found all well.
    """
    with Service(tmp_path) as service:
        service.wire.send(metadata(), batch("r0001", 0), batch("r0001", 1))
        until(lambda: len(service.wire.acknowledged) == 3)
        service.die()
    path = spoil(tmp_path, -1)
    with Service(tmp_path) as service:
        words = service.ingester.damage.words
        assert f"segment {path.stem}" in words
        assert "messages that were not archived are lost" in words
        assert "check the disk" in words
        (aside,) = (tmp_path / "journal").glob("*.torn")
        assert aside.name in words
        service.die()
    assert [one["reason"] for one in loss_log.read_losses(tmp_path / "archive")] == [words]
    with Service(tmp_path) as service:
        assert service.ingester.damage.words == ""


@pytest.mark.slow
def test_a_journal_that_begins_after_an_archive_that_was_put_back_is_told(tmp_path):
    """Sensitivity: between the two 10 minutes were missing, and `archive verify` found all well."""
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
        words = service.ingester.damage.words
        assert "an older archive was restored" in words
        service.die()
    assert [one["reason"] for one in loss_log.read_losses(tmp_path / "archive")] == [words]


def test_damage_of_what_is_archived_is_told_as_no_loss(tmp_path):
    with Service(tmp_path) as service:
        service.wire.send(metadata(), batch("r0001", 0), batch("r0001", 900), tick(900))
        until(lambda: len(service.wire.acknowledged) == 4)
    spoil(tmp_path, JOURNAL_HEADER_BYTES)
    with Service(tmp_path) as service:
        assert "the archive has all of their messages" in service.ingester.damage.words
    assert loss_log.read_losses(tmp_path / "archive") == []
