"""One ingester of a site that is heard in shards: from the broker to its journal, no further.

What the messages say is read by the archiver of the site; see :mod:`telemetry.site_archiver`.
"""

import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import structlog

from telemetry.journal import Journal
from telemetry.mailbox import Message
from telemetry.source import AGAIN, MOST_WAITING, Source, gather
from telemetry.tail import archived
from twin.errors import JournalError

TRIMMED: Final = 5.0
"""Time between two looks at what is archived. [s]"""

_logger = structlog.get_logger(__name__)


class Shard:
    """Takes in a part of what a plant says.

    Parameters
    ----------
    client
        Connected or not; it is neither started nor stopped here.
    journal
        Where messages become durable.
    folder
        Of the journal.
    """

    def __init__(self, client: Source, journal: Journal, *, folder: Path) -> None:
        self._client = client
        self._journal = journal
        self._folder = folder
        self._counts = Counter({"messages": 0, "appends": 0, "unjournaled": 0})
        self._ended = threading.Event()
        self._looked = 0.0
        self.trouble = ""

    @property
    def counters(self) -> Mapping[str, int]:
        """What happened so far: ``messages``, ``appends``, and ``unjournaled``.

        The last are of QoS 0 and were dropped while the disk was full.
        """
        return dict(self._counts)

    def stop(self) -> None:
        """End :meth:`run`, from any thread."""
        self._ended.set()

    def run(self) -> None:
        """Take in until stopped."""
        waiting: list[Message] = []
        while not self._ended.is_set():
            if len(waiting) < MOST_WAITING:
                waiting += self._take()
            if waiting:
                waiting = self._append(waiting)
            self._trim()

    def _take(self) -> list[Message]:
        messages = gather(self._client)
        self._counts["messages"] += len(messages)
        return messages

    def _append(self, messages: list[Message]) -> list[Message]:
        """Make messages durable and acknowledge them; return those that must wait."""
        try:
            self._journal.append([(one.topic, one.payload) for one in messages])
        except JournalError as error:
            if not self.trouble:
                _logger.warning("journal not written", reason=str(error))
            self.trouble = str(error)
            self._ended.wait(AGAIN)
            held = [one for one in messages if one.qos]
            if len(messages) < MOST_WAITING:
                return messages
            self._counts["unjournaled"] += len(messages) - len(held)
            return held
        if self.trouble:
            _logger.info("journal written again")
            self.trouble = ""
        self._client.acknowledge([one for one in messages if one.qos])
        self._counts["appends"] += 1
        return []

    def _trim(self) -> None:
        """Let go of what is archived."""
        if time.monotonic() - self._looked < TRIMMED:
            return
        self._looked = time.monotonic()
        position = archived(self._folder)
        if position is not None:
            self._journal.trim(position)
