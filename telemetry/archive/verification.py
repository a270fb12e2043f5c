"""Whether an archive is what it says: every block read, its checksum held, what is lost listed."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from telemetry.archive import last_messages, loss_log
from telemetry.archive.layout import (
    GROUP_ARRAYS,
    LABEL_AXES,
    LEVELS_BY_NAME,
    ROLLUPS,
    ShardIndex,
    describe_shard,
    open_array,
    read_all_metadata,
    rollup_arrays,
)
from telemetry.archive.reader import open_snapshot
from telemetry.archive.recovery import STORAGE_ERRORS
from telemetry.archive.repository import open_hours
from telemetry.archive.repository_files import CorruptRepositoryError
from telemetry.archive.shard_format import ShardGrid, is_present
from telemetry.archive.snapshot import Snapshot
from telemetry.archive.storage import LAST_MESSAGES_FILE, is_bucket_url
from twin.errors import ArchiveError


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
