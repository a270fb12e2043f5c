"""A site is recorded by several processes from a real broker, though one is killed."""

import io
import json
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from optimizer.cli import app
from optimizer.cli.telemetry import _RecordingTimer
from telemetry.archive import Archive
from telemetry.archive import open as open_archive
from telemetry.ingest.dead_letter import DeadLetterStore
from telemetry.ingest.ingester import IngesterConfig
from telemetry.ingest.journal_archiver import JournalArchiver
from telemetry.ingest.recorder import (
    PLANT_PARTITION,
    SUMMED_COUNTERS,
    IngesterProcess,
    RecorderSupervisor,
    partition_filters,
)
from telemetry.journal.writer import Journal
from telemetry.messages import encode
from telemetry.messages.bms_contract import RULES_BY_OBJECT
from telemetry.mqtt.client import Client
from telemetry.runtime import ClockMode
from tests.support import brokers
from tests.support.archives import POINT, SECOND, START, batch, metadata, value
from tests.support.waiting import DEADLINE, until
from twin.errors import MessageError


def test_partitions_receive_everything_once():
    (one,) = partition_filters("rhine").values()
    assert one["dc/v1/rhine/+/+/tele"] == 1
    assert one["dc/v1/rhine/+/+/tele/held"] == 0
    assert one["BMS/v1/PUB/Value/+/+/rhine/#"] == 1
    assert one["BMS/v1/PUB/Metadata/+/+/rhine/#"] == 0
    several = partition_filters("rhine", ["hall_1", "hall_2"])
    assert list(several) == [PLANT_PARTITION, "hall_1", "hall_2"]
    assert several["hall_2"] == {
        "dc/v1/rhine/hall_2/+/tele": 1,
        "dc/v1/rhine/hall_2/+/tele/json": 1,
        "dc/v1/rhine/hall_2/+/tele/held": 0,
    }
    assert "dc/v1/rhine/+/+/tele" not in several[PLANT_PARTITION]
    assert several[PLANT_PARTITION]["sim/v1/rhine/clock"] == 1


def test_each_point_type_has_one_ingester():
    parts = partition_filters("rhine", ["hall_1"], ["Rack", "CDU"])
    assert list(parts) == [PLANT_PARTITION, "Rack", "CDU", "hall_1"]
    assert parts["Rack"] == {
        "BMS/v1/PUB/Value/Rack/+/rhine/#": 1,
        "BMS/v1/PUB/Metadata/Rack/+/rhine/#": 0,
    }
    types = [one.split("/")[4] for part in parts.values() for one in part if "/Value/" in one]
    assert sorted(types) == sorted(RULES_BY_OBJECT)
    assert "sim/v1/rhine/clock" in parts[PLANT_PARTITION]


def test_unknown_object_type_is_refused():
    with pytest.raises(MessageError, match=r"Rock.*CDU.*Rack"):
        partition_filters("rhine", types=["Rock"])


def test_ingester_config_survives_serialisation():
    task = IngesterConfig(url="mqtts://a:b@c", client_id="d", topics={"e/#": 1}, folder="f", ca="g")
    assert IngesterConfig.from_line(task.to_line()) == task
    assert str(task.tls.ca) == "g"
    assert IngesterConfig(url="mqtt://c", client_id="d", topics={}, folder="f").tls is None


@pytest.mark.slow
def test_killed_ingester_restarts_without_loss(tmp_path):
    broker = brokers.mosquitto(tmp_path)
    broker.start()
    task = IngesterConfig(url=broker.url, client_id="", topics={}, folder="")
    folder = tmp_path / "state"
    plant = Client(broker.url, client_id="plant")
    try:
        with RecorderSupervisor(
            "rhine",
            task,
            folder=folder,
            halls=["hall_1"],
            types=[POINT.split("/")[0]],
            clock_mode=ClockMode.SIMULATED,
        ) as running:
            ingester = running._ingesters["hall_1"]
            until(
                lambda: all(
                    one.last_status.get("is_connected") for one in running._ingesters.values()
                ),
                deadline=DEADLINE,
            )
            plant.connect()
            plant.publish(*encode(metadata()), qos=1)
            for second in range(100):
                for sample in (batch("r0001", second), value(second, float(second))):
                    assert plant.publish(*encode(sample), qos=1).wait(DEADLINE)
                if second == 50:
                    os.kill(ingester.process.pid, signal.SIGKILL)
            until(lambda: watch_all(running) and is_read(running, START + 99 * SECOND))
        assert running.errors == {}
    finally:
        plant.stop()
        broker.stop()
    chips = open_archive("rhine", group="racks", root=folder)
    times = ((chips["time"].values - START) / np.timedelta64(1, "s")).tolist()
    assert times == list(range(100))
    assert chips["power"].isel(chip=0, rack=0).values.tolist() == list(range(100))
    points = open_archive("rhine", group="points", root=folder)
    assert points["value"].sel(point=POINT).values.tolist() == list(range(100))


def watch_all(running):
    for ingester in running._ingesters.values():
        ingester.restart_if_dead()
    return True


class FakeRecording:
    """A recording whose ingesters connect after some checks; nothing ends it."""

    def __init__(self, checks):
        self._left = checks

    @property
    def is_listening(self):
        self._left -= 1
        return self._left < 0

    def wait(self, pause):
        return False


@pytest.mark.parametrize(("checks", "over"), [(0, 5), (4, 9), (10_000, 124)])
def test_recording_time_starts_when_all_listen(checks, over):
    """Proves: 1 s is 4 checks of 0.25 s after the one that finds all connected, or after 30 s.

    Sensitivity: always 4 if the time of starting counted.
    """
    recording = FakeRecording(checks)
    watch = _RecordingTimer(recording, recording, 1.0)
    assert next(n for n in range(1, 1000) if watch.is_finished(0.25)) == over


def is_read(running, moment):
    """Whether the last reading of both journals is read; counters include repeated messages."""
    newest = running._archiver._newest
    end = int(moment.astype("datetime64[s]").astype(int))
    return all(newest[name] >= end for name in ("hall_1", POINT.split("/")[0]))


@pytest.mark.slow
def test_command_records_and_reports(tmp_path):
    broker = brokers.mosquitto(tmp_path)
    broker.start()
    try:
        arguments = ["telemetry", "record", "rhine", "--broker", broker.url, "--seconds", "1"]
        result = CliRunner().invoke(
            app, [*arguments, "--state", str(tmp_path / "s"), "--json", "-"]
        )
    finally:
        broker.stop()
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout[result.stdout.index("{") :])
    assert found["site"] == "rhine"
    assert found["messages"] == 0
    assert {found[name] for name in SUMMED_COUNTERS} == {0}
    assert found["coverage"] == {"points": 0, "worst": []}
    assert found["troubles"] == {}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--broker", "foo://x"], "the scheme is 'foo', not mqtt or mqtts"),
        (["--broker", "mqtts://x", "--ca", "/nofile"], "the certificates cannot be used"),
        (["--broker", "mqtt://x", "--state", "/proc/x"], "name another with --state"),
    ],
)
def test_impossible_recording_is_refused_at_once(tmp_path, arguments, expected):
    """Sensitivity: each ingester was restarted for ever, and the command succeeded."""
    arguments = [
        "telemetry",
        "record",
        "rhine",
        "--state",
        str(tmp_path),
        "--seconds",
        "0",
        *arguments,
    ]
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 1
    assert expected in found.stderr


def test_recording_starts_before_its_broker(tmp_path):
    task = IngesterConfig(url="mqtt://127.0.0.1:1", client_id="", topics={}, folder="")
    assert RecorderSupervisor("rhine", task, folder=tmp_path, halls=["hall_1"]).errors == {}


def test_ingesters_get_the_archived_position(tmp_path):
    """A restored older copy must continue after that position, whatever the clock."""
    journal = Journal(tmp_path / "journals" / PLANT_PARTITION)
    end = journal.append([encode(batch("r0001", 0))])
    journal.close()
    archiver = JournalArchiver(
        Archive(tmp_path / "archive", "rhine"),
        {PLANT_PARTITION: journal.folder},
        clock_mode=ClockMode.SIMULATED,
    )
    archiver.stop()
    archiver.run()
    task = IngesterConfig(url="mqtt://127.0.0.1:1", client_id="", topics={}, folder="")
    running = RecorderSupervisor("rhine", task, folder=tmp_path, halls=["hall_1"])
    assert {name: one.config.archived_position for name, one in running._ingesters.items()} == {
        PLANT_PARTITION: str(end),
        "hall_1": "",
    }


def test_journal_of_a_removed_hall_is_archived(tmp_path):
    """Sensitivity: messages acknowledged by a killed recording stayed in its journal."""
    journal = Journal(tmp_path / "journals" / "hall_1")
    journal.append([encode(batch("r0001", 0))])
    journal.close()
    task = IngesterConfig(url="mqtt://127.0.0.1:1", client_id="", topics={}, folder="")
    running = RecorderSupervisor("rhine", task, folder=tmp_path, clock_mode=ClockMode.SIMULATED)
    assert list(running._ingesters) == [PLANT_PARTITION]
    running._ended.set()
    running._run()
    assert running.unarchived_reason == ""
    chips = open_archive("rhine", group="racks", root=tmp_path)
    assert chips["rack"].values.tolist() == ["hall_1/r0001"]


def test_other_output_of_an_ingester_is_ignored(tmp_path):
    """Sensitivity: output of a library within an ingester ended the reading of its status."""
    ingester = IngesterProcess(
        IngesterConfig(url="mqtt://a", client_id="b", topics={}, folder=str(tmp_path))
    )
    lines = [
        "2026-11-25 [warning] journal not written",
        '{"messages": 3}',
        "[1]",
        '{"messages": 5}',
    ]
    ingester._read_status(SimpleNamespace(stdout=io.StringIO("\n".join(lines))))
    assert ingester.last_status == {"messages": 5}


def test_losses_add_up_over_restarts_of_an_ingester(tmp_path):
    ingester = IngesterProcess(
        IngesterConfig(url="mqtt://a", client_id="b", topics={}, folder=str(tmp_path)),
        DeadLetterStore(tmp_path),
    )
    life = '{"messages": 3, "oversized": 1, "dropped": 2, "too_large": [["some/topic", 300000]]}'
    for _ in range(2):
        ingester._read_status(
            SimpleNamespace(stdout=io.StringIO(f'{life}\n{{"fault": "it fell"}}'))
        )
        ingester.process = SimpleNamespace(poll=lambda: 1, returncode=1, stdin=None)
        ingester.died_at = 0.0
        ingester.restart_if_dead()
    assert ingester.counters == {"messages": 6, "oversized": 2, "dropped": 4}
    lines = (tmp_path / "poison.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [(one["topic"], one["size"]) for one in records] == [("some/topic", 300_000)] * 2


@pytest.mark.slow
def test_ingester_logs_to_stderr_only(tmp_path):
    (tmp_path / "sources.json").write_text("corrupt")
    task = IngesterConfig(url="mqtt://127.0.0.1:1", client_id="b", topics={}, folder=str(tmp_path))
    arguments = [sys.executable, "-m", "telemetry.ingest.ingester"]
    done = subprocess.run(
        arguments, input=task.to_line(), capture_output=True, text=True, check=True
    )
    assert [json.loads(line)["messages"] for line in done.stdout.splitlines()]
    assert json.loads(done.stderr.splitlines()[0])["event"] == "delivery state not readable"
