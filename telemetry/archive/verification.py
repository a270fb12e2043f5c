"""Whether an archive is what it says: every block read, its checksum held, what is lost listed."""

import shutil
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from telemetry.archive import last_messages, loss_log
from telemetry.archive.layout import (
    GROUP_ARRAYS,
    LABEL_AXES,
    LEVELS_BY_NAME,
    ROLLUPS,
    ShardGrid,
    ShardIndex,
    describe_shard,
    is_present,
    open_array,
    read_all_metadata,
    rollup_arrays,
)
from telemetry.archive.reader import open_snapshot
from telemetry.archive.recovery import STORAGE_ERRORS, commit_lock
from telemetry.archive.repository import open_hours
from telemetry.archive.repository_files import CorruptRepositoryError
from telemetry.archive.snapshot import Snapshot
from telemetry.archive.storage import (
    LAST_MESSAGES_FILE,
    REPOSITORY_FOLDER,
    RepositoryLocation,
    is_bucket_url,
)
from telemetry.files import replace_when_written
from twin.errors import ArchiveError

MAX_LOSSES_LISTED: Final = 3
"""Losses that are told in words. [1]"""


@dataclass(kw_only=True)
class VerificationReport:
    """What was found.

    Attributes
    ----------
    blocks, stored_bytes
        That were read, and what they take. [B]
    points
        Values of single seconds that were heard; of racks, one for each chip and variable.
    lost
        What cannot be read: where, from when to when, and why; and what was given up before.
    open_hours
        Hours of a group that are not compacted yet.
    """

    blocks: int = 0
    stored_bytes: int = 0
    points: int = 0
    lost: list[dict[str, str]] = field(default_factory=list)
    open_hours: int = 0

    @property
    def bytes_per_point(self) -> float:
        """What a value takes, roll-ups and indexes included. [B]"""
        return self.stored_bytes / self.points if self.points else 0.0


def verify(folder: Path | str, site: str = "") -> VerificationReport:
    """Read all of an archive.

    Parameters
    ----------
    folder
        Where it lies, or the URL of its bucket.
    site
        Name of the site whose archive it must be; "" for any.

    Returns
    -------
    VerificationReport
        What was found; the archive itself is not changed.

    Raises
    ------
    ArchiveError
        If it cannot be opened at all, or is that of another site.
    """
    try:
        snapshot = open_snapshot(folder, site)
        found = VerificationReport(lost=[] if is_bucket_url(folder) else _lost_beside(Path(folder)))
        found.open_hours = sum(len(hours) for hours in open_hours(snapshot.root).values())
        paths = list(_paths(snapshot))
    except (CorruptRepositoryError, *STORAGE_ERRORS) as error:
        message = (
            f"{folder}: cannot be opened: {error}; who writes it goes back to an earlier commit"
            " when he starts, or restore a backup"
        )
        raise ArchiveError(message) from error
    for path in paths:
        try:
            grid = snapshot.grid(path)
            if grid is not None:
                _verify(snapshot, path, grid, found)
        except (ArchiveError, *STORAGE_ERRORS) as error:
            _give_up(found, path, str(error))
    _verify_heard(snapshot, found)
    return found


def _lost_beside(folder: Path) -> list[dict[str, str]]:
    """Return what was given up before, and what is spoilt of the file beside the repository."""
    spoilt = last_messages.corrupt_lines(folder / LAST_MESSAGES_FILE)
    return loss_log.read_losses(folder) + [{"group": "kept", "reason": one} for one in spoilt]


def _verify_heard(snapshot: Snapshot, found: VerificationReport) -> None:
    """Read what tells what there is: the seconds that were heard, labels and metadata."""
    for group, label in LABEL_AXES.items():
        if group not in snapshot.root:
            continue
        days = [f"{group}/heard/{day}" for day in snapshot.days(group)]
        for path in [f"{group}/{label}", *days]:
            try:
                snapshot.check(path)
                open_array(snapshot.root, path)[:]
            except (ArchiveError, *STORAGE_ERRORS) as error:
                _give_up(found, path, str(error))
    try:
        read_all_metadata(snapshot.root)
    except STORAGE_ERRORS as error:
        _give_up(found, "points/metadata", str(error))


def _give_up(found: VerificationReport, path: str, reason: str, place: ShardIndex = ()) -> None:
    found.lost.append({**describe_shard(path, place), "reason": reason.partition("\n")[0]})


def _paths(snapshot: Snapshot) -> Iterator[str]:
    for group in GROUP_ARRAYS:
        for level in LEVELS_BY_NAME:
            names = rollup_arrays(group) if level in ROLLUPS else GROUP_ARRAYS[group]
            for period in snapshot.names(f"{group}/{level}"):
                for name in names:
                    yield f"{group}/{level}/{period}/{name}"


def _verify(snapshot: Snapshot, path: str, grid: ShardGrid, found: VerificationReport) -> None:
    """Read an array, shard by shard."""
    _, level, _, name = path.split("/")
    room = grid.empty(grid.chunk)
    for place in snapshot.chunk_reader.shard_indices(path):
        try:
            data = snapshot.chunk_reader.read_shard(path, place)
        except STORAGE_ERRORS as error:
            _give_up(found, path, str(error), place)
            continue
        if data is None:
            continue
        found.stored_bytes += len(data)
        try:
            index = grid.decode_index(data[-grid.index_bytes :])
            for i, j in np.argwhere(is_present(index)).tolist():
                offset, size = index[i, j].tolist()
                grid.decode_chunk(data[offset : offset + size], room)
                found.blocks += 1
                if level not in ROLLUPS and name != "value":
                    found.points += int(_heard(room))
        except (ArchiveError, *STORAGE_ERRORS) as error:
            _give_up(found, path, str(error), place)


def _heard(block: np.ndarray) -> int:
    """Return how many cells of a block tell something."""
    if block.dtype.kind == "f":
        return int(np.count_nonzero(~np.isnan(block)))
    return int(np.count_nonzero(block >= 0))


def backup(folder: Path, to: Path) -> int:
    """Write an archive into one file, as it is at this moment; return its size. [B]

    Commits wait meanwhile, readers do not.

    Parameters
    ----------
    folder
        Where the archive lies.
    to
        A file that is not there yet; its blocks are compressed already, so it is a plain tar.

    Raises
    ------
    ArchiveError
        If there is no archive, or the file is there.
    """
    if url := RepositoryLocation.of(folder).url:
        message = f"{folder}: its values are in {url}; let that store copy the bucket"
        raise ArchiveError(message)
    if not (folder / REPOSITORY_FOLDER).is_dir():
        message = f"{folder}: no archive; name the state folder of a service with --state"
        raise ArchiveError(message)
    if to.exists():
        message = f"{to} is there already; name a new file"
        raise ArchiveError(message)
    with replace_when_written(to) as draft, commit_lock(folder), tarfile.open(draft, "w") as file:
        file.add(folder / REPOSITORY_FOLDER, REPOSITORY_FOLDER)
        if (folder / LAST_MESSAGES_FILE).exists():
            file.add(folder / LAST_MESSAGES_FILE, LAST_MESSAGES_FILE)
    return to.stat().st_size


def restore(
    source: Path, folder: Path, site: str = "", *, is_forced: bool = False
) -> VerificationReport:
    """Put an archive from a file in its place; what is there is set aside, never deleted.

    Parameters
    ----------
    source
        What :func:`backup` wrote.
    folder
        Where the archive shall lie; no service may run on it.
    site
        Name of the site whose archive it must be; "" for any.
    is_forced
        Whether a backup of which something is lost is put there too.

    Returns
    -------
    VerificationReport
        Of the archive that was restored.

    Raises
    ------
    ArchiveError
        If the file is no backup of that site, or something of it is lost. Then what is there stays.
    """
    if url := RepositoryLocation.of(folder).url:
        message = f"{folder}: its values are in {url}; name the state folder of a disk"
        raise ArchiveError(message)
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"{REPOSITORY_FOLDER}.restored-{time.time_ns()}"
    draft.mkdir()
    try:
        verdict = _unpacked(source, draft, site)
        if verdict.lost and not is_forced:
            message = f"{source}: {_told(verdict.lost)}; --force restores what is left of it"
            raise ArchiveError(message)
        with commit_lock(folder):
            for name in (REPOSITORY_FOLDER, LAST_MESSAGES_FILE):
                if (folder / name).exists():
                    (folder / name).rename(folder / f"{name}.replaced-{time.time_ns()}")
                if (draft / name).exists():
                    (draft / name).rename(folder / name)
    finally:
        shutil.rmtree(draft)
    return verdict


def _unpacked(source: Path, draft: Path, site: str) -> VerificationReport:
    """Unpack a backup, and return what became of it."""
    try:
        with tarfile.open(source) as file:
            file.extractall(draft, filter="data")
        return verify(draft, site)
    except (tarfile.TarError, OSError, ArchiveError) as error:
        message = f"{source}: no backup of an archive: {error}; name another file"
        raise ArchiveError(message) from error


def _told(lost: list[dict[str, str]]) -> str:
    """Return the first of some losses in words."""
    first = [
        " ".join(f"{key} {told}" for key, told in one.items()) for one in lost[:MAX_LOSSES_LISTED]
    ]
    more = f" and {len(lost) - MAX_LOSSES_LISTED} more" if len(lost) > MAX_LOSSES_LISTED else ""
    return f"{len(lost)} losses: {'; '.join(first)}{more}"
