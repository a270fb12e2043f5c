"""Hostile payloads: every decoder refuses them in one way, with a WireError that can be printed."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry.messages import decode
from telemetry.messages.codec import DECODERS
from telemetry.messages.topics import TopicKind
from tests.support.wire_messages import GOOD, TOPICS
from twin.errors import MessageError

CASES = [(kind, field) for kind, document in GOOD.items() for field in document]


def refused(topic, payload):
    with pytest.raises(MessageError) as caught:
        decode(topic, payload)
    text = str(caught.value)
    text.encode("ascii")
    assert len(text) < 1000


def test_every_reader_is_tried():
    assert set(TOPICS) == set(DECODERS)
    assert set(GOOD) | {TopicKind.RACK_BATCH} == set(DECODERS)


@pytest.mark.parametrize("kind", GOOD)
def test_the_good_document_reads(kind):
    decode(TOPICS[kind], json.dumps(GOOD[kind]).encode())


RAW = {
    "nothing": b"",
    "no JSON": b"hello",
    "a list": b"[]",
    "a number": b"1",
    "null": b"null",
    "a list of texts": b'["\\ud800"]',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"v":1}'.encode("utf-16"),
    "bad UTF-8": b'{"v":"\xff"}',
    "nested lists": b"[" * 100_000 + b"]" * 100_000,
    "nested objects": b'{"a":' * 40_000 + b"1" + b"}" * 40_000,
    "a huge integer": b"9" * 200_000,
    "a million": b"[" + b"9" * 1_000_000 + b"]",
    "NaN": b"NaN",
    "two documents": b"{}{}",
    "NUL": b"\0" * 100,
}


@pytest.mark.parametrize("topic", TOPICS.values(), ids=list(TOPICS))
@pytest.mark.parametrize("payload", RAW.values(), ids=list(RAW))
def test_invalid_document_is_refused(topic, payload):
    refused(topic, payload)


HOSTILE = {
    "NaN": "NaN",
    "Infinity": "-Infinity",
    "1e999": "1e999",
    "a big integer": "9" * 400,
    "a megabyte of digits": "9" * 250_000,
    "nested brackets": "[" * 100_000 + "]" * 100_000,
    "a lone surrogate": '"\\ud800"',
    "a surrogate in a list": '["\\udc00"]',
    "an object": '{"a":1}',
    "a list of objects": "[{}]",
    "a list of booleans of booleans": "[[true]]",
}


@pytest.mark.parametrize(("kind", "field"), CASES)
@pytest.mark.parametrize("text", HOSTILE.values(), ids=list(HOSTILE))
def test_hostile_values_are_refused_in_every_field(kind, field, text):
    marked = json.dumps(GOOD[kind] | {field: "@"}).replace('"@"', text)
    refused(TOPICS[kind], marked.encode())


@pytest.mark.parametrize(("kind", "field"), CASES)
def test_a_field_of_another_type_is_refused(kind, field):
    value = GOOD[kind][field]
    others = ["x", True, 1.5, None, [None], {}]
    for other in others:
        may_be_null = kind is TopicKind.POINT_VALUE and field == "value"
        if type(other) is type(value) or (other is None and may_be_null):
            continue
        refused(TOPICS[kind], json.dumps(GOOD[kind] | {field: other}).encode())


@pytest.mark.parametrize(("kind", "field"), CASES)
def test_repeated_field_is_refused(kind, field):
    text = json.dumps(GOOD[kind])
    twice = f'{text[:-1]}, "{field}": {json.dumps(GOOD[kind][field])}}}'
    refused(TOPICS[kind], twice.encode())


@pytest.mark.parametrize("kind", GOOD)
def test_unknown_fields_pass_but_are_checked(kind):
    text = json.dumps(GOOD[kind])[:-1]
    decode(TOPICS[kind], (text + ', "new": {"a": [1, "b"]}}').encode())
    for hostile in ("NaN", "1e999", '"\\ud800"', '{"a":1,"a":2}', '[["\\udfff"]]'):
        refused(TOPICS[kind], f'{text}, "new": {hostile}}}'.encode())


@pytest.mark.parametrize(
    "payload",
    [
        b'{"value":1,"value":2,"timestamp":1781611200000,"quality":1}',
        b'{"value":1,"value":2,"timestamp":1781611200000}',
        b'{"value":true,"timestamp":1781611200000,"quality":1}',
        b'{"value":1,"timestamp":1781611200000.0,"quality":1}',
        b'{"value":1,"timestamp":1781611200,"quality":1}',  # seconds
        b'{"value":1,"timestamp":1781611200000,"quality":99999999999}',
        b'{"value":1,"timestamp":1781611200000,"v\\u0061lue":2,"quality":1}',
        b'{"value":1e400,"timestamp":1781611200000,"quality":1}',
        b'{"value":NaN,"timestamp":1781611200000,"quality":1}',
        b'{"value":1,"timestamp":1781611200000}',
        b'{"value":1,"timestamp":1781611200000,"quality":1}x',
        b'{"value":1,"timestamp":1781611200000,"quality":1,"\xff":1}',
    ],
)
def test_fast_decoder_is_as_strict(payload):
    refused(TOPICS[TopicKind.POINT_VALUE], payload)


@given(payload=st.binary(max_size=200), kind=st.sampled_from(list(TOPICS)))
@settings(max_examples=300)
def test_any_bytes_are_read_or_refused(payload, kind):
    try:
        decode(TOPICS[kind], payload)
    except MessageError:
        return


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(case=st.sampled_from(CASES), value=JSON)
@settings(max_examples=500)
def test_any_json_in_any_field_is_read_or_refused(case, value):
    kind, field = case
    payload = json.dumps(GOOD[kind] | {field: value}).encode()
    try:
        decode(TOPICS[kind], payload)
    except MessageError:
        return


@given(st.text(), st.binary(max_size=20))
def test_any_topic_is_read_or_refused(topic, payload):
    try:
        decode(topic, payload)
    except MessageError:
        return
