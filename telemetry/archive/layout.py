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
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import zarr
from zarr.core.metadata import ArrayV2Metadata, ArrayV3Metadata

from telemetry.messages.models import CHIP_VARIABLES, PointMetadata

LAYOUT_VERSION: Final = 2
"""Version of the layout; another one is refused."""

NO_QUALITY: Final = -1
"""Stands in ``quality`` where nothing was heard."""

SECOND_S: Final = 1
MINUTE_S: Final = 60
HOUR_S: Final = 3600
DAY_S: Final = 86_400

type ZarrArray = zarr.Array[ArrayV2Metadata] | zarr.Array[ArrayV3Metadata]


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


type ShardIndex = tuple[int, ...]

MAIN_BRANCH: Final = "main"
