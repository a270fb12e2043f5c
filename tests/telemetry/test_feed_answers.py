"""Answers to the feed: they count once, from whom they are of, and silence is an alarm."""

import os

import pytest

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
