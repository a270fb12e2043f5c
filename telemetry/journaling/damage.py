"""What a journal had to set aside, in words: what it was, what is lost with it, what to do."""

from typing import Final

from telemetry.journal import Journal
from telemetry.journaling import frames
from telemetry.journaling.frames import Position, Repair

SHOWN: Final = 1
"""Damaged places that are told in full; of the others their number. [1]"""


class Damage:
    """Looks at what a journal has set aside since it was opened.

    Parameters
    ----------
    journal
        What is looked at.
    archived
        Up to where it was archived when it was opened; None if nothing was. What is archived later
        comes after the damage.
    """

    def __init__(self, journal: Journal, archived: Position | None) -> None:
        self._journal, self._archived = journal, archived
        self._told = 0
        self._cut: list[str] = []
        if archived is not None and frames.is_cut(journal.folder, archived):
            self._cut = [
                f"the journal {journal.folder} begins after {archived}, "
                "up to where it is archived: were files deleted, or an older archive put back?"
            ]
        self._untold = self._cut

    @property
    def words(self) -> str:
        """What was damaged, what that means, and what to do; empty if nothing was."""
        told = self._cut + [self._of(one) for one in self._journal.repairs]
        more = f"{len(told) - SHOWN} more places of it (`set aside` in the log)"
        return "; ".join([*told[:SHOWN], *([more] if len(told) > SHOWN else [])])

    def lost(self) -> list[str]:
        """Return what may be lost, in words, since this was asked before."""
        new = self._journal.repairs[self._told :]
        self._told += len(new)
        cut, self._untold = self._untold, []
        return cut + [self._of(one) for one in new if not self._is_harmless(one)]

    def _is_harmless(self, repair: Repair) -> bool:
        """Return whether all that was set aside is in the archive."""
        end = Position(repair.position.segment, repair.position.offset + repair.size)
        return repair.aside is not None and self._archived is not None and end <= self._archived

    def _of(self, repair: Repair) -> str:
        segment, offset = repair.position.segment, repair.position.offset
        place = f"the journal {self._journal.folder} is damaged: of segment {segment:012d}"
        size = f"{repair.size:,} B from byte {offset} on"
        if repair.aside is None:  # and perhaps more, that nobody had read
            end = "up to where it was read once"
            return f"{place} {size}, {end}, are gone: was an older copy put back? see to the disk"
        what = f"{place} {size} cannot be read and are kept as {repair.aside.name}"
        if self._is_harmless(repair):
            return f"{what}; all that they held is in the archive; see to the disk"
        lost = "what of it was not archived yet is lost, unless its sender holds it and sends it"
        return f"{what}; {lost} again; see to the disk"
