"""Verification of a whole archive, also while it is written.

It reads every chunk, compares its checksum, and lists what is lost.
"""

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
    ShardIndex,
    ZarrArray,
    describe_shard,
    has_value,
    open_array,
    read_all_metadata,
    rollup_arrays,
    shard_shape,
)
from telemetry.archive.manifests import CorruptRepositoryError
from telemetry.archive.reader import open_snapshot
from telemetry.archive.recovery import STORAGE_ERRORS
from telemetry.archive.repository import open_hours
from telemetry.archive.snapshot import Snapshot, corruption_reason
from telemetry.archive.storage import LAST_MESSAGES_FILE, is_bucket_url
from twin.errors import ArchiveError, IssueCode

MAX_LOSSES_IN_ERROR: Final = 3
"""Losses that an error describes. [1]"""


@dataclass(kw_only=True)
class VerificationReport:
    """Result of a verification.

    ``blocks`` chunks of ``stored_bytes`` were read [B], with ``points`` values of single seconds;
    of racks, one for each chip and variable. ``lost`` has what cannot be read (location, times,
    reason) and earlier losses. ``open_hours`` hours of groups are not compacted yet.
    """

    blocks: int = 0
    stored_bytes: int = 0
    points: int = 0
    lost: list[dict[str, str]] = field(default_factory=list)
    open_hours: int = 0

    @property
    def bytes_per_point(self) -> float:
        """Size of a value, roll-ups and indexes included. [B]"""
        return self.stored_bytes / self.points if self.points else 0.0


def verify(folder: Path | str, site: str = "") -> VerificationReport:
    """Read all of an archive, by its folder or the URL of its bucket, without changing it.

    If it cannot be opened, or belongs to another site than ``site``, raise ArchiveError.
    """
    try:
        snapshot = open_snapshot(folder, site)
        found = VerificationReport(
            lost=[] if is_bucket_url(folder) else _recorded_losses(Path(folder))
        )
        found.open_hours = sum(len(hours) for hours in open_hours(snapshot.root).values())
        paths = list(_paths(snapshot))
    except (CorruptRepositoryError, *STORAGE_ERRORS) as error:
        raise ArchiveError(
            f"{folder}: cannot be opened: {error}; start the service, which resets it to an earlier"
            " commit, or restore a backup",
            code=IssueCode.CORRUPT,
        ) from error
    for path in paths:
        try:
            array = snapshot.array(path)
            if array is not None:
                _verify(snapshot, path, array, found)
        except (ArchiveError, *STORAGE_ERRORS) as error:
            _add_loss(found, path, str(error))
    _verify_labels(snapshot, found)
    return found


def _recorded_losses(folder: Path) -> list[dict[str, str]]:
    """Return earlier losses, and corrupt lines of the file beside the repository."""
    corrupt = last_messages.corrupt_lines(folder / LAST_MESSAGES_FILE)
    return loss_log.read_losses(folder) + [{"group": "kept", "reason": one} for one in corrupt]


def _verify_labels(snapshot: Snapshot, found: VerificationReport) -> None:
    """Read the seconds with values, labels and metadata."""
    for group, label in LABEL_AXES.items():
        if group not in snapshot.root:
            continue
        days = [f"{group}/heard/{day}" for day in snapshot.days(group)]
        for path in [f"{group}/{label}", *days]:
            try:
                snapshot.check(path)
                open_array(snapshot.root, path)[:]
            except (ArchiveError, *STORAGE_ERRORS) as error:
                _add_loss(found, path, str(error))
    try:
        read_all_metadata(snapshot.root)
    except STORAGE_ERRORS as error:
        _add_loss(found, "points/metadata", str(error))


def _add_loss(found: VerificationReport, path: str, reason: str, place: ShardIndex = ()) -> None:
    found.lost.append({**describe_shard(path, place), "reason": reason.partition("\n")[0]})


def _paths(snapshot: Snapshot) -> Iterator[str]:
    for group in GROUP_ARRAYS:
        for level in LEVELS_BY_NAME:
            names = rollup_arrays(group) if level in ROLLUPS else GROUP_ARRAYS[group]
            for period in snapshot.names(f"{group}/{level}"):
                for name in names:
                    yield f"{group}/{level}/{period}/{name}"


def _verify(snapshot: Snapshot, path: str, array: ZarrArray, found: VerificationReport) -> None:
    """Read an array, shard by shard."""
    _, level, _, name = path.split("/")
    for place in snapshot.shards(path).tolist():
        part = [
            slice(at * cut, (at + 1) * cut)
            for at, cut in zip(place, shard_shape(array), strict=True)
        ]
        try:
            values = np.asarray(array[tuple(part)])
            chunks, size = snapshot.stored_size(path, place)
        except (ArchiveError, *STORAGE_ERRORS) as error:
            _add_loss(found, path, corruption_reason(error), tuple(place))
            continue
        found.blocks += chunks
        found.stored_bytes += size
        if level not in ROLLUPS and name != "value":
            found.points += int(np.count_nonzero(has_value(values, float(array.fill_value))))


def describe_losses(lost: list[dict[str, str]]) -> str:
    """Return a description of the first of some losses."""
    first = [
        " ".join(f"{key} {text}" for key, text in one.items()) for one in lost[:MAX_LOSSES_IN_ERROR]
    ]
    more = f" and {len(lost) - MAX_LOSSES_IN_ERROR} more" if len(lost) > MAX_LOSSES_IN_ERROR else ""
    return f"{len(lost)} losses: {'; '.join(first)}{more}"
