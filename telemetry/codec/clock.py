"""Simulated time in lockstep: the plant's ticks, and the service's answer to each."""

from typing import Annotated, Final

import msgspec
import numpy as np

from telemetry.codec.strict import (
    COUNT,
    MOMENT,
    VERSION,
    Json,
    expect_names,
    expect_version,
    milliseconds,
    moment,
    read,
    write,
)
from telemetry.samples import Decided, Tick
from telemetry.topics import Address, Kind, build

_LONGEST: Final = 86_400.0  # s, of an interval
_SECOND: Final = np.timedelta64(1, "s")


class _Tick(msgspec.Struct):
    v: int
    site: str
    time: Annotated[int, MOMENT]
    interval_s: Annotated[float, msgspec.Meta(gt=0, le=_LONGEST)]
    step: Annotated[int, COUNT]
    steps: Annotated[int, COUNT]
    batches: Annotated[int, COUNT]
    points: Annotated[int, COUNT]
    is_last: bool


class _Decided(msgspec.Struct):
    v: int
    site: str
    time: Annotated[int, MOMENT]
    sequence: Annotated[int, msgspec.Meta(ge=-1, le=2**53)]


def decode_tick(address: Address, topic: str, payload: bytes) -> Tick:
    """Return a tick of simulated time.

    Raises
    ------
    WireError
        If it is malformed or names another site than its topic.
    """
    record = read(topic, payload, _Tick)
    expect_version(topic, record.v)
    expect_names(topic, (record.site, address.site))
    return Tick(
        site=record.site,
        time=moment(topic, record.time),
        interval=np.timedelta64(round(record.interval_s * 1e6), "us"),
        step=record.step,
        steps=record.steps,
        batches=record.batches,
        points=record.points,
        is_last=record.is_last,
    )


def encode_tick(tick: Tick) -> tuple[str, bytes]:
    """Return the topic and the payload of a tick."""
    topic = build(Kind.TICK, site=tick.site)
    document: dict[str, Json] = {
        "v": VERSION,
        "site": tick.site,
        "time": milliseconds(topic, tick.time),
        "interval_s": float(tick.interval / _SECOND),
        "step": tick.step,
        "steps": tick.steps,
        "batches": tick.batches,
        "points": tick.points,
        "is_last": tick.is_last,
    }
    return topic, write(topic, document)


def decode_decided(address: Address, topic: str, payload: bytes) -> Decided:
    """Return that the service has decided for a tick.

    Raises
    ------
    WireError
        If it is malformed or names another site than its topic.
    """
    record = read(topic, payload, _Decided)
    expect_version(topic, record.v)
    expect_names(topic, (record.site, address.site))
    time = moment(topic, record.time)
    return Decided(site=record.site, time=time, sequence=record.sequence)


def encode_decided(decided: Decided) -> tuple[str, bytes]:
    """Return the topic and the payload of the answer to a tick."""
    topic = build(Kind.DECIDED, site=decided.site)
    document: dict[str, Json] = {
        "v": VERSION,
        "site": decided.site,
        "time": milliseconds(topic, decided.time),
        "sequence": decided.sequence,
    }
    return topic, write(topic, document)
