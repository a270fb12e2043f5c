"""What is durable of each source that keeps its batches, and what is missing of it.

See :mod:`telemetry.delivery.protocol` for the words. The state is written beside the journal now
and then; a process that starts reads it, and of the journal what came after. If either is lost,
sources are asked for more than need be, which comes to nothing: doubles fall to their place.
"""

import json
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from telemetry import files
from telemetry.delivery import protocol
from telemetry.delivery.protocol import (
    ACK_SUFFIX,
    REPORT_SUFFIX,
    SelectiveAck,
    SenderReport,
    SequenceRange,
)
from telemetry.journal.format import JournalPosition
from telemetry.journal.writer import Journal
from telemetry.messages.rack_batch import BATCH_MAGIC, batch_key
from telemetry.mqtt.queues import ReceivedMessage
from twin.errors import JournalError, MessageError

TRACKER_FILE: Final = "sources.json"
"""File beside the segments of a journal."""

SAVE_PERIOD_S: Final = 5.0
"""Time between two times that it is written down. [s]"""

MAX_SOURCES: Final = 200_000
MAX_RANGES_PER_BOOT: Final = 1024
"""Stretches of a boot beyond a gap that are remembered; what is beyond is asked for again."""

MAX_SEQUENCE_LEAD: Final = 3600
"""Batches that may have come since a source told what its last is."""

_TELE: Final = "/tele"
_JSON: Final = "/json"

type PublishAnswer = Callable[[str, bytes], object]
"""Sends an answer; nothing hangs on it, as every source asks again."""

_logger = structlog.get_logger(__name__)


@dataclass(slots=True)
class BootProgress:
    """Batches of one boot of a source.

    Attributes
    ----------
    contiguous_through
        All up to this sequence are durable, or held by nobody any more.
    reported_last
        The last that the source had sent when it asked before.
    previous_newest
        The last that was here by then.
    received_ranges
        Stretches beyond a gap that are durable, in order, none touching the next.
    """

    contiguous_through: int
    reported_last: int = -1
    previous_newest: int = -1
    received_ranges: list[SequenceRange] = field(default_factory=list)

    @property
    def newest(self) -> int:
        """The last that is here."""
        return self.received_ranges[-1][1] if self.received_ranges else self.contiguous_through

    def add(self, sequence: int) -> None:
        """Take down that a batch is durable."""
        if sequence == self.contiguous_through + 1:
            self.contiguous_through = sequence
            if self.received_ranges:
                self._absorb()
        elif sequence > self.contiguous_through:
            self._put(sequence, sequence)

    def release_before(self, first: int) -> int:
        """Take down that nobody holds what is before; return how many were never here."""
        if first - 1 <= self.contiguous_through:
            return 0
        here = sum(min(b, first - 1) - a + 1 for a, b in self.received_ranges if a < first)
        lost = first - 1 - self.contiguous_through - here
        self.contiguous_through = first - 1
        self._absorb()
        return lost

    def release_range(self, span: SequenceRange) -> int:
        """Take down that nobody holds a span; return how many of it were never here."""
        absent = [
            (max(first, span[0]), min(last, span[1])) for first, last in self.missing(span[1])
        ]
        absent = [(first, last) for first, last in absent if first <= last]
        for first, last in absent:
            self._put(first, last)
        self._absorb()
        return sum(last - first + 1 for first, last in absent)

    def missing(self, last: int) -> list[SequenceRange]:
        """Return the gaps up to a sequence."""
        gaps, at = [], self.contiguous_through + 1
        for first, end in self.received_ranges:
            if at > last:
                break
            gaps.append((at, min(first - 1, last)))
            at = end + 1
        if at <= last:
            gaps.append((at, last))
        return gaps

    def _put(self, first: int, last: int) -> None:
        """Put a stretch that is not here, or is only one."""
        place = bisect_left(self.received_ranges, (first + 1, -1))
        before = self.received_ranges[place - 1] if place else None
        if before is not None and before[1] >= first:
            return
        if place < len(self.received_ranges) and self.received_ranges[place][0] == last + 1:
            last = self.received_ranges.pop(place)[1]
        if before is not None and before[1] == first - 1:
            place -= 1
            first = self.received_ranges.pop(place)[0]
        self.received_ranges.insert(place, (first, last))
        del self.received_ranges[MAX_RANGES_PER_BOOT:]

    def _absorb(self) -> None:
        """Let islands that the shore has reached be part of it."""
        while self.received_ranges and self.received_ranges[0][0] <= self.contiguous_through + 1:
            self.contiguous_through = max(self.contiguous_through, self.received_ranges.pop(0)[1])


class DeliveryTracker:
    """How far the sources of an ingester may let go.

    Parameters
    ----------
    folder
        Of the journal.

    Attributes
    ----------
    lost
        Batches that a source had to let go of before they came.
    refused
        Questions that could not be read.
    """

    def __init__(self, folder: Path) -> None:
        self.lost = 0
        self.refused = 0
        self._path = Path(folder) / TRACKER_FILE
        self._sources: dict[str, dict[int, BootProgress]] = {}
        self._topics: dict[str, dict[int, BootProgress]] = {}
        self._is_changed = False

    def recover(self, journal: Journal) -> None:
        """Take up what an earlier process knew, and what of the journal it did not write down."""
        position = None
        try:
            written = json.loads(files.verify_checksum(self._path.read_text(encoding="ascii")))
            position = JournalPosition.parse(written["position"])
            for source, boots in written["sources"].items():
                self._sources[source] = {
                    int(boot): BootProgress(
                        int(through),
                        int(told),
                        received_ranges=[(int(a), int(b)) for a, b in islands],
                    )
                    for boot, through, told, islands in boots
                }
        except FileNotFoundError:
            return  # no source of ours has ever asked
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            _logger.warning("sources forgotten", place=str(self._path), reason=str(error))
            position = None
        for frame in journal.read(after=position):
            self._note(frame.topic, frame.payload)

    def split_reports(
        self, messages: list[ReceivedMessage]
    ) -> tuple[list[ReceivedMessage], list[ReceivedMessage]]:
        """Return messages without the questions of sources, and these."""
        asked = [one for one in messages if protocol.is_report_topic(one.topic)]
        if not asked:
            return messages, asked
        return [one for one in messages if not protocol.is_report_topic(one.topic)], asked

    def add_durable(self, messages: Sequence[ReceivedMessage]) -> None:
        """Take down that messages are durable."""
        if self._sources:
            for one in messages:
                self._note(one.topic, one.payload)

    def answer(self, asked: Sequence[ReceivedMessage], say: PublishAnswer) -> None:
        """Answer the questions of sources."""
        for one in asked:
            source = one.topic.removesuffix(REPORT_SUFFIX)
            try:
                held = protocol.decode_report(one.topic, one.payload)
            except MessageError as error:
                if not self.refused:
                    _logger.warning("question not read", reason=str(error))
                self.refused += 1
                continue
            if source in self._sources or len(self._sources) < MAX_SOURCES:
                say(source + ACK_SUFFIX, protocol.encode_ack(self._judge(source, held)))

    def save(self, position: JournalPosition) -> None:
        """Write all of it down, as it is with the journal up to a position.

        A disk that does not take it is no reason to stop; see above.
        """
        if not self._is_changed:
            return
        sources = {
            source: [
                [boot, one.contiguous_through, one.reported_last, one.received_ranges]
                for boot, one in list(boots.items())[-protocol.MAX_BOOTS :]
            ]
            for source, boots in self._sources.items()
        }
        text = json.dumps({"position": str(position), "sources": sources}, separators=(",", ":"))
        try:
            files.write_atomic(self._path, files.add_checksum(text))
            self._is_changed = False
        except JournalError as error:
            _logger.warning("sources not written", reason=str(error))

    def _judge(self, source: str, held: list[SenderReport]) -> list[SelectiveAck]:
        """Take down what a source holds; return what it may let go of, and what it shall send.

        What it had sent by the time of its last question, and is not here though later ones are,
        has been lost on the way. So have the last of all, if nothing at all has come since; else
        they may wait in the broker, and asking for them would only make its queue longer.
        """
        known = self._sources.setdefault(source, {})
        answer = []
        for one in held:
            boot = known.get(one.boot)
            if (
                boot is None or boot.contiguous_through > one.last + MAX_SEQUENCE_LEAD
            ):  # somebody else spoke for it
                boot = known[one.boot] = BootProgress(one.first - 1)
            lost = boot.release_before(one.first) + sum(map(boot.release_range, one.dropped))
            if lost:
                self.lost += lost
                _logger.warning("lost at the source", source=source, boot=one.boot, batches=lost)
            is_still = boot.newest == boot.previous_newest
            missing = boot.missing(min(boot.reported_last, one.last if is_still else boot.newest))
            boot.reported_last, boot.previous_newest = one.last, boot.newest
            answer.append(
                SelectiveAck(
                    boot=one.boot,
                    contiguous_through=boot.contiguous_through,
                    missing=tuple(missing),
                )
            )
        told = {one.boot for one in held}
        for boot_number in [number for number in known if number not in told]:
            del known[boot_number]
        self._is_changed = True
        return answer

    def _note(self, topic: str, payload: bytes) -> None:
        boots = self._topics.get(topic)
        if boots is None:
            source = topic.removesuffix(_JSON)
            if source not in self._sources or not source.endswith(_TELE):
                return
            boots = self._topics[topic] = self._sources[source]
        key = _key(payload)
        boot = boots.get(key[0]) if key else None
        if key and boot is not None:
            boot.add(key[1])
            self._is_changed = True


def _key(payload: bytes) -> tuple[int, int] | None:
    """Return boot and sequence of a batch, binary or JSON; None if it is none."""
    if payload.startswith(BATCH_MAGIC):
        return batch_key(payload)
    try:
        document = json.loads(payload)
        boot, sequence = document["boot"], document["sequence"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    is_key = type(boot) is int and type(sequence) is int and 0 <= sequence <= protocol.MAX_SEQUENCE
    return (boot, sequence) if is_key else None
