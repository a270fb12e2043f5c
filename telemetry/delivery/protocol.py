"""Who still holds what: a source keeps its batches until we say that they are durable here.

A broker's acknowledgement does not mean that a message survives the broker (Mosquitto, killed, lost
all that it had acknowledged). So a source that can keeps each batch, keyed by rack, boot and
sequence, and asks now and then: on ``.../tele/held`` it tells from which to which sequence of each
boot it holds. The ingester answers on ``.../tele/durable``: up to which sequence all is durable,
and which ones beyond are missing. The source lets go of the first and sends the second again. What
comes twice falls to its place in the archive.

Both are JSON with ``v``, the version, and ``boots``: lists of ``[boot, first, last, gone]``, and of
``[boot, through, missing]``, where ``gone`` (which may be left out) and ``missing`` are lists of
``[first, last]``. ``first`` is ``last + 1`` where nothing is held. Nobody is asked for more who
never said that he holds anything.

This module is loaded by ingester processes that load nothing else: standard library only.
"""

import json
from dataclasses import dataclass
from typing import Final

from twin.errors import MessageError

PROTOCOL_VERSION: Final = 1
REPORT_SUFFIX: Final = "/held"
"""What stands behind the topic of a rack's batches where a source tells what it holds."""

ACK_SUFFIX: Final = "/durable"
"""The same, where it is answered."""

MAX_BOOTS: Final = 8
"""Boots of one source that are told of at once."""

MAX_RANGES: Final = 64
"""Missing ranges of a boot that are told of at once; the rest follow when these have come."""

MAX_REPORT_BYTES: Final = 65_536
"""Longest payload of either. [B]"""

MAX_SEQUENCE: Final = 2**53
"""Greatest sequence."""

MAX_TOPIC_BYTES: Final = 1024
"""Longest topic that is taken for a question: room is left for that of the answer. [B]"""

_SHAPE: Final = ("dc", "v1", "", "", "", "tele", "held")
"""Levels of a question's topic, as :data:`telemetry.messages.topics.TOPIC_PATTERNS` has it; "" for
a name.
"""

type SequenceRange = tuple[int, int]
"""First and last sequence of some batches."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SenderReport:
    """What a source holds of one boot, but for what is gone; nothing if first is after last."""

    boot: int
    first: int
    last: int
    dropped: tuple[SequenceRange, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectiveAck:
    """What is durable of one boot: all up to ``contiguous_through``; beyond it some are missing."""

    boot: int
    contiguous_through: int
    missing: tuple[SequenceRange, ...] = ()

    def is_missing(self, sequence: int) -> bool:
        """Return whether a batch is told to be missing."""
        return any(first <= sequence <= last for first, last in self.missing)


def is_report_topic(topic: str) -> bool:
    """Return whether a topic is one on which a source tells what it holds.

    A point's path may end in the same word, so each level counts.
    """
    if not topic.endswith(REPORT_SUFFIX):
        return False
    levels = topic.split("/")
    if len(levels) != len(_SHAPE) or len(topic.encode(errors="replace")) > MAX_TOPIC_BYTES:
        return False
    return all(
        level and wanted in ("", level) for level, wanted in zip(levels, _SHAPE, strict=True)
    )


def encode_report(boots: list[SenderReport]) -> bytes:
    """Return the payload that tells what a source holds."""
    rows = [
        [one.boot, one.first, one.last, *([list(one.dropped[:MAX_RANGES])] if one.dropped else [])]
        for one in boots[:MAX_BOOTS]
    ]
    return _written({"v": PROTOCOL_VERSION, "boots": rows})


def decode_report(topic: str, payload: bytes) -> list[SenderReport]:
    """Return what a source says that it holds.

    Raises
    ------
    MessageError
        If it is not what :func:`encode_report` writes.
    """
    found = []
    for row in _rows(topic, payload):
        if not isinstance(row, list):
            raise MessageError(topic, row, "a boot is [boot, first, last, gone]")
        boot, first, last = _whole(topic, row[:3], 3)
        if first > last + 1:
            raise MessageError(
                topic, row, "a boot is [boot, first, last], and first at most last + 1"
            )
        gone = _ranges(topic, row[3:])
        found.append(SenderReport(boot=boot, first=first, last=last, dropped=gone))
    return found


def encode_ack(boots: list[SelectiveAck]) -> bytes:
    """Return the payload that tells what is durable."""
    rows = [
        [one.boot, one.contiguous_through, list(one.missing[:MAX_RANGES])]
        for one in boots[:MAX_BOOTS]
    ]
    return _written({"v": PROTOCOL_VERSION, "boots": rows})


def decode_ack(topic: str, payload: bytes) -> list[SelectiveAck]:
    """Return what an ingester says that is durable.

    Raises
    ------
    MessageError
        If it is not what :func:`encode_ack` writes.
    """
    found = []
    for row in _rows(topic, payload):
        if not isinstance(row, list):
            raise MessageError(topic, row, "a boot is [boot, through, missing]")
        boot, through = _whole(topic, row[:2], 2)
        missing = _ranges(topic, row[2:])
        found.append(SelectiveAck(boot=boot, contiguous_through=through, missing=missing))
    return found


def _written(document: dict[str, object]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _rows(topic: str, payload: bytes) -> list[object]:
    """Return the rows of a payload."""
    try:
        document = json.loads(payload) if len(payload) <= MAX_REPORT_BYTES else None
    except (ValueError, RecursionError) as error:
        raise MessageError(topic, payload, f"{error}") from error
    if not isinstance(document, dict) or document.get("v") != PROTOCOL_VERSION:
        raise MessageError(
            topic, payload, f"an object with v {PROTOCOL_VERSION}, at most {MAX_REPORT_BYTES} bytes"
        )
    rows = document.get("boots")
    if not isinstance(rows, list) or len(rows) > MAX_BOOTS:
        raise MessageError(topic, payload, f"boots is a list of at most {MAX_BOOTS}")
    return rows


def _ranges(topic: str, rest: list[object]) -> tuple[SequenceRange, ...]:
    """Return the ranges that may stand at the end of a row."""
    if not rest:
        return ()
    (pairs,) = rest if len(rest) == 1 else (None,)
    if not isinstance(pairs, list):
        raise MessageError(topic, rest, "ranges are a list of [first, last]")
    whole = [_whole(topic, pair, 2) for pair in pairs[:MAX_RANGES]]
    if any(first > last for first, last in whole):
        raise MessageError(topic, pairs, "a range is [first, last]")
    return tuple((first, last) for first, last in whole)


def _whole(topic: str, row: object, count: int) -> tuple[int, ...]:
    """Return so many whole numbers, none of them negative but for a last of -1."""
    if not isinstance(row, list) or len(row) != count:
        raise MessageError(topic, row, f"a list of {count} numbers")
    if not all(type(one) is int and -1 <= one <= MAX_SEQUENCE for one in row):
        raise MessageError(topic, row, "whole numbers that are not negative")
    return tuple(row)
