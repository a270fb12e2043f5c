"""Follow the journal of another process: read what is durable, and say how far it is archived.

The writer of a journal holds its lock and trims it; who follows only reads. A file beside the
segments, written whole, tells the writer what need not be kept any more.
"""

from pathlib import Path
from typing import Final

from telemetry import durable, frames
from telemetry.frames import Position

ARCHIVED: Final = "archived"
"""File that tells up to where a journal is archived."""

PIECE: Final = 16 * 1024 * 1024
"""Bytes read at once. [B]"""


class Tail:
    """The end of a journal.

    Parameters
    ----------
    folder
        Of the journal; it need not be there yet.
    after
        Where to go on; None for the beginning.
    """

    def __init__(self, folder: Path, after: Position | None) -> None:
        self._folder = Path(folder)
        self.position = after or Position(0, 0)

    def read(self) -> tuple[bytes, Position]:
        """Return bytes that begin at a frame, and where they begin; none if there are no more.

        What is torn at the end of them is not finished yet; :meth:`advance` tells how far it was
        read.
        """
        for segment in frames.segments(self._folder):
            if segment < self.position.segment:
                continue
            if segment > self.position.segment:
                self.position = Position(segment, frames.HEADER_BYTES)
            offset = max(self.position.offset, frames.HEADER_BYTES)
            try:
                with frames.path_of(self._folder, segment).open("rb") as file:
                    file.seek(offset)
                    data = file.read(PIECE)
            except FileNotFoundError:  # trimmed meanwhile
                continue
            if data:
                self.position = Position(segment, offset)
                return data, self.position
        return b"", self.position

    def advance(self, end: int) -> None:
        """Take down that the segment was read up to an offset. [B]"""
        self.position = Position(self.position.segment, end)

    def pass_over(self) -> bool:
        """Leave a segment whose rest cannot be read, if the writer has begun another.

        Returns
        -------
        bool
            Whether there was one; else the rest is still being written.
        """
        later = [
            segment for segment in frames.segments(self._folder) if segment > self.position.segment
        ]
        if later:
            self.position = Position(later[0], frames.HEADER_BYTES)
        return bool(later)

    def archived(self, position: Position) -> None:
        """Tell the writer that all before a position is archived.

        Raises
        ------
        JournalError
            If the disk does not take it.
        """
        checksum = durable.checksum(str(position))
        durable.write_whole(self._folder / ARCHIVED, f"{position} {checksum}")

    @property
    def is_cut(self) -> bool:
        """Whether the segment that is to be read next is gone, and later ones are there."""
        segments = frames.segments(self._folder)
        return bool(self.position.segment and segments and segments[0] > self.position.segment)

    @property
    def is_short(self) -> bool:
        """Whether the journal ends before what is to be read next: it has lost its end."""
        segments = frames.segments(self._folder)
        try:
            end = Position(segments[-1], frames.path_of(self._folder, segments[-1]).stat().st_size)
        except (IndexError, FileNotFoundError):
            return False
        return end < self.position

    def begin_again(self) -> None:
        """Go back to the beginning of the last segment there is; doubles do no harm."""
        self.position = Position(frames.segments(self._folder)[-1], frames.HEADER_BYTES)


def archived(folder: Path) -> Position | None:
    """Return up to where a journal is archived; None if nobody has told, or not this."""
    try:
        told = (Path(folder) / ARCHIVED).read_text(encoding="ascii")
        text, _, checksum = told.partition(" ")
        return Position.parse(text) if checksum == durable.checksum(text) else None
    except (FileNotFoundError, ValueError):
        return None
