"""Verification, backup and restore of a whole archive, also while it is written.

A verification reads every chunk, compares its checksum, and lists what is lost.
"""

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
    ROLLUP_LEVELS,
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
from telemetry.archive.recovery import STORAGE_ERRORS, commit_lock
from telemetry.archive.repository import open_hours
from telemetry.archive.repository_location import (
    LAST_MESSAGES_FILE,
    REPOSITORY_FOLDER,
    RepositoryLocation,
    is_bucket_url,
)
from telemetry.archive.snapshot import Snapshot, corruption_reason
from telemetry.durable_files import replace_when_written
from twin.errors import ArchiveError, IssueCode
from twin.text import list_first

MAX_LOSSES_IN_ERROR: Final = 3
"""Losses that an error describes. [1]"""


@dataclass(kw_only=True)
class VerificationReport:
    """Result of a verification.

    ``blocks`` chunks of ``stored_bytes`` were read [B], with ``value_count`` values of single
    seconds; of racks, one for each chip and variable. ``lost`` has what cannot be read (location,
    times, reason) and earlier losses. ``open_hour_count`` hours of groups are not compacted yet.
    """

    blocks: int = 0
    stored_bytes: int = 0
    value_count: int = 0
    lost: list[dict[str, str]] = field(default_factory=list)
    open_hour_count: int = 0

    @property
    def bytes_per_value(self) -> float:
        """Size of a value, roll-ups and indexes included. [B]"""
        return self.stored_bytes / self.value_count if self.value_count else 0.0


def verify(folder: Path | str, site: str = "") -> VerificationReport:
    """Read all of an archive, by its folder or the URL of its bucket, without changing it.

    If it cannot be opened, or belongs to another site than ``site``, raise ArchiveError.
    """
    try:
        snapshot = open_snapshot(folder, site)
        found = VerificationReport(
            lost=[] if is_bucket_url(folder) else _recorded_losses(Path(folder))
        )
        found.open_hour_count = sum(len(hours) for hours in open_hours(snapshot.root).values())
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
            names = rollup_arrays(group) if level in ROLLUP_LEVELS else GROUP_ARRAYS[group]
            for period in snapshot.names_in_group(f"{group}/{level}"):
                for name in names:
                    yield f"{group}/{level}/{period}/{name}"


def _verify(snapshot: Snapshot, path: str, array: ZarrArray, found: VerificationReport) -> None:
    """Read an array, shard by shard."""
    _, level, _, name = path.split("/")
    for place in snapshot.stored_shard_places(path).tolist():
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
        if level not in ROLLUP_LEVELS and name != "value":
            found.value_count += int(np.count_nonzero(has_value(values, float(array.fill_value))))


def describe_losses(lost: list[dict[str, str]]) -> str:
    """Return a description of the first of some losses."""
    texts = [" ".join(f"{key} {text}" for key, text in one.items()) for one in lost]
    return f"{len(lost)} losses: {list_first(texts, MAX_LOSSES_IN_ERROR, separator='; ')}"


def backup(folder: Path, to: Path) -> int:
    """Write an archive as of now into a new tar file; return its size. [B]

    Commits wait meanwhile, readers do not. The tar is plain, as chunks are compressed already.
    """
    if url := RepositoryLocation.of(folder).url:
        message = f"{folder}: its values are in {url}; let that store copy the bucket"
        raise ArchiveError(message, code=IssueCode.UNSUPPORTED)
    if not (folder / REPOSITORY_FOLDER).is_dir():
        message = f"{folder}: no archive; name the state folder of a service with --state"
        raise ArchiveError(message, code=IssueCode.MISSING)
    if to.exists():
        message = f"{to}: the file exists already; name a new file"
        raise ArchiveError(message, code=IssueCode.DUPLICATE)
    with replace_when_written(to) as draft, commit_lock(folder), tarfile.open(draft, "w") as file:
        file.add(folder / REPOSITORY_FOLDER, REPOSITORY_FOLDER)
        if (folder / LAST_MESSAGES_FILE).exists():
            file.add(folder / LAST_MESSAGES_FILE, LAST_MESSAGES_FILE)
    return to.stat().st_size


def restore(
    source: Path, folder: Path, site: str = "", *, is_forced: bool = False
) -> VerificationReport:
    """Replace an archive by a backup; the existing one is renamed, never deleted.

    No service may use the folder. A file that is not a backup of ``site``, or a backup with losses
    unless ``is_forced``, raises ArchiveError, and nothing changes. Return the report of the
    restored archive.
    """
    if url := RepositoryLocation.of(folder).url:
        message = f"{folder}: its values are in {url}; name a state folder on a disk"
        raise ArchiveError(message, code=IssueCode.UNSUPPORTED)
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"{REPOSITORY_FOLDER}.restored-{time.time_ns()}"
    draft.mkdir()
    try:
        report = _unpack(source, draft, site)
        if report.lost and not is_forced:
            message = (
                f"{source}: {describe_losses(report.lost)}; use --force to restore the remainder"
            )
            raise ArchiveError(message, code=IssueCode.CORRUPT)
        with commit_lock(folder):
            for name in (REPOSITORY_FOLDER, LAST_MESSAGES_FILE):
                if (folder / name).exists():
                    (folder / name).rename(folder / f"{name}.replaced-{time.time_ns()}")
                if (draft / name).exists():
                    (draft / name).rename(folder / name)
    finally:
        shutil.rmtree(draft)
    return report


def _unpack(source: Path, draft: Path, site: str) -> VerificationReport:
    """Unpack a backup, and verify it."""
    try:
        with tarfile.open(source) as file:
            file.extractall(draft, filter="data")
        return verify(draft, site)
    except (tarfile.TarError, OSError, ArchiveError) as error:
        message = f"{source}: not a backup of an archive: {error}; name another file"
        raise ArchiveError(message, code=IssueCode.CORRUPT) from error
