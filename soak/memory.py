"""Run an archive for many hours and check that its memory does not grow with each.

An hour here is sixty commits of a minute, the compaction of the hour, and the deletion of all old
commits. What the process holds is what the system counts once the allocator has given back what is
free, so that it can be compared from hour to hour.
"""

import ctypes
import gc
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from soak.quiet import quiet
from telemetry.archive import Archive
from telemetry.journal.format import JournalPosition
from tests.support.archives import SITE, batch, metadata, value
from tests.support.process_memory import held_mb

COUNT = 100
"""Hours of a soak by default. [h]"""

WARM: Final = 20
"""Hours before memory counts: until then buffers and caches fill. [h]"""

MOST: Final = 0.4
"""Most that an hour may add; it was 0.9 while old commits were deleted in the process. [MB]"""

RACKS: Final = 4

type Say = Callable[[str], None]


def run(count: int, *, seed: int, say: Say) -> dict[str, object]:
    """Let an archive live so long, and return the figures; a seed changes the readings.

    Parameters
    ----------
    count
        Hours, of which those after :data:`WARM` are looked at. [h]
    seed
        Of the readings.
    say
        Called with lines of progress.
    """
    begun, held = time.monotonic(), []
    dice = np.random.default_rng(seed)
    with quiet(), tempfile.TemporaryDirectory(prefix="soak-") as scratch:
        archive = Archive(Path(scratch) / "archive", SITE)
        archive.add(metadata(), JournalPosition(1, 30))
        for hour in range(count):
            _live(archive, hour, dice)
            held.append(_held())
            if hour % 10 == 9:
                say(f"{hour + 1}/{count} hours, {held[-1]:.1f} MB")
    growth = _growth(held)
    if is_broken := growth > MOST:
        say(f"BROKEN: {growth:.2f} MB an hour")
    return {
        "count": count,
        "broken": int(is_broken),
        "seeds_of_broken": [seed] if is_broken else [],
        "seconds": round(time.monotonic() - begun, 1),
        "growth_mb_per_h": round(growth, 3),
        "held_mb": round(held[-1], 1),
    }


def _live(archive: Archive, hour: int, dice: np.random.Generator) -> None:
    """Take in an hour of readings, a commit a minute, and do what is due at its end."""
    for second in range(hour * 3600, (hour + 1) * 3600, 60):
        for rack in range(RACKS):
            archive.add(batch(f"r{rack:04d}", second, value=dice.random()), JournalPosition(1, 30))
        archive.add(value(second, float(second)), JournalPosition(1, 30))
        if archive.is_commit_due:
            archive.commit()
    archive.maintain(is_whole=True)


def _held() -> float:
    """Return what this process holds beside mapped files. [MB]"""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    found = held_mb("RssAnon")
    assert found, "this system does not report RssAnon"  # or nothing would ever grow
    return found


def _growth(held: list[float]) -> float:
    """Return by how much memory grows, as a line through the hours that count. [MB/h]"""
    counted = held[WARM:]
    if len(counted) < 2:
        return 0.0
    return float(np.polyfit(np.arange(len(counted)), counted, 1)[0])
