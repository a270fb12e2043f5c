"""Store of the last message of each topic that is published once: metadata, jobs and applied
orders.

The plant repeats such messages, a broker may retain them, and each reconnect may deliver all of
them again. Unchanged messages need no second place in the journal. The archive has no place for
jobs, and the journal is trimmed behind the archive, so the messages are saved here before that.
"""

import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

import structlog

from telemetry import durable_files
from telemetry.archive import loss_log
from telemetry.journal.format import JournalPosition, JournalRecord
from telemetry.messages.codec import try_decode
from telemetry.messages.topics import TopicKind, parse_topic
from twin.errors import JournalError, MessageError

STORED_TOPIC_KINDS: Final = {
    TopicKind.CAP_STATUS,
    TopicKind.JOB_ANNOUNCEMENTS,
    TopicKind.JOB_HISTORY,
    TopicKind.JOB_QUEUE,
    TopicKind.JOB_STATUS,
    TopicKind.POINT_METADATA,
}
"""Topics whose last message is stored."""

MAX_STORED_PAYLOAD_BYTES: Final = 128 * 1024 * 1024
"""Stored payload; messages beyond it are treated as new each time. [B]"""

_MAX_LINES_LISTED: Final = 20  # corrupt lines that a report lists
_MAX_LAST_MESSAGE_TOPICS: Final = 100_000  # topics whose last message is kept

_TEXT_ENCODING: Final = ("utf-8", "surrogateescape")

_logger = structlog.get_logger(__name__)


class LastMessageStore:
    """The last message of each topic of :data:`STORED_TOPIC_KINDS`.

    ``path`` is the file that they are saved in; None for memory only.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._mutex = threading.Lock()
        self._last: dict[str, bytes] = {}
        self._bytes = 0

    def changed_only(self, items: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        """Return the messages that differ from the last one of their topic."""
        latest: dict[str, bytes] = {}
        found = []
        for topic, payload in items:
            if topic in self._last:
                if payload == latest.get(topic, self._last[topic]):
                    continue
                latest[topic] = payload
            found.append((topic, payload))
        return found

    def store_decoded(self, topic: str, payload: bytes) -> None:
        """Store a decoded message, if its topic is one of the stored kinds."""
        if not _is_retained(topic):
            return
        with self._mutex:
            before = self._last.pop(topic, b"")
            self._bytes -= len(before)
            if self._bytes + len(payload) <= MAX_STORED_PAYLOAD_BYTES:
                self._last[topic] = payload
                self._bytes += len(payload)

    def save(self) -> None:
        """Save the messages atomically."""
        if self._path is None:
            return
        with self._mutex:
            items = list(self._last.items())
        lines = [json.dumps([topic, payload.decode(*_TEXT_ENCODING)]) for topic, payload in items]
        lines.append(str(len(items)))
        durable_files.write_atomic(self._path, "\n".join(map(durable_files.add_checksum, lines)))

    def load(
        self, frames: Iterable[JournalRecord] = (), until: JournalPosition | None = None
    ) -> Iterator[tuple[str, bytes]]:
        """Yield the saved messages; log and record corrupt ones as losses.

        The caller passes each message that it accepts to :meth:`update`; after a loss the file is
        saved again. ``frames`` of the journal up to ``until`` are newer than the file.
        """
        if self._path is None:
            return
        items, issues = _read(self._path) if self._path.exists() else ([], [])
        loss_log.append_losses(
            self._path.parent, [{"group": "kept", "reason": one} for one in issues]
        )
        last = dict(items)
        for frame in frames:
            if until is None or frame.position > until:
                break
            if _is_retained(frame.topic) and not isinstance(try_decode(*frame[1:3]), str):
                last[frame.topic] = frame.payload
        yield from last.items()
        if issues:
            try:
                self.save()
            except JournalError as error:
                _logger.warning("last messages not saved", reason=str(error))


@lru_cache(maxsize=_MAX_LAST_MESSAGE_TOPICS)
def _is_retained(topic: str) -> bool:
    try:
        return parse_topic(topic).kind in STORED_TOPIC_KINDS
    except MessageError:
        return False


def corrupt_lines(path: Path) -> list[str]:
    """Return descriptions of the corrupt lines of a file; none if there is no file."""
    return _read(path)[1] if path.exists() else []


def _read(path: Path) -> tuple[list[tuple[str, bytes]], list[str]]:
    """Return the messages of a file, and descriptions of its corrupt lines.

    Each line follows its checksum, and the last line has the number of lines; older files have
    neither.
    """
    items: list[tuple[str, bytes]] = []
    bad: list[int] = []
    count, is_old = -1, True
    for number, line in enumerate(path.read_text(*_TEXT_ENCODING).split("\n"), start=1):
        try:
            is_plain = line.startswith("[")
            entry = json.loads(line if is_plain else durable_files.verify_checksum(line))
            is_old &= is_plain
            if isinstance(entry, int):
                count = entry
                continue
            topic, payload = entry
            items.append((str(topic), str(payload).encode(*_TEXT_ENCODING)))
        except (RecursionError, TypeError, ValueError):
            bad.append(number)
    issues = [f"line {number} of {path.name} is corrupt" for number in bad[:_MAX_LINES_LISTED]]
    if len(bad) > _MAX_LINES_LISTED:
        issues.append(f"{len(bad) - _MAX_LINES_LISTED} more lines of {path.name} are corrupt")
    if not bad and not is_old and count != len(items):
        issues.append(f"{path.name} was cut off: {len(items)} lines are left")
    return items, issues
