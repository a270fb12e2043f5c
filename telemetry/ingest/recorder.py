"""Recorder of a site: one ingester process for each part of its messages, and the archiver.

An ingester that dies is started again and continues its journal; the others are not affected.
:func:`partition_filters` assigns each message of a site to exactly one ingester.
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
from telemetry.archive.repository_location import RepositoryLocation
from telemetry.ingest.dead_letter import DeadLetterStore
from telemetry.ingest.ingester import IngesterConfig
from telemetry.ingest.journal_archiver import ALLOCATOR_ENVIRONMENT, JournalArchiver
from telemetry.messages import topics
from telemetry.messages.bms_contract import RULES_BY_OBJECT
from telemetry.messages.topics import TopicKind
from telemetry.points.binding import PointBinder
from telemetry.runtime import ClockMode
from twin.errors import ArchiveError, BrokerError, IssueCode, MessageError

JOURNALS_FOLDER: Final = "journals"
"""Subfolder of the state folder with one journal for each ingester."""

_logger = structlog.get_logger(__name__)


class RecorderSupervisor:
    """Supervisor of the recording of a site, as a context manager.

    Raises BrokerError if the URL or the certificates cannot be used. Raises MessageError if an
    object type does not exist. Raises ArchiveError if the archive is that of another site, or the
    disk fails.

    - `task`: connection to the broker; topics, client id and folder are set for each ingester.
    - `folder`: state folder with ``journals/<name>``, ``archive`` and ``quarantine``. Journals of
      former ingesters are archived too.
    - `halls`, `types`: halls whose racks, and object types whose points, have an ingester of their
      own.
    - `binder`: binds points to the variables of a site file, so that readings have the flags of a
      service; without one, points are checked by their metadata alone.
    """

    def __init__(
        self,
        site: str,
        task: IngesterConfig,
        *,
        folder: Path,
        halls: Sequence[str] = (),
        types: Sequence[str] = (),
        clock_mode: ClockMode = ClockMode.REAL,
        binder: PointBinder | None = None,
    ) -> None:
        filters_by_name = partition_filters(site, halls, types)
        folders = {name: folder / JOURNALS_FOLDER / name for name in filters_by_name}
        self._folder, self._site = folder / "archive", site
        self._archive: Archive | None = None
        if RepositoryLocation.of(self._folder).is_local:
            self._archive = Archive(self._folder, site)
        received = self._archive.received_positions if self._archive else {}
        self._ingesters = {
            name: IngesterProcess(
                replace(
                    task,
                    client_id=f"gigatwin-record-{site}-{name}",
                    topics=filters,
                    folder=str(folders[name]),
                    archived_position=str(received.get(name, "")),
                ),
                DeadLetterStore(folder / "quarantine"),
                self._folder,
            )
            for name, filters in filters_by_name.items()
        }
        for ingester in self._ingesters.values():
            ingester.config.client()  # reports a wrong URL here, not again and again in the process
        self._make_archiver = partial(
            JournalArchiver,
            journals=_existing_journals(folder) | folders,
            quarantine=folder / "quarantine",
            clock_mode=clock_mode,
            binder=binder,
        )
        self._archiver: JournalArchiver | None = None
        self._open_error = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="archiver")

    def __enter__(self) -> Self:
        """Start all ingesters and the archiver."""
        for ingester in self._ingesters.values():
            ingester.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ingest waiting messages, archive all of them, and end."""
        for ingester in self._ingesters.values():
            ingester.stop()
        for ingester in self._ingesters.values():
            ingester.join()
        self._ended.set()
        if self._archiver is not None:
            self._archiver.stop()
        self._thread.join()

    def _run(self) -> None:
        """Archive; while a bucket is unreachable, data stays in the journals."""
        while self._archive is None:
            try:
                self._archive = Archive(self._folder, self._site)
            except ArchiveError as error:
                if not self._open_error:
                    _logger.warning("archive not opened", reason=str(error))
                self._open_error = str(error)
                if self._ended.wait(RESTART_DELAYS_S[1]):
                    return
        self._open_error = ""
        self._archiver = self._make_archiver(self._archive)
        if self._ended.is_set():
            self._archiver.stop()
        self._archiver.run()

    def wait(self, ended: Callable[[float], bool]) -> None:
        """Restart dead ingesters until ``ended``, which waits for a time [s], returns True.

        It raises BrokerError if the archiver ends by itself.
        """
        while not ended(WATCH_PERIOD_S):
            for ingester in self._ingesters.values():
                ingester.restart_if_dead()
            if not self._thread.is_alive():
                remedy = "see the log before this line, and start the recorder again"
                reason = "the archiver ended by itself"
                raise BrokerError("record", reason, remedy, code=IssueCode.NOT_RUNNING)

    @property
    def counters(self) -> Mapping[str, int]:
        """Counters of the ingesters, of the archiver and of the archive since the start.

        Of the ingesters ``messages``; lost were ``unjournaled`` and ``dropped`` (QoS 0, no space
        on the disk or in memory), ``oversized`` and ``spoilt`` (in quarantine, or not even
        readable for that) and ``lost_at_sources`` (which had no space left).
        """
        summed = sum((one.counters for one in self._ingesters.values()), Counter())
        read = self._archiver.counters if self._archiver else {}
        written = self._archive.counters if self._archive else {}
        return {
            **{name: summed[name] for name in SUMMED_COUNTERS},
            **{name: read.get(name, 0) for name in RECORD_COUNTERS},
            **{name: written.get(name, 0) for name in ("values", "late", "merged", "commits")},
        }

    @property
    def is_listening(self) -> bool:
        """Whether the broker has accepted all ingesters."""
        return all(one.last_status.get("is_connected") for one in self._ingesters.values())

    @property
    def coverage(self) -> Mapping[str, object]:
        """Number of points with values, and those with the lowest coverage; empty at first."""
        return self._archiver.coverage if self._archiver else {}

    @property
    def unarchived_reason(self) -> str:
        """Why data stays in the journals after the end; empty if all is archived."""
        if self._archiver is None:
            return self._open_error
        if not self._archiver.has_unarchived:
            return ""
        return self.errors.get("archive", "the archiver ended by itself: see the log")

    @property
    def errors(self) -> dict[str, str]:
        """Name of an ingester, or ``archive`` -> its problem; empty if there are none."""
        found = {
            name: str(one.last_status.get("trouble", "")) for name, one in self._ingesters.items()
        }
        read = self._archiver.error if self._archiver else ""
        written = self._archive.error if self._archive else self._open_error
        found["archive"] = "; ".join(filter(None, [written, read]))
        return {name: error for name, error in found.items() if error}


def _existing_journals(folder: Path) -> dict[str, Path]:
    """Return the journals of earlier recordings; after a kill they may hold unarchived data."""
    return {one.name: one for one in sorted((folder / JOURNALS_FOLDER).glob("*/"))}


RESTART_DELAYS_S: Final = (0.0, 3.0)
"""Wait before a dead ingester is started again: the first and the longest. [s]

With the longest wait and a start of about a second, an ingester is ready within the promised 5 s.
"""

STABLE_LIFE_S: Final = 10.0
"""Life after which the next death counts as the first. [s]"""

INGESTER_STOP_TIMEOUT_S: Final = 30.0
"""Longest wait for an ingester to end. [s]"""

RECORD_COUNTERS: Final = (
    "frames",
    "batches",
    "future",
    "ticks",
    "quarantined",
    "refused",
    "torn",
)
"""Counters of the archiver that a recording shows."""

SUMMED_COUNTERS: Final = (
    "messages",
    "unjournaled",
    "lost_at_sources",
    "dropped",
    "oversized",
    "spoilt",
)
"""Counters of ingesters, summed over restarts."""

WATCH_PERIOD_S: Final = 0.25
"""Time between two checks of the ingesters. [s]"""


@dataclass
class IngesterProcess:
    """One ingester process, and its last status.

    - `quarantine`: store of messages that were too large.
    - `loss_folder`: folder of the archive whose loss log records losses; None to log only.
    - `process`: the process; None before the first start.
    - `last_status`: last status that it wrote.
    - `earlier_counters`: counters of earlier processes.
    - `died_at`, `started_at`: time of its death, 0 while it lives, and of its last start; monotonic
      clock. [s]
    - `restart_delay_s`: wait before it is started again. [s]
    """

    config: IngesterConfig
    quarantine: DeadLetterStore = field(default_factory=lambda: DeadLetterStore(None))
    loss_folder: Path | None = None
    process: subprocess.Popen[str] | None = None
    last_status: dict[str, object] = field(default_factory=dict)
    earlier_counters: Counter[str] = field(default_factory=Counter)
    died_at: float = 0.0
    started_at: float = 0.0
    restart_delay_s: float = 0.0

    def start(self) -> None:
        """Start the process."""
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "telemetry.ingest.ingester"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | ALLOCATOR_ENVIRONMENT,
            start_new_session=True,  # so that Ctrl-C reaches only the parent
        )
        if self.process.stdin is not None:
            self.process.stdin.write(self.config.to_line())
            self.process.stdin.flush()
        threading.Thread(target=self._read_status, args=(self.process,), daemon=True).start()

    def _read_status(self, process: "subprocess.Popen[str]") -> None:
        for line in process.stdout or ():
            try:
                status = dict(json.loads(line))
            except (TypeError, ValueError):  # a library printed to standard output
                _logger.warning("ingester output", shard=self.config.client_id, line=line.strip())
                continue
            if status.get("is_connected") and not self.last_status.get("is_connected"):
                _logger.info("listening", shard=self.config.client_id)
            if (error := status.get("trouble")) and error != self.last_status.get("trouble"):
                _logger.warning("ingester error", shard=self.config.client_id, reason=error)
            for topic, size in status.pop("too_large", ()):
                self.quarantine.add_undecodable(topic, "too large", size)
            append_reasons(self.loss_folder, status.pop("damaged", ()))
            self.last_status = {**self.last_status, **status}
        if process.stdout is not None:
            process.stdout.close()

    def restart_if_dead(self) -> None:
        """Start the process again if it has died."""
        if self.process is None or self.process.poll() is None:
            return
        if not self.died_at:
            self.died_at = time.monotonic()
            cause = self.last_status.get("fault", f"code {self.process.returncode}")
            is_stable = self.died_at - self.started_at > STABLE_LIFE_S
            self.restart_delay_s = (
                RESTART_DELAYS_S[0]
                if is_stable
                else min(2.0 * self.restart_delay_s + WATCH_PERIOD_S, RESTART_DELAYS_S[1])
            )
            error = f"ended by itself ({cause}) and is started again"
            self.earlier_counters, self.last_status = self.counters, {"trouble": error}
            _logger.warning("ingester ended", shard=self.config.client_id, reason=cause)
        elif time.monotonic() - self.died_at >= self.restart_delay_s:
            self.died_at = 0.0
            self.stop()  # closes the pipe to the dead process
            self.start()

    @property
    def counters(self) -> Counter[str]:
        """Counters of this process and of earlier ones."""
        return self.earlier_counters + Counter(
            {one: int(str(self.last_status.get(one, 0))) for one in SUMMED_COUNTERS}
        )

    def stop(self) -> None:
        """Let the process ingest waiting messages and end."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()

    def join(self) -> None:
        """Wait until the process has ended; kill it after the timeout."""
        if self.process is not None:
            try:
                self.process.wait(INGESTER_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


PLANT_PARTITION: Final = "plant"
"""Ingester of plant, jobs and clock; it receives everything if there are no others."""

type TopicFilters = dict[str, int]
"""Filter of topics -> quality of service."""


def partition_filters(
    site: str, halls: Sequence[str] = (), types: Sequence[str] = ()
) -> dict[str, TopicFilters]:
    """Return the topic filters of each ingester of a site, by its name.

    - `halls`: halls whose racks have an ingester of their own; if any, other halls are not
      recorded.
    - `types`: object types of DSX BMS, such as ``Rack``, whose points have one. If any, the plant's
      ingester receives those of all other types in the contract.
    """
    for one in types:
        if one not in RULES_BY_OBJECT:
            known = ", ".join(sorted(RULES_BY_OBJECT))
            raise MessageError("object type", one, f"one of {known}", code=IssueCode.UNKNOWN_NAME)
    remaining = [one for one in RULES_BY_OBJECT if one not in types] if types else ["+"]
    others = [one for one in topics.service_filters(site) if not one.startswith("BMS/")]
    racks = _rack_filters(site=site)
    plant = dict.fromkeys([one for one in others if one not in racks], 1)
    for one in remaining:
        plant |= _point_filters(site, one)
    found = {PLANT_PARTITION: plant | ({} if halls else racks)}
    return (
        found
        | {one: _point_filters(site, one) for one in types}
        | {hall: _rack_filters(site=site, hall=hall) for hall in halls}
    )


def _point_filters(site: str, object_type: str) -> TopicFilters:
    """Return the filters of the points of an object type, or of all for ``+``."""
    return {
        f"BMS/v1/PUB/Value/{object_type}/+/{site}/#": 1,
        f"BMS/v1/PUB/Metadata/{object_type}/+/{site}/#": 0,
    }


def _rack_filters(**names: str) -> TopicFilters:
    """Return the filters of the rack batches of a site or of one hall."""
    kinds = {TopicKind.RACK_BATCH: 1, TopicKind.RACK_BATCH_JSON: 1, TopicKind.SENDER_REPORT: 0}
    return {topics.topic_filter(kind, **names): qos for kind, qos in kinds.items()}
