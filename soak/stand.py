"""A broker, a source and a recording under load, each of which can be killed.

Killed are the ingester of the hall, that of the plant, the archiver with all of them, the broker,
the source, and all at once. One kill in five comes before everything is back from the one before.
"""

import os
import random
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from soak import source
from soak.source import SITE
from soak.tally import Tally
from telemetry.ingest.recorder import PLANT_PARTITION
from tests.support import brokers
from tests.support.service_processes import GLANCE, Mortal
from tests.support.waiting import until

PATIENCE = 180.0
"""Longest wait for anything, on however slow a machine. [s]"""

REDELIVERED = 4.0
"""Time after which a broker has sent again what was not acknowledged: `ack_wait`, twice. [s]"""

EARLY = 0.2
"""Share of kills that come before all is back."""

LOAD = 1.0
"""Longest time under load before a kill. [s]"""

SHARDS = (source.HALL, PLANT_PARTITION)
TARGETS = {source.HALL: 6, PLANT_PARTITION: 2, "archiver": 4, "broker": 5, "source": 2, "all": 1}
"""Who is killed, and how often relative to the others."""

SYNCED = brokers.NATS.replace(
    'store_dir: "{folder}"', 'store_dir: "{folder}", sync_interval: always'
)
"""As in `deploy/nats`: without it, what was acknowledged last may be gone with the process."""

BROKERS = {
    "nats": partial(brokers.Broker, "nats-server", SYNCED),
    "mosquitto": partial(brokers.Broker, "mosquitto", brokers.WIDE),
}

type Say = Callable[[str], None]


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
        """Kill so often, then end; return what did not go well."""
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
        return self.finish(tally)

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

        NATS is started again: only this has 2.10 hand out most of what it was about to give to an
        ingester that was killed (ADR 022).
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
            faults.append(f"the recording ended with code {code}: {self.recorder.log_tail}")
        return faults

    # --- processes

    def record(self) -> None:
        """Start the recording."""
        words = ["telemetry", "record", SITE, "--broker", self.broker.url, "--hall", source.HALL]
        self._heard = len(self.words(self.recorder))
        words += ["--protocol", self.protocol, "--simulated", "--state", str(self.state)]
        self.recorder.start_gigatwin(words)

    def publish(self) -> None:
        """Start the source."""
        self.source.start_python(
            ["-m", "soak.source", self.broker.url, str(self.folder / "source")]
        )

    def _kill(self, target: str) -> None:
        """Kill a process; its supervisor starts it again at once."""
        self.mark()
        self.deaths += target in (PLANT_PARTITION, "archiver", "all")
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

        def is_so_in_life() -> bool:
            if is_so():
                return True
            for one in (self.recorder, self.source):
                if one.is_started and one.exit_code is not None:
                    message = f"{one.name} ended by itself: {one.log_tail}"
                    raise AssertionError(message)
            return False

        until(is_so_in_life, deadline=PATIENCE, what=fault, pause=GLANCE)

    @staticmethod
    def words(process: Mortal) -> str:
        """Return the log of a process."""
        return process.log.read_text(errors="replace") if process.log.exists() else ""

    def last_words(self) -> list[str]:
        """Return the ends of the logs."""
        return [f"{one.name}: {self.words(one)[-1500:]}" for one in (self.recorder, self.source)]

    def close(self) -> None:
        """End all processes that still run."""
        for one in (self.source, self.recorder):
            if one.is_started and one.exit_code is None:
                one.kill()
        self.broker.kill()
