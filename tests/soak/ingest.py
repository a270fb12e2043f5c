"""Kill whoever brings telemetry into the archive, under load, and read back what was published.

A run has up to `A_RUN` kills, by turns with NATS as it is and with Mosquitto, whose acknowledged
messages only the source's outbox brings back. Killed are the ingester of the hall, that of the
plant, the archiver with all of them, the broker, the source, and all at once. One kill in five
comes before everything is back from the one before.
"""

import os
import random
import shutil
import signal
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from telemetry.archive import open as open_archive
from telemetry.archive.verifying import verify
from telemetry.shards.recording import PLANT
from tests import brokers
from tests.soak import source
from tests.soak.source import CHIPS, POINT, RACKS, SITE, START, read_numbers
from tests.stage import GLANCE, Mortal
from twin.errors import GigatwinError

COUNT = 1000
"""Kills of a soak unless told otherwise."""

A_RUN = 50
"""Most kills of one run."""

READY = 5.0
"""Time within which what was killed promises to be ready again. [s]"""

PATIENCE = 180.0
"""Longest wait for anything, on however slow a machine. [s]"""

REDELIVERED = 4.0
"""Time after which a broker has sent again what was not acknowledged: `ack_wait`, twice. [s]"""

EARLY = 0.2
"""Share of kills that come before all is back."""

LOAD = 1.0
"""Longest time under load before a kill. [s]"""

SHARDS = (source.HALL, PLANT)
TARGETS = {source.HALL: 6, PLANT: 2, "archiver": 4, "broker": 5, "source": 2, "all": 1}
"""Who is killed, and how often relative to the others."""

INFLIGHT = "max_inflight_messages 1000\n"
"""As in `deploy/mosquitto`: with the 20 of its default, a few hundred messages pass. [1/s]"""

SYNCED = brokers.NATS.replace(
    'store_dir: "{folder}"', 'store_dir: "{folder}", sync_interval: always'
)
"""As in `deploy/nats`: without it, what was acknowledged last may be gone with the process."""

BROKERS = {
    "nats": partial(brokers.Broker, "nats-server", SYNCED),
    "mosquitto": partial(brokers.Broker, "mosquitto", brokers.MOSQUITTO + INFLIGHT),
}

FORGETFUL = "Version:  2.10."
"""What a NATS writes at its start that may keep back a point for ever."""

type Say = Callable[[str], None]


@dataclass
class Tally:
    """What the runs came to."""

    faults: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    killed: Counter = field(default_factory=Counter)
    ready: dict[str, list[float]] = field(default_factory=dict)
    samples: int = 0
    again: int = 0
    points: int = 0
    points_gone: int = 0
    points_kept: int = 0

    def judge(self, stand: "Stand", play: Callable[[], list[str]], seed: int, *, say: Say) -> bool:
        """Play a run to its end, take down what did not go well, and tell whether all did."""
        try:
            faults = play()
        except Exception as error:  # whatever it is, it is a finding and not the end
            faults = [repr(error), *stand.last_words()]
        finally:
            stand.close()
        for fault in faults:
            self.faults.append(f"{stand.name}, seed {seed}: {fault}")
            say(f"BROKEN: {self.faults[-1]}")
        self.seeds += [seed] * bool(faults)
        return not faults

    def figures(self) -> dict[str, object]:
        """Return them in short."""
        found: dict[str, object] = {
            "killed": dict(self.killed),
            "batches_read_back": self.samples,
            "batches_sent_again": self.again,
            "acknowledged_points": self.points,
            "points_that_mosquitto_lost": self.points_gone,
            "points_that_nats_kept_back": self.points_kept,
            "faults": self.faults,
        }
        for target, times in self.ready.items():
            found[f"ready_{target}"] = {
                "measured": len(times),
                "within_5_s": sum(one <= READY for one in times),
                "median_s": round(statistics.median(times), 2),
                "worst_s": round(max(times), 2),
            }
        return found


def run(count: int, *, seed: int, say: Say) -> dict[str, object]:
    """Kill so often, and return the figures; each run has a seed of its own."""
    begun, tally = time.monotonic(), Tally()
    for number, (done, kills) in enumerate(parts(count)):
        name = list(BROKERS)[number % len(BROKERS)]
        folder = Path(tempfile.mkdtemp(prefix="soak-"))
        stand = Stand(folder, name)
        say(f"run {number + 1} with {name}, seed {seed + number}, kills from {done + 1}")
        dice = random.Random(seed + number)
        if tally.judge(
            stand, partial(stand.play, kills, dice, tally, say=say), seed + number, say=say
        ):
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


def parts(count: int) -> list[tuple[int, int]]:
    """Return how many kills go before each run, and how many it has; both brokers get theirs."""
    runs = max(-(-count // A_RUN), min(len(BROKERS), count))
    edges = [count * number // runs for number in range(runs + 1)]
    return [(first, last - first) for first, last in pairwise(edges)]


class Stand:
    """A broker, a source and a recording, each of which can be killed.

    Parameters
    ----------
    folder
        Where all of them keep what they keep.
    broker
        Name of a broker.
    """

    def __init__(self, folder: Path, broker: str) -> None:
        self.folder, self.name = folder, broker
        self.state = folder / "state"
        for name in ("broker", "source"):
            (folder / name).mkdir()
        self.broker = BROKERS[broker](folder / "broker")
        self.recorder = Mortal(folder, "recorder")
        self.source = Mortal(folder, "source")
        self.protocol = "3.1.1"
        self.deaths = 0
        self._heard = 0
        self._ends = [("", 0) for _ in SHARDS]

    def play(self, kills: int, dice: random.Random, tally: Tally, *, say: Say) -> list[str]:
        """Kill so often; return the promises that did not hold."""
        self.begin(dice)
        for number in range(kills):
            time.sleep(LOAD * dice.random())
            (target,) = dice.choices(list(TARGETS), TARGETS.values())
            tally.killed[target] += 1
            self._kill(target)
            begun = time.monotonic()
            if dice.random() < EARLY and number + 1 < kills:
                continue
            self.until(self.is_back, f"not back after {target} was killed")
            if target != "source":
                tally.ready.setdefault(target, []).append(time.monotonic() - begun)
            if number % 10 == 9:
                say(f"  {number + 1}/{kills} kills")
        return [*self.finish(tally), *self.check(tally)]

    def begin(self, dice: random.Random) -> None:
        """Start all, and wait until what is published becomes durable."""
        self.protocol = "3.1.1" if self.name == "nats" else dice.choice(("3.1.1", "5"))
        self.broker.start()
        self.record()
        self.until(self._listens, "the recording does not begin")
        self.publish()
        self.until(self.grows, "nothing is recorded")

    def _published(self) -> int:
        """Return how long the source's list of what it has published is: it lives if that grows."""
        path = self.folder / "source" / "published"
        return path.stat().st_size if path.exists() else 0

    def mark(self) -> None:
        """Take down where the journals end."""
        self._ends = self._journaled()

    def finish(self, tally: Tally) -> list[str]:
        """Let the source deliver all it holds, then end; return what did not go well.

        NATS is started anew: only this has 2.10 hand out most of what it was about to give to an
        ingester that was killed (ADR 049).
        """
        self.until(self.is_back, "not back after the last kill")
        if self.name == "nats":
            self._kill("broker")
            self.until(self.is_back, "not back after the broker was restarted")
        before = self._published()
        self.until(lambda: self._published() > before, "the source publishes no more")
        os.kill(self.source.pid, signal.SIGTERM)
        self.source.await_end(10 * PATIENCE)
        left, again = (int(word) for word in (self.folder / "source" / "left").read_text().split())
        tally.again += again
        time.sleep(REDELIVERED)  # what NATS holds for an ingester that was killed comes meanwhile
        os.kill(self.recorder.pid, signal.SIGTERM)
        code = self.recorder.await_end(PATIENCE)
        faults = [f"the source still holds {left} B that never became durable"] * bool(left)
        if code:
            faults.append(f"the recording ended with code {code}: {self.recorder.last_words}")
        return faults

    def check(self, tally: Tally) -> list[str]:
        """Read back all that was published; return what is not as it was."""
        try:
            lost = verify(self.state / "archive").lost
            faults = [f"spoilt in the archive: {one}" for one in lost[:3]]
            return faults + self._check_batches(tally) + self._check_points(tally)
        except GigatwinError as error:
            return [f"the archive does not open: {error}"]

    def _check_batches(self, tally: Tally) -> list[str]:
        published = np.array(sorted(set(read_numbers(self.folder / "source" / "published"))))
        chips = open_archive(SITE, group="racks", root=self.state).load()
        seconds = _seconds(chips["time"].values)
        racks = np.array([int(str(label)[-4:]) - 1 for label in chips["rack"].values])
        if sorted(racks.tolist()) != list(range(RACKS)):
            return [f"of {RACKS} racks there are {len(racks)}"]
        faults = []
        absent = np.setdiff1d(published, seconds)
        if len(absent):
            faults.append(f"{len(absent)} published seconds are absent, the first {absent[0]}")
        strange = np.setdiff1d(seconds, [*published, int(published[-1]) + 1])
        if len(strange) > tally.killed["source"] + tally.killed["all"]:
            faults.append(f"{len(strange)} seconds that nobody published")
        here = np.isin(seconds, published)
        expected = source.value(
            seconds[here, None, None], racks[None, :, None], np.arange(CHIPS)[None, None, :]
        )
        for name, add in (("power", 0.0), ("temperature", 0.5)):
            read = chips[name].transpose("time", "rack", "chip").values[here]
            wrong = ~(read == expected + np.float32(add)).all(axis=2)
            if wrong.any():
                at, rack = np.argwhere(wrong)[0].tolist()
                faults.append(
                    f"{name} of {int(wrong.sum())} batches is not what was published, the first of"
                    f" rack {racks[rack] + 1} in second {seconds[here][at]}"
                )
        tally.samples += int(here.sum()) * RACKS
        return faults

    def _check_points(self, tally: Tally) -> list[str]:
        """Hold against the archive the readings that a broker has acknowledged."""
        told = sorted(set(read_numbers(self.folder / "source" / "points")))
        tally.points += len(told)
        points = open_archive(SITE, group="points", root=self.state).load()
        values = points["value"].sel(point=POINT).dropna("time")
        kept = dict(zip(_seconds(values["time"].values).tolist(), values.values, strict=True))
        faults = [f"a point is wrong in second {at}" for at, one in kept.items() if one != at][:3]
        gone = [second for second in told if second not in kept]
        if self.name == "mosquitto":
            tally.points_gone += len(gone)
        elif len(gone) <= self._may_keep():
            tally.points_kept += len(gone)
        else:
            faults.append(
                f"{len(gone)} acknowledged points are lost, the first of second {gone[0]}"
            )
        return faults

    def _may_keep(self) -> int:
        """Return how many points NATS may have kept back: 2.10 one a death of their ingester.

        It was about to hand them to whom was killed, and knows of them no more (ADR 049).
        """
        log = self.broker.folder / "log"
        said = log.read_text(errors="replace") if log.exists() else ""
        return self.deaths if FORGETFUL in said else 0

    # --- processes

    def record(self) -> None:
        """Start the recording."""
        words = ["telemetry", "record", SITE, "--broker", self.broker.url, "--hall", source.HALL]
        self._heard = len(self.words(self.recorder))
        words += ["--protocol", self.protocol, "--simulated", "--state", str(self.state)]
        self.recorder.start(words)

    def publish(self) -> None:
        """Start the source."""
        self.source.run(["-m", "tests.soak.source", self.broker.url, str(self.folder / "source")])

    def _kill(self, target: str) -> None:
        """Kill someone; whoever would start him again does so at once."""
        self.mark()
        self.deaths += target in (PLANT, "archiver", "all")
        if target in SHARDS and (pid := self._ingester(target)) is not None:
            os.kill(pid, signal.SIGKILL)
        if target in ("archiver", "all"):
            self.recorder.kill()
        if target in ("broker", "all"):
            self.broker.kill()
            self.broker.start()
        if target in ("source", "all"):
            self.source.kill()
            self.publish()
        if target in ("archiver", "all"):
            self.record()

    def _ingester(self, target: str) -> int | None:
        """Return the process of an ingester; None if it is not there just now."""
        folder = f"journals/{target}"
        for one in Path(f"/proc/{self.recorder.pid}/task").glob("*/children"):
            for pid in one.read_text().split():
                try:
                    held = [str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir()]
                except OSError:
                    continue
                if any(folder in name for name in held):
                    return int(pid)
        return None

    def _journaled(self) -> list[tuple[str, int]]:
        """Return where each journal ends: segment and offset."""
        ends = []
        for shard in SHARDS:
            segments = sorted((self.state / "journals" / shard).glob("*.journal"))
            ends.append((segments[-1].name, segments[-1].stat().st_size) if segments else ("", 0))
        return ends

    def _listens(self) -> bool:
        """Whether the archiver follows and both ingesters are let in."""
        words = self.words(self.recorder)[self._heard :]
        return "archiving" in words and words.count("listening") >= len(SHARDS)

    def grows(self) -> bool:
        """Whether all journals have grown since the last mark."""
        now = zip(self._journaled(), self._ends, strict=True)
        return all(after > before for after, before in now)

    def is_back(self) -> bool:
        """Whether what is published becomes durable, and the archiver follows."""
        return self.grows() and "archiving" in self.words(self.recorder)[self._heard :]

    def until(self, is_so: Callable[[], bool], fault: str) -> None:
        """Wait until something is so; a process that ended by itself is a fault."""
        deadline = time.monotonic() + PATIENCE
        while not is_so():
            for one in (self.recorder, self.source):
                if one.is_started and one.code is not None:
                    message = f"{one.name} ended by itself: {one.last_words}"
                    raise AssertionError(message)
            if time.monotonic() > deadline:
                raise AssertionError(fault)
            time.sleep(GLANCE)

    @staticmethod
    def words(process: Mortal) -> str:
        """Return the log of a process."""
        return process.log.read_text(errors="replace") if process.log.exists() else ""

    def last_words(self) -> list[str]:
        """Return the ends of the logs."""
        return [f"{one.name}: {self.words(one)[-1500:]}" for one in (self.recorder, self.source)]

    def close(self) -> None:
        """End whoever still runs."""
        for one in (self.source, self.recorder):
            if one.is_started and one.code is None:
                one.kill()
        self.broker.kill()


def _seconds(times: np.ndarray) -> np.ndarray:
    """Return times as whole seconds since the start."""
    return ((times - START.astype("datetime64[ns]")) / np.timedelta64(1, "s")).astype(np.int64)
