"""One group of the store: labels along one axis, rows along time, and how both grow."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Final

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec

from telemetry.archive.layout import ABSENT, LAYOUTS, NO_TIME, Array, Rows, array
from telemetry.archive.minutes import MINUTE, Readings
from telemetry.samples import CHIP_VARIABLES, PointMetadata

RACKS_OF_A_CHUNK: Final = {1: 2048, MINUTE: 256}
"""Rows of a chunk -> racks of a chunk: about a megabyte, or a whole site."""

POINTS_OF_A_CHUNK: Final = 4096
LABELS_OF_A_CHUNK: Final = 65_536
TIMES_OF_A_CHUNK: Final = 8192

type Numbers = NDArray[np.float32] | NDArray[np.float64] | NDArray[np.int8]


_FIELDS: Final = tuple(field.name for field in fields(PointMetadata))


class Table:
    """A group that is being written to.

    Parameters
    ----------
    root
        Root of a writable session.
    name
        Name of the group.
    rows
        What it holds.
    """

    def __init__(self, root: zarr.Group, name: str, *, rows: Rows) -> None:
        self._root = root
        self._name = name
        self._layout = LAYOUTS[name]
        self._length = rows.length
        self._places = dict(rows.places)
        self._columns = dict(rows.columns)

    @property
    def rows(self) -> Rows:
        """What the group holds now."""
        return Rows(length=self._length, places=self._places, columns=self._columns)

    def write(self, readings: Mapping[int, Readings], *, is_native: bool) -> None:
        """Append the rows of new seconds, and write into those that are there.

        Parameters
        ----------
        readings
            Second -> label -> reading; none of them empty.
        is_native
            Whether the plant sends every few seconds; decides the chunks of new arrays.
        """
        labels = {label: None for those in readings.values() for label in those}
        chips = _chips_of(readings.values())
        if self._name not in self._root:
            self._create(chips, rows=MINUTE if is_native else 1)
        self._widen([label for label in labels if label not in self._columns], chips)
        new = sorted(readings.keys() - self._places.keys())
        for number in readings.keys() - set(new):
            self._merge(self._places[number], readings[number], chips=chips)
        if new:
            self._append(new, [readings[number] for number in new])

    def describe(self, metadata: Mapping[str, PointMetadata], *, is_native: bool) -> None:
        """Write down what points are, known by their labels."""
        if self._name not in self._root:
            self._create(0, rows=MINUTE if is_native else 1)
        self._widen([label for label in metadata if label not in self._columns], 0)
        texts = [_told(one) for one in metadata.values()]
        places = np.array([self._columns[label] for label in metadata])
        held = self._array("metadata")
        every = np.asarray(held[:])
        every[places] = np.array(texts, dtype=every.dtype)
        held[:] = every

    def _array(self, name: str) -> Array:
        return array(self._root, f"{self._name}/{name}")

    def _shape(self, chips: int, *, rows: int, columns: int) -> tuple[int, ...]:
        return (rows, columns, chips) if self._name == "racks" else (rows, columns)

    def _create(self, chips: int, *, rows: int) -> None:
        """Make the group, without rows and columns."""
        group = self._root.create_group(self._name)
        label = self._layout.label
        axes = ("time", label, "chip")
        across = RACKS_OF_A_CHUNK[rows] if self._name == "racks" else POINTS_OF_A_CHUNK
        for name, (kind, absent) in self._layout.arrays.items():
            chunks = self._shape(max(chips, 1), rows=rows, columns=across)
            group.create_array(
                name,
                shape=self._shape(chips, rows=0, columns=0),
                chunks=chunks,
                dtype=kind,
                fill_value=absent,
                dimension_names=axes[: len(chunks)],
                compressors=(
                    BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"),
                    Crc32cCodec(),
                ),
            )
        group.create_array(
            "time",
            shape=(0,),
            chunks=(TIMES_OF_A_CHUNK,),
            dtype="int64",
            fill_value=NO_TIME,
            dimension_names=("time",),
        )
        for name in (label, "metadata") if self._name == "points" else (label,):
            group.create_array(
                name,
                shape=(0,),
                chunks=(LABELS_OF_A_CHUNK,),
                dtype="str",
                fill_value="",
                dimension_names=(label,),
            )

    def _widen(self, labels: Sequence[str], chips: int) -> None:
        """Give columns to new labels, and room to racks of more chips."""
        first = self._array(next(iter(self._layout.arrays)))
        chips = max(chips, *first.shape[2:], 0)
        held = len(self._columns)
        self._columns |= {label: held + place for place, label in enumerate(labels)}
        shape = self._shape(chips, rows=self._length, columns=len(self._columns))
        if shape == first.shape:
            return
        for name in self._layout.arrays:
            self._array(name).resize(shape)
        for name in (self._layout.label, "metadata"):
            if f"{self._name}/{name}" in self._root:
                self._array(name).resize((len(self._columns),))
        if labels:
            self._array(self._layout.label)[held:] = np.array(labels)

    def _append(self, seconds: Sequence[int], readings: Sequence[Readings]) -> None:
        """Write rows of their own, from a border of chunks on."""
        arrays = {name: self._array(name) for name in self._layout.arrays}
        shape = next(iter(arrays.values())).shape
        rows = next(iter(arrays.values())).chunks[0]
        first = -(-self._length // rows) * rows
        self._length = first + len(seconds)
        blocks = _blocks(readings, self._columns, chips=shape[-1])
        for name, held in arrays.items():
            held.resize((self._length, *held.shape[1:]))
            held[first:] = blocks[name]
        time = self._array("time")
        time.resize((self._length,))
        time[first:] = np.array(seconds)
        self._places |= {number: first + place for place, number in enumerate(seconds)}

    def _merge(self, row: int, readings: Readings, *, chips: int) -> None:
        """Write readings into a row that is there; what it has of other labels stays."""
        columns = np.array([self._columns[label] for label in readings])
        compact = {label: place for place, label in enumerate(readings)}
        for name, block in _blocks([readings], compact, chips=chips).items():
            held = self._array(name)
            where = (
                (row, columns, slice(0, chips))
                if block.ndim > len(("time", "rack"))
                else (
                    row,
                    columns,
                )
            )
            held.oindex[where] = block[0]


def _told(metadata: PointMetadata) -> str:
    """Return metadata as text."""
    told = {name: getattr(metadata, name) for name in _FIELDS}
    return json.dumps(told, separators=(",", ":"))


def _chips_of(readings: Iterable[Readings]) -> int:
    """Return the most chips of a rack; 0 if these are no racks."""
    counts = (
        one.shape[1] for those in readings for one in those.values() if not isinstance(one, tuple)
    )
    return max(counts, default=0)


def _blocks(
    readings: Sequence[Readings], columns: Mapping[str, int], *, chips: int
) -> dict[str, Numbers]:
    """Return readings as arrays of (row, column) or (row, column, chip), by name."""
    size = (len(readings), len(columns))
    racks: NDArray[np.float32] | None = None
    values, codes = np.full(size, np.nan), np.full(size, ABSENT, dtype=np.int8)
    for row, those in enumerate(readings):
        for label, reading in those.items():
            column = columns[label]
            if isinstance(reading, tuple):
                values[row, column], codes[row, column] = reading
            else:
                if racks is None:
                    shape = (len(CHIP_VARIABLES), *size, chips)
                    racks = np.full(shape, np.nan, dtype=np.float32)
                racks[:, row, column, : reading.shape[1]] = reading
    if racks is None:
        return {"value": values, "quality": codes}
    return dict(zip(CHIP_VARIABLES, racks, strict=True))
