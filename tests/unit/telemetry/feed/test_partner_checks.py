"""A partner refuses documents that are forged, replayed, expired or for others, and answers so."""

import pytest

from telemetry.feed import signing
from telemetry.feed.signing import public_jwk_set
from telemetry.feed.subscriber import ScheduleSubscriber
from telemetry.messages.feed_documents import read_acknowledgement
from tests.support.feeds import MINUTE, NOW, START, key, schedule, signed


@pytest.fixture
def reader():
    return ScheduleSubscriber(
        "rhine", "tso-1", key=key("tso-1"), known=public_jwk_set(key("rhine"))
    )


def answer_of(judgement):
    """Return code and reason of an answer; None if there is none."""
    if judgement.answer is None:
        return None
    payload = signing.verify_signature(judgement.answer, public_jwk_set(key("tso-1")), kind="ack")
    answer = read_acknowledgement(payload)
    (reason,) = answer["reasons"]
    return answer["code"], reason["code"]


def judged(reader, document, now=NOW, **others):
    return reader.evaluate(signed(document, **others), now)


def test_valid_document_is_accepted_and_acknowledged(reader):
    judgement = judged(reader, schedule())
    assert judgement.schedule == schedule()
    assert answer_of(judgement) == ("A01", "A01")


def test_forged_document_gets_no_answer(reader):
    for by in ("stranger", "tso-1"):
        judgement = judged(reader, schedule(), by=by)
        assert judgement.schedule is None
        assert answer_of(judgement) is None
        assert "not signed by rhine" in judgement.reason
    assert judged(reader, schedule(), kind="status").schedule is None


@pytest.mark.parametrize("revision", [1, 4, 5])
def test_older_or_equal_revision_is_refused(reader, revision):
    judged(reader, schedule(5))
    judgement = judged(reader, schedule(revision, power=50.0))
    assert judgement.schedule is None
    assert answer_of(judgement) == ("A02", "A51")
    assert judged(reader, schedule(6)).schedule is not None


def test_repeated_document_gets_the_same_answer(reader):
    judged(reader, schedule(5))
    judgement = judged(reader, schedule(5))
    assert judgement.schedule is None
    assert answer_of(judgement) == ("A01", "A01")


def test_expired_document_is_refused(reader):
    assert answer_of(judged(reader, schedule(), now=NOW + 3_600_000)) == ("A02", "A57")
    assert answer_of(judged(reader, schedule(), now=NOW + 3_599_999)) == ("A01", "A01")


def test_simulated_clock_is_the_newest_signed_time(reader):
    years = 10 * 365 * 24 * 3_600_000
    assert judged(reader, schedule(1, is_simulated=True), now=NOW + years).schedule
    later = schedule(2, start=START + 120 * MINUTE, is_simulated=True)
    assert judged(reader, later, now=NOW + years).schedule
    old = schedule(3, is_simulated=True)  # valid for an hour from the first start
    assert answer_of(judged(reader, old, now=NOW + years)) == ("A02", "A57")


def test_document_for_others_is_refused(reader):
    for document in (schedule(name="dso-2"), schedule(site="iberia")):
        assert answer_of(judged(reader, document)) == ("A02", "A53")


def test_identified_document_with_bad_schema_is_refused(reader):
    assert answer_of(judged(reader, schedule() | {"v": 2})) == ("A02", "A94")
    assert answer_of(judged(reader, schedule() | {"intervals": []})) == ("A02", "A94")
    for broken in ({"mrid": 1}, {"revision": "x"}, {"revision": 0}, {"revision": True}):
        assert answer_of(judged(reader, schedule() | {"v": 2} | broken)) is None
    assert answer_of(judged(reader, {})) is None


@pytest.mark.parametrize("junk", [b"", b"\xff" * 99, b"a.b.c", b"[" * 100_000])
def test_junk_raises_no_error(reader, junk):
    judgement = reader.evaluate(junk, NOW)
    assert judgement.schedule is None
    assert judgement.answer is None
