"""Give every reader corrupted input: it must accept or refuse it by its own error, in time.

Input number n is drawn from seed + n alone, so `--count 1 --seed N` shows what seed N broke.
"""

import gc
import random
import resource
import time
import tomllib
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from soak.readers import Reader, readers

COUNT = 100_000
"""Inputs of a soak by default."""

LIMIT = 3.0
"""Longest that a message may take its reader, and each 100 kB of a file. [yardsticks]"""

YARDSTICK = "\n".join(f"key_{n} = {n}.5" for n in range(6000))
"""Some 100 kB that the standard library reads: how fast this machine is at this moment."""

SUSPECT = 0.050
"""What is read sooner, each 100 kB of a file, is not measured beside the yardstick. [s of CPU]"""

PIECE = 100_000
"""Of a file. [B]"""

MEMORY = 2**30
"""What reading may take in the end, beyond what it has at the start. [B]"""

AGAIN = 3
"""How often an input that may have taken too long is read again: the best counts."""

PROGRESS = 100_000
"""Inputs between two lines of progress."""

SHOWN = 20
"""Broken promises that are printed in full."""

type Say = Callable[[str], None]


@dataclass
class Found:
    """What came of a reader's inputs."""

    counts: Counter = field(default_factory=Counter)
    slowest: float = 0.0
    seed: int = 0


def run(count: int, *, seed: int, say: Say) -> dict[str, object]:
    """Read so many inputs, and return the figures."""
    begun, used_before = time.monotonic(), time.process_time()
    all_of_them = readers()
    shares = [one.share for one in all_of_them]
    found = {one.name: Found() for one in all_of_them}
    broken: dict[int, str] = {}
    for one in all_of_them:  # what is loaded at the first use is no input's fault
        for valid in one.valid:
            one.read(one.around(valid))
    gc.freeze()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    bounds = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, bounds[1]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(seed, seed + count):
            dice = random.Random(number)
            reader = dice.choices(all_of_them, shares)[0]
            fault = _try(reader, number, dice, found[reader.name])
            if fault and len(broken) < SHOWN:
                say(f"BROKEN: seed {number}, {reader.name}: {fault}")
            if fault:
                broken[number] = f"{reader.name}: {fault}"
            if (number - seed + 1) % PROGRESS == 0:
                say(f"{number - seed + 1}/{count} inputs, {len(broken)} broken")
    gc.unfreeze()
    resource.setrlimit(resource.RLIMIT_AS, bounds)
    slowest = max(found, key=lambda name: found[name].slowest)
    return {
        "count": count,
        "broken": len(broken),
        "seeds_of_broken": list(broken),
        "seconds": round(time.monotonic() - begun, 1),
        "cpu_s": round(time.process_time() - used_before, 1),
        "slowest": slowest,
        "readers": {
            name: {
                **dict(one.counts),
                "slowest_ms": round(1e3 * one.slowest, 2),
                "seed_of_slowest": one.seed,
            }
            for name, one in found.items()
        },
        "faults": list(broken.values())[:SHOWN],
    }


def _try(reader: Reader, seed: int, dice: random.Random, found: Found) -> str:
    """Read one input; return which promise was broken, if one was."""
    raw = reader.input(dice)
    outcome, took = _read(reader, raw)
    pieces = 1.0 if reader.is_message else max(1.0, len(raw) / PIECE)
    share = _measured(reader, raw) / pieces if took > SUSPECT * pieces else 0.0
    if took > found.slowest:
        found.slowest, found.seed = took, seed
    found.counts["taken" if outcome is None else "refused"] += 1
    if outcome and not isinstance(outcome, reader.refusals):
        return "".join(traceback.format_exception(outcome)[-4:]).strip()[-2000:]
    if outcome and not _is_printable(str(outcome)):
        return f"an error that no terminal or log takes: {str(outcome)[:300]!a}"
    if share > LIMIT:
        return f"{len(raw)} bytes took {share * pieces:.1f} times what reading 100 kB of TOML takes"
    return ""


def _measured(reader: Reader, raw: bytes) -> float:
    """Return what reading takes beside the yardstick, at the best of some trials. [yardsticks]"""
    toml = replace(reader, read=lambda _: tomllib.loads(YARDSTICK))
    return min(_read(reader, raw)[1] / _read(toml, raw)[1] for _ in range(AGAIN))


def _is_printable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read(reader: Reader, raw: bytes) -> tuple[Exception | None, float]:
    """Return the error that an input raised, and what it took. [s of CPU]"""
    begun = time.thread_time()
    outcome: Exception | None = None
    try:
        reader.read(raw)
    except Exception as error:
        outcome = error
    return outcome, time.thread_time() - begun
