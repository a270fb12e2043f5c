"""Files that survive: whole writes, durable names, locks, and what a full disk says.

Where the state of a service lies: journal, archive, orders and record of a site.

Files made from an archive: whole or not there.
"""

import errno
import fcntl
import json
import os
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from twin.errors import ArchiveError, JournalError, JournalFullError, ServiceError, ValidationIssue

FILE_MODE: Final = 0o640
"""Permissions of files: the group may read."""

LOCK_POLL_S: Final = 0.02
"""Time between two looks at a lock. [s]"""

NO_FILE_STAMP: Final = (0, 0, 0)
"""Stamp of a file that is not there."""

CHECKSUM_KEY: Final = "checksum"
"""Name under which a JSON file keeps the checksum of its rest."""

DISK_FULL_ERRNOS: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""How a disk says that there is no room."""


type FileStamp = tuple[int, int, int]
"""What tells one content of a file from another."""


def file_stamp(path: Path) -> FileStamp:
    """Return what changes when a file is written anew, or set in the place of another.

    The time alone does not where two writes fall in one tick of the file system's clock.
    """
    try:
        stat = path.stat()
    except OSError:
        return NO_FILE_STAMP
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def lock_file(path: Path, *, timeout: float = 0.0) -> int:
    """Open a file that only one process may hold; the lock is gone when the process is.

    Parameters
    ----------
    path
        The file.
    timeout
        How long to wait for another process that is about to end. [s]

    Raises
    ------
    JournalError
        If another process holds it.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, FILE_MODE)
    except OSError as error:
        raise disk_error(path, error) from error
    deadline = time.monotonic() + timeout
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(LOCK_POLL_S)
    except OSError as error:
        os.close(handle)
        message = (
            f"{path.parent} is written by another process; end that one, or name another folder"
        )
        raise JournalError(message) from error
    return handle


def disk_error(path: Path, error: OSError) -> JournalError:
    """Return the error of a journal that stands for one of the disk."""
    if error.errno in DISK_FULL_ERRNOS:
        return JournalFullError(f"{path}: {error.strerror}; make room on the disk")
    return JournalError(f"{path}: {error.strerror}; see to the disk")


def write_all(file: int, data: bytes) -> None:
    """Write everything, in one call if the system takes it."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def move_tail(path: Path, offset: int, aside: Path) -> int:
    """Move what a file holds from an offset on into another file; return its size. [B]"""
    if offset == 0:
        path.rename(aside)
        return aside.stat().st_size
    with path.open("r+b") as file:
        file.seek(offset)
        rest = file.read()
        try:
            aside.write_bytes(rest)
        except OSError:
            aside.unlink(missing_ok=True)
            raise
        file.truncate(offset)
    return len(rest)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def checksum(text: str) -> str:
    """Return what is written beside a short text, to tell whether it is still the same."""
    return f"{zlib.crc32(text.encode()):08x}"


def add_checksum(text: str) -> str:
    """Return a text behind its checksum."""
    return f"{checksum(text)} {text}"


def verify_checksum(told: str) -> str:
    """Return a text that stands behind its checksum.

    Raises
    ------
    ValueError
        If that differs.
    """
    found, _, text = told.partition(" ")
    if found != checksum(text):
        raise ValueError("its checksum differs")
    return text


def is_stream(path: Path) -> bool:
    """Return whether a path is a device or a pipe, which is written to and never replaced."""
    return path.exists() and not path.is_file() and not path.is_dir()


def json_with_checksum(content: Mapping[str, object]) -> str:
    """Return an object as JSON with a checksum of the rest beside what it says.

    So one bit of a disk that turns a 1 into a 9 is noticed, and believed by nobody.
    """
    return json.dumps({**content, CHECKSUM_KEY: checksum(json.dumps(content))})


def read_json_with_checksum(path: Path) -> dict[str, object]:
    """Return the object that a file holds; one of an older version has no checksum.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it is no object of JSON, or its checksum differs.
    """
    try:
        match json.loads(path.read_bytes()):
            case dict(content):
                told = content.pop(CHECKSUM_KEY, None)
            case _:
                raise ValueError("it is no object of JSON")
    except RecursionError as error:
        raise ValueError("its brackets are nested too deep") from error
    if told is not None and told != checksum(json.dumps(content)):
        raise ValueError("its checksum differs")
    return content


def write_atomic(path: Path, text: str) -> None:
    """Write a file whole or not at all, on disk when this returns: no reader sees half of it.

    Parameters
    ----------
    path
        The file; its folder is made if it is not there. A device or a pipe is written to as it is:
        root would else put a file in the place of ``/dev/null``, for all the machine.
    text
        Its new content.

    Raises
    ------
    JournalError
        If the disk does not take it; then the old file is still there.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.draft")
    try:
        if is_stream(path):
            path.write_text(text, encoding="utf-8")
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise disk_error(path, error) from error
    finally:
        with suppress(OSError):  # where nothing can be written there is no draft to take away
            draft.unlink(missing_ok=True)


def write_json_atomic(path: Path, value: object) -> None:
    """Write an object as JSON, whole or not at all."""
    write_atomic(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def state_folder(site: str) -> Path:
    """Return where the state of a site's service lies unless its user says otherwise.

    Raises
    ------
    ServiceError
        If its user has no home, as in a container.
    """
    if told := os.environ.get("GIGATWIN_STATE"):
        return Path(told)
    try:
        home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    except RuntimeError as error:
        remedy = "this user has no home; name the state folder with --state or GIGATWIN_STATE"
        raise ServiceError(
            "state", [ValidationIssue(location="home", found="", remedy=remedy)]
        ) from error
    return Path(home) / "gigatwin" / site


@contextmanager
def replace_when_written(path: Path) -> Iterator[Path]:
    """Give a draft to write, which takes the place of a file once it is written.

    Parameters
    ----------
    path
        The file; an existing one stays as it is if the draft is not finished.

    Raises
    ------
    ArchiveError
        If the disk does not take it.
    """
    draft = path.with_name(f".{path.name}.draft")
    try:
        yield draft
        draft.replace(path)
    except OSError as error:
        message = f"{path}: {error.strerror}; see to the disk"
        raise ArchiveError(message) from error
    finally:
        draft.unlink(missing_ok=True)
