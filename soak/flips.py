"""Change random bytes of journals and archives, and check that every loss is reported.

Each trial takes a copy of a small site as a killed recording left it: some minutes compacted, some
open, the last only in the journal. It changes `A_TRIAL` places, bits and bytes or ends cut off, of
any of its files (those with the seals by themselves: two changes that fit each other may hide one).
Then it must hold: who reads gets what was written, or less and `verify` reports it; who writes
starts, takes in what comes, and starts again; all that is gone is in the list of `verify`, in the
journal's repairs, or was set aside.
"""

import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xarray as xr

from soak.flipped_site import ARCHIVED, CHIPS, LABELS, LATER, WAITING, again, make, recall, write
from soak.quiet import quiet
from telemetry.archive import open as open_archive
from telemetry.archive.backup import verify
from telemetry.archive.manifests import _manifest
from telemetry.messages.samples import CHIP_VARIABLES
from tests.support.archives import POINT, SECOND, SITE, START
from twin.errors import ArchiveError

COUNT = 10_000
"""Changes of a soak by default."""

A_TRIAL = 12
"""Changes of one copy, in different files."""

CUT = 0.15
"""Share of changes that cut a file off."""

SEALS = 0.05
"""Share of trials that change seals only."""

COMPACTED = 0.2
"""Share of trials in which all hours are compacted after the change."""

WEIGHTS = {"chunks": 4.0, "manifests": 4.0, "journal": 4.0, "snapshots": 2.0, "repo": 0.5}
"""Kind of a file -> how often it is changed; 1 for all others."""

type Say = Callable[[str], None]


@dataclass
class Tally:
    """What the trials came to."""

    faults: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    changed: Counter = field(default_factory=Counter)
    outcomes: Counter = field(default_factory=Counter)


def run(count: int, *, seed: int, say: Say) -> dict[str, object]:
    """Change so many places, and return the figures; each trial has a seed of its own."""
    begun, tally = time.monotonic(), Tally()
    trials = -(-count // A_TRIAL)
    memory = Path("/dev/shm")
    shared = memory if memory.is_dir() else None
    with quiet(), tempfile.TemporaryDirectory(prefix="soak-", dir=shared) as scratch:
        base, copy = Path(scratch) / "base", Path(scratch) / "copy"
        make(base)
        for number in range(trials):
            changes = min(A_TRIAL, count - number * A_TRIAL)
            faults = trial(base, copy, random.Random(seed + number), (changes, tally))
            tally.faults += [f"seed {seed + number}: {fault}" for fault in faults]
            tally.seeds += [seed + number] * bool(faults)
            for fault in faults:
                say(f"BROKEN: seed {seed + number}: {fault}")
            if number % 100 == 99:
                say(f"{(number + 1) * A_TRIAL}/{count} changes")
    return {
        "count": count,
        "broken": len(tally.faults),
        "seeds_of_broken": tally.seeds,
        "seconds": round(time.monotonic() - begun, 1),
        "changed": dict(tally.changed),
        "outcomes": dict(tally.outcomes),
        "faults": tally.faults,
    }


def trial(base: Path, copy: Path, dice: random.Random, given: tuple[int, Tally]) -> list[str]:
    """Change a copy, read it, write on, and return what does not hold."""
    changes, tally = given
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(base, copy)
    spoilt = list(change(copy, dice, changes))
    tally.changed.update(kind for kind, _ in spoilt)
    _manifest.cache_clear()
    try:
        faults = [f"{fault} (before writing)" for fault in read(copy, ARCHIVED, tally)]
        known = write(copy, is_whole=dice.random() < COMPACTED)
        faults += read(copy, [*ARCHIVED, *WAITING], tally, known=known, sure=LATER)
        faults += recall(copy) + again(copy) + recall(copy)
    except Exception as error:  # whatever it is, nothing may come out
        faults = [repr(error)]
    return [f"{fault}; changed {', '.join(text for _, text in spoilt)}" for fault in faults]


def change(folder: Path, dice: random.Random, count: int) -> Iterator[tuple[str, str]]:
    """Change so many files; yield what kind each is, and what was done."""
    kinds: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*"), key=lambda one: one.stat().st_mtime_ns):
        if path.is_file() and path.stat().st_size:  # names are random, the order of writing is not
            kinds.setdefault(_kind(path.relative_to(folder)), []).append(path)
    seals = kinds.pop("seals", [])
    if dice.random() < SEALS:
        kinds = {"seals": seals}
    files: set[Path] = set()
    for _ in range(count):
        (kind,) = dice.choices(list(kinds), [WEIGHTS.get(kind, 1.0) for kind in kinds])
        path = dice.choice(kinds[kind])
        if path in files:
            continue
        files.add(path)
        data = bytearray(path.read_bytes())
        at = dice.randrange(len(data))
        if dice.random() < CUT:
            path.write_bytes(data[:at])
            yield kind, f"{path.relative_to(folder)} cut at {at}"
            continue
        mask = dice.choice((1 << dice.randrange(8), dice.randrange(1, 256)))
        data[at] ^= mask
        path.write_bytes(data)
        yield kind, f"{path.relative_to(folder)} at {at} by {mask:#x}"


def _kind(path: Path) -> str:
    if path.suffix == ".journal":
        return "journal"
    return path.parts[2] if path.parts[1:2] == ("store",) else path.name


def read(
    folder: Path,
    seconds: list[int],
    tally: Tally,
    *,
    known: frozenset[str] = frozenset(),
    sure: tuple[int, ...] | list[int] = (),
) -> list[str]:
    """Return what of an archive is wrong, or absent without a word.

    Parameters
    ----------
    folder
        Of the site.
    seconds
        That should be there, or be reported as lost.
    tally
        Counts how it went.
    known
        What is known to be lost beside what `verify` reports; anything covers all.
    sure
        Seconds that must be there whatever happened.
    """
    try:
        lost = verify(folder / "archive").lost
    except ArchiveError:
        tally.outcomes["not opened, and reported"] += 1
        return ["it does not open after it was repaired"] if sure else []
    faults, is_any = [], False
    for group, names in (("racks", CHIP_VARIABLES), ("points", ("value",))):
        for name in names:
            wrong, absent = _compare(folder, group, name, [*seconds, *sure])
            if wrong:
                faults.append(f"{group} {name} lies in {wrong[:3]}")
            is_any |= bool(absent)
            silent = [one for one in absent if one in sure or not _covers(lost, group, name, one)]
            if silent and (not known or set(silent) & set(sure)):
                faults.append(f"{group} {name} is absent without a word in {silent[:3]}")
    tally.outcomes["lost, and reported" if is_any else "reported" if lost else "all there"] += 1
    return faults


def _compare(
    folder: Path, group: str, name: str, seconds: list[int]
) -> tuple[list[int], list[int]]:
    """Return the seconds in which something is wrong, and those in which it is absent."""
    try:
        held = open_archive(SITE, group=group, root=folder)[name]
    except (ArchiveError, KeyError):
        return [], seconds
    label, those = ("point", [POINT]) if group == "points" else ("rack", LABELS)
    if set(held[label].values.tolist()) - set(those):
        return seconds, []
    times = (START + np.array(seconds) * SECOND).astype("datetime64[ns]")
    there = held["time"].values
    found = np.full((len(seconds), len(those), CHIPS if group == "racks" else 1), np.nan)
    here = np.flatnonzero(np.isin(times, there))
    rows = np.searchsorted(there, times[here])
    columns = [those.index(one) for one in held[label].values.tolist()]
    for part, values in _parts(held, rows) if len(rows) else ():
        found[np.ix_(here[part], columns)] = values.reshape(values.shape[0], len(columns), -1)
    expected = np.array(seconds, dtype=float)[:, None, None] + np.zeros(found.shape)
    if group == "racks":
        expected += np.arange(CHIPS) / 8
    is_absent = np.isnan(found)
    wrong = (~is_absent & (found != expected)).any(axis=(1, 2))
    every = np.array(seconds)
    return every[wrong].tolist(), every[is_absent.any(axis=(1, 2))].tolist()


def _parts(held: xr.DataArray, rows: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield values of rows, in halves of halves where something among them is spoilt."""
    waiting = [slice(0, len(rows))]
    while waiting:
        part = waiting.pop()
        try:
            yield part, held.isel(time=rows[part]).values
        except ArchiveError:
            middle = (part.start + part.stop) // 2
            if middle > part.start:
                waiting += [slice(part.start, middle), slice(middle, part.stop)]


def _covers(lost: list[dict[str, str]], group: str, name: str, second: int) -> bool:
    """Return whether a list of losses covers a value."""
    moment = f"{(START + second * SECOND).astype('datetime64[s]')}Z"
    return any(
        one.get("group") in (group, "all")
        and one.get("variable", name) in (name, "quality", *_WHOLE)
        and one.get("from", "") <= moment <= one.get("to", "9")
        for one in lost
    )


_WHOLE = ("rack", "point", "metadata", "20260701")
"""Arrays that stand for a whole group: labels, and the seconds that were heard."""
