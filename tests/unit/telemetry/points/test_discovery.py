"""A draft of a site file, and differences of topology, from the messages of a plant."""

import errno
import itertools
import json
import os
import tomllib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

import sites
from optimizer.cli import app
from telemetry.messages import encode
from telemetry.messages.samples import PointMetadata, PointValue, RackBatch
from telemetry.messages.topics import METADATA_FILTER, service_filters
from telemetry.mqtt.client import Client
from telemetry.mqtt.queues import PublishToken, ReceivedMessage
from telemetry.points import discovery as module
from telemetry.points.discovery import SiteDiscovery
from telemetry.points.site_points import announced_metadata
from telemetry.points.topology import compare_topology, mismatched_racks
from telemetry.quality.tracker import PointCoverage
from tests.support import brokers
from tests.support.archives import START
from tests.support.waiting import DEADLINE
from twin.equipment import ITHall

SMALL = sites.load_site("small")


def batches_of(site):
    return [
        (hall.name, f"r{number + 1:04d}")
        for hall in site.machines_of(ITHall)
        for number in range(hall.racks)
    ]


def batch_of(site, hall, rack):
    return RackBatch(
        site=site.name,
        hall=hall,
        rack=rack,
        boot=1,
        sequence=1,
        time=START,
        interval=np.timedelta64(1, "s"),
        values=np.ones((5, 72), dtype=np.float32),
    )


@pytest.mark.parametrize("name", ["small", "rhine", "gallia"])
def test_draft_names_machines_and_kinds(name):
    site = sites.load_site(name)
    discovery = SiteDiscovery(name)
    for point in announced_metadata(site):
        discovery.observe(point)
    for hall, rack in batches_of(site):
        discovery.observe(batch_of(site, hall, rack))
    drafted = tomllib.loads(discovery.draft_site_file())["equipment"]
    assert drafted.keys() >= site.equipment.keys() - {"genset_1"}
    known = {name for name, table in drafted.items() if "kind" in table}
    assert len(known) >= 0.6 * len(site.equipment)
    for machine, table in drafted.items():
        if machine in known & site.equipment.keys():
            assert table["kind"] == site.equipment[machine].kind, machine
            if table["kind"] == "accelerators":
                assert table["racks"] == site.equipment[machine].racks
                assert table["chips_per_rack"] == 72
            if table["kind"] == "cdu":
                assert table["count"] == site.equipment[machine].count


def test_draft_marks_unknown_values():
    discovery = SiteDiscovery("small")
    level = next(
        p for p in announced_metadata(SMALL) if p.object_id == "battery_1" and p.unit == "%"
    )
    discovery.observe(level)
    discovery.observe(PointValue(point=level.point, time=START, value=71.0))
    discovery.observe(PointValue(point=level.point, time=START, value=64.0))
    discovery.observe(replace(level, point="BESS/GenericPoint/other/x/y"))
    draft = discovery.draft_site_file()
    assert '[equipment.battery_1]\nkind = "battery"' in draft
    assert "# standard = ...  # or else: capacity, power" in draft
    assert "# largest GenericPoint State Of Charge: 71 %" in draft
    assert discovery.other_sites == {"other": 1}


def test_unsafe_names_are_quoted():
    discovery = SiteDiscovery("small")
    discovery.observe(
        PointMetadata(
            point="CDU/LiquidTemperature/small/a",
            object_type="CDU",
            point_type="LiquidTemperature",
            object_id='pump ]\n"x" \\',
            process_area=("Secondary", "Supply"),
            unit="C",
        )
    )
    assert list(tomllib.loads(discovery.draft_site_file())["equipment"]) == ['pump ]\n"x" \\']


def test_invalid_name_is_noted_in_the_draft():
    discovery = SiteDiscovery("small")
    for hall in ("hall_1", "hall-2"):
        discovery.observe(batch_of(SMALL, hall, "r0001"))
    draft = discovery.draft_site_file()
    assert "[equipment.hall_1]\nkind" in draft
    assert "[equipment.hall-2]\n# a name has letters, digits and _ only" in draft


def test_equal_plant_and_file_have_no_differences():
    assert compare_topology(SMALL, announced_metadata(SMALL), batches_of(SMALL)) == []
    assert mismatched_racks(SMALL, announced_metadata(SMALL), batches_of(SMALL)) == set()


def test_differences_are_listed():
    points = []
    for point in announced_metadata(SMALL):
        if point.object_id == "tank_1":
            continue
        if point.object_type == "PowerMeter" and point.object_id == "hall_1":
            point = replace(point, serves=(*point.serves[1:], "hall_9-r0001"))
        if point.object_id == "ups_1":
            point = replace(point, object_id="ups_7", object_name="ups_7")
        points.append(point)
    differences = compare_topology(SMALL, points, batches_of(SMALL))
    assert (
        "hall_1: by the site file it serves hall_1-r0001, the plant does not announce it"
        in differences
    )
    assert (
        "hall_1: the plant announces that it serves hall_9-r0001, the site file does not"
        in differences
    )
    assert "tank_1 (Tank): the plant has announced no point of it" in differences
    assert "ups_7 (UPS): the site file has no such machine" in differences or any(
        line.startswith("ups_7") for line in differences
    )


def test_mismatched_racks_are_named():
    points = [
        replace(point, rack="hall_1-r0099") if point.rack == "hall_1-r0003" else point
        for point in announced_metadata(SMALL)
    ]
    assert mismatched_racks(SMALL, points, batches_of(SMALL)) == {"hall_1-r0003", "hall_1-r0099"}
    differences = compare_topology(SMALL, points, batches_of(SMALL))
    assert "racks that the plant names and the site file does not have: hall_1-r0099" in differences
    assert "racks that send batches and that the plant does not name: hall_1-r0003" in differences


def test_coverage_by_hand():
    """Values at 0, 100, 200, 500: 300 s of silence, 200 s above the limit, two missing values."""
    coverage = PointCoverage()
    for second in (0, 100, 200, 500, 600):
        coverage.record("a", second)
        coverage.record("b", second if second < 300 else second + 9)
    for second in range(0, 610, 10):
        coverage.record_heartbeat(second)
    (worst,) = (one for one in coverage.worst_points(600) if one["point"] == "a")
    assert worst == {"point": "a", "share": pytest.approx(1 - 200 / 600), "gaps": 2}
    (worst,) = (one for one in coverage.worst_points(1000) if one["point"] == "a")  # it lasts
    assert worst == {"point": "a", "share": pytest.approx(1 - (200 + 300) / 1000), "gaps": 5}


def test_silent_plant_has_no_gaps():
    coverage = PointCoverage()
    coverage.record_heartbeat(0)
    coverage.record("a", 0)
    coverage.record_heartbeat(100)
    coverage.record("a", 100)
    coverage.record_heartbeat(1000)  # no messages for 900 s
    coverage.record("a", 1000)
    assert coverage.worst_points(1000) == []


def test_values_out_of_order_are_no_gaps():
    coverage = PointCoverage()
    for second in (500, 100, 580, 90):
        coverage.record("a", second)
    assert coverage.worst_points(580) == []


def discover(*arguments, site="small", url="mqtt://127.0.0.1:1", seconds="0"):
    options = ["--broker", url, "--seconds", seconds]
    return CliRunner().invoke(app, ["telemetry", "discover", site, *options, *map(str, arguments)])


@pytest.mark.parametrize(
    ("arguments", "site", "expected"),
    [
        ((), "#", "a name in a topic is not empty"),
        (
            ("--json", "-"),
            "small",
            "name a file for the draft with --out",
        ),  # two things in one stream
        ((), "+", "a name in a topic is not empty"),
        ((), "a/b", "a name in a topic is not empty"),
        (("--against", "nowhere"), "small", "nowhere"),
        (("--out", "/nodir/x.toml"), "small", "which /nodir is not"),
        (("--out", "/"), "small", "a new file"),
    ],
)
def test_invalid_options_are_refused_before_connecting(arguments, site, expected):
    """There is no broker at the URL: a connection attempt would fail with another message."""
    result = discover(*arguments, site=site)
    assert result.exit_code == 1
    assert expected in " ".join(result.stderr.split())
    assert "127.0.0.1" not in result.stderr
    assert isinstance(result.exception, SystemExit)


def test_unwritable_draft_goes_to_stdout(tmp_path, embedded, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    result = discover("--out", tmp_path / "draft.toml", url=embedded.url)
    assert result.exit_code == 1
    assert "# Draft of small" in result.stdout
    assert "No space left" in result.stderr


def test_discovery_uses_only_filters_of_a_service():
    """Brokers refuse subscriptions beyond their access lists entirely or silently."""
    allowed = {METADATA_FILTER, *service_filters("small")}
    assert set(SiteDiscovery("small").topic_filters) <= allowed


class Bus:
    """A client that has received the metadata of all points when it subscribes."""

    url = "mqtt://here"

    def __init__(self, *_, **__):
        self._waiting = [ReceivedMessage(*encode(point)) for point in announced_metadata(SMALL)]

    def subscribe(self, *_, **__):
        receipt = PublishToken()
        receipt.complete(True)
        return receipt

    def connect(self):
        pass

    def poll(self, limit, timeout):
        taken, self._waiting = self._waiting[:limit], self._waiting[limit:]
        return taken

    def stop(self):
        pass


def test_received_messages_count_after_the_deadline(monkeypatch):
    """Proves: a machine that stalls for a minute receives all points of a one-second run.

    Sensitivity: none if the deadline is checked before the messages.
    """
    now = itertools.count(0.0, 60.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(now)))
    monkeypatch.setattr(module, "Client", Bus)
    discovery = SiteDiscovery("small")
    assert module.discover("mqtt://here", discovery, seconds=1.0) == len(
        list(announced_metadata(SMALL))
    )


def test_points_of_other_paths_are_reported(monkeypatch):
    """Proves: for a wrong site name or path prefix, the message shows the prefix found."""
    monkeypatch.setattr(module, "Client", Bus)
    result = discover(site="ours")
    assert "do not begin with ours: points of small (" in " ".join(result.stderr.split())
    assert "passed over" not in discover(site="small").stderr


def test_unreadable_points_of_the_site_are_reported(monkeypatch):
    """Proves: a sensor in Fahrenheit, which the contract refuses, is reported as refused."""
    (sensor,) = (p for p in announced_metadata(SMALL) if p.point_type == "AirTemperature")
    topic, payload = encode(sensor)
    bad = payload.replace(b'"C"', b'"F"')

    class Spoilt(Bus):
        def __init__(self, *_, **__):
            self._waiting = [
                ReceivedMessage(topic, bad),
                ReceivedMessage(topic.replace("small", "other"), bad),
            ]

    monkeypatch.setattr(module, "Client", Spoilt)
    result = discover(site="small")
    assert result.stderr.count("refused: ") == 1
    assert "the engUnit of AirTemperature is C" in " ".join(result.stderr.split())


@pytest.mark.slow
def test_command_drafts_the_points_of_a_broker(tmp_path):
    broker = brokers.mosquitto(tmp_path)
    broker.start()
    plant = Client(broker.url, client_id="plant")
    plant.connect()
    try:
        for point in announced_metadata(SMALL):
            if point.object_id != "tank_1":
                receipt = plant.publish(*encode(point), qos=1, retain=True)
        assert receipt.wait(DEADLINE)
        arguments = ["telemetry", "discover", "small", "--broker", broker.url, "--seconds", "5"]
        arguments += ["--against", "small", "--out", str(tmp_path / "draft.toml"), "--json", "-"]
        result = CliRunner().invoke(app, arguments)
    finally:
        plant.stop()
        broker.stop()
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout[result.stdout.index("{") :])
    assert found["points"] > 200
    assert "tank_1 (Tank): the plant has announced no point of it" in found["differences"]
    assert "tank_1" not in tomllib.loads((tmp_path / "draft.toml").read_text())["equipment"]
