"""A partner's side: what is forged, replayed, expired or not for it is refused, and told so."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from telemetry import security
from telemetry.broker import EmbeddedBroker
from telemetry.client import Client
from telemetry.codec.schedule import read_acknowledgement
from telemetry.codec.strict import milliseconds
from telemetry.feed import Feed
from telemetry.follow import follow
from telemetry.reader import Reader
from tests.feeds import MINUTE, START, key, keys, partner, plan, schedule, signed
from twin.errors import BrokerError, SecurityError

NOW = milliseconds("test", START)
SAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "partner.py"


@pytest.fixture
def reader():
    return Reader("rhine", "tso-1", key=key("tso-1"), known=security.jwks(key("rhine")))


def answer_of(judgement):
    """Return code and reason of an answer; None if there is none."""
    if judgement.answer is None:
        return None
    payload = security.verify(judgement.answer, security.jwks(key("tso-1")), kind="ack")
    answer = read_acknowledgement(payload)
    (reason,) = answer["reasons"]
    return answer["code"], reason["code"]


def judged(reader, document, now=NOW, **others):
    return reader.judge(signed(document, **others), now)


def test_a_good_document_is_taken_and_acknowledged_with_a_reason(reader):
    judgement = judged(reader, schedule())
    assert judgement.schedule == schedule()
    assert answer_of(judgement) == ("A01", "A01")


def test_what_is_forged_gets_no_answer(reader):
    for by in ("stranger", "tso-1"):
        judgement = judged(reader, schedule(), by=by)
        assert judgement.schedule is None
        assert answer_of(judgement) is None
        assert "not signed by rhine" in judgement.reason
    assert judged(reader, schedule(), kind="status").schedule is None


@pytest.mark.parametrize("revision", [1, 4, 5])
def test_what_is_older_or_as_old_is_refused(reader, revision):
    judged(reader, schedule(5))
    judgement = judged(reader, schedule(revision, power=50.0))
    assert judgement.schedule is None
    assert answer_of(judgement) == ("A02", "A51")
    assert judged(reader, schedule(6)).schedule is not None


def test_the_same_again_gets_the_same_answer_and_is_not_taken_twice(reader):
    judged(reader, schedule(5))
    judgement = judged(reader, schedule(5))
    assert judgement.schedule is None
    assert answer_of(judgement) == ("A01", "A01")


def test_what_has_expired_is_refused(reader):
    assert answer_of(judged(reader, schedule(), now=NOW + 3_600_000)) == ("A02", "A57")
    assert answer_of(judged(reader, schedule(), now=NOW + 3_599_999)) == ("A01", "A01")


def test_in_a_simulation_the_newest_signed_time_is_the_clock(reader):
    years = 10 * 365 * 24 * 3_600_000
    assert judged(reader, schedule(1, is_simulated=True), now=NOW + years).schedule
    later = schedule(2, start=START + 120 * MINUTE, is_simulated=True)
    assert judged(reader, later, now=NOW + years).schedule
    old = schedule(3, is_simulated=True)  # valid for an hour from the first start
    assert answer_of(judged(reader, old, now=NOW + years)) == ("A02", "A57")


def test_what_is_for_others_is_refused(reader):
    for document in (schedule(name="dso-2"), schedule(site="iberia")):
        assert answer_of(judged(reader, document)) == ("A02", "A53")


def test_what_breaks_the_schema_is_refused_if_it_says_what_it_is(reader):
    assert answer_of(judged(reader, schedule() | {"v": 2})) == ("A02", "A94")
    assert answer_of(judged(reader, schedule() | {"intervals": []})) == ("A02", "A94")
    for broken in ({"mrid": 1}, {"revision": "x"}, {"revision": 0}, {"revision": True}):
        assert answer_of(judged(reader, schedule() | {"v": 2} | broken)) is None
    assert answer_of(judged(reader, {})) is None


@pytest.mark.parametrize("junk", [b"", b"\xff" * 99, b"a.b.c", b"[" * 100_000])
def test_junk_raises_nothing(reader, junk):
    judgement = reader.judge(junk, NOW)
    assert judgement.schedule is None
    assert judgement.answer is None


def test_keys_are_checked_before_anything():
    with pytest.raises(SecurityError, match="site"):
        follow("rhine", partner="tso-1", broker="mqtt://127.0.0.1:1", keys={"key": {}})
    with pytest.raises(SecurityError, match=r"none\.json"):
        follow("rhine", partner="tso-1", broker="mqtt://127.0.0.1:1", keys="none.json")


def test_a_broker_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr("telemetry.follow.PATIENCE", 0.2)
    with pytest.raises(BrokerError, match="127"):
        follow("rhine", partner="tso-1", broker="mqtt://127.0.0.1:1", keys=keys())


# --- over a broker


def until(condition, seconds=20.0):
    """Wait for something with a deadline; return it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
    message = "nothing came in time"
    raise TimeoutError(message)


@pytest.fixture(scope="module")
def broker():
    with EmbeddedBroker() as running:
        yield running.url


@pytest.fixture
def feed(broker, tmp_path, request):
    """A feed of one partner of a name of its own: retained messages outlive a test."""
    name = request.node.name[5:25].replace("_", "-")

    def connect(partner_name, will):
        return Client(broker, client_id=f"rhine-feed-{partner_name}", will=will)

    made = Feed(
        connect, site="rhine", partners=[partner(name)], key=key("rhine"), folder=tmp_path / "feed"
    )
    made.start(START)
    yield made, name
    made.stop(START)


def clock():
    return NOW


def collected(feed, count):
    """Return the answers that count, once there are enough."""
    answers = []

    def enough():
        answers.extend(feed.poll(0.05))
        return len(answers) >= count

    until(enough)
    return answers


@pytest.mark.slow
def test_follow_yields_what_is_published_and_acknowledges_it(feed, broker):
    feed, name = feed
    feed.publish(plan(power=10.0))
    course = follow(
        "rhine", partner=name, broker=broker, keys=keys(name), timeout=20.0, clock=clock
    )
    first = next(course)  # the retained one
    assert float(first["grid_import_power"].max()) == 10.0
    feed.publish(plan(power=-20.0))
    second = next(course)
    assert float(second["grid_export_power"].max()) == 20.0
    assert second.attrs["revision"] == 2
    assert [answer["code"] for answer in collected(feed, 2)] == ["A01", "A01"]
    assert feed.in_force(name)["revision"] == 2
    course.close()


@pytest.mark.slow
def test_follow_refuses_a_rogue_publisher_and_goes_on(feed, broker):
    feed, name = feed
    rogue = Client(broker, client_id="rogue")
    rogue.connect(10.0)
    topic = f"feed/v1/{name}/rhine/schedule"
    feed.publish(plan(power=10.0))
    with capture_logs() as logs:
        course = follow(
            "rhine", partner=name, broker=broker, keys=keys(name), timeout=20.0, clock=clock
        )
        assert next(course).attrs["revision"] == 1
        for payload in (
            b"junk",
            signed(schedule(99, name=name), by="stranger"),
            signed(schedule(1, name=name, power=66.0)),
            signed(schedule(99, name="dso-2")),
            signed(schedule(99, name=name, start=START - 600 * MINUTE)),
        ):
            assert rogue.publish(topic, payload, qos=1).wait(10.0)
        feed.publish(plan(power=12.0))
        assert next(course).attrs["revision"] == 2
        course.close()
    rogue.stop()
    told = [log["reason"] for log in logs if log["event"] == "schedule refused"]
    words = ["not signed", "not signed", "not newer", "another", "No longer valid"]
    assert all(word in reason for word, reason in zip(words, told, strict=True)), told


@pytest.mark.slow
def test_the_sample_partner_verifies_prints_and_acknowledges(feed, broker, tmp_path):
    feed, name = feed
    path, answers = tmp_path / "keys.json", tmp_path / "answers.jsonl"
    path.write_text(json.dumps(keys(name)))
    ours = {"is_simulated": True}
    feed.publish(plan(power=10.0, **ours))
    feed.flush(10.0)
    command = [sys.executable, SAMPLE, "--broker", broker, "--site", "rhine", "--partner", name]
    command += ["--keys", path, "--count", "2", "--json", answers]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    lines = [process.stdout.readline()]
    rogue = Client(broker, client_id="rogue")
    rogue.connect(10.0)
    for payload in (
        signed(schedule(99, name=name, **ours), by="stranger"),
        signed(schedule(1, name=name, **ours)),
        signed(schedule(99, name="dso-2", **ours)),
        signed(schedule(99, name=name, start=START - 600 * MINUTE, **ours)),
        signed(schedule(99, name=name, count=92, valid=60) | {"v": 2}),
        b"junk",
    ):
        rogue.publish(f"feed/v1/{name}/rhine/schedule", payload, qos=1).wait(10.0)
        lines.append(process.stdout.readline())
    feed.publish(plan(power=20.0, **ours))
    rest, _ = process.communicate(timeout=20)
    lines.append(rest)
    rogue.stop()
    words = ["accepted: 10.0", "refused", "not newer", "not for us", "no longer", "refused"]
    words += ["refused", "revision 2 accepted: 20.0 to 20.0 MW"]
    assert process.returncode == 0
    assert all(word in line for word, line in zip(words, lines, strict=True)), lines
    assert [answer["code"] for answer in collected(feed, 2)] == ["A01", "A01"]
    codes = [json.loads(line)["code"] for line in answers.read_text().splitlines()]
    assert codes == ["A01", "A02", "A02", "A02", "A01"]


@pytest.mark.slow
def test_the_broker_speaks_our_last_will(broker, tmp_path):
    """A site that is killed is told offline by the broker, in its own signature."""
    code = """
import sys, time
from telemetry.client import Client
from telemetry.feed import Feed
from telemetry import security
from tests.feeds import START, partner
from pathlib import Path
connect = lambda name, will: Client(sys.argv[1], client_id="killed", will=will)
key = security.make_keys(Path(sys.argv[2]))
feed = Feed(connect, site="rhine", partners=[partner("will")], key=key, folder=Path(sys.argv[2]))
feed.start(START)
feed.status("ok", reason="fresh optimum", now=START)
feed.flush(10.0)
print("said", flush=True)
time.sleep(60)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code, broker, tmp_path], stdout=subprocess.PIPE, text=True
    )
    while "said" not in process.stdout.readline():
        pass
    watcher = Client(broker, client_id="watcher")
    watcher.connect(10.0)
    watcher.subscribe("feed/v1/will/rhine/status")
    states = []

    def heard(state):
        for message in watcher.take(timeout=0.05):
            known = security.jwks(security.make_keys(tmp_path))
            states.append(json.loads(security.verify(message.payload, known, kind="status")))
        return any(told["state"] == state for told in states)

    until(lambda: heard("ok"))
    process.kill()
    until(lambda: heard("offline"))
    process.communicate()
    watcher.stop()


def test_the_sample_partner_fits_on_a_page():
    assert len(SAMPLE.read_text().splitlines()) <= 60
    assert "gigatwin import" not in SAMPLE.read_text()
    for room in ("twin", "telemetry", "sites", "optimizer"):
        assert f"import {room}" not in SAMPLE.read_text()
        assert f"from {room}" not in SAMPLE.read_text()
