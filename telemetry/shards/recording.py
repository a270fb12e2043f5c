"""Record a site: an ingester process for each shard, and its archiver in this one.

Whoever ends, ends alone: an ingester that dies is started again, and its journal goes on.
"""

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, Self

import structlog

from telemetry.archive import Archive
from telemetry.archive.places import Place
from telemetry.intake.quarantine import Quarantine
from telemetry.shards.child import AGAIN, GLANCE, SUMMED, Child
from telemetry.shards.intake import COUNTED
from telemetry.shards.parts import shards
from telemetry.shards.shard_process import Task
from telemetry.shards.site_archiver import SiteArchiver
from twin.errors import ArchiveError, BrokerError

JOURNALS: Final = "journals"
"""Folder of the state folder in which each shard has its journal."""

_logger = structlog.get_logger(__name__)


class Recording:
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
        task: Task,
        *,
        folder: Path,
        halls: Sequence[str] = (),
        types: Sequence[str] = (),
        is_simulated: bool = False,
    ) -> None:
        heard = shards(site, halls, types)
        folders = {name: folder / JOURNALS / name for name in heard}
        self._folder, self._site = folder / "archive", site
        self._archive: Archive | None = None
        if Place.of(self._folder).is_local:
            self._archive = Archive(self._folder, site)
        seen = self._archive.seen if self._archive else {}
        self._ingesters = {
            name: Child(
                replace(
                    task,
                    client_id=f"gigatwin-record-{site}-{name}",
                    topics=filters,
                    folder=str(folders[name]),
                    seen=str(seen.get(name, "")),
                ),
                Quarantine(folder / "quarantine"),
                self._folder,
            )
            for name, filters in heard.items()
        }
        for ingester in self._ingesters.values():
            ingester.task.client()  # the process would find fault with it again and again
        self._make = partial(
            SiteArchiver,
            journals=_left(folder) | folders,
            quarantine=folder / "quarantine",
            is_simulated=is_simulated,
        )
        self._archiver: SiteArchiver | None = None
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
                if self._ended.wait(AGAIN[1]):
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
        while not ended(GLANCE):
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
        read = self._archiver.counters if self._archiver else dict.fromkeys(COUNTED, 0)
        written = self._archive.counters if self._archive else {}
        return {
            **{name: told[name] for name in SUMMED},
            **read,
            **{name: written.get(name, 0) for name in ("values", "late", "merged", "commits")},
        }

    @property
    def is_listening(self) -> bool:
        """Whether the broker has let in all ingesters."""
        return all(one.told.get("is_connected") for one in self._ingesters.values())

    @property
    def coverage(self) -> Mapping[str, object]:
        """How many points were heard, and the worst covered of them; empty before it began."""
        return self._archiver.coverage if self._archiver else {}

    @property
    def left(self) -> str:
        """After the end, why something stays in the journals and not archived; empty if nothing."""
        if self._archiver is None:
            return self._trouble
        if not self._archiver.is_left:
            return ""
        return self.troubles.get("archive", "the archiver ended by itself: see the log")

    @property
    def troubles(self) -> dict[str, str]:
        """Shard -> what is wrong with it; empty if nothing is."""
        told = {name: str(one.told.get("trouble", "")) for name, one in self._ingesters.items()}
        read = self._archiver.trouble if self._archiver else ""
        written = self._archive.trouble if self._archive else self._trouble
        told["archive"] = "; ".join(filter(None, [written, read]))
        return {name: trouble for name, trouble in told.items() if trouble}


def _left(folder: Path) -> dict[str, Path]:
    """Return the journals that earlier recordings left; one that was killed left its newest."""
    return {one.name: one for one in sorted((folder / JOURNALS).glob("*/"))}
