"""One ingester of a site that is heard in shards: from the broker to its journal, no further.

What the messages say is read by the archiver of the site, :mod:`telemetry.ingest.journal_archiver`.
Sources that keep what they send are told what is durable; see :mod:`telemetry.delivery.tracker`.

Where an ingester takes messages from, and how it waits for them.

An ingester in a process of its own: told on its standard input, ended when that is closed.

So it never outlives who started it, and no password stands among the words of a process. It loads
neither the archive nor the twin.
"""

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol, Self, TextIO

import structlog

from telemetry.delivery.tracker import SAVE_PERIOD_S, DeliveryTracker
from telemetry.journal.follower import read_archived
from telemetry.journal.format import JournalPosition
from telemetry.journal.writer import CorruptionReport, Journal
from telemetry.logging import configure_logging
from telemetry.mqtt.client import Client
from telemetry.mqtt.connection import TlsFiles
from telemetry.mqtt.queues import ReceivedMessage
from twin.errors import GigatwinError, JournalError

CONNECTION_COUNTERS: Final = ("dropped", "oversized", "spoilt")
"""Counters of the connection that tell what was lost before it was here."""

_logger = structlog.get_logger(__name__)


class MessageSource(Protocol):
    """Where messages come from: a :class:`telemetry.mqtt.client.Client`."""

    def poll(self, limit: int = ..., timeout: float = ...) -> list[ReceivedMessage]:
        """Return what came, after waiting for the first at most so long. [s]"""

    def acknowledge(self, messages: Sequence[ReceivedMessage]) -> None:
        """Let the broker forget messages."""

    def publish(self, topic: str, payload: bytes) -> object:
        """Say something, now or never."""

    @property
    def oversized(self) -> Sequence[tuple[str, int]]:
        """Topics and sizes of the latest messages that were too large. [B]"""

    @property
    def counters(self) -> Mapping[str, int]:
        """What happened; ``oversized`` among it."""


class Ingester:
    """Takes in a part of what a plant says.

    Parameters
    ----------
    client
        Connected or not; it is neither started nor stopped here.
    journal
        Where messages become durable.

    Attributes
    ----------
    oversized
        What was too large to be taken in.
    damage
        What of the journal was found damaged since the start.
    """

    def __init__(self, client: MessageSource, journal: Journal) -> None:
        self._client = client
        self._journal = journal
        self.oversized = OversizedMessages(client)
        self.damage = CorruptionReport(journal, read_archived(journal.folder))
        self._counts = Counter({"messages": 0, "appends": 0, "unjournaled": 0})
        self._progress = DeliveryTracker(journal.folder)
        self._asked: list[ReceivedMessage] = []
        self._ended = threading.Event()
        self._looked = 0.0
        self._untrimmed = ""
        self._unjournaled = ""

    @property
    def counters(self) -> Mapping[str, int]:
        """What happened so far.

        ``messages``, ``appends``, ``unjournaled`` (QoS 0, dropped while the disk was full),
        ``lost_at_sources``; of the connection ``dropped`` (QoS 0, no room for it), ``oversized``
        and ``spoilt`` (acknowledged and dropped).
        """
        heard = {name: self._client.counters.get(name, 0) for name in CONNECTION_COUNTERS}
        return {**self._counts, **heard, "lost_at_sources": self._progress.lost}

    @property
    def error(self) -> str:
        """What is wrong with the journal and what to do about it; empty if nothing is."""
        return "; ".join(filter(None, [self._unjournaled or self._untrimmed, self.damage.describe]))

    def stop(self) -> None:
        """End :meth:`run`, from any thread."""
        self._ended.set()

    def run(self) -> None:
        """Take in until stopped."""
        waiting: list[ReceivedMessage] = []
        self._progress.recover(self._journal)
        while not self._ended.is_set():
            if len(waiting) < MAX_WAITING:
                waiting += self._take()
            if waiting:
                waiting = self._append(waiting)
            if self._asked:
                self._progress.answer(self._asked, self._client.publish)
                self._client.acknowledge([one for one in self._asked if one.qos])
                self._asked = []
            self._trim()
        for more in drain(self._client):
            waiting = self._append(waiting + self._sifted(more))
        self._progress.save(self._journal.end)

    def _take(self) -> list[ReceivedMessage]:
        return self._sifted(read_batch(self._client))

    def _sifted(self, messages: list[ReceivedMessage]) -> list[ReceivedMessage]:
        """Return messages without the questions of sources, which are put aside."""
        messages, asked = self._progress.split_reports(messages)
        self._counts["messages"] += len(messages)
        self._asked += asked
        return messages

    def _append(self, messages: list[ReceivedMessage]) -> list[ReceivedMessage]:
        """Make messages durable and acknowledge them; return those that must wait."""
        try:
            self._journal.append([(one.topic, one.payload) for one in messages])
        except JournalError as error:
            if not self._unjournaled:
                _logger.warning("journal not written", reason=str(error))
            self._unjournaled = str(error)
            self._ended.wait(APPEND_RETRY_S)
            held = [one for one in messages if one.qos]
            if len(messages) < MAX_WAITING:
                return messages
            self._counts["unjournaled"] += len(messages) - len(held)
            return held
        if self._unjournaled:
            _logger.info("journal written again")
            self._unjournaled = ""
        self._progress.add_durable(messages)
        self._client.acknowledge([one for one in messages if one.qos])
        self._counts["appends"] += 1
        return []

    def _trim(self) -> None:
        """Let go of what is archived, once what sources may let go of is written down."""
        if time.monotonic() - self._looked < SAVE_PERIOD_S:
            return
        self._looked = time.monotonic()
        self._progress.save(self._journal.end)
        position = read_archived(self._journal.folder)
        if position is None:
            return
        try:
            self._journal.trim(position)
            self._untrimmed = ""
        except JournalError as error:
            if not self._untrimmed:
                _logger.warning("journal not trimmed", reason=str(error))
            self._untrimmed = str(error)


MAX_BATCH: Final = 5000
"""Messages of one append."""

BATCH_WAIT_S: Final = 0.010
"""Wait for more messages before an append. [s]"""

FIRST_MESSAGE_TIMEOUT_S: Final = 0.1
"""Longest wait for the first message. [s]"""

DRAIN_TIMEOUT_S: Final = 5.0
"""Longest time for which what waits is taken in at the end. [s]"""

APPEND_RETRY_S: Final = 1.0
"""Wait after an append that failed. [s]"""

MAX_WAITING: Final = 50_000
"""Messages that wait for room on the disk; beyond that, nothing more is taken."""


class OversizedMessages:
    """The messages of a source that were too large, each told once.

    Attributes
    ----------
    count
        How many there were when this was asked last. [1]
    """

    def __init__(self, source: MessageSource) -> None:
        self._source = source
        self.count = 0

    def new(self) -> list[tuple[str, int]]:
        """Return topics and sizes [B] of those since this was asked before, as far as known."""
        before, self.count = self.count, self._source.counters.get("oversized", 0)
        new = self.count - before
        return list(self._source.oversized)[-new:] if new else []


def drain(source: MessageSource) -> Iterator[list[ReceivedMessage]]:
    """Yield what waits at the end, until there is no more or it takes too long."""
    deadline = time.monotonic() + DRAIN_TIMEOUT_S
    while messages := source.poll(MAX_BATCH, 0.0):
        yield messages
        if len(messages) < MAX_BATCH or time.monotonic() > deadline:
            return


def read_batch(source: MessageSource) -> list[ReceivedMessage]:
    """Return the messages of one append: the first is awaited, and a few wait for more."""
    messages = source.poll(MAX_BATCH, FIRST_MESSAGE_TIMEOUT_S)
    if messages and len(messages) < MAX_BATCH:
        time.sleep(BATCH_WAIT_S)
        messages += source.poll(MAX_BATCH - len(messages), 0.0)
    return messages


JOURNAL_LOCK_TIMEOUT_S: Final = 10.0
"""Wait for an ingester of before, whose parent was killed and which is about to end. [s]"""

STATUS_PERIODS_S: Final = (0.25, 2.0)
"""Time to the first line that tells how it goes, and between two of them once it is let in. [s]"""


@dataclass(frozen=True, kw_only=True)
class IngesterConfig:
    """What a shard hears, and where it keeps it.

    Attributes
    ----------
    url, client_id, protocol
        Of the broker, and how we come to it.
    topics
        Filter -> quality of service.
    folder
        Of the journal.
    archived_position
        Up to where the archive has read that journal, as far as known; it goes on behind that.
    ca, certificate, key
        Files, for ``mqtts://``.
    """

    url: str
    client_id: str
    topics: dict[str, int]
    folder: str
    archived_position: str = ""
    protocol: Literal["3.1.1", "5"] = "3.1.1"
    ca: str = ""
    certificate: str = ""
    key: str = ""

    def to_line(self) -> str:
        """Return it as the line that a process reads."""
        return json.dumps(vars(self)) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Self:
        """Return what :meth:`text` wrote."""
        return cls(**json.loads(line))

    def client(self) -> Client:
        """Return a client that may come to the broker; it is not started.

        Raises
        ------
        BrokerError
            If the URL or the certificates cannot be used.
        """
        return Client(self.url, client_id=self.client_id, protocol=self.protocol, tls=self.tls)

    @property
    def tls(self) -> TlsFiles | None:
        """Certificates, if any are named."""
        files = [Path(name) if name else None for name in (self.ca, self.certificate, self.key)]
        return TlsFiles(ca=files[0], certificate=files[1], key=files[2]) if any(files) else None


def run_ingester(task: IngesterConfig, source: TextIO, told: TextIO) -> None:
    """Take in until a stream ends; tell every now and then how it goes, as JSON lines.

    Raises
    ------
    JournalError
        If the journal cannot be opened, or what takes in has ended by itself: then who started
        this process starts it again.
    """
    client = task.client()
    for topic, qos in task.topics.items():
        client.subscribe(topic, qos=qos)
    journal = Journal(Path(task.folder), timeout=JOURNAL_LOCK_TIMEOUT_S)
    if task.archived_position:
        journal.skip_past(JournalPosition.parse(task.archived_position))
    shard = Ingester(client, journal)
    ended = threading.Event()

    def wait() -> None:
        source.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    thread = threading.Thread(target=shard.run, name="shard")
    thread.start()
    client.start()
    pause, usual = STATUS_PERIODS_S
    while thread.is_alive() and not ended.wait(pause):
        _tell(told, shard, client)
        pause = usual if client.is_connected else min(2.0 * pause, usual)
    is_dead = not thread.is_alive()
    shard.stop()
    thread.join()
    _tell(told, shard, client)
    client.stop()
    journal.close()
    if is_dead and not ended.is_set():
        message = f"{task.folder}: its ingester ended by itself; see the log before this line"
        raise JournalError(message)


def _tell(told: TextIO, shard: Ingester, client: Client) -> None:
    line = {
        **shard.counters,
        "too_large": shard.oversized.new(),
        "damaged": shard.damage.new_losses(),
        "is_connected": client.is_connected,
        "trouble": "; ".join(filter(None, [shard.error, client.error])),
    }
    with suppress(BrokenPipeError):  # who listened is gone: the input ends too
        told.write(json.dumps(line) + "\n")
        told.flush()


def main() -> int:
    """Read a task and serve it."""
    configure_logging()
    try:
        run_ingester(IngesterConfig.from_line(sys.stdin.readline()), sys.stdin, sys.stdout)
    except GigatwinError as error:
        sys.stdout.write(json.dumps({"fault": str(error)}) + "\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
