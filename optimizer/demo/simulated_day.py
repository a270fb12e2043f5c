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
    traffic
        What went over the broker.
    plant_result
        What the plant came to, as ``gigatwin plant`` writes it.
    received_schedules
        Schedules that the partner has received, verified and taken. [1]
    other_policies
        Policy -> summary of what it would have done on the same plant; empty if that is not known.
    """

    broker: str
    page: str = ""
    traffic: BrokerTraffic = field(default_factory=BrokerTraffic)
    plant_result: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    received_schedules: int = 0
    other_policies: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


type DemoProgressCallback = Callable[[DemoRun], None]
"""Told again and again how far the day is."""


@contextmanager
def run_demo(
    config: DemoConfig, on_progress: DemoProgressCallback = lambda _: None
) -> Iterator[DemoRun]:
    """Run a day; the service stays up until the block is left.

    Parameters
    ----------
    config
        What to run.
    on_progress
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
    shutil.rmtree(config.folder, ignore_errors=True)
    state = config.folder / "state"
    name = config.site.name
    with ExitStack() as stack:
        broker = config.broker or stack.enter_context(EmbeddedBroker()).url
        _exchange_keys(state, config.folder)
        if config.broker:
            clear_retained(broker, name, clients=[f"gigatwin-{name}"])
        service = ChildProcess(config.folder, "service")
        service.start(["run", config.source, *_service_options(config, broker, state)])
        stack.callback(service.terminate)
        watcher = stack.enter_context(BrokerMonitor(broker, name))
        plant = ChildProcess(config.folder, "plant")
        plant.start(["plant", config.source, *_plant_options(config, broker)])
        stack.callback(plant.terminate)
        partner = ChildProcess(config.folder, "partner")
        keys = config.folder / f"{PARTNER_NAME}.keys.json"
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
        partner.run([str(PARTNER_SCRIPT), *options, "--json", str(config.folder / "partner.jsonl")])
        stack.callback(partner.terminate)
        others = ChildProcess(config.folder, "others")
        stack.callback(others.terminate)
        day = DemoRun(broker=broker, traffic=watcher.traffic)

        def look(day: DemoRun) -> None:
            on_progress(day)
            if day.traffic.first_accepted_at is not None and not others.is_started:
                others.run(_comparison(config))  # not before: it would delay the first schedule

        _wait_for_end(day, watcher, (service, plant, partner), demo=config, on_progress=look)
        plant.wait()
        day.plant_result = _read(config.folder / "result.json")
        day.other_policies = _compared(others, config.folder / OTHER_POLICIES_FILE)
        partner.terminate()
        day.received_schedules = _count_accepted(config.folder / "partner.jsonl")
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

    def start(self, arguments: Sequence[str]) -> None:
        """Start a sub-command of gigatwin."""
        self.run(["-m", "optimizer.cli", *arguments])

    def run(self, arguments: Sequence[str]) -> None:
        """Start Python; it ends with us at the latest."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
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
    def log_tail(self) -> str:
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
                self.fail(f"has not ended within {EXIT_TIMEOUT_S:g} s")

    def fail(self, why: str) -> NoReturn:
        """Raise ServiceError: say why the demo cannot go on, and the last words of this process."""
        remedy = f"{why}; its log ends with\n{self.log_tail}"
        raise ServiceError(
            "demo", [ValidationIssue(location=str(self.log), found="", remedy=remedy)]
        )

    def terminate(self) -> None:
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
        remedy = "its process ended without it; see the logs beside it"
        raise ServiceError(
            "demo", [ValidationIssue(location=str(path), found="", remedy=remedy)]
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
    on_progress: DemoProgressCallback,
) -> None:
    """Look until the plant has ended and every schedule is answered, or something is wrong."""
    moved, before = time.monotonic(), (-1, 0)
    page = demo.folder / "state" / "page.url"
    pause = max(STALL_TIMEOUT_S, 2.0 * 900.0 / demo.speed) if demo.speed else STALL_TIMEOUT_S
    while not _is_done(day.traffic):
        watcher.poll(POLL_INTERVAL_S)
        if not day.page and page.exists():
            day.page = page.read_text(encoding="utf-8")
        on_progress(day)
        for process in processes:
            if process.code is not None and not day.traffic.has_ended:
                process.fail(f"ended with code {process.code}")
        now = day.traffic.step, len(day.traffic.accepted)
        if now != before:
            moved, before = time.monotonic(), now
        if time.monotonic() - moved > pause:
            if day.traffic.has_ended:
                return
            processes[0].fail(f"nothing has moved for {pause:.0f} s")


def _is_done(traffic: BrokerTraffic) -> bool:
    """Return whether the plant has ended and the partner has answered every schedule."""
    return traffic.has_ended and len(traffic.accepted) + traffic.refused >= len(traffic.revisions)


EXIT_TIMEOUT_S: Final = 60.0
"""Longest wait for a process that should end by itself. [s]"""

TERMINATE_TIMEOUT_S: Final = 90.0
"""Longest wait for a process that was told to end, as `deploy/systemd` has it. [s]"""

LOG_TAIL_LINES: Final = 5
"""Lines of a log that an error shows. [1]"""
