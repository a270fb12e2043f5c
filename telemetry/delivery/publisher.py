"""Lossless publisher: each batch stays on the source's disk until it is durable at the receiver.

Batches that the ingester reports missing are sent again; see :mod:`telemetry.delivery.protocol`.
This is for gateways of many racks; ``docs/examples/lossless_agent.py`` suffices for one rack.

The store is one SQLite file, whose transactions are durable when they return. A batch is stored
before it is sent, so neither a kill nor a power cut loses it. A full store drops and counts the
oldest batches.
"""

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import structlog
from msgspec.structs import replace

from telemetry.delivery import protocol
from telemetry.delivery.protocol import (
    ACK_SUFFIX,
    REPORT_SUFFIX,
    SelectiveAck,
    SenderReport,
    SequenceRange,
)
from telemetry.messages.rack_batch import encode_batch
from telemetry.messages.samples import RackBatch
from telemetry.mqtt.client import Client
from telemetry.mqtt.queues import ReceivedMessage
from twin.errors import JournalError, JournalFullError, MessageError

MAX_SPOOL_BYTES: Final = 1024**3
"""Payload of a store: a week of one rack's batches, or an hour of two hundred racks. [B]"""

_FREED_SHARE: Final = 0.05
"""Share of a full store that is freed at once. [1]"""

_SCHEMA: Final = """
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
    """A stored batch with its key: topic ``dc/v1/{site}/{hall}/{rack}/tele``, boot and sequence."""

    source_topic: str
    boot: int
    sequence: int
    payload: bytes


class SpoolStore:
    """Durable store of batches until they are durable elsewhere; safe to use from all threads.

    Above ``max_bytes`` of payload [B] the oldest batches are dropped, and counted in ``dropped``. A
    corrupt file is moved aside, logged, and replaced by a new one.
    """

    def __init__(self, path: Path, *, max_bytes: int = MAX_SPOOL_BYTES) -> None:
        self._path = Path(path)
        self._max_bytes = max_bytes
        self._mutex = threading.Lock()
        self.dropped = 0
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._failures():
            try:
                self._base, self._bytes = self._open()
            except sqlite3.OperationalError:
                raise
            except sqlite3.Error as error:
                self._move_aside(error)
                self._base, self._bytes = self._open()

    @property
    def stored_bytes(self) -> int:
        """Payload of the stored batches. [B]"""
        return self._bytes

    def put(self, stored: Sequence[SpooledBatch]) -> None:
        """Store batches durably, each once. If it fails, none of them is stored."""
        last = {(one.source_topic, one.boot): one.sequence + 1 for one in stored}
        with self._locked() as base:
            base.execute("begin immediate")
            put = base.executemany(
                "insert or ignore into batches (source, boot, sequence, payload)"
                " values (?, ?, ?, ?)",
                stored,
            )
            base.executemany(
                "insert into boots values (?, ?, ?) on conflict do update"
                " set next = max(next, excluded.next)",
                [(*key, following) for key, following in last.items()],
            )
            is_new = put.rowcount == len(stored)
            size = (
                self._bytes + sum(len(o.payload) for o in stored) if is_new else _stored_bytes(base)
            )
            freed, count = self._free_space(base, size)
            base.execute("commit")
            self._bytes = size - freed
            self.dropped += count
        if count:
            _logger.warning("outbox full", place=str(self._path), batches_dropped=count)

    def release_through(self, source: str, boot: int, through: int) -> None:
        """Delete the batches of a boot up to a sequence."""
        with self._locked() as base:
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
        """Return the first ``limit`` batches of a span of sequences."""
        with self._locked() as base:
            rows = base.execute(
                "select source, boot, sequence, payload from batches where source = ? and boot = ?"
                " and sequence between ? and ? order by sequence limit ?",
                (source, boot, *span, limit),
            ).fetchall()
        return [SpooledBatch(*row) for row in rows]

    def reports(self, source: str) -> list[SenderReport]:
        """Return the stored range of each boot of a source, the oldest first."""
        with self._locked() as base:
            rows = base.execute(
                "select boot, coalesce((select min(sequence) from batches where"
                " batches.source = boots.source and batches.boot = boots.boot), next), next - 1"
                " from boots where source = ? order by boot",
                (source,),
            ).fetchall()
        return [
            SenderReport(boot=boot, first_stored=first, last_stored=last)
            for boot, first, last in rows
        ]

    def sources(self) -> list[str]:
        """Return all sources with a known boot."""
        with self._locked() as base:
            rows = base.execute("select distinct source from boots").fetchall()
        return [source for (source,) in rows]

    def close(self) -> None:
        """Close the file."""
        with self._mutex:
            self._base.close()

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Raise errors of SQLite as errors of the journal."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._failure(error) from error

    @contextmanager
    def _locked(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection under the lock; a failed change is rolled back."""
        with self._mutex, self._failures():
            try:
                yield self._base
            except sqlite3.Error:
                with suppress(sqlite3.Error):  # it may be closed
                    self._base.rollback()
                raise

    def _open(self) -> tuple[sqlite3.Connection, int]:
        """Return the connection, and the stored payload. [B]"""
        base = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
        try:
            base.execute("pragma journal_mode=wal")
            base.execute("pragma synchronous=full")
            base.executescript(_SCHEMA)
            return base, _stored_bytes(base)
        except sqlite3.Error:
            base.close()
            raise

    def _move_aside(self, error: sqlite3.Error) -> None:
        """Move a corrupt file aside, and log it."""
        aside = self._path.with_name(f"{self._path.name}.spoilt-{time.time_ns()}")
        self._path.rename(aside)
        for end in ("-wal", "-shm"):
            self._path.with_name(self._path.name + end).unlink(missing_ok=True)
        _logger.error("outbox set aside", place=str(self._path), reason=str(error), to=str(aside))

    def _free_space(self, base: sqlite3.Connection, size: int) -> tuple[int, int]:
        """Delete the oldest batches above the limit; return the freed payload [B] and their
        number.
        """
        if size <= self._max_bytes:
            return 0, 0
        wanted = size - (1.0 - _FREED_SHARE) * self._max_bytes
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
            return JournalFullError(f"{self._path}: {error}; free space on its disk")
        return JournalError(f"{self._path}: {error}; check the disk, or move the file away")


def _stored_bytes(base: sqlite3.Connection) -> int:
    """Return the stored payload. [B]"""
    (size,) = base.execute("select coalesce(sum(length(payload)), 0) from batches").fetchone()
    return int(size)


REPORT_PERIOD_S: Final = 10.0
"""Time between two reports. [s]"""

DELIVERY_POLL_TIMEOUT_S: Final = 0.2
"""Longest wait for a message. [s]"""

MAX_RESENDS_IN_FLIGHT: Final = 2000
"""Batches of all sources that are sent again and not known to be durable. [1]"""

MIN_RESENDS_PER_SOURCE: Final = 16
"""Smallest share of them for a source, however many sources there are. [1]"""

RESEND_BACKOFF_S: Final = (10.0, 300.0)
"""First and longest time until a batch is sent again; it doubles each time. A lost connection
resets it. [s]
"""

MAX_UNANSWERED_REPORTS: Final = 6
"""Consecutive reports without an answer that count as an error. [1]"""

UNANSWERED_MESSAGE: Final = (
    "no one acknowledges stored batches: start a recording or the service of this site, and let "
    "the broker's access list permit publishing and subscribing to these topics"
)
"""Error after these reports. A broker that denies a topic does not report it."""

PUBLISHER_COUNTERS: Final = ("published", "again", "unheld", "unread", "unasked")

type BatchKey = tuple[int, int]
"""Boot and sequence."""


class LosslessPublisher:
    """Publishes rack batches, and stores them in an outbox until they are durable.

    The caller starts and stops the client; no one else may poll it. ``period`` is the time between
    two reports. [s]
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
        self._dropped: dict[tuple[str, int], tuple[SequenceRange, ...]] = {}
        self._sent = 0
        self._unanswered = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        for source in outbox.sources():
            self._subscribe(source)

    @property
    def counters(self) -> Mapping[str, int]:
        """Number of events so far.

        ``published``, of these ``unheld`` (could not be stored); ``again`` (sent again because
        missing); ``unread`` (answers that could not be decoded or applied); ``unasked`` (reports
        that failed because the store could not be read).
        """
        return dict(self._counts)

    @property
    def error(self) -> str:
        """Why no one answers reports; empty if answers come, or the client has an error of
        its own.
        """
        is_unanswered = self._client.is_connected and self._unanswered >= MAX_UNANSWERED_REPORTS
        return UNANSWERED_MESSAGE if is_unanswered and self.spooled_bytes else ""

    def start(self) -> None:
        """Start the thread that reports and sends again."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread; stored batches remain."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def publish(self, batches: Sequence[RackBatch]) -> None:
        """Store batches and send them in order.

        Batches of one rack have rising keys (boot, sequence). A batch that cannot be encoded raises
        MessageError after all others are stored and sent.
        """
        stored, failure = [], None
        for batch in batches:
            try:
                source, payload = encode_batch(batch)
            except MessageError as error:
                failure = failure or error
            else:
                stored.append(SpooledBatch(source, batch.boot, batch.sequence, payload))
        for source in {one.source_topic for one in stored}:
            self._subscribe(source)
        try:
            self._outbox.put(stored)
        except JournalError as error:
            if not self._counts["unheld"]:
                _logger.warning("sent without being stored", reason=str(error))
            self._counts["unheld"] += len(stored)
        for one in stored:
            self._client.publish(one.source_topic, one.payload, qos=1)
        self._counts["published"] += len(stored)
        if failure is not None:
            raise failure

    @property
    def spooled_bytes(self) -> int:
        """Payload that is not known to be durable. [B]"""
        return self._outbox.stored_bytes

    def _subscribe(self, source: str) -> None:
        """Subscribe to the answers for a source."""
        with self._mutex:
            if source in self._sources:
                return
            self._sources[source] = None
        self._client.subscribe(source + ACK_SUFFIX, qos=0)

    def _run(self) -> None:
        reported, connections = 0.0, 0
        while not self._ended.is_set():
            count = self._client.counters["connections"]
            is_new = self._client.is_connected and count != connections
            if is_new:
                self._again.clear()  # the broker may have lost messages in flight
                self._unanswered = 0
            if is_new or time.monotonic() - reported >= self._period:
                reported, connections = time.monotonic(), count
                self._report()
            for message in self._client.poll(timeout=DELIVERY_POLL_TIMEOUT_S):
                self._apply_ack(message)

    def _report(self) -> None:
        """Report what is stored of all sources."""
        with self._mutex:
            sources = list(self._sources)
        self._unanswered += self._client.is_connected
        for source in sources:
            try:
                known = self._outbox.reports(source)
            except JournalError as error:  # the next period tries again
                if not self._counts["unasked"]:
                    _logger.warning("report not sent", source=source, reason=str(error))
                self._counts["unasked"] += 1
                continue
            reports = [
                replace(one, dropped=self._dropped.get((source, one.boot), ())) for one in known
            ]
            if reports:
                self._client.publish(source + REPORT_SUFFIX, protocol.encode_report(reports), qos=0)

    def _apply_ack(self, message: ReceivedMessage) -> None:
        """Delete durable batches, and send missing ones."""
        source = message.topic.removesuffix(ACK_SUFFIX)
        try:
            boots = protocol.decode_ack(message.topic, message.payload)
            self._unanswered = 0
            self._forget_arrived(source, boots)
            for one in boots:
                self._outbox.release_through(source, one.boot, one.contiguous_through)
                dropped = [
                    part
                    for s in one.missing[: protocol.MAX_RANGES]
                    for part in self._send_again(source, one.boot, s)
                ]
                self._dropped[source, one.boot] = tuple(dropped[: protocol.MAX_RANGES])
        except (MessageError, JournalError) as error:
            if not self._counts["unread"]:
                _logger.warning("acknowledgement not applied", reason=str(error))
            self._counts["unread"] += 1

    def _forget_arrived(self, source: str, boots: Sequence[SelectiveAck]) -> None:
        """Forget resent batches that arrived; those sent before one that arrived are lost, and due
        at once.
        """
        missing: dict[BatchKey, _Resent] = {}
        newest = 0
        for key, resent in self._again.get(source, {}).items():
            if any(one.boot == key[0] and one.is_missing(key[1]) for one in boots):
                missing[key] = resent
            else:
                newest = max(newest, resent.number)
        for resent in missing.values():
            if resent.number < newest:
                resent.due = 0.0
        self._again[source] = missing

    def _send_again(self, source: str, boot: int, span: SequenceRange) -> list[SequenceRange]:
        """Send stored batches of a span, unless they were sent again recently.

        Messages queued in a broker arrive late; sending them again would delay them more. Return
        the ranges of the span that are not stored.
        """
        now, again = time.monotonic(), self._again[source]
        share = max(MAX_RESENDS_IN_FLIGHT // max(len(self._sources), 1), MIN_RESENDS_PER_SOURCE)
        stored = self._outbox.read(source, boot, span, limit=share)
        for one in stored:
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
            self._client.publish(one.source_topic, one.payload, qos=1)
            self._counts["again"] += 1
        return _gaps(span, [one.sequence for one in stored], is_all=len(stored) < share)


@dataclass(slots=True)
class _Resent:
    """A batch that was sent again: wait until the next time [s], its due time [s], and its
    number.
    """

    wait: float
    due: float = 0.0
    number: int = 0


def _gaps(span: SequenceRange, sequences: Sequence[int], *, is_all: bool) -> list[SequenceRange]:
    """Return the gaps of a span; without ``is_all`` only those before the last stored sequence."""
    dropped, at = [], span[0]
    for sequence in sequences:
        if sequence > at:
            dropped.append((at, sequence - 1))
        at = sequence + 1
    if is_all and at <= span[1]:
        dropped.append((at, span[1]))
    return dropped
