"""The thread that commits: minutes into the archive, and what the journal need not hold any more.

Taking in never waits for it. If it falls behind for want of memory or of a disk, it reads from the
journal what it missed.
"""

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Final

import structlog

from telemetry.archive import Archive
from telemetry.intake.kept import Kept
from telemetry.journal import Frame, Journal, Position
from twin.errors import ArchiveError, JournalError

SETTLE: Final = 0.2
"""Wait for stragglers between a tick or the end of a minute and its commit. [s]"""

AGAIN: Final = 5.0
"""Wait after a commit that failed. [s]"""

SILENCE: Final = 120.0
"""Time without a minute that ends, after which what is open is written as well: who looks for what
was before a black-out need not wait until it is over. [s]"""

REST: Final = 1000
"""Frames that are left for the moment in which nobody else may add."""

_logger = structlog.get_logger(__name__)


class Archiver:
    """Commits what is due.

    Parameters
    ----------
    archive, journal, kept
        What is written, and what backs it.
    add
        Adds the sample of a frame to the archive, and to nothing else.
    order
        Held by whoever appends to the journal and adds to the archive what was appended.
    tell
        Each writes down what was not archived, before the journal lets go of it.
    """

    def __init__(
        self,
        archive: Archive,
        journal: Journal,
        kept: Kept,
        *,
        add: Callable[[Frame], None],
        order: AbstractContextManager[bool],
        tell: Sequence[Callable[[], None]] = (),
    ) -> None:
        self._archive = archive
        self._journal = journal
        self._kept = kept
        self._add = add
        self._order = order
        self._tell = tell
        self._ring = threading.Event()
        self._ended = threading.Event()
        self._trimmed: Position | None = None
        self._thread = threading.Thread(target=self._run, name="archiver", daemon=True)

    @property
    def trouble(self) -> str:
        """That its thread has died, and what to do about it; empty if it has not."""
        return died(self._thread, self._ended)

    def start(self) -> None:
        """Begin."""
        self._thread.start()
        self.ring()

    def ring(self) -> None:
        """Say that something is due."""
        self._ring.set()

    def stop(self) -> None:
        """Commit all there is, open minutes too, and end."""
        self._ended.set()
        self._ring.set()
        if self._thread.is_alive():
            self._thread.join()
        if not self._archive.is_behind:
            self.commit(everything=True)

    def commit(self, *, everything: bool = False) -> bool:
        """Commit, and trim the journal; return False if the disk would not have it."""
        for tell in self._tell:
            tell()
        try:
            if self._archive.commit(everything=everything):
                self._trim()
        except (ArchiveError, JournalError) as error:
            _logger.warning("archive not written", reason=str(error))
            return False
        return True

    def _run(self) -> None:
        while not self._ended.is_set():
            is_silent = not self._ring.wait(SILENCE)
            self._ring.clear()
            wait = SETTLE
            while not self._ended.wait(wait):
                is_behind = self._archive.is_behind
                is_done = self._catch_up() if is_behind else self.commit(everything=is_silent)
                if is_done and not self._archive.is_behind:
                    self._archive.keep_up()
                    break
                wait = AGAIN

    def _trim(self) -> None:
        """Let go of what the archive has; what it has no room for is written down before."""
        position = self._archive.position
        before = self._trimmed
        if position is None or (before is not None and position.segment == before.segment):
            return
        self._kept.write()
        os.sync()  # the archive's own files: its library leaves them to the system
        self._journal.trim(position)
        self._trimmed = position

    def _catch_up(self) -> bool:
        """Read again what was left to the journal; return whether the archive is up to date."""
        with self._order:  # whoever has seen that it is not behind has taken down how far it is
            self._archive.rewind()
        while True:
            count, is_done = self._read_on()
            if not is_done or self._ended.is_set():
                return False
            if count < REST:
                break
        with self._order:
            _, is_done = self._read_on()
            if is_done:
                self._archive.caught_up()
        _logger.info("archive caught up", position=str(self._archive.position))
        return is_done

    def _read_on(self) -> tuple[int, bool]:
        """Add what the journal holds; return how many frames, and whether all went well."""
        count = 0
        for frame in self._journal.read(after=self._archive.complete):
            self._add(frame)
            self._archive.advance(frame.position)
            count += 1
            if self._archive.is_due and not self.commit():
                return count, False
            if self._ended.is_set():
                break
        return count, True


def died(thread: threading.Thread, ended: threading.Event) -> str:
    """Return what to do about a thread that ended before it was told to; empty if it did not."""
    if thread.ident is None or thread.is_alive() or ended.is_set():
        return ""
    return f"the {thread.name} ended by itself: see the log, and start the service again"
