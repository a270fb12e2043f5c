"""One simulated day over a real broker: started, watched, and ended whole.

A process of the demo, with its own log.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn

from optimizer.demo.broker_monitor import BrokerMonitor, BrokerTraffic, clear_retained
from telemetry.feed.signing import create_partner_keys, load_or_create_key
from telemetry.files import write_atomic
from telemetry.mqtt.embedded_broker import EmbeddedBroker
from twin.errors import ServiceError, ValidationIssue
from twin.site import Site

PARTNER_NAME: Final = "tso-1"
"""Name of the demo's grid partner."""

PARTNER_SCRIPT: Final = Path(__file__).parents[2] / "docs" / "examples" / "partner.py"
"""The sample partner; it is part of the source tree."""

STALL_TIMEOUT_S: Final = 60.0
"""Longest silence of the plant before the demo is given up. [s]"""

POLL_INTERVAL_S: Final = 0.1
"""Longest wait between two looks. [s]"""

OTHER_POLICIES_FILE: Final = "others.json"
"""File of what other policies would have done."""


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
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
class DemoRun:
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
    seen: BrokerTraffic = field(default_factory=BrokerTraffic)
    plant: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    received: int = 0
    others: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


type DemoProgressCallback = Callable[[DemoRun], None]
"""Told again and again how far the day is."""


@contextmanager
def run_demo(demo: DemoConfig, listen: DemoProgressCallback = lambda _: None) -> Iterator[DemoRun]:
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
        _exchange_keys(state, demo.folder)
        if demo.broker:
            clear_retained(broker, name, clients=[f"gigatwin-{name}"])
        service = ChildProcess(demo.folder, "service")
        service.start(["run", demo.source, *_service_options(demo, broker, state)])
        stack.callback(service.end)
        watcher = stack.enter_context(BrokerMonitor(broker, name))
        plant = ChildProcess(demo.folder, "plant")
        plant.start(["plant", demo.source, *_plant_options(demo, broker)])
        stack.callback(plant.end)
        partner = ChildProcess(demo.folder, "partner")
        keys = demo.folder / f"{PARTNER_NAME}.keys.json"
        options = [
            "--broker",
            broker,
            "--site",
            name,
            "--partner",
            PARTNER_NAME,
            "--keys",
            str(keys),
        ]
        partner.run([str(PARTNER_SCRIPT), *options, "--json", str(demo.folder / "partner.jsonl")])
        stack.callback(partner.end)
        others = ChildProcess(demo.folder, "others")
        stack.callback(others.end)
        day = DemoRun(broker=broker, seen=watcher.seen)

        def look(day: DemoRun) -> None:
            listen(day)
            if day.seen.first is not None and not others.is_started:
                others.run(_comparison(demo))  # not before: it would delay the first schedule

        _wait_for_end(day, watcher, (service, plant, partner), demo=demo, listen=look)
        plant.wait()
        day.plant = _read(demo.folder / "result.json")
        day.others = _compared(others, demo.folder / OTHER_POLICIES_FILE)
        partner.end()
        day.received = _count_accepted(demo.folder / "partner.jsonl")
        yield day


def _comparison(demo: DemoConfig) -> list[str]:
    numbers = str(demo.steps), str(demo.seed)
    module = "optimizer.demo.simulated_plant"
    return ["-m", module, demo.source, *numbers, str(demo.folder / OTHER_POLICIES_FILE)]


class ChildProcess:
    """A process of the demo.

    Parameters
    ----------
    folder
        Where its log goes.
    name
        What its log is called.
    """

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name, self.log = name, folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, words: Sequence[str]) -> None:
        """Start a sub-command of gigatwin."""
        self.run(["-m", "optimizer.cli", *words])

    def run(self, words: Sequence[str]) -> None:
        """Start Python; it ends with us at the latest."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    @property
    def is_started(self) -> bool:
        """Whether it was started."""
        return self._process is not None

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return None if self._process is None else self._process.poll()

    @property
    def last_words(self) -> str:
        """The end of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])

    def wait(self) -> None:
        """Wait until it has ended by itself.

        Raises
        ------
        ServiceError
            If it does not; its last words are told.
        """
        if self._process is not None:
            try:
                self._process.wait(EXIT_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.give_up(f"has not ended within {EXIT_TIMEOUT_S:g} s")

    def give_up(self, why: str) -> NoReturn:
        """Raise ServiceError: say why the demo cannot go on, and the last words of this process."""
        mend = f"{why}; its log ends with\n{self.last_words}"
        raise ServiceError("demo", [ValidationIssue(place=str(self.log), value="", mend=mend)])

    def end(self) -> None:
        """End it, politely first."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(TERMINATE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _compared(others: ChildProcess, path: Path) -> Mapping[str, Mapping[str, float]]:
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


def _exchange_keys(state: Path, folder: Path) -> None:
    """Give service and partner each other's public keys."""
    site = load_or_create_key(state / "keys")
    public = create_partner_keys(
        folder / f"{PARTNER_NAME}.keys.json", partner=PARTNER_NAME, site=site
    )
    write_atomic(state / "keys" / "partners" / f"{PARTNER_NAME}.json", json.dumps(public))


def _service_options(demo: DemoConfig, broker: str, state: Path) -> list[str]:
    port = str(demo.page_port)
    return ["--broker", broker, "--clock", "simulated", "--state", str(state), "--page", port]


def _plant_options(demo: DemoConfig, broker: str) -> list[str]:
    options = ["--broker", broker, "--steps", str(demo.steps), "--seed", str(demo.seed)]
    if demo.speed is not None:
        options += ["--speed", str(demo.speed)]
    return [*options, "--out", str(demo.folder)]


def _count_accepted(path: Path) -> int:
    """Return how many schedules the partner says it has taken. [1]"""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    answers = map(json.loads, lines)
    return len({answer["revision"] for answer in answers if answer["code"] == "A01"})


def _wait_for_end(
    day: DemoRun,
    watcher: BrokerMonitor,
    processes: Sequence[ChildProcess],
    *,
    demo: DemoConfig,
    listen: DemoProgressCallback,
) -> None:
    """Look until the plant has ended and every schedule is answered, or something is wrong."""
    moved, before = time.monotonic(), (-1, 0)
    page = demo.folder / "state" / "page.url"
    pause = max(STALL_TIMEOUT_S, 2.0 * 900.0 / demo.speed) if demo.speed else STALL_TIMEOUT_S
    while not _is_done(day.seen):
        watcher.look(POLL_INTERVAL_S)
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


def _is_done(seen: BrokerTraffic) -> bool:
    """Return whether the plant has ended and the partner has answered every schedule."""
    return seen.is_over and len(seen.accepted) + seen.refused >= len(seen.revisions)


EXIT_TIMEOUT_S: Final = 60.0
"""Longest wait for a process that should end by itself. [s]"""

TERMINATE_TIMEOUT_S: Final = 90.0
"""Longest wait for a process that was told to end, as `deploy/systemd` has it. [s]"""

LOG_TAIL_LINES: Final = 5
"""Lines of a log that an error shows. [1]"""
