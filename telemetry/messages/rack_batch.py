"""Rack batches: a header and a block of little-endian float32; JSON is only decoded.

A chip that is absent keeps its column: all its numbers are NaN, in JSON null.
"""

import struct
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from telemetry.messages.samples import CHIP_VARIABLES, RackBatch
from telemetry.messages.strict_json import (
    COUNT_RANGE,
    TIME_RANGE,
    decode_json,
    expect_names,
    expect_version,
    to_datetime,
    to_milliseconds,
)
from telemetry.messages.topics import ParsedTopic, TopicKind, build_topic
from twin.errors import IssueCode, MessageError
from twin.units import MICROSECONDS_PER_MS

BATCH_MAGIC: Final = b"GTRB"
BATCH_FORMAT: Final = 1  # version of the layout
BATCH_HEADER: Final = struct.Struct("<4sBBHIQQHHI")
"""magic, version, flags, length, boot, sequence, time [ms], variables, chips, interval [ms]"""

MAX_CHIPS: Final = 4096
"""Most chips of a batch. [1]"""

MAX_INTERVAL_MS: Final = 86_400_000
"""Longest interval of a batch. [ms]"""

_FLOAT: Final = np.dtype("<f4")
_BATCH_ROWS: Final = len(CHIP_VARIABLES)  # variables of a chip


class _Document(msgspec.Struct):
    """The JSON form of a batch."""

    v: int
    site: str
    hall: str
    rack: str
    boot: Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
    sequence: Annotated[int, COUNT_RANGE]
    time: Annotated[int, TIME_RANGE]
    interval_ms: Annotated[int, msgspec.Meta(gt=0, le=MAX_INTERVAL_MS)]
    power: list[float | None]
    temperature: list[float | None]
    utilisation: list[float | None]
    memory: list[float | None]
    clock: list[float | None]


def batch_key(payload: bytes) -> tuple[int, int] | None:
    """Return boot and sequence of a binary batch; None if it is shorter than a header."""
    if len(payload) < BATCH_HEADER.size:
        return None
    _, _, _, _, boot, sequence, *_ = BATCH_HEADER.unpack_from(payload)
    return boot, sequence


def decode_batch(address: ParsedTopic, topic: str, payload: bytes) -> RackBatch:
    """Return a binary batch, whose values are a view of the payload.

    A later minor version may lengthen the header; its length field gives the start of the block.
    """
    if len(payload) < BATCH_HEADER.size:
        raise MessageError(
            topic, payload, f"a batch begins with a header of {BATCH_HEADER.size} bytes"
        )
    magic, version, flags, length, boot, sequence, time, rows, chips, interval = (
        BATCH_HEADER.unpack_from(payload)
    )
    if magic != BATCH_MAGIC or version != BATCH_FORMAT or flags:
        expected = f"a batch begins with {BATCH_MAGIC!r}, version {BATCH_FORMAT} and no flags"
        raise MessageError(topic, payload[:8], expected)
    if rows != _BATCH_ROWS or not 0 < chips <= MAX_CHIPS or not 0 < interval <= MAX_INTERVAL_MS:
        shown = f"{rows} variables, {chips} chips, {interval} ms"
        expected = (
            f"a batch has {_BATCH_ROWS} variables, up to {MAX_CHIPS} chips, "
            f"up to {MAX_INTERVAL_MS} ms"
        )
        raise MessageError(topic, shown, expected)
    if length < BATCH_HEADER.size or len(payload) != length + rows * chips * _FLOAT.itemsize:
        expected = "header length and the block of float32 must add up to the payload"
        raise MessageError(topic, f"{len(payload)} bytes", expected)
    values = np.frombuffer(payload, dtype=_FLOAT, offset=length).reshape(rows, chips)
    _expect_finite_or_absent(topic, values)
    return RackBatch(
        site=address.site,
        hall=address.hall,
        rack=address.rack,
        boot=boot,
        sequence=sequence,
        time=to_datetime(topic, time),
        interval=np.timedelta64(interval * MICROSECONDS_PER_MS, "us"),
        values=values,
    )


def encode_batch(batch: RackBatch) -> tuple[str, bytes]:
    """Return the topic and the binary form of a batch."""
    topic = build_topic(TopicKind.RACK_BATCH, site=batch.site, hall=batch.hall, rack=batch.rack)
    values = _checked(topic, batch.values)
    interval = float(batch.interval / np.timedelta64(1, "ms"))
    if not 1 <= interval <= MAX_INTERVAL_MS:
        expected = f"an interval of 1 to {MAX_INTERVAL_MS} ms"
        raise MessageError(topic, batch.interval, expected, code=IssueCode.OUT_OF_RANGE)
    try:
        header = BATCH_HEADER.pack(
            BATCH_MAGIC,
            BATCH_FORMAT,
            0,
            BATCH_HEADER.size,
            batch.boot,
            batch.sequence,
            to_milliseconds(topic, batch.time),
            *values.shape,
            round(interval),
        )
    except struct.error as error:
        raise MessageError(topic, f"boot {batch.boot}", str(error)) from error
    return topic, header + values.tobytes()


def decode_batch_json(address: ParsedTopic, topic: str, payload: bytes) -> RackBatch:
    """Return a batch that came as JSON."""
    document = decode_json(topic, payload, _Document)
    expect_version(topic, document.v)
    expect_names(
        topic,
        (document.site, address.site),
        (document.hall, address.hall),
        (document.rack, address.rack),
    )
    rows: Sequence[list[float | None]] = [getattr(document, name) for name in CHIP_VARIABLES]
    if len({len(row) for row in rows}) > 1:
        raise MessageError(topic, "columns", "all variables of a batch have equally many values")
    with np.errstate(over="ignore"):
        values = np.array(rows, dtype=_FLOAT)
    return RackBatch(
        site=document.site,
        hall=document.hall,
        rack=document.rack,
        boot=document.boot,
        sequence=document.sequence,
        time=to_datetime(topic, document.time),
        interval=np.timedelta64(document.interval_ms * MICROSECONDS_PER_MS, "us"),
        values=_checked(topic, values),
    )


def _checked(topic: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the block if it has the shape of a batch and finite numbers for all present chips."""
    if values.ndim != len(("variable", "chip")) or values.shape[0] != _BATCH_ROWS:
        raise MessageError(
            topic, values.shape, f"a batch has {_BATCH_ROWS} rows, one column for each chip"
        )
    if not 0 < values.shape[1] <= MAX_CHIPS:
        raise MessageError(topic, values.shape, f"a batch has 1 to {MAX_CHIPS} chips")
    block = np.asarray(values, dtype=_FLOAT)
    _expect_finite_or_absent(topic, block)
    return block


def _expect_finite_or_absent(topic: str, block: NDArray[np.float32]) -> None:
    """Refuse numbers that are not finite, except the columns of absent chips."""
    if np.isfinite(block).all():
        return
    is_absent = np.isnan(block).all(axis=0)
    if is_absent.all() or not np.isfinite(block[:, ~is_absent]).all():
        expected = "finite numbers; NaN in all rows, or null, marks an absent chip"
        raise MessageError(topic, "NaN or infinity", expected, code=IssueCode.NOT_FINITE)
