"""Simulated time in lockstep: the plant's ticks, and the service's answer to each."""

from typing import Annotated, Final

import msgspec
import numpy as np

from telemetry.messages.models import DecisionNotice, SimulationTick
from telemetry.messages.strict_json import (
    COUNT_RANGE,
    MESSAGE_VERSION,
    TIME_RANGE,
    Json,
    decode_json,
    encode_json,
    expect_names,
    expect_version,
    to_datetime,
    to_milliseconds,
)
from telemetry.messages.topics import ParsedTopic, TopicKind, build_topic

_LONGEST: Final = 86_400.0  # s, of an interval
_SECOND: Final = np.timedelta64(1, "s")


class _Tick(msgspec.Struct):
    v: int
    site: str
    time: Annotated[int, TIME_RANGE]
    interval_s: Annotated[float, msgspec.Meta(gt=0, le=_LONGEST)]
    step: Annotated[int, COUNT_RANGE]
    steps: Annotated[int, COUNT_RANGE]
    batches: Annotated[int, COUNT_RANGE]
    points: Annotated[int, COUNT_RANGE]
    is_last: bool


class _Decided(msgspec.Struct):
    v: int
    site: str
    time: Annotated[int, TIME_RANGE]
    sequence: Annotated[int, msgspec.Meta(ge=-1, le=2**53)]


def decode_tick(address: ParsedTopic, topic: str, payload: bytes) -> SimulationTick:
    """Return a tick of simulated time.

    Raises
    ------
    MessageError
        If it is malformed or names another site than its topic.
    """
    record = decode_json(topic, payload, _Tick)
    expect_version(topic, record.v)
    expect_names(topic, (record.site, address.site))
    return SimulationTick(
        site=record.site,
        time=to_datetime(topic, record.time),
        interval=np.timedelta64(round(record.interval_s * 1e6), "us"),
        step=record.step,
        steps=record.steps,
        batches=record.batches,
        points=record.points,
        is_last=record.is_last,
    )


def encode_tick(tick: SimulationTick) -> tuple[str, bytes]:
    """Return the topic and the payload of a tick."""
    topic = build_topic(TopicKind.TICK, site=tick.site)
    document: dict[str, Json] = {
        "v": MESSAGE_VERSION,
        "site": tick.site,
        "time": to_milliseconds(topic, tick.time),
        "interval_s": float(tick.interval / _SECOND),
        "step": tick.step,
        "steps": tick.steps,
        "batches": tick.batches,
        "points": tick.points,
        "is_last": tick.is_last,
    }
    return topic, encode_json(topic, document)


def decode_decided(address: ParsedTopic, topic: str, payload: bytes) -> DecisionNotice:
    """Return that the service has decided for a tick.

    Raises
    ------
    MessageError
        If it is malformed or names another site than its topic.
    """
    record = decode_json(topic, payload, _Decided)
    expect_version(topic, record.v)
    expect_names(topic, (record.site, address.site))
    time = to_datetime(topic, record.time)
    return DecisionNotice(site=record.site, time=time, sequence=record.sequence)


def encode_decided(decided: DecisionNotice) -> tuple[str, bytes]:
    """Return the topic and the payload of the answer to a tick."""
    topic = build_topic(TopicKind.DECISION, site=decided.site)
    document: dict[str, Json] = {
        "v": MESSAGE_VERSION,
        "site": decided.site,
        "time": to_milliseconds(topic, decided.time),
        "sequence": decided.sequence,
    }
    return topic, encode_json(topic, document)
