import base64
import json
import os
import random
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import sites
from telemetry import durable
from telemetry.archive import Archive
from telemetry.archive import open as open_archive
from telemetry.client import Client
from telemetry.codec import encode
from telemetry.codec.dispatch import READERS
from telemetry.coverage import HEARTBEAT
from telemetry.ingest import Ingester
from telemetry.journal import Journal
from telemetry.listing import list_points
from telemetry.quality import Flag
from telemetry.samples import JobStatus, PointValue
from telemetry.topics import Kind
from telemetry.window import Window
from telemetry.wire.mailbox import Message
from tests.telemetry import archives, ingesting
from tests.telemetry.archives import START, batch, metadata, tick, value

ROOT = Path(__file__).parents[2]
DEADLINE = 20.0
SITE = sites.load("rhine")
FAR = 72 * 365 * 86_400


class Wire:
    """A client without a broker."""

    def __init__(self):
        self.sent = []
        self.acknowledged = []
        self.oversized = []
        self.counters = {"oversized": 0}
        self._filled = threading.Condition()

    def send(self, *samples, qos=1):
        self.send_raw(*(encode(sample) for sample in samples), qos=qos)

    def send_raw(self, *items, qos=1):
        with self._filled:
            self.sent += [Message(topic, payload, qos) for topic, payload in items]
            self._filled.notify()

    def take(self, limit=1000, timeout=0.1):
        with self._filled:
            self._filled.wait_for(lambda: self.sent, timeout)
            taken, self.sent = self.sent[:limit], self.sent[limit:]
        return taken

    def acknowledge(self, messages):
        self.acknowledged += messages


class Service:
    """An ingester with all that belongs to it, on a folder."""

    def __init__(self, folder, *, archive=None, is_simulated=True, segment_bytes=2**20):
        self.folder = folder
        self.wire = Wire()
        self.journal = Journal(folder / "journal", segment_bytes=segment_bytes)
        self.archive = archive or Archive(folder / "archive", "rhine")
        self.window = Window(SITE)
        self.ingester = Ingester(
            self.wire,
            self.journal,
            window=self.window,
            archive=self.archive,
            quarantine=folder / "quarantine",
            is_simulated=is_simulated,
        )
        self.heard = []
        self.ingester.listen(self.heard.append)

    def __enter__(self):
        self.ingester.recover()
        self.ingester.start()
        return self

    def __exit__(self, *_):
        self.ingester.stop()
        self.journal.close()

    def die(self):
        """End without a last commit."""
        self.archive.commit = lambda **_: False
        self.__exit__()

    def racks(self):
        return open_archive("rhine", group="racks", root=self.folder)


@pytest.fixture
def service(tmp_path):
    with Service(tmp_path) as running:
        yield running


def until(is_so):
    deadline = time.monotonic() + DEADLINE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def fail(*_, **__):
    raise ZeroDivisionError


def test_messages_are_durable_before_they_are_acknowledged(service, monkeypatch):
    seen = []
    append = service.journal.append

    def spying(items):
        seen.append(len(service.wire.acknowledged))
        return append(items)

    monkeypatch.setattr(service.journal, "append", spying)
    service.wire.send(batch("r0001", 0), value(0, 5.0))
    until(lambda: len(service.wire.acknowledged) == 2)
    assert seen[0] == 0
    assert [frame.topic for frame in service.journal.read()] == [
        message.topic for message in service.wire.acknowledged
    ]


def test_samples_reach_window_archive_and_listeners(service):
    service.wire.send(metadata(), value(0, 50.0), batch("r0001", 0), tick(0))
    until(lambda: service.archive.counters["commits"] == 1)
    assert [type(sample).__name__ for sample in service.heard] == [
        "PointMetadata",
        "PointValue",
        "RackBatch",
        "Tick",
    ]
    observed = service.window.observed(START)
    capacity = SITE.equipment["battery_1"].capacity
    assert observed["battery_level"].item() == pytest.approx(0.5 * capacity)
    assert service.racks().sizes["time"] == 1
    opened = open_archive(SITE, root=service.folder)
    assert opened["battery_level"].values.tolist() == [[0.5 * capacity]]


def test_poison_is_explained_and_acknowledged(service):
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


def test_what_was_too_large_is_told(service):
    service.wire.oversized.append(("some/topic", 300_000))
    service.wire.counters["oversized"] = 1
    path = service.folder / "quarantine" / "poison.jsonl"
    until(lambda: path.exists() and path.read_text().endswith("\n"))
    told = json.loads(path.read_text())
    assert (told["topic"], told["size"], told["reason"]) == ("some/topic", 300_000, "too large")


def test_a_listener_that_fails_stops_nothing(service):
    service.ingester.listen(fail)
    service.wire.send(value(0, 1.0), value(1, 2.0))
    until(lambda: service.ingester.counters.get("failed") == 2)
    assert len(service.wire.acknowledged) == 2


def test_the_same_metadata_again_takes_no_room(tmp_path):
    with Service(tmp_path) as service:
        service.wire.send(metadata())
        until(lambda: len(service.wire.acknowledged) == 1)
        end = service.journal.end
        service.wire.send(*[metadata()] * 100)
        until(lambda: service.ingester.counters["repeated"] == 100)
        assert service.journal.end == end
        assert len(service.wire.acknowledged) == 101
        service.wire.send(metadata(unit="1"), metadata())
        until(lambda: len(service.wire.acknowledged) == 103)
        assert len(list(service.journal.read(after=end))) == 2
    with Service(tmp_path) as service:
        service.wire.send(metadata())
        until(lambda: service.ingester.counters["repeated"] == 1)


def test_what_an_earlier_process_left_is_taken_up(tmp_path):
    status = JobStatus(site="rhine", sequence=7, is_applied=True)
    with Service(tmp_path) as service:
        service.wire.send(metadata(), status, value(0, 50.0), batch("r0001", 0))
        until(lambda: len(service.wire.acknowledged) == 4)
        service.die()
    with Service(tmp_path) as service:
        assert service.heard == []
        assert service.window.job_status == status
        assert np.isfinite(service.window.observed(START)["battery_level"].item())
        service.wire.send(tick(0))
        until(lambda: service.archive.counters["commits"] == 1)
        assert service.racks()["power"].values[0, 0, 0] == 0.0


def test_the_journal_is_trimmed_and_what_is_said_once_stays_known(tmp_path):
    status = JobStatus(site="rhine", sequence=7, is_applied=True)
    with Service(tmp_path, segment_bytes=4096) as service:
        first = service.journal.end.segment
        service.wire.send(metadata(), status)
        for second in range(0, 9000, 900):
            service.wire.send(*(batch(f"r{rack:04d}", second) for rack in range(40)), tick(second))
            until(lambda: service.archive.counters["commits"] * 900 > second)  # noqa: B023
    kept = sorted(int(path.stem) for path in (tmp_path / "journal").glob("*.journal"))
    assert kept[0] > first
    with Service(tmp_path) as service:
        assert service.window.job_status == status
        assert service.window.binder.get(metadata().point) is not None


def test_a_full_disk_acknowledges_nothing_and_goes_on_when_there_is_room(service, monkeypatch):
    full = durable.failure(Path("segment"), OSError(28, os.strerror(28)))
    append = service.journal.append

    def failing(_):
        raise full

    monkeypatch.setattr("telemetry.ingest.AGAIN", 0.01)
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
    until(lambda: service.archive.counters["commits"] == 1)
    assert service.racks().sizes["time"] == 1
    assert len(service.heard) == 5
    points = open_archive("rhine", group="points", root=service.folder)
    assert points["value"].values[:, 0].tolist() == [50.0, 40.0]


def test_on_a_full_disk_only_what_comes_again_is_held(service, monkeypatch):
    full = durable.failure(Path("segment"), OSError(28, os.strerror(28)))

    def failing(_):
        raise full

    append = service.journal.append
    monkeypatch.setattr("telemetry.ingest.AGAIN", 0.01)
    monkeypatch.setattr("telemetry.ingest.MOST_WAITING", 10)
    monkeypatch.setattr(service.journal, "append", failing)
    service.wire.send(*(value(second, 1.0) for second in range(20)), qos=0)
    service.wire.send(*(batch("r0001", second) for second in range(3)))
    until(lambda: service.ingester.counters["unjournaled"] >= 20)
    monkeypatch.setattr(service.journal, "append", append)
    until(lambda: service.ingester.counters["waiting"] == 0)
    until(lambda: len([one for one in service.wire.acknowledged if one.qos]) == 3)


def test_an_archive_that_cannot_keep_up_reads_the_journal_later(tmp_path):
    archive = Archive(tmp_path / "archive", "rhine", most_bytes=20_000)
    with Service(tmp_path, archive=archive) as service:
        for second in range(300):
            service.wire.send(*(batch(f"r{rack:04d}", second) for rack in range(5)))
        until(lambda: len(service.wire.acknowledged) == 1500)
        until(lambda: archive.complete == service.journal.end and not archive.is_behind)
    assert archive.counters["commits"] >= 1
    assert service.racks()["power"].isel(chip=0).values.tolist() == [[s] * 5 for s in range(300)]


def test_an_archive_catches_up_over_what_no_decoder_should_do(tmp_path, monkeypatch):
    monkeypatch.setitem(READERS, Kind.JOB_STATUS, fail)
    archive = Archive(tmp_path / "archive", "rhine", most_bytes=20_000)
    with Service(tmp_path, archive=archive) as service:
        for second in range(300):
            service.wire.send(*(batch(f"r{rack:04d}", second) for rack in range(5)))
        service.wire.send(JobStatus(site="rhine", sequence=7, is_applied=True))
        until(lambda: len(service.wire.acknowledged) == 1501)
        until(lambda: archive.complete == service.journal.end and not archive.is_behind)
        assert service.ingester.trouble == ""
    assert service.racks()["power"].isel(chip=0).values.tolist() == [[s] * 5 for s in range(300)]


def test_verdicts_outlive_a_double_and_an_archive_that_reads_again(tmp_path):
    """A spike that came twice was good, and after the archive fell behind every spike was."""
    said = [value(0, 50.0), value(100, 51.0), value(101, 400.0), value(200, 52.0)]
    with Service(tmp_path) as service:
        service.wire.send(metadata(), *said)
        until(lambda: service.ingester.counters["messages"] == 5)
        service.wire.send(said[2])
        until(lambda: service.window.counters["range"] == 2)
        service.archive.rewind()
        service.ingester._archiver.ring()
        until(lambda: not service.archive.is_behind)
    points = open_archive("rhine", group="points", root=tmp_path)
    assert points["quality"].values[:, 0].tolist() == [1, 1, 2, 1]


def test_a_verdict_outlives_a_full_disk(service, monkeypatch):
    append = service.journal.append
    full = durable.failure(Path("segment"), OSError(28, os.strerror(28)))

    def failing(_):
        raise full

    monkeypatch.setattr("telemetry.ingest.AGAIN", 0.01)
    monkeypatch.setattr(service.journal, "append", failing)
    service.wire.send(metadata(), value(0, 50.0), value(1, 400.0))
    until(lambda: len(service.heard) == 3)
    monkeypatch.setattr(service.journal, "append", append)
    until(lambda: len(service.wire.acknowledged) == 3)
    service.wire.send(tick(1))
    until(lambda: service.archive.counters["commits"] == 1)
    points = open_archive("rhine", group="points", root=service.folder)
    assert points["quality"].values[:, 0].tolist() == [1, 2]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(("part", "name"), [("archive", "keep_up"), ("wire", "take")])
def test_a_thread_that_has_died_is_told(tmp_path, monkeypatch, part, name):
    service = Service(tmp_path)
    assert service.ingester.trouble == ""
    monkeypatch.setattr(getattr(service, part), name, fail)
    with service:
        thread = {"archive": "archiver", "wire": "ingester"}[part]
        until(lambda: f"the {thread} ended by itself" in service.ingester.trouble)
    assert service.ingester.trouble == ""  # it is meant to have ended


def test_readings_from_the_future_are_not_archived(tmp_path):
    now = np.datetime64("now", "us")
    with Service(tmp_path, is_simulated=False) as service:
        early = PointValue(point=archives.POINT, time=now + np.timedelta64(1, "h"), value=1.0)
        fine = PointValue(point=archives.POINT, time=now, value=2.0)
        service.wire.send(early, fine)
        until(lambda: service.ingester.counters.get("future") == 1)
    points = open_archive("rhine", group="points", root=tmp_path)
    assert points["value"].values.tolist() == [[2.0]]


def test_a_tick_where_times_are_real_stops_no_archive(tmp_path):
    """All that came after it was refused: it was older than what the tick had closed."""
    now = np.datetime64("now", "us")
    with Service(tmp_path, is_simulated=False) as service:
        service.wire.send(PointValue(point=archives.POINT, time=now, value=1.0), tick(FAR))
        until(lambda: service.ingester.counters.get("ticks") == 1)
        service.wire.send(PointValue(point=archives.POINT, time=now + archives.SECOND, value=2.0))
        until(lambda: len(service.heard) == 2)
    points = open_archive("rhine", group="points", root=tmp_path)
    assert points["value"].values[:, 0].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("wrong", [tick(FAR), value(FAR, 9.0)])
def test_one_wrong_stamp_among_simulated_ones_stops_nothing(tmp_path, wrong):
    with Service(tmp_path) as service:
        service.wire.send(value(0, 1.0), value(1, 2.0))
        until(lambda: service.ingester.counters["messages"] == 2)
        service.wire.send(wrong)
        until(lambda: service.ingester.counters["future"] == 1)
        service.wire.send(value(2, 3.0))
        until(lambda: len(service.heard) == 3)
    points = open_archive("rhine", group="points", root=tmp_path)
    assert points["value"].values[:, 0].tolist() == [1.0, 2.0, 3.0]
    assert "ahead of the plant's time" in (tmp_path / "quarantine" / "poison.jsonl").read_text()


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
def test_acknowledged_samples_survive_kills_exactly_once(mosquitto, tmp_path):
    count, racks, dice = 20_000, 20, random.Random(3)
    command = [sys.executable, "-m", "tests.telemetry.ingesting", mosquitto.url, str(tmp_path)]
    process = ingesting.start(command, ROOT)
    publisher = Client(mosquitto.url, client_id="agents")
    publisher.connect(DEADLINE)
    kills = {int(count * share) for share in (0.2, 0.5, 0.8)}
    receipts = []
    for number in range(count):
        topic, payload = encode(batch(f"r{number % racks:04d}", number // racks, sequence=number))
        receipts.append(publisher.publish(topic, payload, qos=1))
        if number in kills:
            time.sleep(0.3 * dice.random())  # the moment of the kill, not a wait for anything
            process.kill()
            process.wait()
            process = ingesting.start(command, ROOT)
        elif number % 500 == 0:
            assert receipts[-1].wait(DEADLINE)
    assert all(receipt.wait(DEADLINE) for receipt in receipts)
    publisher.publish(*encode(tick(count // racks + 1)), qos=1).wait(DEADLINE)
    assert process.wait(6 * DEADLINE) == 0  # a Mosquitto with a window of 20 is slow under load
    publisher.stop()
    power = open_archive("rhine", group="racks", root=tmp_path)["power"].isel(chip=0)
    assert power.sizes == {"time": count // racks, "rack": racks}
    assert (power.values == np.arange(count // racks)[:, None]).all()


def test_gaps_of_points_are_found(service):
    service.wire.send(metadata())
    for second in (0, 100, 200, 600):
        service.wire.send(value(second, 40.0 + second / 100))
    until(lambda: service.ingester.counters["messages"] == 5)
    now = int(START.astype("datetime64[s]").astype(int)) + 600
    until(lambda: service.ingester.coverage.gaps(now) == {archives.POINT: 3})  # 300 s too much


def test_what_is_stamped_wrongly_covers_nothing(tmp_path):
    """A heartbeat or a value stamped in 2099 made every silence a short one, for ever."""
    with Service(tmp_path, is_simulated=False) as service:
        now = np.datetime64("now", "us")
        desk, coverage = service.ingester._desk, service.ingester.coverage
        known = [one.metadata for one in list_points(SITE) if HEARTBEAT in one.metadata.point]
        (beat,) = (one.point for one in known)
        for one in (metadata(), *known):
            desk.show(one, now)

        def say(point, seconds, received):
            time = now + np.timedelta64(seconds, "s")
            sample = PointValue(point=point, time=time, value=50.0)
            return desk.show(sample, now + np.timedelta64(received, "s"))

        for point in (archives.POINT, beat):
            say(point, 0, 0)
            assert say(point, FAR, 1) is Flag.FUTURE
            assert say(point, -FAR, 1) is Flag.LATE
        for second in range(10, 3600, 10):
            say(beat, second, second)
        end = int(now.astype("datetime64[s]").astype(int)) + 3600
        assert coverage.pauses == 0
        assert coverage.gaps(end) == {archives.POINT: 35}  # of 3600 s, 3500 more than allowed
        (worst,) = coverage.worst(end)
        assert worst["point"] == archives.POINT
        assert worst["share"] == pytest.approx(100 / 3600)
