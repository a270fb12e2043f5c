"""Where the objects of a repository on a local disk lie, so that they are read directly.

Icechunk reads local files in pieces of 8 KiB, which takes ten times as long as the disk. Its
manifests tell which file an object is; their format is published with Icechunk's specification,
version 2: 39 bytes of header, then zstd over FlatBuffers. What does not look like it is left to
Icechunk itself.
"""

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Final

import icechunk
from numcodecs import zstd  # type: ignore[import-untyped]

from telemetry.archive.blocks import Place
from telemetry.archive.seals import Guard, Seals

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

type Ref = tuple[str, int, int]
"""Name of a file, where the object begins in it, and how long it is."""


class Files:
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
        seals: Seals | None = None,
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
        self._refs: dict[str, dict[Place, Ref]] = {}
        manifests = {path: names for path, (_, names) in self._nodes.items()}
        self.guard = Guard(seals or Seals(folder), manifests)

    def refs(self, path: str) -> dict[Place, Ref]:
        """Return the objects of an array by their place.

        Raises
        ------
        SpoiltError
            If the manifests are not what was written.
        KeyError, ValueError, OSError, struct.error
            If they are not what we know.
        """
        if path not in self._refs:
            self.guard.check(path)
            node, names = self._nodes[path]
            found: dict[Place, Ref] = {}
            for name in names:
                found |= _manifest(str(self._folder / "manifests" / name))[node]
            self._refs[path] = found
        return self._refs[path]

    def read(self, ref: Ref, start: int, size: int) -> bytes:
        """Return a part of an object; from its end if ``start`` is negative."""
        _, _, length = ref
        first = start if start >= 0 else length + start
        with self.reader([(ref, first, first + size)]) as read:
            return read(0)

    @contextmanager
    def reader(self, wanted: Sequence[tuple[Ref, int, int]]) -> Iterator[Callable[[int], bytes]]:
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
def _manifest(path: str) -> dict[str, dict[Place, Ref]]:
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

    def ref(self, table: int) -> tuple[Place, Ref]:
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
