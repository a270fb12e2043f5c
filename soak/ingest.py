"""Kill the processes of ingestion under load, and read back what was published.

A run has up to `A_RUN` kills, by turns with NATS as it is and with Mosquitto, whose acknowledged
messages only the source's outbox brings back.
"""

import random
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

from soak.readback import check
from soak.stand import BROKERS, Stand
from soak.tally import Tally

COUNT = 1000
"""Kills of a soak by default."""

A_RUN = 50
"""Most kills of one run."""

type Say = Callable[[str], None]


def run(count: int, *, seed: int, say: Say) -> dict[str, object]:
    """Kill so often, and return the figures; each run has a seed of its own."""
    begun, tally = time.monotonic(), Tally()
    for number, (done, kills) in enumerate(parts(count)):
        name = list(BROKERS)[number % len(BROKERS)]
        folder = Path(tempfile.mkdtemp(prefix="soak-"))
        stand = Stand(folder, name)
        say(f"run {number + 1} with {name}, seed {seed + number}, kills from {done + 1}")
        dice = random.Random(seed + number)
        play = partial(stand.play, kills, dice, tally, say=say)
        if judge(stand, play, tally, seed=seed + number, say=say):
            shutil.rmtree(folder)
        else:
            say(f"  what it left stands in {folder}")
    return {
        "count": count,
        "broken": len(tally.faults),
        "seeds_of_broken": tally.seeds,
        "seconds": round(time.monotonic() - begun, 1),
        **tally.figures(),
    }


def judge(
    stand: Stand, play: Callable[[], list[str]], tally: Tally, *, seed: int, say: Say
) -> bool:
    """Play a run, read back all, take down what did not go well; tell whether all did."""
    try:
        faults = [*play(), *check(stand, tally)]
    except Exception as error:  # whatever it is, it is a finding and not the end
        faults = [repr(error), *stand.last_words()]
    finally:
        stand.close()
    for fault in faults:
        tally.faults.append(f"{stand.name}, seed {seed}: {fault}")
        say(f"BROKEN: {tally.faults[-1]}")
    tally.seeds += [seed] * bool(faults)
    return not faults


def parts(count: int) -> list[tuple[int, int]]:
    """Return how many kills go before each run, and how many it has; both brokers get theirs."""
    runs = max(-(-count // A_RUN), min(len(BROKERS), count))
    edges = [count * number // runs for number in range(runs + 1)]
    return [(first, last - first) for first, last in pairwise(edges)]
