"""Write-ahead journal: appended messages survive any crash.

A journal is a folder of segments (see :mod:`telemetry.journal.format`); the last one is written. An
append is one write and one ``fdatasync``. When it returns, its records are durable, and only then
may their messages be acknowledged to the broker.

Incomplete or corrupt data is moved into ``*.torn``, cut off, logged, and listed in
:attr:`Journal.corruptions`; the records before it remain. No position is used twice: opening a
journal, and a failed append, begin a new segment. Its number is the clock's seconds where these are
ahead. So a new journal, or an older copy that was restored, continues after every archived
position, and followers never mistake new records for old ones.

One process writes, with a lock on the folder's file ``lock``; its threads share the journal freely.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from telemetry import durable_files
from telemetry.journal import format
from telemetry.journal.follower import read_archived_position
from telemetry.journal.format import Corruption, JournalPosition, JournalRecord
from twin.errors import IssueCode, JournalError

__all__ = ["Corruption", "Journal", "JournalPosition", "JournalRecord"]

SEGMENT_BYTES: Final = 64 * 1024 * 1024
"""Size at which a segment is closed. [B]"""

NANOSECONDS_PER_SECOND: Final = 1_000_000_000

_logger = structlog.get_logger(__name__)


class Journal:
    """Durable messages in the order of their receipt.

    Raises JournalError if another process writes it, or a later version of gigatwin wrote it.

    - `folder`: folder of the segments; created if missing.
    - `segment_bytes`: size at which a segment is closed and the next begun; an append is never
      split. [B]
    - `clock`: time of receipt. [ns since 1970]
    - `timeout`: how long to wait for another writer that is about to end. [s]
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
        durable_files.create_folder(self._folder)
        self._lock: int | None = durable_files.lock_file(self._folder / "lock", timeout=timeout)
        try:
            self._end = self._repaired_end()
            if (archived := read_archived_position(self._folder)) is not None:
                self.skip_past(archived)
        except BaseException:
            self.close()
            raise

    @property
    def folder(self) -> Path:
        """Folder of the journal."""
        return self._folder

    @property
    def end_position(self) -> JournalPosition:
        """Where the next record will begin; everything before it is durable."""
        return self._end

    def receipt_time_us(self) -> int:
        """Return the time of receipt of messages that arrive now. [us since 1970]"""
        return max(self._clock() // 1000, 0)

    def append(
        self, items: Sequence[tuple[str, bytes]], received: Sequence[int] = ()
    ) -> JournalPosition:
        """Write topics and payloads durably, with one ``fdatasync``; return the end of the last
        record.

        ``received`` are their times of receipt, by default now. [us since 1970] If it fails, none
        of these messages is stored, all earlier ones are, and the next append tries again in a new
        segment.
        """
        stamps = received or [self.receipt_time_us()] * len(items)
        data = b"".join(
            [
                piece
                for item, stamp in zip(items, stamps, strict=True)
                for piece in format.encode_record_parts(*item, received=stamp)
            ]
        )
        with self._mutex:
            if self._lock is None:
                message = f"{self._folder}: the journal is closed; open it again before writing"
                raise JournalError(message, code=IssueCode.NOT_RUNNING)
            if not data:
                return self._end
            if self._end.offset >= self._segment_bytes:
                self._close_segment()
            if self._file is None:
                self._file = self._open_segment()
            self._write(self._file, data)
            self._end = JournalPosition(self._end.segment, self._end.offset + len(data))
            return self._end

    def read(self, after: JournalPosition | None = None) -> Iterator[JournalRecord]:
        """Yield the intact records after a position in order, or all of them.

        The segments are those that exist when reading begins. Corrupt data in a segment is moved
        aside with the remainder of that segment, and reading continues with the next one.
        """
        first = after or JournalPosition(0, 0)
        for segment in format.list_segments(self._folder):
            if segment >= first.segment:
                offset = first.offset if segment == first.segment else 0
                yield from format.decode_records(
                    self._read_intact(segment), JournalPosition(segment, offset)
                )

    def trim(self, before: JournalPosition) -> None:
        """Delete the segments that end before a position, but never the last one."""
        with self._mutex:
            try:
                for segment in format.list_segments(self._folder)[:-1]:
                    if segment < before.segment:
                        format.segment_path(self._folder, segment).unlink(missing_ok=True)
                durable_files.sync_folder(self._folder)
            except OSError as error:
                raise durable_files.disk_error(self._folder, error) from error

    def skip_past(self, known: JournalPosition) -> bool:
        """Continue writing after the position ``known``, up to which an archive has read records.

        Return whether some of these records are lost; if so, log it.
        """
        with self._mutex:
            if known > self._end:
                self._close_segment()
                self._end = JournalPosition(known.segment + 1, format.JOURNAL_HEADER_BYTES)
        path = format.segment_path(self._folder, known.segment)
        end = format.logical_size(self._folder, known.segment)  # parts moved aside were logged
        segments = format.list_segments(self._folder)
        if end >= known.offset or (segments and segments[0] > known.segment):  # trimmed since
            return False
        self.corruptions.append(
            Corruption(JournalPosition(known.segment, end), known.offset - end, None)
        )
        _logger.warning("journal lost its end", place=str(path), known=str(known))
        return True

    def close(self) -> None:
        """Close the files and release the lock; closing twice has no effect."""
        with self._mutex:
            for file in (self._file, self._lock):
                if file is not None:
                    os.close(file)
            self._file = self._lock = None

    def _repaired_end(self) -> JournalPosition:
        """Move the incomplete end of the last segment aside; return where writing continues."""
        last = max(format.list_segments(self._folder), default=-1)
        number = max(last + 1, self._clock() // NANOSECONDS_PER_SECOND, 0)
        self._end = JournalPosition(number, format.JOURNAL_HEADER_BYTES)
        if last >= 0:
            self._read_intact(last)
        return self._end

    def _read_intact(self, segment: int) -> bytes:
        """Return the intact part of a segment, after moving corrupt data aside."""
        path = format.segment_path(self._folder, segment)
        with self._mutex:
            is_current = segment == self._end.segment
            try:
                with path.open("rb") as file:
                    data = file.read(self._end.offset if is_current else -1)
            except FileNotFoundError:  # trimmed meanwhile, or not yet created
                return b""
        version = format.header_version(data, segment)
        if version is not None and version > format.FORMAT_VERSION:
            known = format.FORMAT_VERSION
            message = f"{path} has layout {version}, expected {known}: update gigatwin"
            raise JournalError(message, code=IssueCode.WRONG_VERSION)
        intact = format.intact_length(data, segment)
        if intact < max(len(data), format.JOURNAL_HEADER_BYTES):
            self._move_aside(JournalPosition(segment, intact))
        return data[:intact]

    def _move_aside(self, start: JournalPosition) -> None:
        """Move the remainder of a segment into a file of its own, and log it."""
        path = format.segment_path(self._folder, start.segment)
        aside = format.corrupt_path(self._folder, start)
        with self._mutex:
            if start.segment == self._end.segment:
                self._close_segment()
            try:
                size = durable_files.move_tail(path, start.offset, aside)
            except OSError:  # no space for a copy: the data stays, and readers skip it
                size, aside = path.stat().st_size - start.offset, path
        self.corruptions.append(Corruption(start, size, aside))
        _logger.warning(
            "corrupt data moved aside",
            place=str(path),
            offset=start.offset,
            size=size,
            to=str(aside),
        )

    def _open_segment(self) -> int:
        """Create the segment of the end position; return its file."""
        path = format.segment_path(self._folder, self._end.segment)
        try:
            file = os.open(
                path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, durable_files.FILE_MODE
            )
        except OSError as error:
            raise durable_files.disk_error(path, error) from error
        try:
            durable_files.write_all(file, format.segment_header(self._end.segment))
            os.fdatasync(file)
            durable_files.sync_folder(self._folder)
        except OSError as error:
            os.close(file)
            self._end = JournalPosition(self._end.segment + 1, format.JOURNAL_HEADER_BYTES)
            with suppress(OSError):  # otherwise the next start finds it incomplete
                path.unlink()
            raise durable_files.disk_error(path, error) from error
        return file

    def _write(self, file: int, data: bytes) -> None:
        """Write durably; on failure cut off what was written, and leave the segment.

        Followers may have read what is cut off, and would take its replacement for known data.
        """
        path = format.segment_path(self._folder, self._end.segment)
        try:
            durable_files.write_all(file, data)
            os.fdatasync(file)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(file, self._end.offset)
                if self._end.offset == format.JOURNAL_HEADER_BYTES:
                    path.unlink()  # else each retry on a full disk would leave an empty segment
            self._close_segment()
            raise durable_files.disk_error(path, error) from error

    def _close_segment(self) -> None:
        """Close the current segment; the next append begins another."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
            self._end = JournalPosition(self._end.segment + 1, format.JOURNAL_HEADER_BYTES)


MAX_PLACES_DESCRIBED: Final = 1
"""Corrupt places that are described in full; the others are counted. [1]"""


class CorruptionReport:
    """Describes the corruptions that a journal found since it was opened.

    ``archived`` is the position up to which the journal was archived when it was opened, or None.
    What is archived later comes after the damage.
    """

    def __init__(self, journal: Journal, archived: JournalPosition | None) -> None:
        self._journal, self._archived = journal, archived
        self._reported = 0
        self._truncation: list[str] = []
        if archived is not None and format.is_truncated_before(journal.folder, archived):
            self._truncation = [
                f"the journal {journal.folder} begins after {archived}, up to where it is "
                "archived: check whether files were deleted or an older archive was restored"
            ]
        self._unreported = self._truncation

    @property
    def description(self) -> str:
        """What was damaged, its consequence, and the remedy; empty if nothing was."""
        found = self._truncation + [self._description(one) for one in self._journal.corruptions]
        more = f"{len(found) - MAX_PLACES_DESCRIBED} more places (`corrupt data` in the log)"
        return "; ".join(
            [*found[:MAX_PLACES_DESCRIBED], *([more] if len(found) > MAX_PLACES_DESCRIBED else [])]
        )

    def new_losses(self) -> list[str]:
        """Return descriptions of possible losses since the previous call."""
        new = self._journal.corruptions[self._reported :]
        self._reported += len(new)
        truncation, self._unreported = self._unreported, []
        return truncation + [self._description(one) for one in new if not self._is_harmless(one)]

    def _is_harmless(self, corruption: Corruption) -> bool:
        """Return whether the archive has all of the corrupt data."""
        end = JournalPosition(
            corruption.position.segment, corruption.position.offset + corruption.size
        )
        return (
            corruption.corrupt_path is not None
            and self._archived is not None
            and end <= self._archived
        )

    def _description(self, corruption: Corruption) -> str:
        segment, offset = corruption.position.segment, corruption.position.offset
        place = f"the journal {self._journal.folder} is damaged: of segment {segment:012d}"
        size = f"{corruption.size:,} B from byte {offset} on"
        if corruption.corrupt_path is None:  # and perhaps more that was never read
            return f"{place} {size}, once read, are lost; check the disk and restored copies"
        damage = f"{place} {size} are corrupt and stored as {corruption.corrupt_path.name}"
        if self._is_harmless(corruption):
            return f"{damage}; the archive has all of their messages; check the disk"
        loss = "messages that were not archived are lost unless their sender sends them again"
        return f"{damage}; {loss}; check the disk"
