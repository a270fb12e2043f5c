"""Read the journal of another process, and record how far it is archived.

The writer of a journal holds its lock and trims it; a follower only reads. It may read records that
are not durable yet: the writer never reuses the positions of records that it cut off. A file beside
the segments, replaced atomically, shows the writer which records it may delete.
"""

from pathlib import Path
from typing import Final

from telemetry import durable_files
from telemetry.journal import format
from telemetry.journal.format import JournalPosition

ARCHIVED_POSITION_FILE: Final = "archived"
"""File with the position up to which a journal is archived."""

JOURNAL_READ_BYTES: Final = 16 * 1024 * 1024
"""Bytes read at once. [B]"""


class JournalFollower:
    """Reads a journal from a position on.

    The folder need not exist yet. ``after`` is None for the beginning of the journal.
    """

    def __init__(self, folder: Path, after: JournalPosition | None) -> None:
        self._folder = Path(folder)
        self.position = after or JournalPosition(0, 0)
        self._length = 0

    def read(self) -> tuple[bytes, JournalPosition]:
        """Return bytes that begin at a record, and their position; no bytes if there are no more.

        An incomplete record at their end is not finished yet; call :meth:`mark_read` with the end
        of the last complete one.
        """
        for segment in format.list_segments(self._folder):
            if segment < self.position.segment:
                continue
            if segment > self.position.segment:
                self.position = JournalPosition(segment, format.JOURNAL_HEADER_BYTES)
            offset = max(self.position.offset, format.JOURNAL_HEADER_BYTES)
            if data := self._read(JournalPosition(segment, offset)):
                self.position = JournalPosition(segment, offset)
                self._length = len(data)
                return data, self.position
        return b"", self.position

    def _read(self, start: JournalPosition) -> bytes:
        """Return a part of a segment; empty at its end, or if the segment was trimmed meanwhile."""
        try:
            with format.segment_path(self._folder, start.segment).open("rb") as file:
                file.seek(start.offset)
                return file.read(JOURNAL_READ_BYTES)
        except FileNotFoundError:
            return b""

    def mark_read(self, end: int) -> None:
        """Record that the segment was read up to an offset. [B]"""
        self.position = JournalPosition(self.position.segment, end)

    def skip_segment(self) -> bool:
        """Skip a segment whose remainder cannot be read, if the writer has begun another.

        Return whether there is more to read. If the position stays, the writer has completed the
        record and begun another segment.
        """
        later = [
            segment
            for segment in format.list_segments(self._folder)
            if segment > self.position.segment
        ]
        if later and len(self._read(self.position)) == self._length:
            self.position = JournalPosition(later[0], format.JOURNAL_HEADER_BYTES)
        return bool(later)

    def write_archived_position(self, position: JournalPosition) -> None:
        """Record for the writer that everything before a position is archived."""
        checksum = durable_files.checksum(str(position))
        durable_files.write_atomic(self._folder / ARCHIVED_POSITION_FILE, f"{position} {checksum}")

    @property
    def is_truncated(self) -> bool:
        """Whether the segment to be read next is deleted; :meth:`read` continues after it."""
        return format.is_truncated_before(self._folder, self.position)

    def ends_before(self, known: JournalPosition) -> bool:
        """Return whether the journal lost records that were read up to a position.

        The writer may have continued in later segments.
        """
        segments = format.list_segments(self._folder)
        if not segments or segments[0] > known.segment:  # new or trimmed: see `is_truncated`
            return False
        return format.segment_size(self._folder, known.segment) < known.offset


def read_archived_position(folder: Path) -> JournalPosition | None:
    """Return up to where a journal is archived; None if the file is missing or damaged."""
    try:
        stored = (Path(folder) / ARCHIVED_POSITION_FILE).read_text(encoding="ascii")
        text, _, checksum = stored.partition(" ")
        return JournalPosition.parse(text) if checksum == durable_files.checksum(text) else None
    except (OSError, ValueError):
        return None
