"""One ingester of a site that is heard in shards: from the broker to its journal, no further.

What the messages say is read by the archiver of the site, :mod:`telemetry.shards.site_archiver`.
Sources that keep what they send are told what is durable; see :mod:`telemetry.journaling.progress`.
"""

import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import Final

import structlog

from telemetry.intake.source import AGAIN, MOST_WAITING, Oversized, Source, gather, rest
from telemetry.journal import Journal
from telemetry.journaling.damage import Damage
from telemetry.journaling.progress import SAVED, Progress
from telemetry.journaling.tail import archived
from telemetry.wire.mailbox import Message
from twin.errors import JournalError

HEARD: Final = ("dropped", "oversized", "spoilt")
"""Counters of the connection that tell what was lost before it was here."""

_logger = structlog.get_logger(__name__)


class Shard:
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

    def __init__(self, client: Source, journal: Journal) -> None:
        self._client = client
        self._journal = journal
        self.oversized = Oversized(client)
        self.damage = Damage(journal, archived(journal.folder))
        self._counts = Counter({"messages": 0, "appends": 0, "unjournaled": 0})
        self._progress = Progress(journal.folder)
        self._asked: list[Message] = []
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
        heard = {name: self._client.counters.get(name, 0) for name in HEARD}
        return {**self._counts, **heard, "lost_at_sources": self._progress.lost}

    @property
    def trouble(self) -> str:
        """What is wrong with the journal and what to do about it; empty if nothing is."""
        return "; ".join(filter(None, [self._unjournaled or self._untrimmed, self.damage.words]))

    def stop(self) -> None:
        """End :meth:`run`, from any thread."""
        self._ended.set()

    def run(self) -> None:
        """Take in until stopped."""
        waiting: list[Message] = []
        self._progress.recover(self._journal)
        while not self._ended.is_set():
            if len(waiting) < MOST_WAITING:
                waiting += self._take()
            if waiting:
                waiting = self._append(waiting)
            if self._asked:
                self._progress.answer(self._asked, self._client.publish)
                self._client.acknowledge([one for one in self._asked if one.qos])
                self._asked = []
            self._trim()
        for more in rest(self._client):
            waiting = self._append(waiting + self._sifted(more))
        self._progress.save(self._journal.end)

    def _take(self) -> list[Message]:
        return self._sifted(gather(self._client))

    def _sifted(self, messages: list[Message]) -> list[Message]:
        """Return messages without the questions of sources, which are put aside."""
        messages, asked = self._progress.sift(messages)
        self._counts["messages"] += len(messages)
        self._asked += asked
        return messages

    def _append(self, messages: list[Message]) -> list[Message]:
        """Make messages durable and acknowledge them; return those that must wait."""
        try:
            self._journal.append([(one.topic, one.payload) for one in messages])
        except JournalError as error:
            if not self._unjournaled:
                _logger.warning("journal not written", reason=str(error))
            self._unjournaled = str(error)
            self._ended.wait(AGAIN)
            held = [one for one in messages if one.qos]
            if len(messages) < MOST_WAITING:
                return messages
            self._counts["unjournaled"] += len(messages) - len(held)
            return held
        if self._unjournaled:
            _logger.info("journal written again")
            self._unjournaled = ""
        self._progress.note(messages)
        self._client.acknowledge([one for one in messages if one.qos])
        self._counts["appends"] += 1
        return []

    def _trim(self) -> None:
        """Let go of what is archived, once what sources may let go of is written down."""
        if time.monotonic() - self._looked < SAVED:
            return
        self._looked = time.monotonic()
        self._progress.save(self._journal.end)
        position = archived(self._journal.folder)
        if position is None:
            return
        try:
            self._journal.trim(position)
            self._untrimmed = ""
        except JournalError as error:
            if not self._untrimmed:
                _logger.warning("journal not trimmed", reason=str(error))
            self._untrimmed = str(error)
