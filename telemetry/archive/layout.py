"""How the groups of the store look, and what is read of them when it is opened."""

import json
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.metadata import ArrayV2Metadata, ArrayV3Metadata

from telemetry.archive.minutes import REACH
from telemetry.samples import CHIP_VARIABLES, PointMetadata

NO_TIME: Final = np.iinfo(np.int64).min
"""Stands in ``time`` where there is no row. [s since 1970]"""

ABSENT: Final = -1
"""Stands in ``quality`` where nothing was heard."""

RECENT: Final = 4 * REACH
"""Rows at the end of the store among which those of the last day are found again."""

type Array = zarr.Array[ArrayV2Metadata] | zarr.Array[ArrayV3Metadata]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a group looks like.

    Attributes
    ----------
    label
        Name of its second axis.
    arrays
        Name of an array -> type and what stands where nothing was heard.
    """

    label: str
    arrays: dict[str, tuple[str, float]]


LAYOUTS: Final = {
    "racks": Layout(label="rack", arrays=dict.fromkeys(CHIP_VARIABLES, ("float32", np.nan))),
    "points": Layout(
        label="point", arrays={"value": ("float64", np.nan), "quality": ("int8", ABSENT)}
    ),
}
"""The groups of the store."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Which row a second has, and which column a label.

    Attributes
    ----------
    length
        Rows of the arrays, empty ones included.
    places
        Second -> row, of the last day.
    columns
        Label -> column.
    """

    length: int = 0
    places: dict[int, int] = field(default_factory=dict)
    columns: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, root: zarr.Group, name: str, *, closed: int) -> Self:
        """Return those of a group as it is stored; empty ones if it is not there yet.

        Parameters
        ----------
        root
            The root of the store.
        name
            Name of the group.
        closed
            First second that is not closed. [s since 1970]
        """
        if name not in root:
            return cls()
        length = array(root, f"{name}/time").shape[0]
        first = max(0, length - RECENT)
        times = numbers(root, f"{name}/time", slice(first, None))
        (found,) = np.nonzero(times >= closed - REACH)
        labels = labels_of(root, name)
        return cls(
            length=length,
            places=dict(zip(times[found].tolist(), (found + first).tolist(), strict=True)),
            columns={label: column for column, label in enumerate(labels)},
        )

    def recent(self, oldest: int) -> Self:
        """Return it without old places, once those are many; oldest second in [s since 1970]."""
        if len(self.places) <= 2 * REACH:
            return self
        places = {second: row for second, row in self.places.items() if second >= oldest}
        return replace(self, places=places)


def array(root: zarr.Group, path: str) -> Array:
    """Return an array of a store."""
    found = root[path]
    if not isinstance(found, zarr.Array):
        message = f"{path} is a group"
        raise TypeError(message)
    return found


def numbers(root: zarr.Group, path: str, part: slice) -> NDArray[np.int64]:
    """Return a part of an array of whole numbers."""
    return np.asarray(array(root, path)[part], dtype=np.int64)


def labels_of(root: zarr.Group, name: str) -> list[str]:
    """Return the labels of a group in the order of their columns."""
    return [str(label) for label in np.asarray(array(root, f"{name}/{LAYOUTS[name].label}")[:])]


def metadata_of(root: zarr.Group) -> dict[str, PointMetadata]:
    """Return what is known of points: point -> metadata."""
    if "points" not in root:
        return {}
    texts = [str(text) for text in np.asarray(array(root, "points/metadata")[:])]
    return {
        label: _metadata(text)
        for label, text in zip(labels_of(root, "points"), texts, strict=True)
        if text
    }


def _metadata(text: str) -> PointMetadata:
    """Return the metadata that was written as this text."""
    told = json.loads(text)
    for name in ("process_area", "serves"):
        told[name] = tuple(told[name])
    told["state_text"] = tuple((int(value), str(said)) for value, said in told["state_text"])
    return PointMetadata(**told)
