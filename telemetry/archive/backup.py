"""Backup and restore of an archive: whole or not at all, also while it is written."""

import shutil
import tarfile
import time
from pathlib import Path
from typing import Final

from telemetry.archive.recovery import commit_lock
from telemetry.archive.storage import LAST_MESSAGES_FILE, REPOSITORY_FOLDER, RepositoryLocation
from telemetry.archive.verification import VerificationReport, verify
from telemetry.files import replace_when_written
from twin.errors import ArchiveError

MAX_LOSSES_LISTED: Final = 3
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
