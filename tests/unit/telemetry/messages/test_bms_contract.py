"""The contract of the event bus: valid messages are read, corrupt ones are refused."""

from collections import Counter

import pytest

from telemetry.messages import decode
from telemetry.messages.bms_contract import EXTENSIBLE_OBJECTS, RULES_BY_OBJECT
from tests.support.bms_contract import as_payload, messages, read_contract
from twin.errors import IssueCode, MessageError


@pytest.fixture(scope="module")
def published(shared):
    return messages(read_contract(shared))


def test_rules_list_exactly_the_points_of_the_contract(published):
    named = {(one.object_type, one.point_type) for one in published if not one.is_value}
    assert named == {(kind, point) for kind, points in RULES_BY_OBJECT.items() for point in points}
    assert len(named) > 200


@pytest.mark.slow
def test_every_valid_example_is_read(published):
    counts = Counter()
    for one in published:
        examples = one.examples()
        assert examples, one.topic
        for document in examples:
            found = decode(one.topic, as_payload(document))
            counts[one.is_value] += 1
            if not one.is_value:
                assert found.unit == document.get("engUnit", "")
                assert len(found.state_text) == len(document.get("stateText", ()))
                assert found.serves == tuple(document.get("servesId", ()))
                assert found.is_associated == ("associateId" in document)
    assert counts[False] > 800
    assert counts[True] > 1500


@pytest.mark.slow
def test_corrupt_example_is_refused_for_its_reason(published):
    """Proves: the refusal names the field that is wrong.

    Unknown fields are no error: a later version may define them. Of the messages that share a
    rule, one is corrupted in all its examples, the others in their last.
    """
    count, known = 0, set()
    for one in published:
        shape = one.is_value or RULES_BY_OBJECT[one.object_type][one.point_type]
        examples = one.examples()[-1:] if shape in known else one.examples()
        known.add(shape)
        for document in examples:
            for spoilt in one.spoilt(document):
                count += 1
                with pytest.raises(MessageError) as caught:
                    decode(one.topic, as_payload(spoilt.document))
                assert spoilt.word in str(caught.value), (one.topic, spoilt.how, str(caught.value))
    assert count > 20_000


@pytest.mark.slow
def test_unlisted_points_and_senders_are_refused(published):
    for one in published:
        payload = as_payload(one.examples()[0])
        kind, point = one.object_type, one.point_type
        for topic, word in (
            (one.topic.replace(f"/{kind}/", "/Teapot/"), "an object type is one of"),
            (one.topic.replace(f"/{point}/", f"/{point}s/"), f"a point type of {kind} is one of"),
        ):
            if one.is_value and word.startswith("a point") and kind in EXTENSIBLE_OBJECTS:
                continue  # of these a vendor may have more
            with pytest.raises(MessageError, match=word):
                decode(topic, payload)
        if not one.is_value:
            document = one.examples()[0]
            for name in ("objectType", "pointType"):
                with pytest.raises(MessageError, match="as its topic does"):
                    decode(one.topic, as_payload(document | {name: "Other"}))
            with pytest.raises(MessageError, match="no topic of ours"):
                decode(one.topic.replace("/PUB/", "/MEPAI/"), payload)


def test_each_point_has_one_writer(published):
    allowed = {
        (one.topic.split("/")[2], one.object_type, one.point_type)
        for one in published
        if one.is_value
    }
    example = as_payload({"value": 1.0, "timestamp": 1_781_611_200_000, "quality": 1})
    refused = 0
    for kind, points in RULES_BY_OBJECT.items():
        for point in points:
            for sender in ("PUB", "MEPAI"):
                topic = f"BMS/v1/{sender}/Value/{kind}/{point}/rhine/x"
                if (sender, kind, point) in allowed:
                    decode(topic, example)
                    continue
                refused += 1
                with pytest.raises(MessageError) as error:
                    decode(topic, example)
                assert error.value.code is IssueCode.UNAUTHORISED
    assert refused > 150


@pytest.mark.slow
def test_fields_of_later_version_are_ignored(published):
    for one in published:
        document = one.examples()[0]
        more = document | {"firmwareOfTheNextYear": {"major": [1, 2]}}
        assert not one.is_valid(more)
        found, alone = (decode(one.topic, as_payload(each)) for each in (more, document))
        assert found == alone
