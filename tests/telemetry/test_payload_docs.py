"""The payloads on the page for operators are those that are taken."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import sites
from telemetry.live.state import LiveState
from telemetry.messages import decode, encode
from telemetry.messages.rack_batch import encode_batch_json
from telemetry.messages.topics import TopicKind, parse_topic

PAGE = (Path(__file__).parents[2] / "docs" / "operators.md").read_text(encoding="utf-8")
_, SECTION = PAGE.split("### Payloads\n")
SECTION = SECTION.split("\n### ", maxsplit=1)[0]

PLANT = {TopicKind.POINT_METADATA, TopicKind.POINT_VALUE, TopicKind.RACK_BATCH_JSON}
"""What plant and nodes say in JSON."""


def told():
    """Return topic -> payload of the page."""
    found = {}
    before, *blocks = SECTION.split("```json\n")
    for block in blocks:
        topic = re.search(r"^`([^`]+)`", before, re.MULTILINE)[1]
        found[topic], before = block.split("```", maxsplit=1)
    return found


def test_each_kind_of_message_of_a_plant_is_on_the_page():
    assert {parse_topic(topic).kind for topic in told()} == PLANT


@pytest.mark.parametrize("topic", told())
def test_a_payload_of_the_page_is_taken_as_it_is_meant(topic):
    payload = told()[topic]
    write = encode_batch_json if parse_topic(topic).kind is TopicKind.RACK_BATCH_JSON else encode
    again, written = write(decode(topic, payload.encode()))
    assert again == topic
    wanted, found = json.loads(payload), json.loads(written)
    lists = {name: found.pop(name) for name, one in wanted.items() if isinstance(one, list)}
    for name, column in lists.items():
        if isinstance(column[0], float):
            np.testing.assert_allclose(column, wanted.pop(name), rtol=1e-6)
        else:
            assert column == wanted.pop(name)
    assert found == wanted


def test_a_window_of_the_site_takes_all_of_the_page():
    window = LiveState(sites.load_site("small"))
    for topic, payload in told().items():
        window.add(decode(topic, payload.encode()))
    assert window.counters == {"good": 1, "batch good": 1}
