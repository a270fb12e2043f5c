"""The service's side of its partners: only what was sent counts, and who it is sent by."""

import json
from functools import cache

import numpy as np
import pytest

from optimizer.service.parties import Sender, read_sender
from optimizer.service.partner_link import PartnerLink
from optimizer.service.settings import Settings
from telemetry.grid.eic import check_character
from tests import moments, small_days
from twin.axes import QUARTER
from twin.errors import ServiceError


def code(first):
    return first + check_character(first)


PARTY = code("11XGIGATWIN-TES")
POINT = code("11ZGIGATWIN-TES")
CODES = {
    "party": {"code": PARTY, "name": "Site AG"},
    "connection_point": {"code": POINT, "name": "Umspannwerk 1"},
}


@cache
def outcome():
    return moments.pilot().run(moments.facts())


def linked(folder, **settings):
    told = Settings(broker="mqtt://127.0.0.1:1", files=small_days.files(), **settings)
    return PartnerLink(moments.site(), told, folder)


def drawn(link):
    return link.draw_up(outcome(), now=outcome().time)


def test_what_is_drawn_up_and_not_sent_leaves_no_trace(tmp_path):
    """Proves: a week of shadow fixes no baseline and counts no error of a plan."""
    link = linked(tmp_path, is_shadow=True)
    first = drawn(link)
    link.settle(outcome().time - QUARTER, 2.0)
    assert drawn(link) == first
    assert not (tmp_path / "record.json").exists()


def test_what_was_sent_is_held_against_the_meter(tmp_path):
    link = linked(tmp_path)
    plan = drawn(link)
    assert link.publish(plan, outcome(), now=outcome().time) == 1
    kept = json.loads((tmp_path / "record.json").read_text())
    assert len(kept["promised"]) == len(plan["intervals"])
    link.settle(outcome().time, plan["intervals"][0]["scheduled_mw"] + 0.5)
    assert link._record.errors.errors[0] == pytest.approx([0.5])


def test_a_quarter_hour_that_was_not_heard_is_no_error(tmp_path):
    link = linked(tmp_path)
    link.publish(drawn(link), outcome(), now=outcome().time)
    link.settle(outcome().time, np.nan)
    assert not any(link._record.errors.errors)


def test_a_document_that_was_sent_stays_sent_where_memory_cannot_be_written(tmp_path):
    link = linked(tmp_path)
    (tmp_path / "record.json").mkdir()
    assert link.publish(drawn(link), outcome(), now=outcome().time) == 1
    assert link._record.errors.promised


def test_a_site_sends_under_its_own_codes(tmp_path):
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    (keys / "site.json").write_text(json.dumps(CODES))
    plan = drawn(linked(tmp_path))
    assert plan["sender"]["eic"] == PARTY
    assert plan["connection_point"] == {"eic": POINT, "name": "Umspannwerk 1"}


def test_without_codes_it_is_a_demonstration(tmp_path):
    sender = read_sender(tmp_path / "site.json", moments.site())
    assert sender == Sender.demonstration(moments.site())
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
