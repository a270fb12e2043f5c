"""The same archive in a bucket, at a stand-in for an object store in a process of its own."""

import os
import shutil
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

import icechunk
import numpy as np
import pytest

from telemetry.archive import Archive
from telemetry.archive import open as open_archive
from telemetry.archive.backup import backup, verify
from telemetry.archive.repository_location import LOCATION_FILE, RepositoryLocation, set_bucket
from telemetry.ingest.ingester import IngesterConfig
from telemetry.ingest.journal_archiver import JournalArchiver
from telemetry.ingest.recorder import RecorderSupervisor
from telemetry.journal.writer import Journal
from telemetry.messages import encode
from telemetry.runtime import ClockMode
from tests.support import brokers
from tests.support.archives import POINT, SITE, START, batch, metadata, value
from tests.support.waiting import DEADLINE, until
from twin.errors import ArchiveError

ROOT = Path(__file__).parents[2]
SERVER = Path(os.environ.get("GIGATWIN_S3", ROOT / ".venv-s3" / "bin" / "moto_server"))
HASTY = 5  # s; longest wait for a stalled store
SECONDS = [*range(0, 200, 10), *range(3600, 3800, 10)]


@pytest.mark.parametrize(
    "url",
    ["s3://", "http://bucket/prefix", "s3://bucket/prefix?endpoint=http://x&colour=red"],
)
def test_invalid_bucket_url_is_refused(tmp_path, url):
    with pytest.raises(ArchiveError, match="s3://bucket/prefix"):
        set_bucket(tmp_path, url)
    assert not (tmp_path / LOCATION_FILE).exists()


def test_archive_location_cannot_change(tmp_path):
    Archive(tmp_path, SITE)
    with pytest.raises(ArchiveError, match="has its values in store"):
        set_bucket(tmp_path, "s3://bucket/prefix")
    set_bucket(tmp_path / "new", "s3://bucket/prefix")
    set_bucket(tmp_path / "new", "s3://bucket/prefix")
    assert RepositoryLocation.of(tmp_path / "new").url == "s3://bucket/prefix"
    with pytest.raises(ArchiveError, match="has its values in s3://bucket/prefix"):
        set_bucket(tmp_path / "new", "s3://bucket/other")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"bucket": 1}'])
def test_corrupt_bucket_name_is_refused(tmp_path, text):
    (tmp_path / LOCATION_FILE).write_text(text)
    with pytest.raises(ArchiveError, match="write"):
        RepositoryLocation.of(tmp_path)


@pytest.fixture(scope="module")
def server():
    """Yield the process of the stand-in, and its endpoint."""
    if shutil.which(SERVER) is None:
        pytest.skip("no moto: .ci/run makes .venv-s3, or name moto_server in GIGATWIN_S3")
    port = brokers.free_port()
    words = [str(SERVER), "-H", "127.0.0.1", "-p", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(words, **quiet)
    until(lambda: brokers.is_listening(port) or process.poll() is not None)
    assert process.poll() is None
    yield process, f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


@pytest.fixture
def bucket(server, tmp_path, monkeypatch):
    """Return the URL of an empty place in a bucket."""
    _, endpoint = server
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    made = urllib.request.Request(f"{endpoint}/{tmp_path.name.replace('_', '-')}", method="PUT")
    urllib.request.urlopen(made, timeout=DEADLINE).close()
    return f"s3://{tmp_path.name.replace('_', '-')}/gigatwin/rhine?endpoint={endpoint}"


def fill(folder, url=None, *, seconds=SECONDS):
    """Record some seconds, one reading of them late, and compact them."""
    if url is not None:
        set_bucket(folder / "archive", url)
    journal = Journal(folder / "journal")
    archive = Archive(folder / "archive", SITE)
    archiver = JournalArchiver(archive, {"a": folder / "journal"}, clock_mode=ClockMode.SIMULATED)
    journal.append([encode(metadata())])
    for second in seconds:
        racks = [encode(batch(rack, second)) for rack in ("r0001", "r0002")]
        journal.append([*racks, encode(value(second, float(second)))])
        while archiver.archive_next_chunk():
            pass
    archiver.commit(include_open=True)
    archive.maintain(is_whole=True)
    journal.append([encode(batch("r0003", 5))])
    archiver.stop()
    archiver.run()
    journal.close()
    return archive


@pytest.mark.slow
def test_bucket_has_same_data_as_disk(bucket, tmp_path):
    fill(tmp_path / "disk")
    archive = fill(tmp_path / "bucket", bucket)
    assert archive.corrupt_copies == []
    assert not (tmp_path / "bucket" / "archive" / "store").exists()
    for group in ("racks", "points"):
        for resolution in (None, "1min", "15min", "1h"):
            asked = {"group": group, "resolution": resolution}
            here = open_archive(SITE, root=tmp_path / "disk", **asked).load()
            there = open_archive(SITE, root=bucket, **asked).load()
            assert there.identical(here), asked
            named = open_archive(SITE, root=tmp_path / "bucket", **asked).load()
            assert named.identical(here), asked
    chips = open_archive(SITE, group="racks", root=bucket)
    times = ((chips["time"].values - START) / np.timedelta64(1, "s")).tolist()
    assert times == sorted([*SECONDS, 5])
    verdict = verify(bucket)
    assert verdict.lost == []
    assert verdict.value_count == verify(tmp_path / "disk" / "archive").value_count > 0


@pytest.mark.slow
def test_restart_continues_in_bucket(bucket, tmp_path):
    fill(tmp_path, bucket)
    again = Archive(tmp_path / "archive", SITE)
    assert again.replay_position is None
    assert str(again.replay_positions["a"]) == str(
        Archive(tmp_path / "archive", SITE).replay_positions["a"]
    )
    again.add(value(3900, 7.0), again.replay_positions["a"], journal="b")
    again.commit(include_open=True)
    points = open_archive(SITE, group="points", root=bucket)
    assert points["value"].sel(point=POINT).values[-1] == 7.0


@pytest.mark.slow
def test_second_writer_to_bucket_is_refused(bucket, tmp_path):
    fill(tmp_path, bucket)
    first, second = (Archive(tmp_path / "archive", SITE) for _ in range(2))
    position = first.replay_positions["a"]
    for number, one in enumerate((first, second)):
        one.add(value(3900 + number, 7.0), position, journal="b")
    first.commit(include_open=True)
    with pytest.raises(ArchiveError, match=r"cannot be written|another process"):
        second.commit(include_open=True)
    points = open_archive(SITE, group="points", root=bucket)
    assert points["value"].sel(point=POINT).dropna("time").sizes["time"] == len(SECONDS) + 1


@pytest.mark.slow
def test_stalled_bucket_loses_nothing(bucket, server, tmp_path):
    process, _ = server
    archive = fill(tmp_path, bucket)
    position = archive.replay_positions["a"]
    archive.add(value(3900, 7.0), position, journal="b")
    process.send_signal(signal.SIGSTOP)
    resumed = subprocess.Popen(["sh", "-c", f"sleep {HASTY}; kill -CONT {process.pid}"])
    archive.commit(include_open=True)  # waits, or fails and is tried again
    resumed.wait()
    points = open_archive(SITE, group="points", root=bucket)
    assert points["value"].sel(point=POINT).values[-1] == 7.0


@pytest.mark.slow
def test_missing_bucket_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    url = f"s3://nowhere/rhine?endpoint=http://127.0.0.1:{brokers.free_port()}"
    set_bucket(tmp_path, url)
    with pytest.raises(ArchiveError, match="check the object store"):
        Archive(tmp_path, SITE)
    assert list(tmp_path.glob("store*")) == [tmp_path / LOCATION_FILE]


@pytest.mark.slow
def test_silent_bucket_is_reported_after_timeout(tmp_path, monkeypatch):
    """Sensitivity: writers and readers waited for ever without an error.

    It takes what is sent, as behind a firewall that forgets a connection.
    """
    timeouts = icechunk.StorageTimeoutSettings(operation_timeout_ms=500)
    hasty = icechunk.StorageSettings(timeouts=timeouts)
    for module in ("repository_location", "repository", "recovery"):
        monkeypatch.setattr(f"telemetry.archive.{module}.STORAGE_TIMEOUTS", hasty)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"s3://bucket/rhine?endpoint=http://127.0.0.1:{silent.getsockname()[1]}"
        set_bucket(tmp_path, url)
        with pytest.raises(ArchiveError, match=r"timed out.*check the object store"):
            Archive(tmp_path, SITE)
        with pytest.raises(ArchiveError, match="timed out"):
            open_archive(SITE, group="points", root=url)


@pytest.mark.slow
def test_emptied_bucket_is_reported_and_restarted(bucket, server, tmp_path):
    """Sensitivity: a new archive was begun silently, and `verify` found no loss."""
    fill(tmp_path, bucket)
    again = Archive(tmp_path / "archive", SITE)
    assert verify(tmp_path / "archive").lost == []
    again.add(value(3900, 7.0), again.replay_positions["a"], journal="b")
    _, endpoint = server
    for path, method in (("moto-api/reset", "POST"), (bucket.split("/")[2], "PUT")):
        asked = urllib.request.Request(f"{endpoint}/{path}", method=method)
        urllib.request.urlopen(asked, timeout=DEADLINE).close()
    with pytest.raises(ArchiveError, match="check the object store"):
        again.commit(include_open=True)
    assert "has no archive any more" in again.error
    (lost,) = verify(tmp_path / "archive").lost
    assert "has no archive any more" in lost["reason"]


@pytest.mark.slow
def test_backup_of_bucket_is_refused(bucket, tmp_path):
    set_bucket(tmp_path, bucket)
    with pytest.raises(ArchiveError, match="let that store copy the bucket"):
        backup(tmp_path, tmp_path / "file.tar")


@pytest.mark.slow
def test_recording_starts_without_bucket(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    set_bucket(
        tmp_path / "archive", f"s3://nowhere/rhine?endpoint=http://127.0.0.1:{brokers.free_port()}"
    )
    url = f"mqtt://127.0.0.1:{brokers.free_port()}"
    task = IngesterConfig(url=url, client_id="", topics={}, folder="")
    with RecorderSupervisor(SITE, task, folder=tmp_path) as running:
        until(lambda: "archive" in running.errors, deadline=4 * DEADLINE)
        assert "check the object store" in running.errors["archive"]
        assert running.counters["commits"] == 0
        ingesters = running._ingesters.values()
        assert ingesters
        assert all(one.process.poll() is None for one in ingesters)


@pytest.mark.slow
def test_read_only_bucket_is_reported(bucket, tmp_path, monkeypatch):
    """Sensitivity: the operator was sent to the disk, where nothing was wrong."""
    archive = fill(tmp_path, bucket)
    archive.add(value(3900, 7.0), archive.replay_positions["a"], journal="b")

    def refuse(*_, **__):
        message = "object store error: AccessDenied"
        raise OSError(message)

    with monkeypatch.context() as denied:
        denied.setattr("telemetry.archive.repository.ArchiveRepository.write", refuse)
        with pytest.raises(ArchiveError, match=r"^s3://.*AccessDenied; check the object store"):
            archive.commit(include_open=True)
    assert "check the object store" in archive.error
    archive.commit(include_open=True)
    points = open_archive(SITE, group="points", root=bucket)
    assert points["value"].sel(point=POINT).values[-1] == 7.0
