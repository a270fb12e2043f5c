"""Layout of the store: groups, levels, arrays with their chunks and shards, and point metadata.

=========  =============================================  ====================================
group      arrays                                         labels
=========  =============================================  ====================================
``racks``  one of (time, rack, chip) for each chip        ``rack``: ``{hall}/{rack}``
           variable, float32
``points`` ``value`` float64 and ``quality`` int8,        ``point``, and its ``metadata`` as
           both (time, point)                             JSON
=========  =============================================  ====================================

An array is named ``{group}/{level}/{period}/{name}``. A period is a UTC day or month, whose rows
are all its seconds, minutes and so on; chunks without values are not stored.
``{group}/heard/{day}`` marks the seconds with values. Everything is plain Zarr: an array has
shards, one object each, of chunks, which are compressed and have a checksum.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.core.metadata import ArrayV2Metadata, ArrayV3Metadata

from telemetry.messages.samples import CHIP_VARIABLES, PointMetadata
from telemetry.quality.checks import QualityFlag

ARCHIVE_LAYOUT_VERSION: Final = 2
"""Version of the layout; readers reject others."""

NO_READING_QUALITY: Final = -1
"""Value of ``quality`` without a reading."""

SECOND_S: Final = 1  # a second
MINUTE_S: Final = 60  # a minute
HOUR_S: Final = 3600  # an hour
DAY_S: Final = 86_400  # a day

type ZarrArray = zarr.Array[ArrayV2Metadata] | zarr.Array[ArrayV3Metadata]
type ShardIndex = tuple[int, ...]
type AnyArray = NDArray[np.generic]
type Int64Array = NDArray[np.int64]

MAIN_BRANCH: Final = "main"

CHECKSUM_BYTES: Final = 4  # at the end of a chunk, and of the index of a shard
INDEX_ENTRY_BYTES: Final = 16  # offset and length of a chunk, in the index of a shard
NO_CHUNK: Final = int(np.iinfo(np.uint64).max)  # offset of a chunk without values

IO_THREADS: Final = 2
"""Threads that read, compress and decompress. [1]"""

MAX_READ_GAP_BYTES: Final = 4096
"""Bytes between two chunks up to which they are read together. [B]"""

zarr.config.set(
    {
        "codec_pipeline.path": "zarr.core.codec_pipeline.FusedCodecPipeline",
        "codec_pipeline.max_workers": IO_THREADS,
        "threading.max_workers": IO_THREADS,
        "array.sharding_coalesce_max_gap_bytes": MAX_READ_GAP_BYTES,
    }
)  # the pipeline without a coroutine for each chunk: half the time, see ADR 023

QUALITY_CODES: Final[dict[QualityFlag, int]] = {
    QualityFlag.BAD_SOURCE: 0,
    QualityFlag.GOOD: 1,
    QualityFlag.RANGE: 2,
    QualityFlag.RATE: 3,
    QualityFlag.STUCK: 4,
    QualityFlag.LATE: 5,
    QualityFlag.FUTURE: 6,
    QualityFlag.STALE: 7,
    QualityFlag.UNIT: 8,
    QualityFlag.FLAT: 9,
    QualityFlag.DISAGREES: 10,
}
"""Stored codes of quality flags; they never change."""

TRUSTED_CODES: Final = (QUALITY_CODES[QualityFlag.GOOD], QUALITY_CODES[QualityFlag.LATE])
"""Codes of trusted readings; a late reading is as true as one in time."""


@dataclass(frozen=True, kw_only=True)
class ResolutionLevel:
    """Time resolution of a group, and the sizes of its chunks and shards.

    A row is ``row_seconds`` long [s]. ``rows_per_chunk`` and ``rows_per_shard`` are rows;
    ``columns_per_chunk`` and ``columns_per_shard`` are, by group, columns of a chunk and most
    columns of a shard. A period is a day or a month.
    """

    name: str
    row_seconds: int
    rows_per_chunk: int
    rows_per_shard: int
    columns_per_chunk: dict[str, int]
    columns_per_shard: dict[str, int]
    is_monthly: bool = False

    def period(self, second: int) -> str:
        """Return the period of a second, such as ``20260701`` or ``202607``."""
        moment = str(np.datetime64(second, "s"))
        return moment[:7].replace("-", "") if self.is_monthly else moment[:10].replace("-", "")

    def first_second_and_row_count(self, period: str) -> tuple[int, int]:
        """Return the first second of a period [s since 1970], and its number of rows."""
        month = np.datetime64(f"{period[:4]}-{period[4:6]}", "M")
        if self.is_monthly:
            ends = (month, month + np.timedelta64(1, "M"))
            first, last = (int(end.astype("datetime64[s]").astype(np.int64)) for end in ends)
        else:
            day = np.datetime64(f"{month}-{period[6:8]}", "s")
            first = int(day.astype(np.int64))
            last = first + DAY_S
        return first, (last - first) // self.row_seconds


_OPEN_COLUMNS: Final = {"racks": 1, "points": 64}
_WIDE: Final = {"racks": 2048, "points": 65_536}

OPEN_MINUTES_LEVEL: Final = ResolutionLevel(
    name="open",
    row_seconds=SECOND_S,
    rows_per_chunk=MINUTE_S,
    rows_per_shard=MINUTE_S,
    columns_per_chunk=_OPEN_COLUMNS,
    columns_per_shard=_WIDE,
)
"""Committed minutes; their values have priority over compacted ones."""

COMPACTED_HOURS_LEVEL: Final = ResolutionLevel(
    name="raw",
    row_seconds=SECOND_S,
    rows_per_chunk=180,
    rows_per_shard=HOUR_S,
    columns_per_chunk={"racks": 1, "points": 16},
    columns_per_shard={"racks": 64, "points": 1024},
)
"""Whole hours. With chunks of 180 s of one rack, the day of a chip and a moment of all chips each
read about a hundredth of the site's data; see ADR 023.
"""

SPARSE_SECONDS_LEVEL: Final = ResolutionLevel(
    name="sparse",
    row_seconds=SECOND_S,
    rows_per_chunk=1,
    rows_per_shard=1,
    columns_per_chunk={"racks": 64, "points": 4096},
    columns_per_shard=_WIDE,
)
"""Single seconds, of a plant that publishes once in many minutes."""

ROLLUP_LEVELS: Final = {
    "1min": ResolutionLevel(
        name="1min",
        row_seconds=MINUTE_S,
        rows_per_chunk=60,
        rows_per_shard=60,
        columns_per_chunk={"racks": 4, "points": 64},
        columns_per_shard=_WIDE,
    ),
    "15min": ResolutionLevel(
        name="15min",
        row_seconds=900,
        rows_per_chunk=4,
        rows_per_shard=4,
        columns_per_chunk={"racks": 64, "points": 1024},
        columns_per_shard=_WIDE,
        is_monthly=True,
    ),
    "1h": ResolutionLevel(
        name="1h",
        row_seconds=HOUR_S,
        rows_per_chunk=1,
        rows_per_shard=1,
        columns_per_chunk={"racks": 256, "points": 4096},
        columns_per_shard=_WIDE,
        is_monthly=True,
    ),
}
"""Levels of roll-ups, by name."""

SECOND_LEVELS: Final = (COMPACTED_HOURS_LEVEL, SPARSE_SECONDS_LEVEL, OPEN_MINUTES_LEVEL)
"""Levels of single seconds; later ones have priority."""

LEVELS_BY_NAME: Final = {level.name: level for level in (*SECOND_LEVELS, *ROLLUP_LEVELS.values())}

ROLLUP_STATISTICS: Final = {"min": "f", "mean": "f", "max": "f", "count": "uint16"}
"""Statistics of roll-ups; ``f`` stands for the type of the values."""

LABEL_AXES: Final = {"racks": "rack", "points": "point"}
"""Group -> name of its second axis."""

GROUP_ARRAYS: Final[dict[str, dict[str, tuple[str, float]]]] = {
    "racks": dict.fromkeys(CHIP_VARIABLES, ("float32", np.nan)),
    "points": {"value": ("float64", np.nan), "quality": ("int8", NO_READING_QUALITY)},
}
"""Group -> name of an array -> its type and its fill value."""


def rollup_arrays(group: str) -> dict[str, tuple[str, float]]:
    """Return the arrays of a level of roll-ups: name -> type and fill value."""
    found: dict[str, tuple[str, float]] = {}
    for name, (kind, absent) in GROUP_ARRAYS[group].items():
        if name != "quality":
            for statistic, of in ROLLUP_STATISTICS.items():
                is_count = of != "f"
                found[f"{name}_{statistic}"] = (of, 0.0) if is_count else (kind, absent)
    return found


def array_type(group: str, name: str) -> tuple[str, float]:
    """Return type and fill value of an array of a group."""
    return {**GROUP_ARRAYS[group], **rollup_arrays(group)}[name]


def open_array(root: zarr.Group, path: str) -> ZarrArray:
    """Return an array of a store."""
    found = root[path]
    if not isinstance(found, zarr.Array):
        raise TypeError(f"{path} is a group")
    return found


def shard_shape(array: ZarrArray) -> ShardIndex:
    """Return the shape of the shards of an array of values."""
    if array.shards is None:
        raise TypeError(f"{array.path} has no shards")
    return array.shards


def has_value(values: AnyArray, absent: float) -> NDArray[np.bool_]:
    """Return which values differ from the fill value of their array."""
    return np.asarray(~np.isnan(values) if np.isnan(absent) else values != absent)


def is_expendable(path: str) -> bool:
    """Return whether the archive can continue without an array: one of a day or a month."""
    return path.count("/") > 1


def describe_shard(path: str, place: tuple[int, ...]) -> dict[str, str]:
    """Return a description of a shard, or of the whole array without a place."""
    group, name, *rest = path.split("/")
    if not rest:
        return {"group": group, "variable": name}
    level = LEVELS_BY_NAME.get(name, OPEN_MINUTES_LEVEL)
    first, rows = level.first_second_and_row_count(rest[0])
    last = first + rows * level.row_seconds
    found = {"group": group, "level": name, "variable": rest[-1]}
    if place:
        first += place[0] * level.rows_per_shard * level.row_seconds
        last = first + level.rows_per_shard * level.row_seconds
        width = level.columns_per_shard[group]
        found["columns"] = f"{place[1] * width} to {(place[1] + 1) * width - 1}"
    span = {"from": f"{np.datetime64(first, 's')}Z", "to": f"{np.datetime64(last, 's')}Z"}
    return found | span


def read_labels(root: zarr.Group, group: str) -> list[str]:
    """Return the labels of a group in the order of their columns; none without the group."""
    if group not in root:
        return []
    return [str(label) for label in np.asarray(open_array(root, f"{group}/{LABEL_AXES[group]}")[:])]


def read_all_metadata(root: zarr.Group) -> dict[str, PointMetadata]:
    """Return the metadata of points: point -> metadata."""
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
    return msgspec.json.encode(metadata).decode()


def days_between(first: int, last: int) -> Sequence[str]:
    """Return the UTC days of a span of seconds, excluding its end."""
    return [
        OPEN_MINUTES_LEVEL.period(day * DAY_S) for day in range(first // DAY_S, -(-last // DAY_S))
    ]


def metadata_from_json(text: str) -> PointMetadata:
    """Return the metadata of a text."""
    return msgspec.json.decode(text, type=PointMetadata)


@dataclass(frozen=True, kw_only=True)
class ArraySpec:
    """Specification of a new array."""

    group: str
    level: ResolutionLevel
    period: str
    name: str
    column_count: int
    chip_count: int = 0

    @property
    def path(self) -> str:
        """Path in the store."""
        return f"{self.group}/{self.level.name}/{self.period}/{self.name}"

    def create(self, root: zarr.Group) -> ZarrArray:
        """Create the array, filled with the fill value."""
        level, across = self.level, self.level.columns_per_chunk[self.group]
        first, rows = level.first_second_and_row_count(self.period)
        width = min(
            level.columns_per_shard[self.group],
            across * -(-_rounded_up(self.column_count) // across),
        )
        deep = (self.chip_count,) if self.group == "racks" else ()
        axes = ("time", LABEL_AXES[self.group], "chip")[: 2 + len(deep)]
        kind, absent = array_type(self.group, self.name)
        array = root.create_array(
            self.path,
            shape=(rows, self.column_count, *deep),
            shards=(level.rows_per_shard, width, *deep),
            chunks=(level.rows_per_chunk, across, *deep),
            dtype=kind,
            fill_value=absent,
            dimension_names=axes,
            compressors=(
                BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"),
                Crc32cCodec(),
            ),
        )
        array.attrs.update({"start": first, "step": level.row_seconds})
        return array


def _rounded_up(columns: int) -> int:
    """Return a number of columns rounded up, so that it can grow."""
    return -(-max(columns, 1) // 64) * 64


# History of point metadata. Values are stored as sent, and read by the metadata of their time: a
# point whose gateway sends kW today and MW tomorrow keeps its column. The exact time of a change
# before a commit is unknown. So the meaning of values in that commit, and of values received but
# not yet written at that time, is uncertain.

METADATA_HISTORY_ATTRIBUTE: Final = "earlier"
"""Attribute of the root: point -> its metadata changes, oldest first."""

MEANING_FIELDS: Final = (
    "unit",
    "state_text",
    "process_area",
    "object_id",
    "is_associated",
    "integration",
    "is_setpoint",
)
"""Fields of the metadata that determine what a value means."""

type MetadataChange = tuple[int, int, PointMetadata]
"""First second with uncertain meaning, first with certain meaning again, and the former
metadata.
"""


type PendingMetadata = Mapping[str, Sequence[PointMetadata]]
"""Point -> its metadata since the last commit, in order."""


def record_metadata_changes(
    root: zarr.Group,
    before: Mapping[str, str],
    pending: PendingMetadata,
    *,
    span: tuple[int, int],
) -> None:
    """Record which points changed their meaning.

    ``before`` has the stored metadata of points as text. ``span`` begins with the first second that
    is not closed before this commit and ends after all received ones. [s since 1970]
    """
    found, is_new = _read_history(root), False
    for label, some in pending.items():
        first = metadata_from_json(before[label]) if label in before else some[0]
        if all(
            getattr(one, name) == getattr(first, name) for one in some for name in MEANING_FIELDS
        ):
            continue
        changes = found.setdefault(label, [])
        if changes and int(changes[-1][1]) >= span[0]:  # no certain second between the two
            changes[-1][1] = span[1]
        else:
            changes.append([*span, metadata_to_json(first)])
        is_new = True
    if is_new:  # written once, as all points of a gateway may change together
        root.attrs[METADATA_HISTORY_ATTRIBUTE] = found


def prune_metadata_changes(root: zarr.Group, before: int) -> bool:
    """Delete changes before a time [s since 1970], of which no values remain; return whether any
    was.
    """
    stored = _read_history(root)
    remaining = {
        label: later
        for label, changes in stored.items()
        if (later := [change for change in changes if int(change[1]) > before])
    }
    if remaining == stored:
        return False
    root.attrs[METADATA_HISTORY_ATTRIBUTE] = remaining
    return True


def read_metadata_changes(root: zarr.Group) -> dict[str, list[MetadataChange]]:
    """Return the metadata changes of points, oldest first."""
    return {
        label: [
            (int(unsure), int(sure), metadata_from_json(str(text)))
            for unsure, sure, text in changes
        ]
        for label, changes in _read_history(root).items()
    }


def _read_history(root: zarr.Group) -> dict[str, list[list[int | str]]]:
    found = root.attrs.get(METADATA_HISTORY_ATTRIBUTE)
    return dict(found) if isinstance(found, dict) else {}
