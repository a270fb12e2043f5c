"""A source that loses nothing: each batch is on its own disk until it is durable at the other end.

What an ingester misses is sent again when it says so; see :mod:`telemetry.custody`. For gateways
that speak for many racks; an agent of one rack needs the hundred lines of
``docs/examples/lossless_agent.py`` only.
"""

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from telemetry import custody
from telemetry.client import Client
from telemetry.codec.rack_batch import encode_batch
from telemetry.custody import DURABLE, HELD, Durable, Range
from telemetry.outbox import Letter, Outbox
from telemetry.samples import RackBatch
from telemetry.wire.mailbox import Message
from twin.errors import JournalError, WireError

ASKED: Final = 10.0
"""Time between two questions what is durable. [s]"""

GLANCE: Final = 0.2
"""Longest wait for an answer before the time is looked at. [s]"""

UNDERWAY: Final = 2000
"""Batches that are sent again and not known to be durable yet, shared by all sources."""

LEAST: Final = 16
"""Of these, what any source may have underway however many there are."""

PATIENCE: Final = (10.0, 300.0)
"""Time after which what was sent again is sent once more, twice as long each time, and the longest.
A connection that was lost ends it. [s]"""

UNANSWERED: Final = 6
"""Questions in a row without any answer, from which on that is a trouble."""

UNHEARD: Final = (
    "nobody answers what is durable: does a recording or the service of this site run, and does "
    "the broker's access list let us publish and hear these topics"
)
"""What to ask where it is one. A broker that grants a topic to nobody says nothing of it."""

COUNTED: Final = ("published", "again", "unheld", "unread", "unasked")

type Key = tuple[int, int]
"""Boot and sequence."""

_logger = structlog.get_logger(__name__)


class Publisher:
    """Sends rack batches and holds them until they are durable.

    Parameters
    ----------
    client
        Connected or not; it is neither started nor stopped here, and nobody else takes from it.
    outbox
        Where batches are held.
    period
        Time between two questions. [s]

    Raises
    ------
    JournalError
        If the outbox does not tell whose batches it holds.
    """

    def __init__(self, client: Client, outbox: Outbox, *, period: float = ASKED) -> None:
        self._client = client
        self._outbox = outbox
        self._period = period
        self._mutex = threading.Lock()
        self._sources: dict[str, None] = {}
        self._again: dict[str, dict[Key, _Resent]] = {}
        self._counts = Counter(dict.fromkeys(COUNTED, 0))
        self._gone: dict[tuple[str, int], tuple[Range, ...]] = {}
        self._sent = 0
        self._unanswered = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        for source in outbox.sources():
            self._know(source)

    @property
    def counters(self) -> Mapping[str, int]:
        """What happened so far.

        ``published``, of these ``unheld`` (the disk would not have them); ``again``, sent once
        more because they were missing; ``unread``, answers that could not be read or followed;
        ``unasked``, questions of a source that failed because the disk did not tell what is held.
        """
        return dict(self._counts)

    @property
    def trouble(self) -> str:
        """Why what is held stays held, in words; empty where it does not, or the client tells."""
        is_asked = self._client.is_connected and self._unanswered >= UNANSWERED
        return UNHEARD if is_asked and self.held else ""

    def start(self) -> None:
        """Begin to ask and to send again."""
        self._thread.start()

    def stop(self) -> None:
        """End; what is held stays held."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def publish(self, batches: Sequence[RackBatch]) -> None:
        """Hold batches and send them, in their order.

        Parameters
        ----------
        batches
            Those of one rack have rising keys (boot, sequence).

        Raises
        ------
        WireError
            If one of them cannot be written, after all others are held and sent.
        """
        letters, fault = [], None
        for batch in batches:
            try:
                source, payload = encode_batch(batch)
            except WireError as error:
                fault = fault or error
            else:
                letters.append(Letter(source, batch.boot, batch.sequence, payload))
        for source in {one.source for one in letters}:
            self._know(source)
        try:
            self._outbox.put(letters)
        except JournalError as error:
            if not self._counts["unheld"]:
                _logger.warning("sent without being held", reason=str(error))
            self._counts["unheld"] += len(letters)
        for one in letters:
            self._client.publish(one.source, one.payload, qos=1)
        self._counts["published"] += len(letters)
        if fault is not None:
            raise fault

    @property
    def held(self) -> int:
        """Payload of what is not known to be durable. [B]"""
        return self._outbox.size

    def _know(self, source: str) -> None:
        """Want to hear what is durable of a source."""
        with self._mutex:
            if source in self._sources:
                return
            self._sources[source] = None
        self._client.subscribe(source + DURABLE, qos=0)

    def _run(self) -> None:
        asked, connections = 0.0, 0
        while not self._ended.is_set():
            count = self._client.counters["connections"]
            is_new = self._client.is_connected and count != connections
            if is_new:
                self._again.clear()  # what was underway may have gone with the broker
                self._unanswered = 0
            if is_new or time.monotonic() - asked >= self._period:
                asked, connections = time.monotonic(), count
                self._ask()
            for message in self._client.take(timeout=GLANCE):
                self._hear(message)

    def _ask(self) -> None:
        """Tell what is held, of all sources."""
        with self._mutex:
            sources = list(self._sources)
        self._unanswered += self._client.is_connected
        for source in sources:
            try:
                known = self._outbox.held(source)
            except JournalError as error:  # it is asked again after a period
                if not self._counts["unasked"]:
                    _logger.warning("nothing asked", source=source, reason=str(error))
                self._counts["unasked"] += 1
                continue
            held = [replace(one, gone=self._gone.get((source, one.boot), ())) for one in known]
            if held:
                self._client.publish(source + HELD, custody.encode_held(held), qos=0)

    def _hear(self, message: Message) -> None:
        """Let go of what is durable, and send what is missing."""
        source = message.topic.removesuffix(DURABLE)
        try:
            boots = custody.decode_durable(message.topic, message.payload)
            self._unanswered = 0
            self._settle(source, boots)
            for one in boots:
                self._outbox.let_go(source, one.boot, one.through)
                gone = [part for s in one.missing for part in self._send_again(source, one.boot, s)]
                self._gone[source, one.boot] = tuple(gone[: custody.MOST_RANGES])
        except (WireError, JournalError) as error:
            if not self._counts["unread"]:
                _logger.warning("answer not followed", reason=str(error))
            self._counts["unread"] += 1

    def _settle(self, source: str, boots: Sequence[Durable]) -> None:
        """Forget what has come; what was sent before it and has not come is lost once more."""
        lacking: dict[Key, _Resent] = {}
        newest = 0
        for key, resent in self._again.get(source, {}).items():
            if any(one.boot == key[0] and one.lacks(key[1]) for one in boots):
                lacking[key] = resent
            else:
                newest = max(newest, resent.number)
        for resent in lacking.values():
            if resent.number < newest:
                resent.due = 0.0
        self._again[source] = lacking

    def _send_again(self, source: str, boot: int, span: Range) -> list[Range]:
        """Send what is held of a span, unless it was sent again a short while ago.

        What a broker has queued comes late, and would only come later if it were sent once more.
        Returns what of the span is not held.
        """
        now, again = time.monotonic(), self._again[source]
        share = max(UNDERWAY // max(len(self._sources), 1), LEAST)
        letters = self._outbox.read(source, boot, span, limit=share)
        for one in letters:
            resent = again.get((boot, one.sequence))
            if resent is None:
                if len(again) >= share:
                    break
                resent = again[boot, one.sequence] = _Resent(PATIENCE[0])
            elif now < resent.due:
                continue
            self._sent += 1
            resent.number = self._sent
            resent.due = now + resent.wait
            resent.wait = min(2.0 * resent.wait, PATIENCE[1])
            self._client.publish(one.source, one.payload, qos=1)
            self._counts["again"] += 1
        return _gaps(span, [one.sequence for one in letters], is_all=len(letters) < share)


@dataclass(slots=True)
class _Resent:
    """A batch that was sent again: how long to wait for it, until when [s], and its number."""

    wait: float
    due: float = 0.0
    number: int = 0


def _gaps(span: Range, held: Sequence[int], *, is_all: bool) -> list[Range]:
    """Return what of a span is not held; only up to the last that is, if that is not all."""
    gone, at = [], span[0]
    for sequence in held:
        if sequence > at:
            gone.append((at, sequence - 1))
        at = sequence + 1
    if is_all and at <= span[1]:
        gone.append((at, span[1]))
    return gone
