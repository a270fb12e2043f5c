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

from telemetry.samples import CHIP_VARIABLES, PointMetadata

LAYOUT: Final = 2
"""Version of the layout; another one is refused."""

ABSENT: Final = -1
"""Stands in ``quality`` where nothing was heard."""

SECOND: Final = 1
MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86_400

type Array = zarr.Array[ArrayV2Metadata] | zarr.Array[ArrayV3Metadata]


@dataclass(frozen=True, kw_only=True)
class Level:
    """How finely, and in which pieces, a group is kept.

    Attributes
    ----------
    name
        As it stands in paths.
    step
        Length of what a row stands for. [s]
    block, shard
        Rows of a block and of a shard.
    columns, width
        Group -> columns of a block, and of a shard at the most.
    is_monthly
        Whether a period is a month and not a day.
    """

    name: str
    step: int
    block: int
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
            last = first + DAY
        return first, (last - first) // self.step


_OPEN_COLUMNS: Final = {"racks": 1, "points": 64}
_WIDE: Final = {"racks": 2048, "points": 65_536}

OPEN: Final = Level(
    name="open", step=SECOND, block=MINUTE, shard=MINUTE, columns=_OPEN_COLUMNS, width=_WIDE
)
"""Minutes as they are committed; what stands here goes before what is compacted."""

RAW: Final = Level(
    name="raw",
    step=SECOND,
    block=180,
    shard=HOUR,
    columns={"racks": 1, "points": 16},
    width={"racks": 64, "points": 1024},
)
"""Whole hours. A block of 180 s of one rack lets the day of a chip and a moment of all of them be
read both from about a hundredth of the site's data; see ADR 023."""

SPARSE: Final = Level(
    name="sparse",
    step=SECOND,
    block=1,
    shard=1,
    columns={"racks": 64, "points": 4096},
    width=_WIDE,
)
"""Single seconds, of a plant that speaks once in many minutes."""

ROLLED: Final = {
    "1min": Level(
        name="1min",
        step=MINUTE,
        block=60,
        shard=60,
        columns={"racks": 4, "points": 64},
        width=_WIDE,
    ),
    "15min": Level(
        name="15min",
        step=900,
        block=4,
        shard=4,
        columns={"racks": 64, "points": 1024},
        width=_WIDE,
        is_monthly=True,
    ),
    "1h": Level(
        name="1h",
        step=HOUR,
        block=1,
        shard=1,
        columns={"racks": 256, "points": 4096},
        width=_WIDE,
        is_monthly=True,
    ),
}
"""Levels of roll-ups, by name."""

FINEST: Final = (RAW, SPARSE, OPEN)
"""Levels of single seconds; the later ones go before."""

LEVELS: Final = {level.name: level for level in (*FINEST, *ROLLED.values())}
"""All levels, by name."""

STATISTICS: Final = {"min": "f", "mean": "f", "max": "f", "count": "uint16"}
"""What is rolled up; ``f`` stands for the type of the values themselves."""

LABELS: Final = {"racks": "rack", "points": "point"}
"""Group -> name of its second axis."""

VARIABLES: Final[dict[str, dict[str, tuple[str, float]]]] = {
    "racks": dict.fromkeys(CHIP_VARIABLES, ("float32", np.nan)),
    "points": {"value": ("float64", np.nan), "quality": ("int8", ABSENT)},
}
"""Group -> name of an array -> its type and what stands where nothing was heard."""

_FIELDS: Final = tuple(field.name for field in fields(PointMetadata))


def rolled_names(group: str) -> dict[str, tuple[str, float]]:
    """Return the arrays of a level of roll-ups: name -> type and what stands for nothing."""
    found: dict[str, tuple[str, float]] = {}
    for name, (kind, absent) in VARIABLES[group].items():
        if name != "quality":
            for statistic, of in STATISTICS.items():
                is_count = of != "f"
                found[f"{name}_{statistic}"] = (of, 0.0) if is_count else (kind, absent)
    return found


def array(root: zarr.Group, path: str) -> Array:
    """Return an array of a store."""
    found = root[path]
    if not isinstance(found, zarr.Array):
        message = f"{path} is a group"
        raise TypeError(message)
    return found


def is_spare(path: str) -> bool:
    """Return whether an archive can go on without an array: one of a day or a month."""
    return path.count("/") > 1


def where(path: str, place: tuple[int, ...]) -> dict[str, str]:
    """Return in words what a shard of an array tells of, or all of it if no place is given."""
    group, name, *rest = path.split("/")
    if not rest:
        return {"group": group, "variable": name}
    level = LEVELS.get(name, OPEN)
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


def labels_of(root: zarr.Group, group: str) -> list[str]:
    """Return the labels of a group in the order of their columns; none if it is not there."""
    if group not in root:
        return []
    return [str(label) for label in np.asarray(array(root, f"{group}/{LABELS[group]}")[:])]


def metadata_of(root: zarr.Group) -> dict[str, PointMetadata]:
    """Return what is known of points: point -> metadata."""
    if "points" not in root:
        return {}
    texts = [str(text) for text in np.asarray(array(root, "points/metadata")[:])]
    return {
        label: read_metadata(text)
        for label, text in zip(labels_of(root, "points"), texts, strict=True)
        if text
    }


def told(metadata: PointMetadata) -> str:
    """Return metadata as text."""
    return json.dumps({name: getattr(metadata, name) for name in _FIELDS}, separators=(",", ":"))


def days_between(first: int, last: int) -> Sequence[str]:
    """Return the UTC days that a span of seconds touches; the last second is not included."""
    return [OPEN.period(day * DAY) for day in range(first // DAY, -(-last // DAY))]


def read_metadata(text: str) -> PointMetadata:
    """Return the metadata that was written as this text."""
    written = json.loads(text)
    for name in ("process_area", "serves"):
        written[name] = tuple(written[name])
    states = written["state_text"]
    written["state_text"] = tuple((int(value), str(said)) for value, said in states)
    return PointMetadata(**written)
