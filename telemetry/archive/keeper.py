"""The repository that one archive writes: locked at each commit, opened anew after one fails."""

from pathlib import Path

from telemetry.archive.gathering import News
from telemetry.archive.losses import Loss, in_words
from telemetry.archive.marks import Mark
from telemetry.archive.opening import FAILURES, gone_back, locked, opened
from telemetry.archive.places import Place
from telemetry.archive.seals import SpoiltError
from telemetry.archive.seconds import Taken
from telemetry.archive.store import Columns, OvertakenError, Store
from telemetry.archive.ticks import ClockError, Doubt, await_later
from telemetry.archive.upkeep import Upkeep
from twin.errors import ArchiveError


class Keeper:
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
        self._doubt = Doubt()
        self._given_up: list[Loss] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with locked(folder):
                self._store = self._open()
        except OSError as error:
            message = f"{folder}: {error.strerror}; name another state folder"
            raise ArchiveError(message) from error

    @property
    def troubles(self) -> tuple[str, str]:
        """The trouble, and what was spoilt and had to be let go since the start, in words."""
        lost = [*self._given_up, *self._store.given_up]
        return self.trouble, in_words(self._folder, lost, Place.of(self._folder).mend)

    @property
    def mark(self) -> Mark:
        """How far the repository reaches."""
        return self._store.mark

    @property
    def labels(self) -> dict[str, list[str]]:
        """Group -> labels in the order of their columns."""
        return self._store.labels

    def write(self, taken: Taken, news: News, *, columns: Columns, is_sparse: bool) -> None:
        """Write readings in one transaction; see :meth:`telemetry.archive.store.Store.write`.

        Raises
        ------
        ArchiveError
            If it cannot be written; it is opened anew then, and may reach less far.
        """
        try:
            with locked(self._folder):
                self._store.write(taken, news, columns=columns, is_sparse=is_sparse)
        except ClockError as error:
            self.trouble = f"{self._folder}: cannot be written: {error}; set it right, or wait"
            if self._doubt.is_over(error):
                self._go_back(str(error))
            raise ArchiveError(self.trouble) from error
        except (SpoiltError, OvertakenError, *FAILURES) as error:
            raise self._failed("written", error) from error
        self._doubt.is_over(None)
        self.trouble = ""

    def keep_up(self, upkeep: Upkeep, *, is_whole: bool) -> int:
        """Do what is needed once an hour; return how many hours were compacted.

        Raises
        ------
        ArchiveError
            If it cannot be done; it is opened anew then, and may reach less far.
        """
        try:
            with locked(self._folder):
                await_later(self._store.written)  # Icechunk's own words for it name no mend
                return upkeep.run(self._store, is_whole=is_whole)
        except ClockError:
            raise  # nothing is spoilt, and the next write tells
        except (ArchiveError, *FAILURES) as error:
            raise self._failed("compacted", error) from error

    def _go_back(self, reason: str) -> None:
        """Go back to a commit from before the clock, if there is one that is kept."""
        with locked(self._folder):
            found = gone_back(self._folder, self._site, reason)
        self._doubt.is_over(None)  # where there is none, it is tried again after as long
        if found is not None:
            self._given_up += self._store.given_up
            self._store, aside = found
            self.set_aside.append(aside)

    def _failed(self, what: str, error: Exception) -> ArchiveError:
        """Open the repository anew, and return the error that tells why."""
        reason, place = str(error).partition("\n")[0], Place.of(self._folder)
        mend = "end it" if isinstance(error, OvertakenError) else place.mend
        self.trouble = f"{place.url or self._folder}: cannot be {what}: {reason}; {mend}"
        self._given_up += self._store.given_up
        with locked(self._folder):
            self._store = self._open(is_tried=True)
        return ArchiveError(self.trouble)

    def _open(self, *, is_tried: bool = False) -> Store:
        """Open the repository; take down whether it was set aside."""
        store, aside = opened(self._folder, self._site, is_tried=is_tried)
        if aside is not None:
            self.set_aside.append(aside)
        return store
