"""Open the repository of an archive, and recover a corrupt one.

If the last commit is corrupt, the repository is reset to the last intact one, and the later data is
read again from the journals. Without an intact commit it is created again. In both cases a copy of
all files remains for manual recovery.

Icechunk trusts the head file: one changed bit may be a length of billions, which occupies the
process for hours or kills it. So it has a checksum. A head file that differs from it,
because its writer was killed or it is corrupt, is read by another process first.
"""

import math
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Final

import icechunk
import numpy as np
import structlog

from telemetry.archive.layout import MAIN_BRANCH
from telemetry.archive.loss_log import append_losses, append_reasons
from telemetry.archive.manifests import (
    HEAD_FILE,
    CorruptRepositoryError,
    FileChecksum,
    ManifestChecksums,
    checksum_of,
)
from telemetry.archive.repository import (
    MAX_OLD_HEADS,
    ArchiveRepository,
    ClockLagError,
    error_of_isolated_script,
    old_head_files,
    wait_for_clock_tick,
)
from telemetry.archive.repository_location import (
    REPOSITORY_FOLDER,
    STORAGE_TIMEOUTS,
    RepositoryLocation,
    local_storage,
    panics_as_errors,
    record_created,
)
from telemetry.durable_files import lock_file
from twin.errors import ArchiveError, IssueCode, JournalError

MAX_OLD_HEADS_TRIED: Final = 5
"""Older heads tried when the newest is corrupt. [1]"""

DISK_PROBE_BYTES: Final = 1 << 20
"""Size of a probe file, above that of an empty commit. [B]"""

STORAGE_ERRORS: Final = (
    icechunk.IcechunkError,
    KeyError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""Errors that storage and layout raise when corrupt or not writable."""

HEAD_CHECK_CPU_S: Final = 10
"""Processor time of the process that reads a head file; an intact one takes less than one. [s]"""

HEAD_CHECK_TIMEOUT_S: Final = 180.0
"""Longest wait for that process, however busy the machine is. [s]"""

_OPEN_SCRIPT: Final = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[2]), int(sys.argv[2])))
import icechunk
icechunk.set_logs_filter("off")
repository = icechunk.Repository.open(icechunk.local_filesystem_storage(sys.argv[1]))
repository.lookup_snapshot(repository.lookup_branch(sys.argv[3]))
"""

_logger = structlog.get_logger(__name__)


def open_or_recover(
    folder: Path, site: str, *, is_doubtful: bool = False
) -> tuple[ArchiveRepository, Path | None]:
    """Open or create a repository; return it, and the copy of a corrupt one or None.

    With ``is_doubtful``, the last commit failed, so an empty commit is tried too. An archive of
    another site or of a later version, or a failing disk, raises ArchiveError.
    """
    place = RepositoryLocation.of(folder)
    if place.folder is None:
        return _in_bucket(folder, place, site), None
    path = place.folder
    storage = place.storage
    exists = path.exists() and any(path.iterdir())
    try:
        if not exists or icechunk.Repository.exists(storage):
            is_intact = verify_head(path, ManifestChecksums(path)) and not is_doubtful
            repository = _of_site(ArchiveRepository.open(storage, site, path), site)
            if not is_intact:
                with suppress(ClockLagError):  # the next commit tries it then
                    repository.test_commit()
            return repository, None
        reason = "the head file of the repository is missing"
    except (CorruptRepositoryError, *STORAGE_ERRORS) as error:
        reason = str(error).partition("\n")[0]
    _check_disk(folder)
    copy = _copy_repository(path)
    if (older := _reset(path, site, reason)) is not None:
        return _of_site(older, site), copy
    shutil.rmtree(path)
    _logger.error("corrupt archive moved aside", place=str(path), reason=reason, to=str(copy))
    append_reasons(folder, [f"{reason}; all of it is now in {copy.name}"])
    return ArchiveRepository.open(storage, site, path), copy


def roll_back(folder: Path, site: str, reason: str) -> tuple[ArchiveRepository, Path] | None:
    """Reset to a commit from before the clock; return the repository and the old files, or None.

    It is tried on a copy: if the clock is before all commits, it is wrong and nothing changes.
    Archives in a bucket stay as they are.
    """
    place = RepositoryLocation.of(folder)
    if place.folder is None:
        return None
    draft = _copy_repository(place.folder)
    if _reset(draft, site, reason, max_heads=MAX_OLD_HEADS) is None:
        shutil.rmtree(draft)
        return None
    copy = draft.with_name(f"{draft.name}-ahead")
    place.folder.replace(copy)
    draft.replace(place.folder)
    return _of_site(ArchiveRepository.open(place.storage, site, place.folder), site), copy


def _in_bucket(folder: Path, place: RepositoryLocation, site: str) -> ArchiveRepository:
    """Open or create a repository in a bucket; existing objects are never replaced."""
    try:
        exists = icechunk.Repository.exists(place.storage, storage_settings=STORAGE_TIMEOUTS)
        repository = _of_site(ArchiveRepository.open(place.storage, site), site)
    except STORAGE_ERRORS as error:
        reason = str(error).partition("\n")[0]
        message = f"{place.url}: {reason}; {place.remedy}"
        raise ArchiveError(message, code=IssueCode.UNREACHABLE) from error
    if place.was_created and not exists:  # a person or a lifecycle rule emptied it
        reason = f"{place.url} has no archive any more; created again from the journals"
        repository.losses.append({"group": "all", "reason": reason})
        append_losses(folder, repository.losses)
    with suppress(OSError, JournalError):  # on a full disk the next start writes it
        record_created(folder, place)
    return repository


def _copy_repository(path: Path) -> Path:
    """Copy all files of a repository to another name; immutable files are linked."""
    copy = path.with_name(f"{REPOSITORY_FOLDER}.spoilt-{time.time_ns()}")
    for file in sorted(path.rglob("*")):
        to = copy / file.relative_to(path)
        if file.is_dir():
            to.mkdir(parents=True)
        elif file.parent == path:  # the head file and the checksums
            shutil.copy2(file, to)
        else:
            to.hardlink_to(file)
    return copy


def _reset(
    path: Path, site: str, reason: str, *, max_heads: int = MAX_OLD_HEADS_TRIED
) -> ArchiveRepository | None:
    """Reset to the last intact commit; return None if there is none."""
    checksums = ManifestChecksums(path)
    heads = list(dict.fromkeys(reversed(checksums.snapshots)))
    for _ in _try_head_files(path, max_heads):
        for name in heads:
            try:
                checksums.read_checked("snapshots", name)
                wait_for_clock_tick()
                verify_head(path, checksums)
                with panics_as_errors():
                    icechunk.Repository.open(local_storage(path)).reset_branch(MAIN_BRANCH, name)
                checksums.update(name)
                repository = ArchiveRepository.open(local_storage(path), site, path)
                repository.test_commit()
            except (CorruptRepositoryError, ClockLagError, *STORAGE_ERRORS):
                continue
            remedy = "later data is read again from the journals, as far as they reach"
            since = f"{np.datetime64(max(repository.checkpoint.first_open_second, 0), 's')}Z"
            loss = {
                "group": "all",
                "from": since,
                "reason": f"{reason}; reset to {name}: {remedy}",
            }
            append_losses(path.parent, [loss])
            return repository
    return None


def _try_head_files(path: Path, max_heads: int) -> Iterator[None]:
    """Yield with the present head file, then with older ones in its place."""
    yield
    for one in old_head_files(path)[: -max_heads - 1 : -1]:
        draft = path / f"{HEAD_FILE}.draft"
        shutil.copyfile(one, draft)
        draft.replace(path / HEAD_FILE)
        yield


@contextmanager
def commit_lock(folder: Path) -> Iterator[None]:
    """Keep other processes from committing: on a disk, concurrent commits are lost."""
    handle = lock_file(folder / "lock", timeout=math.inf)
    try:
        yield
    finally:
        os.close(handle)


def _of_site(repository: ArchiveRepository, site: str) -> ArchiveRepository:
    if repository.site != site:
        message = f"this is the archive of {repository.site}, not of {site}: name another folder"
        raise ArchiveError(message, code=IssueCode.INCONSISTENT)
    return repository


def _check_disk(folder: Path) -> None:
    """Raise ArchiveError if the disk is at fault, not the repository."""
    probe = folder / "probe"
    data = os.urandom(DISK_PROBE_BYTES)
    try:
        probe.write_bytes(data)
        is_equal = probe.read_bytes() == data
        probe.unlink()
    except OSError as error:
        raise ArchiveError(f"{folder}: {error.strerror}; check the disk") from error
    if not is_equal:
        message = f"{folder}: a probe file reads back other bytes than were written; check the disk"
        raise ArchiveError(message, code=IssueCode.CORRUPT)


def verify_head(store: Path | None, checksums: ManifestChecksums | None) -> bool:
    """Return whether the head file has its checksum; check that it can be read if not.

    ``store`` is None for a bucket, which has checksums of its own. If reading fails or does not
    end, raise CorruptRepositoryError.
    """
    if store is None or checksums is None:
        return True
    try:
        data = (store / HEAD_FILE).read_bytes()
    except FileNotFoundError:
        return True  # opening the repository raises the error
    if (checksum := checksum_of(data)) == checksums.head:
        return True
    if failure := _open_isolated(store, checksum):
        message = f"the head file is corrupt: reading it, {HEAD_CHECK_CPU_S} s at most: {failure}"
        raise CorruptRepositoryError(message)
    return False


@lru_cache(maxsize=64)
def _open_isolated(store: Path, checksum: FileChecksum) -> str:  # noqa: ARG001 - key of the cache
    """Return the error of another process that read the head file; "" without one."""
    return error_of_isolated_script(
        _OPEN_SCRIPT, str(store), str(HEAD_CHECK_CPU_S), MAIN_BRANCH, timeout=HEAD_CHECK_TIMEOUT_S
    )
