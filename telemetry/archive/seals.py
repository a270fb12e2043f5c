"""Seals of the small files of a repository on a disk: a byte of them that changes is noticed.

Blocks carry checksums; the files that say where blocks lie do not, and one changed bit of them may
make a minute that was heard look like one that was not. So with the repository lies a file of
records of 33 bytes, one for each snapshot and each manifest, written after the commit: kind (``S``
or ``M``), name, size, CRC-32C, and a checksum of the record itself. A file without a seal is
believed: its writer was killed before it could seal, and the next writer seals it.

The snapshots stand in the order of their commits. So a head that points to an older one, where the
file of heads is spoilt, is noticed too.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import google_crc32c

from telemetry.durable import MODE
from twin.errors import ArchiveError

FILE: Final = "seals"
"""File in the folder of the repository."""

KINDS: Final = {"snapshots": b"S", "manifests": b"M"}
"""Folder of a repository -> letter of what lies in it."""

_RECORD: Final = struct.Struct("<c20sIII")

HEADS: Final = "repo"
"""File in the folder of the repository that tells its heads."""

_HEADS: Final = b"H"

type Seal = tuple[int, int]
"""Size [B] and checksum."""


class SpoiltError(ArchiveError):
    """A file of a repository is not what was written.

    Attributes
    ----------
    path
        Of the array that it belongs to; empty for all of them.
    """

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class Seals:
    """The seals of one repository.

    Parameters
    ----------
    store
        Folder of the repository.

    Attributes
    ----------
    snapshots
        Names of those that are sealed, in the order of their commits.
    heads
        Seal of the file of heads; None if it has none.
    """

    def __init__(self, store: Path) -> None:
        self._store = Path(store)
        self._path = self._store / FILE
        self._known: dict[str, Seal] = {}
        self.snapshots: list[str] = []
        self.heads: Seal | None = None
        self.read()

    def read(self) -> None:
        """Take up what is written."""
        self._known, self.snapshots, self.heads = {}, [], None
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return
        for kind, name, size, checksum, guard in _RECORD.iter_unpack(_cut(data)):
            if guard != _guard(kind, name, size, checksum):
                continue
            if kind == _HEADS:
                self.heads = size, checksum
            else:
                text = name.decode("ascii", "replace")
                self._known[text] = size, checksum
                if kind == KINDS["snapshots"]:
                    self.snapshots.append(text)

    def check(self, folder: str, name: str, path: str = "") -> bytes:
        """Return a file if it is what was written.

        Parameters
        ----------
        folder, name
            Which file.
        path
            Of the array that it belongs to.

        Raises
        ------
        SpoiltError
            If it is not, or is gone.
        """
        try:
            data = (self._store / folder / name).read_bytes()
        except FileNotFoundError as error:
            message = f"{folder}/{name} is gone"
            raise SpoiltError(message, path) from error
        if self._known.get(name, sealed(data)) != sealed(data):
            message = f"{folder}/{name} is not what was written: its checksum differs"
            raise SpoiltError(message, path)
        return data

    def check_head(self, snapshot: str) -> None:
        """Hold that a snapshot is the last, or later than all that are sealed.

        The seals must have been read before the head was.

        Raises
        ------
        SpoiltError
            If it is an older one, or is spoilt.
        """
        if snapshot in self._known and snapshot != self.snapshots[-1]:
            message = f"the repository points to {snapshot}, which is not its last commit"
            raise SpoiltError(message)
        self.check("snapshots", snapshot)

    def renew(self, head: str) -> None:
        """Seal what is not sealed, the head last; forget what is gone.

        Parameters
        ----------
        head
            The last snapshot.

        Raises
        ------
        OSError
            If the disk does not take it.
        """
        there = {name: folder for folder, name in self._there()}
        new = [name for name in there if name not in self._known and name != head]
        gone = [name for name in self._known if name not in there]
        if len(gone) > len(self._known) // 4:
            self._rewrite(there)
        records = [self._record(there[name], name) for name in new]
        if head not in self.snapshots[-1:]:
            records.append(self._record("snapshots", head))
        if (heads := self._heads_now()) not in (None, self.heads):
            records.append(_packed(_HEADS, "", heads))
            self.heads = heads
        if records:
            self._append(b"".join(records))

    def _there(self) -> Iterator[tuple[str, str]]:
        for folder in KINDS:
            if (self._store / folder).is_dir():
                for entry in os.scandir(self._store / folder):
                    if len(entry.name) == 20:  # noqa: PLR2004 - a name, and no draft of one
                        yield folder, entry.name

    def _heads_now(self) -> Seal | None:
        path = self._store / HEADS
        return sealed(path.read_bytes()) if path.exists() else None

    def _record(self, folder: str, name: str) -> bytes:
        """Return the record of a file, and remember it; an older seal of it goes before."""
        seal = self._known.get(name) or sealed((self._store / folder / name).read_bytes())
        self._known[name] = seal
        if folder == "snapshots":
            self.snapshots.append(name)
        return _packed(KINDS[folder], name, seal)

    def _append(self, data: bytes) -> None:
        """Write records behind those that are whole."""
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT, MODE)
        try:
            size = os.fstat(file).st_size
            os.lseek(file, size - size % _RECORD.size, os.SEEK_SET)
            written = os.write(file, data)
            os.truncate(file, size - size % _RECORD.size + written)
        finally:
            os.close(file)

    def _rewrite(self, there: dict[str, str]) -> None:
        """Write anew what is still there."""
        snapshots = [name for name in self.snapshots if name in there]
        names = [name for name in self._known if there.get(name) == "manifests"]
        records = [_packed(KINDS["manifests"], name, self._known[name]) for name in names]
        records += [_packed(KINDS["snapshots"], name, self._known[name]) for name in snapshots]
        if self.heads:
            records.append(_packed(_HEADS, "", self.heads))
        draft = self._path.with_name(f"{FILE}.draft")
        draft.write_bytes(b"".join(records))
        draft.replace(self._path)
        self.read()


class Guard:
    """Checks the files of one snapshot before anyone believes them.

    Parameters
    ----------
    seals
        Of the repository.
    nodes
        Path of an array -> names of its manifests.
    """

    def __init__(self, seals: Seals, nodes: dict[str, list[str]]) -> None:
        self._seals = seals
        self._nodes = nodes
        self._sound: set[str] = set()

    def check(self, path: str) -> None:
        """Hold that the manifests of an array are what was written.

        Raises
        ------
        SpoiltError
            If one is not.
        """
        for name in self._nodes.get(path, ()):
            if name not in self._sound:
                self._seals.check("manifests", name, path)
                self._sound.add(name)


def _cut(data: bytes) -> bytes:
    """Return whole records."""
    return data[: len(data) - len(data) % _RECORD.size]


def _packed(kind: bytes, name: str, seal: Seal) -> bytes:
    raw = name.encode("ascii")
    return _RECORD.pack(kind, raw, *seal, _guard(kind, raw, *seal))


def _guard(kind: bytes, name: bytes, size: int, checksum: int) -> int:
    return int(google_crc32c.value(struct.pack("<c20sII", kind, name, size, checksum)))


def sealed(data: bytes) -> Seal:
    """Return what a file of these bytes is sealed with."""
    return len(data), int(google_crc32c.value(data))
