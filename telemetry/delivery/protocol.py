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
"""

from typing import Annotated, Final, Literal

import msgspec

from telemetry.messages.strict_json import decode_json
from telemetry.messages.topics import TopicKind, parse_topic
from twin.errors import MessageError

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

type SequenceRange = tuple[int, int]
"""First and last sequence of consecutive batches."""

type _Integer = Annotated[int, msgspec.Meta(ge=-1, le=MAX_SEQUENCE)]
type _Ranges = tuple[tuple[_Integer, _Integer], ...]
type _Boots[T] = Annotated[list[T], msgspec.Meta(max_length=MAX_BOOTS_PER_MESSAGE)]


class SenderReport(
    msgspec.Struct, array_like=True, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """Batches of one boot that a source stores, except the dropped ones; none if first is after
    last.
    """

    boot: _Integer
    first_stored: _Integer
    last_stored: _Integer
    dropped: _Ranges = ()

    def __post_init__(self) -> None:
        """Refuse ranges that end before they begin."""
        if self.first_stored > self.last_stored + 1 or not _is_rising(self.dropped):
            raise ValueError("first must be at most last, or last + 1 where nothing is stored")


class SelectiveAck(
    msgspec.Struct, array_like=True, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """Durable batches of one boot: all up to ``contiguous_through``, later ones except the
    missing.
    """

    boot: _Integer
    contiguous_through: _Integer
    missing: _Ranges = ()

    def __post_init__(self) -> None:
        """Refuse ranges that end before they begin."""
        if not _is_rising(self.missing):
            raise ValueError("first must be at most last in a range [first, last]")

    def is_missing(self, sequence: int) -> bool:
        """Return whether a batch is reported missing."""
        return any(first <= sequence <= last for first, last in self.missing)


class _Report(msgspec.Struct):
    v: Literal[1]
    boots: _Boots[SenderReport]


class _Ack(msgspec.Struct):
    v: Literal[1]
    boots: _Boots[SelectiveAck]


def _is_rising(ranges: _Ranges) -> bool:
    return all(first <= last for first, last in ranges)


def is_report_topic(topic: str) -> bool:
    """Return whether a topic is one of reports; the path of a point may end in the same level."""
    try:
        return topic.endswith(REPORT_SUFFIX) and parse_topic(topic).kind is TopicKind.SENDER_REPORT
    except MessageError:
        return False


def encode_report(boots: list[SenderReport]) -> bytes:
    """Return the payload of a report."""
    return msgspec.json.encode(_Report(1, boots[:MAX_BOOTS_PER_MESSAGE]))


def decode_report(topic: str, payload: bytes) -> list[SenderReport]:
    """Return a source's report; raise MessageError if it is malformed."""
    return decode_json(topic, payload, _Report, largest=MAX_REPORT_BYTES).boots


def encode_ack(boots: list[SelectiveAck]) -> bytes:
    """Return the payload of an answer."""
    return msgspec.json.encode(_Ack(1, boots[:MAX_BOOTS_PER_MESSAGE]))


def decode_ack(topic: str, payload: bytes) -> list[SelectiveAck]:
    """Return an ingester's answer; raise MessageError if it is malformed."""
    return decode_json(topic, payload, _Ack, largest=MAX_REPORT_BYTES).boots
