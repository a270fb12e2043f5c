"""The state folder of a service: what survives a restart, locked for one process."""

import os
from pathlib import Path
from typing import Final, Self

import structlog

from telemetry.durable_files import (
    create_folder,
    give_to_owner_of,
    lock_file,
    read_json_with_checksum,
    write_all,
    write_json_atomic,
)
from twin.errors import IssueCode, JournalError, ServiceError

STATE_LAYOUT_VERSION: Final = 1
"""Version of the folder's layout; a later one is refused. [1]"""

FORBIDDEN_PERMISSIONS: Final = 0o077
"""Permissions of group and others, which a state folder does not grant."""

LAYOUT_FILE: Final = "schema.json"
"""File with the version of the layout and the name of the site."""

SCENARIO_COUNT_KEY: Final = "scenario_count"
"""Key of that file with the number of scenarios in the plans of the service."""

EARLIER_SERVICE_FILES: Final = ("audit.jsonl", "feed", "orders.json", "record.json", "targets.json")
"""Names in a state folder that only a service that ran there, or a backup of it, has left."""

logger = structlog.get_logger(__name__)


class StateFolder:
    """The folder of one service, locked while it is open; it is created if missing.

    An empty ``site`` accepts the folder of any site. Raises ServiceError if the folder is in use,
    of another site, of a later layout, or not writable.
    """

    def __init__(self, path: Path, *, site: str = "") -> None:
        self.path = path
        try:
            create_folder(path, mode=0o700)
            self._lock = _lock(path)
            try:
                give_to_owner_of(path, self._lock)
                os.ftruncate(self._lock, 0)
                write_all(self._lock, f"{os.getpid()}\n".encode())
                self._check_schema(site)
            except BaseException:
                os.close(self._lock)
                raise
        except (OSError, JournalError) as error:
            raise ServiceError.single(
                "state",
                IssueCode.FILE_ERROR,
                str(path),
                found=str(getattr(error, "strerror", None) or error),
                expected="a folder that this user may write",
                remedy="name another with --state",
            ) from error

    def __enter__(self) -> Self:
        """Return the open folder."""
        return self

    def __exit__(self, *_: object) -> None:
        """Release the lock."""
        os.close(self._lock)

    def _check_schema(self, site: str) -> None:
        path = self.path / LAYOUT_FILE
        named = {"site": site} if site else {}
        if not path.exists():
            write_json_atomic(path, {"version": STATE_LAYOUT_VERSION, **named})
            return
        content = read_state_file(path)
        check_layout(self.path)
        before = site_of_folder(self.path)
        check_site_of_folder(self.path, site)
        if site and not before:
            write_json_atomic(path, content | named)


def _lock(folder: Path) -> int:
    """Lock the file of a folder that names the process of its service; return its handle."""
    path = folder / "lock"
    try:
        return lock_file(path)
    except JournalError as error:
        if error.code is not IssueCode.IN_USE:
            raise
        holder = path.read_text(encoding="utf-8", errors="replace").strip() or "unknown"
        raise ServiceError.single(
            "state",
            IssueCode.IN_USE,
            str(folder),
            found=f"process {holder}",
            expected="no other service; another service runs on this state",
            remedy="stop it, or name another folder with --state",
        ) from error


def check_layout(folder: Path) -> None:
    """Refuse a folder whose layout file is damaged or of a later version.

    Raises ServiceError if the folder is refused.
    """
    path = folder / LAYOUT_FILE
    version = read_state_file(path).get("version")
    if version == STATE_LAYOUT_VERSION:
        return
    if isinstance(version, int) and version > STATE_LAYOUT_VERSION:
        raise ServiceError.single(
            "state",
            IssueCode.WRONG_VERSION,
            str(path),
            found=str(version),
            expected=f"at most version {STATE_LAYOUT_VERSION}, which this gigatwin reads",
            remedy="use the gigatwin that wrote it, or an empty folder",
        )
    raise ServiceError.single(
        "state",
        IssueCode.CORRUPT,
        str(path),
        found=f"{path.stat().st_size} B",
        expected=f"version {STATE_LAYOUT_VERSION}; the file is damaged",
        remedy=f'write {{"version": {STATE_LAYOUT_VERSION}}} into it if all else there is whole',
    )


def check_privacy(folder: Path) -> None:
    """Refuse a folder of another user, or one that others may read or change.

    Who may write there may name operators; placing a HOLD is never refused for it. Raises
    ServiceError if it is refused.
    """
    found = folder.stat()
    is_foreign = os.geteuid() not in (0, found.st_uid)
    if not is_foreign and not found.st_mode & FORBIDDEN_PERMISSIONS:
        return
    raise ServiceError.single(
        "state",
        IssueCode.INVALID_KEY,
        str(folder),
        found=f"owner {found.st_uid}, mode {found.st_mode & 0o777:o}",
        expected=f"a folder of the service's user (uid {os.geteuid()}) only, with mode 700",
        remedy=f"run chown for that user and chmod 700 {folder}",
    )


def check_site_of_folder(folder: Path, site: str) -> None:
    """Refuse the folder of another site; an empty name accepts any.

    Raises ServiceError if it is of another site.
    """
    before = site_of_folder(folder)
    if site and before and before != site:
        raise ServiceError.single(
            "state",
            IssueCode.INCONSISTENT,
            str(folder / LAYOUT_FILE),
            found=before,
            expected=f"the state of {site}",
            remedy="name another folder with --state",
        )


def site_of_folder(folder: Path) -> str:
    """Return the name of the site of a state folder; empty if it names none."""
    site = read_state_file(folder / LAYOUT_FILE).get("site")
    return site if isinstance(site, str) else ""


def earlier_service_files(folder: Path) -> list[str]:
    """Return which of :data:`EARLIER_SERVICE_FILES` a folder has."""
    return [name for name in EARLIER_SERVICE_FILES if (folder / name).exists()]


def read_state_file(path: Path) -> dict[str, object]:
    """Return the object in a file; an empty one if it is missing or damaged."""
    try:
        return read_json_with_checksum(path, dict[str, object])
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        logger.warning("state file unreadable", file=path.name, because=str(error))
        return {}
