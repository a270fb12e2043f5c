"""What a source has sent and nobody has made durable yet, on the source's own disk.

One SQLite file, whose transactions are on disk when they return: a batch is here before it is sent,
and stays until the ingester has told that it is durable; see :mod:`telemetry.custody`. Neither a
kill nor a power cut takes it along. When there is too much of it the oldest goes, which is counted.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from telemetry.custody import Held
from twin.errors import JournalError, JournalFullError

MOST_BYTES: Final = 1024**3
"""Payload that an outbox holds: a rack's batches of a week, or an hour of two hundred racks. [B]"""

_SPARE: Final = 0.05
"""Share of it that is freed at once when it is full."""

_MADE: Final = """
create table if not exists batches (
    number integer primary key, source text not null, boot integer not null,
    sequence integer not null, payload blob not null);
create unique index if not exists keys on batches (source, boot, sequence);
create table if not exists boots (
    source text not null, boot integer not null, next integer not null,
    primary key (source, boot)) without rowid;
"""

_logger = structlog.get_logger(__name__)


class Letter(NamedTuple):
    """A batch that is held.

    Attributes
    ----------
    source
        Topic of the rack's batches, ``dc/v1/{site}/{hall}/{rack}/tele``.
    boot, sequence
        Its key.
    payload
        Its bytes.
    """

    source: str
    boot: int
    sequence: int
    payload: bytes


class Outbox:
    """Batches until they are durable elsewhere; any thread may call anything.

    Parameters
    ----------
    path
        The file; made if missing.
    most_bytes
        Payload above which the oldest goes. [B]

    Attributes
    ----------
    dropped
        Batches that went because there was no room.

    Raises
    ------
    JournalError
        If the file cannot be opened. One that is spoilt is set aside, said aloud, and made anew.
    """

    def __init__(self, path: Path, *, most_bytes: int = MOST_BYTES) -> None:
        self._path = Path(path)
        self._most_bytes = most_bytes
        self._mutex = threading.Lock()
        self.dropped = 0
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._failures():
            try:
                self._base, self._bytes = self._open()
            except sqlite3.OperationalError:
                raise
            except sqlite3.Error as error:
                self._set_aside(error)
                self._base, self._bytes = self._open()

    @property
    def size(self) -> int:
        """Payload that is held. [B]"""
        return self._bytes

    def put(self, letters: Sequence[Letter]) -> None:
        """Hold batches, on disk when this returns; one that is held already is not held twice.

        Raises
        ------
        JournalFullError
            If the disk is full; then none of them is held.
        JournalError
            If it fails otherwise; none either.
        """
        last = {(one.source, one.boot): one.sequence + 1 for one in letters}
        with self._alone() as base:
            base.execute("begin immediate")
            put = base.executemany(
                "insert or ignore into batches (source, boot, sequence, payload)"
                " values (?, ?, ?, ?)",
                letters,
            )
            base.executemany(
                "insert into boots values (?, ?, ?) on conflict do update"
                " set next = max(next, excluded.next)",
                [(*key, following) for key, following in last.items()],
            )
            is_new = put.rowcount == len(letters)
            size = self._bytes + sum(len(o.payload) for o in letters) if is_new else _weigh(base)
            freed, count = self._make_room(base, size)
            base.execute("commit")
            self._bytes = size - freed
            self.dropped += count
        if count:
            _logger.warning("outbox full", place=str(self._path), batches_let_go=count)

    def let_go(self, source: str, boot: int, through: int) -> None:
        """Forget the batches of a boot up to a sequence.

        Raises
        ------
        JournalError
            If the disk does not take it.
        """
        with self._alone() as base:
            (freed,) = base.execute(
                "select coalesce(sum(length(payload)), 0) from batches"
                " where source = ? and boot = ? and sequence <= ?",
                (source, boot, through),
            ).fetchone()
            if freed:
                base.execute(
                    "delete from batches where source = ? and boot = ? and sequence <= ?",
                    (source, boot, through),
                )
                self._bytes -= freed
            base.execute(
                "delete from boots where source = ?1 and boot < (select max(boot) from boots"
                " where source = ?1) and not exists (select 1 from batches where"
                " batches.source = ?1 and batches.boot = boots.boot)",
                (source,),
            )

    def read(self, source: str, boot: int, span: tuple[int, int], *, limit: int) -> list[Letter]:
        """Return the first batches of a span of sequences, at most so many.

        Raises
        ------
        JournalError
            If the disk does not give them.
        """
        with self._alone() as base:
            rows = base.execute(
                "select source, boot, sequence, payload from batches where source = ? and boot = ?"
                " and sequence between ? and ? order by sequence limit ?",
                (source, boot, *span, limit),
            ).fetchall()
        return [Letter(*row) for row in rows]

    def held(self, source: str) -> list[Held]:
        """Return what is held of a source: each boot, the oldest first.

        Raises
        ------
        JournalError
            If the disk does not tell.
        """
        with self._alone() as base:
            rows = base.execute(
                "select boot, coalesce((select min(sequence) from batches where"
                " batches.source = boots.source and batches.boot = boots.boot), next), next - 1"
                " from boots where source = ? order by boot",
                (source,),
            ).fetchall()
        return [Held(boot=boot, first=first, last=last) for boot, first, last in rows]

    def sources(self) -> list[str]:
        """Return the sources that anything is known of.

        Raises
        ------
        JournalError
            If the disk does not tell.
        """
        with self._alone() as base:
            rows = base.execute("select distinct source from boots").fetchall()
        return [source for (source,) in rows]

    def close(self) -> None:
        """Close the file."""
        with self._mutex:
            self._base.close()

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Tell what the file fails with as an error of ours."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._failure(error) from error

    @contextmanager
    def _alone(self) -> Iterator[sqlite3.Connection]:
        """Have the file to oneself; what fails in the middle of a change is undone."""
        with self._mutex, self._failures():
            try:
                yield self._base
            except sqlite3.Error:
                with suppress(sqlite3.Error):  # it may be closed
                    self._base.rollback()
                raise

    def _open(self) -> tuple[sqlite3.Connection, int]:
        """Return the file, and the payload that it holds. [B]"""
        base = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
        try:
            base.execute("pragma journal_mode=wal")
            base.execute("pragma synchronous=full")
            base.executescript(_MADE)
            return base, _weigh(base)
        except sqlite3.Error:
            base.close()
            raise

    def _set_aside(self, error: sqlite3.Error) -> None:
        """Begin anew where the file is no outbox, and say so."""
        aside = self._path.with_name(f"{self._path.name}.spoilt-{time.time_ns()}")
        self._path.rename(aside)
        for end in ("-wal", "-shm"):
            self._path.with_name(self._path.name + end).unlink(missing_ok=True)
        _logger.error("outbox set aside", place=str(self._path), reason=str(error), to=str(aside))

    def _make_room(self, base: sqlite3.Connection, size: int) -> tuple[int, int]:
        """Let the oldest go if there is too much; return what that frees [B], and how many."""
        if size <= self._most_bytes:
            return 0, 0
        wanted = size - (1.0 - _SPARE) * self._most_bytes
        last, count, freed = 0, 0, 0
        rows = base.execute("select number, length(payload) from batches order by number")
        for number, length in rows:
            last, count, freed = number, count + 1, freed + length
            if freed >= wanted:
                break
        base.execute("delete from batches where number <= ?", (last,))
        return freed, count

    def _failure(self, error: sqlite3.Error) -> JournalError:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            return JournalFullError(f"{self._path}: {error}; make room")
        return JournalError(f"{self._path}: {error}; see to the disk, or move the file away")


def _weigh(base: sqlite3.Connection) -> int:
    """Return the payload that is held. [B]"""
    (size,) = base.execute("select coalesce(sum(length(payload)), 0) from batches").fetchone()
    return int(size)
