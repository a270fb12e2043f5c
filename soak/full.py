"""Fill the disk of a recording again and again under load, and free it.

While it is full nothing new may become durable, and it must be said; in one time of three the
recording is killed meanwhile and started on the full disk. The recording may free space itself:
ingesters delete segments that are archived, and what fits into their place may become durable.
Freed, it must go on by itself; in the end all that was published is in the archive, nothing is half
written, and nothing spoilt.
Only root may mount the small disk that this needs.
"""

import random
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from soak.ingest import judge
from soak.stand import Stand
from soak.tally import Tally

COUNT = 50
"""Times that the disk is filled by default."""

A_RUN = 25
"""Most of one run."""

SIZE = "96m"
FULL = 3.0
"""Longest time that it is full. [s]"""

SETTLED = 1.5
"""Time after which what was underway when it filled up is written or refused. [s]"""

KILLED = 0.33
"""Share of times that the recording is killed meanwhile."""

type Say = Callable[[str], None]


def run(count: int, *, seed: int, say: Say) -> dict[str, object]:
    """Fill so often, and return the figures; each run has a seed of its own."""
    begun, tally, brokers = time.monotonic(), Tally(), ("nats", "mosquitto")
    waits: list[float] = []
    for number, done in enumerate(range(0, count, A_RUN)):
        name = brokers[number % len(brokers)]
        with tempfile.TemporaryDirectory(prefix="soak-") as folder:
            stand = SmallDisk(Path(folder), name)
            dice, kills = random.Random(seed + number), min(A_RUN, count - done)
            play = partial(stand.fill_often, kills, dice, (tally, waits), say=say)
            judge(stand, play, tally, seed=seed + number, say=say)
    return {
        "count": count,
        "broken": len(tally.faults),
        "seeds_of_broken": tally.seeds,
        "seconds": round(time.monotonic() - begun, 1),
        "killed_while_full": tally.killed["archiver"],
        "longest_until_it_went_on_s": round(max(waits, default=0.0), 2),
        "batches_read_back": tally.samples,
        "batches_sent_again": tally.again,
        "faults": tally.faults,
    }


class SmallDisk(Stand):
    """A stand whose recording has a small disk of its own."""

    def __init__(self, folder: Path, broker: str) -> None:
        super().__init__(folder, broker)
        self.state.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(self.state)]
        subprocess.run(mount, check=True)
        self._ballast = self.state / "ballast"

    def fill_often(
        self, count: int, dice: random.Random, given: tuple[Tally, list[float]], *, say: Say
    ) -> list[str]:
        """Fill the disk so often; return what does not hold."""
        tally, waits = given
        self.begin(dice)
        faults: list[str] = []
        for number in range(count):
            time.sleep(dice.random())
            heard = len(self.words(self.recorder))
            self._fill()
            time.sleep(SETTLED)
            if dice.random() < KILLED:
                tally.killed["archiver"] += 1
                self.deaths += 1
                self.recorder.kill()
                self.record()
            if self._becomes_durable(FULL * dice.random()):
                faults.append(f"time {number + 1}: something became durable on a full disk")
            if "free space" not in self.words(self.recorder)[heard:]:
                faults.append(f"time {number + 1}: a full disk was not reported")
            self._ballast.unlink()
            freed = time.monotonic()
            self.until(self.is_back, "it does not go on when there is room")
            waits.append(time.monotonic() - freed)
            if number % 10 == 9:
                say(f"{number + 1}/{count} times full")
        faults += self.finish(tally)
        faults += [f"{path.name} is half written" for path in self.state.rglob("*.draft*")]
        faults += [f"{path.name} was set aside" for path in self.state.rglob("*.spoilt-*")]
        return faults

    def _becomes_durable(self, wait: float) -> bool:
        """Return whether all journals grow within a wait [s] in which nothing frees space."""
        while True:
            while self._fill():
                time.sleep(SETTLED)
            before = self._sizes()
            self.mark()
            time.sleep(wait)
            grows, after = self.grows(), self._sizes()
            if all(after.get(path, 0) >= size for path, size in before.items()):
                return grows

    def _sizes(self) -> dict[Path, int]:
        """Return the sizes of all files on the disk."""
        sizes = {}
        for path in self.state.rglob("*"):
            with suppress(FileNotFoundError):  # a draft
                sizes[path] = path.stat().st_size
        return sizes

    def _fill(self) -> bool:
        """Write until nothing more goes in; return whether anything did."""
        begun = self._ballast.stat().st_size if self._ballast.exists() else 0
        with self._ballast.open("ab", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                try:
                    while file.write(b"x" * size) == size:
                        pass
                except OSError:
                    continue
        return self._ballast.stat().st_size > begun

    def close(self) -> None:
        """End all processes that still run, and give the disk back."""
        super().close()
        subprocess.run(["umount", "-l", str(self.state)], check=True)
