"""Rack batches: binary and JSON say the same, and what is not whole is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from telemetry.messages import decode, encode
from telemetry.messages.rack_batch import BATCH_HEADER
from telemetry.messages.samples import RackBatch
from tests.support.wire_messages import json_batch
from twin.errors import MessageError

BLOCKS = arrays.arrays(
    np.float32,
    st.tuples(st.just(5), st.integers(1, 80)),
    elements=st.floats(allow_nan=False, allow_infinity=False, width=32),
)
BATCH = RackBatch(
    site="rhine",
    hall="hall_1",
    rack="r0001",
    boot=1_781_611_200,
    sequence=41,
    time=np.datetime64("2026-06-16T12:15", "us"),
    interval=np.timedelta64(900, "s"),
    values=np.arange(360, dtype=np.float32).reshape(5, 72),
)
TOPIC, PAYLOAD = encode(BATCH)


def same(one, other):
    fields = ("site", "hall", "rack", "boot", "sequence", "time", "interval")
    return all(getattr(one, f) == getattr(other, f) for f in fields) and np.array_equal(
        one.values, other.values
    )


@given(
    values=BLOCKS,
    boot=st.integers(0, 2**32 - 1),
    sequence=st.integers(0, 2**53),
    interval=st.integers(1, 86_400_000),
)
def test_both_forms_come_back(values, boot, sequence, interval):
    span = np.timedelta64(interval * 1000, "us")
    batch = replace(BATCH, values=values, boot=boot, sequence=sequence, interval=span)
    assert same(decode(*encode(batch)), batch)
    assert same(decode(*json_batch(batch)), batch)


def test_absent_chip_keeps_its_place():
    values = BATCH.values.copy()
    values[:, 2] = np.nan
    batch = replace(BATCH, values=values)
    for topic, payload in (encode(batch), json_batch(batch)):
        assert np.array_equal(decode(topic, payload).values, values, equal_nan=True)


@pytest.mark.parametrize(
    "place", [(0, 2), (slice(1, 5), 2), (slice(None), slice(None)), (4, slice(None))]
)
def test_single_missing_value_is_refused(place):
    values = BATCH.values.copy()
    values[place] = np.nan
    with pytest.raises(MessageError, match="NaN in all rows"):
        encode(replace(BATCH, values=values))
    with pytest.raises(MessageError, match="NaN in all rows"):
        decode(TOPIC, PAYLOAD[:36] + values.tobytes())


def test_the_layout_is_as_agreed():
    assert TOPIC == "dc/v1/rhine/hall_1/r0001/tele"
    assert BATCH_HEADER.unpack_from(PAYLOAD) == (
        b"GTRB",
        1,
        0,
        36,
        1_781_611_200,
        41,
        1_781_612_100_000,
        5,
        72,
        900_000,
    )
    assert len(PAYLOAD) == 36 + 4 * 5 * 72
    assert np.frombuffer(PAYLOAD, "<f4", offset=36)[72] == 72.0  # temperature of the first chip


def test_longer_header_of_later_version_is_skipped():
    longer = bytearray(PAYLOAD[:36] + b"more" + PAYLOAD[36:])
    longer[6:8] = (40).to_bytes(2, "little")
    assert same(decode(TOPIC, bytes(longer)), BATCH)


def header(**changes):
    names = (
        "magic",
        "version",
        "flags",
        "length",
        "boot",
        "sequence",
        "time",
        "rows",
        "chips",
        "span",
    )
    fields = dict(zip(names, BATCH_HEADER.unpack_from(PAYLOAD), strict=True))
    return BATCH_HEADER.pack(*{**fields, **changes}.values()) + PAYLOAD[36:]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        PAYLOAD[:35],
        PAYLOAD[:-1],
        PAYLOAD + b"\0",
        header(magic=b"GTRC"),
        header(version=2),
        header(flags=1),
        header(length=35),
        header(length=0),
        header(length=65535),
        header(rows=4),
        header(rows=6),
        header(chips=0),
        header(chips=65535),
        header(chips=73),
        header(span=0),
        header(span=2**32 - 1),
        header(time=0),
        header(time=2**64 - 1),
        PAYLOAD[:36] + np.full(360, np.nan, "<f4").tobytes(),
        PAYLOAD[:36] + np.full(360, np.inf, "<f4").tobytes(),
    ],
)
def test_incomplete_batch_is_refused(payload):
    with pytest.raises(MessageError):
        decode(TOPIC, payload)


@given(st.integers(0, len(PAYLOAD) * 8 - 1))
def test_a_flipped_bit_is_refused_or_read(bit):
    spoilt = bytearray(PAYLOAD)
    spoilt[bit // 8] ^= 1 << bit % 8
    try:
        batch = decode(TOPIC, bytes(spoilt))
    except MessageError:
        return
    assert np.isfinite(batch.values).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"power": [1.0]},
        {"power": []},
        {"power": [True] * 72},
        {"power": ["1"] * 72},
        {"power": [1e39] * 72},  # finite as a double, not as float32
        {"rack": "r0002"},
        {"boot": -1},
        {"boot": 2**32},
        {"interval_ms": 0},
        {"v": 2},
    ],
)
def test_inconsistent_json_is_refused(changes):
    topic, payload = json_batch(BATCH)
    with pytest.raises(MessageError):
        decode(topic, json.dumps({**json.loads(payload), **changes}).encode())


@pytest.mark.parametrize("values", [np.zeros((4, 72)), np.zeros((5, 0)), np.zeros(5)])
def test_other_shapes_are_not_sent(values):
    with pytest.raises(MessageError):
        encode(replace(BATCH, values=values.astype(np.float32)))
