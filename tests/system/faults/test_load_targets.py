"""Load targets of a grid partner, end to end: set, planned and confirmed."""

import json
import os
import signal
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import sites
from optimizer.demo.simulated_day import PARTNER_NAME
from telemetry.feed import signing
from telemetry.feed.signing import FLEX_DOCUMENT_KIND, private_key_from_jwk
from telemetry.messages.topics import TopicKind
from telemetry.mqtt.client import Client
from tests.support.flexing import claims_at, content, event, target
from tests.support.service_processes import DEADLINE, Stage
from tests.system.faults.words import schedules

pytestmark = pytest.mark.slow

HORIZON = 32
"""Quarter-hours of the plan among which the target is chosen. [1]"""

PATIENCE = 3 * DEADLINE
"""Longest wait for a first plan: models are compiled first. [s]"""
HOUR = 3_600_000
TOPIC = f"grid/v1/isv/{PARTNER_NAME}/loadtarget/set"
STATUS = "grid/v1/dsx-flex-agent/small/powerstate/status"
CONTRACT = f"""
[equipment.tso_1]
kind = "load_target"
partner = "{PARTNER_NAME}"
up_price = "5000 EUR/MWh"
least = "0.2 MW"
"""


class Operator:
    """A system operator that sets targets and receives power states."""

    def __init__(self, stage):
        self.key = private_key_from_jwk(json.loads(stage.keys.read_bytes())["key"])
        self.site = json.loads(stage.keys.read_bytes())["site"]
        self.client = Client(stage.broker, client_id="operator", clean_session=True)
        self.client.connect(DEADLINE)
        assert self.client.subscribe(STATUS).wait(DEADLINE)
        self.received = []

    def set(self, *targets, at):
        document, claims = {"targets": list(targets)}, claims_at(iso(at))
        signed = signing.sign_document(document, self.key, kind=FLEX_DOCUMENT_KIND, claims=claims)
        envelope = event(data=signed, source=f"//grid/v1/isv/{PARTNER_NAME}", at=iso(at))
        assert self.client.publish(TOPIC, json.dumps(envelope).encode(), qos=1).wait(DEADLINE)
        return envelope["correlationid"]

    def states(self):
        """Return all power states so far: envelope and feed, with verified signatures."""
        messages = self.client.poll(timeout=0.05)
        self.client.acknowledge(messages)
        for message in messages:
            envelope = json.loads(message.payload)
            signing.verify_signature(envelope["data"], self.site, kind=FLEX_DOCUMENT_KIND)
            self.received.append((envelope, content(envelope["data"])["feeds"]["small"]))
        return self.received


def least(rows, window):
    return min(rows[at] for at in window)


def iso(milliseconds):
    return f"{np.datetime_as_string(np.datetime64(milliseconds, 'ms'))}Z"


@contextmanager
def contracted_stage(folder, url):
    """Return a stage whose site has a contract with its partner."""
    path = folder / "small.toml"
    path.write_text(Path(sites.__file__).with_name("small.toml").read_text() + CONTRACT)
    with Stage(folder, url, file=path) as stage:
        yield stage


@pytest.fixture
def stage(tmp_path, embedded):
    with contracted_stage(tmp_path, embedded.url) as stage:
        yield stage


def test_target_is_planned_confirmed_and_lifted(stage, ear):
    stage.serve("--page", "0")
    operator = Operator(stage)
    stage.play(1000)  # more than any machine decides meanwhile
    ear.until(lambda: schedules(ear), PATIENCE)
    os.kill(stage.plant.pid, signal.SIGSTOP)  # or the window might be over when it is set
    first = schedules(ear)[-1]
    rows = {row["start"]: row["scheduled_mw"] for row in first["intervals"]}
    times = sorted(rows)[8:HORIZON]
    window = max((times[i : i + 4] for i in range(len(times) - 3)), key=lambda w: least(rows, w))
    wanted = round(0.9 * least(rows, window), 3)
    assert wanted > 0.3
    requested = target(wanted, start=iso(window[0]), end=iso(window[-1] + HOUR // 4))
    correlation = operator.set(requested, at=first["created"])
    confirmed = ear.until(
        lambda: [s for s in operator.states() if s[0].get("correlationid") == correlation]
    )[0][1]
    assert confirmed["targets"][0]["load_constraint"] == {"value": wanted, "unit": "megawatt"}
    assert not confirmed["targets"][0]["active"]
    os.kill(stage.plant.pid, signal.SIGCONT)

    def plan_within_target():
        newest = schedules(ear)[-1]
        found = {row["start"]: row["scheduled_mw"] for row in newest["intervals"]}
        if newest["meta"]["source"] != "optimum":
            return None
        return max(found[at] for at in window if at in found) <= wanted + 0.001 and newest

    newest = ear.until(plan_within_target, PATIENCE)
    assert newest["revision"] > first["revision"]
    active = ear.until(lambda: [feed for _, feed in operator.states() if is_active(feed)], PATIENCE)
    assert active[0]["compliant"]
    created = schedules(ear)[-1]["created"]
    operator.set(target(0.1), at=created + 240 * HOUR)  # from the future: refused
    lifted = operator.set(target(None), at=created)
    ear.until(lambda: [e for e, _ in operator.states() if e.get("correlationid") == lifted])
    assert operator.states()[-1][1]["targets"] == []
    events = ear.until(lambda: set_or_refused(stage))  # it is confirmed before it is recorded
    assert [one["event"] for one in events] == [
        "load_target", "load_target_refused", "load_target",
    ]  # fmt: skip
    assert [one.get("correlation") for one in events] == [correlation, None, lifted]
    assert "not in the future" in events[1]["reason"]
    refusals = ear.until(lambda: documents(ear, TopicKind.NOTICE, event="target_refused"))
    assert [one["code"] for one in refusals] == ["out-of-range"]
    measured = documents(ear, TopicKind.ACTUAL)
    starts = [one["start"] for one in measured if one["revision"] == 1]
    assert starts == list(range(starts[0], starts[-1] + 1, HOUR // 4))
    assert {one["quality"] for one in measured} <= {"measured", "missing"}
    assert all(one["is_synthetic"] and one["is_simulated"] for one in measured)


def documents(ear, kind, **fields):
    """Return the documents of a kind that have some fields."""
    found = [one.document for one in ear.of(kind)]
    return [one for one in found if all(one[name] == value for name, value in fields.items())]


def is_active(feed):
    return any(one["active"] for one in feed["targets"])


def set_or_refused(stage):
    """Return the records of the three messages once all are written."""
    found = [one for one in audit(stage) if one["event"].startswith("load_target")]
    return len(found) == 3 and found


def audit(stage):
    """Return the audit entries of the service."""
    return [json.loads(line)["entry"] for line in (stage.state / "audit.jsonl").open()]
