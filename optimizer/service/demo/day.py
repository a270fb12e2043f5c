"""One simulated day over a real broker: started, watched, and ended whole."""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from optimizer.service.demo.process import Process
from optimizer.service.demo.sweep import sweep
from optimizer.service.demo.watcher import Seen, Watcher
from telemetry.feed.signing import create_partner_keys, load_or_create_key
from telemetry.files import write_atomic
from telemetry.mqtt.embedded_broker import EmbeddedBroker
from twin.errors import ServiceError, ValidationIssue
from twin.site import Site

PARTNER: Final = "tso-1"
"""Name of the demo's grid partner."""

EXAMPLE: Final = Path(__file__).parents[3] / "docs" / "examples" / "partner.py"
"""The sample partner; it is part of the source tree."""

PATIENCE: Final = 60.0
"""Longest silence of the plant before the demo is given up. [s]"""

GLANCE: Final = 0.1
"""Longest wait between two looks. [s]"""

OTHERS: Final = "others.json"
"""File of what other policies would have done."""


@dataclass(frozen=True, kw_only=True)
class Demo:
    """What a demo is told.

    Attributes
    ----------
    site
        The site.
    source
        Name of a declared site, or path of a file: where the processes find it.
    folder
        Where state, logs and results go; what an earlier demo left there is removed.
    broker
        URL of a broker, or None for one of our own.
    steps
        Quarter-hours to run. [1]
    speed
        Simulated seconds a wall second; None for as fast as decisions come. [1]
    page_port
        Port of the page; 0 takes a free one.
    seed
        Seed of the plant's hidden nature.
    """

    site: Site
    source: str
    folder: Path
    broker: str | None = None
    steps: int = 96
    speed: float | None = None
    page_port: int = 0
    seed: int = 0


@dataclass
class Day:
    """A demo that runs, or has run.

    Attributes
    ----------
    broker, page
        Where they are.
    seen
        What went over the broker.
    plant
        What the plant came to, as ``gigatwin plant`` writes it.
    received
        Schedules that the partner has received, verified and taken. [1]
    others
        Policy -> summary of what it would have done on the same plant; empty if that is not known.
    """

    broker: str
    page: str = ""
    seen: Seen = field(default_factory=Seen)
    plant: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    received: int = 0
    others: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


type Listener = Callable[[Day], None]
"""Told again and again how far the day is."""


@contextmanager
def run_day(demo: Demo, listen: Listener = lambda _: None) -> Iterator[Day]:
    """Run a day; the service stays up until the block is left.

    Parameters
    ----------
    demo
        What to run.
    listen
        Told of progress.

    Yields
    ------
    Day
        When the plant has ended.

    Raises
    ------
    BrokerError
        If the broker cannot be reached.
    ServiceError
        If a process ends early or nothing moves any more; its last words are told.
    """
    shutil.rmtree(demo.folder, ignore_errors=True)
    state = demo.folder / "state"
    name = demo.site.name
    with ExitStack() as stack:
        broker = demo.broker or stack.enter_context(EmbeddedBroker()).url
        _introduce(state, demo.folder)
        if demo.broker:
            sweep(broker, name, clients=[f"gigatwin-{name}"])
        service = Process(demo.folder, "service")
        service.start(["run", demo.source, *_service_options(demo, broker, state)])
        stack.callback(service.end)
        watcher = stack.enter_context(Watcher(broker, name))
        plant = Process(demo.folder, "plant")
        plant.start(["plant", demo.source, *_plant_options(demo, broker)])
        stack.callback(plant.end)
        partner = Process(demo.folder, "partner")
        keys = demo.folder / f"{PARTNER}.keys.json"
        options = ["--broker", broker, "--site", name, "--partner", PARTNER, "--keys", str(keys)]
        partner.run([str(EXAMPLE), *options, "--json", str(demo.folder / "partner.jsonl")])
        stack.callback(partner.end)
        others = Process(demo.folder, "others")
        stack.callback(others.end)
        day = Day(broker=broker, seen=watcher.seen)

        def look(day: Day) -> None:
            listen(day)
            if day.seen.first is not None and not others.is_started:
                others.run(_comparison(demo))  # not before: it would delay the first schedule

        _watch(day, watcher, (service, plant, partner), demo=demo, listen=look)
        plant.wait()
        day.plant = _read(demo.folder / "result.json")
        day.others = _compared(others, demo.folder / OTHERS)
        partner.end()
        day.received = _taken(demo.folder / "partner.jsonl")
        yield day


def _comparison(demo: Demo) -> list[str]:
    numbers = str(demo.steps), str(demo.seed)
    module = "optimizer.service.demo.compare"
    return ["-m", module, demo.source, *numbers, str(demo.folder / OTHERS)]


def _compared(others: Process, path: Path) -> Mapping[str, Mapping[str, float]]:
    """Return what other policies would have done; if that failed, the day stands alone."""
    try:
        others.wait()
        return _read(path)
    except ServiceError:
        return {}


def _read(path: Path) -> dict[str, Mapping[str, float]]:
    """Return the object of a file that a process of ours has written."""
    try:
        content: dict[str, Mapping[str, float]] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        mend = "its process ended without it; see the logs beside it"
        raise ServiceError(
            "demo", [ValidationIssue(place=str(path), value="", mend=mend)]
        ) from error
    return content


def _introduce(state: Path, folder: Path) -> None:
    """Give service and partner each other's public keys."""
    site = load_or_create_key(state / "keys")
    public = create_partner_keys(folder / f"{PARTNER}.keys.json", partner=PARTNER, site=site)
    write_atomic(state / "keys" / "partners" / f"{PARTNER}.json", json.dumps(public))


def _service_options(demo: Demo, broker: str, state: Path) -> list[str]:
    port = str(demo.page_port)
    return ["--broker", broker, "--clock", "simulated", "--state", str(state), "--page", port]


def _plant_options(demo: Demo, broker: str) -> list[str]:
    options = ["--broker", broker, "--steps", str(demo.steps), "--seed", str(demo.seed)]
    if demo.speed is not None:
        options += ["--speed", str(demo.speed)]
    return [*options, "--out", str(demo.folder)]


def _taken(path: Path) -> int:
    """Return how many schedules the partner says it has taken. [1]"""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    answers = map(json.loads, lines)
    return len({answer["revision"] for answer in answers if answer["code"] == "A01"})


def _watch(
    day: Day,
    watcher: Watcher,
    processes: Sequence[Process],
    *,
    demo: Demo,
    listen: Listener,
) -> None:
    """Look until the plant has ended and every schedule is answered, or something is wrong."""
    moved, before = time.monotonic(), (-1, 0)
    page = demo.folder / "state" / "page.url"
    pause = max(PATIENCE, 2.0 * 900.0 / demo.speed) if demo.speed else PATIENCE
    while not _is_done(day.seen):
        watcher.look(GLANCE)
        if not day.page and page.exists():
            day.page = page.read_text(encoding="utf-8")
        listen(day)
        for process in processes:
            if process.code is not None and not day.seen.is_over:
                process.give_up(f"ended with code {process.code}")
        now = day.seen.step, len(day.seen.accepted)
        if now != before:
            moved, before = time.monotonic(), now
        if time.monotonic() - moved > pause:
            if day.seen.is_over:
                return
            processes[0].give_up(f"nothing has moved for {pause:.0f} s")


def _is_done(seen: Seen) -> bool:
    """Return whether the plant has ended and the partner has answered every schedule."""
    return seen.is_over and len(seen.accepted) + seen.refused >= len(seen.revisions)
