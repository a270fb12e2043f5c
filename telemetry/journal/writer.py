"""The write-ahead journal: what was appended is there again after any crash.

A folder of segments (`journaling.frames` tells their layout), of which the last is written to.
Append is one write and one ``fdatasync``; when it returns, its frames are durable, and only then
may their messages be acknowledged to the broker.

What is found torn or spoilt is copied aside into ``*.torn``, cut off, told by a warning and by
:attr:`Journal.repairs`; the frames before it stay. No position is ever given twice: whoever opens a
journal, and whoever failed to append, begins a segment, numbered by the clock's seconds where that
is more than one on. So a journal made anew, or an older copy that was put back, goes on behind
every position that was ever archived, and who follows never takes new frames for old ones.

One process writes, held by a lock on the folder's ``lock``; within it any thread may call anything.

What a journal had to set aside, in words: what it was, what is lost with it, what to do.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from telemetry import files
from telemetry.journal import format
from telemetry.journal.follower import read_archived
from telemetry.journal.format import Corruption, JournalPosition, JournalRecord
from twin.errors import JournalError

__all__ = ["Corruption", "Journal", "JournalPosition", "JournalRecord"]

SEGMENT_BYTES: Final = 64 * 1024 * 1024
"""Size at which a segment is closed. [B]"""

NANOSECONDS_PER_SECOND: Final = 1_000_000_000
"""In a second."""

_logger = structlog.get_logger(__name__)


class Journal:
    """Messages kept in the order they came.

    Parameters
    ----------
    folder
        Where the segments lie; made if missing.
    segment_bytes
        Size at which a segment is closed and the next begun; one append is never split. [B]
    clock
        Nanoseconds since 1970, for the moment of receipt. [ns]
    patience
        How long to wait for another process that writes it and is about to end. [s]

    Raises
    ------
    JournalError
        If another process writes it, or a later version of gigatwin wrote it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        clock: Callable[[], int] = time.time_ns,
        timeout: float = 0.0,
    ) -> None:
        self._folder = Path(folder)
        self._segment_bytes = segment_bytes
        self._clock = clock
        self._mutex = threading.RLock()
        self._file: int | None = None
        self.corruptions: list[Corruption] = []
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock: int | None = files.lock_file(self._folder / "lock", timeout=timeout)
        try:
            self._end = self._repaired_end()
            if (told := read_archived(self._folder)) is not None:
                self.skip_past(told)
        except BaseException:
            self.close()
            raise

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self._folder

    @property
    def end(self) -> JournalPosition:
        """Where the next frame will begin; all before it is durable."""
        return self._end

    def append(self, items: Sequence[tuple[str, bytes]]) -> JournalPosition:
        """Write messages and make them durable: one write, one ``fdatasync``.

        Parameters
        ----------
        items
            Topics and payloads, in the order they came.

        Returns
        -------
        JournalPosition
            The end of the last of them.

        Raises
        ------
        JournalFullError
            If the disk is full. Nothing of these messages is kept, everything before them is;
            the next append tries again, in a new segment.
        JournalError
            If the disk fails otherwise, or the journal is closed.
        """
        received = max(self._clock() // 1000, 0)
        data = b"".join(
            [piece for item in items for piece in format.record_parts(*item, received=received)]
        )
        with self._mutex:
            if self._lock is None:
                message = f"{self._folder} is closed; open it anew"
                raise JournalError(message)
            if not data:
                return self._end
            if self._end.offset >= self._segment_bytes:
                self._leave()
            if self._file is None:
                self._file = self._begin()
            self._write(self._file, data)
            self._end = JournalPosition(self._end.segment, self._end.offset + len(data))
            return self._end

    def read(self, after: JournalPosition | None = None) -> Iterator[JournalRecord]:
        """Read frames in order.

        Parameters
        ----------
        after
            Begin after this position; at the first frame there is if None.

        Yields
        ------
        Frame
            Whole frames, of the segments there are when reading begins, and of each what is
            durable when it is reached. What is spoilt within a segment is set aside together
            with the rest of that segment, and reading goes on with the next.
        """
        first = after or JournalPosition(0, 0)
        for segment in format.list_segments(self._folder):
            if segment >= first.segment:
                offset = first.offset if segment == first.segment else 0
                yield from format.decode_records(
                    self._sound(segment), JournalPosition(segment, offset)
                )

    def trim(self, before: JournalPosition) -> None:
        """Delete the segments that end before a position, but never the last there is.

        Raises
        ------
        JournalError
            If the disk does not let go of them.
        """
        with self._mutex:
            try:
                for segment in format.list_segments(self._folder)[:-1]:
                    if segment < before.segment:
                        format.segment_path(self._folder, segment).unlink(missing_ok=True)
                files.sync_folder(self._folder)
            except OSError as error:
                raise files.disk_error(self._folder, error) from error

    def skip_past(self, known: JournalPosition) -> bool:
        """Write on behind what an archive has seen; say so if the journal has lost its end.

        Parameters
        ----------
        known
            Up to where frames were read.

        Returns
        -------
        bool
            Whether some of them are here no more.
        """
        with self._mutex:
            if known > self._end:
                self._leave()
                self._end = JournalPosition(known.segment + 1, format.HEADER_BYTES)
        path = format.segment_path(self._folder, known.segment)
        end = format.logical_size(self._folder, known.segment)  # what is set aside was told then
        held = format.list_segments(self._folder)
        if end >= known.offset or (held and held[0] > known.segment):  # else trimmed since
            return False
        self.corruptions.append(
            Corruption(JournalPosition(known.segment, end), known.offset - end, None)
        )
        _logger.warning("shorter than what was read of it", place=str(path), known=str(known))
        return True

    def close(self) -> None:
        """Close the files and let others write; closing twice does nothing."""
        with self._mutex:
            for file in (self._file, self._lock):
                if file is not None:
                    os.close(file)
            self._file = self._lock = None

    def _repaired_end(self) -> JournalPosition:
        """Set aside what is torn of the last segment; return where writing goes on."""
        last = max(format.list_segments(self._folder), default=-1)
        number = max(last + 1, self._clock() // NANOSECONDS_PER_SECOND, 0)
        self._end = JournalPosition(number, format.HEADER_BYTES)
        if last >= 0:
            self._sound(last)
        return self._end

    def _sound(self, segment: int) -> bytes:
        """Return a segment without what is spoilt in it, which is set aside."""
        path = format.segment_path(self._folder, segment)
        with self._mutex:
            is_current = segment == self._end.segment
            try:
                with path.open("rb") as file:
                    data = file.read(self._end.offset if is_current else -1)
            except FileNotFoundError:  # trimmed meanwhile, or not begun
                return b""
        version = format.header_version(data, segment)
        if version is not None and version > format.FORMAT_VERSION:
            known = format.FORMAT_VERSION
            message = f"{path} has layout {version}, this gigatwin knows {known}: update it"
            raise JournalError(message)
        sound = format.intact_length(data, segment)
        if sound < max(len(data), format.HEADER_BYTES):
            self._set_aside(JournalPosition(segment, sound))
        return data[:sound]

    def _set_aside(self, start: JournalPosition) -> None:
        """Move the rest of a segment into a file of its own, and say so."""
        path = format.segment_path(self._folder, start.segment)
        aside = format.corrupt_path(self._folder, start)
        with self._mutex:
            if start.segment == self._end.segment:
                self._leave()
            try:
                size = files.move_tail(path, start.offset, aside)
            except OSError:  # no room for a copy: it stays where it is, and is skipped there
                size, aside = path.stat().st_size - start.offset, path
        self.corruptions.append(Corruption(start, size, aside))
        _logger.warning("set aside", place=str(path), offset=start.offset, size=size, to=str(aside))

    def _begin(self) -> int:
        """Make the segment that the end stands in; return its file."""
        path = format.segment_path(self._folder, self._end.segment)
        try:
            file = os.open(
                path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, files.FILE_MODE
            )
        except OSError as error:
            raise files.disk_error(path, error) from error
        try:
            files.write_all(file, format.segment_header(self._end.segment))
            os.fdatasync(file)
            files.sync_folder(self._folder)
        except OSError as error:
            os.close(file)
            self._end = JournalPosition(self._end.segment + 1, format.HEADER_BYTES)
            with suppress(OSError):  # if it stays it is found torn
                path.unlink()
            raise files.disk_error(path, error) from error
        return file

    def _write(self, file: int, data: bytes) -> None:
        """Write and make durable; on failure cut what was written of it, and leave the segment.

        Who follows may have read what is cut off, and would take what came in its place for read.
        """
        path = format.segment_path(self._folder, self._end.segment)
        try:
            files.write_all(file, data)
            os.fdatasync(file)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(file, self._end.offset)
                if self._end.offset == format.HEADER_BYTES:
                    path.unlink()  # a full disk is tried again and again
            self._leave()
            raise files.disk_error(path, error) from error

    def _leave(self) -> None:
        """Close the segment that is written to; the next append begins another."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
            self._end = JournalPosition(self._end.segment + 1, format.HEADER_BYTES)


MAX_PLACES_DESCRIBED: Final = 1
"""Damaged places that are told in full; of the others their number. [1]"""


class CorruptionReport:
    """Looks at what a journal has set aside since it was opened.

    Parameters
    ----------
    journal
        What is looked at.
    archived
        Up to where it was archived when it was opened; None if nothing was. What is archived later
        comes after the damage.
    """

    def __init__(self, journal: Journal, archived: JournalPosition | None) -> None:
        self._journal, self._archived = journal, archived
        self._told = 0
        self._cut: list[str] = []
        if archived is not None and format.is_truncated_before(journal.folder, archived):
            self._cut = [
                f"the journal {journal.folder} begins after {archived}, "
                "up to where it is archived: were files deleted, or an older archive put back?"
            ]
        self._untold = self._cut

    @property
    def describe(self) -> str:
        """What was damaged, what that means, and what to do; empty if nothing was."""
        told = self._cut + [self._of(one) for one in self._journal.corruptions]
        more = f"{len(told) - MAX_PLACES_DESCRIBED} more places of it (`set aside` in the log)"
        return "; ".join(
            [*told[:MAX_PLACES_DESCRIBED], *([more] if len(told) > MAX_PLACES_DESCRIBED else [])]
        )

    def new_losses(self) -> list[str]:
        """Return what may be lost, in words, since this was asked before."""
        new = self._journal.corruptions[self._told :]
        self._told += len(new)
        cut, self._untold = self._untold, []
        return cut + [self._of(one) for one in new if not self._is_harmless(one)]

    def _is_harmless(self, repair: Corruption) -> bool:
        """Return whether all that was set aside is in the archive."""
        end = JournalPosition(repair.position.segment, repair.position.offset + repair.size)
        return (
            repair.corrupt_path is not None and self._archived is not None and end <= self._archived
        )

    def _of(self, repair: Corruption) -> str:
        segment, offset = repair.position.segment, repair.position.offset
        place = f"the journal {self._journal.folder} is damaged: of segment {segment:012d}"
        size = f"{repair.size:,} B from byte {offset} on"
        if repair.corrupt_path is None:  # and perhaps more, that nobody had read
            end = "up to where it was read once"
            return f"{place} {size}, {end}, are gone: was an older copy put back? see to the disk"
        what = f"{place} {size} cannot be read and are kept as {repair.corrupt_path.name}"
        if self._is_harmless(repair):
            return f"{what}; all that they held is in the archive; see to the disk"
        lost = "what of it was not archived yet is lost, unless its sender holds it and sends it"
        return f"{what}; {lost} again; see to the disk"
