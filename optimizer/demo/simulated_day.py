"""One simulated day over a real broker: start, watch and end the processes, and count messages."""

import base64
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
from typing import Final, NoReturn, Self

import numpy as np

from telemetry.durable_files import write_atomic
from telemetry.feed.signing import create_partner_keys, load_or_create_key
from telemetry.messages import decode, topics
from telemetry.messages.feed_documents import Acknowledgement, read_acknowledgement, read_schedule
from telemetry.messages.samples import Sample, SimulationTick
from telemetry.messages.topics import TopicKind
from telemetry.mqtt.client import CONNECT_TIMEOUT_S, Client, TlsFiles
from telemetry.mqtt.embedded_broker import EmbeddedBroker
from telemetry.mqtt.queues import ReceivedMessage
from twin.errors import GigatwinError, IssueCode, ServiceError
from twin.site import Site

PARTNER_NAME: Final = "tso-1"
"""Name of the config's grid partner."""

PARTNER_SCRIPT: Final = Path(__file__).parents[2] / "docs" / "examples" / "partner.py"
"""The sample partner; it is part of the source tree."""

STALL_TIMEOUT_S: Final = 60.0
"""Longest time without progress of the plant. [s]"""

MESSAGE_POLL_INTERVAL_S: Final = 0.1
"""Longest wait for a message between two checks. [s]"""

OTHER_POLICIES_FILE: Final = "others.json"

DEMO_EXIT_TIMEOUT_S: Final = 60.0
"""Timeout of a process that should end by itself. [s]"""

TERMINATE_TIMEOUT_S: Final = 90.0
"""Timeout of a process after SIGTERM, as in `deploy/systemd`. [s]"""

LOG_TAIL_LINES: Final = 5
"""Lines of a log that an error shows. [1]"""


RETAINED_MESSAGES_QUIET_TIME_S: Final = 0.5
"""Time without a message after which all retained ones count as received. [s]"""


@dataclass
class BrokerTraffic:
    """Messages seen on the broker.

    - `published_revisions`, `accepted_revisions`: revisions of published schedules, and of those
      acknowledged with A01.
    - `refusal_count`: acknowledgements with A02. [1]
    - `first_accepted_at`: time of the first A01 since 1970; None before. [s]
    - `plant_interval`, `interval_count`: interval that the plant has reached, and their total.
    - `scheduled_net_import`: net import of the first interval of the last schedule. [MW]
    - `schedule_source`: source of the last schedule: ``optimum`` or a fallback.
    """

    published_revisions: set[int] = field(default_factory=set)
    accepted_revisions: set[int] = field(default_factory=set)
    refusal_count: int = 0
    first_accepted_at: float | None = None
    plant_interval: int = 0
    interval_count: int = 0
    time: np.datetime64 = field(default_factory=lambda: np.datetime64("NaT", "us"))
    scheduled_net_import: float | None = None
    schedule_source: str = ""
    has_ended: bool = False


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Settings of a demo.

    - `site_name_or_file`: name of a declared site, or path of its file, for the processes.
    - `folder`: folder for state, logs and results; an earlier demo in it is removed.
    - `interval_count`: quarter-hours to run. [1]
    - `speed`: simulated seconds per second; None for the fastest speed. [1]
    - `page_port`: port of the status page; 0 takes a free one.
    - `allow_cleartext`: whether ``mqtt://`` to another machine is allowed.
    """

    site: Site
    site_name_or_file: str
    folder: Path
    broker: str | None = None
    interval_count: int = 96
    speed: float | None = None
    page_port: int = 0
    allow_cleartext: bool = False


@dataclass
class DemoRun:
    """A demo that runs, or has run.

    - `plant_result`: result of ``gigatwin plant``.
    - `received_schedule_count`: schedules that the partner received, verified and accepted. [1]
    - `other_policies`: policy -> its summary on the same plant; empty if unknown.
    """

    broker: str
    page_url: str = ""
    traffic: BrokerTraffic = field(default_factory=BrokerTraffic)
    plant_result: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    received_schedule_count: int = 0
    other_policies: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


type DemoProgressCallback = Callable[[DemoRun], None]
"""Called repeatedly while the day runs."""


@contextmanager
def run_demo(
    config: DemoConfig, on_progress: DemoProgressCallback = lambda _: None
) -> Iterator[DemoRun]:
    """Run a day and yield its result; the service stays up until the block is left.

    Raises BrokerError if the broker cannot be reached. Raises ServiceError if a process ends early
    or stalls; the text shows the end of its log.
    """
    shutil.rmtree(config.folder, ignore_errors=True)
    state = config.folder / "state"
    name = config.site.name
    with ExitStack() as stack:
        broker = config.broker or stack.enter_context(EmbeddedBroker()).url
        _exchange_keys(state, config.folder)
        tls = TlsFiles(allow_cleartext=config.allow_cleartext)
        if config.broker:
            clear_retained(broker, name, clients=[f"gigatwin-{name}"], tls=tls)
        service = ChildProcess(config.folder, "service")
        service.start_gigatwin(
            ["run", config.site_name_or_file, *_service_options(config, broker, state)]
        )
        stack.callback(service.terminate)
        monitor = stack.enter_context(BrokerMonitor(broker, name, tls=tls))
        plant = ChildProcess(config.folder, "plant")
        plant.start_gigatwin(["plant", config.site_name_or_file, *_plant_options(config, broker)])
        stack.callback(plant.terminate)
        partner = ChildProcess(config.folder, "partner")
        keys = config.folder / f"{PARTNER_NAME}.keys.json"
        options = ["--broker", broker, "--site", name, "--partner", PARTNER_NAME]
        options += ["--keys", str(keys), "--json", str(config.folder / "partner.jsonl")]
        partner.start_python([str(PARTNER_SCRIPT), *options])
        stack.callback(partner.terminate)
        others = ChildProcess(config.folder, "others")
        stack.callback(others.terminate)
        day = DemoRun(broker=broker, traffic=monitor.traffic)

        def check_progress(day: DemoRun) -> None:
            on_progress(day)
            if day.traffic.first_accepted_at is not None and not others.is_started:
                # not earlier: it would delay the first schedule
                module, steps = "optimizer.demo.plant_run", str(config.interval_count)
                output = str(config.folder / OTHER_POLICIES_FILE)
                others.start_python(["-m", module, config.site_name_or_file, steps, output])

        _wait_for_end(
            day, monitor, (service, plant, partner), config=config, on_progress=check_progress
        )
        plant.wait()
        day.plant_result = _read(config.folder / "result.json")
        day.other_policies = _read_comparison(others, config.folder / OTHER_POLICIES_FILE)
        partner.terminate()
        day.received_schedule_count = _count_accepted(config.folder / "partner.jsonl")
        yield day


class ChildProcess:
    """A process of the demo, with a log of its name in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name, self.log = name, folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start_gigatwin(self, arguments: Sequence[str]) -> None:
        """Start a sub-command of gigatwin."""
        self.start_python(["-m", "optimizer.cli", *arguments])

    def start_python(self, arguments: Sequence[str]) -> None:
        """Start Python with arguments; the process has a session of its own."""
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
        """Whether the process was started."""
        return self._process is not None

    @property
    def exit_code(self) -> int | None:
        """Exit code; None while the process runs."""
        return None if self._process is None else self._process.poll()

    @property
    def log_tail(self) -> str:
        """Last lines of the log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])

    def wait(self) -> None:
        """Wait until the process has ended by itself.

        Raises ServiceError if it has not ended after :data:`DEMO_EXIT_TIMEOUT_S`.
        """
        if self._process is not None:
            try:
                self._process.wait(DEMO_EXIT_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.raise_failure(f"has not ended within {DEMO_EXIT_TIMEOUT_S:g} s")

    def raise_failure(self, reason: str) -> NoReturn:
        """Raise ServiceError with the reason and the end of the log."""
        raise ServiceError.single(
            "demo",
            IssueCode.NOT_RUNNING,
            str(self.log),
            expected=reason,
            remedy=f"see its log, which ends with\n{self.log_tail}",
        )

    def terminate(self) -> None:
        """Terminate the process; kill it after :data:`TERMINATE_TIMEOUT_S`."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(TERMINATE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _read_comparison(others: ChildProcess, path: Path) -> Mapping[str, Mapping[str, float]]:
    """Return the summaries of other policies; empty if their process failed."""
    try:
        others.wait()
        return _read(path)
    except ServiceError:
        return {}


def _read(path: Path) -> dict[str, Mapping[str, float]]:
    """Return the object in a file that a process of the demo has written."""
    try:
        content: dict[str, Mapping[str, float]] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        expected, remedy = "the process writes this file", "see the logs beside it"
        raise ServiceError.single(
            "demo", IssueCode.MISSING, str(path), expected=expected, remedy=remedy
        ) from error
    return content


def _exchange_keys(state: Path, folder: Path) -> None:
    """Give service and partner each other's public keys."""
    site = load_or_create_key(state / "keys")
    public = create_partner_keys(
        folder / f"{PARTNER_NAME}.keys.json", partner=PARTNER_NAME, site=site
    )
    write_atomic(state / "keys" / "partners" / f"{PARTNER_NAME}.json", json.dumps(public))


def _service_options(config: DemoConfig, broker: str, state: Path) -> list[str]:
    options = ["--clock", "simulated", "--state", str(state), "--page", str(config.page_port)]
    return [*_broker_options(config, broker), *options]


def _broker_options(config: DemoConfig, broker: str) -> list[str]:
    return ["--broker", broker, *(["--allow-cleartext"] if config.allow_cleartext else [])]


def _plant_options(config: DemoConfig, broker: str) -> list[str]:
    options = [*_broker_options(config, broker), "--steps", str(config.interval_count)]
    if config.speed is not None:
        options += ["--speed", str(config.speed)]
    return [*options, "--out", str(config.folder)]


def _count_accepted(path: Path) -> int:
    """Return how many schedules the partner accepted. [1]"""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return len({one["revision"] for one in map(json.loads, lines) if one["code"] == "A01"})


def _wait_for_end(
    day: DemoRun,
    monitor: "BrokerMonitor",
    processes: Sequence[ChildProcess],
    *,
    config: DemoConfig,
    on_progress: DemoProgressCallback,
) -> None:
    """Wait until the plant has ended and every schedule is acknowledged; fail on a stall."""
    last_progress, before = time.monotonic(), (-1, 0)
    page = config.folder / "state" / "page.url"
    timeout = max(STALL_TIMEOUT_S, 2.0 * 900.0 / config.speed) if config.speed else STALL_TIMEOUT_S
    while not _is_done(day.traffic):
        monitor.poll(MESSAGE_POLL_INTERVAL_S)
        if not day.page_url and page.exists():
            day.page_url = page.read_text(encoding="utf-8")
        on_progress(day)
        for process in processes:
            if process.exit_code is not None and not day.traffic.has_ended:
                process.raise_failure(f"ended with code {process.exit_code}")
        now = day.traffic.plant_interval, len(day.traffic.accepted_revisions)
        if now != before:
            last_progress, before = time.monotonic(), now
        if time.monotonic() - last_progress > timeout:
            if day.traffic.has_ended:
                return
            processes[0].raise_failure(f"no progress for {timeout:.0f} s")


def _is_done(traffic: BrokerTraffic) -> bool:
    """Return whether the plant has ended and the partner has acknowledged every schedule."""
    return traffic.has_ended and len(traffic.accepted_revisions) + traffic.refusal_count >= len(
        traffic.published_revisions
    )


def clear_retained(
    broker: str, site: str, *, clients: Sequence[str], tls: TlsFiles | None = None
) -> int:
    """Remove retained and queued messages of an earlier run of a site; return their number.

    Messages of other sites are not touched. `clients` are the client ids whose sessions end.

    Raises BrokerError if the broker cannot be reached.
    """
    for name in clients:
        client = Client(broker, client_id=name, clean_session=True, tls=tls)
        client.connect(CONNECT_TIMEOUT_S)
        client.stop()
    client = Client(broker, client_id=f"demo-sweeper-{site}", clean_session=True, tls=tls)
    kinds = (topics.topic_filter(kind, site=site) for kind in topics.TOPIC_PATTERNS)
    client.subscribe("BMS/v1/#", *kinds, qos=0)
    client.connect(CONNECT_TIMEOUT_S)
    found: set[str] = set()
    last_message = time.monotonic()
    while time.monotonic() - last_message < RETAINED_MESSAGES_QUIET_TIME_S:
        messages = client.poll(timeout=RETAINED_MESSAGES_QUIET_TIME_S / 5.0)
        client.acknowledge(messages)
        own = {m.topic for m in messages if m.retain and _is_topic_of(m.topic, site)}
        if own - found:
            found |= own
            last_message = time.monotonic()
    tokens = [client.publish(topic, b"", qos=1, retain=True) for topic in sorted(found)]
    for token in tokens:
        token.wait(CONNECT_TIMEOUT_S)
    client.stop()
    return len(found)


def _is_topic_of(topic: str, site: str) -> bool:
    """Return whether a topic belongs to a site; on the facility's bus the tag path names it."""
    return site in topic.split("/")


class BrokerMonitor:
    """Subscriber to the clock and the feed of a site."""

    def __init__(self, broker: str, site: str, *, tls: TlsFiles | None = None) -> None:
        self.traffic = BrokerTraffic()
        self._client = Client(broker, client_id=f"demo-watcher-{site}", clean_session=True, tls=tls)
        kinds = (TopicKind.TICK, TopicKind.SCHEDULE, TopicKind.ACKNOWLEDGEMENT)
        self._client.subscribe(*(topics.topic_filter(kind, site=site) for kind in kinds))

    def __enter__(self) -> Self:
        """Connect.

        Raises BrokerError if the broker cannot be reached.
        """
        self._client.connect(CONNECT_TIMEOUT_S)
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect."""
        self._client.stop()

    def poll(self, timeout: float) -> None:
        """Process received messages; wait at most `timeout` for one [s]."""
        messages = self._client.poll(timeout=timeout)
        for message in messages:
            self._process(message)
        self._client.acknowledge(messages)

    def _process(self, message: ReceivedMessage) -> None:
        try:
            match topics.parse_topic(message.topic).kind:
                case TopicKind.TICK:
                    self._process_tick(decode(message.topic, message.payload))
                case TopicKind.SCHEDULE:
                    document = read_schedule(_payload(message))
                    self.traffic.published_revisions.add(document["revision"])
                    self.traffic.scheduled_net_import = document["intervals"][0]["scheduled_mw"]
                    self.traffic.schedule_source = document["meta"]["source"]
                case _:
                    self._process_acknowledgement(read_acknowledgement(_payload(message)))
        except (GigatwinError, KeyError, ValueError, IndexError):
            return  # the partner validates messages; the monitor only counts them

    def _process_tick(self, tick: Sample) -> None:
        if isinstance(tick, SimulationTick):
            self.traffic.plant_interval, self.traffic.interval_count = tick.step, tick.steps
            self.traffic.time, self.traffic.has_ended = tick.time, tick.is_last

    def _process_acknowledgement(self, answer: Acknowledgement) -> None:
        if answer["code"] == "A01":
            self.traffic.accepted_revisions.add(answer["revision"])
            self.traffic.first_accepted_at = self.traffic.first_accepted_at or time.time()
        else:
            self.traffic.refusal_count += 1


def _payload(message: ReceivedMessage) -> bytes:
    """Return the payload of a signed message; the partner verifies the signature."""
    part = message.payload.split(b".")[1]
    return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
