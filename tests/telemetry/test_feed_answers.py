"""Answers to the feed: they count once, from whom they are of, and silence is an alarm."""

import json
import os

import pytest

from telemetry.feed.publisher import MAX_STORED_REASON_LENGTH, PartnerStatus
from tests.feeds import MINUTE, START, Bench, acknowledgement, plan

pytestmark = pytest.mark.usefixtures("from_one")


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


def stands(bench, minutes, name="tso-1"):
    """Return how it stands with a partner some minutes after the start."""
    return bench.feed.partner_status(name, START + minutes * MINUTE)


def test_silence_raises_an_alarm(bench):
    assert stands(bench, 0) == PartnerStatus("none")
    bench.feed.publish(plan())
    assert stands(bench, 5) == PartnerStatus("waiting")
    words = "tso-1 has acknowledged nothing since 2026-06-16T12:00:00Z, also not 1"
    assert stands(bench, 6) == PartnerStatus("overdue", words)
    bench.answer(1)
    assert stands(bench, 59) == PartnerStatus("acknowledged")


def test_a_new_document_does_not_silence_the_alarm_but_its_answer_does(bench):
    bench.feed.publish(plan())
    bench.feed.publish(plan(start=START + 15 * MINUTE))
    late = stands(bench, 16)
    assert late.state == "overdue"
    assert late.message.endswith("nothing since 2026-06-16T12:00:00Z, also not 2")
    bench.answer(2)
    assert stands(bench, 60) == PartnerStatus("acknowledged")


def test_a_rejection_is_an_alarm_until_something_newer_is_accepted(bench):
    """Proves: with its reason, also while the next document waits, and after a restart.

    Sensitivity: an answer of any kind had ended the alarm, so a partner who takes nothing raised
    none; and the state had changed to `waiting` with each document, shorter than an alert waits.
    """
    bench.feed.publish(plan())
    bench.answer(1)
    bench.feed.publish(plan(start=START + 15 * MINUTE))
    bench.answer(2, code="A02")
    words = "tso-1 rejected 2 (A51 because), 1 is the last that it accepted"
    assert stands(bench, 16) == PartnerStatus("rejected", words)
    again = Bench(bench.folder)
    again.feed.publish(plan(start=START + 30 * MINUTE))
    (newest,) = {document["revision"] for document in again.documents()}
    assert stands(again, 31) == PartnerStatus("rejected", words)
    assert stands(again, 36).state == "overdue"  # both are told
    assert words in stands(again, 36).message
    again.answer(newest, mrid=again.documents()[0]["mrid"])
    assert stands(again, 37) == PartnerStatus("acknowledged")


def test_it_is_told_where_nothing_was_ever_accepted(bench):
    bench.feed.publish(plan())
    bench.answer(1, code="A02")
    assert stands(bench, 1).message == "tso-1 rejected 1 (A51 because), it accepted none"


def test_that_nothing_is_in_force_any_more_is_an_alarm(bench):
    """Proves: accepted and valid to 13:00, it is not in force then, and nothing newer came."""
    bench.feed.publish(plan())
    bench.answer(1)
    assert stands(bench, 59) == PartnerStatus("acknowledged")
    words = "nothing that tso-1 accepted is in force since 2026-06-16T13:00:00Z"
    assert stands(bench, 60) == PartnerStatus("lapsed", words)
    bench.feed.publish(plan(start=START + 75 * MINUTE))
    assert stands(bench, 76) == PartnerStatus("waiting")
    bench.answer(2, code="A02")
    assert (
        stands(bench, 81).message
        == f"tso-1 rejected 2 (A51 because), 1 is the last that it accepted; {words}"
    )


def test_reasons_are_one_short_line_of_letters(bench):
    """Proves: no escape of a terminal, no change of direction and no page of text is kept."""
    bench.feed.publish(plan())
    reasons = [{"code": "A94", "text": "\x1b[2J\r\n[/]\u202eroom" + "x" * 900}] * 9
    bench.answer(1, code="A02", reasons=reasons)
    (sent,) = bench.feed.partner_history("tso-1").sent
    assert sent.reasons.startswith("A94 [2J [/] roomxxx")
    assert len(sent.reasons) == MAX_STORED_REASON_LENGTH + len("...")
    assert sent.reasons.isprintable()


def test_what_an_older_version_kept_is_read(bench):
    """Proves: without reasons and validity a state file is no broken one, and raises no alarm."""
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
    assert again.feed.in_force("tso-1")["revision"] == 1
    assert stands(again, 600) == PartnerStatus("acknowledged")


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
