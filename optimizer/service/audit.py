"""The audit record: one JSON line per decision, chained by hashes so that any edit is detected."""

import hashlib
import itertools
import json
import os
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from threading import Lock
from typing import BinaryIO, Final

import structlog

from telemetry.durable_files import disk_error, sync_folder, write_all
from twin.errors import JournalError

GENESIS_HASH: Final = "0" * 64
"""Hash before the first line."""

TAIL_CHUNK_BYTES: Final = 256 * 1024
"""Size of the first read that searches the end of a record; a line has some kilobytes. [B]"""

_LINE_PREFIX: Final = '{"hash":"'

AUDIT_FILE: Final = "audit.jsonl"
"""Name of the record in the state folder."""

logger = structlog.get_logger(__name__)


class AuditEvent(StrEnum):
    """Event of an entry; those of load targets are :class:`telemetry.feed.flex_agent.TargetEvent`.

    - `ALARM`: an alarm was raised, or its severity changed.
    """

    DECISION = "decision"
    NO_PLAN = "no_plan"
    HOLD = "hold"
    REPLACE = "replace"
    RELEASE = "release"
    ALARM = "alarm"
    ALARM_CLEARED = "alarm cleared"
    ACKNOWLEDGEMENT = "acknowledgement"


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """One line of the record: its content, and the hash that chains it to all lines before.

    ``damage`` names the place of a line that was edited; its content is not reliable.
    """

    content: Mapping[str, object]
    hash: str
    damage: str = ""


class AuditLog:
    """The audit record of a service; usable from any thread.

    Opening it moves a line that a crash cut off to a ``.torn`` file. A record whose last line does
    not match its hash is renamed, and a new one begins.

    - `trouble`: why entries wait to be written, or empty. A full disk does not stop the service;
      each further entry, and :meth:`write_waiting_entries`, try again.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, Lock()
        self._last = GENESIS_HASH
        self._pending: deque[str] = deque()
        self.trouble = ""
        self._repair_tail()

    @property
    def head(self) -> str:
        """Hash of the newest entry on disk, which stands for all entries before; 64 zeros if none.

        A reader who keeps it can later prove whether the record up to there was changed.
        """
        with self._lock:
            return self._last

    def add(self, content: Mapping[str, object]) -> None:
        """Write an entry of JSON values; it is on disk at return, or ``trouble`` states why not."""
        body = json.dumps(content, allow_nan=False, separators=(",", ":"))
        with self._lock:
            self._pending.append(body)
            self._write()

    def write_waiting_entries(self) -> None:
        """Write the waiting entries, if there are any."""
        with self._lock:
            if self._pending:
                self._write()

    def _write(self) -> None:
        """Write the waiting entries, oldest first, until one fails."""
        try:
            while self._pending:
                chained = _hash(self._last, self._pending[0])
                self._append(_line(chained, self._pending[0]).encode())
                self._last = chained
                self._pending.popleft()
        except JournalError as error:
            if not self.trouble:
                logger.exception("record not on disk", file=self._path.name)
            self.trouble = f"{len(self._pending)} entries of the record wait: {error}"
        else:
            self.trouble = ""

    def _append(self, line: bytes) -> None:
        is_new = not self._path.exists()
        try:
            with self._path.open("ab", buffering=0) as file:
                end = file.seek(0, os.SEEK_END)
                try:
                    write_all(file.fileno(), line)
                    os.fdatasync(file.fileno())
                except OSError:
                    file.truncate(end)
                    raise
            if is_new:
                sync_folder(self._path.parent)
        except OSError as error:
            raise disk_error(self._path, error) from error

    def _repair_tail(self) -> None:
        """Find the last hash of the record; move an incomplete last line to another file."""
        if not self._path.exists():
            return
        rest = _read_tail(self._path)
        end = rest.rfind(b"\n") + 1
        if end < len(rest):
            with self._path.with_suffix(".torn").open("ab") as torn:
                torn.write(rest[end:] + b"\n")
            os.truncate(self._path, self._path.stat().st_size - len(rest) + end)
            logger.warning("torn line set aside", file=self._path.name)
        if end:
            last = rest[rest.rfind(b"\n", 0, end - 1) + 1 : end].decode(errors="replace")
            chained = _stored_hash(last)
            if last == _line(chained, _body(last)):
                self._last = chained
            else:
                damaged = self._path.with_suffix(f".{time.time_ns()}.broken")
                self._path.replace(damaged)
                logger.error("broken record set aside", file=self._path.name, aside=damaged.name)


def _read_tail(path: Path) -> bytes:
    """Return the last whole line of a record and what follows it, without reading the whole file.

    A record of years is larger than the memory of many machines.
    """
    with path.open("rb") as file:
        size, length, rest = file.seek(0, os.SEEK_END), TAIL_CHUNK_BYTES, b""
        while len(rest) < size and rest.count(b"\n") <= 1:
            file.seek(max(size - length, 0))
            rest, length = file.read(), 2 * length
    return rest


def read_entries(path: Path) -> Iterator[AuditEntry]:
    """Yield the entries of a record, oldest first, without a last line that is still being written.

    After an edited line the chain continues from the hash in that line.
    """
    last = GENESIS_HASH
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            line = raw.decode(errors="replace")
            if not line.endswith("\n"):
                return
            yield _read_line(line, last, place=f"{path.name}, line {number}")
            last = _stored_hash(line)


def read_newest_entries(path: Path) -> Iterator[AuditEntry]:
    """Yield the same entries, newest first; a reader that stops early reads only the end."""
    with path.open("rb") as file:
        lines = itertools.chain(_lines_from_end(file), [""])
        for number, (line, before) in enumerate(itertools.pairwise(lines), start=1):
            last = _stored_hash(before) if before else GENESIS_HASH
            yield _read_line(line, last, place=f"{path.name}, line {number} from the end")


def _lines_from_end(file: BinaryIO) -> Iterator[str]:
    """Yield the whole lines of a file, last first, without a last one that has no end."""
    end, rest, is_at_end = file.seek(0, os.SEEK_END), b"", True
    while end:
        start = max(end - TAIL_CHUNK_BYTES, 0)
        file.seek(start)
        rest, *lines = (file.read(end - start) + rest).split(b"\n")
        if is_at_end and lines:
            lines.pop()  # what follows the last end of a line
            is_at_end = False
        for line in reversed(lines):
            yield f"{line.decode(errors='replace')}\n"
        end = start
    if not is_at_end:
        yield f"{rest.decode(errors='replace')}\n"


def _read_line(line: str, last: str, *, place: str) -> AuditEntry:
    """Return the entry of a line; ``last`` is the hash in the line before."""
    body = _body(line)
    chained = _hash(last, body)
    if line == _line(chained, body):
        return AuditEntry(content=json.loads(body), hash=chained)
    return AuditEntry(content=_parse_damaged(body), hash=_stored_hash(line), damage=place)


@dataclass(frozen=True, kw_only=True)
class RecordCheck:
    """What a record holds, and whether its lines match their hashes.

    - `head`: hash of the newest entry; 64 zeros if there is none.
    - `damages`: places of lines that do not match.
    - `anchor_entries`: number of entries up to the one with the given hash; None if it is absent.
    """

    entries: int
    head: str
    damages: tuple[str, ...]
    anchor_entries: int | None


def check_record(path: Path, *, anchor: str = GENESIS_HASH) -> RecordCheck:
    """Compare each line of a record with its hash, and find an entry by its hash ``anchor``.

    An edited line before the anchor changes all hashes after it, unless they were left as they are:
    then it is a damage.
    """
    count, head, damages = 0, GENESIS_HASH, []
    found = 0 if anchor == GENESIS_HASH else None
    for entry in read_entries(path):
        count, head = count + 1, entry.hash
        damages += [entry.damage] if entry.damage else []
        if found is None and head == anchor and not entry.damage:
            found = count
    return RecordCheck(entries=count, head=head, damages=tuple(damages), anchor_entries=found)


def _parse_damaged(body: str) -> Mapping[str, object]:
    """Return the readable content of an edited line, or an empty mapping."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _line(chained: str, body: str) -> str:
    return f'{_LINE_PREFIX}{chained}","entry":{body}}}\n'


def _stored_hash(line: str) -> str:
    """Return the hash that stands in a line."""
    return line[len(_LINE_PREFIX) : len(_LINE_PREFIX) + len(GENESIS_HASH)]


def _body(line: str) -> str:
    """Return the text between the hash and the end of a line."""
    return line[len(_line(GENESIS_HASH, "")) - len("}\n") : -len("}\n")]


def _hash(last: str, body: str) -> str:
    return hashlib.sha256(f"{last}{body}".encode()).hexdigest()
