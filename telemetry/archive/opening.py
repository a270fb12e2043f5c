"""Open the repository of an archive, and do the right thing where it is spoilt."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import icechunk
import structlog

from telemetry.archive.store import Store, on_disk
from telemetry.durable import MODE
from twin.errors import ArchiveError

STORE: Final = "store"
"""Folder of the repository inside that of the archive."""

PROBE_BYTES: Final = 4096

FAILURES: Final = (
    icechunk.IcechunkError,
    KeyError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What storage and layout raise when they are spoilt or cannot be written."""

_logger = structlog.get_logger(__name__)


def opened(folder: Path, site: str) -> tuple[Store, Path | None]:
    """Open a repository or make it; one that is spoilt is set aside and made anew.

    Parameters
    ----------
    folder
        Of the archive.
    site
        Name of its site.

    Returns
    -------
    Store
        The repository.
    Path or None
        Where the spoilt one is now, if it was.

    Raises
    ------
    ArchiveError
        If it is that of another site or of a later version, or the disk is at fault.
    """
    path = folder / STORE
    storage = on_disk(path)
    is_there = path.exists() and any(path.iterdir())
    try:
        if not is_there or icechunk.Repository.exists(storage):
            return _of_site(Store.open(storage, site), site), None
        reason = "the repository has lost its head"
    except FAILURES as error:
        reason = str(error).partition("\n")[0]
    _probe(folder)
    aside = path.with_name(f"{STORE}.spoilt-{time.time_ns()}")
    path.rename(aside)
    _logger.error("archive set aside", place=str(path), reason=reason, to=str(aside))
    return Store.open(storage, site), aside


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from committing: on a disk, two at once lose commits."""
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, MODE)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _of_site(store: Store, site: str) -> Store:
    if store.site != site:
        message = f"this is the archive of {store.site}, not of {site}: name another folder"
        raise ArchiveError(message)
    return store


def _probe(folder: Path) -> None:
    """Refuse to call a repository spoilt where the disk is at fault."""
    probe = folder / "probe"
    told = os.urandom(PROBE_BYTES)
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
