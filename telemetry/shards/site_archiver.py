"""The archiver of a site that is heard in shards: the only writer of the site's archive.

It follows the journals of all shards, the one first whose data is oldest, so that none of them is
late only because another was read before.
"""

import os
import threading
import time
import zlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import structlog

from telemetry.archive import LATENESS, Archive
from telemetry.archive.layout import HOUR, MINUTE
from telemetry.archive.losses import tell_reasons
from telemetry.journaling.tail import Tail
from telemetry.shards.bulk import Scanner
from telemetry.shards.intake import COUNTED, Intake
from twin.errors import ArchiveError, JournalError

IDLE: Final = 0.25
"""Shortest wait when no journal has anything new. [s]"""

LONGEST: Final = 60.0
"""Longest wait. [s]"""

SPREAD: Final = 25
"""Seconds over which the sites of a machine begin. [s]"""

LAG: Final = LATENESS // 2
"""How far a journal may be behind the others before its minutes wait for it. [s]"""

SILENCE: Final = 60.0
"""Time without anything new after which open minutes are archived too: who looks for what was
before a black-out need not wait until it is over. [s]"""

ATTEMPTS: Final = 2
"""How often the last commit is tried: what failed may have been mended. [1]"""

AGAIN: Final = 5.0
"""Wait after a commit that failed. [s]"""

AGAIN_AND_AGAIN: Final = 3
"""How often in an hour it falls behind until that is trouble. [1]"""

MOST_FALLEN: Final = 100
"""Times that it fell behind that are remembered. [1]"""

FRUGAL: Final = {"MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_ARENA_MAX": "2"}
"""Environment in which the C library gives memory back that a minute no longer needs."""

_logger = structlog.get_logger(__name__)


class SiteArchiver:
    """Reads journals into an archive.

    Parameters
    ----------
    archive
        Of the site.
    journals
        Name of a shard -> folder of its journal.
    quarantine
        Folder for what cannot be read; None to count it only.
    is_simulated
        Whether times are those of a simulated plant.

    Attributes
    ----------
    counters
        ``frames`` that were read, of these ``batches`` of racks, ``future`` and ``ticks`` (of a
        simulation, while times are real), which are not archived, ``quarantined`` and ``refused``
        (too old, or too many chips); ``torn``, the ends of journals passed over.
    is_left
        Whether :meth:`run` is not over, or ended without having committed all there is.
    """

    def __init__(
        self,
        archive: Archive,
        journals: Mapping[str, Path],
        *,
        quarantine: Path | None = None,
        is_simulated: bool = False,
    ) -> None:
        self.counters = Counter(dict.fromkeys((*COUNTED, "torn"), 0))
        self.is_left = False
        self._archive = archive
        self._journals = dict(journals)
        self._intake = Intake(
            archive, quarantine, counters=self.counters, is_simulated=is_simulated
        )
        self._is_simulated = is_simulated
        self._scanner = Scanner(archive.site_name, is_simulated=is_simulated)
        self._ended = threading.Event()
        self._tails: dict[str, Tail] = {}
        self._told: dict[str, int] = {}
        self._fallen: list[float] = []
        self._heard = time.monotonic()
        self._offset = zlib.crc32(archive.site_name.encode()) % SPREAD
        self._rewind()

    @property
    def coverage(self) -> Mapping[str, object]:
        """How many points were heard, and the worst covered, as `intake.coverage` does."""
        now = max(self._intake.newest.values()) if self._is_simulated else int(time.time())
        return self._intake.coverage.summary(now)

    @property
    def trouble(self) -> str:
        """What is wrong with what is read and what to do about it; empty if nothing is."""
        hour_ago = time.monotonic() - HOUR
        count = sum(moment > hour_ago for moment in self._fallen)
        again = f"the archive fell behind {count} times in an hour: too much comes at once for it"
        return "; ".join(
            filter(None, [self._intake.aside.trouble, again * (count >= AGAIN_AND_AGAIN)])
        )

    def stop(self) -> None:
        """End :meth:`run`, from any thread."""
        self._ended.set()

    def run(self) -> None:
        """Archive what comes, until stopped; then commit all there is."""
        self.is_left = True
        positions = {name: str(at) for name, at in self._archive.positions.items()}
        _logger.info("archiving", site=self._archive.site_name, **positions)
        while not self._ended.is_set():
            if not self.step():
                self._ended.wait(self._pause())
        for _ in range(ATTEMPTS):
            while self.step():
                pass
            if self.commit(everything=True):
                self.is_left = False
                break

    def _pause(self) -> float:
        """Return how long to wait before the journals are read again. [s]

        Until another minute can be closed: what waits there takes no memory. Sites of one machine
        do not do it all at once.
        """
        if self._is_simulated:
            return IDLE
        moment = time.time() - LATENESS - self._offset
        return min(max(MINUTE - moment % MINUTE, IDLE), LONGEST)

    def step(self) -> bool:
        """Read one piece of a journal and commit what is due; return whether there was any."""
        if self._archive.is_full and not self.commit():
            return False  # what was read waits for the disk
        names = sorted(self._tails, key=lambda name: self._intake.newest[name])
        is_new = any(self._read(name) for name in names[:1]) or any(
            self._read(name) for name in names[1:]
        )
        is_behind = self._archive.is_behind
        if is_behind or (self._archive.is_due and not self._lags()):
            self.commit()
        elif not is_new and self._is_silent:
            self.commit(everything=True)
        return is_new or is_behind

    @property
    def _is_silent(self) -> bool:
        """Whether nothing has come for so long that what is open need not wait for it."""
        return not self._is_simulated and time.monotonic() - self._heard >= SILENCE

    def _lags(self) -> bool:
        """Read of journals that are behind the others; return whether there was anything."""
        newest = max(self._intake.newest.values())
        behind = [name for name, at in self._intake.newest.items() if at < newest - LAG]
        return any([self._read(name) for name in behind])

    def commit(self, *, everything: bool = False) -> bool:
        """Commit, and let the ingesters trim; return False if the disk would not have it."""
        self._intake.aside.tell()
        try:
            if self._archive.is_behind:  # it forgot what was not committed: read it again
                self._fallen = [*self._fallen[-MOST_FALLEN:], time.monotonic()]
                self._rewind()
                return True
            if self._archive.commit(everything=everything):
                self._tell()
            self._archive.keep_up()
        except (ArchiveError, JournalError) as error:
            _logger.warning("archive not written", reason=str(error))
            self._ended.wait(AGAIN)
            return False
        return True

    def _tell(self) -> None:
        """Tell the ingesters which segments they need not keep."""
        positions = self._archive.positions
        told = {name: at.segment for name, at in positions.items() if name in self._tails}
        if told != self._told:
            os.sync()  # the archive's own files: its library leaves them to the system
            for name in told:
                self._tails[name].archived(positions[name])
            self._told = told

    def _rewind(self) -> None:
        """Read all journals again from where the archive is."""
        self._archive.rewind()
        self._archive.caught_up()
        positions = self._archive.positions
        self._tails = {
            name: Tail(folder, positions.get(name)) for name, folder in self._journals.items()
        }
        self._intake.begin(self._journals)
        for name, tail in self._tails.items():
            end = self._archive.seen.get(name, tail.position)
            if tail.is_short_of(end):
                self._lose(f"the journal {name} ends before {end}, up to where it was read once")

    def _lose(self, reason: str) -> None:
        """Tell what of a journal cannot be archived."""
        tell_reasons(self._archive.folder, [reason])

    def _read(self, name: str) -> bool:
        """Read a piece of a journal; return whether there was any."""
        tail = self._tails[name]
        if tail.is_cut:
            self._lose(f"the journal {name} begins after {tail.position}: it was cut")
        data, start = tail.read()
        if not data:
            return False
        stop = self._archive.seen.get(name)
        limit = 2**62
        if stop is not None and stop.segment == start.segment and stop.offset > start.offset:
            limit = stop.offset  # what a commit has seen is told apart from what came after
        found = self._scanner.scan(data, start.segment, start=start.offset, stop=limit)
        if found.end == start.offset:
            is_more = tail.pass_over()
            if tail.position != start:
                self.counters["torn"] += 1
                self._lose(f"the journal {name} cannot be read from {start} to the segment's end")
            return is_more
        tail.advance(found.end)
        self._heard = time.monotonic()
        self._intake.take(found, tail.position, name)
        return True
