"""An ingester: from the broker to a journal, in the service or in a process of its own.

In the service, :mod:`telemetry.ingest.pipeline` passes the messages on. Of the ingester processes
of a recorder, :mod:`telemetry.ingest.journal_archiver` reads the journals. Sources that store what
they send receive the ranges that are durable; see :mod:`telemetry.delivery.tracker`.

A process reads its configuration from standard input and ends when that is closed. So it never
outlives its parent, and no password appears in its command line. It does not load the archive.
"""

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Protocol, Self, TextIO

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

if TYPE_CHECKING:  # the process does not load the checks
    from telemetry.messages.samples import Sample
    from telemetry.quality.checks import QualityFlag

CONNECTION_COUNTERS: Final = ("dropped", "oversized", "spoilt")
"""Counters of the connection for messages lost before they reached the journal."""

_logger = structlog.get_logger(__name__)


type CheckedSample = tuple[Sample | None, QualityFlag | None]
"""Sample of a message, None if it is undecodable, and its quality flag, if it has one."""


@dataclass(slots=True)
class ReceivedBatch:
    """Messages that were read together, at a time of receipt. [us since 1970]

    ``checked_samples`` is what the receiver found in each message; None before.
    """

    messages: list[ReceivedMessage]
    received_at_us: int
    checked_samples: list[CheckedSample] | None = None


class BatchReceiver(Protocol):
    """Receiver of the messages of an ingester."""

    def changed_only(self, items: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        """Return the topics and payloads that are worth a record in the journal."""

    def receive_durable(self, batches: Sequence[ReceivedBatch], position: JournalPosition) -> None:
        """Receive messages that are in the journal, up to a position."""

    def receive_waiting(self, batch: ReceivedBatch) -> None:
        """Receive messages that wait for space on the disk; later they are received as durable."""


class Ingester:
    """Ingester of a site's messages, or a part of them; it neither starts nor stops its client.

    A full disk does not end it: messages wait in memory without acknowledgement. Beyond
    :data:`MAX_WAITING_MESSAGES` those of QoS 0 are dropped, and no more are read.

    - `receiver`: what receives the messages after the journal; None for nothing.
    - `append_lock`: held while messages are appended and passed on.
    - `damage`: damage of the journal found since the start.
    """

    def __init__(
        self,
        client: MessageClient,
        journal: Journal,
        *,
        receiver: BatchReceiver | None = None,
        archived: JournalPosition | None = None,
    ) -> None:
        self._client = client
        self._journal = journal
        self._receiver = receiver
        self.append_lock = threading.RLock()
        self._oversized_count = 0
        self.damage = CorruptionReport(journal, archived or read_archived_position(journal.folder))
        self._counts = Counter(dict.fromkeys(INGESTER_COUNTERS, 0))
        self._progress = DeliveryTracker(journal.folder)
        self._waiting: list[ReceivedBatch] = []
        self._ended = threading.Event()
        self._saved_at = self._retry_at = 0.0
        self._trim_error = ""
        self.append_error = ""

    @property
    def counters(self) -> Mapping[str, int]:
        """Counters since the start.

        ``messages``, of these ``repeated`` (identical to the last one of a point or of jobs, not
        journaled again) and ``unjournaled`` (QoS 0, dropped while the disk was full); ``appends``,
        ``waiting`` for space on the disk now, and ``lost_at_sources``; of the connection
        ``dropped`` (QoS 0, queue full), ``oversized`` and ``spoilt`` (acknowledged and dropped).
        """
        lost = {name: self._client.counters.get(name, 0) for name in CONNECTION_COUNTERS}
        found = {"waiting": self._waiting_count, "lost_at_sources": self._progress.lost}
        return {**self._counts, **lost, **found}

    @property
    def error(self) -> str:
        """Problem of the journal and its remedy; empty if there is none."""
        found = [self.append_error or self._trim_error, self.damage.description]
        return "; ".join(filter(None, found))

    def take_oversized_messages(self) -> list[tuple[str, int]]:
        """Return topics and sizes [B], as far as known, of new messages that were too large."""
        before = self._oversized_count
        self._oversized_count = self._client.counters.get("oversized", 0)
        new = self._oversized_count - before
        return list(self._client.oversized_messages)[-new:] if new else []

    def recover(self) -> None:
        """Continue after the durable messages of an earlier process."""
        self._progress.recover(self._journal)

    def stop(self) -> None:
        """End :meth:`run`, from any thread."""
        self._ended.set()

    def run(self, note_progress: Callable[[], None] = lambda: None) -> None:
        """Ingest messages until stopped; then ingest those that wait."""
        while not self._ended.is_set():
            note_progress()
            if self._waiting_count >= MAX_WAITING_MESSAGES and not self._drop_qos_0():
                self._ended.wait(APPEND_RETRY_S)
            else:
                self.ingest(read_batch(self._client))
            if time.monotonic() - self._saved_at > SAVE_PERIOD_S:
                self._saved_at = time.monotonic()
                self._progress.save(self._journal.end_position)
                self._trim()
        for messages in drain_messages(self._client):
            self.ingest(messages)
        self._progress.save(self._journal.end_position)

    @property
    def _waiting_count(self) -> int:
        return sum(len(batch.messages) for batch in self._waiting)

    def ingest(self, messages: list[ReceivedMessage]) -> None:
        """Append messages, or keep them while the disk is full; answer reports of senders."""
        messages, reports = self._progress.split_reports(messages)
        self._counts["messages"] += len(messages)
        if messages:
            self._waiting.append(ReceivedBatch(messages, self._journal.receipt_time_us()))
        if self._waiting and time.monotonic() >= self._retry_at:
            self._append()
        else:
            self._pass_waiting()
        if reports:
            self._progress.answer_reports(reports, self._client.publish)
            self._client.acknowledge([one for one in reports if one.qos])

    def _append(self) -> None:
        """Make the waiting messages durable, acknowledge them, and pass them on."""
        batches, receiver = self._waiting, self._receiver
        items: list[tuple[str, bytes]] = []
        received: list[int] = []
        for batch in batches:
            new = [(one.topic, one.payload) for one in batch.messages]
            new = receiver.changed_only(new) if receiver else new
            items += new
            received += [batch.received_at_us] * len(new)
        messages = [one for batch in batches for one in batch.messages]
        with self.append_lock:
            try:
                position = self._journal.append(items, received)
            except JournalError as error:
                self._keep_waiting(str(error))
                return
            if self.append_error:
                _logger.info("journal written again")
            self.append_error, self._retry_at, self._waiting = "", 0.0, []
            self._progress.add_durable(messages)
            self._client.acknowledge([one for one in messages if one.qos])
            self._counts["appends"] += 1
            self._counts["repeated"] += len(messages) - len(items)
            if receiver:
                receiver.receive_durable(batches, position)

    def _keep_waiting(self, reason: str) -> None:
        """Keep the messages, without acknowledgement, until the disk has space."""
        if not self.append_error:
            _logger.error("journal not written", reason=reason)
        self.append_error = reason
        self._retry_at = time.monotonic() + APPEND_RETRY_S
        self._pass_waiting()

    def _pass_waiting(self) -> None:
        """Pass waiting messages on, once each, so that planning continues on a full disk."""
        if self._receiver:
            for batch in self._waiting:
                if batch.checked_samples is None:
                    self._receiver.receive_waiting(batch)

    def _drop_qos_0(self) -> bool:
        """Drop waiting messages that come only once; return whether more may be read."""
        before = self._waiting_count
        for batch in self._waiting:
            is_kept = [bool(one.qos) for one in batch.messages]
            batch.messages = list(compress(batch.messages, is_kept))
            batch.checked_samples = batch.checked_samples and list(
                compress(batch.checked_samples, is_kept)
            )
        self._waiting = [batch for batch in self._waiting if batch.messages]
        self._counts["unjournaled"] += before - self._waiting_count
        self.ingest([])
        return self._waiting_count < MAX_WAITING_MESSAGES

    def _trim(self) -> None:
        """Delete segments that another process has archived."""
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


INGESTER_COUNTERS: Final = ("messages", "appends", "repeated", "unjournaled")

MAX_MESSAGES_PER_APPEND: Final = 5000
"""Most messages of one append. [1]"""

BATCH_WAIT_S: Final = 0.010
"""Wait for more messages before an append. [s]"""

FIRST_MESSAGE_TIMEOUT_S: Final = 0.1
"""Longest wait for the first message. [s]"""

INGESTER_DRAIN_TIMEOUT_S: Final = 5.0
"""Longest time for reading waiting messages at the end. [s]"""

APPEND_RETRY_S: Final = 1.0
"""Wait after an append that failed. [s]"""

MAX_WAITING_MESSAGES: Final = 50_000
"""Messages that wait for space on the disk; beyond that, no more are read. [1]"""


def drain_messages(source: MessageClient) -> Iterator[list[ReceivedMessage]]:
    """Yield waiting messages at the end, until there are none or the time is over."""
    deadline = time.monotonic() + INGESTER_DRAIN_TIMEOUT_S
    while messages := source.poll(MAX_MESSAGES_PER_APPEND, 0.0):
        yield messages
        if len(messages) < MAX_MESSAGES_PER_APPEND or time.monotonic() > deadline:
            return


def read_batch(source: MessageClient) -> list[ReceivedMessage]:
    """Return the messages of one append: wait for the first, then shortly for more."""
    messages = source.poll(MAX_MESSAGES_PER_APPEND, FIRST_MESSAGE_TIMEOUT_S)
    if messages and len(messages) < MAX_MESSAGES_PER_APPEND:
        time.sleep(BATCH_WAIT_S)
        messages += source.poll(MAX_MESSAGES_PER_APPEND - len(messages), 0.0)
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
    ingester.recover()
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
        "too_large": ingester.take_oversized_messages(),
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
