"""The state folder of a service: what survives a restart, and who may use it."""

import fcntl
import os
import re
from pathlib import Path
from typing import IO, Final, Self

import structlog

from telemetry.files import read_json_with_checksum, write_json_atomic
from twin.errors import JournalError, ServiceError, ValidationIssue

LAYOUT_VERSION: Final = 1
"""Version of the folder's layout; a folder of a later one is refused. [1]"""

LAYOUT_FILE: Final = "schema.json"
"""What says the layout of a folder, and whose state it is."""

FOLDER_PATTERN: Final = re.compile(r"""(?<![\w/.])/(?:[^\s/:;,'"](?:[^\n/:;,'"]*[^\s/:;,'"])?/)+""")
"""Folders before the name of a file; topics, units and addresses do not begin with a slash."""


logger = structlog.get_logger(__name__)


def redact_paths(text: str) -> str:
    """Return a text for others, in which files of this machine have their names only."""
    return FOLDER_PATTERN.sub("", text)


class StateFolder:
    """The folder of one service, locked while it is open.

    Parameters
    ----------
    path
        The folder; made if it is not there.
    site
        Name of the site whose state it is, which the folder keeps; empty if it may be any.

    Raises
    ------
    ServiceError
        If another service uses it, if it is another site's, if it was written by a later gigatwin,
        or cannot be written.
    """

    def __init__(self, path: Path, *, site: str = "") -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock: IO[str] = (path / "lock").open("a+", encoding="utf-8")
            try:
                self._take()
                self._check_schema(site)
            except BaseException:
                self._lock.close()
                raise
        except (OSError, JournalError) as error:
            remedy = f"{getattr(error, 'strerror', None) or error}; name another with --state"
            raise ServiceError(
                "state", [ValidationIssue(location=str(path), found="", remedy=remedy)]
            ) from error

    def __enter__(self) -> Self:
        """Return the open folder."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give the folder free."""
        self._lock.close()

    def _take(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.seek(0)
            holder = self._lock.read().strip() or "unknown"
            remedy = "another service runs on this state; stop it, or name another with --state"
            fault = ValidationIssue(
                location=str(self.path), found=f"process {holder}", remedy=remedy
            )
            raise ServiceError("state", [fault]) from error
        self._lock.truncate(0)
        self._lock.write(f"{os.getpid()}\n")
        self._lock.flush()

    def _check_schema(self, site: str) -> None:
        path = self.path / LAYOUT_FILE
        named = {"site": site} if site else {}
        if not path.exists():
            write_json_atomic(path, {"version": LAYOUT_VERSION, **named})
            return
        content = read_state_file(path)
        check_layout(self.path)
        before = owner_of(self.path)
        check_owner(self.path, site)
        if site and not before:
            write_json_atomic(path, content | named)


def check_layout(folder: Path) -> None:
    """Refuse a folder on which no service of ours would start.

    Parameters
    ----------
    folder
        State folder of a service, which has its file of the layout.

    Raises
    ------
    ServiceError
        If that file is damaged, or was written by a later gigatwin.
    """
    path = folder / LAYOUT_FILE
    version = read_state_file(path).get("version")
    if version == LAYOUT_VERSION:
        return
    if isinstance(version, int) and version > LAYOUT_VERSION:
        remedy = (
            f"this gigatwin knows version {LAYOUT_VERSION}; use the one that wrote it, or an empty"
        )
        fault = ValidationIssue(location=str(path), found=str(version), remedy=f"{remedy} folder")
        raise ServiceError("state", [fault])
    size = f"{path.stat().st_size} B"
    remedy = (
        f'it is damaged; write {{"version": {LAYOUT_VERSION}}} into it if all else there is whole'
    )
    raise ServiceError("state", [ValidationIssue(location=str(path), found=size, remedy=remedy)])


def check_owner(folder: Path, site: str) -> None:
    """Refuse a folder that keeps the state of another site; any will do without a name.

    Raises
    ------
    ServiceError
        If it is another's.
    """
    before = owner_of(folder)
    if site and before and before != site:
        remedy = f"this is its state, not that of {site}; name another folder with --state"
        raise ServiceError(
            "state",
            [ValidationIssue(location=str(folder / LAYOUT_FILE), found=before, remedy=remedy)],
        )


def owner_of(folder: Path) -> str:
    """Return the name of the site whose state a folder keeps; empty if it names none.

    Parameters
    ----------
    folder
        State folder of a service.
    """
    site = read_state_file(folder / LAYOUT_FILE).get("site")
    return site if isinstance(site, str) else ""


def read_state_file(path: Path) -> dict[str, object]:
    """Return the object that a file holds; an empty one if it is missing or broken.

    Parameters
    ----------
    path
        The file; what it kept is lost where its checksum, if it has one, differs.
    """
    try:
        return read_json_with_checksum(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        logger.warning("what a file kept is lost", file=path.name, because=str(error))
        return {}
