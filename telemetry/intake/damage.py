"""What of a journal was damaged: told to whoever watches, and written down among the losses."""

from typing import Final

from telemetry.archive import Archive
from telemetry.archive.losses import tell
from telemetry.journal import Journal, Repair
from telemetry.journaling.damage import is_harmless, words

SHOWN: Final = 1
"""Damaged places that are told in full; of the others their number."""


class Damage:
    """Looks at what a journal has set aside.

    Parameters
    ----------
    journal
        What is looked at.
    archive
        What need not be in it any more; None for nothing.
    """

    def __init__(self, journal: Journal, archive: Archive | None) -> None:
        self._journal, self._archive = journal, archive
        self._kept = archive.position if archive else None  # later ones come after the damage
        self._told = 0

    @property
    def words(self) -> str:
        """What was damaged since the start, what that means, and what to do; empty if nothing."""
        told = [self._of(one) for one in self._journal.repairs]
        more = f"{len(told) - SHOWN} more places of it (`set aside` in the log)"
        return "; ".join([*told[:SHOWN], *([more] if len(told) > SHOWN else [])])

    def go_behind_archive(self) -> None:
        """Write on behind what the archive has read of the journal, whether or not it is there."""
        seen = self._archive.seen.get("") if self._archive else None
        if seen is not None:
            self._journal.go_behind(seen)

    def tell(self) -> None:
        """Write down, once each, what may be lost."""
        new = self._journal.repairs[self._told :]
        self._told += len(new)
        if self._archive:
            lost = [one for one in new if not is_harmless(one, self._kept)]
            tell(self._archive.folder, [{"group": "all", "reason": self._of(one)} for one in lost])

    def _of(self, repair: Repair) -> str:
        return words(repair, self._journal.folder, self._kept)
