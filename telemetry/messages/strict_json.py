"""Strict JSON, and times as integers, for all codecs of text.

msgspec accepts the last of two equal keys, invalid UTF-8 in fields that it skips, and integers of
any size. Python's own reader accepts NaN, 1e999 and lone surrogates. Used together, with checks
where each is lax, they refuse all of them.
"""

import gzip
import json
import math
import zlib
from collections.abc import Sequence
from typing import Final, NoReturn

import msgspec
import numpy as np
from numpy.typing import NDArray

from telemetry.mqtt.queues import MAX_PAYLOAD_BYTES
from twin.errors import IssueCode, MessageError
from twin.units import MICROSECONDS_PER_MS
from twin.workload.jobs import TimeArray

MESSAGE_VERSION: Final = 1
"""Major version of our own JSON messages."""

COUNT_RANGE: Final = msgspec.Meta(ge=0, le=2**53)
"""A count that every JSON reader represents exactly."""

MIN_MESSAGE_TIME_MS: Final = 946_684_800_000  # 2000-01-01, earliest time on the wire
MESSAGE_TIME_END_MS: Final = 4_102_444_800_000  # 2100-01-01, end of the times on the wire
"""First valid time, 2000-01-01, and the first invalid one after it, 2100-01-01. [ms since 1970]"""

_ESCAPE: Final = "\\u"

TIME_RANGE: Final = msgspec.Meta(ge=MIN_MESSAGE_TIME_MS, lt=MESSAGE_TIME_END_MS)
"""A time on the wire, epoch milliseconds UTC, of this century."""

EXPECTED_TIME: Final = "a time in whole epoch milliseconds, from 2000 to 2099"

type Json = bool | int | float | str | list[Json] | dict[str, Json] | None


def decode_json[T](
    topic: str, payload: bytes, kind: type[T], *, largest: int = MAX_PAYLOAD_BYTES
) -> T:
    """Return a JSON document as a typed record.

    It refuses payloads longer than ``largest`` [B], invalid JSON and UTF-8, numbers that are not
    finite, repeated keys, lone surrogates and other shapes. ``kind`` is a msgspec Struct; fields
    that it does not have are ignored.
    """
    if len(payload) > largest:
        expected = f"at most {largest} bytes"
        raise MessageError(topic, f"{len(payload)} bytes", expected, code=IssueCode.TOO_LARGE)
    try:
        return msgspec.convert(parse_json(payload.decode("utf-8")), kind)
    except (ValueError, OverflowError) as error:
        raise MessageError(topic, payload, str(error)) from error


def parse_json(text: str) -> Json:
    """Return the value of a JSON text, of a message, a request or a response.

    It raises ValueError for invalid JSON, repeated keys, numbers that are not finite, lone
    surrogates and brackets that are nested too deep.
    """
    try:
        document: Json = json.loads(
            text,
            object_pairs_hook=_unique_keys,
            parse_constant=_refuse_constant,
            parse_float=_finite_float,
        )
        if _ESCAPE in text:  # it may be a lone surrogate, which cannot be encoded again
            json.dumps(document, ensure_ascii=False).encode("utf-8")
    except RecursionError as error:
        raise ValueError("brackets are nested too deep") from error
    return document


def encode_json(topic: str, document: object) -> bytes:
    """Return a document as compact JSON; MessageError if a number is not finite."""
    try:
        text = json.dumps(document, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8")
    except ValueError as error:
        raise MessageError(topic, "", str(error)) from error


def expect_version(topic: str, version: int) -> None:
    """Refuse a message of another major version."""
    if version != MESSAGE_VERSION:
        expected = f"version {MESSAGE_VERSION}"
        raise MessageError(topic, f"v {version}", expected, code=IssueCode.UNSUPPORTED)


def expect_names(topic: str, *pairs: tuple[str, str]) -> None:
    """Refuse a message whose names differ; each pair is of payload and topic."""
    for found, expected in pairs:
        if found != expected:
            raise MessageError(topic, found, f"the payload must name {expected}, as its topic does")


def expect_finite(topic: str, *values: float) -> None:
    """Refuse to send a number that is NaN or infinite."""
    for value in values:
        if not math.isfinite(value):
            raise MessageError(topic, value, "a finite number", code=IssueCode.NOT_FINITE)


def to_datetime(topic: str, milliseconds: int) -> np.datetime64:
    """Return epoch milliseconds as a time; refuse times outside this century."""
    if not MIN_MESSAGE_TIME_MS <= milliseconds < MESSAGE_TIME_END_MS:
        raise MessageError(topic, milliseconds, EXPECTED_TIME, code=IssueCode.OUT_OF_RANGE)
    return np.datetime64(milliseconds * MICROSECONDS_PER_MS, "us")


def to_datetimes(milliseconds: Sequence[int]) -> TimeArray:
    """Return epoch milliseconds, already checked by :data:`TIME_RANGE`, as an array of times."""
    return np.array(milliseconds, dtype="datetime64[ms]").astype("datetime64[us]")


def to_milliseconds(topic: str, time: np.datetime64) -> int:
    """Return a time as epoch milliseconds; refuse times outside this century."""
    value = int(np.datetime64(time, "ms").astype(np.int64))
    if not MIN_MESSAGE_TIME_MS <= value < MESSAGE_TIME_END_MS:
        raise MessageError(topic, time, EXPECTED_TIME, code=IssueCode.OUT_OF_RANGE)
    return value


def json_column(values: NDArray[np.float64] | NDArray[np.int64] | NDArray[np.bool_]) -> list[Json]:
    """Return an array as a column of a document."""
    return list(values.tolist())


def json_time_column(topic: str, times: TimeArray) -> list[Json]:
    """Return times as a column of epoch milliseconds; refuse times outside this century."""
    return [to_milliseconds(topic, time) for time in times.astype("datetime64[ms]")]


def _unique_keys(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError("a key occurs twice")
    return document


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def _finite_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


MAX_UNPACKED_BYTES: Final = 2 * 1024 * 1024
"""Largest text that is unpacked, so that a small gzip cannot fill the memory. [B]"""

MAX_PLAIN_BYTES: Final = 65_536
"""Largest text that is sent as text, which people can read on the broker. [B]"""

_GZIP_WBITS: Final = 31  # a gzip with its header and its checksum


def unpack_gzip(topic: str, payload: bytes) -> bytes:
    """Return the text of one whole gzip, cut one byte beyond :data:`MAX_UNPACKED_BYTES`.

    MessageError reports what is no gzip, and bytes after it.
    """
    unpacking = zlib.decompressobj(_GZIP_WBITS)
    try:
        text = unpacking.decompress(payload, MAX_UNPACKED_BYTES + 1)
    except zlib.error as error:
        raise MessageError(topic, payload, f"gzip that cannot be unpacked: {error}") from error
    if len(text) <= MAX_UNPACKED_BYTES and (not unpacking.eof or unpacking.unused_data):
        raise MessageError(topic, payload, "one whole gzip and no bytes after it")
    return text


def pack_gzip(text: bytes) -> bytes:
    """Return a text itself if it has at most :data:`MAX_PLAIN_BYTES`, else as gzip."""
    return text if len(text) <= MAX_PLAIN_BYTES else gzip.compress(text, mtime=0)
