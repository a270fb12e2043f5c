"""Whether an archive is what it says: every block read, its checksum held, what is lost listed."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from telemetry.archive.blocks import Grid, Place, is_there
from telemetry.archive.layout import OPEN, RAW, ROLLED, SPARSE, VARIABLES, rolled_names
from telemetry.archive.opening import FAILURES
from telemetry.archive.reading import snapshot_of
from telemetry.archive.snapshot import Snapshot
from telemetry.archive.store import open_hours
from twin.errors import ArchiveError

_LEVELS = {level.name: level for level in (RAW, SPARSE, OPEN, *ROLLED.values())}


@dataclass(kw_only=True)
class Verdict:
    """What was found.

    Attributes
    ----------
    blocks, stored
        That were read, and what they take. [B]
    points
        Values of single seconds that were heard; of racks, one for each chip and variable.
    lost
        What cannot be read: where, from when to when, and why.
    open_hours
        Hours of a group that are not compacted yet.
    """

    blocks: int = 0
    stored: int = 0
    points: int = 0
    lost: list[dict[str, str]] = field(default_factory=list)
    open_hours: int = 0

    @property
    def bytes_per_point(self) -> float:
        """What a value takes, roll-ups and indexes included. [B]"""
        return self.stored / self.points if self.points else 0.0


def verify(folder: Path) -> Verdict:
    """Read all of an archive.

    Parameters
    ----------
    folder
        Where it lies.

    Returns
    -------
    Verdict
        What was found; the archive itself is not changed.

    Raises
    ------
    ArchiveError
        If it cannot be opened at all.
    """
    try:
        snapshot = snapshot_of(folder)
    except FAILURES as error:
        message = f"{folder}: cannot be opened: {error}; restore a backup"
        raise ArchiveError(message) from error
    found = Verdict()
    found.open_hours = sum(len(hours) for hours in open_hours(snapshot.root).values())
    for path in _paths(snapshot):
        grid = snapshot.grid(path)
        if grid is not None:
            _verify(snapshot, path, grid, found)
    return found


def _paths(snapshot: Snapshot) -> Iterator[str]:
    for group in VARIABLES:
        for level in _LEVELS:
            names = rolled_names(group) if level in ROLLED else VARIABLES[group]
            for period in snapshot.names(f"{group}/{level}"):
                for name in names:
                    yield f"{group}/{level}/{period}/{name}"


def _verify(snapshot: Snapshot, path: str, grid: Grid, found: Verdict) -> None:
    """Read an array, shard by shard."""
    _, level, _, name = path.split("/")
    room = grid.empty(grid.block)
    for place in snapshot.pieces.places(path):
        try:
            data = snapshot.pieces.shard(path, place)
        except FAILURES as error:
            _lose(found, path, grid, place, str(error))
            continue
        if data is None:
            continue
        found.stored += len(data)
        try:
            index = grid.index(data[-grid.index_bytes :])
            for i, j in np.argwhere(is_there(index)).tolist():
                offset, size = index[i, j].tolist()
                grid.decode(data[offset : offset + size], room)
                found.blocks += 1
                if level not in ROLLED and name != "value":
                    found.points += int(_heard(room))
        except (ArchiveError, *FAILURES) as error:
            _lose(found, path, grid, place, str(error))


def _heard(block: np.ndarray) -> int:
    """Return how many cells of a block tell something."""
    if block.dtype.kind == "f":
        return int(np.count_nonzero(~np.isnan(block)))
    return int(np.count_nonzero(block >= 0))


def _lose(found: Verdict, path: str, grid: Grid, place: Place, reason: str) -> None:
    """Take down what a shard would have told."""
    group, name, period, variable = path.split("/")
    level = _LEVELS[name]
    start, _ = level.rows(period)
    first = start + place[0] * grid.shard[0] * level.step
    last = first + grid.shard[0] * level.step
    column = place[1] * grid.shard[1]
    found.lost.append(
        {
            "group": group,
            "level": name,
            "variable": variable,
            "from": f"{np.datetime64(first, 's')}Z",
            "to": f"{np.datetime64(last, 's')}Z",
            "columns": f"{column} to {min(column + grid.shard[1], grid.shape[1]) - 1}",
            "reason": reason.partition("\n")[0],
        }
    )
