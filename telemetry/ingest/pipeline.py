"""From the broker to disk, to the window and to the archive, in this order; nothing is lost.

One thread takes what came, appends it to the journal, and only then acknowledges it. After that
each message is handed on; :mod:`telemetry.ingest.router` tells to whom. What cannot be read is
acknowledged like the rest, or else a broker would send it for ever. A second thread commits; see
:mod:`telemetry.ingest.pipeline`.

The thread that commits: minutes into the archive, and what the journal need not hold any more.

Taking in never waits for it. If it falls behind for want of memory or of a disk, it reads from the
journal what it missed.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from telemetry.archive import Archive, loss_log
from telemetry.archive.last_messages import LastMessageStore
from telemetry.delivery.tracker import SAVE_PERIOD_S, DeliveryTracker
from telemetry.ingest.ingester import (
    APPEND_RETRY_S,
    MAX_WAITING,
    MessageSource,
    OversizedMessages,
    drain,
    read_batch,
)
from telemetry.ingest.recovery import recent_readings
from telemetry.ingest.router import SampleListener, SampleRouter
from telemetry.journal.format import JournalPosition, JournalRecord
from telemetry.journal.writer import CorruptionReport, Journal
from telemetry.live.state import LiveState
from telemetry.mqtt.queues import ReceivedMessage
from telemetry.quality.tracker import PointCoverage
from twin.errors import ArchiveError, JournalError

PIPELINE_COUNTERS: Final = ("messages", "appends", "repeated", "unjournaled", "oversized")

_logger = structlog.get_logger(__name__)


class IngestPipeline:
    """Takes in what a plant says.

    Parameters
    ----------
    client
        Connected or not; it is neither started nor stopped here.
    journal
        Where messages become durable.
    window
        Gets every sample.
    archive
        Keeps readings for good, and says what the journal need not hold; None for none.
    quarantine
        Folder for what cannot be read; None to count it only.
    is_simulated
        Whether times are those of a simulated plant, which has nothing to do with our clock.

    Attributes
    ----------
    damage
        What of the journal was found damaged since the start.
    """

    def __init__(
        self,
        client: MessageSource,
        journal: Journal,
        *,
        window: LiveState,
        archive: Archive | None = None,
        quarantine: Path | None = None,
        is_simulated: bool = False,
    ) -> None:
        self._client = client
        self._journal = journal
        self._archive = archive
        self._desk = SampleRouter(window, archive, quarantine)
        self._is_simulated = is_simulated
        self._counts = Counter(dict.fromkeys(PIPELINE_COUNTERS, 0))
        self._order = threading.RLock()
        self._ended = threading.Event()
        self._waiting: list[ReceivedMessage] = []
        self._from_before: list[SampleListener] = []
        self._progress = DeliveryTracker(journal.folder)
        self._saved = self._retry = 0.0
        self._trouble = ""
        self._oversized = OversizedMessages(client)
        self.damage = CorruptionReport(journal, archive.position if archive else None)
        self._archiver: CommitThread | None = None
        if archive is not None:
            self._archiver = CommitThread(
                archive,
                journal,
                self._desk.last_messages,
                add=self._store_frame,
                order=self._order,
                tell=(self._desk.rejects.write_losses, self._tell_damage),
            )
        self._thread = threading.Thread(target=self._run, name="ingester", daemon=True)

    def add_listener(self, listener: SampleListener, *, from_before: bool = False) -> None:
        """Have a quick function called with new samples; with those of :meth:`recover` if asked."""
        self._desk.listeners.append(listener)
        self._from_before += [listener] if from_before else []

    @property
    def error(self) -> str:
        """What is wrong with the journal, a thread or a clock, and what to do; empty if nothing."""
        return self.failure or self._desk.rejects.error

    @property
    def failure(self) -> str:
        """Why nothing is taken in or archived; empty if it is, whatever single sources say."""
        dead = thread_failure(self._thread, self._ended)
        return dead or self._trouble or (self._archiver.error if self._archiver else "")

    @property
    def coverage(self) -> PointCoverage:
        """How much of what points said was heard."""
        return self._desk.coverage

    @property
    def counters(self) -> Mapping[str, int]:
        """What happened so far.

        ``messages``, of these ``repeated`` (word for word what was last said of a point or of
        jobs, not journaled again), ``quarantined``, ``future`` (in quarantine) and ``ticks`` (of a
        simulation, while times are real), not archived, ``refused`` (by the archive), ``failed``
        (in a listener or in the window) and ``unjournaled`` (QoS 0 dropped while the disk was
        full); ``appends``, and ``waiting`` for room on the disk now.
        """
        return {**self._counts, **self._desk.counts, "waiting": len(self._waiting)}

    def recover(self) -> int:
        """Take up what an earlier process left, before :meth:`start`.

        Metadata and jobs as they were said last, the readings of the last day from the archive,
        a value for each quarter-hour; then all of the journal that the archive does not hold. All
        of it goes to the window, the last also to the archive.

        Returns
        -------
        int
            Messages of the journal that were read.
        """
        after = self._archive.position if self._archive else None
        for topic, payload in self._desk.last_messages.load(self._journal.read(), until=after):
            self._take_up(
                JournalRecord(self._journal.end, topic, payload, np.datetime64("now", "us"))
            )
        if self._archive:
            readings = recent_readings(self._archive.folder, self._archive.site_name)
            self._desk.restore(readings, is_simulated=self._is_simulated)
        if self._archive and (seen := self._archive.received_positions.get("")):
            self._journal.skip_past(seen)
        count = 0
        for frame in self._journal.read(after=after):
            self._take_up(frame)
            if self._archive and self._archiver:
                self._archive.advance(frame.position)
                if self._archive.is_due:
                    self._archiver.commit()
            count += 1
        self._tell_damage()
        self._progress.recover(self._journal)
        _logger.info("recovered", messages=count, after=str(after or ""))
        return count

    def start(self) -> None:
        """Begin to take in."""
        if self._archiver:
            self._archiver.start()
        self._thread.start()

    def stop(self) -> None:
        """Take in what waits to be taken, commit, and end."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._archiver:
            self._archiver.stop()

    def _run(self) -> None:
        while not self._ended.is_set():
            if len(self._waiting) >= MAX_WAITING and not self._make_room():
                self._ended.wait(APPEND_RETRY_S)
            else:
                self._take(read_batch(self._client))
            self._tell_oversized()
            if time.monotonic() - self._saved > SAVE_PERIOD_S:
                self._saved = time.monotonic()
                self._progress.save(self._journal.end)
        for messages in drain(self._client):
            self._take(messages)
        self._progress.save(self._journal.end)

    def _take(self, messages: list[ReceivedMessage]) -> None:
        """Take messages in, or let them wait where the disk is full; answer sources that ask."""
        messages, asked = self._progress.split_reports(messages)
        self._counts["messages"] += len(messages)
        if self._waiting:
            self._waiting += messages
            self._show(messages)
            if time.monotonic() >= self._retry:
                messages, self._waiting = self._waiting, []
                self._append(messages, is_shown=True)
        elif messages:
            self._append(messages, is_shown=False)
        if asked:
            self._progress.answer(asked, self._client.publish)
            self._client.acknowledge(asked)

    def _append(self, messages: list[ReceivedMessage], *, is_shown: bool) -> None:
        """Make messages durable, acknowledge them, and hand them on.

        Parameters
        ----------
        messages
            In the order they came.
        is_shown
            Whether window and listeners have seen them.
        """
        new = self._desk.last_messages.changed_only([(one.topic, one.payload) for one in messages])
        with self._order:
            try:
                position = self._journal.append(new)
            except JournalError as error:
                self._wait(messages, str(error))
                if not is_shown:
                    self._show(messages)
                return
            self._progress.add_durable(messages)
            self._client.acknowledge(messages)
            if self._trouble:
                _logger.info("journal written again")
            self._trouble = ""
            self._counts["appends"] += 1
            self._counts["repeated"] += len(messages) - len(new)
            received = self._now()
            samples = [self._desk.decode(one.topic, one.payload) for one in messages]
            if not is_shown:
                self._desk.track_time(samples, received)
            for message, sample in zip(messages, samples, strict=True):
                if sample is not None:
                    self._desk.last_messages.update(message.topic, message.payload)
                    flag = None if is_shown else self._desk.update_live(sample, received)
                    self._desk.archive(sample, position, flag=flag, received=received)
            if self._archive and self._archiver and not self._archive.is_behind:
                self._archive.advance(position)
        if self._archive and self._archiver and (self._archive.is_due or self._archive.is_behind):
            self._archiver.notify()

    def _show(self, messages: Sequence[ReceivedMessage]) -> None:
        """Let the window know of messages that are not durable, so that the service can go on."""
        received = self._now()
        samples = [self._desk.decode(one.topic, one.payload) for one in messages]
        self._desk.track_time(samples, received)
        for sample in samples:
            if sample is not None:
                self._desk.update_live(sample, received)

    def _wait(self, messages: list[ReceivedMessage], reason: str) -> None:
        """Keep messages until there is room; none of them is acknowledged."""
        if not self._trouble:
            _logger.error("journal not written", reason=reason)
        self._trouble = reason
        self._waiting = messages
        self._retry = time.monotonic() + APPEND_RETRY_S

    def _make_room(self) -> bool:
        """Drop what nobody sends again; return whether that, or the disk, made room."""
        held = [message for message in self._waiting if message.qos]
        self._counts["unjournaled"] += len(self._waiting) - len(held)
        self._waiting = held
        if time.monotonic() >= self._retry:
            self._take([])
        return len(self._waiting) < MAX_WAITING

    def _take_up(self, frame: JournalRecord) -> None:
        """Take in what an earlier process made durable."""
        sample = self._desk.decode(frame.topic, frame.payload)
        if sample is not None:
            received = None if self._is_simulated else frame.received
            self._desk.track_time([sample], received)
            self._desk.last_messages.update(frame.topic, frame.payload)
            for listener in self._from_before:
                listener(sample)
            flag = self._desk.update_live(sample, received, is_new=False)
            self._desk.archive(sample, frame.position, flag=flag, received=received)

    def _store_frame(self, frame: JournalRecord) -> None:
        self._desk.archive_record(frame, None if self._is_simulated else frame.received)

    def _now(self) -> np.datetime64 | None:
        return None if self._is_simulated else np.datetime64(time.time_ns() // 1000, "us")

    def _tell_oversized(self) -> None:
        """Put what was too large into quarantine: what is left of it, topic and size."""
        for topic, size in self._oversized.new():
            self._desk.rejects.quarantine.add_undecodable(topic, "too large", size)
        self._counts["oversized"] = self._oversized.count

    def _tell_damage(self) -> None:
        """Write down, once each, what of the journal may be lost."""
        if self._archive:
            loss_log.append_reasons(self._archive.folder, self.damage.new_losses())


COMMIT_DELAY_S: Final = 0.2
"""Wait for stragglers between a tick or the end of a minute and its commit. [s]"""

COMMIT_RETRY_S: Final = 5.0
"""Wait after a commit that failed. [s]"""

IDLE_COMMIT_S: Final = 120.0
"""Time without a minute that ends, after which what is open is written as well: who looks for what
was before a black-out need not wait until it is over. [s]"""

FINAL_CATCH_UP_RECORDS: Final = 1000
"""Frames that are left for the moment in which nobody else may add."""


class CommitThread:
    """Commits what is due.

    Parameters
    ----------
    archive, journal, kept
        What is written, and what backs it.
    add
        Adds the sample of a frame to the archive, and to nothing else.
    order
        Held by whoever appends to the journal and adds to the archive what was appended.
    tell
        Each writes down what was not archived, before the journal lets go of it.
    """

    def __init__(
        self,
        archive: Archive,
        journal: Journal,
        kept: LastMessageStore,
        *,
        add: Callable[[JournalRecord], None],
        order: AbstractContextManager[bool],
        tell: Sequence[Callable[[], None]] = (),
    ) -> None:
        self._archive = archive
        self._journal = journal
        self._kept = kept
        self._add = add
        self._order = order
        self._tell = tell
        self._ring = threading.Event()
        self._ended = threading.Event()
        self._trimmed: JournalPosition | None = None
        self._thread = threading.Thread(target=self._run, name="archiver", daemon=True)

    @property
    def error(self) -> str:
        """That its thread has died, and what to do about it; empty if it has not."""
        return thread_failure(self._thread, self._ended)

    def start(self) -> None:
        """Begin."""
        self._thread.start()
        self.notify()

    def notify(self) -> None:
        """Say that something is due."""
        self._ring.set()

    def stop(self) -> None:
        """Commit all there is, open minutes too, and end."""
        self._ended.set()
        self._ring.set()
        if self._thread.is_alive():
            self._thread.join()
        if not self._archive.is_behind:
            self.commit(include_open=True)

    def commit(self, *, include_open: bool = False) -> bool:
        """Commit, and trim the journal; return False if the disk would not have it."""
        for tell in self._tell:
            tell()
        try:
            if self._archive.commit(include_open=include_open):
                self._trim()
        except (ArchiveError, JournalError) as error:
            _logger.warning("archive not written", reason=str(error))
            return False
        return True

    def _run(self) -> None:
        while not self._ended.is_set():
            is_silent = not self._ring.wait(IDLE_COMMIT_S)
            self._ring.clear()
            wait = COMMIT_DELAY_S
            while not self._ended.wait(wait):
                is_behind = self._archive.is_behind
                is_done = self._catch_up() if is_behind else self.commit(include_open=is_silent)
                if is_done and not self._archive.is_behind:
                    self._archive.maintain()
                    break
                wait = COMMIT_RETRY_S

    def _trim(self) -> None:
        """Let go of what the archive has; what it has no room for is written down before."""
        position = self._archive.position
        before = self._trimmed
        if position is None or (before is not None and position.segment == before.segment):
            return
        self._kept.save()
        os.sync()  # the archive's own files: its library leaves them to the system
        self._journal.trim(position)
        self._trimmed = position

    def _catch_up(self) -> bool:
        """Read again what was left to the journal; return whether the archive is up to date."""
        with self._order:  # whoever has seen that it is not behind has taken down how far it is
            self._archive.rewind()
        while True:
            count, is_done = self._read_on()
            if not is_done or self._ended.is_set():
                return False
            if count < FINAL_CATCH_UP_RECORDS:
                break
        with self._order:
            _, is_done = self._read_on()
            if is_done:
                self._archive.mark_caught_up()
        _logger.info("archive caught up", position=str(self._archive.position))
        return is_done

    def _read_on(self) -> tuple[int, bool]:
        """Add what the journal holds; return how many frames, and whether all went well."""
        count = 0
        for frame in self._journal.read(after=self._archive.added_position):
            self._add(frame)
            self._archive.advance(frame.position)
            count += 1
            if self._archive.is_due and not self.commit():
                return count, False
            if self._ended.is_set():
                break
        return count, True


def thread_failure(thread: threading.Thread, ended: threading.Event) -> str:
    """Return what to do about a thread that ended before it was told to; empty if it did not."""
    if thread.ident is None or thread.is_alive() or ended.is_set():
        return ""
    return f"the {thread.name} ended by itself: see the log, and start the service again"
