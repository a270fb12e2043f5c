"""The payloads on the page of topics and points are accepted."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import sites
from telemetry.live.state import LiveState
from telemetry.messages import decode, encode
from telemetry.messages.samples import RackBatch
from telemetry.messages.topics import TopicKind, parse_topic
from tests.support.wire_messages import json_batch

PAGE = (Path(__file__).parents[4] / "docs" / "reference" / "points.md").read_text(encoding="utf-8")
_, SECTION = PAGE.split("### Payloads\n")
SECTION = SECTION.split("\n### ", maxsplit=1)[0]

PLANT = {TopicKind.POINT_METADATA, TopicKind.POINT_VALUE, TopicKind.RACK_BATCH_JSON}
"""Kinds of JSON messages of plant and nodes."""


def page_payloads():
    """Return topic -> payload of the page."""
    found = {}
    before, *blocks = SECTION.split("```json\n")
    for block in blocks:
        topic = re.search(r"^`([^`]+)`", before, re.MULTILINE)[1]
        found[topic], before = block.split("```", maxsplit=1)
    return found


def test_page_has_each_kind_of_plant_message():
    assert {parse_topic(topic).kind for topic in page_payloads()} == PLANT


@pytest.mark.parametrize("topic", page_payloads())
def test_payload_of_the_page_round_trips(topic):
    payload = page_payloads()[topic]
    sample = decode(topic, payload.encode())
    again, written = json_batch(sample) if isinstance(sample, RackBatch) else encode(sample)
    assert again == topic
    wanted, found = json.loads(payload), json.loads(written)
    lists = {name: found.pop(name) for name, one in wanted.items() if isinstance(one, list)}
    for name, column in lists.items():
        if isinstance(column[0], float):
            np.testing.assert_allclose(column, wanted.pop(name), rtol=1e-6)
        else:
            assert column == wanted.pop(name)
    assert found == wanted


def test_live_state_accepts_all_payloads_of_the_page():
    window = LiveState(sites.load_site("small"))
    for topic, payload in page_payloads().items():
        window.add(decode(topic, payload.encode()))
    assert window.counters == {"good": 1, "batch good": 1}
