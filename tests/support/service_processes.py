"""A service, its plant and its partner on a broker, each a process that can be killed.

As in the demo, but a test may start, kill and restart each process.
"""

import base64
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from optimizer.demo.simulated_day import PARTNER_NAME, PARTNER_SCRIPT, ChildProcess
from optimizer.service.control_socket import send_command
from telemetry.durable_files import write_atomic
from telemetry.feed.signing import create_partner_keys, load_or_create_key
from telemetry.messages import topics
from telemetry.messages.topics import TopicKind
from telemetry.mqtt.client import Client
from tests.support.waiting import until
from twin.errors import ServiceError

SITE = "small"
DEADLINE = 300.0
"""Longest wait for anything; processes start and compile models meanwhile. [s]"""

UNHURRIED = 300.0
"""Longest wait of the plant for a decision, on however slow a machine. [s]"""

GLANCE = 0.02
"""Wait between two looks. [s]"""

QUIET = 50
"""Polls without news after which the service has received everything. [1]"""

TICKS = os.sysconf("SC_CLK_TCK")


class Mortal(ChildProcess):
    """A process that can be killed and started again."""

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ProcessLookupError(self.name)
        return self._process.pid

    def kill(self) -> None:
        """Kill it as `kill -9` does, and its children with their parent's pipe."""
        os.kill(self.pid, signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def await_end(self, timeout: float) -> int:
        """Wait for the end and return its code."""
        if self._process is None:
            raise ProcessLookupError(self.name)
        return self._process.wait(timeout)


@dataclass(frozen=True, slots=True)
class Heard:
    """A message with its time of receipt, strictly increasing. [s]"""

    topic: str
    payload: bytes
    at: float
    is_retained: bool

    @property
    def document(self) -> dict:
        """The content of a message: the payload of a signed one, else its JSON."""
        text = self.payload
        if self.topic.startswith("feed/"):
            part = text.split(b".")[1]
            text = base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))
        return json.loads(text)


class Ear:
    """A client that keeps all messages under some topic filters."""

    def __init__(self, broker: str, *filters: str, name: str = "ear") -> None:
        self.heard: list[Heard] = []
        self._news = threading.Condition()
        self._ended = threading.Event()
        self._moment = 0.0
        self._client = Client(broker, client_id=f"{name}-{os.getpid()}", clean_session=True)
        self._client.subscribe(*filters)
        self._thread = threading.Thread(target=self._listen, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._client.connect(DEADLINE)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._client.stop()

    def _listen(self) -> None:
        while not self._ended.is_set():
            messages = self._client.poll(timeout=0.1)
            with self._news:
                for one in messages:
                    heard = Heard(one.topic, one.payload, self._later(), one.retain)
                    self.heard.append(heard)
                self._news.notify_all()
            self._client.acknowledge(messages)

    def now(self) -> float:
        """Return a time after all received messages, for any clock resolution. [s]"""
        with self._news:
            return self._later()

    def _later(self) -> float:
        self._moment = max(time.monotonic(), self._moment + 1e-6)
        return self._moment

    def of(self, kind: TopicKind, since: float = 0.0) -> list[Heard]:
        """Return the messages of a kind of topic since a time."""
        with self._news:
            heard = list(self.heard)
        return [
            one for one in heard if one.at >= since and topics.parse_topic(one.topic).kind == kind
        ]

    def until[T](self, found: Callable[[], T], timeout: float = DEADLINE) -> T:
        """Return the first true result of `found`."""
        end = time.monotonic() + timeout
        while True:
            left = end - time.monotonic()
            if it := found():
                return it
            if left <= 0.0:
                heard = sorted({one.topic for one in self.heard if "/BMS" not in one.topic})
                text = f"not heard within {timeout:g} s; last topics: {heard[-10:]}"
                raise TimeoutError(text)
            with self._news:
                self._news.wait(min(left, 0.1))


class Stage:
    """Processes of one site on one broker, in a folder; of a site file, if there is one."""

    def __init__(self, folder: Path, broker: str, *, file: Path | None = None) -> None:
        self.folder, self.broker = folder, broker
        self._name, self._site = (file.stem, str(file)) if file else (SITE, SITE)
        self.state = folder / "state"
        self.service, self.plant, self.partner = (
            Mortal(folder, name) for name in ("service", "plant", "partner")
        )
        self.begun = 0.0
        self._words: Sequence[str] = ()
        site = load_or_create_key(self.state / "keys")
        self.keys = folder / f"{PARTNER_NAME}.keys.json"
        public = create_partner_keys(self.keys, partner=PARTNER_NAME, site=site)
        write_atomic(self.state / "keys" / "partners" / f"{PARTNER_NAME}.json", json.dumps(public))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self.service, self.plant, self.partner):
            process.terminate()

    def serve(self, *words: str, module: str = "optimizer.cli") -> None:
        """Start the service; without options as the last time."""
        options = ["--broker", self.broker, "--clock", "simulated"]
        self._words = words or self._words
        own = ["-m", module, "run", self._site, *options, "--state", str(self.state), *self._words]
        self.begun = time.monotonic()
        self.service.start_python(own)

    def play(self, steps: int, *, seed: int = 0, words: Sequence[str] = ()) -> None:
        """Start the plant for some quarter-hours."""
        options = ["--broker", self.broker, "--steps", str(steps), "--seed", str(seed)]
        options += ["--deadline", str(UNHURRIED)]
        self.plant.start_gigatwin(
            ["plant", self._site, *options, "--out", str(self.folder), *words]
        )

    def attend(self) -> None:
        """Start the partner."""
        options = ["--broker", self.broker, "--site", self._name, "--partner", PARTNER_NAME]
        answers = ["--json", str(self.folder / "partner.jsonl")]
        self.partner.start_python(
            [str(PARTNER_SCRIPT), *options, "--keys", str(self.keys), *answers]
        )

    def tell(self, name: str, **arguments: object) -> Mapping[str, object]:
        """Send the service a command over its socket."""
        return send_command(self.state, name, **arguments)

    def missing(self) -> list[str]:
        """Return what the service reports as missing until it is ready."""
        try:
            return list(self.tell("status")["missing"])
        except ServiceError as error:
            return [str(error)]

    def heard(self) -> int:
        """Return the messages that the service has received since its start; -1 if unconnected."""
        try:
            snapshot = self.tell("status")["snapshot"]
        except ServiceError:
            return -1
        return snapshot["telemetry"]["messages"] if snapshot["broker"]["is_connected"] else -1

    def until(self, is_so: Callable[[], object], timeout: float = DEADLINE) -> None:
        """Wait until a condition is met, while the service runs."""

        def is_so_in_life() -> object:
            answer = is_so()
            if not answer and self.service.exit_code is not None:
                raise ChildProcessError(self._last_words())
            return answer

        def what() -> str:
            return f"{self.missing()}\n{self._last_words()}"

        until(is_so_in_life, deadline=timeout, what=what, pause=GLANCE)

    def _last_words(self) -> str:
        return self.service.log.read_text()[-3000:]

    def until_ready(self, timeout: float = DEADLINE) -> float:
        """Wait until the service is ready, and return the time since its start. [s]"""
        self.until(lambda: not self.missing(), timeout)
        return time.monotonic() - self.begun

    def until_connected(self) -> None:
        """Wait until the broker knows the service, and keeps messages for it."""
        self.until(lambda: self.heard() >= 0)

    def settle(self) -> None:
        """Wait until the service receives no new messages."""
        count, same = -1, 0

        def is_quiet() -> bool:
            nonlocal count, same
            found = self.heard()
            count, same = found, same + 1 if found == count else 0
            return found >= 0 and same >= QUIET

        self.until(is_quiet)

    def finish(self) -> dict:
        """End the run after the present quarter-hour, and return its result."""
        self.plant.terminate()
        return self.result()

    def result(self, timeout: float = UNHURRIED) -> dict:
        """Return the result file of the ended plant."""
        self.plant.await_end(timeout)
        return json.loads((self.folder / "result.json").read_text())


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and its children. [s]"""
    own = _spent(pid)
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(_spent(int(child)) for child in children)


def _spent(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS
