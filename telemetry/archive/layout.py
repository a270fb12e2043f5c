"""How the store looks: groups, levels, and the blocks and shards that arrays are made of.

=========  =============================================  ====================================
group      arrays                                         labels
=========  =============================================  ====================================
``racks``  one of (time, rack, chip) for each chip        ``rack``: ``{hall}/{rack}``
           variable, float32
``points`` ``value`` float64 and ``quality`` int8,        ``point``, and its ``metadata`` as
           both (time, point)                             JSON
=========  =============================================  ====================================

An array is named ``{group}/{level}/{period}/{name}``. A period is a UTC day or month, whose rows
are all its seconds, minutes and so on: what was never heard has no block and takes no room. Which
seconds were heard is told by ``{group}/heard/{day}``. Everything is plain Zarr: an array has
shards, one object each, of blocks, which are compressed and guarded by a checksum.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Final

import google_crc32c
import numpy as np
import zarr
from numcodecs import blosc  # type: ignore[import-untyped]
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.core.metadata import ArrayV2Metadata, ArrayV3Metadata

from telemetry.messages.models import CHIP_VARIABLES, PointMetadata
from twin.errors import ArchiveError

LAYOUT_VERSION: Final = 2
"""Version of the layout; another one is refused."""

NO_QUALITY: Final = -1
"""Stands in ``quality`` where nothing was heard."""

SECOND_S: Final = 1
MINUTE_S: Final = 60
HOUR_S: Final = 3600
DAY_S: Final = 86_400

type ZarrArray = zarr.Array[ArrayV2Metadata] | zarr.Array[ArrayV3Metadata]
type ShardIndex = tuple[int, ...]
type AnyArray = NDArray[np.generic]
type ChunkIndex = NDArray[np.uint64]

MAIN_BRANCH: Final = "main"

_CHECKSUM: Final = 4  # bytes of a checksum
_ENTRY: Final = 16  # bytes of an entry of an index: offset and length
_NOWHERE: Final = np.iinfo(np.uint64).max
_LEVEL: Final = 5
_BITSHUFFLE: Final = 2
_NAME: Final = "lz4"


@dataclass(frozen=True, kw_only=True)
class ResolutionLevel:
    """How finely, and in which pieces, a group is kept.

    Attributes
    ----------
    name
        As it stands in paths.
    step
        Length of what a row stands for. [s]
    chunk, shard
        Rows of a block and of a shard.
    columns, width
        Group -> columns of a block, and of a shard at the most.
    is_monthly
        Whether a period is a month and not a day.
    """

    name: str
    step: int
    chunk: int
    shard: int
    columns: dict[str, int]
    width: dict[str, int]
    is_monthly: bool = False

    def period(self, second: int) -> str:
        """Return the period that a second belongs to, as ``20260701`` or ``202607``."""
        moment = str(np.datetime64(second, "s"))
        return moment[:7].replace("-", "") if self.is_monthly else moment[:10].replace("-", "")

    def rows(self, period: str) -> tuple[int, int]:
        """Return the first second of a period [s since 1970], and how many rows it has."""
        month = np.datetime64(f"{period[:4]}-{period[4:6]}", "M")
        if self.is_monthly:
            ends = (month, month + np.timedelta64(1, "M"))
            first, last = (int(end.astype("datetime64[s]").astype(np.int64)) for end in ends)
        else:
            day = np.datetime64(f"{month}-{period[6:8]}", "s")
            first = int(day.astype(np.int64))
            last = first + DAY_S
        return first, (last - first) // self.step


_OPEN_COLUMNS: Final = {"racks": 1, "points": 64}
_WIDE: Final = {"racks": 2048, "points": 65_536}

OPEN_MINUTES: Final = ResolutionLevel(
    name="open", step=SECOND_S, chunk=MINUTE_S, shard=MINUTE_S, columns=_OPEN_COLUMNS, width=_WIDE
)
"""Minutes as they are committed; what stands here goes before what is compacted."""

COMPACTED_HOURS: Final = ResolutionLevel(
    name="raw",
    step=SECOND_S,
    chunk=180,
    shard=HOUR_S,
    columns={"racks": 1, "points": 16},
    width={"racks": 64, "points": 1024},
)
"""Whole hours. A block of 180 s of one rack lets the day of a chip and a moment of all of them be
read both from about a hundredth of the site's data; see ADR 023."""

SPARSE_SECONDS: Final = ResolutionLevel(
    name="sparse",
    step=SECOND_S,
    chunk=1,
    shard=1,
    columns={"racks": 64, "points": 4096},
    width=_WIDE,
)
"""Single seconds, of a plant that speaks once in many minutes."""

ROLLUPS: Final = {
    "1min": ResolutionLevel(
        name="1min",
        step=MINUTE_S,
        chunk=60,
        shard=60,
        columns={"racks": 4, "points": 64},
        width=_WIDE,
    ),
    "15min": ResolutionLevel(
        name="15min",
        step=900,
        chunk=4,
        shard=4,
        columns={"racks": 64, "points": 1024},
        width=_WIDE,
        is_monthly=True,
    ),
    "1h": ResolutionLevel(
        name="1h",
        step=HOUR_S,
        chunk=1,
        shard=1,
        columns={"racks": 256, "points": 4096},
        width=_WIDE,
        is_monthly=True,
    ),
}
"""Levels of roll-ups, by name."""

SECOND_LEVELS: Final = (COMPACTED_HOURS, SPARSE_SECONDS, OPEN_MINUTES)
"""Levels of single seconds; the later ones go before."""

LEVELS_BY_NAME: Final = {level.name: level for level in (*SECOND_LEVELS, *ROLLUPS.values())}
"""All levels, by name."""

ROLLUP_STATISTICS: Final = {"min": "f", "mean": "f", "max": "f", "count": "uint16"}
"""What is rolled up; ``f`` stands for the type of the values themselves."""

LABEL_AXES: Final = {"racks": "rack", "points": "point"}
"""Group -> name of its second axis."""

GROUP_ARRAYS: Final[dict[str, dict[str, tuple[str, float]]]] = {
    "racks": dict.fromkeys(CHIP_VARIABLES, ("float32", np.nan)),
    "points": {"value": ("float64", np.nan), "quality": ("int8", NO_QUALITY)},
}
"""Group -> name of an array -> its type and what stands where nothing was heard."""

_FIELDS: Final = tuple(field.name for field in fields(PointMetadata))


def rollup_arrays(group: str) -> dict[str, tuple[str, float]]:
    """Return the arrays of a level of roll-ups: name -> type and what stands for nothing."""
    found: dict[str, tuple[str, float]] = {}
    for name, (kind, absent) in GROUP_ARRAYS[group].items():
        if name != "quality":
            for statistic, of in ROLLUP_STATISTICS.items():
                is_count = of != "f"
                found[f"{name}_{statistic}"] = (of, 0.0) if is_count else (kind, absent)
    return found


def open_array(root: zarr.Group, path: str) -> ZarrArray:
    """Return an array of a store."""
    found = root[path]
    if not isinstance(found, zarr.Array):
        message = f"{path} is a group"
        raise TypeError(message)
    return found


def is_expendable(path: str) -> bool:
    """Return whether an archive can go on without an array: one of a day or a month."""
    return path.count("/") > 1


def describe_shard(path: str, place: tuple[int, ...]) -> dict[str, str]:
    """Return in words what a shard of an array tells of, or all of it if no place is given."""
    group, name, *rest = path.split("/")
    if not rest:
        return {"group": group, "variable": name}
    level = LEVELS_BY_NAME.get(name, OPEN_MINUTES)
    first, rows = level.rows(rest[0])
    last = first + rows * level.step
    found = {"group": group, "level": name, "variable": rest[-1]}
    if place:
        first += place[0] * level.shard * level.step
        last = first + level.shard * level.step
        width = level.width[group]
        found["columns"] = f"{place[1] * width} to {(place[1] + 1) * width - 1}"
    span = {"from": f"{np.datetime64(first, 's')}Z", "to": f"{np.datetime64(last, 's')}Z"}
    return found | span


def read_labels(root: zarr.Group, group: str) -> list[str]:
    """Return the labels of a group in the order of their columns; none if it is not there."""
    if group not in root:
        return []
    return [str(label) for label in np.asarray(open_array(root, f"{group}/{LABEL_AXES[group]}")[:])]


def read_all_metadata(root: zarr.Group) -> dict[str, PointMetadata]:
    """Return what is known of points: point -> metadata."""
    if "points" not in root:
        return {}
    texts = [str(text) for text in np.asarray(open_array(root, "points/metadata")[:])]
    return {
        label: metadata_from_json(text)
        for label, text in zip(read_labels(root, "points"), texts, strict=True)
        if text
    }


def metadata_to_json(metadata: PointMetadata) -> str:
    """Return metadata as text."""
    return json.dumps({name: getattr(metadata, name) for name in _FIELDS}, separators=(",", ":"))


def days_between(first: int, last: int) -> Sequence[str]:
    """Return the UTC days that a span of seconds touches; the last second is not included."""
    return [OPEN_MINUTES.period(day * DAY_S) for day in range(first // DAY_S, -(-last // DAY_S))]


def metadata_from_json(text: str) -> PointMetadata:
    """Return the metadata that was written as this text."""
    written = json.loads(text)
    for name in ("process_area", "serves"):
        written[name] = tuple(written[name])
    states = written["state_text"]
    written["state_text"] = tuple((int(value), str(said)) for value, said in states)
    return PointMetadata(**written)


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
