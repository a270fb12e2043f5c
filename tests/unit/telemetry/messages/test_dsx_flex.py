"""DSX Flex: what the contract allows is read, what it forbids is refused; ours fits it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from joserfc.jwk import RSAKey

from telemetry.feed import signing
from telemetry.feed.flex_messages import (
    FeedTarget,
    LoadTarget,
    PowerFeedState,
    decode_load_targets,
    verify_event,
    write_power_state,
)
from telemetry.feed.signing import FLEX_DOCUMENT_KIND, public_jwk_set
from tests.support.feeds import key
from tests.support.flexing import STATUS, TOPIC, TRACE, content, event, payload, target, validator
from twin.errors import MessageError

KEYS = public_jwk_set(key("tso-1"))
NOON = np.datetime64("2026-07-01T12:00", "us")
HOUR = np.timedelta64(1, "h")


@pytest.fixture(scope="module")
def contract(shared):
    path = shared / "contracts" / "dsx-flex.yaml"
    if not path.is_file():
        pytest.skip("no contract: lay dsx-flex.yaml in ../shared/contracts")
    return path


def read(message, *, issuer="tso-1"):
    return decode_load_targets(TOPIC, verify_event(TOPIC, message, issuer=issuer, keys=KEYS))


@pytest.mark.parametrize(
    ("value", "unit", "power"),
    [(80.5, "megawatt", 80.5), (80_500, "kilowatt", 80.5), (80.5e6, "watt", 80.5)],
)
def test_a_target_is_read_in_megawatts(value, unit, power, contract):
    given = event(
        target(value, unit, start="2026-07-01T14:00:00+02:00", end="2026-07-01T13:00:00.5Z")
    )
    validator(contract, "LoadTargetSetEvent").validate(given)
    found = read(json.dumps(given).encode())
    assert (found.correlation, found.trace) == (given["correlationid"], TRACE)
    (one,) = found.targets
    assert one.power == pytest.approx(power)
    assert one.start == NOON
    assert one.end == NOON + HOUR + np.timedelta64(500, "ms")
    assert not one.is_best_effort
    assert one.feeds == ()


def test_null_lifts_target_and_best_effort_is_read():
    found = read(payload(target(None), target(5.0, tags=["main-a"], best_effort=True)))
    lifted, asked = found.targets
    assert lifted.power is None
    assert (asked.is_best_effort, asked.feeds, asked.start, asked.end) == (
        True, ("main-a",), None, None,
    )  # fmt: skip


@pytest.mark.parametrize("end", ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59.9999999Z",
    "2100-01-01T00:00:00Z", "2099-12-31T23:00:00-01:00"])  # fmt: skip
def test_end_after_this_century_means_no_end(end):
    (found,) = read(payload(target(end=end))).targets
    assert found.end is None


def test_last_end_of_this_century_is_kept():
    (found,) = read(payload(target(end="2100-01-01T00:59:59+01:00"))).targets
    assert found.end == np.datetime64("2099-12-31T23:59:59")


def test_missing_correlation_id_becomes_event_id():
    given = event(target())
    del given["correlationid"]
    assert read(json.dumps(given).encode()).correlation == given["id"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"specversion": "1.0"}, "specversion"),
        ({"id": "7"}, "id"),
        ({"source": "//grid/v1/isv/other"}, "source must be //grid/v1/isv/tso-1"),
        ({"type": "grid.powerstate.status.v1"}, "type"),
        ({"time": "yesterday"}, "a time such as"),
        ({"time": "2026-07-01T12:00:00"}, "a time such as"),
        ({"time": "2026-13-01T12:00:00Z"}, "a time such as"),
        ({"datacontenttype": "text/plain"}, "datacontenttype"),
        ({"traceparent": "00-1-2-3"}, "traceparent"),
        ({"data": "a.b.c"}, "signature"),
        ({"data": {"targets": []}}, "at least|length >= 1"),
        ({"by": "mallory"}, "kid of a known key"),
    ],
)
def test_invalid_envelope_is_refused(changed, reason):
    with pytest.raises(MessageError, match=reason):
        read(payload(target(), **changed))


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (target(-1.0), "above 0"),
        (target(0.0), "above 0"),
        (target(True), "load_constraint.value|number|float"),
        (target("5"), "float"),
        (target(unit="gigawatt"), "gigawatt"),
        (target(start="2026-07-01T13:00:00Z", end="2026-07-01T13:00:00Z"), "ends after it starts"),
        (target(start="1999-07-01T13:00:00Z"), "2000 to 2099|century"),
        (target(start="2100-01-01T00:00:00Z"), "2000 to 2099|century"),
        (target(end="9999-02-30T00:00:00Z"), "a time such as"),
        (target(end="2026-07-01T23:59:60Z"), "a time such as"),
        ({"interval": {}}, "load_constraint"),
        ({"load_constraint": None}, "interval"),
    ],
)
def test_invalid_target_is_refused(wrong, reason):
    with pytest.raises(MessageError, match=reason):
        read(payload(wrong))


@pytest.mark.parametrize("number", ["NaN", "1e999", "-Infinity"])
def test_invalid_numbers_are_refused_despite_signature(number):
    text = json.dumps({"targets": [target(5.5, "watt")]}).replace("5.5", number)
    signed = signing.jws.serialize_compact(
        {"alg": "ES256", "kid": key("tso-1").kid}, text, key("tso-1")._key
    )
    with pytest.raises(MessageError, match="number"):
        read(payload(data=signed))


def test_a_target_signed_with_rs256_is_read():
    own = RSAKey.generate_key(2048)
    content = json.dumps({"targets": [target(80.0)]})
    header = {"alg": "RS256", "kid": own.thumbprint()}
    signed = signing.jws.serialize_compact(header, content, own, algorithms=["RS256"])
    both = {"keys": [*KEYS["keys"], own.as_dict(private=False)]}
    event = verify_event(TOPIC, payload(data=signed), issuer="tso-1", keys=both)
    found = decode_load_targets(TOPIC, event)
    assert [one.power for one in found.targets] == [80.0]


def test_feed_acknowledgement_is_no_target():
    signed = signing.sign_document({"targets": [target()]}, key("tso-1"), kind="ack")
    with pytest.raises(MessageError, match="typ"):
        read(payload(data=signed))


def test_a_power_state_fits_the_contract(contract):
    asked = LoadTarget(start=NOON, end=NOON + HOUR, feeds=(), power=90.0, is_best_effort=False)
    state = PowerFeedState(
        min_target=60.0,
        max_power=150.0,
        targets=[FeedTarget(target=asked, is_active=True, correlation=event()["id"])],
        load=88.0,
        is_load_changing=True,
        event="start_ramp_down",
        since=NOON,
        is_compliant=True,
    )
    sent = json.loads(
        write_power_state(
            {"rhine": state},
            topic=STATUS,
            agent="rhine",
            now=NOON,
            key=key("rhine"),
            ids=(event()["id"], TRACE),
            correlation=event()["id"],
        )
    )
    validator(contract, "PowerStateStatusEvent").validate(sent)
    message = content(sent["data"])
    validator(contract, "PowerStateStatusData").validate(message)
    assert signing.verify_signature(
        sent["data"], public_jwk_set(key("rhine")), kind=FLEX_DOCUMENT_KIND
    )
    feed = message["feeds"]["rhine"]
    assert feed["metadata"]["power_minimum"] == {"value": 60.0, "unit": "megawatt"}
    assert feed["calculated_load"] == {"value": 88.0, "unit": "megawatt"}
    assert feed["targets"][0]["interval"] == {
        "start_time": "2026-07-01T12:00:00.000Z",
        "end_time": "2026-07-01T13:00:00.000Z",
    }


def test_the_example_for_partners_is_read():
    page = (Path(__file__).parents[4] / "docs" / "reference/load-targets.md").read_text()
    chapter = page.split("## The message")[1].split("\n## ")[0]
    blocks = re.findall(r"```json\n(.*?)```", chapter, re.DOTALL)
    header, envelope, message = map(json.loads, blocks)
    claims = {name: header[name] for name in ("iat", "jti", "aud")}
    signed = signing.sign_document(message, key("tso-1"), kind=FLEX_DOCUMENT_KIND, claims=claims)
    found = read(json.dumps(envelope | {"data": signed}).encode())
    (one,) = found.targets
    assert (one.power, one.feeds, one.end - one.start) == (120.0, ("rhine",), 2 * HOUR)
    assert found.claims.issued == found.time
    assert (found.claims.jti, found.claims.audience) == (header["jti"], ("rhine",))
