"""An ingester: from the broker to a journal, in a process of its own.

:mod:`telemetry.ingest.journal_archiver` reads the journals of a site's ingesters. Sources that
store what they send receive the ranges that are durable; see :mod:`telemetry.delivery.tracker`.

The process reads its configuration from standard input and ends when that is closed. So it never
outlives its parent, and no password appears in its command line. It loads neither the archive nor
the twin.
"""

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self, TextIO

import structlog

from telemetry.delivery.tracker import SAVE_PERIOD_S, DeliveryTracker
from telemetry.journal.follower import read_archived_position
from telemetry.journal.format import JournalPosition
from telemetry.journal.writer import CorruptionReport, Journal
from telemetry.mqtt.broker import TlsFiles
from telemetry.mqtt.client import Client
from telemetry.mqtt.queues import MessageClient, ReceivedMessage
from telemetry.runtime import configure_logging
from twin.errors import GigatwinError, IssueCode, JournalError

CONNECTION_COUNTERS: Final = ("dropped", "oversized", "spoilt")
"""Counters of the connection for messages lost before they reached the journal."""

_logger = structlog.get_logger(__name__)


class Ingester:
    """Ingester of a part of a site's messages; it neither starts nor stops its client.

    - `oversized`: messages that were too large.
    - `damage`: damage of the journal found since the start.
    """

    def __init__(self, client: MessageClient, journal: Journal) -> None:
        self._client = client
        self._journal = journal
        self.oversized = OversizedMessages(client)
        self.damage = CorruptionReport(journal, read_archived_position(journal.folder))
        self._counts = Counter({"messages": 0, "appends": 0, "unjournaled": 0})
        self._progress = DeliveryTracker(journal.folder)
        self._reports: list[ReceivedMessage] = []
        self._ended = threading.Event()
        self._trimmed_at = 0.0
        self._trim_error = ""
        self._append_error = ""

    @property
    def counters(self) -> Mapping[str, int]:
        """Counters since the start.

        ``messages``, ``appends``, ``unjournaled`` (QoS 0, dropped while the disk was full),
        ``lost_at_sources``; of the connection ``dropped`` (QoS 0, queue full), ``oversized`` and
        ``spoilt`` (acknowledged and dropped).
        """
        lost = {name: self._client.counters.get(name, 0) for name in CONNECTION_COUNTERS}
        return {**self._counts, **lost, "lost_at_sources": self._progress.lost}

    @property
    def error(self) -> str:
        """Problem of the journal and its remedy; empty if there is none."""
        found = [self._append_error or self._trim_error, self.damage.describe]
        return "; ".join(filter(None, found))

    def stop(self) -> None:
        """End :meth:`run`, from any thread."""
        self._ended.set()

    def run(self) -> None:
        """Ingest messages until stopped."""
        waiting: list[ReceivedMessage] = []
        self._progress.recover(self._journal)
        while not self._ended.is_set():
            if len(waiting) < MAX_WAITING:
                waiting += self._without_reports(read_batch(self._client))
            if waiting:
                waiting = self._append(waiting)
            if self._reports:
                self._progress.answer(self._reports, self._client.publish)
                self._client.acknowledge([one for one in self._reports if one.qos])
                self._reports = []
            self._trim()
        for more in drain(self._client):
            waiting = self._append(waiting + self._without_reports(more))
        self._progress.save(self._journal.end)

    def _without_reports(self, messages: list[ReceivedMessage]) -> list[ReceivedMessage]:
        """Return messages without the reports of senders, which are answered later."""
        messages, reports = self._progress.split_reports(messages)
        self._counts["messages"] += len(messages)
        self._reports += reports
        return messages

    def _append(self, messages: list[ReceivedMessage]) -> list[ReceivedMessage]:
        """Make messages durable and acknowledge them; return those that must wait."""
        try:
            self._journal.append([(one.topic, one.payload) for one in messages])
        except JournalError as error:
            if not self._append_error:
                _logger.warning("journal not written", reason=str(error))
            self._append_error = str(error)
            self._ended.wait(APPEND_RETRY_S)
            repeatable = [one for one in messages if one.qos]
            if len(messages) < MAX_WAITING:
                return messages
            self._counts["unjournaled"] += len(messages) - len(repeatable)
            return repeatable
        if self._append_error:
            _logger.info("journal written again")
            self._append_error = ""
        self._progress.add_durable(messages)
        self._client.acknowledge([one for one in messages if one.qos])
        self._counts["appends"] += 1
        return []

    def _trim(self) -> None:
        """Delete archived segments, once the ranges that are durable are on disk."""
        if time.monotonic() - self._trimmed_at < SAVE_PERIOD_S:
            return
        self._trimmed_at = time.monotonic()
        self._progress.save(self._journal.end)
        position = read_archived_position(self._journal.folder)
        if position is None:
            return
        try:
            self._journal.trim(position)
            self._trim_error = ""
        except JournalError as error:
            if not self._trim_error:
                _logger.warning("journal not trimmed", reason=str(error))
            self._trim_error = str(error)


MAX_BATCH: Final = 5000
"""Most messages of one append. [1]"""

BATCH_WAIT_S: Final = 0.010
"""Wait for more messages before an append. [s]"""

FIRST_MESSAGE_TIMEOUT_S: Final = 0.1
"""Longest wait for the first message. [s]"""

INGESTER_DRAIN_TIMEOUT_S: Final = 5.0
"""Longest time for reading waiting messages at the end. [s]"""

APPEND_RETRY_S: Final = 1.0
"""Wait after an append that failed. [s]"""

MAX_WAITING: Final = 50_000
"""Messages that wait for space on the disk; beyond that, no more are read. [1]"""


class OversizedMessages:
    """Messages of a source that were too large; ``count`` is their number at the last call."""

    def __init__(self, source: MessageClient) -> None:
        self._source = source
        self.count = 0

    def take_new(self) -> list[tuple[str, int]]:
        """Return topics and sizes [B] of those since the last call, as far as known."""
        before, self.count = self.count, self._source.counters.get("oversized", 0)
        new = self.count - before
        return list(self._source.oversized)[-new:] if new else []


def drain(source: MessageClient) -> Iterator[list[ReceivedMessage]]:
    """Yield waiting messages at the end, until there are none or the time is over."""
    deadline = time.monotonic() + INGESTER_DRAIN_TIMEOUT_S
    while messages := source.poll(MAX_BATCH, 0.0):
        yield messages
        if len(messages) < MAX_BATCH or time.monotonic() > deadline:
            return


def read_batch(source: MessageClient) -> list[ReceivedMessage]:
    """Return the messages of one append: wait for the first, then shortly for more."""
    messages = source.poll(MAX_BATCH, FIRST_MESSAGE_TIMEOUT_S)
    if messages and len(messages) < MAX_BATCH:
        time.sleep(BATCH_WAIT_S)
        messages += source.poll(MAX_BATCH - len(messages), 0.0)
    return messages


JOURNAL_LOCK_TIMEOUT_S: Final = 10.0
"""Wait for an earlier ingester whose parent was killed and which is about to end. [s]"""

STATUS_PERIODS_S: Final = (0.25, 2.0)
"""Time to the first status line, and between two of them once it is connected. [s]"""


@dataclass(frozen=True, kw_only=True)
class IngesterConfig:
    """Configuration of an ingester process.

    - `url`, `client_id`, `protocol`: broker and connection.
    - `topics`: Topic filter -> quality of service.
    - `archived_position`: position up to which the archive has read that journal, as far as known;
      the journal continues after it.
    - `ca`, `certificate`, `key`: files, for ``mqtts://``.
    - `allow_cleartext`: whether ``mqtt://`` to another machine is allowed.
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
    allow_cleartext: bool = False

    def to_line(self) -> str:
        """Return the configuration as the line that the process reads."""
        return json.dumps(vars(self)) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Self:
        """Return the configuration of a line from :meth:`to_line`."""
        return cls(**json.loads(line))

    def client(self) -> Client:
        """Return a client that is not started; BrokerError if URL or certificates are wrong."""
        return Client(self.url, client_id=self.client_id, protocol=self.protocol, tls=self.tls)

    @property
    def tls(self) -> TlsFiles | None:
        """Certificates and the permission for cleartext, if any are configured."""
        files = [Path(name) if name else None for name in (self.ca, self.certificate, self.key)]
        tls = TlsFiles(
            ca=files[0],
            certificate=files[1],
            key=files[2],
            allow_cleartext=self.allow_cleartext,
        )
        return tls if tls != TlsFiles() else None


def run_ingester(config: IngesterConfig, source: TextIO, output: TextIO) -> None:
    """Ingest until the source stream ends; write JSON status lines to the output.

    It raises JournalError if the journal cannot be opened or the ingester ends by itself. The
    parent then starts the process again.
    """
    client = config.client()
    for topic, qos in config.topics.items():
        client.subscribe(topic, qos=qos)
    journal = Journal(Path(config.folder), timeout=JOURNAL_LOCK_TIMEOUT_S)
    if config.archived_position:
        journal.skip_past(JournalPosition.parse(config.archived_position))
    ingester = Ingester(client, journal)
    ended = threading.Event()

    def wait() -> None:
        source.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    thread = threading.Thread(target=ingester.run, name="shard")
    thread.start()
    client.start()
    pause, period = STATUS_PERIODS_S
    while thread.is_alive() and not ended.wait(pause):
        _write_status(output, ingester, client)
        pause = period if client.is_connected else min(2.0 * pause, period)
    is_dead = not thread.is_alive()
    ingester.stop()
    thread.join()
    _write_status(output, ingester, client)
    client.stop()
    journal.close()
    if is_dead and not ended.is_set():
        message = f"{config.folder}: its ingester ended by itself; see the log before this line"
        raise JournalError(message, code=IssueCode.NOT_RUNNING)


def _write_status(output: TextIO, ingester: Ingester, client: Client) -> None:
    status = {
        **ingester.counters,
        "too_large": ingester.oversized.take_new(),
        "damaged": ingester.damage.new_losses(),
        "is_connected": client.is_connected,
        "trouble": "; ".join(filter(None, [ingester.error, client.error])),
    }
    with suppress(BrokenPipeError):  # the parent has ended, so the input ends too
        output.write(json.dumps(status) + "\n")
        output.flush()


def main() -> int:
    """Read a configuration from standard input and run its ingester."""
    configure_logging()
    try:
        run_ingester(IngesterConfig.from_line(sys.stdin.readline()), sys.stdin, sys.stdout)
    except GigatwinError as error:
        sys.stdout.write(json.dumps({"fault": str(error)}) + "\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
