"""Follow the journal of another process: read what it holds, and say how far it is archived.

The writer of a journal holds its lock and trims it; who follows only reads, and may read what is
not durable yet: what the writer then cuts off it never writes anew in the same place. A file beside
the segments, written whole, tells the writer what need not be kept any more.
"""

from pathlib import Path
from typing import Final

from telemetry import files
from telemetry.journal import format
from telemetry.journal.format import JournalPosition

ARCHIVED_FILE: Final = "archived"
"""File that tells up to where a journal is archived."""

READ_BYTES: Final = 16 * 1024 * 1024
"""Bytes read at once. [B]"""


class JournalFollower:
    """The end of a journal.

    Parameters
    ----------
    folder
        Of the journal; it need not be there yet.
    after
        Where to go on; None for the beginning.
    """

    def __init__(self, folder: Path, after: JournalPosition | None) -> None:
        self._folder = Path(folder)
        self.position = after or JournalPosition(0, 0)
        self._length = 0

    def read(self) -> tuple[bytes, JournalPosition]:
        """Return bytes that begin at a frame, and where they begin; none if there are no more.

        What is torn at the end of them is not finished yet; :meth:`advance` tells how far it was
        read.
        """
        for segment in format.list_segments(self._folder):
            if segment < self.position.segment:
                continue
            if segment > self.position.segment:
                self.position = JournalPosition(segment, format.HEADER_BYTES)
            offset = max(self.position.offset, format.HEADER_BYTES)
            if data := self._read(JournalPosition(segment, offset)):
                self.position = JournalPosition(segment, offset)
                self._length = len(data)
                return data, self.position
        return b"", self.position

    def _read(self, start: JournalPosition) -> bytes:
        """Return a piece of a segment; none if there is no more, or if it was trimmed meanwhile."""
        try:
            with format.segment_path(self._folder, start.segment).open("rb") as file:
                file.seek(start.offset)
                return file.read(READ_BYTES)
        except FileNotFoundError:
            return b""

    def advance(self, end: int) -> None:
        """Take down that the segment was read up to an offset. [B]"""
        self.position = JournalPosition(self.position.segment, end)

    def skip_segment(self) -> bool:
        """Leave a segment whose rest cannot be read, if the writer has begun another.

        Returns
        -------
        bool
            Whether there is more to read. If the position stays, the writer had finished what was
            half written when it was read, and then begun another.
        """
        later = [
            segment
            for segment in format.list_segments(self._folder)
            if segment > self.position.segment
        ]
        if later and len(self._read(self.position)) == self._length:
            self.position = JournalPosition(later[0], format.HEADER_BYTES)
        return bool(later)

    def write_archived(self, position: JournalPosition) -> None:
        """Tell the writer that all before a position is archived.

        Raises
        ------
        JournalError
            If the disk does not take it.
        """
        checksum = files.checksum(str(position))
        files.write_atomic(self._folder / ARCHIVED_FILE, f"{position} {checksum}")

    @property
    def is_truncated(self) -> bool:
        """Whether the segment that is to be read on is gone; :meth:`read` goes on behind it."""
        return format.is_truncated_before(self._folder, self.position)

    def ends_before(self, known: JournalPosition) -> bool:
        """Return whether the journal has lost its end: what was read of it once, up to a position.

        It may have been written on since, in later segments.
        """
        segments = format.list_segments(self._folder)
        if not segments or segments[0] > known.segment:  # new, or trimmed: see `is_cut`
            return False
        return format.segment_size(self._folder, known.segment) < known.offset


def read_archived(folder: Path) -> JournalPosition | None:
    """Return up to where a journal is archived; None if nobody has told, or not this."""
    try:
        told = (Path(folder) / ARCHIVED_FILE).read_text(encoding="ascii")
        text, _, checksum = told.partition(" ")
        return JournalPosition.parse(text) if checksum == files.checksum(text) else None
    except (OSError, ValueError):
        return None
