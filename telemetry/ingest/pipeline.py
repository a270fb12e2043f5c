"""Ingestion in one process: from the broker to the journal, the live state and the archive.

:class:`telemetry.ingest.ingester.Ingester` reads messages, appends them to the journal, and only
then acknowledges them. After that :mod:`telemetry.ingest.router` routes each message. Undecodable
messages are acknowledged too, else a broker would send them for ever.

A second thread commits minutes to the archive and trims the journal. The first never waits for it.
If the second lacks memory or a disk and falls behind, it later reads the missed records from the
journal, with a copy of the engine that flags readings. So their flags are those of the live state.
"""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from telemetry.archive import Archive, loss_log
from telemetry.archive.last_messages import LastMessageStore
from telemetry.durable_files import sync_file_systems
from telemetry.ingest.dead_letter import RefusedReading
from telemetry.ingest.ingester import Ingester, ReceivedBatch
from telemetry.ingest.router import SampleListener, SampleRouter
from telemetry.journal.format import JournalPosition, JournalRecord
from telemetry.journal.writer import Journal
from telemetry.live.restored_readings import recent_readings
from telemetry.live.state import LiveState
from telemetry.mqtt.queues import MessageClient
from telemetry.quality.tracker import PointCoverage, QualityEngine
from telemetry.runtime import SupervisedThread
from twin.errors import ArchiveError, JournalError

INGESTER_DEADLINE_S: Final = 120.0
"""Longest time in which the ingester appends one batch, also to a slow disk. [s]"""

ARCHIVER_DEADLINE_S: Final = 1800.0
"""Longest time of one commit with its maintenance, which compacts all hours that are over. [s]"""

PIPELINE_COUNTERS: Final = (
    "messages",
    "appends",
    "repeated",
    "unjournaled",
    "oversized",
    "waiting",
)

COMMIT_DELAY_S: Final = 0.2
"""Wait for late messages between a tick or the end of a minute and its commit. [s]"""

COMMIT_RETRY_S: Final = 5.0
"""Wait after a commit that failed. [s]"""

PIPELINE_IDLE_COMMIT_S: Final = 120.0
"""Time without a minute that ends after which open minutes are archived too, so that the data
before an outage can be read during the outage. [s]"""

FINAL_CATCH_UP_RECORDS: Final = 1000
"""Records that remain for the part of catching up in which no other thread may add any. [1]"""

_logger = structlog.get_logger(__name__)


class IngestPipeline:
    """Ingestion of a site; it neither starts nor stops its client.

    - `client`: source of messages, connected or not.
    - `journal`: journal that makes messages durable.
    - `window`: live state; receives every sample, and has the mode of the clock.
    - `archive`: archive of the readings, which also decides what the journal may delete.
    - `quarantine`: folder for undecodable messages; None to count them only.
    - `damage`: damage of the journal found since the start.
    """

    def __init__(
        self,
        client: MessageClient,
        journal: Journal,
        *,
        window: LiveState,
        archive: Archive,
        quarantine: Path | None = None,
    ) -> None:
        self._journal = journal
        self._archive = archive
        self._router = SampleRouter(archive, window.quality, quarantine, live=window)
        self._last_messages = LastMessageStore(archive.last_messages_path)
        self._ended = threading.Event()
        self._recovery_listeners: list[SampleListener] = []
        self._ingester = Ingester(client, journal, receiver=self, archived=archive.replay_position)
        self.damage = self._ingester.damage
        self._quality: QualityEngine | None = None  # of catching up
        self._is_due = threading.Event()
        self._archiving_ended = threading.Event()
        self._trimmed: JournalPosition | None = None
        self._archiver = SupervisedThread(
            self._archive_minutes,
            name="archiver",
            deadline_s=ARCHIVER_DEADLINE_S,
            ended=self._archiving_ended,
        )
        self._thread = SupervisedThread(
            lambda: self._ingester.run(self._note_progress),
            name="ingester",
            deadline_s=INGESTER_DEADLINE_S,
            ended=self._ended,
        )

    def add_listener(self, listener: SampleListener, *, from_before: bool = False) -> None:
        """Add a fast function to call with new samples, and with recovered ones if requested."""
        self._router.listeners.append(listener)
        self._recovery_listeners += [listener] if from_before else []

    @property
    def error(self) -> str:
        """Problem of journal, thread or this clock, and its remedy; empty if there is none."""
        return self.failure or self._router.error

    @property
    def source_warning(self) -> str:
        """Problems of single sources, and their remedies; empty if there are none."""
        return self._router.quality.clock_skew.warning

    @property
    def refused_readings(self) -> list[RefusedReading]:
        """Newest implausible readings of a few sources, the newest first."""
        return self._router.rejects.implausible.newest()

    @property
    def failure(self) -> str:
        """Why ingestion or archiving has stopped, apart from single sources; empty if it runs."""
        return self._thread.failure or self._ingester.append_error or self._archiver.failure

    @property
    def threads(self) -> Sequence[SupervisedThread]:
        """Threads that ingest and archive."""
        return [self._thread, self._archiver]

    @property
    def coverage(self) -> PointCoverage:
        """Share of the expected values that arrived."""
        return self._router.coverage

    @property
    def counters(self) -> Mapping[str, int]:
        """Counters since the start: :data:`PIPELINE_COUNTERS` of
        :attr:`telemetry.ingest.ingester.Ingester.counters`, and those of
        :class:`telemetry.ingest.router.SampleRouter`.
        """
        found = self._ingester.counters
        return {**{name: found[name] for name in PIPELINE_COUNTERS}, **self._router.counts}

    def recover(self) -> int:
        """Restore the state of an earlier process before :meth:`start`; return the record count.

        The live state receives the last metadata and jobs, readings of the last day from the
        archive, one for each quarter-hour, and all records of the journal that the archive lacks.
        The archive receives these records too.
        """
        after, archive = self._archive.replay_position, self._archive
        for topic, payload in self._last_messages.load(self._journal.read(), until=after):
            self._recover_record(
                JournalRecord(
                    self._journal.end_position, topic, payload, np.datetime64("now", "us")
                )
            )
        self._router.restore_live_readings(recent_readings(archive.folder, archive.site_name))
        if received := archive.received_positions.get(""):
            self._journal.skip_past(received)
        count = 0
        for record in self._journal.read(after=after):
            is_archived = not archive.is_behind
            self._recover_record(record, is_archived=is_archived)
            if is_archived:
                archive.record_journal_position(record.position)
                if archive.is_commit_due:
                    self.commit()
                self.limit_memory()
            count += 1
        self._record_losses()
        self._ingester.recover()
        _logger.info("recovered", messages=count, after=str(after or ""))
        return count

    def start(self) -> None:
        """Start ingestion."""
        self._archiver.start()
        self.announce_commit()
        self._thread.start()

    def stop(self) -> None:
        """Ingest waiting messages, commit, and end."""
        self._ended.set()
        self._ingester.stop()
        if self._thread.is_alive():
            self._thread.join()
        self._archiving_ended.set()
        self.announce_commit()
        if self._archiver.is_alive():
            self._archiver.join()
        self.commit(include_open=True)

    def _note_progress(self) -> None:
        """Note that the ingester works; store topic and size of messages that were too large."""
        self._thread.note_progress()
        for topic, size in self._ingester.take_oversized_messages():
            self._router.rejects.quarantine.add_undecodable(topic, "too large", size)

    def changed_only(self, items: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        """Return the messages that differ from the last one of their topic."""
        return self._last_messages.changed_only(items)

    def receive_waiting(self, batch: ReceivedBatch) -> None:
        """Give messages that are not durable to the live state, so that planning continues."""
        received = np.datetime64(batch.received_at_us, "us")
        samples = [self._router.decode(one) for one in batch.messages]
        self._router.track_time(samples)
        check = self._router.flag_and_distribute
        batch.checked_samples = [
            (sample, None if sample is None else check(sample, received)) for sample in samples
        ]

    def receive_durable(self, batches: Sequence[ReceivedBatch], position: JournalPosition) -> None:
        """Give messages to the live state, unless it has them, and to the archive.

        An archive that is behind reads them later. It falls behind between two calls only, so that
        a copy of the engine can continue exactly there.
        """
        archive, is_archived = self._archive, not self._archive.is_behind
        for batch in batches:
            if batch.checked_samples is None:
                self.receive_waiting(batch)
            received = np.datetime64(batch.received_at_us, "us")
            for message, (sample, flag) in zip(
                batch.messages, batch.checked_samples or (), strict=True
            ):
                if sample is None:
                    continue
                self._last_messages.store_decoded(message.topic, message.payload)
                if is_archived:
                    self._router.archive_sample(
                        sample, message, position, flag=flag, received=received
                    )
        if is_archived:
            archive.record_journal_position(position)
        self.limit_memory()
        if archive.is_commit_due or archive.is_behind:
            self.announce_commit()

    def _recover_record(self, record: JournalRecord, *, is_archived: bool = True) -> None:
        """Route a record that an earlier process made durable."""
        sample = self._router.decode(record)
        if sample is not None:
            self._router.track_time([sample])
            self._last_messages.store_decoded(record.topic, record.payload)
            for listener in self._recovery_listeners:
                listener(sample)
            flag = self._router.flag_and_distribute(sample, record.received, is_new=False)
            if is_archived:
                self._router.archive_sample(
                    sample, record, record.position, flag=flag, received=record.received
                )

    def _record_losses(self) -> None:
        """Record, once each, messages and parts of the journal that may be lost."""
        self._router.rejects.write_losses()
        loss_log.append_reasons(self._archive.folder, self.damage.new_losses())

    def announce_commit(self) -> None:
        """Announce that a commit is due."""
        self._is_due.set()

    def limit_memory(self) -> None:
        """Leave later records to the journal if the archive is overfull.

        The engine of quality flags has checked exactly the records that were added.
        """
        if self._archive.is_overfull and not self._archive.is_behind:
            self._archive.fall_behind()
            self._quality = self._router.quality.copy()

    def commit(self, *, include_open: bool = False) -> bool:
        """Commit, and trim the journal; return False after an error of the disk."""
        self._record_losses()
        try:
            if self._archive.commit(include_open=include_open):
                self._trim()
        except (ArchiveError, JournalError) as error:
            _logger.warning("archive not written", reason=str(error))
            return False
        return True

    def _archive_minutes(self) -> None:
        """Commit what is due, until ended."""
        while not self._archiving_ended.is_set():
            self._archiver.note_progress()
            is_silent = not self._is_due.wait(PIPELINE_IDLE_COMMIT_S)
            self._is_due.clear()
            wait = COMMIT_DELAY_S
            while not self._archiving_ended.wait(wait):
                self._archiver.note_progress()
                is_done = self.commit(include_open=is_silent)
                if is_done and (not self._archive.is_behind or self.catch_up()):
                    self._archive.maintain()
                    break
                wait = COMMIT_RETRY_S

    def _trim(self) -> None:
        """Delete archived segments of the journal, after saving the last messages."""
        position = self._archive.replay_position
        before = self._trimmed
        if position is None or (before is not None and position.segment == before.segment):
            return
        self._last_messages.save()
        sync_file_systems(self._router.folders)
        self._journal.trim(position)
        self._trimmed = position

    def catch_up(self) -> bool:
        """Read missed records from the journal; return whether the archive is up to date."""
        with self._ingester.append_lock:  # a thread that saw it up to date has advanced it
            if self._quality is None or self._archive.has_discarded:
                self._archive.discard_uncommitted()
                self._quality = self._router.quality.copy_after_restart()
            quality = self._quality
        while True:
            count, is_done = self._read_records(quality)
            if not is_done or self._archiving_ended.is_set():
                return False
            if count < FINAL_CATCH_UP_RECORDS:
                break
        with self._ingester.append_lock:
            _, is_done = self._read_records(quality)
            if is_done:
                self._archive.mark_caught_up()
                self._quality = None
        _logger.info("archive caught up", position=str(self._archive.replay_position))
        return is_done

    def _read_records(self, quality: QualityEngine) -> tuple[int, bool]:
        """Add records of the journal; return their number, and whether all went well."""
        count = 0
        for record in self._journal.read(after=self._archive.added_position):
            self._router.archive_record(record, quality)
            self._archive.record_journal_position(record.position)
            self._archiver.note_progress()
            count += 1
            if self._archive.is_commit_due and not self.commit():
                return count, False
            if self._archiving_ended.is_set():
                break
        return count, True
