"""Ingestion in one process: from the broker to the journal, the live state and the archive.

One thread reads messages, appends them to the journal, and only then acknowledges them. After that
:mod:`telemetry.ingest.router` routes each message. Undecodable messages are acknowledged too, else
a broker would send them for ever.

A second thread commits minutes to the archive and trims the journal. The first never waits for it.
If the second lacks memory or a disk and falls behind, it later reads the missed records from the
journal.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from telemetry.archive import Archive, loss_log
from telemetry.archive.last_messages import LastMessageStore
from telemetry.delivery.tracker import SAVE_PERIOD_S, DeliveryTracker
from telemetry.ingest.dead_letter import RefusedReading
from telemetry.ingest.ingester import (
    APPEND_RETRY_S,
    MAX_WAITING,
    OversizedMessages,
    drain,
    read_batch,
)
from telemetry.ingest.router import SampleListener, SampleRouter, recent_readings
from telemetry.journal.format import JournalPosition, JournalRecord
from telemetry.journal.writer import CorruptionReport, Journal
from telemetry.live.state import LiveState
from telemetry.mqtt.queues import MessageClient, ReceivedMessage
from telemetry.quality.tracker import PointCoverage
from telemetry.runtime import SupervisedThread
from twin.errors import ArchiveError, JournalError

INGESTER_DEADLINE_S: Final = 120.0
"""Longest time in which the ingester appends one batch, also to a slow disk. [s]"""

ARCHIVER_DEADLINE_S: Final = 1800.0
"""Longest time of one commit with its maintenance, which compacts all hours that are over. [s]"""

PIPELINE_COUNTERS: Final = ("messages", "appends", "repeated", "unjournaled", "oversized")

_logger = structlog.get_logger(__name__)


class IngestPipeline:
    """Ingestion of a site; it neither starts nor stops its client.

    - `client`: source of messages, connected or not.
    - `journal`: journal that makes messages durable.
    - `window`: live state; receives every sample, and has the mode of the clock.
    - `archive`: archive of the readings, which also decides what the journal may delete; None for
      none.
    - `quarantine`: folder for undecodable messages; None to count them only.
    - `damage`: damage of the journal found since the start.
    """

    def __init__(
        self,
        client: MessageClient,
        journal: Journal,
        *,
        window: LiveState,
        archive: Archive | None = None,
        quarantine: Path | None = None,
    ) -> None:
        self._client = client
        self._journal = journal
        self._archive = archive
        self._router = SampleRouter(window, archive, quarantine)
        self._counts = Counter(dict.fromkeys(PIPELINE_COUNTERS, 0))
        self._append_lock = threading.RLock()
        self._ended = threading.Event()
        self._waiting: list[ReceivedMessage] = []
        self._recovery_listeners: list[SampleListener] = []
        self._progress = DeliveryTracker(journal.folder)
        self._saved_at = self._retry_at = 0.0
        self._append_error = ""
        self._oversized = OversizedMessages(client)
        self.damage = CorruptionReport(journal, archive.position if archive else None)
        self._committer: CommitThread | None = None
        if archive is not None:
            self._committer = CommitThread(
                archive,
                journal,
                self._router.last_messages,
                add=self._router.archive_record,
                append_lock=self._append_lock,
                before_commit=(self._router.rejects.write_losses, self._record_damage),
            )
        self._thread = SupervisedThread(
            self._run, name="ingester", deadline_s=INGESTER_DEADLINE_S, ended=self._ended
        )

    def add_listener(self, listener: SampleListener, *, from_before: bool = False) -> None:
        """Add a fast function to call with new samples, and with recovered ones if requested."""
        self._router.listeners.append(listener)
        self._recovery_listeners += [listener] if from_before else []

    @property
    def error(self) -> str:
        """Problem of journal, thread or this clock, and its remedy; empty if there is none."""
        return self.failure or self._router.rejects.error

    @property
    def source_warning(self) -> str:
        """Problems of single sources, and their remedies; empty if there are none."""
        return self._router.rejects.warning

    @property
    def refused_readings(self) -> list[RefusedReading]:
        """Newest implausible readings of a few sources, the newest first."""
        return self._router.rejects.implausible.newest()

    @property
    def failure(self) -> str:
        """Why ingestion or archiving has stopped, apart from single sources; empty if it runs."""
        dead = self._thread.failure
        return dead or self._append_error or (self._committer.error if self._committer else "")

    @property
    def threads(self) -> Sequence[SupervisedThread]:
        """Threads that ingest and archive."""
        return [self._thread, *([self._committer.thread] if self._committer else [])]

    @property
    def coverage(self) -> PointCoverage:
        """Share of the expected values that arrived."""
        return self._router.coverage

    @property
    def counters(self) -> Mapping[str, int]:
        """Counters since the start.

        ``messages``, of these ``repeated`` (identical to the last one of a point or of jobs, not
        journaled again), ``quarantined``, ``future`` (in quarantine) and ``ticks`` (of a
        simulation, in real time), not archived, ``refused`` (by the archive), ``failed`` (in a
        listener or in the live state) and ``unjournaled`` (QoS 0 dropped while the disk was full);
        ``appends``, and ``waiting`` for space on the disk now.
        """
        return {**self._counts, **self._router.counts, "waiting": len(self._waiting)}

    def recover(self) -> int:
        """Restore the state of an earlier process before :meth:`start`; return the record count.

        The live state receives the last metadata and jobs, readings of the last day from the
        archive, one for each quarter-hour, and all records of the journal that the archive lacks.
        The archive receives these records too.
        """
        after = self._archive.position if self._archive else None
        for topic, payload in self._router.last_messages.load(self._journal.read(), until=after):
            self._recover_record(
                JournalRecord(self._journal.end, topic, payload, np.datetime64("now", "us"))
            )
        if self._archive:
            readings = recent_readings(self._archive.folder, self._archive.site_name)
            self._router.restore(readings)
        if self._archive and (received := self._archive.received_positions.get("")):
            self._journal.skip_past(received)
        count = 0
        for record in self._journal.read(after=after):
            self._recover_record(record)
            if self._archive and self._committer:
                self._archive.advance(record.position)
                if self._archive.is_due:
                    self._committer.commit()
            count += 1
        self._record_damage()
        self._progress.recover(self._journal)
        _logger.info("recovered", messages=count, after=str(after or ""))
        return count

    def start(self) -> None:
        """Start ingestion."""
        if self._committer:
            self._committer.start()
        self._thread.start()

    def stop(self) -> None:
        """Ingest waiting messages, commit, and end."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._committer:
            self._committer.stop()

    def _run(self) -> None:
        while not self._ended.is_set():
            self._thread.note_progress()
            if len(self._waiting) >= MAX_WAITING and not self._drop_qos_0():
                self._ended.wait(APPEND_RETRY_S)
            else:
                self._ingest(read_batch(self._client))
            self._store_oversized()
            if time.monotonic() - self._saved_at > SAVE_PERIOD_S:
                self._saved_at = time.monotonic()
                self._progress.save(self._journal.end)
        for messages in drain(self._client):
            self._ingest(messages)
        self._progress.save(self._journal.end)

    def _ingest(self, messages: list[ReceivedMessage]) -> None:
        """Append messages, or keep them while the disk is full; answer reports of senders."""
        messages, reports = self._progress.split_reports(messages)
        self._counts["messages"] += len(messages)
        if self._waiting:
            self._waiting += messages
            self._update_live(messages)
            if time.monotonic() >= self._retry_at:
                messages, self._waiting = self._waiting, []
                self._append(messages, is_live=True)
        elif messages:
            self._append(messages, is_live=False)
        if reports:
            self._progress.answer(reports, self._client.publish)
            self._client.acknowledge(reports)

    def _append(self, messages: list[ReceivedMessage], *, is_live: bool) -> None:
        """Make messages durable, acknowledge them, and route them.

        ``is_live`` is whether the live state and listeners have received them already.
        """
        last_messages = self._router.last_messages
        new = last_messages.changed_only([(one.topic, one.payload) for one in messages])
        with self._append_lock:
            try:
                position = self._journal.append(new)
            except JournalError as error:
                self._keep_waiting(messages, str(error))
                if not is_live:
                    self._update_live(messages)
                return
            self._progress.add_durable(messages)
            self._client.acknowledge(messages)
            if self._append_error:
                _logger.info("journal written again")
            self._append_error = ""
            self._counts["appends"] += 1
            self._counts["repeated"] += len(messages) - len(new)
            received = _now()
            samples = [self._router.decode(one.topic, one.payload) for one in messages]
            if not is_live:
                self._router.track_time(samples)
            for message, sample in zip(messages, samples, strict=True):
                if sample is not None:
                    last_messages.update(message.topic, message.payload)
                    flag = None if is_live else self._router.update_live(sample, received)
                    self._router.archive(sample, position, flag=flag, received=received)
            if self._archive and self._committer and not self._archive.is_behind:
                self._archive.advance(position)
        if self._archive and self._committer and (self._archive.is_due or self._archive.is_behind):
            self._committer.notify()

    def _update_live(self, messages: Sequence[ReceivedMessage]) -> None:
        """Give messages that are not durable to the live state, so that planning continues."""
        received = _now()
        samples = [self._router.decode(one.topic, one.payload) for one in messages]
        self._router.track_time(samples)
        for sample in samples:
            if sample is not None:
                self._router.update_live(sample, received)

    def _keep_waiting(self, messages: list[ReceivedMessage], reason: str) -> None:
        """Keep messages, without acknowledgement, until the disk has space."""
        if not self._append_error:
            _logger.error("journal not written", reason=reason)
        self._append_error = reason
        self._waiting = messages
        self._retry_at = time.monotonic() + APPEND_RETRY_S

    def _drop_qos_0(self) -> bool:
        """Drop waiting messages that come only once; return whether more may be read."""
        repeatable = [message for message in self._waiting if message.qos]
        self._counts["unjournaled"] += len(self._waiting) - len(repeatable)
        self._waiting = repeatable
        if time.monotonic() >= self._retry_at:
            self._ingest([])
        return len(self._waiting) < MAX_WAITING

    def _recover_record(self, record: JournalRecord) -> None:
        """Route a record that an earlier process made durable."""
        sample = self._router.decode(record.topic, record.payload)
        if sample is not None:
            self._router.track_time([sample])
            self._router.last_messages.update(record.topic, record.payload)
            for listener in self._recovery_listeners:
                listener(sample)
            flag = self._router.update_live(sample, record.received, is_new=False)
            self._router.archive(sample, record.position, flag=flag, received=record.received)

    def _store_oversized(self) -> None:
        """Store topic and size of messages that were too large as undecodable."""
        for topic, size in self._oversized.take_new():
            self._router.rejects.quarantine.add_undecodable(topic, "too large", size)
        self._counts["oversized"] = self._oversized.count

    def _record_damage(self) -> None:
        """Record, once each, parts of the journal that may be lost."""
        if self._archive:
            loss_log.append_reasons(self._archive.folder, self.damage.new_losses())


def _now() -> np.datetime64:
    return np.datetime64(time.time_ns() // 1000, "us")


COMMIT_DELAY_S: Final = 0.2
"""Wait for late messages between a tick or the end of a minute and its commit. [s]"""

COMMIT_RETRY_S: Final = 5.0
"""Wait after a commit that failed. [s]"""

PIPELINE_IDLE_COMMIT_S: Final = 120.0
"""Time without a minute that ends after which open minutes are archived too, so that the data
before an outage can be read during the outage. [s]"""

FINAL_CATCH_UP_RECORDS: Final = 1000
"""Records that remain for the part of catching up in which no other thread may add any. [1]"""


class CommitThread:
    """Thread that commits what is due.

    - `archive`, `journal`, `last_messages`: archive to write, journal to trim, and messages to save
      before trimming.
    - `add`: adds the sample of a record to the archive only.
    - `append_lock`: lock for appending to the journal and adding the same records to the archive.
    - `before_commit`: functions that record losses before the journal is trimmed.
    - `thread`: the thread.
    """

    def __init__(
        self,
        archive: Archive,
        journal: Journal,
        last_messages: LastMessageStore,
        *,
        add: Callable[[JournalRecord], None],
        append_lock: AbstractContextManager[bool],
        before_commit: Sequence[Callable[[], None]] = (),
    ) -> None:
        self._archive = archive
        self._journal = journal
        self._last_messages = last_messages
        self._add = add
        self._append_lock = append_lock
        self._before_commit = before_commit
        self._is_due = threading.Event()
        self._ended = threading.Event()
        self._trimmed: JournalPosition | None = None
        self.thread = SupervisedThread(
            self._run, name="archiver", deadline_s=ARCHIVER_DEADLINE_S, ended=self._ended
        )

    @property
    def error(self) -> str:
        """Error of a thread that has ended or hangs, and its remedy; empty if it works."""
        return self.thread.failure

    def start(self) -> None:
        """Start the thread."""
        self.thread.start()
        self.notify()

    def notify(self) -> None:
        """Announce that a commit is due."""
        self._is_due.set()

    def stop(self) -> None:
        """Commit all data, including open minutes, and end."""
        self._ended.set()
        self._is_due.set()
        if self.thread.is_alive():
            self.thread.join()
        if not self._archive.is_behind:
            self.commit(include_open=True)

    def commit(self, *, include_open: bool = False) -> bool:
        """Commit, and trim the journal; return False after an error of the disk."""
        for record_losses in self._before_commit:
            record_losses()
        try:
            if self._archive.commit(include_open=include_open):
                self._trim()
        except (ArchiveError, JournalError) as error:
            _logger.warning("archive not written", reason=str(error))
            return False
        return True

    def _run(self) -> None:
        while not self._ended.is_set():
            self.thread.note_progress()
            is_silent = not self._is_due.wait(PIPELINE_IDLE_COMMIT_S)
            self._is_due.clear()
            wait = COMMIT_DELAY_S
            while not self._ended.wait(wait):
                self.thread.note_progress()
                is_behind = self._archive.is_behind
                is_done = self._catch_up() if is_behind else self.commit(include_open=is_silent)
                if is_done and not self._archive.is_behind:
                    self._archive.maintain()
                    break
                wait = COMMIT_RETRY_S

    def _trim(self) -> None:
        """Delete archived segments of the journal, after saving the last messages."""
        position = self._archive.position
        before = self._trimmed
        if position is None or (before is not None and position.segment == before.segment):
            return
        self._last_messages.save()
        os.sync()  # the archive's library does not sync its files
        self._journal.trim(position)
        self._trimmed = position

    def _catch_up(self) -> bool:
        """Read missed records from the journal; return whether the archive is up to date."""
        with self._append_lock:  # a thread that saw it up to date has advanced it
            self._archive.rewind()
        while True:
            count, is_done = self._read_records()
            if not is_done or self._ended.is_set():
                return False
            if count < FINAL_CATCH_UP_RECORDS:
                break
        with self._append_lock:
            _, is_done = self._read_records()
            if is_done:
                self._archive.mark_caught_up()
        _logger.info("archive caught up", position=str(self._archive.position))
        return is_done

    def _read_records(self) -> tuple[int, bool]:
        """Add records of the journal; return their number, and whether all went well."""
        count = 0
        for record in self._journal.read(after=self._archive.added_position):
            self._add(record)
            self._archive.advance(record.position)
            self.thread.note_progress()
            count += 1
            if self._archive.is_due and not self.commit():
                return count, False
            if self._ended.is_set():
                break
        return count, True
