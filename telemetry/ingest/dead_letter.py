"""Messages that are not archived: stored for people in JSON lines, counted, and reported.

* Undecodable messages are stored in part. Valid messages are stored whole, apart from them and with
  more space, so that a flood of undecodable ones cannot displace them. Displaced messages are
  counted and logged.
* Readings stamped later than they can have been made: one stamp far ahead would close all time
  before it in the archive.
* :class:`RefusedReadings`: readings with an implausible value. The archive has them with their
  quality flag; people find them here, by point, topic and value.
* Racks refused by :mod:`telemetry.ingest.chip_count_guard`, and times refused by
  :mod:`telemetry.ingest.time_leaps`.
"""

import base64
import json
import shutil
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import structlog

from telemetry.archive import loss_log
from telemetry.archive.loss_log import RejectionSummary, append_losses
from telemetry.ingest.chip_count_guard import ChipCountGuard
from telemetry.quality.checks import MAX_CLOCK_LEAD, QualityFlag

_logger = structlog.get_logger(__name__)

UNDECODABLE_FILE_PREFIX: Final = "poison"
"""Prefix of files of undecodable messages: ``poison.jsonl`` and rotated ones."""

REJECTED_FILE_PREFIX: Final = "late"
"""Prefix of files of valid messages that are not archived: ``late.jsonl`` and rotated ones."""

IMPLAUSIBLE_FILE_PREFIX: Final = "refused"
"""Prefix of files of readings with an implausible value: ``refused.jsonl`` and rotated ones."""

MAX_EXCERPT_BYTES: Final = 1000
"""Part of an undecodable payload that is stored. [B]"""

MAX_REJECTS_FILE_BYTES: Final = 16 * 1024 * 1024
"""Size at which a file is rotated. [B]"""

MIN_ROTATED_BYTES: Final = 2 * MAX_REJECTS_FILE_BYTES
"""Size that rotated files may always have; beyond it the oldest are deleted. [B]"""

MAX_DISK_SHARE: Final = 0.05
"""Share of the free disk for rotated valid messages, if it exceeds MIN_ROTATED_BYTES. [1]"""

MAX_TOPIC_LENGTH: Final = 500
"""Letters of a topic that are stored. [1]"""

_MUTEX: Final = threading.Lock()  # several stores may write to one folder


class DeadLetterStore:
    """Files of messages that are not archived.

    Each line has ``time``, ``topic``, ``reason``, ``size`` [B] and ``payload`` in base64, of
    undecodable messages the first kilobyte. An error of the disk does not stop the caller.

    - `folder`: folder of the files; None to store nothing.
    - `lost`: folder of the archive whose loss log records displaced valid messages; None to log
      only.
    """

    def __init__(self, folder: Path | None, lost: Path | None = None) -> None:
        self._folder = folder
        self._lost = lost
        self._failed = 0

    def add_undecodable(self, topic: str, reason: str, payload: bytes | int) -> None:
        """Store an undecodable message; ``payload`` is its size if the bytes are unknown. [B]"""
        shown = b"" if isinstance(payload, int) else payload[:MAX_EXCERPT_BYTES]
        size = payload if isinstance(payload, int) else len(payload)
        self._append(UNDECODABLE_FILE_PREFIX, _line(topic, reason, shown, size))

    def add_rejected(self, topic: str, reason: str, payload: bytes) -> None:
        """Store a valid message that is not archived."""
        self.add_rejected_many([(reason, topic, payload)])

    def add_rejected_many(self, messages: Iterable[tuple[str, str, bytes]]) -> None:
        """Store reason, topic and payload of valid messages that are not archived."""
        lines = (_line(topic, reason, one, len(one)) for reason, topic, one in messages)
        self._append(REJECTED_FILE_PREFIX, "".join(lines))

    def add_implausible(self, topic: str, reason: str, payload: bytes) -> None:
        """Store a valid message with an implausible value."""
        self._append(IMPLAUSIBLE_FILE_PREFIX, _line(topic, reason, payload, len(payload)))

    def _append(self, stem: str, lines: str) -> None:
        if self._folder is None or not lines:
            return
        with _MUTEX:
            try:
                displaced = _write(self._folder, stem, lines)
            except OSError as error:
                if not self._failed:
                    _logger.warning("quarantine not written", reason=error.strerror)
                self._failed += lines.count("\n")
                return
            failed, self._failed = self._failed, 0
        if failed:
            _logger.warning("quarantine written again", absent=failed)
        if displaced and stem == REJECTED_FILE_PREFIX:
            reason = (
                f"{displaced} of the oldest valid messages in quarantine gave way to newer ones"
            )
            loss_log.append_losses(self._lost, [{"group": "quarantine", "reason": reason}])
        elif displaced:
            _logger.warning("quarantine files deleted", messages=displaced, kind=stem)


def _line(topic: str, reason: str, shown: bytes, size: int) -> str:
    record = {
        "time": f"{np.datetime64('now', 's')}Z",
        "topic": topic[:MAX_TOPIC_LENGTH],
        "reason": reason,
        "size": size,
        "payload": base64.b64encode(shown).decode(),
    }
    return json.dumps(record) + "\n"


def _write(folder: Path, stem: str, lines: str) -> int:
    """Append lines; return the number of older ones that were deleted."""
    folder.mkdir(parents=True, exist_ok=True)
    path, displaced = folder / f"{stem}.jsonl", 0
    if path.exists() and path.stat().st_size > MAX_REJECTS_FILE_BYTES:
        numbers = [int(one.name.split(".")[1]) for one in _rotated(folder, stem)]
        path.replace(folder / f"{stem}.{max(numbers, default=0) + 1}.jsonl")
        displaced = _delete_oldest(folder, stem)
    with path.open("a", encoding="ascii") as file:
        file.write(lines)
    return displaced


def _delete_oldest(folder: Path, stem: str) -> int:
    """Delete the oldest files beyond the allowed size; return the number of their lines."""
    files = _rotated(folder, stem)
    size, limit, displaced = sum(one.stat().st_size for one in files), MIN_ROTATED_BYTES, 0
    if stem == REJECTED_FILE_PREFIX:
        free = shutil.disk_usage(folder).free
        limit = max(MIN_ROTATED_BYTES, int(MAX_DISK_SHARE * (free + size)))
    for path in files:
        if size <= limit:
            break
        size -= path.stat().st_size
        with path.open("rb") as file:
            displaced += sum(1 for _ in file)
        path.unlink()
    return displaced


def _rotated(folder: Path, stem: str) -> list[Path]:
    """Return the rotated files, oldest first."""
    found = [one for one in folder.glob(f"{stem}.*.jsonl") if one.name.split(".")[1].isdecimal()]
    return sorted(found, key=lambda one: int(one.name.split(".")[1]))


IMPLAUSIBLE_FLAGS: Final = (QualityFlag.RANGE, QualityFlag.RATE, QualityFlag.UNIT)
"""Flags of readings with an implausible value."""

REFUSED_STORE_PERIOD_S: Final = 60.0
"""Time between two stored implausible readings of one source. [s]"""

REFUSED_LOG_PERIOD_S: Final = 3600.0
"""Time between two lines of the log about implausible readings of one source. [s]"""

MAX_IMPLAUSIBLE_SOURCES: Final = 10_000
"""Sources whose implausible readings are tracked. [1]"""

MAX_REFUSED_LISTED: Final = 5
"""Sources that a status names. [1]"""


@dataclass(frozen=True, kw_only=True, slots=True)
class RefusedReading:
    """The newest implausible reading of a source.

    - `source`: point, or rack as ``hall/rack``.
    - `topic`: topic that it came on.
    - `value`, `unit`: as received.
    - `reason`: its quality flag.
    - `expected`: what is plausible.
    - `time`: its stamp, UTC.
    - `count`: number of implausible readings of the source since the start.
    """

    source: str
    topic: str
    value: float
    unit: str
    reason: str
    expected: str
    time: str
    count: int = 1


class RefusedReadings:
    """Readings with an implausible value; one thread adds, any thread reads."""

    def __init__(self, quarantine: DeadLetterStore) -> None:
        self._quarantine = quarantine
        self._mutex = threading.Lock()
        self._newest: dict[str, tuple[RefusedReading, dict[str, float]]] = {}

    def add(self, reading: RefusedReading, payload: bytes) -> None:
        """Store, log and list a reading; of each source not more often than the periods allow."""
        source, now = reading.source, time.monotonic()
        with self._mutex:
            before, due = self._newest.pop(source, (None, {}))
            if before is not None:
                reading = replace(reading, count=before.count + 1)
            elif len(self._newest) >= MAX_IMPLAUSIBLE_SOURCES:
                del self._newest[next(iter(self._newest))]
            self._newest[source] = reading, due  # the last one is the newest
        if now >= due.get("", 0.0):
            due[""] = now + REFUSED_STORE_PERIOD_S
            value = f"{reading.value:g} {reading.unit}".strip()
            text = f"{reading.reason}: {source} is {value}, expected {reading.expected}"
            self._quarantine.add_implausible(reading.topic, text, payload)
        if now >= due.get(reading.reason, 0.0):
            due[reading.reason] = now + REFUSED_LOG_PERIOD_S
            _logger.warning("reading refused", **asdict(reading))

    def newest(self) -> list[RefusedReading]:
        """Return the newest reading of a few sources, the newest first."""
        with self._mutex:
            found = [reading for reading, _ in self._newest.values()]
        return found[: -MAX_REFUSED_LISTED - 1 : -1]


LOSS_WRITE_PERIOD_S: Final = 60.0
"""Longest time until a loss is recorded. [s]"""

MAX_BUFFERED_MESSAGES: Final = 1000
"""Messages that are stored at once; until then the journal has them. [1]"""

FUTURE_STAMP_REASON: Final = (
    f"stamped over {MAX_CLOCK_LEAD / np.timedelta64(1, 's'):.0f} s ahead of the clock here"
)
"""Why such a reading is not archived."""

TOO_MANY_CHIPS_REASON: Final = "of a rack of far more chips than the site's others"
"""Why such a batch is not archived."""


class Message(Protocol):
    """A message as received, or as a record of a journal."""

    @property
    def topic(self) -> str:
        """Topic."""

    @property
    def payload(self) -> bytes:
        """Payload."""


class RejectHandler:
    """Store of messages that are not archived or implausible, for any thread.

    - `quarantine`: folder of the messages; None to store none.
    - `lost`: folder of the archive whose loss log records them; None to log only.
    """

    def __init__(self, quarantine: Path | None, lost: Path | None) -> None:
        self.quarantine = DeadLetterStore(quarantine, lost)
        self.chip_counts = ChipCountGuard()
        self.implausible = RefusedReadings(self.quarantine)
        self._lost = lost
        self._mutex = threading.Lock()
        self._losses = {
            reason: RejectionSummary(f"were {reason}")
            for reason in (FUTURE_STAMP_REASON, TOO_MANY_CHIPS_REASON)
        }
        self._buffer: list[tuple[str, str, bytes]] = []
        self._written_at = time.monotonic()

    def reject(self, message: Message, reason: str) -> None:
        """Store a valid message that is not archived."""
        self.quarantine.add_rejected(message.topic, reason, message.payload)

    def reject_future(self, message: Message, group: str, label: str, *, second: int) -> None:
        """Store a reading of a second [s since 1970] that is stamped in the future."""
        self._reject_reading(FUTURE_STAMP_REASON, message, group, label, second)

    def reject_wide(self, message: Message, label: str, second: int, *, chips: int) -> None:
        """Store a batch of a second [s since 1970] that has too many chips."""
        self.chip_counts.note_refused(label, chips)
        self._reject_reading(TOO_MANY_CHIPS_REASON, message, "racks", label, second)

    def _reject_reading(
        self, reason: str, message: Message, group: str, label: str, second: int
    ) -> None:
        with self._mutex:
            self._buffer.append((f"not archived: {reason}", message.topic, message.payload))
            is_full = len(self._buffer) >= MAX_BUFFERED_MESSAGES
            self._losses[reason].add(group, label, second)
        if is_full or time.monotonic() - self._written_at > LOSS_WRITE_PERIOD_S:
            self.write_losses()

    def write_losses(self) -> None:
        """Store messages and record losses, before the journal deletes their messages."""
        with self._mutex:
            messages, self._buffer = self._buffer, []
            losses = [one for summary in self._losses.values() for one in summary.drain()]
            self._written_at = time.monotonic()
        self.quarantine.add_rejected_many(messages)
        append_losses(self._lost, losses)
