"""The published schemas of DSX Flex match the messages that the code reads and writes.

Run as a program, it writes the schema of load targets from the types of the codec.
"""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from jsonschema import Draft202012Validator

import telemetry
from telemetry.feed.flex_messages import (
    FeedTarget,
    LoadTarget,
    PowerFeedState,
    _Envelope,
    _Set,
    decode_load_targets,
    verify_event,
    write_power_state,
)
from telemetry.feed.signing import public_jwk_set
from tests.support.feeds import key
from tests.support.flexing import STATUS, TOPIC, TRACE, content, event, target
from twin.errors import MessageError

SCHEMAS = Path(telemetry.__file__).parent / "schemas"
NOON = np.datetime64("2026-07-01T12:00", "us")
ID = "0d3b7b5e-2f0a-4f8e-8f0e-8a4a9d2f7c10"


def load_target_schema():
    """Return the schema of the types that read a load target, as a text."""
    template = "#/$defs/{name}"
    _, parts = msgspec.json.schema_components([_Envelope, _Set], ref_template=template)
    whole = parts.pop("_Envelope") | {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:gigatwin:flex:loadtarget:1",
        "title": "Load target of a partner, version 1 (DSX Flex 1.7)",
        "description": "Message on grid/v1/isv/{partner}/loadtarget/set: a CloudEvent whose data "
        "is signed with the key of the partner.",
        "$defs": parts,
    }
    text = json.dumps(whole, indent=2).replace('"_', '"').replace("/_", "/")
    return f"{text}\n"


def schema(kind):
    return json.loads((SCHEMAS / f"{kind}-1.schema.json").read_text())


def schema_errors(kind, document, part=None):
    """Return the errors of a document by a schema or a part of it."""
    whole = schema(kind)
    expected = whole if part is None else {"$defs": whole["$defs"], "$ref": f"#/$defs/{part}"}
    return [error.message for error in Draft202012Validator(expected).iter_errors(document)]


def test_load_target_schema_matches_its_types():
    text = (SCHEMAS / "loadtarget-1.schema.json").read_text()
    assert text == load_target_schema(), "run `python -m tests.unit.telemetry.feed.test_flex_docs`"


def without(document, name):
    return {key: value for key, value in document.items() if key != name}


@pytest.mark.parametrize(
    ("wrong", "is_taken"),
    [
        (target(100.0), True),
        (target(None, start="2026-07-01T14:00:00+02:00", tags=["rhine"]), True),
        (target(0.0), False),
        (target(1.0, "gigawatt"), False),
        (target(1.0, start="2026-07-01t14:00:00z"), False),
        (target(1.0, start="2026-07-01T14:00:00"), False),
        (target(1.0, start="2026-07-01T24:00:00Z"), False),
        (target(1.0, start="1999-12-31T14:00:00Z"), False),
        (target(1.0, start="2100-01-01T14:00:00Z"), False),
        (target(1.0, end="9999-12-31T23:59:59Z"), True),
        (target(1.0, end="1999-12-31T23:59:59Z"), False),
        (target(1.0) | {"interval": {"start_time": None}}, False),
        (without(target(1.0), "interval"), False),
        (without(target(1.0), "load_constraint"), False),
        (target(1.0) | {"interval": {"start": "2026-07-01T14:00:00Z"}}, False),
        (target(1.0) | {"feedTags": ["rhine"]}, False),
        (target(1.0) | {"strategy": {"bestEffort": True}}, False),
        (target(None) | {"loadConstraint": {"value": 1.0, "unit": "megawatt"}}, False),
    ],
)
def test_code_and_schema_refuse_the_same_targets(wrong, is_taken):
    document = event(wrong)
    assert not schema_errors("loadtarget", document)
    assert bool(schema_errors("loadtarget", {"targets": [wrong]}, "Set")) != is_taken
    assert is_read(document) == is_taken


@pytest.mark.parametrize("name", [*event(), "correlationid"])
def test_code_and_schema_refuse_the_same_envelopes(name):
    document = without(event(target()), name)
    assert bool(schema_errors("loadtarget", document)) == (name != "correlationid")
    assert is_read(document) == (name == "correlationid")


def is_read(document):
    try:
        event = verify_event(
            TOPIC, json.dumps(document).encode(), issuer="tso-1", keys=public_jwk_set(key("tso-1"))
        )
        found = decode_load_targets(TOPIC, event)
    except MessageError:
        return False
    return bool(found.targets)


@pytest.mark.parametrize("correlation", ["", ID])
def test_power_state_matches_its_schema(correlation):
    requested = LoadTarget(start=NOON, end=None, feeds=(), power=80.0, is_best_effort=True)
    state = PowerFeedState(
        min_target=0.0,
        max_power=150.0,
        targets=[FeedTarget(target=requested, is_active=True, correlation=ID)],
        load=79.0,
        is_load_changing=True,
        event="start_ramp_down",
        since=NOON if correlation else None,
        is_compliant=True,
    )
    text = write_power_state(
        {"rhine": state},
        topic=STATUS,
        agent="rhine",
        now=NOON,
        key=key("rhine"),
        ids=(ID, TRACE),
        correlation=correlation,
    )
    document = json.loads(text)
    assert not schema_errors("powerstate", document)
    assert not schema_errors("powerstate", content(document["data"]), "State")


if __name__ == "__main__":
    (SCHEMAS / "loadtarget-1.schema.json").write_text(load_target_schema())
