"""Documents of the feed: schema, sense, and the same schedule as arrays and as XML."""

import itertools
import json
import re
from functools import partial
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.messages import feed_documents as codec
from telemetry.messages.feed_documents import ESMP_NAMESPACE, revision_number, to_market_document
from tests.support.feeds import START, acknowledgement, schedule
from twin import variables
from twin.errors import IssueCode, MessageError

KINDS = ("schedule", "status", "ack")
READ_STATUS = partial(codec.read_document, kind="status")


def read(document):
    return codec.read_schedule(json.dumps(document).encode())


def refused(document, words):
    with pytest.raises(MessageError) as caught:
        read(document)
    assert words in str(caught.value)


def changed(path, value, document=None):
    """Return a schedule with one field set, or removed by None at its end."""
    whole = json.loads(json.dumps(document or schedule()))
    *way, last = path
    place = whole
    for step in way:
        place = place[step]
    place[last] = value
    return whole


@pytest.mark.parametrize("kind", KINDS)
def test_schemas_are_of_the_dialect_that_they_name(kind):
    schema = codec.document_schema(kind)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)


def leaves(schema, path=""):
    """Yield every declared field of a schema with its declaration."""
    for name, field in schema.get("properties", {}).items():
        yield f"{path}/{name}", field
        yield from leaves(field, f"{path}/{name}")
        yield from leaves(field.get("items", {}), f"{path}/{name}[]")


@pytest.mark.parametrize("kind", KINDS)
def test_fields_have_descriptions_and_units(kind):
    schema = codec.document_schema(kind)
    wrong = []
    for path, field in leaves(schema):
        target = schema["$defs"][field["$ref"].split("/")[-1]] if "$ref" in field else field
        if not field.get("description"):
            wrong.append(f"{path} has no description")
        is_number = {"number", "integer"} & {*np.atleast_1d(target.get("type", ""))}
        if is_number and "x-unit" not in {**target, **field}:
            wrong.append(f"{path} has no unit")
    assert wrong == []


@pytest.mark.parametrize("count", [92, 96, 100])
def test_market_days_of_all_lengths_are_read(count):
    document = schedule(count=count)
    assert read(document) == document
    assert codec.schedule_dataset(document).sizes["time"] == count


@pytest.mark.parametrize("entry", [{}, 0, None])
def test_too_long_list_is_refused_unread(entry):
    refused(schedule() | {"intervals": [entry] * 40_000}, "40000 intervals")
    reasons = {"v": 1, "reasons": [entry] * 2_000}
    with pytest.raises(MessageError, match="2000 reasons"):
        codec.read_acknowledgement(json.dumps(reasons).encode())


def test_unknown_fields_are_ignored():
    document = changed(["meta", "mood"], "calm", schedule() | {"extra": 1})
    document["intervals"][0]["price"] = 3
    assert read(document)["revision"] == 1


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["v"], 2, "version 1"),
        (["v"], "1", "version 1"),
        (["revision"], 0, "$.revision"),
        (["revision"], True, "$.revision"),
        (["revision"], 1.5, "$.revision"),
        (["site"], "a/b", "$.site"),
        (["partner"], "", "$.partner"),
        (["mrid"], "x" * 36, "$.mrid"),
        (["created"], -1, "$.created"),
        (["created"], "2026-06-16", "$.created"),
        (["resolution"], "PT60M", "$.resolution"),
        (["sender", "eic"], "short", "$.sender.eic"),
        (["sender", "nickname"], "x", "nickname"),
        (["receiver", "role", "code"], "A99", "$.receiver.role.code"),
        (["intervals"], [], "$.intervals"),
        (["intervals", 3, "scheduled_mw"], None, "$.intervals[3].scheduled_mw"),
        (["intervals", 3, "scheduled_mw"], True, "$.intervals[3].scheduled_mw"),
        (["intervals", 3, "flexibility_up_mw"], -1, "$.intervals[3].flexibility_up_mw"),
        (["meta", "source"], "guess", "$.meta.source"),
        (["meta", "source"], "rule", "$.meta.degraded"),  # a fallback never hides
        (["meta", "up_means"], "net_import_rises", "$.meta.up_means"),
        (["intervals", 7, "position"], 9, "gaps"),
        (["intervals", 7, "start"], 1781611200001, "gaps"),
        (["intervals", 7, "p10_mw"], 200.0, "p10_mw"),
        (["period_end"], 1781611200000, "period"),
        (["valid_until"], 1781611200000, "valid_until"),
    ],
)
def test_invalid_field_is_refused_with_its_path(path, value, words):
    refused(changed(path, value), words)


@pytest.mark.parametrize("name", sorted(schedule()))
def test_no_field_may_be_missing(name):
    document = schedule()
    del document[name]
    with pytest.raises(MessageError):
        read(document)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "-1e999"])
def test_numbers_are_finite(number):
    text = json.dumps(schedule()).replace('"scheduled_mw": 100.0', f'"scheduled_mw": {number}', 1)
    with pytest.raises(MessageError):
        codec.read_schedule(text.encode())


def test_a_name_twice_is_refused():
    text = json.dumps(schedule())[:-1] + ', "revision": 7}'
    with pytest.raises(MessageError):
        codec.read_schedule(text.encode())


@given(st.binary(max_size=200) | st.text(max_size=50).map(str.encode))
def test_junk_is_refused_and_nothing_else_happens(payload):
    for reader in (codec.read_schedule, READ_STATUS, codec.read_acknowledgement):
        with pytest.raises(MessageError):
            reader(payload)


@pytest.mark.slow
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=10,
    ),
    st.sampled_from(sorted(schedule())),
)
def test_any_value_in_any_field_is_read_or_refused(value, name):
    document = schedule() | {name: value}
    try:
        found = codec.read_schedule(json.dumps(document).encode())
    except MessageError:
        return
    codec.schedule_dataset(found)
    to_market_document(found)


def test_an_acknowledgement_always_has_a_reason():
    assert acknowledgement().payload
    document = {"v": 1, "site": "s", "partner": "p", "mrid": "m", "revision": 1, "code": "A01"}
    with pytest.raises(MessageError, match="reasons"):
        codec.check_schema(document | {"reasons": [], "time": 1781611200000}, "ack")


def test_arrays_split_import_and_export():
    document = changed(["intervals", 2, "scheduled_mw"], -12.5)
    document["intervals"][2] |= {"p10_mw": -20.0, "p90_mw": 3.0, "baseline_mw": -1.0}
    data = codec.schedule_dataset(document)
    assert data["grid_import_power"].to_numpy()[1:4].tolist() == [100.0, 0.0, 100.0]
    assert data["grid_export_power"].to_numpy()[1:4].tolist() == [0.0, 12.5, 0.0]
    assert data["grid_import_band"].to_numpy()[2].tolist() == [0.0, 3.0]
    assert data["grid_export_band"].to_numpy()[2].tolist() == [20.0, 0.0]
    assert data["time"].to_numpy()[0] == START
    assert data.attrs["valid_until"] == "2026-06-16T13:00:00Z"
    assert data.attrs["degraded"] == ""
    variables.check_variables(data, *map(str, data.data_vars))


def test_arrays_can_be_kept_in_a_file(tmp_path):
    data = codec.schedule_dataset(schedule())
    data.to_netcdf(tmp_path / "schedule.nc", engine="h5netcdf")
    assert (tmp_path / "schedule.nc").stat().st_size > 0


def xml(document):
    return ElementTree.fromstring(to_market_document(document))


def text_of(element, *names):
    return element.findtext("/".join(f"{{{ESMP_NAMESPACE}}}{name}" for name in names))


def test_market_document_header_follows_standard():
    root = xml(schedule(revision=17))
    names = [child.tag.removeprefix(f"{{{ESMP_NAMESPACE}}}") for child in root]
    assert names == [
        "mRID",
        "revisionNumber",
        "type",
        "process.processType",
        "process.classificationType",
        "sender_MarketParticipant.mRID",
        "sender_MarketParticipant.marketRole.type",
        "receiver_MarketParticipant.mRID",
        "receiver_MarketParticipant.marketRole.type",
        "createdDateTime",
        "schedule_Time_Period.timeInterval",
        "domain.mRID",
        "subject_MarketParticipant.mRID",
        "subject_MarketParticipant.marketRole.type",
        "TimeSeries",
    ]
    assert text_of(root, "revisionNumber") == "17"
    assert text_of(root, "type") == "A14"
    assert text_of(root, "createdDateTime") == "2026-06-16T12:00:00Z"
    assert text_of(root, "schedule_Time_Period.timeInterval", "end") == "2026-06-17T12:00Z"
    domain = root.find(f"{{{ESMP_NAMESPACE}}}domain.mRID")
    assert (domain.text, domain.get("codingScheme")) == ("10Y1001A1001A82H", "A01")


def filled(series, count):
    """Return the values of a curve of type A03: what is left out repeats."""
    found = {}
    for point in series.iter(f"{{{ESMP_NAMESPACE}}}Point"):
        found[int(text_of(point, "position"))] = float(text_of(point, "quantity"))
    values, last = [], None
    for position in range(1, count + 1):
        last = found.get(position, last)
        values.append(last)
    return values, len(found)


def test_repeated_points_are_omitted():
    document = schedule()
    net = [100.0] * 96
    for place, power in ((3, 90.125), (4, 90.125), (5, -12.0)):
        net[place] = document["intervals"][place]["scheduled_mw"] = power
    consumption, production = xml(document).iter(f"{{{ESMP_NAMESPACE}}}TimeSeries")
    values, count = filled(consumption, 96)
    assert values == [max(power, 0.0) for power in net]
    assert count == 4  # at positions 1, 4, 6 and 7
    assert text_of(consumption, "curveType") == "A03"
    assert text_of(consumption, "businessType") == "A04"
    assert filled(production, 96)[0] == [max(-power, 0.0) for power in net]
    assert text_of(production, "businessType") == "A01"
    assert text_of(production, "out_Domain.mRID") == "10Y1001A1001A82H"


def test_market_document_has_no_negative_zero():
    """Proves: 0 and -0.0 of import are one point "0", in both series; it was "-0", and a point."""
    document = schedule()
    for place, row in enumerate(document["intervals"]):
        row["scheduled_mw"] = (0.0, -0.0, -5.0)[min(place % 4, 2)]
    for series in xml(document).iter(f"{{{ESMP_NAMESPACE}}}TimeSeries"):
        points = [text_of(one, "quantity") for one in series.iter(f"{{{ESMP_NAMESPACE}}}Point")]
        assert set(points) <= {"0", "5"}
        assert points
        assert all(first != second for first, second in itertools.pairwise(points))


def test_revision_numbers_have_three_digits_for_ever():
    assert [revision_number(n) for n in (1, 999, 1000, 1998, 1999)] == [1, 999, 1, 999, 1]
    assert all(re.fullmatch("[1-9][0-9]{0,2}", str(revision_number(n))) for n in range(1, 3000))


@pytest.mark.parametrize(
    ("kind", "reader"),
    [("ack", codec.read_acknowledgement), ("status", READ_STATUS)],
)
def test_document_that_inflates_is_refused_unread(kind, reader):
    with pytest.raises(MessageError) as error:
        reader(b"[" * (codec.MAX_DOCUMENT_BYTES[kind] + 1))
    assert error.value.code is IssueCode.TOO_LARGE
