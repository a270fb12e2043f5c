"""Strict JSON, and times as integers: what every codec of text shares.

msgspec alone takes the last of two equal keys, bad UTF-8 in fields that it skips, and integers of
any size; Python's own reader takes NaN, 1e999 and lone surrogates. Together, each watched where it
is lax, they refuse all of them.
"""

import json
import math
from collections.abc import Sequence
from typing import Final, NoReturn

import msgspec
import numpy as np
from numpy.typing import NDArray

from twin.errors import MessageError
from twin.workload.jobs import TimeArray

MAX_PAYLOAD_BYTES: Final = 262_144
"""Bytes of the largest payload that is read."""

MESSAGE_VERSION: Final = 1
"""Major version of our own JSON messages."""

COUNT_RANGE: Final = msgspec.Meta(ge=0, le=2**53)
"""A count that every JSON reader keeps exact."""

MIN_TIME_MS: Final = 946_684_800_000
END_TIME_MS: Final = 4_102_444_800_000
"""First moment that is taken, 2000-01-01, and the first that is not, 2100-01-01. [ms since 1970]"""

_MICROSECONDS: Final = 1000  # in a millisecond
_ESCAPE: Final = b"\\u"

TIME_RANGE: Final = msgspec.Meta(ge=MIN_TIME_MS, lt=END_TIME_MS)
"""A time on the wire, epoch milliseconds UTC, of this century."""

TIME_REMEDY: Final = "a time is in whole epoch milliseconds, from 2000 to 2099"

type Json = bool | int | float | str | list[Json] | dict[str, Json] | None


def decode_json[T](
    topic: str, payload: bytes, kind: type[T], *, largest: int = MAX_PAYLOAD_BYTES
) -> T:
    """Return a JSON document as a typed record.

    Parameters
    ----------
    topic
        Where it came from, for the error.
    payload
        Its bytes: UTF-8.
    kind
        A msgspec Struct; fields that it does not know are passed over.
    largest
        Longest that is read. [B]

    Returns
    -------
    T
        The record.

    Raises
    ------
    MessageError
        If it is no JSON, too large, has a number that is not finite, a key twice or a lone
        surrogate, or is of another shape.
    """
    if len(payload) > largest:
        raise MessageError(topic, f"{len(payload)} bytes", f"at most {largest} bytes are read")
    try:
        document: Json = json.loads(
            payload.decode("utf-8"),
            object_pairs_hook=_once,
            parse_constant=_refuse,
            parse_float=_finite,
        )
        if _ESCAPE in payload:  # it may hide half of a letter, which cannot be encoded again
            json.dumps(document, ensure_ascii=False).encode("utf-8")
        return msgspec.convert(document, kind)
    except (ValueError, RecursionError, OverflowError) as error:
        raise MessageError(topic, payload, _reason(error)) from error


def encode_json(topic: str, document: Json) -> bytes:
    """Return a document as compact JSON.

    Raises
    ------
    MessageError
        If a number is not finite, or a text cannot be sent.
    """
    try:
        text = json.dumps(document, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8")
    except ValueError as error:
        raise MessageError(topic, "", _reason(error)) from error


def expect_version(topic: str, version: int) -> None:
    """Refuse a message of another major version.

    Raises
    ------
    MessageError
        If it is not ours.
    """
    if version != MESSAGE_VERSION:
        raise MessageError(topic, f"v {version}", f"this program reads version {MESSAGE_VERSION}")


def expect_names(topic: str, *pairs: tuple[str, str]) -> None:
    """Refuse a message that names something else than its topic.

    Parameters
    ----------
    topic
        Where it came from.
    *pairs
        (name in the payload, name in the topic).

    Raises
    ------
    MessageError
        If a pair differs.
    """
    for said, expected in pairs:
        if said != expected:
            raise MessageError(topic, said, f"the payload must name {expected}, as its topic does")


def expect_finite(topic: str, *values: float) -> None:
    """Refuse to send a number that is not finite.

    Raises
    ------
    MessageError
        If a value is NaN or infinite.
    """
    for value in values:
        if not math.isfinite(value):
            raise MessageError(topic, value, "only finite numbers are sent")


def to_datetime(topic: str, milliseconds: int) -> np.datetime64:
    """Return epoch milliseconds as a moment.

    Raises
    ------
    MessageError
        If it is not of this century.
    """
    if not MIN_TIME_MS <= milliseconds < END_TIME_MS:
        raise MessageError(topic, milliseconds, TIME_REMEDY)
    return np.datetime64(milliseconds * _MICROSECONDS, "us")


def to_datetimes(milliseconds: Sequence[int]) -> TimeArray:
    """Return epoch milliseconds as an array; they have been checked by :data:`TIME_RANGE`."""
    return np.array(milliseconds, dtype="datetime64[ms]").astype("datetime64[us]")


def to_milliseconds(topic: str, time: np.datetime64) -> int:
    """Return a moment as epoch milliseconds.

    Raises
    ------
    MessageError
        If it is not of this century.
    """
    value = int(np.datetime64(time, "ms").astype(np.int64))
    if not MIN_TIME_MS <= value < END_TIME_MS:
        raise MessageError(topic, time, TIME_REMEDY)
    return value


def json_column(values: NDArray[np.float64] | NDArray[np.int64] | NDArray[np.bool_]) -> list[Json]:
    """Return an array as a column of a document."""
    return list(values.tolist())


def json_time_column(topic: str, times: TimeArray) -> list[Json]:
    """Return times as a column of epoch milliseconds.

    Raises
    ------
    MessageError
        If one is not of this century.
    """
    return [to_milliseconds(topic, time) for time in times.astype("datetime64[ms]")]


def _once(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError("a key stands twice")
    return document


def _refuse(constant: str) -> NoReturn:
    message = f"{constant} is no number of JSON"
    raise ValueError(message)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "brackets are nested too deep"
    return str(error)
