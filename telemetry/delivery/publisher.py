"""A source that loses nothing: each batch is on its own disk until it is durable at the other end.

What an ingester misses is sent again when it says so; see :mod:`telemetry.delivery.protocol`. For
gateways that speak for many racks; an agent of one rack needs the hundred lines of
``docs/examples/lossless_agent.py`` only.

What a source has sent and nobody has made durable yet, on the source's own disk.

One SQLite file, whose transactions are on disk when they return: a batch is here before it is sent,
and stays until the ingester has told that it is durable; see :mod:`telemetry.delivery.protocol`.
Neither a kill nor a power cut takes it along. When there is too much of it the oldest goes, which
is counted.
"""

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from telemetry.delivery import protocol
from telemetry.delivery.protocol import (
    ACK_SUFFIX,
    REPORT_SUFFIX,
    SelectiveAck,
    SenderReport,
    SequenceRange,
)
from telemetry.messages.models import RackBatch
from telemetry.messages.rack_batch import encode_batch
from telemetry.mqtt.client import Client
from telemetry.mqtt.queues import ReceivedMessage
from twin.errors import JournalError, JournalFullError, MessageError

MAX_SPOOL_BYTES: Final = 1024**3
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


class SpooledBatch(NamedTuple):
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


class SpoolStore:
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

    def __init__(self, path: Path, *, max_bytes: int = MAX_SPOOL_BYTES) -> None:
        self._path = Path(path)
        self._most_bytes = max_bytes
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

    def put(self, letters: Sequence[SpooledBatch]) -> None:
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

    def release_through(self, source: str, boot: int, through: int) -> None:
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

    def read(
        self, source: str, boot: int, span: tuple[int, int], *, limit: int
    ) -> list[SpooledBatch]:
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
        return [SpooledBatch(*row) for row in rows]

    def reports(self, source: str) -> list[SenderReport]:
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
        return [SenderReport(boot=boot, first=first, last=last) for boot, first, last in rows]

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


REPORT_PERIOD_S: Final = 10.0
"""Time between two questions what is durable. [s]"""

POLL_TIMEOUT_S: Final = 0.2
"""Longest wait for an answer before the time is looked at. [s]"""

MAX_RESENDS_IN_FLIGHT: Final = 2000
"""Batches that are sent again and not known to be durable yet, shared by all sources."""

MIN_RESENDS_PER_SOURCE: Final = 16
"""Of these, what any source may have underway however many there are."""

RESEND_BACKOFF_S: Final = (10.0, 300.0)
"""Time after which what was sent again is sent once more, twice as long each time, and the longest.
A connection that was lost ends it. [s]"""

MAX_UNANSWERED_REPORTS: Final = 6
"""Questions in a row without any answer, from which on that is a trouble."""

UNANSWERED_MESSAGE: Final = (
    "nobody answers what is durable: does a recording or the service of this site run, and does "
    "the broker's access list let us publish and hear these topics"
)
"""What to ask where it is one. A broker that grants a topic to nobody says nothing of it."""

PUBLISHER_COUNTERS: Final = ("published", "again", "unheld", "unread", "unasked")

type BatchKey = tuple[int, int]
"""Boot and sequence."""


class LosslessPublisher:
    """Sends rack batches and holds them until they are durable.

    Parameters
    ----------
    client
        Connected or not; it is neither started nor stopped here, and nobody else takes from it.
    outbox
        Where batches are held.
    period
        Time between two questions. [s]

    Raises
    ------
    JournalError
        If the outbox does not tell whose batches it holds.
    """

    def __init__(
        self, client: Client, outbox: SpoolStore, *, period: float = REPORT_PERIOD_S
    ) -> None:
        self._client = client
        self._outbox = outbox
        self._period = period
        self._mutex = threading.Lock()
        self._sources: dict[str, None] = {}
        self._again: dict[str, dict[BatchKey, _Resent]] = {}
        self._counts = Counter(dict.fromkeys(PUBLISHER_COUNTERS, 0))
        self._gone: dict[tuple[str, int], tuple[SequenceRange, ...]] = {}
        self._sent = 0
        self._unanswered = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        for source in outbox.sources():
            self._know(source)

    @property
    def counters(self) -> Mapping[str, int]:
        """What happened so far.

        ``published``, of these ``unheld`` (the disk would not have them); ``again``, sent once
        more because they were missing; ``unread``, answers that could not be read or followed;
        ``unasked``, questions of a source that failed because the disk did not tell what is held.
        """
        return dict(self._counts)

    @property
    def error(self) -> str:
        """Why what is held stays held, in words; empty where it does not, or the client tells."""
        is_asked = self._client.is_connected and self._unanswered >= MAX_UNANSWERED_REPORTS
        return UNANSWERED_MESSAGE if is_asked and self.spooled_bytes else ""

    def start(self) -> None:
        """Begin to ask and to send again."""
        self._thread.start()

    def stop(self) -> None:
        """End; what is held stays held."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def publish(self, batches: Sequence[RackBatch]) -> None:
        """Hold batches and send them, in their order.

        Parameters
        ----------
        batches
            Those of one rack have rising keys (boot, sequence).

        Raises
        ------
        MessageError
            If one of them cannot be written, after all others are held and sent.
        """
        letters, fault = [], None
        for batch in batches:
            try:
                source, payload = encode_batch(batch)
            except MessageError as error:
                fault = fault or error
            else:
                letters.append(SpooledBatch(source, batch.boot, batch.sequence, payload))
        for source in {one.source for one in letters}:
            self._know(source)
        try:
            self._outbox.put(letters)
        except JournalError as error:
            if not self._counts["unheld"]:
                _logger.warning("sent without being held", reason=str(error))
            self._counts["unheld"] += len(letters)
        for one in letters:
            self._client.publish(one.source, one.payload, qos=1)
        self._counts["published"] += len(letters)
        if fault is not None:
            raise fault

    @property
    def spooled_bytes(self) -> int:
        """Payload of what is not known to be durable. [B]"""
        return self._outbox.size

    def _know(self, source: str) -> None:
        """Want to hear what is durable of a source."""
        with self._mutex:
            if source in self._sources:
                return
            self._sources[source] = None
        self._client.subscribe(source + ACK_SUFFIX, qos=0)

    def _run(self) -> None:
        asked, connections = 0.0, 0
        while not self._ended.is_set():
            count = self._client.counters["connections"]
            is_new = self._client.is_connected and count != connections
            if is_new:
                self._again.clear()  # what was underway may have gone with the broker
                self._unanswered = 0
            if is_new or time.monotonic() - asked >= self._period:
                asked, connections = time.monotonic(), count
                self._ask()
            for message in self._client.poll(timeout=POLL_TIMEOUT_S):
                self._hear(message)

    def _ask(self) -> None:
        """Tell what is held, of all sources."""
        with self._mutex:
            sources = list(self._sources)
        self._unanswered += self._client.is_connected
        for source in sources:
            try:
                known = self._outbox.reports(source)
            except JournalError as error:  # it is asked again after a period
                if not self._counts["unasked"]:
                    _logger.warning("nothing asked", source=source, reason=str(error))
                self._counts["unasked"] += 1
                continue
            held = [replace(one, dropped=self._gone.get((source, one.boot), ())) for one in known]
            if held:
                self._client.publish(source + REPORT_SUFFIX, protocol.encode_report(held), qos=0)

    def _hear(self, message: ReceivedMessage) -> None:
        """Let go of what is durable, and send what is missing."""
        source = message.topic.removesuffix(ACK_SUFFIX)
        try:
            boots = protocol.decode_ack(message.topic, message.payload)
            self._unanswered = 0
            self._settle(source, boots)
            for one in boots:
                self._outbox.release_through(source, one.boot, one.contiguous_through)
                gone = [part for s in one.missing for part in self._send_again(source, one.boot, s)]
                self._gone[source, one.boot] = tuple(gone[: protocol.MAX_RANGES])
        except (MessageError, JournalError) as error:
            if not self._counts["unread"]:
                _logger.warning("answer not followed", reason=str(error))
            self._counts["unread"] += 1

    def _settle(self, source: str, boots: Sequence[SelectiveAck]) -> None:
        """Forget what has come; what was sent before it and has not come is lost once more."""
        lacking: dict[BatchKey, _Resent] = {}
        newest = 0
        for key, resent in self._again.get(source, {}).items():
            if any(one.boot == key[0] and one.is_missing(key[1]) for one in boots):
                lacking[key] = resent
            else:
                newest = max(newest, resent.number)
        for resent in lacking.values():
            if resent.number < newest:
                resent.due = 0.0
        self._again[source] = lacking

    def _send_again(self, source: str, boot: int, span: SequenceRange) -> list[SequenceRange]:
        """Send what is held of a span, unless it was sent again a short while ago.

        What a broker has queued comes late, and would only come later if it were sent once more.
        Returns what of the span is not held.
        """
        now, again = time.monotonic(), self._again[source]
        share = max(MAX_RESENDS_IN_FLIGHT // max(len(self._sources), 1), MIN_RESENDS_PER_SOURCE)
        letters = self._outbox.read(source, boot, span, limit=share)
        for one in letters:
            resent = again.get((boot, one.sequence))
            if resent is None:
                if len(again) >= share:
                    break
                resent = again[boot, one.sequence] = _Resent(RESEND_BACKOFF_S[0])
            elif now < resent.due:
                continue
            self._sent += 1
            resent.number = self._sent
            resent.due = now + resent.wait
            resent.wait = min(2.0 * resent.wait, RESEND_BACKOFF_S[1])
            self._client.publish(one.source, one.payload, qos=1)
            self._counts["again"] += 1
        return _gaps(span, [one.sequence for one in letters], is_all=len(letters) < share)


@dataclass(slots=True)
class _Resent:
    """A batch that was sent again: how long to wait for it, until when [s], and its number."""

    wait: float
    due: float = 0.0
    number: int = 0


def _gaps(span: SequenceRange, held: Sequence[int], *, is_all: bool) -> list[SequenceRange]:
    """Return what of a span is not held; only up to the last that is, if that is not all."""
    gone, at = [], span[0]
    for sequence in held:
        if sequence > at:
            gone.append((at, sequence - 1))
        at = sequence + 1
    if is_all and at <= span[1]:
        gone.append((at, span[1]))
    return gone
