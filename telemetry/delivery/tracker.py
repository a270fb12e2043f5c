"""Tracks which batches of each source are durable, and which are missing.

See :mod:`telemetry.delivery.protocol` for the messages. The state is saved beside the journal now
and then; a starting process loads it and replays the later records of the journal. If either is
lost, sources send more again than necessary, and the archive removes the duplicates.
"""

import json
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

import msgspec
import structlog

from telemetry import durable_files
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
"""Time between two saves. [s]"""

MAX_DELIVERY_SOURCES: Final = 200_000  # sources that are tracked
MAX_RANGES_PER_BOOT: Final = 1024
"""Stored ranges of a boot beyond a gap; later ones are requested again. [1]"""

MAX_SEQUENCE_LEAD: Final = 3600
"""Largest number of batches that may come after a source's report. [1]"""

_TELE: Final = "/tele"
_JSON: Final = "/json"

type PublishAnswer = Callable[[str, bytes], object]
"""Publishes an answer, which may be lost: sources report again."""

_logger = structlog.get_logger(__name__)


@dataclass(slots=True)
class BootProgress:
    """Batches of one boot of a source.

    Up to ``contiguous_through`` all are durable, or no longer stored by the source;
    ``received_ranges`` are durable ranges beyond a gap, in order, none touching the next. At the
    source's previous report its last sequence was ``reported_last``, and the newest durable one
    ``previous_newest``.
    """

    contiguous_through: int
    reported_last: int = -1
    previous_newest: int = -1
    received_ranges: list[SequenceRange] = field(default_factory=list)

    @property
    def newest_durable(self) -> int:
        """The newest durable sequence."""
        return self.received_ranges[-1][1] if self.received_ranges else self.contiguous_through

    def add(self, sequence: int) -> None:
        """Record that a batch is durable."""
        if sequence == self.contiguous_through + 1:
            self.contiguous_through = sequence
            if self.received_ranges:
                self._absorb()
        elif sequence > self.contiguous_through:
            self._put(sequence, sequence)

    def release_before(self, first: int) -> int:
        """Record that the source dropped all before a sequence; return how many never arrived."""
        if first - 1 <= self.contiguous_through:
            return 0
        received = sum(min(b, first - 1) - a + 1 for a, b in self.received_ranges if a < first)
        lost = first - 1 - self.contiguous_through - received
        self.contiguous_through = first - 1
        self._absorb()
        return lost

    def release_range(self, span: SequenceRange) -> int:
        """Record that the source dropped a range; return how many of it were never received."""
        absent = [
            (max(first, span[0]), min(last, span[1]))
            for first, last in self.missing_ranges(span[1])
        ]
        absent = [(first, last) for first, last in absent if first <= last]
        for first, last in absent:
            self._put(first, last)
        self._absorb()
        return sum(last - first + 1 for first, last in absent)

    def missing_ranges(self, last: int) -> list[SequenceRange]:
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
        """Insert a range that is missing entirely, or has one sequence."""
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
        """Merge ranges that the contiguous part has reached into it."""
        while self.received_ranges and self.received_ranges[0][0] <= self.contiguous_through + 1:
            self.contiguous_through = max(self.contiguous_through, self.received_ranges.pop(0)[1])


class DeliveryTracker:
    """Tracks the progress of an ingester's sources; ``folder`` is that of its journal.

    ``lost`` counts batches that a source dropped before they were received, ``refused`` the reports
    that could not be decoded.
    """

    def __init__(self, folder: Path) -> None:
        self.lost = 0
        self.refused = 0
        self._path = Path(folder) / TRACKER_FILE
        self._sources: dict[str, dict[int, BootProgress]] = {}
        self._topics: dict[str, dict[int, BootProgress]] = {}
        self._is_changed = False

    def recover(self, journal: Journal) -> None:
        """Load the saved state, and replay the later records of the journal."""
        position = None
        try:
            written = json.loads(
                durable_files.verify_checksum(self._path.read_text(encoding="ascii"))
            )
            position = JournalPosition.parse(written["position"])
            for source, boots in written["sources"].items():
                self._sources[source] = {
                    int(boot): BootProgress(
                        int(through),
                        int(last),
                        received_ranges=[(int(a), int(b)) for a, b in ranges],
                    )
                    for boot, through, last, ranges in boots
                }
        except FileNotFoundError:
            return  # no source has ever reported
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            _logger.warning("delivery state not readable", place=str(self._path), reason=str(error))
            position = None
        for frame in journal.read(after=position):
            self._note(frame.topic, frame.payload)

    def split_reports(
        self, messages: list[ReceivedMessage]
    ) -> tuple[list[ReceivedMessage], list[ReceivedMessage]]:
        """Return the messages without reports of sources, and the reports."""
        report_messages = [one for one in messages if protocol.is_report_topic(one.topic)]
        if not report_messages:
            return messages, report_messages
        return [one for one in messages if not protocol.is_report_topic(one.topic)], report_messages

    def add_durable(self, messages: Sequence[ReceivedMessage]) -> None:
        """Record that messages are durable."""
        if self._sources:
            for one in messages:
                self._note(one.topic, one.payload)

    def answer_reports(
        self, report_messages: Sequence[ReceivedMessage], publish: PublishAnswer
    ) -> None:
        """Answer the reports of sources."""
        for one in report_messages:
            source = one.topic.removesuffix(REPORT_SUFFIX)
            try:
                reports = protocol.decode_report(one.topic, one.payload)
            except MessageError as error:
                if not self.refused:
                    _logger.warning("delivery report not decoded", reason=str(error))
                self.refused += 1
                continue
            if source in self._sources or len(self._sources) < MAX_DELIVERY_SOURCES:
                publish(
                    source + ACK_SUFFIX, protocol.encode_ack(self._acknowledge(source, reports))
                )

    def save(self, position: JournalPosition) -> None:
        """Save the state as of a journal position; a failing disk is logged only."""
        if not self._is_changed:
            return
        sources = {
            source: [
                [boot, one.contiguous_through, one.reported_last, one.received_ranges]
                for boot, one in list(boots.items())[-protocol.MAX_BOOTS_PER_MESSAGE :]
            ]
            for source, boots in self._sources.items()
        }
        text = json.dumps({"position": str(position), "sources": sources}, separators=(",", ":"))
        try:
            durable_files.write_atomic(self._path, durable_files.add_checksum(text))
            self._is_changed = False
        except JournalError as error:
            _logger.warning("delivery state not written", reason=str(error))

    def _acknowledge(self, source: str, reports: list[SenderReport]) -> list[SelectiveAck]:
        """Record what a source stores; return what it may delete and what it shall send again.

        A batch is lost if it was sent before the previous report and later ones arrived. The last
        batches are lost if nothing has arrived since; otherwise they may still be queued in the
        broker, and a resend would make its queue longer.
        """
        known = self._sources.setdefault(source, {})
        answer = []
        for one in reports:
            boot = known.get(one.boot)
            # A sequence far beyond the report came from another sender under the same name.
            if boot is None or boot.contiguous_through > one.last_stored + MAX_SEQUENCE_LEAD:
                boot = known[one.boot] = BootProgress(one.first_stored - 1)
            lost = boot.release_before(one.first_stored) + sum(
                map(boot.release_range, one.dropped[: protocol.MAX_RANGES])
            )
            if lost:
                self.lost += lost
                _logger.warning("lost at the source", source=source, boot=one.boot, batches=lost)
            is_still = boot.newest_durable == boot.previous_newest
            missing = boot.missing_ranges(
                min(boot.reported_last, one.last_stored if is_still else boot.newest_durable)
            )
            boot.reported_last, boot.previous_newest = one.last_stored, boot.newest_durable
            answer.append(
                SelectiveAck(
                    boot=one.boot,
                    contiguous_through=boot.contiguous_through,
                    missing=tuple(missing[: protocol.MAX_RANGES]),
                )
            )
        reported = {one.boot for one in reports}
        for boot_number in [number for number in known if number not in reported]:
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


class _JsonBatchKey(msgspec.Struct):
    boot: int
    sequence: Annotated[int, msgspec.Meta(ge=0, le=protocol.MAX_SEQUENCE)]


def _key(payload: bytes) -> tuple[int, int] | None:
    """Return boot and sequence of a batch, binary or JSON; None if it is not a batch."""
    if payload.startswith(BATCH_MAGIC):
        return batch_key(payload)
    try:
        key = msgspec.json.decode(payload, type=_JsonBatchKey)
    except (ValueError, RecursionError):
        return None
    return key.boot, key.sequence
