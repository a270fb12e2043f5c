"""Measured values for partners: due once, corrected by revisions, missing as missing, resent."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from telemetry.feed import actuals, publisher, signing
from telemetry.feed.actuals import ActualStore, MeasuredInterval, measured_intervals
from telemetry.feed.signing import public_jwk_set
from telemetry.messages.feed_documents import MAX_REQUESTED_MS, read_document
from telemetry.mqtt.client import Client
from telemetry.mqtt.queues import ReceivedMessage
from tests.support.feeds import (
    MINUTE,
    NOW,
    QUARTER_MS,
    START,
    Bench,
    key,
    keys,
    partner,
    plan,
    signed,
)
from tests.support.waiting import DEADLINE, until

pytestmark = pytest.mark.usefixtures("from_one")

SAMPLE = Path(__file__).parents[4] / "docs" / "examples" / "partner_actuals.py"
PLACE = {"eic": "00ZDEMO-RHINE--F", "name": "grid_1"}
TOPIC = "feed/v1/tso-1/rhine"


def measured(power=100.0, *, quarter=0, coverage=1.0):
    start = NOW + quarter * QUARTER_MS
    return MeasuredInterval(start_ms=start, power=power, coverage=coverage)


def at(quarter):
    return NOW + quarter * QUARTER_MS


def revisions(found):
    return [(one.start_ms, one.revision, one.power) for one in found]


@pytest.fixture
def store(tmp_path):
    store = ActualStore(tmp_path)
    assert store.intervals_due([measured()], at(0)) == []  # reporting begins with this quarter-hour
    return store


def test_mean_of_a_quarter_hour_is_that_of_its_readings():
    """Nine slots of 100 s: six of 10 MW and three of 13 MW have a mean of 11 MW."""
    starts = START + np.arange(18) * np.timedelta64(100, "s")
    power = np.array([10.0] * 6 + [13.0] * 3 + [5.0] * 5 + [np.nan] * 4)
    first, second = measured_intervals(starts, power)
    assert (first.start_ms, first.power, first.coverage) == (NOW, 11.0, 1.0)
    assert (second.start_ms, second.power, second.coverage) == (NOW + QUARTER_MS, 5.0, 0.556)


def test_quarter_hour_with_too_few_readings_is_missing():
    """Proves: the mean of a few minutes is not reported as that of a quarter-hour."""
    starts = START + np.arange(9) * np.timedelta64(100, "s")
    (one,) = measured_intervals(starts, np.array([80.0] * 4 + [np.nan] * 5))
    assert (one.power, one.coverage) == (None, 0.444)


def test_quarter_hour_is_due_once_it_is_over(store):
    rows = [measured(quarter=quarter) for quarter in range(-1, 3)]
    assert revisions(store.intervals_due(rows, at(2))) == [(at(0), 1, 100.0), (at(1), 1, 100.0)]
    for one in store.intervals_due(rows, at(2)):
        store.store(one, {})
    assert store.intervals_due(rows, at(2)) == []


def test_late_readings_bring_a_revision_and_lost_ones_do_not(store, tmp_path):
    """Proves: after a restart without the readings of before, nothing is taken back."""
    for one in store.intervals_due(
        [measured(None, coverage=0.2), measured(90.0, quarter=1)], at(2)
    ):
        store.store(one, {"tso-1": "text"})
    later = [measured(95.0, coverage=0.9), measured(None, quarter=1, coverage=0.1)]
    again = ActualStore(tmp_path)
    assert revisions(again.intervals_due(later, at(3))) == [(at(0), 2, 95.0)]
    assert again.intervals_due(later, at(200)) == []  # longer than a day ago


def test_broken_file_uses_no_revision_twice(store, tmp_path):
    store.store(MeasuredInterval(start_ms=NOW, power=1.0, coverage=1.0, revision=3), {"tso-1": "t"})
    (tmp_path / "reported.json").write_text("{")
    again = ActualStore(tmp_path)
    assert (tmp_path / "reported.broken").exists()
    again.intervals_due([], at(0))
    assert revisions(again.intervals_due([measured(2.0)], at(1))) == [(NOW, 4, 2.0)]


def test_documents_are_stored_for_a_month(store, monkeypatch):
    monkeypatch.setattr(actuals, "DOCUMENT_RETENTION_MS", QUARTER_MS)
    for quarter, revision in ((0, 1), (0, 2), (1, 1)):
        one = MeasuredInterval(start_ms=at(quarter), power=1.0, coverage=1.0, revision=revision)
        store.store(one, {"tso-1": f"{quarter}.{revision}", "dso-2": "theirs"})
    assert store.documents("tso-1", at(0), at(2)) == ["0.2", "1.1"]
    assert store.documents("tso-1", at(1), at(2)) == ["1.1"]
    store.prune(at(1) + actuals.DOCUMENT_RETENTION_MS)
    assert store.documents("tso-1", at(0), at(2)) == ["1.1"]


def test_clock_that_was_ahead_deletes_no_document_and_repeats_no_revision(store):
    """Proves: after a day in which the clock was a year ahead, the next revision is 2.

    Sensitivity: the document was deleted, and another one was sent with revision 1.
    """
    store.store(
        MeasuredInterval(start_ms=NOW, power=9.0, coverage=0.9, revision=1), {"tso-1": "old"}
    )
    ahead = 365 * 96
    missing = [measured(None, quarter=ahead + n, coverage=0.0) for n in range(96)]
    for one in store.intervals_due(missing, at(ahead + 96)):
        store.store(one, {"tso-1": "missing"})
    store.prune(at(ahead + 96))
    assert store.documents("tso-1", at(0), at(1)) == ["old"]
    assert revisions(store.intervals_due([measured(10.0)], at(2))) == [(NOW, 2, 10.0)]


# --- on connections that keep all messages


def content(interval, **others):
    return {
        "created": interval.start_ms + QUARTER_MS,
        "start": interval.start_ms,
        "end": interval.start_ms + QUARTER_MS,
        "revision": interval.revision,
        "connection_point": PLACE,
        "measured_mw": interval.power,
        "coverage": interval.coverage,
        "scheduled_mw": 99.0,
        "baseline_mw": None,
        "schedule": {"mrid": "rhine.tso-1.0", "revision": 1},
        "quality": "measured",
        "is_synthetic": False,
        "is_simulated": False,
    } | others


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path, "tso-1", "dso-2")


def report(bench, power=100.0, *, quarter=0, revision=1):
    interval = MeasuredInterval(start_ms=at(quarter), power=power, coverage=1.0, revision=revision)
    bench.feed.report_actual(interval, {name: content(interval) for name in ("tso-1", "dso-2")})


def sent(bench, topic):
    return [payload for name, payload in bench.wires["tso-1"].sent if name == f"{TOPIC}/{topic}"]


def notices(bench):
    site = public_jwk_set(key("rhine"))
    texts = sent(bench, "notice")
    return [json.loads(signing.verify_signature(one, site, kind="notice")) for one in texts]


def ask(bench, *, by="tso-1", now=START, **wanted):
    """Send a request of tso-1, signed by `by`, and let the feed answer."""
    who = {"v": 1, "site": "rhine", "partner": "tso-1", "id": "r-1", "time": NOW}
    payload = signed(who | wanted, by=by, kind="request")
    bench.wires["tso-1"].incoming = [ReceivedMessage(f"{TOPIC}/request", payload, 1)]
    bench.feed.poll(now)


def test_measured_values_are_signed_and_stored_before_they_are_sent(bench, monkeypatch):
    report(bench)
    (payload,) = sent(bench, "actual")
    text = signing.verify_signature(payload, public_jwk_set(key("rhine")), kind="actual")
    document = read_document(text, "actual")
    assert (document["measured_mw"], document["scheduled_mw"]) == (100.0, 99.0)
    assert (document["site"], document["partner"]) == ("rhine", "tso-1")
    assert bench.feed.actuals.documents("tso-1", at(0), at(1)) == [payload.decode()]

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(actuals, "write_atomic", full)
    with pytest.raises(OSError, match="No space"):
        report(bench, quarter=1)
    assert len(sent(bench, "actual")) == 1


def test_resent_measured_values_are_the_stored_bytes(bench):
    for quarter in range(3):
        report(bench, 100.0 + quarter, quarter=quarter)
    report(bench, 50.0, revision=2)
    first = sent(bench, "actual")
    ask(bench, want="actual", period_start=at(0), period_end=at(2))
    assert sent(bench, "resent") == [first[3], first[1]]
    assert bench.feed.request_counters == {"answered": 1}


def test_resent_schedules_are_the_stored_bytes(bench):
    bench.feed.publish(plan())
    bench.feed.publish(plan(power=90.0))
    first, second = sent(bench, "schedule")
    ask(bench, want="schedule")
    ask(bench, want="schedule", revision=1.0)
    assert sent(bench, "resent") == [second, first]
    assert sent(bench, "schedule") == [first, second]  # the retained one is unchanged


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"want": "schedule"}, "missing"),
        ({"want": "schedule", "revision": 7}, "missing"),
        ({"want": "schedule", "revision": 10**300}, "malformed"),
        ({"want": "actual"}, "missing"),
        ({"want": "actual", "period_start": NOW, "period_end": NOW}, "out-of-range"),
        (
            {"want": "actual", "period_start": NOW, "period_end": NOW + MAX_REQUESTED_MS + 1},
            "out-of-range",
        ),
        ({"want": "actual", "period_start": NOW, "period_end": NOW + 1}, "missing"),
        ({"want": "everything"}, "malformed"),
        ({"want": "schedule", "id": "r-1\n"}, "malformed"),
        ({"want": "schedule", "partner": "dso-2"}, "unauthorised"),
        ({"want": "schedule", "time": NOW - 31 * 60_000}, "expired"),
    ],
)
def test_refused_request_is_answered_with_its_reason(bench, wanted, code):
    ask(bench, **wanted)
    assert sent(bench, "resent") == []
    (notice,) = notices(bench)
    assert (notice["event"], notice["code"]) == ("request_refused", code)
    assert bench.feed.request_counters == {"refused": 1}


def test_times_of_a_request_may_be_written_as_floats(bench):
    """Proves: 1782907200000.0 is the integer that the schema accepts, in each field."""
    report(bench)
    period = {"period_start": float(at(0)), "period_end": float(at(1))}
    ask(bench, want="actual", time=float(NOW), **period)
    assert sent(bench, "resent") == sent(bench, "actual")
    bench.feed.publish(plan())
    ask(bench, want="schedule", time=float(NOW), revision=1.0)
    assert sent(bench, "resent")[1:] == sent(bench, "schedule")


def test_damaged_or_missing_documents_are_not_sent_again(bench, tmp_path):
    """Proves: what cannot be read or has lost its signature is skipped, and nothing fails."""
    for quarter in range(3):
        report(bench, quarter=quarter)
    bench.feed.publish(plan())
    first, second = (tmp_path / "actuals" / f"{at(n)}.1.tso-1.jws" for n in range(2))
    first.write_bytes(b"\xff\xfe")
    second.write_bytes(second.read_bytes()[:-9] + b"AAAAAAAAA")
    ask(bench, want="actual", period_start=at(0), period_end=at(3))
    assert sent(bench, "resent") == sent(bench, "actual")[2:]
    (tmp_path / "documents" / "00000001.tso-1.jws").write_bytes(b"\xff")
    ask(bench, want="schedule", revision=1)
    assert notices(bench)[0]["code"] == "missing"
    assert len(sent(bench, "resent")) == 1


def test_long_reason_of_a_refused_request_is_cut(bench):
    """Proves: a request that breaks the schema in many long fields is answered within it."""
    long = "\U0001f4a9" * 250
    ask(bench, want=long, id=long, partner=long, site=long)
    (notice,) = notices(bench)
    assert (notice["event"], notice["code"]) == ("request_refused", "malformed")
    assert len(notice["text"]) == publisher.MAX_NOTICE_TEXT


@pytest.mark.parametrize("by", ["mallory", "dso-2"])
def test_request_of_another_signer_is_not_answered(bench, by):
    bench.feed.publish(plan())
    ask(bench, by=by, want="schedule")
    assert sent(bench, "resent") == []
    assert notices(bench) == []
    assert bench.feed.request_counters == {"refused": 1}


def test_requests_of_a_partner_are_rate_limited(bench):
    bench.feed.publish(plan())
    for _ in range(publisher.MAX_REQUESTS_A_MINUTE + 5):
        ask(bench, want="schedule", now=START + MINUTE)
    assert len(sent(bench, "resent")) == publisher.MAX_REQUESTS_A_MINUTE
    assert bench.feed.request_counters == {
        "answered": publisher.MAX_REQUESTS_A_MINUTE,
        "limited": 5,
    }


# --- with the sample partner, over a real broker


@pytest.mark.slow
def test_sample_partner_follows_and_asks_for_what_it_missed(mosquitto, tmp_path):
    """Proves: over Mosquitto a partner without our code gets missed, corrected and new values."""
    (tmp_path / "keys.json").write_text(json.dumps(keys()))
    feed = publisher.SchedulePublisher(
        lambda name, will: Client(mosquitto.url, client_id=f"feed-{name}", will=will),
        site="rhine",
        partners=[partner()],
        key=key("rhine"),
        folder=tmp_path / "feed",
    )

    def report(power, *, quarter, revision=1):
        one = MeasuredInterval(start_ms=at(quarter), power=power, coverage=1.0, revision=revision)
        quality = "missing" if power is None else "measured"
        feed.report_actual(one, {"tso-1": content(one, quality=quality)})

    for power, quarter, revision in ((70.0, 0, 1), (None, 1, 1), (72.5, 0, 2)):
        report(power, quarter=quarter, revision=revision)
    feed.start(START)
    command = [sys.executable, str(SAMPLE), "--broker", mosquitto.url, "--site", "rhine"]
    command += ["--partner", "tso-1", "--keys", str(tmp_path / "keys.json"), "--count", "3"]
    command += ["--since", str(at(0)), "--until", str(at(2)), "--now", str(NOW)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sample:
        until(lambda: feed.poll(START, 0.05) or feed.request_counters["answered"])
        assert sample.stdout.readline().startswith("2026-06-16T12:00Z revision 2: measured 72.5")
        assert sample.stdout.readline().startswith("2026-06-16T12:15Z revision 1: measured missing")
        report(74.0, quarter=2)
        assert "12:30Z revision 1: measured 74.0, scheduled 99.0" in sample.stdout.readline()
        assert sample.wait(DEADLINE) == 0
    feed.stop(START)
