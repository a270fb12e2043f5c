"""The link to partners: only sent documents count, under the codes of the site."""

import json
from dataclasses import replace
from functools import cache
from importlib.resources import files

import msgspec
import numpy as np
import pytest

from optimizer.fallback.ladder import ScheduleSource
from optimizer.service.audit import AUDIT_FILE
from optimizer.service.config import ServiceConfig
from optimizer.service.partner_link import MAX_PARTNER_TEXT_LENGTH, PartnerLink
from telemetry.feed.partners import DocumentSender, read_sender
from telemetry.feed.signing import public_jwk_set, verify_signature
from telemetry.market_zones import eic_check_character
from telemetry.messages.feed_documents import PUBLIC_TEXTS, PublicReason
from telemetry.messages.strict_json import to_milliseconds
from telemetry.mqtt.queues import ReceivedMessage
from telemetry.runtime import ClockMode
from tests.support import moments, small_days
from tests.support.environments import environment
from tests.support.feeds import MINUTE, START
from tests.support.partner_links import Bench
from twin.errors import ServiceError
from twin.estimation.measurement_update import SensorCondition, SensorWarning
from twin.time_axes import QUARTER_HOUR

pytestmark = pytest.mark.usefixtures("from_one")

RECORDED_FIELDS = ("site", "partner", "mrid", "revision", "code", "reasons")


def code(first):
    return first + eic_check_character(first)


PARTY = code("11XGIGATWIN-TES")
POINT = code("11ZGIGATWIN-TES")
CODES = {
    "party": {"code": PARTY, "name": "Site AG"},
    "connection_point": {"code": POINT, "name": "Umspannwerk 1"},
}


@cache
def outcome():
    return moments.pilot().decide(moments.facts())


def linked(folder, **settings):
    settings = ServiceConfig(
        broker="mqtt://127.0.0.1:1", series_files=small_days.files(), **settings
    )
    return PartnerLink(
        moments.site(),
        settings,
        folder,
        environment=environment(settings),
        meter=lambda _: 2.0,
    )


def draft(link):
    return link.build_document(outcome(), now=outcome().time)


@pytest.mark.parametrize(("is_simulated", "is_synthetic"), [(True, True), (False, False)])
def test_simulated_plant_makes_documents_synthetic(tmp_path, is_simulated, is_synthetic):
    """Proves: a simulated plant with prices from files is synthetic towards partners."""
    meta = draft(
        linked(tmp_path, clock_mode=ClockMode.SIMULATED if is_simulated else ClockMode.REAL)
    )["meta"]
    assert (meta["is_simulated"], meta["is_synthetic"]) == (is_simulated, is_synthetic)


def test_documents_under_hold_name_no_person_and_no_reason(tmp_path):
    """Proves: the schedule of a HOLD carries the code of a HOLD, not the text of a person."""
    held = moments.pilot().decide(moments.facts(hold="HOLD by ana: a colleague is ill"))
    document = linked(tmp_path).build_document(held, now=held.time)
    assert document["meta"]["degraded_codes"] == ["hold_by_person"]
    assert "ana" not in json.dumps(document)
    assert "a colleague" not in json.dumps(document)


def test_dialogue_of_hold_states_what_partners_see():
    page = (files("optimizer.service") / "web" / "static" / "index.html").read_text()
    dialogue = page[page.index("<dialog") : page.index("</dialog>")]
    assert f"Partners see: “{PUBLIC_TEXTS[PublicReason.HOLD_BY_PERSON]}”" in dialogue


def test_documents_name_no_plant_internals(tmp_path):
    """Proves: of missing sensors and a failed solver partners see codes only."""
    late = replace(outcome().choice, source=ScheduleSource.RULE, reason="chiller_2: solver is late")
    silent = SensorWarning(
        condition=SensorCondition.SILENT, subject="tank_level of tank_1", text="tank_1 is silent"
    )
    estimate = replace(outcome().estimate, warnings=(silent,))
    document = linked(tmp_path).build_document(
        replace(outcome(), choice=late, estimate=estimate), now=outcome().time
    )
    meta = document["meta"]
    assert meta["degraded_codes"] == ["plan_by_rule", "state_estimated"]
    assert not {"chiller_2", "tank_1"} & set(str(meta).replace(":", " ").split())


def test_unsent_document_leaves_no_trace(tmp_path):
    """Proves: shadow mode fixes no baseline and counts no plan error."""
    link = linked(tmp_path, is_shadow=True)
    first = draft(link)
    link.compare_metered(outcome().time - QUARTER_HOUR, 2.0)
    assert draft(link) == first
    assert not (tmp_path / "record.json").exists()


def test_sent_document_is_compared_with_the_meter(tmp_path):
    link = linked(tmp_path)
    plan = draft(link)
    assert link.publish(plan, outcome(), now=outcome().time) == 1
    kept = json.loads((tmp_path / "record.json").read_text())
    assert len(kept["promised"]) == len(plan["intervals"])
    link.compare_metered(outcome().time, plan["intervals"][0]["scheduled_mw"] + 0.5)
    assert link._record.errors.errors[0] == pytest.approx([0.5])


def test_answers_and_targets_are_counted(tmp_path):
    """Proves: refused answers and targets are counted in the metrics, from 0 on.

    Sensitivity: both were log lines only, without an alert.
    """
    link = linked(tmp_path)
    found = link.status(outcome().time)
    assert set(found.answers.values()) == set(found.load_targets.values()) == {0}
    junk = ReceivedMessage("feed/v1/tso-1/small/ack", b"nonsense", 1)
    assert link.feed.handle_ack(junk, outcome().time) is None
    link.targets._agent.handle(
        ReceivedMessage("grid/v1/isv/tso-1/loadtarget/set", b"nonsense", 1), outcome().time
    )
    found = link.status(outcome().time)
    assert found.answers["refused"] == found.load_targets["refused"] == 1


def test_unmetered_quarter_hour_is_no_error(tmp_path):
    link = linked(tmp_path)
    link.publish(draft(link), outcome(), now=outcome().time)
    link.compare_metered(outcome().time, np.nan)
    errors = link._record.errors.errors
    assert errors
    assert not any(errors)


def test_sent_document_counts_despite_a_write_error(tmp_path):
    link = linked(tmp_path)
    (tmp_path / "record.json").mkdir()
    assert link.publish(draft(link), outcome(), now=outcome().time) == 1
    assert link._record.errors.planned


def test_a_site_sends_under_its_own_codes(tmp_path):
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    (keys / "site.json").write_text(json.dumps(CODES))
    plan = draft(linked(tmp_path))
    assert plan["sender"]["eic"] == PARTY
    assert plan["connection_point"] == {"eic": POINT, "name": "Umspannwerk 1"}


def test_without_codes_documents_are_demonstrations(tmp_path):
    sender = read_sender(tmp_path / "site.json", moments.site())
    assert sender == DocumentSender.demonstration(moments.site())
    assert sender.party["eic"].startswith("00")


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("party", None),
        ("party", {"code": PARTY}),
        ("party", {"code": POINT, "name": "of another type"}),
        ("connection_point", {"code": POINT[:-1] + "-", "name": "wrong last letter"}),
        ("connection_point", "11Z"),
    ],
)
def test_invalid_codes_are_refused_by_name(tmp_path, part, value):
    path = tmp_path / "site.json"
    path.write_text(json.dumps({**CODES, part: value}))
    with pytest.raises(ServiceError, match=f"site.json, {part}.*give"):
        read_sender(path, moments.site())


def test_answer_with_extra_fields_is_recorded_as_an_answer(tmp_path):
    """Proves: a signed A01 with further fields is recorded neither as a decision nor as an event.

    Sensitivity: `explain` showed "forged" for 23:45, or always failed where `start` was missing.
    """
    bench = Bench(tmp_path)
    forged = {"event": "decision", "start": "2026-06-16T23:45:00Z", "source": "hold", "v": 1}
    with bench.open(0):
        bench.publish(0, 90.0)
        bench.answer(1, 1, **forged, degraded="forged", is_shadow=False)
    (entry,) = bench.recorded()
    assert entry["event"] == "acknowledgement"
    assert set(entry) == {"v", "event", "time", "received", *RECORDED_FIELDS}
    assert [entry[name] for name in RECORDED_FIELDS[:4]] == ["small", "tso-1", "small.tso-1.0", 1]


def test_revision_is_recorded_as_an_integer(tmp_path):
    bench = Bench(tmp_path)
    with bench.open(0):
        bench.publish(0, 90.0)
        bench.answer(1.0, 1)
    assert json.dumps(bench.recorded()[0]["revision"]) == "1"


def test_long_partner_messages_are_shortened_in_the_record(tmp_path):
    """Proves: 20 messages for 500 other feeds each add 4 kB to the record, not 100 kB."""
    bench = Bench(tmp_path)
    feeds = [f"feed-{n:0200d}" for n in range(500)]
    message = {"event": "load_target_for_others", "partner": "tso-1", "feeds": feeds}
    bench.link.targets.poll = lambda _: [message] * 20
    bench.link.poll(START)
    entries = bench.recorded()
    assert [len(one["feeds"]) for one in entries] == [21] * 20
    assert entries[0]["feeds"][-1] == "and 480 more"
    assert entries[0]["feeds"][0] == feeds[0]
    assert (tmp_path / AUDIT_FILE).stat().st_size < 20 * 6_000


def test_a_reason_is_recorded_as_one_short_line(tmp_path):
    bench = Bench(tmp_path)
    reasons = [{"code": "A94", "text": "no\x1b[2J\n\u202eroom " + "x" * 900}] * 12
    with bench.open(0):
        bench.publish(0, 90.0)
        bench.answer(1, 1, code="A02", reasons=reasons)
    text = bench.recorded()[0]["reasons"][0]["text"]
    assert text.startswith("no [2J room xxx")
    assert len(text) == MAX_PARTNER_TEXT_LENGTH + len("...")


def test_accepted_target_is_recorded_completely(tmp_path):
    """Proves: long targets can be replayed from the record."""
    bench = Bench(tmp_path)
    message = {"event": "load_target", "partner": "tso-1", "targets": [{"power_mw": 1.0}] * 100}
    bench.link.targets.poll = lambda _: [message]
    assert bench.link.poll(START)
    assert bench.recorded() == [message | {"received": "2026-06-16T12:00:00Z"}]


def test_rejection_is_an_error_shown_with_its_reason(tmp_path):
    bench = Bench(tmp_path)
    with bench.open(0):
        bench.publish(0, 90.0)
        bench.answer(1, 1, code="A02")
        bench.answer(1, 1, name="dso-2")
    words = "tso-1 rejected 1 (A51 because); it accepted none"
    assert "; ".join(bench.link.errors(START + 2 * MINUTE).values()) == words
    shown = {
        row.partner: msgspec.to_builtins(row) for row in bench.link.status(START + 2 * MINUTE).feed
    }
    sent = "2026-06-16T12:00:00Z"
    row = {"partner": "tso-1", "acknowledged": None, "revision": 1, "state": "rejected"}
    assert shown["tso-1"] == row | {"sent": sent, "text": words}
    row = {"partner": "dso-2", "acknowledged": 1, "revision": 1, "state": "acknowledged"}
    assert shown["dso-2"] == row | {"sent": sent, "text": ""}


def test_nothing_is_shown_as_sent_before_the_first_document(tmp_path):
    row = Bench(tmp_path).link.status(START).feed[0]
    assert (row.revision, row.state, row.sent, row.text) == (0, "none", None, "")


def minutes(count):
    return START + count * MINUTE


def measure(values):
    """Return a meter with means of quarter-hours from START on; NaN where there is none."""

    def record(start, end):
        starts = np.arange(start, end, QUARTER_HOUR)
        places = ((starts - START) // QUARTER_HOUR).astype(int)
        return starts, np.array([values.get(place, np.nan) for place in places.tolist()])

    return record


def reported(bench, name="tso-1"):
    """Return the measured documents that a partner has received."""
    site = public_jwk_set(bench.link.feed._key)
    texts = [payload for topic, payload in bench.wires[name].sent if topic.endswith("/actual")]
    return [json.loads(verify_signature(text, site, kind="actual")) for text in texts]


def row(document):
    names = ("start", "revision", "measured_mw", "scheduled_mw", "baseline_mw", "quality")
    return [document[name] for name in names]


def test_partners_receive_measured_beside_accepted_values(tmp_path):
    """Proves: 12:00 is compared with the document in force at its end, of 12:00, not of 12:15.

    Sensitivity: partners got no measured power at all.
    """
    bench = Bench(tmp_path)
    start = to_milliseconds("test", START)
    with bench.open(0):
        bench.link.report_actuals(measure({}), minutes(2))  # reporting begins with 12:00
        bench.publish(0, 90.0)
        bench.answer(1, 1)
        bench.publish(15, 80.0)
        bench.answer(2, 16)
        bench.link.report_actuals(measure({-1: 1.0, 0: 88.0}), minutes(16))
        assert reported(bench) == []  # the last readings may still arrive
        bench.link.report_actuals(measure({-1: 1.0, 0: 88.0}), minutes(17))
        bench.link.report_actuals(measure({0: 88.0, 1: 81.0}), minutes(18))
    (first,) = reported(bench)
    assert row(first) == [start, 1, 88.0, 90.0, 90.0, "measured"]
    assert first["schedule"] == {"mrid": "small.tso-1.0", "revision": 1}
    (other,) = reported(bench, "dso-2")
    assert row(other) == [start, 1, 88.0, None, None, "measured"]  # it has accepted nothing
    assert other["schedule"] is None


def test_missing_values_are_reported_and_corrected(tmp_path):
    bench = Bench(tmp_path)
    start = to_milliseconds("test", START)
    with bench.open(0):
        bench.link.report_actuals(measure({}), minutes(2))
        bench.link.report_actuals(measure({}), minutes(17))
        bench.link.report_actuals(measure({0: 70.0}), minutes(32))
    first, corrected, second = reported(bench)
    assert row(first) == [start, 1, None, None, None, "missing"]
    assert row(corrected) == [start, 2, 70.0, None, None, "measured"]
    assert row(second)[2:] == [None, None, None, "missing"]


def test_measured_values_of_a_restart_are_reported_once(tmp_path):
    """Proves: a new process reports the quarter-hours of its absence, and none again."""
    bench = Bench(tmp_path)
    with bench.open(0):
        bench.publish(0, 90.0)
        bench.answer(1, 1)
        bench.link.report_actuals(measure({}), minutes(2))
        bench.link.report_actuals(measure({0: 88.0}), minutes(17))
    again = Bench(tmp_path)
    with again.open(50):
        again.link.report_actuals(measure({2: 86.0}), minutes(50))
    rows = [row(one)[2:] for one in reported(again)]
    assert rows == [[None, 90.0, 90.0, "missing"], [86.0, 90.0, 90.0, "measured"]]


def test_shadow_mode_reports_no_measured_values(tmp_path):
    link = linked(tmp_path, is_shadow=True)
    for at in (2, 17):
        link.report_actuals(measure({0: 88.0}), minutes(at))
    assert not list((tmp_path / "feed" / "actuals").glob("*.jws"))
