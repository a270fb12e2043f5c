"""Record a site: an ingester process for each shard, and its archiver in this one.

Whoever ends, ends alone: an ingester that dies is started again, and its journal goes on.

An ingester process as who started it sees it: what it tells, and that it is started again.

Which part of what a site says each of its ingesters hears: everything once, nothing twice.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final, Self

import structlog

from telemetry.archive import Archive
from telemetry.archive.loss_log import append_reasons
from telemetry.archive.storage import RepositoryLocation
from telemetry.ingest.dead_letter import DeadLetterStore
from telemetry.ingest.ingester import IngesterConfig
from telemetry.ingest.journal_archiver import (
    ALLOCATOR_ENVIRONMENT,
    RECORD_COUNTERS,
    JournalArchiver,
)
from telemetry.messages import topics
from telemetry.messages.bms_contract import RULES_BY_OBJECT
from telemetry.messages.topics import TopicKind
from twin.errors import ArchiveError, BrokerError, MessageError

JOURNALS_FOLDER: Final = "journals"
"""Folder of the state folder in which each shard has its journal."""

_logger = structlog.get_logger(__name__)


class RecorderSupervisor:
    """A site that is being recorded.

    Parameters
    ----------
    site
        Its name.
    task
        How to come to the broker; its topics, name and folder are filled in for each shard.
    folder
        State folder: ``journals/<shard>``, ``archive`` and ``quarantine`` lie in it. Journals of
        shards that are not heard any more are archived too.
    halls, types
        Halls whose racks, and object types whose points, have an ingester of their own.
    is_simulated
        Whether times are those of a simulated plant.

    Raises
    ------
    BrokerError
        If the URL or the certificates cannot be used.
    WireError
        If there is no such object type.
    ArchiveError
        If the archive is that of another site, or the disk is at fault.
    """

    def __init__(
        self,
        site: str,
        task: IngesterConfig,
        *,
        folder: Path,
        halls: Sequence[str] = (),
        types: Sequence[str] = (),
        is_simulated: bool = False,
    ) -> None:
        heard = partition_filters(site, halls, types)
        folders = {name: folder / JOURNALS_FOLDER / name for name in heard}
        self._folder, self._site = folder / "archive", site
        self._archive: Archive | None = None
        if RepositoryLocation.of(self._folder).is_local:
            self._archive = Archive(self._folder, site)
        seen = self._archive.received_positions if self._archive else {}
        self._ingesters = {
            name: IngesterProcess(
                replace(
                    task,
                    client_id=f"gigatwin-record-{site}-{name}",
                    topics=filters,
                    folder=str(folders[name]),
                    archived_position=str(seen.get(name, "")),
                ),
                DeadLetterStore(folder / "quarantine"),
                self._folder,
            )
            for name, filters in heard.items()
        }
        for ingester in self._ingesters.values():
            ingester.config.client()  # the process would find fault with it again and again
        self._make = partial(
            JournalArchiver,
            journals=_left(folder) | folders,
            quarantine=folder / "quarantine",
            is_simulated=is_simulated,
        )
        self._archiver: JournalArchiver | None = None
        self._trouble = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="archiver")

    def __enter__(self) -> Self:
        """Begin."""
        for ingester in self._ingesters.values():
            ingester.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take in what waits, archive all of it, and end."""
        for ingester in self._ingesters.values():
            ingester.stop()
        for ingester in self._ingesters.values():
            ingester.join()
        self._ended.set()
        if self._archiver is not None:
            self._archiver.stop()
        self._thread.join()

    def _run(self) -> None:
        """Archive; a bucket that is not there is waited for, while all stays in the journals."""
        while self._archive is None:
            try:
                self._archive = Archive(self._folder, self._site)
            except ArchiveError as error:
                if not self._trouble:
                    _logger.warning("archive not opened", reason=str(error))
                self._trouble = str(error)
                if self._ended.wait(RESTART_DELAYS_S[1]):
                    return
        self._trouble = ""
        self._archiver = self._make(self._archive)
        if self._ended.is_set():
            self._archiver.stop()
        self._archiver.run()

    def wait(self, ended: Callable[[float], bool]) -> None:
        """Watch over the ingesters until told to end.

        Parameters
        ----------
        ended
            Waits so long [s] and returns whether it is time.

        Raises
        ------
        BrokerError
            If the archiver ended by itself.
        """
        while not ended(WATCH_PERIOD_S):
            for ingester in self._ingesters.values():
                ingester.watch()
            if not self._thread.is_alive():
                raise BrokerError("record", "the archiver ended", "see the log before this line")

    @property
    def counters(self) -> Mapping[str, int]:
        """What happened so far: of the ingesters, of the archiver and of the archive.

        Of the ingesters ``messages`` taken in; lost were ``unjournaled`` and ``dropped`` (QoS 0, no
        room on the disk or in memory), ``oversized`` and ``spoilt`` (in quarantine, or unreadable
        even for that) and ``lost_at_sources`` (which had no more room to hold it).
        """
        told = sum((one.counters for one in self._ingesters.values()), Counter())
        read = self._archiver.counters if self._archiver else dict.fromkeys(RECORD_COUNTERS, 0)
        written = self._archive.counters if self._archive else {}
        return {
            **{name: told[name] for name in SUMMED_COUNTERS},
            **read,
            **{name: written.get(name, 0) for name in ("values", "late", "merged", "commits")},
        }

    @property
    def is_listening(self) -> bool:
        """Whether the broker has let in all ingesters."""
        return all(one.status.get("is_connected") for one in self._ingesters.values())

    @property
    def coverage(self) -> Mapping[str, object]:
        """How many points were heard, and the worst covered of them; empty before it began."""
        return self._archiver.coverage if self._archiver else {}

    @property
    def unarchived_reason(self) -> str:
        """After the end, why something stays in the journals and not archived; empty if nothing."""
        if self._archiver is None:
            return self._trouble
        if not self._archiver.has_unarchived:
            return ""
        return self.errors.get("archive", "the archiver ended by itself: see the log")

    @property
    def errors(self) -> dict[str, str]:
        """Shard -> what is wrong with it; empty if nothing is."""
        told = {name: str(one.status.get("trouble", "")) for name, one in self._ingesters.items()}
        read = self._archiver.error if self._archiver else ""
        written = self._archive.error if self._archive else self._trouble
        told["archive"] = "; ".join(filter(None, [written, read]))
        return {name: trouble for name, trouble in told.items() if trouble}


def _left(folder: Path) -> dict[str, Path]:
    """Return the journals that earlier recordings left; one that was killed left its newest."""
    return {one.name: one for one in sorted((folder / JOURNALS_FOLDER).glob("*/"))}


RESTART_DELAYS_S: Final = (0.0, 3.0)
"""Wait before an ingester that died is started again, at first and at the longest. [s]

At the longest, and with the second or so of a start, it is ready within the 5 s that we promise.
"""

STABLE_LIFE_S: Final = 10.0
"""Life after which the next death counts as the first. [s]"""

STOP_TIMEOUT_S: Final = 30.0
"""Longest wait for an ingester that shall end. [s]"""

SUMMED_COUNTERS: Final = (
    "messages",
    "unjournaled",
    "lost_at_sources",
    "dropped",
    "oversized",
    "spoilt",
)
"""What ingesters tell of, over all of their lives."""

WATCH_PERIOD_S: Final = 0.25
"""Time between two looks at the ingesters. [s]"""


@dataclass
class IngesterProcess:
    """One ingester process, and what it told last.

    Attributes
    ----------
    config
        What it hears.
    quarantine
        Gets what was too large for it.
    loss_folder
        Folder of the archive, where losses are written down; None to say them only.
    process
        It; None before it was started.
    status
        What it told last.
    earlier_counters
        What it told in its lives before this one.
    died, began
        When it was found dead, 0 while it lives, and when it was started last; of the monotonic
        clock. [s]
    pause
        Wait before it is started again. [s]
    """

    config: IngesterConfig
    quarantine: DeadLetterStore = field(default_factory=lambda: DeadLetterStore(None))
    loss_folder: Path | None = None
    process: subprocess.Popen[str] | None = None
    status: dict[str, object] = field(default_factory=dict)
    earlier_counters: Counter[str] = field(default_factory=Counter)
    died: float = 0.0
    began: float = 0.0
    pause: float = 0.0

    def start(self) -> None:
        """Start it."""
        self.began = time.monotonic()
        words = [sys.executable, "-m", "telemetry.ingest.ingester"]
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | ALLOCATOR_ENVIRONMENT,
            start_new_session=True,  # Ctrl-C is ours to hand on
        )
        if self.process.stdin is not None:
            self.process.stdin.write(self.config.to_line())
            self.process.stdin.flush()
        threading.Thread(target=self._hear, args=(self.process,), daemon=True).start()

    def _hear(self, process: "subprocess.Popen[str]") -> None:
        for line in process.stdout or ():
            try:
                told = dict(json.loads(line))
            except (TypeError, ValueError):  # a library of the process wrote where it should not
                _logger.warning("ingester says", shard=self.config.client_id, line=line.strip())
                continue
            if told.get("is_connected") and not self.status.get("is_connected"):
                _logger.info("listening", shard=self.config.client_id)
            if (error := told.get("trouble")) and error != self.status.get("trouble"):
                _logger.warning("ingester in trouble", shard=self.config.client_id, reason=error)
            for topic, size in told.pop("too_large", ()):
                self.quarantine.add_undecodable(topic, "too large", size)
            append_reasons(self.loss_folder, told.pop("damaged", ()))
            self.status = {**self.status, **told}
        if process.stdout is not None:
            process.stdout.close()

    def watch(self) -> None:
        """Start it again if it died."""
        if self.process is None or self.process.poll() is None:
            return
        if not self.died:
            self.died = time.monotonic()
            fault = self.status.get("fault", f"code {self.process.returncode}")
            is_steady = self.died - self.began > STABLE_LIFE_S
            self.pause = (
                RESTART_DELAYS_S[0]
                if is_steady
                else min(2.0 * self.pause + WATCH_PERIOD_S, RESTART_DELAYS_S[1])
            )
            error = f"ended by itself ({fault}) and is started again"
            self.earlier_counters, self.status = self.counters, {"trouble": error}
            _logger.warning("ingester ended", shard=self.config.client_id, reason=fault)
        elif time.monotonic() - self.died >= self.pause:
            self.died = 0.0
            self.stop()  # the pipe to the dead one
            self.start()

    @property
    def counters(self) -> Counter[str]:
        """What it told, in this life and those before."""
        return self.earlier_counters + Counter(
            {one: int(str(self.status.get(one, 0))) for one in SUMMED_COUNTERS}
        )

    def stop(self) -> None:
        """Tell it to take in what waits, and to end."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()

    def join(self) -> None:
        """Wait until it has ended."""
        if self.process is not None:
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


PLANT_PARTITION: Final = "plant"
"""Shard of what the plant says, jobs and clock; with nothing else named, of everything."""

type TopicFilters = dict[str, int]
"""Filter of topics -> quality of service."""


def partition_filters(
    site: str, halls: Sequence[str] = (), types: Sequence[str] = ()
) -> dict[str, TopicFilters]:
    """Return what each shard of a site hears.

    Parameters
    ----------
    site
        Its name.
    halls
        Halls whose racks have an ingester of their own; if any, no other hall is heard.
    types
        Object types of DSX BMS, such as ``Rack``, whose points have one; if any, the plant's hears
        those of all others that the contract knows.

    Returns
    -------
    dict
        Name of a shard -> its filters.

    Raises
    ------
    MessageError
        If there is no such object type.
    """
    for one in types:
        if one not in RULES_BY_OBJECT:
            raise MessageError(
                "object type", one, f"choose among {', '.join(sorted(RULES_BY_OBJECT))}"
            )
    rest = [one for one in RULES_BY_OBJECT if one not in types] if types else ["+"]
    others = [one for one in topics.service_filters(site) if not one.startswith("BMS/")]
    racks = _racks(site=site)
    plant = dict.fromkeys([one for one in others if one not in racks], 1)
    for one in rest:
        plant |= _points(site, one)
    found = {PLANT_PARTITION: plant | ({} if halls else racks)}
    return (
        found
        | {one: _points(site, one) for one in types}
        | {hall: _racks(site=site, hall=hall) for hall in halls}
    )


def _points(site: str, object_type: str) -> TopicFilters:
    """Return where the points of an object type are heard, ``+`` for all of them."""
    return {
        f"BMS/v1/PUB/Value/{object_type}/+/{site}/#": 1,
        f"BMS/v1/PUB/Metadata/{object_type}/+/{site}/#": 0,
    }


def _racks(**names: str) -> TopicFilters:
    """Return where rack batches are heard: of a site, or of a hall of it."""
    kinds = {TopicKind.RACK_BATCH: 1, TopicKind.RACK_BATCH_JSON: 1, TopicKind.SENDER_REPORT: 0}
    return {topics.topic_filter(kind, **names): qos for kind, qos in kinds.items()}
