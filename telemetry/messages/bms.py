"""Encode and decode points of a building-management system, as DSX Exchange BMS 1.0 has them."""

from typing import Annotated, Final

import msgspec

from telemetry.messages.bms_contract import PHASE_NAMES, rule_of
from telemetry.messages.samples import PointMetadata, PointValue
from telemetry.messages.strict_json import (
    TIME_RANGE,
    Json,
    decode_json,
    encode_json,
    expect_finite,
    expect_names,
    to_datetime,
    to_milliseconds,
)
from telemetry.messages.topics import ParsedTopic, metadata_topic, value_topic
from twin.errors import MessageError

_VALUE_QUOTES: Final = 6
"""Quotation marks of a value message with exactly its three fields, each once. [1]"""


class _Value(msgspec.Struct):
    value: float | None
    timestamp: Annotated[int, TIME_RANGE]
    quality: Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]


class _State(msgspec.Struct):
    value: Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]
    text: str


class _Metadata(msgspec.Struct, rename="camel"):
    object_type: str
    point_type: str
    object_name: str = ""
    object_id: str = ""
    associate_id: str = ""
    serves_id: list[str] = []
    eng_unit: str = ""
    state_text: list[_State] = []
    process_area: list[str] = []
    integration: str = ""
    is_setpoint: bool = False
    rack_location_id: str = ""
    rack_location_name: str = ""
    phase: str = ""
    scope: str = ""


_VALUE: Final = msgspec.json.Decoder(_Value)


def decode_value(address: ParsedTopic, topic: str, payload: bytes) -> PointValue:
    """Return a reading, in the unit of its point.

    Six quotation marks and three required fields mean that no key is repeated or ignored. Then the
    fast msgspec decoder is as strict as :func:`decode_json`, which reads all other messages.
    """
    if payload.count(b'"') == _VALUE_QUOTES:
        try:
            record = _VALUE.decode(payload)
        except (ValueError, RecursionError) as error:
            raise MessageError(topic, payload, str(error)) from error
    else:
        record = decode_json(topic, payload, _Value)
    return PointValue(
        point=address.point,
        time=to_datetime(topic, record.timestamp),
        value=record.value,
        quality=record.quality,
        sender=address.sender,
    )


def encode_value(sample: PointValue) -> tuple[str, bytes]:
    """Return the topic and the payload of a reading or a request."""
    topic = value_topic(sample.point, sample.sender)
    if sample.value is not None:
        expect_finite(topic, sample.value)
    document: dict[str, Json] = {
        "value": sample.value,
        "timestamp": to_milliseconds(topic, sample.time),
        "quality": sample.quality,
    }
    return topic, encode_json(topic, document)


def decode_metadata(address: ParsedTopic, topic: str, payload: bytes) -> PointMetadata:
    """Return the metadata of a point, checked by :mod:`telemetry.messages.bms_contract`."""
    document = decode_json(topic, payload, dict[str, object])
    record = _metadata_record(topic, document)
    object_type, point_type, _ = address.point.split("/", 2)
    rule = rule_of(topic, object_type, point_type)
    expect_names(topic, (record.object_type, object_type), (record.point_type, point_type))
    violations = rule.violations(document)
    if {"engUnit", "stateText"} <= document.keys() and not violations:
        violations = ["engUnit or stateText is required, not both"]
    if violations:
        raise MessageError(topic, ", ".join(sorted(document)), "; ".join(violations))
    if rule.unit and record.eng_unit != rule.unit:
        raise MessageError(topic, record.eng_unit, f"the engUnit of {point_type} is {rule.unit}")
    if "phase" in document and record.phase not in PHASE_NAMES:
        raise MessageError(
            topic, record.phase, f"a phase is one of {', '.join(sorted(PHASE_NAMES))}"
        )
    return PointMetadata(
        point=address.point,
        object_type=object_type,
        point_type=point_type,
        object_id=record.associate_id or record.object_id,
        object_name=record.object_name,
        is_associated=bool(record.associate_id),
        unit=record.eng_unit,
        state_text=tuple((state.value, state.text) for state in record.state_text),
        process_area=tuple(record.process_area),
        serves=tuple(record.serves_id),
        integration=record.integration,
        is_setpoint=record.is_setpoint,
        rack=record.rack_location_id,
        rack_name=record.rack_location_name,
        phase=record.phase,
        scope=record.scope,
    )


def _metadata_record(topic: str, document: dict[str, object]) -> _Metadata:
    try:
        return msgspec.convert(document, _Metadata)
    except ValueError as error:
        raise MessageError(topic, "", str(error)) from error


def encode_metadata(sample: PointMetadata) -> tuple[str, bytes]:
    """Return the topic and the payload of metadata, without fields that may be left out empty."""
    topic = metadata_topic(sample.point)
    fields: dict[str, Json] = {
        "objectType": sample.object_type,
        "pointType": sample.point_type,
        "engUnit": sample.unit,
        "stateText": [{"value": value, "text": text} for value, text in sample.state_text],
        "processArea": list(sample.process_area),
        "rackLocationName": sample.rack_name,
        "rackLocationId": sample.rack,
        "integration": sample.integration,
        "isSetpoint": sample.is_setpoint,
        "phase": sample.phase,
        "scope": sample.scope,
    }
    if sample.is_associated:
        fields["associateId"] = sample.object_id
    else:
        fields |= {"objectName": sample.object_name, "objectId": sample.object_id}
        fields["servesId"] = list(sample.serves)
    mandatory = rule_of(topic, sample.object_type, sample.point_type).fields_sent_even_if_empty(
        fields
    )
    document: dict[str, Json] = {
        name: value for name, value in fields.items() if value or name in mandatory
    }
    return topic, encode_json(topic, document)
