"""Readings that an ingester rejects: wrong stamps, repeated spikes; and silence."""

import base64
import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import structlog

from telemetry.archive import loss_log
from telemetry.archive import open as open_archive
from telemetry.messages import encode
from telemetry.messages.samples import PointValue
from telemetry.points.site_points import list_points
from telemetry.quality.checks import QualityFlag
from telemetry.quality.tracker import HEARTBEAT_TOPIC_PART
from telemetry.runtime import ClockMode
from tests.support import archives
from tests.support.archives import START, metadata, tick, value
from tests.support.ingesting import SITE, Service
from tests.support.waiting import until

FAR = 72 * 365 * 86_400


@pytest.mark.slow
def test_flags_survive_duplicates_and_catching_up(tmp_path):
    """Sensitivity: a repeated spike was good, and so was each spike after the archive lagged."""
    samples = [value(0, 50.0), value(100, 51.0), value(101, 400.0), value(200, 52.0)]
    with Service(tmp_path) as service:
        service.wire.send(metadata(), *samples)
        until(lambda: service.ingester.counters["messages"] == 5)
        service.wire.send(samples[2])
        until(lambda: service.window.counters["range"] == 2)
        service.archive.discard_uncommitted()
        service.ingester.announce_commit()
        until(lambda: not service.archive.is_behind)
    points = open_archive("rhine", group="points", root=tmp_path)
    assert points["quality"].values[:, 0].tolist() == [1, 1, 2, 1]


def test_readings_from_the_future_are_not_archived(tmp_path):
    now = np.datetime64("now", "us")
    with Service(tmp_path, clock_mode=ClockMode.REAL) as service:
        early = PointValue(point=archives.POINT, time=now + np.timedelta64(1, "h"), value=1.0)
        fine = PointValue(point=archives.POINT, time=now, value=2.0)
        service.wire.send(early, fine)
        until(lambda: service.ingester.counters.get("future") == 1)
        assert "s ahead of the clock here" in service.ingester.source_warning
        assert f"stamps of {archives.POINT} are" in service.ingester.source_warning
        assert service.ingester.error == ""  # other points are still ingested and archived
        assert "set its clock" in service.ingester.source_warning
    points = open_archive("rhine", group="points", root=tmp_path)
    assert points["value"].values.tolist() == [[2.0]]


def test_implausible_reading_is_named_logged_and_stored(tmp_path):
    """Proves: point, topic and value are listed, logged and in quarantine; the archive has it too.

    Sensitivity: a reading of 735 % was one more in a count of refused ones.
    """
    with Service(tmp_path) as service, structlog.testing.capture_logs() as logs:
        service.wire.send(metadata(), value(0, 50.0), value(100, 735.0), value(200, 736.0))
        until(lambda: [one.count for one in service.ingester.refused_readings] == [2])
        (shown,) = map(asdict, service.ingester.refused_readings)
    topic, payload = encode(value(100, 735.0))
    assert shown["source"] == archives.POINT
    assert (shown["topic"], shown["value"], shown["unit"]) == (topic, 736.0, "%")
    assert (shown["reason"], shown["count"], shown["expected"]) == ("range", 2, "-2 to 110 %")
    (logged,) = [one for one in logs if one["event"] == "reading refused"]
    assert (logged["source"], logged["topic"], logged["value"]) == (archives.POINT, topic, 735.0)
    (line,) = (tmp_path / "quarantine" / "refused.jsonl").read_text().splitlines()
    kept = json.loads(line)
    assert (kept["topic"], base64.b64decode(kept["payload"])) == (topic, payload)
    assert "735 %" in kept["reason"]
    points = open_archive("rhine", group="points", root=tmp_path)
    assert points["value"].values[:, 0].tolist() == [50.0, 735.0, 736.0]


def test_implausible_rack_batch_names_rack_and_value(tmp_path):
    good = archives.batch("r0001", 0)
    values = good.values.copy()
    values[2, 1] = 7.35
    with Service(tmp_path) as service:
        service.wire.send(replace(good, values=values))
        until(lambda: service.ingester.refused_readings)
        (shown,) = map(asdict, service.ingester.refused_readings)
    assert shown["source"] == "hall_1/r0001"
    assert shown["value"] == pytest.approx(7.35)
    assert "utilisation of each chip" in shown["expected"]
    assert "r0001" in (tmp_path / "quarantine" / "refused.jsonl").read_text()


def test_future_batches_are_kept_whole_in_quarantine(tmp_path):
    """Sensitivity: sources deleted acknowledged batches that were stored nowhere."""
    now = np.datetime64("now", "us")
    early = [
        replace(archives.batch(f"r{rack:04d}", 0, chips=72), time=now + np.timedelta64(3600, "s"))
        for rack in range(3)
    ]
    with Service(tmp_path, clock_mode=ClockMode.REAL) as service:
        service.wire.send(*early)
        until(lambda: service.ingester.counters["future"] == 3)
        assert "3 sources, such as hall_1/r0000, are" in service.ingester.error
        assert "set the clock of this machine" in service.ingester.error
        assert service.ingester.source_warning == ""
    lines = (tmp_path / "quarantine" / "late.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    kept = [(one["topic"], base64.b64decode(one["payload"])) for one in rows]
    assert kept == [encode(one) for one in early]
    lost = loss_log.read_losses(tmp_path / "archive")
    assert [one["columns"] for one in lost] == [f"hall_1/r{rack:04d}" for rack in range(3)]
    assert lost[0]["reason"].startswith("1 readings were stamped over 5 s ahead of the clock here")


def test_rack_of_absurd_width_is_refused(tmp_path):
    """Proves: it is kept whole in quarantine and reported, and the other racks are archived."""
    absurd = archives.batch("r9999", 0, chips=4096)
    with Service(tmp_path) as service:
        service.wire.send(*(archives.batch(f"r{rack:04d}", 0) for rack in range(50)), absurd)
        until(lambda: service.ingester.counters["refused"] == 1)
        assert "hall_1/r9999 (4096)" in service.ingester.error
    (line,) = (tmp_path / "quarantine" / "late.jsonl").read_text().splitlines()
    assert base64.b64decode(json.loads(line)["payload"]) == encode(absurd)[1]
    (lost,) = loss_log.read_losses(tmp_path / "archive")
    assert lost["columns"] == "hall_1/r9999"
    assert dict(service.racks().sizes) == {"time": 1, "rack": 50, "chip": 3}


def test_tick_in_real_time_does_not_stop_archive(tmp_path):
    """Sensitivity: later readings were refused, as the tick had closed their time."""
    now = np.datetime64("now", "us")
    with Service(tmp_path, clock_mode=ClockMode.REAL) as service:
        service.wire.send(PointValue(point=archives.POINT, time=now, value=1.0), tick(FAR))
        until(lambda: service.ingester.counters.get("ticks") == 1)
        service.wire.send(PointValue(point=archives.POINT, time=now + archives.SECOND, value=2.0))
        until(lambda: len(service.heard) == 2)
    points = open_archive("rhine", group="points", root=tmp_path)
    assert points["value"].values[:, 0].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("wrong", [tick(FAR), value(FAR, 9.0)])
def test_wrong_simulated_stamp_stops_nothing(tmp_path, wrong):
    with Service(tmp_path) as service:
        service.wire.send(value(0, 1.0), value(1, 2.0))
        until(lambda: service.ingester.counters["messages"] == 2)
        service.wire.send(wrong)
        until(lambda: service.ingester.counters["future"] == 1)
        service.wire.send(value(2, 3.0))
        until(lambda: len(service.heard) == 3)
    points = open_archive("rhine", group="points", root=tmp_path)
    assert points["value"].values[:, 0].tolist() == [1.0, 2.0, 3.0]
    assert "ahead of the plant's time" in (tmp_path / "quarantine" / "late.jsonl").read_text()


def test_gaps_of_points_are_counted(service):
    service.wire.send(metadata())
    for second in (0, 100, 200, 600):
        service.wire.send(value(second, 40.0 + second / 100))
    until(lambda: service.ingester.counters["messages"] == 5)
    now = int(START.astype("datetime64[s]").astype(int)) + 600
    # 300 s too much
    until(lambda: [one["gaps"] for one in service.ingester.coverage.worst_points(now)] == [3])


def test_wrong_stamp_does_not_count_as_coverage(tmp_path):
    """Sensitivity: one heartbeat or value stamped in 2099 hid all later silence."""
    with Service(tmp_path, clock_mode=ClockMode.REAL) as service:
        now = np.datetime64("now", "us")
        router, coverage = service.ingester._router, service.ingester.coverage
        known = [
            one.metadata for one in list_points(SITE) if HEARTBEAT_TOPIC_PART in one.metadata.point
        ]
        (beat,) = (one.point for one in known)
        for one in (metadata(), *known):
            router.flag_and_distribute(one, now)

        def send(point, seconds, received):
            time = now + np.timedelta64(seconds, "s")
            sample = PointValue(point=point, time=time, value=50.0)
            return router.flag_and_distribute(sample, now + np.timedelta64(received, "s"))

        for point in (archives.POINT, beat):
            send(point, 0, 0)
            assert send(point, FAR, 1) is QualityFlag.FUTURE
            assert send(point, -FAR, 1) is QualityFlag.LATE
        for second in range(10, 3600, 10):
            send(beat, second, second)
        end = int(now.astype("datetime64[s]").astype(int)) + 3600
        (worst,) = coverage.worst_points(end)
        assert worst["point"] == archives.POINT
        assert worst["gaps"] == 35  # of 3600 s, 3500 more than allowed
        assert worst["share"] == pytest.approx(100 / 3600)
