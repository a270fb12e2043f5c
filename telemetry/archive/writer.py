"""The only writer of a site's archive: samples in, one transaction for each closed minute.

A reading is in memory until its minute is closed; the journal holds it until a commit says that it
need not. So nothing is lost by a crash, and nothing doubled: :class:`Archive` takes what the
journal is replayed into it, passes over what it has, and writes the rest to the cell that its
label and second name.
"""

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from telemetry.archive.layout import MINUTE
from telemetry.archive.minutes import CODES, REACH, Minutes, Put, Taken
from telemetry.archive.opening import FAILURES, locked, opened
from telemetry.archive.store import Store
from telemetry.journal import Position
from telemetry.quality import Flag
from telemetry.samples import PointMetadata, PointValue, RackBatch, Sample, Tick
from twin.errors import ArchiveError

MOST_BYTES: Final = 2 * 1024**3
"""Readings in memory above which new ones are left to the journal. [B]"""

TIDIED: Final = 1000
"""Commits after which old ones are forgotten."""

KEPT: Final = timedelta(days=1)
"""How long a reader may use the archive as it was when it opened it."""

COUNTED: Final = ("batches", "values", "late", "known", "too_late", "commits")

_logger = structlog.get_logger(__name__)


class Archive:
    """The archive of one site.

    Any thread may call anything; a commit keeps nobody waiting who adds.

    Parameters
    ----------
    folder
        Where it lies; made if missing.
    site_name
        Name of the site. Batches of others are not taken.
    most_bytes
        Readings in memory above which it falls behind; see :attr:`is_behind`. [B]

    Attributes
    ----------
    folder, site_name
        As given.
    counters
        Name of an event -> how often: ``batches``, ``values``, of these ``late``; ``known`` (held
        already), ``too_late`` (refused), ``commits``.
    set_aside
        Folders of spoilt repositories that this archive replaced.

    Raises
    ------
    ArchiveError
        If the folder holds the archive of another site, or one of a later version.
    """

    def __init__(self, folder: Path, site_name: str, *, most_bytes: int = MOST_BYTES) -> None:
        self.counters = Counter(dict.fromkeys(COUNTED, 0))
        self.set_aside: list[Path] = []
        self.folder = Path(folder)
        self.site_name = site_name
        self._most_bytes = most_bytes
        self._mutex = threading.Lock()
        self._committing = threading.Lock()
        self._is_sparse = False
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder):
            self._store = self._open()
        self._known: dict[str, PointMetadata] = {}
        self._news: dict[str, PointMetadata] = {}
        self._taken: Taken | None = None
        self._taken_bytes = 0
        self._is_behind = False
        self._failure = ""
        self._minutes = Minutes(self._store.mark, self._store.labels)

    @property
    def position(self) -> Position | None:
        """Where the journal must be read from after a crash; None for all of it."""
        return self._store.mark.position

    @property
    def complete(self) -> Position | None:
        """Up to where the journal has been added, committed or not; None for nothing of it."""
        return self._minutes.complete

    @property
    def trouble(self) -> str:
        """What is wrong and what to do about it; empty if nothing is."""
        if self._failure or not self._is_behind:
            return self._failure
        return f"{self.folder}: behind the journal; it is being read again"

    @property
    def kept(self) -> Path:
        """File in which an ingester keeps what the archive has no room for."""
        return self.folder / "kept.jsonl"

    @property
    def is_due(self) -> bool:
        """Whether there is something to commit."""
        with self._mutex:
            return self._taken is not None or self._minutes.is_due

    @property
    def is_behind(self) -> bool:
        """Whether readings were left to the journal, for want of memory; see :meth:`rewind`."""
        return self._is_behind

    def add(self, sample: Sample, position: Position, *, flag: Flag = Flag.GOOD) -> str:
        """Take a sample; those that are neither readings nor metadata are none of ours.

        Parameters
        ----------
        sample
            Decoded.
        position
            Of the journal, at the end of its frame or later.
        flag
            The verdict on it, kept beside a point's value.

        Returns
        -------
        str
            Why it is refused, or "".
        """
        match sample:
            case PointValue(point=point, value=value):
                reading = (np.nan if value is None else value, CODES[flag])
                with self._mutex:
                    number = second_of(sample.time)
                    put = self._minutes.put_point(point, number, reading, position=position)
                    return self._note(put, "values")
            case RackBatch(values=values):
                if sample.site != self.site_name:
                    return f"of {sample.site}, not of {self.site_name}"
                label = f"{sample.hall}/{sample.rack}"
                with self._mutex:
                    self._is_sparse = _seconds(sample.interval) > MINUTE
                    number = second_of(sample.time)
                    put = self._minutes.put_rack(label, number, values, position=position)
                    return self._note(put, "batches")
            case PointMetadata(point=point):
                with self._mutex:
                    if self._known.get(point) != sample:
                        self._known[point] = self._news[point] = sample
                        self._minutes.column("points", point)
            case Tick(time=end):
                with self._mutex:
                    self._is_sparse = _seconds(sample.interval) > MINUTE
                    self._minutes.tick(second_of(end))
        return ""

    def advance(self, position: Position) -> None:
        """Take down that every sample of the journal up to here has been added."""
        with self._mutex:
            self._minutes.advance(position)

    def commit(self, *, everything: bool = False) -> bool:
        """Write what is closed, or everything, and how far the journal is archived with it.

        Parameters
        ----------
        everything
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
            with self._mutex:
                later = self._minutes.take(everything=everything)
                self._taken = self._taken.joined(later) if self._taken else later
                self._taken_bytes = self._taken.size if self._taken else 0
                taken, news = self._taken, self._news
                columns = {group: dict(known) for group, known in self._minutes.columns.items()}
                if taken is None and not (everything and news):
                    return False
                self._news = {}
            taken = taken or Taken(seconds={}, mark=self._store.mark)
            try:
                with locked(self.folder):
                    self._store.write(taken, news, columns=columns, is_sparse=self._is_sparse)
            except FAILURES as error:
                reason = str(error).partition("\n")[0]
                self._failure = f"{self.folder}: cannot be written: {reason}; see to the disk"
                self._look_again(taken, news)
                raise ArchiveError(self._failure) from error
            self._failure = ""
            with self._mutex:
                self._taken, self._taken_bytes = None, 0
            self.counters["commits"] += 1
            if self.counters["commits"] % TIDIED == 0:
                self._tidy()
        return True

    def rewind(self) -> None:
        """Forget what is not committed: it is about to be added again from the journal.

        The archive stays behind, so that nobody adds what comes meanwhile, until
        :meth:`caught_up`.
        """
        with self._committing, self._mutex:
            self._forget()
            self._is_behind = True

    def caught_up(self) -> None:
        """Take down that all of the journal has been added again."""
        self._is_behind = False

    def _forget(self) -> None:
        """Begin anew from the last commit."""
        self._minutes = Minutes(self._store.mark, self._store.labels)
        self._taken, self._taken_bytes = None, 0
        self._known = {}
        self._news = {}

    def _note(self, put: Put, kind: str) -> str:
        """Count what became of a reading; return why it was refused."""
        if put == "too_late":
            self.counters["too_late"] += 1
            return f"more than {REACH} s older than what the archive has closed"
        if put == "known":
            self.counters["known"] += 1
            return ""
        self.counters["late"] += put == "late"
        self.counters[kind] += 1
        if self._minutes.size + self._taken_bytes > self._most_bytes and not self._is_behind:
            self._forget()
            self._is_behind = True
            _logger.warning("archive falls behind", place=str(self.folder), limit=self._most_bytes)
        return ""

    def _look_again(self, taken: Taken, news: dict[str, PointMetadata]) -> None:
        """After a commit that failed: see what became of it, and keep what is still to write."""
        before = self._store.mark
        with locked(self.folder):
            self._store = self._open()
        with self._mutex:
            self._news = news | self._news
            if self._store.mark == before:
                return
            is_written = self._store.mark == taken.mark
            if is_written:
                self._taken, self._taken_bytes = None, 0
            else:  # spoilt and made anew
                self._forget()
                self._is_behind = True

    def _open(self) -> Store:
        """Open the repository; take down whether it was set aside."""
        store, aside = opened(self.folder, self.site_name)
        if aside is not None:
            self.set_aside.append(aside)
        return store

    def _tidy(self) -> None:
        """Delete what only old commits need."""
        try:
            with locked(self.folder):
                self._store.tidy(datetime.now(UTC) - KEPT)
        except FAILURES as error:
            _logger.warning("archive not tidied", place=str(self.folder), reason=str(error))


def second_of(time: np.datetime64) -> int:
    """Return the whole second that a moment falls into. [s since 1970]"""
    return int(time.astype("datetime64[s]").astype(np.int64))


def _seconds(span: np.timedelta64) -> float:
    return float(span / np.timedelta64(1, "s"))
