"""The baseline of each partner follows the document that this partner accepted."""

import json

import pytest

from optimizer.service.baselines_and_plan_errors import Baseline, PlanErrors, PlanRecord
from telemetry.feed.signing import load_or_create_key
from telemetry.messages.strict_json import to_milliseconds
from tests.support.feeds import MINUTE, START, plan, schedule
from tests.support.partner_links import Bench

pytestmark = pytest.mark.usefixtures("from_one")


def at(minutes):
    return to_milliseconds("test", START + minutes * MINUTE)


def made(revision, minutes, power, **others):
    return schedule(revision, start=START + minutes * MINUTE, power=power, **others)


def known(baseline, minutes, *starts):
    found = baseline.fixed_values_at(at(minutes))
    return [found.get(at(start)) for start in starts]


def test_last_accepted_document_fixes_closed_intervals():
    """Proves: 300 MW accepted at 12:00 and 200 MW at 12:30; the one between was rejected.

    At 12:30 the gates up to that of 13:15 have closed under the first. At 12:45 that of 13:30
    closes under the second. Sensitivity: 100 MW at 13:00, of a document that was rejected.
    """
    baseline = Baseline()
    baseline.nominate(made(1, 0, 300.0), at=at(0))
    assert known(baseline, 0, 0, 45, 60) == [300.0, 300.0, None]
    assert known(baseline, 15, 60, 75) == [300.0, None]
    baseline.nominate(made(3, 30, 200.0), at=at(30))
    assert known(baseline, 45, 60, 75, 90, 105) == [300.0, 300.0, 200.0, None]


def test_gate_closed_before_the_answer_keeps_the_earlier_value():
    """Proves: a document of 12:14 accepted at 12:16 does not fix 13:00 (gate 12:15)."""
    baseline = Baseline()
    baseline.nominate(made(1, 0, 300.0), at=at(0))
    baseline.nominate(made(2, 15, 200.0), at=at(16))
    assert known(baseline, 30, 60, 75) == [300.0, 200.0]


def test_expired_document_fixes_nothing():
    """Proves: valid to 13:00, it fixes 13:30 (gate 12:45), and not 13:45 (gate 13:00).

    13:45 and 14:00, whose gate closed by 13:15, follow the document accepted then.
    """
    baseline = Baseline()
    baseline.nominate(made(1, 0, 300.0), at=at(0))
    assert known(baseline, 75, 90, 105) == [300.0, None]
    baseline.nominate(made(2, 75, 100.0), at=at(75))
    assert known(baseline, 75, 90, 105, 120, 135) == [300.0, 100.0, 100.0, None]


def test_document_accepted_after_expiry_fixes_nothing():
    baseline = Baseline()
    baseline.nominate(made(1, 0, 300.0), at=at(60))
    assert baseline.fixed_values_at(at(60)) == {}


def test_document_that_lapses_within_a_quarter_hour_is_not_its_schedule():
    """Proves: valid to 13:05, it is in force at the end of 12:45 to 13:00, and not of 13:00."""
    baseline = Baseline()
    baseline.nominate(made(1, 0, 300.0, valid=65), at=at(0))
    assert sorted(baseline.scheduled) == [at(0), at(15), at(30), at(45)]


def test_record_survives_conversion_to_json():
    record = PlanRecord()
    record.baseline_of("tso-1").nominate(made(1, 0, 300.0), at=at(0))
    record.errors.add_errors(1.0, {0: 2.0})
    record.errors.add_plan(plan())
    assert PlanRecord.of_json(json.loads(json.dumps(record.as_json()))) == record


@pytest.mark.parametrize(
    "junk",
    [{}, {"baselines": 1}, {"baselines": {"tso-1": {}}}, {"baselines": {"a": []}}, {"errors": []}],
)
def test_damaged_record_starts_empty(junk):
    record = PlanRecord.of_json(junk)
    assert record.errors == PlanErrors()
    assert record.baseline_of("tso-1") == Baseline()


def test_errors_survive_damaged_baselines():
    record = PlanRecord(errors=PlanErrors())
    record.errors.add_errors(1.0, {0: 2.0})
    kept = record.as_json() | {"baselines": None}
    assert PlanRecord.of_json(json.loads(json.dumps(kept))).errors == record.errors


def test_answer_is_followed_by_the_revision_in_force(tmp_path):
    """Proves: an acceptance is confirmed at once, a rejection with the revision in force."""
    bench = Bench(tmp_path)
    with bench.open(0):
        bench.publish(0, 90.0)
        bench.answer(1, 1)
        bench.publish(15, 80.0)
        bench.answer(2, 16, code="A02")
        bench.answer(2, 17)  # the first answer counts
    assert bench.states() == [
        ("ok", 1, None),
        ("ok", 1, 1),
        ("ok", 2, 1),
        ("ok", 2, 1),
        ("offline", 2, 1),
    ]
    assert bench.states("dso-2") == [("ok", 1, None), ("ok", 2, None), ("offline", 2, None)]


def test_each_partner_has_the_baseline_that_it_accepted(tmp_path):
    """Proves: tso-1 accepts 90 MW, not 80: it gets 90 where gates are closed; dso-2 is silent.

    At 12:30 the gates of 12:30 to 13:15 are closed. Sensitivity: 80 and 70 MW, as they were sent.
    """
    bench = Bench(tmp_path)
    with bench.open(0):
        bench.publish(0, 90.0)
        bench.answer(1, 1)
        assert bench.publish(15, 80.0) == {"tso-1": [90.0] * 4 + [80.0], "dso-2": [80.0] * 5}
        bench.answer(2, 16, code="A02")
        assert bench.publish(30, 70.0) == {"tso-1": [90.0] * 4 + [70.0], "dso-2": [70.0] * 5}


def test_fixed_baseline_survives_a_restart(tmp_path):
    bench = Bench(tmp_path)
    with bench.open(0):
        bench.publish(0, 90.0)
        bench.answer(1, 1)
    again = Bench(tmp_path)
    with again.open(15):
        assert again.publish(15, 80.0)["tso-1"] == [90.0] * 4 + [80.0]


def test_without_a_record_the_document_in_force_is_baseline(tmp_path):
    bench = Bench(tmp_path)
    with bench.open(0):
        bench.publish(0, 90.0)
        bench.answer(1, 1)
        bench.publish(15, 80.0)
    (tmp_path / "record.json").unlink()
    again = Bench(tmp_path)
    with again.open(30):
        assert again.publish(30, 70.0)["tso-1"] == [90.0] * 4 + [70.0]


def test_new_site_key_keeps_the_document_in_force(tmp_path):
    """Proves: 90 MW, accepted under the old key, are the baseline for tso-1 under the new one.

    Sensitivity: 70 MW, as the document in force could not be verified any more.
    """
    bench = Bench(tmp_path)
    with bench.open(0):
        bench.publish(0, 90.0)
        bench.answer(1, 1)
    (tmp_path / "record.json").unlink()
    load_or_create_key(tmp_path / "keys", "next")
    (tmp_path / "keys" / "next.private.json").replace(tmp_path / "keys" / "feed.private.json")
    again = Bench(tmp_path)
    with again.open(15):
        assert again.publish(15, 70.0)["tso-1"] == [90.0] * 4 + [70.0]
