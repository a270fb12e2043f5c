"""The audit record: one line a decision, chained by hashes so that any edited byte shows."""

import hashlib
import json
import os
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final

import structlog

from telemetry.files import disk_error, sync_folder, write_all
from twin.errors import JournalError, ServiceError, ValidationIssue

GENESIS_HASH: Final = "0" * 64
"""Hash before the first line."""

TAIL_CHUNK_BYTES: Final = 256 * 1024
"""How much of a record is read first to find its end; a line has some kilobytes. [B]"""

_LINE_PREFIX: Final = '{"hash":"'

AUDIT_FILE: Final = "audit.jsonl"
"""Name of the record in the state folder of a service."""

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class AuditEntry:
    """One line of the record: its own words, and the hash that binds it to all before.

    ``damage`` says where a line is not as it was written; what it tells is not to be believed.
    """

    content: Mapping[str, object]
    hash: str
    damage: str = ""


class AuditLog:
    """The audit record of a service; may be used from any thread.

    Parameters
    ----------
    path
        The file; one JSON object a line. A line that a crash cut off is set aside; so is a record
        whose last line is not ours, and a new one begins.

    Attributes
    ----------
    trouble
        Why entries wait to be written, or nothing. A disk that is full stops nobody; it is tried
        again with every entry, and by :meth:`again`.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, Lock()
        self._last = GENESIS_HASH
        self._pending: deque[str] = deque()
        self.trouble = ""
        self._repair_tail()

    def add(self, content: Mapping[str, object]) -> None:
        """Write an entry; it is on disk when this returns, or ``trouble`` says why not.

        Parameters
        ----------
        content
            What ``json`` can write.
        """
        body = json.dumps(content, allow_nan=False, separators=(",", ":"))
        with self._lock:
            self._pending.append(body)
            self._write()

    def retry(self) -> None:
        """Write what waits, if anything does."""
        with self._lock:
            if self._pending:
                self._write()

    def _write(self) -> None:
        """Write what waits, oldest first, as far as the disk takes it."""
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
        """Go to the end of the record; a last line without an end is set aside."""
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
            chained = last[len(_LINE_PREFIX) : len(_LINE_PREFIX) + len(GENESIS_HASH)]
            if last == _line(chained, _body(last)):
                self._last = chained
            else:
                aside = self._path.with_suffix(f".{time.time_ns()}.broken")
                self._path.replace(aside)
                logger.error("broken record set aside", file=self._path.name, aside=aside.name)


def _read_tail(path: Path) -> bytes:
    """Return the last whole line of a record and what follows it, and no more than it must.

    A record of years is larger than the memory of many machines.
    """
    with path.open("rb") as file:
        size, length, rest = file.seek(0, os.SEEK_END), TAIL_CHUNK_BYTES, b""
        while len(rest) < size and rest.count(b"\n") <= 1:
            file.seek(max(size - length, 0))
            rest, length = file.read(), 2 * length
    return rest


def read_audit(path: Path) -> Iterator[AuditEntry]:
    """Yield the entries of a record, oldest first; a last line still being written is left out.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    ServiceError
        At the first line that was edited, or does not follow the one before.
    """
    for entry in read_entries(path):
        if entry.damage:
            remedy = "this line or one before it was edited after it had been written"
            raise ServiceError(
                "audit", [ValidationIssue(location=entry.damage, found="", remedy=remedy)]
            )
        yield entry


def read_entries(path: Path) -> Iterator[AuditEntry]:
    """Yield the entries of a record, oldest first; a last line still being written is left out.

    Parameters
    ----------
    path
        The file. After a line that was edited the chain goes on from its hash.
    """
    last = GENESIS_HASH
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            line = raw.decode(errors="replace")
            if not line.endswith("\n"):
                return
            body = _body(line)
            chained = _hash(last, body)
            if line == _line(chained, body):
                yield AuditEntry(content=json.loads(body), hash=chained)
                last = chained
            else:
                last = line[len(_LINE_PREFIX) : len(_LINE_PREFIX) + len(GENESIS_HASH)]
                fault = f"{path.name}, line {number}"
                yield AuditEntry(content=_parse_damaged(body), hash=last, damage=fault)


def _parse_damaged(body: str) -> Mapping[str, object]:
    """Return what can be read of a line that was edited: it may be all that there is."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _line(chained: str, body: str) -> str:
    return f'{_LINE_PREFIX}{chained}","entry":{body}}}\n'


def _body(line: str) -> str:
    """Return what stands between the hash and the end of a line."""
    return line[len(_line(GENESIS_HASH, "")) - len("}\n") : -len("}\n")]


def _hash(last: str, body: str) -> str:
    return hashlib.sha256(f"{last}{body}".encode()).hexdigest()
