"""Reads of an archive of one day of one full site: 1,390 racks of 72 chips, a value a second.

It is made once a command, with time compressed: one hour goes through the archive itself, minute by
minute, and is compacted; the objects of its power are then laid down for the other 23 hours as
well: those of the first 64 racks, which stand in one shard and of which a chip is read, or, if
``GIGATWIN_BENCH_READ_WHOLE`` is set, all 25 GB. So a chip's day is read from as many blocks of as
many shards as in a whole archive; all chips of a moment, of the first hour then.

``GIGATWIN_READS`` names a folder where it stays for the next time, ``GIGATWIN_BENCH_READ_RACKS``
another number of racks. Cold is a read after the system was asked to forget the pages of every file
of the archive.
"""

import atexit
import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from benchmarks.bench import Bench, Measured
from benchmarks.load import BOARDS, CHIPS, board_of, boards
from telemetry.archive import Archive
from telemetry.archive import open as open_archive
from telemetry.archive.buffer import RackBatchBlock
from telemetry.archive.layout import COMPACTED_HOURS_LEVEL, DAY_S, HOUR_S
from telemetry.archive.recovery import commit_lock, open_or_recover
from telemetry.journal.format import JournalPosition
from telemetry.messages.samples import CHIP_VARIABLES

SITE = "rhine"
RACKS = int(os.environ.get("GIGATWIN_BENCH_READ_RACKS", "1390"))
START = 1_782_864_000  # 2026-07-01 in seconds since 1970
MADE = "made.json"
READS = 9
"""Reads of a run, each of another chip or moment; the median is reported."""

NAME = "GIGATWIN_READS"
IS_WHOLE = bool(os.environ.get("GIGATWIN_BENCH_READ_WHOLE"))
LAID = RACKS if IS_WHOLE else min(RACKS, COMPACTED_HOURS_LEVEL.columns_per_shard["racks"])
SECONDS = DAY_S if IS_WHOLE else HOUR_S
LABELS = [f"hall_1/r{rack + 1:04d}" for rack in range(RACKS)]


def folder():
    """Return the state folder, made now if it is not there."""
    if NAME not in os.environ:  # in the process of the command: for the processes of all its rows
        os.environ[NAME] = tempfile.mkdtemp(prefix="gigatwin-reads-")
        atexit.register(shutil.rmtree, os.environ[NAME], ignore_errors=True)
    return Path(os.environ[NAME])


def made():
    """Return the folder of an archive, and what is known of it."""
    root = folder()
    made_file = root / MADE
    if not made_file.exists():
        known = {"racks": RACKS, **_hour(root), **_day(root)}
        made_file.write_text(json.dumps(known))
    known = json.loads(made_file.read_text())
    if (known["racks"], known["laid"]) != (RACKS, LAID):
        message = f"{root} has {known['racks']} racks, not {RACKS}: name another folder"
        raise ValueError(message)
    return root, known


def _hour(root):
    """Let the archive take an hour and compact it; return what a value takes. [B]"""
    archive, whole = Archive(root / "archive", SITE), boards()
    racks = np.arange(RACKS)
    for second in range(HOUR_S):
        archive.add_racks(
            RackBatchBlock(
                rack_labels=LABELS,
                seconds=np.full(RACKS, START + second),
                values=whole[board_of(START + second, racks)],
                intervals=np.ones(RACKS),
                subsecond_offsets=np.zeros(RACKS, dtype=np.int16),
            ),
            JournalPosition(1, second + 1),
        )
        archive.record_journal_position(JournalPosition(1, second + 1))
        if second % 60 == 59:
            archive.commit(include_open=True)
    archive.maintain(is_whole=True)
    values = RACKS * CHIPS * len(CHIP_VARIABLES) * HOUR_S
    return {"bytes_a_value": _chunks(root) / values, "values_of_the_hour": values}


def _chunks(root):
    """Return what the last commit holds of objects: those of one day, by their keys. [B]"""
    store, _ = open_or_recover(root / "archive", SITE)
    session = store.repository.readonly_session("main").store
    return sum(sync(session.getsize(key)) for key in _listed(session, "") if "/c/" in key)


def _listed(session, prefix):
    async def every():
        return [key async for key in session.list_prefix(prefix)]

    return sorted(sync(every()))


def _day(root):
    """Lay the objects of the hour's power down for the other hours of the day too."""
    with commit_lock(root / "archive"):
        store, _ = open_or_recover(root / "archive", SITE)
        draft = store.begin_transaction()
        session = draft.session.store
        period = str(np.datetime64(START, "s"))[:10].replace("-", "")
        power = f"racks/raw/{period}/power"
        for key in _listed(session, power):
            if not key.startswith(f"{power}/c/0/" if IS_WHOLE else f"{power}/c/0/0/"):
                continue
            data = sync(session.get(key, default_buffer_prototype()))
            for hour in range(1, DAY_S // HOUR_S):
                sync(session.set(key.replace("/c/0/", f"/c/{hour}/", 1), data))
        draft.mark_seconds("racks", range(START, START + DAY_S))
        store.commit(draft, "hours laid down", store.checkpoint)
    return {"bytes": _chunks(root), "laid": LAID}


def cool(root):
    """Ask the system to forget the pages of an archive."""
    os.sync()
    for path in root.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def power(root):
    """Return the lazy power of all chips."""
    return open_archive(SITE, group="racks", root=root)["power"]


def expected(second, rack, chip):
    """Return what a chip said; an hour is like any other."""
    return boards()[board_of(START + second % HOUR_S, rack), 0, chip]


def _took(work, *, times=READS, before=lambda: None):
    """Return the median of what a piece of work took, by the clock on the wall. [ms]"""
    took = []
    for number in range(times):
        before()
        begun = time.perf_counter()
        work(number)
        took.append(1e3 * (time.perf_counter() - begun))
    return statistics.median(took)


def opening(*, is_cold):
    """Return the bench of opening, which loads the libraries first."""

    def ours(_place):
        root, _ = made()
        power(root)
        before = (lambda: cool(root)) if is_cold else (lambda: None)
        return Measured(value=_took(lambda _: power(root), before=before))

    return ours


def reading(pick, check, *, is_cold):
    """Return the bench of a read from an archive that is open."""

    def ours(_place):
        root, _ = made()
        chips = power(root)
        found = {}

        def read(number):
            found[number] = pick(chips, number).load().to_numpy()

        read(READS)  # what the first read loads of libraries
        if not is_cold:
            for number in range(READS):
                read(number)
        took = _took(read, before=(lambda: cool(root)) if is_cold else (lambda: None))
        for number in range(READS):
            assert np.array_equal(found[number], check(number)), number
        return Measured(value=took)

    return ours


def _chip(number):
    return (number * 157 + 11) % LAID, (number * 31) % CHIPS


def chip_day(chips, number):
    """Return one chip's day."""
    rack, chip = _chip(number)
    return chips.isel(rack=rack, chip=chip)


def chip_day_told(number):
    """Return what it has to be."""
    rack, chip = _chip(number)
    return expected(np.arange(DAY_S), rack, chip)


def _moment(number):
    return (number * 9377 + 4711) % SECONDS


def all_chips(chips, number):
    """Return all chips of a moment."""
    return chips.isel(time=_moment(number))


def all_chips_told(number):
    """Return what they have to be."""
    return expected(_moment(number), np.arange(RACKS), slice(None))


def size(_place):
    """Return what a value takes on disk, by an hour that went through the archive. [B]"""
    return Measured(value=made()[1]["bytes_a_value"])


NOTE = (
    f"{RACKS:,} racks of {CHIPS} chips, {DAY_S:,} seconds, {LAID:,} racks of them beyond the first "
    f"hour; median of {READS} reads by the wall clock, "
    "each of another chip or moment and equal to what was sent"
)
COLD = f"{NOTE}; the pages of the archive forgotten before each"
SIZE = (
    f"an hour of {RACKS:,} racks of {CHIPS} chips, five variables as precise as DCGM says them "
    f"({BOARDS} different batches), roll-ups and labels included"
)
WAYS = {
    "open": opening,
    "chip_day": lambda **cold: reading(chip_day, chip_day_told, **cold),
    "all_chips": lambda **cold: reading(all_chips, all_chips_told, **cold),
}
BENCHES = (
    Bench(name="reads.size", unit="B a value", ours=size, runs=1, note=SIZE),
    *(
        Bench(
            name=f"reads.{name}{'_cold' if is_cold else ''}",
            unit="ms",
            ours=way(is_cold=is_cold),
            note=COLD if is_cold else NOTE,
        )
        for name, way in WAYS.items()
        for is_cold in (False, True)
    ),
)
folder()
