"""The only writer of a site's archive: one transaction for each closed minute.

A reading is in memory until its minute is closed; the journal stores it until a commit confirms
that it is archived. So a crash loses nothing, and nothing is stored twice: when the journal is
replayed, :class:`Archive` skips archived readings, and the others have the cell of their label and
second. Each commit locks the repository; a failed one opens it again.
"""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import structlog

from telemetry.archive.buffer import (
    MAX_BACKFILL_S,
    WRITE_COUNTERS,
    RackBatchBlock,
    WriteBuffer,
    merge_metadata,
)
from telemetry.archive.commit_batch import MIN_SECOND, Checkpoint, CommitBatch
from telemetry.archive.layout import PendingMetadata
from telemetry.archive.loss_log import LossEntry, append_losses, describe_losses
from telemetry.archive.maintenance import DEFAULT_RETENTION, MaintenanceRound
from telemetry.archive.manifests import CorruptRepositoryError
from telemetry.archive.recovery import STORAGE_ERRORS, commit_lock, open_or_recover, roll_back
from telemetry.archive.repository import (
    ArchiveRepository,
    ClockLagConfirmation,
    ClockLagError,
    ColumnIndex,
    ConcurrentWriterError,
    wait_until_after,
)
from telemetry.archive.repository_location import LAST_MESSAGES_FILE, RepositoryLocation
from telemetry.journal.format import JournalPosition
from telemetry.messages.samples import Sample
from telemetry.quality.checks import QualityFlag
from twin.errors import ArchiveError

MAX_BUFFER_BYTES: Final = 2 * 1024**3
"""Memory of readings above which new ones are left to the journal. [B]"""

_logger = structlog.get_logger(__name__)


class Archive:
    """The archive of one site; all threads may use it, and a commit blocks none of them.

    - `folder`: folder of the archive; created if missing.
    - `site_name`: name of the site; batches of others are rejected.
    - `max_bytes`: memory of readings above which :attr:`is_overfull`. [B]
    - `retention`: Level -> retention, where it differs from
      :data:`telemetry.archive.maintenance.DEFAULT_RETENTION`.
    - `last_messages_path`: file for messages that the archive has no place for.
    - `has_discarded`: whether uncommitted readings were discarded. Nothing is committed until
      :meth:`discard_uncommitted`, after which they are added again.
    - `counters`: counts by event: ``batches``, ``values``, of these ``late``, and ``merged`` (met
      another of their label and second); ``known`` (archived already), ``too_late`` (rejected),
      ``commits``, ``compacted`` (hours).
    """

    def __init__(
        self,
        folder: Path,
        site_name: str,
        *,
        max_bytes: int = MAX_BUFFER_BYTES,
        retention: Mapping[str, timedelta] | None = None,
    ) -> None:
        self.counters = Counter(dict.fromkeys(WRITE_COUNTERS, 0))
        self.folder = Path(folder)
        self.last_messages_path = self.folder / LAST_MESSAGES_FILE
        self.site_name = site_name
        self._max_bytes = max_bytes
        self._mutex = threading.Lock()
        self._committing = threading.Lock()
        retention = {**DEFAULT_RETENTION, **(retention or {})}
        self._maintenance = MaintenanceRound(site_name, retention=retention)
        self._max_backfill = max(retention["raw"].total_seconds(), MAX_BACKFILL_S)
        self._writer = RepositoryWriter(self.folder, site_name)
        self._batch: CommitBatch | None = None
        self._batch_bytes = 0
        self._is_behind = self.has_discarded = False
        self._buffer = self._new_buffer()

    @property
    def replay_position(self) -> JournalPosition | None:
        """Where the journal must be read from after a crash; None for all of it."""
        return self.replay_positions.get("")

    @property
    def replay_positions(self) -> Mapping[str, JournalPosition]:
        """The same by journal, where a site has several."""
        return self._writer.checkpoint.replay_from

    @property
    def received_positions(self) -> Mapping[str, JournalPosition]:
        """Position of each journal up to which samples had been added at the last commit."""
        return self._writer.checkpoint.received_positions

    @property
    def first_open_second(self) -> int | None:
        """First second that is not closed by a commit; None before the first. [s since 1970]"""
        closed = self._writer.checkpoint.first_open_second
        return None if closed == MIN_SECOND else closed

    @property
    def added_position(self) -> JournalPosition | None:
        """Position up to which the journal has been added, committed or not; None at its
        beginning.
        """
        return self._buffer.minutes.complete.get("")

    @property
    def error(self) -> str:
        """Present error or loss with its remedy; empty without one."""
        behind = f"{self.folder}: behind the journal; wait until it has been read again"
        return "; ".join(filter(None, [behind * self._is_behind, *self._writer.status_messages]))

    @property
    def corrupt_copies(self) -> list[Path]:
        """Copies of corrupt repositories."""
        return self._writer.corrupt_copies

    @property
    def is_commit_due(self) -> bool:
        """Whether there is something to commit."""
        with self._mutex:
            return self._batch is not None or self.is_full or self._buffer.minutes.is_due

    @property
    def is_full(self) -> bool:
        """Whether so much is in memory that a commit takes open minutes too."""
        return self._buffer.minutes.size + self._batch_bytes > self._max_bytes // 2

    @property
    def is_overfull(self) -> bool:
        """Whether so much is in memory that new readings must wait in the journal."""
        return self._buffer.minutes.size + self._batch_bytes > self._max_bytes

    @property
    def is_behind(self) -> bool:
        """Whether readings are left to the journal; they must be read from there later."""
        return self._is_behind

    def add(
        self,
        sample: Sample,
        position: JournalPosition,
        *,
        flag: QualityFlag = QualityFlag.GOOD,
        journal: str = "",
    ) -> str:
        """Add a reading or metadata with its flag; return why it is rejected, or "".

        ``position`` is the end of its record in the journal, or later; ``journal`` its name, where
        a site has several. Other samples are ignored.
        """
        with self._mutex:
            return self._buffer.add(sample, flag, source=(journal, position))

    def add_racks(
        self, batches: RackBatchBlock, position: JournalPosition, *, journal: str = ""
    ) -> Sequence[int]:
        """Add rack batches up to a position; return the indices of those that are too old."""
        with self._mutex:
            return self._buffer.add_racks(batches, source=(journal, position))

    def record_journal_position(self, position: JournalPosition, journal: str = "") -> None:
        """Record that every sample of a journal up to a position has been added."""
        with self._mutex:
            self._buffer.minutes.record_journal_position(position, journal)

    def commit(self, *, include_open: bool = False) -> bool:
        """Write closed minutes, or everything, with the checkpoint; return whether there was
        anything.

        With ``include_open``, open minutes are written too; their later readings find their cells.
        A failed commit raises ArchiveError and loses nothing: the next one tries again.
        """
        with self._committing:
            if self.has_discarded:  # the buffer lacks what was discarded
                return False
            before = self._writer.checkpoint
            with self._mutex:
                rejections = list(self._buffer.rejections.drain())
            append_losses(self.folder, rejections)
            with self._mutex:
                include_open = include_open or self.is_full
                later = self._buffer.minutes.close_due(
                    include_open=include_open, has_rejections=bool(rejections)
                )
                self._batch = self._batch.merged(later) if self._batch else later
                self._batch_bytes = self._batch.memory_bytes if self._batch else 0
                batch, metadata, columns = (
                    self._batch,
                    self._buffer.pending_metadata,
                    self._buffer.columns,
                )
                is_sparse, received_until = (
                    self._buffer.is_sparse,
                    self._buffer.minutes.first_unreceived_second,
                )
                if batch is None and not (include_open and metadata):
                    return False
                self._buffer.pending_metadata = {}
            batch = replace(
                batch or CommitBatch(seconds={}, checkpoint=before), received_until=received_until
            )
            try:
                self._writer.write(batch, metadata, columns=columns, is_sparse=is_sparse)
            except ArchiveError as error:
                self._recover_batch(batch, metadata, before=before)
                raise ArchiveError(self.error) from error
            with self._mutex:
                self._batch, self._batch_bytes = None, 0
            self.counters["commits"] += 1
        return True

    def maintain(self, *, is_whole: bool = False) -> int:
        """Compact hours, delete expired data and old commits, if due; return how many hours.

        With ``is_whole`` it is always due, open hours are compacted too, and a failure raises
        ArchiveError.
        """
        if not is_whole and not self._maintenance.is_due(self._writer.checkpoint.first_open_second):
            return 0
        with self._committing:
            nothing = CommitBatch(seconds={}, checkpoint=self._writer.checkpoint)
            try:
                count = self._writer.maintain(self._maintenance, is_whole=is_whole)
            except ArchiveError as error:
                self._recover_batch(nothing, {}, before=nothing.checkpoint)
                if is_whole:
                    raise
                _logger.warning("archive not compacted", reason=str(error))
                return 0
        self.counters["compacted"] += count
        return count

    def fall_behind(self) -> None:
        """Leave new readings to the journal until :meth:`mark_caught_up`, for lack of memory."""
        self._is_behind = True
        _logger.warning("archive falls behind", place=str(self.folder), limit=self._max_bytes)

    def discard_uncommitted(self) -> None:
        """Discard what is not committed, before it is added again from the journal.

        The archive stays behind, so that no new samples are added, until :meth:`mark_caught_up`.
        """
        with self._committing, self._mutex:
            self._discard()
            self.has_discarded = False

    def mark_caught_up(self) -> None:
        """Record that all of the journal has been added."""
        self._is_behind = False

    def _discard(self) -> None:
        """Start again from the last commit."""
        self._buffer = self._new_buffer()
        self._batch, self._batch_bytes = None, 0
        self._is_behind = self.has_discarded = True

    def _new_buffer(self) -> WriteBuffer:
        checkpoint, labels = self._writer.checkpoint, self._writer.labels_by_group
        return WriteBuffer(
            self.site_name,
            checkpoint,
            labels,
            counters=self.counters,
            max_backfill=self._max_backfill,
        )

    def _recover_batch(
        self, batch: CommitBatch, metadata: PendingMetadata, *, before: Checkpoint
    ) -> None:
        """After a failed commit, find out whether it was written, and keep what is still to
        write.
        """
        with self._mutex:
            self._buffer.pending_metadata = merge_metadata(metadata, self._buffer.pending_metadata)
            if self._writer.checkpoint == before:
                return
            if self._writer.checkpoint == batch.checkpoint:  # it was written
                self._batch, self._batch_bytes = None, 0
            else:  # corrupt and created again, or another process wrote
                self._discard()


class RepositoryWriter:
    """Writes the repository of an archive; its folder is created if missing.

    ``failure`` is why the last write failed, and the remedy; ``corrupt_copies`` are copies of
    corrupt repositories.
    """

    def __init__(self, folder: Path, site: str) -> None:
        self.failure = ""
        self.corrupt_copies: list[Path] = []
        self._folder = folder
        self._site = site
        self._clock_lag = ClockLagConfirmation()
        self._losses: list[LossEntry] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with commit_lock(folder):
                self._store = self._open()
        except OSError as error:
            raise ArchiveError(f"{folder}: {error.strerror}; name another state folder") from error

    @property
    def status_messages(self) -> tuple[str, str]:
        """The failure, and a description of losses since the start."""
        losses = [*self._losses, *self._store.losses]
        return self.failure, describe_losses(
            self._folder, losses, RepositoryLocation.of(self._folder).remedy
        )

    @property
    def checkpoint(self) -> Checkpoint:
        """How far the repository reaches."""
        return self._store.checkpoint

    @property
    def labels_by_group(self) -> dict[str, list[str]]:
        """Group -> labels in the order of their columns."""
        return self._store.labels

    def write(
        self,
        batch: CommitBatch,
        metadata: PendingMetadata,
        *,
        columns: ColumnIndex,
        is_sparse: bool,
    ) -> None:
        """Write readings in one transaction; see
        :meth:`telemetry.archive.repository.ArchiveRepository.write`.

        After a failure, which raises ArchiveError, the repository is opened again and may reach
        less far.
        """
        try:
            with commit_lock(self._folder):
                self._store.write(batch, metadata, columns=columns, is_sparse=is_sparse)
        except ClockLagError as error:
            self.failure = f"{self._folder}: cannot be written: {error}; set the clock, or wait"
            if self._clock_lag.is_confirmed(error):
                self._roll_back(str(error))
            raise ArchiveError(self.failure, code=error.code) from error
        except (CorruptRepositoryError, ConcurrentWriterError, *STORAGE_ERRORS) as error:
            raise self._failed("written", error) from error
        self._clock_lag.is_confirmed(None)
        self.failure = ""

    def maintain(self, maintenance: MaintenanceRound, *, is_whole: bool) -> int:
        """Run the hourly maintenance; return how many hours were compacted.

        After a failure, which raises ArchiveError, the repository is opened again and may reach
        less far.
        """
        try:
            with commit_lock(self._folder):
                wait_until_after(self._store.last_commit_time)  # Icechunk's error has no remedy
                return maintenance.run(self._store, is_whole=is_whole)
        except ClockLagError:
            raise  # nothing is corrupt, and the next write reports it
        except (ArchiveError, *STORAGE_ERRORS) as error:
            raise self._failed("compacted", error) from error

    def _roll_back(self, reason: str) -> None:
        """Reset to a commit from before the clock, if there is one."""
        with commit_lock(self._folder):
            found = roll_back(self._folder, self._site, reason)
        self._clock_lag.is_confirmed(None)  # without one, it is tried again after the same time
        if found is not None:
            self._losses += self._store.losses
            self._store, copy = found
            self.corrupt_copies.append(copy)

    def _failed(self, action: str, error: Exception) -> ArchiveError:
        """Open the repository again, and return the error."""
        reason, place = str(error).partition("\n")[0], RepositoryLocation.of(self._folder)
        remedy = "end it" if isinstance(error, ConcurrentWriterError) else place.remedy
        self.failure = f"{place.url or self._folder}: cannot be {action}: {reason}; {remedy}"
        self._losses += self._store.losses
        with commit_lock(self._folder):
            self._store = self._open(is_doubtful=True)
        code = error.code if isinstance(error, ArchiveError) else None
        return ArchiveError(self.failure, code=code)

    def _open(self, *, is_doubtful: bool = False) -> ArchiveRepository:
        """Open the repository; record a corrupt copy."""
        store, copy = open_or_recover(self._folder, self._site, is_doubtful=is_doubtful)
        if copy is not None:
            self.corrupt_copies.append(copy)
        return store
