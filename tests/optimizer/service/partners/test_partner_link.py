"""The service's side of its partners: only what was sent counts, and who it is sent by."""

import json
from functools import cache

import numpy as np
import pytest

from optimizer.service.audit import AUDIT_FILE
from optimizer.service.audit_events import MAX_PARTNER_TEXT_LENGTH
from optimizer.service.config import ServiceConfig
from optimizer.service.partner_link import PartnerLink
from optimizer.service.schedule_document import DocumentSender, read_sender
from telemetry.market_zones import eic_check_character
from telemetry.mqtt.queues import ReceivedMessage
from tests import moments, small_days
from tests.feeds import MINUTE, START
from tests.optimizer.service.linked import Bench
from twin.errors import ServiceError
from twin.time_axes import QUARTER_HOUR

pytestmark = pytest.mark.usefixtures("from_one")

TOLD = ("site", "partner", "mrid", "revision", "code", "reasons")


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
    told = ServiceConfig(broker="mqtt://127.0.0.1:1", series_files=small_days.files(), **settings)
    return PartnerLink(moments.site(), told, folder, meter=lambda _: 2.0)


def drawn(link):
    return link.build_document(outcome(), now=outcome().time)


def test_what_is_drawn_up_and_not_sent_leaves_no_trace(tmp_path):
    """Proves: a week of shadow fixes no baseline and counts no error of a plan."""
    link = linked(tmp_path, is_shadow=True)
    first = drawn(link)
    link.compare_metered(outcome().time - QUARTER_HOUR, 2.0)
    assert drawn(link) == first
    assert not (tmp_path / "record.json").exists()


def test_what_was_sent_is_held_against_the_meter(tmp_path):
    link = linked(tmp_path)
    plan = drawn(link)
    assert link.publish(plan, outcome(), now=outcome().time) == 1
    kept = json.loads((tmp_path / "record.json").read_text())
    assert len(kept["promised"]) == len(plan["intervals"])
    link.compare_metered(outcome().time, plan["intervals"][0]["scheduled_mw"] + 0.5)
    assert link._record.errors.errors[0] == pytest.approx([0.5])


def test_what_came_of_answers_and_targets_is_counted(tmp_path):
    """Proves: a partner whose answers or targets are refused is seen in the metrics, from 0 on.

    Sensitivity: both were a line of the log, and no alert could be made of them.
    """
    link = linked(tmp_path)
    found = link.partner_status(outcome().time)
    assert set(found["answers"].values()) == set(found["load_targets"].values()) == {0}
    assert link._feed.handle_ack(ReceivedMessage("feed/v1/tso-1/small/ack", b"nonsense", 1)) is None
    link._targets._agent.handle(
        ReceivedMessage("grid/v1/isv/tso-1/loadtarget/set", b"nonsense", 1), outcome().time
    )
    found = link.partner_status(outcome().time)
    assert found["answers"]["refused"] == found["load_targets"]["refused"] == 1


def test_a_quarter_hour_that_was_not_heard_is_no_error(tmp_path):
    link = linked(tmp_path)
    link.publish(drawn(link), outcome(), now=outcome().time)
    link.compare_metered(outcome().time, np.nan)
    assert not any(link._record.errors.errors)


def test_a_document_that_was_sent_stays_sent_where_memory_cannot_be_written(tmp_path):
    link = linked(tmp_path)
    (tmp_path / "record.json").mkdir()
    assert link.publish(drawn(link), outcome(), now=outcome().time) == 1
    assert link._record.errors.planned


def test_a_site_sends_under_its_own_codes(tmp_path):
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    (keys / "site.json").write_text(json.dumps(CODES))
    plan = drawn(linked(tmp_path))
    assert plan["sender"]["eic"] == PARTY
    assert plan["connection_point"] == {"eic": POINT, "name": "Umspannwerk 1"}


def test_without_codes_it_is_a_demonstration(tmp_path):
    sender = read_sender(tmp_path / "site.json", moments.site())
    assert sender == DocumentSender.demonstration(moments.site())
    assert sender.party["eic"].startswith("00")


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ("party", None),
        ("party", {"code": PARTY}),
        ("party", {"code": POINT, "name": "of another type"}),
        ("connection_point", {"code": POINT[:-1] + "-", "name": "wrong last letter"}),
        ("connection_point", "11Z"),
    ],
)
def test_codes_that_are_none_are_refused_by_name(tmp_path, part, told):
    path = tmp_path / "site.json"
    path.write_text(json.dumps({**CODES, part: told}))
    with pytest.raises(ServiceError, match=f"site.json, {part}.*give"):
        read_sender(path, moments.site())


def test_an_answer_is_recorded_as_an_answer_whatever_stands_in_it(tmp_path):
    """Proves: a signed A01 with further fields is neither a decision nor any other word of ours.

    Sensitivity: `explain` told "forged" of 23:45, or failed for ever where `start` was missing.
    """
    bench = Bench(tmp_path)
    forged = {"event": "decision", "start": "2026-06-16T23:45:00Z", "source": "hold", "v": 1}
    with bench.open(0):
        bench.publish(0, 90.0)
        bench.answer(1, 1, **forged, degraded="forged", is_shadow=False)
    (entry,) = bench.recorded()
    assert entry["event"] == "acknowledgement"
    assert set(entry) == {"v", "event", "time", *TOLD}
    assert [entry[name] for name in TOLD[:4]] == ["small", "tso-1", "small.tso-1.0", 1]


def test_a_revision_is_recorded_as_the_integer_it_is(tmp_path):
    bench = Bench(tmp_path)
    with bench.open(0):
        bench.publish(0, 90.0)
        bench.answer(1.0, 1)
    assert json.dumps(bench.recorded()[0]["revision"]) == "1"


def test_of_what_partners_say_a_little_is_recorded(tmp_path):
    """Proves: 20 messages for 500 other feeds each add 4 kB to the record, not 100 kB."""
    bench = Bench(tmp_path)
    feeds = [f"feed-{n:0200d}" for n in range(500)]
    told = {"event": "load_target_for_others", "partner": "tso-1", "feeds": feeds}
    bench.link._targets.poll = lambda _: [told] * 20
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


def test_a_target_that_was_taken_is_recorded_whole(tmp_path):
    """Proves: what the site follows can be replayed from the record, however long it is."""
    bench = Bench(tmp_path)
    told = {"event": "load_target", "partner": "tso-1", "targets": [{"power_mw": 1.0}] * 100}
    bench.link._targets.poll = lambda _: [told]
    assert bench.link.poll(START)
    assert bench.recorded() == [told]


def test_a_rejection_is_trouble_and_shown_with_its_reason(tmp_path):
    bench = Bench(tmp_path)
    with bench.open(0):
        bench.publish(0, 90.0)
        bench.answer(1, 1, code="A02")
        bench.answer(1, 1, name="dso-2")
    words = "tso-1 rejected 1 (A51 because), it accepted none"
    assert bench.link.error(START + 2 * MINUTE) == words
    shown = {row["partner"]: row for row in bench.link.partner_status(START + 2 * MINUTE)["feed"]}
    sent = "2026-06-16T12:00:00Z"
    row = {"partner": "tso-1", "acknowledged": None, "revision": 1, "state": "rejected"}
    assert shown["tso-1"] == row | {"sent": sent, "text": words}
    row = {"partner": "dso-2", "acknowledged": 1, "revision": 1, "state": "acknowledged"}
    assert shown["dso-2"] == row | {"sent": sent, "text": ""}


def test_before_the_first_document_nothing_is_shown_as_sent(tmp_path):
    row = Bench(tmp_path).link.partner_status(START)["feed"][0]
    assert (row["revision"], row["state"], row["sent"], row["text"]) == (0, "none", None, "")
