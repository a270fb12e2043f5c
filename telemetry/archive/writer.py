"""The only writer of a site's archive: samples in, one transaction for each closed minute.

A reading is in memory until its minute is closed; the journal holds it until a commit says that it
need not. So nothing is lost by a crash, and nothing doubled: of what the journal is replayed into
it :class:`Archive` passes over what it has; the rest has the cell of its label and second.

The repository that one archive writes: locked at each commit, opened anew after one fails.
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
from telemetry.archive.loss_log import LossEntry, append_losses, describe_losses
from telemetry.archive.maintenance import DEFAULT_RETENTION, MaintenanceRound
from telemetry.archive.metadata_history import PendingMetadata
from telemetry.archive.recovery import STORAGE_ERRORS, commit_lock, open_or_recover, roll_back
from telemetry.archive.repository import (
    ArchiveRepository,
    ClockLagConfirmation,
    ClockLagError,
    ColumnIndex,
    ConcurrentWriterError,
    wait_until_after,
)
from telemetry.archive.repository_files import CorruptRepositoryError
from telemetry.archive.storage import LAST_MESSAGES_FILE, RepositoryLocation
from telemetry.journal.format import JournalPosition
from telemetry.messages.models import Sample
from telemetry.quality.checks import QualityFlag
from twin.errors import ArchiveError

MAX_BUFFER_BYTES: Final = 2 * 1024**3
"""Readings in memory above which new ones are left to the journal. [B]"""

_logger = structlog.get_logger(__name__)


class Archive:
    """The archive of one site; any thread may call anything, and a commit keeps nobody waiting.

    Parameters
    ----------
    folder
        Where it lies; made if missing.
    site_name
        Name of the site. Batches of others are not taken.
    most_bytes
        Readings in memory above which it falls behind, and half of which is committed; see
        :attr:`is_behind`. [B]
    retention
        Level -> how long it is kept, where that is not
        :data:`telemetry.archive.maintenance.DEFAULT_RETENTION`.

    Attributes
    ----------
    kept
        File in which an ingester keeps what the archive has no room for.
    counters
        Name of an event -> how often: ``batches``, ``values``, of these ``late``, and ``merged``
        (met another of their label and second); ``known`` (held already), ``too_late`` (refused),
        ``commits``, ``compacted`` (hours).

    Raises
    ------
    ArchiveError
        If the folder holds the archive of another site, or one of a later version.
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
        self._most_bytes = max_bytes
        self._mutex = threading.Lock()
        self._committing = threading.Lock()
        kept = {**DEFAULT_RETENTION, **(retention or {})}
        self._upkeep = MaintenanceRound(site_name, retention=kept)
        self._reach = max(kept["raw"].total_seconds(), MAX_BACKFILL_S)
        self._keeper = RepositoryWriter(self.folder, site_name)
        self._taken: CommitBatch | None = None
        self._taken_bytes = 0
        self._is_behind = False
        self._gathered = self._new()

    @property
    def position(self) -> JournalPosition | None:
        """Where the journal must be read from after a crash; None for all of it."""
        return self.positions.get("")

    @property
    def positions(self) -> Mapping[str, JournalPosition]:
        """The same by journal, where a site has several."""
        return self._keeper.checkpoint.replay_from

    @property
    def received_positions(self) -> Mapping[str, JournalPosition]:
        """Up to where each journal had been added at the last commit."""
        return self._keeper.checkpoint.received

    @property
    def closed(self) -> int | None:
        """First second that is not closed by a commit; None before the first. [s since 1970]"""
        closed = self._keeper.checkpoint.closed
        return None if closed == MIN_SECOND else closed

    @property
    def added_position(self) -> JournalPosition | None:
        """Up to where the journal has been added, committed or not; None for nothing of it."""
        return self._gathered.minutes.complete.get("")

    @property
    def error(self) -> str:
        """What is wrong, or was given up, and what to do about it; empty if nothing is."""
        behind = f"{self.folder}: behind the journal; it is being read again"
        return "; ".join(filter(None, [behind * self._is_behind, *self._keeper.status_messages]))

    @property
    def corrupt_copies(self) -> list[Path]:
        """Copies of repositories that were spoilt."""
        return self._keeper.set_aside

    @property
    def is_due(self) -> bool:
        """Whether there is something to commit."""
        with self._mutex:
            return self._taken is not None or self.is_full or self._gathered.minutes.is_due

    @property
    def is_full(self) -> bool:
        """Whether so much is in memory that a commit takes all there is, open minutes too."""
        return self._gathered.minutes.size + self._taken_bytes > self._most_bytes // 2

    @property
    def is_behind(self) -> bool:
        """Whether readings were left to the journal, for want of memory; see :meth:`rewind`."""
        return self._is_behind

    def add(
        self,
        sample: Sample,
        position: JournalPosition,
        *,
        flag: QualityFlag = QualityFlag.GOOD,
        journal: str = "",
    ) -> str:
        """Take a sample; those that are neither readings nor metadata are none of ours.

        Parameters
        ----------
        sample
            Decoded.
        position
            Of the journal, at the end of its frame or later.
        flag
            The verdict on it, kept beside a point's value.
        journal
            Name of the journal, where a site has several.

        Returns
        -------
        str
            Why it is refused, or "".
        """
        with self._mutex:
            refused = self._gathered.add(sample, flag, frame=(journal, position))
            self._watch()
        return refused

    def add_racks(
        self, batches: RackBatchBlock, position: JournalPosition, *, journal: str = ""
    ) -> Sequence[int]:
        """Take many rack batches up to a position; return the places of those that are too old."""
        with self._mutex:
            refused = self._gathered.add_racks(batches, frame=(journal, position))
            self._watch()
        return refused

    def advance(self, position: JournalPosition, journal: str = "") -> None:
        """Take down that every sample of a journal up to here has been added."""
        with self._mutex:
            self._gathered.minutes.advance(position, journal)

    def commit(self, *, include_open: bool = False) -> bool:
        """Write what is closed, or everything, and how far the journal is archived with it.

        Parameters
        ----------
        include_open
            Whether open minutes are written too; what comes of them later still finds its place.

        Returns
        -------
        bool
            Whether there was anything to write.

        Raises
        ------
        ArchiveError
            If it cannot be written. Nothing is lost: the next commit tries again.
        """
        with self._committing:
            before = self._keeper.checkpoint
            with self._mutex:
                refused = list(self._gathered.rejections.drain())
            append_losses(self.folder, refused)
            with self._mutex:
                include_open = include_open or self.is_full
                later = self._gathered.minutes.close_due(
                    include_open=include_open, has_rejections=bool(refused)
                )
                self._taken = self._taken.merged(later) if self._taken else later
                self._taken_bytes = self._taken.size if self._taken else 0
                taken, news, columns = (
                    self._taken,
                    self._gathered.pending_metadata,
                    self._gathered.columns,
                )
                is_sparse, heard = self._gathered.is_sparse, self._gathered.minutes.end
                if taken is None and not (include_open and news):
                    return False
                self._gathered.pending_metadata = {}
            taken = replace(
                taken or CommitBatch(seconds={}, checkpoint=before), received_until=heard
            )
            try:
                self._keeper.write(taken, news, columns=columns, is_sparse=is_sparse)
            except ArchiveError as error:
                self._look_again(taken, news, before=before)
                raise ArchiveError(self.error) from error
            with self._mutex:
                self._taken, self._taken_bytes = None, 0
            self.counters["commits"] += 1
        return True

    def maintain(self, *, is_whole: bool = False) -> int:
        """Compact hours, retire what is old, forget old commits; return how many hours, if due.

        Parameters
        ----------
        is_whole
            Whether it is always due, and open hours are compacted as well.

        Raises
        ------
        ArchiveError
            If it cannot be done and all of it was asked for.
        """
        if not is_whole and not self._upkeep.is_due(self._keeper.checkpoint.closed):
            return 0
        with self._committing:
            nothing = CommitBatch(seconds={}, checkpoint=self._keeper.checkpoint)
            try:
                count = self._keeper.maintain(self._upkeep, is_whole=is_whole)
            except ArchiveError as error:
                self._look_again(nothing, {}, before=nothing.checkpoint)
                if is_whole:
                    raise
                _logger.warning("archive not compacted", reason=str(error))
                return 0
        self.counters["compacted"] += count
        return count

    def rewind(self) -> None:
        """Forget what is not committed: it is about to be added again from the journal.

        The archive stays behind, so that nobody adds what comes meanwhile, until
        :meth:`caught_up`.
        """
        with self._committing, self._mutex:
            self._forget()
            self._is_behind = True

    def mark_caught_up(self) -> None:
        """Take down that all of the journal has been added again."""
        self._is_behind = False

    def _forget(self) -> None:
        """Begin anew from the last commit."""
        self._gathered = self._new()
        self._taken, self._taken_bytes = None, 0

    def _new(self) -> WriteBuffer:
        checkpoint, labels = self._keeper.checkpoint, self._keeper.labels
        return WriteBuffer(
            self.site_name, checkpoint, labels, counters=self.counters, reach=self._reach
        )

    def _watch(self) -> None:
        """Leave the rest to the journal if there is too much in memory."""
        size = self._gathered.minutes.size + self._taken_bytes
        if size > self._most_bytes and not self._is_behind:
            self._forget()
            self._is_behind = True
            _logger.warning("archive falls behind", place=str(self.folder), limit=self._most_bytes)

    def _look_again(self, taken: CommitBatch, news: PendingMetadata, *, before: Checkpoint) -> None:
        """After a commit that failed: see what became of it, and keep what is still to write."""
        with self._mutex:
            self._gathered.pending_metadata = merge_metadata(news, self._gathered.pending_metadata)
            if self._keeper.checkpoint == before:
                return
            if self._keeper.checkpoint == taken.checkpoint:  # it was written
                self._taken, self._taken_bytes = None, 0
            else:  # spoilt and made anew, or another process wrote
                self._forget()
                self._is_behind = True


class RepositoryWriter:
    """Whoever writes the repository of an archive.

    Parameters
    ----------
    folder
        Of the archive; made if missing.
    site
        Name of its site.

    Attributes
    ----------
    trouble
        Why the last write failed, and what to do about it; empty if it did not.
    set_aside
        Copies of repositories that were spoilt.
    """

    def __init__(self, folder: Path, site: str) -> None:
        self.trouble = ""
        self.set_aside: list[Path] = []
        self._folder = folder
        self._site = site
        self._doubt = ClockLagConfirmation()
        self._given_up: list[LossEntry] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with commit_lock(folder):
                self._store = self._open()
        except OSError as error:
            message = f"{folder}: {error.strerror}; name another state folder"
            raise ArchiveError(message) from error

    @property
    def status_messages(self) -> tuple[str, str]:
        """The trouble, and what was spoilt and had to be let go since the start, in words."""
        lost = [*self._given_up, *self._store.given_up]
        return self.trouble, describe_losses(
            self._folder, lost, RepositoryLocation.of(self._folder).remedy
        )

    @property
    def checkpoint(self) -> Checkpoint:
        """How far the repository reaches."""
        return self._store.mark

    @property
    def labels(self) -> dict[str, list[str]]:
        """Group -> labels in the order of their columns."""
        return self._store.labels

    def write(
        self, taken: CommitBatch, news: PendingMetadata, *, columns: ColumnIndex, is_sparse: bool
    ) -> None:
        """Write readings in one transaction; see
        :meth:`telemetry.archive.repository.ArchiveRepository.write`.

        Raises
        ------
        ArchiveError
            If it cannot be written; it is opened anew then, and may reach less far.
        """
        try:
            with commit_lock(self._folder):
                self._store.write(taken, news, columns=columns, is_sparse=is_sparse)
        except ClockLagError as error:
            self.trouble = f"{self._folder}: cannot be written: {error}; set it right, or wait"
            if self._doubt.is_confirmed(error):
                self._go_back(str(error))
            raise ArchiveError(self.trouble) from error
        except (CorruptRepositoryError, ConcurrentWriterError, *STORAGE_ERRORS) as error:
            raise self._failed("written", error) from error
        self._doubt.is_confirmed(None)
        self.trouble = ""

    def maintain(self, upkeep: MaintenanceRound, *, is_whole: bool) -> int:
        """Do what is needed once an hour; return how many hours were compacted.

        Raises
        ------
        ArchiveError
            If it cannot be done; it is opened anew then, and may reach less far.
        """
        try:
            with commit_lock(self._folder):
                wait_until_after(
                    self._store.last_commit_time
                )  # Icechunk's own words for it name no remedy
                return upkeep.run(self._store, is_whole=is_whole)
        except ClockLagError:
            raise  # nothing is spoilt, and the next write tells
        except (ArchiveError, *STORAGE_ERRORS) as error:
            raise self._failed("compacted", error) from error

    def _go_back(self, reason: str) -> None:
        """Go back to a commit from before the clock, if there is one that is kept."""
        with commit_lock(self._folder):
            found = roll_back(self._folder, self._site, reason)
        self._doubt.is_confirmed(None)  # where there is none, it is tried again after as long
        if found is not None:
            self._given_up += self._store.given_up
            self._store, aside = found
            self.set_aside.append(aside)

    def _failed(self, what: str, error: Exception) -> ArchiveError:
        """Open the repository anew, and return the error that tells why."""
        reason, place = str(error).partition("\n")[0], RepositoryLocation.of(self._folder)
        remedy = "end it" if isinstance(error, ConcurrentWriterError) else place.remedy
        self.trouble = f"{place.url or self._folder}: cannot be {what}: {reason}; {remedy}"
        self._given_up += self._store.given_up
        with commit_lock(self._folder):
            self._store = self._open(is_tried=True)
        return ArchiveError(self.trouble)

    def _open(self, *, is_tried: bool = False) -> ArchiveRepository:
        """Open the repository; take down whether it was set aside."""
        store, aside = open_or_recover(self._folder, self._site, is_tried=is_tried)
        if aside is not None:
            self.set_aside.append(aside)
        return store
