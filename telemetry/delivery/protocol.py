"""Protocol of lossless delivery: a source stores its batches until they are durable at the
receiver.

A broker's acknowledgement does not mean that a message survives the broker: Mosquitto, when killed,
lost all that it had acknowledged. So a source stores each batch under rack, boot and sequence. On
``.../tele/held`` it reports now and then which sequences of each boot it stores. The ingester
answers on ``.../tele/durable`` up to which sequence all is durable, and which later ones are
missing. The source deletes the first and sends the second again; the archive removes duplicates.

Both are JSON with ``v``, the version, and ``boots``: lists of ``[boot, first, last, gone]``, and of
``[boot, through, missing]``, where ``gone`` (optional) and ``missing`` are lists of ``[first,
last]``. ``first`` is ``last + 1`` where nothing is stored. A source that never reports is not asked
to send again.

Ingester processes load this module without numpy: it uses the standard library only.
"""

import json
from dataclasses import dataclass
from typing import Final

from twin.errors import MessageError

PROTOCOL_VERSION: Final = 1
REPORT_SUFFIX: Final = "/held"
"""Suffix of a rack's batch topic on which its source reports what it stores."""

ACK_SUFFIX: Final = "/durable"
"""Suffix of the topic of the answer."""

MAX_BOOTS_PER_MESSAGE: Final = 8
"""Boots of one source in a message. [1]"""

MAX_RANGES: Final = 64
"""Missing ranges of a boot in a message; the others follow later. [1]"""

MAX_REPORT_BYTES: Final = 65_536
"""Longest payload of either message. [B]"""

MAX_SEQUENCE: Final = 2**53
"""Largest sequence number of a batch. [1]"""

MAX_REPORT_TOPIC_BYTES: Final = 1024
"""Longest topic of a report, so that the topic of the answer fits too. [B]"""

_TOPIC_LEVELS: Final = ("dc", "v1", "", "", "", "tele", "held")
"""Levels of a report's topic as in :data:`telemetry.messages.topics.TOPIC_PATTERNS`; "" for
a name.
"""

type SequenceRange = tuple[int, int]
"""First and last sequence of consecutive batches."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SenderReport:
    """Batches of one boot that a source stores, except the dropped ones; none if first is after
    last.
    """

    boot: int
    first_stored: int
    last_stored: int
    dropped: tuple[SequenceRange, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectiveAck:
    """Durable batches of one boot: all up to ``contiguous_through``, later ones except the
    missing.
    """

    boot: int
    contiguous_through: int
    missing: tuple[SequenceRange, ...] = ()

    def is_missing(self, sequence: int) -> bool:
        """Return whether a batch is reported missing."""
        return any(first <= sequence <= last for first, last in self.missing)


def is_report_topic(topic: str) -> bool:
    """Return whether a topic is one of reports.

    The path of a point may end in the same level, so all levels are compared.
    """
    if not topic.endswith(REPORT_SUFFIX):
        return False
    levels = topic.split("/")
    if (
        len(levels) != len(_TOPIC_LEVELS)
        or len(topic.encode(errors="replace")) > MAX_REPORT_TOPIC_BYTES
    ):
        return False
    return all(
        level and expected in ("", level)
        for level, expected in zip(levels, _TOPIC_LEVELS, strict=True)
    )


def encode_report(boots: list[SenderReport]) -> bytes:
    """Return the payload of a report."""
    rows = [
        [
            one.boot,
            one.first_stored,
            one.last_stored,
            *([list(one.dropped[:MAX_RANGES])] if one.dropped else []),
        ]
        for one in boots[:MAX_BOOTS_PER_MESSAGE]
    ]
    return _to_json({"v": PROTOCOL_VERSION, "boots": rows})


def decode_report(topic: str, payload: bytes) -> list[SenderReport]:
    """Return a source's report; raise MessageError if it is malformed."""
    found = []
    for row in _rows(topic, payload):
        if not isinstance(row, list):
            raise MessageError(topic, row, "a boot must be [boot, first, last, gone]")
        boot, first, last = _integers(topic, row[:3], 3)
        if first > last + 1:
            raise MessageError(topic, row, "first must be at most last + 1 in [boot, first, last]")
        dropped = _ranges(topic, row[3:])
        found.append(SenderReport(boot=boot, first_stored=first, last_stored=last, dropped=dropped))
    return found


def encode_ack(boots: list[SelectiveAck]) -> bytes:
    """Return the payload of an answer."""
    rows = [
        [one.boot, one.contiguous_through, list(one.missing[:MAX_RANGES])]
        for one in boots[:MAX_BOOTS_PER_MESSAGE]
    ]
    return _to_json({"v": PROTOCOL_VERSION, "boots": rows})


def decode_ack(topic: str, payload: bytes) -> list[SelectiveAck]:
    """Return an ingester's answer; raise MessageError if it is malformed."""
    found = []
    for row in _rows(topic, payload):
        if not isinstance(row, list):
            raise MessageError(topic, row, "a boot must be [boot, through, missing]")
        boot, through = _integers(topic, row[:2], 2)
        missing = _ranges(topic, row[2:])
        found.append(SelectiveAck(boot=boot, contiguous_through=through, missing=missing))
    return found


def _to_json(document: dict[str, object]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()


def _rows(topic: str, payload: bytes) -> list[object]:
    """Return the rows of a payload."""
    try:
        document = json.loads(payload) if len(payload) <= MAX_REPORT_BYTES else None
    except (ValueError, RecursionError) as error:
        raise MessageError(topic, payload, f"{error}") from error
    if not isinstance(document, dict) or document.get("v") != PROTOCOL_VERSION:
        raise MessageError(
            topic, payload, f"an object with v {PROTOCOL_VERSION}, at most {MAX_REPORT_BYTES} B"
        )
    rows = document.get("boots")
    if not isinstance(rows, list) or len(rows) > MAX_BOOTS_PER_MESSAGE:
        raise MessageError(
            topic, payload, f"boots must be a list of at most {MAX_BOOTS_PER_MESSAGE}"
        )
    return rows


def _ranges(topic: str, fields: list[object]) -> tuple[SequenceRange, ...]:
    """Return the optional ranges at the end of a row."""
    if not fields:
        return ()
    (pairs,) = fields if len(fields) == 1 else (None,)
    if not isinstance(pairs, list):
        raise MessageError(topic, fields, "ranges must be a list of [first, last]")
    ranges = [_integers(topic, pair, 2) for pair in pairs[:MAX_RANGES]]
    if any(first > last for first, last in ranges):
        raise MessageError(topic, pairs, "first must be at most last in a range [first, last]")
    return tuple((first, last) for first, last in ranges)


def _integers(topic: str, row: object, count: int) -> tuple[int, ...]:
    """Return a row as ``count`` whole numbers of at least -1."""
    if not isinstance(row, list) or len(row) != count:
        raise MessageError(topic, row, f"expected a list of {count} numbers")
    if not all(type(one) is int and -1 <= one <= MAX_SEQUENCE for one in row):
        raise MessageError(topic, row, f"expected whole numbers from 0 to {MAX_SEQUENCE}")
    return tuple(row)
