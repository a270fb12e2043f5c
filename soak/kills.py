"""Kill the service at random moments of a demo day; its promises must hold.

A day has at most `A_DAY` kills, and days have the seeds that follow the first. One kill in five
comes while the service is still starting from the one before.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from optimizer.demo.simulated_day import clear_retained
from soak.promises import broken_promises, schedules
from telemetry.messages import decode, topics
from telemetry.messages.samples import SimulationTick
from telemetry.messages.topics import TopicKind
from telemetry.mqtt.embedded_broker import EmbeddedBroker
from tests.support.service_processes import GLANCE, SITE, UNHURRIED, Ear, Heard, Stage, cpu_seconds

COUNT = 50
"""Kills of a soak by default."""

A_DAY = 50
"""Most kills of one day."""

QUARTERS = 4
"""Quarter-hours an hour."""

EARLY = 0.2
"""Share of kills that come while the service starts."""

REACH = {True: 4.0, False: 1.0}
"""Longest wait to a kill: from a start if it is early, or from the tick of a quarter-hour. [s]"""

READY = 5.0
"""Time within which a killed service promises to be ready again. [s]"""

HEARD = (
    TopicKind.SCHEDULE,
    TopicKind.FEED_STATUS,
    TopicKind.RACK_BATCH,
    TopicKind.TICK,
    TopicKind.DECISION,
)

type Say = Callable[[str], None]


@dataclass(frozen=True, order=True)
class Kill:
    """When to kill: so long after the tick of a step, or, if early, after the last start. [s]"""

    step: int
    wait: float
    is_early: bool


@dataclass
class Restarts:
    """What each start after a kill took until the service was ready. [s]"""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    interrupted: int = 0
    idle: int = 0

    def figures(self) -> dict[str, object]:
        """Return them in short."""
        counts = {
            "measured": len(self.wall),
            "killed_before": self.interrupted,
            "after_the_day": self.idle,
        }
        if not self.wall:
            return counts
        return counts | {
            "within_5_s": sum(wall <= READY for wall in self.wall),
            "median_s": round(statistics.median(self.wall), 2),
            "worst_s": round(max(self.wall), 2),
            "cpu_median_s": round(statistics.median(self.cpu), 2),
            "cpu_worst_s": round(max(self.cpu), 2),
        }


def run(count: int, *, seed: int, hours: float, broker: str | None, say: Say) -> dict[str, object]:
    """Kill so often, and return the figures."""
    begun = time.monotonic()
    steps = max(round(hours * QUARTERS), 1)
    restarts, days = Restarts(), []
    for number, done in enumerate(range(0, count, A_DAY)):
        moments = draw(min(A_DAY, count - done), steps=steps, seed=seed + number)
        with tempfile.TemporaryDirectory(prefix="soak-") as folder, _broker(broker) as url:
            day = _day(Path(folder), url, moments, steps=steps, say=say, restarts=restarts)
        days.append({"seed": seed + number, **day})
    return {
        "count": count,
        "broken": sum(len(day["broken"]) for day in days),
        "seeds_of_broken": [day["seed"] for day in days if day["broken"]],
        "seconds": round(time.monotonic() - begun, 1),
        "ready": restarts.figures(),
        "days": days,
    }


def draw(count: int, *, steps: int, seed: int) -> list[Kill]:
    """Return random moments of a day, in their order."""
    rng = np.random.default_rng(seed)
    at = np.sort(rng.choice(steps, count, replace=count > steps))
    early = rng.random(count) < EARLY
    waits = rng.uniform(0.0, 1.0, count)
    rows = zip(at.tolist(), early.tolist(), waits.tolist(), strict=True)
    return [
        Kill(step=step, is_early=is_early, wait=w * REACH[is_early]) for step, is_early, w in rows
    ]


@contextmanager
def _broker(url: str | None) -> Iterator[str]:
    """Yield the broker to use, without what an earlier day left on it."""
    with ExitStack() as stack:
        if url is None:
            yield stack.enter_context(EmbeddedBroker()).url
        else:
            clear_retained(url, SITE, clients=[f"gigatwin-{SITE}", f"plant-{SITE}"])
            yield url


def _day(
    folder: Path, url: str, moments: list[Kill], *, steps: int, say: Say, restarts: Restarts
) -> dict[str, list[str] | object]:
    """Run a day, kill the service at its moments, and return what came of it."""
    filters = [topics.topic_filter(kind, site=SITE) for kind in HEARD]
    with Stage(folder, url) as stage, Ear(url, *filters) as ear:
        stage.serve("--page", "0")
        stage.attend()
        stage.until_connected()
        stage.play(steps)
        for number, kill in enumerate(moments):
            _await(kill, stage, ear)
            stage.service.kill()
            stage.serve()
            say(f"{number + 1}/{len(moments)}: killed in step {_step(ear)} of {steps}")
            following = moments[number + 1] if number + 1 < len(moments) else None
            if following and following.is_early:
                restarts.interrupted += 1
                continue
            stage.until(lambda: not stage.missing() or _is_over(ear), UNHURRIED)
            if _is_over(ear):  # nothing is left to decide
                restarts.idle += 1
                continue
            restarts.wall.append(time.monotonic() - stage.begun)
            restarts.cpu.append(cpu_seconds(stage.service.pid))
            say(f"  ready after {restarts.wall[-1]:.2f} s, {restarts.cpu[-1]:.2f} s of processors")
        result = stage.result(UNHURRIED)
        stage.settle()
        stage.service.terminate()
        broken = list(broken_promises(stage, ear, result, steps=steps))
    for promise in broken:
        say(f"BROKEN: {promise}")
    sent = schedules(ear)
    return {
        "broken": broken,
        "kills": len(moments),
        "steps": steps,
        "schedules": len(sent),
        "repeated_word_for_word": sum(max(copies.values()) - 1 for copies in sent.values()),
        "rack_batches": len(ear.of(TopicKind.RACK_BATCH)),
        "refused_by_the_plant": result["messages"].get("refused", 0),
    }


def _await(kill: Kill, stage: Stage, ear: Ear) -> None:
    """Wait for the moment of a kill; the day may be over before."""
    moment = stage.begun
    if not kill.is_early:
        since = ear.now()
        moment = ear.until(lambda: _tick(ear, kill.step, since), UNHURRIED)
    while (left := moment + kill.wait - time.monotonic()) > 0.0:
        time.sleep(min(left, GLANCE))


def _tick(ear: Ear, step: int, since: float) -> float:
    """Return when the first tick of a step or a later one came that is new; 0 if none has. [s]"""
    found = [one.at for one in ear.of(TopicKind.TICK, since) if _read(one).step >= step]
    return found[0] if found else since * _is_over(ear)


def _read(heard: Heard) -> SimulationTick:
    tick = decode(heard.topic, heard.payload)
    if not isinstance(tick, SimulationTick):
        raise TypeError(heard.topic)
    return tick


def _step(ear: Ear) -> int:
    ticks = ear.of(TopicKind.TICK)
    return _read(ticks[-1]).step if ticks else 0


def _is_over(ear: Ear) -> bool:
    ticks = ear.of(TopicKind.TICK)
    return bool(ticks) and _read(ticks[-1]).is_last
