"""The feed: numbers that are never used twice, and answers that count once."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from telemetry import security
from telemetry.codec.schedule import read_schedule, read_status
from telemetry.feed import Feed
from telemetry.grid import eic
from telemetry.grid.partners import party_of, series
from telemetry.grid.revisions import KEPT
from telemetry.keys import jwks
from telemetry.wire.mailbox import Receipt
from tests.feeds import MINUTE, START, Wire, acknowledgement, key, partner, plan
from twin.errors import JournalError, WireError

SITE_KEYS = jwks(key("rhine"))


class Bench:
    """A feed whose wires can be looked at."""

    def __init__(self, folder, *names):
        self.wires = {}
        self.feed = Feed(
            self.connect,
            site="rhine",
            partners=[partner(name) for name in names or ("tso-1",)],
            key=key("rhine"),
            folder=folder,
        )
        self.feed.start(START)

    def connect(self, name, will):
        self.wires[name] = Wire(will)
        return self.wires[name]

    def documents(self, name="tso-1"):
        sent = [p for topic, p in self.wires[name].sent if topic.endswith("/schedule")]
        return [read_schedule(security.verify(payload, SITE_KEYS)) for payload in sent]

    def states(self, name="tso-1"):
        sent = [p for topic, p in self.wires[name].sent if topic.endswith("/status")]
        return [read_status(security.verify(p, SITE_KEYS, kind="status")) for p in sent]

    def answer(self, revision, **others):
        return self.feed.handle_ack(acknowledgement(revision, **others))


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def test_numbers_rise_and_each_document_names_the_one_before(bench):
    assert [bench.feed.publish(plan()) for _ in range(3)] == [1, 2, 3]
    first, second, third = bench.documents()
    assert first["supersedes"] is None
    assert second["supersedes"] == {"mrid": "rhine.tso-1.0", "revision": 1}
    assert third["revision"] == 3
    assert third["receiver"]["eic"] == eic.demonstration("tso-1")
    assert bench.feed.flush(0.0)


def test_each_partner_has_its_own_document_will_and_connection(tmp_path):
    bench = Bench(tmp_path, "tso-1", "dso-2")
    bench.feed.publish(plan())
    for name, wire in bench.wires.items():
        (document,) = bench.documents(name)
        assert (document["partner"], document["revision"]) == (name, 1)
        assert wire.filters == [f"feed/v1/{name}/rhine/ack"]
        assert wire.will.topic == f"feed/v1/{name}/rhine/status"
        assert wire.will.retain
        will = read_status(security.verify(wire.will.payload, SITE_KEYS, kind="status"))
        assert (will["state"], will["partner"], will["revision"]) == ("offline", name, None)


def test_numbers_go_on_after_a_restart(tmp_path):
    Bench(tmp_path).feed.publish(plan())
    bench = Bench(tmp_path)
    assert bench.feed.publish(plan()) == 2
    assert bench.documents()[0]["supersedes"]["revision"] == 1


@pytest.mark.parametrize("junk", ["", "{", "[]", "null", '{"revision": 1}', '{"partners/1": 3}'])
def test_a_broken_memory_is_set_aside_and_numbers_go_on(tmp_path, junk):
    Bench(tmp_path).feed.publish(plan())
    (tmp_path / "state.json").write_text(junk)
    assert Bench(tmp_path).feed.publish(plan()) == 2
    assert (tmp_path / "state.broken").read_text() == junk


def test_an_older_memory_put_back_brings_no_number_back(tmp_path):
    bench = Bench(tmp_path)
    bench.feed.publish(plan())
    old = (tmp_path / "state.json").read_text()
    bench.feed.publish(plan())
    (tmp_path / "state.json").write_text(old)
    assert Bench(tmp_path).feed.publish(plan()) == 3


def test_a_plan_that_breaks_the_schema_uses_no_number(bench):
    with pytest.raises(WireError, match=r"\$\.v"):
        bench.feed.publish(plan() | {"v": 2})
    assert bench.feed.publish(plan()) == 1


def test_what_is_not_durable_is_not_sent(bench, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(JournalError, match="make room"):
        bench.feed.publish(plan())
    assert bench.documents() == []
    monkeypatch.undo()
    assert bench.feed.publish(plan()) == 1


def test_old_documents_are_removed_but_the_one_in_force(bench, tmp_path, monkeypatch):
    monkeypatch.setattr("telemetry.grid.revisions.KEPT", 3)
    assert KEPT > 96
    for _ in range(6):
        bench.feed.publish(plan())
        bench.answer(1)
    names = sorted(path.name[:8] for path in (tmp_path / "documents").iterdir())
    assert names == ["00000001", "00000004", "00000005", "00000006"]
    assert bench.feed.in_force("tso-1")["revision"] == 1


def test_a_revision_is_in_force_once_it_is_acknowledged(bench, tmp_path):
    feed = bench.feed
    assert feed.in_force("tso-1") is None
    feed.publish(plan())
    assert feed.in_force("tso-1") is None
    assert bench.answer(1)["code"] == "A01"
    feed.publish(plan(power=90.0))
    assert feed.in_force("tso-1")["revision"] == 1
    assert bench.answer(2, code="A02")["code"] == "A02"
    assert feed.in_force("tso-1")["revision"] == 1
    assert Bench(tmp_path).feed.in_force("tso-1")["revision"] == 1  # also after a restart


def test_an_answer_may_come_late_but_not_after_a_newer_one(bench):
    for _ in range(3):
        bench.feed.publish(plan())
    assert bench.answer(2)
    assert bench.answer(1) is None
    assert bench.feed.counters == {"accepted": 1, "stale": 1}
    assert bench.feed.in_force("tso-1")["revision"] == 2


def test_an_answer_counts_once(bench):
    bench.feed.publish(plan())
    assert bench.answer(1)
    assert bench.answer(1) is None
    assert bench.answer(1, code="A02") is None
    assert bench.feed.counters == {"accepted": 1, "repeated": 1, "contradicted": 1}


@pytest.mark.parametrize(
    ("others", "word"),
    [
        ({"revision": 7}, "unknown"),
        ({"revision": 1, "mrid": "rhine.tso-1.9"}, "unknown"),
        ({"revision": 1, "by": "stranger"}, "refused"),
        ({"revision": 1, "by": "rhine"}, "refused"),
        ({"revision": 1, "site": "iberia"}, "refused"),
        ({"revision": 1, "partner": "dso-2"}, "refused"),
        ({"revision": 1, "reasons": []}, "refused"),
        ({"revision": 1, "code": "A03"}, "refused"),
    ],
)
def test_answers_of_others_or_to_others_have_no_effect(bench, others, word):
    bench.feed.publish(plan())
    assert bench.answer(**others) is None
    assert bench.feed.counters == {word: 1}
    assert bench.feed.in_force("tso-1") is None


def test_an_answer_of_one_partner_does_not_count_for_another(tmp_path):
    bench = Bench(tmp_path, "tso-1", "dso-2")
    bench.feed.publish(plan())
    message = acknowledgement(1, name="dso-2")
    assert bench.feed.handle_ack(message._replace(topic="feed/v1/tso-1/rhine/ack")) is None
    assert bench.feed.handle_ack(message._replace(topic="feed/v1/tso-9/rhine/ack")) is None
    assert bench.feed.handle_ack(message._replace(topic="feed/v1/+/rhine")) is None
    assert bench.feed.counters == {"refused": 3}


def test_silence_raises_an_alarm(bench):
    feed = bench.feed
    assert feed.overdue(START) == []
    feed.publish(plan())
    assert feed.overdue(START + 5 * MINUTE) == []
    (late,) = feed.overdue(START + 6 * MINUTE)
    words = "tso-1 has acknowledged nothing since 2026-06-16T12:00:00Z, also not 1"
    assert str(late) == words
    assert feed.overdue(START + 6 * MINUTE, timeout=20 * MINUTE) == []
    bench.answer(1)
    assert feed.overdue(START + 60 * MINUTE) == []


def test_a_new_document_does_not_silence_the_alarm_but_its_answer_does(bench):
    bench.feed.publish(plan())
    bench.feed.publish(plan(start=START + 15 * MINUTE))
    (late,) = bench.feed.overdue(START + 16 * MINUTE)
    assert (late.revision, late.since) == (2, START)
    bench.answer(2, code="A02")
    assert bench.feed.overdue(START + 60 * MINUTE) == []


@pytest.mark.parametrize(
    ("code", "role", "words"),
    [("10YFR-RTE------X", "A04", "last letter"), ("10YFR-RTE------C", "A27", "A04, A08, A50")],
)
def test_a_party_is_checked(code, role, words):
    with pytest.raises(WireError, match=words):
        party_of(code, "somebody", role)
    assert party_of("10YFR-RTE------C", "RTE", "A04")["role"]["text"] == "System operator"


def test_answers_are_taken_from_the_wire_and_then_acknowledged(bench):
    bench.feed.publish(plan())
    message, junk = acknowledgement(1), acknowledgement(1)._replace(payload=b"junk")
    bench.wires["tso-1"].incoming = [junk, message]
    assert [answer["revision"] for answer in bench.feed.poll()] == [1]
    assert bench.wires["tso-1"].acknowledged == [junk, message]


def test_on_a_full_disk_answers_wait_and_other_partners_are_heard(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    bench = Bench(tmp_path, "tso-1", "dso-2")
    feed, (first, second) = bench.feed, bench.wires.values()
    feed.publish(plan())
    feed.publish(plan())
    answers = [acknowledgement(1), acknowledgement(2)]
    first.incoming = answers
    monkeypatch.setattr(os, "fsync", full)
    junk = acknowledgement(1, name="dso-2")._replace(payload=b"junk")
    second.incoming = [junk]
    assert feed.poll() == []
    assert (first.acknowledged, second.acknowledged) == ([], [junk])
    assert feed.poll() == []
    monkeypatch.undo()
    assert [answer["revision"] for answer in feed.poll()] == [1, 2]
    assert first.acknowledged == answers
    assert feed.counters == {"refused": 1, "accepted": 2}
    assert feed.poll() == []


class Slow(Receipt):
    """A receipt that never comes, and notes how long it was waited for."""

    waits = []  # noqa: RUF012 - of all of them

    def wait(self, timeout):
        self.waits.append(timeout)
        return super().wait(timeout)


def test_a_flush_has_one_time_for_all(bench):
    bench.feed._receipts = [Slow() for _ in range(5)]
    assert not bench.feed.flush(0.05)
    assert Slow.waits[1:] == pytest.approx([0.0] * 4, abs=1e-6)


def test_the_status_is_told_again_after_a_lost_connection(bench):
    feed, wire = bench.feed, bench.wires["tso-1"]
    feed.status("hold", reason="maintenance", now=START)
    feed.poll()
    assert len(bench.states()) == 1
    wire.counters["connections"] = 2  # meanwhile the broker has published our will
    feed.poll()
    feed.poll()
    assert [state["state"] for state in bench.states()] == ["hold", "hold"]


def test_a_clean_end_says_offline(bench):
    bench.feed.publish(plan())
    bench.feed.stop(START)
    assert [(s["state"], s["revision"]) for s in bench.states()] == [("offline", 1)]
    assert bench.wires["tso-1"].is_stopped


def test_a_status_has_a_reason(bench):
    with pytest.raises(WireError, match="reason"):
        bench.feed.status("ok", reason="", now=START)


def test_document_series_have_999_revisions():
    assert series("rhine", "tso-1", 999) == "rhine.tso-1.0"
    assert series("rhine", "tso-1", 1000) == "rhine.tso-1.1"
    with pytest.raises(WireError, match="shorten"):
        series("a" * 20, "b" * 20, 1)


KILLED = """
import sys
from pathlib import Path
from tests.feeds import START, Wire, key, partner, plan
from telemetry.feed import Feed

class Loud(Wire):
    def publish(self, topic, payload, *, qos, retain):
        # what is printed may have reached the partner
        print(feed.revision, file=sys.stderr, flush=True)
        return super().publish(topic, payload, qos=qos, retain=retain)

feed = Feed(lambda name, will: Loud(will), site="rhine", partners=[partner()], key=key("rhine"),
            folder=Path(sys.argv[1]))
feed.start(START)
document = plan()
while True:
    feed.publish(document)
"""


@pytest.mark.slow
def test_no_number_is_used_twice_across_kills(tmp_path, request):
    rng = np.random.default_rng(5)
    seen = []
    for _ in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=request.config.rootpath,
        )
        seen += [int(process.stderr.readline()) for _ in range(int(rng.integers(1, 12)))]
        os.kill(process.pid, signal.SIGKILL)
        _, rest = process.communicate()
        seen += [int(line) for line in rest.split(b"\n")[:-1]]
        state = json.loads((tmp_path / "state.json").read_text())
        assert state["revision"] >= seen[-1]
    assert seen == sorted(set(seen))


def test_codes_have_valid_check_characters():
    assert eic.check_character("10Y1001A1001A82") == "H"
    wrong = [code for code in eic.BIDDING_ZONES.values() if not eic.is_valid(code)]
    assert wrong == []
    assert not eic.is_valid("10Y1001A1001A82X")
    assert not eic.is_valid("10y1001a1001a82h")
    assert not eic.is_valid("")


@pytest.mark.parametrize("kind", ["X", "Z"])
@pytest.mark.parametrize(
    "name", ["rhine", "iberia", "gallia", "baltica", "small", "tso-1", "", "ü"]
)
def test_demonstration_codes_are_valid_and_say_so(name, kind):
    code = eic.demonstration(name, kind)
    assert eic.is_valid(code)
    assert code.startswith(f"00{kind}DEMO-")


def test_an_unknown_zone_is_named():
    assert eic.bidding_zone("de_lu") == "10Y1001A1001A82H"
    with pytest.raises(WireError, match="Atlantis"):
        eic.bidding_zone("Atlantis")
