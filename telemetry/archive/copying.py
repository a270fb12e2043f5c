"""Backup and restore of an archive: whole or not at all, also while it is written."""

import shutil
import tarfile
import time
from pathlib import Path
from typing import Final

from telemetry.archive.opening import locked
from telemetry.archive.places import KEPT, STORE, Place
from telemetry.archive.verifying import Verdict, verify
from telemetry.archive.whole import whole
from twin.errors import ArchiveError

SHOWN: Final = 3
"""Losses that are told in words. [1]"""


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
    if url := Place.of(folder).url:
        message = f"{folder}: its values are in {url}; let that store copy the bucket"
        raise ArchiveError(message)
    if not (folder / STORE).is_dir():
        message = f"{folder}: no archive; name the state folder of a service with --state"
        raise ArchiveError(message)
    if to.exists():
        message = f"{to} is there already; name a new file"
        raise ArchiveError(message)
    with whole(to) as draft, locked(folder), tarfile.open(draft, "w") as file:
        file.add(folder / STORE, STORE)
        if (folder / KEPT).exists():
            file.add(folder / KEPT, KEPT)
    return to.stat().st_size


def restore(source: Path, folder: Path, site: str = "", *, is_forced: bool = False) -> Verdict:
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
    Verdict
        Of the archive that was restored.

    Raises
    ------
    ArchiveError
        If the file is no backup of that site, or something of it is lost. Then what is there stays.
    """
    if url := Place.of(folder).url:
        message = f"{folder}: its values are in {url}; name the state folder of a disk"
        raise ArchiveError(message)
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"{STORE}.restored-{time.time_ns()}"
    draft.mkdir()
    try:
        verdict = _unpacked(source, draft, site)
        if verdict.lost and not is_forced:
            message = f"{source}: {_told(verdict.lost)}; --force restores what is left of it"
            raise ArchiveError(message)
        with locked(folder):
            for name in (STORE, KEPT):
                if (folder / name).exists():
                    (folder / name).rename(folder / f"{name}.replaced-{time.time_ns()}")
                if (draft / name).exists():
                    (draft / name).rename(folder / name)
    finally:
        shutil.rmtree(draft)
    return verdict


def _unpacked(source: Path, draft: Path, site: str) -> Verdict:
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
    first = [" ".join(f"{key} {told}" for key, told in one.items()) for one in lost[:SHOWN]]
    more = f" and {len(lost) - SHOWN} more" if len(lost) > SHOWN else ""
    return f"{len(lost)} losses: {'; '.join(first)}{more}"
