"""Durable files: atomic writes, locks, checksums, errors of the disk, and the state folder."""

import ctypes
import errno
import fcntl
import json
import os
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from twin.errors import (
    IssueCode,
    JournalError,
    JournalFullError,
    ServiceError,
)

FILE_MODE: Final = 0o640
"""Permissions of files; the group may read."""

PRIVATE_FILE_MODE: Final = 0o600
"""Permissions of files that only their owner may read."""

LOCK_POLL_S: Final = 0.02
"""Time between two attempts to lock a file. [s]"""

NO_FILE_STAMP: Final = (0, 0, 0)
"""Stamp of a file that does not exist."""

CHECKSUM_KEY: Final = "checksum"
"""Key of the checksum in a JSON file."""

DISK_FULL_ERRNOS: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""Error numbers of a disk without space."""

type FileStamp = tuple[int, int, int]
"""Modification time, size and inode, which change with the content of a file."""


def file_stamp(path: Path) -> FileStamp:
    """Return the stamp of a file, which changes when the file is rewritten or replaced.

    The modification time alone may not: two writes can fall in one tick of the clock.
    """
    try:
        stat = path.stat()
    except OSError:
        return NO_FILE_STAMP
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def lock_file(path: Path, *, timeout: float = 0.0) -> int:
    """Open a file with an exclusive lock, which ends with the process; return its handle.

    If another process has the lock, wait at most ``timeout`` [s] for it, then raise JournalError.
    """
    return _open_locked(path, os.O_RDWR | os.O_CREAT, path.parent, timeout=timeout)


def lock_folder(path: Path, *, timeout: float = 0.0) -> int:
    """Lock a folder as :func:`lock_file` does a file; it leaves no file behind."""
    return _open_locked(path, os.O_RDONLY | os.O_DIRECTORY, path, timeout=timeout)


def _open_locked(path: Path, flags: int, folder: Path, *, timeout: float) -> int:
    try:
        handle = os.open(path, flags, FILE_MODE)
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
        message = f"{folder} is written by another process; end that one or use another folder"
        raise JournalError(message, code=IssueCode.IN_USE) from error
    return handle


def give_to_owner_of(folder: Path, handle: int) -> None:
    """Give an open file that root writes to the owner of a folder, whose service must read it."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(handle, owner.st_uid, owner.st_gid)


def disk_error(path: Path, error: OSError) -> JournalError:
    """Return the JournalError that describes an error of the disk."""
    if error.errno in DISK_FULL_ERRNOS:
        return JournalFullError(f"{path}: {error.strerror}; free space on the disk")
    return JournalError(f"{path}: {error.strerror or error}; check the disk and its permissions")


def write_all(file: int, data: bytes) -> None:
    """Write all bytes, in one call if the system accepts them."""
    remaining = memoryview(data)
    while remaining:
        remaining = remaining[os.write(file, remaining) :]


def move_tail(path: Path, offset: int, target: Path) -> int:
    """Move the bytes of a file from an offset on into another file; return their number. [B]"""
    if offset == 0:
        path.rename(target)
        return target.stat().st_size
    with path.open("r+b") as file:
        file.seek(offset)
        tail = file.read()
        try:
            target.write_bytes(tail)
        except OSError:
            target.unlink(missing_ok=True)
            raise
        file.truncate(offset)
    return len(tail)


def sync_folder(folder: Path) -> None:
    """Make new, renamed and removed names in a folder durable."""
    _sync(folder)


def sync_file_systems(folders: Iterable[Path]) -> None:
    """Make all that was written to the file systems of some folders durable.

    It is for files that a library writes without syncing them. Unlike ``sync`` it does not wait for
    other file systems, and it reports errors (``syncfs``, Linux). Folders that do not exist are
    skipped. It raises JournalError if a disk refuses.
    """
    synced = set()
    for folder in folders:
        if not folder.is_dir():
            continue
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                device = os.fstat(handle).st_dev
                if device not in synced and _LIBC.syncfs(handle):
                    number = ctypes.get_errno()
                    raise OSError(number, os.strerror(number))
            finally:
                os.close(handle)
        except OSError as error:
            raise disk_error(folder, error) from error
        synced.add(device)


_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def create_folder(folder: Path, *, mode: int = 0o777) -> None:
    """Create a folder and missing ones above it; their names are durable at return."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(mode=mode, parents=True, exist_ok=True)
    for one in missing:
        sync_folder(one.parent)


def _sync(path: Path) -> None:
    """Make a file or folder durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def checksum(text: str) -> str:
    """Return the checksum of a short text."""
    return f"{zlib.crc32(text.encode()):08x}"


def add_checksum(text: str) -> str:
    """Return a text with its checksum before it."""
    return f"{checksum(text)} {text}"


def verify_checksum(line: str) -> str:
    """Return a text without the checksum before it; raise ValueError if they do not match."""
    found, _, text = line.partition(" ")
    if found != checksum(text):
        raise ValueError("its checksum differs")
    return text


def is_stream(path: Path) -> bool:
    """Return whether a path is a device or a pipe, which can be written to but not replaced."""
    return path.exists() and not path.is_file() and not path.is_dir()


def json_with_checksum(content: Mapping[str, object]) -> str:
    """Return an object as JSON with a checksum, so that a changed bit on disk is detected."""
    return json.dumps({**content, CHECKSUM_KEY: checksum(json.dumps(content))})


def read_json_with_checksum[T](path: Path, kind: type[T]) -> T:
    """Return the object in a file as a type such as a TypedDict; older files have no checksum.

    It raises OSError for an unreadable file, and ValueError for invalid JSON, a wrong checksum or
    an object of another type.
    """
    try:
        match json.loads(path.read_bytes()):
            case dict(content):
                stored = content.pop(CHECKSUM_KEY, None)
            case _:
                raise ValueError("it is no object of JSON")
    except RecursionError as error:
        raise ValueError("its brackets are nested too deep") from error
    if stored is not None and stored != checksum(json.dumps(content)):
        raise ValueError("its checksum differs")
    return msgspec.convert(content, kind, str_keys=True)


@contextmanager
def replace_when_written(path: Path) -> Iterator[Path]:
    """Yield the path of a draft, which replaces a file durably once it is written without an error.

    Readers see the old or the new file. The folder is created. A device or a pipe is written in
    place: a process of root would otherwise replace ``/dev/null`` by a file. It raises JournalError
    if the disk refuses, and then keeps the old file.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.draft")
    try:
        if is_stream(path):
            yield path
            return
        create_folder(path.parent)
        yield draft
        _sync(draft)
        draft.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise disk_error(path, error) from error
    finally:
        with suppress(OSError):  # if nothing can be written there is no draft to remove
            draft.unlink(missing_ok=True)


def write_atomic(
    path: Path, text: str, *, is_private: bool = False, is_of_folder: bool = False
) -> None:
    """Write a text file as :func:`replace_when_written` does.

    A private file is readable by its owner only. With ``is_of_folder`` a file that root writes
    belongs to the owner of its folder.
    """
    with replace_when_written(path) as draft:
        if is_private and draft != path:
            draft.touch(mode=PRIVATE_FILE_MODE)
            draft.chmod(PRIVATE_FILE_MODE)
        with draft.open("w", encoding="utf-8") as file:
            if is_of_folder and draft != path:
                give_to_owner_of(path.parent, file.fileno())
            file.write(text)


def write_json_atomic(path: Path, value: object) -> None:
    """Write an object as JSON, atomically and durably."""
    write_atomic(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def default_state_folder(site: str) -> Path:
    """Return the default folder of the state of a site's service."""
    if configured := os.environ.get("GIGATWIN_STATE"):
        return Path(configured)
    try:
        home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    except RuntimeError as error:
        raise ServiceError.single(
            "state",
            IssueCode.MISSING,
            "home folder",
            expected="a home folder, which users in containers often lack",
            remedy="name the state folder with --state or GIGATWIN_STATE",
        ) from error
    return Path(home) / "gigatwin" / site
