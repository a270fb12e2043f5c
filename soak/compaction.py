"""Kill an archiver at random moments, most of them within a compaction, and read all of it.

What must hold after each kill: the archive opens, every value that a commit held before is there
and is the one that was sent, and no block's checksum is broken.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from telemetry.archive import Archive
from telemetry.archive import open as open_archive
from telemetry.archive.backup import verify
from telemetry.archive.buffer import RackBatchBlock
from telemetry.archive.reader import open_snapshot
from telemetry.journal.format import JournalPosition

COUNT = 200
"""Kills of a soak by default."""

SITE = "rhine"
RACKS, CHIPS = 40, 8
START = 1_782_864_000  # 2026-07-01 in seconds since 1970
HOUR = 3600
STEP = 20
"""Seconds between two readings of a rack. [s]"""

SHARE = 0.6
"""Longest wait to a kill. [s]"""

LATE = 7
"""One rack in so many is late by an hour and a half."""

DELAY = 90 * 60
ROOT = Path(__file__).parents[1]

type Say = Callable[[str], None]


def run(count: int, *, seed: int, say: Say) -> dict[str, object]:
    """Kill so often, and return the figures; a new archive is begun for each seed."""
    begun, dice = time.monotonic(), random.Random(seed)
    broken: list[str] = []
    compacting = 0
    with tempfile.TemporaryDirectory(prefix="soak-") as scratch:
        for number in range(count):
            folder = Path(scratch) / str(number // 20)  # an archive lives through twenty kills
            compacting += _kill(folder, dice.random())
            for fault in check(folder):
                broken.append(f"kill {number}, seed {seed}: {fault}")
                say(f"BROKEN: {broken[-1]}")
            if number % 10 == 0:
                say(f"{number + 1}/{count} kills, {compacting} within a compaction")
    return {
        "count": count,
        "broken": len(broken),
        "seeds_of_broken": [seed] if broken else [],
        "seconds": round(time.monotonic() - begun, 1),
        "within_a_compaction": compacting,
        "faults": broken,
    }


def _kill(folder: Path, share: float) -> bool:
    """Let a process write and compact, and kill it; return whether it was compacting."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "soak.compaction", str(folder)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    lines = process.stdout
    if lines is None:
        raise OSError("no pipe")
    wanted = "compacting" if share < 0.8 else "writing"
    line = ""
    while line.strip() != wanted:
        line = lines.readline()
        if not line:
            raise AssertionError("the writer ended by itself")
    time.sleep(SHARE * share**3)  # as long as a compaction on a slow machine; often much shorter
    process.kill()
    rest = lines.read().split()
    process.wait()
    return wanted == "compacting" and not rest


def value(second: np.ndarray, rack: np.ndarray) -> np.ndarray:
    """Return what the chips of a rack say in a second, the first of them."""
    return ((second - START) * 64 + rack).astype(np.float32)


def write(folder: Path) -> None:
    """Write hour after hour from where the archive ends, and compact each; until killed."""
    archive = Archive(folder / "archive", SITE)
    record = folder / "done.json"
    second = json.loads(record.read_text())["second"] if record.exists() else START
    position = (second - START) // STEP
    labels = [f"hall_1/r{rack + 1:04d}" for rack in range(RACKS)]
    racks = np.arange(RACKS)
    is_late = racks % LATE == 0
    while True:
        _say("writing")
        for now in range(second, second + HOUR, STEP):
            position += 1
            for which, at in ((~is_late, now), (is_late, now - DELAY)):
                if at >= START:
                    _add(archive, [labels[r] for r in racks[which]], at, racks[which], position)
            archive.record_journal_position(JournalPosition(1, position))
        archive.commit(include_open=True)
        second += HOUR
        draft = record.with_suffix(".draft")
        draft.write_text(json.dumps({"second": second}))
        draft.replace(record)
        _say("compacting")
        archive.maintain(is_whole=bool(second // HOUR % 2))
        _say("compacted")


def _add(archive: Archive, labels: list[str], at: int, racks: np.ndarray, position: int) -> None:
    first = value(np.full(len(racks), at), racks)
    values = np.repeat(first, 5 * CHIPS).reshape(len(racks), 5, CHIPS) + np.arange(
        CHIPS, dtype=np.float32
    )
    archive.add_racks(
        RackBatchBlock(
            rack_labels=labels,
            seconds=np.full(len(racks), at),
            values=values.astype(np.float32),
            intervals=np.ones(len(racks)),
            subsecond_offsets=np.zeros(len(racks), dtype=np.int16),
        ),
        JournalPosition(1, position),
    )


def check(folder: Path) -> list[str]:
    """Return what is wrong in an archive with values committed before the record was written."""
    record = folder / "done.json"
    end = json.loads(record.read_text())["second"] if record.exists() else START
    if not (folder / "archive" / "store").is_dir():
        return [] if end == START else ["it is gone"]
    try:
        open_snapshot(folder / "archive")
        verdict = verify(folder / "archive")
        chips = open_archive(SITE, group="racks", root=folder).load()
    except Exception as error:  # whatever it is, it does not open
        return [f"it does not open: {error!r}"]
    faults = [f"lost {one}" for one in verdict.lost]
    if end == START:
        return faults
    seconds = np.arange(START, end, STEP)
    found = chips.sel(time=seconds.astype("datetime64[s]"))
    racks = np.array([int(str(label)[-4:]) - 1 for label in found["rack"].values])
    expected = value(seconds[:, None], racks)
    is_late = racks % LATE == 0
    expected[np.ix_(seconds >= end - DELAY, is_late)] = np.nan
    for name in ("power", "clock"):
        for chip in (0, CHIPS - 1):
            read = found[name].isel(chip=chip).values
            if not np.array_equal(read, expected + np.float32(chip), equal_nan=True):
                faults.append(f"{name} of chip {chip} is not what was sent")
    return faults


def _say(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    write(Path(sys.argv[1]))
