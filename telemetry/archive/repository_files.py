"""Seals of the small files of a repository on a disk: a byte of them that changes is noticed.

Blocks carry checksums; the files that say where blocks lie do not, and one changed bit of them may
make a minute that was heard look like one that was not. So with the repository lies a file of
records of 33 bytes, one for each snapshot and each manifest, written after the commit: kind (``S``
or ``M``), name, size, CRC-32C, and a checksum of the record itself. A file without a seal is
believed: its writer was killed before it could seal, and the next writer seals it.

The snapshots stand in the order of their commits. So a head that points to an older one, where the
file of heads is spoilt, is noticed too.

Where the objects of a repository on a local disk lie, so that they are read directly.

Icechunk reads local files in pieces of 8 KiB, which takes ten times as long as the disk. Its
manifests tell which file an object is; their format is published with Icechunk's specification,
version 2: 39 bytes of header, then zstd over FlatBuffers. What does not look like it is left to
Icechunk itself.

Whether the file of heads of a repository on a disk can be read at all.

Icechunk believes what it reads there: one changed bit may be a length of billions, at which it
counts for hours, holding all of the process, or an allocation that ends it. So the file is sealed
after each commit, and one that is not as it was sealed, since its writer was killed just then or
since it is spoilt, is read by another process first, which may hang or die.

Icechunk in a process of its own: there it may hang or die, and what it keeps goes with it.
"""

import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Final

import google_crc32c
import icechunk
from numcodecs import zstd  # type: ignore[import-untyped]

from telemetry.archive.layout import MAIN_BRANCH, ShardIndex
from telemetry.files import FILE_MODE
from twin.errors import ArchiveError

_HEADER: Final = 39
_MARK: Final = b"ICE\xf0\x9f\xa7\x8aCHUNK"
_KIND: Final = b"\x02\x02\x01"  # specification 2, a manifest, zstd
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_NAME_BYTES, _NAME_LETTERS, _NODE_BYTES = 12, 20, 8
_REFS_REMEMBERED: Final = 64

# Numbers of fields in the schema's tables.
_ARRAYS: Final = 1
_NODE, _REFS = 0, 1
_INDEX, _OFFSET, _LENGTH, _FILE = 0, 2, 3, 4

type ObjectRef = tuple[str, int, int]
"""Name of a file, where the object begins in it, and how long it is."""

type FileChecksum = tuple[int, int]
"""Size [B] and checksum."""


class ManifestChecksums:
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
        self._path = self._store / CHECKSUM_FILE
        self._known: dict[str, FileChecksum] = {}
        self.snapshots: list[str] = []
        self.head: FileChecksum | None = None
        self.read()

    def read(self) -> None:
        """Take up what is written."""
        self._known, self.snapshots, self.head = {}, [], None
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return
        for kind, name, size, checksum, guard in _RECORD.iter_unpack(_cut(data)):
            if guard != _guard(kind, name, size, checksum):
                continue
            if kind == _HEADS:
                self.head = size, checksum
            else:
                text = name.decode("ascii", "replace")
                self._known[text] = size, checksum
                if kind == CHECKSUM_KINDS["snapshots"]:
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
        CorruptRepositoryError
            If it is not, or is gone.
        """
        try:
            data = (self._store / folder / name).read_bytes()
        except FileNotFoundError as error:
            message = f"{folder}/{name} is gone"
            raise CorruptRepositoryError(message, path) from error
        if self._known.get(name, checksum_of(data)) != checksum_of(data):
            message = f"{folder}/{name} is not what was written: its checksum differs"
            raise CorruptRepositoryError(message, path)
        return data

    def check_head(self, snapshot: str) -> None:
        """Hold that a snapshot is the last, or later than all that are sealed.

        The seals must have been read before the head was.

        Raises
        ------
        CorruptRepositoryError
            If it is an older one, or is spoilt.
        """
        if snapshot in self._known and snapshot != self.snapshots[-1]:
            message = f"the repository points to {snapshot}, which is not its last commit"
            raise CorruptRepositoryError(message)
        self.check("snapshots", snapshot)

    def update(self, head: str) -> None:
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
        if (heads := self._heads_now()) not in (None, self.head):
            records.append(_packed(_HEADS, "", heads))
            self.head = heads
        if records:
            self._append(b"".join(records))

    def _there(self) -> Iterator[tuple[str, str]]:
        for folder in CHECKSUM_KINDS:
            if (self._store / folder).is_dir():
                for entry in os.scandir(self._store / folder):
                    if len(entry.name) == 20:  # noqa: PLR2004 - a name, and no draft of one
                        yield folder, entry.name

    def _heads_now(self) -> FileChecksum | None:
        path = self._store / HEAD_FILE
        return checksum_of(path.read_bytes()) if path.exists() else None

    def _record(self, folder: str, name: str) -> bytes:
        """Return the record of a file, and remember it; an older seal of it goes before."""
        seal = self._known.get(name) or checksum_of((self._store / folder / name).read_bytes())
        self._known[name] = seal
        if folder == "snapshots":
            self.snapshots.append(name)
        return _packed(CHECKSUM_KINDS[folder], name, seal)

    def _append(self, data: bytes) -> None:
        """Write records behind those that are whole."""
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT, FILE_MODE)
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
        records = [_packed(CHECKSUM_KINDS["manifests"], name, self._known[name]) for name in names]
        records += [
            _packed(CHECKSUM_KINDS["snapshots"], name, self._known[name]) for name in snapshots
        ]
        if self.head:
            records.append(_packed(_HEADS, "", self.head))
        draft = self._path.with_name(f"{CHECKSUM_FILE}.draft")
        draft.write_bytes(b"".join(records))
        draft.replace(self._path)
        self.read()


class LocalObjects:
    """The objects of one snapshot of a repository on a local disk.

    Parameters
    ----------
    folder
        Of the repository.
    repository
        The same, opened.
    snapshot
        Which snapshot.
    seals
        Of the repository.

    Attributes
    ----------
    guard
        Checks the manifests of an array.
    """

    def __init__(
        self,
        folder: Path,
        repository: icechunk.Repository,
        snapshot: str,
        *,
        seals: ManifestChecksums | None = None,
    ) -> None:
        self._folder = folder
        told = repository.inspect_snapshot(snapshot)
        self._nodes: dict[str, tuple[str, list[str]]] = {
            str(node["path"]).lstrip("/"): (
                str(node["id"]),
                [str(one["id"]) for one in node.get("manifest_refs") or ()],
            )
            for node in told["nodes"]
            if node["node_type"] == "array"
        }
        self._refs: dict[str, dict[ShardIndex, ObjectRef]] = {}
        manifests = {path: names for path, (_, names) in self._nodes.items()}
        self.manifest_checker = ManifestChecker(seals or ManifestChecksums(folder), manifests)

    def object_refs(self, path: str) -> dict[ShardIndex, ObjectRef]:
        """Return the objects of an array by their place.

        Raises
        ------
        CorruptRepositoryError
            If the manifests are not what was written.
        KeyError, ValueError, OSError, struct.error
            If they are not what we know.
        """
        if path not in self._refs:
            self.manifest_checker.check(path)
            node, names = self._nodes[path]
            found: dict[ShardIndex, ObjectRef] = {}
            for name in names:
                found |= _manifest(str(self._folder / "manifests" / name))[node]
            self._refs[path] = found
        return self._refs[path]

    def read(self, ref: ObjectRef, start: int, size: int) -> bytes:
        """Return a part of an object; from its end if ``start`` is negative."""
        _, _, length = ref
        first = start if start >= 0 else length + start
        with self.reader([(ref, first, first + size)]) as read:
            return read(0)

    @contextmanager
    def reader(
        self, wanted: Sequence[tuple[ObjectRef, int, int]]
    ) -> Iterator[Callable[[int], bytes]]:
        """Give a function that reads parts of objects by their number; each is opened once.

        Parameters
        ----------
        wanted
            Objects, and where a part of each begins and ends. [B]
        """
        files: dict[str, int] = {}
        try:
            for name in {ref[0] for ref, _, _ in wanted}:
                files[name] = os.open(f"{self._folder}/chunks/{name}", os.O_RDONLY)
            places = [
                (files[name], end - start, offset + start)
                for (name, offset, _), start, end in wanted
            ]
            yield lambda number: os.pread(*places[number])
        finally:
            for file in files.values():
                os.close(file)


@lru_cache(maxsize=_REFS_REMEMBERED)
def _manifest(path: str) -> dict[str, dict[ShardIndex, ObjectRef]]:
    """Return what a manifest says: node -> place of an object -> where it is."""
    raw = Path(path).read_bytes()
    if not raw.startswith(_MARK) or raw[_HEADER - 3 : _HEADER] != _KIND:
        message = f"{path} is no manifest of a version that we know"
        raise ValueError(message)
    table = _Table(bytes(zstd.decompress(raw[_HEADER:])))
    found = {}
    for one in table.vector(table.number(0), _ARRAYS):
        node = _letters(table.data[table.field(one, _NODE) :][:_NODE_BYTES], 13)
        found[node] = dict(table.ref(ref) for ref in table.vector(one, _REFS))
    return found


class _Table:
    """FlatBuffers, as much of it as a manifest needs."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def number(self, place: int) -> int:
        return int(struct.unpack_from("<I", self.data, place)[0])

    def long(self, place: int) -> int:
        return int(struct.unpack_from("<Q", self.data, place)[0]) if place else 0

    def field(self, table: int, number: int) -> int:
        """Return where a field stands; 0 if it is not there."""
        names = table - int(struct.unpack_from("<i", self.data, table)[0])
        size, entry = struct.unpack_from("<H", self.data, names)[0], 4 + 2 * number
        if entry >= size:
            return 0
        offset = int(struct.unpack_from("<H", self.data, names + entry)[0])
        return table + offset if offset else 0

    def vector(self, table: int, number: int) -> Iterator[int]:
        """Yield where the tables of a vector stand."""
        place = self.field(table, number)
        start = place + self.number(place)
        for entry in range(start + 4, start + 4 + 4 * self.number(start), 4):
            yield entry + self.number(entry)

    def ref(self, table: int) -> tuple[ShardIndex, ObjectRef]:
        """Return place and file of an object."""
        place = self.field(table, _INDEX)
        start = place + self.number(place)
        where = struct.unpack_from(f"<{self.number(start)}I", self.data, start + 4)
        file = self.field(table, _FILE)
        name = _letters(self.data[file : file + _NAME_BYTES], _NAME_LETTERS) if file else ""
        offset, length = (self.long(self.field(table, of)) for of in (_OFFSET, _LENGTH))
        return tuple(where), (name, offset, length)


def _letters(name: bytes, count: int) -> str:
    """Return bytes in Crockford's base 32."""
    value = int.from_bytes(name) << (5 * count - 8 * len(name))
    return "".join(_ALPHABET[value >> 5 * place & 31] for place in reversed(range(count)))


CHECKSUM_FILE: Final = "seals"
"""File in the folder of the repository."""

CHECKSUM_KINDS: Final = {"snapshots": b"S", "manifests": b"M"}
"""Folder of a repository -> letter of what lies in it."""

_RECORD: Final = struct.Struct("<c20sIII")

HEAD_FILE: Final = "repo"
"""File in the folder of the repository that tells its heads."""

_HEADS: Final = b"H"


class CorruptRepositoryError(ArchiveError):
    """A file of a repository is not what was written.

    Attributes
    ----------
    path
        Of the array that it belongs to; empty for all of them.
    """

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class ManifestChecker:
    """Checks the files of one snapshot before anyone believes them.

    Parameters
    ----------
    seals
        Of the repository.
    nodes
        Path of an array -> names of its manifests.
    """

    def __init__(self, seals: ManifestChecksums, nodes: dict[str, list[str]]) -> None:
        self._seals = seals
        self._nodes = nodes
        self._sound: set[str] = set()

    def check(self, path: str) -> None:
        """Hold that the manifests of an array are what was written.

        Raises
        ------
        CorruptRepositoryError
            If one is not.
        """
        for name in self._nodes.get(path, ()):
            if name not in self._sound:
                self._seals.check("manifests", name, path)
                self._sound.add(name)


def _cut(data: bytes) -> bytes:
    """Return whole records."""
    return data[: len(data) - len(data) % _RECORD.size]


def _packed(kind: bytes, name: str, seal: FileChecksum) -> bytes:
    raw = name.encode("ascii")
    return _RECORD.pack(kind, raw, *seal, _guard(kind, raw, *seal))


def _guard(kind: bytes, name: bytes, size: int, checksum: int) -> int:
    return int(google_crc32c.value(struct.pack("<c20sII", kind, name, size, checksum)))


def checksum_of(data: bytes) -> FileChecksum:
    """Return what a file of these bytes is sealed with."""
    return len(data), int(google_crc32c.value(data))


HEAD_CHECK_CPU_S: Final = 10
"""Processor time that the other process may take; a sound file takes less than one. [s]"""

HEAD_CHECK_TIMEOUT_S: Final = 180.0
"""Longest wait for it, however busy the machine is. [s]"""

_TRIAL: Final = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[2]), int(sys.argv[2])))
import icechunk
icechunk.set_logs_filter("off")
held = icechunk.Repository.open(icechunk.local_filesystem_storage(sys.argv[1]))
held.lookup_snapshot(held.lookup_branch(sys.argv[3]))
"""


def verify_head(store: Path | None, seals: ManifestChecksums | None) -> bool:
    """Hold that the file of heads can be read; return whether it is as it was sealed.

    Parameters
    ----------
    store
        Folder of the repository; None for one in a bucket, which keeps checksums of its own.
    seals
        Of it.

    Raises
    ------
    CorruptRepositoryError
        If reading it fails, or does not end.
    """
    if store is None or seals is None:
        return True
    try:
        data = (store / HEAD_FILE).read_bytes()
    except FileNotFoundError:
        return True  # whoever opens it will say so
    if (seal := checksum_of(data)) == seals.head:
        return True
    if fault := _tried(store, seal):
        message = f"the file of heads is spoilt: reading it, {HEAD_CHECK_CPU_S} s at most: {fault}"
        raise CorruptRepositoryError(message)
    return False


@lru_cache(maxsize=64)
def _tried(store: Path, seal: FileChecksum) -> str:  # noqa: ARG001 - it tells which heads these are
    """Return what another process met that read the heads; "" if nothing."""
    return run_isolated(
        _TRIAL, str(store), str(HEAD_CHECK_CPU_S), MAIN_BRANCH, timeout=HEAD_CHECK_TIMEOUT_S
    )


def run_isolated(script: str, *words: str, given: bytes = b"", timeout: float) -> str:
    """Return what a script met that ran in another process, in its last line; "" if nothing.

    Parameters
    ----------
    script
        What it does, in Python.
    words
        Its arguments.
    given
        What it reads from its standard input.
    timeout
        Longest wait for its end, at which it is killed. [s]
    """
    command = [sys.executable, "-I", "-c", script, *words]
    try:
        done = subprocess.run(
            command, input=given, capture_output=True, check=False, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        return f"the process did not end within {timeout:g} s"
    if done.returncode < 0:
        return f"the process ended: {signal.strsignal(-done.returncode)}"
    lines = done.stderr.decode(errors="replace").strip().splitlines() or ["without a word"]
    return lines[-1].lstrip(" `->") if done.returncode else ""
