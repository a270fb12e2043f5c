"""Checksums of the files of a repository on a local disk, and direct reads of its objects.

Chunks carry checksums; the files that locate them do not, and one changed bit there may hide a
minute. So the repository has a file of records of 33 bytes, one for each snapshot and manifest,
replaced after the commit: kind (``S`` or ``M``), name, size, CRC-32C, and a checksum of the record.
A file without a record is trusted: its writer was killed, and the next writer adds the record. The
snapshots are in the order of their commits, so a head that points to an older one is detected too.

Icechunk reads local files in parts of 8 KiB, ten times slower than the disk. So
:class:`LocalObjects` reads and decodes the shards from their files. Manifests name the file of
each object, in the format of Icechunk's specification, version 2: a header of 39 bytes, then zstd
over FlatBuffers. Other formats are read through Icechunk.

The head file has a record too, which :mod:`telemetry.archive.recovery` compares.
"""

import math
import os
import struct
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import pairwise, product
from pathlib import Path
from typing import Final, NamedTuple

import google_crc32c
import icechunk
import numpy as np
from numcodecs import blosc, zstd  # type: ignore[import-untyped]
from numpy.typing import NDArray

from telemetry.archive.layout import (
    CHECKSUM_BYTES,
    INDEX_ENTRY_BYTES,
    IO_THREADS,
    NO_CHUNK,
    AnyArray,
    Int64Array,
    ShardIndex,
    ZarrArray,
    shard_shape,
)
from twin.errors import ArchiveError, IssueCode

_REPOSITORY_HEADER_BYTES: Final = 39  # header of a repository's file
_CHUNK_FILE_MAGIC: Final = b"ICE\xf0\x9f\xa7\x8aCHUNK"
_FILE_TYPE: Final = b"\x02\x02\x01"  # specification 2, a manifest, zstd
_BASE32_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_NAME_BYTES, _NAME_LETTERS, _NODE_BYTES = 12, 20, 8
_MAX_CACHED_MANIFESTS: Final = 64  # parsed manifests in memory

# Numbers of fields in the schema's tables.
_ARRAYS: Final = 1
_NODE, _REFS = 0, 1
_INDEX, _INLINE, _OFFSET, _LENGTH, _FILE = 0, 1, 2, 3, 4

MAX_CACHED_INDEXES: Final = 4096
"""Indexes of shards kept in memory. [1]"""

type FileChecksum = tuple[int, int]
"""Size [B] and checksum."""


class ManifestChecksums:
    """Checksums of the files of one repository.

    ``snapshots`` are those with a checksum, in the order of their commits; ``head`` is the checksum
    of the head file, None without one.
    """

    def __init__(self, store: Path) -> None:
        self._store = Path(store)
        self._path = self._store / CHECKSUM_FILE
        self._checksum_by_name: dict[str, FileChecksum] = {}
        self.snapshots: list[str] = []
        self.head: FileChecksum | None = None
        try:
            self._written = self._path.read_bytes()
        except FileNotFoundError:
            self._written = b""
        complete = self._written[: len(self._written) // _RECORD.size * _RECORD.size]
        for kind, name, size, checksum, record_checksum in _RECORD.iter_unpack(complete):
            if record_checksum != _record_checksum(kind, name, size, checksum):
                continue
            if kind == _HEAD_KIND:
                self.head = size, checksum
            else:
                text = name.decode("ascii", "replace")
                self._checksum_by_name[text] = size, checksum
                if kind == _SNAPSHOT_KIND:
                    self.snapshots.append(text)

    def read_checked(self, folder: str, name: str, path: str = "") -> bytes:
        """Return the content of a file, after comparing its checksum.

        If it differs, or the file is missing, raise CorruptRepositoryError; ``path`` is the
        affected array.
        """
        try:
            data = (self._store / folder / name).read_bytes()
        except FileNotFoundError as error:
            raise CorruptRepositoryError(f"{folder}/{name} is missing", path) from error
        if self._checksum_by_name.get(name, checksum_of(data)) != checksum_of(data):
            raise CorruptRepositoryError(f"{folder}/{name} is corrupt: its checksum differs", path)
        return data

    def check_head(self, snapshot: str) -> None:
        """Check that a snapshot is the last one, or later than all with a checksum.

        The checksums must have been read before the head. An older snapshot raises
        CorruptRepositoryError.
        """
        if snapshot in self._checksum_by_name and snapshot != self.snapshots[-1]:
            message = f"the repository points to {snapshot}, which is not its last commit"
            raise CorruptRepositoryError(message)
        self.read_checked("snapshots", snapshot)

    def update(self, head: str) -> None:
        """Add checksums of new files, that of the last snapshot ``head`` last; drop those of
        deleted files. An older checksum has priority.
        """
        existing = {name: folder for folder, name in self._existing()}
        for name, folder in existing.items():
            if name not in self._checksum_by_name:
                data = (self._store / folder / name).read_bytes()
                self._checksum_by_name[name] = checksum_of(data)
        snapshots = [name for name in existing if existing[name] == "snapshots"]
        order = dict.fromkeys(name for name in [*self.snapshots, *snapshots] if name in existing)
        order.pop(head, None)
        self._checksum_by_name = {name: self._checksum_by_name[name] for name in existing}
        self.snapshots = [*order, *([head] if head in existing else [])]
        self.head = self._head_checksum() or self.head
        manifests = [name for name in existing if existing[name] == "manifests"]
        records = [
            *(
                _pack_record(_MANIFEST_KIND, name, self._checksum_by_name[name])
                for name in manifests
            ),
            *(
                _pack_record(_SNAPSHOT_KIND, name, self._checksum_by_name[name])
                for name in self.snapshots
            ),
            *([_pack_record(_HEAD_KIND, "", self.head)] if self.head else []),
        ]
        if (data := b"".join(records)) != self._written:
            self._write(data)

    def _existing(self) -> Iterator[tuple[str, str]]:
        for folder in ("snapshots", "manifests"):
            if (self._store / folder).is_dir():
                for entry in os.scandir(self._store / folder):
                    if len(entry.name) == _NAME_LETTERS:  # not a draft
                        yield folder, entry.name

    def _head_checksum(self) -> FileChecksum | None:
        path = self._store / HEAD_FILE
        return checksum_of(path.read_bytes()) if path.exists() else None

    def _write(self, data: bytes) -> None:
        """Replace the file; a draft that a killed process left is overwritten."""
        draft = self._path.with_name(f"{CHECKSUM_FILE}.draft")
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
        self._written = data


class ObjectRef(NamedTuple):
    """Where an object is: name of a file, offset and length [B]; or its bytes, without a file."""

    file: str
    offset: int
    length: int
    inline: bytes


class LocalObjects:
    """Shards of one snapshot of a repository on a local disk, read from their files.

    The manifests of an array are compared with their checksums before use.
    """

    def __init__(
        self,
        folder: Path,
        repository: icechunk.Repository,
        snapshot: str,
        *,
        checksums: ManifestChecksums,
    ) -> None:
        self._folder = folder
        self._checksums = checksums
        self._nodes: dict[str, tuple[str, list[str]]] = {
            str(node["path"]).lstrip("/"): (
                str(node["id"]),
                [str(one["id"]) for one in node.get("manifest_refs") or ()],
            )
            for node in repository.inspect_snapshot(snapshot)["nodes"]
            if node["node_type"] == "array"
        }
        self._refs: dict[str, dict[ShardIndex, ObjectRef]] = {}
        self._checked: set[str] = set()
        self._indexes: dict[tuple[str, ShardIndex], NDArray[np.uint64]] = {}

    def check(self, path: str) -> None:
        """Check the manifests of an array; raise CorruptRepositoryError if one is corrupt."""
        for name in self.manifest_names(path):
            if name not in self._checked:
                self._checksums.read_checked("manifests", name, path)
                self._checked.add(name)

    def manifest_names(self, path: str) -> list[str]:
        """Return the manifests of an array; none of an array that does not exist."""
        return self._nodes.get(path, ("", []))[1]

    def object_refs(self, path: str) -> dict[ShardIndex, ObjectRef]:
        """Return the objects of an array by their place.

        Corrupt manifests raise CorruptRepositoryError. Manifests of another format raise KeyError,
        ValueError, OSError or struct.error.
        """
        if path not in self._refs:
            self.check(path)
            node, names = self._nodes[path]
            found: dict[ShardIndex, ObjectRef] = {}
            for name in names:
                found |= _manifest(str(self._folder / "manifests" / name))[node]
            self._refs[path] = found
        return self._refs[path]

    def select(self, array: ZarrArray, axes: Sequence[Int64Array]) -> AnyArray:
        """Return the values of an array at some indices of each axis, fill values where none is
        stored.

        Corrupt and missing chunks raise ArchiveError.
        """
        found = np.full([*map(len, axes)], array.fill_value, dtype=array.dtype)
        cuts = [
            _cuts(places, shard, chunk)
            for places, shard, chunk in zip(axes, shard_shape(array), array.chunks, strict=True)
        ]
        refs = self.object_refs(array.path)
        places = [place for place in product(*cuts) if place in refs]

        def work(place: ShardIndex) -> None:
            read = partial(self._read, refs[place])
            index = self._index(array, place, refs[place])
            parts = [cut[at] for cut, at in zip(cuts, place, strict=True)]
            for chunk in product(*parts):
                offset, size = index[tuple(one.block for one in chunk)].tolist()
                if offset != NO_CHUNK:
                    values = _decode(read(offset, size), array)
                    wanted = _indices([one.wanted for one in chunk])
                    found[wanted] = values[_indices([one.inside for one in chunk])]

        list(io_pool().map(work, places) if len(places) > 1 else map(work, places))
        return found

    def _index(self, array: ZarrArray, place: ShardIndex, ref: ObjectRef) -> NDArray[np.uint64]:
        """Return offset and length of each chunk of a shard, on (chunk along each axis, 2)."""
        key = array.path, place
        if key not in self._indexes:
            if len(self._indexes) > MAX_CACHED_INDEXES:
                self._indexes.clear()
            counts = [a // b for a, b in zip(shard_shape(array), array.chunks, strict=True)]
            size = math.prod(counts) * INDEX_ENTRY_BYTES + CHECKSUM_BYTES
            entries = _without_checksum(self._read(ref, ref.length - size, size))
            self._indexes[key] = np.frombuffer(entries, "<u8").reshape(*counts, 2)
        return self._indexes[key]

    def _read(self, ref: ObjectRef, start: int, size: int) -> bytes:
        if not ref.file:
            return ref.inline[start : start + size]
        try:
            file = os.open(f"{self._folder}/chunks/{ref.file}", os.O_RDONLY)
        except FileNotFoundError as error:
            raise ArchiveError(f"chunks/{ref.file} is missing", code=IssueCode.MISSING) from error
        try:
            return os.pread(file, size, ref.offset + start)
        finally:
            os.close(file)


class _Cut(NamedTuple):
    """Requested indices of one axis in one chunk: number of the chunk in its shard, indices among
    the requested ones, and within the chunk.
    """

    block: int
    wanted: slice | Int64Array
    inside: slice | Int64Array


def _cuts(places: Int64Array, shard: int, chunk: int) -> dict[int, list[_Cut]]:
    """Return the requested indices of an axis by shard."""
    found: dict[int, list[_Cut]] = {}
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    is_run = bool((np.diff(places) == 1).all())
    edges = [0, *(np.flatnonzero(np.diff(ordered // chunk)) + 1).tolist(), len(ordered)]
    for first, last in pairwise(edges):
        block = int(ordered[first]) // chunk
        wanted: slice | Int64Array = order[first:last]
        inside: slice | Int64Array = ordered[first:last] - block * chunk
        if is_run:
            wanted, start = slice(first, last), int(ordered[first]) - block * chunk
            inside = slice(start, start + last - first)
        cut = _Cut(block % (shard // chunk), wanted, inside)
        found.setdefault(block * chunk // shard, []).append(cut)
    return found


def _indices(parts: Sequence[slice | Int64Array]) -> tuple[slice | Int64Array, ...]:
    """Return an index of the cells at all combinations of indices of each axis."""
    if all(isinstance(part, slice) for part in parts):
        return tuple(parts)
    arrays = (np.arange(p.start, p.stop) if isinstance(p, slice) else p for p in parts)
    return np.ix_(*arrays)


def _decode(data: bytes, array: ZarrArray) -> AnyArray:
    """Return the values of a chunk."""
    values = np.frombuffer(blosc.decompress(_without_checksum(data)), array.dtype)
    return values.reshape(array.chunks)


def _without_checksum(data: bytes) -> bytes:
    """Return the bytes before a checksum; raise ArchiveError if it differs."""
    body = data[:-CHECKSUM_BYTES]
    if int(google_crc32c.value(body)).to_bytes(CHECKSUM_BYTES, "little") != data[-CHECKSUM_BYTES:]:
        raise ArchiveError("a chunk is corrupt: its checksum differs", code=IssueCode.CORRUPT)
    return body


@lru_cache(maxsize=1)
def io_pool() -> ThreadPoolExecutor:
    """Return the threads that all archives of a process share."""
    return ThreadPoolExecutor(IO_THREADS, thread_name_prefix="archive")


@lru_cache(maxsize=_MAX_CACHED_MANIFESTS)
def _manifest(path: str) -> dict[str, dict[ShardIndex, ObjectRef]]:
    """Return the references of a manifest: node -> place of an object -> where it is."""
    raw = Path(path).read_bytes()
    if (
        not raw.startswith(_CHUNK_FILE_MAGIC)
        or raw[_REPOSITORY_HEADER_BYTES - 3 : _REPOSITORY_HEADER_BYTES] != _FILE_TYPE
    ):
        raise ValueError(f"{path} is not a manifest of a known version")
    table = _Table(bytes(zstd.decompress(raw[_REPOSITORY_HEADER_BYTES:])))
    found = {}
    for one in table.vector(table.number(0), _ARRAYS):
        node = _letters(table.data[table.field(one, _NODE) :][:_NODE_BYTES], 13)
        found[node] = dict(table.ref(ref) for ref in table.vector(one, _REFS))
    return found


class _Table:
    """Reader of FlatBuffers, as far as a manifest needs it."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def number(self, place: int) -> int:
        return int(struct.unpack_from("<I", self.data, place)[0])

    def long(self, place: int) -> int:
        return int(struct.unpack_from("<Q", self.data, place)[0]) if place else 0

    def field(self, table: int, number: int) -> int:
        """Return the offset of a field; 0 if it is missing."""
        names = table - int(struct.unpack_from("<i", self.data, table)[0])
        size, entry = struct.unpack_from("<H", self.data, names)[0], 4 + 2 * number
        if entry >= size:
            return 0
        offset = int(struct.unpack_from("<H", self.data, names + entry)[0])
        return table + offset if offset else 0

    def vector(self, table: int, number: int) -> Iterator[int]:
        """Yield the offsets of the tables of a vector."""
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
        if not file:
            start = (place := self.field(table, _INLINE)) + self.number(place)
            inline = self.data[start + 4 : start + 4 + self.number(start)]
            return tuple(where), ObjectRef("", 0, len(inline), inline)
        name = _letters(self.data[file : file + _NAME_BYTES], _NAME_LETTERS)
        offset, length = (self.long(self.field(table, of)) for of in (_OFFSET, _LENGTH))
        return tuple(where), ObjectRef(name, offset, length, b"")


def _letters(name: bytes, count: int) -> str:
    """Return bytes in Crockford's base 32."""
    value = int.from_bytes(name) << (5 * count - 8 * len(name))
    return "".join(_BASE32_ALPHABET[value >> 5 * place & 31] for place in reversed(range(count)))


CHECKSUM_FILE: Final = "seals"
"""File in the folder of the repository."""

_RECORD: Final = struct.Struct("<c20sIII")

HEAD_FILE: Final = "repo"
"""Head file in the folder of the repository."""

_SNAPSHOT_KIND, _MANIFEST_KIND, _HEAD_KIND = b"S", b"M", b"H"


class CorruptRepositoryError(ArchiveError):
    """A file of a repository is corrupt; ``path`` is the affected array, empty for all."""

    code = IssueCode.CORRUPT

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


def _pack_record(kind: bytes, name: str, file_checksum: FileChecksum) -> bytes:
    raw = name.encode("ascii")
    return _RECORD.pack(kind, raw, *file_checksum, _record_checksum(kind, raw, *file_checksum))


def _record_checksum(kind: bytes, name: bytes, size: int, checksum: int) -> int:
    return int(google_crc32c.value(struct.pack("<c20sII", kind, name, size, checksum)))


def checksum_of(data: bytes) -> FileChecksum:
    """Return size and checksum of a file's content."""
    return len(data), int(google_crc32c.value(data))
