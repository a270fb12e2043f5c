"""A replay: newer than the one before, and for a simulated service the plant that it waits for."""

import itertools
import json
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

import sites
from optimizer.cli import app
from optimizer.service.clock import SimulatedClock
from telemetry.archive import Archive
from telemetry.journal.format import JournalPosition
from telemetry.live.state import LiveState
from telemetry.messages import decode, encode
from telemetry.messages.samples import DecisionNotice, RackBatch, SimulationTick
from telemetry.messages.topics import METADATA_FILTER, service_filters
from telemetry.mqtt.queues import ReceivedMessage
from telemetry.quality.checks import QualityFlag
from telemetry.simulator import replay, site
from telemetry.simulator.replay import DecisionWaiter, publish_replay, read_messages, with_ticks
from tests.support.archives import POINT, SECOND, START, batch, metadata, value
from tests.support.clients import LONG
from twin.errors import BrokerError

QUARTER = np.timedelta64(15, "m")


def fill(folder, seconds):
    archive = Archive(folder / "archive", "rhine")
    archive.add(metadata(), JournalPosition(1, 30))
    for second in seconds:
        archive.add(batch("r0001", second, value=0.5), JournalPosition(1, 30))
        archive.add(batch("r0002", second, value=0.5), JournalPosition(1, 30))
        archive.add(value(second, 50.0), JournalPosition(1, 30))
    archive.commit(include_open=True)
    return folder / "archive"


class Broker:
    """Takes what is published."""

    def __init__(self):
        self.heard = []

    def publish(self, topic, payload, *, qos=0, retain=False):
        self.heard.append(decode(topic, payload))
        return self

    def wait(self, timeout):
        return True


def test_replayed_value_has_unit_of_its_time(tmp_path):
    """Sensitivity: 50 % of before came back as 50 of 1, by the metadata of today."""
    archive = Archive(tmp_path / "archive", "rhine")
    for second, unit, number in [(0, "%", 50.0), (900, "1", 0.5), (1800, "1", 0.25)]:
        archive.add(metadata(unit=unit), JournalPosition(1, 30))
        archive.add(value(second, number), JournalPosition(1, 30))
        archive.commit(include_open=True)
    broker = Broker()
    stretch = read_messages(tmp_path / "archive", "rhine", start=START, end=START + 4 * QUARTER)
    publish_replay(stretch, broker, speed=0.0)
    samples = [one for one in broker.heard if not isinstance(one, SimulationTick)]
    assert [getattr(one, "unit", getattr(one, "value", None)) for one in samples] == [
        "%",
        50.0,
        "1",
        0.25,
    ]


def test_second_replay_is_accepted(tmp_path):
    """The hours one after the other, and the first once more: no batch of them is a double."""
    folder = fill(tmp_path, range(0, 7200, 600))
    window = LiveState(sites.load_site("rhine"))
    for boot, hour in enumerate((0, 1, 0)):
        start = START + hour * np.timedelta64(1, "h")
        stretch = read_messages(
            folder, "rhine", start=start, end=start + 4 * QUARTER, boot=100 + boot
        )
        broker = Broker()
        publish_replay(stretch, broker, speed=0.0)
        flags = [window.add(sample) for sample in broker.heard if isinstance(sample, RackBatch)]
        assert flags == [QualityFlag.GOOD] * 12
    assert window.counters == {"batch good": 36}


def test_boots_of_replays_follow_the_clock(tmp_path, monkeypatch):
    folder = fill(tmp_path, [0])
    boots = []
    for at in (1.7e9, 1.8e9):
        monkeypatch.setattr("telemetry.simulator.replay.time.time", lambda at=at: at)
        broker = Broker()
        publish_replay(
            read_messages(folder, "rhine", start="2026-07-01", end="2026-07-02"), broker, speed=0.0
        )
        boots += [sample.boot for sample in broker.heard if isinstance(sample, RackBatch)]
    assert boots == [1_700_000_000] * 2 + [1_800_000_000] * 2


def test_chips_keep_their_places_in_a_replay(tmp_path):
    archive = Archive(tmp_path / "archive", "rhine")
    whole = batch("r0001", 0, chips=8)
    values = whole.values.copy()
    values[:, 2] = np.nan
    archive.add(replace(whole, values=values), JournalPosition(1, 30))
    archive.commit(include_open=True)
    broker = Broker()
    publish_replay(
        read_messages(tmp_path / "archive", "rhine", start="2026-07-01", end="2026-07-02"),
        broker,
        speed=0,
    )
    assert np.array_equal(broker.heard[0].values, values, equal_nan=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seconds", "interval"), [([0, 1, 9], 1), ([0, 900, 1800], 900), ([0, 7200], 900), ([0], 1)]
)
def test_replayed_batches_have_their_interval(tmp_path, seconds, interval):
    """A listener learns from it how often a plant speaks, and what is stale."""
    broker = Broker()
    stretch = read_messages(fill(tmp_path, seconds), "rhine", start="2026-07-01", end="2026-07-02")
    publish_replay(stretch, broker, speed=0.0)
    intervals = {sample.interval for sample in broker.heard if isinstance(sample, RackBatch)}
    assert intervals == {interval * SECOND}


def test_every_quarter_hour_with_telemetry_ticks(tmp_path):
    """Seconds 0, 600, 1200 (two quarters), nothing for an hour, 5400: its own quarter's end."""
    folder = fill(tmp_path, [0, 600, 1200, 5400, 5700])
    end = START + 6000 * SECOND
    stretch = read_messages(folder, "rhine", start=START, end=end)
    broker, decided = Broker(), []
    publish_replay(
        with_ticks(stretch, "rhine", start=START, end=end), broker, speed=0.0, decide=decided.append
    )
    ticks = [sample for sample in broker.heard if isinstance(sample, SimulationTick)]
    assert [(one.time - START) // SECOND for one in ticks] == [0, 900, 1800, 5400]
    assert [(one.step, one.batches, one.points) for one in ticks] == [
        (0, 2, 1),
        (1, 2, 1),
        (2, 2, 1),
        (3, 2, 1),
    ]
    assert [(one.time, one.is_last) for one in decided] == [(one.time, False) for one in ticks]


@pytest.mark.slow
def test_a_replay_drives_a_simulated_service(tmp_path, embedded, connected):
    """The service's own clock yields each quarter-hour, and the replay waits for its word."""
    fill(tmp_path, range(0, 3600, 300))
    service = connected(embedded.url, *service_filters("rhine"), METADATA_FILTER)
    clock, window, stop, cycles = (
        SimulatedClock(),
        LiveState(sites.load_site("rhine")),
        threading.Event(),
        [],
    )

    def hear():
        while not stop.is_set():
            for message in service.poll(timeout=0.05):
                sample = decode(message.topic, message.payload)
                window.add(sample)
                clock.on_sample(sample)

    def decide():
        for now in clock.intervals(stop):
            level = window.latest_values(now)["battery_level_age"].sel(battery="battery_1")
            cycles.append((now, float(level)))
            service.publish(*encode(DecisionNotice(site="rhine", time=now, sequence=-1)), qos=1)

    threads = [threading.Thread(target=one) for one in (hear, decide)]
    for thread in threads:
        thread.start()
    result = run(tmp_path, embedded.url, "--to", "2026-07-01T00:45:01Z", "--ticks")
    stop.set()
    for thread in threads:
        thread.join(LONG)
    assert result.exit_code == 0, result.output
    assert cycles == [(START + n * QUARTER, 0.0) for n in range(4)]


TICK = SimulationTick(site="x", time=START, interval=QUARTER, step=0, steps=1, batches=0, points=0)


def test_decisions_count_after_timeout(monkeypatch):
    """Proves: a machine that stands still for a minute hears a decision within half of one.

    Sensitivity: nobody decided it, if the clock is looked at before the messages.
    """
    now = itertools.count(0.0, 60.0)
    for module in (replay, site):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(now)))
    word = ReceivedMessage(*encode(DecisionNotice(site="x", time=START, sequence=1)))
    client = SimpleNamespace(
        subscribe=lambda *_, **__: None,
        publish=lambda *_, **__: None,
        poll=lambda **_: [word],
        acknowledge=lambda _: None,
    )
    assert replay.DecisionWaiter(client, "x", timeout=30.0).wait(TICK) is None


def test_replay_without_decisions_is_reported(embedded, made):
    client = made(embedded.url)
    decisions = DecisionWaiter(client, "x", timeout=0.0)
    client.connect(LONG)
    with pytest.raises(BrokerError, match=r"gigatwin run x --clock simulated"):
        decisions.wait(TICK)


def run(folder, url, *words, start="2026-07-01"):
    options = ["--from", start, "--broker", url, "--speed", "0", "--state", str(folder)]
    options += [] if "--to" in words else ["--to", "2026-07-02"]
    return CliRunner().invoke(app, ["replay", "rhine", *options, *words, "--json", "-"])


def test_the_command_replays(tmp_path, embedded, connected):
    fill(tmp_path, [0, 10])
    listener = connected(embedded.url, f"BMS/v1/PUB/Value/{POINT}")
    result = run(tmp_path, embedded.url)
    assert result.exit_code == 0
    assert json.loads(result.stdout[result.stdout.index("{") :])["messages"] == 1 + 2 * 3
    assert listener.poll(timeout=LONG)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "start", "expected"),
    [
        ((), "garbage", "a date or a moment in ISO format"),
        (("--to", "2026-13-01"), "2026-07-01", "a date or a moment in ISO format"),
        ((), "2026-07-01T12:00", "rhine: no reading from 2026-07-01T12:00"),
        (("--to", "2026-06-01"), "2026-07-01", "give the earlier first"),
        (("--ca", "/nodir/ca.crt"), "2026-07-01", "write mqtts://"),
        (("--certificate", "/nodir/a.crt", "--key", "/nodir/a.key"), "2026-07-01", "mqtts://"),
    ],
)
def test_invalid_replay_is_refused(tmp_path, embedded, words, start, expected):
    fill(tmp_path, [0, 10])
    result = run(tmp_path, embedded.url, *words, start=start)
    assert result.exit_code == 1
    assert expected in " ".join(result.stderr.split())
    assert "Traceback" not in result.output


def test_the_state_of_another_site_is_not_replayed(tmp_path, embedded):
    fill(tmp_path, [0, 10])
    options = ["--from", "2026-07-01", "--to", "2026-07-02", "--broker", embedded.url]
    result = CliRunner().invoke(app, ["replay", "small", *options, "--state", str(tmp_path)])
    assert result.exit_code == 1
    assert "the archive of rhine, not of small" in " ".join(result.stderr.split())
