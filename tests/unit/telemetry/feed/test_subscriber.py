"""A partner on a broker follows and acknowledges schedules, even while a rogue publishes too."""

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from joserfc import jws
from structlog.testing import capture_logs

from telemetry.feed import signing
from telemetry.feed.publisher import SchedulePublisher
from telemetry.feed.signing import load_or_create_key, public_jwk_set
from telemetry.feed.subscriber import follow
from telemetry.mqtt.client import Client
from tests.support.feeds import MINUTE, NOW, START, key, keys, partner, plan, schedule, signed
from tests.support.waiting import DEADLINE, until
from twin.errors import BrokerError, SecurityError

pytestmark = pytest.mark.usefixtures("from_one")

TOPIC = "feed/v1/tso-1/rhine/schedule"
SAMPLE = Path(__file__).parents[4] / "docs" / "examples" / "partner.py"


def test_keys_are_checked_first():
    with pytest.raises(SecurityError, match="site"):
        follow("rhine", partner="tso-1", broker="mqtt://127.0.0.1:1", keys={"key": {}})
    with pytest.raises(SecurityError, match=r"none\.json"):
        follow("rhine", partner="tso-1", broker="mqtt://127.0.0.1:1", keys="none.json")


def test_absent_broker_is_an_error(monkeypatch):
    monkeypatch.setattr("telemetry.feed.subscriber.CONNECT_TIMEOUT_S", 0.2)
    with pytest.raises(BrokerError, match="127"):
        follow("rhine", partner="tso-1", broker="mqtt://127.0.0.1:1", keys=keys())


@contextmanager
def running(url, name, folder):
    """Run a feed with one partner, whose name separates it from retained messages of others."""
    feed = SchedulePublisher(
        lambda partner_name, will: Client(url, client_id=f"feed-{partner_name}", will=will),
        site="rhine",
        partners=[partner(name)],
        key=key("rhine"),
        folder=folder / "feed",
    )
    feed.start(START)
    yield feed
    feed.stop(START)


def clock():
    return NOW


def collected(feed, count):
    """Return the accepted answers, once there are enough."""
    answers = []

    def enough():
        answers.extend(feed.poll(START, 0.05))
        return len(answers) >= count

    until(enough)
    return answers


def following(url):
    return follow("rhine", partner="tso-1", broker=url, keys=keys(), timeout=DEADLINE, clock=clock)


@pytest.mark.slow
def test_follow_yields_and_acknowledges_schedules(embedded, tmp_path):
    with running(embedded.url, "tso-1", tmp_path) as feed:
        feed.publish(plan(power=10.0))
        schedules = following(embedded.url)
        first = next(schedules)  # the retained one
        assert float(first["grid_import_power"].max()) == 10.0
        feed.publish(plan(power=-20.0))
        second = next(schedules)
        assert float(second["grid_export_power"].max()) == 20.0
        assert second.attrs["revision"] == 2
        assert [answer["code"] for answer in collected(feed, 2)] == ["A01", "A01"]
        assert feed.document_in_force("tso-1")["revision"] == 2
        schedules.close()


@pytest.mark.slow
def test_follow_refuses_a_rogue_and_continues(embedded, tmp_path):
    rogue = Client(embedded.url, client_id="rogue")
    rogue.connect(DEADLINE)
    with running(embedded.url, "tso-1", tmp_path) as feed, capture_logs() as logs:
        feed.publish(plan(power=10.0))
        schedules = following(embedded.url)
        assert next(schedules).attrs["revision"] == 1
        for payload in (
            b"junk",
            signed(schedule(99), by="stranger"),
            signed(schedule(1, power=66.0)),
            signed(schedule(99, name="dso-2")),
            signed(schedule(99, start=START - 600 * MINUTE)),
        ):
            assert rogue.publish(TOPIC, payload, qos=1).wait(DEADLINE)
        feed.publish(plan(power=12.0))
        assert next(schedules).attrs["revision"] == 2
        schedules.close()
    rogue.stop()
    reasons = [log["reason"] for log in logs if log["event"] == "schedule refused"]
    expected = ["not signed", "not signed", "not newer", "another", "No longer valid"]
    assert all(word in reason for word, reason in zip(expected, reasons, strict=True)), reasons


def backwards(document):
    return document | {"intervals": document["intervals"][::-1]}


def unchecked(document):
    """Return a document signed by the site without any check."""
    header = {"alg": "ES256", "kid": key("rhine").kid, "typ": signing.jws_type("schedule")}
    return jws.serialize_compact(header, json.dumps(document), key("rhine")._key).encode()


SIMULATED = {"is_simulated": True}
ROGUE = {
    "refused": signed(schedule(99, **SIMULATED), by="stranger"),
    "not newer": signed(schedule(1, power=66.0, **SIMULATED)),
    "not for us": signed(schedule(99, name="dso-2", **SIMULATED)),
    "no longer valid": signed(schedule(99, start=START - 600 * MINUTE, **SIMULATED)),
    "revision 99 cannot be processed": signed(schedule(99) | {"v": 2}),
    "revision 98 cannot be processed": signed(backwards(schedule(98))),
    "'typ' in header must be one of": signed(schedule(99), kind="status"),
    "not JSON compliant": unchecked(schedule(99, power=float("nan"))),
    "refused: ": b"junk",
}
"""Text that the sample partner prints -> payload that a rogue publishes."""


@pytest.mark.slow
def test_sample_partner_verifies_and_acknowledges(broker, tmp_path):
    path, answers = tmp_path / "keys.json", tmp_path / "answers.jsonl"
    path.write_text(json.dumps(keys()))
    command = [sys.executable, SAMPLE, "--broker", broker.url, "--site", "rhine"]
    command += ["--partner", "tso-1", "--keys", path, "--count", "2", "--json", answers]
    rogue = Client(broker.url, client_id="rogue")
    rogue.connect(DEADLINE)
    with running(broker.url, "tso-1", tmp_path) as feed:
        feed.publish(plan(power=10.0, **SIMULATED))
        assert feed.wait_acknowledged(DEADLINE)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "revision 1 accepted: 10.0 to 10.0 MW\n"
        (again,) = (tmp_path / "feed" / "documents").iterdir()  # as brokers do after a restart
        assert rogue.publish(TOPIC, again.read_bytes(), qos=1).wait(DEADLINE)
        assert process.stdout.readline() == "revision 1 accepted: 10.0 to 10.0 MW\n"
        for printed, payload in ROGUE.items():
            assert rogue.publish(TOPIC, payload, qos=1).wait(DEADLINE)
            assert printed in process.stdout.readline()
        feed.publish(plan(power=20.0, **SIMULATED))
        last, _ = process.communicate(timeout=DEADLINE)
        assert last == "revision 2 accepted: 20.0 to 20.0 MW\n"
        assert process.returncode == 0
        assert [answer["code"] for answer in collected(feed, 2)] == ["A01", "A01"]
    rogue.stop()
    codes = [json.loads(line)["code"] for line in answers.read_text().splitlines()]
    assert codes == ["A01", "A01", *["A02"] * 5, "A01"]


@pytest.mark.slow
def test_broker_publishes_the_last_will(embedded, tmp_path):
    """When a site is killed, the broker publishes its signed offline status."""
    code = """
import sys, time
from telemetry.mqtt.client import Client
from telemetry.feed.publisher import SchedulePublisher
from telemetry.feed.signing import load_or_create_key
from telemetry.messages.feed_documents import PublicReason
from tests.support.feeds import START, partner
from contextlib import contextmanager
from pathlib import Path
connect = lambda name, will: Client(sys.argv[1], client_id="killed", will=will)
key = load_or_create_key(Path(sys.argv[2]))
folder = Path(sys.argv[2])
feed = SchedulePublisher(connect, site="rhine", partners=[partner("will")], key=key, folder=folder)
feed.start(START)
feed.publish_status("ok", reason=PublicReason.OPTIMUM, now=START)
feed.wait_acknowledged(60.0)
print("said", flush=True)
time.sleep(600)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code, embedded.url, tmp_path], stdout=subprocess.PIPE, text=True
    )
    while "said" not in process.stdout.readline():
        pass
    watcher = Client(embedded.url, client_id="watcher")
    watcher.connect(DEADLINE)
    watcher.subscribe("feed/v1/will/rhine/status")
    states = []

    def has_state(state):
        for message in watcher.poll(timeout=0.05):
            known = public_jwk_set(load_or_create_key(tmp_path))
            states.append(
                json.loads(signing.verify_signature(message.payload, known, kind="status"))
            )
        return any(status["state"] == state for status in states)

    until(lambda: has_state("ok"))
    process.kill()
    until(lambda: has_state("offline"))
    process.communicate()
    watcher.stop()


def test_sample_partner_fits_on_a_page():
    assert len(SAMPLE.read_text().splitlines()) <= 80
    assert "gigatwin import" not in SAMPLE.read_text()
    for room in ("twin", "telemetry", "sites", "optimizer"):
        assert f"import {room}" not in SAMPLE.read_text()
        assert f"from {room}" not in SAMPLE.read_text()
