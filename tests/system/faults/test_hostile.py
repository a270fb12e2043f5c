"""Junk on any topic is counted and quarantined, and decisions continue."""

import json

import numpy as np
import pytest

from telemetry.messages import topics
from telemetry.messages.topics import TopicKind
from telemetry.mqtt.client import Client
from tests.support.service_processes import DEADLINE, SITE
from tests.system.faults.words import schedules

pytestmark = pytest.mark.slow

STEPS = 1000
"""Quarter-hours: more than any machine decides meanwhile. [1]"""
POINT = "BMS/v1/PUB/Value/PowerMeter/ActivePower/small/grid_1/power"
NOW = 1_781_568_000_000
"""Start of the plant's day. [ms]"""

TOPICS = [
    POINT,
    "BMS/v1/PUB/Metadata/PowerMeter/ActivePower/small/grid_1/power",
    "BMS/v1/PUB/Value/Nobody/Knows/this/point",
    *(
        topics.build_topic(kind, site=SITE, hall="hall_1", rack="r0001")
        for kind in (TopicKind.RACK_BATCH, TopicKind.RACK_BATCH_JSON)
    ),
    topics.build_topic(TopicKind.CAP_STATUS, site=SITE, hall="hall_1"),
    *(
        topics.build_topic(kind, site=SITE)
        for kind in (
            TopicKind.JOB_STATUS,
            TopicKind.JOB_QUEUE,
            TopicKind.JOB_HISTORY,
            TopicKind.JOB_ANNOUNCEMENTS,
            TopicKind.TICK,
        )
    ),
    topics.build_topic(TopicKind.ACKNOWLEDGEMENT, site=SITE, partner="tso-1"),
]


def payloads():
    """Return payloads that no decoder accepts: noise, invalid JSON, too large and false ones."""
    rng = np.random.default_rng(7)
    value = {"value": 1.0, "timestamp": NOW, "quality": 1}
    return [
        b"",
        rng.bytes(300),
        b"GTRB" + rng.bytes(1500),
        b"\xff\xfe\x00",
        b"{" * 5000,
        json.dumps(value | {"value": float("nan")}).encode(),
        b'{"value":1e999,"timestamp":1,"quality":1}',
        b'{"value":1,"value":2,"timestamp":1,"quality":1}',
        json.dumps({"v": 99, "site": SITE}).encode(),
        json.dumps({"v": 1, "site": "another", "time": NOW, "step": 0, "steps": 1}).encode(),
        json.dumps({"junk": "x" * 64_000}).encode(),
        b"[" + b"1," * 30_000 + b"1]",
    ]


def likely():
    """Return payloads that decode but are not credible: future, unknown, before their metadata."""
    late = {"value": 5.0, "timestamp": NOW + 10 * 365 * 86_400_000, "quality": 1}
    unknown = {"value": 5.0, "timestamp": NOW, "quality": 1}
    return [
        (POINT, json.dumps(late).encode()),
        ("BMS/v1/PUB/Value/Battery/Level/small/nowhere", json.dumps(unknown).encode()),
        *[("BMS/v1/PUB/Value/PowerMeter/ActivePower/small/new", json.dumps(unknown).encode())] * 20,
    ]


def quarantined(stage):
    return stage.tell("status")["snapshot"]["telemetry"]["quarantined"]


def test_junk_on_every_topic_is_quarantined(stage, ear):
    stage.serve("--page", "0")
    stage.attend()
    stage.play(STEPS)
    stage.until_ready()
    rogue = Client(stage.broker, client_id="rogue", clean_session=True)
    rogue.connect()
    sent = [(topic, payload) for topic in TOPICS for payload in payloads()] + likely()
    receipts = [rogue.publish(topic, payload, qos=1) for topic, payload in sent]
    assert all(receipt.wait(DEADLINE) for receipt in receipts)
    begun = ear.now()
    rogue.stop()
    ear.until(lambda: len(schedules(ear, begun)) > 3)
    result = stage.finish()
    assert result["undecided"] == 0
    assert result["violations"] == {}
    assert stage.service.exit_code is None
    most = len(TOPICS) - 1  # acknowledgements are not telemetry
    stage.until(lambda: quarantined(stage).get("poison", 0) > 0.8 * most * len(payloads()))
    assert list((stage.state / "quarantine").iterdir())
    assert len(schedules(ear, source="optimum")) >= len(schedules(ear)) - 2
    assert schedules(ear, begun, "optimum")
    log = stage.service.log.read_text()
    assert "Traceback" not in log
    stage.service.terminate()
    assert stage.service.exit_code == 0
