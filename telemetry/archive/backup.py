"""Backup and restore of a whole archive, also while it is written."""

import shutil
import tarfile
import time
from pathlib import Path

from telemetry.archive.recovery import commit_lock
from telemetry.archive.storage import LAST_MESSAGES_FILE, REPOSITORY_FOLDER, RepositoryLocation
from telemetry.archive.verification import VerificationReport, describe_losses, verify
from telemetry.durable_files import replace_when_written
from twin.errors import ArchiveError, IssueCode


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
