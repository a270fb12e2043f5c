"""Answers to the feed: each counts once and from its own partner; silence is an alarm."""

import json
import os

import pytest

from telemetry.feed.partners import MAX_STORED_REASON_LENGTH, PartnerStatus
from tests.support.feeds import MINUTE, START, Bench, acknowledgement, plan

pytestmark = pytest.mark.usefixtures("from_one")


def test_acknowledged_revision_is_in_force(bench, tmp_path):
    feed = bench.feed
    assert feed.document_in_force("tso-1") is None
    feed.publish(plan())
    assert feed.document_in_force("tso-1") is None
    assert bench.answer(1)["code"] == "A01"
    feed.publish(plan(power=90.0))
    assert feed.document_in_force("tso-1")["revision"] == 1
    assert bench.answer(2, code="A02")["code"] == "A02"
    assert feed.document_in_force("tso-1")["revision"] == 1
    assert Bench(tmp_path).feed.document_in_force("tso-1")["revision"] == 1  # also after a restart


def test_late_answer_counts_unless_newer_one_came(bench):
    for _ in range(3):
        bench.feed.publish(plan())
    assert bench.answer(2)
    assert bench.answer(1) is None
    assert bench.feed.counters == {"accepted": 1, "stale": 1}
    assert bench.feed.document_in_force("tso-1")["revision"] == 2


def test_an_answer_counts_once(bench):
    bench.feed.publish(plan())
    assert bench.answer(1)
    assert bench.answer(1) is None
    assert bench.answer(1, code="A02") is None
    assert bench.feed.counters == {"accepted": 1, "repeated": 1, "contradicted": 1}


@pytest.mark.parametrize(
    ("others", "counter"),
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
def test_answers_of_or_to_others_have_no_effect(bench, others, counter):
    bench.feed.publish(plan())
    assert bench.answer(**others) is None
    assert bench.feed.counters == {counter: 1}
    assert bench.feed.document_in_force("tso-1") is None


def test_answer_on_topic_of_other_partner_is_refused(tmp_path):
    bench = Bench(tmp_path, "tso-1", "dso-2")
    bench.feed.publish(plan())
    message = acknowledgement(1, name="dso-2")
    assert bench.feed.handle_ack(message._replace(topic="feed/v1/tso-1/rhine/ack"), START) is None
    assert bench.feed.handle_ack(message._replace(topic="feed/v1/tso-9/rhine/ack"), START) is None
    assert bench.feed.handle_ack(message._replace(topic="feed/v1/+/rhine"), START) is None
    assert bench.feed.counters == {"refused": 3}


def status_at(bench, minutes, name="tso-1"):
    """Return the status of a partner some minutes after the start."""
    return bench.feed.partner_status(name, START + minutes * MINUTE)


def test_silence_raises_an_alarm(bench):
    assert status_at(bench, 0) == PartnerStatus("none")
    bench.feed.publish(plan())
    assert status_at(bench, 5) == PartnerStatus("waiting")
    alarm = "tso-1 has acknowledged nothing since 2026-06-16T12:00:00Z, including revision 1"
    assert status_at(bench, 6) == PartnerStatus("overdue", alarm)
    bench.answer(1)
    assert status_at(bench, 59) == PartnerStatus("acknowledged")


def test_only_an_answer_ends_the_silence_alarm(bench):
    bench.feed.publish(plan())
    bench.feed.publish(plan(start=START + 15 * MINUTE))
    late = status_at(bench, 16)
    assert late.state == "overdue"
    assert late.message.endswith("nothing since 2026-06-16T12:00:00Z, including revision 2")
    bench.answer(2)
    assert status_at(bench, 60) == PartnerStatus("acknowledged")


def test_rejection_is_alarm_until_newer_is_accepted(bench):
    """Proves: the alarm has the reason; it stays while a document waits and after a restart.

    Sensitivity: any answer ended the alarm, so a partner that rejects all raised none. The state
    also became `waiting` with each document, too short for an alert.
    """
    bench.feed.publish(plan())
    bench.answer(1)
    bench.feed.publish(plan(start=START + 15 * MINUTE))
    bench.answer(2, code="A02")
    alarm = "tso-1 rejected 2 (A51 because); the last accepted is 1"
    assert status_at(bench, 16) == PartnerStatus("rejected", alarm)
    again = Bench(bench.folder)
    again.feed.publish(plan(start=START + 30 * MINUTE))
    (newest,) = {document["revision"] for document in again.documents()}
    assert status_at(again, 31) == PartnerStatus("rejected", alarm)
    assert status_at(again, 36).state == "overdue"  # the message has both alarms
    assert alarm in status_at(again, 36).message
    again.answer(newest, mrid=again.documents()[0]["mrid"])
    assert status_at(again, 37) == PartnerStatus("acknowledged")


def test_alarm_states_that_nothing_was_accepted(bench):
    bench.feed.publish(plan())
    bench.answer(1, code="A02")
    assert status_at(bench, 1).message == "tso-1 rejected 1 (A51 because); it accepted none"


def test_end_of_validity_is_an_alarm(bench):
    """Proves: a revision valid to 13:00 is not in force then, and without a newer one an alarm."""
    bench.feed.publish(plan())
    bench.answer(1)
    assert status_at(bench, 59) == PartnerStatus("acknowledged")
    alarm = "nothing that tso-1 accepted is in force since 2026-06-16T13:00:00Z"
    assert status_at(bench, 60) == PartnerStatus("lapsed", alarm)
    bench.feed.publish(plan(start=START + 75 * MINUTE))
    assert status_at(bench, 76) == PartnerStatus("waiting")
    bench.answer(2, code="A02")
    assert (
        status_at(bench, 81).message
        == f"tso-1 rejected 2 (A51 because); the last accepted is 1; {alarm}"
    )


def test_reasons_are_one_short_printable_line(bench):
    """Proves: terminal escapes, direction changes and long texts are removed."""
    bench.feed.publish(plan())
    reasons = [{"code": "A94", "text": "\x1b[2J\r\n[/]\u202eroom" + "x" * 900}] * 9
    bench.answer(1, code="A02", reasons=reasons)
    (sent,) = bench.feed.partner_history("tso-1").sent
    assert sent.reasons.startswith("A94 [2J [/] roomxxx")
    assert len(sent.reasons) == MAX_STORED_REASON_LENGTH + len("...")
    assert sent.reasons.isprintable()


def test_state_file_of_older_version_is_read(bench):
    """Proves: a state file without reasons and validity is valid and raises no alarm."""
    bench.feed.publish(plan())
    bench.answer(1)
    path = bench.folder / "state.json"
    state = json.loads(path.read_text())
    del state["checksum"]
    memory = state["partners/1"]["tso-1"]
    for row in (*memory["sent"], memory["in_force"]):
        del row["reasons"], row["until"]
    path.write_text(json.dumps(state))
    again = Bench(bench.folder)
    assert again.feed.document_in_force("tso-1")["revision"] == 1
    assert status_at(again, 600) == PartnerStatus("acknowledged")


def test_polled_answers_are_acknowledged(bench):
    bench.feed.publish(plan())
    message, junk = acknowledgement(1), acknowledgement(1)._replace(payload=b"junk")
    bench.wires["tso-1"].incoming = [junk, message]
    assert [answer["revision"] for answer in bench.feed.poll(START)] == [1]
    assert bench.wires["tso-1"].acknowledged == [junk, message]


def test_full_disk_delays_answers_of_one_partner_only(tmp_path, monkeypatch):
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
    assert feed.poll(START) == []
    assert (first.acknowledged, second.acknowledged) == ([], [junk])
    assert feed.poll(START) == []
    monkeypatch.undo()
    assert [answer["revision"] for answer in feed.poll(START)] == [1, 2]
    assert first.acknowledged == answers
    assert feed.counters == {"refused": 1, "accepted": 2}
    assert feed.poll(START) == []
