"""Open the repository of an archive, and do the right thing where it is spoilt.

What is spoilt in the last commit was sound in one before: the repository goes back to that one, and
what came after is read again from the journals. Only where there is none it is made anew. In either
case all that there was is kept aside, for who can read more of it.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import icechunk
import numpy as np
import structlog

from telemetry.archive.layout import MAIN_BRANCH
from telemetry.archive.loss_log import append_losses, append_reasons
from telemetry.archive.repository import (
    MAX_OLD_HEADS,
    ArchiveRepository,
    ClockLagError,
    old_head_files,
    wait_for_clock_tick,
)
from telemetry.archive.repository_files import (
    HEAD_FILE,
    CorruptRepositoryError,
    ManifestChecksums,
    verify_head,
)
from telemetry.archive.storage import (
    REPOSITORY_FOLDER,
    STORAGE_TIMEOUTS,
    RepositoryLocation,
    local_storage,
    panics_as_errors,
    record_created,
)
from telemetry.files import FILE_MODE
from twin.errors import ArchiveError, JournalError

MAX_OLD_HEADS_TRIED: Final = 5
"""Older files of heads that are tried."""

DISK_PROBE_BYTES: Final = 1 << 20
"""More than a commit of nothing takes. [B]"""

STORAGE_ERRORS: Final = (
    icechunk.IcechunkError,
    KeyError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What storage and layout raise when they are spoilt or cannot be written."""

_logger = structlog.get_logger(__name__)


def open_or_recover(
    folder: Path, site: str, *, is_tried: bool = False
) -> tuple[ArchiveRepository, Path | None]:
    """Open a repository or make it; of one that is spoilt a copy is set aside.

    Parameters
    ----------
    folder
        Of the archive.
    site
        Name of its site.
    is_tried
        Whether a commit is tried too, which changes nothing: the last one has failed.

    Returns
    -------
    Store
        The repository.
    Path or None
        Where the copy of the spoilt one is, if it was.

    Raises
    ------
    ArchiveError
        If it is that of another site or of a later version, or the disk is at fault.
    """
    place = RepositoryLocation.of(folder)
    if place.folder is None:
        return _in_bucket(folder, place, site), None
    path = place.folder
    storage = place.storage
    is_there = path.exists() and any(path.iterdir())
    try:
        if not is_there or icechunk.Repository.exists(storage):
            is_sure = verify_head(path, ManifestChecksums(path)) and not is_tried
            held = _of_site(ArchiveRepository.open(storage, site, path), site)
            if not is_sure:
                with suppress(ClockLagError):  # then the next commit tries it
                    held.test_commit()
            return held, None
        reason = "the repository has lost its head"
    except (CorruptRepositoryError, *STORAGE_ERRORS) as error:
        reason = str(error).partition("\n")[0]
    _probe(folder)
    aside = _copied(path)
    if (store := _gone_back(path, site, reason)) is not None:
        return _of_site(store, site), aside
    shutil.rmtree(path)
    _logger.error("archive set aside", place=str(path), reason=reason, to=str(aside))
    append_reasons(folder, [f"{reason}; all of it is now in {aside.name}"])
    return ArchiveRepository.open(storage, site, path), aside


def roll_back(folder: Path, site: str, reason: str) -> tuple[ArchiveRepository, Path] | None:
    """Go back to a commit from before the clock; nothing is changed where none is kept.

    It is tried on a copy: a clock that is before all commits is none to go by.

    Parameters
    ----------
    folder
        Of the archive; one in a bucket is left as it is.
    site
        Name of its site.
    reason
        Why.

    Returns
    -------
    tuple or None
        The repository, and where it is as it was.
    """
    place = RepositoryLocation.of(folder)
    if place.folder is None:
        return None
    draft = _copied(place.folder)
    if _gone_back(draft, site, reason, most=MAX_OLD_HEADS) is None:
        shutil.rmtree(draft)
        return None
    aside = draft.with_name(f"{draft.name}-ahead")
    place.folder.replace(aside)
    draft.replace(place.folder)
    return _of_site(ArchiveRepository.open(place.storage, site, place.folder), site), aside


def _in_bucket(folder: Path, place: RepositoryLocation, site: str) -> ArchiveRepository:
    """Open a repository in a bucket or make it there; nothing there is ever replaced by us."""
    try:
        is_there = icechunk.Repository.exists(place.storage, storage_settings=STORAGE_TIMEOUTS)
        store = _of_site(ArchiveRepository.open(place.storage, site), site)
    except STORAGE_ERRORS as error:
        reason = str(error).partition("\n")[0]
        message = f"{place.url}: {reason}; {place.remedy}"
        raise ArchiveError(message) from error
    if place.was_created and not is_there:  # somebody emptied it, or a rule of its own
        reason = f"{place.url} has no archive any more; begun anew by what the journals hold"
        store.given_up.append({"group": "all", "reason": reason})
        append_losses(folder, store.given_up)
    with suppress(OSError, JournalError):  # a full disk: the next start writes it
        record_created(folder, place)
    return store


def _copied(path: Path) -> Path:
    """Keep all files of a repository under another name; what never changes takes no room."""
    aside = path.with_name(f"{REPOSITORY_FOLDER}.spoilt-{time.time_ns()}")
    for file in sorted(path.rglob("*")):
        to = aside / file.relative_to(path)
        if file.is_dir():
            to.mkdir(parents=True)
        elif file.parent == path:  # the head and the seals
            shutil.copy2(file, to)
        else:
            to.hardlink_to(file)
    return aside


def _gone_back(
    path: Path, site: str, reason: str, *, most: int = MAX_OLD_HEADS_TRIED
) -> ArchiveRepository | None:
    """Go back to the last commit that is sound; return None if there is none."""
    seals = ManifestChecksums(path)
    heads = list(dict.fromkeys(reversed(seals.snapshots)))
    for _ in _heads_file(path, most):
        for name in heads:
            try:
                seals.check("snapshots", name)
                wait_for_clock_tick()
                verify_head(path, seals)
                with panics_as_errors():
                    icechunk.Repository.open(local_storage(path)).reset_branch(MAIN_BRANCH, name)
                seals.update(name)
                store = ArchiveRepository.open(local_storage(path), site, path)
                store.test_commit()
            except (CorruptRepositoryError, ClockLagError, *STORAGE_ERRORS):
                continue
            remedy = "what came after is read again from the journals, as far as they reach"
            since = f"{np.datetime64(max(store.mark.closed, 0), 's')}Z"
            told = {
                "group": "all",
                "from": since,
                "reason": f"{reason}; gone back to {name}: {remedy}",
            }
            append_losses(path.parent, [told])
            return store
    return None


def _heads_file(path: Path, most: int) -> Iterator[None]:
    """Yield once with the file that tells the heads as it is, then with older ones in its place."""
    yield
    for one in old_head_files(path)[: -most - 1 : -1]:
        draft = path / f"{HEAD_FILE}.draft"
        shutil.copyfile(one, draft)
        draft.replace(path / HEAD_FILE)
        yield


@contextmanager
def commit_lock(folder: Path) -> Iterator[None]:
    """Keep other processes from committing: on a disk, two at once lose commits."""
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, FILE_MODE)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _of_site(store: ArchiveRepository, site: str) -> ArchiveRepository:
    if store.site != site:
        message = f"this is the archive of {store.site}, not of {site}: name another folder"
        raise ArchiveError(message)
    return store


def _probe(folder: Path) -> None:
    """Refuse to call a repository spoilt where the disk is at fault."""
    probe = folder / "probe"
    told = os.urandom(DISK_PROBE_BYTES)
    try:
        probe.write_bytes(told)
        is_whole = probe.read_bytes() == told
        probe.unlink()
    except OSError as error:
        message = f"{folder}: {error.strerror}; see to the disk"
        raise ArchiveError(message) from error
    if not is_whole:
        message = f"{folder} reads back something else than was written; see to the disk"
        raise ArchiveError(message)
