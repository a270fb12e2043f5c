"""The last word on what is said once: metadata of points, jobs, and what the plant applied.

The plant repeats it, a broker may keep it, and each reconnect may bring all of it again. The same
words need no second place in the journal. And as the journal is trimmed behind the archive, which
has no room for jobs, they are written down here before that.
"""

import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

import structlog

from telemetry import files
from telemetry.archive import loss_log
from telemetry.journal.format import JournalPosition, JournalRecord
from telemetry.messages.codec import try_decode
from telemetry.messages.topics import TopicKind, parse_topic
from twin.errors import JournalError, MessageError

RETAINED_KINDS: Final = {
    TopicKind.CAP_STATUS,
    TopicKind.JOB_HISTORY,
    TopicKind.JOB_QUEUE,
    TopicKind.JOB_STATUS,
    TopicKind.POINT_METADATA,
}
"""Topics whose last message counts."""

MAX_RETAINED_BYTES: Final = 128 * 1024 * 1024
"""Payloads that are kept; others are taken in as if they were new each time. [B]"""

_TOLD: Final = 20  # spoilt lines that are told one by one
_TOPICS: Final = 100_000  # that are looked up once

_TEXT: Final = ("utf-8", "surrogateescape")

_logger = structlog.get_logger(__name__)


class LastMessageStore:
    """The last message of each topic of :data:`KINDS`.

    Parameters
    ----------
    path
        File that keeps them; None for memory only.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._mutex = threading.Lock()
        self._last: dict[str, bytes] = {}
        self._bytes = 0

    def changed_only(self, items: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        """Return the topics and payloads that are not the last words on their topics again."""
        said: dict[str, bytes] = {}
        found = []
        for topic, payload in items:
            if topic in self._last:
                if payload == said.get(topic, self._last[topic]):
                    continue
                said[topic] = payload
            found.append((topic, payload))
        return found

    def update(self, topic: str, payload: bytes) -> None:
        """Take down a message that could be read, if its topic is one of those."""
        if not _is_kept(topic):
            return
        with self._mutex:
            before = self._last.pop(topic, b"")
            self._bytes -= len(before)
            if self._bytes + len(payload) <= MAX_RETAINED_BYTES:
                self._last[topic] = payload
                self._bytes += len(payload)

    def save(self) -> None:
        """Make them durable, whole or not at all.

        Raises
        ------
        JournalError
            If the disk does not take them.
        """
        if self._path is None:
            return
        with self._mutex:
            items = list(self._last.items())
        lines = [json.dumps([topic, payload.decode(*_TEXT)]) for topic, payload in items]
        lines.append(str(len(items)))
        files.write_atomic(self._path, "\n".join(map(files.add_checksum, lines)))

    def load(
        self, frames: Iterable[JournalRecord] = (), until: JournalPosition | None = None
    ) -> Iterator[tuple[str, bytes]]:
        """Yield what was written and is still the same; what is not is told among the losses.

        Whoever reads puts what he can use: if something is lost, the file is written anew then.

        Parameters
        ----------
        frames, until
            Of the journal, and up to where: what was said since the file was written is newer.
        """
        if self._path is None:
            return
        items, faults = _read(self._path) if self._path.exists() else ([], [])
        loss_log.append_losses(
            self._path.parent, [{"group": "kept", "reason": one} for one in faults]
        )
        last = dict(items)
        for frame in frames:
            if until is None or frame.position > until:
                break
            if _is_kept(frame.topic) and not isinstance(try_decode(*frame[1:3]), str):
                last[frame.topic] = frame.payload
        yield from last.items()
        if faults:
            try:
                self.save()
            except JournalError as error:
                _logger.warning("kept not written", reason=str(error))


@lru_cache(maxsize=_TOPICS)
def _is_kept(topic: str) -> bool:
    try:
        return parse_topic(topic).kind in RETAINED_KINDS
    except MessageError:
        return False


def corrupt_lines(path: Path) -> list[str]:
    """Return in words what of a file is not what was written; nothing if there is no file."""
    return _read(path)[1] if path.exists() else []


def _read(path: Path) -> tuple[list[tuple[str, bytes]], list[str]]:
    """Return topics and payloads of a file, and in words what of it is not what was written.

    Each line stands behind its checksum, the last tells how many there are; files of before have
    neither.
    """
    items: list[tuple[str, bytes]] = []
    bad: list[int] = []
    count, is_old = -1, True
    for number, line in enumerate(path.read_text(*_TEXT).split("\n"), start=1):
        try:
            is_plain = line.startswith("[")
            told = json.loads(line if is_plain else files.verify_checksum(line))
            is_old &= is_plain
            if isinstance(told, int):
                count = told
                continue
            topic, payload = told
            items.append((str(topic), str(payload).encode(*_TEXT)))
        except (RecursionError, TypeError, ValueError):
            bad.append(number)
    faults = [f"line {number} of {path.name} is not what was written" for number in bad[:_TOLD]]
    if len(bad) > _TOLD:
        faults.append(f"nor are {len(bad) - _TOLD} more lines of {path.name}")
    if not bad and not is_old and count != len(items):
        faults.append(f"{path.name} was cut off: {len(items)} lines are left")
    return items, faults
