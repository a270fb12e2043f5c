"""Blocks and shards of an array as bytes: what Zarr's sharding codec writes, without its detours.

Zarr's own pipeline takes a tenth of a millisecond of Python for each block, which is more than all
the rest. The bytes are the same: any Zarr reads what is written here, and a test holds it to that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import google_crc32c
import numpy as np
import zarr
from numcodecs import blosc  # type: ignore[import-untyped]
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec

from telemetry.archive.layout import LABEL_AXES, ResolutionLevel, ShardIndex, ZarrArray
from twin.errors import ArchiveError

type AnyArray = NDArray[np.generic]
type ChunkIndex = NDArray[np.uint64]

_CHECKSUM: Final = 4  # bytes of a checksum
_ENTRY: Final = 16  # bytes of an entry of an index: offset and length
_NOWHERE: Final = np.iinfo(np.uint64).max
_LEVEL: Final = 5
_BITSHUFFLE: Final = 2
_NAME: Final = "lz4"


@dataclass(frozen=True, kw_only=True)
class ShardGrid:
    """The shape of an array and of its pieces; the last axis is never cut within a shard.

    Attributes
    ----------
    shape, shard, chunk
        Of the array, of a shard, of a block.
    dtype
        Type of its numbers.
    fill_value
        What stands where nothing was heard.
    """

    shape: ShardIndex
    shard: ShardIndex
    chunk: ShardIndex
    dtype: np.dtype[np.generic]
    fill_value: float

    @classmethod
    def of(cls, held: ZarrArray) -> "ShardGrid":
        """Return the grid of an array of the store."""
        if held.shards is None:
            message = f"{held.path} has no shards"
            raise TypeError(message)
        absent = float(held.fill_value)
        return cls(
            shape=held.shape,
            shard=held.shards,
            chunk=held.chunks,
            dtype=np.dtype(held.dtype),
            fill_value=absent,
        )

    @property
    def chunks_per_shard(self) -> tuple[int, int]:
        """Blocks of a shard along time and along its columns."""
        return self.shard[0] // self.chunk[0], self.shard[1] // self.chunk[1]

    @property
    def index_bytes(self) -> int:
        """Length of the index at the end of a shard. [B]"""
        rows, columns = self.chunks_per_shard
        return rows * columns * _ENTRY + _CHECKSUM

    def empty(self, shape: ShardIndex) -> AnyArray:
        """Return an array of nothing heard."""
        return np.full(shape, self.fill_value, dtype=self.dtype)

    def encode_chunk(self, values: AnyArray) -> bytes:
        """Return a block as bytes."""
        packed: bytes = blosc.compress(
            np.ascontiguousarray(values),
            _NAME.encode(),
            _LEVEL,
            shuffle=_BITSHUFFLE,
            typesize=self.dtype.itemsize,
        )
        return packed + _checksum(packed)

    def decode_chunk(self, data: bytes | memoryview, into: AnyArray) -> None:
        """Read a block into an array of its shape.

        Raises
        ------
        ArchiveError
            If its checksum says that it is not what was written.
        """
        packed = bytes(data[:-_CHECKSUM])  # what takes the checksum takes no view
        if _checksum(packed) != data[-_CHECKSUM:]:
            raise ArchiveError("a block is not what was written: its checksum differs")
        blosc.decompress(packed, into)

    def encode_shard(self, parts: Mapping[ShardIndex, bytes]) -> bytes:
        """Return a shard made of some blocks, by their place along time and columns."""
        index = np.full((*self.chunks_per_shard, 2), _NOWHERE, dtype="<u8")
        offset = 0
        ordered = sorted(parts)
        for place in ordered:
            size = len(parts[place])
            index[place] = offset, size
            offset += size
        end = index.tobytes()
        return b"".join([*(parts[place] for place in ordered), end, _checksum(end)])

    def decode_index(self, data: bytes) -> ChunkIndex:
        """Return offset and length of the blocks of a shard, by (row, column).

        Raises
        ------
        ArchiveError
            If its checksum says that it is not what was written.
        """
        body = data[:-_CHECKSUM]
        if len(data) != self.index_bytes or _checksum(body) != data[-_CHECKSUM:]:
            raise ArchiveError("an index of blocks is not what was written: its checksum differs")
        return np.frombuffer(body, dtype="<u8").reshape(*self.chunks_per_shard, 2)


def is_present(index: ChunkIndex) -> NDArray[np.bool_]:
    """Return which blocks of an index there are."""
    return np.asarray(index[..., 0] != _NOWHERE)


@dataclass(frozen=True, kw_only=True)
class ArraySpec:
    """An array to be made."""

    group: str
    level: ResolutionLevel
    period: str
    name: str
    dtype: str
    fill_value: float
    columns: int
    chips: int

    @property
    def path(self) -> str:
        """Return where it lies in the store."""
        return f"{self.group}/{self.level.name}/{self.period}/{self.name}"

    def create(self, root: zarr.Group) -> ZarrArray:
        """Make it, all empty."""
        level, across = self.level, self.level.columns[self.group]
        first, rows = level.rows(self.period)
        width = min(level.width[self.group], across * -(-_roomy(self.columns) // across))
        deep = (self.chips,) if self.group == "racks" else ()
        axes = ("time", LABEL_AXES[self.group], "chip")[: 2 + len(deep)]
        made = root.create_array(
            self.path,
            shape=(rows, self.columns, *deep),
            shards=(level.shard, width, *deep),
            chunks=(level.chunk, across, *deep),
            dtype=self.dtype,
            fill_value=self.fill_value,
            dimension_names=axes,
            compressors=(
                BloscCodec(cname=_NAME, clevel=_LEVEL, shuffle="bitshuffle"),
                Crc32cCodec(),
            ),
        )
        made.attrs.update({"start": first, "step": level.step})
        return made


def _roomy(columns: int) -> int:
    """Return a number of columns with some room to grow."""
    return -(-max(columns, 1) // 64) * 64


def _checksum(data: bytes) -> bytes:
    return int(google_crc32c.value(data)).to_bytes(_CHECKSUM, "little")
